/*
 * documents:import, items and diff through a real rag-api: what a client meets, however the upload ends. The worker is played by
 * the test; after each test the queue is verified.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "common/base/mem.h"
#include "common/catalog.h"
#include "common/sha256.h"
#include "tests/support/api.h"
#include "tests/support/must.h"
#include "tests/support/queue_check.h"
#include "tests/support/raw_http.h"
#include "tests/support/redis_group.h"

#define V1 "/api/v1"
#define IMPORT V1 "/collections/default/documents:import"
#define DIFF V1 "/collections/default/documents:diff"
#define TYPE "Content-Type: application/x-ndjson"

static struct api_server *api;

static int
start(void **state)
{
	MUST(http_client_global_init(e));
	return redis_group_start(state);
}

static void
start_api(const char *const *env)
{
	MUST(REDIS_CALL(redis, NULL, e, "FLUSHALL"));
	api = api_server_start(redis_server_url(server), env);
}

static struct queue_ref
ingest_queue(void)
{
	struct queue_ref queue;

	assert_true(job_queue_find(STR("ingest"), 0, &queue));
	return queue;
}

static void
stop_api(void)
{
	assert_int_equal(api_server_stop(api), 0);
	queue_check(redis, ingest_queue(), "at the end", NULL);
}

/* ---- bodies ---- */

static void
add_doc(struct buf *body, int number)
{
	buf_printf(body, "{\"id\":\"d%d\",\"text\":\"document %d\"}\n", number, number);
}

static void
docs(struct buf *body, int from, int to)
{
	for (int i = from; i <= to; i++)
		add_doc(body, i);
}

static void
send_import(const char *key, const struct buf *body, struct answer *out)
{
	char header[128];
	const char *headers[3] = { TYPE, NULL, NULL };

	if (key) {
		(void)snprintf(header, sizeof(header), "Idempotency-Key: %s", key);
		headers[1] = header;
	}
	ask_with(api->port, "POST", IMPORT, headers, str_make(body->data, body->len), out);
}

static void
must_import(const char *key, const struct buf *body, char id[JOB_ID_BYTES])
{
	struct answer answer = { 0 };

	send_import(key, body, &answer);
	if (answer.status != 202)
		fail_msg("answered %d: %s", answer.status, answer.reply.body.data);
	str_copy(id, JOB_ID_BYTES, answer_str(&answer, "id"));
	answer_release(&answer);
}

/* ---- half an upload, byte by byte ---- */

static void
begin_upload(struct raw_http *raw, const char *key)
{
	char head[512];

	raw_open(raw, api->port);
	(void)snprintf(head, sizeof(head),
		       "POST " IMPORT " HTTP/1.1\r\nHost: x\r\n" TYPE
		       "\r\nIdempotency-Key: %s\r\nTransfer-Encoding: chunked\r\n\r\n",
		       key);
	raw_send(raw, head);
}

static void
send_chunk(struct raw_http *raw, const char *text)
{
	char size[32];

	(void)snprintf(size, sizeof(size), "%zx\r\n", strlen(text));
	raw_send(raw, size);
	raw_send(raw, text);
	raw_send(raw, "\r\n");
}

static void
send_docs(struct raw_http *raw, int from, int to)
{
	AUTO(buf) struct buf body = BUF_INIT(1 << 20);

	docs(&body, from, to);
	send_chunk(raw, body.data);
}

/* ---- the batch ---- */

static struct job
batch_of(const char *id)
{
	struct job job;

	MUST(queue_get(redis, str_of(id), &job, e));
	return job;
}

struct wait_batch {
	char id[JOB_ID_BYTES]; /* "" = the only import that there is */
	int64_t last_line;
	bool sealed, done;
	struct job job;
};

static bool
batch_is(void *user)
{
	struct wait_batch *wait = user;
	struct err err = ERR_INIT;

	if (!wait->id[0]) {
		AUTO(arena) struct arena arena;
		struct queue_list list = {
			.queue = ingest_queue(), .status = -1, .type = "import", .limit = 1
		};
		struct job *jobs;
		size_t count;

		arena_init(&arena, 1 << 20);
		MUST(queue_list(redis, &list, &arena, &jobs, &count, e));
		if (count == 0)
			return false;
		str_copy(wait->id, JOB_ID_BYTES, str_of(jobs[0].id));
	}
	return queue_get(redis, str_of(wait->id), &wait->job, &err) &&
	       wait->job.batch.last_line >= wait->last_line &&
	       (!wait->sealed || wait->job.batch.sealed) &&
	       (!wait->done || job_status_done(wait->job.status));
}

