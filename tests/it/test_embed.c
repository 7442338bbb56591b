/* Texts to vectors as handlers ask for them: the cache on a real Redis, and calls that threads share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/keys.h"
#include "jobs/step/embed.h"
#include "jobs/step/embed_pool.h"
#include "tests/support/must.h"
#include "tests/support/redis_group.h"
#include "tests/support/text.h"
#include "tests/support/told_embedder.h"

#define BATCH 10
#define PATIENCE_MS 60000

static struct told_embedder told;
static struct embed_pool *pool;
static struct embed_pool_opts opts;
static struct arena arena;
static struct embed_stats stats;
static struct provider_usage usage;

static int
begin(void **state)
{
	(void)state;
	MUST(REDIS_CALL(redis, NULL, e, "FLUSHALL"));
	told_init(&told, BATCH);
	opts = (struct embed_pool_opts){ .call_tokens = EMBED_MAX_CALL_TOKENS,
					 .cache_bytes = 1 << 24,
					 .cache_ttl_ms = 3600000,
					 .redis_headroom_percent = 10 };
	pool = embed_pool_new(&opts);
	arena_init(&arena, (size_t)64 << 20);
	usage = (struct provider_usage){ 0 };
	return 0;
}

static int
end(void **state)
{
	(void)state;
	embed_pool_free(pool);
	told_release(&told);
	arena_release(&arena);
	return 0;
}

static void
other_pool(void)
{
	embed_pool_free(pool);
	pool = embed_pool_new(&opts);
}

static struct embed_request
request_of(const struct str *texts, size_t count)
{
	return (struct embed_request){ .pool = pool,
				       .embedder = &told.embedder,
				       .call = { .redis = redis, .usage = &usage },
				       .task = EMBED_DOCUMENT,
				       .realm = STR("tenant"),
				       .texts = texts,
				       .count = count };
}

static void
check_vector(struct str text, const float *vector)
{
	float expected[TOLD_DIM] = { 0 };

	if (str_trim(text).len > 0)
		told_vector(text, expected);
	assert_memory_equal(vector, expected, sizeof(expected));
}

/* Embeds and compares every vector. */
static void
embed(const struct embed_request *request)
{
	float *out = mem_array(request->count + 1, TOLD_DIM * sizeof(float));

	memset(out, 0xff, request->count * TOLD_DIM * sizeof(float));
	MUST(embed_texts(request, &arena, out, &stats, e));
	for (size_t i = 0; i < request->count; i++)
		check_vector(request->texts[i], out + i * TOLD_DIM);
	mem_free(out);
}

/* `count` texts, "<prefix> 0" and on. */
static struct str *
make_texts(const char *prefix, size_t count)
{
	struct str *texts = arena_array(&arena, count, sizeof(*texts));

	for (size_t i = 0; i < count; i++)
		texts[i] = str_of(arena_printf(&arena, "%s %zu", prefix, i));
	return texts;
}

/* ---- alone ---- */

static void
test_batches_in_order(void **state)
{
	const struct embed_request request = request_of(make_texts("chunk", 35), 35);

	(void)state;
	embed(&request);
	assert_int_equal(atomic_load(&told.calls), 4);
	assert_int_equal(stats.embedded, 35);
	assert_int_equal(stats.cached, 0);
	assert_int_equal(stats.split, 0);
	assert_int_equal(usage.requests, 4);
	assert_int_equal(usage.embedding_tokens, 350);
}

/* The same texts again: from the cache, also through another process' pool; each tenant and task has its own. */
static void
test_same_again_costs_nothing(void **state)
{
	struct embed_request request = request_of(make_texts("chunk", 35), 35);

	(void)state;
	embed(&request);
	embed(&request);
	assert_int_equal(stats.cached, 35);
	assert_int_equal(stats.embedded, 0);
	other_pool();
	request.pool = pool;
	embed(&request);
	assert_int_equal(atomic_load(&told.texts), 35);
	assert_int_equal(atomic_load(&told.calls), 4);
	request.realm = STR("other");
	embed(&request);
	assert_int_equal(atomic_load(&told.texts), 70);
	request.task = EMBED_QUERY;
	embed(&request);
	assert_int_equal(atomic_load(&told.texts), 105);
	(void)str_copy(told.embedder.fingerprint, sizeof(told.embedder.fingerprint),
		       STR("told/2/8"));
	embed(&request);
	assert_int_equal(atomic_load(&told.texts), 140);
}

