/* rag-worker as an operator sees it: the real program, a real Redis, signals
 * and kills. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/queue_internal.h"
#include "jobs/store/store.h"
#include "tests/support/api.h"
#include "tests/support/jobs.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"

#define LONG_MS 120000 /* a limit for waiting, not a measure */
#define LEASE "1000"
#define LONG_TEXT_BYTES ((size_t)8 * 1024 * 1024)

struct fixture {
	struct redis_server *server;
	struct redis *redis;
	struct collection collection;
	char folder[64];
	char env[8][256];
	char *long_text;
};

static int
set_up(void **state)
{
	struct fixture *fixture = mem_alloc(sizeof(*fixture));
	struct err err = ERR_INIT;

	fixture->server = redis_server_start(NULL);
	fixture->redis = redis_server_connect(fixture->server);
	str_copy(fixture->folder, sizeof(fixture->folder), STR("/tmp/rag-worker-XXXXXX"));
	assert_non_null(mkdtemp(fixture->folder));
	assert_true(catalog_get(fixture->redis, STR("default"), &fixture->collection, &err));
	fixture->long_text = jobs_long_text(LONG_TEXT_BYTES, 7);
	*state = fixture;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *fixture = *state;
	static const char *const files[] = { "rag.db", "rag.db-wal", "rag.db-shm" };
	char path[128];

	redis_free(fixture->redis);
	redis_server_stop(fixture->server);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", fixture->folder, files[i]);
		(void)remove(path);
	}
	(void)remove(fixture->folder);
	mem_free(fixture->long_text);
	mem_free(fixture);
	return 0;
}

/* extra: one more "NAME=value", or NULL. */
static struct process *
start_worker(struct fixture *fixture, const char *extra)
{
	const char *env[8] = {
		extra ? extra : "LOG_LEVEL=info", /* the first of a name counts */
		"METRICS_LISTEN=127.0.0.1:0",
		"LEASE_MS=" LEASE, // NOLINT(bugprone-suspicious-missing-comma): one value
		"WORKERS=2",
		"BACKOFF_BASE_MS=10",
		fixture->env[0],
		fixture->env[1],
		NULL
	};
	const char *const argv[] = { "rag-worker", NULL };

	(void)snprintf(fixture->env[0], sizeof(fixture->env[0]), "REDIS_URL=%s",
		       redis_server_url(fixture->server));
	(void)snprintf(fixture->env[1], sizeof(fixture->env[1]), "DATA_DIR=%s", fixture->folder);
	return process_start(argv, env);
}

static struct str
long_text(const struct fixture *fixture)
{
	return str_of(fixture->long_text);
}

struct sum {
	int64_t generations, chunks;
};

static bool
add_generation(void *user, const struct store_generation *generation, struct err *err)
{
	struct sum *sum = user;

	(void)err;
	sum->generations++;
	sum->chunks += generation->chunks;
	return true;
}

/* What the store holds, read by another process: this one. */
static struct sum
store_sum(const struct fixture *fixture)
{
	struct store *store = NULL;
	struct config config;
	struct err err = ERR_INIT;
	struct sum sum = { 0 };

	setenv("DATA_DIR", fixture->folder, 1);
	assert_true(config_load(&config, NULL, &err));
	if (!store_open(&config, &store, &err) ||
	    !store->ops->each_generation(store, add_generation, &sum, &err))
		fail_msg("%s", err.msg);
	store_close(store);
	config_release(&config);
	return sum;
}

/* One visible document, and nothing in the store but its chunks. */
static void
assert_exactly_one(struct fixture *fixture)
{
	struct sum sum = store_sum(fixture);
	struct collection now;
	struct err err = ERR_INIT;

	assert_true(catalog_get(fixture->redis, STR("default"), &now, &err));
	assert_int_equal(now.documents, 1);
	assert_int_equal(sum.generations, 1);
	assert_int_equal(sum.chunks, now.chunks);
}

static void
test_runs_documents_and_questions(void **state)
{
	struct fixture *fixture = *state;
	struct process *worker = start_worker(fixture, NULL);
	char id[JOB_ID_BYTES];
	struct job job;

	jobs_submit_ingest(fixture->redis, &fixture->collection, "heron",
			   STR("The grey heron nests in tall trees."), id);
	job = jobs_wait(fixture->redis, id, JOB_SUCCEEDED, LONG_MS);
	assert_int_equal(job.starts, 1);
	assert_true(job.finished_ms >= job.started_ms && job.started_ms >= job.created_ms);
	jobs_submit_query(fixture->redis, &fixture->collection, "Where does the heron nest?", id);
	jobs_wait(fixture->redis, id, JOB_SUCCEEDED, LONG_MS);
	process_signal(worker, SIGTERM);
	assert_int_equal(process_wait(worker), 0);
	process_stop(worker);
}

