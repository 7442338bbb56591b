/*
 * run: between start and settle.
 *
 * A settle whose answer is lost is repeated until Redis is back (it is idempotent), however long that takes: nobody
 * reaps while Redis is away, and a start that is given up would be charged for the outage. STALE means that another
 * start has won: the work is dropped without a word.
 */
#include "worker/run.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/result.h"
#include "worker/emitter.h"

#define RUN_MAX_RESULT_BYTES ((size_t)16 * 1024 * 1024)
#define RUN_SETTLE_RETRY_MS 250
#define RUN_QUIET_MS 500
/* Longest back-off of an outage that does not say when: work goes on soon after its end. */
#define RUN_OUTAGE_MAX_MS 30000

/* What a handler's callbacks get. */
struct run_progress {
	struct run_slot *slot;
	struct redis *redis;
	const struct queue_lease *lease;
	struct emitter *emitter;
	int64_t quiet_until_ms; /* before, nobody is told: a line of an import is done in no time, and nobody looks */
};

static bool
report_progress(void *user, const char *stage, int64_t done, int64_t total, struct err *err)
{
	struct run_progress *progress = user;
	struct err failure = ERR_INIT;

	if (clock_mono_ms() < progress->quiet_until_ms)
		return true;
	if (queue_progress(progress->redis, progress->lease, stage, done, total, &failure))
		return true;
	if (failure.code == ERR_STALE) {
		*err = failure;
		return false;
	}
	/* Progress is for people: an outage does not stop the work. */
	log_debug("progress not written: %s", failure.msg);
	return true;
}

static bool
emit(void *user, enum job_emit what, struct str data, struct err *err)
{
	struct run_progress *progress = user;
	struct emitter *emitter = progress->emitter;
	bool ok = true;

	switch (what) {
	case JOB_EMIT_TEXT:
		ok = emitter_text(emitter, data, err);
		break;
	case JOB_EMIT_RESET:
		ok = emitter_restart(emitter, err);
		break;
	case JOB_EMIT_SOURCES:
		ok = emitter_event(emitter, EMIT_SOURCES, data, err);
		break;
	case JOB_EMIT_WARNING:
		ok = emitter_event(emitter, EMIT_WARNING, data, err);
		break;
	case JOB_EMIT_ANSWER:
		ok = emitter_finish(emitter, data, err);
		break;
	}
	/* seen here before the keeper looks */
	if (!ok && err->code == ERR_CANCELLED)
		running_stop(&progress->slot->app->running, progress->slot->index, progress->lease,
			     STOP_CANCEL);
	return ok;
}

static int64_t
job_timeout_ms(const struct config *config, const struct job *job)
{
	return strcmp(job->type, "query") == 0 ? config->query_timeout_ms
					       : config->ingest_timeout_ms;
}

/* Calls the handler; on success `out` is the result's envelope. */
static bool
call_handler(struct run_progress *progress, const struct job *job, struct str payload,
	     int64_t deadline_mono_ms, struct buf *out, struct err *err)
{
	AUTO(buf) struct buf json = BUF_INIT(RUN_MAX_RESULT_BYTES);
	struct run_slot *slot = progress->slot;
	struct str batch;
	int64_t line;
	struct job_context context = {
		.env = &slot->env,
		.job = job,
		.arena = slot->arena,
		.deadline_mono_ms = deadline_mono_ms,
		.cancel = running_cancel_flag(&slot->app->running, slot->index),
		.progress = report_progress,
		.emit = job->stream_ttl_ms > 0 ? emit : NULL,
		.user = progress,
	};
	job_handler handler = job_handler_find(str_of(job->type));
	struct jw w = jw_start(&json);

	if (job_id_is_child(str_of(job->id), &batch, &line))
		progress->quiet_until_ms = clock_mono_ms() + RUN_QUIET_MS;
	if (!handler)
		return err_set(err, ERR_UNKNOWN_TYPE, "this worker does not know jobs of type '%s'",
			       job->type);
	jw_obj(&w);
	if (!handler(&context, payload, &w, err))
		return false;
	jw_end(&w);
	if (!buf_check(&json, "the result", err))
		return false;
	result_pack(str_make(json.data, json.len), out);
	return buf_check(out, "the result", err);
}

static void
fill_settle(const struct config *config, enum queue_settle_kind kind, const struct err *failure,
	    struct str result, struct queue_settle *out)
{
	bool waits = kind == SETTLE_WAIT || kind == SETTLE_OUTAGE;
	const char *waiting_for = "";

