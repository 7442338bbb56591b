/*
 * query_internal: one query on its way, shared by the files of the query handler and by nobody else:
 *
 *	query.c		from the payload to ordered candidates
 *	query_answer.c	from candidates to a checked answer
 *	query_events.c	what those who follow are told meanwhile
 *	query_result.c	the result, and the cache's copy of it
 */
#ifndef RAG_JOBS_QUERY_INTERNAL_H
#define RAG_JOBS_QUERY_INTERNAL_H

#include "common/catalog.h"
#include "jobs/handler.h"
#include "jobs/spec/filter.h"
#include "jobs/spec/history.h"
#include "jobs/spec/spec.h"
#include "jobs/step/cite.h"
#include "jobs/step/ground.h"
#include "jobs/step/prompt.h"
#include "jobs/step/retrieve.h"

#define QUERY_RERANK_DEPTH 50 /* candidates that go to the reranker, at least */
#define QUERY_SCORE_DIGITS 5
#define QUERY_CHUNK_ID_BYTES (CATALOG_DOC_ID_MAX_BYTES + CATALOG_GEN_BYTES + 32)
#define QUERY_EVENT_MAX_BYTES ((size_t)1024 * 1024)
#define QUERY_WARNINGS_MAX 8

struct query_warning {
	const char *code;
	char detail[ERR_MSG_MAX_BYTES];
};

struct query {
	struct job_context *context;
	struct query_payload payload;
	struct filter *filter;
	struct history history;
	struct str search; /* what is searched for: the question, condensed with the conversation */
	enum query_mode mode; /* the payload's, or what is left of it */
	char fingerprint[SPEC_FINGERPRINT_BYTES];
	float *vector;
	struct retrieved found;
	struct candidate *candidates; /* of `found`, as reranked */
	size_t count;		      /* of them, for the answer */
	size_t considered;	      /* the same before top_k */
	int64_t epoch;		      /* of the collection, that the candidates are true for */
	bool reranked;

	struct source *sources; /* of the candidates */
	struct prompt prompt;	/* count 0: none was needed */
	size_t citable;		/* sources, from the first, that the generator was shown */
	struct generated generated;
	struct cite_check cited;
	struct ground ground;
	bool is_checked; /* `ground` is set */

	struct query_warning warnings[QUERY_WARNINGS_MAX];
	size_t warning_count;
	bool degraded; /* made with less than was asked for: not kept in the cache */
	struct provider_usage usage;
	size_t told_bytes; /* of the present answer */
	struct {
		int64_t embed, retrieve, rerank, generate;
		int64_t first_token; /* from the generator's start; 0 = nobody followed */
	} us;
	int64_t started_us, generate_from_us;
};

/* How a call to a provider is made within this job: deadline, cancel, limits, usage, metrics. */
struct provider_call query_call(struct query *query);
/* The same, with the given part of the time that is left: something must be able to follow when it fails. */
struct provider_call query_call_within(struct query *query, double part);
/* Is it a failure of the provider, which something else can make good? */
bool query_may_do_without(const struct err *failure);
/* Ends a step that began at since_us. */
void query_observe(struct query *query, const char *step, int64_t since_us, int64_t *out_us);
struct str query_chunk_id(const struct store_hit *hit, char out[QUERY_CHUNK_ID_BYTES]);

/* query_answer.c: nothing when the query wants no answer. */
bool query_generate(struct query *query, struct err *err);

/* query_events.c. All false only when the job has lost its right or is asked to stop. */
bool query_tell_text(void *user, struct str piece, struct err *err);
bool query_tell_restart(struct query *query, struct err *err);
bool query_tell_sources(const struct query *query, struct err *err);
bool query_tell_answer(const struct query *query, struct str answer, struct err *err);
bool query_tell_cached(const struct query *query, const struct js *root, struct err *err);
/* Notes a warning for the result, and tells it. */
bool query_warn(struct query *query, const char *code, const char *detail, struct err *err);

/* query_result.c */
bool query_from_cache(struct query *query, struct jw *result, bool *out_hit, struct err *err);
void query_to_cache(const struct query *query);
void query_write_answer(const struct query *query, struct jw *w);
void query_write_run(const struct query *query, bool cached, struct jw *w);

#endif
