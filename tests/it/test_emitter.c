/*
 * The emitter against a real queue: what becomes one event, what a reader gets at the end when Redis took it, refused it or
 * lost it, and how large the stream grows.
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
#include "tests/support/must.h"
#include "tests/support/queue_check.h"
#include "tests/support/queue_kit.h"
#include "worker/emitter.h"

#define MIB ((size_t)1024 * 1024)

static struct queue_lease lease;
static struct emitter emitter;

static int
begin(void **state)
{
	char id[JOB_ID_BYTES];

	(void)kit_clear(state);
	kit_streams = true;
	kit_submit(id);
	assert_true(kit_take("c", &lease));
	emitter_init(&emitter, kit, &lease, 50, 20);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	clock_set_for_test(-1, -1);
	emitter_release(&emitter);
	return 0;
}

/* What a reader that comes late has; *out_tokens: token events of it. */
static void
read_all(struct buf *text, size_t *out_tokens)
{
	char after[JOB_ENTRY_BYTES] = QUEUE_EVENTS_FROM_START;
	size_t tokens = 0;
	bool more = true;

	buf_clear(text);
	while (more) {
		AUTO(arena) struct arena arena;
		struct queue_events events;

		arena_init(&arena, 64 * MIB);
		MUST(queue_events(kit, str_of(lease.job_id), after, &arena, &events, e));
		for (size_t i = 0; i < events.count; i++) {
			const struct queue_event *event = &events.items[i];

			if (event->kind == QUEUE_EVENT_RESET)
				buf_clear(text);
			if (event->kind == QUEUE_EVENT_TOKEN)
				assert_true(str_utf8_valid(event->data, NULL));
			if (event->kind == QUEUE_EVENT_RESET || event->kind == QUEUE_EVENT_TOKEN)
				buf_add(text, event->data.ptr, event->data.len);
			tokens += event->kind == QUEUE_EVENT_TOKEN;
		}
		(void)str_copy(after, sizeof(after), str_of(events.after));
		more = events.count > 0;
	}
	if (out_tokens)
		*out_tokens = tokens;
}

static void
expect_text(const char *expected, size_t expected_tokens)
{
	AUTO(buf) struct buf text = BUF_INIT(64 * MIB);
	size_t tokens = 0;

	read_all(&text, &tokens);
	assert_string_equal(text.data, expected);
	assert_int_equal(tokens, expected_tokens);
}

static void
say(const char *piece)
{
	MUST(emitter_text(&emitter, str_of(piece), e));
}

static void
finish(const char *answer)
{
	MUST(emitter_finish(&emitter, str_of(answer), e));
}

/* The answer begins anew: what was told is void, what was not told yet never was. */
static void
a_restart_leaves_nothing(void **state)
{
	AUTO(arena) struct arena arena;
	struct queue_events events;
	size_t resets = 0;

	(void)state;
	say("Penguins live ");
	say("on ice"); /* gathered, not sent */
	MUST(emitter_restart(&emitter, e));
	say("It nests ");
	say("in trees.");
	finish("It nests in trees.");
	expect_text("It nests in trees.", 2);
	assert_true(emitter.whole);
	arena_init(&arena, 64 * MIB);
	MUST(queue_events(kit, str_of(lease.job_id), QUEUE_EVENTS_FROM_START, &arena, &events, e));
	for (size_t i = 0; i < events.count; i++) {
		if (events.items[i].kind != QUEUE_EVENT_RESET)
			continue;
		resets++;
		assert_true(str_eq_c(events.items[i].reason, "restarted"));
		assert_int_equal(events.items[i].data.len, 0);
	}
	assert_int_equal(resets, 1);
}

/* Nobody has anything: there is nothing to take back. */
static void
a_restart_before_the_first_word(void **state)
{
	(void)state;
	MUST(emitter_restart(&emitter, e));
	say("It nests in trees.");
	finish("It nests in trees.");
	expect_text("It nests in trees.", 1);
	assert_true(emitter.whole);
}

/* The first piece goes at once, what follows within 50 ms in one event, an empty one sends what is due. */
static void
pieces_are_gathered(void **state)
{
	(void)state;
	clock_set_for_test(1000, -1);
	say("a");
	expect_text("a", 1);
	clock_set_for_test(1049, -1);
	say("b");
	say("c");
	expect_text("a", 1);
	clock_set_for_test(1050, -1);
	say("d");
	expect_text("abcd", 2);
	say("e");
	say("");
	expect_text("abcd", 2);
	clock_set_for_test(1100, -1);
	say("");
	expect_text("abcde", 3);
	say("f");
	finish("abcdefg");
	expect_text("abcdefg", 4);
	assert_true(emitter.whole);
}

static void
large_pieces_do_not_wait(void **state)
{
	char large[2001];

	(void)state;
	clock_set_for_test(1000, -1);
	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	say("a");
	say(large);
	say(large);
	assert_int_equal(emitter.sent, 4001);
}