static void
wait_batch(struct wait_batch *wait)
{
	wait_until(batch_is, wait, API_PATIENCE_MS, "the batch");
}

/* What a worker does, until `count` jobs have been done. */
static void
work(int count)
{
	for (int i = 0; i < count; i++) {
		AUTO(arena) struct arena arena;
		struct fake_job job;

		arena_init(&arena, 1 << 20);
		fake_take(redis, "ingest", &arena, &job);
		fake_succeed(redis, &job, "{}");
	}
}

static void
expect_counts(const char *id, const char *expected)
{
	struct job job = batch_of(id);
	char got[128];

	(void)snprintf(got, sizeof(got),
		       "%lld pending %lld ok %lld failed %lld rejected, line %lld%s",
		       (long long)job.batch.pending, (long long)job.batch.succeeded,
		       (long long)job.batch.failed, (long long)job.batch.rejected,
		       (long long)job.batch.last_line, job.batch.partial ? ", partial" : "");
	assert_string_equal(got, expected);
}

/* ---- tests ---- */

static void
good_and_bad_lines(void **state)
{
	AUTO(buf) struct buf body = BUF_INIT(1 << 20);
	AUTO(buf) struct buf path = BUF_INIT(4096);
	struct answer answer = { 0 };
	char id[JOB_ID_BYTES];

	(void)state;
	start_api((const char *const[]){ "API_MAX_BODY_BYTES=1024", NULL });
	buf_add_str(&body, "\xef\xbb\xbf{\"id\":\"a\",\"text\":\"one\"}\r\n");
	buf_add_str(&body, "\r\n");
	buf_add_str(&body, "{\"text\":\"two\",\"metadata\":{\"k\":1}}\n");
	buf_add_str(&body, "not json\n");
	buf_add_str(&body, "{\"id\":\"b\",\"text\":\"\xff\"}\n");
	buf_add_str(&body, "{\"id\":\"c\",\"text\":\"x\",\"colour\":\"red\"}\n");
	buf_add_str(&body, "{\"id\":\"d\",\"text\":\" \"}\n[1]\n");
	buf_printf(&body, "{\"id\":\"e\",\"text\":\"%01500d\"}\n", 0);
	buf_add_str(&body, "{\"id\":\"f\",\"text\":\"x\",\"content_type\":\"image/png\"}\n");
	buf_add_str(&body, "{\"id\":\"a\\u0001\",\"text\":\"x\"}\n");
	buf_add_str(&body, "{\"id\":\"g\",\"text\":\"last, without an end\"}");
	must_import(NULL, &body, id);
	expect_counts(id, "3 pending 0 ok 0 failed 8 rejected, line 12");

	static const struct {
		int line;
		const char *code, *pointer;
	} bad[] = { { 4, "MALFORMED_REQUEST", "" },
		    { 5, "MALFORMED_REQUEST", "" },
		    { 6, "INVALID_ARGUMENT", "/colour" },
		    { 7, "EMPTY_TEXT", "/text" },
		    { 8, "INVALID_ARGUMENT", "" },
		    { 9, "TOO_LARGE", "" },
		    { 10, "INVALID_ARGUMENT", "/content_type" },
		    { 11, "INVALID_ARGUMENT", "/id" } };

	buf_printf(&path, V1 "/jobs/%s/items?status=failed", id);
	ask(api, &answer, "GET", path.data, NULL);
	assert_int_equal(answer.status, 200);
	assert_int_equal(js_len(answer_get(&answer, "data")), ARRAY_SIZE(bad));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char line[64], code[64], pointer[64];

		(void)snprintf(line, sizeof(line), "data/%zu/line", i);
		(void)snprintf(code, sizeof(code), "data/%zu/error/code", i);
		(void)snprintf(pointer, sizeof(pointer), "data/%zu/error/errors/0/pointer", i);
		assert_int_equal(answer_int(&answer, line), bad[i].line);
		assert_true(answer_is(&answer, code, bad[i].code));
		if (!str_eq_c(answer_str(&answer, pointer), bad[i].pointer))
			fail_msg("line %d: pointer " STR_FMT, bad[i].line,
				 STR_ARG(answer_str(&answer, pointer)));
	}
	answer_release(&answer);
	work(3);
	buf_clear(&path);
	buf_printf(&path, V1 "/jobs/%s", id);
	ask(api, &answer, "GET", path.data, NULL, "Prefer: wait=10");
	assert_true(answer_is(&answer, "status", "succeeded"));
	assert_int_equal(answer_int(&answer, "progress/failed"), 8);
	assert_int_equal(answer_int(&answer, "progress/done"), 11);
	assert_int_equal(answer_int(&answer, "import/rejected"), 8);
	answer_release(&answer);
	stop_api();
}