static void
test_sigterm_hands_back_uncharged(void **state)
{
	struct fixture *fixture = *state;
	struct process *worker = start_worker(fixture, "DRAIN_MS=0");
	struct queue_stats stats;
	struct queue_ref queue;
	struct err err = ERR_INIT;
	char id[JOB_ID_BYTES];
	struct job job;

	jobs_submit_ingest(fixture->redis, &fixture->collection, "long", long_text(fixture), id);
	jobs_wait_stage(fixture->redis, id, "embed", LONG_MS);
	process_signal(worker, SIGTERM);
	assert_int_equal(process_wait(worker), 0);
	process_stop(worker);
	job = jobs_get(fixture->redis, id);
	assert_int_equal(job.status, JOB_QUEUED);
	assert_int_equal(job.starts, 0);
	assert_int_equal(job.failures, 0);
	assert_true(job_queue_find(STR("ingest"), 0, &queue));
	assert_true(queue_stats(fixture->redis, queue, 1000, &stats, &err));
	assert_int_equal(stats.workers, 0); /* it left by the door */
	assert_int_equal(stats.waiting, 1);

	worker = start_worker(fixture, NULL);
	job = jobs_wait(fixture->redis, id, JOB_SUCCEEDED, LONG_MS);
	assert_int_equal(job.epoch, 2);
	assert_exactly_one(fixture);
	process_stop(worker);
}

/* While the only ingest slot is busy nothing is fetched: the keeper heals a lost group, and hears the cancel. */
static void
test_a_lost_group_under_a_busy_slot(void **state)
{
	struct fixture *fixture = *state;
	struct process *worker = start_worker(fixture, NULL);
	struct err err = ERR_INIT;
	struct queue_ref queue;
	struct key ready;
	char id[JOB_ID_BYTES];
	struct job job;

	assert_true(job_queue_find(STR("ingest"), 0, &queue));
	ready = key_queue(queue, QK_READY);
	jobs_submit_ingest(fixture->redis, &fixture->collection, "long", long_text(fixture), id);
	jobs_wait_stage(fixture->redis, id, "embed", LONG_MS);
	assert_true(
		REDIS_CALL(fixture->redis, NULL, &err, "XGROUP", "DESTROY", ready.text, "workers"));
	assert_true(queue_cancel(fixture->redis, str_of(id), NULL, &job, &err));
	job = jobs_wait(fixture->redis, id, JOB_CANCELLED, LONG_MS);
	assert_int_equal(job.epoch, 1);
	process_signal(worker, SIGTERM);
	assert_int_equal(process_wait(worker), 0);
	process_stop(worker);
}

/* A job whose payload cannot be read is counted like any other that fails. */
static void
test_counts_broken_payloads(void **state)
{
	struct fixture *fixture = *state;
	struct answer answer = { 0 };
	struct err err = ERR_INIT;
	struct queue_ref queue;
	char id[JOB_ID_BYTES], listen[64];
	int port = free_port();
	struct process *worker;
	struct key key;

	assert_true(job_queue_find(STR("ingest"), 0, &queue));
	jobs_submit_ingest(fixture->redis, &fixture->collection, "doc", STR("A text."), id);
	key = key_payload(queue, str_of(id));
	assert_true(REDIS_CALL(fixture->redis, NULL, &err, "SETRANGE", key.text, "0", "?"));
	(void)snprintf(listen, sizeof(listen), "METRICS_LISTEN=127.0.0.1:%d", port);
	worker = start_worker(fixture, listen);
	assert_int_equal(jobs_wait(fixture->redis, id, JOB_FAILED, LONG_MS).error, ERR_CORRUPT);
	assert_true(process_wait_log(worker, "its payload cannot be read", LONG_MS));
	assert_true(http_client_global_init(&err));
	ask_with(port, "GET", "/metrics", NULL, STR(""), &answer);
	assert_int_equal(answer.status, 200);
	assert_non_null(strstr(answer.reply.body.data,
			       "rag_engine_jobs_total{type=\"ingest\",outcome=\"failed\"} 1\n"));
	answer_release(&answer);
	http_client_global_release();
	process_signal(worker, SIGTERM);
	assert_int_equal(process_wait(worker), 0);
	process_stop(worker);
}

