/*
 * rag-cron's tasks: a sound state gives no problem, each kind of damage planted by hand is found, cleanup removes what
 * nothing needs and nothing else, and all of it beside a writer.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/batch.h"
#include "common/catalog_verify.h"
#include "common/job.h"
#include "common/keys.h"
#include "common/queue.h"
#include "cron/store_check.h"
#include "cron/task.h"
#include "jobs/store/store.h"
#include "tests/support/catalog_fixture.h"
#include "tests/support/folder.h"
#include "tests/support/must.h"
#include "tests/support/process.h"

#define DIM 4
#define CHUNKS_MAX 16
#define WRITES 40				      /* beside which verify and cleanup run */
#define OLD_JOB "ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7b" /* of 2024 */

struct fixture {
	struct catalog_fixture *catalog;
	char folder[FOLDER_BYTES];
	struct config config;
	struct store *store;
};

static int
setup(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));
	struct err err = ERR_INIT;
	void *catalog = NULL;

	(void)catalog_fixture_setup(&catalog);
	f->catalog = catalog;
	folder_make(f->folder);
	if (!config_load(&f->config, NULL, &err))
		fail_msg("%s", err.msg);
	f->config.data_dir = f->folder;
	f->config.lease_ms = 500;
	MUST(store_open(&f->config, &f->store, e));
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	void *catalog = f->catalog;

	store_close(f->store);
	folder_remove(f->folder);
	config_release(&f->config);
	(void)catalog_fixture_teardown(&catalog);
	mem_free(f);
	return 0;
}

static void
redis_do(struct fixture *f, const char *command, const char *key, const char *a, const char *b)
{
	struct redis_cmd cmd;

	redis_cmd_init(&cmd, command);
	if (key)
		redis_arg_c(&cmd, key);
	if (a)
		redis_arg_c(&cmd, a);
	if (b)
		redis_arg_c(&cmd, b);
	MUST(redis_run(f->catalog->redis, &cmd, NULL, e));
}

static void
put(struct store *store, struct str uid, const char *doc, const char *gen, size_t count)
{
	static const float vector[DIM] = { 1, 0, 0, 0 };
	struct store_chunk chunks[CHUNKS_MAX];

	for (size_t i = 0; i < count; i++)
		chunks[i] = (struct store_chunk){ .ordinal = (int64_t)i,
						  .text = STR("some words"),
						  .heading = STR(""),
						  .end = 10,
						  .vector = vector };
	const struct store_document document = { .uid = uid,
						 .document_id = str_of(doc),
						 .gen = str_of(gen),
						 .title = STR("t"),
						 .uri = STR(""),
						 .metadata = STR(""),
						 .chunks = chunks,
						 .count = count,
						 .dim = DIM };

	MUST(store->ops->put(store, &document, e));
}

static int64_t
count_chunks(struct fixture *f, const char *doc, const char *gen)
{
	int64_t chunks = -1;

	MUST(f->store->ops->count(f->store, fixture_uid(f->catalog), str_of(doc), str_of(gen),
				  &chunks, e));
	return chunks;
}

/* Accepts, writes and commits; the generation goes to out_gen. */
static void
ingest(struct fixture *f, const char *doc, const char *job, int64_t chunks, bool release,
       char out_gen[CATALOG_GEN_BYTES])
{
	int64_t seq = fixture_accept(f->catalog, doc, job);

	catalog_gen_format(out_gen, seq, 1);
	put(f->store, fixture_uid(f->catalog), doc, out_gen, (size_t)chunks);
	assert_int_equal(fixture_commit(f->catalog, doc, job, seq, 1, "v", chunks),
			 CATALOG_COMMITTED);
	if (release)
		fixture_release(f->catalog, job);
}

struct scene {
	char a_gen[CATALOG_GEN_BYTES], b_gen[CATALOG_GEN_BYTES], busy_gen[CATALOG_GEN_BYTES];
	char job[JOB_ID_BYTES]; /* of the ingest in flight */
};

static bool
keep_nothing(void *user, const struct store_generation *generation, struct err *err)
{
	struct fixture *f = user;

	(void)err;
	MUST(f->store->ops->remove_collection(f->store, generation->uid, e));
	return true;
}

