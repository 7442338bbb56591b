/*
 * A stream is a loop: read what is new, write it, wait. What was written decides where the next reading begins, so a
 * failure in between (Redis away) only repeats the reading, and never skips or doubles an event.
 *
 * Two kinds of jobs, two kinds of ids:
 *	jobs that stream	the events of queue_stream.h; ids are stream ids
 *	all others		the record as it changes; the id is its version. Changes between two readings are one event.
 *
 * The end: `done` carries the id that the job's last event has (or its version). A client that comes back with this id
 * is answered 204. A last event that is no longer kept is made from the record and the result, with the same id, after a
 * `reset` with the whole text.
 *
 * Redis away: the stream stays open with its heartbeats and goes on afterwards. The API stops: the stream ends in order,
 * and the client reconnects to another one with the last id.
 */
#include "api/stream.h"

#include <stdio.h>
#include <string.h>

#include "api/await.h"
#include "api/handlers.h"
#include "api/reply.h"
#include "api/shared.h"
#include "api/stream_write.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/queue.h"
#include "common/queue_stream.h"
#include "common/sse.h"

#define RETRY_MS 3000 /* what clients are told to wait before they reconnect */
#define FULL_RETRY_AFTER_MS 5000
#define STREAM_ARENA_BYTES ((size_t)160 * 1024 * 1024) /* of one reading; used as needed */
#define STREAM_OUT_BYTES ((size_t)256 * 1024 * 1024)
#define ID_MAX_VERSION INT64_C(9007199254740991)

struct stream {
	struct call *call;
	struct stream_place *place;
	char job_id[JOB_ID_BYTES];
	bool by_version; /* the job has no events of its own */
	int64_t version; /* seen so far; -1 = nothing */
	char after[JOB_ENTRY_BYTES];
	bool told_unknown;
	bool more;   /* read on at once */
	bool missed; /* Redis could not be asked: look again soon */
	bool over;
	int64_t ping_at_ms; /* on the monotonic clock */
	struct buf out;	    /* not yet written */
};

/* ---- places ---- */

bool
stream_enter(struct call *call, const char *job_id, struct stream_place *place, struct err *err)
{
	stream_leave(call, place);
	place->taken = hub_enter(call->api->hub, job_id, true, &place->waiter);
	if (place->taken)
		return true;
	if (atomic_load(&call->api->draining))
		err_set(err, ERR_STREAMS_FULL, "could not follow the job: this server stops");
	else
		err_set(err, ERR_STREAMS_FULL,
			"could not follow the job: %zu requests wait or stream already",
			hub_waiters(call->api->hub));
	err->retry_after_ms = FULL_RETRY_AFTER_MS;
	return false;
}

void
stream_leave(struct call *call, struct stream_place *place)
{
	if (place->taken)
		hub_leave(call->api->hub, &place->waiter);
	place->taken = false;
}

/* ---- what a client asks for ---- */

/* The weight of one media range of Accept, 0..1000; 1000 when it says nothing. */
static int
weight_of(struct str params)
{
	struct str one;

	while (str_split(&params, ';', &one)) {
		double q = 0;

		one = str_trim(one);
		if (str_eq_nocase(str_sub(one, 0, 2), STR("q=")) &&
		    str_to_f64(str_sub(one, 2, one.len), &q))
			return q <= 0 ? 0 : q >= 1 ? 1000 : (int)(q * 1000);
	}
	return 1000;
}

bool
stream_wanted(const struct call *call)
{
	struct str accept, range, type;
	int stream = 0, json = 0;

	if (!http_header(call->http, "Accept", &accept))
		return false;
	while (str_split(&accept, ',', &range)) {
		int weight;

		if (!str_split(&range, ';', &type))
			continue;
		weight = weight_of(range);
		if (str_eq_nocase(str_trim(type), STR("text/event-stream")))
			stream = weight;
		else if (str_eq_nocase(str_trim(type), STR("application/json")))
			json = weight;
	}
	return stream > 0 && stream >= json;
}

static bool
bad_id(const char *where, struct str id, const struct job *job, struct err *err)
{
	err_set(err, ERR_MALFORMED, "'" STR_FMT "' in %s is no event id of a job that %s",
		STR_ARG(str_sub(id, 0, str_utf8_floor(id, 60))), where,
		job->stream_ttl_ms ? "streams (like 1790000000123-0)"
				   : "does not stream (a version, like 3)");
	return err_at(err, "/%s", where);
}

/* Last-Event-ID is newer than ?after=, which stays in the address that a client connects to again. */
static bool
read_position(struct stream *stream, const struct job *job, struct err *err)
{
	const char *where = "Last-Event-ID";
	struct str id;

	stream->by_version = job->stream_ttl_ms == 0;
	stream->version = -1;
	(void)str_copy(stream->after, sizeof(stream->after), STR(QUEUE_EVENTS_FROM_START));
	if (!http_header(stream->call->http, where, &id) || id.len == 0) {
		where = "after";
		if (!call_param(stream->call, where, &id, err))
			return false;
	}
	if (id.len == 0 || str_eq_c(id, "0"))
		return true;
	if (stream->by_version ? str_to_i64(id, 0, ID_MAX_VERSION, &stream->version)
			       : queue_event_id_parse(id, stream->after))
		return true;
	return bad_id(where, id, job, err);
}

