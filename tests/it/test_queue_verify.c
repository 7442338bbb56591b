/*
 * The verifier sees what it is there for: each kind of damage, planted by hand into a sound queue, is reported with the job's id.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "tests/support/must.h"
#include "tests/support/queue_check.h"
#include "tests/support/queue_kit.h"

struct damage {
	const char *name;
	enum kit_state state; /* of the one job */
	const char *argv
		[6]; /* a command; JOB, IN, OUT, ID, ENTRY and names of structures are filled in */
	const char *text; /* part of what is reported */
};

static const struct damage damages[] = {
	{ "lost entry", KIT_QUEUED, { "XDEL", "ready", "ENTRY" }, "held by nothing" },
	{ "lost entry of a running job",
	  KIT_RUNNING,
	  { "XDEL", "ready", "ENTRY" },
	  "held by nothing" },
	{ "second entry",
	  KIT_QUEUED,
	  { "XADD", "ready", "*", "j", "ID" },
	  "is not the one it names" },
	{ "not in due", KIT_SCHEDULED, { "ZREM", "due", "ID" }, "held by nothing" },
	{ "due at another time", KIT_RETRYING, { "ZADD", "due", "7", "ID" }, "due at 7" },
	{ "due as well", KIT_RUNNING, { "ZADD", "due", "7", "ID" }, "held by ready due" },
	{ "done as well", KIT_QUEUED, { "ZADD", "done", "7", "ID" }, "held by ready done" },
	{ "not in done", KIT_SUCCEEDED, { "ZREM", "done", "ID" }, "held by nothing" },
	{ "not in dead", KIT_FAILED, { "ZREM", "dead", "ID" }, "held by nothing" },
	{ "status by hand", KIT_SUCCEEDED, { "HSET", "JOB", "status", "queued" }, "held by done" },
	{ "status unknown", KIT_QUEUED, { "HSET", "JOB", "status", "lost" }, "status is 'lost'" },
	{ "not pending",
	  KIT_RUNNING,
	  { "XACK", "ready", "workers", "ENTRY" },
	  "pending with nobody" },
	{ "another's",
	  KIT_RUNNING,
	  { "XCLAIM", "ready", "workers", "x", "0", "ENTRY" },
	  "pending with x" },
	{ "negative starts", KIT_RUNNING, { "HSET", "JOB", "starts", "-1" }, "-1 starts" },
	{ "never started", KIT_RUNNING, { "HSET", "JOB", "epoch", "0" }, "epoch 0" },
	{ "over budget", KIT_RETRYING, { "HSET", "JOB", "failures", "4" }, "4 failures" },
	{ "payload lost", KIT_QUEUED, { "DEL", "IN" }, "without a payload" },
	{ "payload left over", KIT_SUCCEEDED, { "SET", "IN", "x" }, "with a payload" },
	{ "payload of another size", KIT_QUEUED, { "APPEND", "IN", "x" }, "its payload has" },
	{ "result of another size", KIT_SUCCEEDED, { "APPEND", "OUT", "x" }, "its result has" },
	{ "record lost, queued", KIT_QUEUED, { "DEL", "JOB" }, "has no record" },
	{ "record lost, done",
	  KIT_SUCCEEDED,
	  { "DEL", "JOB" },
	  "done holds it, but there is no record" },
	{ "record lost, only the payload is left",
	  KIT_NONE,
	  { "SET", "IN", "x" },
	  "a payload without a record" },
	{ "record lost, only the result is left",
	  KIT_NONE,
	  { "SET", "OUT", "x" },
	  "a result without a record" },
	{ "payload bytes",
	  KIT_QUEUED,
	  { "HINCRBY", "stat", "in_bytes", "1" },
	  "payload bytes in stat" },
	{ "result bytes",
	  KIT_SUCCEEDED,
	  { "HINCRBY", "stat", "out_bytes", "-1" },
	  "result bytes in stat" },
	{ "bytes of done jobs",
	  KIT_SUCCEEDED,
	  { "HINCRBY", "stat", "done_bytes", "-1" },
	  "done jobs in stat" },
	{ "a large value",
	  KIT_QUEUED,
	  { "HSET", "JOB", "type",
	    "0123456789012345678901234567890123456789012345678901234567890123456789" },
	  "not a listpack" },
	{ "events of a job that does not stream",
	  KIT_RUNNING,
	  { "XADD", "EV", "*", "k", "token" },
	  "does not stream" },
	{ "events without a record", KIT_NONE, { "XADD", "EV", "*", "k", "x" }, "events without" },
	{ "another job's entry", KIT_QUEUED, { "HSET", "JOB", "entry", "1-1" }, "held by nothing" },
};

