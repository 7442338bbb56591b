/*
 * Thousands of random operations by several workers, keepers, clients and an operator, with a fixed seed, beside a model that
 * knows what each must answer. Workers die at any moment and may wake up later with an old lease; replies get lost and calls
 * are repeated; Redis is full now and then, and forgets its scripts. Every hundred steps all records are compared with the
 * model and the queue is verified; in the end everything is worked off.
 *
 * RAG_TEST_SEED=<n> tries another way; a failure names its seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/queue_stream.h"
#include "tests/support/must.h"
#include "tests/support/queue_check.h"
#include "tests/support/queue_kit.h"

#define STEPS 6000
#define MAX_JOBS 300
#define WORKERS 6
#define BUDGET 3

/* What the model knows of a job. */
struct mjob {
	char id[JOB_ID_BYTES];
	bool alive; /* has a record */
	bool streams;
	enum job_status status;
	int64_t epoch, starts, failures;
	int holder; /* worker to whom the present entry was delivered; -1 = nobody */
	char entry[JOB_ENTRY_BYTES]; /* that entry */
	int64_t fin_epoch;	     /* the last settle that counted */
	enum queue_settle_kind fin_kind;
	int64_t again; /* epoch at the last retry by the operator; -1 = none */
	int successes; /* settles that made it succeeded */
};

struct worker {
	char name[8];
	int job; /* index, -1 = idle */
	bool started;
	struct queue_entry entry;
	struct queue_lease lease;
	/* a former life: a lease whose holder died or was slow */
	bool has_old;
	int old_job;
	struct queue_lease old;
};

static struct mjob jobs[MAX_JOBS];
static size_t job_count;
static struct worker workers[WORKERS];
static bool paused, full;
static uint64_t seed, rng;
static int step;
static int64_t done[16]; /* operations that did something, by kind */

static uint64_t
next(uint64_t below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % below;
}

#define EXPECT(condition)                                                                          \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fail_msg("seed %llu, step %d: %s", (unsigned long long)seed, step,         \
				 #condition);                                                      \
	} while (0)

static bool
is_due(enum job_status status)
{
	return status == JOB_SCHEDULED || status == JOB_RETRYING;
}

/* Whether this lease is the job's present right. */
static bool
holds(const struct queue_lease *lease, const struct mjob *job)
{
	return job->alive && (job->status == JOB_RUNNING || job->status == JOB_CANCELLING) &&
	       lease->epoch == job->epoch;
}

static int
find(const char *id)
{
	for (size_t i = 0; i < job_count; i++) {
		if (strcmp(jobs[i].id, id) == 0)
			return (int)i;
	}
	fail_msg("seed %llu, step %d: unknown job %s", (unsigned long long)seed, step, id);
	return -1;
}

static void
detach(struct mjob *job)
{
	job->holder = -1;
	job->entry[0] = '\0';
}

/* A job; mostly one in this status, when there is one. */
static struct mjob *
pick(enum job_status status)
{
	size_t from = next(job_count);

	for (size_t i = 0; i < job_count && next(40) > 0; i++) {
		struct mjob *job = &jobs[(from + i) % job_count];

		if (job->alive && job->status == status)
			return job;
	}
	return &jobs[from];
}

/* ---- clients ---- */

static void
do_submit(void)
{
	char id[JOB_ID_BYTES];
	struct queue_submit submit = kit_submission(id);
	struct queue_submitted submitted;
	struct err err = ERR_INIT;
	bool ok;

	if (job_count == MAX_JOBS)
		return;
	submit.delay_ms = next(4) == 0 ? (int64_t)next(20) : 0;
	submit.max_starts = submit.max_failures = BUDGET;
	submit.stream_ttl_ms = next(2) == 0 ? HOUR_MS : 0;
	ok = queue_submit(kit, &submit, &submitted, &err);
	EXPECT(ok == !full);
	if (!ok) {
		EXPECT(err.code == ERR_REDIS_FULL);
		return;
	}

	struct mjob *job = &jobs[job_count++];

	*job = (struct mjob){ .alive = true,
			      .status = submit.delay_ms > 0 ? JOB_SCHEDULED : JOB_QUEUED,
			      .streams = submit.stream_ttl_ms > 0,
			      .holder = -1,
			      .fin_epoch = -1,
			      .again = -1 };
	(void)str_copy(job->id, sizeof(job->id), str_of(id));
	done[0]++;
	if (next(4) == 0) { /* the reply was lost */
		EXPECT(queue_submit(kit, &submit, &submitted, &err) && !submitted.replayed);
	}
}

