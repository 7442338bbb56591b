/* The routes of jobs: record, result, list, cancel, retry, forget. */
#include <stdio.h>
#include <string.h>

#include "api/await.h"
#include "api/handlers.h"
#include "api/reply.h"
#include "api/shared.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/catalog.h"
#include "common/queue.h"

/* ---- one job ---- */

bool
jobs_get(struct call *call, struct err *err)
{
	static const char *const known[] = { NULL };
	struct await await = { 0 };
	char etag[REPLY_ETAG_BYTES];
	struct job job;
	bool same;

	call_prefer(call, &await.prefer);
	call_none_match(call, "", &await.until_change);
	if (!call_check_params(call, known, err) ||
	    !await_job(call, call->params[0], &await, &job, err))
		return false;
	reply_job_etag(etag, &job);
	same = call_none_match(call, etag, &await.until_change);
	if (!same) {
		if (!await_answer_record(call, 200, &job, err))
			return false;
	} else {
		reply_start(call, 304);
		http_answer_header(&call->answer, "ETag", "%s", etag);
		if (!job_status_done(job.status))
			reply_header_i64(call, "Retry-After",
					 reply_job_retry_after_s(&job, clock_unix_ms()));
	}
	await_headers(call, &await);
	return true;
}

bool
jobs_result(struct call *call, struct err *err)
{
	static const char *const known[] = { NULL };
	struct await await = { 0 };
	struct job job;
	bool ok;

	call_prefer(call, &await.prefer);
	if (!call_check_params(call, known, err) ||
	    !await_job(call, call->params[0], &await, &job, err))
		return false;
	ok = job_status_done(job.status) ? await_answer_result(call, &job, err)
					 : await_answer_record(call, 202, &job, err);
	if (!ok)
		return false;
	if (!job_status_done(job.status))
		http_answer_header(&call->answer, "Location", "/api/v1/jobs/%s", job.id);
	await_headers(call, &await);
	return true;
}

/* ---- changing one ---- */

/* It was there a moment ago. */
static bool
not_found_as_job(struct str id, struct err *err)
{
	return err->code == ERR_NOT_FOUND ? shared_no_job(id, err) : false;
}

/* A job that no worker will see again gives its place in the order of versions back. Best effort: what stays is
 * found by the clean-up. */
static void
release_seq(struct redis *redis, const struct job *job)
{
	struct collection collection;
	struct err ignored = ERR_INIT;
	struct catalog_name full;

	if (strcmp(job->type, "query") == 0 || job->batch.is || !job->collection[0])
		return;
	full = catalog_full_name(str_of(job->tenant), str_of(job->collection));
	if (catalog_get(redis, str_of(full.text), &collection, &ignored))
		catalog_release(redis, str_of(collection.uid), str_of(job->id), &ignored);
}

bool
jobs_cancel(struct call *call, struct err *err)
{
	static const char *const known[] = { NULL };
	const struct config *config = call->api->config;
	const struct queue_keep_opts retention = {
		.lease_ms = config->lease_ms,
		.backoff_base_ms = config->backoff_base_ms,
		.backoff_max_ms = config->backoff_max_ms,
		.dead_max_age_ms = config->dead_max_age_s * 1000,
		.done_max_age_ms = config->done_max_age_s * 1000,
		.done_max_bytes = config->done_max_bytes,
	};
	struct redis *redis;
	struct job job;

	if (!call_check_params(call, known, err) ||
	    !shared_job_to_change(call, call->params[0], &job, err) ||
	    !call_redis(call, &redis, err))
		return false;
	if (!queue_cancel(redis, call->params[0], &retention, &job, err))
		return not_found_as_job(call->params[0], err);
	if (job.status == JOB_CANCELLED)
		release_seq(redis, &job);
	/* 202: it has been asked to stop, which is not yet to have stopped */
	if (!await_answer_record(call, job.status == JOB_CANCELLED ? 200 : 202, &job, err))
		return false;
	if (job.status != JOB_CANCELLED)
		http_answer_header(&call->answer, "Location", "/api/v1/jobs/%s", job.id);
	return true;
}

