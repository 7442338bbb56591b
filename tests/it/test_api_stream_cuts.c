/*
 * A long stream, three clients that are cut at random places again and again, and an API that is killed with -9 and started
 * anew in the middle: all three put together exactly the bytes of the result. The worker is the test's, through the queue's
 * functions and the worker's own emitter, so the number of tokens and of events kept is the test's too.
 *
 * A larger run: STREAM_TOKENS=50000 STREAM_ROUNDS=20 STREAM_SEED=7 build/asan/tests/test_api_stream_cuts
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/support/api.h"
#include "tests/support/must.h"
#include "tests/support/queue_check.h"
#include "tests/support/redis_server.h"
#include "tests/support/sse_client.h"
#include "worker/emitter.h"

#define V1 "/api/v1"
#define QUERY V1 "/collections/default/query"
#define CLIENTS 3
#define KILLS 2
#define KEPT_EVENTS 300 /* far fewer than there are tokens: some clients fall behind what is kept */
#define TEXT_MAX ((size_t)64 * 1024 * 1024)

static struct redis_server *redis_process;
static struct redis *redis;
static struct api_server *api;
static atomic_int port;

struct client {
	struct sse_client sse;
	char path[160];
	uint64_t rng;
	size_t cuts, refused, stuck;
	pthread_t thread;
};

static int64_t
setting(const char *name, int64_t otherwise)
{
	const char *text = getenv(name);
	int64_t value = otherwise;

	if (text && !str_to_i64(str_of(text), 1, 10000000, &value))
		fail_msg("%s is no number", name);
	return value;
}

static uint64_t
next(uint64_t *rng, uint64_t below)
{
	*rng ^= *rng << 13;
	*rng ^= *rng >> 7;
	*rng ^= *rng << 17;
	return *rng % below;
}

/* ---- the API ---- */

static void
start_api(void)
{
	api = api_server_start(redis_server_url(redis_process),
			       (const char *const[]){ "API_STREAM_PING_MS=200", NULL });
	atomic_store(&port, api->port);
}

static void
kill_api(void)
{
	process_signal(api->process, SIGKILL);
	(void)process_wait(api->process);
	process_stop(api->process);
	mem_free(api);
	api = NULL;
}

static int
start_all(void **state)
{
	(void)state;
	MUST(http_client_global_init(e));
	redis_process = redis_server_start(NULL);
	redis = redis_server_connect(redis_process);
	start_api();
	return 0;
}

static int
stop_all(void **state)
{
	int code = api_server_stop(api);

	(void)state;
	redis_free(redis);
	redis_server_stop(redis_process);
	return code;
}

/* ---- the clients ---- */

static void *
client_run(void *user)
{
	struct client *client = user;

	while (!client->sse.done) {
		size_t before = client->sse.events;
		int status;

		/* a reset brings the whole text: who gets nowhere is cut later */
		client->sse.limit = (1 + next(&client->rng, 6000)) << client->stuck;
		status = sse_client_open(&client->sse, atomic_load(&port), "GET", client->path,
					 NULL, NULL);
		if (status == 0) { /* nobody there: the API is dead */
			client->refused++;
			clock_sleep_ms(20);
			continue;
		}
		assert_int_equal(status, 200);
		sse_client_drain(&client->sse);
		client->cuts += !client->sse.done;
		client->stuck = client->sse.events > before ? 0 : client->stuck + 1;
	}
	return NULL;
}

/* ---- the worker ---- */

/* A token as models make them: with blanks, quotes, line ends, and characters of every length, some of them cut in two. */
static void
make_token(uint64_t *rng, int64_t number, struct buf *out)
{
	static const char *const odd[] = {
		"\xe2\x82\xac", "\xf0\x9f\x8c\x8d", "\"q\"", "\n",   "\\n",
		"\xc3\xa4",	"data: x\n\n",	    "\t",    "</s>", " "
	};

	buf_clear(out);
	buf_printf(out, "t%lld", (long long)number);
	buf_add_str(out, odd[next(rng, ARRAY_SIZE(odd))]);
}

static void
emit_tokens(struct emitter *emitter, uint64_t *rng, int64_t from, int64_t to, struct buf *answer)
{
	AUTO(buf) struct buf token = BUF_INIT(256);

	for (int64_t i = from; i < to; i++) {
		size_t half;

		make_token(rng, i, &token);
		half = next(rng, token.len + 1);
		MUST(emitter_text(emitter, str_make(token.data, half), e));
		MUST(emitter_text(emitter, str_make(token.data + half, token.len - half), e));
		buf_add(answer, token.data, token.len);
	}
}

static void
succeed(const struct fake_job *job, const struct emitter *emitter, const struct buf *answer)
{
	AUTO(buf) struct buf result = BUF_INIT(TEXT_MAX);
	struct fake_job done = *job;
	struct jw w = jw_start(&result);

	jw_obj(&w);
	jw_kstr(&w, "answer", str_make(answer->data, answer->len));
	jw_end(&w);
	assert_true(emitter->whole);
	done.whole = true;
	fake_succeed(redis, &done, result.data);
}