static void
do_cancel(void)
{
	struct err err = ERR_INIT;
	struct job record;

	if (job_count == 0)
		return;

	struct mjob *job = pick((enum job_status)next(JOB_STATUS_COUNT));
	bool ok = queue_cancel(kit, str_of(job->id), NULL, &record, &err);

	if (!job->alive) {
		EXPECT(!ok && err.code == ERR_NOT_FOUND);
	} else if (job_status_done(job->status) && job->status != JOB_CANCELLED) {
		EXPECT(!ok && err.code == ERR_ALREADY_FINAL);
	} else {
		EXPECT(ok);
		if (job->status == JOB_RUNNING) {
			job->status = JOB_CANCELLING;
		} else if (job->status != JOB_CANCELLING) {
			job->status = JOB_CANCELLED;
			detach(job);
		}
		EXPECT(record.status == job->status);
		done[1]++;
	}
}

static void
do_retry_dead(void)
{
	struct err err = ERR_INIT;
	struct job record;

	if (job_count == 0)
		return;

	struct mjob *job = pick(JOB_FAILED);
	bool ok = queue_retry_dead(kit, str_of(job->id), &record, &err);

	if (!job->alive) {
		EXPECT(!ok && err.code == ERR_NOT_FOUND);
	} else if (job->status == JOB_FAILED) {
		EXPECT(ok);
		job->status = JOB_QUEUED;
		job->starts = job->failures = 0;
		job->again = job->epoch;
		done[2]++;
	} else if (job->status == JOB_QUEUED && job->again == job->epoch) {
		EXPECT(ok);
	} else {
		EXPECT(!ok && err.code == ERR_CONFLICT);
	}
}

static void
do_forget(void)
{
	struct err err = ERR_INIT;

	if (job_count == 0)
		return;

	struct mjob *job = pick(JOB_SUCCEEDED);
	bool ok = queue_forget(kit, str_of(job->id), &err);

	if (!job->alive) {
		EXPECT(!ok && err.code == ERR_NOT_FOUND);
	} else if (!job_status_done(job->status)) {
		EXPECT(!ok && err.code == ERR_NOT_FINAL);
	} else {
		EXPECT(ok);
		job->alive = false;
		done[3]++;
	}
}

/* ---- workers ---- */

static void
do_fetch(struct worker *w)
{
	bool got = false;

	if (w->job >= 0)
		return;
	MUST(queue_fetch(kit, kit_queue, w->name, 0, &got, &w->entry, e));
	if (!got)
		return;
	w->job = find(w->entry.job_id);
	w->started = false;

	struct mjob *job = &jobs[w->job];

	EXPECT(job->alive && job->status == JOB_QUEUED && job->holder < 0);
	job->holder = (int)(w - workers);
	(void)str_copy(job->entry, sizeof(job->entry), str_of(w->entry.entry));
}

static void
do_start(struct worker *w)
{
	if (w->job < 0 || w->started)
		return;

	struct mjob *job = &jobs[w->job];
	bool ours = job->alive && job->holder == (int)(w - workers) &&
		    strcmp(job->entry, w->entry.entry) == 0;
	enum queue_start_result result = kit_start_entry(&w->entry, w->name, &w->lease);

	if (!ours) {
		EXPECT(result == QUEUE_START_SKIPPED);
		w->job = -1;
	} else if (paused && job->status == JOB_QUEUED) {
		EXPECT(result == QUEUE_START_PAUSED);
		detach(job);
		w->job = -1;
	} else {
		EXPECT(result == QUEUE_STARTED);
		job->status = JOB_RUNNING;
		job->epoch++;
		job->starts++;
		EXPECT(w->lease.epoch == job->epoch);
		w->started = true;
		done[4]++;
		if (next(5) == 0) { /* the reply was lost */
			struct queue_lease again;

			EXPECT(kit_start_entry(&w->entry, w->name, &again) == QUEUE_STARTED);
			EXPECT(again.epoch == w->lease.epoch);
		}
	}
}

