#include "api/await.h"

#include "api/hub.h"
#include "api/reply.h"
#include "api/shared.h"
#include "common/base/clock.h"
#include "common/queue.h"
#include "common/result.h"

#define MAX_RESULT_BYTES ((size_t)64 * 1024 * 1024)

static bool
is_answerable(const struct call *call, const struct await *await, const struct job *job)
{
	char etag[REPLY_ETAG_BYTES];
	bool present;

	if (job_status_done(job->status))
		return true;
	if (!await->until_change)
		return false;
	reply_job_etag(etag, job);
	return !call_none_match(call, etag, &present);
}

/* Until something may have changed; false: there is no reason to wait any longer. */
static bool
wait_once(struct call *call, struct hub_waiter *waiter, int64_t deadline_mono_ms)
{
	enum hub_event event;

	call_give_redis(call);
	atomic_fetch_sub(&call->api->in_progress, 1);
	do {
		event = hub_wait(call->api->hub, waiter, deadline_mono_ms);
	} while (event == HUB_TICK && http_peer_alive(call->http));
	atomic_fetch_add(&call->api->in_progress, 1);
	return event == HUB_WOKEN;
}

static bool
await_loop(struct call *call, struct str job_id, struct await *await, struct hub_waiter *waiter,
	   struct job *out, struct err *err)
{
	int64_t deadline_mono_ms = clock_mono_ms() + await->prefer.wait_s * 1000;
	bool more = waiter != NULL;

	for (;;) {
		if (!shared_job(call, job_id, out, err))
			return false;
		if (!more || is_answerable(call, await, out))
			return true;
		more = wait_once(call, waiter, deadline_mono_ms);
	}
}

bool
await_job(struct call *call, struct str job_id, struct await *await, struct job *out,
	  struct err *err)
{
	struct hub_waiter waiter;
	char id[JOB_ID_BYTES];
	bool entered, ok;

	if (!shared_is_job_id(job_id) || !str_copy(id, sizeof(id), job_id))
		return shared_no_job(job_id, err);
	entered = await->prefer.wait_s > 0 && hub_enter(call->api->hub, id, false, &waiter);
	await->waited = entered || await->prefer.wait_s == 0;
	ok = await_loop(call, job_id, await, entered ? &waiter : NULL, out, err);
	if (entered)
		hub_leave(call->api->hub, &waiter);
	return ok;
}

void
await_headers(struct call *call, const struct await *await)
{
	if (await->waited)
		http_answer_header(&call->answer, "Preference-Applied", "wait=%lld",
				   (long long)await->prefer.wait_s);
	else if (await->prefer.respond_async)
		http_answer_header(&call->answer, "Preference-Applied", "respond-async");
	http_answer_header(&call->answer, "Vary", "Prefer");
}

bool
await_answer_record(struct call *call, int status, const struct job *job, struct err *err)
{
	struct err last = ERR_INIT;
	struct redis *redis;

	if (job->error != ERR_NONE) {
		if (!call_redis(call, &redis, err))
			return false;
		queue_last_error(redis, job, &last);
		if (last.code != job->error)
			err_set(&last, job->error, "%s", err_info(job->error)->title);
	}
	reply_job(call, status, job, &last);
	return true;
}

bool
await_result_json(struct call *call, const struct job *job, struct arena *arena,
		  struct str *out_json, struct err *err)
{
	struct str bytes;
	struct redis *redis;

	return call_redis(call, &redis, err) &&
	       queue_result(redis, job, MAX_RESULT_BYTES, arena, &bytes, err) &&
	       result_unpack(bytes, out_json, err);
}

bool
await_problem(struct call *call, const struct job *job, struct err *out, struct err *err)
{
	struct redis *redis;

	*out = ERR_INIT;
	if (job->status == JOB_CANCELLED)
		return err_set(out, ERR_CANCELLED, "the job was cancelled"), true;
	if (job->status == JOB_EXPIRED)
		return err_set(out, ERR_EXPIRED,
			       "the job was not started before its time was over"),
		       true;
	if (!call_redis(call, &redis, err))
		return false;
	queue_last_error(redis, job, out);
	if (out->code == ERR_NONE)
		err_set(out, job->error == ERR_NONE ? ERR_INTERNAL : job->error, "the job failed");
	return true;
}

bool
await_answer_result(struct call *call, const struct job *job, struct err *err)
{
	struct err problem = ERR_INIT;
	struct str json;

	if (job->batch.is) { /* its outcome is the counts; the lines are at /items */
		struct jw w = reply_json(call, 200);

		reply_job_object(&w, job, NULL, clock_unix_ms());
		return true;
	}
	if (job->status == JOB_SUCCEEDED) {
		if (!await_result_json(call, job, &call->arena, &json, err))
			return false;
		reply_json(call, 200);
		buf_add(&call->body, json.ptr, json.len);
		return true;
	}
	if (!await_problem(call, job, &problem, err))
		return false;
	reply_problem(call, &problem, job->id);
	return true;
}