static void
empty_all(struct fixture *f)
{
	redis_do(f, "FLUSHALL", NULL, NULL, NULL);
	MUST(f->store->ops->each_generation(f->store, keep_nothing, f, e));
}

/* Two documents, one of them being replaced, one new one in flight, a collection deleted by half. */
static void
make_scene(struct fixture *f, struct scene *scene)
{
	struct queue_ref queue = { "ingest", 0 };
	char job[JOB_ID_BYTES];

	empty_all(f);
	fixture_collection(f->catalog);
	ingest(f, "a", "ingest-0-x", 3, true, scene->a_gen);
	ingest(f, "b", "ingest-0-y", 5, true, scene->b_gen);
	job_id_new(queue, scene->job);
	int64_t seq = fixture_accept(f->catalog, "b", scene->job);

	catalog_gen_format(scene->busy_gen, seq, 2);
	put(f->store, fixture_uid(f->catalog), "b", scene->busy_gen, 2);
	job_id_new(queue, job);
	(void)fixture_accept(f->catalog, "new", job);
	job_id_new(queue, job);
	(void)fixture_delete(f->catalog, "was-here", job, NULL);
}

static bool
run(struct fixture *f, bool (*task)(struct cron *cron, struct err *err), struct report *report)
{
	struct cron cron = { .config = &f->config,
			     .redis = f->catalog->redis,
			     .store = f->store,
			     .report = report };
	struct err err = ERR_INIT;

	report_init(report, "test");
	if (!task(&cron, &err))
		fail_msg("%s (%s)", err.msg, err.cause);
	return report->problem_count == 0;
}

static int64_t
figure(const struct report *report, const char *group, const char *name)
{
	for (size_t i = 0; i < report->figure_count; i++) {
		if (strcmp(report->figures[i].group, group) == 0 &&
		    strcmp(report->figures[i].name, name) == 0)
			return report->figures[i].value;
	}
	fail_msg("there is no figure %s %s", group, name);
	return -1;
}

static void
print_problems(const struct report *report)
{
	for (size_t i = 0; i < report->problem_cap && (int64_t)i < report->problem_count; i++)
		print_message("  %s: %s\n", report->problems[i].check, report->problems[i].text);
}

static void
expect_sound(struct fixture *f)
{
	AUTO(report) struct report report;

	if (!run(f, cron_verify, &report)) {
		print_problems(&report);
		fail_msg("%lld problems", (long long)report.problem_count);
	}
}

static void
test_sound(void **state)
{
	struct fixture *f = *state;
	struct scene scene;
	AUTO(report) struct report report;
	AUTO(report) struct report empty;

	empty_all(f);
	assert_true(run(f, cron_verify, &empty));
	make_scene(f, &scene);
	if (!run(f, cron_verify, &report)) {
		print_problems(&report);
		fail();
	}
	assert_int_equal(figure(&report, "catalog", "documents"), 2);
	assert_int_equal(figure(&report, "catalog", "chunks"), 8);
	assert_int_equal(figure(&report, "catalog", "reservations"), 3);
	assert_int_equal(figure(&report, "catalog", "leftover reservations"), 0);
	assert_int_equal(figure(&report, "store", "visible"), 2);
	assert_int_equal(figure(&report, "store", "in flight"), 1);
	assert_int_equal(figure(&report, "store", "garbage"), 0);
}

/* ---- damage ---- */

static struct key meta, cur, docs, seqs, doc_a, doc_b;

static void
damage_counter(struct fixture *f, const struct scene *scene)
{
	(void)scene;
	redis_do(f, "HINCRBY", meta.text, "chunks", "1");
}

static void
damage_documents_counter(struct fixture *f, const struct scene *scene)
{
	(void)scene;
	redis_do(f, "HINCRBY", meta.text, "documents", "-1");
}

static void
damage_bytes_counter(struct fixture *f, const struct scene *scene)
{
	(void)scene;
	redis_do(f, "HSET", meta.text, "bytes", "0");
}

static void
damage_current(struct fixture *f, const struct scene *scene)
{
	(void)scene;
	redis_do(f, "HSET", cur.text, "a", "77.1:2");
}