/* The fence of what a worker emits is that of its lease, and a cancel ends the right before the worker knows. */
static void
do_emit(const struct queue_lease *lease, const struct mjob *job)
{
	struct queue_emit emit = { .n = 1, .kind = EMIT_RESET, .data = STR("text") };
	enum queue_emitted emitted = QUEUE_EMITTED;
	struct err err = ERR_INIT;
	bool right = holds(lease, job), ok = queue_emit(kit, lease, &emit, &emitted, &err);

	EXPECT(right || (!ok && err.code == ERR_STALE));
	EXPECT(!right || ok || (full && err.code == ERR_REDIS_FULL));
	EXPECT(!right || !ok ||
	       emitted == (!job->streams		   ? QUEUE_EMIT_NONE
			   : job->status == JOB_CANCELLING ? QUEUE_EMIT_STOP
							   : QUEUE_EMITTED));
}

static void
do_renew(const struct queue_lease *lease, const struct mjob *job)
{
	struct err err = ERR_INIT;
	bool cancel = false, ok = queue_renew(kit, lease, &cancel, &err);

	EXPECT(ok == holds(lease, job));
	EXPECT(ok || err.code == ERR_STALE);
	EXPECT(!ok || cancel == (job->status == JOB_CANCELLING));
	ok = queue_progress(kit, lease, "step", 1, 2, &err);
	EXPECT(ok == holds(lease, job));
	do_emit(lease, job);
}

/* What a settle that counts makes of a job. */
static void
model_settle(struct mjob *job, enum queue_settle_kind kind)
{
	job->fin_epoch = job->epoch;
	job->fin_kind = kind;
	detach(job);
	if (kind == SETTLE_SUCCEED) {
		job->status = JOB_SUCCEEDED;
		job->successes++;
		return;
	}
	if (kind == SETTLE_CANCEL || job->status == JOB_CANCELLING) {
		job->status = JOB_CANCELLED;
		return;
	}
	if (kind == SETTLE_RETRY || kind == SETTLE_FAIL)
		job->failures++;
	if (kind == SETTLE_FAIL || (kind == SETTLE_RETRY && job->failures >= BUDGET)) {
		job->status = JOB_FAILED;
		return;
	}
	job->starts--;
	job->status = kind == SETTLE_HAND_BACK ? JOB_QUEUED : JOB_RETRYING;
}

static void
settle_with(const struct queue_lease *lease, struct mjob *job, enum queue_settle_kind kind)
{
	struct err err = ERR_INIT;
	enum job_status status = JOB_STATUS_COUNT;
	bool repeated = job->alive && job->fin_epoch == lease->epoch && job->fin_kind == kind;
	bool expected = holds(lease, job) || repeated;
	bool ok = kit_settle(lease, kind, (int64_t)next(10), &status, &err);

	EXPECT(ok == expected);
	if (!ok) {
		EXPECT(err.code == ERR_STALE);
		done[6]++;
		return;
	}
	if (!repeated)
		model_settle(job, kind);
	EXPECT(status == job->status);
	done[5]++;
}

static void
do_settle(struct worker *w)
{
	static const enum queue_settle_kind kinds[] = {
		SETTLE_SUCCEED, SETTLE_SUCCEED, SETTLE_FAIL,   SETTLE_RETRY,	 SETTLE_RETRY,
		SETTLE_FAIL,	SETTLE_CANCEL,	SETTLE_OUTAGE, SETTLE_HAND_BACK, SETTLE_WAIT,
	};

	if (w->job < 0 || !w->started)
		return;

	enum queue_settle_kind kind = kinds[next(ARRAY_SIZE(kinds))];
	struct mjob *job = &jobs[w->job];

	settle_with(&w->lease, job, kind);
	if (next(4) == 0) /* the reply was lost */
		settle_with(&w->lease, job, kind);
	w->has_old = true; /* kept, to come back with it much later */
	w->old = w->lease;
	w->old_job = w->job;
	w->job = -1;
}

/* kill -9, or a freeze: what it held stays pending; its lease may come back. */
static void
do_die(struct worker *w)
{
	if (w->job < 0)
		return;
	if (w->started) {
		w->has_old = true;
		w->old = w->lease;
		w->old_job = w->job;
	}
	w->job = -1;
	done[7]++;
}

static void
do_wake(struct worker *w)
{
	if (!w->has_old)
		return;

	struct mjob *job = &jobs[w->old_job];

	do_renew(&w->old, job);
	if (next(2))
		settle_with(&w->old, job, next(2) ? SETTLE_SUCCEED : SETTLE_RETRY);
}