static void
test_only_what_changed(void **state)
{
	struct str *texts = make_texts("chunk", 35);
	const struct embed_request request = request_of(texts, 35);

	(void)state;
	embed(&request);
	texts[3] = STR("changed");
	texts[20] = STR("changed too");
	embed(&request);
	assert_int_equal(stats.cached, 33);
	assert_int_equal(stats.embedded, 2);
	assert_int_equal(atomic_load(&told.calls), 5);
	assert_int_equal(atomic_load(&told.texts), 37);
}

static void
test_equal_texts_go_once(void **state)
{
	struct str *texts = make_texts("chunk", 30);
	const struct embed_request request = request_of(texts, 30);

	(void)state;
	for (size_t i = 5; i < 30; i++)
		texts[i] = texts[i % 5];
	embed(&request);
	assert_int_equal(atomic_load(&told.texts), 5);
	assert_int_equal(stats.embedded, 5);
}

static void
test_blank_texts_stay_here(void **state)
{
	struct str texts[] = { STR(""), STR("one"), STR(" \n\t"), STR("two"), STR("") };
	const struct embed_request request = request_of(texts, ARRAY_SIZE(texts));

	(void)state;
	embed(&request);
	assert_int_equal(atomic_load(&told.texts), 2);
}

/* By number, by tokens, by bytes: whatever is reached first ends a call; a text above a limit goes alone. */
static void
test_calls_are_bounded_by_tokens(void **state)
{
	char *text = mem_alloc(4001);
	struct str *texts = arena_array(&arena, 20, sizeof(*texts));
	const struct embed_request request = request_of(texts, 20);

	(void)state;
	memset(text, 'w', 4000); /* 1000 tokens */
	for (size_t i = 0; i < 20; i++)
		texts[i] = str_of(arena_printf(&arena, "%.*s %zu", 1996, text, i));
	opts.call_tokens = 1400; /* each text is about 500 */
	other_pool();
	struct embed_request again = request;
	again.pool = pool;
	embed(&again);
	assert_int_equal(atomic_load(&told.largest), 2);
	assert_int_equal(atomic_load(&told.calls), 10);
	opts.call_tokens = 100;
	other_pool();
	again.pool = pool;
	again.realm = STR("else");
	embed(&again);
	assert_int_equal(atomic_load(&told.calls), 10 + 20);
	mem_free(text);
}

/* A TEI server refuses bodies of 2 MB, however few tokens they are. */
static void
test_calls_are_bounded_by_bytes(void **state)
{
	enum { TEXTS = 5, BYTES = 400000 };
	char *text = mem_alloc(BYTES + 1);
	struct str texts[TEXTS];
	const struct embed_request request = request_of(texts, TEXTS);

	(void)state;
	for (int i = 0; i < BYTES; i++)
		text[i] = (char)(i % 8 == 7 ? ' ' : 'a' + i % 23);
	for (size_t i = 0; i < TEXTS; i++)
		texts[i] = str_make(text + i, BYTES - TEXTS);
	opts.call_tokens = 100000000;
	other_pool();
	struct embed_request again = request;
	again.pool = pool;
	embed(&again);
	assert_int_equal(atomic_load(&told.largest), 2);
	assert_int_equal(atomic_load(&told.calls), 3);
	mem_free(text);
}

