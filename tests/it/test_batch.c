/*
 * Batches on a real Redis: every script called twice, at maxmemory, and for each way that a child can end; after every step
 * queue_verify counts the lines again.
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
#include "common/batch.h"
#include "tests/support/must.h"
#include "tests/support/queue_check.h"
#include "tests/support/queue_kit.h"

static struct batch_upload upload;
static struct err bad_line;

static void
new_upload(void)
{
	upload = (struct batch_upload){ .queue = kit_queue,
					.lease_ms = HOUR_MS,
					.collection = "default",
					.tenant = "default",
					.fingerprint = STR("f"),
					.type = "ingest",
					.max_starts = 3,
					.max_failures = 3,
					.max_jobs = 1000000,
					.max_bytes = 1000000000 };
	id_ulid(upload.token);
	job_id_new(kit_queue, upload.id);
	(void)err_set(&bad_line, ERR_MALFORMED, "not valid JSON");
}

static enum batch_opened
open_upload(struct job *out)
{
	enum batch_opened opened = BATCH_COMPLETE;

	MUST(batch_open(kit, &upload, &opened, out, e));
	return opened;
}

static struct batch_line
a_line(int64_t number)
{
	struct batch_line line = { .line = number,
				   .payload = STR("payload"),
				   .result = BATCH_LINE_NEW };

	memcpy(line.hash, &number, sizeof(line.hash));
	return line;
}

static struct batch_line
add_line(int64_t number, bool bad)
{
	struct batch_line line = a_line(number);

	line.error = bad ? &bad_line : NULL;
	line.document_id = bad ? STR("") : STR("a document");
	MUST(batch_add(kit, &upload, &line, 1, e));
	return line;
}

static void
add(int64_t number)
{
	assert_int_equal(add_line(number, false).result, BATCH_LINE_ADDED);
}

static struct job
batch(void)
{
	return kit_job(upload.id);
}

/* pending succeeded failed cancelled expired rejected, and the status */
static void
expect(const char *where, const char *counts)
{
	struct job job = batch();
	char got[128];

	(void)snprintf(got, sizeof(got), "%lld %lld %lld %lld %lld %lld %s",
		       (long long)job.batch.pending, (long long)job.batch.succeeded,
		       (long long)job.batch.failed, (long long)job.batch.cancelled,
		       (long long)job.batch.expired, (long long)job.batch.rejected,
		       job_status_name(job.status));
	if (strcmp(got, counts) != 0)
		fail_msg("%s: expected '%s', got '%s'", where, counts, got);
	queue_check(kit, kit_queue, where, NULL);
}

static void
seal(bool complete)
{
	struct job job;

	MUST(batch_seal(kit, &upload, complete, &job, e));
}

static const char *
child(int64_t line)
{
	static char id[JOB_ID_BYTES];

	job_id_child(upload.id, line, id);
	return id;
}

static void
settle(struct queue_lease *lease, enum queue_settle_kind kind, enum job_status expected)
{
	enum job_status status = JOB_STATUS_COUNT;

	MUST(kit_settle(lease, kind, 1, &status, e));
	assert_int_equal(status, expected);
}

/* ---- an upload ---- */