/* Bytes as they come out of a socket: no event holds half a character. */
static void
characters_are_not_cut(void **state)
{
	static const char text[] = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x8c\x8dz";

	(void)state;
	emitter.coalesce_ms = 0;
	for (size_t i = 0; i + 1 < sizeof(text); i++)
		MUST(emitter_text(&emitter, str_make(text + i, 1), e));
	finish(text);
	expect_text(text, 5);
	assert_true(emitter.whole);
}

/* Text that is no UTF-8 is not passed off as the answer: the result's text follows at the end. */
static void
broken_text_is_not_whole(void **state)
{
	(void)state;
	say("a\xff");
	finish("a\xff");
	assert_false(emitter.whole);
}

static void
an_answer_that_was_changed_is_not_whole(void **state)
{
	(void)state;
	say("said [9]");
	finish("said");
	assert_false(emitter.whole);
	expect_text("said [9]", 1);
}

static void
no_answer_at_all_is_whole(void **state)
{
	(void)state;
	finish("");
	assert_true(emitter.whole);
	expect_text("", 0);
}

static void
the_stream_stays_small(void **state)
{
	AUTO(buf) struct buf answer = BUF_INIT(MIB);
	struct key events = key_events(kit_queue, str_of(lease.job_id));

	(void)state;
	emitter.coalesce_ms = 0;
	for (int i = 0; i < 500; i++) {
		char piece[16];

		(void)snprintf(piece, sizeof(piece), "t%d ", i);
		buf_add_str(&answer, piece);
		say(piece);
		assert_true(kit_number("XLEN", events.text) <= 20 + 6);
	}
	finish(answer.data);
	assert_true(emitter.whole);
	AUTO(buf) struct buf text = BUF_INIT(MIB);

	read_all(&text, NULL);
	assert_string_equal(text.data, answer.data);
}

/* Large texts: snapshots come less often the longer the text, so the stream is at most a few times as long as it. */
static void
long_texts_are_bounded_in_bytes(void **state)
{
	AUTO(buf) struct buf text = BUF_INIT(16 * MIB);
	char *piece = mem_alloc(8001);
	struct key events = key_events(kit_queue, str_of(lease.job_id));
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	int64_t bytes = 0;

	(void)state;
	memset(piece, 'x', 8000);
	emitter.max_events = 1000000;
	for (int i = 0; i < 400; i++)
		say(piece);
	MUST(REDIS_CALL(kit, &reply, e, "MEMORY", "USAGE", events.text, "SAMPLES", "0"));
	assert_true(reply_i64(reply, &bytes));
	assert_true(bytes < 4L * 400 * 8000);
	read_all(&text, NULL);
	assert_int_equal(text.len, emitter.sent);
	mem_free(piece);
}

static void
too_long_a_text_comes_with_the_result(void **state)
{
	char *large = mem_alloc(MIB + 1);

	(void)state;
	memset(large, 'x', MIB);
	for (int i = 0; i < 6; i++)
		say(large);
	assert_true(emitter.off);
	finish("x");
	assert_false(emitter.whole);
	mem_free(large);
}

static void
other_events_keep_their_place(void **state)
{
	AUTO(arena) struct arena arena;
	struct queue_events events;

	(void)state;
	arena_init(&arena, MIB);
	clock_set_for_test(1000, -1);
	MUST(emitter_event(&emitter, EMIT_SOURCES, STR("{\"sources\":[]}"), e));
	say("a");
	say("b");
	MUST(emitter_event(&emitter, EMIT_WARNING, STR("{\"code\":\"W\"}"), e));
	MUST(queue_events(kit, str_of(lease.job_id), QUEUE_EVENTS_FROM_START, &arena, &events, e));
	/* queued, running, sources, a, b, warning */
	assert_int_equal(events.count, 6);
	assert_int_equal(events.items[2].kind, QUEUE_EVENT_SOURCES);
	assert_true(str_eq_c(events.items[3].data, "a"));
	assert_true(str_eq_c(events.items[4].data, "b"));
	assert_int_equal(events.items[5].kind, QUEUE_EVENT_WARNING);
	assert_true(str_eq_c(events.items[5].data, "{\"code\":\"W\"}"));
}

/* ---- what Redis does not take ---- */

static void
set_full(bool full)
{
	MUST(REDIS_CALL(kit, NULL, e, "CONFIG", "SET", "maxmemory", full ? "1" : "0"));
}

/* Refused for a while: the work goes on, and what was refused comes in one piece. */
static void
full_for_a_while(void **state)
{
	(void)state;
	clock_set_for_test(1000, -1);
	say("a");
	set_full(true);
	clock_set_for_test(2000, -1);
	say("b");
	clock_set_for_test(2100, -1);
	say("c"); /* not asked again yet */
	set_full(false);
	clock_set_for_test(3000, -1);
	say("d");
	expect_text("abcd", 0);
	clock_set_for_test(4000, -1);
	say("e");
	finish("abcde");
	expect_text("abcde", 1);
	assert_true(emitter.whole);
}

