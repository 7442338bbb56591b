/*
 * The events of a job that streams, through the queue's own functions: numbering, resuming at every event, trimming,
 * starts that follow each other, ends, loss of the stream. The reader here puts the text together as a client does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/queue_stream.h"
#include "tests/support/must.h"
#include "tests/support/queue_check.h"
#include "tests/support/queue_kit.h"

#define TEXT_MAX ((size_t)1 << 20)

/* What a client has: its text, and the id it has seen last. */
struct reader {
	char after[JOB_ENTRY_BYTES];
	struct buf text;
	size_t events, resets;
	char reason[16];
	enum job_status status;
	bool done, whole;
};

static void
reader_open(struct reader *reader)
{
	*reader = (struct reader){ .after = QUEUE_EVENTS_FROM_START };
	buf_init(&reader->text, TEXT_MAX);
}

static void
reader_release(struct reader *reader)
{
	buf_release(&reader->text);
}

static void
take_event(struct reader *reader, const struct queue_event *event)
{
	reader->events++;
	switch (event->kind) {
	case QUEUE_EVENT_RESET:
		buf_clear(&reader->text);
		reader->resets++;
		(void)str_copy(reader->reason, sizeof(reader->reason), event->reason);
		buf_add(&reader->text, event->data.ptr, event->data.len);
		break;
	case QUEUE_EVENT_TOKEN:
		buf_add(&reader->text, event->data.ptr, event->data.len);
		break;
	case QUEUE_EVENT_DONE:
		reader->done = true;
		reader->whole = event->whole;
		reader->status = event->status;
		break;
	case QUEUE_EVENT_STATUS:
		reader->status = event->status;
		break;
	case QUEUE_EVENT_SOURCES:
	case QUEUE_EVENT_WARNING:
		break;
	}
	(void)str_copy(reader->after, sizeof(reader->after), str_of(event->id));
}

/* Reads what there is, at most `most` events. What a client keeps over a cut is only `after` and its text. */
static void
read_some(struct reader *reader, const char *id, size_t most)
{
	bool more = true;

	for (size_t taken = 0; more && taken < most;) {
		AUTO(arena) struct arena arena;
		struct queue_events events;

		arena_init(&arena, 16 * TEXT_MAX);
		MUST(queue_events(kit, str_of(id), reader->after, &arena, &events, e));
		assert_false(events.unknown);
		for (size_t i = 0; i < events.count && taken < most; i++, taken++)
			take_event(reader, &events.items[i]);
		more = events.count > 0;
	}
}

static enum queue_emitted
emit(const struct queue_lease *lease, int64_t n, enum queue_emit_kind kind, const char *data,
     const char *snapshot)
{
	const struct queue_emit event = {
		.n = n, .kind = kind, .data = str_of(data), .snapshot = str_of(snapshot)
	};
	enum queue_emitted emitted = QUEUE_EMITTED;

	MUST(queue_emit(kit, lease, &event, &emitted, e));
	return emitted;
}

static void
start_streaming(struct queue_lease *lease)
{
	char id[JOB_ID_BYTES];

	kit_streams = true;
	kit_submit(id);
	assert_true(kit_take("c", lease));
}

static void
expect_text(const char *id, const char *text)
{
	struct reader reader;

	reader_open(&reader);
	read_some(&reader, id, 100000);
	assert_string_equal(reader.text.data, text);
	reader_release(&reader);
}

