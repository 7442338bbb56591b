/*
 * The store `chroma` against a server that answers what a test writes: refusals, cuts, older and newer servers, servers that are none. Each trap of
 * Chroma's protocol that has to do with an exchange, by name; those of texts alone are in tests/unit/test_chroma_wire.c, what a real server does in
 * tests/contract/test_store.c and test_chroma.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/governor.h"
#include "common/http_client.h"
#include "common/json.h"
#include "common/keys.h"
#include "jobs/store/store.h"
#include "tests/support/chroma_server.h"
#include "tests/support/fake_http.h"
#include "tests/support/must.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"

#define DIM 4
#define MAX_ROWS 1500
#define MAX_SEEN 512
#define UUID "10e84028-2dd7-4386-b65a-2a74670a73c6"
#define NEW_UUID "20e84028-2dd7-4386-b65a-2a74670a73c6"
#define ROOT "/api/v2"
#define DATABASE ROOT "/tenants/default_tenant/databases/default_database"
#define OURS(id, space, dim)                                                                       \
	"{\"id\":\"" id                                                                            \
	"\",\"name\":\"rag-c1\",\"configuration_json\":{\"hnsw\":{\"space\":\"" space              \
	"\"}},\"metadata\":{\"rag.collection\":\"c1\",\"rag.embedder\":\"local/hash-1/768\"},"     \
	"\"dimension\":" dim "}"

/* One request as it came. */
struct seen {
	char method[8], path[256], token[128];
	size_t rows; /* "ids" of the body */
	size_t bytes;
	bool base64;
	bool has_first; /* an id of the body ends with "#0" */
};

/* What is answered, from the `from`th to the `to`th matching request on, counted from 0. */
struct rule {
	const char *path; /* end of it */
	const char *method;
	int from, to;
	int status;
	const char *headers; /* whole lines, or NULL */
	const char *body;
	size_t max_rows, max_bytes; /* > 0: only for requests with more */
	bool cut;		    /* closes without an answer, while the client sends */
	bool hang;		    /* no answer */
	atomic_int matched;
};

struct fixture {
	struct fake_http *server;
	struct config config;
	struct store *store;
	pthread_mutex_t lock;
	struct rule rules[8];
	atomic_size_t rule_count;
	struct seen seen[MAX_SEEN];
	size_t seen_count;
	char collection[512]; /* what GET and POST answer; "" = 404 for GET */
	atomic_bool exists;
	atomic_int writing, most_writing;
};

static struct redis_server *redis;
static atomic_bool cancelled;

/* ---- the server ---- */

static void
answer(const struct fake_request *request, int status, const char *headers, const char *body)
{
	AUTO(buf) struct buf text = BUF_INIT((size_t)1 << 24);

	buf_printf(&text,
		   "HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%sContent-Length: "
		   "%zu\r\n\r\n%s",
		   status, headers ? headers : "", strlen(body), body);
	fake_send(request, text.data);
}

static void
note_body(struct str body, struct seen *seen)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	const struct js *vectors;
	struct err ignored = ERR_INIT;

	seen->bytes = body.len;
	if (body.len == 0 || !js_parse(body, &root, &ignored) || !js_is(root, JS_OBJECT))
		return;
	seen->rows = js_is(js_get(root, "ids"), JS_ARRAY) ? js_len(js_get(root, "ids")) : 0;
	for (size_t i = 0; i < seen->rows; i++)
		seen->has_first |= js_is(js_at(js_get(root, "ids"), i), JS_STRING) &&
				   str_ends(js_str(js_at(js_get(root, "ids"), i)), "#0");
	vectors = js_get(root, "embeddings");
	seen->base64 = js_is(vectors, JS_ARRAY) && js_is(js_at(vectors, 0), JS_STRING);
}

static void
note(struct fixture *fixture, const struct fake_request *request, struct seen *seen)
{
	struct str rest = request->head, line;
	char *space;

	*seen = (struct seen){ .rows = 0 };
	assert_true(str_split(&rest, '\n', &line));
	(void)sscanf(line.ptr, "%7s %255s", seen->method, seen->path);
	space = strchr(seen->path, ' ');
	if (space)
		*space = '\0';
	while (str_split(&rest, '\n', &line)) {
		if (str_starts(line, "x-chroma-token:") || str_starts(line, "Authorization:"))
			(void)str_copy(seen->token, sizeof(seen->token), str_trim(line));
	}
	note_body(request->body, seen);
	assert_true(fixture->seen_count < MAX_SEEN);
	fixture->seen[fixture->seen_count++] = *seen;
}

/* *out: the rule as it is at this moment; the test may change its rules meanwhile. */
static bool
rule_for(struct fixture *fixture, const struct seen *seen, struct rule *out)
{
	for (size_t i = 0; i < fixture->rule_count; i++) {
		struct rule *rule = &fixture->rules[i];
		int nth;

		if (!str_ends(str_of(seen->path), rule->path) ||
		    (rule->method && strcmp(rule->method, seen->method) != 0) ||
		    (rule->max_rows > 0 && seen->rows <= rule->max_rows) ||
		    (rule->max_bytes > 0 && seen->bytes <= rule->max_bytes))
			continue;
		nth = rule->matched++;
		if (nth >= rule->from && (rule->to == 0 || nth < rule->to)) {
			*out = *rule;
			return true;
		}
	}
	return false;
}

static void
answer_collection(struct fixture *fixture, const struct fake_request *request)
{
	char text[sizeof(fixture->collection)];

	(void)pthread_mutex_lock(&fixture->lock);
	memcpy(text, fixture->collection, sizeof(text));
	(void)pthread_mutex_unlock(&fixture->lock);
	answer(request, 200, NULL, text);
}