static void
what_is_refused_at_once(void **state)
{
	AUTO(buf) struct buf body = BUF_INIT(1024);
	struct answer answer = { 0 };

	(void)state;
	start_api(NULL);
	add_doc(&body, 1);
	struct str text = str_make(body.data, body.len);
	static const struct {
		int status;
		const char *path, *type;
	} rows[] = { { 415, IMPORT, "Content-Type: application/json" },
		     { 404, V1 "/collections/none/documents:import", TYPE },
		     { 422, IMPORT "?colour=red", TYPE },
		     { 422, IMPORT "?max_failures=0", TYPE },
		     { 415, DIFF, "Content-Type: application/json" },
		     { 422, DIFF "?extra=-1", TYPE } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		ask_with(api->port, "POST", rows[i].path,
			 (const char *const[]){ rows[i].type, NULL }, text, &answer);
		assert_int_equal(answer.status, rows[i].status);
		answer_release(&answer);
	}
	ask_with(api->port, "POST", IMPORT, (const char *const[]){ TYPE, NULL }, STR(""), &answer);
	assert_int_equal(answer.status, 400);
	answer_release(&answer);
	/* bytes that are packed would be read as lines that are none, each of them an item that failed */
	static const char *const packed[] = { IMPORT, DIFF, V1 "/collections/default/documents" };
	for (size_t i = 0; i < ARRAY_SIZE(packed); i++) {
		ask_with(api->port, "POST", packed[i],
			 (const char *const[]){ TYPE, "Content-Encoding: gzip", NULL }, text,
			 &answer);
		assert_int_equal(answer.status, 415);
		if (!strstr(answer.reply.body.data, "Content-Encoding"))
			fail_msg("%s: %s", packed[i], answer.reply.body.data);
		answer_release(&answer);
	}
	ask_status(api, 404, "GET", V1 "/jobs/ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7b/items", NULL);
	ask(api, &answer, "POST", V1 "/collections/default/documents", "{\"text\":\"x\"}");
	AUTO(buf) struct buf path = BUF_INIT(512);
	buf_printf(&path, V1 "/jobs/" STR_FMT "/items", STR_ARG(answer_str(&answer, "id")));
	answer_release(&answer);
	ask_status(api, 404, "GET", path.data, NULL); /* a job, but no import */
	stop_api();
}

static void
imports_leave_room_for_others(void **state)
{
	AUTO(buf) struct buf body = BUF_INIT(1024);
	struct wait_batch wait = { .last_line = 1 };
	struct answer answer = { 0 };
	struct raw_http raw;
	char id[JOB_ID_BYTES];

	(void)state;
	start_api((const char *const[]){ "API_MAX_IMPORTS=1", NULL });
	begin_upload(&raw, "slow");
	send_docs(&raw, 1, 1);
	wait_batch(&wait);
	add_doc(&body, 2);
	send_import("other", &body, &answer);
	assert_int_equal(answer.status, 429);
	assert_true(answer_header(&answer, "retry-after").len > 0);
	answer_release(&answer);
	ask_status(api, 200, "GET", V1 "/queues", NULL);
	raw_close(&raw);
	wait.sealed = true;
	wait_batch(&wait);
	/* the place is free a moment after the seal */
	do {
		answer_release(&answer);
		send_import("other", &body, &answer);
	} while (answer.status == 429);
	assert_int_equal(answer.status, 202);
	answer_release(&answer);
	must_import("other", &body, id);
	stop_api();
}

