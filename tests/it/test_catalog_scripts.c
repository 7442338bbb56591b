/*
 * Every script of the catalog as a table: state of the document x seq x job epoch, each called twice, and each
 * with Redis at maxmemory first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/sha256.h"
#include "tests/support/catalog_fixture.h"
#include "tests/support/must.h"

enum doc_state { NONE, VISIBLE, TOMBSTONE, DELETED, STATE_COUNT };
enum order { OLDER, SAME, NEWER, ORDER_COUNT };

static const char *const state_names[] = { "none", "visible", "tombstone", "deleted collection" };
static const char *const order_names[] = { "older", "same", "newer" };

/* Reservations of one document: job "older" before job "same" before job "newer". "same" is the one that was
 * committed (with epoch 5) or that is the tombstone. */
struct scene {
	int64_t seq[ORDER_COUNT];
};

static struct scene
make_scene(struct catalog_fixture *f, enum doc_state state)
{
	struct scene scene;
	struct err err = ERR_INIT;

	fixture_collection(f);
	scene.seq[OLDER] = fixture_accept(f, "d", "older");
	if (state == TOMBSTONE)
		scene.seq[SAME] = fixture_delete(f, "d", "same", NULL);
	else
		scene.seq[SAME] = fixture_accept(f, "d", "same");
	if (state == VISIBLE)
		assert_int_equal(fixture_commit(f, "d", "same", scene.seq[SAME], 5, "v", 3),
				 CATALOG_COMMITTED);
	scene.seq[NEWER] = fixture_accept(f, "d", "newer");
	if (state == DELETED)
		assert_true(catalog_delete(f->redis, str_of(f->col.name), fixture_uid(f), &err));
	return scene;
}

/* What a commit must answer, by the rules of the header and not by the script. */
enum expected { COMMIT, REPEAT, SUPERSEDE, GONE };

static enum expected
expect_commit(enum doc_state state, enum order seq, enum order epoch)
{
	switch (state) {
	case DELETED:
		return GONE;
	case NONE:
		return COMMIT;
	case TOMBSTONE:
		return seq == NEWER ? COMMIT : SUPERSEDE;
	case VISIBLE:
		if (seq != SAME)
			return seq == NEWER ? COMMIT : SUPERSEDE;
		if (epoch == SAME)
			return REPEAT;
		return epoch == NEWER ? COMMIT : SUPERSEDE;
	case STATE_COUNT:
		break;
	}
	fail();
	return GONE;
}

static const int64_t epochs[ORDER_COUNT] = { 4, 5, 6 };

static void
call_commit(struct catalog_fixture *f, const struct scene *scene, enum order seq, enum order epoch,
	    enum expected expected, const char *old_gen)
{
	enum catalog_commit_result result = CATALOG_SUPERSEDED;
	char old[CATALOG_GEN_BYTES] = "?";
	struct err err = ERR_INIT;
	const struct fixture_commit what = {
		"d", order_names[seq], scene->seq[seq], epochs[epoch], "w", 4
	};
	bool ok = fixture_commit_err(f, &what, &result, old, &err);

	if (expected == GONE) {
		assert_false(ok);
		assert_int_equal(err.code, ERR_GONE);
		return;
	}
	if (!ok)
		fail_msg("commit: %s", err.msg);
	if (expected == SUPERSEDE) {
		assert_int_equal(result, CATALOG_SUPERSEDED);
		return;
	}
	assert_int_equal(result, CATALOG_COMMITTED);
	assert_string_equal(old, expected == REPEAT ? "" : old_gen);
}

