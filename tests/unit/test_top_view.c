/* The screen of `ragctl top`, without a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/text.h"
#include "cli/top_view.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/str.h"
#include "tests/support/must.h"

static struct js *queues, *workers, *failure, *batch;
static struct top_state state;

static struct js *
parse(const char *text)
{
	struct js *tree = NULL;

	MUST(js_parse(str_of(text), &tree, e));
	return tree;
}

static int
setup(void **unused)
{
	(void)unused;
	queues = parse(
		"[{\"name\":\"ingest\",\"waiting\":12345,\"running\":2,\"due\":0,\"dead\":3,"
		"\"demand\":12347,\"finished_per_s\":12.34,\"oldest_s\":65.5,\"drain_s\":1000.2,"
		"\"workers\":4,\"paused\":false},{\"name\":\"query\",\"paused\":true,"
		"\"waiting\":0,\"drain_s\":null}]");
	workers = parse(
		"[{\"name\":\"h/1/0\",\"queue\":\"ingest\",\"live\":true,\"job\":{\"id\":"
		"\"ingest-0-1\",\"type\":\"ingest\",\"collection\":\"books\",\"started_at\":"
		"\"2026-11-01T10:00:00.000Z\",\"stage\":\"embed\",\"done\":3,\"total\":9}},"
		"{\"name\":\"h/1/1\",\"queue\":\"ingest\",\"live\":true,\"job\":null},"
		"{\"name\":\"h/2/0\",\"queue\":\"ingest\",\"live\":false,\"job\":{\"id\":null,"
		"\"type\":\"ingest\"}}]");
	failure = parse(
		"{\"id\":\"ingest-0-9\",\"type\":\"ingest\",\"collection\":\"books\","
		"\"finished_at\":\"2026-11-01T09:58:00.000Z\",\"error\":{\"code\":\"EMPTY_TEXT\","
		"\"detail\":\"parse: no text\"}}");
	batch = parse(
		"{\"id\":\"ingest-0-b\",\"collection\":\"books\",\"progress\":{\"done\":41200,"
		"\"total\":100000,\"failed\":3,\"rate_per_s\":1234.5,\"eta_s\":3605},"
		"\"import\":{\"sealed\":false}}");
	state = (struct top_state){ .url = "http://x", .interval_ms = 2000 };
	MUST(clock_parse_iso(STR("2026-11-01T10:00:05.000Z"), &state.now_unix_ms) ||
	     err_set(e, ERR_INTERNAL, "time"));
	state.read_unix_ms = state.now_unix_ms;
	state.queues = queues;
	state.workers = workers;
	state.failures[0] = failure;
	state.failure_count = 1;
	return 0;
}

static int
teardown(void **unused)
{
	(void)unused;
	js_free(queues);
	js_free(workers);
	js_free(failure);
	js_free(batch);
	return 0;
}

static void
shows_all(void **unused)
{
	(void)unused;
	AUTO(buf) struct buf out = BUF_INIT(65536);

	top_view(&state, 120, 40, &out);
	assert_string_equal(
		out.data,
		"ragctl top  http://x  10:00:05 UTC  every 2 s, q quits\n"
		"\n"
		"QUEUE   STATE    WAITING  RUNNING  DUE  DEAD  DEMAND  DONE/S  OLDEST  DRAINS  "
		"WORKERS\n"
		"ingest  running   12,345        2    0     3  12,347    12.3      1m   16:40      "
		"  4\n"
		"query   paused         0        0    0     0       0       0                      "
		"  0\n"
		"\n"
		"1 busy, 1 waiting for work, 1 silent\n"
		"WORKER  QUEUE   FOR  JOB                  TYPE    COLLECTION  STAGE\n"
		"h/1/0   ingest   5s  ingest-0-1           ingest  books       embed 3/9\n"
		"h/2/0   ingest       (of another tenant)  ingest              silent: its job "
		"starts "
		"again elsewhere\n"
		"\n"
		"FAILED  JOB         TYPE    COLLECTION  ERROR\n"
		"    2m  ingest-0-9  ingest  books       EMPTY_TEXT  parse: no text\n");
}

static void
shows_imports(void **unused)
{
	(void)unused;
	AUTO(buf) struct buf out = BUF_INIT(65536);

	state.batches[0] = batch;
	state.batch_count = 1;
	top_view(&state, 120, 40, &out);
	assert_non_null(strstr(
		out.data,
		"\nIMPORT      COLLECTION    DONE       OF  FAILED  DONE/S     LEFT\n"
		"ingest-0-b  books       41,200  100,000       3   1,234  1:00:05  uploading\n\n"));
	buf_clear(&out);
	top_view_json(&state, &out);
	assert_non_null(strstr(out.data, "\"imports\":[{\"id\":\"ingest-0-b\","));
}

static void
says_what_is_wrong(void **unused)
{
	(void)unused;
	AUTO(buf) struct buf out = BUF_INIT(65536);

	state.problem = "could not connect\033[2J";
	state.read_unix_ms -= 12000;
	top_view(&state, 0, 0, &out);
	assert_non_null(strstr(out.data,
			       "\ntrouble: could not connect [2J; what is shown is 12s old; "
			       "trying again\n"));
	buf_clear(&out);
	top_view_plain(&state, &out);
	assert_string_equal(out.data, "2026-11-01T10:00:05.000Z trouble: could not connect [2J\n");
	buf_clear(&out);
	top_view_json(&state, &out);
	assert_non_null(
		strstr(out.data,
		       "\"queues\":null,\"workers\":null,\"imports\":[],\"failures\":[]}\n"));

	/* never an answer */
	state.queues = state.workers = NULL;
	state.failure_count = 0;
	state.read_unix_ms = 0;
	buf_clear(&out);
	top_view(&state, 80, 24, &out);
	assert_string_equal(out.data, "ragctl top  http://x  10:00:05 UTC  every 2 s, q quits\n"
				      "trouble: could not connect [2J; trying again\n");

	/* no right to see the workers */
	state.queues = queues;
	state.problem = NULL;
	state.workers_problem = "operators only";
	buf_clear(&out);
	top_view(&state, 80, 24, &out);
	assert_non_null(strstr(out.data, "\nno workers to see: operators only\n"));
}

