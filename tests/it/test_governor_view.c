/* What operators see of governed dependencies: JSON and gauges, over a real Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/governor_view.h"
#include "common/keys.h"
#include "tests/support/must.h"
#include "tests/support/redis_group.h"

static struct metrics *metrics;
static struct governor_view *view;

static int
start(void **state)
{
	static const char *const by[] = { "dependency", NULL };

	metrics = metrics_new();
	view = governor_view_new(metrics, metrics_register(metrics, &(struct metric_opts){
									    .kind = METRIC_GAUGE,
									    .name = "up",
									    .help = "Up.",
									    .labels = by }));
	return redis_group_start(state);
}

static int
stop(void **state)
{
	governor_view_free(view);
	metrics_free(metrics);
	return redis_group_stop(state);
}

static void
end_call(const char *name, enum governor_outcome outcome, int64_t hint_ms)
{
	struct governor_limits limits = { 600, 0, 4, 0 };
	struct governor_opts opts = { .max_wait_ms = 60000,
				      .breaker_failures = 1,
				      .breaker_open_ms = 3600000 };
	struct governor_report report = { outcome, 10, hint_ms, "it broke" };
	struct governor_ticket ticket;

	MUST(governor_acquire(redis, str_of(name), &limits, &opts,
			      &(struct governor_cost){ .tokens = 10 }, &ticket, e));
	governor_report(redis, &ticket, &report);
}

static void
expect_metric(const char *line)
{
	AUTO(buf) struct buf page = BUF_INIT((size_t)1 << 20);
	size_t at;

	metrics_write(metrics, &page);
	if (!str_find(str_make(page.data, page.len), str_of(line), &at))
		fail_msg("no '%s' in %s", line, page.data);
}

static void
test_json(void **state)
{
	AUTO(buf) struct buf out = BUF_INIT((size_t)1 << 20);
	struct jw w = jw_start(&out);

	(void)state;
	end_call("gemini:m:1a2b3c4d", GOVERNOR_OK, -1);
	MUST(governor_view_refresh(view, redis, e));
	jw_arr(&w);
	governor_view_write(view, &w);
	jw_end(&w);
	assert_string_equal(
		out.data,
		"[{\"id\":\"gemini:m:1a2b3c4d\",\"object\":\"dependency\",\"name\":\"gemini "
		"m\",\"breaker\":\"closed\","
		"\"waiting_for\":null,\"wait_ms\":0,\"requests\":{\"used\":1,\"limit\":600},"
		"\"tokens\":{\"used\":10,"
		"\"limit\":null},\"in_flight\":{\"used\":0,\"limit\":4},\"failures\":0,\"granted_"
		"total\":1,"
		"\"refused_total\":0,\"used_s_ago\":0,\"trouble\":null,\"trouble_s_ago\":null}]");
}

static void
test_gauges(void **state)
{
	(void)state;
	end_call("gemini:m:1a2b3c4d", GOVERNOR_OK, -1);
	MUST(governor_view_refresh(view, redis, e));
	expect_metric("\nup{dependency=\"gemini m\"} 1\n");
	expect_metric("rag_engine_dependency_breaker{dependency=\"gemini m\"} 0\n");
	expect_metric("rag_engine_dependency_wait_seconds{dependency=\"gemini m\"} 0\n");
	expect_metric(
		"rag_engine_dependency_limit{dependency=\"gemini m\",limit=\"requests\"} 600\n");
	expect_metric("rag_engine_dependency_limit{dependency=\"gemini m\",limit=\"tokens\"} 0\n");
	expect_metric(
		"rag_engine_dependency_used{dependency=\"gemini m\",limit=\"in_flight\"} 0\n");
	end_call("gemini:m:1a2b3c4d", GOVERNOR_OUTAGE, -1);
	MUST(governor_view_refresh(view, redis, e));
	expect_metric("\nup{dependency=\"gemini m\"} 0\n");
	expect_metric("rag_engine_dependency_breaker{dependency=\"gemini m\"} 1\n");
}

/* The key was changed: the old one's trouble is nobody's any more. */
static void
test_another_key_of_the_same_name(void **state)
{
	struct key old = key_governor(STR("gemini:m:1a2b3c4d"), GK_STATE);

	(void)state;
	MUST(REDIS_CALL(redis, NULL, e, "HSET", old.text, "seen", "1000"));
	end_call("gemini:m:99998888", GOVERNOR_OK, -1);
	MUST(governor_view_refresh(view, redis, e));
	expect_metric("\nup{dependency=\"gemini m\"} 1\n");
}

/* What is forgotten is not down for ever. */
static void
test_forgotten(void **state)
{
	struct key state_key = key_governor(STR("tei::00000000"), GK_STATE);

	(void)state;
	end_call("tei::00000000", GOVERNOR_OUTAGE, -1);
	MUST(governor_view_refresh(view, redis, e));
	expect_metric("\nup{dependency=\"tei\"} 0\n");
	MUST(REDIS_CALL(redis, NULL, e, "DEL", state_key.text));
	MUST(governor_view_refresh(view, redis, e));
	expect_metric("\nup{dependency=\"tei\"} 1\n");
}

static void
test_quota_is_down(void **state)
{
	(void)state;
	end_call("cohere:r", GOVERNOR_QUOTA, 60000);
	MUST(governor_view_refresh(view, redis, e));
	expect_metric("\nup{dependency=\"cohere r\"} 0\n");
	expect_metric("rag_engine_dependency_breaker{dependency=\"cohere r\"} 0\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_gauges),
		cmocka_unit_test(test_another_key_of_the_same_name),
		cmocka_unit_test(test_forgotten),
		cmocka_unit_test(test_quota_is_down),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