static void
an_upload_is_opened_added_to_and_sealed(void **state)
{
	struct job job;

	(void)state;
	new_upload();
	assert_int_equal(open_upload(&job), BATCH_NEW);
	assert_true(job.batch.is);
	assert_false(job.batch.sealed);
	assert_string_equal(job.stage, "upload");
	expect("opened", "0 0 0 0 0 0 running");
	assert_int_equal(open_upload(&job), BATCH_RESUMED);
	add(1);
	add(2);
	assert_int_equal(add_line(3, true).result, BATCH_LINE_ADDED);
	expect("added", "2 0 0 0 0 1 running");

	/* again: nothing is added twice, and another line under the same number is noticed */
	struct batch_line known = add_line(2, false), other = a_line(2);

	assert_int_equal(known.result, BATCH_LINE_KNOWN);
	assert_int_equal(known.state, 'p');
	assert_int_equal(add_line(3, true).state, 'x');
	other.hash[0] = 'X';
	MUST(batch_add(kit, &upload, &other, 1, e));
	assert_int_equal(other.result, BATCH_LINE_DIFFERS);
	expect("added again", "2 0 0 0 0 1 running");

	seal(true);
	expect("sealed", "2 0 0 0 0 1 running");
	seal(true);
	seal(false);
	job = batch();
	assert_true(job.batch.sealed);
	assert_false(job.batch.partial);
	assert_int_equal(job.batch.last_line, 3);
	assert_int_equal(add_line(4, false).result, BATCH_LINE_CLOSED);
	assert_int_equal(open_upload(&job), BATCH_COMPLETE);
	expect("complete", "2 0 0 0 0 1 running");
}

static void
the_later_upload_takes_over(void **state)
{
	char first[ID_ULID_BYTES];
	struct job job;
	bool open;

	(void)state;
	new_upload();
	(void)open_upload(&job);
	add(1);
	memcpy(first, upload.token, sizeof(first));
	id_ulid(upload.token);
	assert_int_equal(open_upload(&job), BATCH_RESUMED);
	memcpy(upload.token, first, sizeof(first));
	assert_int_equal(add_line(2, false).result, BATCH_LINE_CLOSED);
	MUST(batch_renew(kit, &upload, &open, e));
	assert_false(open);
	seal(true); /* not its batch any more */
	assert_false(batch().batch.sealed);
	expect("taken over", "1 0 0 0 0 0 running");
}

static void
another_request_does_not_get_the_batch(void **state)
{
	enum batch_opened opened;
	struct err err = ERR_INIT;
	struct job job;

	(void)state;
	new_upload();
	(void)open_upload(&job);
	upload.fingerprint = STR("g");
	assert_false(batch_open(kit, &upload, &opened, &job, &err));
	assert_int_equal(err.code, ERR_IDEMPOTENCY_REUSED);
	/* nor is an ordinary job one */
	err_clear(&err);
	kit_submit(upload.id);
	assert_false(batch_open(kit, &upload, &opened, &job, &err));
	assert_int_equal(err.code, ERR_IDEMPOTENCY_REUSED);
}

static void
an_abandoned_upload_is_sealed_as_partial(void **state)
{
	struct queue_keep_opts opts = kit_keep_opts();
	struct job job;

	(void)state;
	new_upload();
	upload.lease_ms = HOUR_MS;
	(void)open_upload(&job);
	add(1);
	assert_int_equal(kit_keep(&opts).sealed, 0);
	upload.lease_ms = 1;
	bool open = false;
	MUST(batch_renew(kit, &upload, &open, e));
	assert_true(open);
	kit_await(kit_now() + 2);
	assert_int_equal(kit_keep(&opts).sealed, 1);
	assert_int_equal(kit_keep(&opts).sealed, 0);
	job = batch();
	assert_true(job.batch.sealed && job.batch.partial);
	expect("abandoned", "1 0 0 0 0 0 running");

	/* it ends, and the same upload opens it again */
	struct queue_lease lease;

	assert_true(kit_take("c", &lease));
	settle(&lease, SETTLE_SUCCEED, JOB_SUCCEEDED);
	expect("partial and over", "0 1 0 0 0 0 succeeded");
	upload.lease_ms = HOUR_MS;
	assert_int_equal(open_upload(&job), BATCH_RESUMED);
	assert_int_equal(add_line(1, false).state, 's');
	expect("open again", "0 1 0 0 0 0 running");
	add(2);
	seal(true);
	assert_true(kit_take("c", &lease));
	settle(&lease, SETTLE_SUCCEED, JOB_SUCCEEDED);
	expect("complete", "0 2 0 0 0 0 succeeded");
	assert_false(batch().batch.partial);
}