static void
damage_current_lost(struct fixture *f, const struct scene *scene)
{
	(void)scene;
	redis_do(f, "HDEL", cur.text, "a", NULL);
}

static void
damage_current_extra(struct fixture *f, const struct scene *scene)
{
	(void)scene;
	redis_do(f, "HSET", cur.text, "ghost", "77.1:2");
}

static void
damage_unlisted(struct fixture *f, const struct scene *scene)
{
	(void)scene;
	redis_do(f, "ZREM", docs.text, "a", NULL);
}

static void
damage_record_lost(struct fixture *f, const struct scene *scene)
{
	(void)scene;
	redis_do(f, "DEL", doc_a.text, NULL, NULL);
}

static void
damage_tombstone_beside(struct fixture *f, const struct scene *scene)
{
	(void)scene;
	redis_do(f, "HSET", doc_a.text, "x", "1");
}

static void
damage_reservation_count(struct fixture *f, const struct scene *scene)
{
	(void)scene;
	redis_do(f, "HINCRBY", doc_b.text, "r", "1");
}

static void
damage_reservation_lost(struct fixture *f, const struct scene *scene)
{
	redis_do(f, "HDEL", seqs.text, scene->job, NULL);
}

static void
damage_reservation_text(struct fixture *f, const struct scene *scene)
{
	(void)scene;
	redis_do(f, "HSET", seqs.text, OLD_JOB, "garbage");
}

static void
damage_leftover(struct fixture *f, const struct scene *scene)
{
	(void)scene;
	(void)fixture_accept(f->catalog, "a", OLD_JOB);
}

static void
damage_orphan(struct fixture *f, const struct scene *scene)
{
	struct key key = key_document(fixture_uid(f->catalog), STR("nobody"));

	(void)scene;
	redis_do(f, "HSET", key.text, "x", "3");
}

static void
damage_orphan_collection(struct fixture *f, const struct scene *scene)
{
	struct key key = key_document(STR("01jdcx7m2v5q8r3s6t9w1y4z7b"), STR("nobody"));

	(void)scene;
	redis_do(f, "HSET", key.text, "g", "1.1");
}

static void
damage_name(struct fixture *f, const struct scene *scene)
{
	(void)scene;
	redis_do(f, "HSET", key_collections().text, "nowhere", "01jdcx7m2v5q8r3s6t9w1y4z7b");
}

static void
damage_name_of_another(struct fixture *f, const struct scene *scene)
{
	(void)scene;
	redis_do(f, "HSET", key_collections().text, "alias", f->catalog->col.uid);
}

static void
damage_record_unreadable(struct fixture *f, const struct scene *scene)
{
	(void)scene;
	redis_do(f, "HDEL", meta.text, "name", NULL);
}

static void
damage_store_lost(struct fixture *f, const struct scene *scene)
{
	MUST(f->store->ops->remove_generation(f->store, fixture_uid(f->catalog), STR("a"),
					      str_of(scene->a_gen), e));
}

static void
damage_store_more(struct fixture *f, const struct scene *scene)
{
	put(f->store, fixture_uid(f->catalog), "a", scene->a_gen, 4);
}

static void
damage_store_less(struct fixture *f, const struct scene *scene)
{
	put(f->store, fixture_uid(f->catalog), "b", scene->b_gen, 4);
}

static const struct damage {
	const char *name;
	void (*plant)(struct fixture *f, const struct scene *scene);
	const char *check;
} damages[] = {
	{ "chunks counter", damage_counter, "counters" },
	{ "documents counter", damage_documents_counter, "counters" },
	{ "bytes counter", damage_bytes_counter, "counters" },
	{ "other generation for readers", damage_current, "document" },
	{ "not seen by readers", damage_current_lost, "document" },
	{ "seen by readers only", damage_current_extra, "counters" },
	{ "not listed", damage_unlisted, "counters" },
	{ "record lost", damage_record_lost, "document" },
	{ "tombstone beside a generation", damage_tombstone_beside, "document" },
	{ "one reservation too many", damage_reservation_count, "reservation" },
	{ "reservation lost", damage_reservation_lost, "reservation" },
	{ "reservation unreadable", damage_reservation_text, "reservation" },
	{ "reservation of a job long gone", damage_leftover, "reservation" },
	{ "record of nothing", damage_orphan, "orphan" },
	{ "record of no collection", damage_orphan_collection, "orphan" },
	{ "name of no record", damage_name, "collection" },
	{ "name of another's record", damage_name_of_another, "collection" },
	{ "unreadable record", damage_record_unreadable, "collection" },
	{ "chunks lost in the store", damage_store_lost, "store" },
	{ "too many chunks in the store", damage_store_more, "store" },
	{ "too few chunks in the store", damage_store_less, "store" },
};

