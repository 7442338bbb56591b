/* Who works on a queue, on a real Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/must.h"
#include "tests/support/queue_kit.h"

static struct arena arena;

static size_t
workers(size_t max, struct queue_worker **out, bool *out_more)
{
	struct queue_workers found;

	arena_reset(&arena);
	MUST(queue_workers(kit, kit_queue, max, &arena, &found, e));
	*out = found.rows;
	*out_more = found.more;
	return found.count;
}

static void
nobody(void **state)
{
	struct queue_worker *rows;
	bool more = true;

	(void)state;
	assert_int_equal(workers(0, &rows, &more), 0);
	assert_false(more);
	/* not even a stream */
	MUST(REDIS_CALL(kit, NULL, e, "FLUSHALL"));
	assert_int_equal(workers(0, &rows, &more), 0);
}

/* b is live and runs a job, a is live and idle, dead has only its job, gone has nothing at all. */
static void
idle_busy_and_silent(void **state)
{
	char jobs[2][JOB_ID_BYTES];
	struct queue_lease leases[2];
	struct queue_worker *rows;
	bool more = true;
	int64_t before = kit_now();

	(void)state;
	MUST(queue_announce(kit, kit_queue, "host/1/b", HOUR_MS, e));
	MUST(queue_announce(kit, kit_queue, "host/1/a", HOUR_MS, e));
	MUST(queue_announce(kit, kit_queue, "host/2/gone", 1, e));
	MUST(queue_announce(kit, kit_queue, "host/2/dead", 1, e));
	kit_await(kit_now() + 2);
	for (int i = 0; i < 2; i++)
		kit_submit(jobs[i]);
	assert_true(kit_take("host/1/b", &leases[0]));
	assert_true(kit_take("host/2/dead", &leases[1]));
	MUST(queue_progress(kit, &leases[0], "embed", 3, 9, e));

	assert_int_equal(workers(0, &rows, &more), 3);
	assert_false(more);
	assert_string_equal(rows[0].consumer, "host/1/a");
	assert_false(rows[0].busy);
	assert_true(rows[0].expires_ms > before);
	assert_string_equal(rows[1].consumer, "host/1/b");
	assert_true(rows[1].busy && rows[1].expires_ms > 0);
	assert_string_equal(rows[1].job.id, jobs[0]);
	assert_string_equal(rows[1].job.stage, "embed");
	assert_int_equal(rows[1].job.progress_done, 3);
	assert_int_equal(rows[1].job.status, JOB_RUNNING);
	assert_in_range(rows[1].renewed_ms, before, kit_now());
	assert_string_equal(rows[2].consumer, "host/2/dead");
	assert_true(rows[2].busy);
	assert_int_equal(rows[2].expires_ms, 0);
	assert_string_equal(rows[2].job.id, jobs[1]);

	/* a record that is lost: the row stays, without a job */
	struct key key = key_job(kit_queue, str_of(jobs[1]));

	MUST(REDIS_CALL(kit, NULL, e, "DEL", key.text));
	assert_int_equal(workers(0, &rows, &more), 3);
	assert_true(rows[2].busy);
	assert_string_equal(rows[2].job.id, "");
}

static void
bounded(void **state)
{
	struct queue_lease lease;
	struct queue_worker *rows;
	char id[JOB_ID_BYTES], name[24];
	bool more = false;

	(void)state;
	for (int i = 0; i < 12; i++) {
		(void)snprintf(name, sizeof(name), "live/%02d", i);
		MUST(queue_announce(kit, kit_queue, name, HOUR_MS, e));
		kit_submit(id);
		(void)snprintf(name, sizeof(name), "lost/%02d", i);
		assert_true(kit_take(name, &lease));
	}
	assert_int_equal(workers(12, &rows, &more), 24);
	assert_false(more);
	assert_int_equal(workers(11, &rows, &more), 22);
	assert_true(more);

	/* one consumer with several entries has a row for each */
	for (int i = 0; i < 3; i++) {
		kit_submit(id);
		assert_true(kit_take("live/00", &lease));
	}
	assert_int_equal(workers(0, &rows, &more), 26);

	int held = 0;

	for (size_t i = 0; i < 26; i++)
		held += rows[i].busy && rows[i].expires_ms > 0 &&
			strcmp(rows[i].consumer, "live/00") == 0;
	assert_int_equal(held, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nobody, kit_clear),
		cmocka_unit_test_setup(idle_busy_and_silent, kit_clear),
		cmocka_unit_test_setup(bounded, kit_clear),
	};

	arena_init(&arena, 8 << 20);

	int code = cmocka_run_group_tests(tests, kit_start, kit_stop);

	arena_release(&arena);
	return code;
}
