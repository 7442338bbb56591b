/*
 * Stories of the queue: what a client, a worker, a keeper and an operator see. The invariants are verified after each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/events.h"
#include "tests/support/must.h"
#include "tests/support/queue_check.h"
#include "tests/support/queue_kit.h"

#define CHECK() queue_check(kit, kit_queue, __func__, NULL)

static struct queue_stats
stats(void)
{
	struct queue_stats out;

	MUST(queue_stats(kit, kit_queue, 30000, &out, e));
	return out;
}

static void
settle(const struct queue_lease *lease, enum queue_settle_kind kind, int64_t due_ms,
       enum job_status expected)
{
	enum job_status status = JOB_STATUS_COUNT;

	MUST(kit_settle(lease, kind, due_ms, &status, e));
	assert_string_equal(job_status_name(status), job_status_name(expected));
	assert_string_equal(job_status_name(kit_status(lease->job_id)), job_status_name(expected));
}

static void
assert_stale(const struct queue_lease *lease)
{
	struct err err = ERR_INIT;
	enum job_status status;
	bool cancel;

	assert_false(queue_renew(kit, lease, &cancel, &err));
	assert_int_equal(err.code, ERR_STALE);
	assert_false(queue_progress(kit, lease, "embed", 1, 2, &err));
	assert_int_equal(err.code, ERR_STALE);
	assert_false(kit_settle(lease, SETTLE_SUCCEED, 0, &status, &err));
	assert_int_equal(err.code, ERR_STALE);
}

/* All leases are over, at once. */
static int64_t
reap(void)
{
	struct queue_keep_opts opts = kit_keep_opts();

	opts.lease_ms = 0;
	opts.may_reap = true;
	return kit_keep(&opts).reaped;
}

static int64_t
promote_due(const char *id)
{
	struct queue_keep_opts opts = kit_keep_opts();

	kit_await(kit_job(id).due_ms);
	return kit_keep(&opts).promoted;
}

/* ---- the straight way ---- */

static void
happy(void **state)
{
	char id[JOB_ID_BYTES];
	struct queue_lease lease;
	AUTO(arena) struct arena arena;
	struct str result;
	struct job job;
	bool cancel = true;

	(void)state;
	arena_init(&arena, 1 << 20);
	assert_false(kit_take("w1", &lease));
	kit_submit(id);
	job = kit_job(id);
	assert_string_equal(job.id, id);
	assert_string_equal(job.type, "ingest");
	assert_string_equal(job.collection, "default");
	assert_int_equal(job.status, JOB_QUEUED);
	assert_int_equal(job.version, 1);
	assert_int_equal(job.epoch, 0);
	assert_true(job.payload_bytes > 0);
	assert_true(job.created_ms > 0 && job.started_ms == 0 && job.finished_ms == 0);
	CHECK();
	assert_true(kit_take("w1", &lease));
	assert_int_equal(lease.epoch, 1);
	job = kit_job(id);
	assert_int_equal(job.status, JOB_RUNNING);
	assert_int_equal(job.starts, 1);
	assert_string_equal(job.worker, "w1");
	assert_true(job.started_ms >= job.created_ms);
	MUST(queue_renew(kit, &lease, &cancel, e));
	assert_false(cancel);
	MUST(queue_progress(kit, &lease, "embed", 3, 7, e));
	job = kit_job(id);
	assert_string_equal(job.stage, "embed");
	assert_int_equal(job.progress_done, 3);
	assert_int_equal(job.progress_total, 7);
	CHECK();

	int64_t version = job.version;

	settle(&lease, SETTLE_SUCCEED, 0, JOB_SUCCEEDED);
	job = kit_job(id);
	assert_true(job.version > version);
	assert_true(job.finished_ms >= job.started_ms);
	assert_int_equal(job.payload_bytes, 0);
	assert_int_equal(job.error, ERR_NONE);
	MUST(queue_result(kit, &job, 1000, &arena, &result, e));
	assert_true(str_eq_c(result, "result"));
	assert_int_equal(kit_number("EXISTS", key_payload(kit_queue, str_of(id)).text), 0);
	assert_true(kit_number("PTTL", key_result(kit_queue, str_of(id)).text) > HOUR_MS - 60000);
	assert_stale(&(struct queue_lease){ .queue = kit_queue, .epoch = 2 });
	CHECK();
}

/* Small and large payloads and results come back as they were given; the bytes are counted as stored. */
static void
payloads_and_results(void **state)
{
	static const size_t sizes[] = { 0, 1, 511, 512, 5000, 300000 };
	AUTO(arena) struct arena arena;

	(void)state;
	arena_init(&arena, 4 << 20);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		char id[JOB_ID_BYTES];
		char *bytes = mem_alloc(sizes[i] + 1);
		struct queue_submit submit = kit_submission(id);
		struct queue_submitted submitted;
		struct queue_settle done = { .result_ttl_ms = HOUR_MS };
		const struct queue_start how = { "w", 1 << 20, &arena };
		struct queue_started started;
		struct job job;
		struct str back;
		enum job_status status;
		struct queue_entry entry;

		for (size_t k = 0; k < sizes[i]; k++)
			bytes[k] = (char)(k % 251);
		submit.payload = str_make(bytes, sizes[i]);
		MUST(queue_submit(kit, &submit, &submitted, e));
		CHECK();
		assert_true(kit_fetch("w", &entry));
		MUST(queue_start(kit, kit_queue, &entry, &how, &started, e));
		assert_int_equal(started.result, QUEUE_STARTED);
		assert_true(str_eq(started.payload, submit.payload));
		done.result = submit.payload;
		MUST(queue_settle(kit, &started.lease, &done, &status, e));
		job = kit_job(id);
		if (sizes[i] == 300000) {
			struct err err = ERR_INIT;

			assert_true(job.result_bytes < 300000); /* zstd */
			assert_false(queue_result(kit, &job, 1000, &arena, &back, &err));
			assert_int_equal(err.code, ERR_TOO_LARGE);
		}
		MUST(queue_result(kit, &job, 1 << 20, &arena, &back, e));
		assert_true(str_eq(back, submit.payload));
		CHECK();
		mem_free(bytes);
		arena_reset(&arena);
	}
}

/* A payload that cannot be had is no reason to try until the job is poison: it is dead at once, and says why. */
static void
broken_payloads(void **state)
{
	struct queue_entry entry;
	AUTO(arena) struct arena arena;

	(void)state;
	arena_init(&arena, 1 << 20);
	for (int missing = 0; missing < 2; missing++) {
		const struct queue_start how = { "w", 1 << 20, &arena };
		struct queue_started started = { .result = QUEUE_STARTED };
		char id[JOB_ID_BYTES];
		struct err why;
		struct job job;

		kit_submit(id);

		struct key key = key_payload(kit_queue, str_of(id));

		if (missing)
			MUST(REDIS_CALL(kit, NULL, e, "DEL", key.text));
		else
			MUST(REDIS_CALL(kit, NULL, e, "SETRANGE", key.text, "0", "?"));
		assert_true(kit_fetch("w", &entry));
		MUST(queue_start(kit, kit_queue, &entry, &how, &started, e));
		assert_int_equal(started.result, QUEUE_START_BROKEN);
		job = started.job;
		assert_int_equal(job.status, JOB_FAILED);
		assert_int_equal(job.error, ERR_CORRUPT);
		assert_string_equal(job.id, id);
		job = kit_job(id);
		assert_int_equal(job.status, JOB_FAILED);
		assert_int_equal(job.error, ERR_CORRUPT);
		(void)queue_last_error(kit, &job, &why);
		assert_int_equal(why.code, ERR_CORRUPT);
		if (missing)
			MUST(queue_forget(kit, str_of(id),
					  e)); /* a dead job without payload: nothing to verify */
	}
	CHECK();
}

