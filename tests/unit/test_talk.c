/* A conversation in a file: what is added, what leaves it, and what is no conversation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/talk.h"
#include "common/base/auto.h"
#include "common/base/buf.h"
#include "tests/support/must.h"

#define MIB ((size_t)1024 * 1024)

static char folder[] = "/tmp/rag-talk-XXXXXX";
static char path[64];

static int
setup(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/talk.json", folder);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	/* fails when something was left beside it */
	return rmdir(folder);
}

static struct js *
read_talk(void)
{
	struct js *talk = NULL;

	MUST(talk_read(path, &talk, e));
	return talk;
}

static void
add(const char *question, const char *answer)
{
	AUTO_PTR(js_free) struct js *talk = read_talk();

	MUST(talk_add(path, talk, str_of(question), str_of(answer), e));
}

static void
put(const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void
grows_turn_by_turn(void **state)
{
	AUTO_PTR(js_free) struct js *none = NULL;
	AUTO_PTR(js_free) struct js *talk = NULL;
	struct str text;

	(void)state;
	(void)unlink(path);
	none = read_talk();
	assert_int_equal(js_len(none), 0);
	add("Oil?", "Every 10,000 km. [1]");
	add("And the \"filter\"?", "");
	talk = read_talk();
	assert_int_equal(js_len(talk), 3); /* without an answer, the question alone */
	assert_true(js_get_str(js_at(talk, 0), "role", &text) && str_eq_c(text, "user"));
	assert_true(js_get_str(js_at(talk, 1), "role", &text) && str_eq_c(text, "assistant"));
	assert_true(js_get_str(js_at(talk, 1), "content", &text) &&
		    str_eq_c(text, "Every 10,000 km. [1]"));
	assert_true(js_get_str(js_at(talk, 2), "content", &text) &&
		    str_eq_c(text, "And the \"filter\"?"));
}

/* It stays within what the engine takes; the oldest go. */
static void
is_bounded(void **state)
{
	AUTO_PTR(js_free) struct js *talk = NULL;
	AUTO(buf) struct buf text = BUF_INIT(MIB);
	char question[32];
	struct str last;

	(void)state;
	(void)unlink(path);
	for (int i = 0; i < 40; i++) {
		(void)snprintf(question, sizeof(question), "Question %d?", i);
		add(question, "Short.");
	}
	talk = read_talk();
	assert_int_equal(js_len(talk), TALK_MAX_TURNS);
	assert_true(js_get_str(js_at(talk, TALK_MAX_TURNS - 2), "content", &last) &&
		    str_eq_c(last, "Question 39?"));
	for (int i = 0; i < TALK_MAX_CHARS + 10; i++)
		buf_add_str(&text, "\xc3\xb6");
	add("Long?", text.data);
	js_free(TAKE(talk));
	talk = read_talk();
	buf_clear(&text);
	js_write(talk, &text);
	assert_true(text.len <= TALK_MAX_BYTES);
	assert_true(js_get_str(js_at(talk, js_len(talk) - 1), "content", &last));
	assert_int_equal(str_utf8_count(last), TALK_MAX_CHARS);
}

static void
refuses_other_files(void **state)
{
	static const char *const texts[] = { "{}", "[", "no", "\"x\"" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct js *talk = NULL;
		struct err err = ERR_INIT;

		put(texts[i]);
		assert_false(talk_read(path, &talk, &err));
		assert_int_equal(err.code, ERR_CONFIG);
		assert_non_null(strstr(err.msg, path));
	}
}

static void
says_why_it_cannot_write(void **state)
{
	AUTO_PTR(js_free) struct js *talk = NULL;
	struct err err = ERR_INIT;

	(void)state;
	put("[]");
	talk = read_talk();
	assert_false(talk_add("/nonexistent/talk.json", talk, STR("q"), STR("a"), &err));
	assert_non_null(strstr(err.msg, "/nonexistent/talk.json"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows_turn_by_turn),
		cmocka_unit_test(is_bounded),
		cmocka_unit_test(refuses_other_files),
		cmocka_unit_test(says_why_it_cannot_write),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