/* What is known to be longer than the model takes is cut before it is sent; the result says how many. */
static void
test_known_length_is_not_tried(void **state)
{
	char *text = mem_alloc(8001);
	struct str texts[3];
	const struct embed_request request = request_of(texts, 3);
	float out[3 * TOLD_DIM];

	(void)state;
	for (int i = 0; i < 8000; i++)
		text[i] = (char)(i % 8 == 7 ? ' ' : 'a' + i % 23);
	texts[0] = STR("short");
	texts[1] = str_of(text);
	texts[2] = STR("short too");
	told.takes_bytes = 2100;
	opts.text_tokens = 500;
	other_pool();
	struct embed_request again = request;
	again.pool = pool;
	MUST(embed_texts(&again, &arena, out, &stats, e));
	assert_int_equal(atomic_load(&told.refused), 0);
	assert_int_equal(stats.split, 1);
	assert_int_equal(stats.embedded, 3);
	check_vector(texts[0], out);
	check_vector(texts[2], out + 2 * (ptrdiff_t)TOLD_DIM);
	double squares = 0;
	for (size_t i = TOLD_DIM; i < (size_t)2 * TOLD_DIM; i++)
		squares += (double)out[i] * (double)out[i];
	assert_true(squares > 0.999999 && squares < 1.000001);
	/* from the cache it is the same vector */
	float before[3 * TOLD_DIM];
	memcpy(before, out, sizeof(out));
	MUST(embed_texts(&again, &arena, out, &stats, e));
	assert_int_equal(stats.cached, 3);
	assert_memory_equal(before, out, sizeof(out));
	mem_free(text);
}

/* What the server says of a length it does not take is remembered: after a few texts none is tried that would be refused. */
static void
test_refused_length_is_learnt(void **state)
{
	static const char *const realms[] = { "a", "b", "c", "d" };
	char *text = mem_alloc(8001);
	struct str texts[1];
	struct embed_request request = request_of(texts, 1);
	float out[TOLD_DIM];
	int refused = 0;

	(void)state;
	memset(text, 'v', 8000);
	texts[0] = str_of(text);
	told.takes_bytes = 2100;
	for (size_t i = 0; i < ARRAY_SIZE(realms); i++) {
		refused = atomic_load(&told.refused);
		request.realm = str_of(realms[i]);
		MUST(embed_texts(&request, &arena, out, &stats, e));
		assert_int_equal(stats.split, 1);
	}
	assert_true(refused > 0);
	assert_int_equal(atomic_load(&told.refused), refused);
	mem_free(text);
}

/* Other slots that learn: the limit of one text is not the same from one moment to the next. */
static void *
learn_all_the_time(void *stop)
{
	struct embed_limits *limits = embed_pool_limits(pool);

	for (int i = 0; !atomic_load((atomic_bool *)stop); i++)
		atomic_store(&limits->text_tokens, i % 2 ? 2 : 1000);
	return NULL;
}

