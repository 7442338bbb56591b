#include "tests/support/fake_provider.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "tests/support/must.h"
#include "tests/support/process.h"
#include "tests/support/raw_http.h"

#define START_MS 60000 /* a limit, not a measure */
#define MAX_URLS 8
#define MAX_REQUEST ((size_t)1024 * 1024)

static const struct {
	const char *dialect, *path;
} bases[MAX_URLS] = {
	{ "gemini", "/gemini/v1beta" }, { "openai", "/openai/v1" },
	{ "vllm", "/vllm/v1" },		{ "ollama", "/ollama/v1" },
	{ "llamacpp", "/llamacpp/v1" }, { "tei", "/tei" },
	{ "cohere", "/cohere" },	{ "jina", "/jina" },
};

struct fake_provider {
	struct process *process;
	int port, control;
	char urls[MAX_URLS][64];
};

/* "... 127.0.0.1:PORT control CONTROL" */
static int
number_after(const char *log, const char *mark)
{
	const char *at = strstr(log, mark);
	int64_t number = 0;

	assert_non_null(at);
	at += strlen(mark);
	assert_true(str_to_i64(str_make(at, strspn(at, "0123456789")), 1, 65535, &number));
	return (int)number;
}

struct fake_provider *
fake_provider_start(void)
{
	struct fake_provider *fake = mem_alloc(sizeof(*fake));
	const char *argv[] = { RAG_PYTHON, RAG_SOURCE_DIR "/tests/fake/provider.py", NULL };
	char *log;

	fake->process = process_start(argv, NULL);
	if (!process_wait_log(fake->process, "\n", START_MS))
		fail_msg("the fake provider did not start");
	log = process_log(fake->process);
	if (!strstr(log, "provider listens on 127.0.0.1:"))
		fail_msg("the fake provider did not start: %s", log);
	fake->port = number_after(log, "127.0.0.1:");
	fake->control = number_after(log, "control ");
	mem_free(log);
	for (size_t i = 0; i < MAX_URLS; i++)
		(void)snprintf(fake->urls[i], sizeof(fake->urls[i]), "http://127.0.0.1:%d%s",
			       fake->port, bases[i].path);
	return fake;
}

void
fake_provider_stop(struct fake_provider *fake)
{
	if (!fake)
		return;
	process_stop(fake->process);
	mem_free(fake);
}

const char *
fake_provider_url(struct fake_provider *fake, const char *dialect)
{
	for (size_t i = 0; i < MAX_URLS; i++) {
		if (strcmp(bases[i].dialect, dialect) == 0)
			return fake->urls[i];
	}
	fail_msg("the fake provider has no dialect '%s'", dialect);
	return NULL;
}

int
fake_provider_port(const struct fake_provider *fake)
{
	return fake->port;
}

/* One control request on a connection of its own; the answer to be freed with js_free. */
static struct js *
control(struct fake_provider *fake, const char *method, const char *path, const char *body)
{
	struct raw_http raw;
	struct raw_reply reply = { 0 };
	struct js *root = NULL;
	AUTO(buf) struct buf text = BUF_INIT(MAX_REQUEST);

	buf_printf(&text,
		   "%s /fake/%s HTTP/1.1\r\nHost: fake\r\nContent-Type: application/json\r\n"
		   "Content-Length: %zu\r\n\r\n%s",
		   method, path, strlen(body), body);
	assert_true(buf_ok(&text));
	raw_open(&raw, fake->control);
	if (raw_ask(&raw, text.data, &reply) != 200)
		fail_msg("the fake provider refuses %s %s: %s", path, body, reply.body.data);
	raw_close(&raw);
	MUST(js_parse(str_make(reply.body.data, reply.body.len), &root, e));
	raw_reply_release(&reply);
	return root;
}

static void
set(struct fake_provider *fake, const char *path, const char *members)
{
	AUTO(buf) struct buf body = BUF_INIT(MAX_REQUEST);

	buf_printf(&body, "{%s}", members);
	assert_true(buf_ok(&body));
	js_free(control(fake, "POST", path, body.data));
}

void
fake_provider_config(struct fake_provider *fake, const char *members)
{
	set(fake, "config", members);
}

void
fake_provider_fail(struct fake_provider *fake, const char *members)
{
	set(fake, "faults", members);
}

void
fake_provider_heal(struct fake_provider *fake)
{
	js_free(control(fake, "DELETE", "faults", ""));
}

void
fake_provider_reset(struct fake_provider *fake)
{
	set(fake, "reset", "");
}

void
fake_provider_down(struct fake_provider *fake)
{
	set(fake, "down", "");
}

void
fake_provider_up(struct fake_provider *fake)
{
	set(fake, "up", "");
}

int64_t
fake_provider_count(struct fake_provider *fake, const char *pattern, const char *what)
{
	char path[256];
	struct js *stats;
	int64_t count = 0;

	(void)snprintf(path, sizeof(path), "stats?route=%s", pattern);
	stats = control(fake, "GET", path, "");
	if (!js_get_int(stats, what, &count))
		fail_msg("the fake provider does not count '%s'", what);
	js_free(stats);
	return count;
}

struct js *
fake_provider_requests(struct fake_provider *fake, const char *pattern, int last)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "requests?route=%s&last=%d", pattern, last);
	return control(fake, "GET", path, "");
}
