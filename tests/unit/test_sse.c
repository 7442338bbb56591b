#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/sse.h"

#define MIB ((size_t)1024 * 1024)

/* ---- writing ---- */

static void
writes_the_framing(void **state)
{
	AUTO(buf) struct buf out = BUF_INIT(MIB);

	(void)state;
	sse_add_retry(&out, 3000);
	sse_add_comment(&out, "ping");
	sse_add_event(&out, "1790000000123-0", "token", STR("{\"t\":\"The holder \"}"));
	sse_add_event(&out, "", "error", STR("a\nb\r\nc\rd"));
	sse_add_event(&out, "7", "done", STR(""));
	assert_string_equal(out.data, "retry: 3000\n\n"
				      ": ping\n\n"
				      "id: 1790000000123-0\nevent: token\n"
				      "data: {\"t\":\"The holder \"}\n\n"
				      "event: error\ndata: a\ndata: b\ndata: c\ndata: d\n\n"
				      "id: 7\nevent: done\ndata: \n\n");
}

/* ---- reading ---- */

struct seen {
	struct buf text; /* "name|id|data;" each */
	size_t stop_at;	 /* after so many events; 0 = never */
	size_t count;
};

static bool
on_event(void *user, const struct sse_event *event)
{
	struct seen *seen = user;

	buf_printf(&seen->text, STR_FMT "|%s|", STR_ARG(event->name), event->id);
	buf_add(&seen->text, event->data.ptr, event->data.len);
	buf_add_char(&seen->text, ';');
	return ++seen->count != seen->stop_at;
}

static void
expect(const char *stream, const char *events)
{
	struct str bytes = str_of(stream);

	for (size_t piece = 1; piece <= bytes.len + 1; piece++) {
		AUTO(sse_decoder) struct sse_decoder decoder;
		struct seen seen = { .text = BUF_INIT(MIB) };
		struct err err = ERR_INIT;

		sse_decoder_init(&decoder, MIB);
		for (size_t at = 0; at < bytes.len; at += piece)
			assert_true(sse_decoder_feed(&decoder, str_sub(bytes, at, at + piece),
						     on_event, &seen, &err));
		if (strcmp(seen.text.data, events) != 0)
			fail_msg("'%s' in pieces of %zu gave '%s', not '%s'", stream, piece,
				 seen.text.data, events);
		buf_release(&seen.text);
	}
}

/* The examples of the standard (WHATWG HTML, 9.2.6), and what it says in between. */
static void
reads_streams(void **state)
{
	(void)state;
	expect("data: YHOO\ndata: +2\ndata: 10\n\n", "message||YHOO\n+2\n10;");
	expect(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n"
	       "data:  third event\n\n",
	       "message|1|first event;message||second event;message|| third event;");
	expect("data\n\ndata\ndata\n\ndata:", "message||;message||\n;");
	expect("data:test\n\ndata: test\n\n", "message||test;message||test;");
	expect("event: add\r\ndata: 1\r\n\r\nevent: add\rdata: 2\r\r", "add||1;add||2;");
	expect("\xef\xbb\xbf"
	       "data: bom\n\n",
	       "message||bom;");
	/* an id stays until another comes, an event's name does not; without data there is no event */
	expect("id: 7\nevent: x\n\ndata: a\n\nevent: y\ndata: b\n\n", "message|7|a;y|7|b;");
	/* not a field, not an event: passed over; an unfinished event is none */
	expect("retry: soon\nfoo: bar\n: data: no\n\ndata: end", "");
	expect("datas: x\ndata : x\n data: x\n\n", "");
}

static void
keeps_what_a_client_needs_to_resume(void **state)
{
	AUTO(sse_decoder) struct sse_decoder decoder;
	struct seen seen = { .text = BUF_INIT(MIB) };
	struct err err = ERR_INIT;

	(void)state;
	sse_decoder_init(&decoder, MIB);
	assert_int_equal(decoder.retry_ms, -1);
	assert_true(sse_decoder_feed(&decoder,
				     STR("retry: 1500\n\nid: 1-0\ndata: a\n\nid: 2-0\ndata: half"),
				     on_event, &seen, &err));
	/* the event with id 2-0 has not come: it must come again */
	assert_string_equal(decoder.id, "1-0");
	assert_int_equal(decoder.retry_ms, 1500);
	sse_decoder_restart(&decoder);
	assert_true(sse_decoder_feed(&decoder, STR("data: b\n\n"), on_event, &seen, &err));
	assert_string_equal(seen.text.data, "message|1-0|a;message|1-0|b;");
	/* an id with a NUL, or without end, is none */
	assert_true(sse_decoder_feed(&decoder, str_make("id: 3\0x\ndata: c\n\n", 17), on_event,
				     &seen, &err));
	assert_string_equal(decoder.id, "1-0");
	buf_release(&seen.text);
}

static void
is_bounded_and_can_be_stopped(void **state)
{
	AUTO(sse_decoder) struct sse_decoder decoder;
	struct seen seen = { .text = BUF_INIT(MIB), .stop_at = 2 };
	struct err err = ERR_INIT;
	bool ok = true;

	(void)state;
	sse_decoder_init(&decoder, 1000);
	for (int i = 0; ok && i < 100000; i++)
		ok = sse_decoder_feed(&decoder, STR("data: x\n"), on_event, &seen, &err);
	assert_false(ok);
	assert_int_equal(err.code, ERR_TOO_LARGE);
	sse_decoder_restart(&decoder);
	err_clear(&err);
	ok = true;
	for (int i = 0; ok && i < 100000; i++)
		ok = sse_decoder_feed(&decoder, STR("xxxxxxxx"), on_event, &seen, &err);
	assert_false(ok);
	assert_int_equal(err.code, ERR_TOO_LARGE);
	sse_decoder_restart(&decoder);
	err_clear(&err);
	assert_false(sse_decoder_feed(&decoder, STR("data: 1\n\ndata: 2\n\ndata: 3\n\n"), on_event,
				      &seen, &err));
	assert_int_equal(err.code, ERR_NONE);
	assert_string_equal(seen.text.data, "message||1;message||2;");
	buf_release(&seen.text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_the_framing),
		cmocka_unit_test(reads_streams),
		cmocka_unit_test(keeps_what_a_client_needs_to_resume),
		cmocka_unit_test(is_bounded_and_can_be_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
