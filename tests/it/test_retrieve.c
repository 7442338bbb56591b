/*
 * Retrieving with a real catalog and store: a reader never sees a mixed or half document while writers replace
 * it; what is hidden does not starve what is visible.
 *
 * Two more stores are made from the sqlite one: a `hooked` one, with something happening right before or after
 * a search; and a `slow` one, without STORE_CAP_SNAPSHOT, that writes and removes a generation chunk by
 * chunk, each step seen by searches.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/mem.h"
#include "jobs/step/retrieve.h"
#include "tests/support/catalog_fixture.h"
#include "tests/support/folder.h"
#include "tests/support/must.h"

#define DIM 8
#define CHUNKS ((size_t)5)
#define ARENA(name) AUTO(arena) struct arena name = { .max_bytes = (size_t)256 << 20 }

static char folder[FOLDER_BYTES];
static struct store *sqlite;

static int
set_up(void **state)
{
	struct config config = { .data_dir = folder, .vector_cache_bytes = 1 << 28 };

	folder_make(folder);
	MUST(store_open(&config, &sqlite, e));
	return catalog_fixture_setup(state);
}

static int
tear_down(void **state)
{
	store_close(sqlite);
	folder_remove(folder);
	return catalog_fixture_teardown(state);
}

static int
new_collection(void **state)
{
	fixture_collection(*state);
	return 0;
}

/* ---- writing ---- */

static void
put(struct store *store, struct catalog_fixture *f, const char *doc, const char *gen,
    const char *word, size_t count)
{
	struct store_chunk chunks[CHUNKS];
	float vectors[CHUNKS][DIM] = { { 0 } };
	char texts[CHUNKS][64];

	for (size_t i = 0; i < count; i++) {
		(void)snprintf(texts[i], sizeof(texts[i]), "%s part %zu", word, i);
		vectors[i][i % DIM] = 1;
		chunks[i] = (struct store_chunk){ .ordinal = (int64_t)i,
						  .text = str_of(texts[i]),
						  .vector = vectors[i] };
	}

	const struct store_document document = {
		.uid = fixture_uid(f),
		.document_id = str_of(doc),
		.gen = str_of(gen),
		.chunks = chunks,
		.count = count,
		.dim = DIM,
	};

	MUST(store->ops->put(store, &document, e));
}

/* The way of an ingest job; returns the seq. */
static int64_t
replace(struct store *store, struct catalog_fixture *f, const char *doc, const char *job,
	const char *word, bool sweep)
{
	char gen[CATALOG_GEN_BYTES];
	int64_t seq = fixture_accept(f, doc, job);

	catalog_gen_format(gen, seq, 1);
	put(store, f, doc, gen, word, CHUNKS);
	assert_int_equal(fixture_commit(f, doc, job, seq, 1, word, CHUNKS), CATALOG_COMMITTED);
	if (sweep)
		MUST(store->ops->remove_older(store, fixture_uid(f), str_of(doc), seq, str_of(gen),
					      e));
	return seq;
}

/* ---- reading ---- */

static const float first_axis[DIM] = { 1 };

static struct retrieve_request
request_for(struct store *store, struct catalog_fixture *f, const char *query, size_t top_k)
{
	return (struct retrieve_request){ .redis = f->redis,
					  .store = store,
					  .uid = fixture_uid(f),
					  .query = str_of(query),
					  .vector = first_axis,
					  .dim = DIM,
					  .mode = QUERY_HYBRID,
					  .dense_weight = 0.5,
					  .top_k = top_k };
}

static struct retrieved
find(const struct retrieve_request *request, struct arena *arena)
{
	struct retrieved found = { .count = 0 };

	MUST(retrieve(request, arena, &found, e));
	return found;
}