	if (waits && failure)
		waiting_for = failure->waiting_for[0] ? failure->waiting_for
						      : err_info(failure->code)->title;
	*out = (struct queue_settle){
		.kind = kind,
		.result = result,
		.error = failure,
		.waiting_for = waiting_for,
		.retry_after_ms = failure ? failure->retry_after_ms : -1,
		.backoff_base_ms = config->backoff_base_ms,
		.backoff_max_ms =
			kind == SETTLE_OUTAGE && config->backoff_max_ms > RUN_OUTAGE_MAX_MS
				? RUN_OUTAGE_MAX_MS
				: config->backoff_max_ms,
		.result_ttl_ms = config->result_ttl_s * 1000,
		.done_max_age_ms = config->done_max_age_s * 1000,
		.dead_max_age_ms = config->dead_max_age_s * 1000,
	};
}

/* true: *out_status is what the job is now. false: dropped. */
static bool
settle(struct run_slot *slot, const struct queue_lease *lease, const struct queue_settle *request,
       enum job_status *out_status)
{
	struct err err = ERR_INIT;
	bool told = false;

	/* The deadline is for the work: waiting here for Redis is not being stuck. */
	running_settling(&slot->app->running, slot->index);
	while (!queue_settle(slot->env.redis, lease, request, out_status, &err)) {
		if (err.code == ERR_STALE)
			return false;
		if (!err_info(err.code)->outage) {
			log_err(LOG_ERROR, &err, "could not settle the job");
			return false;
		}
		if (!told)
			log_err(LOG_WARN, &err, "waiting for Redis to settle the job");
		told = true;
		/* A Redis that is away is waited for, a draining worker waits the same way. */
		clock_sleep_ms(RUN_SETTLE_RETRY_MS);
	}
	return true;
}

static void
log_outcome(enum job_status status, const struct err *failure, int64_t dur_ms)
{
	if (!failure) {
		log_done(LOG_INFO, dur_ms, 0, "job %s", job_status_name(status));
		return;
	}
	log_err(status == JOB_FAILED ? LOG_ERROR : LOG_WARN, failure, "job %s after %lld ms",
		job_status_name(status), (long long)dur_ms);
}

int64_t
run_waited_ms(const struct job *job, const char *entry)
{
	struct str rest = str_of(entry), ms;
	int64_t queued_ms;

	if (!str_split(&rest, '-', &ms) || !str_to_i64(ms, 0, INT64_MAX, &queued_ms))
		return 0;
	return job->started_ms > queued_ms ? job->started_ms - queued_ms : 0;
}

void
run_job(struct run_slot *slot, const struct queue_lease *lease, const struct job *job,
	struct str payload)
{
	AUTO(buf) struct buf result = BUF_INIT(RUN_MAX_RESULT_BYTES + 1024);
	struct worker_app *app = slot->app;
	AUTO(emitter) struct emitter emitter;
	struct run_progress progress = {
		.slot = slot, .redis = slot->env.redis, .lease = lease, .emitter = &emitter
	};
	int64_t began_ms = clock_mono_ms();
	int64_t deadline_ms = began_ms + job_timeout_ms(app->config, job);
	enum queue_settle_kind kind = SETTLE_SUCCEED;
	enum job_status status = JOB_SUCCEEDED;
	struct queue_settle request;
	struct err failure = ERR_INIT;
	enum retry_verdict verdict;
	const char *outcome;
	bool done;

	slot->waits = false;
	metric_observe(app->m.wait_seconds, METRIC_VALUES(job->type),
		       (double)run_waited_ms(job, lease->entry) / 1e3);
	emitter_init(&emitter, slot->env.redis, lease, app->config->stream_coalesce_ms,
		     app->config->stream_max_events);
	running_begin(&app->running, slot->index, lease, deadline_ms);
	done = call_handler(&progress, job, payload, deadline_ms, &result, &failure);
	log_field("step", NULL);
	verdict = retry_decide(done ? NULL : &failure, running_reason(&app->running, slot->index),
			       &kind);
	fill_settle(app->config, kind, done ? NULL : &failure,
		    done ? str_make(result.data, result.len) : str_make(NULL, 0), &request);
	request.stream_whole = emitter.whole;
	/* The keeper renews until the job is settled. */
	if (verdict == RETRY_SETTLE && settle(slot, lease, &request, &status)) {
		outcome = job_status_name(status);
		slot->waits =
			(kind == SETTLE_WAIT || kind == SETTLE_OUTAGE) && status == JOB_RETRYING;
		slot->retry_after_ms = failure.retry_after_ms;
		log_outcome(status, done ? NULL : &failure, clock_mono_ms() - began_ms);
		if (status == JOB_SUCCEEDED || status == JOB_CANCELLED)
			job_settled(&slot->env, job, payload);
	} else {
		outcome = "dropped";
		log_info("dropped: another start of this job has won, or will");
	}
	running_end(&app->running, slot->index);
	metric_add(app->m.jobs_total, METRIC_VALUES(job->type, outcome), 1);
	metric_observe(app->m.run_seconds, METRIC_VALUES(job->type),
		       (double)(clock_mono_ms() - began_ms) / 1e3);
}
