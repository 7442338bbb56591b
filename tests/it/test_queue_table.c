/*
 * The table of the queue's scripts: every call x every state of a job x (right, wrong epoch) x called twice x Redis at
 * maxmemory x a job that streams. Each cell says what is answered and what the job is afterwards; the whole queue is verified after each call.
 *
 * A cell is "<answer> <status>": the answer is "ok", a word of the call, or an error code's wire name; the status is that
 * of the job, "-" when there is no record. The second call must leave the record exactly as the first left it, unless the
 * call is one whose repetition is a new request (marked).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/mem.h"
#include "common/queue_stream.h"
#include "tests/support/must.h"
#include "tests/support/queue_check.h"
#include "tests/support/queue_kit.h"

/* Does the call and says what came, in one word. */
typedef void call_fn(const struct queue_lease *lease, char *out, size_t out_bytes);

static void
say(char *out, size_t out_bytes, bool ok, const struct err *err, const char *word)
{
	(void)snprintf(out, out_bytes, "%s", ok ? word : err_info(err->code)->wire);
}

static void
call_renew(const struct queue_lease *lease, char *out, size_t n)
{
	struct err err = ERR_INIT;
	bool cancel = false, ok = queue_renew(kit, lease, &cancel, &err);

	say(out, n, ok, &err, cancel ? "stop" : "ok");
}

static void
call_progress(const struct queue_lease *lease, char *out, size_t n)
{
	struct err err = ERR_INIT;

	say(out, n, queue_progress(kit, lease, "embed", 3, 7, &err), &err, "ok");
}

static void
call_emit(const struct queue_lease *lease, char *out, size_t n)
{
	static const char *const words[] = { [QUEUE_EMITTED] = "ok",
					     [QUEUE_EMIT_STOP] = "stop",
					     [QUEUE_EMIT_GAP] = "gap",
					     [QUEUE_EMIT_NONE] = "none" };
	const struct queue_emit emit = { .n = 1, .kind = EMIT_TOKEN, .data = STR("text") };
	enum queue_emitted emitted = QUEUE_EMITTED;
	struct err err = ERR_INIT;
	bool ok = queue_emit(kit, lease, &emit, &emitted, &err);

	say(out, n, ok, &err, words[emitted]);
}

static void
settle_as(enum queue_settle_kind kind, const struct queue_lease *lease, char *out, size_t n)
{
	struct err err = ERR_INIT;
	enum job_status status = JOB_STATUS_COUNT;
	bool ok = kit_settle(lease, kind, HOUR_MS, &status, &err);

	say(out, n, ok, &err, job_status_name(status));
}

static void
call_succeed(const struct queue_lease *lease, char *out, size_t n)
{
	settle_as(SETTLE_SUCCEED, lease, out, n);
}

static void
call_retry(const struct queue_lease *lease, char *out, size_t n)
{
	settle_as(SETTLE_RETRY, lease, out, n);
}

static void
call_fail(const struct queue_lease *lease, char *out, size_t n)
{
	settle_as(SETTLE_FAIL, lease, out, n);
}

static void
call_cancelled(const struct queue_lease *lease, char *out, size_t n)
{
	settle_as(SETTLE_CANCEL, lease, out, n);
}

static void
call_wait(const struct queue_lease *lease, char *out, size_t n)
{
	settle_as(SETTLE_WAIT, lease, out, n);
}

static void
call_outage(const struct queue_lease *lease, char *out, size_t n)
{
	settle_as(SETTLE_OUTAGE, lease, out, n);
}

static void
call_hand_back(const struct queue_lease *lease, char *out, size_t n)
{
	settle_as(SETTLE_HAND_BACK, lease, out, n);
}

