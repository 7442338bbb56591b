#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/str.h"

static int pipe_fds[2];

static int
start(void **state)
{
	(void)state;
	if (pipe(pipe_fds) != 0 || fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK) != 0)
		return -1;
	log_set_fd_for_test(pipe_fds[1]);
	log_init("test", LOG_DEBUG);
	log_clear_fields();
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	log_set_fd_for_test(-1);
	clock_set_for_test(-1, -1);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return 0;
}

/* What was logged since the last call: exactly one line, with the rules every line keeps. The
 * parser is not ours, and strict: it refuses duplicate keys and invalid UTF-8. */
static json_t *
line(void)
{
	char text[LOG_LINE_MAX_BYTES * 2];
	ssize_t len = read(pipe_fds[0], text, sizeof(text) - 1);
	json_error_t error;

	assert_in_range(len, 2, LOG_LINE_MAX_BYTES);
	text[len] = '\0';
	assert_ptr_equal(strchr(text, '\n'), text + len - 1);

	json_t *parsed = json_loads(text, JSON_REJECT_DUPLICATES, &error);

	if (!parsed)
		fail_msg("%s: %s", error.text, text);
	return parsed;
}

static bool
nothing_logged(void)
{
	char c;

	return read(pipe_fds[0], &c, 1) < 0;
}

static const char *
text_at(json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	assert_non_null(text);
	return text;
}

static void
a_line_has_the_fixed_members(void **state)
{
	clock_set_for_test(-1, INT64_C(1795503600123));
	log_info("started on %s:%d", "localhost", 80);

	json_t *parsed = line();

	(void)state;
	assert_int_equal(json_object_size(parsed), 4);
	assert_string_equal(text_at(parsed, "ts"), "2026-11-24T07:00:00.123Z");
	assert_string_equal(text_at(parsed, "level"), "info");
	assert_string_equal(text_at(parsed, "svc"), "test");
	assert_string_equal(text_at(parsed, "msg"), "started on localhost:80");
	json_decref(parsed);
}

static void
levels_filter(void **state)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };
	enum log_level level = LOG_ERROR;

	(void)state;
	for (int threshold = LOG_DEBUG; threshold <= LOG_ERROR; threshold++) {
		log_init("test", (enum log_level)threshold);
		for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
			log_line((enum log_level)i, "x");
			assert_int_equal(log_enabled((enum log_level)i), i >= threshold);
			if (i < threshold) {
				assert_true(nothing_logged());
				continue;
			}

			json_t *parsed = line();

			assert_string_equal(text_at(parsed, "level"), names[i]);
			json_decref(parsed);
		}
	}
	assert_true(log_level_parse("DEBUG", &level) && level == LOG_DEBUG);
	assert_true(log_level_parse("info", &level) && level == LOG_INFO);
	assert_true(log_level_parse("Warn", &level) && level == LOG_WARN);
	assert_true(log_level_parse("error", &level) && level == LOG_ERROR);
	assert_false(log_level_parse("warning", &level));
	assert_false(log_level_parse("", &level));
	assert_false(log_level_parse(NULL, &level));
	assert_int_equal(level, LOG_ERROR);
}

static void
any_bytes_are_valid_json(void **state)
{
	char all[256];

	(void)state;
	for (int i = 1; i < 256; i++)
		all[i - 1] = (char)i;
	all[255] = '\0';
	log_info("%s", all);

	json_t *parsed = line();
	const char *msg = text_at(parsed, "msg");

	assert_memory_equal(msg, all, 127); /* ASCII comes back unchanged */
	for (int i = 0; i < 128; i++)	    /* each other byte became U+FFFD */
		assert_memory_equal(msg + 127 + (ptrdiff_t)3 * i, "\ufffd", 3);
	json_decref(parsed);

	log_field("req_id", "a\"b\\c\n\x01\xff\u20ac");
	log_info("\"}{\u00e9 \U0001f600");
	parsed = line();
	assert_string_equal(text_at(parsed, "msg"), "\"}{\u00e9 \U0001f600");
	assert_string_equal(text_at(parsed, "req_id"), "a\"b\\c\n\x01\ufffd\u20ac");
	json_decref(parsed);
}

