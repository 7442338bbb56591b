#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/metrics.h"

static const char *const two_labels[] = { "method", "status", NULL };

static void
assert_page(struct metrics *metrics, const char *want)
{
	AUTO(buf) struct buf page = BUF_INIT((size_t)1 << 24);

	metrics_write(metrics, &page);
	assert_string_equal(page.data, want);
}

/* The value of a line "<series> <value>"; fails when there is none. */
static double
line_value(struct metrics *metrics, const char *series)
{
	AUTO(buf) struct buf page = BUF_INIT((size_t)1 << 24);
	struct str rest, line;
	double value = 0;

	metrics_write(metrics, &page);
	rest = str_make(page.data, page.len);
	while (str_split(&rest, '\n', &line)) {
		if (!str_starts(line, series) || line.ptr[strlen(series)] != ' ')
			continue;
		assert_true(str_to_f64(str_sub(line, strlen(series) + 1, line.len), &value));
		return value;
	}
	fail_msg("no series %s", series);
	return 0;
}

static void
test_counter_and_gauge(void **state)
{
	struct metrics *metrics = metrics_new();
	struct metric *plain =
		metrics_register(metrics, &(struct metric_opts){ .kind = METRIC_COUNTER,
								 .name = "a_total",
								 .help = "A." });
	struct metric *labelled =
		metrics_register(metrics, &(struct metric_opts){ .kind = METRIC_COUNTER,
								 .name = "b_total",
								 .help = "B.",
								 .labels = two_labels });
	struct metric *gauge =
		metrics_register(metrics, &(struct metric_opts){ .kind = METRIC_GAUGE,
								 .name = "c",
								 .help = "C." });

	(void)state;
	assert_page(metrics, "# HELP a_total A.\n# TYPE a_total counter\na_total 0\n"
			     "# HELP b_total B.\n# TYPE b_total counter\n"
			     "# HELP c C.\n# TYPE c gauge\nc 0\n");
	metric_add(plain, NULL, 1);
	metric_add(plain, NULL, 1.5);
	metric_add(plain, NULL, -1); /* a counter does not fall */
	metric_add(plain, NULL, (double)NAN);
	metric_add(labelled, METRIC_VALUES("GET", "200"), 3);
	metric_add(labelled, METRIC_VALUES("POST", "202"), 1e15);
	metric_add(labelled, METRIC_VALUES("GET", "200"), 1);
	metric_set(gauge, NULL, 7);
	metric_add(gauge, NULL, -9.5);
	assert_page(metrics, "# HELP a_total A.\n# TYPE a_total counter\na_total 2.5\n"
			     "# HELP b_total B.\n# TYPE b_total counter\n"
			     "b_total{method=\"GET\",status=\"200\"} 4\n"
			     "b_total{method=\"POST\",status=\"202\"} 1e+15\n"
			     "# HELP c C.\n# TYPE c gauge\nc -2.5\n");
	metrics_free(metrics);
}

static void
test_histogram(void **state)
{
	static const double bounds[] = { 0.005, 1, 2.5 };
	struct metrics *metrics = metrics_new();
	struct metric *histogram =
		metrics_register(metrics, &(struct metric_opts){
						  .kind = METRIC_HISTOGRAM,
						  .name = "d_seconds",
						  .help = "D.",
						  .labels = (const char *const[]){ "step", NULL },
						  .buckets = bounds,
						  .bucket_count = 3 });

	(void)state;
	metric_observe(histogram, METRIC_VALUES("embed"), 0.005); /* le: less or equal */
	metric_observe(histogram, METRIC_VALUES("embed"), 0.25);
	metric_observe(histogram, METRIC_VALUES("embed"), 0.5);
	metric_observe(histogram, METRIC_VALUES("embed"), 99);
	metric_observe(histogram, METRIC_VALUES("embed"), (double)NAN);
	assert_page(metrics, "# HELP d_seconds D.\n# TYPE d_seconds histogram\n"
			     "d_seconds_bucket{step=\"embed\",le=\"0.005\"} 1\n"
			     "d_seconds_bucket{step=\"embed\",le=\"1\"} 3\n"
			     "d_seconds_bucket{step=\"embed\",le=\"2.5\"} 3\n"
			     "d_seconds_bucket{step=\"embed\",le=\"+Inf\"} 4\n"
			     "d_seconds_sum{step=\"embed\"} 99.755\n"
			     "d_seconds_count{step=\"embed\"} 4\n");
	metrics_free(metrics);

	metrics = metrics_new();
	(void)metrics_register(metrics, &(struct metric_opts){ .kind = METRIC_HISTOGRAM,
							       .name = "e",
							       .help = "E.",
							       .buckets = bounds,
							       .bucket_count = 1 });
	assert_page(metrics,
		    "# HELP e E.\n# TYPE e histogram\n"
		    "e_bucket{le=\"0.005\"} 0\ne_bucket{le=\"+Inf\"} 0\ne_sum 0\ne_count 0\n");
	metrics_free(metrics);
}