static void
test_damage(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		struct scene scene;
		AUTO(report) struct report report;
		bool found = false;

		make_scene(f, &scene);
		meta = key_catalog(fixture_uid(f->catalog), CK_META);
		cur = key_catalog(fixture_uid(f->catalog), CK_CUR);
		docs = key_catalog(fixture_uid(f->catalog), CK_DOCS);
		seqs = key_catalog(fixture_uid(f->catalog), CK_SEQS);
		doc_a = key_document(fixture_uid(f->catalog), STR("a"));
		doc_b = key_document(fixture_uid(f->catalog), STR("b"));
		expect_sound(f);
		damages[i].plant(f, &scene);
		assert_false(run(f, cron_verify, &report));
		print_message("%s:\n", damages[i].name);
		print_problems(&report);
		for (int64_t p = 0; p < report.problem_count; p++)
			found = found || strcmp(report.problems[p].check, damages[i].check) == 0;
		assert_true(found);
	}
}

/* ---- cleanup ---- */

static void
test_cleanup(void **state)
{
	struct fixture *f = *state;
	struct str uid;
	struct scene scene;
	AUTO(report) struct report before;
	AUTO(report) struct report clean;
	AUTO(report) struct report again;
	AUTO(report) struct report after;

	make_scene(f, &scene);
	uid = fixture_uid(f->catalog);
	/* a worker killed before its commit, long ago; a sweep that never came; an unknown document */
	int64_t seq = fixture_accept(f->catalog, "lost", OLD_JOB);
	char lost_gen[CATALOG_GEN_BYTES];

	catalog_gen_format(lost_gen, seq, 1);
	put(f->store, uid, "lost", lost_gen, 2);
	put(f->store, uid, "a", "1.9", 1);
	put(f->store, uid, "unknown", "900.1", 1);
	put(f->store, STR("01jdcx7m2v5q8r3s6t9w1y4z7b"), "a", "1.1", 3);

	(void)run(f, cron_verify, &before);
	assert_int_equal(figure(&before, "catalog", "leftover reservations"), 1);
	assert_int_equal(figure(&before, "store", "garbage"), 2 + 1);
	assert_int_equal(figure(&before, "store", "in flight"), 2);

	assert_true(run(f, cron_cleanup, &clean));
	assert_int_equal(figure(&clean, "catalog", "reservations released"), 1);
	assert_int_equal(figure(&clean, "store", "generations removed"), 4);
	assert_int_equal(count_chunks(f, "a", scene.a_gen), 3);
	assert_int_equal(count_chunks(f, "b", scene.b_gen), 5);
	assert_int_equal(count_chunks(f, "b", scene.busy_gen), 2); /* still in flight */
	assert_int_equal(count_chunks(f, "lost", lost_gen), 0);
	assert_int_equal(count_chunks(f, "a", "1.9"), 0);

	assert_true(run(f, cron_cleanup, &again));
	assert_int_equal(figure(&again, "store", "generations removed"), 0);
	assert_true(run(f, cron_verify, &after));
	assert_int_equal(figure(&after, "store", "garbage"), 0);
	/* The ingest in flight is not disturbed. */
	int64_t busy_seq, epoch;

	assert_true(catalog_gen_parse(str_of(scene.busy_gen), &busy_seq, &epoch));
	assert_int_equal(fixture_commit(f->catalog, "b", scene.job, busy_seq, epoch, "w", 2),
			 CATALOG_COMMITTED);
	fixture_release(f->catalog, scene.job);
	expect_sound(f);
}

