/* ragctl against a fake engine: in this process where possible, as a program where signals matter. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/http_client.h"
#include "common/json.h"
#include "tests/support/fake_api.h"
#include "tests/support/process.h"

#define MAX_WORDS 24

struct fixture {
	struct fake_api *api;
	char *out, *err; /* of the last run */
	bool terminal;
	bool (*ask)(void *user, const char *question);
	char folder[64];
};

static int
group_setup(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	return http_client_global_init(&err) ? 0 : -1;
}

static int
group_teardown(void **state)
{
	(void)state;
	http_client_global_release();
	return 0;
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
	static struct fixture fixture;

	fixture = (struct fixture){ .api = fake_api_start(), .folder = "/tmp/test_ragctl.XXXXXX" };
	*state = &fixture;
	if (!mkdtemp(fixture.folder) || chdir(fixture.folder) != 0)
		return -1;
	for (int i = 0; i < 7; i++) {
		char name[24], text[24];

		(void)snprintf(name, sizeof(name), "page-%d.md", i);
		(void)snprintf(text, sizeof(text), "text %d\n", i);
		put(name, text);
	}
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	char command[] = "rm";
	char recursive[] = "-rf";

	fake_api_stop(f->api);
	free(f->out);
	free(f->err);
	if (chdir("/") != 0)
		return -1;

	pid_t pid = fork();

	if (pid == 0) {
		(void)execlp(command, command, recursive, f->folder, (char *)NULL);
		_exit(1);
	}
	return 0;
}

/* Runs ragctl with these words (up to NULL) and --url; what it prints is in f->out and f->err. */
static int
run(struct fixture *f, ...)
{
	const char *argv[MAX_WORDS] = { "ragctl", "--url", fake_api_url(f->api) };
	int argc = 3;
	size_t len = 0;
	va_list words;

	free(f->out);
	free(f->err);
	f->out = f->err = NULL;

	struct cli_world world = { .out = open_memstream(&f->out, &len),
				   .err = open_memstream(&f->err, &len),
				   .columns = 80,
				   .out_is_terminal = f->terminal,
				   .ask = f->ask };

	va_start(words, f);
	for (const char *word = va_arg(words, const char *); word;
	     word = va_arg(words, const char *)) {
		assert_true(argc < MAX_WORDS);
		argv[argc++] = word;
	}
	va_end(words);

	int code = cli_main(argc, argv, &world);

	assert_int_equal(fclose(world.out), 0);
	assert_int_equal(fclose(world.err), 0);
	return code;
}

static void
check_code(struct fixture *f, int code, int want)
{
	if (code != want)
		fail_msg("exit code %d, not %d\n%s%s", code, want, f->out, f->err);
}

static void
check_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no '%s' in: %s", part, text);
}

static void
ingests_and_skips_unchanged(void **state)
{
	struct fixture *f = *state;

	check_code(f, run(f, "ingest", f->folder, NULL), CLI_OK);
	check_has(f->out, "7 ingested, 0 unchanged, 0 skipped, 0 failed in ");
	assert_int_equal(fake_api_documents(f->api), 7);

	put("data.json", "{}");
	check_code(f, run(f, "ingest", "data.json", NULL), CLI_OK);

	char *log = fake_api_log(f->api);
	AUTO(buf) struct buf want = BUF_INIT(1000);

	buf_printf(&want,
		   "POST /api/v1/collections/default/documents?id=%s%%2Fpage-3.md&uri=file%%3A"
		   "%%2F%%2F%%2Ftmp%%2F%s%%2Fpage-3.md text/markdown\n",
		   f->folder + 5, f->folder + 5);
	check_has(log, want.data);
	check_has(log, "data.json&raw=true application/json\n");
	mem_free(log);
	assert_int_equal(remove("data.json"), 0);

	/* again, by another spelling of the same folder: nothing is sent */
	check_code(f, run(f, "ingest", ".", f->folder, NULL), CLI_USAGE);
	check_has(f->err, "two files would be the document");
	check_code(f, run(f, "ingest", ".", NULL), CLI_OK);
	check_has(f->out, "0 ingested, 7 unchanged");
	assert_int_equal(fake_api_counts(f->api).posts, 8);

	put("page-3.md", "changed");
	check_code(f, run(f, "ingest", ".", "--json", NULL), CLI_OK);
	check_has(f->out, "\"ingested\":1,\"unchanged\":6,");
	check_code(f, run(f, "ingest", ".", "--force", "-q", NULL), CLI_OK);
	assert_string_equal(f->out, "");
	assert_string_equal(f->err, "");
	assert_int_equal(fake_api_counts(f->api).posts, 16);
	assert_int_equal(fake_api_documents(f->api), 8);
}

