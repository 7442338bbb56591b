/*
 * The catalog's promises as stories: versions in both orders, deletes in between, stale workers, lost replies,
 * collections that come and go, and a reader beside a writer that replaces a document a thousand times.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/keys.h"
#include "common/sha256.h"
#include "tests/support/catalog_fixture.h"

#define ARENA(name) AUTO(arena) struct arena name = { .max_bytes = (size_t)16 << 20 }

static void
gen_is(struct catalog_fixture *f, const char *doc, int64_t seq, int64_t epoch)
{
	char gen[CATALOG_GEN_BYTES];

	catalog_gen_format(gen, seq, epoch);
	assert_string_equal(fixture_gen(f, doc), gen);
}

static void
counters_are(struct catalog_fixture *f, int64_t documents, int64_t chunks)
{
	struct collection col = fixture_counters(f);

	assert_int_equal(col.documents, documents);
	assert_int_equal(col.chunks, chunks);
	assert_int_equal(col.bytes, chunks * 10);
}

static struct document
peek(struct catalog_fixture *f, const char *id, struct arena *arena)
{
	struct document doc;
	struct err err = ERR_INIT;

	assert_true(catalog_peek(f->redis, fixture_uid(f), str_of(id), arena, &doc, &err));
	return doc;
}

/* ---- names ---- */

static void
test_names(void **state)
{
	struct err err = ERR_INIT;
	char text[CATALOG_DOC_ID_MAX_BYTES + 2];
	int64_t seq, epoch;

	(void)state;
	(void)memset(text, 'a', sizeof(text));
	assert_true(catalog_name_valid(STR("a"), &err));
	assert_true(catalog_name_valid(STR("0-my_docs"), &err));
	assert_true(catalog_name_valid(str_make(text, CATALOG_NAME_MAX), &err));
	assert_false(catalog_name_valid(str_make(text, CATALOG_NAME_MAX + 1), &err));
	assert_int_equal(err.code, ERR_INVALID);
	assert_false(catalog_name_valid(STR(""), &err));
	assert_false(catalog_name_valid(STR("-a"), &err));
	assert_false(catalog_name_valid(STR("_a"), &err));
	assert_false(catalog_name_valid(STR("A"), &err));
	assert_false(catalog_name_valid(STR("a b"), &err));
	assert_false(catalog_name_valid(STR("a}"), &err));

	assert_true(catalog_doc_id_valid(STR("docs/a b {c} \xc3\xa9.html"), &err));
	assert_true(catalog_doc_id_valid(str_make(text, CATALOG_DOC_ID_MAX_BYTES), &err));
	assert_false(catalog_doc_id_valid(str_make(text, CATALOG_DOC_ID_MAX_BYTES + 1), &err));
	assert_false(catalog_doc_id_valid(STR(""), &err));
	assert_false(catalog_doc_id_valid(STR("a\nb"), &err));
	assert_false(catalog_doc_id_valid(STR("a\x7f"), &err));
	assert_false(catalog_doc_id_valid(STR("a\xc2\x85"), &err)); /* NEL */
	assert_false(catalog_doc_id_valid(STR("a\xff"), &err));

	assert_true(catalog_gen_parse(STR("12.3"), &seq, &epoch));
	assert_int_equal(seq, 12);
	assert_int_equal(epoch, 3);
	assert_false(catalog_gen_parse(STR("12"), &seq, &epoch));
	assert_false(catalog_gen_parse(STR("12."), &seq, &epoch));
	assert_false(catalog_gen_parse(STR(".3"), &seq, &epoch));
	assert_false(catalog_gen_parse(STR("1.2.3"), &seq, &epoch));
	assert_false(catalog_gen_parse(STR("-1.2"), &seq, &epoch));
	assert_false(catalog_gen_parse(STR(""), &seq, &epoch));
}

/* ---- versions ---- */

static void
test_two_versions_newest_last(void **state)
{
	struct catalog_fixture *f = *state;
	ARENA(arena);

	fixture_collection(f);
	int64_t one = fixture_accept(f, "d", "j1"), two = fixture_accept(f, "d", "j2");

	assert_true(two > one);
	assert_int_equal(peek(f, "d", &arena).pending_seq, two);
	assert_true(str_eq_c(peek(f, "d", &arena).pending_job, "j2"));
	assert_int_equal(fixture_commit(f, "d", "j1", one, 1, "v1", 3), CATALOG_COMMITTED);
	gen_is(f, "d", one, 1);
	assert_int_equal(peek(f, "d", &arena).pending_seq, two);
	assert_int_equal(fixture_commit(f, "d", "j2", two, 1, "v2", 5), CATALOG_COMMITTED);
	gen_is(f, "d", two, 1);
	counters_are(f, 1, 5);
	fixture_release(f, "j1");
	fixture_release(f, "j2");
	gen_is(f, "d", two, 1);
	assert_int_equal(peek(f, "d", &arena).pending_seq, two);
}

static void
test_two_versions_newest_first(void **state)
{
	struct catalog_fixture *f = *state;

	fixture_collection(f);
	int64_t one = fixture_accept(f, "d", "j1"), two = fixture_accept(f, "d", "j2");

	assert_int_equal(fixture_commit(f, "d", "j2", two, 1, "v2", 5), CATALOG_COMMITTED);
	fixture_release(f, "j2");
	assert_int_equal(fixture_commit(f, "d", "j1", one, 7, "v1", 3), CATALOG_SUPERSEDED);
	gen_is(f, "d", two, 1);
	counters_are(f, 1, 5);
}