static void
test_cleanup_of_a_collection(void **state)
{
	struct fixture *f = *state;
	struct scene scene;
	AUTO(report) struct report clean;
	AUTO(report) struct report after;
	AUTO_PTR(reply_free) struct reply *keys = NULL;
	char pattern[96];

	make_scene(f, &scene);
	MUST(catalog_delete(f->catalog->redis, str_of(f->catalog->col.name),
			    fixture_uid(f->catalog), e));
	assert_true(run(f, cron_cleanup, &clean));
	assert_int_equal(figure(&clean, "catalog", "collections purged"), 1);
	assert_int_equal(count_chunks(f, "a", scene.a_gen), 0);
	(void)snprintf(pattern, sizeof(pattern), "*%s*", f->catalog->col.uid);
	MUST(REDIS_CALL(f->catalog->redis, &keys, e, "KEYS", pattern));
	assert_int_equal(reply_len(keys), 0);
	assert_true(run(f, cron_verify, &after));
	assert_int_equal(figure(&after, "catalog", "collections to purge"), 0);
	assert_int_equal(figure(&after, "store", "generations"), 0);
}

/* ---- reservations and their jobs ---- */

static void
submit(struct fixture *f, const char *id)
{
	struct queue_submit job = { .queue = { "ingest", 0 },
				    .id = id,
				    .type = "ingest",
				    .collection = "c",
				    .payload = STR("payload"),
				    .max_starts = 3,
				    .max_failures = 3,
				    .max_jobs = 100,
				    .max_bytes = 1000000 };
	struct queue_submitted submitted;

	MUST(queue_submit(f->catalog->redis, &job, &submitted, e));
}

static void
test_reservations_follow_jobs(void **state)
{
	struct fixture *f = *state;
	const struct queue_keep_opts retention = { .done_max_age_ms = 100000 };
	char waiting[JOB_ID_BYTES], cancelled[JOB_ID_BYTES], young[JOB_ID_BYTES];
	struct queue_ref queue = { "ingest", 0 };
	struct job job;
	int64_t released;
	AUTO(report) struct report report;

	empty_all(f);
	fixture_collection(f->catalog);
	job_id_new(queue, waiting);
	job_id_new(queue, cancelled);
	job_id_new(queue, young);
	MUST(queue_ensure_group(f->catalog->redis, queue, e));
	submit(f, waiting);
	submit(f, cancelled);
	int64_t seq = fixture_accept(f->catalog, "a", waiting);

	(void)fixture_accept(f->catalog, "b", cancelled);
	(void)fixture_accept(f->catalog, "c", young); /* accepted, its submit is on the way */
	(void)fixture_accept(f->catalog, "d", OLD_JOB);
	MUST(queue_cancel(f->catalog->redis, str_of(cancelled), &retention, &job, e));
	assert_int_equal(job.status, JOB_CANCELLED);

	assert_false(
		run(f, cron_verify, &report)); /* the old one is a problem, the fresh one is none */
	assert_int_equal(report.problem_count, 1);
	assert_int_equal(figure(&report, "catalog", "leftover reservations"), 2);
	assert_int_equal(figure(&report, "catalog", "reservations"), 2);
	MUST(catalog_sweep(f->catalog->redis, &released, e));
	assert_int_equal(released, 2);
	expect_sound(f);
	assert_int_equal(fixture_commit(f->catalog, "a", waiting, seq, 1, "v", 1),
			 CATALOG_COMMITTED);
}

/* Between reserving and adding a line has no job: while its batch is open the reservation is in use. */
static void
test_reservations_of_lines_follow_their_batch(void **state)
{
	struct fixture *f = *state;
	struct redis *redis = f->catalog->redis;
	struct batch_upload upload = { .queue = { "ingest", 0 },
				       .lease_ms = 1000000,
				       .collection = "c",
				       .tenant = "default",
				       .fingerprint = STR("f"),
				       .type = "ingest" };
	char line[JOB_ID_BYTES], unknown[JOB_ID_BYTES], other[JOB_ID_BYTES];
	enum batch_opened opened;
	struct job job;
	int64_t released;

	empty_all(f);
	fixture_collection(f->catalog);
	job_id_new(upload.queue, upload.id);
	id_ulid(upload.token);
	MUST(queue_ensure_group(redis, upload.queue, e));
	MUST(batch_open(redis, &upload, &opened, &job, e));
	job_id_child(upload.id, 12, line);
	int64_t seq = fixture_accept(f->catalog, "a", line);

	job_id_new(upload.queue, unknown);
	job_id_child(unknown, 1, other);
	(void)fixture_accept(f->catalog, "b", other); /* of a batch that was forgotten */
	MUST(catalog_sweep(redis, &released, e));
	assert_int_equal(released, 1);
	MUST(batch_seal(redis, &upload, false, &job, e));
	assert_true(job_status_done(job.status));
	MUST(catalog_sweep(redis, &released, e)); /* the upload may be repeated at this moment */
	assert_int_equal(released, 0);
	assert_int_equal(fixture_commit(f->catalog, "a", line, seq, 1, "v", 1), CATALOG_COMMITTED);
}

