/*
 * ask: a query sent to the engine, and its result waited for.
 */
#ifndef RAG_CLI_ASK_H
#define RAG_CLI_ASK_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/api.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/json.h"

/* Posts body to the collection's query route, under an Idempotency-Key of its own. *out is the result (the caller
 * frees it). A job that ends otherwise, or not within timeout_s, is an error. */
bool ask_query(struct api *api, const char *collection, struct str body, int64_t timeout_s,
	       struct js **out, struct err *err);

/* Waits until the job is done; *out is its record, whatever its end. ERR_TIMEOUT at the deadline (mono ms). */
bool ask_job(struct api *api, struct str id, int64_t deadline_mono_ms, struct js **out,
	     struct err *err);

/* A done job's end as an error, "the query failed: ..."; true when it succeeded. */
bool ask_outcome(const struct js *job, const char *what, struct err *err);

#endif