static void
test_kill_9_in_the_middle(void **state)
{
	struct fixture *fixture = *state;
	struct process *worker = start_worker(fixture, NULL), *second;
	char id[JOB_ID_BYTES];
	struct job job;

	jobs_submit_ingest(fixture->redis, &fixture->collection, "long", long_text(fixture), id);
	jobs_wait_stage(fixture->redis, id, "embed", LONG_MS);
	process_signal(worker, SIGKILL);
	process_wait(worker);
	second = start_worker(fixture, NULL);
	job = jobs_wait(fixture->redis, id, JOB_SUCCEEDED, LONG_MS);
	assert_int_equal(job.starts, 2);
	assert_exactly_one(fixture);
	process_stop(worker);
	process_stop(second);
}

static void
test_frozen_past_its_lease(void **state)
{
	struct fixture *fixture = *state;
	struct process *frozen = start_worker(fixture, NULL), *second;
	char id[JOB_ID_BYTES];
	struct job job, later;

	jobs_submit_ingest(fixture->redis, &fixture->collection, "long", long_text(fixture), id);
	jobs_wait_stage(fixture->redis, id, "embed", LONG_MS);
	process_signal(frozen, SIGSTOP);
	second = start_worker(fixture, NULL);
	job = jobs_wait(fixture->redis, id, JOB_SUCCEEDED, LONG_MS);
	assert_int_equal(job.epoch, 2);
	process_signal(frozen, SIGCONT);
	/* It ends its work on the job, one way or another, without a trace. */
	assert_true(
		process_wait_log(frozen, "dropped: another start of this job has won", LONG_MS));
	process_signal(frozen, SIGTERM);
	assert_int_equal(process_wait(frozen), 0);
	later = jobs_get(fixture->redis, id);
	assert_int_equal(later.version, job.version);
	assert_int_equal(later.status, JOB_SUCCEEDED);
	assert_exactly_one(fixture);
	process_stop(frozen);
	process_stop(second);
}

static void
test_cancel_of_a_running_job(void **state)
{
	struct fixture *fixture = *state;
	struct process *worker = start_worker(fixture, NULL);
	const struct queue_keep_opts retention = { .done_max_age_ms = 3600000,
						   .dead_max_age_ms = 3600000 };
	struct collection now;
	struct err err = ERR_INIT;
	char id[JOB_ID_BYTES];
	struct job job;

	jobs_submit_ingest(fixture->redis, &fixture->collection, "long", long_text(fixture), id);
	jobs_wait_stage(fixture->redis, id, "embed", LONG_MS);
	assert_true(queue_cancel(fixture->redis, str_of(id), &retention, &job, &err));
	assert_int_equal(job.status, JOB_CANCELLING);
	jobs_wait(fixture->redis, id, JOB_CANCELLED, LONG_MS);
	assert_true(catalog_get(fixture->redis, STR("default"), &now, &err));
	assert_int_equal(now.documents, 0);
	process_signal(worker, SIGTERM);
	assert_int_equal(process_wait(worker), 0);
	process_stop(worker);
	assert_int_equal(store_sum(fixture).chunks, 0);
}

static void
test_questions_pass_documents(void **state)
{
	struct fixture *fixture = *state;
	struct process *worker = start_worker(fixture, NULL);
	char documents[3][JOB_ID_BYTES], question[JOB_ID_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "long-%zu", i);
		jobs_submit_ingest(fixture->redis, &fixture->collection, name, long_text(fixture),
				   documents[i]);
	}
	jobs_wait(fixture->redis, documents[0], JOB_RUNNING, LONG_MS);
	jobs_submit_query(fixture->redis, &fixture->collection, "heron", question);
	jobs_wait(fixture->redis, question, JOB_SUCCEEDED, LONG_MS);
	assert_int_equal(jobs_get(fixture->redis, documents[2]).status, JOB_QUEUED);
	process_stop(worker);
}

static void
test_paused_queue(void **state)
{
	struct fixture *fixture = *state;
	struct queue_stats stats;
	struct queue_ref queue;
	struct err err = ERR_INIT;
	struct process *worker;
	char id[JOB_ID_BYTES], question[JOB_ID_BYTES];

	assert_true(job_queue_find(STR("ingest"), 0, &queue));
	assert_true(queue_pause(fixture->redis, queue, true, &err));
	worker = start_worker(fixture, NULL);
	jobs_submit_ingest(fixture->redis, &fixture->collection, "heron",
			   STR("The grey heron nests in tall trees."), id);
	/* the other queue goes on, so the worker is there and leaves the document
   * alone */
	jobs_submit_query(fixture->redis, &fixture->collection, "heron", question);
	jobs_wait(fixture->redis, question, JOB_SUCCEEDED, LONG_MS);
	assert_int_equal(jobs_get(fixture->redis, id).status, JOB_QUEUED);
	assert_true(queue_stats(fixture->redis, queue, 1000, &stats, &err));
	assert_true(stats.paused);
	assert_int_equal(stats.demand, 0);
	assert_true(queue_pause(fixture->redis, queue, false, &err));
	assert_int_equal(jobs_wait(fixture->redis, id, JOB_SUCCEEDED, LONG_MS).starts, 1);
	process_stop(worker);
}

