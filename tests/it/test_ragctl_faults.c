/*
 * ragctl against servers that misbehave: every command of the table, with every fault, in this process. What must hold for all:
 * it ends, in bounded time, with the exit code that the fault has, says why on stderr, and prints nothing that drives a terminal.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/str.h"
#include "common/http_client.h"
#include "tests/support/fake_http.h"
#include "tests/support/folder.h"
#include "tests/support/process.h"

#define MAX_WORDS 24

struct fault {
	const char *name;
	const char *head; /* from the status on; NULL: body is all that is sent */
	const char *body;
	int missing;  /* bytes announced and not sent */
	bool hang;    /* then keep the connection */
	int codes[4]; /* the exit codes that fit; the rest 0 */
};

#define AS_JSON "Content-Type: application/json"

static const struct fault faults[] = {
	{ "500 with a problem",
	  "500 Oh\r\n" AS_JSON,
	  "{\"detail\":\"it broke \\u001b[2J\\r\",\"code\":\"INTERNAL\"}",
	  0,
	  false,
	  { CLI_SERVER_ERROR } },
	{ "500 without a body", "500 Oh\r\n" AS_JSON, "", 0, false, { CLI_SERVER_ERROR } },
	{ "500 with nonsense",
	  "500 Oh\r\n" AS_JSON,
	  "{\"detail\":7,\"errors\":[1,{\"pointer\":[]}],\"request_id\":{}}",
	  0,
	  false,
	  { CLI_SERVER_ERROR } },
	{ "401",
	  "401 No\r\n" AS_JSON,
	  "{\"code\":\"UNAUTHENTICATED\"}",
	  0,
	  false,
	  { CLI_REFUSED } },
	{ "403", "403 No\r\n" AS_JSON, "{}", 0, false, { CLI_REFUSED } },
	{ "404 of another server",
	  "404 No\r\nContent-Type: text/html",
	  "<h1>no!</h1>",
	  0,
	  false,
	  { CLI_NOT_FOUND } },
	{ "429 with Retry-After",
	  "429 Wait\r\nRetry-After: 3600\r\n" AS_JSON,
	  "{}",
	  0,
	  false,
	  { CLI_UNREACHABLE } },
	{ "503", "503 Wait\r\n" AS_JSON, "{}", 0, false, { CLI_UNREACHABLE } },
	{ "a redirect",
	  "302 Found\r\nLocation: http://127.0.0.1:1/",
	  "",
	  0,
	  false,
	  { CLI_FAILED, CLI_UNREACHABLE } },
	{ "a cut answer",
	  "200 OK\r\n" AS_JSON,
	  "{\"data\":[{\"id\":\"x\"",
	  400,
	  false,
	  { CLI_UNREACHABLE } },
	{ "a cut head", NULL, "HTTP/1.1 200 O", 0, false, { CLI_UNREACHABLE } },
	{ "no answer", NULL, "", 0, false, { CLI_UNREACHABLE } },
	{ "not HTTP", NULL, "SSH-2.0-OpenSSH_9.2\r\n", 0, false, { CLI_UNREACHABLE } },
	{ "no JSON", "200 OK\r\n" AS_JSON, "{\"data\":[", 0, false, { CLI_UNREACHABLE } },
	{ "HTML as JSON",
	  "200 OK\r\n" AS_JSON,
	  "<h1>hi</h1>\033[m",
	  0,
	  false,
	  { CLI_UNREACHABLE } },
	{ "a number", "200 OK\r\n" AS_JSON, "42", 0, false, { CLI_UNREACHABLE, CLI_FAILED } },
	{ "hangs", NULL, "", 0, true, { CLI_INTERRUPTED } },
	{ "hangs in the body",
	  "200 OK\r\n" AS_JSON,
	  "{\"data\":[",
	  400,
	  true,
	  { CLI_INTERRUPTED } },
};

static _Atomic(const struct fault *)
	fault_now; /* of the present run; the server's threads read it */
static struct fake_http *server;
static char folder[FOLDER_BYTES];

static bool
serve(const struct fake_request *request, void *user)
{
	char head[400] = "";
	const struct fault *fault = atomic_load(&fault_now);

	(void)user;
	if (fault->head)
		(void)snprintf(head, sizeof(head),
			       "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
			       fault->head, strlen(fault->body) + (size_t)fault->missing);
	fake_send(request, head);
	fake_send(request, fault->body);
	if (fault->hang)
		fake_wait_closed(request);
	return false;
}