static void
full_to_the_end(void **state)
{
	enum job_status status;

	(void)state;
	clock_set_for_test(1000, -1);
	say("a");
	set_full(true);
	clock_set_for_test(2000, -1);
	say("b");
	finish("ab");
	assert_false(emitter.whole);
	MUST(kit_settle(&lease, SETTLE_SUCCEED, 0, &status, e));
	set_full(false);
	expect_text("a", 1);
	queue_check(kit, kit_queue, "full", NULL);
}

/* A reply that got lost: whether or not the event is there, no byte is there twice. */
static void
a_lost_reply(void **state)
{
	AUTO_PTR(redis_free) struct redis *gone = NULL;
	const struct redis_opts opts = { .url = "unix:///nonexistent/rag-test.sock",
					 .connect_timeout_ms = 100,
					 .timeout_ms = 100 };
	const struct queue_emit written = { .n = 2, .kind = EMIT_TOKEN, .data = STR("b") };
	enum queue_emitted emitted;

	(void)state;
	MUST(redis_new(&opts, &gone, e));
	for (int there = 0; there < 2; there++) {
		(void)begin(state);
		clock_set_for_test(1000, -1);
		say("a");
		emitter.redis = gone;
		clock_set_for_test(2000, -1);
		say("b");
		emitter.redis = kit;
		if (there)
			MUST(queue_emit(kit, &lease, &written, &emitted, e));
		clock_set_for_test(3000, -1);
		say("c");
		finish("abc");
		expect_text("abc", 0);
		assert_true(emitter.whole);
		if (there == 0)
			emitter_release(&emitter);
	}
}

static void
a_stream_that_was_lost(void **state)
{
	(void)state;
	clock_set_for_test(1000, -1);
	say("a");
	MUST(REDIS_CALL(kit, NULL, e, "DEL", key_events(kit_queue, str_of(lease.job_id)).text));
	clock_set_for_test(2000, -1);
	say("b");
	expect_text("ab", 0);
	finish("abc");
	expect_text("abc", 1);
	assert_true(emitter.whole);
}

/* ---- what ends the work ---- */

static void
a_cancel_is_seen_at_once(void **state)
{
	struct err err = ERR_INIT;
	struct job job;

	(void)state;
	say("a");
	MUST(queue_cancel(kit, str_of(lease.job_id), NULL, &job, e));
	clock_sleep_ms(emitter.coalesce_ms + 1);
	assert_false(emitter_text(&emitter, STR("b"), &err));
	assert_int_equal(err.code, ERR_CANCELLED);
	expect_text("a", 1);
}

static void
another_start_has_won(void **state)
{
	struct err err = ERR_INIT;
	enum job_status status;

	(void)state;
	say("a");
	MUST(kit_settle(&lease, SETTLE_HAND_BACK, 0, &status, e));
	clock_sleep_ms(emitter.coalesce_ms + 1);
	assert_false(emitter_text(&emitter, STR("b"), &err));
	assert_int_equal(err.code, ERR_STALE);
	err_clear(&err);
	assert_false(emitter_event(&emitter, EMIT_SOURCES, STR("{}"), &err));
	assert_int_equal(err.code, ERR_STALE);
	err_clear(&err);
	assert_false(emitter_finish(&emitter, STR("ab"), &err));
	assert_int_equal(err.code, ERR_STALE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_restart_leaves_nothing, begin, end),
		cmocka_unit_test_setup_teardown(a_restart_before_the_first_word, begin, end),
		cmocka_unit_test_setup_teardown(pieces_are_gathered, begin, end),
		cmocka_unit_test_setup_teardown(large_pieces_do_not_wait, begin, end),
		cmocka_unit_test_setup_teardown(characters_are_not_cut, begin, end),
		cmocka_unit_test_setup_teardown(broken_text_is_not_whole, begin, end),
		cmocka_unit_test_setup_teardown(an_answer_that_was_changed_is_not_whole, begin,
						end),
		cmocka_unit_test_setup_teardown(no_answer_at_all_is_whole, begin, end),
		cmocka_unit_test_setup_teardown(the_stream_stays_small, begin, end),
		cmocka_unit_test_setup_teardown(long_texts_are_bounded_in_bytes, begin, end),
		cmocka_unit_test_setup_teardown(too_long_a_text_comes_with_the_result, begin, end),
		cmocka_unit_test_setup_teardown(other_events_keep_their_place, begin, end),
		cmocka_unit_test_setup_teardown(full_for_a_while, begin, end),
		cmocka_unit_test_setup_teardown(full_to_the_end, begin, end),
		cmocka_unit_test_setup_teardown(a_lost_reply, begin, end),
		cmocka_unit_test_setup_teardown(a_stream_that_was_lost, begin, end),
		cmocka_unit_test_setup_teardown(a_cancel_is_seen_at_once, begin, end),
		cmocka_unit_test_setup_teardown(another_start_has_won, begin, end),
	};

	return cmocka_run_group_tests(tests, kit_start, kit_stop);
}
