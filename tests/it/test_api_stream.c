/*
 * Streams of events over HTTP: a real rag-api, clients that are cut and resume, and a worker played by the test through
 * the queue's own functions, so that every step can be looked at.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/queue_stream.h"
#include "tests/support/api.h"
#include "tests/support/must.h"
#include "tests/support/queue_check.h"
#include "tests/support/redis_server.h"
#include "tests/support/sse_client.h"

#define V1 "/api/v1"
#define QUERY V1 "/collections/default/query"
#define DOCS V1 "/collections/default/documents"
#define ACCEPT "Accept: text/event-stream"
#define QUESTION "{\"query\":\"x\"}"
#define MIB ((size_t)1024 * 1024)

static struct redis_server *redis_process;
static struct api_server *api;
static struct redis *redis;
static struct arena arena;

static int
start_all(void **state)
{
	(void)state;
	MUST(http_client_global_init(e));
	arena_init(&arena, 64 * MIB);
	redis_process = redis_server_start(NULL);
	redis = redis_server_connect(redis_process);
	api = api_server_start(redis_server_url(redis_process),
			       (const char *const[]){ "API_MAX_WAITERS=4", "API_THREADS=48",
						      "API_STREAM_PING_MS=150",
						      "API_BODY_TIMEOUT_MS=2000", NULL });
	return 0;
}

static int
stop_all(void **state)
{
	(void)state;
	int code = api_server_stop(api);

	redis_free(redis);
	redis_server_stop(redis_process);
	arena_release(&arena);
	return code;
}

/* ---- helpers ---- */

static const char *
events_path(const char *job_id)
{
	static char path[160];

	(void)snprintf(path, sizeof(path), V1 "/jobs/%s/events", job_id);
	return path;
}

static void
submit(const char *path, const char *body, char out_id[JOB_ID_BYTES])
{
	struct answer answer = { 0 };

	ask(api, &answer, "POST", path, body);
	assert_int_equal(answer.status, 202);
	assert_true(str_copy(out_id, JOB_ID_BYTES, answer_str(&answer, "id")));
	answer_release(&answer);
}

static void
submit_streaming(char out_id[JOB_ID_BYTES])
{
	submit(QUERY, "{\"query\":\"x\",\"stream\":true}", out_id);
}

/* Three tokens and the end. */
static void
work(struct fake_job *job)
{
	fake_emit(redis, job, 1, "one ", "");
	fake_emit(redis, job, 2, "two ", "");
	fake_emit(redis, job, 3, "three", "");
	job->whole = true;
	fake_succeed(redis, job, "{\"answer\":\"one two three\"}");
}

static struct job
record(const char *id)
{
	struct job job;

	MUST(queue_get(redis, str_of(id), &job, e));
	return job;
}

static int waiters_wanted;

static bool
waiters_are_there(void *user)
{
	struct api_server *server = user;
	struct answer answer = { 0 };
	bool ok;

	ask_with(server->metrics_port, "GET", "/health", NULL, STR(""), &answer);
	ok = answer_int(&answer, "waiters") == waiters_wanted;
	answer_release(&answer);
	return ok;
}

static void
wait_for_waiters(struct api_server *server, int count)
{
	waiters_wanted = count;
	wait_until(waiters_are_there, server, 30000, "the number of waiting requests");
}

static int
clear(void **state)
{
	(void)state;
	wait_for_waiters(api, 0); /* whose client has left is noticed within a second */
	arena_reset(&arena);
	MUST(REDIS_CALL(redis, NULL, e, "FLUSHALL"));
	/* `default` is made again; the first call after a flush may meet no group */
	ask_status(api, 200, "GET", V1 "/collections/default", NULL);
	return 0;
}

static const char *
result_text(const struct sse_client *client, const char *member)
{
	const struct js *result = js_get(client->result, "result");
	struct str text = STR("");

	if (js_is(result, JS_OBJECT))
		(void)js_get_str(result, member, &text);
	return text.ptr;
}

static const char *
error_code(const struct sse_client *client)
{
	const struct js *error = js_get(client->result, "error");
	struct str text = STR("");

	if (js_is(error, JS_OBJECT))
		(void)js_get_str(error, "code", &text);
	return text.ptr;
}