static void
test_redis_restarts_under_a_running_job(void **state)
{
	struct fixture *fixture = *state;
	struct process *worker = start_worker(fixture, NULL);
	char id[JOB_ID_BYTES], second[JOB_ID_BYTES];
	struct job job;

	jobs_submit_ingest(fixture->redis, &fixture->collection, "long", long_text(fixture), id);
	jobs_wait_stage(fixture->redis, id, "embed", LONG_MS);
	redis_server_kill(fixture->server);
	redis_server_restart(fixture->server);
	job = jobs_wait(fixture->redis, id, JOB_SUCCEEDED, LONG_MS);
	assert_int_equal(job.failures, 0);
	assert_int_equal(job.starts, 1); /* the outage was not held against it */
	jobs_submit_ingest(fixture->redis, &fixture->collection, "long",
			   STR("The grey heron nests in tall trees."), second);
	jobs_wait(fixture->redis, second, JOB_SUCCEEDED, LONG_MS);
	assert_exactly_one(fixture);
	process_signal(worker, SIGTERM);
	assert_int_equal(process_wait(worker), 0);
	process_stop(worker);
}

/* Redis answers nothing for longer than leases last: nothing is charged for it, and nothing done again. */
static void
test_long_outage_at_the_end_of_a_job(void **state)
{
	struct fixture *fixture = *state;
	struct process *worker = start_worker(fixture, "INGEST_TIMEOUT_MS=60000");
	char id[JOB_ID_BYTES];
	struct job job;

	jobs_submit_ingest(fixture->redis, &fixture->collection, "long",
			   str_sub(long_text(fixture), 0, LONG_TEXT_BYTES / 4), id);
	jobs_wait_stage(fixture->redis, id, "embed", LONG_MS);
	redis_server_kill(fixture->server);
	assert_true(process_wait_log(worker, "waiting for Redis to settle", LONG_MS));
	/* more than a lease: it goes on waiting */
	assert_false(process_wait_log(worker, "dropped: ", 1500));
	redis_server_restart(fixture->server);
	job = jobs_wait(fixture->redis, id, JOB_SUCCEEDED, LONG_MS);
	assert_int_equal(job.starts, 1);
	assert_int_equal(job.failures, 0);
	assert_exactly_one(fixture);
	process_stop(worker);
}

static int64_t
handed_out(struct fixture *fixture, struct queue_ref queue)
{
	struct key ready = key_queue(queue, QK_READY);
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct err err = ERR_INIT;
	int64_t count = 0;

	assert_true(REDIS_CALL(fixture->redis, &reply, &err, "XPENDING", ready.text, QUEUE_GROUP));
	assert_true(reply_i64(reply_at(reply, 0), &count));
	return count;
}

/*
 * Freezes the worker while one of its slots waits inside XREADGROUP, and submits a document: Redis hands it to that slot
 * at once. Where no slot was there in that moment, the worker does the job and all is done again.
 */
static void
freeze_with_an_entry(struct fixture *fixture, struct process *worker, struct str text,
		     char id[JOB_ID_BYTES])
{
	struct queue_ref queue;

	assert_true(job_queue_find(STR("ingest"), 0, &queue));
	for (int attempt = 0; attempt < 100; attempt++) {
		char name[24];

		(void)snprintf(name, sizeof(name), "heron-%d", attempt);
		process_signal(worker, SIGSTOP);
		jobs_submit_ingest(fixture->redis, &fixture->collection, name, text, id);
		if (handed_out(fixture, queue) > 0)
			return;
		process_signal(worker, SIGCONT);
		jobs_wait(fixture->redis, id, JOB_SUCCEEDED, LONG_MS);
	}
	fail_msg("no slot ever waits for work");
}

