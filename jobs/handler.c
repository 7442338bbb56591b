#include "jobs/handler.h"

#include "common/base/clock.h"
#include "common/base/log.h"

static const struct {
	const char *type;
	job_handler run;
} handlers[] = {
	{ "ingest", handle_ingest },
	{ "query", handle_query },
	{ "delete", handle_delete },
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
