/* rag-api from outside: every route with right and wrong input. One API and one Redis for the whole file; each test
 * uses collections of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/catalog.h"
#include "common/governor.h"
#include "common/sha256.h"
#include "jobs/spec/spec.h"
#include "tests/support/api.h"
#include "tests/support/must.h"
#include "tests/support/redis_server.h"

#define V1 "/api/v1"

static struct redis_server *redis_process;
static struct api_server *api;
static struct redis *redis;

static int
start_all(void **state)
{
	(void)state;
	MUST(http_client_global_init(e));
	redis_process = redis_server_start(NULL);
	redis = redis_server_connect(redis_process);
	api = api_server_start(redis_server_url(redis_process),
			       (const char *const[]){ "API_MAX_BODY_BYTES=20000", "API_THREADS=16",
						      NULL });
	return 0;
}

static int
stop_all(void **state)
{
	(void)state;
	int code = api_server_stop(api);

	redis_free(redis);
	redis_server_stop(redis_process);
	return code;
}

/* A problem document is what its status says, and names the request. */
static void
check_problem(const struct answer *answer, int status, const char *code, const char *pointer)
{
	if (answer->status != status)
		fail_msg("%d, not %d: %s", answer->status, status, answer->reply.body.data);
	assert_true(str_eq_c(answer_header(answer, "content-type"), "application/problem+json"));
	assert_true(str_eq_c(answer_header(answer, "cache-control"), "no-store"));
	assert_int_equal(answer_int(answer, "status"), status);
	assert_true(answer_is(answer, "code", code));
	assert_true(answer_str(answer, "title").len > 0);
	assert_true(answer_str(answer, "detail").len > 0);
	assert_true(str_starts(answer_str(answer, "type"), "urn:rag-engine:problem:"));
	assert_true(
		str_eq(answer_str(answer, "request_id"), answer_header(answer, "x-request-id")));
	assert_true(js_is(answer_get(answer, "retryable"), JS_BOOL));
	assert_true(answer_is(answer, "errors/0/pointer", pointer));
}

struct bad {
	const char *method, *path, *content_type, *body;
	int status;
	const char *code, *pointer;
};

static void
check_bad(const struct bad *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct bad *row = &rows[i];
		struct answer answer = { 0 };
		char type[128];

		print_message("%s %s %s\n", row->method, row->path, row->body ? row->body : "");
		(void)snprintf(type, sizeof(type), "Content-Type: %s",
			       row->content_type ? row->content_type : "application/json");
		ask_with(api->port, row->method, row->path, (const char *const[]){ type, NULL },
			 str_of(row->body), &answer);
		check_problem(&answer, row->status, row->code, row->pointer);
		answer_release(&answer);
	}
}

/* ---- routing ---- */

static void
test_paths_and_methods(void **state)
{
	(void)state;
	static const struct bad rows[] = {
		{ "GET", "/", NULL, NULL, 404, "NOT_FOUND", "" },
		{ "GET", "/api/v1", NULL, NULL, 404, "NOT_FOUND", "" },
		{ "GET", V1 "/", NULL, NULL, 404, "NOT_FOUND", "" },
		{ "GET", V1 "/jobs/", NULL, NULL, 404, "NOT_FOUND", "" },
		{ "GET", V1 "//jobs", NULL, NULL, 404, "NOT_FOUND", "" },
		{ "GET", V1 "/metrics", NULL, NULL, 404, "NOT_FOUND", "" },
		{ "GET", "/metrics", NULL, NULL, 404, "NOT_FOUND", "" },
		{ "GET", "/health/ready", NULL, NULL, 404, "NOT_FOUND", "" },
		{ "PUT", V1 "/jobs", NULL, "{}", 405, "METHOD_NOT_ALLOWED", "" },
		{ "DELETE", V1 "/collections", NULL, NULL, 405, "METHOD_NOT_ALLOWED", "" },
		{ "GET", V1 "/collections/default/query", NULL, NULL, 405, "METHOD_NOT_ALLOWED",
		  "" },
		{ "GET", V1 "/jobs/x:cancel", NULL, NULL, 405, "METHOD_NOT_ALLOWED", "" },
		{ "POST", V1 "/jobs/x", NULL, "{}", 405, "METHOD_NOT_ALLOWED", "" },
		{ "GET", V1 "/collections/%zz", NULL, NULL, 400, "MALFORMED_REQUEST", "" },
		{ "GET", V1 "/collections/%ff", NULL, NULL, 400, "MALFORMED_REQUEST", "" },
	};
	struct answer answer = { 0 };

	check_bad(rows, ARRAY_SIZE(rows));
	ask(api, &answer, "PUT", V1 "/jobs", "{}");
	assert_true(str_eq_c(answer_header(&answer, "allow"), "GET, HEAD, OPTIONS"));
	answer_release(&answer);
	ask(api, &answer, "OPTIONS", V1 "/collections/default", NULL);
	assert_int_equal(answer.status, 204);
	assert_true(str_eq_c(answer_header(&answer, "allow"), "GET, HEAD, PATCH, DELETE, OPTIONS"));
	answer_release(&answer);
	ask(api, &answer, "HEAD", V1 "/queues", NULL);
	assert_int_equal(answer.status, 200);
	assert_int_equal(answer.reply.body.len, 0);
	answer_release(&answer);
}