static void
answer_usual(struct fixture *fixture, const struct fake_request *request, const struct seen *seen)
{
	struct str path = str_of(seen->path);
	bool gets = strcmp(seen->method, "GET") == 0;

	if (str_ends(path, "/pre-flight-checks"))
		answer(request, 200, NULL,
		       "{\"max_batch_size\":5461,\"supports_base64_encoding\":true}");
	else if (str_ends(path, "/get"))
		answer(request, 200, NULL, "{\"ids\":[],\"embeddings\":null}");
	else if (str_ends(path, "/query"))
		answer(request, 200, NULL,
		       "{\"ids\":[[]],\"documents\":[[]],\"metadatas\":[[]],\"distances\":[[]]}");
	else if (gets && str_ends(path, "/collections/rag-c1") && !fixture->exists)
		answer(request, 404, NULL, "{\"error\":\"NotFoundError\",\"message\":\"no\"}");
	else if (str_ends(path, "/collections/rag-c1") || str_ends(path, "/collections"))
		answer_collection(fixture, request);
	else
		answer(request, 200, NULL, "{}");
	if (str_ends(path, "/collections") && !gets)
		fixture->exists = true;
}

static bool
serve(const struct fake_request *request, void *user)
{
	struct fixture *fixture = user;
	bool writes, ruled, keep = true;
	struct rule rule = { 0 };
	struct seen seen;

	(void)pthread_mutex_lock(&fixture->lock);
	note(fixture, request, &seen);
	ruled = rule_for(fixture, &seen, &rule);
	(void)pthread_mutex_unlock(&fixture->lock);
	writes = str_ends(str_of(seen.path), "/upsert");
	if (writes) {
		int now = atomic_fetch_add(&fixture->writing, 1) + 1, most;

		for (most = atomic_load(&fixture->most_writing);
		     now > most &&
		     !atomic_compare_exchange_weak(&fixture->most_writing, &most, now);)
			;
		clock_sleep_ms(2); /* long enough for others to come in, if they are let */
		(void)atomic_fetch_sub(&fixture->writing, 1);
	}
	if (ruled && rule.hang)
		fake_wait_closed(request);
	else if (ruled && rule.cut)
		keep = false;
	else if (ruled)
		answer(request, rule.status, rule.headers, rule.body ? rule.body : "");
	else
		answer_usual(fixture, request, &seen);
	return keep && !(ruled && rule.hang);
}

/* ---- the fixture ---- */

static struct rule *
add_rule(struct fixture *fixture, struct rule rule)
{
	struct rule *place;

	(void)pthread_mutex_lock(&fixture->lock);
	place = &fixture->rules[fixture->rule_count];
	*place = rule;
	fixture->rule_count++;
	(void)pthread_mutex_unlock(&fixture->lock);
	return place;
}

static void
set_collection(struct fixture *fixture, struct str text)
{
	(void)pthread_mutex_lock(&fixture->lock);
	assert_true(str_copy(fixture->collection, sizeof(fixture->collection), text));
	(void)pthread_mutex_unlock(&fixture->lock);
}

#define RULE(fixture, ...) add_rule(fixture, (struct rule){ __VA_ARGS__ })

static void
open_store(struct fixture *fixture)
{
	MUST(store_open(&fixture->config, &fixture->store, e));
}

static int
set_up(void **state)
{
	struct fixture *fixture = mem_alloc(sizeof(*fixture));

	(void)pthread_mutex_init(&fixture->lock, NULL);
	fixture->server = fake_http_start(serve, fixture);
	set_collection(fixture, STR(OURS(UUID, "cosine", "null")));
	chroma_configure(&fixture->config, fake_http_port(fixture->server),
			 redis_server_url(redis));
	open_store(fixture);
	*state = fixture;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *fixture = *state;

	store_close(fixture->store);
	fake_http_stop(fixture->server);
	(void)pthread_mutex_destroy(&fixture->lock);
	mem_free(fixture);
	return 0;
}

/* A document of `rows` chunks of `bytes` each. */
static bool
put_within(struct fixture *fixture, size_t rows, size_t bytes, struct store_limits limits,
	   struct err *err)
{
	static const float vector[DIM] = { 0.5F, 0.5F, 0.5F, 0.5F };
	struct store_chunk *chunks = mem_array(rows, sizeof(*chunks));
	char *text = mem_alloc(bytes + 1);
	struct store_document document = { .uid = STR("c1"),
					   .document_id = STR("d1"),
					   .gen = STR("1.1"),
					   .metadata = STR("{\"lang\":\"en\"}"),
					   .chunks = chunks,
					   .count = rows,
					   .dim = DIM,
					   .limits = limits };
	bool ok;

	memset(text, 'x', bytes);
	for (size_t i = 0; i < rows; i++)
		chunks[i] = (struct store_chunk){ .ordinal = (int64_t)i,
						  .text = str_make(text, bytes),
						  .vector = vector };
	ok = fixture->store->ops->put(fixture->store, &document, err);
	mem_free(chunks);
	mem_free(text);
	return ok;
}

static bool
put_sized(struct fixture *fixture, size_t rows, size_t bytes, const atomic_bool *cancel,
	  struct err *err)
{
	return put_within(fixture, rows, bytes, (struct store_limits){ .cancel = cancel }, err);
}

static void
put(struct fixture *fixture, size_t rows)
{
	MUST(put_sized(fixture, rows, 20, NULL, e));
}

static bool
try_search(struct fixture *fixture, struct store_hits *out, struct err *err)
{
	static const float vector[DIM] = { 1, 0, 0, 0 };
	static struct arena arena;
	const struct store_search search = {
		.uid = STR("c1"), .vector = vector, .dim = DIM, .limit = 5
	};

	arena_release(&arena);
	arena_init(&arena, (size_t)1 << 24);
	return fixture->store->ops->search(fixture->store, &search, &arena, out, err);
}