static void
start_as(const struct queue_lease *lease, const char *consumer, char *out, size_t n)
{
	static const char *const words[] = { [QUEUE_STARTED] = "started",
					     [QUEUE_START_SKIPPED] = "skipped",
					     [QUEUE_START_BROKEN] = "broken",
					     [QUEUE_START_PAUSED] = "paused" };
	struct queue_entry entry;
	struct queue_lease got;

	(void)str_copy(entry.entry, sizeof(entry.entry), str_of(lease->entry));
	(void)str_copy(entry.job_id, sizeof(entry.job_id), str_of(lease->job_id));
	(void)snprintf(out, n, "%s", words[kit_start_entry(&entry, consumer, &got)]);
}

static void
call_start(const struct queue_lease *lease, char *out, size_t n)
{
	start_as(lease, "c", out, n);
}

static void
call_start_other(const struct queue_lease *lease, char *out, size_t n)
{
	start_as(lease, "other", out, n);
}

static void
call_start_paused(const struct queue_lease *lease, char *out, size_t n)
{
	MUST(queue_pause(kit, kit_queue, true, e));
	start_as(lease, "c", out, n);
	MUST(queue_pause(kit, kit_queue, false, e));
}

static void
call_cancel(const struct queue_lease *lease, char *out, size_t n)
{
	struct err err = ERR_INIT;
	struct job job;

	say(out, n, queue_cancel(kit, str_of(lease->job_id), NULL, &job, &err), &err, "ok");
}

static void
call_retry_dead(const struct queue_lease *lease, char *out, size_t n)
{
	struct err err = ERR_INIT;
	struct job job;

	say(out, n, queue_retry_dead(kit, str_of(lease->job_id), &job, &err), &err, "ok");
}

static void
call_forget(const struct queue_lease *lease, char *out, size_t n)
{
	struct err err = ERR_INIT;

	say(out, n, queue_forget(kit, str_of(lease->job_id), &err), &err, "ok");
}

static void
call_submit(const struct queue_lease *lease, char *out, size_t n)
{
	char id[JOB_ID_BYTES];
	struct queue_submit submit = kit_submission(id);
	struct queue_submitted submitted;
	struct err err = ERR_INIT;

	submit.id = lease->job_id;
	say(out, n, queue_submit(kit, &submit, &submitted, &err), &err, "ok");
}

static void
call_promote(const struct queue_lease *lease, char *out, size_t n)
{
	struct queue_keep_opts opts = kit_keep_opts();

	(void)lease;
	(void)snprintf(out, n, "%d", (int)kit_keep(&opts).promoted);
}

static void
call_reap(const struct queue_lease *lease, char *out, size_t n)
{
	struct queue_keep_opts opts = kit_keep_opts();

	(void)lease;
	opts.lease_ms = 0;
	opts.may_reap = true;
	(void)snprintf(out, n, "%d", (int)kit_keep(&opts).reaped);
}

static void
call_sweep(const struct queue_lease *lease, char *out, size_t n)
{
	struct queue_keep_opts opts = kit_keep_opts();

	(void)lease;
	opts.done_max_age_ms = 0;
	opts.dead_max_age_ms = 0;
	(void)snprintf(out, n, "%d", (int)kit_keep(&opts).swept);
}

static void
call_sweep_bytes(const struct queue_lease *lease, char *out, size_t n)
{
	struct queue_keep_opts opts = kit_keep_opts();

	(void)lease;
	opts.done_max_bytes = 0;
	(void)snprintf(out, n, "%d", (int)kit_keep(&opts).swept);
}

struct row {
	const char *name;
	call_fn *call;
	bool fenced;  /* answers STALE to a wrong epoch or entry */
	bool due_now; /* scheduled and retrying jobs are made due */
	bool moves;   /* the record may change at each call (progress, a new entry) */
	const char *first[KIT_STATES];
	const char *second[KIT_STATES]; /* NULL = the same as the first */
	const char *full;		/* at maxmemory, from KIT_NONE: NULL = the same */
	const char *full_running;	/* from KIT_RUNNING */
	bool streams;			/* only for jobs that stream */
};