/* Two lost replies: the call is made again and answers the same. */
static void
lost_replies(void **state)
{
	char id[JOB_ID_BYTES];
	struct queue_submit submit = kit_submission(id);
	struct queue_submitted submitted;
	struct queue_entry entry;
	struct queue_lease first, again;
	enum job_status status;

	(void)state;
	for (int i = 0; i < 2; i++) {
		MUST(queue_submit(kit, &submit, &submitted, e));
		assert_string_equal(submitted.id, id);
		assert_false(submitted.replayed);
	}
	assert_int_equal(stats().waiting, 1);
	assert_true(kit_fetch("w", &entry));
	assert_int_equal(kit_start_entry(&entry, "w", &first), QUEUE_STARTED);
	assert_int_equal(kit_start_entry(&entry, "w", &again), QUEUE_STARTED);
	assert_int_equal(first.epoch, again.epoch);
	assert_int_equal(kit_job(id).starts, 1);
	settle(&first, SETTLE_RETRY, HOUR_MS, JOB_RETRYING);
	MUST(kit_settle(&first, SETTLE_RETRY, HOUR_MS, &status, e));
	assert_int_equal(kit_job(id).failures, 1);
	CHECK();
}

/* ---- failing ---- */

static void
retries_until_dead(void **state)
{
	char id[JOB_ID_BYTES];
	struct queue_lease lease, old = { 0 };
	struct err why;
	struct job job;

	(void)state;
	kit_submit(id);
	for (int i = 1; i <= 3; i++) {
		assert_true(kit_take("w", &lease));
		assert_int_equal(lease.epoch, i);
		if (i > 1)
			assert_stale(&old);
		settle(&lease, SETTLE_RETRY, 1, i < 3 ? JOB_RETRYING : JOB_FAILED);
		job = kit_job(id);
		assert_int_equal(job.failures, i);
		assert_true(job.starts <= 1);
		assert_int_equal(job.error, ERR_TIMEOUT);
		assert_true(queue_last_error(kit, &job, &why));
		assert_int_equal(why.code, ERR_TIMEOUT);
		assert_string_equal(why.msg, "it broke");
		CHECK();
		if (i < 3) {
			assert_true(job.due_ms > 0);
			assert_int_equal(promote_due(id), 1);
			assert_int_equal(kit_status(id), JOB_QUEUED);
		}
		old = lease;
	}
	assert_true(job.payload_bytes > 0);
	/* an operator's retry: fresh budgets, but the epoch goes on */
	MUST(queue_retry_dead(kit, str_of(id), &job, e));
	assert_int_equal(job.status, JOB_QUEUED);
	assert_int_equal(job.failures, 0);
	assert_int_equal(job.starts, 0);
	assert_int_equal(job.finished_ms, 0);
	CHECK();
	assert_true(kit_take("w", &lease));
	assert_int_equal(lease.epoch, 4);
	assert_stale(&old);
	settle(&lease, SETTLE_SUCCEED, 0, JOB_SUCCEEDED);
	job = kit_job(id);
	assert_int_equal(job.error, ERR_NONE);
	CHECK();
}

static void
backoff(void **state)
{
	char id[JOB_ID_BYTES];
	struct queue_lease lease;
	struct err broke = ERR_INIT;
	int64_t longest = 0;

	(void)state;
	(void)err_set(&broke, ERR_TIMEOUT, "it broke");
	for (int round = 0; round < 40; round++) {
		struct queue_settle settle_as = { .kind = SETTLE_RETRY,
						  .error = &broke,
						  .retry_after_ms = round % 2 ? 5000 : -1,
						  .backoff_base_ms = 2000,
						  .backoff_max_ms = 3000,
						  .result_ttl_ms = HOUR_MS,
						  .dead_max_age_ms = HOUR_MS };
		enum job_status status;

		kit_submit(id);
		assert_true(kit_take("w", &lease));

		MUST(queue_settle(kit, &lease, &settle_as, &status, e));

		struct job job = kit_job(id);
		int64_t wait_ms = job.due_ms - job.updated_ms;

		if (round % 2) { /* what the failure asked for is the least */
			assert_int_equal(wait_ms, 5000);
		} else { /* anywhere up to the base: full jitter */
			assert_in_range(wait_ms, 1, 2000);
			longest = wait_ms > longest ? wait_ms : longest;
		}
	}
	assert_true(longest > 200); /* 20 draws below a tenth: one in 10^20 */
	CHECK();
}

/* A server that says "in a year" is asked again after a quarter of an hour: no job waits for longer because of what it was told. */
static void
nobody_waits_for_a_year(void **state)
{
	static const struct {
		enum queue_settle_kind kind;
		enum err_code code;
	} rows[] = { { SETTLE_WAIT, ERR_PROVIDER_LIMITED },
		     { SETTLE_OUTAGE, ERR_STORE_UNAVAILABLE },
		     { SETTLE_RETRY, ERR_PROVIDER_REPLY } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct queue_lease lease;
		struct err failure = ERR_INIT;
		char id[JOB_ID_BYTES];
		enum job_status status;
		struct job job;
		struct queue_settle year = { .kind = rows[i].kind,
					     .error = &failure,
					     .retry_after_ms = INT64_C(365) * 24 * HOUR_MS,
					     .backoff_base_ms = 1,
					     .backoff_max_ms = 1,
					     .result_ttl_ms = HOUR_MS };

		(void)err_set(&failure, rows[i].code, "come again next year");
		kit_submit(id);
		assert_true(kit_take("w", &lease));
		MUST(queue_settle(kit, &lease, &year, &status, e));
		assert_int_equal(status, JOB_RETRYING);
		job = kit_job(id);
		assert_in_range(job.due_ms - job.updated_ms, QUEUE_MAX_TOLD_MS,
				QUEUE_MAX_TOLD_MS + 1000);
		CHECK();
	}
}