static void
commit_row(struct catalog_fixture *f, enum doc_state state, enum order seq, enum order epoch)
{
	struct scene scene = make_scene(f, state);
	enum expected expected = expect_commit(state, seq, epoch);
	char before[41], after[41], gen[CATALOG_GEN_BYTES], old_gen[CATALOG_GEN_BYTES] = "";
	enum catalog_commit_result result;
	char old[CATALOG_GEN_BYTES];
	struct err err = ERR_INIT;

	print_message("commit: %s, seq %s, epoch %s\n", state_names[state], order_names[seq],
		      order_names[epoch]);
	catalog_gen_format(gen, scene.seq[seq], epochs[epoch]);
	if (state == VISIBLE)
		catalog_gen_format(old_gen, scene.seq[SAME], 5);
	fixture_digest(f, before);
	fixture_full(f, true);
	if (expected == COMMIT) {
		const struct fixture_commit what = {
			"d", order_names[seq], scene.seq[seq], epochs[epoch], "w", 4
		};

		assert_false(fixture_commit_err(f, &what, &result, old, &err));
		assert_int_equal(err.code, ERR_REDIS_FULL);
	} else {
		call_commit(f, &scene, seq, epoch, expected, old_gen);
	}
	fixture_full(f, false);
	fixture_digest(f, after);
	assert_string_equal(before, after);

	call_commit(f, &scene, seq, epoch, expected, old_gen);
	fixture_digest(f, before);
	call_commit(f, &scene, seq, epoch, expected, old_gen);
	fixture_digest(f, after);
	assert_string_equal(before, after);
	if (expected == GONE)
		return;
	assert_string_equal(fixture_gen(f, "d"),
			    expected == COMMIT || expected == REPEAT ? gen : old_gen);

	int64_t chunks = expected == COMMIT ? 4 : state == VISIBLE ? 3 : 0;
	struct collection col = fixture_counters(f);

	assert_int_equal(col.documents, chunks > 0);
	assert_int_equal(col.chunks, chunks);
	assert_int_equal(col.bytes, chunks * 10);
}

static void
test_commit(void **state)
{
	for (int s = 0; s < STATE_COUNT; s++) {
		for (int q = 0; q < ORDER_COUNT; q++) {
			/* A tombstone's own job is no ingest: its reservation commits nothing, which the
			 * row shows as SUPERSEDE. */
			for (int e = 0; e < ORDER_COUNT; e++)
				commit_row(*state, (enum doc_state)s, (enum order)q, (enum order)e);
		}
	}
}

static void
test_commit_without_reservation(void **state)
{
	struct catalog_fixture *f = *state;

	for (int s = NONE; s <= TOMBSTONE; s++) {
		struct scene scene = make_scene(f, (enum doc_state)s);
		char before[41], after[41];

		fixture_release(f, "newer");
		fixture_digest(f, before);
		assert_int_equal(fixture_commit(f, "d", "newer", scene.seq[NEWER], 9, "w", 4),
				 CATALOG_SUPERSEDED);
		/* Another document under the job's reservation is refused, too. */
		assert_int_equal(fixture_commit(f, "other", "older", scene.seq[OLDER], 9, "w", 4),
				 CATALOG_SUPERSEDED);
		fixture_digest(f, after);
		assert_string_equal(before, after);
	}
}

static void
accept_row(struct catalog_fixture *f, enum doc_state state)
{
	struct scene scene = make_scene(f, state);
	char before[41], after[41];
	struct err err = ERR_INIT;
	int64_t seq = -1, again = -1;
	bool ok;

	print_message("accept: %s\n", state_names[state]);
	fixture_digest(f, before);
	fixture_full(f, true);
	ok = catalog_accept(f->redis, fixture_uid(f), STR("d"), STR("fresh"), &seq, &err);
	assert_false(ok);
	assert_int_equal(err.code, state == DELETED ? ERR_GONE : ERR_REDIS_FULL);
	if (state != DELETED) { /* what is reserved already is answered */
		assert_int_equal(fixture_accept(f, "d", "newer"), scene.seq[NEWER]);
	}
	fixture_full(f, false);
	fixture_digest(f, after);
	assert_string_equal(before, after);
	if (state == DELETED)
		return;
	seq = fixture_accept(f, "d", "fresh");
	assert_int_equal(seq, scene.seq[NEWER] + 1);
	fixture_digest(f, before);
	again = fixture_accept(f, "d", "fresh");
	fixture_digest(f, after);
	assert_int_equal(again, seq);
	assert_string_equal(before, after);
	err_clear(&err);
	assert_false(
		catalog_accept(f->redis, fixture_uid(f), STR("other"), STR("fresh"), &seq, &err));
	assert_int_equal(err.code, ERR_CONFLICT);
}

