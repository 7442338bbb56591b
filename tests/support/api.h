/*
 * api: a real rag-api of a test's own, requests to it, and a worker played by the test through common/queue. Asserts
 * on any failure of its own.
 */
#ifndef RAG_TESTS_SUPPORT_API_H
#define RAG_TESTS_SUPPORT_API_H

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/http_client.h"
#include "common/json.h"
#include "common/queue.h"
#include "common/queue_stream.h"
#include "common/redis.h"
#include "tests/support/process.h"

#define API_MAX_ENV 16

struct api_server {
	struct process *process;
	int port, metrics_port;
};

/* On free loopback ports; env: "NAME=value", NULL-terminated, may be NULL. Returns when it listens. */
struct api_server *api_server_start(const char *redis_url, const char *const *env);
/* SIGTERM; its exit code. NULL is fine (0). */
int api_server_stop(struct api_server *server);
/* Runs rag-api with these settings and returns its exit code; *out_log (heap) is what it said. */
int api_server_refused(const char *const *argv, const char *const *env, char **out_log);

struct answer {
	int status; /* 0 = no answer came (connection refused, cut) */
	struct http_reply reply;
	struct js *json; /* NULL: the body is not JSON */
};

/* headers: "Name: value", NULL-terminated, may be NULL. `answer` is zeroed or was released. Thread-safe. */
void ask_with(int port, const char *method, const char *path, const char *const *headers,
	      struct str body, struct answer *out);
/* The same with strings: the JSON body (NULL = none), then headers, then NULL. */
void ask_strings(int port, const char *method, const char *path, const char *const *strings,
		 struct answer *out);
/* ask(server, &answer, "POST", "/path", body, "Name: value"...) */
#define ask(server, out, method, path, ...)                                                        \
	ask_strings((server)->port, (method), (path), (const char *const[]){ __VA_ARGS__, NULL },  \
		    (out))
void answer_release(struct answer *answer);

/* "" when absent. Path of members: "progress/stage", "errors/0/pointer". */
struct str answer_str(const struct answer *answer, const char *path);
int64_t answer_int(const struct answer *answer, const char *path); /* INT64_MIN when absent */
const struct js *answer_get(const struct answer *answer, const char *path); /* NULL when absent */
struct str answer_header(const struct answer *answer, const char *name);    /* lower case; "" */
bool answer_is(const struct answer *answer, const char *path, const char *expected);

/* One request, answered with this status; the rest is dropped. */
void ask_status(struct api_server *server, int status, const char *method, const char *path,
		const char *body);

/* Asks until the answer has this status, or the patience is over. */
#define API_PATIENCE_MS 30000
struct ask_until {
	int port, status;
	const char *method, *path, *body;
	const char *header; /* may be NULL */
};
bool status_is(void *ask_until); /* once; for wait_until */
void ask_until(int port, int status, const char *method, const char *path, const char *body);

/* ---- a worker ---- */

struct fake_job {
	struct queue_lease lease;
	struct job job;
	struct str payload; /* arena */
	bool whole;	    /* its tokens add up to its answer: for fake_succeed */
};

/* Waits for a job of this queue and starts it. */
void fake_take(struct redis *redis, const char *queue, struct arena *arena, struct fake_job *out);
/* Settles: a result (JSON object), or a failure for good. */
/* Emits as worker/emitter.c does; n counts from 1. */
void fake_emit(struct redis *redis, const struct fake_job *job, int64_t n, const char *text,
	       const char *snapshot);
void fake_succeed(struct redis *redis, const struct fake_job *job, const char *result_json);
void fake_fail(struct redis *redis, const struct fake_job *job, enum err_code code,
	       const char *msg);
void fake_settle(struct redis *redis, const struct fake_job *job, enum queue_settle_kind kind,
		 struct str result, const struct err *error);

#endif