static void
test_stale_worker(void **state)
{
	struct catalog_fixture *f = *state;
	char old[CATALOG_GEN_BYTES], first[CATALOG_GEN_BYTES];
	enum catalog_commit_result result;
	struct err err = ERR_INIT;

	fixture_collection(f);
	int64_t seq = fixture_accept(f, "d", "j");

	/* The second start commits, then the first one wakes up. */
	assert_int_equal(fixture_commit(f, "d", "j", seq, 2, "v", 3), CATALOG_COMMITTED);
	assert_int_equal(fixture_commit(f, "d", "j", seq, 1, "v", 3), CATALOG_SUPERSEDED);
	gen_is(f, "d", seq, 2);
	/* A third start replaces the second and is told so. */
	assert_true(fixture_commit_err(f, &(struct fixture_commit){ "d", "j", seq, 3, "v", 3 },
				       &result, old, &err));
	catalog_gen_format(first, seq, 2);
	assert_int_equal(result, CATALOG_COMMITTED);
	assert_string_equal(old, first);
	fixture_release(f, "j");
	/* The job is over: even a greater epoch is refused, and its own is still answered. */
	assert_int_equal(fixture_commit(f, "d", "j", seq, 4, "v", 3), CATALOG_SUPERSEDED);
	assert_int_equal(fixture_commit(f, "d", "j", seq, 3, "v", 3), CATALOG_COMMITTED);
	gen_is(f, "d", seq, 3);
	counters_are(f, 1, 3);
}

static void
test_repeated_commit(void **state)
{
	struct catalog_fixture *f = *state;
	char old[CATALOG_GEN_BYTES], again[CATALOG_GEN_BYTES], before[41], after[41];
	enum catalog_commit_result result;
	struct err err = ERR_INIT;

	fixture_collection(f);
	int64_t one = fixture_accept(f, "d", "j1");

	assert_int_equal(fixture_commit(f, "d", "j1", one, 1, "v1", 3), CATALOG_COMMITTED);
	fixture_release(f, "j1");
	int64_t two = fixture_accept(f, "d", "j2");

	assert_true(fixture_commit_err(f, &(struct fixture_commit){ "d", "j2", two, 1, "v2", 4 },
				       &result, old, &err));
	fixture_digest(f, before);
	assert_true(fixture_commit_err(f, &(struct fixture_commit){ "d", "j2", two, 1, "v2", 4 },
				       &result, again, &err));
	fixture_digest(f, after);
	assert_int_equal(result, CATALOG_COMMITTED);
	assert_string_equal(
		old, again); /* so that the old generation is swept although the reply was lost */
	assert_string_equal(before, after);
	counters_are(f, 1, 4);
}

static void
test_bad_commits(void **state)
{
	struct catalog_fixture *f = *state;
	enum catalog_commit_result result;
	char old[CATALOG_GEN_BYTES];
	struct err err = ERR_INIT;

	fixture_collection(f);
	int64_t seq = fixture_accept(f, "d", "j");
	struct catalog_commit commit = { .uid = fixture_uid(f),
					 .document_id = STR("d"),
					 .job_id = STR("j"),
					 .seq = seq,
					 .epoch = 1,
					 .bytes = 1 };

	assert_false(catalog_commit(f->redis, &commit, &result, old, &err)); /* no chunks */
	assert_int_equal(err.code, ERR_INVALID);
	commit.chunks = 1;
	commit.version_hash = STR("not a hash");
	assert_false(catalog_commit(f->redis, &commit, &result, old, &err));
	assert_int_equal(err.code, ERR_INVALID);
	counters_are(f, 0, 0);
}

/* ---- deletes ---- */

/* Lua's -0 is no number for Redis: what was counted as 0 bytes must be taken off, too. */
static void
test_delete_of_no_bytes(void **state)
{
	struct catalog_fixture *f = *state;
	enum catalog_commit_result result;
	char old[CATALOG_GEN_BYTES];
	struct err err = ERR_INIT;
	bool existed;

	fixture_collection(f);
	const struct catalog_commit commit = { .uid = fixture_uid(f),
					       .document_id = STR("d"),
					       .job_id = STR("j"),
					       .seq = fixture_accept(f, "d", "j"),
					       .epoch = 1,
					       .chunks = 1 };

	assert_true(catalog_commit(f->redis, &commit, &result, old, &err));
	assert_int_equal(fixture_counters(f).chunks, 1);
	(void)fixture_delete(f, "d", "del", &existed);
	assert_true(existed);
	counters_are(f, 0, 0);
}