/* The same number again writes nothing; one left out is a gap, and a reset mends it. */
static void
emissions_are_numbered(void **state)
{
	struct queue_lease lease;

	(void)state;
	start_streaming(&lease);
	assert_int_equal(emit(&lease, 1, EMIT_TOKEN, "a", ""), QUEUE_EMITTED);
	assert_int_equal(emit(&lease, 1, EMIT_TOKEN, "a", ""), QUEUE_EMITTED);
	expect_text(lease.job_id, "a");
	assert_int_equal(emit(&lease, 3, EMIT_TOKEN, "c", ""), QUEUE_EMIT_GAP);
	assert_int_equal(emit(&lease, 4, EMIT_RESET, "abc", ""), QUEUE_EMITTED);
	assert_int_equal(emit(&lease, 3, EMIT_TOKEN, "c", ""), QUEUE_EMITTED); /* old: nothing */
	assert_int_equal(emit(&lease, 5, EMIT_TOKEN, "d", ""), QUEUE_EMITTED);
	expect_text(lease.job_id, "abcd");
	/* the stream is lost, the record is not */
	MUST(REDIS_CALL(kit, NULL, e, "DEL", key_events(kit_queue, str_of(lease.job_id)).text));
	assert_int_equal(emit(&lease, 6, EMIT_TOKEN, "e", ""), QUEUE_EMIT_GAP);
	assert_int_equal(emit(&lease, 7, EMIT_RESET, "abcde", ""), QUEUE_EMITTED);
	expect_text(lease.job_id, "abcde");
	queue_check(kit, kit_queue, "numbered", NULL);
}

/* Writes 60 tokens with a snapshot every `every`; returns the text. */
static void
write_tokens(const struct queue_lease *lease, int every, struct buf *text)
{
	for (int i = 1; i <= 60; i++) {
		char piece[32];

		(void)snprintf(piece, sizeof(piece), "t%d ", i);
		buf_add_str(text, piece);
		assert_int_equal(emit(lease, i, EMIT_TOKEN, piece,
				      every > 0 && i % every == 0 ? text->data : ""),
				 QUEUE_EMITTED);
	}
}

/* A client that is cut after any number of events, and reads on before or after the rest was written. */
static void
resume_anywhere(void **state)
{
	static const int everies[] = { 0, 1, 2, 7, 25 };

	for (size_t k = 0; k < ARRAY_SIZE(everies); k++) {
		for (size_t cut = 0; cut < 70; cut += k == 0 ? 1 : 3) {
			AUTO(buf) struct buf text = BUF_INIT(TEXT_MAX);
			struct queue_lease lease;
			struct reader late, early;
			enum job_status status;

			(void)kit_clear(state);
			start_streaming(&lease);
			reader_open(&late);
			reader_open(&early);
			for (int i = 1; i <= 60; i++) {
				char piece[32];

				(void)snprintf(piece, sizeof(piece), "t%d ", i);
				buf_add_str(&text, piece);
				assert_int_equal(emit(&lease, i, EMIT_TOKEN, piece,
						      everies[k] && i % everies[k] == 0 ? text.data
											: ""),
						 QUEUE_EMITTED);
				/* early follows closely up to its cut */
				if ((size_t)i <= cut)
					read_some(&early, lease.job_id, 100);
			}
			read_some(&late, lease.job_id, cut);
			MUST(kit_settle(&lease, SETTLE_SUCCEED, 0, &status, e));
			read_some(&late, lease.job_id, 100000);
			read_some(&early, lease.job_id, 100000);
			assert_string_equal(late.text.data, text.data);
			assert_string_equal(early.text.data, text.data);
			assert_true(late.done && early.done);
			if (cut >= 60)
				assert_int_equal(early.resets, 0); /* nothing was missed */
			if (everies[k] == 0)
				assert_int_equal(late.resets, 0);
			else if (everies[k] < 25)
				assert_string_equal(late.reason, "trimmed");
			reader_release(&late);
			reader_release(&early);
			queue_check(kit, kit_queue, "resume", NULL);
		}
	}
}

/* However long the text: what lies before the snapshot but one is gone. */
static void
the_stream_is_bounded(void **state)
{
	AUTO(buf) struct buf text = BUF_INIT(TEXT_MAX);
	struct queue_lease lease;

	(void)state;
	start_streaming(&lease);
	write_tokens(&lease, 5, &text);
	assert_in_range(kit_number("XLEN", key_events(kit_queue, str_of(lease.job_id)).text), 6,
			12);
	expect_text(lease.job_id, text.data);
}