static void
gets_over_faults_without_doubling(void **state)
{
	struct fixture *f = *state;

	fake_api_fault(f->api, &(struct fake_fault){ "GET /api/v1/collections", 503, 1, 0, false });
	fake_api_fault(f->api, &(struct fake_fault){ "documents/", 503, 2, 0, false });
	fake_api_fault(f->api, &(struct fake_fault){ "POST ", 429, 3, 0, false });
	fake_api_fault(f->api, &(struct fake_fault){ "POST ", 503, 2, 0, false });
	fake_api_fault(f->api,
		       &(struct fake_fault){ "POST ", 502, 2, -1, true }); /* lost replies */
	fake_api_fault(f->api, &(struct fake_fault){ "GET /api/v1/jobs", 503, 4, 0, false });
	check_code(f, run(f, "ingest", ".", "--jobs", "2", NULL), CLI_OK);
	check_has(f->out, "7 ingested, 0 unchanged");
	assert_int_equal(fake_api_counts(f->api).posts, 7); /* one job a document */
	assert_int_equal(fake_api_counts(f->api).replays, 2);
}

static void
says_what_failed(void **state)
{
	struct fixture *f = *state;

	put("paper.doc", "x");
	put("big.doc", "x");
	put("notes", "x");
	fake_api_set_poison(f->api, "page-4");
	fake_api_fault(f->api, &(struct fake_fault){ "POST ", 413, 1, -1, false });
	check_code(f, run(f, "ingest", ".", "--jobs", "1", NULL), CLI_FAILED);
	check_has(f->out, "5 ingested, 0 unchanged, 3 skipped, 2 failed in ");
	check_has(f->out, "  skipped: unknown ending '.doc' (--type): 2 (first: ");
	check_has(f->out, "  skipped: no ending (--type): 1 (");
	check_has(f->out, "  failed: scripted fault: 1 (");
	check_has(f->out, "  failed: document yields no text: 1 (");
	check_has(f->out, "page-4.md)");

	/* a second run sends only what is missing */
	fake_api_set_poison(f->api, "");
	fake_api_set_polls(f->api, 2);
	check_code(f, run(f, "ingest", ".", "--json", NULL), CLI_OK);
	check_has(f->out,
		  "\"ingested\":2,\"unchanged\":5,\"skipped\":3,\"failed\":0,\"not_finished\":0");
}

static void
gives_up_in_time(void **state)
{
	struct fixture *f = *state;

	fake_api_fault(f->api, &(struct fake_fault){ "POST ", 503, 1000, -1, false });
	check_code(f, run(f, "ingest", ".", "--retry", "1", NULL), CLI_UNREACHABLE);
	check_has(f->out, "0 ingested, 0 unchanged, 0 skipped, 0 failed, 7 not finished in ");
	check_has(f->out, "Run the same command again");
	check_has(f->err, "ragctl: scripted fault [request req_1]\n");
}

