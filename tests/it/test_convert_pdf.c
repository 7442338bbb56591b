/*
 * PDF by pdftotext in its sandbox, and what holds for every converter: limits, cancel, deadline, nothing left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "tests/support/convert_kit.h"
#include "tests/support/documents.h"

#define PDF "application/pdf"
#define MIB CONVERT_KIT_MIB

static void
pages_and_title(void **state)
{
	AUTO(buf) struct buf pdf = BUF_INIT(MIB);
	static const char *const pages[] = { "Gr\\374\\337e aus K\\366ln\nSecond line <b> &amp;",
					     "", "Page three </pre> goes on" };
	struct parsed parsed;

	(void)state;
	document_pdf(&pdf, "W\xc3\xbcrste & <Co>", pages, 3);
	convert_kit_blocks(
		PDF, str_make(pdf.data, pdf.len),
		"P0@1 Gr\xc3\xbc\xc3\x9f"
		"e aus K\xc3\xb6ln;Second line <b> &amp;~P0@3 Page three </pre> goes on");
	parsed = convert_kit_read(PDF, str_make(pdf.data, pdf.len));
	assert_true(str_eq_c(parsed.title, "W\xc3\xbcrste & <Co>"));
	/* no type, and bytes before the mark */
	convert_kit_blocks(
		"application/octet-stream", str_make(pdf.data, pdf.len),
		"P0@1 Gr\xc3\xbc\xc3\x9f"
		"e aus K\xc3\xb6ln;Second line <b> &amp;~P0@3 Page three </pre> goes on");
}

static void
what_cannot_be_read(void **state)
{
	AUTO(buf) struct buf pdf = BUF_INIT(MIB);
	struct err err;

	(void)state;
	document_pdf(&pdf, "A scan", NULL, 3);
	err = convert_kit_refused(PDF, str_make(pdf.data, pdf.len));
	assert_int_equal(err.code, ERR_EMPTY_TEXT);
	assert_non_null(strstr(err.msg, "OCR"));
	if (!strstr(err.msg, "3 pages"))
		fail_msg("%s", err.msg);

	for (size_t len = 6; len < 600; len += 97) {
		err = convert_kit_refused(PDF, str_make(pdf.data, len));
		assert_true(err.code == ERR_BAD_DOCUMENT || err.code == ERR_EMPTY_TEXT);
	}
	buf_clear(&pdf);
	document_pdf_locked(&pdf);
	err = convert_kit_refused(PDF, str_make(pdf.data, pdf.len));
	assert_int_equal(err.code, ERR_BAD_DOCUMENT);
	assert_non_null(strstr(err.msg, "password"));

	err = convert_kit_refused(PDF, STR(""));
	assert_int_equal(err.code, ERR_UNSUPPORTED_MEDIA);
	err = convert_kit_refused(PDF, STR("just words"));
	assert_int_equal(err.code, ERR_UNSUPPORTED_MEDIA);
	assert_non_null(strstr(err.msg, "application/pdf"));
	assert_non_null(strstr(err.msg, "text"));
}

static void
a_hundred_thousand_pages_of_nothing(void **state)
{
	AUTO(buf) struct buf pdf = BUF_INIT(64 * MIB);
	struct err err;

	(void)state;
	document_pdf(&pdf, "Nothing", NULL, 100000);
	err = convert_kit_refused(PDF, str_make(pdf.data, pdf.len));
	assert_true(err.code == ERR_EMPTY_TEXT || strstr(err.msg, "processor time"));
}

static void
text_above_the_limit(void **state)
{
	AUTO(buf) struct buf pdf = BUF_INIT(16 * MIB);
	AUTO(buf) struct buf page = BUF_INIT(MIB);
	const char *pages[200];
	struct err err;

	(void)state;
	for (int i = 0; i < 500; i++)
		buf_add_str(&page, "words that fill a page, line by line\n");
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		pages[i] = page.data;
	document_pdf(&pdf, NULL, pages, ARRAY_SIZE(pages));
	convert_kit_limits.max_text_bytes = 4096;
	err = convert_kit_refused(PDF, str_make(pdf.data, pdf.len));
	assert_int_equal(err.code, ERR_TOO_LARGE);
}

