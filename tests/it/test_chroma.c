/*
 * The store `chroma` with a real server: what the contract of stores does not ask. Killed under load, many records, what others have written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/catalog.h"
#include "common/json.h"
#include "jobs/spec/filter.h"
#include "jobs/store/store.h"
#include "tests/support/chroma_server.h"
#include "tests/support/must.h"
#include "tests/support/redis_server.h"

#define DIM 8
#define WRITERS 3
#define KILLS 3
#define KILL_AFTER 12 /* documents between two kills */
#define DATABASE "/tenants/default_tenant/databases/%s"

struct fixture {
	struct config config;
	struct store *store;
	struct arena arena;
	char database[32];
};

static struct chroma_server *server;
static struct redis_server *redis;
static int databases;

static int
set_up(void **state)
{
	struct fixture *fixture = mem_alloc(sizeof(*fixture));

	chroma_configure(&fixture->config, chroma_server_port(server), redis_server_url(redis));
	(void)snprintf(fixture->database, sizeof(fixture->database), "real-%d", databases++);
	fixture->config.chroma_database = fixture->database;
	arena_init(&fixture->arena, (size_t)1 << 28);
	MUST(store_open(&fixture->config, &fixture->store, e));
	*state = fixture;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *fixture = *state;

	store_close(fixture->store);
	arena_release(&fixture->arena);
	mem_free(fixture);
	return 0;
}

/* ---- documents ---- */

struct doc {
	const char *id, *gen, *metadata;
	size_t chunks;
	float turn;    /* of the vectors, away from the first axis */
	uint64_t seed; /* > 0: each chunk has a direction of its own */
};

/* Any direction; always the same for the same seed. (Many equal vectors are no fair question to a graph index.) */
static void
draw_vector(uint64_t seed, float out[DIM])
{
	for (size_t i = 0; i < DIM; i++) {
		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		out[i] = (float)(seed >> 40) / (float)(1 << 23) - 1;
	}
}

static bool
put(struct fixture *fixture, struct doc doc, struct err *err)
{
	const float vector[DIM] = { 1, doc.turn };
	float(*drawn)[DIM] = mem_array(doc.chunks, sizeof(*drawn));
	struct store_chunk *chunks = mem_array(doc.chunks, sizeof(*chunks));
	struct store_document document = {
		.uid = STR("c1"),
		.document_id = str_of(doc.id),
		.gen = str_of(doc.gen ? doc.gen : "1.1"),
		.metadata = str_of(doc.metadata),
		.chunks = chunks,
		.count = doc.chunks,
		.dim = DIM,
	};
	bool ok;

	for (size_t i = 0; i < doc.chunks; i++) {
		draw_vector(doc.seed + i, drawn[i]);
		chunks[i] = (struct store_chunk){ .ordinal = (int64_t)i,
						  .text = STR("some text"),
						  .vector = doc.seed > 0 ? drawn[i] : vector };
	}
	ok = fixture->store->ops->put(fixture->store, &document, err);
	mem_free(chunks);
	mem_free(drawn);
	return ok;
}

#define PUT(fixture, ...) MUST(put(fixture, (struct doc){ __VA_ARGS__ }, e))

static int64_t
count_of(struct fixture *fixture, const char *id, const char *gen)
{
	int64_t count = -1;

	MUST(fixture->store->ops->count(fixture->store, STR("c1"), str_of(id), str_of(gen), &count,
					e));
	return count;
}

static struct store_hits
search_near(struct fixture *fixture, const float vector[DIM], const char *filter, size_t limit)
{
	struct store_search search = {
		.uid = STR("c1"), .vector = vector, .dim = DIM, .limit = limit
	};
	struct store_hits hits = { 0 };
	struct filter *parsed = NULL;

	if (filter)
		MUST(filter_parse(str_of(filter), &fixture->arena, &parsed, e));
	search.filter = parsed;
	MUST(fixture->store->ops->search(fixture->store, &search, &fixture->arena, &hits, e));
	return hits;
}

