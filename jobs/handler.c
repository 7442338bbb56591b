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

struct embed_progress {
	struct job_context *context;
	int64_t total;
};

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
report_embedded(void *user, size_t done, struct err *err)
{
	const struct embed_progress *progress = user;
	struct job_context *context = progress->context;

	return !context->progress ||
	       context->progress(context->user, "embed", (int64_t)done, progress->total, err);
}

bool
job_embed(struct job_context *context, enum embed_task task, const struct str *texts, size_t count,
	  float *out, struct provider_usage *usage, struct embed_stats *out_stats, struct err *err)
{
	const struct job_env *env = context->env;
	struct embed_progress progress = { context, (int64_t)count };
	const struct embed_request request = {
		.pool = env->embed_pool,
		.embedder = env->embedder,
		.call = { .deadline_mono_ms = context->deadline_mono_ms,
			  .cancel = context->cancel,
			  .redis = env->redis,
			  .usage = usage,
			  .metrics = env->provider_metrics },
		.task = task,
		.realm = str_of(context->job->tenant),
		.texts = texts,
		.count = count,
		.cache_total = env->cache_total,
		.progress = task == EMBED_DOCUMENT ? report_embedded : NULL,
		.user = &progress,
	};

	return embed_texts(&request, context->arena, out, out_stats, err);
}