#define STALE_OUTSIDE                                                                              \
	[KIT_SCHEDULED] = "STALE scheduled", [KIT_QUEUED] = "STALE queued",                        \
	[KIT_DELIVERED] = "STALE queued", [KIT_EXPIRED] = "STALE expired", [KIT_NONE] = "STALE -"
#define STALE_ENDED                                                                                \
	[KIT_RETRYING] = "STALE retrying", [KIT_SUCCEEDED] = "STALE succeeded",                    \
	[KIT_FAILED] = "STALE failed", [KIT_CANCELLED] = "STALE cancelled"

static const struct row rows[] = {
	{ "renew", call_renew, .fenced = true,
	  .first = { STALE_OUTSIDE, STALE_ENDED, [KIT_RUNNING] = "ok running",
		     [KIT_CANCELLING] = "stop cancelling" } },
	{ "progress", call_progress, .fenced = true, .moves = true,
	  .first = { STALE_OUTSIDE, STALE_ENDED, [KIT_RUNNING] = "ok running",
		     [KIT_CANCELLING] = "ok cancelling" } },
	{ "emit", call_emit, .fenced = true, .streams = true,
	  .first = { STALE_OUTSIDE, STALE_ENDED, [KIT_RUNNING] = "ok running",
		     [KIT_CANCELLING] = "stop cancelling" },
	  .full_running = "REDIS_FULL running" },
	{ "settle succeed", call_succeed, .fenced = true,
	  .first = { STALE_OUTSIDE, [KIT_RUNNING] = "succeeded succeeded",
		     [KIT_CANCELLING] = "succeeded succeeded", [KIT_RETRYING] = "STALE retrying",
		     [KIT_SUCCEEDED] = "succeeded succeeded", [KIT_FAILED] = "STALE failed",
		     [KIT_CANCELLED] = "STALE cancelled" } },
	{ "settle retry", call_retry, .fenced = true,
	  .first = { STALE_OUTSIDE, [KIT_RUNNING] = "retrying retrying",
		     [KIT_CANCELLING] = "cancelled cancelled", [KIT_RETRYING] = "retrying retrying",
		     [KIT_SUCCEEDED] = "STALE succeeded", [KIT_FAILED] = "STALE failed",
		     [KIT_CANCELLED] = "STALE cancelled" } },
	{ "settle fail", call_fail, .fenced = true,
	  .first = { STALE_OUTSIDE, [KIT_RUNNING] = "failed failed",
		     [KIT_CANCELLING] = "cancelled cancelled", [KIT_RETRYING] = "STALE retrying",
		     [KIT_SUCCEEDED] = "STALE succeeded", [KIT_FAILED] = "failed failed",
		     [KIT_CANCELLED] = "STALE cancelled" } },
	{ "settle cancel", call_cancelled, .fenced = true,
	  .first = { STALE_OUTSIDE, [KIT_RUNNING] = "cancelled cancelled",
		     [KIT_CANCELLING] = "cancelled cancelled", [KIT_RETRYING] = "STALE retrying",
		     [KIT_SUCCEEDED] = "STALE succeeded", [KIT_FAILED] = "STALE failed",
		     [KIT_CANCELLED] = "cancelled cancelled" } },
	{ "settle wait", call_wait, .fenced = true,
	  .first = { STALE_OUTSIDE, STALE_ENDED, [KIT_RUNNING] = "retrying retrying",
		     [KIT_CANCELLING] = "cancelled cancelled" } },
	{ "settle outage", call_outage, .fenced = true,
	  .first = { STALE_OUTSIDE, STALE_ENDED, [KIT_RUNNING] = "retrying retrying",
		     [KIT_CANCELLING] = "cancelled cancelled" } },
	{ "settle hand back", call_hand_back, .fenced = true,
	  .first = { STALE_OUTSIDE, STALE_ENDED, [KIT_RUNNING] = "queued queued",
		     [KIT_CANCELLING] = "cancelled cancelled" } },
	{ "start", call_start,
	  .first = { [KIT_SCHEDULED] = "skipped scheduled",
		     [KIT_QUEUED] = "skipped queued",
		     [KIT_DELIVERED] = "started running",
		     [KIT_RUNNING] = "started running",
		     [KIT_RETRYING] = "skipped retrying",
		     [KIT_CANCELLING] = "started cancelling",
		     [KIT_SUCCEEDED] = "skipped succeeded",
		     [KIT_FAILED] = "skipped failed",
		     [KIT_CANCELLED] = "skipped cancelled",
		     [KIT_EXPIRED] = "skipped expired",
		     [KIT_NONE] = "skipped -" } },
	{ "start by another", call_start_other,
	  .first = { [KIT_SCHEDULED] = "skipped scheduled",
		     [KIT_QUEUED] = "skipped queued",
		     [KIT_DELIVERED] = "skipped queued",
		     [KIT_RUNNING] = "skipped running",
		     [KIT_RETRYING] = "skipped retrying",
		     [KIT_CANCELLING] = "skipped cancelling",
		     [KIT_SUCCEEDED] = "skipped succeeded",
		     [KIT_FAILED] = "skipped failed",
		     [KIT_CANCELLED] = "skipped cancelled",
		     [KIT_EXPIRED] = "skipped expired",
		     [KIT_NONE] = "skipped -" } },
	{ "start while paused", call_start_paused,
	  .first = { [KIT_SCHEDULED] = "skipped scheduled",
		     [KIT_QUEUED] = "skipped queued",
		     [KIT_DELIVERED] = "paused queued",
		     [KIT_RUNNING] = "started running",
		     [KIT_RETRYING] = "skipped retrying",
		     [KIT_CANCELLING] = "started cancelling",
		     [KIT_SUCCEEDED] = "skipped succeeded",
		     [KIT_FAILED] = "skipped failed",
		     [KIT_CANCELLED] = "skipped cancelled",
		     [KIT_EXPIRED] = "skipped expired",
		     [KIT_NONE] = "skipped -" },
	  .second = { [KIT_DELIVERED] = "skipped queued" } },
	{ "cancel", call_cancel,
	  .first = { [KIT_SCHEDULED] = "ok cancelled",
		     [KIT_QUEUED] = "ok cancelled",
		     [KIT_DELIVERED] = "ok cancelled",
		     [KIT_RUNNING] = "ok cancelling",
		     [KIT_RETRYING] = "ok cancelled",
		     [KIT_CANCELLING] = "ok cancelling",
		     [KIT_SUCCEEDED] = "ALREADY_FINAL succeeded",
		     [KIT_FAILED] = "ALREADY_FINAL failed",
		     [KIT_CANCELLED] = "ok cancelled",
		     [KIT_EXPIRED] = "ALREADY_FINAL expired",
		     [KIT_NONE] = "NOT_FOUND -" } },
	{ "retry dead", call_retry_dead,
	  .first = { [KIT_SCHEDULED] = "CONFLICT scheduled",
		     [KIT_QUEUED] = "CONFLICT queued",
		     [KIT_DELIVERED] = "CONFLICT queued",
		     [KIT_RUNNING] = "CONFLICT running",
		     [KIT_RETRYING] = "CONFLICT retrying",
		     [KIT_CANCELLING] = "CONFLICT cancelling",
		     [KIT_SUCCEEDED] = "CONFLICT succeeded",
		     [KIT_FAILED] = "ok queued",
		     [KIT_CANCELLED] = "CONFLICT cancelled",
		     [KIT_EXPIRED] = "CONFLICT expired",
		     [KIT_NONE] = "NOT_FOUND -" } },
	{ "forget", call_forget,
	  .first = { [KIT_SCHEDULED] = "NOT_FINAL scheduled",
		     [KIT_QUEUED] = "NOT_FINAL queued",
		     [KIT_DELIVERED] = "NOT_FINAL queued",
		     [KIT_RUNNING] = "NOT_FINAL running",
		     [KIT_RETRYING] = "NOT_FINAL retrying",
		     [KIT_CANCELLING] = "NOT_FINAL cancelling",
		     [KIT_SUCCEEDED] = "ok -",
		     [KIT_FAILED] = "ok -",
		     [KIT_CANCELLED] = "ok -",
		     [KIT_EXPIRED] = "ok -",
		     [KIT_NONE] = "NOT_FOUND -" },
	  .second = { [KIT_SUCCEEDED] = "NOT_FOUND -",
		      [KIT_FAILED] = "NOT_FOUND -",
		      [KIT_CANCELLED] = "NOT_FOUND -",
		      [KIT_EXPIRED] = "NOT_FOUND -" } },
	{ "submit", call_submit,
	  .first = { [KIT_SCHEDULED] = "ok scheduled",
		     [KIT_QUEUED] = "ok queued",
		     [KIT_DELIVERED] = "ok queued",
		     [KIT_RUNNING] = "ok running",
		     [KIT_RETRYING] = "ok retrying",
		     [KIT_CANCELLING] = "ok cancelling",
		     [KIT_SUCCEEDED] = "ok succeeded",
		     [KIT_FAILED] = "ok failed",
		     [KIT_CANCELLED] = "ok cancelled",
		     [KIT_EXPIRED] = "ok expired",
		     [KIT_NONE] = "ok queued" },
	  .full = "REDIS_FULL -" },
	{ "promote", call_promote, .due_now = true,
	  .first = { [KIT_SCHEDULED] = "1 queued",
		     [KIT_QUEUED] = "0 queued",
		     [KIT_DELIVERED] = "0 queued",
		     [KIT_RUNNING] = "0 running",
		     [KIT_RETRYING] = "1 queued",
		     [KIT_CANCELLING] = "0 cancelling",
		     [KIT_SUCCEEDED] = "0 succeeded",
		     [KIT_FAILED] = "0 failed",
		     [KIT_CANCELLED] = "0 cancelled",
		     [KIT_EXPIRED] = "0 expired",
		     [KIT_NONE] = "0 -" },
	  .second = { [KIT_SCHEDULED] = "0 queued", [KIT_RETRYING] = "0 queued" } },
	{ "promote too early", call_promote,
	  .first = { [KIT_SCHEDULED] = "0 scheduled",
		     [KIT_QUEUED] = "0 queued",
		     [KIT_DELIVERED] = "0 queued",
		     [KIT_RUNNING] = "0 running",
		     [KIT_RETRYING] = "0 retrying",
		     [KIT_CANCELLING] = "0 cancelling",
		     [KIT_SUCCEEDED] = "0 succeeded",
		     [KIT_FAILED] = "0 failed",
		     [KIT_CANCELLED] = "0 cancelled",
		     [KIT_EXPIRED] = "0 expired",
		     [KIT_NONE] = "0 -" } },
	{ "reap", call_reap,
	  .first = { [KIT_SCHEDULED] = "0 scheduled",
		     [KIT_QUEUED] = "0 queued",
		     [KIT_DELIVERED] = "0 queued",
		     [KIT_RUNNING] = "1 retrying",
		     [KIT_RETRYING] = "0 retrying",
		     [KIT_CANCELLING] = "1 cancelled",
		     [KIT_SUCCEEDED] = "0 succeeded",
		     [KIT_FAILED] = "0 failed",
		     [KIT_CANCELLED] = "0 cancelled",
		     [KIT_EXPIRED] = "0 expired",
		     [KIT_NONE] = "0 -" },
	  .second = { [KIT_RUNNING] = "0 retrying", [KIT_CANCELLING] = "0 cancelled" } },
	{ "sweep by age", call_sweep,
	  .first = { [KIT_SCHEDULED] = "0 scheduled",
		     [KIT_QUEUED] = "0 queued",
		     [KIT_DELIVERED] = "0 queued",
		     [KIT_RUNNING] = "0 running",
		     [KIT_RETRYING] = "0 retrying",
		     [KIT_CANCELLING] = "0 cancelling",
		     [KIT_SUCCEEDED] = "1 -",
		     [KIT_FAILED] = "1 -",
		     [KIT_CANCELLED] = "1 -",
		     [KIT_EXPIRED] = "1 -",
		     [KIT_NONE] = "0 -" },
	  .second = { [KIT_SUCCEEDED] = "0 -",
		      [KIT_FAILED] = "0 -",
		      [KIT_CANCELLED] = "0 -",
		      [KIT_EXPIRED] = "0 -" } },
	/* Only results of finished jobs count, so only they are given up for them. */
	{ "sweep by bytes", call_sweep_bytes,
	  .first = { [KIT_SCHEDULED] = "0 scheduled",
		     [KIT_QUEUED] = "0 queued",
		     [KIT_DELIVERED] = "0 queued",
		     [KIT_RUNNING] = "0 running",
		     [KIT_RETRYING] = "0 retrying",
		     [KIT_CANCELLING] = "0 cancelling",
		     [KIT_SUCCEEDED] = "1 -",
		     [KIT_FAILED] = "0 failed",
		     [KIT_CANCELLED] = "0 cancelled",
		     [KIT_EXPIRED] = "0 expired",
		     [KIT_NONE] = "0 -" },
	  .second = { [KIT_SUCCEEDED] = "0 -" } },
};