/* ---- beside a writer ---- */

struct writer {
	struct fixture *f;
	struct redis *redis;
	atomic_bool stop;
	atomic_int rounds;
	char wrong[256];
};

static bool
write_once(struct writer *w, const char *doc, const char *job, struct err *err)
{
	struct str uid = fixture_uid(w->f->catalog), id = str_of(doc);
	struct catalog_commit commit = { .uid = uid,
					 .document_id = id,
					 .job_id = str_of(job),
					 .epoch = 1,
					 .fingerprint = STR("fp"),
					 .bytes = 7,
					 .chunks = 1 + w->rounds % 5 };
	enum catalog_commit_result result;
	char gen[CATALOG_GEN_BYTES], old[CATALOG_GEN_BYTES];
	bool existed;

	if (w->rounds % 7 == 6)
		return catalog_delete_document(w->redis, uid, id, str_of(job), &commit.seq,
					       &existed, err) &&
		       w->f->store->ops->remove_older(w->f->store, uid, id, commit.seq, STR(""),
						      err) &&
		       catalog_release(w->redis, uid, str_of(job), err);
	if (!catalog_accept(w->redis, uid, id, str_of(job), &commit.seq, err))
		return false;
	catalog_gen_format(gen, commit.seq, 1);
	put(w->f->store, uid, doc, gen, (size_t)commit.chunks);
	return catalog_commit(w->redis, &commit, &result, old, err) &&
	       w->f->store->ops->remove_older(w->f->store, uid, id, commit.seq, str_of(gen), err) &&
	       catalog_release(w->redis, uid, str_of(job), err);
}

static void *
writer_main(void *arg)
{
	struct writer *w = arg;
	struct err err = ERR_INIT;

	for (; !atomic_load(&w->stop); atomic_fetch_add(&w->rounds, 1)) {
		char doc[32], job[JOB_ID_BYTES];

		(void)snprintf(doc, sizeof(doc), "doc%d", w->rounds % 10);
		job_id_new((struct queue_ref){ "ingest", 0 }, job);
		if (!write_once(w, doc, job, &err)) {
			(void)str_copy(w->wrong, sizeof(w->wrong), str_of(err.msg));
			atomic_store(&w->rounds, WRITES);
			break;
		}
	}
	return NULL;
}

static void
test_beside_a_writer(void **state)
{
	struct fixture *f = *state;
	struct writer writer = { .f = f };
	pthread_t thread;
	int looks = 0;

	empty_all(f);
	fixture_collection(f->catalog);
	writer.redis = redis_server_connect(f->catalog->server);
	assert_int_equal(pthread_create(&thread, NULL, writer_main, &writer), 0);
	for (; atomic_load(&writer.rounds) < WRITES; looks++) {
		AUTO(report) struct report clean;

		expect_sound(f);
		assert_true(run(f, cron_cleanup, &clean));
	}
	atomic_store(&writer.stop, true);
	(void)pthread_join(thread, NULL);
	redis_free(writer.redis);
	assert_string_equal(writer.wrong, "");
	expect_sound(f);
	print_message("%d times verify and cleanup beside %d writes\n", looks,
		      atomic_load(&writer.rounds));
}

/* ---- keep ---- */