static void
a_repeated_upload_changes_nothing(void **state)
{
	AUTO(buf) struct buf body = BUF_INIT(1 << 20);
	struct answer answer = { 0 };
	char id[JOB_ID_BYTES];

	(void)state;
	start_api(NULL);
	docs(&body, 1, 250);
	must_import("k", &body, id);
	expect_counts(id, "250 pending 0 ok 0 failed 0 rejected, line 250");
	send_import("k", &body, &answer);
	assert_int_equal(answer.status, 202);
	assert_true(answer_is(&answer, "id", id));
	assert_true(str_eq_c(answer_header(&answer, "idempotent-replayed"), "true"));
	answer_release(&answer);
	expect_counts(id, "250 pending 0 ok 0 failed 0 rejected, line 250");
	work(250);
	expect_counts(id, "0 pending 250 ok 0 failed 0 rejected, line 250");
	send_import("k", &body, &answer);
	assert_true(answer_is(&answer, "status", "succeeded"));
	answer_release(&answer);
	expect_counts(id, "0 pending 250 ok 0 failed 0 rejected, line 250");
	stop_api();
}

static void
kill_9_in_the_middle(void **state)
{
	AUTO(buf) struct buf body = BUF_INIT(1 << 20);
	struct wait_batch wait = { .last_line = 300 };
	char id[JOB_ID_BYTES];
	struct raw_http raw;

	(void)state;
	start_api(NULL);
	begin_upload(&raw, "k");
	send_docs(&raw, 1, 310);
	wait_batch(&wait);
	process_signal(api->process, SIGKILL);
	(void)process_wait(api->process);
	raw_close(&raw);
	work(100); /* some of it is done meanwhile */
	struct api_server *old = api;
	api = api_server_start(redis_server_url(server), NULL);
	docs(&body, 1, 1000);
	must_import("k", &body, id);
	assert_string_equal(id, wait.id);
	expect_counts(id, "900 pending 100 ok 0 failed 0 rejected, line 1000");
	work(900);
	expect_counts(id, "0 pending 1000 ok 0 failed 0 rejected, line 1000");
	stop_api();
	process_stop(old->process);
	mem_free(old);
}

static void
an_abandoned_upload_ends_with_its_lease(void **state)
{
	AUTO(buf) struct buf body = BUF_INIT(1 << 20);
	struct wait_batch wait = { .last_line = 100 }, sealed = { .sealed = true };
	char id[JOB_ID_BYTES];
	struct raw_http raw;

	(void)state;
	start_api((const char *const[]){ "UPLOAD_LEASE_MS=1000", NULL });
	begin_upload(&raw, "k");
	send_docs(&raw, 1, 100);
	wait_batch(&wait);
	process_signal(api->process, SIGKILL);
	(void)process_wait(api->process);
	raw_close(&raw);
	struct api_server *old = api;
	api = api_server_start(redis_server_url(server), NULL); /* its keeper */
	wait_batch(&sealed);
	expect_counts(wait.id, "100 pending 0 ok 0 failed 0 rejected, line 100, partial");
	work(100);
	assert_int_equal(batch_of(wait.id).status, JOB_SUCCEEDED);
	docs(&body, 1, 150);
	must_import("k", &body, id);
	expect_counts(id, "50 pending 100 ok 0 failed 0 rejected, line 150");
	stop_api();
	process_stop(old->process);
	mem_free(old);
}

/* The lease of an upload that goes on, however slowly, is renewed. */
static void
a_slow_upload_keeps_its_lease(void **state)
{
	struct wait_batch wait = { .last_line = 1 };
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	start_api((const char *const[]){ "UPLOAD_LEASE_MS=1000", "API_IMPORT_MIN_RATE=1", NULL });
	begin_upload(&raw, "k");
	for (int i = 1; i <= 5; i++) {
		send_docs(&raw, i, i);
		wait.last_line =
			i; /* an idle client's lines do not wait for the chunk to be full */
		wait_batch(&wait);
		assert_false(raw_wait_ready(&raw, 500));
	}
	raw_send(&raw, "0\r\n\r\n");
	raw_read(&raw, true, &reply);
	assert_int_equal(reply.status, 202);
	raw_reply_release(&reply);
	raw_close(&raw);
	expect_counts(wait.id, "5 pending 0 ok 0 failed 0 rejected, line 5");
	stop_api();
}

