/* The report of rag-cron: figures add up and keep their order, problems are all counted, JSON is JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/json.h"
#include "cron/report.h"

static char *
printed(const struct report *report, bool json)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	report_print(report, json, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void
test_text(void **state)
{
	struct report report;
	char *text;

	(void)state;
	report_init(&report, "verify");
	text = printed(&report, false);
	assert_string_equal(text, "verify: ok\n");
	free(text);
	report_add(&report, "ingest", "jobs", 2);
	report_add(&report, "ingest", "waiting", 1);
	report_add(&report, "store", "chunks", 7);
	report_add(&report, "ingest", "jobs", 3);
	text = printed(&report, false);
	assert_string_equal(text, "ingest: 5 jobs, 1 waiting\nstore: 7 chunks\nverify: ok\n");
	free(text);
	report_problem(&report, "counters", "it does not add up");
	text = printed(&report, false);
	assert_non_null(strstr(text, "BROKEN counters: it does not add up\n"));
	assert_non_null(strstr(text, "verify: 1 problem\n"));
	free(text);
	report_release(&report);
}

static void
test_json(void **state)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	struct report report;
	struct err err = ERR_INIT;
	struct str text;
	int64_t value;
	bool ok = true;
	char *json;

	(void)state;
	report_init(&report, "verify");
	json = printed(&report, true);
	assert_true(js_parse(str_trim(str_of(json)), &root, &err));
	assert_true(js_get_bool(root, "ok", &ok) && ok);
	js_free(root);
	root = NULL;
	free(json);
	report_add(&report, "ingest", "jobs", 2);
	report_add(&report, "store", "chunks", 7);
	report_problem(&report, "store", "a \"quoted\" id");
	json = printed(&report, true);
	assert_true(js_parse(str_trim(str_of(json)), &root, &err));
	free(json);
	assert_true(js_get_bool(root, "ok", &ok) && !ok);
	assert_true(js_get_int(js_get(js_get(root, "figures"), "store"), "chunks", &value));
	assert_int_equal(value, 7);
	assert_true(js_get_str(js_at(js_get(root, "problems"), 0), "text", &text));
	assert_true(str_eq_c(text, "a \"quoted\" id"));
	report_release(&report);
}

static void
test_many_problems(void **state)
{
	struct report report;
	char *text;

	(void)state;
	report_init(&report, "verify");
	for (int i = 0; i < REPORT_PROBLEMS_MAX + 5; i++)
		report_problem(&report, "store", "gone");
	assert_int_equal(report.problem_count, REPORT_PROBLEMS_MAX + 5);
	text = printed(&report, false);
	assert_non_null(strstr(text, "verify: 1005 problems, the first 1000 are shown\n"));
	free(text);
	report_release(&report);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_many_problems),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