/* The record as text, for comparison; "" when there is none. */
static void
dump(const char *id, char *out, size_t out_bytes)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	size_t used = 0;

	MUST(REDIS_CALL(kit, &reply, e, "HGETALL", key_job(kit_queue, str_of(id)).text));
	out[0] = '\0';
	for (size_t i = 0; i < reply_len(reply) && used < out_bytes; i++) {
		struct str text = { 0 };

		(void)reply_str(reply_at(reply, i), &text);
		used += (size_t)snprintf(out + used, out_bytes - used, STR_FMT "|", STR_ARG(text));
	}
	assert_true(used < out_bytes);
}

static void
call_once(const struct row *row, const struct queue_lease *lease, bool full, const char *expected,
	  const char *where)
{
	char answer[64], cell[128];

	if (full)
		MUST(REDIS_CALL(kit, NULL, e, "CONFIG", "SET", "maxmemory", "1"));
	row->call(lease, answer, sizeof(answer));
	if (full)
		MUST(REDIS_CALL(kit, NULL, e, "CONFIG", "SET", "maxmemory", "0"));
	(void)snprintf(cell, sizeof(cell), "%s %s", answer,
		       kit_exists(lease->job_id) ? job_status_name(kit_status(lease->job_id))
						 : "-");
	if (strcmp(cell, expected) != 0)
		fail_msg("%s: expected '%s', got '%s'", where, expected, cell);
	queue_check(kit, kit_queue, where, NULL);
}