static void
does_not_wait_when_told(void **state)
{
	struct fixture *f = *state;

	fake_api_set_polls(f->api, -1);
	check_code(f, run(f, "ingest", ".", "--no-wait", "--no-uri", NULL), CLI_OK);
	check_has(f->out, "7 accepted");
	assert_int_equal(fake_api_counts(f->api).polls, 0);

	char *log = fake_api_log(f->api);

	assert_null(strstr(log, "uri="));
	mem_free(log);
}

static void
keeps_many_in_flight(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 600; i++) {
		char name[24];

		(void)snprintf(name, sizeof(name), "many-%d.txt", i);
		put(name, name);
	}
	check_code(f, run(f, "ingest", ".", "-j", "16", NULL), CLI_OK);
	check_has(f->out, "607 ingested");

	struct fake_counts counts = fake_api_counts(f->api);

	assert_int_equal(counts.posts, 607);
	assert_in_range(counts.most_posts, 2, 16);

	/* so many are looked up by listing the collection */
	put("many-1.txt", "changed");
	check_code(f, run(f, "ingest", ".", NULL), CLI_OK);
	check_has(f->out, "1 ingested, 606 unchanged");
}

static void
has_an_exit_code_for_each_end(void **state)
{
	struct fixture *f = *state;

	check_code(f, run(f, NULL), CLI_USAGE);
	check_code(f, run(f, "ingest", NULL), CLI_USAGE);
	check_has(f->err, "ragctl: 'ingest' needs PATH...\n");
	check_code(f, run(f, "ingest", "absent", NULL), CLI_USAGE);
	check_code(f, run(f, "ingest", ".", "--jobs", "many", NULL), CLI_USAGE);
	check_code(f, run(f, "ingest", ".", "--top-k", "3", NULL), CLI_USAGE);
	check_has(f->err, "'ingest' takes no --top-k");
	check_code(f, run(f, "ingest", ".", "--jsom", NULL), CLI_USAGE);
	check_has(f->err, "did you mean '--json'?");
	check_code(f, run(f, "query", "a", "b", NULL), CLI_USAGE);
	check_code(f, run(f, "query", "a", "--filter", "{x", NULL), CLI_USAGE);
	check_code(f, run(f, "jobs", "shw", NULL), CLI_USAGE);
	check_code(f, run(f, "--url", NULL), CLI_USAGE);

	check_code(f, run(f, "ingest", ".", "--collection", "missing", NULL), CLI_NOT_FOUND);
	check_has(f->err,
		  "ragctl: collection 'missing': no collection 'missing' [request req_1]\n");
	check_code(f, run(f, "jobs", "show", "ingest-0-9", NULL), CLI_NOT_FOUND);
	check_code(f, run(f, "collections", "show", "bad", NULL), CLI_REFUSED);
	check_has(f->err, "ragctl: must be lower case (field /name) [request req_1]\n");
	fake_api_fault(f->api, &(struct fake_fault){ "queues", 401, 1, -1, false });
	check_code(f, run(f, "queues", NULL), CLI_REFUSED);
	check_has(f->err, "RAG_API_KEY");
	fake_api_fault(f->api, &(struct fake_fault){ "queues", 500, 1, -1, false });
	check_code(f, run(f, "queues", "list", NULL), CLI_SERVER_ERROR);
	fake_api_fault(f->api, &(struct fake_fault){ "queues", 503, 100, -1, false });
	check_code(f, run(f, "queues", "--retry", "0", NULL), CLI_UNREACHABLE);

	char url[40];

	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d", free_port());
	check_code(f, run(f, "ingest", ".", "--url", url, "--retry", "0", NULL), CLI_UNREACHABLE);
	check_has(f->err, "is the engine running at http://127.0.0.1:");
	check_code(f, run(f, "queues", "--url", "127.0.0.1", NULL), CLI_USAGE);
}