static void
test_accept(void **state)
{
	for (int s = 0; s < STATE_COUNT; s++)
		accept_row(*state, (enum doc_state)s);
}

/* A delete works at maxmemory: full = do it there. */
static void
delete_row(struct catalog_fixture *f, enum doc_state state, bool full)
{
	struct scene scene = make_scene(f, state);
	char before[41], after[41];
	struct err err = ERR_INIT;
	int64_t seq = -1;
	bool existed = false;

	print_message("delete: %s%s\n", state_names[state], full ? ", Redis full" : "");
	fixture_full(f, full);
	if (state == DELETED) {
		assert_false(catalog_delete_document(f->redis, fixture_uid(f), STR("d"), STR("del"),
						     &seq, &existed, &err));
		assert_int_equal(err.code, ERR_GONE);
		fixture_full(f, false);
		return;
	}
	seq = fixture_delete(f, "d", "del", &existed);
	assert_int_equal(seq, scene.seq[NEWER] + 1);
	assert_int_equal(existed, state == VISIBLE);
	fixture_digest(f, before);
	assert_int_equal(fixture_delete(f, "d", "del", &existed), seq);
	assert_int_equal(existed, state == VISIBLE);
	fixture_digest(f, after);
	assert_string_equal(before, after);
	fixture_full(f, false);
	assert_string_equal(fixture_gen(f, "d"), "");
	assert_int_equal(fixture_counters(f).documents, 0);
	assert_int_equal(fixture_counters(f).chunks, 0);
	assert_int_equal(fixture_counters(f).bytes, 0);
	for (int q = 0; q < ORDER_COUNT; q++) /* whatever was in flight has lost */
		assert_int_equal(fixture_commit(f, "d", order_names[q], scene.seq[q], 9, "w", 4),
				 CATALOG_SUPERSEDED);
	int64_t next = fixture_accept(f, "d", "fresh");

	assert_int_equal(fixture_commit(f, "d", "fresh", next, 1, "w", 4), CATALOG_COMMITTED);
	/* The delete's call once more, after the document came back: it stays. */
	assert_int_equal(fixture_delete(f, "d", "del", &existed), seq);
	assert_int_equal(fixture_counters(f).documents, 1);
}

static void
test_delete(void **state)
{
	for (int s = 0; s < STATE_COUNT; s++) {
		delete_row(*state, (enum doc_state)s, false);
		delete_row(*state, (enum doc_state)s, true);
	}
}

/* An embedder that is not the collection's: what is there already is there, but there is no work to be done. A collection without
 * vectors is anybody's. Nothing is written. */
static void
touch_mismatch_row(struct catalog_fixture *f, enum doc_state state, enum order seq)
{
	struct scene scene = make_scene(f, state);
	char before[41], after[41], hash[65];
	struct err err = ERR_INIT;
	bool unchanged = true;

	sha256_hex(STR("x"), hash);
	const struct catalog_touch touch = { fixture_uid(f), STR("d"),	   str_of(order_names[seq]),
					     scene.seq[seq], str_of(hash), STR("another") };
	fixture_digest(f, before);
	if (state == VISIBLE) {
		assert_false(catalog_touch(f->redis, &touch, &unchanged, &err));
		assert_int_equal(err.code, ERR_EMBEDDER_MISMATCH);
		assert_non_null(strstr(err.msg, "'fp'"));
		assert_non_null(strstr(err.msg, "'another'"));
	} else {
		MUST(catalog_touch(f->redis, &touch, &unchanged, e));
		assert_false(unchanged);
	}
	fixture_digest(f, after);
	assert_string_equal(before, after);
}