static void
put(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int
setup(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	if (!http_client_global_init(&err))
		return -1;
	folder_make(folder);
	if (chdir(folder) != 0)
		return -1;
	put("corpus.jsonl", "{\"_id\":\"d\",\"text\":\"a text\"}\n");
	put("queries.jsonl", "{\"_id\":\"q\",\"text\":\"what?\"}\n");
	if (mkdir("qrels", 0700) != 0 || mkdir("docs", 0700) != 0)
		return -1;
	put("qrels/test.tsv", "q\td\t1\n");
	put("docs/a.md", "text\n");
	server = fake_http_start(serve, NULL);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fake_http_stop(server);
	if (chdir("/") != 0)
		return -1;
	folder_remove(folder);
	http_client_global_release();
	return 0;
}

/* Interrupts the run that hangs. */
static void *
interrupt(void *user)
{
	(void)user;
	clock_sleep_ms(300);
	atomic_store(&cli_interrupted, true);
	return NULL;
}

/* ---- one run ---- */

struct outcome {
	char *out, *err;
	int code;
};

static void
run(const struct command *command, const char *url, struct outcome *outcome)
{
	const char *argv[MAX_WORDS] = { "ragctl", "--url", url, "--retry", "0" };
	int argc = 5;
	size_t len = 0;
	struct cli_world world = { .out = open_memstream(&outcome->out, &len),
				   .err = open_memstream(&outcome->err, &len),
				   .columns = 80 };

	if (*command->group)
		argv[argc++] = command->group;
	argv[argc++] = command->name;
	if (strcmp(command->args, "PATH...") == 0)
		argv[argc++] = "docs";
	else if (strcmp(command->args, "FOLDER") == 0)
		argv[argc++] = ".";
	else if (*command->args && (command->min_args > 0 || strstr(command->args, "JOB")))
		argv[argc++] = "ingest-0-1";
	if (args_takes(command, "yes"))
		argv[argc++] = "--yes";
	if (args_takes(command, "timeout"))
		argv[argc++] = "--timeout=5";
	if (strcmp(command->name, "health") == 0) {
		argv[argc++] = "--health-url";
		argv[argc++] = url;
	}
	atomic_store(&cli_interrupted, false);
	outcome->code = cli_main(argc, argv, &world);
	atomic_store(&cli_interrupted, false);
	assert_int_equal(fclose(world.out), 0);
	assert_int_equal(fclose(world.err), 0);
}

static bool
fits(int code)
{
	const struct fault *fault = atomic_load(&fault_now);

	for (size_t i = 0; i < ARRAY_SIZE(fault->codes) && fault->codes[i]; i++)
		if (fault->codes[i] == code)
			return true;
	return false;
}

static void
check_harmless(const char *text)
{
	for (; *text; text++)
		if (((unsigned char)*text < ' ' && *text != '\n') || *text == 0x7f)
			fail_msg("control character %d before: %.40s", *text, text);
}

static void
check_one(const struct command *command, const char *url)
{
	struct outcome outcome = { .code = -1 };
	int64_t start = clock_mono_ms();
	pthread_t thread = 0;
	const struct fault *fault = atomic_load(&fault_now);

	print_message("%s %s: %s\n", command->group, command->name, fault->name);
	if (fault->hang)
		assert_int_equal(pthread_create(&thread, NULL, interrupt, NULL), 0);
	run(command, url, &outcome);
	if (fault->hang)
		assert_int_equal(pthread_join(thread, NULL), 0);
	if (!fits(outcome.code))
		fail_msg("exit code %d\n%s%s", outcome.code, outcome.out, outcome.err);
	if (clock_mono_ms() - start > 20000)
		fail_msg("took %lld ms", (long long)(clock_mono_ms() - start));
	if (!strstr(outcome.err, "ragctl: "))
		fail_msg("says nothing: %s", outcome.err);
	check_harmless(outcome.out);
	check_harmless(outcome.err);
	free(outcome.out);
	free(outcome.err);
}

/* Those that ask no server, and those that never end by themselves. */
static bool
is_left_out(const struct command *command)
{
	return strcmp(command->group, "completion") == 0 || strcmp(command->name, "help") == 0 ||
	       strcmp(command->group, "keys") == 0 || strcmp(command->name, "top") == 0;
}

static void
meets_every_fault(void **state)
{
	char url[64];

	(void)state;
	for (size_t i = 0; i < command_count; i++) {
		/* a server serves a limited number of connections */
		fake_http_stop(server);
		server = fake_http_start(serve, NULL);
		(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d", fake_http_port(server));
		for (size_t k = 0; k < ARRAY_SIZE(faults) && !is_left_out(&commands[i]); k++) {
			const struct fault *fault = &faults[k];

			atomic_store(&fault_now, fault);
			check_one(&commands[i], url);
		}
	}
}

/* `top`, which goes on by itself: once. */
static void
top_once_meets_every_fault(void **state)
{
	const char *const argv[] = { "ragctl", "top", "--once", "--retry", "0", "--url", NULL };
	char url[64];

	(void)state;
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d", fake_http_port(server));
	for (size_t k = 0; k < ARRAY_SIZE(faults); k++) {
		const char *words[ARRAY_SIZE(argv) + 1] = { NULL };
		struct outcome outcome = { .code = -1 };
		size_t len = 0;
		struct cli_world world = { .out = open_memstream(&outcome.out, &len),
					   .err = open_memstream(&outcome.err, &len),
					   .columns = 80 };
		pthread_t thread = 0;

		const struct fault *fault = &faults[k];

		atomic_store(&fault_now, fault);
		memcpy(words, argv, sizeof(argv));
		words[ARRAY_SIZE(argv) - 1] = url;
		atomic_store(&cli_interrupted, false);
		if (fault->hang)
			assert_int_equal(pthread_create(&thread, NULL, interrupt, NULL), 0);
		outcome.code = cli_main(ARRAY_SIZE(argv), words, &world);
		if (fault->hang)
			assert_int_equal(pthread_join(thread, NULL), 0);
		assert_int_equal(fclose(world.out), 0);
		assert_int_equal(fclose(world.err), 0);
		if (!fits(outcome.code))
			fail_msg("%s: exit code %d\n%s%s", fault->name, outcome.code, outcome.out,
				 outcome.err);
		check_harmless(outcome.err);
		free(outcome.out);
		free(outcome.err);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(meets_every_fault),
		cmocka_unit_test(top_once_meets_every_fault),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
