/* `ragctl top` on a terminal of its own, against a fake engine. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/text.h"
#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/str.h"
#include "tests/support/fake_api.h"
#include "tests/support/process.h"
#include "tests/support/pty.h"

#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"
#define HOME "\033[H"

static struct fake_api *api;
static struct pty *pty;

static int
setup(void **state)
{
	(void)state;
	api = fake_api_start();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	pty_stop(pty);
	pty = NULL;
	fake_api_stop(api);
	return 0;
}

static void
start(const char *option, const char *value, const char *env, int columns, int rows)
{
	const char *const argv[] = { "ragctl", "top", "--url", fake_api_url(api),
				     option,   value, NULL };
	const char *const environment[] = { env, NULL };

	pty = pty_start(argv, environment, columns, rows);
}

/* The escape sequence at `at`, taken off; false when top has no business with it. */
static bool
skip_known(struct str *rest)
{
	static const char *const known[] = {
		ENTER,	   LEAVE,     HOME,	 "\033[K",   "\033[J",
		"\033[0m", "\033[1m", "\033[2m", "\033[31m", "\033[33m"
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (!str_starts(*rest, known[i]))
			continue;
		*rest = str_sub(*rest, strlen(known[i]), rest->len);
		return true;
	}
	return false;
}

/* All that was drawn since `from`: only known sequences, no other controls, no line too wide. */
static void
check_drawn(const char *from, size_t columns)
{
	AUTO(buf) struct buf line = BUF_INIT(1 << 20);
	struct str rest = str_of(from);

	while (rest.len > 0) {
		char c = rest.ptr[0];

		if (str_starts(rest, HOME) || str_starts(rest, LEAVE))
			buf_clear(&line);
		if (c == '\033' && skip_known(&rest))
			continue;
		if (c == '\r' || c == '\n') {
			if (text_columns(str_make(line.data, line.len)) > columns)
				fail_msg("wider than %zu: %s", columns, line.data);
			buf_clear(&line);
		} else if ((unsigned char)c < ' ' || c == 0x7f) {
			fail_msg("control %d before: %.20s", c, rest.ptr);
		} else {
			buf_add_char(&line, c);
		}
		rest = str_sub(rest, 1, rest.len);
	}
}

static void
check_restored(void)
{
	struct str text = str_of(pty_text(pty));

	assert_true(str_ends(text, LEAVE) || strstr(text.ptr, LEAVE));
	assert_true(pty_is_cooked(pty));
}

static void
draws_and_quits(void **state)
{
	(void)state;
	start("--interval", "1", "NO_COLOR=1", 100, 30);
	(void)pty_wait(pty, "ingest  paused");
	(void)pty_wait(pty, "1 busy, 1 waiting for work");
	assert_false(pty_is_cooked(pty));
	pty_mark(pty);
	(void)pty_wait(pty, HOME); /* again, by itself */
	pty_keys(pty, "xq");
	assert_int_equal(pty_end(pty), CLI_OK);
	check_restored();
	assert_true(str_starts(str_of(pty_text(pty)), ENTER HOME));
	assert_null(strstr(pty_text(pty), "\033[31m"));
	check_drawn(pty_text(pty), 100);
	/* the foreign text of the fake worker is there, and harmless */
	assert_non_null(strstr(pty_text(pty), "evil [2J"));
}

static void
restores_the_terminal(void **state)
{
	static const int signals[] = { SIGINT, SIGTERM, 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		start("--interval", "600", NULL, 80, 24);
		(void)pty_wait(pty, "QUEUE");
		if (signals[i])
			pty_signal(pty, signals[i]);
		else
			pty_keys(pty, "\003"); /* Ctrl-C is a key here */
		assert_int_equal(pty_end(pty), CLI_INTERRUPTED);
		check_restored();
		pty_stop(pty);
		pty = NULL;
	}
}

