/* The routes of queues: figures, pause, resume. (The dead list is in jobs.c.) */
#include <string.h>

#include "api/handlers.h"
#include "api/keep.h"
#include "api/reply.h"
#include "common/base/log.h"
#include "common/queue.h"

static const char *const no_params[] = { NULL };

static double
finished_per_s(const struct call *call, struct queue_ref queue)
{
	struct keep_figures figures;

	keep_figures(call->api->keep, &figures);
	for (const struct keep_queue *row = figures.queues; row->name; row++)
		if (strcmp(row->name, queue.name) == 0)
			return row->finished_per_s;
	return 0;
}

static bool
queue_object(struct call *call, struct queue_ref queue, struct jw *w, struct err *err)
{
	double rate = finished_per_s(call, queue);
	struct queue_stats stats;
	struct redis *redis;

	if (!call_redis(call, &redis, err) ||
	    !queue_stats(redis, queue, call->api->config->lease_ms, &stats, err))
		return false;
	jw_obj(w);
	jw_kcstr(w, "name", queue.name);
	jw_kcstr(w, "object", "queue");
	jw_kbool(w, "paused", stats.paused);
	jw_kint(w, "waiting", stats.waiting);
	jw_kint(w, "running", stats.running);
	jw_kint(w, "due", stats.due);
	jw_kint(w, "due_soon", stats.due_soon);
	jw_kint(w, "dead", stats.dead);
	jw_kint(w, "done", stats.done);
	jw_kint(w, "demand", stats.demand);
	jw_kint(w, "workers", stats.workers);
	jw_knum(w, "oldest_s", (double)stats.oldest_waiting_ms / 1000, 6);
	jw_knum(w, "finished_per_s", rate, 4);
	if (rate > 0)
		jw_knum(w, "drain_s", (double)(stats.waiting + stats.running) / rate, 4);
	else
		jw_knull(w, "drain_s");
	jw_kint(w, "payload_bytes", stats.payload_bytes);
	jw_kint(w, "result_bytes", stats.result_bytes);
	jw_kint(w, "finished_total", stats.finished_total);
	jw_kint(w, "failed_total", stats.failed_total);
	jw_end(w);
	return true;
}

bool
queues_list(struct call *call, struct err *err)
{
	if (!call_check_params(call, no_params, err))
		return false;
	struct jw w = reply_json(call, 200);
	jw_obj(&w);
	jw_karr(&w, "data");
	for (size_t i = 0; job_queue_names[i]; i++) {
		struct queue_ref queue;

		if (job_queue_find(str_of(job_queue_names[i]), 0, &queue) &&
		    !queue_object(call, queue, &w, err))
			return false;
	}
	jw_end(&w);
	jw_kcstr(&w, "next_page_token", "");
	jw_end(&w);
	return true;
}

static bool
queue_of(const struct call *call, struct queue_ref *out, struct err *err)
{
	struct str name = call->params[0];

	return job_queue_find(name, 0, out) ||
	       err_set(err, ERR_NOT_FOUND, "there is no queue '" STR_FMT "'",
		       STR_ARG(str_sub(name, 0, str_utf8_floor(name, 60))));
}

bool
queues_get(struct call *call, struct err *err)
{
	struct queue_ref queue;

	if (!call_check_params(call, no_params, err) || !queue_of(call, &queue, err))
		return false;
	struct jw w = reply_json(call, 200);
	return queue_object(call, queue, &w, err);
}

static bool
set_paused(struct call *call, bool paused, struct err *err)
{
	struct queue_ref queue;
	struct redis *redis;

	if (!call_check_params(call, no_params, err) || !queue_of(call, &queue, err) ||
	    !call_redis(call, &redis, err) || !queue_pause(redis, queue, paused, err))
		return false;
	log_info("queue %s %s", queue.name, paused ? "paused" : "resumed");
	struct jw w = reply_json(call, 200);
	return queue_object(call, queue, &w, err);
}

bool
queues_pause(struct call *call, struct err *err)
{
	return set_paused(call, true, err);
}

bool
queues_resume(struct call *call, struct err *err)
{
	return set_paused(call, false, err);
}