/* of a job that streams */
static const struct damage stream_damages[] = {
	{ "events lost", KIT_RUNNING, { "DEL", "EV" }, "are gone" },
	{ "events that will run out", KIT_QUEUED, { "EXPIRE", "EV", "9" }, "run out" },
	{ "events kept for ever", KIT_FAILED, { "PERSIST", "EV" }, "for ever" },
	{ "no last event", KIT_CANCELLED, { "HSET", "JOB", "evd", "" }, "without a last event" },
};

static const char *
fill_in(const char *word, const struct queue_lease *lease, struct key *storage)
{
	static const struct {
		const char *name;
		enum queue_key key;
	} structures[] = { { "ready", QK_READY },
			   { "due", QK_DUE },
			   { "dead", QK_DEAD },
			   { "done", QK_DONE },
			   { "stat", QK_STAT } };
	struct str id = str_of(lease->job_id);

	if (strcmp(word, "ID") == 0)
		return lease->job_id;
	if (strcmp(word, "ENTRY") == 0)
		return lease->entry;
	if (strcmp(word, "JOB") == 0)
		*storage = key_job(kit_queue, id);
	else if (strcmp(word, "IN") == 0)
		*storage = key_payload(kit_queue, id);
	else if (strcmp(word, "EV") == 0)
		*storage = key_events(kit_queue, id);
	else if (strcmp(word, "OUT") == 0)
		*storage = key_result(kit_queue, id);
	else
		(void)str_copy(storage->text, sizeof(storage->text), str_of(word));
	for (size_t i = 0; i < ARRAY_SIZE(structures); i++) {
		if (strcmp(word, structures[i].name) == 0)
			*storage = key_queue(kit_queue, structures[i].key);
	}
	return storage->text;
}

static bool
reports(const struct queue_verify_report *report, const char *id, const char *text)
{
	for (size_t i = 0; i < report->text_count; i++) {
		if (strstr(report->texts[i], text) &&
		    (strstr(report->texts[i], id) || strstr(report->texts[i], "the queue")))
			return true;
	}
	return false;
}

static void
see_damages(void **state, const struct damage *table, size_t count, bool streams)
{
	for (size_t i = 0; i < count; i++) {
		const struct damage *damage = &table[i];
		struct queue_verify_report report;
		struct key storage[ARRAY_SIZE(damage->argv)];
		struct queue_lease lease;
		struct redis_cmd cmd;

		(void)kit_clear(state);
		kit_streams = streams;
		kit_make(damage->state, HOUR_MS, &lease);
		queue_check(kit, kit_queue, damage->name, NULL); /* sound before */
		redis_cmd_init(&cmd, damage->argv[0]);
		for (size_t k = 1; k < ARRAY_SIZE(damage->argv) && damage->argv[k]; k++)
			redis_arg_c(&cmd, fill_in(damage->argv[k], &lease, &storage[k]));
		MUST(redis_run(kit, &cmd, NULL, e));
		MUST(queue_verify(kit, kit_queue, &report, e));
		if (!reports(&report, lease.job_id, damage->text)) {
			for (size_t k = 0; k < report.text_count; k++)
				(void)fprintf(stderr, "  %s\n", report.texts[k]);
			fail_msg("%s: '%s' was not reported", damage->name, damage->text);
		}
	}
}

static void
every_damage_is_seen(void **state)
{
	see_damages(state, damages, ARRAY_SIZE(damages), false);
	see_damages(state, stream_damages, ARRAY_SIZE(stream_damages), true);
}

/* Hundreds of damaged jobs: all are counted, the first are told. */
static void
many_problems(void **state)
{
	struct queue_verify_report report;
	struct key dead = key_queue(kit_queue, QK_DEAD);

	(void)state;
	for (int i = 0; i < 250; i++) {
		char id[JOB_ID_BYTES];

		kit_submit(id);
		if (i % 2)
			MUST(REDIS_CALL(kit, NULL, e, "ZADD", dead.text, "1", id));
	}
	MUST(queue_verify(kit, kit_queue, &report, e));
	assert_true(report.problems >= 125);
	assert_int_equal(report.text_count, QUEUE_VERIFY_TEXTS);
	assert_int_equal(report.waiting, 250);
}