/* The keepers were faster than an upload that had only its seal left: the whole body is there, and nothing is partial. */
static void
a_seal_after_the_lease_completes_the_batch(void **state)
{
	struct queue_keep_opts opts = kit_keep_opts();
	char token[ID_ULID_BYTES];
	struct job job;

	(void)state;
	new_upload();
	upload.lease_ms = 1;
	(void)open_upload(&job);
	add(1);
	kit_await(kit_now() + 2);
	assert_int_equal(kit_keep(&opts).sealed, 1);
	assert_true(batch().batch.partial);
	memcpy(token, upload.token, sizeof(token));
	id_ulid(upload.token);
	seal(true); /* of another upload: it may lack lines */
	assert_true(batch().batch.partial);
	memcpy(upload.token, token, sizeof(token));
	seal(false);
	assert_true(batch().batch.partial);
	seal(true);
	assert_true(batch().batch.sealed);
	assert_false(batch().batch.partial);
	expect("whole", "1 0 0 0 0 0 running");
	assert_int_equal(open_upload(&job), BATCH_COMPLETE);

	struct queue_lease lease;

	assert_true(kit_take("c", &lease));
	settle(&lease, SETTLE_SUCCEED, JOB_SUCCEEDED);
	expect("over", "0 1 0 0 0 0 succeeded");
}

static void
an_empty_batch_is_over_at_once(void **state)
{
	struct job job;

	(void)state;
	new_upload();
	(void)open_upload(&job);
	seal(true);
	expect("empty", "0 0 0 0 0 0 succeeded");
}

static void
admission_holds_for_lines(void **state)
{
	struct batch_line lines[3] = { a_line(1), a_line(2), a_line(3) };
	struct job job;

	(void)state;
	new_upload();
	(void)open_upload(&job);
	upload.max_jobs = 2;
	MUST(batch_add(kit, &upload, lines, 3, e));
	assert_int_equal(lines[1].result, BATCH_LINE_ADDED);
	assert_int_equal(lines[2].result, BATCH_LINE_FULL);
	upload.max_jobs = 3;
	MUST(batch_add(kit, &upload, lines, 3, e));
	assert_int_equal(lines[2].result, BATCH_LINE_ADDED);
	upload.max_bytes = 1;
	assert_int_equal(add_line(4, false).result, BATCH_LINE_FULL);
	/* a rejected line needs no room */
	assert_int_equal(add_line(5, true).result, BATCH_LINE_ADDED);
	expect("full", "3 0 0 0 0 1 running");
}

static void
maxmemory(bool on)
{
	MUST(REDIS_CALL(kit, NULL, e, "CONFIG", "SET", "maxmemory", on ? "1" : "0"));
}

static void
at_maxmemory_lines_are_refused_and_children_end(void **state)
{
	enum batch_opened opened;
	struct queue_lease lease;
	struct err err = ERR_INIT;
	struct job job;

	(void)state;
	new_upload();
	(void)open_upload(&job);
	for (int64_t i = 1; i <= 4; i++)
		add(i);
	maxmemory(true);
	assert_int_equal(add_line(5, false).result, BATCH_LINE_FULL);
	assert_int_equal(add_line(6, true).result, BATCH_LINE_FULL);
	assert_true(kit_take("c", &lease));
	settle(&lease, SETTLE_SUCCEED, JOB_SUCCEEDED);
	assert_true(kit_take("c", &lease));
	settle(&lease, SETTLE_FAIL, JOB_FAILED);
	MUST(queue_cancel(kit, str_of(child(3)), NULL, &job, e));
	bool open = false;
	MUST(batch_renew(kit, &upload, &open, e));
	assert_true(open);
	MUST(queue_cancel(kit, str_of(upload.id), NULL, &job, e));
	while (kit_take("c", &lease))
		fail_msg("a child of a cancelled batch was started");
	job_id_new(kit_queue, upload.id);
	assert_false(batch_open(kit, &upload, &opened, &job, &err));
	assert_int_equal(err.code, ERR_REDIS_FULL);
	maxmemory(false);
	assert_false(kit_exists(upload.id));
}

