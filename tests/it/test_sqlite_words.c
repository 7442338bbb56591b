/*
 * What questions find by their words in the sqlite store: identifiers, quotations, other languages; and what happens to a
 * file that an older program made.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "jobs/store/sqlite_db.h"
#include "jobs/store/store.h"
#include "tests/support/folder.h"
#include "tests/support/must.h"

#define DIM 8
#define ARENA(name) AUTO(arena) struct arena name = { .max_bytes = (size_t)64 << 20 }

struct fixture {
	char folder[FOLDER_BYTES];
	struct config config;
	struct store *store;
};

static int
set_up(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));

	folder_make(f->folder);
	f->config.data_dir = f->folder;
	f->config.vector_cache_bytes = 1 << 28;
	MUST(store_open(&f->config, &f->store, e));
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;

	store_close(f->store);
	folder_remove(f->folder);
	mem_free(f);
	return 0;
}

static void
put(struct fixture *f, const char *uid, const char *id, const char *title, const char *text)
{
	const float vector[DIM] = { 1 };
	const struct store_chunk chunk = { .text = str_of(text), .vector = vector };
	const struct store_document document = { .uid = str_of(uid),
						 .document_id = str_of(id),
						 .gen = STR("1.1"),
						 .title = str_of(title),
						 .chunks = &chunk,
						 .count = 1,
						 .dim = DIM };

	MUST(f->store->ops->put(f->store, &document, e));
}

static struct store_hits
find(struct fixture *f, const char *uid, const char *question,
     const struct lexical_weights *weights, struct arena *arena)
{
	const struct store_search search = { .uid = str_of(uid),
					     .text = str_of(question),
					     .lexical = true,
					     .limit = 50,
					     .weights = weights };
	struct store_hits hits = { .dense = NULL };

	MUST(f->store->ops->search(f->store, &search, arena, &hits, e));
	return hits;
}

/* The ids of the hits, best first, blanks between. */
static void
check_found(struct fixture *f, const char *question, const char *want)
{
	ARENA(arena);
	struct store_hits hits = find(f, "c", question, NULL, &arena);
	AUTO(buf) struct buf got = BUF_INIT(4096);

	for (size_t i = 0; i < hits.lexical_count; i++)
		buf_printf(&got, "%s" STR_FMT, i > 0 ? " " : "",
			   STR_ARG(hits.lexical[i].document_id));
	if (strcmp(got.data, want) != 0)
		fail_msg("'%s' finds '%s', not '%s'", question, got.data, want);
}

static void
check_first(struct fixture *f, const char *question, const char *want)
{
	ARENA(arena);
	struct store_hits hits = find(f, "c", question, NULL, &arena);

	assert_true(hits.lexical_count > 1);
	if (!str_eq_c(hits.lexical[0].document_id, want))
		fail_msg("'%s' finds '" STR_FMT "' first (%.2f, then %.2f), not '%s'", question,
			 STR_ARG(hits.lexical[0].document_id), (double)hits.lexical[0].score,
			 (double)hits.lexical[1].score, want);
}

/* Each has a neighbour with the same parts, in other places and more often. */
static const struct {
	const char *id, *text, *decoy, *question;
} identifiers[] = {
	{ "constant", "The start ends with ERR_CONFIG when the file has an unknown key.",
	  "An err is no config. What the config means, the err does not: a config "
	  "means config, an err means err.",
	  "What does ERR_CONFIG mean?" },
	{ "call", "Use queue.submit() to send work.",
	  "When must I submit to a queue? I submit when the queue is called; a queue called twice "
	  "may "
	  "submit twice: submit, queue, called.",
	  "When is queue.submit() called?" },
	{ "cve", "CVE-2024-1234 is repaired here.",
	  "In 2024 the CVE list grew by 1234 entries; a CVE of 2024 is dangerous, 1234 of them are "
	  "repaired. Is 1234 more than in 2023?",
	  "Is CVE-2024-1234 dangerous?" },
	{ "version", "Release v1.2.3 mends the import.",
	  "In v1 there were 2 or 3 changes: 3 in v1, 2 before. What changed in 3 of 2 v1 "
	  "releases? What changed is in 2.",
	  "what changed in v1.2.3" },
	{ "part", "Filter AX-310/7 fits the small pump.",
	  "The AX filter has 310 meshes in 7 layers; 7 of the AX fit, 310 do. Which pump does the "
	  "AX "
	  "fit? The pump, which fits.",
	  "which pump does AX-310/7 fit?" },
	{ "mail", "Write to jo.smith@example.org for a key.",
	  "Jo, of Smith and Example, an org: who is Jo? Who is Smith? Smith is an example of Jo, "
	  "for "
	  "an org.",
	  "Who is jo.smith@example.org?" },
	{ "path", "Its settings are in /etc/rag/engine.yaml on every host.",
	  "The engine has yaml rag settings etc; engine yaml, what does etc hold? It holds etc: "
	  "an engine, a rag, yaml.",
	  "what does /etc/rag/engine.yaml hold" },
	{ "scope", "std::sort does not keep equal items in order.",
	  "Sort, or std: a sort is stable when the std is; sort stable, stable std, is a stable "
	  "sort std?",
	  "is std::sort stable" },
};