/* Every field as long as it may be: still a listpack, in every status. */
static void
the_longest_values(void **state)
{
	char id[JOB_ID_BYTES], collection[JOB_COLLECTION_BYTES], consumer[JOB_WORKER_BYTES];
	struct queue_submit submit = kit_submission(id);
	struct queue_submitted submitted;
	enum job_status status;
	struct queue_lease lease;

	(void)state;
	memset(collection, 'c', sizeof(collection));
	collection[sizeof(collection) - 1] = '\0';
	memset(consumer, 'w', sizeof(consumer));
	consumer[sizeof(consumer) - 1] = '\0';
	submit.collection = collection;
	submit.stream_ttl_ms = INT64_C(31536000000);
	submit.type = "a-type-of-23-characters";
	submit.expires_in_ms = submit.max_failures = submit.max_starts = INT64_C(999999999999);
	MUST(queue_submit(kit, &submit, &submitted, e));
	queue_check(kit, kit_queue, "submitted", NULL);
	assert_true(kit_take(consumer, &lease));
	MUST(queue_progress(kit, &lease, "a-stage-with-many-many-many-letters", INT64_MAX,
			    INT64_MAX, e));
	queue_check(kit, kit_queue, "running", NULL);
	MUST(kit_settle(&lease, SETTLE_FAIL, HOUR_MS, &status, e));
	queue_check(kit, kit_queue, "failed", NULL);
	assert_string_equal(kit_job(id).collection, collection);
	assert_string_equal(kit_job(id).worker, consumer);
}

/* The small scripts at maxmemory. */
static void
housekeeping_at_maxmemory(void **state)
{
	struct queue_keep_opts opts = kit_keep_opts();
	bool paused = false;

	(void)state;
	MUST(REDIS_CALL(kit, NULL, e, "CONFIG", "SET", "maxmemory", "1"));
	MUST(queue_announce(kit, kit_queue, "w", HOUR_MS, e));
	MUST(queue_pause(kit, kit_queue, true, e));
	MUST(queue_is_paused(kit, kit_queue, &paused, e));
	assert_true(paused);
	(void)kit_keep(&opts);
	MUST(queue_pause(kit, kit_queue, false, e));
	MUST(queue_leave(kit, kit_queue, "w", e));
	MUST(REDIS_CALL(kit, NULL, e, "CONFIG", "SET", "maxmemory", "0"));
}

/* One keeper at a time; the others do nothing and say so. */
static void
the_lock_of_keepers(void **state)
{
	struct queue_keep_opts opts = kit_keep_opts();
	struct queue_kept kept = { .promoted = 9 };
	struct queue_lease lease;

	(void)state;
	kit_make(KIT_SCHEDULED, 1, &lease);
	kit_await(kit_job(lease.job_id).due_ms);

	struct key lock = key_lock(kit_queue, "keep");

	MUST(REDIS_CALL(kit, NULL, e, "SET", lock.text, "somebody else", "PX", "60000"));
	MUST(queue_keep(kit, kit_queue, "me", &opts, &kept, e));
	assert_int_equal(kept.promoted, 0);
	assert_int_equal(kit_status(lease.job_id), JOB_SCHEDULED);
	MUST(REDIS_CALL(kit, NULL, e, "DEL", lock.text));
	MUST(queue_keep(kit, kit_queue, "me", &opts, &kept, e));
	assert_int_equal(kept.promoted, 1);
	assert_true(kit_number("PTTL", lock.text) >
		    0); /* a keeper that dies does not hold it for ever */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(every_damage_is_seen, kit_clear),
		cmocka_unit_test_setup(many_problems, kit_clear),
		cmocka_unit_test_setup(the_longest_values, kit_clear),
		cmocka_unit_test_setup(housekeeping_at_maxmemory, kit_clear),
		cmocka_unit_test_setup(the_lock_of_keepers, kit_clear),
	};

	return cmocka_run_group_tests(tests, kit_start, kit_stop);
}