static void
helps(void **state)
{
	struct fixture *f = *state;

	check_code(f, run(f, "--version", NULL), CLI_OK);
	assert_string_equal(f->out, "ragctl " RAG_VERSION "\n");
	check_code(f, run(f, "--help", NULL), CLI_OK);
	check_has(f->out, "Exit codes:");
	check_code(f, run(f, "jobs", "--help", NULL), CLI_OK);
	check_has(f->out, "jobs watch JOB");
	check_code(f, run(f, "query", "-h", NULL), CLI_OK);
	check_has(f->out, "Usage: ragctl query TEXT [options]");
	check_has(f->out, "--top-k N");
	assert_null(strstr(f->out, "--include"));
}

static void
answers_questions(void **state)
{
	struct fixture *f = *state;

	fake_api_set_result(
		f->api,
		"{\"answer\":\"Water boils at 100 degrees [1].\\u001b[2J\",\"citations\":[{\"n\":1,"
		"\"document_id\":\"d/"
		"1.md\",\"title\":\"Water\",\"heading\":\"Boiling\",\"page\":3,\"uri\":"
		"\"file:///w.md\",\"text\":\"It boils\\nat 100.\",\"score\":0.75}],\"timings_ms\":"
		"{\"embed\":1,\"retrieve\":2.6,\"generate\":null,\"total\":5},\"model\":"
		"\"extractive\","
		"\"cached\":true,\"warnings\":[{\"code\":\"x\",\"detail\":\"a warning\"}]}");
	check_code(f,
		   run(f, "query", "when does water boil?", "-k", "3", "--mode", "dense",
		       "--filter", "{\"a\":1}", NULL),
		   CLI_OK);
	assert_string_equal(f->out, "Water boils at 100 degrees [1]. [2J\n"
				    "\n"
				    "Sources\n"
				    "[1] Water > Boiling, page 3  (0.750)\n"
				    "     file:///w.md\n"
				    "     It boils at 100.\n"
				    "\n"
				    "5 ms (embed 1, retrieve 2), from the cache, extractive\n");
	assert_string_equal(f->err, "warning: a warning\n");
	check_code(f, run(f, "query", "q", "--json", NULL), CLI_OK);
	check_has(f->out, "\"answer\":\"Water boils at 100 degrees [1].\\u001b[2J\"");

	f->terminal = true;
	check_code(f, run(f, "query", "q", NULL), CLI_OK);
	check_has(f->out, "\033[1mSources\033[0m");
	check_code(f, run(f, "query", "q", "--no-color", NULL), CLI_OK);
	assert_null(strchr(f->out, '\033'));
	f->terminal = false;
	fake_api_set_result(
		f->api,
		"{\"answer\":\"x\",\"citations\":[],\"explain\":{\"search\":{\"query\":\"q\"},"
		"\"candidates\":[{\"chunk_id\":\"a@1.1#0\",\"dense\":0.25,\"lexical\":null,"
		"\"fused\":0.5,\"rerank\":1,\"used\":true},{\"chunk_id\":\"b@1.1#0\",\"used\":"
		"false}],"
		"\"prompt\":{\"tokens\":7},\"grounding\":null}}");
	check_code(f, run(f, "query", "q", "--explain", "-q", NULL), CLI_OK);
	check_has(f->out, "CHUNK");
	check_has(f->out, "a@1.1#0");
	check_has(f->out, "0.25");
	check_has(f->out, "tokens: 7\n");
}

static void
waits_for_a_slow_answer(void **state)
{
	struct fixture *f = *state;

	/* the query is answered with its job; the job's result is this same text, which has no answer */
	fake_api_set_result(f->api, "{\"id\":\"query-0-1\",\"status\":\"queued\",\"done\":false}");
	check_code(f, run(f, "query", "q", "--json", NULL), CLI_OK);

	char *log = fake_api_log(f->api);

	check_has(log, "GET /api/v1/jobs/query-0-1? ");
	check_has(log, "GET /api/v1/jobs/query-0-1/result? ");
	mem_free(log);
}