/* ---- the end of a job ---- */

/* The id of the last event of a final job, also when it is no longer kept. */
static void
final_id(const struct stream *stream, const struct job *job, char out[JOB_ENTRY_BYTES])
{
	if (stream->by_version)
		(void)snprintf(out, JOB_ENTRY_BYTES, "%lld", (long long)job->version);
	else if (job->stream_end[0])
		(void)str_copy(out, JOB_ENTRY_BYTES, str_of(job->stream_end));
	else
		(void)snprintf(out, JOB_ENTRY_BYTES, "%lld-0", (long long)job->finished_ms);
}

static bool
has_seen_all(const struct stream *stream, const struct job *job)
{
	char id[JOB_ENTRY_BYTES];

	if (!job_status_done(job->status))
		return false;
	final_id(stream, job, id);
	return stream->by_version ? stream->version == job->version
				  : queue_event_id_cmp(stream->after, id) == 0;
}

/* A `reset` with the answer of the result, when it has one: the tokens are not all there, or are no longer kept. */
static void
write_answer(struct stream *stream, struct str result, const char *reason)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	struct err ignored = ERR_INIT;
	struct str answer;

	if (result.len && js_parse(result, &root, &ignored) && js_is(root, JS_OBJECT) &&
	    js_get_str(root, "answer", &answer))
		stream_write_reset(&stream->out, "", reason, answer);
}

/* reason: NULL = the client has the whole text. */
static bool
write_end(struct stream *stream, const struct job *job, const char *reason, struct arena *arena,
	  struct err *err)
{
	struct stream_end end = { .result = STR(""), .problem = ERR_INIT };
	struct err failure = ERR_INIT;
	char id[JOB_ENTRY_BYTES];

	if (job->status == JOB_SUCCEEDED) {
		/* a result past its time is none */
		if (!await_result_json(stream->call, job, arena, &end.result, &failure) &&
		    failure.code != ERR_GONE && failure.code != ERR_NOT_FOUND) {
			*err = failure;
			return false;
		}
	} else if (!await_problem(stream->call, job, &end.problem, err)) {
		return false;
	}
	if (reason)
		write_answer(stream, end.result, reason);
	final_id(stream, job, id);
	stream_write_done(&stream->out, id, job, &end);
	stream->over = true;
	return true;
}

/* ---- reading ---- */

static bool
read_record(struct stream *stream, struct arena *arena, struct err *err)
{
	char id[JOB_ENTRY_BYTES];
	struct job job;

	if (!shared_job(stream->call, str_of(stream->job_id), &job, err))
		return false;
	if (job_status_done(job.status))
		return write_end(stream, &job, NULL, arena, err);
	if (job.version == stream->version)
		return true;
	(void)snprintf(id, sizeof(id), "%lld", (long long)job.version);
	stream_write_status(&stream->out, id, &job);
	stream->version = job.version;
	return true;
}

static bool
is_end(const struct job *job, const struct queue_event *event)
{
	return event->kind == QUEUE_EVENT_DONE && job_status_done(job->status) &&
	       strcmp(event->id, job->stream_end) == 0;
}

static bool
read_events(struct stream *stream, struct arena *arena, struct err *err)
{
	struct queue_events events;
	struct redis *redis;

	if (!call_redis(stream->call, &redis, err) ||
	    !queue_events(redis, str_of(stream->job_id), stream->after, arena, &events, err))
		return false;
	if (events.unknown && !stream->told_unknown)
		stream_write_reset(&stream->out, "", "unknown_id", STR(""));
	stream->told_unknown |= events.unknown;
	for (size_t i = 0; i < events.count; i++) {
		const struct queue_event *event = &events.items[i];

		if (is_end(&events.job, event))
			return write_end(stream, &events.job, event->whole ? NULL : "revised",
					 arena, err);
		stream_write_event(&stream->out, &events.job, event);
		(void)str_copy(stream->after, sizeof(stream->after), str_of(event->id));
	}
	(void)str_copy(stream->after, sizeof(stream->after), str_of(events.after));
	stream->more = events.more;
	if (job_status_done(events.job.status) && !events.more)
		return write_end(stream, &events.job, "trimmed", arena, err);
	return true;
}

/* What may pass: the stream waits for it with its client. */
static bool
is_outage(const struct err *err)
{
	return err_info(err->code)->outage || err->code == ERR_OVERLOADED;
}