/* How many requests ended so; the rows they had in all. */
static size_t
count_seen(const struct fixture *fixture, const char *method, const char *end, size_t *out_rows)
{
	size_t count = 0, rows = 0;

	for (size_t i = 0; i < fixture->seen_count; i++) {
		const struct seen *seen = &fixture->seen[i];

		if (!str_ends(str_of(seen->path), end) || strcmp(seen->method, method) != 0)
			continue;
		count++;
		rows += seen->rows;
	}
	if (out_rows)
		*out_rows = rows;
	return count;
}

/* ---- tenant, database, collection ---- */

static void
tenant_and_database_are_made(void **state)
{
	struct fixture *fixture = *state;

	RULE(fixture, .path = "/databases/default_database", .method = "GET", .to = 1,
	     .status = 404);
	/* another process was faster: as good as made */
	RULE(fixture, .path = ROOT "/tenants", .status = 409,
	     .body = "{\"error\":\"ChromaError\"}");
	put(fixture, 1);
	assert_int_equal(count_seen(fixture, "POST", ROOT "/tenants", NULL), 1);
	assert_int_equal(count_seen(fixture, "POST", "/default_tenant/databases", NULL), 1);
	put(fixture, 1);
	assert_int_equal(count_seen(fixture, "POST", ROOT "/tenants", NULL), 1); /* once */
}

static void
collections_go_by_name_records_by_uuid(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;

	put(fixture, 1);
	assert_true(count_seen(fixture, "GET", DATABASE "/collections/rag-c1", NULL) > 0);
	assert_int_equal(count_seen(fixture, "POST", DATABASE "/collections/" UUID "/upsert", NULL),
			 1);
	MUST(fixture->store->ops->remove_collection(fixture->store, STR("c1"), &err));
	assert_int_equal(count_seen(fixture, "DELETE", DATABASE "/collections/rag-c1", NULL), 1);
}

static void
version_is_not_asked(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, 1); /* every version answers "1.0.0" */
	assert_int_equal(count_seen(fixture, "GET", "/version", NULL), 0);
}

/* Get-or-create brings an existing one back as it is, whatever was asked for. */
static void
existing_collection_is_compared(void **state)
{
	struct fixture *fixture = *state;
	struct store_hits hits = { 0 };
	struct err err = ERR_INIT;

	set_collection(fixture, STR(OURS(UUID, "l2", "null")));
	assert_false(put_sized(fixture, 1, 20, NULL, &err));
	assert_int_equal(err.code, ERR_STORE_FAILED);
	assert_non_null(strstr(err.msg, "cosine"));
	set_collection(fixture,
		       STR("{\"id\":\"" UUID
			   "\",\"name\":\"rag-c1\",\"configuration_json\":{\"hnsw\":{"
			   "\"space\":\"cosine\"}},\"metadata\":{\"rag.collection\":\"c1\","
			   "\"rag.embedder\":\"other/model/4\"},\"dimension\":null}"));
	fixture->exists = true;
	assert_false(put_sized(fixture, 1, 20, NULL, &err));
	assert_int_equal(err.code, ERR_EMBEDDER_MISMATCH);
	assert_false(try_search(fixture, &hits, &err));
	assert_int_equal(err.code, ERR_EMBEDDER_MISMATCH);
	set_collection(fixture, STR("{\"id\":\"" UUID "\",\"name\":\"rag-c1\",\"metadata\":null}"));
	assert_false(put_sized(fixture, 1, 20, NULL, &err));
	assert_non_null(strstr(err.msg, "not made by this engine"));
	assert_int_equal(count_seen(fixture, "POST", "/upsert", NULL), 0);
}

static void
dropped_collection_is_looked_up_once(void **state)
{
	struct fixture *fixture = *state;
	struct store_hits hits = { 0 };
	struct err err = ERR_INIT;

	put(fixture, 1);
	set_collection(fixture, STR(OURS(NEW_UUID, "cosine", "null")));
	/* dropped between the look at what is there and the write */
	RULE(fixture, .path = UUID "/upsert", .to = 1, .status = 404,
	     .body = "{\"error\":\"NotFoundError\"}");
	put(fixture, 1);
	assert_int_equal(count_seen(fixture, "POST", UUID "/upsert", NULL), 2);
	assert_int_equal(count_seen(fixture, "POST", NEW_UUID "/upsert", NULL), 1);
	/* before both */
	set_collection(fixture, STR(OURS(UUID, "cosine", "null")));
	RULE(fixture, .path = NEW_UUID "/get", .status = 404);
	put(fixture, 1);
	assert_int_equal(count_seen(fixture, "POST", UUID "/upsert", NULL), 3);
	assert_int_equal(count_seen(fixture, "POST", NEW_UUID "/upsert", NULL), 1);
	/* gone for good: nothing is found, and nothing is asked for ever */
	fixture->exists = false;
	RULE(fixture, .path = "/query", .status = 404);
	MUST(try_search(fixture, &hits, &err));
	assert_int_equal(hits.dense_count, 0);
	assert_int_equal(count_seen(fixture, "POST", "/query", NULL), 1);
}