static void
follows_jobs(void **state)
{
	struct fixture *f = *state;

	fake_api_set_polls(f->api, 2);
	fake_api_set_poison(f->api, "page-1");
	check_code(f, run(f, "ingest", "page-0.md", "page-1.md", "--no-wait", "-j", "1", NULL),
		   CLI_OK);
	check_code(f, run(f, "jobs", "watch", "ingest-0-0", NULL), CLI_OK);
	assert_string_equal(f->out, "ingest-0-0  running\ningest-0-0  succeeded\n");
	check_code(f, run(f, "jobs", "watch", "ingest-0-1", NULL), CLI_FAILED);
	check_has(f->out, "ingest-0-1  failed  document yields no text\n");
	check_code(f, run(f, "jobs", "show", "ingest-0-1", NULL), CLI_OK);
	check_has(f->out, "status: failed\n");
	check_has(f->out, "error.detail: document yields no text\n");
	check_code(f, run(f, "jobs", "cancel", "ingest-0-1", "ingest-0-9", NULL), CLI_REFUSED);
	check_has(f->err, "ragctl: the job is already final [request req_1]\n");
	check_has(f->err, "ragctl: no such job [request req_1]\n");
}

/* All seven documents end as dead jobs. */
static void
make_dead(struct fixture *f)
{
	fake_api_set_poison(f->api, "page");
	check_code(f, run(f, "ingest", ".", "-j", "1", NULL), CLI_FAILED);
	fake_api_set_poison(f->api, "");
}

static int
lines(const char *text)
{
	int count = 0;

	for (; *text; text++)
		count += *text == '\n';
	return count;
}

static void
shows_dead_jobs(void **state)
{
	struct fixture *f = *state;

	check_code(f, run(f, "dead", NULL), CLI_OK);
	assert_string_equal(f->out, "");
	assert_string_equal(f->err, "no dead jobs\n");
	check_code(f, run(f, "dead", "list", "--json", NULL), CLI_OK);
	assert_string_equal(f->out, "[]\n");
	make_dead(f);
	check_code(f, run(f, "dead", NULL), CLI_OK);
	assert_int_equal(lines(f->out), 8); /* three pages */
	check_has(f->out, "JOB         TYPE    COLLECTION  AGE");
	check_has(f->out, "EMPTY_TEXT");
	check_code(f, run(f, "dead", "-n", "4", "--json", NULL), CLI_OK);

	struct js *list = NULL;
	struct err err = ERR_INIT;

	assert_true(js_parse(str_of(f->out), &list, &err));
	assert_int_equal(js_len(list), 4);
	js_free(list);

	check_code(f,
		   run(f, "dead", "list", "--queue", "ingest", "--error", "EMPTY_TEXT",
		       "--job-type", "ingest", "-c", "default", "--older-than", "1h", NULL),
		   CLI_OK);
	assert_int_equal(lines(f->out), 8);

	char *log = fake_api_log(f->api);

	check_has(log, "GET /api/v1/jobs?status=failed&queue=ingest&type=ingest&error=EMPTY_TEXT&"
		       "collection=default&page_size=1000 ");
	mem_free(log);
	check_code(f, run(f, "dead", "--older-than", "9999w", NULL), CLI_OK);
	assert_string_equal(f->out, "");
	check_code(f, run(f, "dead", "--older-than", "soon", NULL), CLI_USAGE);

	check_code(f, run(f, "dead", "show", "ingest-0-1", NULL), CLI_OK);
	check_has(f->out, "error        EMPTY_TEXT\n             document yields no text\n");
	check_has(f->out, "worker       host/1/0\n");
	check_has(f->out, "failures     1 of 5");
	check_code(f, run(f, "dead", "show", "ingest-0-99", NULL), CLI_NOT_FOUND);
}

static bool
say_yes(void *user, const char *question)
{
	(void)user;
	assert_string_equal(question, "Purge 5 dead jobs?");
	return true;
}

static bool
refuse(void *user, const char *question)
{
	(void)user;
	(void)question;
	return false;
}