/* A wait is as long as it was told, each time, however often, and the record says what for. */
static void
waits_are_as_told(void **state)
{
	struct queue_lease lease;
	struct err limited = ERR_INIT;
	char id[JOB_ID_BYTES];
	enum job_status status;
	struct job job;

	(void)state;
	(void)err_set(&limited, ERR_PROVIDER_LIMITED, "a minute's limit");
	kit_submit(id);
	for (int round = 0; round < 12; round++) {
		struct queue_settle wait = { .kind = SETTLE_WAIT,
					     .error = &limited,
					     .waiting_for = "it: requests per minute",
					     .retry_after_ms = round % 2 ? 1 : 26000,
					     .backoff_base_ms = HOUR_MS,
					     .backoff_max_ms = HOUR_MS,
					     .result_ttl_ms = HOUR_MS };

		assert_true(kit_take("w", &lease));
		assert_string_equal(kit_job(id).waiting_for, ""); /* not while it runs */
		MUST(queue_settle(kit, &lease, &wait, &status, e));
		MUST(queue_settle(kit, &lease, &wait, &status, e)); /* the answer was lost */
		assert_int_equal(status, JOB_RETRYING);
		job = kit_job(id);
		assert_string_equal(job.waiting_for, "it: requests per minute");
		assert_in_range(job.due_ms - job.updated_ms, wait.retry_after_ms,
				wait.retry_after_ms + 1000);
		assert_int_equal(job.starts, 0);
		assert_int_equal(job.failures, 0);
		assert_int_equal(job.error, ERR_PROVIDER_LIMITED);
		CHECK();
		if (round % 2 == 0) { /* not waited for here */
			struct key due = key_queue(kit_queue, QK_DUE);
			struct key key = key_job(kit_queue, str_of(id));

			MUST(REDIS_CALL(kit, NULL, e, "ZADD", due.text, "1", id));
			MUST(REDIS_CALL(kit, NULL, e, "HSET", key.text, "due", "1"));
		}
		assert_int_equal(promote_due(id), 1);
		assert_string_equal(kit_job(id).waiting_for, ""); /* it waits for a slot now */
	}
	/* the budget of failures is untouched, and a real failure ends the wait in the record */
	assert_true(kit_take("w", &lease));
	settle(&lease, SETTLE_RETRY, HOUR_MS, JOB_RETRYING);
	assert_string_equal(kit_job(id).waiting_for, "");
	assert_int_equal(kit_job(id).failures, 1);
	CHECK();
}

static void
outages_and_hand_backs_cost_nothing(void **state)
{
	char id[JOB_ID_BYTES];
	struct queue_lease lease;
	struct job job;

	(void)state;
	kit_submit(id);
	for (int i = 1; i <= 8; i++) { /* far beyond both budgets */
		assert_true(kit_take("w", &lease));
		assert_int_equal(lease.epoch, i);
		if (i % 2) {
			settle(&lease, SETTLE_OUTAGE, 1, JOB_RETRYING);
			assert_int_equal(kit_job(id).error, ERR_TIMEOUT);
			assert_int_equal(promote_due(id), 1);
		} else {
			settle(&lease, SETTLE_HAND_BACK, 0, JOB_QUEUED);
		}
		job = kit_job(id);
		assert_int_equal(job.starts, 0);
		assert_int_equal(job.failures, 0);
		CHECK();
	}
	assert_stale(&lease);
}

static void
poison(void **state)
{
	char id[JOB_ID_BYTES], worker[16];
	struct queue_lease lease;
	struct err why;
	struct job job;

	(void)state;
	kit_submit(id);
	for (int i = 1; i <= 3; i++) {
		(void)snprintf(worker, sizeof(worker), "w%d", i);
		assert_true(kit_take(worker, &lease));
		if (i == 2) { /* a failure in between is counted apart */
			settle(&lease, SETTLE_RETRY, 1, JOB_RETRYING);
			assert_int_equal(promote_due(id), 1);
			assert_true(kit_take(worker, &lease));
		}
		assert_int_equal(reap(), 1);
		assert_stale(&lease);
		job = kit_job(id);
		assert_int_equal(job.starts, i);
		assert_int_equal(job.status, i < 3 ? JOB_RETRYING : JOB_FAILED);
		CHECK();
		if (i < 3) { /* its back-off is not waited for here */
			struct key due = key_queue(kit_queue, QK_DUE);
			struct key key = key_job(kit_queue, str_of(id));

			MUST(REDIS_CALL(kit, NULL, e, "ZADD", due.text, "1", id));
			MUST(REDIS_CALL(kit, NULL, e, "HSET", key.text, "due", "1"));
			assert_int_equal(promote_due(id), 1);
		}
	}
	assert_int_equal(job.error, ERR_POISON);
	assert_string_equal(job.worker, "w3");
	assert_true(queue_last_error(kit, &job, &why));
	assert_int_equal(why.code, ERR_POISON);
	assert_non_null(strstr(why.msg, "3 times"));
	assert_true(strstr(why.msg, "w3") || strstr(why.cause, "w3"));
	assert_int_equal(stats().dead, 1);
	assert_int_equal(stats().failed_total, 1);
}

static void
errors_survive_the_way(void **state)
{
	AUTO(buf) struct buf buf = BUF_INIT(4096);
	struct err in = ERR_INIT, out = ERR_INIT;

	(void)state;
	(void)err_set(&in, ERR_PROVIDER_UNAVAILABLE, "could not reach provider 'x'");
	(void)err_cause(&in, "10.0.0.1 said no");
	(void)err_at(&in, "/top_k");
	in.detail = 503;
	in.retry_after_ms = 1234;
	queue_error_pack(&in, &buf);
	assert_true(queue_error_unpack(str_make(buf.data, buf.len), &out));
	assert_int_equal(out.code, in.code);
	assert_int_equal(out.detail, 503);
	assert_int_equal(out.retry_after_ms, 1234);
	assert_string_equal(out.msg, in.msg);
	assert_string_equal(out.cause, in.cause);
	assert_string_equal(out.pointer, in.pointer);
	for (size_t len = 0; len < buf.len; len++)
		assert_false(queue_error_unpack(str_make(buf.data, len), &out));
}

/* ---- stopping ---- */

static void
cancel_reaches_the_worker(void **state)
{
	char id[JOB_ID_BYTES];
	struct queue_lease leases[3];
	bool flags[3], stop = false;
	struct job job;

	(void)state;
	for (int i = 0; i < 3; i++) {
		kit_submit(id);
		assert_true(kit_take("w", &leases[i]));
	}
	MUST(queue_cancel(kit, str_of(leases[1].job_id), NULL, &job, e));
	assert_int_equal(job.status, JOB_CANCELLING);
	assert_true(job.cancel_requested);
	MUST(queue_cancel_flags(kit, leases, 3, flags, e));
	assert_false(flags[0]);
	assert_true(flags[1]);
	assert_false(flags[2]);
	MUST(queue_cancel_flags(kit, leases, 0, flags, e));
	MUST(queue_renew(kit, &leases[1], &stop, e));
	assert_true(stop);
	settle(&leases[1], SETTLE_CANCEL, 0, JOB_CANCELLED);
	assert_int_equal(kit_number("EXISTS",
				    key_payload(kit_queue, str_of(leases[1].job_id)).text),
			 0);
	CHECK();
}

/* A worker that dies while its job is being cancelled: the job is cancelled, not tried again. */
static void
a_lost_worker_of_a_cancelling_job(void **state)
{
	struct queue_lease lease;

	(void)state;
	kit_make(KIT_CANCELLING, 0, &lease);
	assert_int_equal(reap(), 1);
	assert_int_equal(kit_status(lease.job_id), JOB_CANCELLED);
	assert_stale(&lease);
	CHECK();
}

/* Cancelled after XREADGROUP and before start: the reader finds nothing to do, and no mark is left pending. */
static void
cancel_between_fetch_and_start(void **state)
{
	char id[JOB_ID_BYTES];
	struct queue_entry entry;
	struct queue_lease lease;
	struct job job;

	(void)state;
	kit_submit(id);
	assert_true(kit_fetch("w", &entry));
	MUST(queue_cancel(kit, str_of(id), NULL, &job, e));
	assert_int_equal(job.status, JOB_CANCELLED);
	assert_int_equal(kit_start_entry(&entry, "w", &lease), QUEUE_START_SKIPPED);
	assert_int_equal(stats().running, 0);
	CHECK();
}