/* ---- keepers ---- */

/* Due jobs: those whose time had come before are ready now, those whose time has not come after are not. */
static void
model_promote(int64_t before_ms, const int64_t *due_ms, int64_t after_ms)
{
	for (size_t i = 0; i < job_count; i++) {
		struct mjob *job = &jobs[i];

		if (!job->alive || !is_due(job->status) || due_ms[i] == 0)
			continue;

		enum job_status now = kit_status(job->id);

		EXPECT(now == job->status || now == JOB_QUEUED);
		EXPECT(now == JOB_QUEUED || due_ms[i] > before_ms);
		EXPECT(now != JOB_QUEUED || due_ms[i] <= after_ms);
		job->status = now;
	}
}

static void
do_promote(void)
{
	struct queue_keep_opts opts = kit_keep_opts();
	static int64_t due_ms[MAX_JOBS];
	int64_t waiting = 0, before_ms = kit_now();

	for (size_t i = 0; i < job_count; i++) {
		due_ms[i] =
			jobs[i].alive && is_due(jobs[i].status) ? kit_job(jobs[i].id).due_ms : 0;
		waiting += due_ms[i] != 0;
	}
	EXPECT(waiting <= MAX_JOBS);
	for (int64_t promoted = 1; promoted > 0;)
		promoted = kit_keep(&opts).promoted;
	model_promote(before_ms, due_ms, kit_now());
	done[8]++;
}

static void
do_reap(void)
{
	struct queue_keep_opts opts = kit_keep_opts();
	int64_t lost = 0, reaped = 0;

	opts.lease_ms = 0;
	opts.may_reap = true;
	opts.backoff_base_ms = opts.backoff_max_ms = HOUR_MS; /* stays in `due` while this looks */
	for (size_t i = 0; i < job_count; i++) {
		struct mjob *job = &jobs[i];

		if (!job->alive || job->holder < 0)
			continue;
		detach(job);
		lost += job->status != JOB_QUEUED;
		if (job->status == JOB_CANCELLING)
			job->status = JOB_CANCELLED;
		else if (job->status == JOB_RUNNING)
			job->status = job->starts >= BUDGET ? JOB_FAILED : JOB_RETRYING;
	}
	/* keep promotes first: what was due is ready now, and that is the model's to learn */
	for (int i = 0; i < 3; i++)
		reaped += kit_keep(&opts).reaped;
	EXPECT(reaped == lost);
	for (size_t i = 0; i < job_count; i++) {
		struct mjob *job = &jobs[i];

		if (job->alive && is_due(job->status)) {
			enum job_status now = kit_status(job->id);

			EXPECT(now == job->status || now == JOB_QUEUED);
			job->status = now;
		}
	}
	done[9] += lost;
}

/* Jobs that wait for an hour after a lost worker are wanted sooner here: an operator cannot do that, the test can. */
static void
hurry(void)
{
	struct key due = key_queue(kit_queue, QK_DUE);

	for (size_t i = 0; i < job_count && !full; i++) {
		if (!jobs[i].alive || jobs[i].status != JOB_RETRYING)
			continue;

		struct key key = key_job(kit_queue, str_of(jobs[i].id));

		MUST(REDIS_CALL(kit, NULL, e, "ZADD", due.text, "1", jobs[i].id));
		MUST(REDIS_CALL(kit, NULL, e, "HSET", key.text, "due", "1"));
	}
}

static void
set_full(bool now)
{
	full = now;
	MUST(REDIS_CALL(kit, NULL, e, "CONFIG", "SET", "maxmemory", full ? "1" : "0"));
}

/* ---- looking ---- */

