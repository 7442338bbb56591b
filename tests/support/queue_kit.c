#include "tests/support/queue_kit.h"

#include <string.h>

#include "common/base/clock.h"
#include "tests/support/must.h"

struct redis_server *kit_server;
struct redis *kit;
bool kit_streams;
const struct queue_ref kit_queue = { "ingest", 0 };
const char *const kit_state_names[KIT_STATES] = { "scheduled", "queued",     "delivered", "running",
						  "retrying",  "cancelling", "succeeded", "failed",
						  "cancelled", "expired",    "none" };

int
kit_start(void **state)
{
	(void)state;
	kit_server = redis_server_start(NULL);
	kit = redis_server_connect(kit_server);
	return 0;
}

int
kit_stop(void **state)
{
	(void)state;
	redis_free(kit);
	redis_server_stop(kit_server);
	return 0;
}

int
kit_clear(void **state)
{
	(void)state;
	MUST(REDIS_CALL(kit, NULL, e, "CONFIG", "SET", "maxmemory", "0"));
	MUST(REDIS_CALL(kit, NULL, e, "FLUSHALL"));
	kit_streams = false;
	MUST(queue_ensure_group(kit, kit_queue, e));
	return 0;
}

int64_t
kit_now(void)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	int64_t seconds = 0, micros = 0;

	MUST(REDIS_CALL(kit, &reply, e, "TIME"));
	assert_true(reply_i64(reply_at(reply, 0), &seconds));
	assert_true(reply_i64(reply_at(reply, 1), &micros));
	return seconds * 1000 + micros / 1000;
}

void
kit_await(int64_t redis_ms)
{
	while (kit_now() <= redis_ms)
		;
}

int64_t
kit_number(const char *command, const char *key)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	int64_t number = 0;

	MUST(REDIS_CALL(kit, &reply, e, command, key));
	assert_true(reply_i64(reply, &number));
	return number;
}

struct queue_submit
kit_submission(char id[JOB_ID_BYTES])
{
	job_id_new(kit_queue, id);
	return (struct queue_submit){ .queue = kit_queue,
				      .id = id,
				      .type = "ingest",
				      .collection = "default",
				      .stream_ttl_ms = kit_streams ? HOUR_MS : 0,
				      .payload = STR("payload"),
				      .idem_ttl_ms = HOUR_MS,
				      .max_starts = 3,
				      .max_failures = 3,
				      .max_jobs = 1000000,
				      .max_bytes = 1000000000 };
}

void
kit_submit(char id[JOB_ID_BYTES])
{
	struct queue_submit submit = kit_submission(id);
	struct queue_submitted submitted;

	MUST(queue_submit(kit, &submit, &submitted, e));
	assert_string_equal(submitted.id, id);
	assert_false(submitted.replayed);
}

struct job
kit_job(const char *id)
{
	struct job job;

	MUST(queue_get(kit, str_of(id), &job, e));
	return job;
}

enum job_status
kit_status(const char *id)
{
	return kit_job(id).status;
}

bool
kit_exists(const char *id)
{
	return kit_number("EXISTS", key_job(kit_queue, str_of(id)).text) == 1;
}

bool
kit_fetch(const char *consumer, struct queue_entry *out)
{
	bool got = false;

	MUST(queue_fetch(kit, kit_queue, consumer, 0, &got, out, e));
	return got;
}

enum queue_start_result
kit_start_entry(const struct queue_entry *entry, const char *consumer, struct queue_lease *out)
{
	AUTO(arena) struct arena arena;
	const struct queue_start how = { consumer, 1 << 20, &arena };
	struct queue_started started = { .result = QUEUE_START_SKIPPED };

	arena_init(&arena, 1 << 20);
	MUST(queue_start(kit, kit_queue, entry, &how, &started, e));
	if (started.result == QUEUE_STARTED) {
		*out = started.lease;
		assert_true(str_eq_c(started.payload, "payload"));
		assert_string_equal(out->job_id, entry->job_id);
		assert_string_equal(out->entry, entry->entry);
		assert_string_equal(out->consumer, consumer);
		assert_string_equal(started.job.worker, consumer);
		assert_int_equal(started.job.epoch, out->epoch);
	}
	return started.result;
}

bool
kit_take(const char *consumer, struct queue_lease *out)
{
	struct queue_entry entry;

	while (kit_fetch(consumer, &entry)) {
		if (kit_start_entry(&entry, consumer, out) == QUEUE_STARTED)
			return true;
	}
	return false;
}