/* Another process has fixed the dimension after we looked. */
static void
dimension_null_until_the_first_write(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;

	put(fixture, 1);
	set_collection(fixture, STR(OURS(UUID, "cosine", "3")));
	RULE(fixture, .path = "/upsert", .status = 400,
	     .body = "{\"error\":\"InvalidArgumentError\",\"message\":\"Collection expecting "
		     "embedding "
		     "with dimension of 3, got 4\"}");
	assert_false(put_sized(fixture, 1, 20, NULL, &err));
	assert_int_equal(err.code, ERR_EMBEDDER_MISMATCH);
	/* and now that it is known nothing is sent */
	assert_false(put_sized(fixture, 1, 20, NULL, &err));
	assert_int_equal(err.code, ERR_EMBEDDER_MISMATCH);
	assert_int_equal(count_seen(fixture, "POST", "/upsert", NULL), 2);
}

/* ---- writing ---- */

static void
base64_only_when_advertised(void **state)
{
	struct fixture *fixture = *state;

	RULE(fixture, .path = "/pre-flight-checks", .status = 200, .to = 1,
	     .body = "{\"max_batch_size\":5461}");
	put(fixture, 1);
	for (size_t i = 0; i < fixture->seen_count; i++)
		assert_false(fixture->seen[i].base64);
	store_close(fixture->store);
	open_store(fixture);
	put(fixture, 1);
	assert_true(fixture->seen[fixture->seen_count - 1].base64);
}

static void
writes_are_upserts(void **state)
{
	struct fixture *fixture = *state;

	put(fixture,
	    3); /* an `add` of an id that is there is silently ignored, an `update` of one that is not, too */
	assert_int_equal(count_seen(fixture, "POST", "/add", NULL), 0);
	assert_int_equal(count_seen(fixture, "POST", "/update", NULL), 0);
	assert_int_equal(count_seen(fixture, "POST", "/upsert", NULL), 1);
}

static void
writes_are_bounded_by_rows(void **state)
{
	struct fixture *fixture = *state;
	size_t rows = 0;

	put(fixture, 450);
	assert_int_equal(count_seen(fixture, "POST", "/upsert", &rows), 3); /* 200 a write */
	assert_int_equal(rows, 450);
	store_close(fixture->store);
	fixture->seen_count = 0;
	RULE(fixture, .path = "/pre-flight-checks", .status = 200,
	     .body = "{\"max_batch_size\":100,\"supports_base64_encoding\":true}");
	open_store(fixture);
	put(fixture, 450);
	assert_int_equal(count_seen(fixture, "POST", "/upsert", &rows), 5);
	assert_int_equal(rows, 450);
}

static void
writes_are_bounded_by_bytes(void **state)
{
	struct fixture *fixture = *state;
	size_t rows = 0;

	MUST(put_sized(fixture, 100, 200000, NULL, e)); /* 20 MB */
	assert_true(count_seen(fixture, "POST", "/upsert", &rows) >= 3);
	assert_int_equal(rows, 100);
	for (size_t i = 0; i < fixture->seen_count; i++)
		assert_true(fixture->seen[i].bytes <= (size_t)8 << 20);
}

static void
too_large_is_halved_and_learnt(void **state)
{
	struct fixture *fixture = *state;
	const struct rule *rule = RULE(fixture, .path = "/upsert", .max_bytes = 300000,
				       .status = 413, .body = "Payload too large"); /* plain text */
	size_t rows = 0;
	int refused;

	MUST(put_sized(fixture, 100, 10000, NULL, e));
	refused = rule->matched;
	assert_in_range(refused, 1, 4);
	fixture->seen_count = 0;
	MUST(put_sized(fixture, 100, 10000, NULL, e));
	assert_int_equal(rule->matched, refused); /* nothing is refused any more */
	assert_true(count_seen(fixture, "POST", "/upsert", &rows) >= 4);
	assert_int_equal(rows, 100);
}

static void
one_chunk_that_is_too_large_is_said(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;

	RULE(fixture, .path = "/upsert", .status = 413, .body = "Payload too large");
	assert_false(put_sized(fixture, 4, 5000, NULL, &err));
	assert_int_equal(err.code, ERR_TOO_LARGE);
}

static void
too_many_variables_is_halved_and_learnt(void **state)
{
	struct fixture *fixture = *state;
	size_t rows = 0;

	RULE(fixture, .path = "/upsert", .max_rows = 60, .status = 500,
	     .body = "{\"error\":\"InternalError\",\"message\":\"Query error: Database error: "
		     "error "
		     "returned from database: (code: 1) too many SQL variables\"}");
	put(fixture, 200);
	assert_int_equal(count_seen(fixture, "POST", "/upsert", &rows),
			 2 + 4); /* 200, 100, 4 x 50 */
	fixture->seen_count = 0;
	put(fixture, 200);
	assert_int_equal(count_seen(fixture, "POST", "/upsert", &rows), 4);
	assert_int_equal(rows, 200);
}

/* Closed while we send, without an answer that we could read. */
static void
broken_send_of_a_large_body_is_halved(void **state)
{
	struct fixture *fixture = *state;
	size_t rows = 0, count;

	RULE(fixture, .path = "/upsert", .max_bytes = (size_t)1 << 20, .cut = true);
	MUST(put_sized(fixture, 64, 60000, NULL, e));
	count = count_seen(fixture, "POST", "/upsert", &rows);
	assert_true(count >= 4);
	/* a small one that breaks is just tried again */
	fixture->seen_count = 0;
	RULE(fixture, .path = "/upsert", .to = 1, .cut = true);
	put(fixture, 10);
	(void)count_seen(fixture, "POST", "/upsert", &rows);
	assert_int_equal(rows, 20);
}

