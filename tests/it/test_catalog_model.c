/*
 * A random walk over the catalog beside a model that never forgets: no tombstone, no seq, no reservation. The
 * catalog forgets whenever it may; every answer and every counter must be as if it did not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "tests/support/catalog_fixture.h"

#define DOCS 7
#define JOBS 4000
#define STEPS 3500
#define IN_FLIGHT 24 /* only the newest are likely to move, all may */
#define VERSIONS 3

struct model_doc {
	bool visible;
	int64_t gen_seq, gen_epoch;
	int64_t newest; /* seq of the visible version, and for ever after */
	int64_t tombstone;
	int64_t chunks;
	int version;
};

struct model_job {
	int doc;
	bool is_delete, released, existed;
	int64_t seq, epoch;
	int version;
};

struct model {
	struct catalog_fixture *f;
	uint64_t random;
	struct model_doc docs[DOCS];
	struct model_job jobs[JOBS];
	int job_count;
	int64_t last_seq, epoch;
	int commits, superseded, deletes, touches, repeats;
};

static unsigned
pick(struct model *m, unsigned below)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 7;
	m->random ^= m->random << 17;
	return (unsigned)(m->random >> 33) % below;
}

static const char *
doc_name(int doc)
{
	static const char *const names[DOCS] = { "a",	     "b b", "c}",     "{d",
						 "\xc3\xa9", "f:f", "g 1 i g" };

	return names[doc];
}

static const char *
job_name(int job)
{
	static char text[32];

	(void)snprintf(text, sizeof(text), "ingest-0-%d", job);
	return text;
}

static const char *
version_name(int version)
{
	static const char *const names[VERSIONS] = { "alpha", "beta", "gamma" };

	return names[version];
}

static int
some_job(struct model *m)
{
	int span = pick(m, 8) == 0 ? m->job_count : IN_FLIGHT;

	if (span > m->job_count)
		span = m->job_count;
	return m->job_count - 1 - (int)pick(m, (unsigned)span);
}

static void
step_accept(struct model *m, bool is_delete)
{
	int index = m->job_count++;
	struct model_job *job = &m->jobs[index];
	struct model_doc *doc;

	job->doc = (int)pick(m, DOCS);
	job->is_delete = is_delete;
	job->version = (int)pick(m, VERSIONS);
	doc = &m->docs[job->doc];
	if (!is_delete) {
		job->seq = fixture_accept(m->f, doc_name(job->doc), job_name(index));
	} else {
		job->seq = fixture_delete(m->f, doc_name(job->doc), job_name(index), &job->existed);
		assert_int_equal(job->existed, doc->visible);
		m->epoch += doc->visible;
		doc->visible = false;
		doc->tombstone = job->seq;
		m->deletes++;
	}
	assert_int_equal(job->seq, ++m->last_seq);
}

/* The call of an earlier accept or delete once more. */
static void
step_repeat(struct model *m, int index)
{
	struct model_job *job = &m->jobs[index];
	bool existed;

	if (job->released)
		return; /* nobody repeats the acceptance of a job that is over */
	if (job->is_delete) {
		assert_int_equal(fixture_delete(m->f, doc_name(job->doc), job_name(index),
						&existed),
				 job->seq);
		assert_int_equal(existed, job->existed);
	} else {
		assert_int_equal(fixture_accept(m->f, doc_name(job->doc), job_name(index)),
				 job->seq);
	}
	m->repeats++;
}

static bool
model_commit(struct model *m, struct model_job *job, int64_t epoch, int64_t chunks)
{
	struct model_doc *doc = &m->docs[job->doc];

	if (doc->visible && doc->gen_seq == job->seq && doc->gen_epoch == epoch)
		return true; /* a repeated one: nothing changes */
	if (job->released || job->seq <= doc->tombstone || job->seq < doc->newest)
		return false;
	if (doc->visible && doc->gen_seq == job->seq && doc->gen_epoch > epoch)
		return false;
	*doc = (struct model_doc){ .visible = true,
				   .gen_seq = job->seq,
				   .gen_epoch = epoch,
				   .newest = job->seq,
				   .tombstone = doc->tombstone,
				   .chunks = chunks,
				   .version = job->version };
	m->epoch++;
	return true;
}

static void
step_commit(struct model *m, int index)
{
	struct model_job *job = &m->jobs[index];
	int64_t chunks = 1 + (int64_t)pick(m, 9);
	int64_t epoch = job->epoch;

	if (job->is_delete)
		return;
	if (pick(m, 3) > 0 || epoch == 0)
		epoch = ++job->epoch; /* the next start */
	else
		epoch = 1 + (int64_t)pick(m, (unsigned)epoch); /* a stale or repeated one */

	bool expected = model_commit(m, job, epoch, chunks);
	enum catalog_commit_result result =
		fixture_commit(m->f, doc_name(job->doc), job_name(index), job->seq, epoch,
			       version_name(job->version), chunks);

	assert_int_equal(result == CATALOG_COMMITTED, expected);
	m->commits += expected;
	m->superseded += !expected;
}