static void
run_cell(const struct row *row, enum kit_state state, bool full, bool streams)
{
	const char *first = row->first[state];
	const char *second = row->second[state] ? row->second[state] : first;
	char where[128], once[2048], twice[2048];
	struct queue_lease lease;
	void *unused = NULL;

	if (row->streams && !streams)
		return;
	(void)snprintf(where, sizeof(where), "%s, %s%s%s", row->name, kit_state_names[state],
		       streams ? ", streams" : "", full ? ", at maxmemory" : "");
	assert_non_null(first);
	if (full && state == KIT_NONE && row->full)
		first = second = row->full;
	if (full && state == KIT_RUNNING && row->full_running)
		first = second = row->full_running;
	(void)kit_clear(&unused);
	kit_streams = streams;
	kit_make(state, row->due_now ? 1 : HOUR_MS, &lease);
	if (row->due_now && state != KIT_NONE)
		kit_await(kit_job(lease.job_id).due_ms);
	else
		kit_await(kit_now()); /* what has just ended is a moment old */
	call_once(row, &lease, full, first, where);
	dump(lease.job_id, once, sizeof(once));
	call_once(row, &lease, full, second, where);
	dump(lease.job_id, twice, sizeof(twice));
	/* a queued job that start has put back, or reap, gets a new entry each time */
	bool new_entry = state == KIT_DELIVERED && row->call == call_reap;

	if (!row->moves && !new_entry && strcmp(once, twice) != 0)
		fail_msg("%s: the second call changed the record:\n%s\n%s", where, once, twice);
}