static void
what_was_there_goes_first(void **state)
{
	struct fixture *fixture = *state;
	size_t rows = 0;

	/* a generation of 700 from before: an upsert would merge its metadata and leave what is beyond */
	AUTO(buf) struct buf ids = BUF_INIT((size_t)1 << 20);

	buf_add_str(&ids, "{\"ids\":[");
	for (int i = 0; i < 700; i++)
		buf_printf(&ids, "%s\"d1@1.1#%d\"", i > 0 ? "," : "", i);
	buf_add_str(&ids, ",\"d1@2.1#0\",\"d10@1.1#0\"]}");
	RULE(fixture, .path = "/get", .status = 200, .to = 2, .body = ids.data);
	fixture->exists = true;
	put(fixture, 2);
	assert_int_equal(count_seen(fixture, "POST", "/delete", &rows), 2); /* at most 500 a call */
	assert_int_equal(rows, 700); /* no other generation, no other document */
	assert_int_equal(count_seen(fixture, "POST", "/upsert", &rows), 1);
}

static void
delete_answers_differ(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;

	fixture->exists = true;
	RULE(fixture, .path = "/get", .status = 200, .body = "{\"ids\":[\"d1@1.1#0\"]}");
	/* the answer counts ids that were asked for, not that were there */
	RULE(fixture, .path = "/delete", .status = 200, .to = 1, .body = "{\"deleted\":77}");
	MUST(fixture->store->ops->remove_generation(fixture->store, STR("c1"), STR("d1"),
						    STR("1.1"), &err));
	MUST(fixture->store->ops->remove_generation(fixture->store, STR("c1"), STR("d1"),
						    STR("1.1"), &err));
	MUST(fixture->store->ops->remove_older(fixture->store, STR("c1"), STR("d1"), 9, STR(""),
					       &err));
}

struct writer {
	struct fixture *fixture;
	bool ok;
};

static void *
write_some(void *user)
{
	struct writer *writer = user;
	struct err err = ERR_INIT;

	writer->ok = true;
	for (int i = 0; i < 5 && writer->ok; i++)
		writer->ok = put_sized(writer->fixture, 3, 20, NULL, &err);
	return NULL;
}