static void
finds_identifiers(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(identifiers); i++) {
		char decoy[32];

		(void)snprintf(decoy, sizeof(decoy), "%s-decoy", identifiers[i].id);
		put(f, "c", decoy, "", identifiers[i].decoy);
		put(f, "c", identifiers[i].id, "", identifiers[i].text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(identifiers); i++) {
		struct lexical_weights none = lexical_weights_chosen;
		char decoy[32];
		ARENA(arena);

		check_first(f, identifiers[i].question, identifiers[i].id);
		/* and it is the phrase that does it */
		none.exact = none.joined = 0;
		(void)snprintf(decoy, sizeof(decoy), "%s-decoy", identifiers[i].id);

		struct store_hits hits = find(f, "c", identifiers[i].question, &none, &arena);

		if (!str_eq_c(hits.lexical[0].document_id, decoy))
			fail_msg("'%s' needs no phrase", identifiers[i].question);
	}
}

static void
prefers_quotations(void **state)
{
	struct fixture *f = *state;

	put(f, "c", "scattered", "",
	    "The tide turns in the spring, and in spring the tide is a spring tide no more: tide.");
	put(f, "c", "exact", "", "A spring tide comes at new moon.");
	put(f, "c", "other", "", "Nothing of the kind.");
	check_found(f, "spring tide", "scattered exact");
	check_found(f, "\"spring tide\"", "exact scattered");
	check_found(f, "what is a \xE2\x80\x9Cspring tide\xE2\x80\x9D?", "exact scattered");
	check_found(f, "\xC2\xABspring tide\xC2\xBB", "exact scattered");
	/* a quotation that is nowhere still finds its words */
	check_found(f, "\"tide of springs\"", "scattered exact");
	/* broken ones are words; so are FTS5's operators */
	check_found(f, "\"spring", "scattered exact");
	check_found(f, "spring\" NEAR(tide* ^ -moon OR", "exact scattered");
	check_found(f, "\"\" \" \" \"nowhere\"", "");
	check_found(f, "\"of the\"", "other");
}

static void
weighs_repeated_words(void **state)
{
	struct fixture *f = *state;
	const struct store_hit *hit = NULL;
	ARENA(arena);

	put(f, "c", "a", "", "apples and more apples");
	put(f, "c", "b", "", "pears and more pears");
	hit = find(f, "c", "Apples? An apple, pear, APPLE!", NULL, &arena).lexical;
	assert_true(str_eq_c(hit[0].document_id, "a"));
	assert_true(hit[0].score > 2 * hit[1].score);
	hit = find(f, "c", "pears pears pears apples", NULL, &arena).lexical;
	assert_true(str_eq_c(hit[0].document_id, "b"));
	/* titles weigh more than text */
	put(f, "c", "c", "Plums", "on trees in gardens");
	put(f, "c", "d", "Trees", "plums in gardens");
	check_found(f, "plum", "c d");
	check_found(f, "tree", "d c");
}

static void
reads_other_languages(void **state)
{
	struct fixture *f = *state;

	put(f, "c", "zh", "",
	    "\xE4\xB8\x9C\xE4\xBA\xAC\xE7\x9A\x84\xE5\xA4\xA9\xE6\xB0\x94\xE5"
	    "\xBE\x88\xE5\xA5\xBD"); /* the weather of Tokyo is fine */
	put(f, "c", "vi", "",
	    "H\xE1\xBB\x8D"
	    "c ti\xE1\xBA\xBFng Vi\xE1\xBB\x87t");
	put(f, "c", "de", "",
	    "Die Stra\xC3\x9F"
	    "en und \xC3\x84rzte der St\xC3\xA4"
	    "dte");
	put(f, "c", "fr", "", "Boire de l'eau et manger une pomme aujourd'hui");
	put(f, "c", "ru", "", "\xD0\x9C\xD0\xBE\xD1\x81\xD0\xBA\xD0\xB2\xD0\xB0"); /* Moscow */
	put(f, "c", "en", "", "The pumps' valves: they'll hold, won't they?");
	check_found(f, "\xE5\xA4\xA9\xE6\xB0\x94", "zh"); /* weather */
	check_found(f, "\xE4\xB8\x9C\xE4\xBA\xAC\xE6\x97\x85\xE8\xA1\x8C",
		    "zh");		      /* Tokyo journey */
	check_found(f, "\xE4\xB8\x9C", "zh"); /* one character */
	check_found(f, "\xE6\x97\x85\xE8\xA1\x8C", "");
	check_found(f, "tieng viet", "vi");
	check_found(f, "VI\xE1\xBB\x86T", "vi");
	check_found(f, "stadte arzte", "de");
	check_found(f, "\xC3\xA4rzte", "de");
	check_found(f, "eau", "fr");
	check_found(f, "l'eau", "fr");
	check_found(f, "\xD0\xBC\xD0\xBE\xD1\x81\xD0\xBA\xD0\xB2\xD0\xB0", "ru");
	check_found(f, "pump's valve", "en");
	check_found(f, "they'll", "en"); /* stop words only: taken as they are */
}