static void
pausing(void **state)
{
	char id[JOB_ID_BYTES];
	struct queue_entry entry;
	struct queue_lease lease;
	bool paused = false;

	(void)state;
	kit_submit(id);
	MUST(queue_pause(kit, kit_queue, true, e));
	MUST(queue_pause(kit, kit_queue, true, e));
	MUST(queue_is_paused(kit, kit_queue, &paused, e));
	assert_true(paused);
	assert_int_equal(stats().waiting, 1);
	assert_int_equal(stats().demand, 0);
	assert_true(stats().paused);
	assert_true(kit_fetch("w", &entry));
	assert_int_equal(kit_start_entry(&entry, "w", &lease), QUEUE_START_PAUSED);
	assert_int_equal(kit_job(id).starts, 0);
	assert_int_equal(kit_job(id).epoch, 0);
	assert_int_equal(stats().running, 0);
	CHECK();
	MUST(queue_pause(kit, kit_queue, false, e));
	assert_int_equal(stats().demand, 1);
	assert_true(kit_take("w", &lease));
	assert_int_equal(lease.epoch, 1);
	CHECK();
}

/* ---- later, and too late ---- */

static void
delays(void **state)
{
	char by_delay[JOB_ID_BYTES], by_time[JOB_ID_BYTES], past[JOB_ID_BYTES];
	struct queue_submit submit = kit_submission(by_delay);
	struct queue_submitted submitted;
	struct queue_keep_opts opts = kit_keep_opts();
	struct queue_lease lease;
	int64_t now_ms = kit_now();

	(void)state;
	submit.delay_ms = HOUR_MS;
	MUST(queue_submit(kit, &submit, &submitted, e));
	submit = kit_submission(past);
	submit.run_at_unix_ms = now_ms - 1000;
	MUST(queue_submit(kit, &submit, &submitted, e));
	assert_int_equal(kit_status(past), JOB_QUEUED);
	submit = kit_submission(by_time);
	submit.run_at_unix_ms = now_ms + 20;
	MUST(queue_submit(kit, &submit, &submitted, e));
	assert_int_equal(kit_status(by_delay), JOB_SCHEDULED);
	assert_true(kit_job(by_delay).due_ms >= now_ms + HOUR_MS);
	CHECK();
	kit_await(now_ms + 20);
	(void)kit_keep(&opts);
	assert_int_equal(kit_status(by_time), JOB_QUEUED);
	assert_int_equal(kit_status(by_delay), JOB_SCHEDULED);
	assert_true(kit_take("w", &lease));
	assert_string_equal(lease.job_id, past);
	assert_true(kit_take("w", &lease));
	assert_string_equal(lease.job_id, by_time);
	assert_false(kit_take("w", &lease));
	assert_int_equal(stats().due, 1);
	assert_int_equal(stats().due_soon, 0);
	CHECK();
}

/* A job that has run once does not expire: "expired" says that it never started. */
static void
expiry(void **state)
{
	char id[JOB_ID_BYTES];
	struct queue_submit submit = kit_submission(id);
	struct queue_submitted submitted;
	struct queue_lease lease;
	struct job job;

	(void)state;
	kit_make(KIT_EXPIRED, 0, &lease);
	job = kit_job(lease.job_id);
	assert_int_equal(job.epoch, 0);
	assert_true(job.finished_ms > 0);
	assert_int_equal(stats().done, 1);
	CHECK();
	submit.expires_in_ms = HOUR_MS;
	MUST(queue_submit(kit, &submit, &submitted, e));
	assert_true(kit_take("w", &lease));
	settle(&lease, SETTLE_HAND_BACK, 0, JOB_QUEUED);
	MUST(REDIS_CALL(kit, NULL, e, "HSET", key_job(kit_queue, str_of(id)).text, "expires", "1"));
	assert_true(kit_take("w", &lease));
	assert_int_equal(lease.epoch, 2);
	CHECK();
}

/* Scheduled for later than it expires: it never becomes ready. */
static void
expiry_while_scheduled(void **state)
{
	char id[JOB_ID_BYTES];
	struct queue_submit submit = kit_submission(id);
	struct queue_submitted submitted;
	struct queue_lease lease;

	(void)state;
	submit.expires_in_ms = 1;
	submit.delay_ms = 5;
	MUST(queue_submit(kit, &submit, &submitted, e));
	assert_int_equal(kit_status(id), JOB_SCHEDULED);
	(void)promote_due(id);
	assert_false(kit_take("w", &lease));
	assert_int_equal(kit_status(id), JOB_EXPIRED);
	CHECK();
}

/* ---- submitting ---- */

static void
idempotency(void **state)
{
	char first[JOB_ID_BYTES], second[JOB_ID_BYTES];
	struct queue_submit submit = kit_submission(first);
	struct queue_submitted submitted;
	struct queue_lease lease;
	struct err err = ERR_INIT;

	(void)state;
	submit.idem_hash = STR("00112233");
	submit.fingerprint = STR("aabbcc");
	MUST(queue_submit(kit, &submit, &submitted, e));
	assert_string_equal(submitted.id, first);
	assert_false(submitted.replayed);
	MUST(queue_submit(kit, &submit, &submitted, e)); /* its own reply was lost */
	assert_string_equal(submitted.id, first);
	job_id_new(kit_queue, second);
	submit.id = second;
	submit.max_jobs = 1; /* a replay is no new job: a full queue does not refuse it */
	submit.max_bytes = 1;
	MUST(queue_submit(kit, &submit, &submitted, e));
	assert_string_equal(submitted.id, first);
	assert_true(submitted.replayed);
	assert_false(kit_exists(second));
	submit.fingerprint = STR("ddeeff");
	assert_false(queue_submit(kit, &submit, &submitted, &err));
	assert_int_equal(err.code, ERR_IDEMPOTENCY_REUSED);
	assert_false(kit_exists(second));
	/* another key, the same payload: another job */
	submit = kit_submission(second);
	submit.idem_hash = STR("445566");
	submit.fingerprint = STR("aabbcc");
	MUST(queue_submit(kit, &submit, &submitted, e));
	assert_string_equal(submitted.id, second);
	assert_false(submitted.replayed);
	/* the key outlives the job: finished and forgotten, it still does not run again */
	assert_true(kit_take("w", &lease));
	settle(&lease, SETTLE_SUCCEED, 0, JOB_SUCCEEDED);
	MUST(queue_forget(kit, str_of(first), e));

	char third[JOB_ID_BYTES];

	submit = kit_submission(third);
	submit.idem_hash = STR("00112233");
	submit.fingerprint = STR("aabbcc");
	MUST(queue_submit(kit, &submit, &submitted, e));
	assert_string_equal(submitted.id, first);
	assert_true(submitted.replayed);
	CHECK();
	/* and ends by its TTL */
	assert_true(kit_number("PTTL", key_idem(kit_queue, submit.idem_hash).text) <= HOUR_MS);
	assert_true(kit_number("PTTL", key_idem(kit_queue, submit.idem_hash).text) > 0);
}

