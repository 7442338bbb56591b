/* The pure and the small parts of rag-worker: what becomes of a job, and the table of running jobs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "worker/health.h"
#include "worker/retry.h"
#include "worker/run.h"
#include "worker/running.h"

static void
test_waited(void **state)
{
	struct job job = { .created_ms = 1000, .started_ms = 9000 };

	(void)state;
	/* put into the queue at 8,500, after a delay or an earlier run */
	assert_int_equal(run_waited_ms(&job, "8500-3"), 500);
	assert_int_equal(run_waited_ms(&job, "9500-0"), 0); /* Redis' clock went back */
	assert_int_equal(run_waited_ms(&job, ""), 0);
	assert_int_equal(run_waited_ms(&job, "x-0"), 0);
}

static void
test_decide_table(void **state)
{
	static const struct {
		enum err_code code; /* ERR_NONE = the handler succeeded */
		enum stop_reason reason;
		enum retry_verdict verdict;
		enum queue_settle_kind kind;
		int64_t retry_after_ms; /* 0 = not told; 1 is told */
	} rows[] = {
		{ ERR_NONE, STOP_NONE, RETRY_SETTLE, SETTLE_SUCCEED, 0 },
		/* after the commit success wins, whatever was asked for meanwhile */
		{ ERR_NONE, STOP_CANCEL, RETRY_SETTLE, SETTLE_SUCCEED, 0 },
		{ ERR_NONE, STOP_DRAIN, RETRY_SETTLE, SETTLE_SUCCEED, 0 },
		/* a lost lease writes nothing, success or not */
		{ ERR_NONE, STOP_LOST, RETRY_DROP, 0, 0 },
		{ ERR_CANCELLED, STOP_LOST, RETRY_DROP, 0, 0 },
		{ ERR_STALE, STOP_NONE, RETRY_DROP, 0, 0 },
		{ ERR_CANCELLED, STOP_CANCEL, RETRY_SETTLE, SETTLE_CANCEL, 0 },
		{ ERR_CANCELLED, STOP_DRAIN, RETRY_SETTLE, SETTLE_HAND_BACK, 0 },
		{ ERR_REDIS_UNAVAILABLE, STOP_NONE, RETRY_SETTLE, SETTLE_OUTAGE, 0 },
		{ ERR_STORE_UNAVAILABLE, STOP_NONE, RETRY_SETTLE, SETTLE_OUTAGE, 0 },
		{ ERR_PROVIDER_UNAVAILABLE, STOP_NONE, RETRY_SETTLE, SETTLE_OUTAGE, 0 },
		/* one that says when is waited for until then, not longer and longer */
		{ ERR_PROVIDER_UNAVAILABLE, STOP_NONE, RETRY_SETTLE, SETTLE_WAIT, 1 },
		{ ERR_PROVIDER_LIMITED, STOP_NONE, RETRY_SETTLE, SETTLE_WAIT, 1 },
		{ ERR_PROVIDER_LIMITED, STOP_NONE, RETRY_SETTLE, SETTLE_OUTAGE, 0 },
		{ ERR_PROVIDER_QUOTA, STOP_NONE, RETRY_SETTLE, SETTLE_FAIL, 1 },
		{ ERR_UNKNOWN_TYPE, STOP_NONE, RETRY_SETTLE, SETTLE_OUTAGE, 0 },
		{ ERR_DEADLINE, STOP_NONE, RETRY_SETTLE, SETTLE_RETRY, 0 },
		{ ERR_STORE_FAILED, STOP_NONE, RETRY_SETTLE, SETTLE_RETRY, 0 },
		{ ERR_RATE_LIMITED, STOP_NONE, RETRY_SETTLE, SETTLE_RETRY, 0 },
		{ ERR_OVERLOADED, STOP_NONE, RETRY_SETTLE, SETTLE_RETRY, 1 },
		{ ERR_EMPTY_TEXT, STOP_NONE, RETRY_SETTLE, SETTLE_FAIL, 0 },
		{ ERR_BAD_DOCUMENT, STOP_NONE, RETRY_SETTLE, SETTLE_FAIL, 0 },
		{ ERR_EMBEDDER_MISMATCH, STOP_CANCEL, RETRY_SETTLE, SETTLE_FAIL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = { .code = rows[i].code,
				   .retry_after_ms =
					   rows[i].retry_after_ms ? rows[i].retry_after_ms : -1 };
		enum queue_settle_kind kind = (enum queue_settle_kind)99;

		assert_int_equal(retry_decide(rows[i].code ? &err : NULL, rows[i].reason, &kind),
				 rows[i].verdict);
		if (rows[i].verdict == RETRY_SETTLE)
			assert_int_equal(kind, rows[i].kind);
		else
			assert_int_equal(kind, 99);
	}

	/* "at once" says nothing: with it a job would go round and round for as long as the outage lasts */
	struct err at_once = { .code = ERR_PROVIDER_LIMITED, .retry_after_ms = 0 };
	enum queue_settle_kind kind = SETTLE_SUCCEED;

	assert_int_equal(retry_decide(&at_once, STOP_NONE, &kind), RETRY_SETTLE);
	assert_int_equal(kind, SETTLE_OUTAGE);
}

static struct queue_lease
lease_of(const char *id, int64_t epoch)
{
	struct queue_lease lease = { .epoch = epoch };

	str_copy(lease.job_id, sizeof(lease.job_id), str_of(id));
	return lease;
}

static void
test_running_stop_needs_the_same_start(void **state)
{
	struct queue_lease first = lease_of("job-a", 1), second = lease_of("job-a", 2);
	struct running running;
	const atomic_bool *flag;

	(void)state;
	running_init(&running, 2);
	flag = running_cancel_flag(&running, 1);
	running_begin(&running, 1, &second, 0);
	running_stop(&running, 1, &first, STOP_CANCEL);
	assert_false(atomic_load(flag));
	running_stop(&running, 0, &second, STOP_CANCEL);
	assert_false(atomic_load(flag));
	running_stop(&running, 1, &second, STOP_CANCEL);
	assert_true(atomic_load(flag));
	assert_int_equal(running_reason(&running, 1), STOP_CANCEL);
	/* the first request stays, a lost lease outranks it */
	running_stop_all(&running, STOP_DRAIN);
	assert_int_equal(running_reason(&running, 1), STOP_CANCEL);
	running_stop(&running, 1, &second, STOP_LOST);
	assert_int_equal(running_reason(&running, 1), STOP_LOST);
	running_end(&running, 1);
	/* the next job in the slot begins without a flag */
	running_begin(&running, 1, &first, 0);
	assert_false(atomic_load(flag));
	assert_int_equal(running_reason(&running, 1), STOP_NONE);
	running_release(&running);
}

static void
test_running_copy_and_renew(void **state)
{
	struct queue_lease a = lease_of("job-a", 3), b = lease_of("job-b", 1);
	struct running_copy rows[3];
	struct running running;

	(void)state;
	clock_set_for_test(1000, 1000);
	running_init(&running, 3);
	assert_int_equal(running_copy(&running, rows, 3), 0);
	running_begin(&running, 0, &a, 5000);
	running_begin(&running, 2, &b, 6000);
	assert_int_equal(running_active(&running), 2);
	running_renewed(&running, 0, 2, 4000); /* another epoch: not this start */
	running_renewed(&running, 2, 1, 4000);
	assert_int_equal(running_copy(&running, rows, 3), 2);
	assert_int_equal(rows[0].slot, 0);
	assert_string_equal(rows[0].lease.job_id, "job-a");
	assert_int_equal(rows[0].renewed_mono_ms, 1000);
	assert_int_equal(rows[0].deadline_mono_ms, 5000);
	assert_int_equal(rows[1].slot, 2);
	assert_int_equal(rows[1].renewed_mono_ms, 4000);
	running_end(&running, 0);
	assert_int_equal(running_copy(&running, rows, 3), 1);
	assert_string_equal(rows[0].lease.job_id, "job-b");
	running_release(&running);
	clock_set_for_test(-1, -1);
}

/* ---- liveness ---- */

#define LATE_MS (INT64_C(10) * HEALTH_LIVE_MS)

static bool
is_live(struct worker_app *app, const char *reason)
{
	char text[256] = "";
	bool live = health_live(app, text, sizeof(text));

	if (!live && !strstr(text, reason))
		fail_msg("not live for another reason: %s", text);
	return live;
}

static void
test_liveness(void **state)
{
	struct worker_app app = { .queue_count = 1, .slot_count = 1 };
	struct queue_lease lease = { .epoch = 1 };

	(void)state;
	running_init(&app.running, 1);
	clock_set_for_test(LATE_MS, 0);
	atomic_store(&app.redis_up, true);
	atomic_store(&app.kept_mono_ms, LATE_MS);
	atomic_store(&app.fetched_mono_ms, LATE_MS - HEALTH_LIVE_MS);
	assert_true(is_live(&app, ""));
	clock_set_for_test(LATE_MS + 1, 0); /* just too long */
	assert_false(is_live(&app, "no slot has asked for work"));

	/* nobody asks for work, and nobody should */
	atomic_store(&app.stopping, true);
	assert_true(is_live(&app, ""));
	atomic_store(&app.stopping, false);
	atomic_store(&app.redis_up, false);
	assert_true(is_live(&app, ""));
	atomic_store(&app.redis_up, true);
	atomic_store(&app.queues[0].paused, true);
	assert_true(is_live(&app, ""));
	atomic_store(&app.queues[0].paused, false);
	running_begin(&app.running, 0, &lease, 0);
	assert_true(is_live(&app, ""));
	running_end(&app.running, 0);
	assert_false(is_live(&app, "no slot has asked for work"));
	running_release(&app.running);
	clock_set_for_test(-1, -1);
}

/* A drain may take long: it does not end by a restart, unless the keeper is silent or a job does not stop. */
static void
test_liveness_in_a_long_drain(void **state)
{
	struct worker_app app = { .queue_count = 1, .slot_count = 2 };
	struct queue_lease lease = { .epoch = 1 };

	(void)state;
	running_init(&app.running, 2);
	running_begin(&app.running, 1, &lease, 0); /* one slot has ended, the other works on */
	clock_set_for_test(LATE_MS, 0);
	atomic_store(&app.redis_up, true);
	atomic_store(&app.stopping, true);
	atomic_store(&app.kept_mono_ms, LATE_MS);
	assert_true(is_live(&app, ""));
	atomic_store(&app.stuck, 1);
	assert_false(is_live(&app, "1 jobs do not stop"));
	atomic_store(&app.stuck, 0);
	atomic_store(&app.kept_mono_ms, LATE_MS - HEALTH_LIVE_MS - 1);
	assert_false(is_live(&app, "the keeper has been silent"));
	running_release(&app.running);
	clock_set_for_test(-1, -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decide_table),
		cmocka_unit_test(test_waited),
		cmocka_unit_test(test_running_stop_needs_the_same_start),
		cmocka_unit_test(test_running_copy_and_renew),
		cmocka_unit_test(test_liveness),
		cmocka_unit_test(test_liveness_in_a_long_drain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