/* Redis hands out an entry and refuses the start: asked again, without waiting for a lease to end. */
static void
test_start_is_asked_again(void **state)
{
	struct fixture *fixture = *state;
	struct process *worker = start_worker(fixture, "LEASE_MS=3600000");
	struct err err = ERR_INIT;
	char id[JOB_ID_BYTES];
	struct job job;

	jobs_submit_query(fixture->redis, &fixture->collection, "heron", id);
	jobs_wait(fixture->redis, id, JOB_SUCCEEDED, LONG_MS);
	freeze_with_an_entry(fixture, worker, STR("The grey heron nests in tall trees."), id);
	assert_true(REDIS_CALL(fixture->redis, NULL, &err, "CONFIG", "SET", "min-replicas-to-write",
			       "1"));
	process_signal(worker, SIGCONT);
	assert_true(process_wait_log(worker, "could not start job", LONG_MS));
	assert_true(REDIS_CALL(fixture->redis, NULL, &err, "CONFIG", "SET", "min-replicas-to-write",
			       "0"));
	job = jobs_wait(fixture->redis, id, JOB_SUCCEEDED, 30000);
	assert_int_equal(job.epoch, 1);
	process_stop(worker);
}

/* A slot waits for work when it is told to stop, and is handed some in that moment. */
static void
test_taken_while_draining(void **state)
{
	struct fixture *fixture = *state;
	struct process *worker = start_worker(fixture, "DRAIN_MS=0");
	char id[JOB_ID_BYTES];
	struct job job;

	assert_true(process_wait_log(worker, "ready: ", LONG_MS));
	jobs_submit_query(fixture->redis, &fixture->collection, "heron", id);
	jobs_wait(fixture->redis, id, JOB_SUCCEEDED, LONG_MS);
	freeze_with_an_entry(fixture, worker, str_sub(long_text(fixture), 0, LONG_TEXT_BYTES / 4),
			     id);
	process_signal(worker, SIGTERM);
	process_signal(worker, SIGCONT);
	assert_int_equal(process_wait(worker), 0);
	process_stop(worker);
	job = jobs_get(fixture->redis, id);
	assert_int_equal(job.status, JOB_QUEUED);
	assert_int_equal(job.starts, 0);
}

static void
test_waits_for_redis_at_start(void **state)
{
	struct fixture *fixture = *state;
	struct process *worker;
	char id[JOB_ID_BYTES];

	redis_server_kill(fixture->server);
	worker = start_worker(fixture, NULL);
	assert_true(process_wait_log(worker, "waiting for Redis", LONG_MS));
	redis_server_restart(fixture->server);
	assert_true(process_wait_log(worker, "ready: ", LONG_MS));
	jobs_submit_ingest(fixture->redis, &fixture->collection, "heron",
			   STR("The grey heron nests in tall trees."), id);
	jobs_wait(fixture->redis, id, JOB_SUCCEEDED, LONG_MS);
	process_stop(worker);
}

static void
expect_exit(struct fixture *fixture, const char *extra, int code, const char *text)
{
	struct process *worker = start_worker(fixture, extra);

	assert_int_equal(process_wait(worker), code);
	assert_true(process_wait_log(worker, text, 1000));
	process_stop(worker);
}

static void
test_wrong_settings_exit_78(void **state)
{
	struct fixture *fixture = *state;

	expect_exit(fixture, "QUEUES=ingest,nonsense", 78, "there is no queue 'nonsense'");
	expect_exit(fixture, "EMBEDDER=gemini", 78, "GOOGLE_API_KEY");
	expect_exit(fixture, "STORE=nothing", 78, "STORE");
	expect_exit(fixture, "GENERATION_PROMPT_FILE=/nonexistent.txt", 78, "/nonexistent.txt");
	expect_exit(fixture, "QUEUE_MAX_JOBS=0", 78, "QUEUE_MAX_JOBS");
	assert_true(REDIS_CALL(fixture->redis, NULL, &(struct err){ 0 }, "CONFIG", "SET",
			       "maxmemory-policy", "allkeys-lru"));
	expect_exit(fixture, NULL, 78, "noeviction");
}

#define WORKER_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WORKER_TEST(test_runs_documents_and_questions),
		WORKER_TEST(test_sigterm_hands_back_uncharged),
		WORKER_TEST(test_kill_9_in_the_middle),
		WORKER_TEST(test_frozen_past_its_lease),
		WORKER_TEST(test_cancel_of_a_running_job),
		WORKER_TEST(test_a_lost_group_under_a_busy_slot),
		WORKER_TEST(test_counts_broken_payloads),
		WORKER_TEST(test_questions_pass_documents),
		WORKER_TEST(test_paused_queue),
		WORKER_TEST(test_redis_restarts_under_a_running_job),
		WORKER_TEST(test_long_outage_at_the_end_of_a_job),
		WORKER_TEST(test_start_is_asked_again),
		WORKER_TEST(test_taken_while_draining),
		WORKER_TEST(test_waits_for_redis_at_start),
		WORKER_TEST(test_wrong_settings_exit_78),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