static void
a_client_that_goes_away(void **state)
{
	struct wait_batch wait = { .last_line = 7 };
	struct raw_http raw;

	(void)state;
	start_api(NULL);
	begin_upload(&raw, "k");
	send_docs(&raw, 1, 7);
	wait_batch(&wait);
	raw_close(&raw);
	wait.sealed = true;
	wait_batch(&wait);
	expect_counts(wait.id, "7 pending 0 ok 0 failed 0 rejected, line 7, partial");
	stop_api();
}

static void
a_client_that_is_too_slow(void **state)
{
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	start_api((const char *const[]){ "API_IMPORT_MIN_RATE=1000000", "API_IMPORT_STALL_MS=700",
					 NULL });
	begin_upload(&raw, "k");
	send_docs(&raw, 1, 7);
	while (!raw_wait_ready(&raw, 50)) /* trickles, and is cut nevertheless */
		send_chunk(&raw, " ");
	raw_read(&raw, true, &reply);
	assert_int_equal(reply.status, 408);
	assert_non_null(strstr(reply.body.data, "stopped after line 7: "));
	assert_non_null(strstr(reply.body.data, "\"job_id\""));
	raw_reply_release(&reply);
	raw_close(&raw);
	struct wait_batch wait = { .sealed = true };
	wait_batch(&wait);
	expect_counts(wait.id, "7 pending 0 ok 0 failed 0 rejected, line 7, partial");
	stop_api();
}

static void
no_room_for_too_long(void **state)
{
	AUTO(buf) struct buf body = BUF_INIT(1 << 20);
	struct answer answer = { 0 };
	char id[JOB_ID_BYTES];

	(void)state;
	start_api((const char *const[]){ "QUEUE_MAX_JOBS=130", "API_IMPORT_STALL_MS=300", NULL });
	docs(&body, 1, 200);
	send_import("k", &body, &answer);
	assert_int_equal(answer.status, 429);
	assert_true(answer_is(&answer, "code", "QUEUE_FULL"));
	assert_true(
		str_starts(answer_str(&answer, "detail"), "the import stopped after line 100: "));
	assert_true(answer_header(&answer, "retry-after").len > 0);
	assert_true(str_starts(answer_header(&answer, "location"), V1 "/jobs/ingest-0-"));
	str_copy(id, sizeof(id), answer_str(&answer, "job_id"));
	answer_release(&answer);
	assert_true(batch_of(id).batch.partial);
	assert_int_equal(batch_of(id).batch.pending, 130);
	work(130);
	assert_int_equal(batch_of(id).status, JOB_SUCCEEDED);

	/* another body under this key: told at its line, and what was there stays */
	body.data[10]++;
	send_import("k", &body, &answer);
	assert_int_equal(answer.status, 422);
	assert_true(answer_is(&answer, "code", "IDEMPOTENCY_KEY_REUSED"));
	answer_release(&answer);
	body.data[10]--;
	must_import("k", &body, id);
	work(70);
	expect_counts(id, "0 pending 200 ok 0 failed 0 rejected, line 200");
	stop_api();
}

static void *
work_thread(void *arg)
{
	struct redis *mine = redis_server_connect(server);
	int count = *(int *)arg;

	for (int i = 0; i < count; i++) {
		AUTO(arena) struct arena arena;
		struct fake_job job;

		arena_init(&arena, 1 << 20);
		fake_take(mine, "ingest", &arena, &job);
		fake_succeed(mine, &job, "{}");
	}
	redis_free(mine);
	return NULL;
}

static void
the_body_waits_for_room(void **state)
{
	AUTO(buf) struct buf body = BUF_INIT(1 << 20);
	char id[JOB_ID_BYTES];
	pthread_t thread;
	int count = 500;

	(void)state;
	start_api((const char *const[]){ "QUEUE_MAX_JOBS=20", NULL });
	docs(&body, 1, count);
	assert_int_equal(pthread_create(&thread, NULL, work_thread, &count), 0);
	must_import("k", &body, id);
	pthread_join(thread, NULL);
	expect_counts(id, "0 pending 500 ok 0 failed 0 rejected, line 500");
	stop_api();
}