static void
follows_the_size(void **state)
{
	(void)state;
	start("--interval", "600", NULL, 120, 40);
	(void)pty_wait(pty, "WORKERS");
	pty_resize(pty, 33, 8);
	/* a complete frame of the new size: from one beginning to the next */
	pty_mark(pty);
	(void)pty_wait(pty, HOME);
	pty_mark(pty);

	const char *first = pty_wait(pty, HOME);
	size_t at = (size_t)(first - pty_text(pty));

	pty_mark(pty);
	(void)pty_wait(pty, HOME);
	check_drawn(pty_text(pty) + at, 33);

	int lines = 0;
	struct str rest = str_of(pty_text(pty) + at + strlen(HOME));
	size_t end = rest.len;

	(void)str_find(rest, STR(HOME), &end);
	for (size_t i = 0; i < end; i++)
		lines += rest.ptr[i] == '\n';
	assert_true(lines < 8);
	pty_keys(pty, "q");
	assert_int_equal(pty_end(pty), CLI_OK);
}

static void
goes_on_without_the_server(void **state)
{
	(void)state;
	start("--interval", "1", "NO_COLOR=1", 100, 30);
	(void)pty_wait(pty, "ingest  paused");
	fake_api_fault(api, &(struct fake_fault){ "queues", 503, 2, 0, false });
	(void)pty_wait(pty, "trouble: scripted fault");
	(void)pty_wait(pty, "trying again");
	pty_mark(pty);
	/* it is back: frames without trouble */
	for (;;) {
		const char *frame = pty_wait(pty, HOME "ragctl top");
		size_t at = (size_t)(frame - pty_text(pty));

		pty_mark(pty);
		(void)pty_wait(pty, HOME "ragctl top");

		struct str drawn = str_of(pty_text(pty) + at + strlen(HOME));
		size_t end = drawn.len, bad;

		(void)str_find(drawn, STR(HOME), &end);
		if (!str_find(str_sub(drawn, 0, end), STR("trouble"), &bad))
			break;
	}
	fake_api_stop(api);
	api = NULL;
	(void)pty_wait(pty, "trouble: could not connect");
	(void)pty_wait(pty, "what is shown is ");
	pty_keys(pty, "q");
	assert_int_equal(pty_end(pty), CLI_OK);
	check_restored();
}

static void
ends_when_it_may_not(void **state)
{
	(void)state;
	fake_api_fault(api, &(struct fake_fault){ "queues", 401, 1000, -1, false });
	start("--interval", "1", NULL, 80, 24);
	assert_int_equal(pty_end(pty), CLI_REFUSED);
	check_restored();
	assert_non_null(strstr(pty_text(pty), "RAG_API_KEY"));
}

/* Not a terminal: lines, until somebody ends it. */
static void
prints_lines_elsewhere(void **state)
{
	const char *const argv[] = { "ragctl",		"top", "--interval", "1", "--url",
				     fake_api_url(api), NULL };
	const char *const env[] = { "LC_ALL=C", NULL };
	struct process *process = process_start(argv, env);

	(void)state;
	assert_true(process_wait_log(process, " ingest waiting=3 running=1 due=0 dead=2 ", 30000));
	process_signal(process, SIGTERM);
	assert_int_equal(process_wait(process), CLI_INTERRUPTED);
	process_stop(process);
}

/* A terminal that cannot move its cursor is treated as none. */
static void
prints_lines_on_dumb_terminals(void **state)
{
	(void)state;
	start("--interval", "1", "TERM=dumb", 80, 24);
	(void)pty_wait(pty, " ingest waiting=3 running=1 due=0 dead=2 ");
	pty_keys(pty, "\003");
	(void)pty_end(pty);
	assert_null(strchr(pty_text(pty), '\033'));
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(draws_and_quits),
		TEST(restores_the_terminal),
		TEST(follows_the_size),
		TEST(goes_on_without_the_server),
		TEST(ends_when_it_may_not),
		TEST(prints_lines_elsewhere),
		TEST(prints_lines_on_dumb_terminals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
