#include "api/reply.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"

#define BATCH_STILL_MS 10000 /* without a change for so long its rate says nothing any more */

/* Whole seconds, never less than it takes. */
static int64_t
seconds_up(int64_t us)
{
	return (us + 999999) / 1000000;
}

/*
 * RateLimit-Policy and RateLimit, as structured fields (draft-ietf-httpapi-ratelimit-headers): q requests within w seconds; r may
 * still come within the next t seconds, after which there is at least one more.
 */
static void
rate_headers(struct call *call)
{
	const struct call_rate *rate = &call->rate;

	if (!rate->checked)
		return;
	http_answer_header(&call->answer, "RateLimit-Policy", "\"requests\";q=%lld;w=%lld",
			   (long long)rate->limit.count, (long long)rate->limit.window_s);
	http_answer_header(&call->answer, "RateLimit", "\"requests\";r=%lld;t=%lld",
			   (long long)rate->state.remaining,
			   (long long)seconds_up(rate->state.reset_us));
}

static void
start(struct call *call, int status, const char *cache_control)
{
	buf_clear(&call->body);
	http_answer_init(&call->answer, status);
	http_answer_header(&call->answer, "X-Request-Id", "%s", call->request_id);
	http_answer_header(&call->answer, "Cache-Control", "%s", cache_control);
	if (call->traceparent[0])
		http_answer_header(&call->answer, "traceparent", "%s", call->traceparent);
	rate_headers(call);
}

void
reply_start(struct call *call, int status)
{
	start(call, status, "no-store");
}

void
reply_start_cached(struct call *call, int status, const char *etag)
{
	start(call, status, "no-cache");
	http_answer_header(&call->answer, "ETag", "%s", etag);
}

struct jw
reply_json(struct call *call, int status)
{
	reply_start(call, status);
	call->answer.content_type = "application/json";
	return jw_start(&call->body);
}

void
reply_header_i64(struct call *call, const char *name, int64_t value)
{
	http_answer_header(&call->answer, name, "%lld", (long long)value);
}

/* ---- problems ---- */

/* INVALID_ARGUMENT -> urn:rag-engine:problem:invalid-argument */
static void
problem_type(char *out, size_t out_bytes, const char *wire)
{
	int len = snprintf(out, out_bytes, "urn:rag-engine:problem:%s", wire);

	for (int i = 23; i < len && (size_t)i < out_bytes; i++)
		out[i] = (char)(out[i] == '_' ? '-' : tolower((unsigned char)out[i]));
}

void
reply_problem_members(struct jw *w, const struct err *err)
{
	const struct err_info *info = err_info(err->code);
	char type[96];

	problem_type(type, sizeof(type), info->wire);
	jw_kcstr(w, "type", type);
	jw_kcstr(w, "title", info->title);
	jw_kint(w, "status", info->http_status);
	jw_kcstr(w, "detail", err->msg[0] ? err->msg : info->title);
	jw_kcstr(w, "code", info->wire);
	jw_kbool(w, "retryable", info->retryable);
	if (!err->pointer[0])
		return;
	jw_karr(w, "errors");
	jw_obj(w);
	jw_kcstr(w, "pointer", err->pointer);
	jw_kcstr(w, "detail", err->msg);
	jw_end(w);
	jw_end(w);
}

static int64_t
retry_after_s(const struct err *err, int status)
{
	if (err->retry_after_ms >= 0)
		return err->retry_after_ms < 1000 ? 1 : (err->retry_after_ms + 999) / 1000;
	return status == 429 || status == 503 || status == 507 ? 1 : -1;
}

void
reply_problem(struct call *call, const struct err *err, const char *job_id)
{
	int status = err_info(err->code)->http_status;
	int64_t after_s = job_id ? -1 : retry_after_s(err, status);
	struct jw w = reply_json(call, status);

	call->answer.content_type = "application/problem+json";
	if (after_s >= 0)
		reply_header_i64(call, "Retry-After", after_s);
	if (status == 401)
		http_answer_header(&call->answer, "WWW-Authenticate", "Bearer realm=\"rag\"");
	if (status == 413 || status == 408)
		call->answer.close = true;
	jw_obj(&w);
	reply_problem_members(&w, err);
	jw_key(&w, "instance");
	AUTO(buf) struct buf instance = BUF_INIT(4096);
	buf_add(&instance, call->http->path.ptr,
		call->http->path.len < 3000 ? call->http->path.len : 3000);
	buf_add_char(&instance, '#');
	buf_add_str(&instance, call->request_id);
	jw_str(&w, str_make(instance.data, instance.len));
	jw_kcstr(&w, "request_id", call->request_id);
	if (job_id)
		jw_kcstr(&w, "job_id", job_id);
	jw_end(&w);
}

/* ---- jobs ---- */

static void
job_error(struct jw *w, const struct job *job, const struct err *error)
{
	struct err bare = ERR_INIT;

	if (job->error == ERR_NONE) {
		jw_knull(w, "error");
		return;
	}
	bare.code = job->error;
	jw_kobj(w, "error");
	reply_problem_members(w, error && error->code != ERR_NONE ? error : &bare);
	jw_end(w);
}

static void
job_times(struct jw *w, const struct job *job)
{
	jw_ktime(w, "created_at", job->created_ms);
	jw_ktime(w, "started_at", job->started_ms);
	jw_ktime(w, "updated_at", job->updated_ms);
	jw_ktime(w, "finished_at", job->finished_ms);
	jw_ktime(w, "expires_at", job->expires_ms);
	jw_ktime(w, "due_at", job->status == JOB_SCHEDULED ? job->due_ms : 0);
	jw_ktime(w, "next_attempt_at", job->status == JOB_RETRYING ? job->due_ms : 0);
	jw_kcstr(w, "waiting_for", job->waiting_for[0] ? job->waiting_for : NULL);
}