static void
compare_all(void)
{
	char when[64];
	struct queue_stats stats;
	int64_t waiting = 0, pending = 0, due = 0, dead = 0, finished = 0;

	for (size_t i = 0; i < job_count; i++) {
		struct mjob *job = &jobs[i];

		EXPECT(kit_exists(job->id) == job->alive);
		EXPECT(job->successes <= 1);
		if (!job->alive)
			continue;

		struct job record = kit_job(job->id);

		if (record.status != job->status)
			fail_msg("seed %llu, step %d: %s is %s, not %s", (unsigned long long)seed,
				 step, job->id, job_status_name(record.status),
				 job_status_name(job->status));
		EXPECT(record.epoch == job->epoch);
		EXPECT(record.starts == job->starts);
		EXPECT(record.failures == job->failures);
		waiting += job->status == JOB_QUEUED && job->holder < 0;
		pending += job->holder >= 0;
		due += is_due(job->status);
		dead += job->status == JOB_FAILED;
		finished += job_status_done(job->status) && job->status != JOB_FAILED;
	}
	MUST(queue_stats(kit, kit_queue, HOUR_MS, &stats, e));
	EXPECT(stats.waiting == waiting);
	EXPECT(stats.running == pending);
	EXPECT(stats.due == due);
	EXPECT(stats.dead == dead);
	EXPECT(stats.done == finished);
	(void)snprintf(when, sizeof(when), "seed %llu, step %d", (unsigned long long)seed, step);
	queue_check(kit, kit_queue, when, NULL);
}

static void
one_step(void)
{
	struct worker *w = &workers[next(WORKERS)];
	uint64_t dice = next(1000);

	if (dice < 150)
		do_submit();
	else if (dice < 400)
		do_fetch(w);
	else if (dice < 600)
		do_start(w);
	else if (dice < 650 && w->job >= 0 && w->started)
		do_renew(&w->lease, &jobs[w->job]);
	else if (dice < 800)
		do_settle(w);
	else if (dice < 830)
		do_die(w);
	else if (dice < 860)
		do_wake(w);
	else if (dice < 885)
		do_cancel();
	else if (dice < 910)
		do_retry_dead();
	else if (dice < 925)
		do_forget();
	else if (dice < 960)
		do_promote();
	else if (dice < 975)
		do_reap();
	else if (dice < 985)
		hurry();
	else if (dice < 990)
		MUST(queue_pause(kit, kit_queue, paused = !paused, e));
	else if (dice < 995)
		set_full(!full);
	else
		MUST(REDIS_CALL(kit, NULL, e, "SCRIPT", "FLUSH"));
}

/* Everything that is not final is worked off; nothing is left over. */
static void
drain(void)
{
	struct queue_lease lease;
	enum job_status status;

	set_full(false);
	MUST(queue_pause(kit, kit_queue, paused = false, e));
	do_reap();
	for (size_t i = 0; i < job_count * 10; i++) {
		hurry();
		do_promote();
		while (kit_take("drain", &lease)) {
			struct mjob *job = &jobs[find(lease.job_id)];

			job->status = JOB_RUNNING;
			job->epoch++;
			job->starts++;
			EXPECT(lease.epoch == job->epoch);
			model_settle(job, SETTLE_SUCCEED);
			MUST(kit_settle(&lease, SETTLE_SUCCEED, 0, &status, e));
		}

		struct queue_stats stats;

		MUST(queue_stats(kit, kit_queue, HOUR_MS, &stats, e));
		if (stats.waiting + stats.running + stats.due == 0)
			break;
	}
	for (size_t i = 0; i < job_count; i++)
		EXPECT(!jobs[i].alive || job_status_done(kit_status(jobs[i].id)));
	compare_all();
}

static void
random_work(void **state)
{
	const char *wanted = getenv("RAG_TEST_SEED");

	(void)state;
	seed = 20261123;
	if (wanted)
		(void)str_to_u64(str_of(wanted), &seed);
	rng = seed * 2654435769u + 1;
	for (size_t i = 0; i < WORKERS; i++) {
		workers[i].job = -1;
		(void)snprintf(workers[i].name, sizeof(workers[i].name), "w%zu", i);
	}
	for (step = 1; step <= STEPS; step++) {
		one_step();
		if (step % 100 == 0)
			compare_all();
		if (job_count == MAX_JOBS &&
		    step % 20 == 0) { /* room for new ones: the model forgets the dead */
			drain();
			(void)kit_clear(state);
			memset(workers, 0, sizeof(workers));
			job_count = 0;
			for (size_t i = 0; i < WORKERS; i++) {
				workers[i].job = -1;
				(void)snprintf(workers[i].name, sizeof(workers[i].name), "w%zu", i);
			}
		}
	}
	drain();
	/* It was a real test: each kind of thing has happened many times. */
	for (int i = 0; i < 10; i++) {
		if (done[i] < 5)
			fail_msg("seed %llu: operation %d happened %lld times only",
				 (unsigned long long)seed, i, (long long)done[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup(random_work, kit_clear) };

	return cmocka_run_group_tests(tests, kit_start, kit_stop);
}