/* ---- a query that is followed ---- */

static void
a_query_is_followed(void **state)
{
	struct sse_client client;
	const struct sse_seen *seen;
	struct fake_job job;

	(void)state;
	sse_client_init(&client);
	assert_int_equal(sse_client_open(&client, api->port, "POST", QUERY, ACCEPT, QUESTION), 200);
	assert_true(
		raw_header_is(&client.head, "Content-Type", "text/event-stream; charset=utf-8"));
	assert_true(raw_header_is(&client.head, "Cache-Control", "no-cache, no-store"));
	assert_true(raw_header_is(&client.head, "X-Accel-Buffering", "no"));
	assert_true(raw_header_is(&client.head, "Connection", "keep-alive"));
	assert_null(strstr(client.head.head.data, "Content-Length"));
	assert_null(strstr(client.head.head.data, "Content-Encoding"));
	/* before any worker has looked at it: the job's id, to come back to */
	seen = sse_client_next(&client);
	assert_string_equal(seen->name, "status");
	assert_string_equal(client.status, "queued");
	assert_true(strncmp(client.body.data, "retry: 3000\n\n", 13) == 0);
	fake_take(redis, "query", &arena, &job);
	assert_string_equal(job.job.id, client.job_id);
	assert_true(job.job.stream_ttl_ms > 0);
	/* a token is seen while the job runs */
	fake_emit(redis, &job, 1, "The holder ", "");
	seen = sse_client_until(&client, "token");
	assert_string_equal(seen->data, "{\"t\":\"The holder \"}");
	assert_string_equal(client.status, "running");
	fake_emit(redis, &job, 2, "\xe2\x82\xac \"quoted\"\n", "");
	sse_client_until(&client, "token");
	job.whole = true;
	fake_succeed(redis, &job, "{\"answer\":\"The holder \xe2\x82\xac \\\"quoted\\\"\\n\"}");
	sse_client_drain(&client);
	assert_true(client.done && client.ended);
	assert_string_equal(client.status, "succeeded");
	assert_string_equal(client.text.data, result_text(&client, "answer"));
	assert_int_equal(client.resets, 0);
	assert_string_equal(client.decoder.id, record(client.job_id).stream_end);
	sse_client_release(&client);
}

/* As a client that keeps connections open sees it: the next request goes over the same one. */
static void
submitted_now_followed_later(void **state)
{
	struct sse_client client;
	struct fake_job job;
	char id[JOB_ID_BYTES];

	(void)state;
	submit_streaming(id);
	fake_take(redis, "query", &arena, &job);
	work(&job);
	sse_client_init(&client);
	assert_int_equal(sse_client_open(&client, api->port, "GET", events_path(id), NULL, NULL),
			 200);
	sse_client_drain(&client);
	assert_true(client.done && client.ended);
	assert_string_equal(client.text.data, "one two three");
	sse_client_release(&client);
}

