/*
 * handler: the table of job types to the functions that do the work, and what they get.
 *
 * A handler runs on a slot's thread. It checks cancel and deadline between its steps (job_check), reports
 * progress, wraps errors with the step's name, and writes its result as JSON members into an object that the
 * caller has opened. It must be repeatable: a job may run again after a lost worker.
 */
#ifndef RAG_JOBS_HANDLER_H
#define RAG_JOBS_HANDLER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/config.h"
#include "common/job.h"
#include "common/json.h"
#include "common/metrics.h"
#include "common/redis.h"
#include "jobs/provider/provider.h"
#include "jobs/step/embed.h"
#include "jobs/step/prompt_template.h"
#include "jobs/store/store.h"

/* What a slot owns for its handlers; all borrowed by the handler. */
struct job_env {
	const struct config *config;   /* shared, immutable */
	struct store *store;	       /* shared, thread-safe */
	struct redis *redis;	       /* the slot's own */
	struct embedder *embedder;     /* the slot's own, as below */
	struct embed_pool *embed_pool; /* shared, thread-safe */
	struct reranker *reranker;     /* NULL = none */
	struct generator *generator;
	struct metric *step_seconds;			 /* label step; may be NULL */
	struct metric *cache_total;			 /* labels cache, result; may be NULL */
	const struct provider_metrics *provider_metrics; /* may be NULL */
	const struct prompt_template *prompt;		 /* shared, immutable */
};

enum job_emit {
	JOB_EMIT_TEXT,	  /* a piece of the answer */
	JOB_EMIT_RESET,	  /* the text so far is void: the answer begins anew */
	JOB_EMIT_SOURCES, /* JSON: what the answer may cite */
	JOB_EMIT_WARNING, /* JSON: code and detail */
	JOB_EMIT_ANSWER	  /* the whole answer, final, emitted once at the end; "" = there is none */
};

struct job_context {
	const struct job_env *env;
	const struct job *job;
	struct arena *arena; /* lives until the job is settled */
	int64_t deadline_mono_ms;
	const atomic_bool *cancel;
	/* Progress of the present step; also sets the log field `step`. Lost fence -> ERR_STALE. May be NULL in tests. */
	bool (*progress)(void *user, const char *stage, int64_t done, int64_t total,
			 struct err *err);
	/* Tells those who follow the job. NULL: nobody does. false: ERR_STALE or ERR_CANCELLED, the work ends. */
	bool (*emit)(void *user, enum job_emit what, struct str data, struct err *err);
	void *user;
};

/* payload: the envelope. result: an object is open; the handler adds members. */
typedef bool (*job_handler)(struct job_context *context, struct str payload, struct jw *result,
			    struct err *err);

/*
 * What is left to do when the job is final for good (succeeded or cancelled): give back what was reserved for it.
 * A worker that is killed before it leaves this to rag-cron cleanup.
 */
typedef void (*job_after)(const struct job_env *env, const struct job *job, struct str payload);

bool handle_ingest(struct job_context *context, struct str payload, struct jw *result,
		   struct err *err);
bool handle_query(struct job_context *context, struct str payload, struct jw *result,
		  struct err *err);
bool handle_delete(struct job_context *context, struct str payload, struct jw *result,
		   struct err *err);

void after_ingest(const struct job_env *env, const struct job *job, struct str bytes);
void after_delete(const struct job_env *env, const struct job *job, struct str bytes);

/* Runs the type's job_after, if it has one. */
void job_settled(const struct job_env *env, const struct job *job, struct str payload);

/* NULL: no handler for this type. */
job_handler job_handler_find(struct str type);

/* false with ERR_CANCELLED or ERR_DEADLINE. */
bool job_check(const struct job_context *context, struct err *err);
/* Begins a step: check, progress 0 of total, log field. */
bool job_step(struct job_context *context, const char *stage, int64_t total, struct err *err);

/*
 * A request for vectors (jobs/step/embed.h) of this job, by its slot's embedder and all that saves calls of it; the caller adds texts and
 * count. call: deadline, limits, and whose usage is counted. Of documents it reports progress as step "embed".
 */
struct embed_request job_embed_request(struct job_context *context,
				       const struct provider_call *call, enum embed_task task);

#endif