static void
every_call_in_every_state(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (int s = 0; s < KIT_STATES; s++)
			run_cell(&rows[i], (enum kit_state)s, false, false);
	}
}

static void
every_call_at_maxmemory(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (int s = 0; s < KIT_STATES; s++)
			run_cell(&rows[i], (enum kit_state)s, true, false);
	}
}

static void
every_call_on_a_job_that_streams(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (int s = 0; s < KIT_STATES * 2; s++)
			run_cell(&rows[i], (enum kit_state)(s / 2), s % 2 == 1, true);
	}
}

/* One thing wrong with a lease that would else be good. */
static void
spoil(struct queue_lease *lease, int how)
{
	if (how == 0) {
		lease->epoch++;
	} else if (how == 1) {
		lease->epoch--;
	} else { /* the entry of another job */
		char id[JOB_ID_BYTES];

		kit_submit(id);
		(void)str_copy(lease->entry, sizeof(lease->entry), str_of(kit_job(id).entry));
	}
}

static void
wrong_leases_change_nothing(void **state)
{
	char before[2048], after[2048], answer[64], where[128];
	struct queue_lease lease;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (int s = 0; s < KIT_STATES * 3 && rows[i].fenced; s++) {
			enum kit_state from = (enum kit_state)(s / 3);

			(void)snprintf(where, sizeof(where), "%s, %s, wrong lease %d", rows[i].name,
				       kit_state_names[from], s % 3);
			/* what was settled by this very epoch is answered again, whatever the entry */
			if (s % 3 == 2 && from != KIT_RUNNING && from != KIT_CANCELLING)
				continue;
			(void)kit_clear(state);
			kit_streams = rows[i].streams;
			kit_make(from, HOUR_MS, &lease);
			dump(lease.job_id, before, sizeof(before));
			spoil(&lease, s % 3);
			rows[i].call(&lease, answer, sizeof(answer));
			if (strcmp(answer, "STALE") != 0)
				fail_msg("%s: answered '%s'", where, answer);
			dump(lease.job_id, after, sizeof(after));
			assert_string_equal(before, after);
			queue_check(kit, kit_queue, where, NULL);
		}
	}
}