/* Every length around the limit, and characters of each width (escaped and raw) across the cut. */
static void
long_lines_are_cut(void **state)
{
	static const char *const chars[] = { "a", "\"", "\x01", "\xff", "\u20ac", "\U0001f600" };
	char text[LOG_LINE_MAX_BYTES + 200];

	(void)state;
	for (size_t c = 0; c < sizeof(chars) / sizeof(chars[0]); c++) {
		size_t step = strlen(chars[c]);

		for (size_t len = 3900 / 8 / step * step;
		     len + step<sizeof(text); len += len> 3900 ? step : 7 * step) {
			for (size_t at = 0; at < len; at += step)
				memcpy(text + at, chars[c], step);
			text[len] = '\0';
			log_info("%s", text);

			json_t *parsed = line();
			const char *msg = text_at(parsed, "msg");
			size_t got = strlen(msg);

			if (*chars[c] != '\xff' && strcmp(msg, text) != 0) {
				assert_string_equal(msg + got - 3, "...");
				assert_memory_equal(msg, text, got - 3);
				assert_true(got > 600); /* control bytes take six each */
			}
			json_decref(parsed);
		}
	}
}

static void
everything_at_its_largest(void **state)
{
	static const char *const names[] = { "req_id", "job_id",   "job_type",	 "attempt",
					     "step",   "provider", "traceparent" };
	static const char *const chars[] = { "\"", "\x01", "\u20ac", "a" };
	char text[6000];

	(void)state;
	for (size_t c = 0; c < sizeof(chars) / sizeof(chars[0]); c++) {
		struct err err = ERR_INIT;
		size_t step = strlen(chars[c]), len = 0;

		for (; len + step < sizeof(text); len += step)
			memcpy(text + len, chars[c], step);
		text[len] = '\0';
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			log_field(names[i], text);
		err_set(&err, ERR_PROVIDER_UNAVAILABLE, "%s", text);
		err_cause(&err, "%s", text);
		err.detail = INT32_MIN;
		log_err(LOG_ERROR, &err, "%s", text);

		json_t *parsed = line();

		assert_int_equal(json_object_size(parsed), 4 + 7 + 3);
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			assert_true(strlen(text_at(parsed, names[i])) >= 40);
		assert_true(strlen(text_at(parsed, "err_cause")) >= 80);
		assert_true(strlen(text_at(parsed, "msg")) >= 150);
		json_decref(parsed);
		log_done(LOG_INFO, INT64_MIN, INT32_MIN, "%s", text);
		json_decref(line());
	}
}

static void
fields_are_inherited_until_removed(void **state)
{
	log_field("req_id", "r1");
	log_field("job_id", "j1");
	log_field_i64("attempt", 3);
	log_info("x");

	json_t *parsed = line();

	(void)state;
	assert_int_equal(json_object_size(parsed), 7);
	assert_string_equal(text_at(parsed, "req_id"), "r1");
	assert_string_equal(text_at(parsed, "job_id"), "j1");
	assert_int_equal(json_integer_value(json_object_get(parsed, "attempt")), 3);
	json_decref(parsed);

	log_field("req_id", NULL);
	log_field("job_id", "");
	log_field("attempt", "third");
	log_info("x");
	parsed = line();
	assert_null(json_object_get(parsed, "req_id"));
	assert_string_equal(text_at(parsed, "job_id"), "");
	assert_string_equal(text_at(parsed, "attempt"), "third");
	json_decref(parsed);

	log_clear_fields();
	log_info("x");
	parsed = line();
	assert_int_equal(json_object_size(parsed), 4);
	json_decref(parsed);
}

