/* What works, and what it depends on: the routes of workers and of dependencies. For operators. */
#include <string.h>

#include "api/handlers.h"
#include "api/reply.h"
#include "api/shared.h"
#include "common/governor_view.h"
#include "common/queue.h"

#define WORKERS_PER_QUEUE 1000 /* of live ones, and of dead ones that hold jobs */

static void
worker_object(const struct call *call, struct jw *w, struct queue_ref queue,
	      const struct queue_worker *row)
{
	const struct job *job = &row->job;
	/* of another tenant's job only that it runs is the operators' business */
	bool own = shared_is_own_job(call, job);

	jw_obj(w);
	jw_kcstr(w, "name", row->consumer);
	jw_kcstr(w, "object", "worker");
	jw_kcstr(w, "queue", queue.name);
	jw_kbool(w, "live", row->expires_ms > 0);
	jw_ktime(w, "expires_at", row->expires_ms);
	jw_ktime(w, "renewed_at", row->busy ? row->renewed_ms : 0);
	if (row->busy && job->id[0]) {
		jw_kobj(w, "job");
		jw_kcstr(w, "id", own ? job->id : NULL);
		jw_kcstr(w, "type", job->type);
		jw_kcstr(w, "status", job_status_name(job->status));
		jw_kcstr(w, "collection", own && job->collection[0] ? job->collection : NULL);
		jw_ktime(w, "started_at", job->started_ms);
		jw_kint(w, "attempt", job->starts);
		jw_kcstr(w, "stage", job->stage[0] ? job->stage : NULL);
		jw_kint(w, "done", job->progress_done);
		jw_kint(w, "total", job->progress_total);
		jw_end(w);
	} else {
		jw_knull(w, "job");
	}
	jw_end(w);
}

static bool
queue_rows(struct call *call, struct queue_ref queue, struct jw *w, bool *io_more, struct err *err)
{
	struct queue_workers workers;
	struct redis *redis;

	if (!call_redis(call, &redis, err) ||
	    !queue_workers(redis, queue, WORKERS_PER_QUEUE, &call->arena, &workers, err))
		return false;
	*io_more = *io_more || workers.more;
	for (size_t i = 0; i < workers.count; i++)
		worker_object(call, w, queue, &workers.rows[i]);
	return true;
}

bool
workers_list(struct call *call, struct err *err)
{
	static const char *const known[] = { "queue", NULL };
	struct queue_ref queue;
	struct str only;
	bool more = false;

	if (!call_check_params(call, known, err) || !call_param_word(call, "queue", &only, err))
		return false;
	if (only.len && !job_queue_find(only, 0, &queue)) {
		err_set(err, ERR_INVALID, "there is no queue '" STR_FMT "'",
			STR_ARG(str_sub(only, 0, str_utf8_floor(only, 60))));
		return err_at(err, "/queue");
	}
	struct jw w = reply_json(call, 200);
	jw_obj(&w);
	jw_karr(&w, "data");
	for (size_t i = 0; job_queue_names[i]; i++) {
		if (only.len && !str_eq_c(only, job_queue_names[i]))
			continue;
		if (job_queue_find(str_of(job_queue_names[i]), 0, &queue) &&
		    !queue_rows(call, queue, &w, &more, err))
			return false;
	}
	jw_end(&w);
	jw_kbool(&w, "truncated", more);
	jw_kcstr(&w, "next_page_token", "");
	jw_end(&w);
	return true;
}

bool
dependencies_list(struct call *call, struct err *err)
{
	static const char *const known[] = { NULL };
	struct governor_state *states;
	struct redis *redis;
	void *memory;
	size_t count;

	if (!call_check_params(call, known, err) || !call_redis(call, &redis, err))
		return false;
	if (!arena_alloc_err(&call->arena, GOVERNOR_VIEW_MAX * sizeof(*states), "the list", &memory,
			     err))
		return false;
	states = memory;
	if (!governor_list(redis, states, GOVERNOR_VIEW_MAX, &count, err))
		return false;

	struct jw w = reply_json(call, 200);

	jw_obj(&w);
	jw_karr(&w, "data");
	governor_view_items(&w, states, count);
	jw_end(&w);
	jw_kcstr(&w, "next_page_token", "");
	jw_end(&w);
	return true;
}