static struct store_hits
search(struct fixture *fixture, const char *filter, size_t limit)
{
	static const float vector[DIM] = { 1 };

	return search_near(fixture, vector, filter, limit);
}

struct listing {
	int64_t generations, chunks;
};

static bool
list_one(void *user, const struct store_generation *generation, struct err *err)
{
	struct listing *listing = user;

	(void)err;
	listing->generations++;
	listing->chunks += generation->chunks;
	return true;
}

static struct listing
list_all(struct fixture *fixture)
{
	struct listing all = { 0 };

	MUST(fixture->store->ops->each_generation(fixture->store, list_one, &all, e));
	return all;
}

/* ---- killed under load ---- */

struct load {
	struct fixture *fixture;
	int number;
	atomic_bool *stop;
	atomic_int *written;
	int documents; /* acknowledged: 0 .. documents-1 */
	int waits;
	bool failed;
};

static void
name_of(char out[32], int writer, int document)
{
	(void)snprintf(out, 32, "w%d-%d", writer, document);
}

static uint64_t
seed_of(int writer, int document)
{
	return (uint64_t)(1 + writer) * 1000000 + (uint64_t)document * 1000;
}

/* It is there with all its chunks, and each is found by its own vector. */
static void
check_document(struct fixture *fixture, int writer, int document)
{
	char id[32];

	name_of(id, writer, document);
	assert_int_equal(count_of(fixture, id, "1.1"), 5);
	for (uint64_t chunk = 0; chunk < 5; chunk++) {
		struct store_hits hits;
		float vector[DIM];

		draw_vector(seed_of(writer, document) + chunk, vector);
		hits = search_near(fixture, vector, NULL, 1);
		assert_int_equal(hits.dense_count, 1);
		if (!str_eq_c(hits.dense[0].document_id, id) ||
		    hits.dense[0].ordinal != (int64_t)chunk)
			fail_msg("%s, chunk %d: found " STR_FMT " instead", id, (int)chunk,
				 STR_ARG(hits.dense[0].document_id));
	}
}

/* As jobs do it: what is away is waited for, and the same document is put again. */
static void *
write_on(void *user)
{
	struct load *load = user;

	while (!atomic_load(load->stop) && !load->failed) {
		struct err err = ERR_INIT;
		char id[32];

		name_of(id, load->number, load->documents);
		if (put(load->fixture,
			(struct doc){ .id = id,
				      .chunks = 5,
				      .seed = seed_of(load->number, load->documents) },
			&err)) {
			load->documents++;
			atomic_fetch_add(load->written, 1);
		} else if (err.code == ERR_STORE_UNAVAILABLE) {
			load->waits++;
		} else {
			print_error("%s: %s (%s)\n", id, err.msg, err.cause);
			load->failed = true;
		}
	}
	return NULL;
}

static void
await_written(atomic_int *written, int count)
{
	int64_t until_ms = clock_mono_ms() + 120000;

	while (atomic_load(written) < count) {
		if (clock_mono_ms() > until_ms)
			fail_msg("only %d documents of %d", atomic_load(written), count);
		clock_sleep_ms(2); /* between looks */
	}
}

static void
killed_under_load_loses_nothing_acknowledged(void **state)
{
	struct fixture *fixture = *state;
	struct load loads[WRITERS];
	pthread_t threads[WRITERS];
	atomic_bool stop = false;
	atomic_int written = 0;
	int documents = 0, waits = 0;
	struct listing all;

	for (int i = 0; i < WRITERS; i++) {
		loads[i] = (struct load){ fixture, i, &stop, &written, 0, 0, false };
		assert_int_equal(pthread_create(&threads[i], NULL, write_on, &loads[i]), 0);
	}
	for (int kill = 1; kill <= KILLS; kill++) {
		await_written(&written, kill * KILL_AFTER);
		chroma_server_restart(server); /* SIGKILL in the middle of whatever it does */
	}
	await_written(&written, (KILLS + 1) * KILL_AFTER);
	atomic_store(&stop, true);
	for (int i = 0; i < WRITERS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_false(loads[i].failed);
		documents += loads[i].documents;
		waits += loads[i].waits;
	}
	chroma_server_restart(server);
	for (int i = 0; i < WRITERS; i++) {
		for (int d = 0; d < loads[i].documents; d++)
			check_document(fixture, i, d);
	}
	all = list_all(fixture);
	print_message("%d documents acknowledged, %d kills, %d waits\n", documents, KILLS + 1,
		      waits);
	/* at most one document a writer was cut off and not put again */
	assert_in_range(all.generations, documents, documents + WRITERS);
}