/* ---- files of an older program ---- */

static void
make_old(struct fixture *f, int collections)
{
	char path[FOLDER_BYTES + 16], sql[1024];
	struct db db = { 0 };

	(void)snprintf(path, sizeof(path), "%s/rag.db", f->folder);
	MUST(db_open(&db, path, false, e));
	for (int id = 1; id <= collections; id++) {
		/* as version 1 made it */
		(void)snprintf(
			sql, sizeof(sql),
			"DROP TABLE words_%d;"
			"CREATE VIRTUAL TABLE words_%d USING fts5(title, heading, text, "
			"content='', tokenize='porter unicode61');"
			"INSERT INTO words_%d (rowid, title, heading, text) SELECT c.id, g.title, "
			"c.heading, c.text FROM chunk c JOIN generation g ON g.id = c.generation "
			"WHERE g.collection = %d",
			id, id, id, id);
		MUST(db_exec(&db, sql, e));
	}
	MUST(db_exec(&db, "PRAGMA user_version = 1", e));
	db_close(&db);
}

static void
renews_old_files(void **state)
{
	struct fixture *f = *state;
	ARENA(arena);

	put(f, "a", "one", "Weather",
	    "\xE4\xB8\x9C\xE4\xBA\xAC\xE7\x9A\x84\xE5\xA4\xA9\xE6\xB0\x94");
	put(f, "a", "two", "", "running water");
	put(f, "b", "three", "", "the same running water");
	store_close(f->store);
	make_old(f, 2);
	for (int round = 0; round < 2; round++) { /* once renewed, it opens as it is */
		MUST(store_open(&f->config, &f->store, e));
		assert_int_equal(find(f, "a", "runs", NULL, &arena).lexical_count, 1);
		assert_int_equal(find(f, "b", "runs", NULL, &arena).lexical_count, 1);
		assert_int_equal(find(f, "a", "weather", NULL, &arena).lexical_count, 1);
		/* the old index had no pairs */
		assert_int_equal(
			find(f, "a", "\xE5\xA4\xA9\xE6\xB0\x94", NULL, &arena).lexical_count, 1);
		if (round == 0)
			store_close(f->store);
	}
	MUST(f->store->ops->remove_generation(f->store, STR("a"), STR("two"), STR("1.1"), e));
	put(f, "a", "four", "", "still water");
	assert_int_equal(find(f, "a", "running", NULL, &arena).lexical_count, 0);
	assert_int_equal(find(f, "a", "water", NULL, &arena).lexical_count, 1);

	/* an old file without collections */
	MUST(f->store->ops->remove_collection(f->store, STR("a"), e));
	MUST(f->store->ops->remove_collection(f->store, STR("b"), e));
	store_close(f->store);
	make_old(f, 0);
	MUST(store_open(&f->config, &f->store, e));
	put(f, "a", "one", "", "water");
	assert_int_equal(find(f, "a", "water", NULL, &arena).lexical_count, 1);
}

/* An old file that cannot be renewed stays as it was. */
static void
leaves_what_it_cannot_renew(void **state)
{
	struct fixture *f = *state;
	char path[FOLDER_BYTES + 16];
	struct store *store = NULL;
	struct err err = ERR_INIT;
	struct db db = { 0 };
	ARENA(arena);

	put(f, "a", "one", "", "running water");
	store_close(f->store);
	make_old(f, 1);
	(void)snprintf(path, sizeof(path), "%s/rag.db", f->folder);
	MUST(db_open(&db, path, false, e));
	MUST(db_exec(&db, "ALTER TABLE chunk RENAME COLUMN heading TO head", e));
	assert_false(store_open(&f->config, &store, &err));
	assert_int_equal(err.code, ERR_STORE_FAILED);
	assert_non_null(strstr(err.msg, "collection 1"));
	MUST(db_exec(&db, "ALTER TABLE chunk RENAME COLUMN head TO heading", e));
	MUST(db_exec(&db, "SELECT rowid FROM words_1 WHERE words_1 MATCH 'run'", e));
	db_close(&db);
	MUST(store_open(&f->config, &f->store, e));
	assert_int_equal(find(f, "a", "runs", NULL, &arena).lexical_count, 1);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(finds_identifiers),     TEST(prefers_quotations),
		TEST(weighs_repeated_words), TEST(reads_other_languages),
		TEST(renews_old_files),	     TEST(leaves_what_it_cannot_renew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