static void
admission(void **state)
{
	char id[JOB_ID_BYTES], running[JOB_ID_BYTES];
	struct queue_submit submit = kit_submission(running);
	struct queue_submitted submitted;
	struct queue_lease lease;
	struct err err = ERR_INIT;

	(void)state;
	MUST(queue_submit(kit, &submit, &submitted, e));
	assert_true(kit_take("w", &lease));
	submit = kit_submission(id);
	submit.delay_ms = HOUR_MS;
	MUST(queue_submit(kit, &submit, &submitted, e));

	int64_t held = stats().payload_bytes;
	char refused[JOB_ID_BYTES];

	submit = kit_submission(refused);
	submit.max_jobs = 2; /* one runs, one is scheduled */
	assert_false(queue_submit(kit, &submit, &submitted, &err));
	assert_int_equal(err.code, ERR_QUEUE_FULL);
	assert_int_equal(err.retry_after_ms, -1);
	submit.max_jobs = 3;
	submit.max_bytes = held + 1;
	err_clear(&err);
	assert_false(queue_submit(kit, &submit, &submitted, &err));
	assert_int_equal(err.code, ERR_QUEUE_FULL);
	assert_false(kit_exists(refused));
	CHECK();
	settle(&lease, SETTLE_SUCCEED, 0, JOB_SUCCEEDED); /* makes room of both kinds */
	submit.max_bytes = held;
	submit.max_jobs = 2;
	MUST(queue_submit(kit, &submit, &submitted, e));
	CHECK();
}

/* ---- lost workers ---- */

static void
reaping(void **state)
{
	char id[JOB_ID_BYTES];
	struct queue_keep_opts opts = kit_keep_opts();
	struct queue_lease lease, fresh;

	(void)state;
	kit_submit(id);
	assert_true(kit_take("gone", &lease));
	opts.lease_ms = 0;
	opts.may_reap = false; /* the connection is young: nothing may be judged */
	assert_int_equal(kit_keep(&opts).reaped, 0);
	assert_int_equal(kit_status(id), JOB_RUNNING);
	opts.may_reap = true;
	opts.lease_ms = HOUR_MS; /* not idle for so long */
	assert_int_equal(kit_keep(&opts).reaped, 0);
	opts.lease_ms = 0;
	opts.backoff_base_ms = opts.backoff_max_ms = 1;
	assert_int_equal(kit_keep(&opts).reaped, 1);
	assert_stale(&lease);
	CHECK();
	assert_int_equal(promote_due(id), 1);
	assert_true(kit_take("next", &fresh));
	assert_int_equal(fresh.epoch, 2);
	assert_string_not_equal(fresh.entry, lease.entry);
	assert_stale(&lease); /* the first wakes up: too late */
	settle(&fresh, SETTLE_SUCCEED, 0, JOB_SUCCEEDED);
	assert_stale(&lease);
	assert_int_equal(stats().finished_total, 1);
	CHECK();
}

/* Reaps whose lease is older than `lease_ms`; false when this machine was so slow that a lease which began at begin_ms may
 * rightly be over. */
static bool
reap_older(int64_t lease_ms, int64_t begin_ms, int64_t *out_reaped)
{
	struct queue_keep_opts opts = kit_keep_opts();

	opts.may_reap = true;
	opts.lease_ms = lease_ms;
	*out_reaped = kit_keep(&opts).reaped;
	return kit_now() - begin_ms < lease_ms;
}

/* A renewed lease is young again. */
static void
renewing_keeps_the_lease(void **state)
{
	bool conclusive = false;

	while (!conclusive) {
		char id[JOB_ID_BYTES];
		struct queue_lease lease;
		bool cancel;
		int64_t reaped;

		(void)kit_clear(state);
		kit_submit(id);
		assert_true(kit_take("w", &lease));
		kit_await(kit_now() + 100);

		int64_t begin_ms = kit_now();

		MUST(queue_renew(kit, &lease, &cancel, e));
		conclusive = reap_older(100, begin_ms, &reaped);
		if (conclusive)
			assert_int_equal(reaped, 0);
		if (reaped == 0)
			settle(&lease, SETTLE_SUCCEED, 0, JOB_SUCCEEDED);
		CHECK();
	}
}

/* The lease begins with the start, however long ago the entry was fetched. */
static void
a_lease_begins_with_the_start(void **state)
{
	bool conclusive = false;

	while (!conclusive) {
		char id[JOB_ID_BYTES];
		struct queue_entry entry;
		struct queue_lease lease;
		int64_t reaped;

		(void)kit_clear(state);
		kit_submit(id);
		assert_true(kit_fetch("w", &entry));
		kit_await(kit_now() + 100);

		int64_t begin_ms = kit_now();

		assert_int_equal(kit_start_entry(&entry, "w", &lease), QUEUE_STARTED);
		conclusive = reap_older(100, begin_ms, &reaped);
		if (conclusive)
			assert_int_equal(reaped, 0);
		CHECK();
	}
}

/* A reader that died between XREADGROUP and start: its entry goes round again, nothing is charged. */
static void
reaping_what_never_started(void **state)
{
	struct queue_entry entry;
	struct queue_lease lease, late;

	(void)state;
	kit_make(KIT_DELIVERED, 0, &lease);
	(void)str_copy(entry.entry, sizeof(entry.entry), str_of(lease.entry));
	(void)str_copy(entry.job_id, sizeof(entry.job_id), str_of(lease.job_id));
	assert_int_equal(reap(), 0);
	assert_int_equal(stats().waiting, 1);
	assert_int_equal(kit_start_entry(&entry, "c", &late), QUEUE_START_SKIPPED);
	CHECK();
	assert_true(kit_take("w", &lease));
	assert_int_equal(lease.epoch, 1);
	assert_int_equal(kit_job(lease.job_id).starts, 1);
	CHECK();
}

/* Marks of entries that are gone, and entries that are nobody's: taken away, whoever made them. */
static void
ghosts_and_strangers(void **state)
{
	struct key ready = key_queue(kit_queue, QK_READY);
	struct queue_entry entry;
	struct queue_lease lease;
	char id[JOB_ID_BYTES];

	(void)state;
	MUST(REDIS_CALL(kit, NULL, e, "XADD", ready.text, "5-1", "j", "ingest-0-unknown"));
	MUST(REDIS_CALL(kit, NULL, e, "XADD", ready.text, "5-2", "other", "field"));
	MUST(REDIS_CALL(
		kit, NULL, e, "XADD", ready.text, "5-3", "j",
		"ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7b-and-much-longer-than-an-id-can-be-xxxxxxx"));
	for (int i = 0; i < 3; i++) {
		assert_true(kit_fetch("w", &entry));
		assert_int_equal(kit_start_entry(&entry, "w", &lease), QUEUE_START_SKIPPED);
	}
	assert_int_equal(kit_number("XLEN", ready.text), 0);
	assert_int_equal(stats().running, 0);
	MUST(REDIS_CALL(kit, NULL, e, "XADD", ready.text, "6-1", "j", "ingest-0-unknown"));
	MUST(REDIS_CALL(kit, NULL, e, "XADD", ready.text, "6-2", "other", "field"));
	kit_submit(id);
	for (int i = 0; i < 3; i++)
		assert_true(kit_fetch("w", &entry));
	MUST(REDIS_CALL(kit, NULL, e, "XDEL", ready.text, "6-1")); /* a ghost: pending, but gone */
	(void)reap();
	assert_int_equal(stats().running, 0);
	assert_int_equal(stats().waiting, 1);
	CHECK();
}