static void
an_unknown_field_is_said_and_dropped(void **state)
{
	log_field("colour", "blue");

	json_t *parsed = line();

	(void)state;
	assert_string_equal(text_at(parsed, "level"), "warn");
	assert_non_null(strstr(text_at(parsed, "msg"), "'colour'"));
	assert_null(json_object_get(parsed, "colour"));
	json_decref(parsed);
}

static void *
log_from_a_thread(void *arg)
{
	(void)arg;
	log_info("no fields here");
	log_field("req_id", "other");
	log_info("own field");
	return NULL;
}

static void
fields_belong_to_their_thread(void **state)
{
	char text[LOG_LINE_MAX_BYTES];
	pthread_t thread;

	(void)state;
	log_field("req_id", "mine");
	assert_int_equal(pthread_create(&thread, NULL, log_from_a_thread, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	log_info("mine again");

	ssize_t len = read(pipe_fds[0], text, sizeof(text) - 1);

	assert_true(len > 0);
	text[len] = '\0';

	char *second = strchr(text, '\n'), *third = strchr(second + 1, '\n');

	*second = *third = '\0';
	assert_null(strstr(text, "req_id"));
	assert_non_null(strstr(second + 1, "\"req_id\":\"other\""));
	assert_non_null(strstr(third + 1, "\"req_id\":\"mine\""));
}

static void
errors_bring_their_code_detail_and_cause(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	err_set(&err, ERR_CONNECT, "could not connect");
	log_err(LOG_WARN, &err, "query %d", 7);

	json_t *parsed = line();

	assert_string_equal(text_at(parsed, "msg"), "query 7: could not connect");
	assert_string_equal(text_at(parsed, "err_code"), "CONNECT_FAILED");
	assert_null(json_object_get(parsed, "err_detail"));
	assert_null(json_object_get(parsed, "err_cause"));
	json_decref(parsed);

	err.detail = 111;
	err_cause(&err, "10.0.0.1:6379");
	log_err(LOG_WARN, &err, "query");
	parsed = line();
	assert_int_equal(json_integer_value(json_object_get(parsed, "err_detail")), 111);
	assert_string_equal(text_at(parsed, "err_cause"), "10.0.0.1:6379");
	json_decref(parsed);
}

static void
outcomes_bring_duration_and_status(void **state)
{
	log_done(LOG_INFO, 1234567890123, 202, "POST %s", "/x");

	json_t *parsed = line();

	(void)state;
	assert_string_equal(text_at(parsed, "msg"), "POST /x");
	assert_true(json_integer_value(json_object_get(parsed, "dur_ms")) ==
		    INT64_C(1234567890123));
	assert_int_equal(json_integer_value(json_object_get(parsed, "status")), 202);
	json_decref(parsed);
}

static void
errno_survives(void **state)
{
	(void)state;
	log_set_fd_for_test(1 << 20); /* no such descriptor: the line is lost, nothing else */
	errno = ENOENT;
	log_info("x");
	assert_int_equal(errno, ENOENT);
	log_set_fd_for_test(pipe_fds[1]);
	assert_true(nothing_logged());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_line_has_the_fixed_members, start, stop),
		cmocka_unit_test_setup_teardown(levels_filter, start, stop),
		cmocka_unit_test_setup_teardown(any_bytes_are_valid_json, start, stop),
		cmocka_unit_test_setup_teardown(long_lines_are_cut, start, stop),
		cmocka_unit_test_setup_teardown(everything_at_its_largest, start, stop),
		cmocka_unit_test_setup_teardown(fields_are_inherited_until_removed, start, stop),
		cmocka_unit_test_setup_teardown(an_unknown_field_is_said_and_dropped, start, stop),
		cmocka_unit_test_setup_teardown(fields_belong_to_their_thread, start, stop),
		cmocka_unit_test_setup_teardown(errors_bring_their_code_detail_and_cause, start,
						stop),
		cmocka_unit_test_setup_teardown(outcomes_bring_duration_and_status, start, stop),
		cmocka_unit_test_setup_teardown(errno_survives, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