/* ---- many ---- */

static void
many_records_are_paged_and_removed(void **state)
{
	struct fixture *fixture = *state;
	struct listing all;

	/* more than a page of ids, more than a delete takes, more than a write takes */
	for (int i = 0; i < 6; i++) {
		char id[16];

		(void)snprintf(id, sizeof(id), "d%d", i);
		PUT(fixture, .id = id, .gen = "3.1", .chunks = 1100);
	}
	PUT(fixture, .id = "d0", .gen = "4.1", .chunks = 3);
	assert_int_equal(count_of(fixture, "d0", "3.1"), 1100);
	all = list_all(fixture);
	assert_int_equal(all.generations, 7);
	assert_int_equal(all.chunks, 6 * 1100 + 3);
	MUST(fixture->store->ops->remove_older(fixture->store, STR("c1"), STR("d0"), 4, STR(""),
					       e));
	assert_int_equal(count_of(fixture, "d0", "3.1"), 0);
	assert_int_equal(count_of(fixture, "d0", "4.1"), 3);
	assert_int_equal(list_all(fixture).chunks, 5 * 1100 + 3);
}

/* ---- filters that Chroma cannot say ---- */

static void
what_is_decided_afterwards_fills_the_limit(void **state)
{
	struct fixture *fixture = *state;
	struct store_hits hits;

	/* the nearest do not pass, and strings have no order in Chroma */
	for (int i = 0; i < 120; i++) {
		char id[16];

		(void)snprintf(id, sizeof(id), "d%03d", i);
		PUT(fixture, .id = id, .metadata = i < 100 ? "{\"l\":\"a\"}" : "{\"l\":\"z\"}",
		    .chunks = 1, .turn = (float)i * 0.01F);
	}
	hits = search(fixture, "{\"l\":{\"$gt\":\"m\"}}", 7);
	assert_int_equal(hits.dense_count, 7);
	assert_true(hits.dense_more);
	for (size_t i = 0; i < hits.dense_count; i++)
		assert_true(str_cmp(hits.dense[i].document_id, STR("d100")) >= 0);
	hits = search(fixture, "{\"l\":{\"$gt\":\"m\"}}", 50);
	assert_int_equal(hits.dense_count, 20);
	assert_false(hits.dense_more);
}

/* ---- what stays and what goes ---- */

/* POST to the records of c1; the body is copied into out. */
static void
raw(struct fixture *fixture, const char *verb, const char *body, struct buf *out)
{
	AUTO(http_reply) struct http_reply reply = { 0 };
	AUTO_PTR(js_free) struct js *root = NULL;
	struct str uuid = STR("");
	char path[256];

	http_reply_init(&reply, (size_t)1 << 24);
	(void)snprintf(path, sizeof(path), DATABASE "/collections/rag-c1", fixture->database);
	assert_int_equal(chroma_server_call(server, "GET", path, "", &reply), 200);
	MUST(js_parse(str_make(reply.body.data, reply.body.len), &root, e));
	assert_true(js_get_str(root, "id", &uuid));
	(void)snprintf(path, sizeof(path), DATABASE "/collections/" STR_FMT "/%s",
		       fixture->database, STR_ARG(uuid), verb);
	assert_int_equal(chroma_server_call(server, "POST", path, body, &reply), 200);
	buf_clear(out);
	buf_add(out, reply.body.data, reply.body.len);
}