static void
test_keep(void **state)
{
	struct fixture *f = *state;
	struct queue_ref queue = { "ingest", 0 };
	struct queue_entry entry;
	struct queue_started started;
	struct job job;
	char id[JOB_ID_BYTES];
	bool got;
	AUTO(arena) struct arena arena = { .max_bytes = 1 << 20 };
	AUTO(report) struct report idle;
	AUTO(report) struct report report;

	empty_all(f);
	MUST(queue_ensure_group(f->catalog->redis, queue, e));
	assert_true(run(f, cron_keep, &idle));
	assert_int_equal(figure(&idle, "ingest", "reaped"), 0);
	job_id_new(queue, id);
	submit(f, id);
	MUST(queue_fetch(f->catalog->redis, queue, "gone-worker", 0, &got, &entry, e));
	assert_true(got);
	const struct queue_start how = { "gone-worker", 1000, &arena };

	MUST(queue_start(f->catalog->redis, queue, &entry, &how, &started, e));
	assert_int_equal(started.result, QUEUE_STARTED);
	/* Nobody renews: after one lease of unbroken connection the job is given to others. As in rag-cron, the
	 * connection is a new one, and keep waits for it to be a lease old. */
	redis_do(f, "DEL", key_lock(queue, "keep").text, NULL, NULL); /* of the keep above */
	redis_disconnect(f->catalog->redis);
	assert_true(run(f, cron_keep, &report));
	assert_int_equal(figure(&report, "ingest", "reaped"), 1);
	MUST(queue_get(f->catalog->redis, str_of(id), &job, e));
	assert_true(job.status == JOB_RETRYING || job.status == JOB_QUEUED);
	expect_sound(f);
}

/* ---- the program ---- */

static int
rag_cron(struct fixture *f, const char *redis_url, const char *const *argv)
{
	char data_dir[128], url[256];
	struct process *process;
	int code;

	(void)snprintf(data_dir, sizeof(data_dir), "DATA_DIR=%s", f->folder);
	(void)snprintf(url, sizeof(url), "REDIS_URL=%s", redis_url);
	process = process_start(argv, (const char *const[]){ data_dir, url, NULL });
	code = process_wait(process);
	process_stop(process);
	return code;
}

#define RAG_CRON(f, url, ...)                                                                      \
	rag_cron((f), (url), (const char *const[]){ "rag-cron", __VA_ARGS__, NULL })

static void
test_program(void **state)
{
	struct fixture *f = *state;
	const char *url = redis_server_url(f->catalog->server);
	struct scene scene;

	make_scene(f, &scene);
	assert_int_equal(RAG_CRON(f, url, "verify"), 0);
	assert_int_equal(RAG_CRON(f, url, "--json", "verify"), 0);
	assert_int_equal(RAG_CRON(f, url, "cleanup"), 0);
	assert_int_equal(RAG_CRON(f, url, "keep"), 0);
	meta = key_catalog(fixture_uid(f->catalog), CK_META);
	damage_counter(f, &scene);
	assert_int_equal(RAG_CRON(f, url, "verify"), 1);
	assert_int_equal(RAG_CRON(f, url, "verify", "--json"), 1);

	assert_int_equal(RAG_CRON(f, url, "--help"), 0);
	assert_int_equal(RAG_CRON(f, url, "--version"), 0);
	assert_int_equal(RAG_CRON(f, url, "polish"), 64);
	assert_int_equal(RAG_CRON(f, url, "--loud", "verify"), 64);
	assert_int_equal(RAG_CRON(f, url, "verify", "keep"), 64);
	assert_int_equal(RAG_CRON(f, url, "verify", "--config"), 64);
	assert_int_equal(RAG_CRON(f, url, "--json"), 64);
	assert_int_equal(RAG_CRON(f, "http://nonsense", "verify"), 78);
	assert_int_equal(RAG_CRON(f, url, "--config", "/nonexistent.yaml", "verify"), 78);
	assert_int_equal(RAG_CRON(f, "unix:///nonexistent.sock", "verify"), 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sound),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_cleanup),
		cmocka_unit_test(test_cleanup_of_a_collection),
		cmocka_unit_test(test_reservations_follow_jobs),
		cmocka_unit_test(test_reservations_of_lines_follow_their_batch),
		cmocka_unit_test(test_beside_a_writer),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_program),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