static void
consumers_come_and_go(void **state)
{
	char id[JOB_ID_BYTES];
	struct key ready = key_queue(kit_queue, QK_READY);
	struct queue_keep_opts opts = kit_keep_opts();
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct queue_lease lease;

	(void)state;
	MUST(queue_announce(kit, kit_queue, "busy", 1, e));
	MUST(queue_announce(kit, kit_queue, "idle", HOUR_MS, e));
	MUST(queue_announce(kit, kit_queue, "idle", HOUR_MS, e));
	kit_submit(id);
	assert_true(kit_take("busy", &lease));
	MUST(REDIS_CALL(kit, NULL, e, "XGROUP", "CREATECONSUMER", ready.text, "workers", "idle"));
	MUST(REDIS_CALL(kit, NULL, e, "XGROUP", "CREATECONSUMER", ready.text, "workers", "silent"));
	kit_await(kit_now() + 1);
	assert_int_equal(stats().workers, 1);
	/* dead without pending entries: removed; dead with one, or alive: kept */
	opts.lease_ms = 0;
	assert_int_equal(kit_keep(&opts).consumers_removed, 1);
	MUST(queue_leave(kit, kit_queue, "busy", e));
	MUST(REDIS_CALL(kit, &reply, e, "XINFO", "CONSUMERS", ready.text, "workers"));
	assert_int_equal(reply_len(reply), 2);
	assert_int_equal(stats().running, 1);
	MUST(queue_leave(kit, kit_queue, "idle", e));
	assert_int_equal(reap(), 1);
	MUST(queue_leave(kit, kit_queue, "busy", e));
	MUST(queue_leave(kit, kit_queue, "never seen", e));
	reply_free(TAKE(reply));
	MUST(REDIS_CALL(kit, &reply, e, "XINFO", "CONSUMERS", ready.text, "workers"));
	assert_int_equal(reply_len(reply), 0);
	assert_int_equal(stats().workers, 0);
	CHECK();
}

/* The group is lost (an old backup, a FLUSHALL): fetch makes it again at 0, and what was running goes on. */
static void
a_lost_group(void **state)
{
	char running[JOB_ID_BYTES], waiting[JOB_ID_BYTES];
	struct key ready = key_queue(kit_queue, QK_READY);
	struct queue_lease lease, other;
	struct queue_entry entry;
	bool cancel;

	(void)state;
	kit_submit(running);
	assert_true(kit_take("w", &lease));
	kit_submit(waiting);
	MUST(REDIS_CALL(kit, NULL, e, "XGROUP", "DESTROY", ready.text, "workers"));
	assert_false(kit_fetch("v", &entry));
	assert_true(kit_fetch("v", &entry)); /* the running job's entry comes round again */
	assert_string_equal(entry.job_id, running);
	assert_int_equal(kit_start_entry(&entry, "v", &other), QUEUE_START_SKIPPED);
	MUST(queue_renew(kit, &lease, &cancel, e)); /* and its worker takes it back */
	CHECK();
	assert_true(kit_take("v", &other));
	assert_string_equal(other.job_id, waiting);
	settle(&lease, SETTLE_SUCCEED, 0, JOB_SUCCEEDED);
	settle(&other, SETTLE_SUCCEED, 0, JOB_SUCCEEDED);
	CHECK();
	/* a worker that fetches nothing, for all its slots are busy, heals it by renewing */
	kit_submit(running);
	assert_true(kit_take("w", &lease));
	MUST(REDIS_CALL(kit, NULL, e, "XGROUP", "DESTROY", ready.text, "workers"));
	MUST(queue_renew(kit, &lease, &cancel, e));
	CHECK();
	settle(&lease, SETTLE_SUCCEED, 0, JOB_SUCCEEDED);
	/* and so does whoever reaps */
	MUST(REDIS_CALL(kit, NULL, e, "XGROUP", "DESTROY", ready.text, "workers"));

	struct queue_keep_opts opts = kit_keep_opts();

	opts.may_reap = true;
	(void)kit_keep(&opts);
	kit_submit(waiting);
	assert_true(kit_take("v", &other)); /* at once: the group is there */
	settle(&other, SETTLE_SUCCEED, 0, JOB_SUCCEEDED);
	CHECK();
	/* everything is lost */
	MUST(REDIS_CALL(kit, NULL, e, "FLUSHALL"));
	assert_int_equal(stats().waiting, 0);
	(void)kit_keep(&opts);
	assert_false(kit_fetch("v", &entry));
	assert_false(kit_fetch("v", &entry));
	CHECK();
}

/* ---- retention ---- */

static void
finish_one(char id[JOB_ID_BYTES], enum queue_settle_kind kind)
{
	struct queue_lease lease;
	enum job_status status;

	kit_submit(id);
	assert_true(kit_take("w", &lease));
	MUST(kit_settle(&lease, kind, 0, &status, e));
}

static void
retention_by_age(void **state)
{
	char old[JOB_ID_BYTES], young[JOB_ID_BYTES], dead[JOB_ID_BYTES];
	struct queue_keep_opts opts = kit_keep_opts();

	(void)state;
	finish_one(dead, SETTLE_FAIL);
	finish_one(old, SETTLE_SUCCEED);
	finish_one(young, SETTLE_SUCCEED);
	/* two of them ended long ago */
	MUST(REDIS_CALL(kit, NULL, e, "ZADD", key_queue(kit_queue, QK_DONE).text, "1", old));
	MUST(REDIS_CALL(kit, NULL, e, "ZADD", key_queue(kit_queue, QK_DEAD).text, "1", dead));
	opts.dead_max_age_ms = kit_now() + HOUR_MS; /* not even 1970 is old for dead jobs */
	assert_int_equal(kit_keep(&opts).swept, 1);
	assert_false(kit_exists(old));
	assert_true(kit_exists(young));
	assert_true(kit_exists(dead));
	assert_int_equal(kit_number("EXISTS", key_result(kit_queue, str_of(old)).text), 0);
	CHECK();
	opts.dead_max_age_ms = HOUR_MS;
	assert_int_equal(kit_keep(&opts).swept, 1);
	assert_false(kit_exists(dead));
	assert_int_equal(kit_number("EXISTS", key_payload(kit_queue, str_of(dead)).text), 0);
	CHECK();
}

/* The oldest results go until the rest fits. The texts of dead jobs' errors are not results and make nobody leave. */
static void
retention_by_bytes(void **state)
{
	char ids[150][JOB_ID_BYTES], dead[JOB_ID_BYTES];
	struct queue_keep_opts opts = kit_keep_opts();

	(void)state;
	finish_one(dead, SETTLE_FAIL);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		finish_one(ids[i], SETTLE_SUCCEED);

	int64_t one = kit_job(ids[0]).result_bytes;

	assert_true(one > 0);
	opts.done_max_bytes = 150 * one;
	assert_int_equal(kit_keep(&opts).swept, 0);
	opts.done_max_bytes = 20 * one;
	assert_int_equal(kit_keep(&opts).swept, 100); /* at most so many a call */
	CHECK();
	assert_int_equal(kit_keep(&opts).swept, 30);
	assert_int_equal(kit_keep(&opts).swept, 0);
	assert_false(kit_exists(ids[129]));
	assert_true(kit_exists(ids[130]));
	assert_true(kit_exists(dead));
	CHECK();
}

