/*
 * pipeline: handlers run in the test's own process against a real Redis and a real store in a temporary folder.
 * Asserts on any failure of its own.
 */
#ifndef RAG_TESTS_SUPPORT_PIPELINE_H
#define RAG_TESTS_SUPPORT_PIPELINE_H

#include <stdatomic.h>

#include "common/catalog.h"
#include "common/config.h"
#include "jobs/handler.h"
#include "jobs/spec/spec.h"
#include "tests/support/redis_server.h"

struct pipeline {
	struct redis_server *server;
	struct redis *redis;
	struct config config;
	struct prompt_template *prompt; /* env.prompt; a test may lend another one */
	char folder[64];
	struct job_env env;
	struct collection collection; /* "default" */
	struct arena arena;
	struct buf result; /* JSON of the last job that succeeded */
	/* of the next job */
	const atomic_bool *cancel;
	int64_t deadline_mono_ms;
	bool (*progress)(void *user, const char *stage, int64_t done, int64_t total,
			 struct err *err);
	bool (*emit)(void *user, enum job_emit what, struct str data, struct err *err);
	void *user;
};

struct pipeline *pipeline_start(void);
void pipeline_stop(struct pipeline *pipeline);

/* A document as the API would submit it: seq reserved under job_id, then the handler under this epoch. */
bool pipeline_ingest(struct pipeline *pipeline, const char *job_id, int64_t epoch,
		     const char *document_id, const char *text, struct err *err);
/* The two halves, for tests that finish jobs in another order. payload is arena memory. */
struct str pipeline_accept(struct pipeline *pipeline, const char *job_id, const char *document_id,
			   const char *content_type, const char *text);
bool pipeline_run(struct pipeline *pipeline, const char *type, const char *job_id, int64_t epoch,
		  struct str payload, struct err *err);

/* `json`: the members a client would send. */
bool pipeline_query(struct pipeline *pipeline, const char *json, struct err *err);

/* The last result, parsed (free with js_free). */
struct js *pipeline_result(const struct pipeline *pipeline);

/* Chunks in the store under this generation. */
int64_t pipeline_chunks(struct pipeline *pipeline, const char *document_id, int64_t seq,
			int64_t epoch);

#endif