static void
step_touch(struct model *m, int index)
{
	struct model_job *job = &m->jobs[index];
	struct model_doc *doc = &m->docs[job->doc];
	bool expected = doc->visible && doc->version == job->version &&
			(job->seq == doc->newest || (job->seq > doc->newest && !job->released));

	if (job->is_delete)
		return;
	assert_int_equal(fixture_touch(m->f, doc_name(job->doc), job_name(index), job->seq,
				       version_name(job->version)),
			 expected);
	if (expected)
		doc->newest = job->seq;
	m->touches += expected;
}

static void
step_release(struct model *m, int index)
{
	m->jobs[index].released = true;
	fixture_release(m->f, job_name(index));
}

static void
check_counters(struct model *m)
{
	struct collection col = fixture_counters(m->f);
	int64_t documents = 0, chunks = 0;

	for (int d = 0; d < DOCS; d++) {
		documents += m->docs[d].visible;
		chunks += m->docs[d].visible ? m->docs[d].chunks : 0;
	}
	assert_int_equal(col.documents, documents);
	assert_int_equal(col.chunks, chunks);
	assert_int_equal(col.bytes, chunks * 10);
	assert_int_equal(col.epoch, m->epoch);
}

static void
check_documents(struct model *m)
{
	struct document *docs;
	size_t count, visible = 0;
	struct err err = ERR_INIT;
	AUTO(arena) struct arena arena = { .max_bytes = 1 << 20 };

	for (int d = 0; d < DOCS; d++) {
		const struct model_doc *doc = &m->docs[d];
		char gen[CATALOG_GEN_BYTES] = "";

		if (doc->visible)
			catalog_gen_format(gen, doc->gen_seq, doc->gen_epoch);
		assert_string_equal(fixture_gen(m->f, doc_name(d)), gen);
	}
	count = 100;
	assert_true(catalog_documents(m->f->redis, fixture_uid(m->f), STR(""), &arena, &docs,
				      &count, &err));
	for (size_t i = 0; i < count; i++) {
		for (int d = 0; d < DOCS; d++) {
			if (!str_eq_c(docs[i].id, doc_name(d)))
				continue;
			visible++;
			assert_true(m->docs[d].visible);
			assert_int_equal(docs[i].seq, m->docs[d].newest);
			assert_int_equal(docs[i].chunks, m->docs[d].chunks);
			assert_true(str_eq_c(docs[i].title, version_name(m->docs[d].version)));
		}
	}
	assert_int_equal(visible, count);
	for (int d = 0; d < DOCS; d++)
		count -= m->docs[d].visible;
	assert_int_equal(count, 0);
}

static void
walk_step(struct model *m)
{
	unsigned what = pick(m, 100);

	if (m->job_count < JOBS && (m->job_count == 0 || what < 30))
		step_accept(m, what < 6);
	else if (what < 65)
		step_commit(m, some_job(m));
	else if (what < 75)
		step_touch(m, some_job(m));
	else if (what < 82)
		step_repeat(m, some_job(m));
	else
		step_release(m, some_job(m));
}

static int64_t
keys_of_collection(struct model *m)
{
	char pattern[96];
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct err err = ERR_INIT;

	(void)snprintf(pattern, sizeof(pattern), "*{c:%s}*", m->f->col.uid);
	assert_true(REDIS_CALL(m->f->redis, &reply, &err, "KEYS", pattern));
	return (int64_t)reply_len(reply);
}

static void
walk(struct catalog_fixture *f, uint64_t seed)
{
	static struct model model;
	struct model *m = &model;
	int64_t visible;

	fixture_collection(f);
	*m = (struct model){ .f = f, .random = seed, .epoch = 1 };
	for (int step = 0; step < STEPS; step++) {
		walk_step(m);
		check_counters(m);
		if (step % 20 == 0)
			check_documents(m);
	}
	check_documents(m);
	/* All jobs over: what is left is what readers see, and nothing else. */
	for (int i = 0; i < m->job_count; i++)
		step_release(m, i);
	check_counters(m);
	check_documents(m);
	visible = fixture_counters(f).documents;
	assert_int_equal(keys_of_collection(m), 1 + (visible > 0 ? visible + 2 : 0));
	print_message("seed %llu: %d jobs, %d commits, %d superseded, %d deletes, %d touches, %d "
		      "repeats\n",
		      (unsigned long long)seed, m->job_count, m->commits, m->superseded, m->deletes,
		      m->touches, m->repeats);
	assert_true(m->commits > 200 && m->superseded > 200 && m->deletes > 50 && m->touches > 20);
}

static void
test_random_walks(void **state)
{
	walk(*state, 20261123);
	walk(*state, 7);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_random_walks) };

	return cmocka_run_group_tests(tests, catalog_fixture_setup, catalog_fixture_teardown);
}