static void
retries_dead_jobs(void **state)
{
	struct fixture *f = *state;

	make_dead(f);
	check_code(f, run(f, "dead", "retry", NULL), CLI_USAGE);
	check_has(f->err, "which jobs to retry?");
	check_code(f, run(f, "dead", "retry", "ingest-0-1", "--all", NULL), CLI_USAGE);
	check_code(f, run(f, "dead", "retry", "--all", NULL), CLI_USAGE);
	check_has(f->err, "nobody to ask: 'Retry 7 dead jobs?'");
	f->ask = refuse;
	check_code(f, run(f, "dead", "retry", "--all", NULL), CLI_FAILED);
	assert_string_equal(f->err, "nothing done\n");
	assert_int_equal(fake_api_dead(f->api), 7);

	/* one by its id is not asked about; it is not dead a second time */
	check_code(f, run(f, "dead", "retry", "ingest-0-1", NULL), CLI_OK);
	assert_string_equal(f->out, "1 retried\n");
	check_code(f, run(f, "dead", "retry", "ingest-0-1", NULL), CLI_REFUSED);
	check_has(f->err, "job 'ingest-0-1' is not dead, it is succeeded");

	/* faults: a lost answer, a server that asks to wait, one that fails */
	fake_api_fault(f->api, &(struct fake_fault){ "ingest-0-2:retry", 502, 1, -1, true });
	fake_api_fault(f->api, &(struct fake_fault){ "ingest-0-3:retry", 429, 2, 0, false });
	fake_api_fault(f->api, &(struct fake_fault){ "ingest-0-4:retry", 500, 9, -1, false });
	fake_api_fault(f->api, &(struct fake_fault){ "ingest-0-5:retry", 410, 9, -1, false });
	check_code(f, run(f, "dead", "retry", "--error", "EMPTY_TEXT", "-y", "-j", "1", NULL),
		   CLI_FAILED);
	assert_string_equal(f->out, "3 retried, 1 not dead any more, 2 failed\n"
				    "  failed: scripted fault [request req_1]: 2 (first: "
				    "ingest-0-4)\n");
	assert_int_equal(fake_api_dead(f->api), 2);
}

static void
stops_when_all_would_fail(void **state)
{
	struct fixture *f = *state;

	make_dead(f);
	fake_api_fault(f->api, &(struct fake_fault){ ":retry", 503, 100, -1, false });
	check_code(f, run(f, "dead", "retry", "--all", "--yes", "--retry", "0", "-j", "1", NULL),
		   CLI_UNREACHABLE);
	assert_string_equal(f->out, "0 retried, 7 not reached\n"
				    "Run the same command again to go on with the rest.\n");
	fake_api_fault(f->api, &(struct fake_fault){ "DELETE ", 403, 100, -1, false });
	check_code(f, run(f, "dead", "purge", "--all", "--yes", "-j", "3", "--json", NULL),
		   CLI_REFUSED);
	assert_string_equal(f->out,
			    "{\"chosen\":7,\"purged\":0,\"not_dead_any_more\":0,\"failed\":0,"
			    "\"not_reached\":7,\"failed_reasons\":[]}\n");
	assert_int_equal(fake_api_dead(f->api), 7);
}

static void
purges_dead_jobs(void **state)
{
	struct fixture *f = *state;

	make_dead(f);
	check_code(f, run(f, "dead", "purge", "--all", "--older-than", "9999w", NULL), CLI_OK);
	assert_string_equal(f->out, "0 purged\n");
	check_code(f, run(f, "dead", "purge", "ingest-0-0", NULL), CLI_OK);
	assert_int_equal(fake_api_dead(f->api), 6);
	check_code(f, run(f, "dead", "purge", "ingest-0-0", NULL), CLI_NOT_FOUND);
	check_code(f, run(f, "dead", "retry", "ingest-0-1", NULL), CLI_OK);
	check_code(f, run(f, "jobs", "watch", "ingest-0-1", NULL), CLI_OK);
	check_code(f, run(f, "dead", "purge", "ingest-0-1", NULL), CLI_REFUSED);

	/* what somebody retried between list and purge is left alone */
	fake_api_retry_before_delete(f->api, 2);
	f->ask = say_yes;
	check_code(f, run(f, "dead", "purge", "--older-than", "7d", NULL), CLI_OK);
	assert_string_equal(f->out, "4 purged, 1 not dead any more\n");
	assert_int_equal(fake_api_dead(f->api), 0);
	check_code(f, run(f, "jobs", "show", "ingest-0-2", NULL), CLI_OK);
}