static void
test_a_limit_that_is_learnt_meanwhile(void **state)
{
	enum { TEXTS = 300 };
	atomic_bool stop = false;
	struct arena own;
	pthread_t thread;

	(void)state;
	opts.cache_bytes = 0;
	other_pool();
	arena_init(&own, (size_t)64 << 20);
	assert_int_equal(pthread_create(&thread, NULL, learn_all_the_time, &stop), 0);
	for (int round = 0; round < 60; round++) {
		struct str *texts = arena_array(&own, TEXTS, sizeof(*texts));
		float *out = arena_array(&own, TEXTS, TOLD_DIM * sizeof(float));

		for (size_t i = 0; i < TEXTS; i++)
			texts[i] = str_of(arena_printf(&own, "a few words of text %zu", i));

		struct embed_request request = request_of(texts, TEXTS);

		request.pool = pool;
		MUST(embed_texts(&request, &own, out, &stats, e));
		arena_reset(&own);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	arena_release(&own);
}

/* A job that fails half way has paid for what it had: the next run asks for the rest only. */
static void
test_finished_calls_are_kept(void **state)
{
	const struct embed_request request = request_of(make_texts("chunk", 35), 35);
	float out[35 * TOLD_DIM];
	struct err err = ERR_INIT;

	(void)state;
	atomic_store(&told.fail_after, 2);
	atomic_store(&told.fail_code, ERR_PROVIDER_UNAVAILABLE);
	assert_false(embed_texts(&request, &arena, out, &stats, &err));
	assert_int_equal(err.code, ERR_PROVIDER_UNAVAILABLE);
	assert_non_null(strstr(err.msg, "text 21 of 35"));
	atomic_store(&told.fail_code, 0);
	embed(&request);
	assert_int_equal(stats.cached, 20);
	assert_int_equal(stats.embedded, 15);
	assert_int_equal(atomic_load(&told.texts), 35);
}

struct told_progress {
	size_t calls, last;
	size_t stop_at; /* 0 = never */
};

static bool
on_progress(void *user, size_t done, size_t total, struct err *err)
{
	struct told_progress *progress = user;

	assert_int_equal(total, 35);
	assert_true(done >= progress->last);
	progress->last = done;
	return ++progress->calls != progress->stop_at || err_set(err, ERR_STALE, "another won");
}

static void
test_progress(void **state)
{
	struct embed_request request = request_of(make_texts("chunk", 35), 35);
	struct told_progress progress = { 0 };
	float out[35 * TOLD_DIM];
	struct err err = ERR_INIT;

	(void)state;
	request.progress = on_progress;
	request.user = &progress;
	embed(&request);
	assert_int_equal(progress.calls, 3);
	assert_int_equal(progress.last, 30);
	progress = (struct told_progress){ .stop_at = 1 };
	request.realm = STR("other");
	assert_false(embed_texts(&request, &arena, out, &stats, &err));
	assert_int_equal(err.code, ERR_STALE);
}

static void
test_without_a_cache(void **state)
{
	struct embed_request request = request_of(make_texts("chunk", 15), 15);

	(void)state;
	request.call.redis = NULL;
	embed(&request);
	opts.cache_bytes = 0;
	other_pool();
	request = request_of(request.texts, 15);
	embed(&request);
	assert_int_equal(stats.cached, 0);
	assert_int_equal(atomic_load(&told.texts), 30);
	struct err err = ERR_INIT;
	assert_false(REDIS_CALL(redis, NULL, &err, "HLEN", "rag:{embeddings}:head", "x"));
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	int64_t exists = 1;
	MUST(REDIS_CALL(redis, &reply, e, "EXISTS", key_embeddings_head().text));
	assert_true(reply_i64(reply, &exists));
	assert_int_equal(exists, 0);
}

/* A Redis that is nearly full gets no vectors, and the work goes on. */
static void
test_short_memory_keeps_nothing(void **state)
{
	const struct embed_request request = request_of(make_texts("chunk", 15), 15);
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	int64_t used, most, exists = 1;
	char limit[32];

	(void)state;
	MUST(redis_memory(redis, &used, &most, e));
	used += used / 10;
	(void)snprintf(limit, sizeof(limit), "%lld", (long long)used);
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory", limit));
	embed(&request);
	MUST(REDIS_CALL(redis, &reply, e, "EXISTS", key_embeddings_head().text));
	assert_true(reply_i64(reply, &exists));
	assert_int_equal(exists, 0);
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory", "0"));
}

/* An embedder of this process: no cache, and ERR_TOO_LARGE is nothing it would say. */
static void
test_direct(void **state)
{
	struct embed_request request = request_of(make_texts("chunk", 35), 35);
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	int64_t exists = 1;

	(void)state;
	opts.direct = true;
	other_pool();
	request.pool = pool;
	embed(&request);
	embed(&request);
	assert_int_equal(stats.embedded, 35);
	assert_int_equal(atomic_load(&told.texts), 70);
	MUST(REDIS_CALL(redis, &reply, e, "EXISTS", key_embeddings_head().text));
	assert_true(reply_i64(reply, &exists));
	assert_int_equal(exists, 0);
}

/* ---- together ---- */

#define THREADS 16

/* One slot: a load of one or two texts. */
struct traveller {
	pthread_t thread;
	struct embed_load load;
	struct str texts[3];
	char bytes[3][48];
	float out[3 * TOLD_DIM];
	bool split[3];
	atomic_bool cancel, done;
	int64_t deadline_mono_ms;
	struct provider_usage usage;
	bool ok;
	struct err err;
};

static struct traveller travellers[THREADS];

static void *
travel(void *arg)
{
	struct traveller *t = arg;
	const struct provider_call call = { .cancel = &t->cancel,
					    .deadline_mono_ms = t->deadline_mono_ms,
					    .usage = &t->usage };

	t->ok = embed_pool_call(pool, &told.embedder, &call, &t->load, &t->err);
	for (size_t i = 0; t->ok && i < t->load.count; i++)
		if (!t->split[i])
			check_vector(t->texts[i], t->out + i * TOLD_DIM);
	atomic_store(&t->done, true);
	return NULL;
}

static void
fill(struct traveller *t, size_t count, const char *word)
{
	memset(t, 0, sizeof(*t));
	t->err = ERR_INIT;
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(t->bytes[i], sizeof(t->bytes[i]), "%s %td.%zu", word, t - travellers,
			       i);
		t->texts[i] = str_of(t->bytes[i]);
	}
	t->load = (struct embed_load){ .texts = t->texts,
				       .count = count,
				       .tokens = 3 * (int64_t)count,
				       .out = t->out,
				       .split = t->split };
}

