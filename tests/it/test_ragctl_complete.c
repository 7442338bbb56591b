/* The completion of ragctl in bash: the script in a shell of its own, for every command, and on a terminal with the tab key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "tests/support/fake_api.h"
#include "tests/support/folder.h"
#include "tests/support/process.h"
#include "tests/support/pty.h"

#define BASH "/bin/bash"

static struct fake_api *api;
static char folder[FOLDER_BYTES];

static int
setup(void **state)
{
	(void)state;
	api = fake_api_start();
	folder_make(folder);
	return chdir(folder);
}

static int
teardown(void **state)
{
	(void)state;
	fake_api_stop(api);
	api = NULL;
	if (chdir("/") != 0)
		return -1;
	folder_remove(folder);
	return 0;
}

/* Bash's part: the words of the line, cut at blanks, '=' and ':', and the call. Each reply comes between bars, so that blanks
 * show; a line ends with "|". */
static const char driver[] = "PATH=$BIN:$PATH\n"
			     "source <(ragctl completion bash)\n"
			     "complete -p ragctl >/dev/null || exit 9\n"
			     "while IFS= read -r COMP_LINE; do\n"
			     "\tCOMP_POINT=${#COMP_LINE}\n"
			     "\tcut=${COMP_LINE//=/ = } cut=${cut//:/ : }\n"
			     "\tread -ra COMP_WORDS <<<\"$cut\"\n"
			     "\t[[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')\n"
			     "\tCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
			     "\tCOMPREPLY=()\n"
			     "\t_ragctl\n"
			     "\t((${#COMPREPLY[@]})) && printf '|%s' \"${COMPREPLY[@]}\"\n"
			     "\techo '|'\n"
			     "done <lines\n";