bool
kit_settle(const struct queue_lease *lease, enum queue_settle_kind kind, int64_t due_ms,
	   enum job_status *out, struct err *err)
{
	struct err broke = ERR_INIT;
	struct queue_settle settle = { .kind = kind,
				       .result = STR("result"),
				       .retry_after_ms = due_ms,
				       .backoff_base_ms = 1,
				       .backoff_max_ms = 1,
				       .result_ttl_ms = HOUR_MS,
				       .done_max_age_ms = HOUR_MS,
				       .dead_max_age_ms = HOUR_MS };

	(void)err_set(&broke, ERR_TIMEOUT, "it broke");
	if (kind == SETTLE_RETRY || kind == SETTLE_FAIL || kind == SETTLE_OUTAGE ||
	    kind == SETTLE_WAIT) {
		settle.waiting_for = "it: requests per minute";
		settle.error = &broke;
		settle.result = STR("");
	}
	return queue_settle(kit, lease, &settle, out, err);
}

struct queue_keep_opts
kit_keep_opts(void)
{
	return (struct queue_keep_opts){ .lease_ms = HOUR_MS,
					 .backoff_base_ms = HOUR_MS,
					 .backoff_max_ms = HOUR_MS,
					 .dead_max_age_ms = HOUR_MS,
					 .done_max_age_ms = HOUR_MS,
					 .done_max_bytes = 1000000000 };
}

struct queue_kept
kit_keep(const struct queue_keep_opts *opts)
{
	struct queue_kept kept = { 0 };

	MUST(queue_keep(kit, kit_queue, "keeper", opts, &kept, e));
	return kept;
}

/* ---- states ---- */

static void
make_expired(struct queue_lease *out)
{
	struct queue_submit submit = kit_submission(out->job_id);
	struct queue_submitted submitted;
	struct queue_entry entry;

	submit.expires_in_ms = 1;
	MUST(queue_submit(kit, &submit, &submitted, e));
	kit_await(kit_job(out->job_id).expires_ms);
	assert_true(kit_fetch("c", &entry));
	(void)str_copy(out->entry, sizeof(out->entry), str_of(entry.entry));

	struct queue_lease lease;

	assert_int_equal(kit_start_entry(&entry, "c", &lease), QUEUE_START_SKIPPED);
}

static void
make_waiting(enum kit_state state, int64_t due_ms, struct queue_lease *out)
{
	struct queue_submit submit = kit_submission(out->job_id);
	struct queue_submitted submitted;
	struct queue_entry entry;

	submit.delay_ms = state == KIT_SCHEDULED ? due_ms : 0;
	MUST(queue_submit(kit, &submit, &submitted, e));
	if (state == KIT_QUEUED)
		(void)str_copy(out->entry, sizeof(out->entry), str_of(kit_job(out->job_id).entry));
	if (state == KIT_DELIVERED) {
		assert_true(kit_fetch("c", &entry));
		(void)str_copy(out->entry, sizeof(out->entry), str_of(entry.entry));
	}
}

static void
make_started(enum kit_state state, int64_t due_ms, struct queue_lease *out)
{
	enum job_status status;
	struct job job;

	kit_submit(out->job_id);
	assert_true(kit_take("c", out));
	if (state == KIT_CANCELLING || state == KIT_CANCELLED)
		MUST(queue_cancel(kit, str_of(out->job_id), NULL, &job, e));
	if (state == KIT_RETRYING)
		MUST(kit_settle(out, SETTLE_RETRY, due_ms, &status, e));
	if (state == KIT_SUCCEEDED)
		MUST(kit_settle(out, SETTLE_SUCCEED, 0, &status, e));
	if (state == KIT_FAILED)
		MUST(kit_settle(out, SETTLE_FAIL, 0, &status, e));
	if (state == KIT_CANCELLED)
		MUST(kit_settle(out, SETTLE_CANCEL, 0, &status, e));
}

void
kit_make(enum kit_state state, int64_t due_ms, struct queue_lease *out)
{
	*out = (struct queue_lease){ .queue = kit_queue, .epoch = 1 };
	(void)str_copy(out->consumer, sizeof(out->consumer), STR("c"));
	(void)str_copy(out->entry, sizeof(out->entry), STR("1-1"));
	if (state == KIT_NONE) {
		job_id_new(kit_queue, out->job_id);
		return;
	}
	if (state == KIT_EXPIRED)
		make_expired(out);
	else if (state == KIT_SCHEDULED || state == KIT_QUEUED || state == KIT_DELIVERED)
		make_waiting(state, due_ms, out);
	else
		make_started(state, due_ms, out);
	assert_string_equal(job_status_name(kit_status(out->job_id)),
			    state == KIT_DELIVERED ? "queued" : kit_state_names[state]);
}