static void
depart(size_t who, size_t count, const char *word)
{
	fill(&travellers[who], count, word);
	assert_int_equal(pthread_create(&travellers[who].thread, NULL, travel, &travellers[who]),
			 0);
}

static void
arrive(size_t who)
{
	pthread_join(travellers[who].thread, NULL);
}

/* Waits until so many stand in line and at the gate. */
static void
await(size_t line, int at_gate)
{
	for (int64_t until = clock_mono_ms() + PATIENCE_MS;
	     embed_pool_line(pool) != line || atomic_load(&told.at_gate) != at_gate;) {
		assert_true(clock_mono_ms() < until);
		clock_sleep_ms(1);
	}
}

/* Two calls stand at the gate, with nobody in line. */
static void
two_in_flight(void)
{
	atomic_store(&told.gated, true);
	depart(0, 1, "good");
	await(0, 1);
	depart(1, 1, "good");
	await(0, 2);
}

/* Puts the loads from..to-1 in line behind the two, in this order. */
static void
gather(size_t from, size_t to, size_t count)
{
	for (size_t i = from; i < to; i++) {
		depart(i, count, told.poison && i == to - 2 ? "bad" : "good");
		await(i - from + 1, 2);
	}
}

/* Lets one flight end, so that the first in line leads the next. */
static void
free_one_flight(void)
{
	atomic_store(&travellers[0].cancel, true);
	arrive(0);
	assert_false(travellers[0].ok);
	assert_int_equal(travellers[0].err.code, ERR_CANCELLED);
}

static void
test_one_waits_for_nobody(void **state)
{
	(void)state;
	depart(0, 2, "good");
	arrive(0);
	assert_true(travellers[0].ok);
	assert_int_equal(atomic_load(&told.calls), 1);
	assert_int_equal(travellers[0].usage.requests, 1);
	assert_int_equal(travellers[0].usage.embedding_tokens, 20);
}

/* While two calls are in flight the others gather: fourteen loads of one text are two calls of at most ten. */
static void
test_who_waits_travels_together(void **state)
{
	int64_t requests = 0, tokens = 0;

	(void)state;
	two_in_flight();
	gather(2, THREADS, 1);
	atomic_store(&told.gated, false);
	for (size_t i = 0; i < THREADS; i++) {
		arrive(i);
		assert_true(travellers[i].ok);
		requests += travellers[i].usage.requests;
		tokens += travellers[i].usage.embedding_tokens;
	}
	assert_int_equal(atomic_load(&told.calls), 4);
	assert_int_equal(atomic_load(&told.texts), THREADS);
	/* what each is told it used adds up to what was used */
	assert_int_equal(requests, 4);
	assert_int_equal(tokens, 10 * THREADS);
}

