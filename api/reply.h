/*
 * reply: how answers are made: JSON documents and problem documents (RFC 9457).
 *
 *	struct jw w = reply_json(call, 200);
 *	jw_obj(&w); ...; jw_end(&w);
 *	return true;
 * A second reply_* replaces the first. All answers carry X-Request-Id and Cache-Control.
 */
#ifndef RAG_API_REPLY_H
#define RAG_API_REPLY_H

#include <stdint.h>

#include "api/call.h"
#include "common/base/err.h"
#include "common/job.h"
#include "common/json.h"

/* An answer without a body yet. */
void reply_start(struct call *call, int status);
/* The same of something that caches may keep while its entity tag (with quotes) is the same. */
void reply_start_cached(struct call *call, int status, const char *etag);
struct jw reply_json(struct call *call, int status);
void reply_header_i64(struct call *call, const char *name, int64_t value);

/* The problem document of a failure. job_id: of the job that failed, NULL = none. */
void reply_problem(struct call *call, const struct err *err, const char *job_id);

/* The members of a problem that do not depend on the request: type, title, status, detail, code, retryable, errors. */
void reply_problem_members(struct jw *w, const struct err *err);

/* The job as an object (docs/api.md tells every member). error: the text of its last failure, NULL = the code is all
 * that is known. now_unix_ms: for the time it has waited. */
void reply_job_object(struct jw *w, const struct job *job, const struct err *error,
		      int64_t now_unix_ms);

/* A whole answer with the job, its ETag, and Retry-After while it is not done. */
void reply_job(struct call *call, int status, const struct job *job, const struct err *error);
/* The entity tag of a job, with quotes. */
#define REPLY_ETAG_BYTES 32
void reply_job_etag(char out[REPLY_ETAG_BYTES], const struct job *job);
/* Seconds after which it is worth to ask again; grows with the age of the job. */
int64_t reply_job_retry_after_s(const struct job *job, int64_t now_unix_ms);

#endif