/* The whole life of the job; restarts: it is handed back once in the middle, and begins anew with another text. */
static void
work(uint64_t *rng, int64_t tokens, bool restarts, struct buf *answer)
{
	AUTO(arena) struct arena arena;
	struct emitter emitter;
	struct fake_job job;

	arena_init(&arena, TEXT_MAX);
	fake_take(redis, "query", &arena, &job);
	emitter_init(&emitter, redis, &job.lease, 0, KEPT_EVENTS);
	if (restarts) {
		emit_tokens(&emitter, rng, 1000000, 1000000 + tokens / 2, answer);
		emitter_release(&emitter);
		buf_clear(answer);
		fake_settle(redis, &job, SETTLE_HAND_BACK, STR(""), NULL);
		fake_take(redis, "query", &arena, &job);
		emitter_init(&emitter, redis, &job.lease, 0, KEPT_EVENTS);
	}
	for (int64_t part = 0; part <= KILLS; part++) {
		if (part > 0) {
			kill_api();
			/* the job does not wait for anybody */
			emit_tokens(&emitter, rng, tokens * part / (KILLS + 1) - tokens / 20,
				    tokens * part / (KILLS + 1), answer);
			start_api();
		}
		emit_tokens(&emitter, rng, tokens * part / (KILLS + 1),
			    tokens * (part + 1) / (KILLS + 1) - (part < KILLS ? tokens / 20 : 0),
			    answer);
	}
	MUST(emitter_finish(&emitter, str_make(answer->data, answer->len), e));
	succeed(&job, &emitter, answer);
	emitter_release(&emitter);
}

/* ---- a round ---- */

static void
check_client(const struct client *client, size_t index, const struct buf *answer)
{
	const struct js *result = js_get(client->sse.result, "result");
	struct str said = STR("");

	assert_true(js_get_str(result, "answer", &said));
	assert_int_equal(client->sse.text.len, answer->len);
	assert_memory_equal(client->sse.text.data, answer->data, answer->len);
	assert_true(str_eq(said, str_make(answer->data, answer->len)));
	print_message(
		"  client %zu: %zu connections, cut %zu times, refused %zu times, %zu events, "
		"%zu resets: the same %zu bytes\n",
		index, client->sse.connections - client->refused, client->cuts, client->refused,
		client->sse.events, client->sse.resets, answer->len);
}

static void
run_round(uint64_t seed, bool restarts)
{
	AUTO(buf) struct buf answer = BUF_INIT(TEXT_MAX);
	int64_t tokens = setting("STREAM_TOKENS", 2000);
	uint64_t rng = seed * UINT64_C(2654435761) + 1;
	struct client *clients = mem_array(CLIENTS, sizeof(*clients));
	struct answer submitted = { 0 };
	struct queue_ref queue;

	ask(api, &submitted, "POST", QUERY, "{\"query\":\"x\",\"stream\":true}");
	assert_int_equal(submitted.status, 202);
	for (size_t i = 0; i < CLIENTS; i++) {
		sse_client_init(&clients[i].sse);
		clients[i].rng = rng + i + 1;
		(void)snprintf(clients[i].path, sizeof(clients[i].path),
			       V1 "/jobs/" STR_FMT "/events",
			       STR_ARG(answer_str(&submitted, "id")));
		assert_int_equal(pthread_create(&clients[i].thread, NULL, client_run, &clients[i]),
				 0);
	}
	work(&rng, tokens, restarts, &answer);
	print_message("seed %llu: %lld tokens%s, the API killed with -9 %d times\n",
		      (unsigned long long)seed, (long long)tokens,
		      restarts ? " after a first start that was void" : "", KILLS);
	for (size_t i = 0; i < CLIENTS; i++) {
		pthread_join(clients[i].thread, NULL);
		check_client(&clients[i], i, &answer);
		assert_true(clients[i].cuts >= 3);
		sse_client_release(&clients[i].sse);
	}
	assert_true(job_id_parse(answer_str(&submitted, "id"), &queue));
	queue_check(redis, queue, "after the stream", NULL);
	answer_release(&submitted);
	mem_free(clients);
}

static void
cut_anywhere_the_bytes_are_the_same(void **state)
{
	uint64_t seed = (uint64_t)setting("STREAM_SEED", 1);

	(void)state;
	for (int64_t round = 0; round < setting("STREAM_ROUNDS", 1); round++)
		run_round(seed + (uint64_t)round, false);
}

static void
cut_anywhere_over_two_starts(void **state)
{
	uint64_t seed = (uint64_t)setting("STREAM_SEED", 1);

	(void)state;
	for (int64_t round = 0; round < setting("STREAM_ROUNDS", 1); round++)
		run_round(seed + (uint64_t)round, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cut_anywhere_the_bytes_are_the_same),
		cmocka_unit_test(cut_anywhere_over_two_starts),
	};

	return cmocka_run_group_tests(tests, start_all, stop_all);
}
