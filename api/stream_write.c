#include "api/stream_write.h"

#include <stdio.h>

#include "api/reply.h"
#include "common/json.h"
#include "common/sse.h"

#define EVENT_MAX_BYTES ((size_t)96 * 1024 * 1024)

/* One JSON value as the data of one event. */
static void
add(struct buf *out, const char *id, const char *name, const struct buf *json)
{
	sse_add_event(out, id, name, str_make(json->data, json->len));
	if (!buf_ok(json))
		out->failed = true;
}

static void
write_head(struct jw *w, const struct job *job, enum job_status status, int64_t version)
{
	jw_kcstr(w, "id", job->id);
	jw_kcstr(w, "type", job->type);
	jw_kcstr(w, "status", job_status_name(status));
	jw_kbool(w, "done", job_status_done(status));
	jw_kint(w, "version", version);
}

static void
write_status(struct buf *out, const char *id, const struct job *job, enum job_status status,
	     const struct queue_event *event)
{
	AUTO(buf) struct buf json = BUF_INIT(4096);
	struct jw w = jw_start(&json);

	jw_obj(&w);
	write_head(&w, job, status, event->version);
	jw_kobj(&w, "progress");
	jw_key(&w, "stage");
	if (event->stage.len)
		jw_str(&w, event->stage);
	else
		jw_null(&w);
	jw_kint(&w, "done", event->done);
	jw_kint(&w, "total", event->total);
	jw_end(&w);
	jw_end(&w);
	add(out, id, "status", &json);
}

void
stream_write_status(struct buf *out, const char *id, const struct job *job)
{
	const struct queue_event now = { .version = job->version,
					 .stage = str_of(job->stage),
					 .done = job->progress_done,
					 .total = job->progress_total };

	write_status(out, id, job, job->status, &now);
}

void
stream_write_reset(struct buf *out, const char *id, const char *reason, struct str text)
{
	AUTO(buf) struct buf json = BUF_INIT(EVENT_MAX_BYTES);
	struct jw w = jw_start(&json);

	jw_obj(&w);
	jw_kcstr(&w, "reason", reason);
	jw_kstr(&w, "text", text);
	jw_end(&w);
	add(out, id, "reset", &json);
}

static void
write_token(struct buf *out, const char *id, struct str text)
{
	AUTO(buf) struct buf json = BUF_INIT(EVENT_MAX_BYTES);
	struct jw w = jw_start(&json);

	jw_obj(&w);
	jw_kstr(&w, "t", text);
	jw_end(&w);
	add(out, id, "token", &json);
}

void
stream_write_event(struct buf *out, const struct job *job, const struct queue_event *event)
{
	switch (event->kind) {
	case QUEUE_EVENT_STATUS:
	case QUEUE_EVENT_DONE:
		write_status(out, event->id, job, event->status, event);
		break;
	case QUEUE_EVENT_TOKEN:
		write_token(out, event->id, event->data);
		break;
	case QUEUE_EVENT_RESET:
		stream_write_reset(out, event->id, event->reason.ptr, event->data);
		break;
	case QUEUE_EVENT_SOURCES:
		sse_add_event(out, event->id, "sources", event->data);
		break;
	case QUEUE_EVENT_WARNING:
		sse_add_event(out, event->id, "warning", event->data);
		break;
	}
}

static void
write_problem_object(struct jw *w, const struct err *problem, const char *job_id)
{
	jw_obj(w);
	reply_problem_members(w, problem);
	jw_kcstr(w, "job_id", job_id);
	jw_end(w);
}

void
stream_write_problem(struct buf *out, const struct err *problem, const char *job_id)
{
	AUTO(buf) struct buf json = BUF_INIT(16384);
	struct jw w = jw_start(&json);

	write_problem_object(&w, problem, job_id);
	add(out, "", "error", &json);
}

void
stream_write_done(struct buf *out, const char *id, const struct job *job,
		  const struct stream_end *end)
{
	AUTO(buf) struct buf json = BUF_INIT(EVENT_MAX_BYTES);
	struct jw w = jw_start(&json);
	char url[JOB_ID_BYTES + 32];

	if (end->problem.code != ERR_NONE)
		stream_write_problem(out, &end->problem, job->id);
	(void)snprintf(url, sizeof(url), "/api/v1/jobs/%s/result", job->id);
	jw_obj(&w);
	write_head(&w, job, job->status, job->version);
	jw_kcstr(&w, "result_url", url);
	jw_key(&w, "result");
	if (end->result.len)
		jw_raw(&w, end->result);
	else
		jw_null(&w);
	jw_key(&w, "error");
	if (end->problem.code != ERR_NONE)
		write_problem_object(&w, &end->problem, job->id);
	else
		jw_null(&w);
	jw_end(&w);
	add(out, id, "done", &json);
}