static void
touch_row(struct catalog_fixture *f, enum doc_state state, enum order seq, bool same_content)
{
	struct scene scene = make_scene(f, state);
	bool expected = state == VISIBLE && same_content && seq != OLDER;
	const char *version = same_content ? "v" : "x";
	char before[41], after[41], hash[65];
	struct err err = ERR_INIT;
	bool unchanged;

	print_message("touch: %s, seq %s, %s content\n", state_names[state], order_names[seq],
		      same_content ? "same" : "other");
	if (state == DELETED) {
		(void)memset(hash, 'a', 64);
		hash[64] = '\0';
		const struct catalog_touch touch = { fixture_uid(f),   STR("d"),     STR("newer"),
						     scene.seq[NEWER], str_of(hash), STR("fp") };

		assert_false(catalog_touch(f->redis, &touch, &unchanged, &err));
		assert_int_equal(err.code, ERR_GONE);
		return;
	}
	int64_t epoch = fixture_counters(f).epoch;

	assert_int_equal(fixture_touch(f, "d", order_names[seq], scene.seq[seq], version),
			 expected);
	fixture_digest(f, before);
	fixture_full(f, true); /* a repeated one writes nothing */
	assert_int_equal(fixture_touch(f, "d", order_names[seq], scene.seq[seq], version),
			 expected);
	fixture_full(f, false);
	fixture_digest(f, after);
	assert_string_equal(before, after);
	assert_int_equal(fixture_counters(f).epoch, epoch);
	assert_int_equal(fixture_counters(f).documents, state == VISIBLE);
	if (state == VISIBLE) {
		char gen[CATALOG_GEN_BYTES];

		catalog_gen_format(gen, scene.seq[SAME], 5);
		assert_string_equal(fixture_gen(f, "d"), gen);
	}
}

static void
test_touch(void **state)
{
	for (int s = 0; s < STATE_COUNT; s++) {
		for (int q = 0; q < ORDER_COUNT; q++) {
			if (s != DELETED)
				touch_mismatch_row(*state, (enum doc_state)s, (enum order)q);
			touch_row(*state, (enum doc_state)s, (enum order)q, true);
			touch_row(*state, (enum doc_state)s, (enum order)q, false);
		}
	}
}

static void
test_touch_full(void **state)
{
	struct catalog_fixture *f = *state;
	struct scene scene = make_scene(f, VISIBLE);
	char before[41], after[41];
	struct err err = ERR_INIT;
	bool unchanged;
	struct document doc;
	AUTO(arena) struct arena arena = { .max_bytes = 65536 };

	assert_true(catalog_document(f->redis, fixture_uid(f), STR("d"), &arena, &doc, &err));
	fixture_digest(f, before);
	fixture_full(f, true);
	const struct catalog_touch touch = { fixture_uid(f),   STR("d"),	 STR("newer"),
					     scene.seq[NEWER], doc.version_hash, STR("fp") };

	assert_false(catalog_touch(f->redis, &touch, &unchanged, &err));
	assert_int_equal(err.code, ERR_REDIS_FULL);
	fixture_full(f, false);
	fixture_digest(f, after);
	assert_string_equal(before, after);
}

static void
release_row(struct catalog_fixture *f, enum doc_state state, bool full)
{
	char before[41], after[41];

	print_message("release: %s%s\n", state_names[state], full ? ", Redis full" : "");
	(void)make_scene(f, state);
	fixture_full(f, full);
	for (int q = 0; q < ORDER_COUNT; q++) {
		fixture_release(f, order_names[q]);
		fixture_digest(f, before);
		fixture_release(f, order_names[q]);
		fixture_digest(f, after);
		assert_string_equal(before, after);
	}
	fixture_full(f, false);
	if (state == DELETED)
		return;
	/* Nothing is left of a document that nobody sees; one that is seen has nothing in flight. */
	struct document doc;
	struct err err = ERR_INIT;
	AUTO(arena) struct arena arena = { .max_bytes = 65536 };

	assert_true(catalog_peek(f->redis, fixture_uid(f), STR("d"), &arena, &doc, &err));
	assert_int_equal(doc.gen[0] != '\0', state == VISIBLE);
	assert_false(doc.deleted);
	assert_int_equal(doc.pending_seq, doc.seq);
	assert_int_equal(doc.pending_job.len, 0);
	assert_int_equal(doc.seq != 0, state == VISIBLE);
}

