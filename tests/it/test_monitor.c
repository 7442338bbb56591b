#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/json.h"
#include "common/metrics.h"
#include "tests/support/raw_http.h"

static atomic_bool ready;

static bool
probe(void *user, enum health_probe kind, char *out_reason, size_t reason_bytes)
{
	(void)user;
	if (kind == HEALTH_LIVE || atomic_load(&ready))
		return true;
	(void)snprintf(out_reason, reason_bytes, "%s: the \"queue\" is away",
		       kind == HEALTH_READY ? "ready" : "startup");
	return false;
}

static void
summary(void *user, struct buf *out)
{
	(void)user;
	buf_add_str(out, "{\"queue\":\"up\"}");
}

static struct monitor *
start(struct monitor_opts opts)
{
	struct monitor *monitor = NULL;
	struct err err = ERR_INIT;

	opts.listen = "127.0.0.1:0";
	if (!monitor_start(&opts, &monitor, &err))
		fail_msg("%s", err.msg);
	return monitor;
}

static int
ask(const struct monitor *monitor, const char *method, const char *path, struct raw_reply *reply)
{
	struct raw_http raw;
	char text[256];

	raw_open(&raw, monitor_port(monitor));
	(void)snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
		       method, path);
	raw_send(&raw, text);
	raw_read(&raw, strcmp(method, "HEAD") != 0, reply);
	assert_true(raw_wait_closed(&raw));
	raw_close(&raw);
	assert_true(raw_header_is(reply, "Cache-Control", "no-store"));
	return reply->status;
}

/* The member of the reply's JSON object; fails when it is no object or has no such text. */
static void
assert_member(const struct raw_reply *reply, const char *key, const char *want)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	struct err err = ERR_INIT;
	struct str value = { 0 };

	assert_true(js_parse(str_make(reply->body.data, reply->body.len), &root, &err));
	assert_true(js_is(root, JS_OBJECT) && js_get_str(root, key, &value));
	assert_true(str_eq_c(value, want));
}

static void
test_probes(void **state)
{
	struct monitor *monitor = start((struct monitor_opts){ .probe = probe });
	struct raw_reply reply = { 0 };

	(void)state;
	atomic_store(&ready, false);
	assert_int_equal(ask(monitor, "GET", "/health/live", &reply), 200);
	assert_member(&reply, "status", "ok");
	assert_int_equal(ask(monitor, "GET", "/health/ready", &reply), 503);
	assert_member(&reply, "status", "unavailable");
	assert_member(&reply, "reason", "ready: the \"queue\" is away");
	assert_int_equal(ask(monitor, "GET", "/health/startup", &reply), 503);
	assert_member(&reply, "reason", "startup: the \"queue\" is away");
	assert_int_equal(ask(monitor, "GET", "/health", &reply), 503); /* no summary: as ready */
	atomic_store(&ready, true);
	assert_int_equal(ask(monitor, "GET", "/health/ready", &reply), 200);
	assert_int_equal(ask(monitor, "GET", "/health/startup", &reply), 200);
	raw_reply_release(&reply);
	monitor_stop(monitor);
}

static void
test_summary(void **state)
{
	struct monitor *monitor =
		start((struct monitor_opts){ .probe = probe, .summary = summary });
	struct raw_reply reply = { 0 };

	(void)state;
	for (int up = 0; up <= 1; up++) {
		atomic_store(&ready, up);
		assert_int_equal(ask(monitor, "GET", "/health", &reply), up ? 200 : 503);
		assert_member(&reply, "queue", "up");
	}
	raw_reply_release(&reply);
	monitor_stop(monitor);
}

static void
test_metrics_page(void **state)
{
	struct metrics *metrics = metrics_new();
	struct raw_reply reply = { 0 };
	char length[32];

	(void)state;
	metrics_register(metrics, &(struct metric_opts){ .kind = METRIC_COUNTER,
							 .name = "x_total",
							 .help = "X." });
	struct monitor *monitor =
		start((struct monitor_opts){ .enable_metrics = true, .metrics = metrics });

	assert_int_equal(ask(monitor, "GET", "/metrics", &reply), 200);
	assert_true(
		raw_header_is(&reply, "Content-Type", "text/plain; version=0.0.4; charset=utf-8"));
	assert_string_equal(reply.body.data,
			    "# HELP x_total X.\n# TYPE x_total counter\nx_total 0\n");
	(void)snprintf(length, sizeof(length), "%zu", reply.body.len);
	assert_int_equal(ask(monitor, "HEAD", "/metrics", &reply), 200);
	assert_true(raw_header_is(&reply, "Content-Length", length));
	monitor_stop(monitor);

	monitor = start((struct monitor_opts){ .enable_metrics = false, .metrics = metrics });
	assert_int_equal(ask(monitor, "GET", "/metrics", &reply), 404);
	assert_member(&reply, "code", "NOT_FOUND");
	assert_int_equal(ask(monitor, "GET", "/health/live", &reply), 200);
	raw_reply_release(&reply);
	monitor_stop(monitor);
	metrics_free(metrics);
}

static void
test_refusals(void **state)
{
	static const char *const nowhere[] = { "/",	   "/health/",	 "/Health",
					       "//health", "/metrics/x", "/health%2Flive" };
	static const char *const methods[] = { "POST", "PUT", "DELETE", "OPTIONS", "BREW" };
	struct monitor *monitor = start((struct monitor_opts){ .enable_metrics = true });
	struct raw_reply reply = { 0 };
	struct err err = ERR_INIT;
	struct monitor *second = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nowhere); i++) {
		assert_int_equal(ask(monitor, "GET", nowhere[i], &reply), 404);
		assert_true(raw_header_is(&reply, "Content-Type", "application/problem+json"));
		assert_member(&reply, "code", "NOT_FOUND");
	}
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		assert_int_equal(ask(monitor, methods[i], "/health/live", &reply), 405);
		assert_true(raw_header_is(&reply, "Allow", "GET, HEAD"));
		assert_member(&reply, "code", "METHOD_NOT_ALLOWED");
	}
	assert_false(monitor_start(&(struct monitor_opts){ .listen = "8089" }, &second, &err));
	assert_int_equal(err.code, ERR_CONFIG);
	raw_reply_release(&reply);
	monitor_stop(monitor);
	monitor_stop(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probes),
		cmocka_unit_test(test_summary),
		cmocka_unit_test(test_metrics_page),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
