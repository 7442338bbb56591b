#include "tests/support/api.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/result.h"
#include "tests/support/must.h"

#define MAX_REPLY_BYTES ((size_t)64 * 1024 * 1024)

/* ---- the process ---- */

/* The number behind "(port " in the line that holds `what`. */
static int
logged_port(const char *log, const char *what)
{
	const char *line = strstr(log, what);
	const char *at = line ? strstr(line, "(port ") : NULL;
	int64_t port = 0;

	if (at) {
		at += strlen("(port ");
		(void)str_to_i64(str_make(at, strcspn(at, ")")), 1, 65535, &port);
	}
	assert_true(port > 0);
	return (int)port;
}

struct api_server *
api_server_start(const char *redis_url, const char *const *env)
{
	struct api_server *server = mem_alloc(sizeof(*server));
	const char *full[API_MAX_ENV + 4] = { "API_LISTEN=127.0.0.1:0",
					      "METRICS_LISTEN=127.0.0.1:0" };
	char url[512];
	size_t count = 2;
	char *log;

	(void)snprintf(url, sizeof(url), "REDIS_URL=%s", redis_url);
	full[count++] = url;
	for (size_t i = 0; env && env[i]; i++) {
		assert_true(i < API_MAX_ENV);
		full[count++] = env[i];
	}
	server->process = process_start((const char *const[]){ "rag-api", NULL }, full);
	if (!process_wait_log(server->process, "rag-api " RAG_VERSION " listens on",
			      API_PATIENCE_MS)) {
		log = process_log(server->process);
		print_error("%s", log);
		mem_free(log);
		fail_msg("rag-api did not start");
	}
	log = process_log(server->process);
	server->port = logged_port(log, RAG_VERSION " listens on ");
	server->metrics_port = logged_port(log, "health");
	mem_free(log);
	return server;
}

int
api_server_stop(struct api_server *server)
{
	int code = 0;

	if (!server)
		return 0;
	if (process_is_running(server->process))
		process_signal(server->process, SIGTERM);
	code = process_wait(server->process);
	if (code != 0) {
		char *log = process_log(server->process);

		print_error("%s", log);
		mem_free(log);
	}
	process_stop(server->process);
	mem_free(server);
	return code;
}

int
api_server_refused(const char *const *argv, const char *const *env, char **out_log)
{
	struct process *process = process_start(argv, env);
	int code = process_wait(process);

	*out_log = process_log(process);
	process_stop(process);
	return code;
}

/* ---- requests ---- */

void
ask_with(int port, const char *method, const char *path, const char *const *headers,
	 struct str body, struct answer *out)
{
	AUTO_PTR(http_client_free) struct http_client *client = NULL;
	struct err err = ERR_INIT;
	char url[4096];

	MUST(http_client_new("test", &client, e));
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", port, path);
	struct http_call call = {
		.method = method,
		.url = url,
		.headers = headers,
		.body = body,
		.connect_timeout_ms = API_PATIENCE_MS,
		.timeout_ms = 2 * API_PATIENCE_MS,
		.max_body_bytes = MAX_REPLY_BYTES,
	};
	*out = (struct answer){ 0 };
	http_reply_init(&out->reply, MAX_REPLY_BYTES);
	if (!http_client_run(client, &call, &out->reply, &err))
		return;
	out->status = out->reply.status;
	if (out->reply.body.len > 0 && out->reply.body.data[0] == '{')
		MUST(js_parse(str_make(out->reply.body.data, out->reply.body.len), &out->json, e));
}

void
ask_strings(int port, const char *method, const char *path, const char *const *strings,
	    struct answer *out)
{
	const char *headers[16] = { "Content-Type: application/json" };
	size_t count = 0;

	for (; strings[1 + count]; count++) {
		assert_true(count + 2 < ARRAY_SIZE(headers));
		headers[1 + count] = strings[1 + count];
	}
	ask_with(port, method, path, headers, str_of(strings[0]), out);
}

void
answer_release(struct answer *answer)
{
	js_free(answer->json);
	answer->json = NULL;
	http_reply_release(&answer->reply);
}

const struct js *
answer_get(const struct answer *answer, const char *path)
{
	const struct js *at = answer->json;
	struct str rest = str_of(path), step;

	while (at && str_split(&rest, '/', &step)) {
		char name[64];
		int64_t index;

		assert_true(str_copy(name, sizeof(name), step));
		if (js_is(at, JS_ARRAY))
			at = str_to_i64(step, 0, INT32_MAX, &index) ? js_at(at, (size_t)index)
								    : NULL;
		else
			at = js_is(at, JS_OBJECT) ? js_get(at, name) : NULL;
	}
	return at;
}