static void
only_committed_is_visible(void **state)
{
	struct catalog_fixture *f = *state;
	struct retrieve_request request = request_for(sqlite, f, "apple", 50);
	int64_t epoch = 0;
	ARENA(arena);

	assert_int_equal(find(&request, &arena).count, 0);
	put(sqlite, f, "d", "7.1", "apple", CHUNKS);
	assert_int_equal(find(&request, &arena).count, 0);
	(void)replace(sqlite, f, "d", "job1", "apple", false);
	MUST(catalog_epoch(f->redis, fixture_uid(f), &epoch, e));

	struct retrieved found = find(&request, &arena);

	assert_int_equal(found.count, CHUNKS);
	assert_int_equal(found.epoch, epoch);
	for (size_t i = 0; i < found.count; i++) {
		assert_true(found.list[i].score >= 0 && found.list[i].score <= 1);
		assert_true(i == 0 || found.list[i - 1].score >= found.list[i].score);
		assert_true(str_eq_c(found.list[i].hit.gen, "1.1"));
	}
	assert_int_equal(found.list[0].hit.ordinal, 0); /* first in both legs */
	(void)replace(sqlite, f, "d", "job2", "pear", false);
	found = find(&request, &arena);
	assert_int_equal(found.count, CHUNKS); /* the dense leg finds pears, too */
	for (size_t i = 0; i < found.count; i++)
		assert_true(str_eq_c(found.list[i].hit.gen, "2.1"));
	request.mode = QUERY_LEXICAL;
	assert_int_equal(find(&request, &arena).count, 0);
	request.query = STR("pear");
	assert_int_equal(find(&request, &arena).count, CHUNKS);
	request.mode = QUERY_DENSE;
	request.top_k = 2;
	found = find(&request, &arena);
	assert_int_equal(found.count, 2);
	assert_int_equal(found.list[0].hit.ordinal, 0);
	(void)fixture_delete(f, "d", "job3", NULL);
	assert_int_equal(find(&request, &arena).count, 0);
}

/* 400 chunks that nobody may see stand before 10 visible ones, in both legs. */
static void
hidden_chunks_do_not_starve(void **state)
{
	struct catalog_fixture *f = *state;
	struct retrieve_request request = request_for(sqlite, f, "apple", 2 * CHUNKS);
	ARENA(arena);

	for (int i = 0; i < 80; i++) {
		char gen[CATALOG_GEN_BYTES];

		catalog_gen_format(gen, 1000 + i, 1);
		put(sqlite, f, "crash", gen, "apple", CHUNKS);
	}
	(void)replace(sqlite, f, "a", "job1", "apple and some more words to rank lower", true);
	(void)replace(sqlite, f, "b", "job2", "apple and some more words to rank lower", true);
	assert_int_equal(find(&request, &arena).count, 2 * CHUNKS);
	request.mode = QUERY_LEXICAL;
	assert_int_equal(find(&request, &arena).count, 2 * CHUNKS);
}

static void
deleted_collection_is_gone(void **state)
{
	struct catalog_fixture *f = *state;
	struct retrieve_request request = request_for(sqlite, f, "apple", 5);
	struct retrieved found = { .count = 0 };
	struct err err = ERR_INIT;
	ARENA(arena);

	(void)replace(sqlite, f, "a", "job1", "apple", true);
	MUST(catalog_delete(f->redis, str_of(f->col.name), fixture_uid(f), e));
	assert_false(retrieve(&request, &arena, &found, &err));
	assert_int_equal(err.code, ERR_GONE);
}

/* ---- a commit in the middle of a look ---- */

struct hooked {
	struct store store;
	struct store_ops ops;
	struct catalog_fixture *f;
	bool before;
	int searches, commits; /* how many searches have a commit beside them */
};

static bool
hooked_search(struct store *store, const struct store_search *search, struct arena *arena,
	      struct store_hits *out, struct err *err)
{
	struct hooked *self = (struct hooked *)store;
	bool act = self->searches++ < self->commits;
	char job[32];

	(void)snprintf(job, sizeof(job), "late%d", self->searches);
	if (act && self->before)
		(void)replace(sqlite, self->f, "d", job, "apple", true);
	if (!sqlite->ops->search(sqlite, search, arena, out, err))
		return false;
	if (act && !self->before)
		(void)replace(sqlite, self->f, "d", job, "apple", true);
	return true;
}