/* ---- how children end ---- */

static void
every_end_is_counted_once(void **state)
{
	struct queue_lease lease;
	struct job job;

	(void)state;
	new_upload();
	(void)open_upload(&job);
	for (int64_t i = 1; i <= 6; i++)
		add(i);
	seal(true);

	assert_true(kit_take("c", &lease));
	settle(&lease, SETTLE_SUCCEED, JOB_SUCCEEDED);
	expect("succeeded", "5 1 0 0 0 0 running");
	assert_false(kit_exists(child(1))); /* its line is all that is kept */
	settle(&lease, SETTLE_SUCCEED, JOB_SUCCEEDED);
	expect("succeeded twice", "5 1 0 0 0 0 running");
	lease.epoch++; /* another start never was */
	enum job_status status;
	struct err err = ERR_INIT;
	assert_false(kit_settle(&lease, SETTLE_SUCCEED, 0, &status, &err));
	assert_int_equal(err.code, ERR_STALE);

	assert_true(kit_take("c", &lease));
	settle(&lease, SETTLE_FAIL, JOB_FAILED);
	settle(&lease, SETTLE_FAIL, JOB_FAILED);
	expect("failed", "4 1 1 0 0 0 running");

	MUST(queue_cancel(kit, str_of(child(3)), NULL, &job, e));
	MUST(queue_cancel(kit, str_of(child(3)), NULL, &job, e));
	expect("cancelled", "3 1 1 1 0 0 running");

	assert_true(kit_take("c", &lease));
	settle(&lease, SETTLE_RETRY, JOB_RETRYING);
	expect("retrying", "3 1 1 1 0 0 running");
	kit_await(kit_job(child(4)).due_ms);
	struct queue_keep_opts opts = kit_keep_opts();
	(void)kit_keep(&opts);
	expect("promoted", "3 1 1 1 0 0 running");

	/* running, asked to stop, and its worker lost */
	assert_true(kit_take("c", &lease));
	MUST(queue_cancel(kit, str_of(lease.job_id), NULL, &job, e));
	assert_int_equal(job.status, JOB_CANCELLING);
	expect("cancelling", "3 1 1 1 0 0 running");
	opts.lease_ms = 0;
	opts.may_reap = true;
	assert_int_equal(kit_keep(&opts).reaped, 1);
	expect("reaped as cancelled", "2 1 1 2 0 0 running");
	opts = kit_keep_opts();

	for (int i = 0; i < 2; i++) {
		assert_true(kit_take("c", &lease));
		settle(&lease, SETTLE_SUCCEED, JOB_SUCCEEDED);
	}
	expect("over", "0 3 1 2 0 0 succeeded");

	/* an operator's retry of the dead one never un-finishes the batch */
	MUST(queue_retry_dead(kit, str_of(child(2)), &job, e));
	MUST(queue_retry_dead(kit, str_of(child(2)), &job, e));
	expect("retried", "1 3 0 2 0 0 succeeded");
	assert_true(kit_take("c", &lease));
	settle(&lease, SETTLE_SUCCEED, JOB_SUCCEEDED);
	expect("retried and done", "0 4 0 2 0 0 succeeded");
}

static void
a_poisonous_child_is_a_failed_line(void **state)
{
	struct queue_keep_opts opts = kit_keep_opts();
	struct queue_lease lease;
	struct job job;

	(void)state;
	new_upload();
	upload.max_starts = 1;
	(void)open_upload(&job);
	add(7);
	seal(true);
	assert_true(kit_take("c", &lease));
	opts.lease_ms = 0;
	opts.may_reap = true;
	(void)kit_keep(&opts);
	expect("poisoned", "0 0 1 0 0 0 succeeded");
	(void)kit_keep(&opts);
	expect("poisoned twice", "0 0 1 0 0 0 succeeded");
}