static bool
say_no(void *user, const char *question)
{
	(void)user;
	assert_string_equal(question, "Delete the collection 'c' with all its documents?");
	return false;
}

static void
manages(void **state)
{
	struct fixture *f = *state;

	check_code(f, run(f, "queues", NULL), CLI_OK);
	assert_string_equal(f->out,
			    "QUEUE   STATE   WAITING  RUNNING  DUE  DEAD  OLDEST  DEMAND\n"
			    "ingest  paused        3        1    0     2      1m       0\n");
	check_code(f, run(f, "queues", "--json", NULL), CLI_OK);

	struct js *list = NULL;
	struct err err = ERR_INIT;

	assert_true(js_parse(str_of(f->out), &list, &err));
	assert_int_equal(js_len(list), 1);
	js_free(list);
	check_code(f, run(f, "collections", "delete", "c", NULL), CLI_USAGE);
	f->ask = say_no;
	check_code(f, run(f, "collections", "delete", "c", NULL), CLI_FAILED);
	check_code(f, run(f, "collections", "delete", "c", "--yes", NULL), CLI_OK);
	check_code(f, run(f, "documents", "delete", "a/b c", NULL), CLI_OK);

	char *log = fake_api_log(f->api);

	check_has(log, "DELETE /api/v1/collections/default/documents/a%2Fb%20c? ");
	mem_free(log);
}

static void
sends_the_key(void **state)
{
	struct fixture *f = *state;

	put("key", " geheim\n");
	check_code(f, run(f, "queues", "--key-file", "key", NULL), CLI_OK);
	check_code(f, run(f, "queues", "--key-file", "absent", NULL), CLI_USAGE);
	put("empty", "\n");
	check_code(f, run(f, "queues", "--key-file", "empty", NULL), CLI_USAGE);
}

static bool
has_posts(void *user)
{
	struct fixture *f = user;

	return fake_api_counts(f->api).posts == 7 && fake_api_counts(f->api).polls > 2;
}

static void
stops_on_interrupt(void **state)
{
	struct fixture *f = *state;
	const char *const argv[] = { "ragctl", "ingest", f->folder, "--url", fake_api_url(f->api),
				     NULL };
	const char *const env[] = { "LC_ALL=C", NULL };

	fake_api_set_polls(f->api, -1); /* jobs that never end */

	struct process *process = process_start(argv, env);

	wait_until(has_posts, f, 20000, "the files are sent");
	process_signal(process, SIGINT);
	assert_int_equal(process_wait(process), CLI_INTERRUPTED);

	char *log = process_log(process);

	check_has(log, "ragctl: interrupted\n");
	mem_free(log);
	process_stop(process);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(ingests_and_skips_unchanged),
		TEST(gets_over_faults_without_doubling),
		TEST(says_what_failed),
		TEST(gives_up_in_time),
		TEST(does_not_wait_when_told),
		TEST(keeps_many_in_flight),
		TEST(has_an_exit_code_for_each_end),
		TEST(helps),
		TEST(answers_questions),
		TEST(waits_for_a_slow_answer),
		TEST(follows_jobs),
		TEST(shows_dead_jobs),
		TEST(retries_dead_jobs),
		TEST(stops_when_all_would_fail),
		TEST(purges_dead_jobs),
		TEST(manages),
		TEST(sends_the_key),
		TEST(stops_on_interrupt),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