static struct hooked
hooked_store(struct catalog_fixture *f, unsigned caps, bool before, int commits)
{
	return (struct hooked){ .ops = { .name = "hooked", .caps = caps, .search = hooked_search },
				.f = f,
				.before = before,
				.commits = commits };
}

static void
commit_beside_a_search(void **state)
{
	struct catalog_fixture *f = *state;
	const unsigned plain = STORE_CAP_DENSE | STORE_CAP_LEXICAL;
	static const struct {
		bool snapshot, before;
		int searches;
	} cases[] = {
		/* what is seen whole need not be looked at again; else look until nothing moves */
		{ true, true, 1 },
		{ true, false, 3 },
		{ false, true, 3 },
		{ false, false, 3 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ARENA(arena);

		fixture_collection(f);
		(void)replace(sqlite, f, "d", "job1", "apple", true);

		struct hooked hooked =
			hooked_store(f, plain | (cases[i].snapshot ? STORE_CAP_SNAPSHOT : 0),
				     cases[i].before, 2);

		hooked.store.ops = &hooked.ops;

		struct retrieve_request request = request_for(&hooked.store, f, "apple", 50);
		struct retrieved found = find(&request, &arena);

		assert_int_equal(hooked.searches, cases[i].searches);
		assert_int_equal(found.count, CHUNKS);
		for (size_t k = 0; k < found.count; k++)
			assert_true(str_eq_c(found.list[k].hit.gen, fixture_gen(f, "d")));
	}
}

/* Never at rest: the document is missing rather than mixed, and it ends. */
static void
endless_commits_end(void **state)
{
	struct catalog_fixture *f = *state;
	struct hooked hooked = hooked_store(f, STORE_CAP_DENSE | STORE_CAP_LEXICAL, false, 1000);
	ARENA(arena);

	hooked.store.ops = &hooked.ops;
	(void)replace(sqlite, f, "d", "job1", "apple", true);
	(void)replace(sqlite, f, "calm", "job2", "apple", true);

	struct retrieve_request request = request_for(&hooked.store, f, "apple", 50);
	struct retrieved found = find(&request, &arena);

	assert_true(hooked.searches > 2 && hooked.searches < 100);
	assert_int_equal(found.count, CHUNKS);
	for (size_t i = 0; i < found.count; i++)
		assert_true(str_eq_c(found.list[i].hit.document_id, "calm"));
}

static void
needs_a_lexical_store(void **state)
{
	struct catalog_fixture *f = *state;
	struct hooked hooked = hooked_store(f, STORE_CAP_DENSE, false, 0);
	struct retrieved found = { .count = 0 };
	struct err err = ERR_INIT;
	ARENA(arena);

	hooked.store.ops = &hooked.ops;
	(void)replace(sqlite, f, "d", "job1", "apple", true);

	struct retrieve_request request = request_for(&hooked.store, f, "apple", 50);

	request.mode = QUERY_LEXICAL;
	assert_false(retrieve(&request, &arena, &found, &err));
	assert_int_equal(err.code, ERR_STORE_UNSUPPORTED);
	request.mode = QUERY_HYBRID;
	assert_int_equal(find(&request, &arena).count, CHUNKS);
}

/* ---- writers and readers at the same time ---- */

static bool
slow_put(struct store *store, const struct store_document *document, struct err *err)
{
	struct store_document part = *document;

	(void)store;
	for (part.count = 1; part.count <= document->count; part.count++) {
		if (!sqlite->ops->put(sqlite, &part, err))
			return false;
	}
	return true;
}

static bool
slow_search(struct store *store, const struct store_search *search, struct arena *arena,
	    struct store_hits *out, struct err *err)
{
	(void)store;
	return sqlite->ops->search(sqlite, search, arena, out, err);
}

/* Takes the old generation away chunk by chunk. */
static bool
slow_remove_older(struct store *store, struct str uid, struct str document_id, int64_t below_seq,
		  struct str keep_gen, struct err *err)
{
	char old_gen[CATALOG_GEN_BYTES];
	struct store_chunk chunks[CHUNKS];
	float vector[DIM] = { 1 };
	struct store_document part = {
		.uid = uid, .document_id = document_id, .chunks = chunks, .dim = DIM
	};

	(void)store;
	catalog_gen_format(old_gen, below_seq - 1, 1);
	part.gen = str_of(old_gen);
	for (size_t i = 0; i < CHUNKS; i++)
		chunks[i] = (struct store_chunk){ .ordinal = (int64_t)i,
						  .text = STR("apple part"),
						  .vector = vector };
	for (part.count = CHUNKS - 1; below_seq > 1 && part.count > 0; part.count--) {
		if (!sqlite->ops->put(sqlite, &part, err))
			return false;
	}
	return sqlite->ops->remove_older(sqlite, uid, document_id, below_seq, keep_gen, err);
}

struct race {
	struct catalog_fixture *f;
	struct store *store;
	int rounds;
	atomic_bool stop;
	atomic_int mixed, half, missing, looks;
};

static void *
race_writer(void *user)
{
	struct race *race = user;
	struct catalog_fixture mine = *race->f;

	mine.redis = redis_server_connect(race->f->server);
	for (int i = 0; i < race->rounds; i++) {
		char job[32];

		(void)snprintf(job, sizeof(job), "race%d", i);
		(void)replace(race->store, &mine, "d", job, "apple", true);
	}
	redis_free(mine.redis);
	atomic_store(&race->stop, true);
	return NULL;
}

static void *
race_reader(void *user)
{
	struct race *race = user;
	struct catalog_fixture mine = *race->f;
	ARENA(arena);

	mine.redis = redis_server_connect(race->f->server);

	const struct retrieve_request request = request_for(race->store, &mine, "apple", 50);

	while (!atomic_load(&race->stop)) {
		struct retrieved found = find(&request, &arena);

		atomic_fetch_add(&race->looks, 1);
		atomic_fetch_add(&race->missing, found.count == 0);
		atomic_fetch_add(&race->half, found.count > 0 && found.count != CHUNKS);
		for (size_t i = 1; i < found.count; i++)
			atomic_fetch_add(&race->mixed,
					 !str_eq(found.list[i].hit.gen, found.list[0].hit.gen));
		arena_reset(&arena);
	}
	redis_free(mine.redis);
	return NULL;
}

static void
run_race(struct catalog_fixture *f, struct store *store, int rounds)
{
	struct race race = { .f = f, .store = store, .rounds = rounds };
	pthread_t threads[3];

	(void)replace(store, f, "d", "job0", "apple", true);
	assert_int_equal(pthread_create(&threads[0], NULL, race_writer, &race), 0);
	for (int i = 1; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, race_reader, &race), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_true(race.looks > 0);
	assert_int_equal(race.mixed, 0);
	assert_int_equal(race.half, 0);
	assert_int_equal(race.missing, 0);
}

static void
whole_documents_while_replaced(void **state)
{
	run_race(*state, sqlite, 300);
}

static void
whole_documents_from_a_slow_store(void **state)
{
	struct store_ops ops = *sqlite->ops;
	struct store slow = { &ops };

	ops.name = "slow";
	ops.caps = STORE_CAP_DENSE | STORE_CAP_LEXICAL;
	ops.put = slow_put;
	ops.search = slow_search;
	ops.remove_older = slow_remove_older;
	run_race(*state, &slow, 40);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, new_collection)
	const struct CMUnitTest tests[] = {
		TEST(only_committed_is_visible),
		TEST(hidden_chunks_do_not_starve),
		TEST(deleted_collection_is_gone),
		TEST(commit_beside_a_search),
		TEST(endless_commits_end),
		TEST(needs_a_lexical_store),
		TEST(whole_documents_while_replaced),
		TEST(whole_documents_from_a_slow_store),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