/* The leader of a shared call is cancelled while the call is under way: its followers never notice. */
static void
test_leaders_cancel_fails_nobody_else(void **state)
{
	(void)state;
	two_in_flight();
	gather(2, 6, 1);
	free_one_flight(); /* 2 leads now, with 3, 4 and 5 */
	await(0, 2);
	atomic_store(&travellers[2].cancel, true);
	arrive(2);
	assert_int_equal(travellers[2].err.code, ERR_CANCELLED);
	await(0, 2); /* 3 leads, with 4 and 5 */
	atomic_store(&told.gated, false);
	arrive(1);
	for (size_t i = 3; i < 6; i++) {
		arrive(i);
		assert_true(travellers[i].ok);
	}
	assert_int_equal(atomic_load(&told.calls), 4);
}

/* Followers get off while the call that they are aboard of is under way, and need not wait for its end; the rest arrives. */
static void
test_follower_gets_off(void **state)
{
	(void)state;
	two_in_flight();
	gather(2, 6, 2);
	free_one_flight();
	await(0, 2);
	for (size_t i = 3; i < 5; i++)
		atomic_store(&travellers[i].cancel, true);
	for (size_t i = 3; i < 5; i++) {
		arrive(i); /* though the gate is shut */
		assert_int_equal(travellers[i].err.code, ERR_CANCELLED);
	}
	atomic_store(&told.gated, false);
	arrive(1);
	arrive(2);
	arrive(5);
	assert_true(travellers[1].ok && travellers[2].ok && travellers[5].ok);
	assert_int_equal(atomic_load(&told.calls), 3);
}

static void
test_deadline_in_line(void **state)
{
	(void)state;
	two_in_flight();
	fill(&travellers[2], 1, "good");
	travellers[2].deadline_mono_ms = clock_mono_ms() + 1;
	assert_int_equal(pthread_create(&travellers[2].thread, NULL, travel, &travellers[2]), 0);
	arrive(2);
	assert_int_equal(travellers[2].err.code, ERR_DEADLINE);
	assert_int_equal(embed_pool_line(pool), 0);
	atomic_store(&told.gated, false);
	arrive(0);
	arrive(1);
}

/* One text that the server refuses for good: only the job it is of fails. */
static void
test_a_poisonous_text_fails_its_own_job(void **state)
{
	(void)state;
	told.poison = "bad";
	two_in_flight();
	gather(2, 8, 1);
	atomic_store(&told.gated, false);
	for (size_t i = 0; i < 8; i++) {
		arrive(i);
		assert_int_equal(travellers[i].ok, i != 6);
	}
	assert_int_equal(travellers[6].err.code, ERR_PROVIDER_REJECTED);
	/* two, the shared one, and six on their own */
	assert_int_equal(atomic_load(&told.calls), 2 + 1 + 6);
}

/* An outage is found out once for all who are aboard. */
static void
test_an_outage_is_everybodys(void **state)
{
	static const enum err_code codes[] = { ERR_PROVIDER_UNAVAILABLE, ERR_PROVIDER_LIMITED };

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(codes); k++) {
		atomic_store(&told.calls, 0);
		two_in_flight();
		gather(2, 8, 1);
		atomic_store(&told.fail_after, 0);
		atomic_store(&told.fail_code, (int)codes[k]);
		atomic_store(&told.gated, false);
		for (size_t i = 0; i < 8; i++) {
			arrive(i);
			assert_false(travellers[i].ok);
			assert_int_equal(travellers[i].err.code, codes[k]);
		}
		assert_int_equal(atomic_load(&told.calls), 2 + 1);
		atomic_store(&told.fail_code, 0);
	}
}

/* The limits of the server hold for shared calls, too, and each load finds out about its own texts. */
static void
test_shared_calls_are_halved(void **state)
{
	(void)state;
	told.takes_batch = 3;
	two_in_flight();
	gather(2, 8, 1);
	atomic_store(&told.gated, false);
	for (size_t i = 0; i < 8; i++) {
		arrive(i);
		assert_true(travellers[i].ok);
		assert_false(travellers[i].split[0]);
	}
	assert_int_equal(atomic_load(&told.largest), 3);
}