static void
put(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* The replies to these lines, a line each; heap, mem_free. */
static char *
complete(const char *lines)
{
	char path[4200], url[128];
	const char *const argv[] = { BASH, "driver", NULL };

	put("driver", driver);
	put("lines", lines);
	(void)snprintf(path, sizeof(path), "BIN=%s", RAG_BIN_DIR);
	(void)snprintf(url, sizeof(url), "RAG_URL=%s",
		       api ? fake_api_url(api) : "http://127.0.0.1:1");

	struct process *process = process_start(argv, (const char *const[]){ path, url, NULL });
	int code = process_wait(process);
	char *log = process_log(process);

	process_stop(process);
	if (code != 0)
		fail_msg("bash ended with %d: %s", code, log);
	return log;
}

static void
check(const char *line, const char *want)
{
	AUTO(buf) struct buf lines = BUF_INIT(4096);
	char *got;

	buf_printf(&lines, "%s\n", line);
	got = complete(lines.data);
	if (got[0] == '\0' || strncmp(got, want, strlen(got) - 1) != 0 ||
	    strlen(got) - 1 != strlen(want))
		fail_msg("'%s' gives %s, not %s", line, got, want);
	mem_free(got);
}

/* Every command is found by its beginning, and offers exactly its options and those that all take. */
static void
knows_every_command(void **state)
{
	AUTO(buf) struct buf lines = BUF_INIT(65536);
	char *all;
	struct str rest, reply;

	(void)state;
	for (size_t i = 0; i < command_count; i++)
		buf_printf(&lines, "ragctl %s%s%s --\n", commands[i].group,
			   *commands[i].group ? " " : "", commands[i].name);
	all = complete(lines.data);
	rest = str_of(all);
	for (size_t i = 0; i < command_count; i++) {
		struct args_option option;

		assert_true(str_split(&rest, '\n', &reply));
		for (size_t k = 0; args_option_at(k, &option); k++) {
			char word[64];
			size_t at;
			bool want = option.global || args_takes(&commands[i], option.name);

			(void)snprintf(word, sizeof(word), "|--%s|", option.name);
			if (str_find(reply, str_of(word), &at) != want)
				fail_msg("%s %s: %s: " STR_FMT, commands[i].group, commands[i].name,
					 word, STR_ARG(reply));
		}
	}
	mem_free(all);
}

static void
completes_words(void **state)
{
	(void)state;
	check("ragctl quer", "|query|");
	check("ragctl job", "|jobs|");
	check("ragctl jobs w", "|watch|");
	check("ragctl dead p", "|purge|");
	check("ragctl completion ", "|bash|"); /* what is for shells only is not offered */
	check("ragctl --url http://127.0.0.1:1 que", "|query|queues|");
	check("ragctl nonsense ", "|");
	check("ragctl health x", "|");
	check("ragctl jobs list --json --sta", "|--status|");
	check("ragctl jobs list --status ca", "|cancelling|cancelled|");
	check("ragctl jobs list --status=ca", "|cancelling|cancelled|");
	check("ragctl query x --mode=", "|hybrid|dense|lexical|");
	check("ragctl query x --mode d", "|dense|");
	check("ragctl dead list --error EMPTY", "|EMPTY_TEXT|");
	check("ragctl queues pause ", "|ingest|query|hook|");
	check("ragctl query -- --mo", "|"); /* a text, no option */
}

static void
asks_the_server(void **state)
{
	(void)state;
	/* a name with a blank would need quotes: it is left out */
	check("ragctl collections show ", "|default|books|");
	check("ragctl query x -c b", "|books|");
	check("ragctl ingest --collection=b", "|books|");

	/* the server that the line names, not that of the environment */
	fake_api_fault(api, &(struct fake_fault){ "collections", 503, 1, -1, false });
	check("ragctl collections show ", "|");
	check("ragctl --url http://127.0.0.1:1 collections show ", "|");
	check("ragctl --url=http://127.0.0.1:1 collections show ", "|");

	/* no server: nothing, and no message between the words */
	fake_api_stop(api);
	api = NULL;
	check("ragctl jobs show ", "|");
	check("ragctl jobs sh", "|show|");
}

static void
completes_jobs_and_documents(void **state)
{
	(void)state;
	put("a.md", "text\n");
	put("b.md", "text\n");

	const char *const argv[] = { "ragctl", "ingest",	  "a.md", "b.md", "-j", "1",
				     "--url",  fake_api_url(api), NULL };

	fake_api_set_poison(api, "b.md");

	struct process *process = process_start(argv, NULL);

	assert_int_equal(process_wait(process), CLI_FAILED);
	process_stop(process);
	check("ragctl dead show ing", "|ingest-0-1|");
	check("ragctl documents show ", "|a.md|");
	check("ragctl documents delete x ", "|a.md|");
	check("ragctl ingest ./a", "|./a.md|");
	check("ragctl --key-file ./b", "|./b.md|");
}

/* As a person does it. */
static void
works_with_the_tab_key(void **state)
{
	char url[128];
	const char *const argv[] = { BASH, "--norc", "--noprofile", "-i", NULL };

	(void)state;
	(void)snprintf(url, sizeof(url), "RAG_URL=%s", fake_api_url(api));

	struct pty *pty =
		pty_start(argv, (const char *const[]){ "PS1=ready>", url, "HOME=/", NULL }, 100,
			  24);

	(void)pty_wait(pty, "ready>");
	pty_keys(pty, "source <(ragctl completion bash) && echo loa''ded\n");
	(void)pty_wait(pty, "loaded");
	(void)pty_wait(pty, "ready>");
	pty_mark(pty);
	pty_keys(pty, "ragctl coll\t");
	(void)pty_wait(pty, "ragctl collections ");
	pty_keys(pty, "sh\t");
	(void)pty_wait(pty, "ragctl collections show ");
	pty_keys(pty, "b\t");
	(void)pty_wait(pty, "ragctl collections show books ");
	pty_keys(pty, "\025exit\n"); /* Ctrl-U */
	assert_int_equal(pty_end(pty), 0);
	pty_stop(pty);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(knows_every_command),    TEST(completes_words),
		TEST(asks_the_server),	      TEST(completes_jobs_and_documents),
		TEST(works_with_the_tab_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