static int64_t
waited_ms(const struct job *job, int64_t now_unix_ms)
{
	int64_t until = job->started_ms	   ? job->started_ms
			: job->finished_ms ? job->finished_ms
					   : now_unix_ms;

	return until > job->created_ms ? until - job->created_ms : 0;
}

/* Lines a second, and the seconds until the last: known once all lines have come and while some are being done. */
static void
batch_progress(struct jw *w, const struct job *job, int64_t now_unix_ms)
{
	bool still = now_unix_ms - job->updated_ms > BATCH_STILL_MS;
	double rate =
		still && !job_status_done(job->status) ? 0 : (double)job->batch.rate_milli / 1000;
	int64_t left = job->progress_total - job->progress_done;

	jw_kint(w, "failed", job->batch.failed + job->batch.rejected);
	jw_knum(w, "rate_per_s", rate, 6);
	if (job_status_done(job->status))
		jw_kint(w, "eta_s", 0);
	else if (job->batch.sealed && rate > 0)
		jw_kint(w, "eta_s", (int64_t)((double)left / rate) + 1);
	else
		jw_knull(w, "eta_s");
}

/* Of a bulk import, and of a child of one; null for all others. */
static void
batch_members(struct jw *w, const struct job *job)
{
	const struct job_batch *batch = &job->batch;
	struct str parent;
	int64_t line;
	bool child = job_id_is_child(str_of(job->id), &parent, &line);

	jw_key(w, "batch_id");
	if (child)
		jw_str(w, parent);
	else
		jw_null(w);
	jw_key(w, "line");
	if (child)
		jw_int(w, line);
	else
		jw_null(w);
	if (!batch->is) {
		jw_knull(w, "import");
		return;
	}
	jw_kobj(w, "import");
	jw_kbool(w, "sealed", batch->sealed);
	jw_kbool(w, "partial", batch->partial);
	jw_kint(w, "last_line", batch->last_line);
	jw_kint(w, "items", job->progress_total);
	jw_kint(w, "pending", batch->pending);
	jw_kint(w, "succeeded", batch->succeeded);
	jw_kint(w, "failed", batch->failed);
	jw_kint(w, "rejected", batch->rejected);
	jw_kint(w, "cancelled", batch->cancelled);
	jw_kint(w, "expired", batch->expired);
	jw_end(w);
}

void
reply_job_object(struct jw *w, const struct job *job, const struct err *error, int64_t now_unix_ms)
{
	char url[JOB_ID_BYTES + 32];

	(void)snprintf(url, sizeof(url), "/api/v1/jobs/%s/result", job->id);
	jw_obj(w);
	jw_kcstr(w, "id", job->id);
	jw_kcstr(w, "object", "job");
	jw_kcstr(w, "type", job->type);
	jw_kcstr(w, "status", job_status_name(job->status));
	jw_kbool(w, "done", job_status_done(job->status));
	jw_kcstr(w, "collection", job->collection[0] ? job->collection : NULL);
	job_times(w, job);
	jw_kint(w, "attempt", job->starts);
	jw_kint(w, "max_starts", job->max_starts);
	jw_kint(w, "failures", job->failures);
	jw_kint(w, "max_failures", job->max_failures);
	jw_kbool(w, "cancel_requested", job->cancel_requested);
	jw_kobj(w, "progress");
	jw_kcstr(w, "stage", job->stage[0] ? job->stage : NULL);
	jw_kint(w, "done", job->progress_done);
	jw_kint(w, "total", job->progress_total);
	if (job->batch.is)
		batch_progress(w, job, now_unix_ms);
	jw_end(w);
	batch_members(w, job);
	jw_kcstr(w, "worker", job->worker[0] ? job->worker : NULL);
	jw_kobj(w, "queue");
	jw_kcstr(w, "name", job->queue.name);
	jw_kint(w, "waited_ms", waited_ms(job, now_unix_ms));
	jw_end(w);
	job_error(w, job, error);
	jw_kcstr(w, "result_url", url);
	jw_kint(w, "version", job->version);
	jw_end(w);
}

void
reply_job_etag(char out[REPLY_ETAG_BYTES], const struct job *job)
{
	(void)snprintf(out, REPLY_ETAG_BYTES, "\"v%lld\"", (long long)job->version);
}

int64_t
reply_job_retry_after_s(const struct job *job, int64_t now_unix_ms)
{
	static const struct {
		int64_t age_s, after_s;
	} steps[] = { { 3, 1 }, { 10, 2 }, { 20, 3 }, { 60, 5 }, { 180, 8 } };
	int64_t age_s = (now_unix_ms - job->created_ms) / 1000;

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (age_s < steps[i].age_s)
			return steps[i].after_s;
	return 15;
}

void
reply_job(struct call *call, int status, const struct job *job, const struct err *error)
{
	int64_t now_unix_ms = clock_unix_ms();
	struct jw w = reply_json(call, status);
	char etag[REPLY_ETAG_BYTES];

	reply_job_etag(etag, job);
	http_answer_header(&call->answer, "ETag", "%s", etag);
	if (!job_status_done(job->status))
		reply_header_i64(call, "Retry-After", reply_job_retry_after_s(job, now_unix_ms));
	reply_job_object(&w, job, error, now_unix_ms);
}
