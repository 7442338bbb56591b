/*
 * submit: from a validated payload to a job in its queue, with idempotency keys, options and admission.
 *
 *	submit_begin	makes the job's id, or finds the earlier job that holds the Idempotency-Key
 *	(the caller reserves what it must: seq, tombstone)
 *	submit_send	packs the payload and puts the job into its queue
 *	submit_answer	202 and the job, or 200 and the result under Prefer: wait
 *
 * With an Idempotency-Key the job's id is made of the key and the payload, so a repeated call reserves and submits the
 * same again, which changes nothing, even when two of them run at once.
 */
#ifndef RAG_API_SUBMIT_H
#define RAG_API_SUBMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "api/call.h"
#include "common/base/err.h"
#include "common/job.h"
#include "common/json.h"
#include "common/sha256.h"
#include "jobs/spec/spec.h"

struct submit_options {
	struct str run_at;			     /* RFC 3339, "" = none */
	int64_t delay_s, expires_in_s, max_failures; /* 0 = none, never, the configuration's */
	bool stream; /* the job streams its text; of queries only. No part of the fingerprint: how a job is followed does
			not make it another one */
};

extern const struct fields submit_option_fields;
extern const struct fields submit_query_option_fields; /* those, and `stream` */

/* Names of the options, for call_check_params: put them into the list of known parameters. */
#define SUBMIT_PARAMS "run_at", "delay_s", "expires_in_s", "max_failures"
bool submit_options_from_params(struct call *call, struct submit_options *out, struct err *err);
/* Takes the options out of the body's object: *root is replaced by one without them. */
bool submit_options_from_json(struct call *call, const struct fields *table, struct js **root,
			      struct submit_options *out, struct err *err);

struct submit {
	const struct job_type *type;
	struct queue_ref queue;
	struct submit_options options;
	char job_id[JOB_ID_BYTES];
	char idem_hash[SHA256_HEX_BYTES];   /* "" = no key */
	char fingerprint[SHA256_HEX_BYTES]; /* "" = no key */
	bool replayed; /* job_id is the earlier job: go on with submit_answer */
};

/* payload: without what the server adds (seq, uid, a made id), for the fingerprint. ERR_IDEMPOTENCY_REUSED, and what
 * keep_admit refuses. options must be set before. */
bool submit_begin(struct call *call, const char *type, const void *payload, struct submit *submit,
		  struct err *err);

/* Never refused for want of room: `always` (deletes make room). *out_maybe on failure: the job may be in its queue
 * nevertheless, so what was reserved for it must stay. */
bool submit_send(struct call *call, struct submit *submit, const char *collection,
		 const void *payload, bool always, bool *out_maybe, struct err *err);

/* The hash of the request's Idempotency-Key with its principal, method and path; "" = none was sent. */
bool submit_idem_hash(struct call *call, char out[SHA256_HEX_BYTES], struct err *err);

bool submit_answer(struct call *call, const struct submit *submit, struct err *err);

#endif