extern const char embed_promote_lua[], embed_reap_lua[], embed_sweep_lua[];

/* Runs a keeper's script on the one job that is there, with these arguments and then the item's. */
static int64_t
keeper_script(const char *text, const enum queue_key *sets, size_t set_count, bool with_result,
	      const char *const *arguments, const struct queue_lease *lease, bool with_entry)
{
	const struct redis_script script = { "keeper", text };
	struct str id = str_of(lease->job_id);
	struct key keys[5], job = key_job(kit_queue, id), in = key_payload(kit_queue, id);
	struct key out = key_result(kit_queue, id), events = key_events(kit_queue, id);
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct redis_cmd cmd;
	int64_t count = -1;

	redis_script_init(&cmd, &script, set_count + (with_result ? 4 : 3));
	for (size_t i = 0; i < set_count; i++) {
		keys[i] = key_queue(kit_queue, sets[i]);
		redis_arg_c(&cmd, keys[i].text);
	}
	redis_arg_c(&cmd, job.text);
	redis_arg_c(&cmd, in.text);
	if (with_result)
		redis_arg_c(&cmd, out.text);
	redis_arg_c(&cmd, events.text);
	for (size_t i = 0; arguments[i]; i++)
		redis_arg_c(&cmd, arguments[i]);
	if (with_entry)
		redis_arg_c(&cmd, lease->entry);
	redis_arg(&cmd, id);
	if (with_entry)
		redis_arg_c(&cmd, "poison");
	MUST(redis_run_script(kit, &cmd, &script, &reply, e));
	assert_true(reply_i64(reply, &count) || reply_i64(reply_at(reply, 0), &count));
	return count;
}