static void
test_escaping(void **state)
{
	struct metrics *metrics = metrics_new();
	struct metric *gauge =
		metrics_register(metrics, &(struct metric_opts){
						  .kind = METRIC_GAUGE,
						  .name = "f",
						  .help = "back\\slash, \"quotes\" and\nlines",
						  .labels = (const char *const[]){ "l", NULL } });
	char longer[300];

	(void)state;
	metric_set(gauge, METRIC_VALUES("a\\b\"c\nd"), 1);
	metric_set(gauge, METRIC_VALUES("\xff\xfe"), 2); /* one series: the page is UTF-8 */
	metric_set(gauge, METRIC_VALUES("\xfe"), 3);
	metric_set(gauge, METRIC_VALUES(NULL), 4);
	assert_page(metrics, "# HELP f back\\\\slash, \"quotes\" and\\nlines\n# TYPE f gauge\n"
			     "f{l=\"a\\\\b\\\"c\\nd\"} 1\nf{l=\"invalid\"} 3\nf{l=\"\"} 4\n");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	metric_set(gauge, METRIC_VALUES(longer), 5);
	longer[200] = '\0';
	metric_set(gauge, METRIC_VALUES(longer), 6); /* the same up to the limit: the same series */
	longer[128] = '\0';

	char series[320];

	(void)snprintf(series, sizeof(series), "f{l=\"%s\"}", longer);
	assert_true(line_value(metrics, series) == 6);
	metrics_free(metrics);
}

static void
test_numbers(void **state)
{
	static const struct {
		double value;
		const char *text;
	} cases[] = {
		{ 0.1, "0.1" },
		{ 1.0 / 3, "0.3333333333333333" },
		{ 1e300, "1e+300" },
		{ 123456789012345, "123456789012345" },
		{ (double)INFINITY, "+Inf" },
		{ -(double)INFINITY, "-Inf" },
		{ (double)NAN, "NaN" },
		{ -0.5, "-0.5" },
	};
	struct metrics *metrics = metrics_new();
	struct metric *gauge =
		metrics_register(metrics, &(struct metric_opts){ .kind = METRIC_GAUGE,
								 .name = "g",
								 .help = "G." });
	char want[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		metric_set(gauge, NULL, cases[i].value);
		(void)snprintf(want, sizeof(want), "# HELP g G.\n# TYPE g gauge\ng %s\n",
			       cases[i].text);
		assert_page(metrics, want);
	}
	metrics_free(metrics);
}

static void
test_series_are_bounded(void **state)
{
	struct metrics *metrics = metrics_new();
	struct metric *counter =
		metrics_register(metrics, &(struct metric_opts){ .kind = METRIC_COUNTER,
								 .name = "h_total",
								 .help = "H.",
								 .labels = two_labels });
	AUTO(buf) struct buf page = BUF_INIT((size_t)1 << 24);
	size_t lines = 0;
	char value[32];

	(void)state;
	for (int i = 0; i < METRICS_MAX_SERIES + 1000; i++) {
		(void)snprintf(value, sizeof(value), "v%d", i);
		metric_add(counter, METRIC_VALUES("GET", value), 1);
	}
	metric_add(counter, METRIC_VALUES("GET", "v0"), 1); /* old ones still count */
	assert_true(line_value(metrics, "h_total{method=\"GET\",status=\"v0\"}") == 2);
	assert_true(line_value(metrics, "h_total{method=\"GET\",status=\"v511\"}") == 1);
	assert_true(line_value(metrics, "h_total{method=\"other\",status=\"other\"}") == 1000);
	metrics_write(metrics, &page);
	for (size_t i = 0; i < page.len; i++)
		lines += page.data[i] == '\n';
	assert_int_equal(lines, 2 + METRICS_MAX_SERIES + 1);
	metrics_free(metrics);
}