/* ---- the tool ---- */

/* A program of the test in place of pdftotext; what it prints is the document. */
static void
use_tool(char path[64], const char *script)
{
	str_copy(path, 64, STR("/tmp/rag-tool-XXXXXX"));

	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, script, strlen(script)), (ssize_t)strlen(script));
	assert_int_equal(fchmod(fd, 0755), 0);
	assert_int_equal(close(fd), 0);
	convert_kit_opts.pdftotext = path;
}

static struct str
any_pdf(void)
{
	return STR("%PDF-1.4\nfor a tool that does not look at it");
}

static void
a_tool_that_is_missing(void **state)
{
	struct err err;

	(void)state;
	convert_kit_opts.pdftotext = "/usr/bin/no-such-pdftotext";
	err = convert_kit_refused(PDF, any_pdf());
	assert_int_equal(err.code, ERR_UNSUPPORTED_MEDIA);
	assert_non_null(strstr(err.msg, "poppler-utils"));
	assert_false(convert_check(&convert_kit_opts, &err));
	convert_kit_opts.helper = "/usr/bin/no-such-helper";
	err = convert_kit_refused(PDF, any_pdf());
	assert_int_equal(err.code, ERR_CONFIG);
	assert_false(convert_check(&convert_kit_opts, &err));
	assert_non_null(strstr(err.msg, "no-such-helper"));
}

/* What a hijacked tool would try. Each line says what became of it. */
static const char probe[] =
	"#!/usr/bin/python3 -S\n"
	"import os, socket, resource, signal\n"
	"def attempt(name, fn):\n"
	"    try: fn(); print(name, 'ALLOWED')\n"
	"    except (OSError, PermissionError) as e: print(name, 'refused')\n"
	"print('<pre>')\n"
	"attempt('socket', lambda: socket.socket())\n"
	"attempt('unix', lambda: socket.socket(socket.AF_UNIX))\n"
	"attempt('pair', lambda: socket.socketpair())\n"
	"attempt('fork', os.fork)\n"
	"attempt('kill', lambda: os.kill(os.getppid(), 0))\n"
	"attempt('write', lambda: open('/tmp/rag-must-not-be', 'w'))\n"
	"attempt('mkdir', lambda: os.mkdir('/tmp/rag-must-not-be'))\n"
	"attempt('truncate', lambda: os.truncate(__file__, 0))\n"
	"attempt('chmod', lambda: os.chmod(__file__, 0))\n"
	"attempt('unlink', lambda: os.unlink(__file__))\n"
	"print('environment', sorted(k for k in os.environ if k not in ('LC_CTYPE', 'PWD')))\n"
	"for name in ('RLIMIT_FSIZE', 'RLIMIT_CORE', 'RLIMIT_NPROC', 'RLIMIT_CPU', 'RLIMIT_AS'):\n"
	"    print(name, resource.getrlimit(getattr(resource, name))[0])\n"
	"print('group', os.getpgid(0) == os.getpid())\n"
	"print('user', os.getuid() != 0 or 'root')\n";

