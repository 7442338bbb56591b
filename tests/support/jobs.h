/*
 * jobs: what the API does for a client, without HTTP: reserve, pack, submit; and waiting for the outcome. Asserts on any
 * failure of its own.
 */
#ifndef RAG_TESTS_SUPPORT_JOBS_H
#define RAG_TESTS_SUPPORT_JOBS_H

#include "common/base/arena.h"
#include "common/catalog.h"
#include "common/queue.h"

/* Reserves the seq under job_id; the payload's envelope, in the arena. */
struct str jobs_ingest_payload(struct redis *redis, const struct collection *collection,
			       const char *job_id, const char *document_id,
			       const char *content_type, struct str text, struct arena *arena);

void jobs_submit_ingest(struct redis *redis, const struct collection *collection,
			const char *document_id, struct str text, char out_id[JOB_ID_BYTES]);
void jobs_submit_query(struct redis *redis, const struct collection *collection,
		       const char *question, char out_id[JOB_ID_BYTES]);

struct job jobs_get(struct redis *redis, const char *id);
/* Until the job has this status; fails the test after timeout_ms. */
struct job jobs_wait(struct redis *redis, const char *id, enum job_status status, int timeout_ms);

/* Until the job is running and its handler has reported this stage. */
void jobs_wait_stage(struct redis *redis, const char *id, const char *stage, int timeout_ms);

/* `bytes` of English-like words in sentences and paragraphs, the same for the same seed (heap, mem_free). */
char *jobs_long_text(size_t bytes, unsigned seed);

#endif