static void
on_scrape(void *user)
{
	metric_add(user, NULL, 1);
}

static void
test_registry(void **state)
{
	struct metrics *metrics = metrics_new();
	const struct metric_opts opts = { .kind = METRIC_GAUGE, .name = "i", .help = "I." };
	struct metric *gauge = metrics_register(metrics, &opts);

	(void)state;
	assert_ptr_equal(metrics_register(metrics, &opts), gauge); /* once is enough */
	metrics_on_scrape(metrics, on_scrape, gauge);
	metrics_on_scrape(metrics, on_scrape, gauge);
	assert_page(metrics, "# HELP i I.\n# TYPE i gauge\ni 2\n");
	assert_page(metrics, "# HELP i I.\n# TYPE i gauge\ni 4\n");
	/* nobody measures: nothing happens */
	metric_add(NULL, NULL, 1);
	metric_set(NULL, NULL, 1);
	metric_observe(NULL, NULL, 1);
	assert_null(metrics_register(NULL, &opts));
	metrics_free(metrics);
	metrics_free(NULL);
	for (size_t i = 1; i < metrics_seconds_bucket_count; i++)
		assert_true(metrics_seconds_buckets[i] > metrics_seconds_buckets[i - 1]);
}

/* ---- threads ---- */

#define THREADS 8
#define ROUNDS 2000
#define DISTINCT 700 /* more than fit */

struct shared {
	struct metrics *metrics;
	struct metric *counter, *histogram;
};

static void *
hammer(void *arg)
{
	struct shared *shared = arg;
	AUTO(buf) struct buf page = BUF_INIT((size_t)1 << 24);
	char value[32];

	for (int i = 0; i < ROUNDS; i++) {
		(void)snprintf(value, sizeof(value), "v%d", i % DISTINCT);
		metric_add(shared->counter, METRIC_VALUES(value), 1);
		metric_observe(shared->histogram, NULL, i % 3);
		if (i % 500 == 0) {
			buf_clear(&page);
			metrics_write(shared->metrics, &page);
		}
	}
	return NULL;
}

static void
test_threads(void **state)
{
	static const double bounds[] = { 0, 1 };
	struct shared shared = { .metrics = metrics_new() };
	pthread_t threads[THREADS];
	AUTO(buf) struct buf page = BUF_INIT((size_t)1 << 24);
	struct str rest, line;
	double sum = 0;
	size_t at = 0;

	(void)state;
	shared.counter = metrics_register(shared.metrics,
					  &(struct metric_opts){
						  .kind = METRIC_COUNTER,
						  .name = "j_total",
						  .help = "J.",
						  .labels = (const char *const[]){ "v", NULL } });
	shared.histogram =
		metrics_register(shared.metrics, &(struct metric_opts){ .kind = METRIC_HISTOGRAM,
									.name = "k",
									.help = "K.",
									.buckets = bounds,
									.bucket_count = 2 });
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, &shared), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	/* no update is lost, whichever series it went to */
	metrics_write(shared.metrics, &page);
	rest = str_make(page.data, page.len);
	while (str_split(&rest, '\n', &line)) {
		double value = 0;

		if (!str_starts(line, "j_total{") || !str_find(line, STR("} "), &at))
			continue;
		assert_true(str_to_f64(str_sub(line, at + 2, line.len), &value));
		sum += value;
	}
	int least = THREADS * ((ROUNDS + 2) / 3); /* one of three is 0 */

	assert_true(sum == THREADS * ROUNDS);
	assert_true(line_value(shared.metrics, "k_count") == THREADS * ROUNDS);
	assert_true(line_value(shared.metrics, "k_bucket{le=\"0\"}") == least);
	metrics_free(shared.metrics);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counter_and_gauge),
		cmocka_unit_test(test_histogram),
		cmocka_unit_test(test_escaping),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_series_are_bounded),
		cmocka_unit_test(test_registry),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