/* A whole call's worth of old jobs without a result does not shield the results behind them. */
static void
retention_by_bytes_passes_cancelled(void **state)
{
	char ids[2][JOB_ID_BYTES], empty[JOB_ID_BYTES];
	struct queue_keep_opts opts = kit_keep_opts();

	(void)state;
	for (size_t i = 0; i < 100; i++)
		finish_one(empty, SETTLE_CANCEL);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		finish_one(ids[i], SETTLE_SUCCEED);
	opts.done_max_bytes = kit_job(ids[0]).result_bytes;
	(void)kit_keep(&opts);
	(void)kit_keep(&opts);
	assert_false(kit_exists(ids[0]));
	CHECK();
}

/* A result that ended by its TTL: the record says so, and its bytes are given back when the record goes. */
static void
results_expire(void **state)
{
	char id[JOB_ID_BYTES];
	struct queue_settle done = { .kind = SETTLE_SUCCEED,
				     .result = STR("r"),
				     .result_ttl_ms = 1 };
	struct queue_keep_opts opts = kit_keep_opts();
	AUTO(arena) struct arena arena;
	struct err err = ERR_INIT;
	enum job_status status;
	struct queue_lease lease;
	struct str result;
	struct job job;

	(void)state;
	arena_init(&arena, 1 << 16);
	kit_submit(id);
	assert_true(kit_take("w", &lease));
	MUST(queue_settle(kit, &lease, &done, &status, e));
	kit_await(kit_now() + 5);
	job = kit_job(id);
	assert_int_equal(job.status, JOB_SUCCEEDED);
	assert_false(queue_result(kit, &job, 1000, &arena, &result, &err));
	assert_int_equal(err.code, ERR_GONE);
	assert_true(stats().result_bytes > 0);
	CHECK();
	opts.done_max_age_ms = 0;
	assert_int_equal(kit_keep(&opts).swept, 1);
	assert_int_equal(stats().result_bytes, 0);
	CHECK();
}

/* ---- looking ---- */

static void
unknown_ids(void **state)
{
	static const char *const bad[] = { "", "x", "ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7b",
					   "other-0-01jdcx7m2v5q8r3s6t9w1y4z7b", "ingest-0-*" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct str id = str_of(bad[i]);
		struct err err = ERR_INIT;
		struct job job;

		assert_false(queue_get(kit, id, &job, &err));
		assert_int_equal(err.code, ERR_NOT_FOUND);
		assert_false(queue_cancel(kit, id, NULL, &job, &err));
		assert_int_equal(err.code, ERR_NOT_FOUND);
		assert_false(queue_retry_dead(kit, id, &job, &err));
		assert_int_equal(err.code, ERR_NOT_FOUND);
		assert_false(queue_forget(kit, id, &err));
		assert_int_equal(err.code, ERR_NOT_FOUND);
	}
}

static void
figures(void **state)
{
	char id[JOB_ID_BYTES];
	struct queue_lease lease;
	struct queue_submit submit;
	struct queue_submitted submitted;
	struct queue_stats now;

	(void)state;
	MUST(REDIS_CALL(kit, NULL, e, "FLUSHALL")); /* not even a group */
	now = stats();
	assert_int_equal(now.waiting + now.running + now.due + now.dead + now.done + now.demand, 0);
	MUST(queue_ensure_group(kit, kit_queue, e));
	MUST(queue_ensure_group(kit, kit_queue, e));
	finish_one(id, SETTLE_SUCCEED);
	finish_one(id, SETTLE_FAIL);
	kit_submit(id);
	assert_true(kit_take("w", &lease)); /* running */
	kit_submit(id);
	kit_await(kit_now() + 20);
	kit_submit(id);
	submit = kit_submission(id);
	submit.delay_ms = 10000; /* within the next lease of 30 s */
	MUST(queue_submit(kit, &submit, &submitted, e));
	submit = kit_submission(id);
	submit.delay_ms = HOUR_MS;
	MUST(queue_submit(kit, &submit, &submitted, e));
	now = stats();
	assert_int_equal(now.waiting, 2);
	assert_int_equal(now.running, 1);
	assert_int_equal(now.due, 2);
	assert_int_equal(now.due_soon, 1);
	assert_int_equal(now.dead, 1);
	assert_int_equal(now.done, 1);
	assert_int_equal(now.demand, 4);
	assert_int_equal(now.finished_total, 2);
	assert_int_equal(now.failed_total, 1);
	assert_true(now.oldest_waiting_ms >= 20);
	assert_true(now.payload_bytes > 0 && now.result_bytes > 0);
	CHECK();
}

/* Every page of a list; jobs are counted by their id. */
static size_t
list_all(struct queue_list *list, size_t *out_pages)
{
	size_t total = 0, pages = 0;
	char last[JOB_ID_BYTES] = "";

	do {
		AUTO(arena) struct arena arena;
		struct job *jobs = NULL;
		size_t count = 0;

		arena_init(&arena, 8 << 20);
		MUST(queue_list(kit, list, &arena, &jobs, &count, e));
		assert_true(count <= list->limit);
		for (size_t i = 0; i < count; i++) {
			if (list->status >= 0)
				assert_int_equal(jobs[i].status, list->status);
			assert_string_not_equal(jobs[i].id, last);
			(void)str_copy(last, sizeof(last), str_of(jobs[i].id));
		}
		for (const char *c = list->cursor; *c; c++)
			assert_non_null(
				strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "0123456789-._~",
				       *c));
		total += count;
		assert_true(++pages < 1000);
	} while (list->cursor[0]);
	*out_pages = pages;
	return total;
}

static void
fill(size_t count, const char *collection, int64_t run_at_ms)
{
	for (size_t i = 0; i < count; i++) {
		char id[JOB_ID_BYTES];
		struct queue_submit submit = kit_submission(id);
		struct queue_submitted submitted;

		submit.collection = collection;
		submit.run_at_unix_ms = run_at_ms;
		MUST(queue_submit(kit, &submit, &submitted, e));
	}
}

static void
lists(void **state)
{
	struct queue_list list = { .queue = kit_queue, .status = -1, .limit = 100 };
	struct err err = ERR_INIT;
	AUTO(arena) struct arena arena;
	char id[JOB_ID_BYTES];
	struct job *jobs;
	size_t count, pages;

	(void)state;
	arena_init(&arena, 1 << 20);
	assert_int_equal(list_all(&list, &pages), 0);
	fill(1200, "a", 0);
	fill(3, "rare", 0);
	fill(1200, "a", kit_now() + HOUR_MS); /* one score for all */
	for (int i = 0; i < 90; i++)
		finish_one(id, i % 3 ? SETTLE_SUCCEED : SETTLE_FAIL);
	fill(97, "a", 0);
	assert_int_equal(list_all(&list, &pages), 2500 + 90);
	assert_in_range(pages, 26, 30);
	list.limit = 1000;
	assert_int_equal(list_all(&list, &pages), 2590);
	list.limit = 7;
	list.status = JOB_SUCCEEDED;
	assert_int_equal(list_all(&list, &pages), 60);
	list.status = JOB_FAILED;
	assert_int_equal(list_all(&list, &pages), 30);
	list.status = JOB_SCHEDULED;
	list.limit = 500;
	assert_int_equal(list_all(&list, &pages), 1200);
	list.status = JOB_CANCELLING;
	assert_int_equal(list_all(&list, &pages), 0);
	list.status = -1;
	list.collection = "rare"; /* pages may be short and empty, the cursor goes on */
	assert_int_equal(list_all(&list, &pages), 3);
	list.type = "query";
	assert_int_equal(list_all(&list, &pages), 0);

	static const char *const bad[] = { "x",	  "zz",	   "r",	     "r1",   "r1-x",	       "d1",
					   "d~a", "../..", "r1-1-1", "f12~", "rrrrrrrrrrrrrrr" };

	list.type = list.collection = NULL;
	list.limit = 10;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		(void)str_copy(list.cursor, sizeof(list.cursor), str_of(bad[i]));
		if (!queue_list(kit, &list, &arena, &jobs, &count, &err)) {
			assert_int_equal(err.code, ERR_INVALID);
			assert_string_equal(err.pointer, "/page_token");
		} else if (i != 0 && i != 2) { /* the beginning of a part */
			fail_msg("accepted cursor '%s'", bad[i]);
		}
	}
	/* a cursor of another filter */
	(void)str_copy(list.cursor, sizeof(list.cursor), STR("r1-1"));
	list.status = JOB_FAILED;
	assert_false(queue_list(kit, &list, &arena, &jobs, &count, &err));
}