bool
jobs_retry(struct call *call, struct err *err)
{
	static const char *const known[] = { NULL };
	struct redis *redis;
	struct job job;

	if (!call_check_params(call, known, err) ||
	    !shared_job_to_change(call, call->params[0], &job, err) ||
	    !call_redis(call, &redis, err))
		return false;
	if (!queue_retry_dead(redis, call->params[0], &job, err))
		return not_found_as_job(call->params[0], err);
	if (!await_answer_record(call, 202, &job, err))
		return false;
	http_answer_header(&call->answer, "Location", "/api/v1/jobs/%s", job.id);
	return true;
}

/* With If-Match only the record that the client has seen. */
static bool
forget_as_seen(const struct call *call, struct redis *redis, const struct job *job, struct err *err)
{
	char etag[REPLY_ETAG_BYTES];
	bool conditional, same;

	reply_job_etag(etag, job);
	same = call_if_match(call, etag, &conditional);
	if (!conditional)
		return queue_forget(redis, str_of(job->id), err);
	if (!same)
		return err_set(err, ERR_PRECONDITION, "job '%s' is at version %lld", job->id,
			       (long long)job->version);
	return queue_forget_version(redis, str_of(job->id), job->version, err);
}

bool
jobs_delete(struct call *call, struct err *err)
{
	static const char *const known[] = { NULL };
	struct redis *redis;
	struct job job;

	if (!call_check_params(call, known, err) ||
	    !shared_job_to_change(call, call->params[0], &job, err) ||
	    !call_redis(call, &redis, err))
		return false;
	if (!forget_as_seen(call, redis, &job, err))
		return not_found_as_job(call->params[0], err);
	release_seq(redis, &job);
	reply_start(call, 204);
	return true;
}

/* ---- lists ---- */

struct job_filters {
	struct str queue, status, type, collection, error;
	struct queue_list list; /* the same and the cursor as the queue wants them */
	size_t queue_at;	/* index of the queue that the page begins with */
};

static bool
unknown_value(const char *name, struct str value, struct err *err)
{
	err_set(err, ERR_INVALID, "there is no %s '" STR_FMT "'", name,
		STR_ARG(str_sub(value, 0, str_utf8_floor(value, 60))));
	return err_at(err, "/%s", name);
}

/* The wire name of an error code; "OK" is none. */
static bool
read_error_filter(struct job_filters *out, struct err *err)
{
	for (int code = ERR_NONE + 1; out->error.len && code < ERR_CODE_COUNT; code++)
		if (str_eq_c(out->error, err_info((enum err_code)code)->wire))
			out->list.error = (enum err_code)code;
	return out->error.len == 0 || out->list.error != ERR_NONE ||
	       unknown_value("error", out->error, err);
}

static bool
read_filters(struct call *call, struct job_filters *out, struct err *err)
{
	enum job_status status;

	*out = (struct job_filters){ .list.status = -1, .list.tenant = call->tenant };
	if (!call_param_word(call, "queue", &out->queue, err) ||
	    !call_param_word(call, "status", &out->status, err) ||
	    !call_param_word(call, "type", &out->type, err) ||
	    !call_param(call, "collection", &out->collection, err) ||
	    !call_param_word(call, "error", &out->error, err))
		return false;
	if (out->queue.len && !job_queue_find(out->queue, 0, &out->list.queue))
		return unknown_value("queue", out->queue, err);
	if (out->status.len) {
		if (!job_status_parse(out->status, &status))
			return unknown_value("status", out->status, err);
		out->list.status = (int)status;
	}
	if (str_eq_c(out->type, JOB_TYPE_IMPORT))
		out->list.type = JOB_TYPE_IMPORT;
	else if (out->type.len && !job_type_find(out->type))
		return unknown_value("type", out->type, err);
	else
		out->list.type = out->type.len ? job_type_find(out->type)->name : NULL;
	out->list.collection = out->collection.len ? out->collection.ptr : NULL;
	return read_error_filter(out, err);
}