static void
cancelled_in_the_middle(void **state)
{
	struct wait_batch wait = { .last_line = 100 };
	AUTO(buf) struct buf path = BUF_INIT(512);
	struct raw_reply reply = { 0 };
	struct answer answer = { 0 };
	struct raw_http raw;

	(void)state;
	start_api(NULL);
	begin_upload(&raw, "k");
	send_docs(&raw, 1, 100);
	wait_batch(&wait);
	work(10);
	buf_printf(&path, V1 "/jobs/%s:cancel", wait.id);
	ask(api, &answer, "POST", path.data, NULL);
	assert_int_equal(answer.status, 202);
	assert_true(answer_is(&answer, "status", "cancelling"));
	answer_release(&answer);
	send_docs(&raw, 101, 200);
	raw_read(&raw, true, &reply);
	assert_int_equal(reply.status, 409);
	assert_non_null(strstr(reply.body.data, "\"CANCELLED\""));
	raw_reply_release(&reply);
	raw_close(&raw);

	/* whoever asks for work ends what waits */
	AUTO(arena) struct arena arena;
	struct queue_entry entry;
	bool got = true;

	arena_init(&arena, 1 << 20);
	MUST(queue_ensure_group(redis, ingest_queue(), e));
	while (got) {
		const struct queue_start how = { .consumer = "w",
						 .max_payload_bytes = 1 << 20,
						 .arena = &arena };
		struct queue_started started = { .result = QUEUE_STARTED };

		MUST(queue_fetch(redis, ingest_queue(), "w", 0, &got, &entry, e));
		if (got)
			MUST(queue_start(redis, ingest_queue(), &entry, &how, &started, e));
		assert_true(!got || started.result == QUEUE_START_ENDED);
	}
	buf_clear(&path);
	buf_printf(&path, V1 "/jobs/%s", wait.id);
	ask(api, &answer, "GET", path.data, NULL);
	assert_true(answer_is(&answer, "status", "cancelled"));
	assert_int_equal(answer_int(&answer, "import/succeeded"), 10);
	assert_int_equal(answer_int(&answer, "import/cancelled"), 90);
	answer_release(&answer);
	ask_status(api, 204, "DELETE", path.data, NULL);
	ask_status(api, 404, "GET", path.data, NULL);
	stop_api();
}

static void
two_uploads_under_one_key(void **state)
{
	AUTO(buf) struct buf body = BUF_INIT(1 << 20);
	struct wait_batch wait = { .last_line = 100 };
	struct raw_reply reply = { 0 };
	char id[JOB_ID_BYTES];
	struct raw_http raw;

	(void)state;
	start_api(NULL);
	begin_upload(&raw, "k");
	send_docs(&raw, 1, 150);
	wait_batch(&wait);
	docs(&body, 1, 400);
	must_import("k", &body, id);
	assert_string_equal(id, wait.id);
	send_docs(&raw, 151, 400);
	raw_read(&raw, true, &reply);
	assert_int_equal(reply.status, 409);
	raw_reply_release(&reply);
	raw_close(&raw);
	expect_counts(id, "400 pending 0 ok 0 failed 0 rejected, line 400");
	work(400);
	expect_counts(id, "0 pending 400 ok 0 failed 0 rejected, line 400");
	stop_api();
}

static void *
import_thread(void *arg)
{
	struct answer answer = { 0 };

	send_import("k", arg, &answer);
	answer_release(&answer);
	return NULL;
}

static void
many_uploads_at_once(void **state)
{
	AUTO(buf) struct buf body = BUF_INIT(1 << 20);
	char id[JOB_ID_BYTES];
	pthread_t threads[6];

	(void)state;
	start_api(NULL);
	docs(&body, 1, 2000);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, import_thread, &body), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	must_import("k", &body, id);
	expect_counts(id, "2000 pending 0 ok 0 failed 0 rejected, line 2000");
	work(2000);
	expect_counts(id, "0 pending 2000 ok 0 failed 0 rejected, line 2000");
	stop_api();
}

static void
redis_restarts_in_the_middle(void **state)
{
	struct wait_batch wait = { .last_line = 100 };
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	start_api(NULL);
	begin_upload(&raw, "k");
	send_docs(&raw, 1, 150);
	wait_batch(&wait);
	redis_server_kill(server);
	send_docs(&raw, 151, 350);
	redis_server_restart(server);
	send_docs(&raw, 351, 400);
	raw_send(&raw, "0\r\n\r\n");
	raw_read(&raw, true, &reply);
	assert_int_equal(reply.status, 202);
	raw_reply_release(&reply);
	raw_close(&raw);
	struct err ignored = ERR_INIT;
	(void)REDIS_CALL(redis, NULL, &ignored, "PING"); /* of ours the connection is dead too */
	expect_counts(wait.id, "400 pending 0 ok 0 failed 0 rejected, line 400");
	stop_api();
}