/* The tokens of a start that was lost or failed are void as soon as the next one begins, and never return. */
static void
starts_are_never_mixed(void **state)
{
	static const int ends[] = { SETTLE_RETRY, SETTLE_WAIT, SETTLE_OUTAGE, SETTLE_HAND_BACK,
				    -1 };

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct queue_keep_opts opts = kit_keep_opts();
		struct queue_lease first, second;
		struct reader reader;
		enum job_status status;
		struct err err = ERR_INIT;
		enum queue_emitted emitted;
		const struct queue_emit late = { .n = 2, .kind = EMIT_RESET, .data = STR("late") };

		(void)kit_clear(state);
		start_streaming(&first);
		reader_open(&reader);
		emit(&first, 1, EMIT_TOKEN, "first ", "");
		read_some(&reader, first.job_id, 100);
		assert_string_equal(reader.text.data, "first ");
		if (ends[i] >= 0) {
			MUST(kit_settle(&first, (enum queue_settle_kind)ends[i], 0, &status, e));
		} else { /* its worker is lost */
			opts.lease_ms = 0;
			opts.may_reap = true;
			opts.backoff_base_ms = opts.backoff_max_ms = 1;
			assert_int_equal(kit_keep(&opts).reaped, 1);
		}
		if (ends[i] != SETTLE_HAND_BACK)
			kit_await(kit_job(first.job_id).due_ms);
		(void)kit_keep(&opts);
		assert_false(queue_emit(kit, &first, &late, &emitted, &err));
		assert_int_equal(err.code, ERR_STALE);
		assert_true(kit_take("d", &second));
		emit(&second, 1, EMIT_TOKEN, "second", "");
		err_clear(&err);
		assert_false(queue_emit(kit, &first, &late, &emitted, &err));
		read_some(&reader, first.job_id, 100);
		assert_string_equal(reader.text.data, "second");
		assert_string_equal(reader.reason, "restarted");
		expect_text(first.job_id, "second");
		MUST(kit_settle(&second, SETTLE_SUCCEED, 0, &status, e));
		read_some(&reader, first.job_id, 100);
		assert_true(reader.done);
		assert_string_equal(reader.text.data, "second");
		reader_release(&reader);
		queue_check(kit, kit_queue, "starts", NULL);
	}
}

/* The last event is in the record, has a time to live, and an operator's retry takes both back. */
static void
ends(void **state)
{
	static const enum kit_state states[] = { KIT_SUCCEEDED, KIT_FAILED, KIT_CANCELLED,
						 KIT_EXPIRED };

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		struct queue_lease lease;
		struct reader reader;
		struct key events;
		struct job job;

		(void)kit_clear(state);
		kit_streams = true;
		kit_make(states[i], HOUR_MS, &lease);
		reader_open(&reader);
		read_some(&reader, lease.job_id, 100);
		job = kit_job(lease.job_id);
		assert_true(reader.done);
		assert_int_equal(reader.status, job.status);
		assert_string_equal(reader.after, job.stream_end);
		assert_int_equal(job.stream_ttl_ms, HOUR_MS);
		events = key_events(kit_queue, str_of(lease.job_id));
		assert_in_range(kit_number("PTTL", events.text), HOUR_MS - 60000, HOUR_MS);
		if (states[i] == KIT_FAILED) {
			MUST(queue_retry_dead(kit, str_of(lease.job_id), &job, e));
			assert_string_equal(job.stream_end, "");
			assert_int_equal(kit_number("PTTL", events.text), -1);
			read_some(&reader, lease.job_id, 100);
			assert_int_equal(reader.status, JOB_QUEUED);
		} else {
			MUST(queue_forget(kit, str_of(lease.job_id), e));
			assert_int_equal(kit_number("EXISTS", events.text), 0);
		}
		reader_release(&reader);
		queue_check(kit, kit_queue, kit_state_names[states[i]], NULL);
	}
}