static void
late_children_expire(void **state)
{
	struct queue_entry entry;
	struct queue_lease lease;
	struct job job;

	(void)state;
	new_upload();
	upload.expires_in_ms = 1;
	(void)open_upload(&job);
	add(1);
	seal(true);
	kit_await(kit_job(child(1)).expires_ms);
	assert_true(kit_fetch("c", &entry));
	assert_int_equal(kit_start_entry(&entry, "c", &lease), QUEUE_START_ENDED);
	expect("expired", "0 0 0 0 1 0 succeeded");
	assert_int_equal(kit_start_entry(&entry, "c", &lease), QUEUE_START_SKIPPED);
	expect("expired twice", "0 0 0 0 1 0 succeeded");
}

static void
cancelling_a_batch_is_one_flag(void **state)
{
	struct queue_keep_opts opts = kit_keep_opts();
	struct queue_lease running, failing, lease;
	struct job job;
	struct err err = ERR_INIT;

	(void)state;
	new_upload();
	(void)open_upload(&job);
	for (int64_t i = 1; i <= 6; i++)
		add(i);
	assert_true(kit_take("c", &running));
	assert_true(kit_take("c", &failing));
	assert_true(kit_take("c", &lease));
	settle(&lease, SETTLE_RETRY, JOB_RETRYING);
	int64_t due_ms = kit_job(lease.job_id).due_ms;

	MUST(queue_cancel(kit, str_of(upload.id), NULL, &job, e));
	assert_int_equal(job.status, JOB_CANCELLING);
	assert_true(job.batch.partial);
	MUST(queue_cancel(kit, str_of(upload.id), NULL, &job, e));
	expect("cancelling", "6 0 0 0 0 0 cancelling");
	assert_int_equal(add_line(7, false).result, BATCH_LINE_CLOSED);
	assert_int_equal(open_upload(&job), BATCH_COMPLETE);

	settle(&running, SETTLE_SUCCEED, JOB_SUCCEEDED); /* success wins */
	settle(&failing, SETTLE_RETRY, JOB_CANCELLED);	 /* no second try */
	expect("running ones ended", "4 1 0 1 0 0 cancelling");
	kit_await(due_ms);
	(void)kit_keep(&opts);
	expect("due one ended", "3 1 0 2 0 0 cancelling");
	assert_false(kit_take("c", &lease)); /* the waiting ones end as they are reached */
	expect("all ended", "0 1 0 5 0 0 cancelled");
	MUST(queue_cancel(kit, str_of(upload.id), NULL, &job, e));

	new_upload();
	(void)open_upload(&job);
	seal(true);
	assert_false(queue_cancel(kit, str_of(upload.id), NULL, &job, &err));
	assert_int_equal(err.code, ERR_ALREADY_FINAL);
}

/* ---- forgetting ---- */

static int64_t
keys_left(void)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;

	MUST(REDIS_CALL(kit, &reply, e, "KEYS", "rag:{ingest.0}:[ijro]*:*"));
	return (int64_t)reply_len(reply);
}

static void
add_many(int64_t from, int64_t to)
{
	struct batch_line lines[BATCH_MAX_LINES];

	while (from <= to) {
		size_t count = 0;

		for (; from <= to && count < BATCH_MAX_LINES; from++) {
			lines[count] = a_line(from);
			lines[count++].error = &bad_line;
		}
		MUST(batch_add(kit, &upload, lines, count, e));
	}
}