static void
the_sandbox(void **state)
{
	static const char *const refused[] = { "socket", "unix",  "pair",     "fork",  "kill",
					       "write",	 "mkdir", "truncate", "chmod", "unlink" };
	struct parsed parsed;
	char path[64], *text;

	(void)state;
	setenv("RAG_TEST_SECRET", "s3cret", 1);
	use_tool(path, probe);
	parsed = convert_kit_read(PDF, any_pdf());
	text = arena_strndup(&convert_kit_arena, parsed.text.ptr, parsed.text.len);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		char line[64];

		(void)snprintf(line, sizeof(line), "%s refused\n", refused[i]);
		if (!strstr(text, line))
			fail_msg("%s was not refused:\n%s", refused[i], text);
	}
	assert_non_null(strstr(text, "environment []\n"));
	assert_non_null(strstr(text, "RLIMIT_FSIZE 0\n"));
	assert_non_null(strstr(text, "RLIMIT_CORE 0\n"));
	assert_non_null(strstr(text, "RLIMIT_NPROC 0\n"));
	assert_non_null(strstr(text, "RLIMIT_CPU 60\n"));
	assert_non_null(strstr(text, "RLIMIT_AS 536870912\n"));
	assert_non_null(strstr(text, "group True\n"));
	assert_non_null(strstr(text, "user True"));
	assert_int_equal(access("/tmp/rag-must-not-be", F_OK), -1);
	assert_int_equal(unlink(path), 0);
}

/* Descriptors of this process (a socket to Redis, the store's files) are not the tool's. */
static void
no_descriptor_is_inherited(void **state)
{
	char path[64];
	int leak = dup(STDERR_FILENO); /* without CLOEXEC */

	(void)state;
	assert_true(leak >= 3);
	use_tool(path, "#!/usr/bin/python3 -S\n"
		       "import os\n"
		       "def is_open(fd):\n"
		       "    try: os.fstat(fd); return True\n"
		       "    except OSError: return False\n"
		       "import sys\n"
		       "print('<pre>\\nopen', [fd for fd in range(3, 32) if is_open(fd)])\n");
	convert_kit_blocks(PDF, any_pdf(), "P0@1 open []");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(close(leak), 0);
}

static void
a_tool_that_loops(void **state)
{
	struct err err;
	char path[64];

	(void)state;
	use_tool(path, "#!/usr/bin/python3 -S\nwhile True: pass\n");
	convert_kit_opts.cpu_s = 1;
	err = convert_kit_refused(PDF, any_pdf());
	assert_int_equal(err.code, ERR_BAD_DOCUMENT);
	assert_non_null(strstr(err.msg, "processor time"));
	assert_int_equal(unlink(path), 0);
}

static void
a_tool_that_eats_memory(void **state)
{
	struct err err;
	char path[64];

	(void)state;
	use_tool(path, "#!/usr/bin/python3 -S\n"
		       "import sys\n"
		       "try:\n"
		       "    x = []\n"
		       "    while True: x.append(bytearray(1 << 20))\n"
		       "except MemoryError:\n"
		       "    n = len(x); x = None\n"
		       "    sys.stderr.write('Out of memory after %d\\n' % n)\n"
		       "    sys.exit(1)\n");
	err = convert_kit_refused(PDF, any_pdf());
	assert_int_equal(err.code, ERR_TOO_LARGE);
	assert_non_null(strstr(err.msg, "memory"));
	assert_int_equal(unlink(path), 0);
}

static void
a_tool_that_says_too_much(void **state)
{
	struct err err;
	char path[64];

	(void)state;
	use_tool(path, "#!/usr/bin/python3 -S\nwhile True: print('words ' * 1000)\n");
	convert_kit_limits.max_text_bytes = MIB;
	err = convert_kit_refused(PDF, any_pdf());
	assert_int_equal(err.code, ERR_TOO_LARGE);
	assert_int_equal(unlink(path), 0);
}

static void *
cancel_soon(void *flag)
{
	atomic_store((atomic_bool *)flag, true);
	return NULL;
}