static void
test_request_id(void **state)
{
	(void)state;
	static const char trace[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
	struct answer answer = { 0 };

	ask(api, &answer, "GET", V1 "/queues", NULL, "X-Request-Id: my-id.7",
	    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
	assert_true(str_eq_c(answer_header(&answer, "x-request-id"), "my-id.7"));
	assert_true(str_eq_c(answer_header(&answer, "traceparent"), trace));
	answer_release(&answer);
	ask(api, &answer, "GET", V1 "/queues", NULL, "X-Request-Id: a b", "traceparent: nonsense");
	assert_true(str_starts(answer_header(&answer, "x-request-id"), "req_"));
	assert_int_equal(answer_header(&answer, "traceparent").len, 0);
	answer_release(&answer);
}

/* Without keys, a page of another origin in a browser on this machine must not reach the API. */
static void
test_foreign_origin(void **state)
{
	(void)state;
	static const struct {
		const char *header;
		int status;
	} rows[] = {
		{ "Origin: https://evil.example", 403 },
		{ "Origin: null", 403 },
		{ "Origin: http://localhost.evil.example", 403 },
		{ "Origin: http://localhost:3000", 200 },
		{ "Origin: http://127.0.0.1", 200 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct answer answer = { 0 };

		ask(api, &answer, "GET", V1 "/queues", NULL, rows[i].header);
		assert_int_equal(answer.status, rows[i].status);
		answer_release(&answer);
	}
}

/* ---- collections ---- */

static void
test_collections(void **state)
{
	(void)state;
	struct answer answer = { 0 };

	ask(api, &answer, "POST", V1 "/collections",
	    "{\"name\":\"books\",\"description\":\"all of them\"}");
	assert_int_equal(answer.status, 201);
	assert_true(str_eq_c(answer_header(&answer, "location"), V1 "/collections/books"));
	assert_true(answer_is(&answer, "description", "all of them"));
	assert_int_equal(answer_int(&answer, "documents"), 0);
	assert_true(js_is(answer_get(&answer, "embedder"), JS_NULL));
	answer_release(&answer);

	ask(api, &answer, "POST", V1 "/collections", "{\"name\":\"books\"}");
	check_problem(&answer, 409, "ALREADY_EXISTS", "");
	answer_release(&answer);

	ask(api, &answer, "PATCH", V1 "/collections/books", "{\"description\":\"some\"}");
	assert_int_equal(answer.status, 200);
	assert_true(answer_is(&answer, "description", "some"));
	answer_release(&answer);
	ask(api, &answer, "PATCH", V1 "/collections/books", "{}");
	assert_true(answer_is(&answer, "description", "some"));
	answer_release(&answer);
	ask(api, &answer, "GET", V1 "/collections/books", NULL);
	assert_true(answer_is(&answer, "name", "books"));
	answer_release(&answer);
	ask_status(api, 200, "GET", V1 "/collections/default", NULL); /* always there */
}

static void
test_bad_collections(void **state)
{
	(void)state;
	static const struct bad rows[] = {
		{ "POST", V1 "/collections", NULL, "", 400, "MALFORMED_REQUEST", "" },
		{ "POST", V1 "/collections", NULL, "{", 400, "MALFORMED_REQUEST", "" },
		{ "POST", V1 "/collections", NULL, "[]", 422, "INVALID_ARGUMENT", "" },
		{ "POST", V1 "/collections", NULL, "{}", 422, "INVALID_ARGUMENT", "/name" },
		{ "POST", V1 "/collections", NULL, "{\"name\":7}", 422, "INVALID_ARGUMENT",
		  "/name" },
		{ "POST", V1 "/collections", NULL, "{\"name\":\"Bad Name\"}", 422,
		  "INVALID_ARGUMENT", "/name" },
		{ "POST", V1 "/collections", NULL, "{\"name\":\"x\",\"nmae\":1}", 422,
		  "INVALID_ARGUMENT", "/nmae" },
		{ "POST", V1 "/collections", "text/plain", "{\"name\":\"x\"}", 415,
		  "UNSUPPORTED_MEDIA_TYPE", "" },
		{ "POST", V1 "/collections?x=1", NULL, "{\"name\":\"x\"}", 422, "INVALID_ARGUMENT",
		  "/x" },
		{ "GET", V1 "/collections/nope", NULL, NULL, 404, "NOT_FOUND", "" },
		{ "GET", V1 "/collections/No%20Name", NULL, NULL, 404, "NOT_FOUND", "" },
		{ "PATCH", V1 "/collections/nope", NULL, "{}", 404, "NOT_FOUND", "" },
		{ "PATCH", V1 "/collections/default", NULL, "{\"name\":\"y\"}", 422,
		  "INVALID_ARGUMENT", "/name" },
		{ "DELETE", V1 "/collections/nope", NULL, NULL, 404, "NOT_FOUND", "" },
		{ "GET", V1 "/collections?page_size=-1", NULL, NULL, 400, "MALFORMED_REQUEST",
		  "/page_size" },
		{ "GET", V1 "/collections?page_size=ten", NULL, NULL, 400, "MALFORMED_REQUEST",
		  "/page_size" },
		{ "GET", V1 "/collections?page_token=xyz", NULL, NULL, 400, "MALFORMED_REQUEST",
		  "/page_token" },
		{ "GET", V1 "/collections?page_size=1&page_size=2", NULL, NULL, 422,
		  "INVALID_ARGUMENT", "/page_size" },
	};

	check_bad(rows, ARRAY_SIZE(rows));
}

/* Takes everything that waits out of the queue of ingests, so that a test finds its own job first. */
static void
drain_ingest(void)
{
	struct queue_ref queue;
	struct queue_stats stats;

	assert_true(job_queue_find(STR("ingest"), 0, &queue));
	for (;;) {
		struct fake_job job;
		struct arena arena;

		MUST(queue_stats(redis, queue, 1000, &stats, e));
		if (stats.waiting == 0)
			return;
		arena_init(&arena, 1 << 24);
		fake_take(redis, "ingest", &arena, &job);
		fake_succeed(redis, &job, "{}");
		arena_release(&arena);
	}
}

static void
test_collection_delete(void **state)
{
	(void)state;
	struct delete_payload payload = { 0 };
	struct answer answer = { 0 };
	struct fake_job job;
	struct arena arena;
	char uid[ID_ULID_BYTES];

	arena_init(&arena, 1 << 24);
	drain_ingest();
	ask(api, &answer, "POST", V1 "/collections", "{\"name\":\"gone\"}");
	assert_true(str_copy(uid, sizeof(uid), answer_str(&answer, "uid")));
	answer_release(&answer);
	ask(api, &answer, "DELETE", V1 "/collections/gone", NULL);
	assert_int_equal(answer.status, 202);
	assert_true(answer_is(&answer, "type", "delete"));
	answer_release(&answer);
	ask_status(api, 404, "GET", V1 "/collections/gone", NULL);
	ask_status(api, 201, "POST", V1 "/collections", "{\"name\":\"gone\"}"); /* free at once */
	fake_take(redis, "ingest", &arena, &job);
	MUST(fields_from_pack(&delete_payload_fields, job.payload, &payload, e));
	assert_true(str_eq_c(payload.uid, uid));
	assert_int_equal(payload.document_id.len, 0);
	fake_succeed(redis, &job, "{\"deleted\":true}");
	arena_release(&arena);
}

static void
test_collection_pages(void **state)
{
	(void)state;
	char path[512] = V1 "/collections?page_size=2", seen[64] = "";
	int pages = 0, found = 0;

	for (int i = 0; i < 5; i++) {
		char body[64];

		(void)snprintf(body, sizeof(body), "{\"name\":\"page-%d\"}", i);
		ask_status(api, 201, "POST", V1 "/collections", body);
	}
	for (bool more = true; more; pages++) {
		struct answer answer = { 0 };

		ask(api, &answer, "GET", path, NULL);
		assert_int_equal(answer.status, 200);
		const struct js *data = answer_get(&answer, "data");
		assert_true(js_len(data) <= 2);
		for (size_t i = 0; i < js_len(data); i++) {
			struct str name = js_str(js_get(js_at(data, i), "name"));

			assert_true(str_cmp(name, str_of(seen)) > 0); /* ascending, none twice */
			assert_true(str_copy(seen, sizeof(seen), name));
			found += str_starts(name, "page-");
		}
		struct str token = answer_str(&answer, "next_page_token");
		more = token.len > 0;
		(void)snprintf(path, sizeof(path),
			       V1 "/collections?page_size=2&page_token=" STR_FMT, STR_ARG(token));
		answer_release(&answer);
	}
	assert_int_equal(found, 5);
	assert_true(pages >= 3);
}

/* ---- documents ---- */

static void
test_document_json(void **state)
{
	(void)state;
	struct ingest_payload payload = { 0 };
	struct answer answer = { 0 };
	char hash[SHA256_HEX_BYTES];
	struct fake_job job;
	struct arena arena;

	arena_init(&arena, 1 << 24);
	drain_ingest();
	ask(api, &answer, "POST", V1 "/collections/default/documents",
	    "{\"id\":\"guide/intro.md\",\"text\":\"# Hi\\f\\nthere\",\"title\":\"Intro\",\"uri\":"
	    "\"file:///x\",\"metadata\":{\"b\":1,\"a\":[true]},\"content_type\":\"text/markdown; "
	    "charset=utf-8\",\"max_failures\":2}");
	assert_int_equal(answer.status, 202);
	assert_true(str_starts(answer_header(&answer, "location"), V1 "/jobs/ingest-0-"));
	assert_true(str_eq_c(answer_header(&answer, "retry-after"), "1"));
	assert_true(str_eq_c(answer_header(&answer, "etag"), "\"v1\""));
	assert_true(answer_is(&answer, "status", "queued"));
	assert_true(answer_is(&answer, "object", "job"));
	assert_true(answer_is(&answer, "queue/name", "ingest"));
	assert_int_equal(answer_int(&answer, "max_failures"), 2);
	assert_int_equal(answer_int(&answer, "attempt"), 0);
	assert_true(js_is(answer_get(&answer, "error"), JS_NULL));
	assert_true(js_is(answer_get(&answer, "started_at"), JS_NULL));
	answer_release(&answer);

	fake_take(redis, "ingest", &arena, &job);
	MUST(fields_from_pack(&ingest_payload_fields, job.payload, &payload, e));
	assert_true(str_eq_c(payload.document_id, "guide/intro.md"));
	assert_true(str_eq_c(payload.body, "# Hi\f\nthere"));
	assert_true(str_eq_c(payload.content_type, "text/markdown"));
	assert_true(str_eq_c(payload.title, "Intro"));
	assert_true(str_eq_c(payload.metadata, "{\"a\":[true],\"b\":1}"));
	sha256_hex(payload.body, hash);
	assert_true(str_eq_c(payload.content_hash, hash));
	assert_true(payload.seq > 0);
	fake_succeed(redis, &job, "{\"chunks\":1}");
	arena_release(&arena);
}

static void
test_document_raw(void **state)
{
	(void)state;
	static const struct {
		const char *type, *path, *body, *title, *metadata, *media_type;
	} rows[] = {
		{ "text/html; charset=UTF-8",
		  "?id=p%C3%A4ge&title=A%20b&metadata=%7B%22y%22%3A2020%7D", "<p>x</p>", "A b",
		  "{\"y\":2020}", "text/html" },
		{ "application/json", "?raw=true", "{\"text\":1}", "", "", "application/json" },
		{ "text/plain", "?uri=http%3A%2F%2Fx", "plain", "", "", "text/plain" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ingest_payload payload = { 0 };
		struct answer answer = { 0 };
		char path[256], type[128];
		struct fake_job job;
		struct arena arena;

		arena_init(&arena, 1 << 24);
		drain_ingest();
		(void)snprintf(path, sizeof(path), V1 "/collections/default/documents%s",
			       rows[i].path);
		(void)snprintf(type, sizeof(type), "Content-Type: %s", rows[i].type);
		ask_with(api->port, "POST", path, (const char *const[]){ type, NULL },
			 str_of(rows[i].body), &answer);
		assert_int_equal(answer.status, 202);
		fake_take(redis, "ingest", &arena, &job);
		assert_true(str_eq_c(answer_str(&answer, "id"), job.job.id));
		MUST(fields_from_pack(&ingest_payload_fields, job.payload, &payload, e));
		assert_true(str_eq_c(payload.body, rows[i].body));
		assert_true(str_eq_c(payload.content_type, rows[i].media_type));
		assert_true(str_eq_c(payload.title, rows[i].title));
		assert_true(str_eq_c(payload.metadata, rows[i].metadata));
		if (i > 0)
			assert_true(id_is_ulid(payload.document_id)); /* the server's own */
		fake_succeed(redis, &job, "{}");
		answer_release(&answer);
		arena_release(&arena);
	}
}

#define DOCS V1 "/collections/default/documents"
#define FORM "multipart/form-data; boundary=b"
#define FORM_PART(name, text)                                                                      \
	"--b\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" text "\r\n"

/* A file in a form, its type found by content. */
static void
test_document_form(void **state)
{
	struct ingest_payload payload = { 0 };
	struct answer answer = { 0 };
	struct fake_job job;
	struct arena arena;

	(void)state;
	arena_init(&arena, 1 << 24);
	drain_ingest();
	ask_with(api->port, "POST", DOCS "?max_failures=2",
		 (const char *const[]){ "Content-Type: " FORM, NULL },
		 STR(FORM_PART("title", "A b") FORM_PART("file", "%PDF-1.4 \xff")
			     FORM_PART("id", "f") FORM_PART("metadata", "{\"y\":1}") "--b--\r\n"),
		 &answer);
	if (answer.status != 202)
		fail_msg(STR_FMT, STR_ARG(answer_str(&answer, "detail")));
	fake_take(redis, "ingest", &arena, &job);
	MUST(fields_from_pack(&ingest_payload_fields, job.payload, &payload, e));
	assert_true(str_eq_c(payload.body, "%PDF-1.4 \xff"));
	assert_true(str_eq_c(payload.content_type, "application/pdf"));
	assert_true(str_eq_c(payload.document_id, "f"));
	assert_true(str_eq_c(payload.title, "A b"));
	assert_true(str_eq_c(payload.metadata, "{\"y\":1}"));
	fake_succeed(redis, &job, "{}");
	answer_release(&answer);
	arena_release(&arena);
}

static void
test_bad_documents(void **state)
{
	(void)state;
	static const struct bad rows[] = {
		{ "POST", DOCS, NULL, "", 400, "MALFORMED_REQUEST", "" },
		{ "POST", DOCS, NULL, "{\"text\":\"x\"", 400, "MALFORMED_REQUEST", "" },
		{ "POST", DOCS, NULL, "{\"text\":\"\xff\"}", 400, "MALFORMED_REQUEST", "" },
		{ "POST", DOCS, NULL, "\"text\"", 422, "INVALID_ARGUMENT", "" },
		{ "POST", DOCS, NULL, "{}", 422, "INVALID_ARGUMENT", "/text" },
		{ "POST", DOCS, NULL, "{\"text\":7}", 422, "INVALID_ARGUMENT", "/text" },
		{ "POST", DOCS, NULL, "{\"text\":\"\"}", 422, "EMPTY_TEXT", "/text" },
		{ "POST", DOCS, NULL, "{\"text\":\" \\n\\t \"}", 422, "EMPTY_TEXT", "/text" },
		{ "POST", DOCS, NULL, "{\"text\":\"x\",\"tilte\":\"y\"}", 422, "INVALID_ARGUMENT",
		  "/tilte" },
		{ "POST", DOCS, NULL, "{\"text\":\"x\",\"id\":\"a\\u0007\"}", 422,
		  "INVALID_ARGUMENT", "/id" },
		{ "POST", DOCS, NULL, "{\"text\":\"x\",\"metadata\":[1]}", 422, "INVALID_ARGUMENT",
		  "/metadata" },
		{ "POST", DOCS, NULL, "{\"text\":\"x\",\"content_type\":\"image/png\"}", 422,
		  "INVALID_ARGUMENT", "/content_type" },
		{ "POST", DOCS, NULL, "{\"text\":\"x\",\"delay_s\":-1}", 422, "INVALID_ARGUMENT",
		  "/delay_s" },
		{ "POST", DOCS, NULL, "{\"text\":\"x\",\"run_at\":\"tomorrow\"}", 422,
		  "INVALID_ARGUMENT", "/run_at" },
		{ "POST", DOCS, NULL,
		  "{\"text\":\"x\",\"run_at\":\"2030-01-01T00:00:00Z\",\"delay_s\":1}", 422,
		  "INVALID_ARGUMENT", "/delay_s" },
		{ "POST", DOCS, NULL, "{\"text\":\"x\",\"max_failures\":0}", 422,
		  "INVALID_ARGUMENT", "/max_failures" },
		{ "POST", DOCS "?id=x", NULL, "{\"text\":\"x\"}", 422, "INVALID_ARGUMENT", "/id" },
		{ "POST", DOCS "?raw=maybe", NULL, "{}", 422, "INVALID_ARGUMENT", "/raw" },
		{ "POST", DOCS, "text/plain", "", 422, "EMPTY_TEXT", "" },
		{ "POST", DOCS, "text/plain", "  \n", 422, "EMPTY_TEXT", "" },
		{ "POST", DOCS, "text/plain", "a\xc3(", 422, "BAD_DOCUMENT", "" },
		{ "POST", DOCS, "text/plain; charset=latin1", "x", 415, "UNSUPPORTED_MEDIA_TYPE",
		  "" },
		{ "POST", DOCS, "multipart/form-data", "--b--", 400, "MALFORMED_REQUEST", "" },
		{ "POST", DOCS, "multipart/form-data; boundary=b", "--b--", 422, "INVALID_ARGUMENT",
		  "/file" },
		{ "POST", DOCS, FORM, FORM_PART("file", "x") FORM_PART("file", "y") "--b--", 422,
		  "INVALID_ARGUMENT", "" },
		{ "POST", DOCS, FORM, FORM_PART("file", "x") FORM_PART("tilte", "y") "--b--", 422,
		  "INVALID_ARGUMENT", "" },
		{ "POST", DOCS, FORM, FORM_PART("file", "x") FORM_PART("metadata", "7") "--b--",
		  422, "INVALID_ARGUMENT", "/metadata" },
		{ "POST", DOCS, FORM, FORM_PART("file", " ") "--b--", 422, "EMPTY_TEXT", "" },
		{ "POST", DOCS, FORM, FORM_PART("file", "\x89PNG\r\n\x1a") "--b--", 415,
		  "UNSUPPORTED_MEDIA_TYPE", "" },
		{ "POST", DOCS "?id=x", FORM, FORM_PART("file", "x") "--b--", 422,
		  "INVALID_ARGUMENT", "/id" },
		{ "POST", DOCS, NULL, "{\"text\":\"x\",\"content_type\":\"application/pdf\"}", 422,
		  "INVALID_ARGUMENT", "/content_type" },
		{ "POST", DOCS, "application/octet-stream", "\x1f\x8b\x08", 415,
		  "UNSUPPORTED_MEDIA_TYPE", "" },
		{ "POST", DOCS, "text/html", "%PDF-1.4", 415, "UNSUPPORTED_MEDIA_TYPE", "" },
		{ "POST", DOCS, "application/pdf", "%PDF", 415, "UNSUPPORTED_MEDIA_TYPE", "" },
		{ "POST", DOCS, "application/x-www-form-urlencoded", "a=b", 415,
		  "UNSUPPORTED_MEDIA_TYPE", "" },
		{ "POST", DOCS "?metadata=%7B", "text/plain", "x", 400, "MALFORMED_REQUEST",
		  "/metadata" },
		{ "POST", DOCS "?metadata=7", "text/plain", "x", 422, "INVALID_ARGUMENT",
		  "/metadata" },
		{ "POST", DOCS "?colour=red", "text/plain", "x", 422, "INVALID_ARGUMENT",
		  "/colour" },
		{ "POST", DOCS "?expires_in_s=0", "text/plain", "x", 422, "INVALID_ARGUMENT",
		  "/expires_in_s" },
		{ "POST", V1 "/collections/nope/documents", NULL, "{\"text\":\"x\"}", 404,
		  "NOT_FOUND", "" },
		{ "GET", DOCS "/nope", NULL, NULL, 404, "NOT_FOUND", "" },
		{ "GET", DOCS "/a%00b", NULL, NULL, 400, "MALFORMED_REQUEST", "" },
		{ "DELETE", DOCS "/nope", NULL, NULL, 404, "NOT_FOUND", "" },
		{ "GET", DOCS "?page_token=00", NULL, NULL, 400, "MALFORMED_REQUEST",
		  "/page_token" },
	};

	check_bad(rows, ARRAY_SIZE(rows));
}

static void
test_huge_bodies(void **state)
{
	(void)state;
	AUTO(buf) struct buf body = BUF_INIT(1 << 20);
	struct answer answer = { 0 };
	char id[300];

	buf_add_str(&body, "{\"text\":\"");
	for (int i = 0; i < 30000; i++)
		buf_add_char(&body, 'x');
	buf_add_str(&body, "\"}");
	ask(api, &answer, "POST", DOCS, body.data);
	check_problem(&answer, 413, "TOO_LARGE", "");
	answer_release(&answer);

	buf_clear(&body);
	for (int i = 0; i < 9000; i++)
		buf_add_char(&body, '[');
	ask(api, &answer, "POST", DOCS, body.data);
	check_problem(&answer, 400, "MALFORMED_REQUEST", "");
	answer_release(&answer);

	memset(id, 'i', sizeof(id));
	id[257] = '\0';
	buf_clear(&body);
	buf_printf(&body, "{\"id\":\"%s\",\"text\":\"x\"}", id);
	ask(api, &answer, "POST", DOCS, body.data);
	check_problem(&answer, 422, "INVALID_ARGUMENT", "/id");
	answer_release(&answer);
}

/* Makes a document visible, as a worker would. */
static void
commit(const char *document_id)
{
	struct ingest_payload payload = { 0 };
	enum catalog_commit_result result;
	char old_gen[CATALOG_GEN_BYTES], body[128];
	struct fake_job job;
	struct arena arena;

	arena_init(&arena, 1 << 24);
	drain_ingest();
	(void)snprintf(body, sizeof(body), "{\"id\":\"%s\",\"text\":\"x\",\"title\":\"T\"}",
		       document_id);
	ask_status(api, 202, "POST", DOCS, body);
	fake_take(redis, "ingest", &arena, &job);
	MUST(fields_from_pack(&ingest_payload_fields, job.payload, &payload, e));
	struct catalog_commit change = {
		.uid = payload.uid,
		.document_id = payload.document_id,
		.job_id = str_of(job.job.id),
		.seq = payload.seq,
		.epoch = job.lease.epoch,
		.title = payload.title,
		.content_type = payload.content_type,
		.content_hash = payload.content_hash,
		.version_hash = payload.content_hash,
		.fingerprint = STR("local/hash-1/768"),
		.bytes = 1,
		.chunks = 1,
	};
	MUST(catalog_commit(redis, &change, &result, old_gen, e));
	assert_int_equal(result, CATALOG_COMMITTED);
	MUST(catalog_release(redis, payload.uid, str_of(job.job.id), e));
	fake_succeed(redis, &job, "{}");
	arena_release(&arena);
}

static void
test_document_life(void **state)
{
	(void)state;
	struct delete_payload payload = { 0 };
	struct answer answer = { 0 };
	struct fake_job job;
	struct arena arena;

	arena_init(&arena, 1 << 24);
	commit("life/one");
	ask(api, &answer, "GET", DOCS "/life%2Fone", NULL);
	assert_int_equal(answer.status, 200);
	assert_true(answer_is(&answer, "id", "life/one"));
	assert_true(answer_is(&answer, "title", "T"));
	assert_int_equal(answer_int(&answer, "chunks"), 1);
	assert_false(js_bool(answer_get(&answer, "in_flight")));
	answer_release(&answer);

	ask_status(api, 202, "POST", DOCS, "{\"id\":\"life/one\",\"text\":\"y\"}");
	ask(api, &answer, "GET", DOCS "/life%2Fone", NULL);
	assert_true(js_bool(answer_get(&answer, "in_flight")));
	answer_release(&answer);
	drain_ingest();

	ask(api, &answer, "DELETE", DOCS "/life%2Fone", NULL);
	assert_int_equal(answer.status, 202);
	assert_true(answer_is(&answer, "type", "delete"));
	answer_release(&answer);
	ask_status(api, 404, "GET", DOCS "/life%2Fone", NULL); /* for readers, at once */
	fake_take(redis, "ingest", &arena, &job);
	MUST(fields_from_pack(&delete_payload_fields, job.payload, &payload, e));
	assert_true(str_eq_c(payload.document_id, "life/one"));
	assert_true(payload.seq > 0);
	fake_succeed(redis, &job, "{}");
	arena_release(&arena);
}

/* A document that is only on its way is known: its delete is accepted. */
static void
test_delete_in_flight(void **state)
{
	(void)state;
	drain_ingest();
	ask_status(api, 202, "POST", DOCS, "{\"id\":\"soon\",\"text\":\"x\"}");
	ask_status(api, 404, "GET", DOCS "/soon", NULL);
	ask_status(api, 202, "DELETE", DOCS "/soon", NULL);
	drain_ingest();
}

static void
test_document_pages(void **state)
{
	(void)state;
	char path[1024] = DOCS "?page_size=2", seen[300] = "";
	int found = 0;

	commit("list-a");
	commit("list-b");
	commit("list-c");
	for (bool more = true; more;) {
		struct answer answer = { 0 };

		ask(api, &answer, "GET", path, NULL);
		assert_int_equal(answer.status, 200);
		const struct js *data = answer_get(&answer, "data");
		for (size_t i = 0; i < js_len(data); i++) {
			struct str id = js_str(js_get(js_at(data, i), "id"));

			assert_true(str_cmp(id, str_of(seen)) > 0);
			assert_true(str_copy(seen, sizeof(seen), id));
			found += str_starts(id, "list-");
		}
		struct str token = answer_str(&answer, "next_page_token");
		more = token.len > 0;
		(void)snprintf(path, sizeof(path), DOCS "?page_size=2&page_token=" STR_FMT,
			       STR_ARG(token));
		answer_release(&answer);
	}
	assert_int_equal(found, 3);
}

/* The collection remembers the embedder of its vectors; another one's would be garbage. */
static void
test_embedder_mismatch(void **state)
{
	(void)state;
	static const struct {
		const char *path, *type;
	} others[] = {
		{ V1 "/collections/other-vectors/documents", "Content-Type: text/plain" },
		{ V1 "/collections/other-vectors/documents?raw=true",
		  "Content-Type: application/json" },
		{ V1 "/collections/other-vectors/documents:import",
		  "Content-Type: application/x-ndjson" },
	};
	static const char *const modes[] = { "{\"query\":\"x\"}",
					     "{\"query\":\"x\",\"mode\":\"dense\"}" };
	struct answer answer = { 0 };
	struct key meta;

	ask(api, &answer, "POST", V1 "/collections", "{\"name\":\"other-vectors\"}");
	meta = key_catalog(answer_str(&answer, "uid"), CK_META);
	answer_release(&answer);
	MUST(REDIS_CALL(redis, NULL, e, "HSET", meta.text, "fingerprint", "gemini/x/3072"));
	ask(api, &answer, "POST", V1 "/collections/other-vectors/documents", "{\"text\":\"x\"}");
	check_problem(&answer, 409, "EMBEDDER_MISMATCH", "");
	answer_release(&answer);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		ask(api, &answer, "POST", V1 "/collections/other-vectors/query", modes[i]);
		check_problem(&answer, 409, "EMBEDDER_MISMATCH", "");
		answer_release(&answer);
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		ask_with(api->port, "POST", others[i].path,
			 (const char *const[]){ others[i].type, NULL }, STR("{\"text\":\"x\"}\n"),
			 &answer);
		check_problem(&answer, 409, "EMBEDDER_MISMATCH", "");
		answer_release(&answer);
	}
}

/* ---- queries ---- */

#define QUERY V1 "/collections/default/query"

static void
test_query(void **state)
{
	(void)state;
	struct query_payload payload = { 0 };
	struct answer answer = { 0 };
	struct fake_job job;
	struct arena arena;
	char path[128];

	arena_init(&arena, 1 << 24);
	ask(api, &answer, "POST", QUERY,
	    "{\"query\":\"why?\",\"top_k\":3,\"mode\":\"lexical\",\"filter\":{\"lang\":\"en\"},"
	    "\"history\":[{\"role\":\"user\",\"content\":\"Oil?\"}],"
	    "\"generate\":false,\"expires_in_s\":60}");
	assert_int_equal(answer.status, 202);
	assert_true(answer_is(&answer, "type", "query"));
	assert_true(answer_str(&answer, "expires_at").len > 0);
	(void)snprintf(path, sizeof(path), STR_FMT "/result",
		       STR_ARG(answer_header(&answer, "location")));
	answer_release(&answer);

	fake_take(redis, "query", &arena, &job);
	MUST(fields_from_pack(&query_payload_fields, job.payload, &payload, e));
	assert_true(str_eq_c(payload.query, "why?"));
	assert_true(str_eq_c(payload.history, "[{\"content\":\"Oil?\",\"role\":\"user\"}]"));
	assert_int_equal(payload.top_k, 3);
	assert_int_equal(payload.mode, QUERY_LEXICAL);
	assert_false(payload.generate);
	assert_int_equal(payload.uid.len, ID_ULID_LEN);

	ask(api, &answer, "GET", path, NULL);
	assert_int_equal(answer.status, 202);
	assert_true(answer_is(&answer, "status", "running"));
	assert_true(answer_header(&answer, "retry-after").len > 0);
	answer_release(&answer);
	fake_succeed(redis, &job, "{\"answer\":\"because\"}");
	ask(api, &answer, "GET", path, NULL);
	assert_int_equal(answer.status, 200);
	assert_true(answer_is(&answer, "answer", "because"));
	answer_release(&answer);
	arena_release(&arena);
}

static void
test_bad_queries(void **state)
{
	(void)state;
	static const struct bad rows[] = {
		{ "POST", QUERY, NULL, "", 400, "MALFORMED_REQUEST", "" },
		{ "POST", QUERY, NULL, "{}", 422, "INVALID_ARGUMENT", "/query" },
		{ "POST", QUERY, NULL, "{\"query\":\"\"}", 422, "INVALID_ARGUMENT", "/query" },
		{ "POST", QUERY, NULL, "{\"query\":\"  \"}", 422, "INVALID_ARGUMENT", "/query" },
		{ "POST", QUERY, NULL, "{\"query\":[\"x\"]}", 422, "INVALID_ARGUMENT", "/query" },
		{ "POST", QUERY, NULL, "{\"query\":\"x\",\"top_k\":0}", 422, "INVALID_ARGUMENT",
		  "/top_k" },
		{ "POST", QUERY, NULL, "{\"query\":\"x\",\"top_k\":201}", 422, "INVALID_ARGUMENT",
		  "/top_k" },
		{ "POST", QUERY, NULL, "{\"query\":\"x\",\"top_k\":\"3\"}", 422, "INVALID_ARGUMENT",
		  "/top_k" },
		{ "POST", QUERY, NULL, "{\"query\":\"x\",\"mode\":\"magic\"}", 422,
		  "INVALID_ARGUMENT", "/mode" },
		{ "POST", QUERY, NULL, "{\"query\":\"x\",\"uid\":\"y\"}", 422, "INVALID_ARGUMENT",
		  "/uid" },
		{ "POST", QUERY, NULL, "{\"query\":\"x\",\"max_tokens\":1}", 422,
		  "INVALID_ARGUMENT", "/max_tokens" },
		{ "POST", QUERY, NULL, "{\"query\":\"x\",\"filter\":{\"a\":{\"$near\":1}}}", 422,
		  "INVALID_ARGUMENT", "/filter/a/$near" },
		{ "POST", QUERY, NULL, "{\"query\":\"x\",\"history\":{}}", 422, "INVALID_ARGUMENT",
		  "/history" },
		{ "POST", QUERY, NULL,
		  "{\"query\":\"x\",\"history\":[{\"role\":\"model\",\"content\":\"y\"}]}", 422,
		  "INVALID_ARGUMENT", "/history/0/role" },
		{ "POST", QUERY, "text/plain", "why", 415, "UNSUPPORTED_MEDIA_TYPE", "" },
		{ "POST", V1 "/collections/nope/query", NULL, "{\"query\":\"x\"}", 404, "NOT_FOUND",
		  "" },
	};

	check_bad(rows, ARRAY_SIZE(rows));
}

/* ---- jobs ---- */

static void
submit_query(char out_id[JOB_ID_BYTES])
{
	struct answer answer = { 0 };

	ask(api, &answer, "POST", QUERY, "{\"query\":\"x\"}");
	assert_int_equal(answer.status, 202);
	assert_true(str_copy(out_id, JOB_ID_BYTES, answer_str(&answer, "id")));
	answer_release(&answer);
}

static void
ask_job(struct answer *out, const char *method, const char *id, const char *tail)
{
	char path[256];

	(void)snprintf(path, sizeof(path), V1 "/jobs/%s%s", id, tail);
	ask(api, out, method, path, NULL);
}

static void
test_cancel(void **state)
{
	(void)state;
	struct answer answer = { 0 };
	char id[JOB_ID_BYTES];
	struct fake_job job;
	struct arena arena;

	arena_init(&arena, 1 << 24);
	submit_query(id);
	ask_job(&answer, "POST", id, ":cancel");
	assert_int_equal(answer.status, 200);
	assert_true(answer_is(&answer, "status", "cancelled"));
	assert_true(js_bool(answer_get(&answer, "done")));
	answer_release(&answer);
	ask_job(&answer, "POST", id, ":cancel"); /* again: the same */
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	ask_job(&answer, "GET", id, "/result");
	check_problem(&answer, 409, "CANCELLED", "");
	assert_true(answer_is(&answer, "job_id", id));
	answer_release(&answer);

	submit_query(id);
	fake_take(redis, "query", &arena, &job);
	assert_string_equal(job.job.id, id);
	ask_job(&answer, "POST", id, ":cancel");
	assert_int_equal(answer.status, 202);
	assert_true(answer_is(&answer, "status", "cancelling"));
	assert_true(js_bool(answer_get(&answer, "cancel_requested")));
	answer_release(&answer);
	fake_settle(redis, &job, SETTLE_CANCEL, STR(""), NULL);

	submit_query(id);
	fake_take(redis, "query", &arena, &job);
	fake_succeed(redis, &job, "{}");
	ask_job(&answer, "POST", id, ":cancel");
	check_problem(&answer, 409, "ALREADY_FINAL", "");
	answer_release(&answer);
	arena_release(&arena);
}

static void
test_failed_and_retry(void **state)
{
	(void)state;
	struct answer answer = { 0 };
	char id[JOB_ID_BYTES];
	struct fake_job job;
	struct arena arena;

	arena_init(&arena, 1 << 24);
	submit_query(id);
	ask_job(&answer, "POST", id, ":retry");
	check_problem(&answer, 409, "CONFLICT", "");
	answer_release(&answer);
	fake_take(redis, "query", &arena, &job);
	fake_fail(redis, &job, ERR_PROVIDER_REJECTED, "the provider said no");
	ask_job(&answer, "GET", id, ""); /* the call worked, the job did not */
	assert_int_equal(answer.status, 200);
	assert_true(answer_is(&answer, "status", "failed"));
	assert_true(answer_is(&answer, "error/code", "PROVIDER_REJECTED"));
	assert_true(answer_is(&answer, "error/detail", "the provider said no"));
	assert_int_equal(answer_int(&answer, "error/status"), 502);
	assert_int_equal(answer_header(&answer, "retry-after").len, 0);
	answer_release(&answer);
	ask_job(&answer, "GET", id, "/result");
	check_problem(&answer, 502, "PROVIDER_REJECTED", "");
	answer_release(&answer);

	ask(api, &answer, "GET", V1 "/jobs?status=failed&error=PROVIDER_REJECTED", NULL);
	assert_true(answer_is(&answer, "data/0/id", id));
	assert_int_equal(js_len(answer_get(&answer, "data")), 1);
	answer_release(&answer);
	ask(api, &answer, "GET", V1 "/jobs?status=failed&error=DISK_FULL", NULL);
	assert_int_equal(answer.status, 200);
	assert_int_equal(js_len(answer_get(&answer, "data")), 0);
	answer_release(&answer);
	ask(api, &answer, "GET", V1 "/queues/query/dead", NULL);
	assert_true(answer_is(&answer, "data/0/id", id));
	assert_true(answer_is(&answer, "data/0/error/code", "PROVIDER_REJECTED"));
	answer_release(&answer);
	ask_job(&answer, "POST", id, ":retry");
	assert_int_equal(answer.status, 202);
	assert_true(answer_is(&answer, "status", "queued"));
	assert_true(answer_header(&answer, "location").len > 0);
	answer_release(&answer);
	fake_take(redis, "query", &arena, &job);
	assert_string_equal(job.job.id, id);
	fake_succeed(redis, &job, "{}");
	arena_release(&arena);
}

static void
forget_if(const char *id, const char *tags, int status, struct answer *out)
{
	char path[256], header[128];

	(void)snprintf(path, sizeof(path), V1 "/jobs/%s", id);
	(void)snprintf(header, sizeof(header), "If-Match: %s", tags);
	ask(api, out, "DELETE", path, NULL, header);
	assert_int_equal(out->status, status);
}

/* A job that waits for a dependency says so, in its record and in lists, and is charged nothing. */
static void
test_waiting_for(void **state)
{
	(void)state;
	struct err limited = ERR_INIT;
	struct answer answer = { 0 };
	struct fake_job job;
	struct arena arena;
	char path[128];

	arena_init(&arena, 1 << 24);
	drain_ingest();
	ask_status(api, 202, "POST", DOCS, "{\"id\":\"w\",\"text\":\"x\"}");
	fake_take(redis, "ingest", &arena, &job);
	(void)snprintf(path, sizeof(path), V1 "/jobs/%s", job.job.id);
	ask(api, &answer, "GET", path, NULL);
	assert_int_equal(js_type(answer_get(&answer, "waiting_for")), JS_NULL);
	answer_release(&answer);

	err_set(&limited, ERR_PROVIDER_LIMITED, "could not use gemini now");
	err_waiting_for(&limited, "gemini m: requests per minute");
	limited.retry_after_ms = 600000;
	fake_settle(redis, &job, SETTLE_WAIT, str_of(NULL), &limited);
	ask(api, &answer, "GET", path, NULL);
	assert_int_equal(answer.status, 200);
	assert_true(answer_is(&answer, "status", "retrying"));
	assert_true(answer_is(&answer, "waiting_for", "gemini m: requests per minute"));
	assert_true(answer_is(&answer, "error/code", "PROVIDER_LIMITED"));
	assert_int_equal(answer_int(&answer, "failures"), 0);
	assert_int_equal(answer_int(&answer, "attempt"), 0);
	answer_release(&answer);
	ask(api, &answer, "GET", V1 "/jobs?status=retrying", NULL);
	assert_true(answer_is(&answer, "data/0/waiting_for", "gemini m: requests per minute"));
	answer_release(&answer);
	(void)snprintf(path, sizeof(path), V1 "/jobs/%s:cancel", job.job.id);
	ask(api, &answer, "POST", path, NULL);
	assert_true(answer_is(&answer, "status", "cancelled"));
	assert_int_equal(js_type(answer_get(&answer, "waiting_for")), JS_NULL);
	answer_release(&answer);
	arena_release(&arena);
}

static void
test_forget(void **state)
{
	(void)state;
	struct answer answer = { 0 };
	char id[JOB_ID_BYTES];

	submit_query(id);
	ask_job(&answer, "DELETE", id, "");
	check_problem(&answer, 409, "NOT_FINAL", "");
	answer_release(&answer);
	ask_job(&answer, "POST", id, ":cancel");
	answer_release(&answer);
	forget_if(id, "\"v1\"", 412, &answer);
	check_problem(&answer, 412, "PRECONDITION_FAILED", "");
	answer_release(&answer);
	forget_if(id, "W/\"v2\"", 412, &answer); /* weak tags do not count */
	answer_release(&answer);
	forget_if(id, "\"v9\", \"v2\"", 204, &answer);
	answer_release(&answer);
	submit_query(id);
	ask_job(&answer, "POST", id, ":cancel");
	answer_release(&answer);
	ask_job(&answer, "DELETE", id, "");
	assert_int_equal(answer.status, 204);
	assert_int_equal(answer.reply.body.len, 0);
	answer_release(&answer);
	ask_job(&answer, "GET", id, "");
	check_problem(&answer, 404, "NOT_FOUND", "");
	answer_release(&answer);
}

static void
test_bad_jobs(void **state)
{
	(void)state;
	static const struct bad rows[] = {
		{ "GET", V1 "/jobs/nonsense", NULL, NULL, 404, "NOT_FOUND", "" },
		{ "GET", V1 "/jobs/query-0-01m83vp7a775yt6bfzws23a96x", NULL, NULL, 404,
		  "NOT_FOUND", "" },
		{ "GET", V1 "/jobs/query-0-01m83vp7a775yt6bfzws23a96x/result", NULL, NULL, 404,
		  "NOT_FOUND", "" },
		{ "POST", V1 "/jobs/query-0-01m83vp7a775yt6bfzws23a96x:cancel", NULL, NULL, 404,
		  "NOT_FOUND", "" },
		{ "POST", V1 "/jobs/query-0-01m83vp7a775yt6bfzws23a96x:retry", NULL, NULL, 404,
		  "NOT_FOUND", "" },
		{ "DELETE", V1 "/jobs/query-0-01m83vp7a775yt6bfzws23a96x", NULL, NULL, 404,
		  "NOT_FOUND", "" },
		{ "GET", V1 "/jobs?status=happy", NULL, NULL, 422, "INVALID_ARGUMENT", "/status" },
		{ "GET", V1 "/jobs?status=", NULL, NULL, 422, "INVALID_ARGUMENT", "/status" },
		{ "GET", V1 "/workers?queue=", NULL, NULL, 422, "INVALID_ARGUMENT", "/queue" },
		{ "GET", V1 "/jobs?page_size=", NULL, NULL, 400, "MALFORMED_REQUEST",
		  "/page_size" },
		{ "DELETE", DOCS "/x?delay_s=", NULL, NULL, 422, "INVALID_ARGUMENT", "/delay_s" },
		{ "DELETE", DOCS "/x?run_at=", NULL, NULL, 422, "INVALID_ARGUMENT", "/run_at" },
		{ "GET", V1 "/jobs?queue=nope", NULL, NULL, 422, "INVALID_ARGUMENT", "/queue" },
		{ "GET", V1 "/jobs?type=nope", NULL, NULL, 422, "INVALID_ARGUMENT", "/type" },
		{ "GET", V1 "/jobs?error=OK", NULL, NULL, 422, "INVALID_ARGUMENT", "/error" },
		{ "GET", V1 "/jobs?error=nope", NULL, NULL, 422, "INVALID_ARGUMENT", "/error" },
		{ "GET", V1 "/workers?queue=nope", NULL, NULL, 422, "INVALID_ARGUMENT", "/queue" },
		{ "GET", V1 "/workers?tenant=x", NULL, NULL, 422, "INVALID_ARGUMENT", "/tenant" },
		{ "GET", V1 "/jobs?page_token=zzzz", NULL, NULL, 400, "MALFORMED_REQUEST",
		  "/page_token" },
		{ "GET", V1 "/jobs?tenant=x", NULL, NULL, 422, "INVALID_ARGUMENT", "/tenant" },
		{ "GET", V1 "/queues/nope", NULL, NULL, 404, "NOT_FOUND", "" },
		{ "POST", V1 "/queues/nope:pause", NULL, NULL, 404, "NOT_FOUND", "" },
		{ "GET", V1 "/queues/nope/dead", NULL, NULL, 404, "NOT_FOUND", "" },
	};

	check_bad(rows, ARRAY_SIZE(rows));
}

static void
test_job_pages(void **state)
{
	(void)state;
	static char ids[12][JOB_ID_BYTES];
	char path[1024] = V1 "/jobs?page_size=3&status=queued";
	int seen[ARRAY_SIZE(ids)] = { 0 };
	struct answer answer = { 0 };

	drain_ingest();
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		ask(api, &answer, "POST", i % 2 ? QUERY : DOCS,
		    i % 2 ? "{\"query\":\"x\"}" : "{\"text\":\"x\"}");
		assert_true(str_copy(ids[i], sizeof(ids[i]), answer_str(&answer, "id")));
		answer_release(&answer);
	}
	for (int pages = 0; path[0]; pages++) {
		assert_true(pages < 100);
		ask(api, &answer, "GET", path, NULL);
		assert_int_equal(answer.status, 200);
		const struct js *data = answer_get(&answer, "data");
		assert_true(js_len(data) <= 3);
		for (size_t i = 0; i < js_len(data); i++)
			for (size_t k = 0; k < ARRAY_SIZE(ids); k++)
				seen[k] += str_eq_c(js_str(js_get(js_at(data, i), "id")), ids[k]);
		struct str token = answer_str(&answer, "next_page_token");
		int len = snprintf(path, sizeof(path),
				   V1 "/jobs?page_size=3&status=queued&page_token=" STR_FMT,
				   STR_ARG(token));
		assert_true((size_t)len < sizeof(path));
		if (token.len == 0)
			path[0] = '\0';
		else { /* a token is of the list it came from */
			struct answer other = { 0 };
			char wrong[1024];

			(void)snprintf(wrong, sizeof(wrong), V1 "/jobs?page_token=" STR_FMT,
				       STR_ARG(token));
			ask(api, &other, "GET", wrong, NULL);
			check_problem(&other, 400, "MALFORMED_REQUEST", "/page_token");
			answer_release(&other);
		}
		answer_release(&answer);
	}
	for (size_t k = 0; k < ARRAY_SIZE(ids); k++)
		assert_int_equal(seen[k], 1);

	ask(api, &answer, "GET", V1 "/jobs?type=ingest&page_size=5000", NULL); /* coerced */
	assert_int_equal(answer.status, 200);
	const struct js *data = answer_get(&answer, "data");
	for (size_t i = 0; i < js_len(data); i++)
		assert_true(str_eq_c(js_str(js_get(js_at(data, i), "type")), "ingest"));
	answer_release(&answer);
}

/* ---- queues ---- */

static void
test_queues(void **state)
{
	(void)state;
	struct answer answer = { 0 };
	bool paused;
	struct queue_ref queue;

	assert_true(job_queue_find(STR("hook"), 0, &queue));
	ask(api, &answer, "GET", V1 "/queues", NULL);
	assert_int_equal(js_len(answer_get(&answer, "data")), 3);
	assert_true(answer_is(&answer, "data/0/name", "ingest"));
	answer_release(&answer);
	ask(api, &answer, "POST", V1 "/queues/hook:pause", NULL);
	assert_int_equal(answer.status, 200);
	assert_true(js_bool(answer_get(&answer, "paused")));
	assert_int_equal(answer_int(&answer, "demand"), 0);
	answer_release(&answer);
	MUST(queue_is_paused(redis, queue, &paused, e));
	assert_true(paused);
	ask(api, &answer, "POST", V1 "/queues/hook:resume", NULL);
	assert_false(js_bool(answer_get(&answer, "paused")));
	answer_release(&answer);
	ask(api, &answer, "GET", V1 "/queues/hook", NULL);
	assert_false(js_bool(answer_get(&answer, "paused")));
	answer_release(&answer);
}

static void
test_workers(void **state)
{
	(void)state;
	struct queue_ref queue;
	struct answer answer = { 0 };
	struct fake_job job;
	struct arena arena;
	char id[JOB_ID_BYTES];

	assert_true(job_queue_find(STR("query"), 0, &queue));
	arena_init(&arena, 1 << 24);
	submit_query(id);
	fake_take(redis, "query", &arena, &job);
	MUST(queue_announce(redis, queue, job.lease.consumer, 3600000, e));
	ask(api, &answer, "GET", V1 "/workers?queue=query", NULL);
	assert_int_equal(answer.status, 200);
	assert_int_equal(js_len(answer_get(&answer, "data")), 1);
	assert_true(answer_is(&answer, "data/0/name", job.lease.consumer));
	assert_true(answer_is(&answer, "data/0/queue", "query"));
	assert_true(js_bool(answer_get(&answer, "data/0/live")));
	assert_true(answer_is(&answer, "data/0/job/id", job.job.id));
	assert_true(answer_is(&answer, "data/0/job/status", "running"));
	assert_true(answer_is(&answer, "next_page_token", ""));
	assert_false(js_bool(answer_get(&answer, "truncated")));
	answer_release(&answer);
	fake_succeed(redis, &job, "{}");
	ask(api, &answer, "GET", V1 "/workers", NULL);
	assert_int_equal(js_len(answer_get(&answer, "data")), 1);
	assert_true(js_is(answer_get(&answer, "data/0/job"), JS_NULL));
	answer_release(&answer);
	MUST(queue_leave(redis, queue, job.lease.consumer, e));
	ask(api, &answer, "GET", V1 "/workers", NULL);
	assert_int_equal(js_len(answer_get(&answer, "data")), 0);
	answer_release(&answer);
	arena_release(&arena);
}

/* What the governor knows, for operators. */
static void
test_dependencies(void **state)
{
	(void)state;
	struct governor_limits limits = { .requests_per_minute = 1 };
	struct governor_opts opts = { 0 };
	struct governor_ticket ticket;
	struct answer answer = { 0 };
	struct err err = ERR_INIT;

	ask(api, &answer, "GET", V1 "/dependencies", NULL);
	assert_int_equal(answer.status, 200);
	assert_int_equal(js_len(answer_get(&answer, "data")), 0);
	answer_release(&answer);
	MUST(governor_acquire(redis, STR("gemini:m:0a0b0c0d"), &limits, &opts, NULL, &ticket, e));
	assert_false(governor_acquire(redis, STR("gemini:m:0a0b0c0d"), &limits, &opts, NULL,
				      &ticket, &err));
	ask(api, &answer, "GET", V1 "/dependencies", NULL);
	assert_int_equal(js_len(answer_get(&answer, "data")), 1);
	assert_true(answer_is(&answer, "data/0/name", "gemini m"));
	assert_true(answer_is(&answer, "data/0/breaker", "closed"));
	assert_true(answer_is(&answer, "data/0/waiting_for", "gemini m: requests per minute"));
	assert_int_equal(answer_int(&answer, "data/0/requests/used"), 1);
	assert_int_equal(answer_int(&answer, "data/0/requests/limit"), 1);
	assert_int_equal(answer_int(&answer, "data/0/refused_total"), 1);
	answer_release(&answer);
	ask_status(api, 422, "GET", V1 "/dependencies?x=y", NULL);
}

static void
test_delay(void **state)
{
	(void)state;
	struct answer answer = { 0 };
	char id[JOB_ID_BYTES];

	ask(api, &answer, "POST", QUERY, "{\"query\":\"x\",\"delay_s\":3600}");
	assert_int_equal(answer.status, 202);
	assert_true(answer_is(&answer, "status", "scheduled"));
	assert_true(answer_str(&answer, "due_at").len > 0);
	assert_true(str_copy(id, sizeof(id), answer_str(&answer, "id")));
	answer_release(&answer);
	ask_job(&answer, "POST", id, ":cancel");
	assert_true(answer_is(&answer, "status", "cancelled"));
	answer_release(&answer);
	ask(api, &answer, "POST", QUERY, "{\"query\":\"x\",\"run_at\":\"2001-01-01T00:00:00Z\"}");
	assert_true(answer_is(&answer, "status", "queued"));
	answer_release(&answer);
}

/* ---- health and metrics ---- */

static bool
metrics_hold(void *user)
{
	struct answer answer = { 0 };
	bool ok;

	ask_with(api->metrics_port, "GET", "/metrics", NULL, STR(""), &answer);
	ok = answer.status == 200 && strstr(answer.reply.body.data, user) != NULL;
	answer_release(&answer);
	return ok;
}

static void
test_monitor(void **state)
{
	(void)state;
	static const char *const lines[] = {
		"rag_engine_requests_total{method=\"GET\",route=\"" V1
		"/jobs/{id}\",status=\"404\"} ",
		"rag_engine_requests_total{method=\"GET\",route=\"none\",status=\"404\"} ",
		"rag_engine_request_duration_seconds_count{method=\"GET\",route=\"" V1
		"/queues\"} ",
		"rag_engine_requests_per_second ",
		"rag_engine_queue_demand{queue=\"ingest\"} ",
		"rag_engine_queue_oldest_seconds{queue=\"query\"} ",
		"rag_engine_dependency_up{dependency=\"redis\"} 1",
		"rag_engine_build_info{version=\"" RAG_VERSION "\"} 1",
	};
	static const char *const probes[] = { "/health", "/health/live", "/health/ready",
					      "/health/startup" };
	struct answer answer = { 0 };

	ask_status(api, 404, "GET", V1 "/jobs/x", NULL);
	ask_status(api, 200, "GET", V1 "/queues", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		wait_until(metrics_hold, (void *)(uintptr_t)lines[i], 20000, lines[i]);
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		ask_with(api->metrics_port, "GET", probes[i], NULL, STR(""), &answer);
		assert_int_equal(answer.status, 200);
		answer_release(&answer);
	}
	ask_with(api->metrics_port, "GET", "/health", NULL, STR(""), &answer);
	assert_true(answer_is(&answer, "status", "ready"));
	assert_true(js_bool(answer_get(&answer, "redis/up")));
	answer_release(&answer);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths_and_methods),
		cmocka_unit_test(test_request_id),
		cmocka_unit_test(test_foreign_origin),
		cmocka_unit_test(test_collections),
		cmocka_unit_test(test_bad_collections),
		cmocka_unit_test(test_collection_delete),
		cmocka_unit_test(test_collection_pages),
		cmocka_unit_test(test_document_json),
		cmocka_unit_test(test_document_raw),
		cmocka_unit_test(test_document_form),
		cmocka_unit_test(test_bad_documents),
		cmocka_unit_test(test_huge_bodies),
		cmocka_unit_test(test_document_life),
		cmocka_unit_test(test_delete_in_flight),
		cmocka_unit_test(test_document_pages),
		cmocka_unit_test(test_embedder_mismatch),
		cmocka_unit_test(test_query),
		cmocka_unit_test(test_bad_queries),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_failed_and_retry),
		cmocka_unit_test(test_waiting_for),
		cmocka_unit_test(test_forget),
		cmocka_unit_test(test_bad_jobs),
		cmocka_unit_test(test_job_pages),
		cmocka_unit_test(test_queues),
		cmocka_unit_test(test_workers),
		cmocka_unit_test(test_dependencies),
		cmocka_unit_test(test_delay),
		cmocka_unit_test(test_monitor),
	};
	return cmocka_run_group_tests(tests, start_all, stop_all);
}