/* An upsert merges keys: what a generation had before must not shine through. */
static void
stale_metadata_goes(void **state)
{
	struct fixture *fixture = *state;
	AUTO(buf) struct buf got = BUF_INIT((size_t)1 << 20);

	PUT(fixture, .id = "d", .metadata = "{\"lang\":\"en\",\"tag\":[\"x\"]}", .chunks = 3);
	assert_int_equal(search(fixture, "{\"lang\":\"en\"}", 10).dense_count, 3);
	PUT(fixture, .id = "d", .metadata = "{\"year\":1}", .chunks = 2);
	assert_int_equal(search(fixture, "{\"lang\":\"en\"}", 10).dense_count, 0);
	assert_int_equal(search(fixture, "{\"tag\":\"x\"}", 10).dense_count, 0);
	assert_int_equal(search(fixture, "{\"year\":1}", 10).dense_count, 2);
	assert_int_equal(count_of(fixture, "d", "1.1"), 2);
	raw(fixture, "get", "{\"include\":[\"metadatas\"]}", &got);
	assert_null(strstr(got.data, "m.lang"));
	assert_null(strstr(got.data, "i.tag"));
	assert_non_null(strstr(got.data, "m.year"));
}

/* Somebody else's records in a collection of ours are neither found nor counted nor removed. */
static void
foreign_records_are_left_alone(void **state)
{
	struct fixture *fixture = *state;
	AUTO(buf) struct buf got = BUF_INIT((size_t)1 << 20);
	struct store_hits hits;

	PUT(fixture, .id = "d", .chunks = 2, .turn = 0.5F);
	raw(fixture, "upsert",
	    "{\"ids\":[\"theirs\"],\"embeddings\":[[1,0,0,0,0,0,0,0]],\"metadatas\":[{"
	    "\"document_id\":\"d\"}]}",
	    &got);
	hits = search(fixture, NULL, 10);
	assert_int_equal(hits.dense_count, 2);
	assert_int_equal(count_of(fixture, "d", "1.1"), 2);
	assert_int_equal(list_all(fixture).chunks, 2);
	MUST(fixture->store->ops->remove_older(fixture->store, STR("c1"), STR("d"), 9, STR(""), e));
	assert_int_equal(list_all(fixture).chunks, 0);
	raw(fixture, "get", "{\"include\":[]}", &got);
	assert_non_null(strstr(got.data, "theirs"));
}

/* Ids of documents that look like ids of records, and the longest one that there may be. */
static void
odd_ids_are_just_ids(void **state)
{
	char longest[CATALOG_DOC_ID_MAX_BYTES + 1] = "";
	const char *ids[] = { "a",	"a@1.1",    "a@1.1#0",
			      "a#0",	"#",	    "@",
			      "@1.1#2", "\"\\'{}$", "\xe6\x97\xa5\xe6\x9c\xac#\xf0\x9f\x90\xa6@",
			      "$and",	longest };
	struct fixture *fixture = *state;

	for (size_t len = 0; len + 4 <= CATALOG_DOC_ID_MAX_BYTES; len += 4)
		memcpy(longest + len, "\xf0\x9f\x90\xa6", 4);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		PUT(fixture, .id = ids[i], .chunks = 3, .seed = 100 * i + 1);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		float vector[DIM];
		struct store_hits hits;

		draw_vector(100 * i + 1 + 2, vector);
		hits = search_near(fixture, vector, NULL, 1);
		assert_true(str_eq_c(hits.dense[0].document_id, ids[i]));
		assert_true(str_eq_c(hits.dense[0].gen, "1.1"));
		assert_int_equal(hits.dense[0].ordinal, 2);
		assert_int_equal(count_of(fixture, ids[i], "1.1"), 3);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		MUST(fixture->store->ops->remove_generation(fixture->store, STR("c1"),
							    str_of(ids[i]), STR("1.1"), e));
		for (size_t k = 0; k < ARRAY_SIZE(ids); k++)
			assert_int_equal(count_of(fixture, ids[k], "1.1"), k > i ? 3 : 0);
	}
}