static void
plain_lines_and_json(void **unused)
{
	(void)unused;
	AUTO(buf) struct buf out = BUF_INIT(65536);
	AUTO_PTR(js_free) struct js *tree = NULL;

	top_view_plain(&state, &out);
	assert_string_equal(
		out.data,
		"2026-11-01T10:00:05.000Z ingest waiting=12345 running=2 due=0 dead=3 "
		"demand=12347 done_per_s=12.3 oldest_s=65 workers=4\n"
		"2026-11-01T10:00:05.000Z query waiting=0 running=0 due=0 dead=0 demand=0 "
		"done_per_s=0 oldest_s=0 workers=0 paused\n");
	buf_clear(&out);
	top_view_json(&state, &out);
	assert_ptr_equal(strchr(out.data, '\n'), out.data + out.len - 1);
	MUST(js_parse(str_make(out.data, out.len), &tree, e));
	assert_int_equal(js_len(js_get(tree, "queues")), 2);
	assert_int_equal(js_len(js_get(tree, "workers")), 3);
	assert_int_equal(js_len(js_get(tree, "failures")), 1);
	assert_true(js_is(js_get(tree, "problem"), JS_NULL));
}

/* What a server may send: controls, wide characters, directions, length, other types, nothing. */
static void
make_nasty(struct buf *text, int count)
{
	static const char *const names[] = {
		"\"\\u001b[31mred\\u001b[0m\\r\\n\\t\\u0007\"",
		"\"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\"",
		"\"\\u202egnp.exe e\\u0301\\u0301\"",
		"\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
		"{\"a\":[]}",
		"null",
		"-9223372036854775808",
	};

	buf_add_char(text, '[');
	for (int i = 0; i < count; i++) {
		const char *name = names[(size_t)i % ARRAY_SIZE(names)];

		buf_printf(
			text,
			"%s{\"name\":%s,\"id\":%s,\"queue\":%s,\"live\":%s,\"waiting\":%s,"
			"\"finished_per_s\":1e300,\"drain_s\":1e12,\"oldest_s\":-5,\"workers\":%s,"
			"\"finished_at\":%s,\"error\":{\"code\":%s,\"detail\":%s},\"job\":{\"id\":%"
			"s,"
			"\"type\":%s,\"stage\":%s,\"total\":%s,\"started_at\":%s}},%s",
			i > 0 ? "," : "", name, name, name, i % 2 ? "true" : "0", name, name, name,
			name, name, name, name, name, name, name, name);
	}
	buf_add_char(text, ']');
}

