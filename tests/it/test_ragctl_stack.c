/* ragctl against the real thing: redis-server, rag-api and rag-worker of this test's own. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/governor.h"
#include "common/http_client.h"
#include "common/json.h"
#include "tests/support/api.h"
#include "tests/support/folder.h"
#include "tests/support/must.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"

#define MAX_WORDS 24

struct fixture {
	struct redis_server *redis;
	struct api_server *api;
	struct process *worker;
	char folder[FOLDER_BYTES]; /* of documents */
	char data[FOLDER_BYTES];   /* of the store */
	char *out, *err;
};

static void
put(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int
group_setup(void **state)
{
	static struct fixture f;
	char redis[300], data[100], metrics[64];
	struct err err = ERR_INIT;

	*state = &f;
	assert_true(http_client_global_init(&err));
	folder_make(f.folder);
	folder_make(f.data);
	assert_int_equal(chdir(f.folder), 0);
	f.redis = redis_server_start(NULL);
	(void)snprintf(redis, sizeof(redis), "REDIS_URL=%s", redis_server_url(f.redis));
	(void)snprintf(data, sizeof(data), "DATA_DIR=%s", f.data);
	(void)snprintf(metrics, sizeof(metrics), "METRICS_LISTEN=127.0.0.1:%d", free_port());
	f.api = api_server_start(redis_server_url(f.redis), NULL);
	f.worker = process_start((const char *[]){ "rag-worker", NULL },
				 (const char *[]){ redis, data, metrics, NULL });
	return 0;
}

static int
group_teardown(void **state)
{
	struct fixture *f = *state;

	process_signal(f->worker, SIGTERM);
	assert_int_equal(process_wait(f->worker), 0);
	process_stop(f->worker);
	assert_int_equal(api_server_stop(f->api), 0);
	redis_server_stop(f->redis);
	assert_int_equal(chdir("/"), 0);
	folder_remove(f->folder);
	folder_remove(f->data);
	http_client_global_release();
	free(f->out);
	free(f->err);
	return 0;
}

static void
run(struct fixture *f, int want, ...)
{
	const char *argv[MAX_WORDS] = { "ragctl" };
	char url[64];
	int argc = 1;
	size_t len = 0;
	va_list words;

	free(f->out);
	free(f->err);
	f->out = f->err = NULL;
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d", f->api->port);

	struct cli_world world = { .out = open_memstream(&f->out, &len),
				   .err = open_memstream(&f->err, &len),
				   .columns = 80,
				   .env_url = url };

	va_start(words, want);
	for (const char *word = va_arg(words, const char *); word;
	     word = va_arg(words, const char *)) {
		assert_true(argc < MAX_WORDS);
		argv[argc++] = word;
	}
	va_end(words);

	int code = cli_main(argc, argv, &world);

	assert_int_equal(fclose(world.out), 0);
	assert_int_equal(fclose(world.err), 0);
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
ingests_and_answers(void **state)
{
	struct fixture *f = *state;

	put("zebra.md", "# Zebras\n\nA zebra has black and white stripes.\n");
	put("whale.txt", "The blue whale is the largest animal that has ever lived.\n");
	put("page.html",
	    "<html><title>Kettles</title><body><p>A kettle boils water.</body></html>");
	put("data.json", "{\"topic\": \"volcanoes\", \"text\": \"Lava is molten rock.\"}");
	put("blank.md", " \n");
	run(f, CLI_FAILED, "ingest", ".", NULL);
	check_has(f->out, "4 ingested, 0 unchanged, 0 skipped, 1 failed in ");
	check_has(f->out, "failed: the document is empty: 1 (");
	assert_int_equal(remove("blank.md"), 0);

	run(f, CLI_OK, "ingest", ".", NULL);
	check_has(f->out, "0 ingested, 4 unchanged");
	put("whale.txt", "The blue whale weighs up to 190 tonnes.\n");
	run(f, CLI_OK, "ingest", ".", NULL);
	check_has(f->out, "1 ingested, 3 unchanged");

	run(f, CLI_OK, "query", "how many tonnes does the blue whale weigh?", NULL);
	check_has(f->out, "190 tonnes");
	check_has(f->out, "[1] ");
	run(f, CLI_OK, "query", "what stripes does a zebra have?", "--json", NULL);
	check_has(f->out, "\"citations\":[{");
	check_has(f->out, "zebra.md");
	run(f, CLI_OK, "query", "zebra", "--no-generate", "-k", "1", NULL);
	check_has(f->out, "Retrieved\n[1] ");
}

/* The answer as it is written, by the real worker: the same as of the whole one, fresh and out of the cache. */
static void
follows_an_answer(void **state)
{
	struct fixture *f = *state;

	put("whale.txt", "The blue whale weighs up to 190 tonnes. It eats krill.\n");
	run(f, CLI_OK, "ingest", "whale.txt", NULL);
	for (int i = 0; i < 2; i++) {
		AUTO_PTR(js_free) struct js *result = NULL;
		struct err err = ERR_INIT;
		char *streamed;
		struct str answer;

		run(f, CLI_OK, "query", "--stream",
		    "how many tonnes does the blue whale weigh at most?", NULL);
		check_has(f->out, "\n\nSources\n[1] ");
		check_has(f->out, i == 0 ? ", extractive" : "from the cache");
		streamed = mem_strdup(f->out);
		run(f, CLI_OK, "query", "--stream", "--json",
		    "how many tonnes does the blue whale weigh at most?", NULL);
		assert_true(js_parse(str_of(f->out), &result, &err));
		assert_true(js_get_str(result, "answer", &answer));
		assert_true(str_eq(answer, str_sub(str_of(streamed), 0, answer.len)));
		assert_non_null(strstr(answer.ptr, "190 tonnes"));
		mem_free(streamed);
	}
	run(f, CLI_OK, "query", "--stream", "zebra", "--no-generate", "-k", "1", NULL);
	check_has(f->out, "Retrieved\n[1] ");
}

/* The second question alone says nothing: it is answered within the conversation of the first. */
static void
keeps_a_conversation(void **state)
{
	struct fixture *f = *state;

	put("whale.txt", "The blue whale weighs up to 190 tonnes. It eats krill.\n");
	run(f, CLI_OK, "ingest", "whale.txt", NULL);
	run(f, CLI_OK, "query", "Where is that?", NULL);
	check_has(f->out, "could not find");
	run(f, CLI_OK, "query", "What does the blue whale weigh?", "--conversation", "talk.json",
	    NULL);
	check_has(f->out, "190 tonnes");
	run(f, CLI_OK, "query", "And how much is that?", "--conversation", "talk.json", "--json",
	    "--explain", NULL);
	check_has(f->out, "190 tonnes");
	check_has(f->out, "\"condensed\":true");
	run(f, CLI_OK, "query", "And is that much?", "--conversation", "talk.json", "--stream",
	    "--explain", NULL);
	check_has(f->out, "Candidates (* = among the first top_k)\n");
	check_has(f->out, "condensed: true");
	put("talk.json", "{}");
	run(f, CLI_USAGE, "query", "And why?", "--conversation", "talk.json", NULL);
	check_has(f->err, "talk.json");
	assert_int_equal(remove("talk.json"), 0);
}

static void
shows_and_changes(void **state)
{
	struct fixture *f = *state;

	run(f, CLI_OK, "collections", "create", "books", "--description", "old", NULL);
	run(f, CLI_REFUSED, "collections", "create", "books", NULL);
	run(f, CLI_REFUSED, "collections", "create", "No Books", NULL);
	check_has(f->err, "(field /name)");
	put("zebra.md", "A zebra has stripes.\n");
	run(f, CLI_OK, "ingest", "zebra.md", "-c", "books", NULL);
	run(f, CLI_OK, "documents", "list", "-c", "books", NULL);
	check_has(f->out, "zebra.md ");
	run(f, CLI_OK, "documents", "show", "zebra.md", "-c", "books", NULL);
	check_has(f->out, "chunks: 1\n");
	run(f, CLI_OK, "documents", "delete", "zebra.md", "-c", "books", NULL);
	check_has(f->out, "deleted; the store is cleaned by job ingest-0-");
	run(f, CLI_NOT_FOUND, "documents", "show", "zebra.md", "-c", "books", NULL);
	run(f, CLI_OK, "jobs", "list", "-c", "books", "--job-type", "ingest", "--status",
	    "succeeded", NULL);
	check_has(f->out, "ingest-0-");
	run(f, CLI_OK, "queues", "pause", "ingest", NULL);
	check_has(f->out, "queue ingest is paused: ");
	run(f, CLI_OK, "queues", NULL);
	check_has(f->out, "ingest  paused");
	run(f, CLI_OK, "ingest", "zebra.md", "-c", "books", "--no-wait", "--force", NULL);
	run(f, CLI_OK, "queues", "resume", "ingest", NULL);
	run(f, CLI_OK, "dead", "list", "--queue", "ingest", "-c", "books", NULL);
	run(f, CLI_OK, "collections", "delete", "books", "--yes", NULL);
	run(f, CLI_NOT_FOUND, "collections", "show", "books", NULL);
	run(f, CLI_NOT_FOUND, "ingest", "zebra.md", "-c", "books", NULL);
	run(f, CLI_REFUSED, "dead", "list", "--queue", "none", NULL);
	run(f, CLI_OK, "collections", "list", "--json", NULL);
	check_has(f->out, "\"name\":\"default\"");
}

static void
watches_jobs(void **state)
{
	struct fixture *f = *state;
	char job[64] = "";

	put("lion.md", "A lion sleeps.\n");
	run(f, CLI_OK, "queues", "pause", "ingest", NULL);
	run(f, CLI_OK, "ingest", "lion.md", "--no-wait", NULL);
	run(f, CLI_OK, "jobs", "list", "--job-type", "ingest", "--status", "queued", NULL);

	const char *at = strstr(f->out, "ingest-0-");

	assert_non_null(at);
	(void)str_copy(job, sizeof(job), str_make(at, strcspn(at, " ")));
	run(f, CLI_OK, "jobs", "cancel", job, NULL);
	run(f, CLI_FAILED, "jobs", "watch", job, NULL);
	check_has(f->out, "cancelled");
	run(f, CLI_REFUSED, "jobs", "retry", job, NULL);
	run(f, CLI_OK, "queues", "resume", "ingest", NULL);
	run(f, CLI_OK, "ingest", "lion.md", NULL);
	run(f, CLI_OK, "jobs", "list", "-n", "1", "--job-type", "ingest", "--status", "succeeded",
	    "--json", NULL);
	at = strstr(f->out, "ingest-0-");
	assert_non_null(at);
	(void)str_copy(job, sizeof(job), str_make(at, strcspn(at, "\"")));
	run(f, CLI_OK, "jobs", "watch", job, NULL);
	run(f, CLI_OK, "jobs", "show", job, "--result", NULL);
	check_has(f->out, "lion.md");
}

#define BEIR RAG_SOURCE_DIR "/tests/data/beir"

/* One figure of one row, to four digits. */
static void
check_figure(const struct js *row, const char *kind, double want)
{
	double got = js_number(js_get(js_get(row, kind), "mean"));

	if (got < want - 0.00006 || got > want + 0.00006)
		fail_msg("%s is %.5f, not %.4f", kind, got, want);
}

/* Of seven questions, one has a relevant document that is not there (recall 1/2), the others find all that are
 * relevant; every first document is relevant. */
static void
evaluates(void **state)
{
	struct fixture *f = *state;
	AUTO_PTR(js_free) struct js *root = NULL;
	static const double ndcg[] = { 0.9447, 0.9371, 0.9447, 0.9447 };
	struct err err = ERR_INIT;

	run(f, CLI_OK, "eval", BEIR, "--json", "--quiet", "--resamples", "1000", NULL);
	assert_true(js_parse(str_of(f->out), &root, &err));
	assert_int_equal(js_int(js_get(root, "documents")), 19);
	assert_int_equal(js_int(js_get(root, "documents_without_text")), 1);
	assert_int_equal(js_int(js_get(root, "questions")), 7);
	assert_int_equal(js_int(js_get(root, "questions_without_relevant")), 1);
	assert_int_equal(js_int(js_get(root, "judgements_of_unknown_questions")), 1);
	assert_int_equal(js_int(js_get(root, "judged_documents_missing")), 1);
	assert_int_equal(js_int(js_get(root, "short_answers")), 0);
	for (size_t i = 0; i < ARRAY_SIZE(ndcg); i++) {
		const struct js *row = js_at(js_get(root, "rows"), i);

		check_figure(row, "ndcg_at_10", ndcg[i]);
		check_figure(row, "recall_at_10", 13.0 / 14);
		check_figure(row, "recall_at_100", 13.0 / 14);
		check_figure(row, "mrr", 1);
	}
	run(f, CLI_OK, "collections", "list", NULL);
	assert_null(strstr(f->out, "eval-"));

	/* a collection of one's own stays with --keep, is found again, and is then nobody's to delete */
	run(f, CLI_OK, "eval", BEIR, "-c", "measured", "--keep", "--baseline", "dense", NULL);
	check_has(f->out, "19 documents (");
	check_has(f->out, "hybrid + rerank  0.945");
	check_has(f->out, "minus dense ");
	check_has(f->out, "+0.000..+0.000");
	check_has(f->err, "kept the collection measured");
	run(f, CLI_OK, "eval", BEIR, "-c", "measured", NULL);
	run(f, CLI_OK, "documents", "show", "title-only", "-c", "measured", NULL);
	run(f, CLI_OK, "collections", "delete", "measured", "--yes", NULL);

	run(f, CLI_USAGE, "eval", BEIR, "--baseline", "best", NULL);
	run(f, CLI_FAILED, "eval", ".", NULL);
	check_has(f->err, "./qrels/test.tsv': No such file or directory");
	assert_int_equal(mkdir("broken", 0700), 0);
	assert_int_equal(mkdir("broken/qrels", 0700), 0);
	put("broken/qrels/test.tsv", "q\td\t1\n");
	put("broken/queries.jsonl", "{\"_id\":\"q\",\"text\":\"what?\"}\n");
	put("broken/corpus.jsonl", "{\"_id\":\"\\u0001\",\"text\":\"x\"}\n");
	run(f, CLI_REFUSED, "eval", "broken", NULL);
	check_has(f->err, "corpus.jsonl:1: ");
	run(f, CLI_OK, "collections", "list", NULL);
	assert_null(strstr(f->out, "eval-"));
}

static void
imports_in_bulk(void **state)
{
	struct fixture *f = *state;
	AUTO_PTR(js_free) struct js *job = NULL;
	char id[128];
	struct err err = ERR_INIT;

	put("many.ndjson", "{\"id\":\"m1\",\"text\":\"A heron stands still.\"}\n"
			   "{\"id\":\"m2\",\"text\":\"A kite hovers.\"}\n");
	run(f, CLI_OK, "ingest", "many.ndjson", "--idempotency-key", "one", NULL);
	check_has(f->out, ": 2 lines, 2 succeeded, 0 failed");
	run(f, CLI_OK, "ingest", "many.ndjson", "--idempotency-key", "one", "--json", "-q", NULL);
	assert_true(js_parse(str_of(f->out), &job, &err));
	str_copy(id, sizeof(id), js_str(js_get(job, "id")));
	run(f, CLI_OK, "batch", "watch", id, NULL);
	check_has(f->out, id);
	put("some.jsonl", "{\"id\":\"m3\",\"text\":\"x\"}\nnothing\n");
	run(f, CLI_FAILED, "ingest", "some.jsonl", NULL);
	check_has(f->out, ": 2 lines, 1 succeeded, 1 failed");
	check_has(f->err, "line 2: not valid JSON");
	run(f, CLI_NOT_FOUND, "batch", "watch", "ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7b", NULL);
	run(f, CLI_USAGE, "ingest", "absent.ndjson", NULL);
	run(f, CLI_NOT_FOUND, "ingest", "many.ndjson", "-c", "nowhere", NULL);
	check_has(f->err, "--idempotency-key");
}

static void
looks_after_dead_jobs(void **state)
{
	struct fixture *f = *state;
	char job[64] = "";

	for (int i = 0; i < 3; i++) {
		char name[24];

		(void)snprintf(name, sizeof(name), "empty-%d.html", i);
		put(name, "<html><script>no text</script></html>");
	}
	run(f, CLI_FAILED, "ingest", ".", "--include", "empty-*", NULL);
	run(f, CLI_OK, "dead", "list", "--error", "EMPTY_TEXT", "--json", NULL);

	const char *at = strstr(f->out, "ingest-0-");

	assert_non_null(at);
	(void)str_copy(job, sizeof(job), str_make(at, strcspn(at, "\"")));
	run(f, CLI_OK, "dead", "show", job, NULL);
	check_has(f->out,
		  "error        EMPTY_TEXT\n             parse: the document has no text\n");
	run(f, CLI_OK, "dead", "list", "--error", "POISON", NULL);
	check_has(f->err, "no dead jobs");
	run(f, CLI_REFUSED, "dead", "list", "--error", "NO_SUCH", NULL);

	run(f, CLI_OK, "dead", "retry", job, NULL);
	run(f, CLI_FAILED, "jobs", "watch", job, NULL); /* dies of the same */
	run(f, CLI_OK, "queues", "pause", "ingest", NULL);
	/* other tests may leave dead jobs of another cause */
	run(f, CLI_OK, "dead", "retry", "--error", "EMPTY_TEXT", "--yes", NULL);
	check_has(f->out, "3 retried\n");
	run(f, CLI_OK, "dead", "list", "--error", "EMPTY_TEXT", NULL);
	check_has(f->err, "no dead jobs");
	run(f, CLI_REFUSED, "dead", "purge", job, NULL);
	check_has(f->err, "is not dead, it is queued");
	run(f, CLI_OK, "queues", "resume", "ingest", NULL);
	run(f, CLI_FAILED, "jobs", "watch", job, NULL);
	run(f, CLI_OK, "dead", "purge", job, NULL);
	run(f, CLI_NOT_FOUND, "jobs", "show", job, NULL);
}

static void
shows_the_live_view(void **state)
{
	struct fixture *f = *state;
	AUTO_PTR(js_free) struct js *root = NULL;
	struct err err = ERR_INIT;

	run(f, CLI_OK, "top", "--once", NULL);
	check_has(f->out, "\ningest  running ");
	check_has(f->out, "\nquery   running ");
	check_has(f->out, " waiting for work\n");
	assert_null(strchr(f->out, '\033'));
	run(f, CLI_OK, "top", "--json", NULL);
	assert_true(js_parse(str_of(f->out), &root, &err));
	assert_int_equal(js_len(js_get(root, "queues")), 3);
	assert_true(js_len(js_get(root, "workers")) > 0);
	run(f, CLI_OK, "help", "dead", NULL);
	check_has(f->out, "dead retry [JOB...]");
	run(f, CLI_OK, "help", "top", NULL);
	check_has(f->out, "Usage: ragctl top [options]");
	run(f, CLI_USAGE, "help", "tpo", NULL);
	check_has(f->err, "did you mean 'top'?");
}

/* What the governor holds in Redis, whoever put it there. */
static void
shows_providers(void **state)
{
	struct fixture *f = *state;
	struct governor_limits limits = { .requests_per_minute = 600, .concurrency = 4 };
	struct governor_opts opts = { .breaker_failures = 1, .breaker_open_ms = 3600000 };
	struct governor_report report = { GOVERNOR_OUTAGE, -1, -1, "could not reach it" };
	AUTO_PTR(redis_free) struct redis *redis = redis_server_connect(f->redis);
	struct governor_ticket ticket;

	run(f, CLI_OK, "providers", NULL);
	check_has(f->err, "no provider was used within the last hour");
	MUST(governor_acquire(redis, STR("gemini:m:01020304"), &limits, &opts, NULL, &ticket, e));
	run(f, CLI_OK, "providers", NULL);
	check_has(f->out, "gemini m  closed ");
	check_has(f->out, " 1/600 ");
	check_has(f->out, " 1/4 ");
	governor_report(redis, &ticket, &report);
	run(f, CLI_OK, "providers", NULL);
	check_has(f->out, "gemini m  open ");
	check_has(f->out, "gemini m: out of service (");
	check_has(f->out, " ago: could not reach it");
	run(f, CLI_OK, "providers", "--json", NULL);
	check_has(f->out, "\"breaker\":\"open\"");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ingests_and_answers),	 cmocka_unit_test(shows_and_changes),
		cmocka_unit_test(watches_jobs),		 cmocka_unit_test(evaluates),
		cmocka_unit_test(looks_after_dead_jobs), cmocka_unit_test(shows_the_live_view),
		cmocka_unit_test(follows_an_answer),	 cmocka_unit_test(keeps_a_conversation),
		cmocka_unit_test(imports_in_bulk),	 cmocka_unit_test(shows_providers),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