static void
two_writers_at_a_time(void **state)
{
	struct fixture *fixture = *state;
	struct writer writers[8];
	pthread_t threads[8];

	fixture->exists = true;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		writers[i].fixture = fixture;
		assert_int_equal(pthread_create(&threads[i], NULL, write_some, &writers[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_true(writers[i].ok);
	}
	assert_in_range(fixture->most_writing, 1, 2);
}

/* Two processes: each with connections of its own to Redis, which alone can count for both. */
static void
two_writers_of_all_processes(void **state)
{
	struct fixture *fixture = *state;
	struct fixture others[2];
	struct writer writers[8];
	pthread_t threads[8];

	fixture->exists = true;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		others[i] = *fixture;
		open_store(&others[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		writers[i].fixture = &others[i % ARRAY_SIZE(others)];
		assert_int_equal(pthread_create(&threads[i], NULL, write_some, &writers[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_true(writers[i].ok);
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		store_close(others[i].store);
	assert_in_range(fixture->most_writing, 1, 2);
}

/* When the only lease of the fixture's server ends, by Redis' clock; 0 = there is none. */
static int64_t
lease_end_ms(const struct fixture *fixture, struct redis *connection)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	char name[64];
	struct str text;
	double score = 0;
	struct redis_cmd cmd;
	struct key key;

	(void)snprintf(name, sizeof(name), "chroma:127.0.0.1:%lld",
		       (long long)fixture->config.chroma_port);
	key = key_governor(str_of(name), GK_LEASES);
	redis_cmd_init(&cmd, "ZRANGE");
	redis_arg_c(&cmd, key.text);
	redis_arg_c(&cmd, "0");
	redis_arg_c(&cmd, "0");
	redis_arg_c(&cmd, "WITHSCORES");
	MUST(redis_run(connection, &cmd, &reply, e));
	return reply_str(reply_at(reply, 1), &text) && str_to_f64(text, &score) ? (int64_t)score
										: 0;
}

static void *
write_one(void *user)
{
	struct writer *writer = user;
	struct err err = ERR_INIT;

	writer->ok = put_sized(writer->fixture, 1, 20, &cancelled, &err);
	return NULL;
}

/* A lease that ended before its call would let a third writer in. */
static void
a_write_that_lasts_keeps_its_place(void **state)
{
	struct fixture *fixture = *state;
	struct redis *connection = redis_server_connect(redis);
	struct writer writer = { .fixture = fixture };
	int64_t first_ms = 0, last_ms = 0;
	pthread_t thread;

	atomic_store(&cancelled, false);
	store_close(fixture->store);
	fixture->config.chroma_timeout_ms = 6000; /* and so is the lease */
	open_store(fixture);
	RULE(fixture, .path = "/upsert", .hang = true);
	assert_int_equal(pthread_create(&thread, NULL, write_one, &writer), 0);
	while (first_ms == 0)
		first_ms = lease_end_ms(fixture, connection);
	do
		last_ms = lease_end_ms(fixture, connection);
	while (last_ms == first_ms);
	assert_true(last_ms > first_ms); /* not 0: the call is still on its way */
	atomic_store(&cancelled, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_false(writer.ok);
	assert_int_equal(lease_end_ms(fixture, connection), 0);
	redis_free(connection);
}

/* Outages in a row, as the governor has counted them. */
static int64_t
outages(const struct fixture *fixture)
{
	struct governor_state *states = mem_array(64, sizeof(*states));
	struct redis *connection = redis_server_connect(redis);
	char port[16];
	int64_t failures = -1;
	size_t count = 0;

	(void)snprintf(port, sizeof(port), ":%lld", (long long)fixture->config.chroma_port);
	MUST(governor_list(connection, states, 64, &count, e));
	for (size_t i = 0; i < count; i++) {
		if (str_ends(str_of(states[i].name), port))
			failures = states[i].failures;
	}
	redis_free(connection);
	mem_free(states);
	return failures;
}

static void
open_with_breaker(struct fixture *fixture)
{
	store_close(fixture->store);
	fixture->config.provider_breaker_failures = 100;
	fixture->config.provider_breaker_ms = 1000;
	open_store(fixture);
}

/* A job in a hurry says nothing about the server. */
static void
a_short_deadline_is_no_outage(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;

	fixture->exists = true;
	open_with_breaker(fixture);
	put(fixture, 1);
	RULE(fixture, .path = "/upsert", .hang = true);
	for (int i = 0; i < 2; i++) {
		const struct store_limits limits = { .deadline_mono_ms = clock_mono_ms() + 500 };

		assert_false(put_within(fixture, 1, 20, limits, &err));
		assert_int_equal(err.code, ERR_DEADLINE);
	}
	assert_int_equal(fixture->rules[0].matched, 2);
	assert_int_equal(outages(fixture), 0);
}

/* A connection that breaks says that it is not well, not that it is there. */
static void
a_broken_connection_is_an_outage(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;

	open_with_breaker(fixture);
	put(fixture, 1);
	assert_int_equal(outages(fixture), 0);
	RULE(fixture, .path = "/upsert", .cut = true);
	assert_false(put_sized(fixture, 1, 20, NULL, &err));
	assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
	assert_int_equal(outages(fixture), 4); /* one for each try */
}

/* One document that breaks the server comes to an end, also where nobody else's writes would close the breaker. */
static void
a_lasting_500_is_charged_with_an_open_breaker(void **state)
{
	struct fixture *fixture = *state;

	store_close(fixture->store);
	fixture->config.provider_breaker_failures = 5;
	fixture->config.provider_breaker_ms = 150;
	open_store(fixture);
	RULE(fixture, .path = "/upsert", .status = 500, .body = "{\"error\":\"InternalError\"}");
	while (fixture->rules[0].matched < 7) {
		int before = fixture->rules[0].matched;
		struct err err = ERR_INIT;

		assert_false(put_sized(fixture, 1, 20, NULL, &err));
		/* it was asked and answered, or the breaker let nobody ask */
		assert_int_equal(err.code, fixture->rules[0].matched > before
						   ? ERR_STORE_FAILED
						   : ERR_STORE_UNAVAILABLE);
		clock_sleep_ms(5); /* between tries, until the breaker lets one go */
	}
}

/* What an interrupted removal leaves begins with record 0, by which the next put knows of it, in whatever order the server lists. */
static void
the_first_record_goes_last(void **state)
{
	struct fixture *fixture = *state;
	AUTO(buf) struct buf ids = BUF_INIT((size_t)1 << 20);
	size_t deletes = 0;

	buf_add_str(&ids, "{\"ids\":[");
	for (int i = 700; i-- > 0;)
		buf_printf(&ids, "\"d1@1.1#%d\"%s", i, i > 0 ? "," : "]}");
	fixture->exists = true;
	RULE(fixture, .path = "/get", .status = 200, .body = ids.data);
	MUST(fixture->store->ops->remove_generation(fixture->store, STR("c1"), STR("d1"),
						    STR("1.1"), e));
	for (size_t i = 0; i < fixture->seen_count; i++) {
		if (str_ends(str_of(fixture->seen[i].path), "/delete"))
			assert_int_equal(fixture->seen[i].has_first, deletes++ == 1);
	}
	assert_int_equal(deletes, 2);
}

/* Two workers make the same collection at once: the later one may be told so, although it asked to get or create. */
static void
a_collection_made_meanwhile_is_taken(void **state)
{
	struct fixture *fixture = *state;

	RULE(fixture, .path = "/collections/rag-c1", .method = "GET", .to = 2, .status = 404);
	RULE(fixture, .path = "/collections", .method = "POST", .status = 409,
	     .body = "{\"error\":\"ChromaError\"}");
	fixture->exists = true;
	put(fixture, 1);
	assert_int_equal(count_seen(fixture, "POST", UUID "/upsert", NULL), 1);
}

/* A large write of one chunk whose connection breaks is tried again some time, not given up. */
static void
one_large_chunk_that_breaks_is_not_final(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;

	RULE(fixture, .path = "/upsert", .cut = true);
	assert_false(put_sized(fixture, 1, (size_t)1 << 20, NULL, &err));
	assert_int_equal(err.code, ERR_STORE_FAILED);
	assert_true(err_info(err.code)->retryable);
}

/* A filtered search of a graph may miss what satisfies the clause: then that is looked through. */
static void
what_the_graph_misses_is_found(void **state)
{
	static const float vector[DIM] = { 0.6F, 0.8F, 0, 0 };
	const struct filter_value value = { .type = FILTER_STRING, .string = STR("en") };
	const struct filter filter = { .op = FILTER_EQ,
				       .field = STR("lang"),
				       .values = (void *)(uintptr_t)&value,
				       .count = 1 };
	const struct store_search search = {
		.uid = STR("c1"), .vector = vector, .dim = DIM, .limit = 5, .filter = &filter
	};
	struct fixture *fixture = *state;
	AUTO(arena) struct arena arena = { .max_bytes = (size_t)1 << 20 };
	struct store_hits hits = { 0 };

	fixture->exists = true;
	MUST(fixture->store->ops->search(fixture->store, &search, &arena, &hits, e));
	assert_int_equal(hits.dense_count, 0);
	assert_int_equal(count_seen(fixture, "POST", "/get", NULL), 1); /* there are none */
	RULE(fixture, .path = "/get", .to = 1, .status = 200,
	     .body = "{\"ids\":[\"d1@1.1#0\",\"d2@1.1#0\",\"theirs\"]}");
	RULE(fixture, .path = "/get", .status = 200,
	     .body = "{\"ids\":[\"d1@1.1#0\",\"d2@1.1#0\",\"theirs\"],\"documents\":[\"one\","
		     "\"two\",null],"
		     "\"metadatas\":[{\"metadata\":\"{\\\"lang\\\":\\\"en\\\"}\"},{\"metadata\":"
		     "\"{\\\"lang\\\":\\\"en\\\"}\"},null],"
		     "\"embeddings\":[[1,0,0,0],[0,1.0,0,0],[0,1,0,0]]}");
	MUST(fixture->store->ops->search(fixture->store, &search, &arena, &hits, e));
	assert_int_equal(hits.dense_count, 2);
	assert_false(hits.dense_more);
	assert_true(str_eq_c(hits.dense[0].text, "two") && str_eq_c(hits.dense[1].text, "one"));
	assert_true(hits.dense[0].score > 0.79F && hits.dense[0].score < 0.81F);
}

/* Looking for more of what a clause cannot say ends where memory does; what was found stays found. */
static void
too_many_to_look_through(void **state)
{
	static const float vector[DIM] = { 1, 0, 0, 0 };
	struct fixture *fixture = *state;
	AUTO(arena) struct arena arena = { .max_bytes = (size_t)1 << 20 };
	AUTO(buf) struct buf few = BUF_INIT(65536), many = BUF_INIT((size_t)1 << 23);
	const struct filter_value value = { .type = FILTER_STRING, .string = STR("m") };
	const struct filter filter = { .op = FILTER_GT,
				       .field = STR("title"),
				       .values = (void *)(uintptr_t)&value,
				       .count = 1 };
	const struct store_search search = {
		.uid = STR("c1"), .vector = vector, .dim = DIM, .limit = 5, .filter = &filter
	};
	struct store_hits hits = { 0 };

	buf_add_str(&few, "{\"ids\":[[");
	for (int i = 0; i < 6; i++)
		buf_printf(&few, "%s\"d%d@1.1#0\"", i > 0 ? "," : "", i);
	buf_add_str(&few, "]],\"metadatas\":[[");
	for (int i = 0; i < 6; i++)
		buf_printf(&few, "%s{\"title\":\"%s\"}", i > 0 ? "," : "", i < 2 ? "x" : "a");
	buf_add_str(&few, "]],\"distances\":[[0.1,0.2,0.3,0.4,0.5,0.6]]}");
	buf_add_str(&many, "{\"ids\":[[\"d0@1.1#0\"]],\"distances\":[[0.1]],\"documents\":[[\"");
	for (int i = 0; i < 1 << 18; i++)
		buf_add_str(&many, "longtext");
	buf_add_str(&many, "\"]]}");
	fixture->exists = true;
	RULE(fixture, .path = "/query", .to = 1, .status = 200, .body = few.data);
	RULE(fixture, .path = "/query", .status = 200, .body = many.data);
	MUST(fixture->store->ops->search(fixture->store, &search, &arena, &hits, e));
	assert_int_equal(hits.dense_count, 2);
	assert_int_equal(count_seen(fixture, "POST", "/query", NULL), 2);
}

/* ---- faults ---- */

static void
passing_failures_are_tried_again(void **state)
{
	static const int statuses[] = { 408, 425, 429, 500, 502, 503, 504 };
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		fixture->rule_count = 0;
		RULE(fixture, .path = "/upsert", .to = 2, .status = statuses[i],
		     .body = "<html>oops</html>");
		put(fixture, 1);
		assert_int_equal(fixture->rules[0].matched, 3);
	}
}

static void
lasting_failures_wait_in_the_queue(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;
	struct rule *rule = RULE(fixture, .path = "/upsert", .status = 503, .body = "");

	assert_false(put_sized(fixture, 1, 20, NULL, &err));
	assert_int_equal(err.code, ERR_STORE_UNAVAILABLE); /* uncharged */
	assert_int_equal(rule->matched, 4);
	rule->status = 500; /* it is there, and broken: charged */
	assert_false(put_sized(fixture, 1, 20, NULL, &err));
	assert_int_equal(err.code, ERR_STORE_FAILED);
	rule->status = 429;
	rule->headers = "Retry-After: 7\r\n";
	rule->matched = 0;
	assert_false(put_sized(fixture, 1, 20, NULL, &err));
	assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
	assert_int_equal(err.retry_after_ms,
			 7000); /* longer than a slot waits: told to the queue */
	assert_int_equal(rule->matched, 1);
}

static void
nobody_listens(void **state)
{
	struct fixture *fixture = *state;
	struct store *store = NULL;
	struct store_hits hits = { 0 };
	struct err err = ERR_INIT;
	struct fixture other = *fixture;

	other.config.chroma_port = free_port();
	MUST(store_open(&other.config, &store, &err)); /* a worker starts without it */
	other.store = store;
	assert_false(try_search(&other, &hits, &err));
	assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
	assert_false(store->ops->ping(store, &err));
	assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
	store_close(store);
}

static void
heartbeat_is_a_status(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;

	/* a key with a space and a number beyond 2^53 */
	RULE(fixture, .path = "/heartbeat", .status = 200, .to = 1,
	     .body = "{\"nanosecond heartbeat\":1795417105196004993}");
	MUST(fixture->store->ops->ping(fixture->store, &err));
	RULE(fixture, .path = "/heartbeat", .status = 404);
	assert_false(fixture->store->ops->ping(fixture->store, &err));
}

static void
something_else_answers(void **state)
{
	static const struct {
		int status;
		const char *body;
	} rows[] = { { 410, "{\"error\":\"Unimplemented\"}" }, { 405, "" }, { 301, "" } };
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		fixture->rule_count = 0;
		RULE(fixture, .path = "/pre-flight-checks", .status = rows[i].status,
		     .body = rows[i].body);
		assert_false(put_sized(fixture, 1, 20, NULL, &err));
		assert_int_equal(err.code, ERR_STORE_FAILED);
		assert_non_null(strstr(err.msg, "CHROMA_HOST"));
	}
	fixture->rule_count = 0;
	RULE(fixture, .path = "/pre-flight-checks", .status = 200, .body = "<html>welcome</html>");
	assert_false(put_sized(fixture, 1, 20, NULL, &err));
	assert_int_equal(err.code, ERR_STORE_FAILED);
}

static void
token_header(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;

	store_close(fixture->store);
	fixture->config.chroma_token.value = "s3cret";
	fixture->config.chroma_auth = CHROMA_AUTH_TOKEN;
	open_store(fixture);
	put(fixture, 1);
	for (size_t i = 0; i < fixture->seen_count; i++)
		assert_string_equal(fixture->seen[i].token, "x-chroma-token: s3cret");
	store_close(fixture->store);
	fixture->config.chroma_auth = CHROMA_AUTH_BEARER;
	fixture->seen_count = 0;
	open_store(fixture);
	put(fixture, 1);
	assert_string_equal(fixture->seen[0].token, "Authorization: Bearer s3cret");
	RULE(fixture, .path = "/upsert", .status = 401, .body = "no");
	assert_false(put_sized(fixture, 1, 20, NULL, &err));
	assert_int_equal(err.code, ERR_STORE_FAILED);
	assert_non_null(strstr(err.msg, "CHROMA_TOKEN"));
	assert_null(strstr(err.msg, "s3cret"));
	assert_null(strstr(err.cause, "s3cret"));
}

static void
garbage_is_no_hit(void **state)
{
	static const char *const bodies[] = { "", "{}", "null", "<html>",
					      "{\"ids\":[[\"d1@1.1#0\"]],\"distances\":[[]]}" };
	struct fixture *fixture = *state;
	struct store_hits hits = { 0 };
	struct err err = ERR_INIT;

	fixture->exists = true;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		fixture->rule_count = 0;
		RULE(fixture, .path = "/query", .status = 200, .body = bodies[i]);
		assert_false(try_search(fixture, &hits, &err));
		assert_int_equal(err.code, ERR_STORE_FAILED);
	}
}

/* When the write has arrived. */
static void *
cancel_when_sent(void *user)
{
	struct fixture *fixture = user;
	size_t seen = 0;

	while (seen == 0) {
		(void)pthread_mutex_lock(&fixture->lock);
		seen = count_seen(fixture, "POST", "/upsert", NULL);
		(void)pthread_mutex_unlock(&fixture->lock);
		clock_sleep_ms(1); /* between looks */
	}
	atomic_store(&cancelled, true);
	return NULL;
}

static void
cancel_ends_a_call_in_flight(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;
	pthread_t thread;

	atomic_store(&cancelled, false);
	RULE(fixture, .path = "/upsert", .hang = true);
	assert_int_equal(pthread_create(&thread, NULL, cancel_when_sent, fixture), 0);
	assert_false(put_sized(fixture, 1, 20, &cancelled, &err)); /* the server never answers */
	assert_int_equal(err.code, ERR_CANCELLED);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void
silence_ends_with_the_timeout(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;

	store_close(fixture->store);
	fixture->config.chroma_timeout_ms = 300;
	open_store(fixture);
	RULE(fixture, .path = "/upsert", .hang = true);
	assert_false(put_sized(fixture, 1, 20, NULL, &err));
	assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
	assert_int_equal(fixture->rules[0].matched, 1); /* and it is not waited for again */
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(tenant_and_database_are_made),
		TEST(collections_go_by_name_records_by_uuid),
		TEST(version_is_not_asked),
		TEST(existing_collection_is_compared),
		TEST(dropped_collection_is_looked_up_once),
		TEST(dimension_null_until_the_first_write),
		TEST(base64_only_when_advertised),
		TEST(writes_are_upserts),
		TEST(writes_are_bounded_by_rows),
		TEST(writes_are_bounded_by_bytes),
		TEST(too_large_is_halved_and_learnt),
		TEST(one_chunk_that_is_too_large_is_said),
		TEST(too_many_variables_is_halved_and_learnt),
		TEST(broken_send_of_a_large_body_is_halved),
		TEST(what_was_there_goes_first),
		TEST(delete_answers_differ),
		TEST(two_writers_at_a_time),
		TEST(two_writers_of_all_processes),
		TEST(a_write_that_lasts_keeps_its_place),
		TEST(a_short_deadline_is_no_outage),
		TEST(a_broken_connection_is_an_outage),
		TEST(a_lasting_500_is_charged_with_an_open_breaker),
		TEST(the_first_record_goes_last),
		TEST(a_collection_made_meanwhile_is_taken),
		TEST(one_large_chunk_that_breaks_is_not_final),
		TEST(what_the_graph_misses_is_found),
		TEST(too_many_to_look_through),
		TEST(passing_failures_are_tried_again),
		TEST(lasting_failures_wait_in_the_queue),
		TEST(nobody_listens),
		TEST(heartbeat_is_a_status),
		TEST(something_else_answers),
		TEST(token_header),
		TEST(garbage_is_no_hit),
		TEST(cancel_ends_a_call_in_flight),
		TEST(silence_ends_with_the_timeout),
	};
	struct err err = ERR_INIT;
	int failed;

	if (!http_client_global_init(&err))
		return 1;
	redis = redis_server_start(NULL);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	redis_server_stop(redis);
	return failed;
}