static void
check_screen(size_t columns, size_t rows)
{
	AUTO(buf) struct buf out = BUF_INIT(1 << 20);
	struct str rest, line;
	size_t count = 0, bad = 0;

	top_view(&state, columns, rows, &out);
	assert_true(buf_ok(&out));
	assert_true(str_utf8_valid(str_make(out.data, out.len), &bad));
	rest = str_make(out.data, out.len);
	while (str_split(&rest, '\n', &line)) {
		count++;
		if (text_columns(line) > columns)
			fail_msg("%zu columns, not %zu: " STR_FMT, text_columns(line), columns,
				 STR_ARG(line));
		for (size_t i = 0; i < line.len; i++)
			assert_true((unsigned char)line.ptr[i] >= 0x20 && line.ptr[i] != 0x7f);
	}
	if (count > rows)
		fail_msg("%zu lines in %zu rows", count, rows);
}

static void
fits_every_terminal(void **unused)
{
	(void)unused;
	AUTO(buf) struct buf text = BUF_INIT(1 << 20);
	AUTO_PTR(js_free) struct js *nasty = NULL;

	make_nasty(&text, 40);
	MUST(js_parse(str_make(text.data, text.len), &nasty, e));
	for (int foreign = 0; foreign < 2; foreign++) {
		for (size_t columns = 1; columns <= 160; columns += 3)
			for (size_t rows = 1; rows <= 80; rows += 4)
				check_screen(columns, rows);
		state.queues = state.workers = nasty;
		state.problem = "\033]0;title\007";
		for (size_t i = 0; i < TOP_MAX_FAILURES; i++)
			state.failures[i] = js_at(nasty, i);
		state.failure_count = TOP_MAX_FAILURES;
		for (size_t i = 0; i < TOP_MAX_BATCHES; i++)
			state.batches[i] = js_at(nasty, i);
		state.batch_count = TOP_MAX_BATCHES;
	}
	/* values that are no objects at all */
	AUTO_PTR(js_free)
	struct js *odd = parse("[1,null,\"x\",[],true,{\"job\":7,\"live\":true}]");

	state.queues = state.workers = odd;
	check_screen(80, 24);
	state.queues = state.workers = js_at(odd, 0);
	check_screen(80, 24);
}

/* Failures keep three lines, workers get the rest, and what is missing is counted. */
static void
shares_the_rows(void **unused)
{
	(void)unused;
	AUTO(buf) struct buf text = BUF_INIT(1 << 20);
	AUTO(buf) struct buf out = BUF_INIT(1 << 20);
	AUTO_PTR(js_free) struct js *many = NULL;

	buf_add_char(&text, '[');
	for (int i = 0; i < 50; i++)
		buf_printf(&text, "%s{\"name\":\"w%d\",\"live\":true,\"job\":{\"id\":\"j%d\"}}",
			   i > 0 ? "," : "", i, i);
	buf_add_char(&text, ']');
	MUST(js_parse(str_make(text.data, text.len), &many, e));
	state.workers = many;
	for (size_t i = 0; i < TOP_MAX_FAILURES; i++)
		state.failures[i] = failure;
	state.failure_count = TOP_MAX_FAILURES;
	top_view(&state, 100, 24, &out);
	assert_non_null(strstr(out.data, "\n… 40 more\n"));

	int failed = 0;

	for (const char *at = out.data; (at = strstr(at, "EMPTY_TEXT")); at++)
		failed++;
	assert_int_equal(failed, 3);
}

static void
colours_only_when_asked(void **unused)
{
	(void)unused;
	AUTO(buf) struct buf out = BUF_INIT(1 << 20);

	top_view(&state, 100, 24, &out);
	assert_null(strchr(out.data, '\033'));
	buf_clear(&out);
	state.color = true;
	top_view(&state, 100, 24, &out);
	assert_non_null(strstr(out.data, "\033[33mquery"));
	assert_non_null(strstr(out.data, "\033[31mh/2/0"));
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(shows_all),
		TEST(shows_imports),
		TEST(says_what_is_wrong),
		TEST(plain_lines_and_json),
		TEST(fits_every_terminal),
		TEST(shares_the_rows),
		TEST(colours_only_when_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