static void
a_stopping_api_seals_what_it_has(void **state)
{
	struct wait_batch wait = { .last_line = 100 };
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	start_api(NULL);
	begin_upload(&raw, "k");
	send_docs(&raw, 1, 100);
	wait_batch(&wait);
	process_signal(api->process, SIGTERM);
	raw_read(&raw, true, &reply);
	assert_int_equal(reply.status, 503);
	assert_non_null(strstr(reply.body.data, "stopped after line 100: "));
	raw_reply_release(&reply);
	raw_close(&raw);
	stop_api();
	expect_counts(wait.id, "100 pending 0 ok 0 failed 0 rejected, line 100, partial");
}

static void
pages_of_items(void **state)
{
	AUTO(buf) struct buf body = BUF_INIT(1 << 20);
	AUTO(buf) struct buf token = BUF_INIT(1024);
	char id[JOB_ID_BYTES];
	int64_t expected = 1;

	(void)state;
	start_api(NULL);
	docs(&body, 1, 501);
	must_import(NULL, &body, id);
	do {
		AUTO(buf) struct buf path = BUF_INIT(2048);
		struct answer answer = { 0 };

		buf_printf(&path, V1 "/jobs/%s/items?page_size=77&page_token=%s", id, token.data);
		ask(api, &answer, "GET", path.data, NULL);
		assert_int_equal(answer.status, 200);
		const struct js *data = answer_get(&answer, "data");
		for (size_t i = 0; i < js_len(data); i++) {
			int64_t line = 0;

			assert_true(js_get_int(js_at(data, i), "line", &line));
			assert_int_equal(line, expected++);
		}
		buf_clear(&token);
		struct str next = answer_str(&answer, "next_page_token");
		buf_add(&token, next.ptr, next.len);
		answer_release(&answer);
	} while (token.len > 0);
	assert_int_equal(expected, 502);
	AUTO(buf) struct buf path = BUF_INIT(2048);
	buf_printf(&path, V1 "/jobs/%s/items?page_token=00", id);
	ask_status(api, 400, "GET", path.data, NULL);
	stop_api();
}

/* ---- diff ---- */

static void
add_entry(struct buf *manifest, const char *id, const char *text)
{
	char hex[SHA256_HEX_BYTES];

	sha256_hex(str_of(text), hex);
	buf_printf(manifest, "{\"id\":\"%s\",\"content_hash\":\"%s\"}\n", id, hex);
}

static void
commit(struct redis *to, const char *uid, const struct fake_job *job, const char *id,
       const char *text)
{
	struct catalog_commit request = { .uid = str_of(uid),
					  .document_id = str_of(id),
					  .job_id = str_of(job->job.id),
					  .epoch = job->lease.epoch,
					  .fingerprint = STR("local/hash-1/768"),
					  .chunks = 1 };
	enum catalog_commit_result result;
	char hex[SHA256_HEX_BYTES], old[CATALOG_GEN_BYTES];

	sha256_hex(str_of(text), hex);
	request.content_hash = str_of(hex);
	MUST(catalog_accept(to, request.uid, request.document_id, request.job_id, &request.seq, e));
	MUST(catalog_commit(to, &request, &result, old, e));
	MUST(catalog_release(to, request.uid, request.job_id, e));
	fake_succeed(to, job, "{}");
}

