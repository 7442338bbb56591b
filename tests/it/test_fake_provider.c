/* The C side of the fake provider (its formats: tests/fake/selftest.py): it starts, is set, scripted, asked and taken down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/fake_provider.h"
#include "tests/support/raw_http.h"

#define ASK "GET /vllm/v1/models HTTP/1.1\r\nHost: fake\r\n\r\n"

static struct fake_provider *fake;

static int
ask(void)
{
	struct raw_http raw;
	struct raw_reply reply = { 0 };
	int status;

	raw_open(&raw, fake_provider_port(fake));
	status = raw_ask(&raw, ASK, &reply);
	raw_reply_release(&reply);
	raw_close(&raw);
	return status;
}

static void
scripted_faults_come_as_often_as_told_and_are_counted(void **state)
{
	struct js *requests;

	(void)state;
	fake_provider_fail(fake, "\"route\": \"vllm.*\", \"fault\": \"status\", \"status\": 503, "
				 "\"times\": 1");
	assert_int_equal(ask(), 503);
	assert_int_equal(ask(), 200);
	assert_int_equal(fake_provider_count(fake, "vllm.*", "requests"), 2);
	assert_int_equal(fake_provider_count(fake, "vllm.*", "ok"), 1);
	assert_int_equal(fake_provider_count(fake, "gemini.*", "requests"), 0);
	requests = fake_provider_requests(fake, "vllm.models", 10);
	assert_int_equal(js_len(js_get(requests, "requests")), 2);
	js_free(requests);
}

static void
settings_hold_until_the_reset(void **state)
{
	(void)state;
	fake_provider_config(fake, "\"vllm\": {\"needs_key\": true}");
	assert_int_equal(ask(), 401);
	fake_provider_reset(fake);
	assert_int_equal(ask(), 200);
	assert_int_equal(fake_provider_count(fake, "*", "requests"), 1);
	fake_provider_fail(fake, "\"fault\": \"status\", \"status\": 500");
	fake_provider_heal(fake);
	assert_int_equal(ask(), 200);
}

static void
a_port_that_is_down_refuses_and_comes_back(void **state)
{
	struct raw_http raw;

	(void)state;
	fake_provider_down(fake);
	assert_false(raw_try_open(&raw, fake_provider_port(fake)));
	fake_provider_up(fake);
	assert_int_equal(ask(), 200);
}

static void
each_dialect_has_a_url(void **state)
{
	(void)state;
	assert_non_null(strstr(fake_provider_url(fake, "gemini"), "/gemini/v1beta"));
	assert_non_null(strstr(fake_provider_url(fake, "jina"), "/jina"));
}

static int
start(void **state)
{
	(void)state;
	fake = fake_provider_start();
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	fake_provider_stop(fake);
	return 0;
}

static int
fresh(void **state)
{
	(void)state;
	fake_provider_reset(fake);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(scripted_faults_come_as_often_as_told_and_are_counted,
				       fresh),
		cmocka_unit_test_setup(settings_hold_until_the_reset, fresh),
		cmocka_unit_test_setup(a_port_that_is_down_refuses_and_comes_back, fresh),
		cmocka_unit_test_setup(each_dialect_has_a_url, fresh),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