static void
test_delete_during_ingest(void **state)
{
	struct catalog_fixture *f = *state;
	struct document doc;
	struct err err = ERR_INIT;
	bool existed;
	ARENA(arena);

	fixture_collection(f);
	int64_t one = fixture_accept(f, "d", "j1");

	assert_int_equal(fixture_commit(f, "d", "j1", one, 1, "v1", 3), CATALOG_COMMITTED);
	int64_t epoch = fixture_counters(f).epoch, two = fixture_accept(f, "d", "j2");

	assert_true(fixture_delete(f, "d", "del", &existed) > two);
	assert_true(existed);
	assert_string_equal(fixture_gen(f, "d"), "");
	assert_int_equal(fixture_counters(f).epoch, epoch + 1);
	assert_false(catalog_document(f->redis, fixture_uid(f), STR("d"), &arena, &doc, &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_true(peek(f, "d", &arena).deleted);
	/* The delete's own job ends first; the tombstone must outlive it for the ingest's sake. */
	fixture_release(f, "del");
	fixture_release(f, "j1");
	assert_int_equal(fixture_commit(f, "d", "j2", two, 1, "v2", 3), CATALOG_SUPERSEDED);
	assert_string_equal(fixture_gen(f, "d"), "");
	counters_are(f, 0, 0);
	/* With the last reservation everything goes; the late worker still finds the door shut. */
	fixture_release(f, "j2");
	doc = peek(f, "d", &arena);
	assert_false(doc.deleted);
	assert_int_equal(doc.pending_seq, 0);
	assert_int_equal(fixture_commit(f, "d", "j2", two, 2, "v2", 3), CATALOG_SUPERSEDED);
	assert_string_equal(fixture_gen(f, "d"), "");
}

static void
test_recreate_after_delete(void **state)
{
	struct catalog_fixture *f = *state;
	bool existed;

	fixture_collection(f);
	int64_t one = fixture_accept(f, "d", "j1");

	assert_int_equal(fixture_commit(f, "d", "j1", one, 1, "v1", 3), CATALOG_COMMITTED);
	(void)fixture_delete(f, "d", "del", NULL);
	int64_t two = fixture_accept(f, "d", "j2");

	assert_int_equal(fixture_commit(f, "d", "j2", two, 1, "v2", 2), CATALOG_COMMITTED);
	gen_is(f, "d", two, 1);
	counters_are(f, 1, 2);
	/* The first job's worker wakes up; the delete's call arrives twice. */
	assert_int_equal(fixture_commit(f, "d", "j1", one, 1, "v1", 3), CATALOG_SUPERSEDED);
	(void)fixture_delete(f, "d", "del", &existed);
	assert_true(existed);
	fixture_release(f, "del");
	fixture_release(f, "j1");
	gen_is(f, "d", two, 1);
	counters_are(f, 1, 2);
	/* Deleting what is not there. */
	(void)fixture_delete(f, "nothing", "del2", &existed);
	assert_false(existed);
	fixture_release(f, "del2");
	counters_are(f, 1, 2);
}

static void
test_dead_job_commits_in_its_place(void **state)
{
	struct catalog_fixture *f = *state;

	/* "j1" fails for good and keeps its reservation; an operator retries it after v2 was deleted. */
	fixture_collection(f);
	int64_t one = fixture_accept(f, "d", "j1"), other = fixture_accept(f, "e", "j3");

	(void)fixture_delete(f, "d", "del", NULL);
	fixture_release(f, "del");
	assert_int_equal(fixture_commit(f, "d", "j1", one, 2, "v1", 3), CATALOG_SUPERSEDED);
	assert_int_equal(fixture_commit(f, "e", "j3", other, 2, "v1", 3), CATALOG_COMMITTED);
	counters_are(f, 1, 3);
}

/* ---- touch ---- */

static void
test_touch(void **state)
{
	struct catalog_fixture *f = *state;
	ARENA(arena);

	fixture_collection(f);
	int64_t one = fixture_accept(f, "d", "j1");

	assert_false(fixture_touch(f, "d", "j1", one, "same")); /* nothing there yet */
	assert_int_equal(fixture_commit(f, "d", "j1", one, 1, "same", 3), CATALOG_COMMITTED);
	fixture_release(f, "j1");
	/* A job started again after it gave its reservation back. */
	assert_true(fixture_touch(f, "d", "j1", one, "same"));

	/* v2 is different and in flight, v3 is v1's content again. */
	int64_t two = fixture_accept(f, "d", "j2"), three = fixture_accept(f, "d", "j3");
	int64_t epoch = fixture_counters(f).epoch;

	assert_false(fixture_touch(f, "d", "j2", two, "other"));
	assert_true(fixture_touch(f, "d", "j3", three, "same"));
	gen_is(f, "d", one, 1);
	assert_int_equal(peek(f, "d", &arena).seq, three);
	assert_int_equal(peek(f, "d", &arena).pending_seq, three);
	assert_int_equal(fixture_counters(f).epoch, epoch);
	assert_int_equal(fixture_commit(f, "d", "j2", two, 1, "other", 4), CATALOG_SUPERSEDED);
	gen_is(f, "d", one, 1);
	counters_are(f, 1, 3);
	assert_true(fixture_touch(f, "d", "j3", three, "same"));
	fixture_release(f, "j2");
	fixture_release(f, "j3");

	/* Content as before but a newer version of other content is visible. */
	int64_t four = fixture_accept(f, "d", "j4"), five = fixture_accept(f, "d", "j5");

	assert_int_equal(fixture_commit(f, "d", "j5", five, 1, "new", 2), CATALOG_COMMITTED);
	assert_false(fixture_touch(f, "d", "j4", four, "same"));
	assert_false(fixture_touch(f, "d", "j4", four, "new")); /* older seq: stays superseded */
	/* After a delete nothing is unchanged. */
	int64_t six = fixture_accept(f, "d", "j6");

	(void)fixture_delete(f, "d", "del", NULL);
	assert_false(fixture_touch(f, "d", "j6", six, "new"));
	assert_int_equal(fixture_commit(f, "d", "j6", six, 1, "new", 2), CATALOG_SUPERSEDED);
	counters_are(f, 0, 0);
}

static void
test_commit_after_own_touch(void **state)
{
	struct catalog_fixture *f = *state;

	/* Touched under one configuration, started again under another one that chunks differently. */
	fixture_collection(f);
	int64_t one = fixture_accept(f, "d", "j1");

	assert_int_equal(fixture_commit(f, "d", "j1", one, 1, "same", 3), CATALOG_COMMITTED);
	int64_t two = fixture_accept(f, "d", "j2");

	assert_true(fixture_touch(f, "d", "j2", two, "same"));
	assert_false(fixture_touch(f, "d", "j2", two, "rechunked"));
	assert_int_equal(fixture_commit(f, "d", "j2", two, 2, "rechunked", 6), CATALOG_COMMITTED);
	gen_is(f, "d", two, 2);
	counters_are(f, 1, 6);
}

/* ---- fingerprint ---- */

static void
test_fingerprint(void **state)
{
	struct catalog_fixture *f = *state;
	enum catalog_commit_result result;
	char old[CATALOG_GEN_BYTES], before[41], after[41];
	struct err err = ERR_INIT;

	fixture_collection(f);
	assert_string_equal(fixture_counters(f).fingerprint, "");
	int64_t one = fixture_accept(f, "a", "j1"), two = fixture_accept(f, "b", "j2");

	assert_int_equal(fixture_commit(f, "a", "j1", one, 1, "v", 3), CATALOG_COMMITTED);
	assert_string_equal(fixture_counters(f).fingerprint, "fp");
	const struct catalog_commit other = { .uid = fixture_uid(f),
					      .document_id = STR("b"),
					      .job_id = STR("j2"),
					      .seq = two,
					      .epoch = 1,
					      .fingerprint = STR("another"),
					      .bytes = 1,
					      .chunks = 1 };

	fixture_digest(f, before);
	assert_false(catalog_commit(f->redis, &other, &result, old, &err));
	assert_int_equal(err.code, ERR_EMBEDDER_MISMATCH);
	assert_non_null(strstr(err.msg, "'fp'"));
	fixture_digest(f, after);
	assert_string_equal(before, after);
}

/* ---- collections ---- */

static void
purge_all(struct catalog_fixture *f, const char *uid, int *out_calls)
{
	struct err err = ERR_INIT;
	bool more = true;

	for (*out_calls = 0; more && *out_calls < 100; (*out_calls)++)
		assert_true(catalog_purge(f->redis, str_of(uid), &more, &err));
	assert_false(more);
}

static int64_t
count_keys(struct catalog_fixture *f, const char *uid)
{
	char pattern[96];
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct err err = ERR_INIT;

	(void)snprintf(pattern, sizeof(pattern), "*{c:%s}*", uid);
	assert_true(REDIS_CALL(f->redis, &reply, &err, "KEYS", pattern));
	return (int64_t)reply_len(reply);
}

static void
test_collection_comes_and_goes(void **state)
{
	struct catalog_fixture *f = *state;
	struct collection old, col;
	struct err err = ERR_INIT;
	enum catalog_commit_result result;
	char gen[CATALOG_GEN_BYTES], id[16];
	int64_t seq, epoch;
	bool existed;
	int calls;

	fixture_collection(f);
	old = f->col;
	for (int i = 0; i < 230; i++) {
		(void)snprintf(id, sizeof(id), "d%d", i);
		seq = fixture_accept(f, id, id);
		if (i < 180)
			assert_int_equal(fixture_commit(f, id, id, seq, 1, "v", 1),
					 CATALOG_COMMITTED);
		if (i < 130)
			fixture_release(f, id);
	}
	assert_false(catalog_create(f->redis, str_of(old.name), STR(""), &col, &err));
	assert_int_equal(err.code, ERR_ALREADY_EXISTS);

	int64_t in_flight = fixture_accept(f, "d0", "late");

	assert_true(catalog_delete(f->redis, str_of(old.name), str_of(old.uid), &err));
	/* Readers and writers at once: */
	assert_string_equal(fixture_gen(f, "d0"), "");
	assert_false(catalog_epoch(f->redis, str_of(old.uid), &epoch, &err));
	assert_int_equal(err.code, ERR_GONE);
	assert_false(catalog_get_uid(f->redis, str_of(old.uid), &col, &err));
	assert_int_equal(err.code, ERR_GONE);
	assert_false(
		fixture_commit_err(f,
				   &(struct fixture_commit){ "d0", "late", in_flight, 1, "v", 1 },
				   &result, gen, &err));
	assert_int_equal(err.code, ERR_GONE);
	assert_false(catalog_accept(f->redis, str_of(old.uid), STR("d0"), STR("x"), &seq, &err));
	assert_int_equal(err.code, ERR_GONE);
	assert_false(catalog_delete_document(f->redis, str_of(old.uid), STR("d0"), STR("x"), &seq,
					     &existed, &err));
	assert_int_equal(err.code, ERR_GONE);

	/* The name is free; what is made anew under it has nothing of the old one. */
	assert_true(catalog_create(f->redis, str_of(old.name), STR("new"), &col, &err));
	assert_string_not_equal(col.uid, old.uid);
	assert_int_equal(col.documents, 0);
	assert_true(catalog_delete(f->redis, str_of(old.name), str_of(old.uid), &err)); /* again */
	assert_true(catalog_get(f->redis, str_of(old.name), &col, &err));
	assert_string_equal(col.description, "new");

	fixture_release(f, "late"); /* a job of the old one ends now */
	purge_all(f, old.uid, &calls);
	assert_true(calls >= 3); /* bounded steps */
	assert_int_equal(count_keys(f, old.uid), 0);
	assert_false(
		fixture_commit_err(f,
				   &(struct fixture_commit){ "d0", "late", in_flight, 1, "v", 1 },
				   &result, gen, &err));
	assert_int_equal(err.code, ERR_GONE);
	fixture_release(f, "late");
	assert_int_equal(count_keys(f, old.uid), 0);
	assert_true(catalog_get(f->redis, str_of(old.name), &col, &err));
}

static bool
dropped_has(struct catalog_fixture *f, const char *uid)
{
	struct err err = ERR_INIT;
	struct str *uids;
	size_t count;
	bool found = false;
	ARENA(arena);

	assert_true(catalog_dropped(f->redis, &arena, &uids, &count, &err));
	for (size_t i = 0; i < count; i++)
		found = found || str_eq_c(uids[i], uid);
	return found;
}

static void
test_dropped(void **state)
{
	struct catalog_fixture *f = *state;
	struct err err = ERR_INIT;
	struct key names = key_collections();
	char young[ID_ULID_BYTES], note[ID_ULID_BYTES + 1];
	const char *old = "01jdcx7m2v5q8r3s6t9w1y4z7b"; /* of 2024 */
	int calls;

	fixture_collection(f);
	assert_false(dropped_has(f, f->col.uid));
	assert_true(catalog_delete(f->redis, str_of(f->col.name), fixture_uid(f), &err));
	assert_true(dropped_has(f, f->col.uid));
	purge_all(f, f->col.uid, &calls);
	assert_false(dropped_has(f, f->col.uid));

	/* Creations that broke off: one just now, one long ago. */
	id_ulid(young);
	(void)snprintf(note, sizeof(note), "-%s", young);
	assert_true(REDIS_CALL(f->redis, NULL, &err, "HSET", names.text, note, "new"));
	(void)snprintf(note, sizeof(note), "-%s", old);
	assert_true(REDIS_CALL(f->redis, NULL, &err, "HSET", names.text, note, "new"));
	assert_false(dropped_has(f, young));
	assert_true(dropped_has(f, old));
	assert_true(catalog_delete(f->redis, STR(""), str_of(old), &err));
	assert_true(dropped_has(f, old));
	purge_all(f, old, &calls);
	assert_false(dropped_has(f, old));
}

static void
test_default_and_list(void **state)
{
	struct catalog_fixture *f = *state;
	struct collection col, again, *cols;
	struct err err = ERR_INIT;
	size_t count;
	bool seen = false;
	ARENA(arena);

	assert_true(REDIS_CALL(f->redis, NULL, &err, "FLUSHALL"));
	assert_true(catalog_get(f->redis, STR("default"), &col, &err));
	assert_true(catalog_get(f->redis, STR("default"), &again, &err));
	assert_string_equal(col.uid, again.uid);
	assert_string_equal(col.name, "default");
	assert_true(col.created_ms > 0);
	assert_false(catalog_get(f->redis, STR("other"), &col, &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_false(catalog_get(f->redis, STR("-x"), &col, &err)); /* a note is no name */
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_false(catalog_create(f->redis, STR("Bad Name"), STR(""), &col, &err));
	assert_int_equal(err.code, ERR_INVALID);

	assert_true(catalog_create(f->redis, STR("zebra"), STR(""), &col, &err));
	assert_true(catalog_create(f->redis, STR("ant"), STR("small"), &col, &err));
	assert_true(catalog_delete(f->redis, STR("default"), str_of(again.uid), &err));
	assert_true(catalog_list(f->redis, NULL, &arena, &cols, &count, &err));
	assert_int_equal(count, 3);
	for (size_t i = 0; i < count; i++) {
		assert_true(i == 0 || strcmp(cols[i - 1].name, cols[i].name) < 0);
		seen = seen || strcmp(cols[i].name, "default") == 0;
	}
	assert_true(seen);
	assert_true(catalog_set_description(f->redis, STR("ant"), STR("six legs"), &col, &err));
	assert_string_equal(col.description, "six legs");
	assert_false(catalog_set_description(f->redis, STR("bee"), STR("six legs"), &col, &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);

	/* A name whose record is lost, as after a damaged restore, can be made anew. */
	struct key meta = key_catalog(str_of(col.uid), CK_META);

	assert_true(REDIS_CALL(f->redis, NULL, &err, "DEL", meta.text));
	assert_false(catalog_get(f->redis, STR("ant"), &again, &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_true(catalog_create(f->redis, STR("ant"), STR(""), &again, &err));
	assert_string_not_equal(again.uid, col.uid);
}

/* ---- listing ---- */

static void
test_records(void **state)
{
	struct catalog_fixture *f = *state;
	char title[700], hash[SHA256_HEX_BYTES], old[CATALOG_GEN_BYTES];
	enum catalog_commit_result result;
	struct document doc;
	struct err err = ERR_INIT;
	ARENA(arena);

	fixture_collection(f);
	for (size_t i = 0; i + 2 <= sizeof(title); i += 2)
		(void)memcpy(title + i, "\xc3\xa9", 2); /* 350 times e acute: 512 bytes hold 256 */
	sha256_hex(STR("x"), hash);
	struct catalog_commit commit = {
		.uid = fixture_uid(f),
		.document_id = STR("d"),
		.job_id = STR("j"),
		.seq = fixture_accept(f, "d", "j"),
		.epoch = 1,
		.title = str_make(title, sizeof(title)),
		.uri = STR("u"),
		.content_type = STR("text/html"),
		.content_hash = str_of(hash),
		.version_hash = str_of(hash),
		.fingerprint = STR("fp"),
		.bytes = 7,
		.chunks = 2,
	};

	assert_true(catalog_commit(f->redis, &commit, &result, old, &err));
	assert_true(catalog_document(f->redis, fixture_uid(f), STR("d"), &arena, &doc, &err));
	assert_true(str_eq(doc.title, str_make(title, 512)));
	assert_true(str_eq_c(doc.uri, "u"));
	assert_true(str_eq_c(doc.content_type, "text/html"));
	assert_true(str_eq_c(doc.content_hash, hash));
	assert_true(str_eq_c(doc.version_hash, hash));
	assert_int_equal(doc.bytes, 7);
	assert_int_equal(doc.chunks, 2);
	assert_int_equal(doc.seq, commit.seq);
	assert_true(doc.created_ms > 0 && doc.updated_ms >= doc.created_ms);
	/* A shorter title leaves nothing of the longer one. */
	fixture_release(f, "j");
	commit.job_id = STR("k");
	commit.seq = fixture_accept(f, "d", "k");
	commit.title = STR("short");
	commit.uri = STR("");
	assert_true(catalog_commit(f->redis, &commit, &result, old, &err));
	int64_t created_ms = doc.created_ms;

	assert_true(catalog_document(f->redis, fixture_uid(f), STR("d"), &arena, &doc, &err));
	assert_true(str_eq_c(doc.title, "short"));
	assert_int_equal(doc.uri.len, 0);
	assert_int_equal(doc.created_ms, created_ms);
}

static size_t
list_all(struct catalog_fixture *f, size_t limit, struct arena *arena, struct str *out, size_t max)
{
	struct str after = STR("");
	size_t total = 0, count = limit;
	struct err err = ERR_INIT;

	while (count == limit) {
		struct document *docs;

		count = limit;
		assert_true(catalog_documents(f->redis, fixture_uid(f), after, arena, &docs, &count,
					      &err));
		assert_true(count <= limit);
		for (size_t i = 0; i < count; i++) {
			assert_true(total < max);
			assert_true(total == 0 || str_cmp(out[total - 1], docs[i].id) < 0);
			out[total++] = docs[i].id;
		}
		if (count > 0)
			after = docs[count - 1].id;
	}
	return total;
}

static void
test_listing(void **state)
{
	struct catalog_fixture *f = *state;
	struct str ids[400];
	char id[32];
	ARENA(arena);

	fixture_collection(f);
	assert_int_equal(list_all(f, 10, &arena, ids, ARRAY_SIZE(ids)), 0);
	for (int i = 0; i < 260; i++) {
		(void)snprintf(id, sizeof(id), i % 3 ? "doc %03d" : "\xc3\xa9t\xc3\xa9 %03d", i);
		int64_t seq = fixture_accept(f, id, id);

		if (i < 250) /* the last ten stay in flight and must not be listed */
			assert_int_equal(fixture_commit(f, id, id, seq, 1, "v", 1),
					 CATALOG_COMMITTED);
	}
	assert_int_equal(list_all(f, 7, &arena, ids, ARRAY_SIZE(ids)), 250);
	assert_int_equal(list_all(f, 1000, &arena, ids, ARRAY_SIZE(ids)), 250);
	assert_int_equal(list_all(f, 125, &arena, ids, ARRAY_SIZE(ids)), 250);
}

/* A page after a page while documents come and go: what is there all the time is listed exactly once. */
static void
test_listing_under_change(void **state)
{
	struct catalog_fixture *f = *state;
	char id[32], job[32], last[32] = "";
	size_t stable = 0, count = 10;
	struct err err = ERR_INIT;
	int round = 0;
	ARENA(arena);

	fixture_collection(f);
	for (int i = 0; i < 100; i++) {
		(void)snprintf(id, sizeof(id), "stable-%03d", i);
		assert_int_equal(fixture_commit(f, id, id, fixture_accept(f, id, id), 1, "v", 1),
				 CATALOG_COMMITTED);
	}
	while (count == 10) {
		struct document *docs;

		for (int i = 0; i < 5; i++, round++) { /* among, before and behind the cursor */
			(void)snprintf(id, sizeof(id), "stable-%03d-x", (round * 37) % 100);
			(void)snprintf(job, sizeof(job), "job%d", round);
			if (round % 4 == 3)
				(void)fixture_delete(f, id, job, NULL);
			else
				(void)fixture_commit(f, id, job, fixture_accept(f, id, job), 1, "v",
						     1);
		}
		count = 10;
		assert_true(catalog_documents(f->redis, fixture_uid(f), str_of(last), &arena, &docs,
					      &count, &err));
		for (size_t i = 0; i < count; i++) {
			assert_true(str_cmp(docs[i].id, str_of(last)) > 0);
			assert_true(str_copy(last, sizeof(last), docs[i].id));
			stable += !str_ends(docs[i].id, "-x");
		}
	}
	assert_int_equal(stable, 100);
}

static void
test_current_of_many(void **state)
{
	struct catalog_fixture *f = *state;
	enum { MANY = 1201 };
	static char names[MANY][16];
	static struct str ids[MANY];
	static struct catalog_current current[MANY];
	struct err err = ERR_INIT;

	fixture_collection(f);
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "d%d", i);
		ids[i] = str_of(names[i]);
	}
	int64_t seq = fixture_accept(f, "d700", "j");

	assert_int_equal(fixture_commit(f, "d700", "j", seq, 4, "v", 1), CATALOG_COMMITTED);
	assert_true(catalog_current(f->redis, fixture_uid(f), ids, MANY, current, &err));
	for (int i = 0; i < MANY; i++)
		assert_int_equal(current[i].gen[0] != '\0', i == 700);
	assert_int_equal(current[700].commit_epoch, fixture_counters(f).epoch);
}

/* ---- memory ---- */

static int64_t
memory_of(struct catalog_fixture *f, const char *key)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct err err = ERR_INIT;
	int64_t bytes = 0;

	assert_true(REDIS_CALL(f->redis, &reply, &err, "MEMORY", "USAGE", key, "SAMPLES", "0"));
	assert_true(reply_i64(reply, &bytes));
	return bytes;
}

static void
test_memory_per_document(void **state)
{
	enum { DOCS = 1000 };
	struct catalog_fixture *f = *state;
	char id[64], title[128], uri[128], hash[SHA256_HEX_BYTES], old[CATALOG_GEN_BYTES];
	enum catalog_commit_result result;
	struct err err = ERR_INIT;
	int64_t records = 0;

	fixture_collection(f);
	for (int i = 0; i < DOCS; i++) {
		(void)snprintf(id, sizeof(id), "manual/page-%04d.html", i);
		(void)snprintf(title, sizeof(title), "Chapter %d. A Title of Common Length", i);
		(void)snprintf(uri, sizeof(uri),
			       "https://www.example.org/docs/15/manual/page-%04d.html?version=15&"
			       "language=en",
			       i); /* longer than a listpack's value may be */
		sha256_hex(str_of(id), hash);
		const struct catalog_commit commit = {
			.uid = fixture_uid(f),
			.document_id = str_of(id),
			.job_id = str_of(id),
			.seq = fixture_accept(f, id, id),
			.epoch = 1,
			.title = str_of(title),
			.uri = str_of(uri),
			.content_type = STR("text/html"),
			.content_hash = str_of(hash),
			.version_hash = str_of(hash),
			.fingerprint = STR("fp"),
			.bytes = 12345,
			.chunks = 17,
		};

		assert_true(catalog_commit(f->redis, &commit, &result, old, &err));
		fixture_release(f, id);
		struct key key = key_document(fixture_uid(f), str_of(id));

		records += memory_of(f, key.text);
	}
	struct key cur = key_catalog(fixture_uid(f), CK_CUR);
	struct key docs = key_catalog(fixture_uid(f), CK_DOCS);
	int64_t shared = memory_of(f, cur.text) + memory_of(f, docs.text);

	print_message("memory of a document: record %lld, cur and docs %lld, together %lld bytes\n",
		      (long long)records / DOCS, (long long)shared / DOCS,
		      (long long)(records + shared) / DOCS);
	assert_true((records + shared) / DOCS < 800);
}

/* ---- a reader beside a writer ---- */

/* A store at its worst: rows written and removed one by one, read one by one, no snapshot. */
#define ROWS 64
#define REPLACEMENTS 1000

struct row {
	char gen[CATALOG_GEN_BYTES]; /* "" = free */
	int ordinal, count;	     /* of `count` rows of this version */
	int version;
};

struct shaky_store {
	pthread_mutex_t lock; /* around one row at a time */
	struct row rows[ROWS];
};

static void
shaky_put(struct shaky_store *store, const char *gen, int version, int count)
{
	int ordinal = 0;

	for (size_t i = 0; i < ROWS && ordinal < count; i++) {
		(void)pthread_mutex_lock(&store->lock);
		if (store->rows[i].gen[0] == '\0') {
			store->rows[i] = (struct row){ .ordinal = ordinal,
						       .count = count,
						       .version = version };
			(void)str_copy(store->rows[i].gen, CATALOG_GEN_BYTES, str_of(gen));
			ordinal++;
		}
		(void)pthread_mutex_unlock(&store->lock);
		(void)sched_yield();
	}
	assert_int_equal(ordinal, count);
}

static void
shaky_remove(struct shaky_store *store, const char *gen)
{
	for (size_t i = 0; i < ROWS; i++) {
		(void)pthread_mutex_lock(&store->lock);
		if (strcmp(store->rows[i].gen, gen) == 0)
			store->rows[i].gen[0] = '\0';
		(void)pthread_mutex_unlock(&store->lock);
		if (i % 8 == 0)
			(void)sched_yield();
	}
}

static size_t
shaky_search(struct shaky_store *store, struct row hits[ROWS])
{
	size_t count = 0;

	for (size_t i = 0; i < ROWS; i++) {
		(void)pthread_mutex_lock(&store->lock);
		if (store->rows[i].gen[0] != '\0')
			hits[count++] = store->rows[i];
		(void)pthread_mutex_unlock(&store->lock);
		if (i % 8 == 0)
			(void)sched_yield();
	}
	return count;
}

struct reader {
	struct catalog_fixture *f;
	struct shaky_store *store;
	struct redis *redis; /* its own connection */
	atomic_bool stop;
	int64_t reads, searched_again, empty;
	int last_version;
	char wrong[256]; /* what it saw and must not see; "" = nothing */
};

static void
look_at(struct reader *reader, const struct row *hits, size_t count)
{
	bool seen[ROWS] = { false };

	for (size_t i = 0; i < count; i++) {
		const struct row *hit = &hits[i];

		if (hit->version != hits[0].version || hit->count != (int)count ||
		    seen[hit->ordinal])
			(void)snprintf(reader->wrong, sizeof(reader->wrong),
				       "hit %zu of %zu: version %d and %d, row %d of %d", i, count,
				       hits[0].version, hit->version, hit->ordinal, hit->count);
		seen[hit->ordinal] = true;
	}
	reader->empty += count == 0;
	if (count > 0 && hits[0].version < reader->last_version)
		(void)snprintf(reader->wrong, sizeof(reader->wrong), "version %d after %d",
			       hits[0].version, reader->last_version);
	if (count > 0)
		reader->last_version = hits[0].version;
	reader->reads++;
}

/* One read by the rule of catalog.h; false = search again. */
static bool
read_once(struct reader *reader, struct err *err, bool *out_ok)
{
	struct row hits[ROWS];
	struct catalog_current current;
	struct str id = STR("d");
	size_t count, kept = 0;
	int64_t epoch;

	*out_ok = catalog_epoch(reader->redis, fixture_uid(reader->f), &epoch, err);
	if (!*out_ok)
		return true;
	count = shaky_search(reader->store, hits);
	*out_ok = catalog_current(reader->redis, fixture_uid(reader->f), &id, 1, &current, err);
	if (!*out_ok)
		return true;
	for (size_t i = 0; i < count; i++) {
		switch (catalog_visible(&current, str_of(hits[i].gen), epoch)) {
		case CATALOG_SEARCH_AGAIN:
			return false;
		case CATALOG_VISIBLE:
			hits[kept++] = hits[i];
			break;
		case CATALOG_HIDDEN:
			break;
		}
	}
	look_at(reader, hits, kept);
	return true;
}

static void *
reader_main(void *arg)
{
	struct reader *reader = arg;
	struct err err = ERR_INIT;
	bool ok = true;

	while (ok && !atomic_load(&reader->stop) && reader->wrong[0] == '\0') {
		while (!read_once(reader, &err, &ok))
			reader->searched_again++;
	}
	if (!ok)
		(void)snprintf(reader->wrong, sizeof(reader->wrong), "%.200s", err.msg);
	return NULL;
}

static void
replace_once(struct catalog_fixture *f, struct shaky_store *store, int version, char gen[])
{
	char job[32], late[32], next[CATALOG_GEN_BYTES], late_gen[CATALOG_GEN_BYTES];
	int64_t late_seq = 0;

	(void)snprintf(job, sizeof(job), "job%d", version);
	(void)snprintf(late, sizeof(late), "late%d", version);
	if (version % 5 == 0) { /* an older version that is slower */
		late_seq = fixture_accept(f, "d", late);
		catalog_gen_format(late_gen, late_seq, 1);
		shaky_put(store, late_gen, 1000000 + version, 3);
	}
	int64_t seq = fixture_accept(f, "d", job);

	catalog_gen_format(next, seq, 1);
	shaky_put(store, next, version, 1 + version % 7);
	assert_int_equal(fixture_commit(f, "d", job, seq, 1, "v", 1 + version % 7),
			 CATALOG_COMMITTED);
	if (gen[0] != '\0')
		shaky_remove(store, gen);
	if (late_seq > 0) {
		assert_int_equal(fixture_commit(f, "d", late, late_seq, 1, "w", 3),
				 CATALOG_SUPERSEDED);
		shaky_remove(store, late_gen);
		fixture_release(f, late);
	}
	fixture_release(f, job);
	(void)memcpy(gen, next, CATALOG_GEN_BYTES);
}

static void
test_reader_beside_writer(void **state)
{
	struct catalog_fixture *f = *state;
	static struct shaky_store store = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct reader reader = { .f = f, .store = &store };
	char gen[CATALOG_GEN_BYTES] = "";
	pthread_t thread;

	fixture_collection(f);
	replace_once(f, &store, 1, gen);
	reader.redis = redis_server_connect(f->server);
	assert_int_equal(pthread_create(&thread, NULL, reader_main, &reader), 0);
	for (int version = 2; version <= REPLACEMENTS; version++)
		replace_once(f, &store, version, gen);
	atomic_store(&reader.stop, true);
	(void)pthread_join(thread, NULL);
	redis_free(reader.redis);
	print_message("reader: %lld reads, %lld searched again, %lld found nothing\n",
		      (long long)reader.reads, (long long)reader.searched_again,
		      (long long)reader.empty);
	if (reader.wrong[0] != '\0')
		fail_msg("the reader saw %s", reader.wrong);
	assert_true(reader.reads > 0);
	counters_are(f, 1, 1 + REPLACEMENTS % 7);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_two_versions_newest_last),
		cmocka_unit_test(test_two_versions_newest_first),
		cmocka_unit_test(test_stale_worker),
		cmocka_unit_test(test_repeated_commit),
		cmocka_unit_test(test_bad_commits),
		cmocka_unit_test(test_delete_of_no_bytes),
		cmocka_unit_test(test_delete_during_ingest),
		cmocka_unit_test(test_recreate_after_delete),
		cmocka_unit_test(test_dead_job_commits_in_its_place),
		cmocka_unit_test(test_touch),
		cmocka_unit_test(test_commit_after_own_touch),
		cmocka_unit_test(test_fingerprint),
		cmocka_unit_test(test_collection_comes_and_goes),
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_default_and_list),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_listing),
		cmocka_unit_test(test_listing_under_change),
		cmocka_unit_test(test_current_of_many),
		cmocka_unit_test(test_memory_per_document),
		cmocka_unit_test(test_reader_beside_writer),
	};

	return cmocka_run_group_tests(tests, catalog_fixture_setup, catalog_fixture_teardown);
}