/* The keepers' scripts look at every item again: what has changed since its id was read is left alone. */
static void
keepers_look_again(void **state)
{
	static const enum queue_key promote[] = { QK_READY, QK_DUE, QK_DONE, QK_STAT };
	static const enum queue_key reap[] = { QK_READY, QK_DUE, QK_DEAD, QK_DONE, QK_STAT };
	static const enum queue_key sweep[] = { QK_DONE, QK_DEAD, QK_STAT };
	static const char *const promote_args[] = { KEYS_CHANNEL, NULL };
	static const char *const reap_args[] = { "workers", "3600000", "1",	     "1",
						 "1",	    "POISON",  KEYS_CHANNEL, NULL };
	static const char *const sweep_args[] = { "3600000", "3600000", "1000000", KEYS_CHANNEL,
						  NULL };
	char before[2048], after[2048];

	for (int s = 0; s < KIT_STATES; s++) {
		struct queue_lease lease;

		(void)kit_clear(state);
		kit_make((enum kit_state)s, 60000, &lease);
		dump(lease.job_id, before, sizeof(before));
		assert_int_equal(keeper_script(embed_promote_lua, promote, 4, false, promote_args,
					       &lease, false),
				 0);
		assert_int_equal(keeper_script(embed_reap_lua, reap, 5, true, reap_args, &lease,
					       true),
				 0);
		assert_int_equal(keeper_script(embed_sweep_lua, sweep, 3, true, sweep_args, &lease,
					       false),
				 0);
		dump(lease.job_id, after, sizeof(after));
		assert_string_equal(before, after);
		queue_check(kit, kit_queue, kit_state_names[s], NULL);
	}
}

/* A refused submission leaves no key behind. */
static void
a_refused_submit_writes_nothing(void **state)
{
	char id[JOB_ID_BYTES];
	struct queue_submit submit = kit_submission(id);
	struct queue_submitted submitted;
	struct err err = ERR_INIT;
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	int64_t before = 0, after = 0;

	(void)state;
	submit.idem_hash = STR("0123456789abcdef");
	submit.fingerprint = STR("f");
	MUST(REDIS_CALL(kit, &reply, e, "DBSIZE"));
	assert_true(reply_i64(reply, &before));
	MUST(REDIS_CALL(kit, NULL, e, "CONFIG", "SET", "maxmemory", "1"));
	for (int delayed = 0; delayed < 2; delayed++) {
		submit.delay_ms = delayed * HOUR_MS;
		assert_false(queue_submit(kit, &submit, &submitted, &err));
		assert_int_equal(err.code, ERR_REDIS_FULL);
	}
	reply_free(TAKE(reply));
	MUST(REDIS_CALL(kit, &reply, e, "DBSIZE"));
	assert_true(reply_i64(reply, &after));
	assert_int_equal(before, after);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(every_call_in_every_state, kit_clear),
		cmocka_unit_test_setup(every_call_at_maxmemory, kit_clear),
		cmocka_unit_test_setup(every_call_on_a_job_that_streams, kit_clear),
		cmocka_unit_test_setup(wrong_leases_change_nothing, kit_clear),
		cmocka_unit_test_setup(keepers_look_again, kit_clear),
		cmocka_unit_test_setup(a_refused_submit_writes_nothing, kit_clear),
	};

	return cmocka_run_group_tests(tests, kit_start, kit_stop);
}