static void
a_batch_goes_with_all_its_items(void **state)
{
	struct queue_keep_opts opts = kit_keep_opts();
	struct queue_lease lease;
	struct err err = ERR_INIT;
	struct job job;

	(void)state;
	for (int by_age = 0; by_age < 2; by_age++) {
		(void)kit_clear(state);
		new_upload();
		(void)open_upload(&job);
		add(1);
		add_many(2, 12000); /* more buckets than one call removes */
		seal(true);
		assert_false(queue_forget(kit, str_of(upload.id), &err));
		assert_int_equal(err.code, ERR_NOT_FINAL);
		assert_true(kit_take("c", &lease));
		settle(&lease, SETTLE_FAIL, JOB_FAILED);
		expect("over", "0 0 1 0 0 11999 succeeded");
		if (by_age) {
			opts.done_max_age_ms = 0;
			kit_await(kit_now());
			assert_int_equal(kit_keep(&opts).swept, 1);
		} else {
			MUST(queue_forget(kit, str_of(upload.id), e));
		}
		assert_false(kit_exists(upload.id));
		/* the dead child stays, with its payload and its error */
		assert_int_equal(keys_left(), 3);
		queue_check(kit, kit_queue, "forgotten", NULL);

		/* the same upload again finds it dead */
		assert_int_equal(open_upload(&job), BATCH_NEW);
		add(1);
		add(2);
		expect("adopted", "1 0 1 0 0 0 running");
		MUST(queue_retry_dead(kit, str_of(child(1)), &job, e));
		expect("retried", "2 0 0 0 0 0 running");
	}
}

static void
a_removal_that_was_cut_short_goes_on(void **state)
{
	struct job job;

	(void)state;
	new_upload();
	(void)open_upload(&job);
	add_many(1, 30000);
	seal(true);
	MUST(REDIS_CALL(kit, NULL, e, "HSET", key_job(kit_queue, str_of(upload.id)).text, "drop",
			"0"));
	MUST(batch_drop_some(kit, kit_queue, str_of(upload.id), 1, e));
	assert_true(kit_exists(upload.id));
	queue_check(kit, kit_queue, "half removed", NULL);
	assert_int_equal(open_upload(&job), BATCH_NEW); /* finishes it first */
	assert_int_equal(job.batch.rejected, 0);
	queue_check(kit, kit_queue, "removed", NULL);
}

/* ---- items ---- */

static void
items_say_what_became_of_each_line(void **state)
{
	AUTO(arena) struct arena arena;
	struct batch_page page = { .status = -1, .limit = 3 };
	struct queue_lease lease;
	struct job job;

	(void)state;
	arena_init(&arena, 1 << 20);
	new_upload();
	(void)open_upload(&job);
	add(1);
	add(2);
	assert_int_equal(add_line(150, true).result, BATCH_LINE_ADDED);
	add(1200);
	struct batch_line nameless = a_line(1201);
	MUST(batch_add(kit, &upload, &nameless, 1, e));
	seal(true);
	assert_true(kit_take("c", &lease));
	settle(&lease, SETTLE_SUCCEED, JOB_SUCCEEDED);
	assert_true(kit_take("c", &lease));
	settle(&lease, SETTLE_FAIL, JOB_FAILED);
	assert_true(kit_take("c", &lease));
	job = batch();

	MUST(batch_items(kit, &job, &arena, &page, e));
	assert_int_equal(page.count, 3);
	assert_int_equal(page.items[0].line, 1);
	assert_int_equal(page.items[0].status, JOB_SUCCEEDED);
	assert_false(page.items[0].has_job);
	assert_true(str_eq_c(page.items[0].document_id, "a document"));
	assert_int_equal(page.items[1].status, JOB_FAILED);
	assert_true(page.items[1].has_job);
	assert_int_equal(page.items[1].error->code, ERR_TIMEOUT);
	assert_string_equal(page.items[1].error->msg, "it broke");
	assert_int_equal(page.items[2].line, 150);
	assert_true(page.items[2].rejected);
	assert_string_equal(page.items[2].error->msg, "not valid JSON");
	assert_int_equal(page.from_line, 151);

	MUST(batch_items(kit, &job, &arena, &page, e));
	assert_int_equal(page.count, 2);
	assert_int_equal(page.from_line, 0);
	assert_int_equal(page.items[0].status, JOB_RUNNING);
	assert_int_equal(page.items[1].status, JOB_QUEUED);
	assert_true(str_ends(page.items[1].document_id, "-1201"));

	page = (struct batch_page){ .status = JOB_FAILED, .limit = 1000 };
	MUST(batch_items(kit, &job, &arena, &page, e));
	assert_int_equal(page.count, 2);
	/* a dead child that was removed: its line still says so, and names no job */
	assert_true(page.items[0].has_job);
	MUST(queue_forget(kit, str_of(child(page.items[0].line)), e));
	page = (struct batch_page){ .status = JOB_FAILED, .limit = 1000 };
	MUST(batch_items(kit, &job, &arena, &page, e));
	assert_int_equal(page.count, 2);
	assert_false(page.items[0].has_job);
	assert_non_null(page.items[0].error);
	page = (struct batch_page){ .status = JOB_QUEUED, .limit = 1000 };
	MUST(batch_items(kit, &job, &arena, &page, e));
	assert_int_equal(page.count, 1);
	assert_int_equal(page.items[0].line, 1201);
}