/* The state behind a page token is "<queue>/<cursor of that queue>". */
static bool
read_position(struct call *call, struct str filters, struct job_filters *out, struct err *err)
{
	struct str state, name;

	if (!call_page_token(call, filters, &state, err))
		return false;
	if (out->queue.len)
		name = out->queue;
	else
		name = str_of(job_queue_names[0]);
	if (state.len) {
		str_split(&state, '/', &name);
		if (!str_copy(out->list.cursor, sizeof(out->list.cursor), state))
			return unknown_value("page_token", state, err);
	}
	for (size_t i = 0; job_queue_names[i]; i++)
		if (str_eq_c(name, job_queue_names[i]))
			out->queue_at = i;
	return true;
}

static bool
list_page(struct call *call, struct job_filters *filters, size_t size, struct jw *w,
	  struct str *out_state, struct err *err)
{
	int64_t now_unix_ms = clock_unix_ms();
	struct queue_list *list = &filters->list;
	struct redis *redis;
	size_t total = 0;

	*out_state = STR("");
	for (size_t i = filters->queue_at; job_queue_names[i]; i++) {
		struct job *jobs;
		size_t count;

		list->limit = size - total;
		if (!job_queue_find(str_of(job_queue_names[i]), 0, &list->queue) ||
		    !call_redis(call, &redis, err) ||
		    !queue_list(redis, list, &call->arena, &jobs, &count, err))
			return false;
		for (size_t k = 0; k < count; k++)
			reply_job_object(w, &jobs[k], NULL, now_unix_ms);
		total += count;
		bool last = filters->queue.len || !job_queue_names[i + 1];
		if (!list->cursor[0] && last)
			return true;
		/* one queue a page when it goes on; else the next one fills up what room is left */
		if (list->cursor[0] || total >= size) {
			size_t next = list->cursor[0] ? i : i + 1;
			char *state = arena_printf(&call->arena, "%s/%s", job_queue_names[next],
						   list->cursor);
			*out_state = str_of(state);
			return true;
		}
	}
	return true;
}

static bool
answer_list(struct call *call, struct job_filters *filters, struct err *err)
{
	struct str key, state;
	size_t size;

	key = str_of(arena_printf(&call->arena,
				  STR_FMT "|" STR_FMT "|" STR_FMT "|" STR_FMT "|" STR_FMT,
				  STR_ARG(filters->queue), STR_ARG(filters->status),
				  STR_ARG(filters->type), STR_ARG(filters->collection),
				  STR_ARG(filters->error)));
	if (!call_page_size(call, &size, err) || !read_position(call, key, filters, err))
		return false;
	struct jw w = reply_json(call, 200);
	jw_obj(&w);
	jw_karr(&w, "data");
	if (!list_page(call, filters, size, &w, &state, err))
		return false;
	jw_end(&w);
	call_page_token_write(call, key, state, &w);
	jw_end(&w);
	return true;
}

bool
jobs_list(struct call *call, struct err *err)
{
	static const char *const known[] = { "queue", "status",	   "type",	 "collection",
					     "error", "page_size", "page_token", NULL };
	struct job_filters filters;

	return call_check_params(call, known, err) && read_filters(call, &filters, err) &&
	       answer_list(call, &filters, err);
}

bool
queues_dead(struct call *call, struct err *err)
{
	static const char *const known[] = { "page_size", "page_token", NULL };
	struct job_filters filters = { .queue = call->params[0],
				       .list.status = JOB_FAILED,
				       .list.tenant = call->tenant };

	if (!call_check_params(call, known, err))
		return false;
	if (!job_queue_find(call->params[0], 0, &filters.list.queue))
		return err_set(err, ERR_NOT_FOUND, "there is no queue '" STR_FMT "'",
			       STR_ARG(str_sub(call->params[0], 0,
					       str_utf8_floor(call->params[0], 60))));
	return answer_list(call, &filters, err);
}