/* Keys that are the engine's own or Chroma's, and values that Chroma has no type for. */
static void
odd_metadata_come_back(void **state)
{
	static const char metadata[] =
		"{\"document_id\":\"x\",\"generation\":\"9.9\",\"metadata\":{\"a\":[1]},\"o\":5,"
		"\"m.o\":\"y\",\"ordinal\":77,"
		"\"start\":\"s\",\"\":\"empty\",\"$and\":[1,\"z\",null,[2],{}],\"chroma:document\":"
		"\"d\",\"#document\":true,"
		"\"rag.collection\":null,\"list\":[],\"big\":1.5e300,\"small\":-0."
		"0,\"text\":\"\\u0001\"}";
	static const char *const match[] = { "{\"o\":5}",
					     "{\"m.o\":\"y\"}",
					     "{\"ordinal\":77}",
					     "{\"start\":\"s\"}",
					     "{\"small\":0}",
					     "{\"#document\":true}",
					     "{\"generation\":\"9.9\"}",
					     "{\"chroma:document\":\"d\"}",
					     "{\"rag.collection\":null}",
					     "{\"big\":{\"$gt\":1e22}}",
					     "{\"text\":\"\\u0001\"}" };
	struct fixture *fixture = *state;

	PUT(fixture, .id = "d", .metadata = metadata, .chunks = 2);
	PUT(fixture, .id = "empty", .metadata = "{}", .chunks = 1, .turn = 2);
	for (size_t i = 0; i < ARRAY_SIZE(match); i++) {
		struct store_hits hits = search(fixture, match[i], 10);

		if (hits.dense_count != 2)
			fail_msg("%s: %zu", match[i], hits.dense_count);
		assert_true(str_eq_c(hits.dense[0].document_id, "d"));
		assert_true(str_eq_c(hits.dense[0].metadata, metadata));
		assert_int_equal(hits.dense[0].start, 0);
	}
	assert_int_equal(search(fixture, "{\"document_id\":\"x\"}", 10).dense_count, 0);
	assert_int_equal(count_of(fixture, "d", "1.1"), 2);
	assert_int_equal(count_of(fixture, "empty", "1.1"), 1);
}

static void
another_embedder_is_refused(void **state)
{
	struct fixture *fixture = *state;
	static const float vector[DIM] = { 1 };
	struct store_search search_it = {
		.uid = STR("c1"), .vector = vector, .dim = DIM, .limit = 3
	};
	struct store_hits hits = { 0 };
	struct store *other = NULL;
	struct config config = fixture->config;
	struct err err = ERR_INIT;

	PUT(fixture, .id = "d", .chunks = 1);
	config.embedder = EMBEDDER_OPENAI;
	config.embedder_model = "some-model";
	config.embedder_dim = DIM; /* the same length would be silent nonsense */
	config.embedder_url = "http://127.0.0.1:1/v1";
	config.openai_url = config.embedder_url;
	config.openai_api_key.value = "";
	config.embedder_api_key.value = "";
	config.embedder_query_prefix = config.embedder_document_prefix = "";
	MUST(store_open(&config, &other, e));
	assert_false(other->ops->search(other, &search_it, &fixture->arena, &hits, &err));
	assert_int_equal(err.code, ERR_EMBEDDER_MISMATCH);
	assert_non_null(strstr(err.msg, "some-model"));
	store_close(other);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(killed_under_load_loses_nothing_acknowledged),
		TEST(many_records_are_paged_and_removed),
		TEST(what_is_decided_afterwards_fills_the_limit),
		TEST(stale_metadata_goes),
		TEST(foreign_records_are_left_alone),
		TEST(odd_ids_are_just_ids),
		TEST(odd_metadata_come_back),
		TEST(another_embedder_is_refused),
	};
	struct err err = ERR_INIT;
	int failed;

	if (!http_client_global_init(&err))
		return 1;
	redis = redis_server_start(NULL);
	server = chroma_server_start();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	chroma_server_stop(server);
	redis_server_stop(redis);
	return failed;
}