/* The figure of docs/architecture.md: what a line that succeeded costs. */
static void
an_item_is_small(void **state)
{
	enum { LINES = 10000 };
	struct batch_line line;
	struct queue_lease lease;
	char id[32], text[64];
	int64_t bytes = 0;
	struct job job;

	(void)state;
	new_upload();
	(void)open_upload(&job);
	for (int64_t i = 1; i <= LINES; i++) {
		enum job_status status;

		line = a_line(i);
		(void)snprintf(id, sizeof(id), "document-%lld", (long long)i);
		line.document_id = str_of(id);
		MUST(batch_add(kit, &upload, &line, 1, e));
		assert_true(kit_take("c", &lease));
		MUST(kit_settle(&lease, SETTLE_SUCCEED, 0, &status, e));
	}
	for (int64_t bucket = 0; bucket <= LINES / KEYS_BUCKET_LINES; bucket++) {
		AUTO_PTR(reply_free) struct reply *reply = NULL, *encoding = NULL;
		struct key key = key_batch_items(kit_queue, str_of(upload.id), bucket);
		struct str name;
		int64_t of_one = 0;

		MUST(REDIS_CALL(kit, &reply, e, "MEMORY", "USAGE", key.text));
		MUST(REDIS_CALL(kit, &encoding, e, "OBJECT", "ENCODING", key.text));
		assert_true(reply_str(encoding, &name) && !str_eq_c(name, "hashtable"));
		assert_true(reply_i64(reply, &of_one));
		bytes += of_one;
	}
	(void)snprintf(text, sizeof(text), "an item: %.1f bytes", (double)bytes / LINES);
	print_message("%s\n", text);
	assert_true(bytes < 60L * LINES);
	expect("10,000 lines", "0 10000 0 0 0 0 running");
}

/* ---- lists, and what the verifier finds ---- */

static void
batches_are_in_the_lists_of_jobs(void **state)
{
	AUTO(arena) struct arena arena;
	struct queue_list list = { .queue = kit_queue, .status = JOB_RUNNING, .limit = 10 };
	struct job *jobs, job;
	size_t count;

	(void)state;
	arena_init(&arena, 1 << 20);
	new_upload();
	(void)open_upload(&job);
	add(1);
	MUST(queue_list(kit, &list, &arena, &jobs, &count, e));
	assert_int_equal(count, 1);
	assert_string_equal(jobs[0].type, "import");
	list.status = -1;
	list.cursor[0] = '\0';
	MUST(queue_list(kit, &list, &arena, &jobs, &count, e));
	assert_int_equal(count, 2);
}