static void
who_gets_a_stream(void **state)
{
	static const struct {
		const char *accept;
		bool stream;
	} cases[] = {
		{ "Accept: */*", false },
		{ "Accept: application/json", false },
		{ "Accept: text/event-stream;q=0", false },
		{ "Accept: application/json, text/event-stream;q=0.4", false },
		{ "Accept: text/event-streams", false },
		{ "Accept: text/event-stream", true },
		{ "Accept: TEXT/EVENT-STREAM; charset=utf-8", true },
		{ "Accept: application/json;q=0.5, text/event-stream", true },
		{ "Accept: text/event-stream, application/json;q=0.9, */*;q=0.1", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct sse_client client;

		sse_client_init(&client);
		assert_int_equal(sse_client_open(&client, api->port, "POST", QUERY, cases[i].accept,
						 QUESTION),
				 cases[i].stream ? 200 : 202);
		sse_client_release(&client);
	}
}

/* What is wrong with a request is told as ever, whatever the client would like to read. */
static void
errors_come_before_the_stream(void **state)
{
	static const struct {
		const char *path, *body;
		int status;
	} cases[] = {
		{ QUERY, "{\"query\":\"\"}", 422 },
		{ QUERY, "{", 400 },
		{ QUERY, "{\"query\":\"x\",\"stream\":3}", 422 },
		{ V1 "/collections/none/query", QUESTION, 404 },
		{ DOCS, "{\"id\":\"a\",\"text\":\"b\",\"stream\":true}", 422 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct answer answer = { 0 };

		ask(api, &answer, "POST", cases[i].path, cases[i].body, ACCEPT);
		assert_int_equal(answer.status, cases[i].status);
		assert_true(str_eq_c(answer_header(&answer, "content-type"),
				     "application/problem+json"));
		answer_release(&answer);
	}
	wait_for_waiters(api, 0);
}

/* ---- resuming ---- */

/* Cut after every event of a finished stream: what is missing comes, nothing twice. */
static void
resumed_after_every_event(void **state)
{
	struct sse_client whole;
	struct fake_job job;
	char id[JOB_ID_BYTES];

	(void)state;
	submit_streaming(id);
	fake_take(redis, "query", &arena, &job);
	work(&job);
	sse_client_init(&whole);
	sse_client_open(&whole, api->port, "GET", events_path(id), NULL, NULL);
	sse_client_drain(&whole);
	assert_int_equal(whole.events, 6); /* queued, running, three tokens, done */
	for (size_t cut = 1; cut < whole.events; cut++) {
		struct sse_client client;

		sse_client_init(&client);
		sse_client_open(&client, api->port, "GET", events_path(id), NULL, NULL);
		for (size_t i = 0; i < cut; i++)
			assert_non_null(sse_client_next(&client));
		assert_int_equal(sse_client_open(&client, api->port, "GET", events_path(id), NULL,
						 NULL),
				 200);
		sse_client_drain(&client);
		assert_int_equal(client.events, whole.events);
		assert_string_equal(client.text.data, "one two three");
		assert_true(client.done);
		assert_int_equal(client.resets, 0);
		sse_client_release(&client);
	}
	/* all seen: 204 stops an EventSource */
	assert_int_equal(sse_client_open(&whole, api->port, "GET", events_path(id), NULL, NULL),
			 204);
	sse_client_release(&whole);
}

static void
expect_status(const char *path, const char *header, int status)
{
	struct answer answer = { 0 };

	ask_with(api->port, "GET", path, (const char *const[]){ header, NULL }, STR(""), &answer);
	if (answer.status != status)
		fail_msg("%s, %s: %d, not %d", path, header ? header : "", answer.status, status);
	answer_release(&answer);
}

static void
places_to_resume_from(void **state)
{
	char id[JOB_ID_BYTES], path[256], header[128], other[JOB_ID_BYTES];
	struct sse_client client;
	struct fake_job job;

	(void)state;
	submit_streaming(id);
	fake_take(redis, "query", &arena, &job);
	work(&job);
	(void)snprintf(header, sizeof(header), "Last-Event-ID: %s", record(id).stream_end);
	(void)snprintf(path, sizeof(path), "%s?after=%s", events_path(id), record(id).stream_end);
	expect_status(path, NULL, 204);
	expect_status(events_path(id), header, 204);
	/* what EventSource sends is newer than the address it was made with */
	(void)snprintf(path, sizeof(path), "%s?after=0-0", events_path(id));
	expect_status(path, header, 204);
	expect_status(path, NULL, 200);
	(void)snprintf(path, sizeof(path), "%s?after=x", events_path(id));
	expect_status(path, NULL, 400);
	expect_status(path, header, 204);
	expect_status(events_path(id), "Last-Event-ID: 1-2-3", 400);
	expect_status(events_path(id), "Last-Event-ID: 3", 400); /* of another kind of job */
	(void)snprintf(path, sizeof(path), "%s?before=1", events_path(id));
	expect_status(path, NULL, 422);
	job_id_new((struct queue_ref){ "query", 0 }, other);
	expect_status(events_path(other), NULL, 404);
	expect_status(V1 "/jobs/nonsense/events", NULL, 404);
	/* an id that this stream has never given: all of it, after a reset */
	sse_client_init(&client);
	(void)str_copy(client.decoder.id, SSE_ID_BYTES, STR("9007199254740991-1"));
	buf_add_str(&client.text, "of another job");
	sse_client_open(&client, api->port, "GET", events_path(id), NULL, NULL);
	sse_client_drain(&client);
	assert_string_equal(client.text.data, "one two three");
	assert_string_equal(client.reset_reason, "unknown_id");
	assert_true(client.done);
	sse_client_release(&client);
}

static void
head_is_answered_at_once(void **state)
{
	struct raw_reply reply = { 0 };
	char id[JOB_ID_BYTES], text[256];
	struct raw_http raw;

	(void)state;
	submit_streaming(id);
	(void)snprintf(text, sizeof(text), "HEAD %s HTTP/1.1\r\nHost: x\r\n\r\n", events_path(id));
	raw_open(&raw, api->port);
	raw_send(&raw, text);
	raw_read(&raw, false, &reply);
	assert_int_equal(reply.status, 200);
	assert_true(raw_header_is(&reply, "Content-Type", "text/event-stream; charset=utf-8"));
	raw_reply_release(&reply);
	raw_close(&raw);
	wait_for_waiters(api, 0);
}

/* A reader behind what is kept gets the text so far, and goes on; one that is not behind never does. */
static void
a_trimmed_stream(void **state)
{
	AUTO(buf) struct buf text = BUF_INIT(MIB), result = BUF_INIT(MIB);
	struct sse_client behind, close_by;
	struct fake_job job;
	char id[JOB_ID_BYTES];

	(void)state;
	submit_streaming(id);
	sse_client_init(&behind);
	sse_client_init(&close_by);
	fake_take(redis, "query", &arena, &job);
	sse_client_open(&close_by, api->port, "GET", events_path(id), NULL, NULL);
	for (int i = 1; i <= 40; i++) {
		char piece[16];

		(void)snprintf(piece, sizeof(piece), "t%d ", i);
		buf_add_str(&text, piece);
		fake_emit(redis, &job, i, piece, i % 5 == 0 ? text.data : "");
		if (i == 3) {
			sse_client_open(&behind, api->port, "GET", events_path(id), NULL, NULL);
			for (int k = 0; k < 3; k++)
				sse_client_until(&behind, "token");
			sse_client_close(&behind);
		}
		sse_client_until(&close_by, "token");
	}
	buf_printf(&result, "{\"answer\":\"%s\"}", text.data);
	job.whole = true;
	fake_succeed(redis, &job, result.data);
	sse_client_open(&behind, api->port, "GET", events_path(id), NULL, NULL);
	sse_client_drain(&behind);
	sse_client_drain(&close_by);
	assert_string_equal(behind.text.data, text.data);
	assert_string_equal(close_by.text.data, text.data);
	assert_int_equal(behind.resets, 1);
	assert_string_equal(behind.reset_reason, "trimmed");
	assert_int_equal(close_by.resets, 0);
	assert_true(behind.events < 30);
	sse_client_release(&behind);
	sse_client_release(&close_by);
}

/* The events are past their time, the result is not: the text comes whole, and the id of the end is the same. */
static void
events_past_their_time(void **state)
{
	struct sse_client client;
	struct fake_job job;
	char id[JOB_ID_BYTES];

	(void)state;
	submit_streaming(id);
	fake_take(redis, "query", &arena, &job);
	work(&job);
	MUST(REDIS_CALL(redis, NULL, e, "DEL", key_events(job.lease.queue, str_of(id)).text));
	sse_client_init(&client);
	sse_client_open(&client, api->port, "GET", events_path(id), NULL, NULL);
	sse_client_drain(&client);
	assert_string_equal(client.text.data, "one two three");
	assert_true(client.done && client.ended);
	assert_string_equal(client.decoder.id, record(id).stream_end);
	assert_int_equal(sse_client_open(&client, api->port, "GET", events_path(id), NULL, NULL),
			 204);
	sse_client_release(&client);
}

static void
an_answer_that_was_changed(void **state)
{
	struct sse_client client;
	struct fake_job job;
	char id[JOB_ID_BYTES];

	(void)state;
	submit_streaming(id);
	fake_take(redis, "query", &arena, &job);
	fake_emit(redis, &job, 1, "said [9] too early", "");
	fake_succeed(redis, &job, "{\"answer\":\"said\"}");
	sse_client_init(&client);
	sse_client_open(&client, api->port, "GET", events_path(id), NULL, NULL);
	sse_client_drain(&client);
	assert_string_equal(client.text.data, "said");
	assert_string_equal(client.reset_reason, "revised");
	assert_true(client.done);
	sse_client_release(&client);
}

static void
a_second_start(void **state)
{
	struct sse_client client;
	struct fake_job job;
	char id[JOB_ID_BYTES];

	(void)state;
	submit_streaming(id);
	fake_take(redis, "query", &arena, &job);
	sse_client_init(&client);
	sse_client_open(&client, api->port, "GET", events_path(id), NULL, NULL);
	fake_emit(redis, &job, 1, "of the first", "");
	sse_client_until(&client, "token");
	fake_settle(redis, &job, SETTLE_HAND_BACK, STR(""), NULL);
	fake_take(redis, "query", &arena, &job);
	sse_client_until(&client, "reset");
	assert_string_equal(client.text.data, "");
	assert_string_equal(client.reset_reason, "restarted");
	work(&job);
	sse_client_drain(&client);
	assert_string_equal(client.text.data, "one two three");
	assert_true(client.done);
	sse_client_release(&client);
}

/* The same key again, over another connection: the same job, from its beginning. */
static void
a_replayed_key(void **state)
{
	struct sse_client first, again, running;
	struct fake_job job;

	(void)state;
	sse_client_init(&first);
	sse_client_init(&again);
	sse_client_init(&running);
	sse_client_open(&first, api->port, "POST", QUERY, ACCEPT "\r\nIdempotency-Key: k1",
			QUESTION);
	fake_take(redis, "query", &arena, &job);
	fake_emit(redis, &job, 1, "one ", "");
	sse_client_until(&first, "token");
	sse_client_open(&running, api->port, "POST", QUERY, ACCEPT "\r\nIdempotency-Key: k1",
			QUESTION);
	assert_true(raw_header_is(&running.head, "Idempotent-Replayed", "true"));
	sse_client_until(&running, "token");
	fake_emit(redis, &job, 2, "two", "");
	job.whole = true;
	fake_succeed(redis, &job, "{\"answer\":\"one two\"}");
	sse_client_drain(&first);
	sse_client_drain(&running);
	assert_int_equal(sse_client_open(&again, api->port, "POST", QUERY,
					 ACCEPT "\r\nIdempotency-Key: k1", QUESTION),
			 200);
	assert_true(raw_header_is(&again.head, "Idempotent-Replayed", "true"));
	assert_string_equal(sse_client_next(&again)->name, "status");
	sse_client_drain(&again);
	assert_string_equal(first.text.data, "one two");
	assert_string_equal(running.text.data, "one two");
	assert_string_equal(again.text.data, "one two");
	assert_string_equal(again.job_id, first.job_id);
	sse_client_release(&first);
	sse_client_release(&running);
	sse_client_release(&again);
}

/* ---- ends ---- */

static void
ends_that_are_none(void **state)
{
	static const struct {
		const char *end, *status, *code;
	} cases[] = { { "cancel", "cancelled", "CANCELLED" },
		      { "cancel running", "cancelled", "CANCELLED" },
		      { "fail", "failed", "PROVIDER_REJECTED" },
		      { "expire", "expired", "EXPIRED" } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct sse_client client;
		struct fake_job job;
		struct job cancelled;
		char id[JOB_ID_BYTES];
		bool expire = strcmp(cases[i].end, "expire") == 0;

		(void)clear(state);
		if (expire)
			submit(QUERY, "{\"query\":\"x\",\"stream\":true,\"expires_in_s\":1}", id);
		else
			submit_streaming(id);
		sse_client_init(&client);
		sse_client_open(&client, api->port, "GET", events_path(id), NULL, NULL);
		sse_client_until(&client, "status");
		if (strcmp(cases[i].end, "cancel") == 0) {
			MUST(queue_cancel(redis, str_of(id), NULL, &cancelled, e));
		} else if (expire) {
			struct queue_entry entry;
			const struct queue_start how = { .consumer = "t",
							 .max_payload_bytes = MIB,
							 .arena = &arena };
			struct queue_started started;
			bool got = false;

			while (clock_unix_ms() <= record(id).expires_ms)
				;
			while (!got)
				MUST(queue_fetch(redis, record(id).queue, "t", 100, &got, &entry,
						 e));
			MUST(queue_start(redis, record(id).queue, &entry, &how, &started, e));
			assert_int_equal(started.result, QUEUE_START_SKIPPED);
		} else {
			fake_take(redis, "query", &arena, &job);
			fake_emit(redis, &job, 1, "half", "");
			sse_client_until(&client, "token");
			if (strcmp(cases[i].end, "fail") == 0) {
				fake_fail(redis, &job, ERR_PROVIDER_REJECTED, "no");
			} else {
				MUST(queue_cancel(redis, str_of(id), NULL, &cancelled, e));
				sse_client_until(&client, "status");
				assert_string_equal(client.status, "cancelling");
				fake_settle(redis, &job, SETTLE_CANCEL, STR(""), NULL);
			}
		}
		sse_client_until(&client, "error");
		assert_string_equal(sse_client_next(&client)->name, "done");
		sse_client_drain(&client);
		assert_true(client.ended);
		assert_string_equal(client.status, cases[i].status);
		assert_string_equal(error_code(&client), cases[i].code);
		assert_int_equal(sse_client_open(&client, api->port, "GET", events_path(id), NULL,
						 NULL),
				 204);
		sse_client_release(&client);
		queue_check(redis, record(id).queue, cases[i].end, NULL);
	}
}

static void
a_job_that_is_forgotten(void **state)
{
	struct sse_client client;
	struct fake_job job;
	struct job cancelled;
	char id[JOB_ID_BYTES];

	(void)state;
	submit_streaming(id);
	sse_client_init(&client);
	sse_client_open(&client, api->port, "GET", events_path(id), NULL, NULL);
	sse_client_until(&client, "status");
	fake_take(redis, "query", &arena, &job);
	MUST(REDIS_CALL(redis, NULL, e, "FLUSHALL")); /* nobody tells: the hub looks again */
	sse_client_until(&client, "error");
	assert_non_null(strstr(client.body.data, "NOT_FOUND"));
	sse_client_drain(&client);
	assert_true(client.ended);
	assert_false(client.done);
	assert_int_equal(sse_client_open(&client, api->port, "GET", events_path(id), NULL, NULL),
			 404);
	(void)cancelled;
	sse_client_release(&client);
}

/* ---- jobs without text ---- */

static void
a_job_that_does_not_stream(void **state)
{
	struct sse_client client;
	const struct sse_seen *seen;
	struct fake_job job;
	char id[JOB_ID_BYTES], path[256], version[24];

	(void)state;
	submit(DOCS, "{\"id\":\"a\",\"text\":\"b\"}", id);
	sse_client_init(&client);
	assert_int_equal(sse_client_open(&client, api->port, "GET", events_path(id), NULL, NULL),
			 200);
	seen = sse_client_next(&client);
	assert_string_equal(seen->name, "status");
	assert_string_equal(seen->id, "1");
	fake_take(redis, "ingest", &arena, &job);
	seen = sse_client_next(&client);
	assert_string_equal(seen->id, "2");
	assert_string_equal(client.status, "running");
	MUST(queue_progress(redis, &job.lease, "embed", 3, 7, e));
	seen = sse_client_next(&client);
	assert_string_equal(seen->id, "3");
	assert_non_null(strstr(seen->data, "\"stage\":\"embed\",\"done\":3,\"total\":7"));
	/* cut here; what was seen does not come again */
	sse_client_open(&client, api->port, "GET", events_path(id), NULL, NULL);
	fake_succeed(redis, &job, "{\"chunks\":1}");
	seen = sse_client_next(&client);
	assert_string_equal(seen->name, "done");
	assert_string_equal(seen->id, "4");
	assert_non_null(strstr(seen->data, "\"result\":{\"chunks\":1}"));
	assert_null(sse_client_next(&client));
	assert_true(client.ended);
	assert_int_equal(sse_client_open(&client, api->port, "GET", events_path(id), NULL, NULL),
			 204);
	(void)snprintf(version, sizeof(version), "Last-Event-ID: 4");
	expect_status(events_path(id), version, 204);
	expect_status(events_path(id), "Last-Event-ID: 1790000000123-0", 400);
	(void)snprintf(path, sizeof(path), "%s?after=3", events_path(id));
	expect_status(path, NULL, 200);
	sse_client_release(&client);
}

/* ---- heartbeats, caps, slow readers ---- */

static void
heartbeats(void **state)
{
	struct sse_client client;
	struct fake_job job;
	char id[JOB_ID_BYTES];

	(void)state;
	submit_streaming(id);
	sse_client_init(&client);
	sse_client_open(&client, api->port, "GET", events_path(id), NULL, NULL);
	sse_client_until(&client, "status");
	while (!strstr(client.body.data, "\n\n: ping\n\n: ping\n\n"))
		assert_int_equal(raw_read_chunk(&client.raw, &client.body), RAW_CHUNK_DATA);
	fake_take(redis, "query", &arena, &job);
	work(&job);
	sse_client_drain(&client);
	assert_string_equal(client.text.data, "one two three");
	assert_true(client.pings >= 2);
	sse_client_release(&client);
}

static void
streams_are_capped(void **state)
{
	struct sse_client clients[4], extra;
	struct answer answer = { 0 };
	struct queue_stats stats;
	char id[JOB_ID_BYTES];

	(void)state;
	submit_streaming(id);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		sse_client_init(&clients[i]);
		assert_int_equal(sse_client_open(&clients[i], api->port, "GET", events_path(id),
						 NULL, NULL),
				 200);
		sse_client_until(&clients[i], "status");
	}
	wait_for_waiters(api, 4);
	ask(api, &answer, "GET", events_path(id), NULL);
	assert_int_equal(answer.status, 503);
	assert_true(answer_is(&answer, "code", "TOO_MANY_STREAMS"));
	assert_true(str_eq_c(answer_header(&answer, "retry-after"), "5"));
	answer_release(&answer);
	/* a query that cannot be followed is not submitted either */
	ask(api, &answer, "POST", QUERY, QUESTION, ACCEPT);
	assert_int_equal(answer.status, 503);
	answer_release(&answer);
	MUST(queue_stats(redis, record(id).queue, 30000, &stats, e));
	assert_int_equal(stats.waiting, 1);
	/* everything else goes on */
	ask_status(api, 202, "POST", QUERY, QUESTION);
	ask_status(api, 200, "GET", V1 "/queues", NULL);
	ask_with(api->metrics_port, "GET", "/health/ready", NULL, STR(""), &answer);
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	/* a client that leaves makes room */
	sse_client_close(&clients[0]);
	wait_for_waiters(api, 3);
	sse_client_init(&extra);
	assert_int_equal(sse_client_open(&extra, api->port, "GET", events_path(id), NULL, NULL),
			 200);
	sse_client_release(&extra);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		sse_client_release(&clients[i]);
	wait_for_waiters(api, 0);
}

/* A client that does not read is cut, and its place is free again. */
static void
a_client_that_does_not_read(void **state)
{
	char *large = mem_alloc(4 * MIB + 1);
	struct sse_client client;
	struct fake_job job;
	char id[JOB_ID_BYTES];

	(void)state;
	memset(large, 'x', 4 * MIB);
	submit_streaming(id);
	fake_take(redis, "query", &arena, &job);
	sse_client_init(&client);
	sse_client_open(&client, api->port, "GET", events_path(id), NULL, NULL);
	sse_client_until(&client, "status");
	for (int i = 1; i <= 4; i++)
		fake_emit(redis, &job, i, large, "");
	wait_for_waiters(api, 0);
	sse_client_close(&client);
	sse_client_release(&client);
	mem_free(large);
}

/* ---- the API stops, Redis goes away ---- */

static void
a_drain_ends_streams_in_order(void **state)
{
	struct api_server *other = api_server_start(redis_server_url(redis_process), NULL);
	struct sse_client client;
	struct fake_job job;
	char id[JOB_ID_BYTES];

	(void)state;
	submit_streaming(id);
	fake_take(redis, "query", &arena, &job);
	sse_client_init(&client);
	sse_client_open(&client, other->port, "GET", events_path(id), NULL, NULL);
	fake_emit(redis, &job, 1, "one ", "");
	sse_client_until(&client, "token");
	assert_int_equal(api_server_stop(other), 0);
	sse_client_drain(&client);
	assert_true(client.ended); /* with its last chunk, but without `done` */
	assert_false(client.done);
	fake_emit(redis, &job, 2, "two", "");
	job.whole = true;
	fake_succeed(redis, &job, "{\"answer\":\"one two\"}");
	sse_client_open(&client, api->port, "GET", events_path(id), NULL, NULL);
	sse_client_drain(&client);
	assert_string_equal(client.text.data, "one two");
	assert_true(client.done);
	assert_int_equal(client.resets, 0);
	sse_client_release(&client);
}

static void
redis_restarts_in_a_stream(void **state)
{
	struct sse_client client;
	struct fake_job job;
	struct err err = ERR_INIT;
	char id[JOB_ID_BYTES];
	enum queue_emitted emitted = QUEUE_EMIT_NONE;
	const struct queue_emit two = { .n = 2, .kind = EMIT_TOKEN, .data = STR("two") };

	(void)state;
	submit_streaming(id);
	fake_take(redis, "query", &arena, &job);
	sse_client_init(&client);
	sse_client_open(&client, api->port, "GET", events_path(id), NULL, NULL);
	fake_emit(redis, &job, 1, "one ", "");
	sse_client_until(&client, "token");
	redis_server_kill(redis_process);
	/* heartbeats go on while it is away */
	buf_clear(&client.body);
	client.received = 0;
	while (!strstr(client.body.data, ": ping\n\n: ping\n\n: ping\n\n"))
		assert_int_equal(raw_read_chunk(&client.raw, &client.body), RAW_CHUNK_DATA);
	redis_server_restart(redis_process);
	for (int64_t until = clock_mono_ms() + API_PATIENCE_MS; emitted != QUEUE_EMITTED;) {
		assert_true(clock_mono_ms() < until);
		(void)queue_emit(redis, &job.lease, &two, &emitted, &err);
	}
	sse_client_until(&client, "token");
	job.whole = true;
	fake_succeed(redis, &job, "{\"answer\":\"one two\"}");
	sse_client_drain(&client);
	assert_string_equal(client.text.data, "one two");
	assert_true(client.done && client.ended);
	assert_int_equal(client.connections, 1);
	sse_client_release(&client);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_query_is_followed, clear),
		cmocka_unit_test_setup(submitted_now_followed_later, clear),
		cmocka_unit_test_setup(who_gets_a_stream, clear),
		cmocka_unit_test_setup(errors_come_before_the_stream, clear),
		cmocka_unit_test_setup(resumed_after_every_event, clear),
		cmocka_unit_test_setup(places_to_resume_from, clear),
		cmocka_unit_test_setup(head_is_answered_at_once, clear),
		cmocka_unit_test_setup(a_trimmed_stream, clear),
		cmocka_unit_test_setup(events_past_their_time, clear),
		cmocka_unit_test_setup(an_answer_that_was_changed, clear),
		cmocka_unit_test_setup(a_second_start, clear),
		cmocka_unit_test_setup(a_replayed_key, clear),
		cmocka_unit_test_setup(ends_that_are_none, clear),
		cmocka_unit_test_setup(a_job_that_is_forgotten, clear),
		cmocka_unit_test_setup(a_job_that_does_not_stream, clear),
		cmocka_unit_test_setup(heartbeats, clear),
		cmocka_unit_test_setup(streams_are_capped, clear),
		cmocka_unit_test_setup(a_client_that_does_not_read, clear),
		cmocka_unit_test_setup(a_drain_ends_streams_in_order, clear),
		cmocka_unit_test_setup(redis_restarts_in_a_stream, clear),
	};

	return cmocka_run_group_tests(tests, start_all, stop_all);
}