static void
test_release(void **state)
{
	for (int s = 0; s < STATE_COUNT; s++) {
		release_row(*state, (enum doc_state)s, false);
		release_row(*state, (enum doc_state)s, true);
	}
}

static void
test_readers_when_full(void **state)
{
	struct catalog_fixture *f = *state;
	struct scene scene = make_scene(f, VISIBLE);
	struct collection col, *cols;
	struct document doc, *docs;
	struct err err = ERR_INIT;
	size_t count;
	int64_t epoch;
	char gen[CATALOG_GEN_BYTES];
	AUTO(arena) struct arena arena = { .max_bytes = 1 << 20 };

	assert_true(catalog_get(f->redis, STR("default"), &col, &err));
	catalog_gen_format(gen, scene.seq[SAME], 5);
	fixture_full(f, true);
	assert_true(catalog_get(f->redis, str_of(f->col.name), &col, &err));
	assert_true(catalog_list(f->redis, NULL, &arena, &cols, &count, &err));
	assert_true(catalog_epoch(f->redis, fixture_uid(f), &epoch, &err));
	assert_string_equal(fixture_gen(f, "d"), gen);
	assert_true(catalog_document(f->redis, fixture_uid(f), STR("d"), &arena, &doc, &err));
	count = 10;
	assert_true(
		catalog_documents(f->redis, fixture_uid(f), STR(""), &arena, &docs, &count, &err));
	assert_int_equal(count, 1);
	fixture_full(f, false);
}

static void
test_collections_when_full(void **state)
{
	struct catalog_fixture *f = *state;
	char before[41], after[41];
	struct collection col;
	struct err err = ERR_INIT;
	bool more = true;

	(void)make_scene(f, VISIBLE);
	fixture_digest(f, before);
	fixture_full(f, true);
	assert_false(catalog_create(f->redis, STR("not-made"), STR(""), &col, &err));
	assert_int_equal(err.code, ERR_REDIS_FULL);
	assert_false(catalog_set_description(f->redis, str_of(f->col.name), STR("no"), &col, &err));
	assert_int_equal(err.code, ERR_REDIS_FULL);
	fixture_digest(f, after);
	assert_string_equal(before, after);

	assert_false(catalog_purge(f->redis, fixture_uid(f), &more, &err));
	assert_int_equal(err.code, ERR_CONFLICT);
	for (int twice = 0; twice < 2; twice++)
		assert_true(catalog_delete(f->redis, str_of(f->col.name), fixture_uid(f), &err));
	assert_false(catalog_get(f->redis, str_of(f->col.name), &col, &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	for (int i = 0; more && i < 10; i++)
		assert_true(catalog_purge(f->redis, fixture_uid(f), &more, &err));
	assert_false(more);
	assert_true(catalog_purge(f->redis, fixture_uid(f), &more, &err));
	assert_false(more);
	fixture_full(f, false);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commit),
		cmocka_unit_test(test_commit_without_reservation),
		cmocka_unit_test(test_accept),
		cmocka_unit_test(test_delete),
		cmocka_unit_test(test_touch),
		cmocka_unit_test(test_touch_full),
		cmocka_unit_test(test_release),
		cmocka_unit_test(test_readers_when_full),
		cmocka_unit_test(test_collections_when_full),
	};

	return cmocka_run_group_tests(tests, catalog_fixture_setup, catalog_fixture_teardown);
}