static void
a_manifest_is_compared(void **state)
{
	AUTO(buf) struct buf body = BUF_INIT(1 << 20);
	AUTO(buf) struct buf manifest = BUF_INIT(1 << 20);
	struct collection collection;
	struct answer answer = { 0 };
	char id[JOB_ID_BYTES];

	(void)state;
	start_api(NULL);
	docs(&body, 1, 6);
	must_import(NULL, &body, id);
	MUST(catalog_get(redis, STR("default"), &collection, e));
	for (int i = 1; i <= 5; i++) {
		AUTO(arena) struct arena arena;
		struct fake_job job;
		char doc[16], text[32];

		arena_init(&arena, 1 << 20);
		fake_take(redis, "ingest", &arena, &job);
		(void)snprintf(doc, sizeof(doc), "d%d", i);
		(void)snprintf(text, sizeof(text), "document %d", i);
		commit(redis, collection.uid, &job, doc, text);
	}
	add_entry(&manifest, "d1", "document 1");
	add_entry(&manifest, "d2", "another text");
	add_entry(&manifest, "d6", "document 6");
	add_entry(&manifest, "new", "x");
	ask_with(api->port, "POST", DIFF "?extra=2", (const char *const[]){ TYPE, NULL },
		 str_make(manifest.data, manifest.len), &answer);
	assert_int_equal(answer.status, 200);
	assert_int_equal(answer_int(&answer, "entries"), 4);
	assert_int_equal(answer_int(&answer, "unchanged"), 1);
	assert_int_equal(js_len(answer_get(&answer, "missing")), 1);
	assert_true(answer_is(&answer, "missing/0", "new"));
	assert_true(answer_is(&answer, "changed/0", "d2"));
	assert_true(answer_is(&answer, "in_flight/0", "d6"));
	assert_int_equal(js_len(answer_get(&answer, "extra")), 2);
	assert_true(answer_is(&answer, "extra/0", "d3"));
	assert_true(answer_is(&answer, "extra/1", "d4"));
	assert_true(answer_is(&answer, "next_extra_after", "d4"));
	answer_release(&answer);
	ask_with(api->port, "POST", DIFF "?extra=2&extra_after=d4",
		 (const char *const[]){ TYPE, NULL }, str_make(manifest.data, manifest.len),
		 &answer);
	assert_int_equal(js_len(answer_get(&answer, "extra")), 1);
	assert_true(answer_is(&answer, "extra/0", "d5"));
	assert_true(answer_is(&answer, "next_extra_after", ""));
	answer_release(&answer);

	buf_add_str(&manifest, "{\"id\":\"d1\",\"content_hash\":\"xyz\"}\n");
	ask_with(api->port, "POST", DIFF, (const char *const[]){ TYPE, NULL },
		 str_make(manifest.data, manifest.len), &answer);
	assert_int_equal(answer.status, 422);
	assert_true(str_starts(answer_str(&answer, "detail"), "line 5 of the manifest: "));
	answer_release(&answer);
	stop_api();
}

static void
a_large_manifest(void **state)
{
	AUTO(buf) struct buf manifest = BUF_INIT(16 << 20);
	struct answer answer = { 0 };
	char id[32];

	(void)state;
	start_api(NULL);
	for (int i = 0; i < 100000; i++) {
		(void)snprintf(id, sizeof(id), "document-%d", i);
		buf_printf(&manifest, "{\"id\":\"%s\",\"content_hash\":\"%064d\"}\n", id, i);
	}
	assert_true(buf_ok(&manifest));
	ask_with(api->port, "POST", DIFF "?extra=10", (const char *const[]){ TYPE, NULL },
		 str_make(manifest.data, manifest.len), &answer);
	assert_int_equal(answer.status, 200);
	assert_int_equal(js_len(answer_get(&answer, "missing")), 100000);
	answer_release(&answer);
	stop_api();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_and_bad_lines),
		cmocka_unit_test(what_is_refused_at_once),
		cmocka_unit_test(imports_leave_room_for_others),
		cmocka_unit_test(a_repeated_upload_changes_nothing),
		cmocka_unit_test(kill_9_in_the_middle),
		cmocka_unit_test(an_abandoned_upload_ends_with_its_lease),
		cmocka_unit_test(a_slow_upload_keeps_its_lease),
		cmocka_unit_test(a_client_that_goes_away),
		cmocka_unit_test(a_client_that_is_too_slow),
		cmocka_unit_test(no_room_for_too_long),
		cmocka_unit_test(the_body_waits_for_room),
		cmocka_unit_test(cancelled_in_the_middle),
		cmocka_unit_test(two_uploads_under_one_key),
		cmocka_unit_test(many_uploads_at_once),
		cmocka_unit_test(redis_restarts_in_the_middle),
		cmocka_unit_test(a_stopping_api_seals_what_it_has),
		cmocka_unit_test(pages_of_items),
		cmocka_unit_test(a_manifest_is_compared),
		cmocka_unit_test(a_large_manifest),
	};

	return cmocka_run_group_tests(tests, start, redis_group_stop);
}