/* At maxmemory tokens are refused whole; the end is written nevertheless, and says that the tokens are not all. */
static void
at_maxmemory(void **state)
{
	struct queue_lease lease;
	struct reader reader;
	enum queue_emitted emitted;
	enum job_status status;
	struct err err = ERR_INIT;
	const struct queue_emit token = { .n = 2, .kind = EMIT_TOKEN, .data = STR("b") };

	(void)state;
	start_streaming(&lease);
	emit(&lease, 1, EMIT_TOKEN, "a", "");
	MUST(REDIS_CALL(kit, NULL, e, "CONFIG", "SET", "maxmemory", "1"));
	assert_false(queue_emit(kit, &lease, &token, &emitted, &err));
	assert_int_equal(err.code, ERR_REDIS_FULL);
	MUST(kit_settle(&lease, SETTLE_SUCCEED, 0, &status, e));
	MUST(REDIS_CALL(kit, NULL, e, "CONFIG", "SET", "maxmemory", "0"));
	reader_open(&reader);
	read_some(&reader, lease.job_id, 100);
	assert_true(reader.done);
	assert_false(reader.whole);
	assert_string_equal(reader.text.data, "a");
	reader_release(&reader);
}

static void
an_id_of_another_stream(void **state)
{
	AUTO(arena) struct arena arena;
	struct queue_events events;
	struct queue_lease lease;

	(void)state;
	arena_init(&arena, TEXT_MAX);
	start_streaming(&lease);
	emit(&lease, 1, EMIT_TOKEN, "a", "");
	MUST(queue_events(kit, str_of(lease.job_id), "9007199254740991-0", &arena, &events, e));
	assert_true(events.unknown);
	assert_int_equal(events.items[0].kind, QUEUE_EVENT_STATUS);
	assert_int_equal(events.items[0].status, JOB_QUEUED);
	assert_true(str_eq_c(events.items[events.count - 1].data, "a"));
	MUST(queue_events(kit, str_of(lease.job_id), events.after, &arena, &events, e));
	assert_false(events.unknown);
	assert_int_equal(events.count, 0);
}

static void
ids(void **state)
{
	static const char *const good[][2] = { { "0", "0-0" },
					       { "0-0", "0-0" },
					       { "12-3", "12-3" },
					       { "0012-03", "12-3" },
					       { "9007199254740991-9007199254740991",
						 "9007199254740991-9007199254740991" } };
	static const char *const bad[] = { "",
					   "-",
					   "5",
					   "-1",
					   "1-",
					   "1--1",
					   "1-2-3",
					   " 1-2",
					   "1-2 ",
					   "+1-2",
					   "a-b",
					   "$",
					   "9007199254740992-0",
					   "1-9007199254740992",
					   "1-2\n" };
	char out[JOB_ENTRY_BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_true(queue_event_id_parse(str_of(good[i][0]), out));
		assert_string_equal(out, good[i][1]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (queue_event_id_parse(str_of(bad[i]), out))
			fail_msg("accepted '%s'", bad[i]);
	}
	assert_true(queue_event_id_cmp("1-2", "1-10") < 0);
	assert_true(queue_event_id_cmp("10-0", "9-9") > 0);
	assert_int_equal(queue_event_id_cmp("7-7", "7-7"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(emissions_are_numbered, kit_clear),
		cmocka_unit_test_setup(resume_anywhere, kit_clear),
		cmocka_unit_test_setup(the_stream_is_bounded, kit_clear),
		cmocka_unit_test_setup(starts_are_never_mixed, kit_clear),
		cmocka_unit_test_setup(ends, kit_clear),
		cmocka_unit_test_setup(at_maxmemory, kit_clear),
		cmocka_unit_test_setup(an_id_of_another_stream, kit_clear),
		cmocka_unit_test(ids),
	};

	return cmocka_run_group_tests(tests, kit_start, kit_stop);
}