static void
plant(const char *command, const char *key, const char *field, const char *value,
      const char *expected)
{
	struct queue_verify_report report;
	AUTO_PTR(reply_free) struct reply *before = NULL;
	bool found = false;

	MUST(REDIS_CALL(kit, &before, e, "DUMP", key));
	MUST(value ? REDIS_CALL(kit, NULL, e, command, key, field, value)
		   : REDIS_CALL(kit, NULL, e, command, key, field));
	MUST(queue_verify(kit, kit_queue, &report, e));
	for (size_t i = 0; i < report.text_count; i++)
		found = found || strstr(report.texts[i], expected);
	if (!found)
		fail_msg("%s %s %s: not found; %lld problems, the first: %s", command, key, field,
			 (long long)report.problems, report.text_count ? report.texts[0] : "-");

	struct redis_cmd cmd;
	struct str dump;

	assert_true(reply_str(before, &dump));
	redis_cmd_init(&cmd, "RESTORE");
	redis_arg_c(&cmd, key);
	redis_arg_c(&cmd, "0");
	redis_arg(&cmd, dump);
	redis_arg_c(&cmd, "REPLACE");
	MUST(redis_run(kit, &cmd, NULL, e));
	queue_check(kit, kit_queue, "put right", NULL);
}

static void
the_verifier_finds_planted_damage(void **state)
{
	struct queue_lease lease;
	struct key record, items, batches;
	struct job job;

	(void)state;
	new_upload();
	(void)open_upload(&job);
	for (int64_t i = 1; i <= 3; i++)
		add(i);
	seal(true);
	assert_true(kit_take("c", &lease));
	settle(&lease, SETTLE_SUCCEED, JOB_SUCCEEDED);
	queue_check(kit, kit_queue, "before", NULL);
	record = key_job(kit_queue, str_of(upload.id));
	items = key_batch_items(kit_queue, str_of(upload.id), 0);
	batches = key_queue(kit_queue, QK_BATCHES);
	plant("HINCRBY", record.text, "n_ok", "1", "counts 2 lines in state 's'");
	plant("HSET", record.text, "lines", "2", "its greatest line is 3");
	plant("HSET", items.text, "2", "s12345678", "its line in the batch is 's'");
	plant("HSET", items.text, "2", "q12345678", "is none");
	plant("HDEL", items.text, "1", NULL, "counts 1 lines in state 's'");
	plant("ZREM", batches.text, upload.id, NULL, "held by nothing");
	plant("HSET", record.text, "status", "succeeded", "held by batches");
	/* a child that is lost: its line waits for ever */
	MUST(queue_cancel(kit, str_of(child(3)), NULL, &job, e));
	plant("HSET", items.text, "3", "p12345678", "its line in the batch is 'p'");
	MUST(queue_forget(kit, str_of(child(3)), e));
	plant("HSET", items.text, "3", "p12345678", "its batch waits for it");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(an_upload_is_opened_added_to_and_sealed, kit_clear),
		cmocka_unit_test_setup(the_later_upload_takes_over, kit_clear),
		cmocka_unit_test_setup(another_request_does_not_get_the_batch, kit_clear),
		cmocka_unit_test_setup(an_abandoned_upload_is_sealed_as_partial, kit_clear),
		cmocka_unit_test_setup(a_seal_after_the_lease_completes_the_batch, kit_clear),
		cmocka_unit_test_setup(an_empty_batch_is_over_at_once, kit_clear),
		cmocka_unit_test_setup(admission_holds_for_lines, kit_clear),
		cmocka_unit_test_setup(at_maxmemory_lines_are_refused_and_children_end, kit_clear),
		cmocka_unit_test_setup(every_end_is_counted_once, kit_clear),
		cmocka_unit_test_setup(a_poisonous_child_is_a_failed_line, kit_clear),
		cmocka_unit_test_setup(late_children_expire, kit_clear),
		cmocka_unit_test_setup(cancelling_a_batch_is_one_flag, kit_clear),
		cmocka_unit_test_setup(a_batch_goes_with_all_its_items, kit_clear),
		cmocka_unit_test_setup(a_removal_that_was_cut_short_goes_on, kit_clear),
		cmocka_unit_test_setup(items_say_what_became_of_each_line, kit_clear),
		cmocka_unit_test_setup(an_item_is_small, kit_clear),
		cmocka_unit_test_setup(batches_are_in_the_lists_of_jobs, kit_clear),
		cmocka_unit_test_setup(the_verifier_finds_planted_damage, kit_clear),
	};

	return cmocka_run_group_tests(tests, kit_start, kit_stop);
}
