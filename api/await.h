/*
 * await: a request that waits for a job, and the answers about a job: its record, its result, or the problem it
 * ended with. A wait costs a thread of the listener and nothing else: the Redis connection is given back and the
 * request does not count as in progress.
 */
#ifndef RAG_API_AWAIT_H
#define RAG_API_AWAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "api/call.h"
#include "common/base/err.h"
#include "common/job.h"

struct await {
	struct prefer prefer;
	bool until_change; /* If-None-Match: a version other than those named there is enough */
	bool waited;	   /* out: the preference was honoured */
};

/* Reads the record as shared_job does (ERR_NOT_FOUND also for another tenant's); with prefer.wait_s > 0 holds the request until the job is done, or changed, or the time is over.
 * Answered at once when too many wait already or the API drains. */
bool await_job(struct call *call, struct str job_id, struct await *await, struct job *out,
	       struct err *err);

/* Preference-Applied and Vary, on the answer that has been started. */
void await_headers(struct call *call, const struct await *await);

/* 200 and the record with the text of its last failure. */
bool await_answer_record(struct call *call, int status, const struct job *job, struct err *err);

/* The result of a succeeded job, a JSON object, in the arena. ERR_GONE when its time is over. */
bool await_result_json(struct call *call, const struct job *job, struct arena *arena,
		       struct str *out_json, struct err *err);
/* How a final job that did not succeed has ended. */
bool await_problem(struct call *call, const struct job *job, struct err *out, struct err *err);

/* A final job: 200 and its result, or the problem document of how it ended. */
bool await_answer_result(struct call *call, const struct job *job, struct err *err);

#endif