static void
read_new(struct stream *stream)
{
	AUTO(arena) struct arena arena;
	struct err err = ERR_INIT;
	bool ok;

	arena_init(&arena, STREAM_ARENA_BYTES);
	stream->more = false;
	ok = stream->by_version ? read_record(stream, &arena, &err)
				: read_events(stream, &arena, &err);
	stream->missed = !ok && is_outage(&err);
	if (ok || stream->missed)
		return;
	/* the job was forgotten, or its record cannot be read: nothing more will come */
	if (err.code != ERR_NOT_FOUND)
		log_err(LOG_ERROR, &err, "the stream of job %s ends", stream->job_id);
	stream_write_problem(&stream->out, &err, stream->job_id);
	stream->over = true;
}

/* ---- the loop ---- */

static bool
write_out(struct stream *stream)
{
	bool ok =
		buf_ok(&stream->out) &&
		http_stream_write(stream->call->http, str_make(stream->out.data, stream->out.len));

	if (stream->out.len > 0)
		stream->ping_at_ms = clock_mono_ms() + stream->call->api->config->stream_ping_ms;
	/* what a large answer took is not held for the rest of the stream */
	buf_release(&stream->out);
	return ok;
}

/* Until there may be something new; adds heartbeats. false: the client is gone, or the API stops. */
static bool
wait_for_news(struct stream *stream)
{
	struct call *call = stream->call;
	struct api *api = call->api;
	enum hub_event event;
	bool alive = true;

	call_give_redis(call);
	atomic_fetch_sub(&api->in_progress, 1);
	do {
		event = hub_wait(api->hub, &stream->place->waiter, stream->ping_at_ms);
		if (event == HUB_TICK)
			alive = http_peer_alive(call->http);
	} while (event == HUB_TICK && alive && !stream->missed);
	atomic_fetch_add(&api->in_progress, 1);
	if (event == HUB_TIMEOUT)
		sse_add_comment(&stream->out, "ping");
	return alive && event != HUB_DRAINING;
}

static void
follow(struct stream *stream)
{
	for (;;) {
		read_new(stream);
		if (!write_out(stream))
			return;
		if (stream->over)
			break;
		if (!stream->more && !wait_for_news(stream))
			break;
	}
	(void)http_stream_end(stream->call->http);
}

static void
start_answer(struct call *call)
{
	reply_start(call, 200);
	call->answer.content_type = "text/event-stream; charset=utf-8";
	for (size_t i = 0; i < call->answer.header_count; i++)
		if (strcmp(call->answer.headers[i].name, "Cache-Control") == 0)
			(void)str_copy(call->answer.headers[i].value,
				       sizeof(call->answer.headers[i].value),
				       STR("no-cache, no-store"));
	http_answer_header(&call->answer, "X-Accel-Buffering", "no");
}

static void
run(struct stream *stream)
{
	call_give_redis(stream->call);
	if (!http_stream_begin(stream->call->http, &stream->call->answer))
		return;
	follow(stream);
}

bool
jobs_events(struct call *call, struct err *err)
{
	static const char *const known[] = { "after", NULL };
	struct stream_place place = { .taken = false };
	struct stream stream = { .call = call, .place = &place };
	struct job job;

	buf_init(&stream.out, STREAM_OUT_BYTES);
	if (!call_check_params(call, known, err) || !shared_job(call, call->params[0], &job, err) ||
	    !read_position(&stream, &job, err))
		return false;
	(void)str_copy(stream.job_id, sizeof(stream.job_id), str_of(job.id));
	log_field("job_id", job.id);
	if (has_seen_all(&stream, &job)) {
		reply_start(call, 204);
		return true;
	}
	if (!stream_enter(call, job.id, &place, err))
		return false;
	start_answer(call);
	sse_add_retry(&stream.out, RETRY_MS);
	run(&stream);
	stream_leave(call, &place);
	buf_release(&stream.out);
	return true;
}

bool
stream_submitted(struct call *call, const struct submit *submit, struct stream_place *place,
		 struct err *err)
{
	struct stream stream = { .call = call, .place = place, .version = -1 };
	struct job job;

	buf_init(&stream.out, STREAM_OUT_BYTES);
	if (!shared_job(call, str_of(submit->job_id), &job, err)) {
		if (err->code == ERR_NOT_FOUND && submit->replayed)
			return err_set(err, ERR_GONE,
				       "the job that this Idempotency-Key made is no longer kept");
		return false;
	}
	(void)str_copy(stream.job_id, sizeof(stream.job_id), str_of(job.id));
	(void)str_copy(stream.after, sizeof(stream.after), STR(QUEUE_EVENTS_FROM_START));
	stream.by_version = job.stream_ttl_ms == 0;
	start_answer(call);
	http_answer_header(&call->answer, "Location", "/api/v1/jobs/%s", job.id);
	http_answer_header(&call->answer, "Vary", "Accept");
	if (submit->replayed)
		http_answer_header(&call->answer, "Idempotent-Replayed", "true");
	sse_add_retry(&stream.out, RETRY_MS);
	/* whatever comes next: the client knows from here on which job to come back to */
	stream_write_status(&stream.out, "", &job);
	run(&stream);
	buf_release(&stream.out);
	return true;
}