struct str
answer_str(const struct answer *answer, const char *path)
{
	const struct js *value = answer_get(answer, path);

	return js_is(value, JS_STRING) ? js_str(value) : STR("");
}

int64_t
answer_int(const struct answer *answer, const char *path)
{
	const struct js *value = answer_get(answer, path);

	return js_is(value, JS_INT) ? js_int(value) : INT64_MIN;
}

bool
answer_is(const struct answer *answer, const char *path, const char *expected)
{
	struct str value = answer_str(answer, path);

	if (str_eq_c(value, expected))
		return true;
	print_error("%s is '" STR_FMT "', not '%s', in %d %s\n", path, STR_ARG(value), expected,
		    answer->status, answer->reply.body.data);
	return false;
}

struct str
answer_header(const struct answer *answer, const char *name)
{
	struct str value;

	return http_reply_header(&answer->reply, name, &value) ? value : STR("");
}

void
ask_status(struct api_server *server, int status, const char *method, const char *path,
	   const char *body)
{
	struct answer answer = { 0 };

	ask(server, &answer, method, path, body);
	if (answer.status != status)
		fail_msg("%s %s: %d, not %d: %s", method, path, answer.status, status,
			 answer.reply.body.data);
	answer_release(&answer);
}

bool
status_is(void *user)
{
	const struct ask_until *until = user;
	struct answer answer = { 0 };
	bool ok;

	ask_with(until->port, until->method, until->path,
		 (const char *const[]){ "Content-Type: application/json", until->header, NULL },
		 str_of(until->body), &answer);
	ok = answer.status == until->status;
	answer_release(&answer);
	return ok;
}

void
ask_until(int port, int status, const char *method, const char *path, const char *body)
{
	struct ask_until until = { port, status, method, path, body, NULL };

	wait_until(status_is, &until, API_PATIENCE_MS, path);
}

/* ---- a worker ---- */

void
fake_take(struct redis *redis, const char *queue_name, struct arena *arena, struct fake_job *out)
{
	enum queue_start_result result = QUEUE_START_SKIPPED;
	int64_t until = clock_mono_ms() + API_PATIENCE_MS;
	struct queue_entry entry;
	struct queue_ref queue;

	out->whole = false;
	assert_true(job_queue_find(str_of(queue_name), 0, &queue));
	MUST(queue_ensure_group(redis, queue, e));
	while (result != QUEUE_STARTED) {
		bool got = false;

		assert_true(clock_mono_ms() < until);
		MUST(queue_fetch(redis, queue, "tester", 100, &got, &entry, e));
		if (!got)
			continue;
		const struct queue_start how = { "tester", MAX_REPLY_BYTES, arena };
		struct queue_started started = { .result = QUEUE_START_SKIPPED };

		MUST(queue_start(redis, queue, &entry, &how, &started, e));
		result = started.result;
		out->lease = started.lease;
		out->job = started.job;
		out->payload = started.payload;
	}
}

void
fake_settle(struct redis *redis, const struct fake_job *job, enum queue_settle_kind kind,
	    struct str result, const struct err *error)
{
	struct queue_settle settle = {
		.kind = kind,
		.result = result,
		.error = error,
		.retry_after_ms = error ? error->retry_after_ms : -1,
		.waiting_for = error ? error->waiting_for : NULL,
		.backoff_base_ms = 60000,
		.backoff_max_ms = 60000,
		.result_ttl_ms = 600000,
		.done_max_age_ms = 600000,
		.dead_max_age_ms = 600000,
		.stream_whole = job->whole,
	};
	enum job_status status;

	MUST(queue_settle(redis, &job->lease, &settle, &status, e));
}

void
fake_emit(struct redis *redis, const struct fake_job *job, int64_t n, const char *text,
	  const char *snapshot)
{
	const struct queue_emit emit = {
		.n = n, .kind = EMIT_TOKEN, .data = str_of(text), .snapshot = str_of(snapshot)
	};
	enum queue_emitted emitted = QUEUE_EMIT_NONE;

	MUST(queue_emit(redis, &job->lease, &emit, &emitted, e));
	assert_int_equal(emitted, QUEUE_EMITTED);
}

void
fake_succeed(struct redis *redis, const struct fake_job *job, const char *result_json)
{
	AUTO(buf) struct buf result = BUF_INIT(MAX_REPLY_BYTES);

	result_pack(str_of(result_json), &result);
	assert_true(buf_ok(&result));
	fake_settle(redis, job, SETTLE_SUCCEED, str_make(result.data, result.len), NULL);
}

void
fake_fail(struct redis *redis, const struct fake_job *job, enum err_code code, const char *msg)
{
	struct err error = ERR_INIT;

	err_set(&error, code, "%s", msg);
	fake_settle(redis, job, SETTLE_FAIL, STR(""), &error);
}
