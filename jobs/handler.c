#include "jobs/handler.h"

#include "common/base/clock.h"
#include "common/base/log.h"

static const struct {
	const char *type;
	job_handler run;
	job_after after;
} handlers[] = {
	{ "ingest", handle_ingest, after_ingest },
	{ "query", handle_query, NULL },
	{ "delete", handle_delete, after_delete },
};

job_handler
job_handler_find(struct str type)
{
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++) {
		if (str_eq_c(type, handlers[i].type))
			return handlers[i].run;
	}
	return NULL;
}

void
job_settled(const struct job_env *env, const struct job *job, struct str payload)
{
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++) {
		if (handlers[i].after && str_eq_c(str_of(job->type), handlers[i].type))
			handlers[i].after(env, job, payload);
	}
}

bool
job_check(const struct job_context *context, struct err *err)
{
	if (context->cancel && atomic_load(context->cancel))
		return err_set(err, ERR_CANCELLED, "stopped on request");
	if (context->deadline_mono_ms && clock_mono_ms() >= context->deadline_mono_ms)
		return err_set(err, ERR_DEADLINE, "could not finish within the job's deadline");
	return true;
}

bool
job_step(struct job_context *context, const char *stage, int64_t total, struct err *err)
{
	if (!job_check(context, err))
		return false;
	log_field("step", stage);
	if (context->progress)
		return context->progress(context->user, stage, 0, total, err);
	return true;
}

static bool
report_embedded(void *user, size_t done, size_t total, struct err *err)
{
	struct job_context *context = user;

	return !context->progress ||
	       context->progress(context->user, "embed", (int64_t)done, (int64_t)total, err);
}

struct embed_request
job_embed_request(struct job_context *context, const struct provider_call *call,
		  enum embed_task task)
{
	const struct job_env *env = context->env;

	return (struct embed_request){
		.pool = env->embed_pool,
		.embedder = env->embedder,
		.call = *call,
		.task = task,
		.realm = str_of(context->job->tenant),
		.cache_total = env->cache_total,
		.progress = task == EMBED_DOCUMENT ? report_embedded : NULL,
		.user = context,
	};
}