/* The member that a cursor names is gone: the walk goes on behind its place, nothing is left out. */
static void
lists_while_jobs_move(void **state)
{
	struct queue_list list = { .queue = kit_queue, .status = JOB_SCHEDULED, .limit = 10 };
	int64_t at_ms = kit_now() + HOUR_MS;
	char seen[60][JOB_ID_BYTES];
	size_t total = 0;

	(void)state;
	for (int i = 0; i < 3; i++)
		fill(20, "a", at_ms + i);
	do {
		AUTO(arena) struct arena arena;
		struct job *jobs, gone;
		size_t count;

		arena_init(&arena, 1 << 20);
		MUST(queue_list(kit, &list, &arena, &jobs, &count, e));
		for (size_t i = 0; i < count; i++) {
			assert_true(total < ARRAY_SIZE(seen));
			(void)str_copy(seen[total], JOB_ID_BYTES, str_of(jobs[i].id));
			for (size_t k = 0; k < total; k++)
				assert_string_not_equal(seen[k], seen[total]);
			total++;
		}
		if (count > 0)
			MUST(queue_cancel(kit, str_of(jobs[count - 1].id), NULL, &gone, e));
	} while (list.cursor[0]);
	assert_int_equal(total, 60);
	CHECK();
}

/* Every visible change is told once, with its version. */
static void
notices(void **state)
{
	AUTO_PTR(redis_free) struct redis *ear = redis_server_connect(kit_server);
	char id[JOB_ID_BYTES];
	struct queue_lease lease;
	struct job job;
	int64_t last = 0;

	(void)state;
	MUST(redis_subscribe(ear, KEYS_CHANNEL, e));
	kit_submit(id);
	assert_true(kit_take("w", &lease));
	MUST(queue_progress(kit, &lease, "embed", 1, 2, e));
	settle(&lease, SETTLE_RETRY, 1, JOB_RETRYING);
	assert_int_equal(promote_due(id), 1);
	assert_true(kit_take("w", &lease));
	MUST(queue_cancel(kit, str_of(id), NULL, &job, e));
	settle(&lease, SETTLE_CANCEL, 0, JOB_CANCELLED);
	last = kit_job(id).version;
	assert_int_equal(last, 8);
	MUST(queue_forget(kit, str_of(id), e));
	for (int64_t version = 1; version <= last + 1; version++) {
		struct str channel, message;
		struct event event;
		bool got = false;

		MUST(redis_wait_message(ear, 5000, &got, &channel, &message, e));
		assert_true(got);
		assert_true(event_parse(message, &event));
		assert_true(str_eq_c(event.job_id, id));
		assert_int_equal(event.version, version);
	}
}

/* Redis is killed in the middle: what was answered is there afterwards, and work goes on. */
static void
redis_restarts(void **state)
{
	char id[JOB_ID_BYTES];
	struct queue_lease lease;
	struct queue_entry entry;
	struct err err = ERR_INIT;
	bool cancel, got;

	(void)state;
	MUST(REDIS_CALL(kit, NULL, e, "CONFIG", "SET", "appendfsync", "always"));
	kit_submit(id);
	assert_true(kit_take("w", &lease));
	redis_server_kill(kit_server);
	assert_false(queue_renew(kit, &lease, &cancel, &err));
	assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);
	assert_false(queue_fetch(kit, kit_queue, "w", 50, &got, &entry, &err));
	assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);
	redis_server_restart(kit_server);

	int64_t deadline_ms = clock_mono_ms() + 20000;

	while (!queue_renew(kit, &lease, &cancel, &err) && clock_mono_ms() < deadline_ms)
		clock_sleep_ms(err.retry_after_ms > 0 ? err.retry_after_ms : 1);
	settle(&lease, SETTLE_SUCCEED, 0, JOB_SUCCEEDED);
	CHECK();
}

/* Only the record that the caller has seen is forgotten. */
static void
forgetting_a_version(void **state)
{
	struct queue_lease lease;
	struct err err = ERR_INIT;
	struct job job;
	int64_t seen;

	(void)state;
	kit_make(KIT_FAILED, 0, &lease);
	seen = kit_job(lease.job_id).version;
	MUST(queue_retry_dead(kit, str_of(lease.job_id), &job, e));
	assert_true(kit_take("w", &lease));
	settle(&lease, SETTLE_SUCCEED, 0, JOB_SUCCEEDED);
	assert_false(queue_forget_version(kit, str_of(lease.job_id), seen, &err));
	assert_int_equal(err.code, ERR_PRECONDITION);
	CHECK();
	MUST(queue_forget_version(kit, str_of(lease.job_id), kit_job(lease.job_id).version, e));
	assert_false(kit_exists(lease.job_id));
	CHECK();
}

#define TEST(name) cmocka_unit_test_setup(name, kit_clear)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(happy),
		TEST(payloads_and_results),
		TEST(broken_payloads),
		TEST(lost_replies),
		TEST(retries_until_dead),
		TEST(backoff),
		TEST(waits_are_as_told),
		TEST(nobody_waits_for_a_year),
		TEST(outages_and_hand_backs_cost_nothing),
		TEST(poison),
		TEST(errors_survive_the_way),
		TEST(cancel_reaches_the_worker),
		TEST(a_lost_worker_of_a_cancelling_job),
		TEST(cancel_between_fetch_and_start),
		TEST(pausing),
		TEST(delays),
		TEST(expiry),
		TEST(expiry_while_scheduled),
		TEST(idempotency),
		TEST(admission),
		TEST(reaping),
		TEST(renewing_keeps_the_lease),
		TEST(a_lease_begins_with_the_start),
		TEST(reaping_what_never_started),
		TEST(ghosts_and_strangers),
		TEST(consumers_come_and_go),
		TEST(a_lost_group),
		TEST(retention_by_age),
		TEST(retention_by_bytes),
		TEST(retention_by_bytes_passes_cancelled),
		TEST(results_expire),
		TEST(unknown_ids),
		TEST(forgetting_a_version),
		TEST(figures),
		TEST(lists),
		TEST(lists_while_jobs_move),
		TEST(notices),
		TEST(redis_restarts),
	};

	return cmocka_run_group_tests(tests, kit_start, kit_stop);
}