struct rounds {
	pthread_t thread;
	uint64_t seed;
	int good, failed, stopped;
};

/* Random loads, cancels, deadlines and failures: a load that succeeds has its own vectors (travel compares). */
static void *
many_rounds(void *arg)
{
	struct rounds *rounds = arg;
	struct text_random random = { rounds->seed };
	struct traveller t;

	for (int i = 0; i < 150; i++) {
		fill(&t, 1 + text_random(&random, 3),
		     text_random(&random, 12) == 0 ? "bad" : "good");
		for (size_t k = 0; k < t.load.count; k++) {
			size_t len = strlen(t.bytes[k]);

			(void)snprintf(t.bytes[k] + len, sizeof(t.bytes[k]) - len, ".%d.%llu", i,
				       (unsigned long long)rounds->seed);
			t.texts[k] = str_of(t.bytes[k]);
		}
		if (text_random(&random, 8) == 0)
			t.deadline_mono_ms = clock_mono_ms() + (int64_t)text_random(&random, 3);
		travel(&t);
		if (t.ok)
			rounds->good++;
		else if (t.err.code == ERR_DEADLINE)
			rounds->stopped++;
		else
			rounds->failed++;
		assert_true(t.ok || t.err.code == ERR_DEADLINE ||
			    (t.err.code == ERR_PROVIDER_REJECTED &&
			     strncmp(t.bytes[0], "bad", 3) == 0));
	}
	return NULL;
}

static void
test_many_rounds_at_once(void **state)
{
	struct rounds rounds[THREADS];
	int good = 0, failed = 0;

	(void)state;
	told.poison = "bad";
	told.takes_batch = 7;
	for (size_t i = 0; i < THREADS; i++) {
		rounds[i] = (struct rounds){ .seed = i + 1 };
		assert_int_equal(pthread_create(&rounds[i].thread, NULL, many_rounds, &rounds[i]),
				 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(rounds[i].thread, NULL);
		good += rounds[i].good;
		failed += rounds[i].failed;
	}
	assert_true(good > THREADS * 75 && failed > 0);
	assert_int_equal(embed_pool_line(pool), 0);
	print_message("%d loads, %d calls\n", THREADS * 150, atomic_load(&told.calls));
}

int
main(void)
{
#define EMBED_TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)
	const struct CMUnitTest tests[] = {
		EMBED_TEST(test_batches_in_order),
		EMBED_TEST(test_same_again_costs_nothing),
		EMBED_TEST(test_only_what_changed),
		EMBED_TEST(test_equal_texts_go_once),
		EMBED_TEST(test_blank_texts_stay_here),
		EMBED_TEST(test_calls_are_bounded_by_tokens),
		EMBED_TEST(test_calls_are_bounded_by_bytes),
		EMBED_TEST(test_known_length_is_not_tried),
		EMBED_TEST(test_refused_length_is_learnt),
		EMBED_TEST(test_a_limit_that_is_learnt_meanwhile),
		EMBED_TEST(test_finished_calls_are_kept),
		EMBED_TEST(test_progress),
		EMBED_TEST(test_without_a_cache),
		EMBED_TEST(test_short_memory_keeps_nothing),
		EMBED_TEST(test_direct),
		EMBED_TEST(test_one_waits_for_nobody),
		EMBED_TEST(test_who_waits_travels_together),
		EMBED_TEST(test_leaders_cancel_fails_nobody_else),
		EMBED_TEST(test_follower_gets_off),
		EMBED_TEST(test_deadline_in_line),
		EMBED_TEST(test_a_poisonous_text_fails_its_own_job),
		EMBED_TEST(test_an_outage_is_everybodys),
		EMBED_TEST(test_shared_calls_are_halved),
		EMBED_TEST(test_many_rounds_at_once),
	};

	return cmocka_run_group_tests(tests, redis_group_start, redis_group_stop);
}