static void
cancel_and_deadline(void **state)
{
	atomic_bool cancel = false;
	pthread_t thread;
	struct err err;
	char path[64];
	int status;

	(void)state;
	use_tool(path, "#!/usr/bin/python3 -S\nimport time\ntime.sleep(600)\n");
	convert_kit_limits.cancel = &cancel;
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &cancel), 0);
	err = convert_kit_refused(PDF, any_pdf());
	assert_int_equal(err.code, ERR_CANCELLED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	convert_kit_limits.cancel = NULL;
	convert_kit_limits.deadline_mono_ms = clock_mono_ms() + 300;
	err = convert_kit_refused(PDF, any_pdf());
	assert_int_equal(err.code, ERR_DEADLINE);
	assert_int_equal(unlink(path), 0);
	/* no zombie, no process */
	assert_int_equal(waitpid(-1, &status, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

/* The first child of a process, as soon as it has become `name`; 0 = not yet. */
static pid_t
child_that_is(pid_t pid, const char *name)
{
	char path[64], line[64] = "";
	struct str rest, first;
	int64_t child = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	file = fopen(path, "r");
	assert_non_null(file);
	rest = str_of(fgets(line, sizeof(line), file));
	if (str_split(&rest, ' ', &first))
		(void)str_to_i64(first, 1, INT32_MAX, &child);
	(void)fclose(file);
	line[0] = '\0';
	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)child);
	file = child ? fopen(path, "r") : NULL;
	if (!file)
		return 0;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	(void)fclose(file);
	return strncmp(line, name, strlen(name)) == 0 ? (pid_t)child : 0;
}

/* kill -9 of the worker: its converter dies at once, it does not run on alone. */
static void
a_worker_that_is_killed(void **state)
{
	pid_t worker, tool;
	char path[64];
	int status = 0;

	(void)state;
	use_tool(path, "#!/usr/bin/python3 -S\nimport time\ntime.sleep(600)\n");
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1UL, 0UL, 0UL, 0UL), 0);
	worker = fork();
	assert_true(worker >= 0);
	if (worker == 0) {
		struct parsed parsed;
		struct err err = ERR_INIT;

		(void)parse_document(STR(PDF), any_pdf(), &convert_kit_limits, &convert_kit_arena,
				     &parsed, &err);
		_exit(1);
	}
	for (tool = 0; tool == 0; tool = child_that_is(worker, "rag-tool"))
		clock_sleep_ms(5);
	assert_int_equal(kill(worker, SIGKILL), 0);
	assert_int_equal(waitpid(worker, &status, 0), worker);
	/* an orphan is ours now: this returns when it has ended */
	assert_int_equal(waitpid(tool, &status, 0), tool);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(unlink(path), 0);
}

static void
garbage_from_the_tool(void **state)
{
	static const char *const scripts[] = {
		"#!/usr/bin/python3 -S\nimport "
		"sys\nsys.stdout.buffer.write(b'RAGC\\1\\0\\xff\\xff')\n",
		"#!/usr/bin/python3 -S\nimport "
		"sys\nsys.stdout.buffer.write(b'<pre>\\n\\xff\\xfe')\n",
		"#!/usr/bin/python3 -S\nimport os\nos.abort()\n",
		"#!/bin/sh\nexit 1\n",
		"#!/bin/sh\nexit 3\n",
		"not even a script",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		char path[64];
		struct err err;

		use_tool(path, scripts[i]);
		err = convert_kit_refused(PDF, any_pdf());
		assert_true(err.code == ERR_BAD_DOCUMENT || err.code == ERR_UNSUPPORTED_MEDIA);
		assert_int_equal(unlink(path), 0);
	}
}

#define CONVERT_TEST(fn) cmocka_unit_test_setup_teardown(fn, convert_kit_open, convert_kit_close)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CONVERT_TEST(pages_and_title),
		CONVERT_TEST(what_cannot_be_read),
		CONVERT_TEST(a_hundred_thousand_pages_of_nothing),
		CONVERT_TEST(text_above_the_limit),
		CONVERT_TEST(a_tool_that_is_missing),
		CONVERT_TEST(the_sandbox),
		CONVERT_TEST(no_descriptor_is_inherited),
		CONVERT_TEST(a_tool_that_loops),
		CONVERT_TEST(a_tool_that_eats_memory),
		CONVERT_TEST(a_tool_that_says_too_much),
		CONVERT_TEST(cancel_and_deadline),
		CONVERT_TEST(a_worker_that_is_killed),
		CONVERT_TEST(garbage_from_the_tool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
