/* What every store must do; runs over each row of store_registry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/auto.h"
#include "common/base/mem.h"
#include "jobs/spec/filter.h"
#include "jobs/spec/store.h"
#include "jobs/store/store.h"
#include "tests/support/chroma_server.h"
#include "tests/support/folder.h"
#include "tests/support/redis_server.h"

#define DIM 8
#define ARENA_BYTES ((size_t)64 * 1024 * 1024)

static const struct store_ops *current; /* the row under test */
static struct chroma_server *chroma;	/* of the row `chroma`; a database for each test */
static struct redis_server *redis;	/* where its writers are counted */
static int databases;

struct fixture {
	char folder[FOLDER_BYTES];
	char database[32];
	struct config config;
	struct store *store;
	struct arena arena;
};

static void
open_store(struct fixture *fixture)
{
	struct err err = ERR_INIT;

	if (!current->open(&fixture->config, &fixture->store, &err))
		fail_msg("%s (%s)", err.msg, err.cause);
}

static void
reopen_store(struct fixture *fixture)
{
	store_close(fixture->store);
	open_store(fixture);
}

static bool
has(unsigned cap)
{
	return (current->caps & cap) != 0;
}

/* What the lexical leg finds: nothing where there is none. */
static size_t
lexical(size_t count)
{
	return has(STORE_CAP_LEXICAL) ? count : 0;
}

/* Where nobody has made a store yet. */
static void
new_place(struct fixture *fixture)
{
	(void)snprintf(fixture->database, sizeof(fixture->database), "contract-%d", databases++);
	fixture->config.chroma_database = fixture->database;
}

static int
set_up(void **state)
{
	struct fixture *fixture = mem_alloc(sizeof(*fixture));

	folder_make(fixture->folder);
	fixture->config.data_dir = fixture->folder;
	fixture->config.vector_cache_bytes = (int64_t)1 << 30;
	if (chroma) {
		chroma_configure(&fixture->config, chroma_server_port(chroma),
				 redis_server_url(redis));
		new_place(fixture);
	}
	arena_init(&fixture->arena, ARENA_BYTES);
	open_store(fixture);
	*state = fixture;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *fixture = *state;

	store_close(fixture->store);
	arena_release(&fixture->arena);
	folder_remove(fixture->folder);
	mem_free(fixture);
	return 0;
}

/* A unit vector near axis `topic`, a little turned by `tilt`. */
static void
make_vector(float out[DIM], int topic, float tilt)
{
	float length = sqrtf(1 + tilt * tilt);

	memset(out, 0, DIM * sizeof(float));
	out[topic % DIM] = 1 / length;
	out[(topic + 1) % DIM] = tilt / length;
}

struct doc {
	const char *uid, *id, *gen, *title, *uri, *metadata;
	const char *const *texts; /* NULL-terminated */
	int topic;
};

static const struct doc doc_defaults = {
	.uid = "c1", .gen = "1.1", .title = "", .uri = "", .metadata = ""
};

#define MAX_CHUNKS 1024

static bool
put_dim(struct store *store, const struct doc *doc, size_t dim, struct err *err)
{
	struct store_chunk *chunks = mem_array(MAX_CHUNKS, sizeof(*chunks));
	float(*vectors)[DIM] = mem_array(MAX_CHUNKS, sizeof(*vectors));
	size_t count = 0;

	for (; doc->texts[count]; count++) {
		make_vector(vectors[count], doc->topic, 0.01F * (float)count);
		chunks[count] = (struct store_chunk){
			.ordinal = (int64_t)count,
			.text = str_of(doc->texts[count]),
			.heading = STR("Part > One"),
			.start = (int64_t)count * 10,
			.end = (int64_t)count * 10 + 9,
			.page = 3,
			.vector = vectors[count],
		};
	}

	struct store_document document = {
		.uid = str_of(doc->uid),
		.document_id = str_of(doc->id),
		.gen = str_of(doc->gen),
		.title = str_of(doc->title),
		.uri = str_of(doc->uri),
		.metadata = str_of(doc->metadata),
		.chunks = chunks,
		.count = count,
		.dim = dim,
	};
	bool ok = store->ops->put(store, &document, err);

	mem_free(chunks);
	mem_free(vectors);
	return ok;
}

static void
put_doc(struct store *store, const struct doc *doc)
{
	struct err err = ERR_INIT;

	if (!put_dim(store, doc, DIM, &err))
		fail_msg("%s (%s)", err.msg, err.cause);
}

static void
put_texts(struct store *store, const char *uid, const char *id, const char *gen, int topic,
	  const char *const *texts)
{
	struct doc doc = doc_defaults;

	doc.uid = uid;
	doc.id = id;
	doc.gen = gen;
	doc.topic = topic;
	doc.texts = texts;
	put_doc(store, &doc);
}

static int64_t
count_of(struct store *store, const char *uid, const char *id, const char *gen)
{
	struct err err = ERR_INIT;
	int64_t count = -1;

	if (!store->ops->count(store, str_of(uid), str_of(id), str_of(gen), &count, &err))
		fail_msg("%s (%s)", err.msg, err.cause);
	return count;
}

struct ask {
	const char *uid, *text, *filter;
	int topic; /* -1: no dense leg */
	size_t limit;
};

static bool
try_search(struct store *store, struct arena *arena, const struct ask *ask, struct store_hits *out,
	   struct err *err)
{
	struct filter *filter = NULL;
	float vector[DIM];
	struct store_search search = {
		.uid = str_of(ask->uid ? ask->uid : "c1"),
		.text = str_of(ask->text),
		.dim = DIM,
		.lexical = ask->text != NULL,
		.limit = ask->limit ? ask->limit : 10,
	};

	if (ask->filter && !filter_parse(str_of(ask->filter), arena, &filter, err))
		return false;
	if (ask->topic >= 0) {
		make_vector(vector, ask->topic, 0);
		search.vector = vector;
	}
	search.filter = filter;
	return store->ops->search(store, &search, arena, out, err);
}

static struct store_hits
search(struct fixture *fixture, struct ask ask)
{
	struct store_hits hits = { 0 };
	struct err err = ERR_INIT;

	if (!try_search(fixture->store, &fixture->arena, &ask, &hits, &err))
		fail_msg("%s (%s)", err.msg, err.cause);
	return hits;
}

#define SEARCH(fixture, ...) search(fixture, (struct ask){ __VA_ARGS__ })

static void
assert_str(struct str got, const char *want)
{
	if (!str_eq_c(got, want))
		fail_msg("got '" STR_FMT "', want '%s'", STR_ARG(got), want);
}

/* ---- putting, finding, counting ---- */

static void
finds_what_was_put(void **state)
{
	struct fixture *fixture = *state;
	struct doc doc = doc_defaults;
	static const char *const texts[] = { "the quick brown fox", "jumps over the lazy dog",
					     NULL };

	doc.id = "d1";
	doc.gen = "4.2";
	doc.title = "Animals";
	doc.uri = "http://example.org/a";
	doc.metadata = "{\"lang\":\"en\"}";
	doc.topic = 2;
	doc.texts = texts;
	put_doc(fixture->store, &doc);
	assert_int_equal(count_of(fixture->store, "c1", "d1", "4.2"), 2);
	assert_int_equal(count_of(fixture->store, "c1", "d1", "4.3"), 0);
	assert_int_equal(count_of(fixture->store, "c2", "d1", "4.2"), 0);

	struct store_hits hits = SEARCH(fixture, .text = "jumping dogs", .topic = 2);

	assert_int_equal(hits.dense_count, 2);
	assert_int_equal(hits.lexical_count, lexical(1));
	assert_false(hits.dense_more);
	assert_false(hits.lexical_more);
	assert_true(hits.dense[0].score > hits.dense[1].score);
	assert_true(fabsf(hits.dense[0].score - 1) < 1e-6F);
	assert_true(fabsf(hits.dense[1].score - 1 / sqrtf(1.0001F)) < 1e-6F);
	if (has(STORE_CAP_LEXICAL)) {
		assert_true(hits.lexical[0].score > 0);
		assert_int_equal(hits.lexical[0].row, hits.dense[1].row);
	}
	assert_str(hits.dense[0].text, "the quick brown fox");

	const struct store_hit *hit = has(STORE_CAP_LEXICAL) ? &hits.lexical[0] : &hits.dense[1];

	assert_str(hit->document_id, "d1");
	assert_str(hit->gen, "4.2");
	assert_str(hit->title, "Animals");
	assert_str(hit->uri, "http://example.org/a");
	assert_str(hit->metadata, "{\"lang\":\"en\"}");
	assert_str(hit->heading, "Part > One");
	assert_str(hit->text, "jumps over the lazy dog");
	assert_int_equal(hit->ordinal, 1);
	assert_int_equal(hit->start, 10);
	assert_int_equal(hit->end, 19);
	assert_int_equal(hit->page, 3);
}

static void
unknown_collection_is_empty(void **state)
{
	struct fixture *fixture = *state;
	struct store_hits hits = SEARCH(fixture, .uid = "nobody", .text = "fox", .topic = 0);
	struct err err = ERR_INIT;

	assert_int_equal(hits.dense_count + hits.lexical_count, 0);
	assert_true(fixture->store->ops->remove_collection(fixture->store, STR("nobody"), &err));
	assert_true(fixture->store->ops->remove_generation(fixture->store, STR("nobody"), STR("d"),
							   STR("1.1"), &err));
	assert_true(fixture->store->ops->ping(fixture->store, &err));
}

/* What the API believes of the store, which it does not link. */
static void
is_known_to_the_api(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(spec_store_has_lexical(&fixture->config), has(STORE_CAP_LEXICAL));
	assert_string_equal(config_store_names[fixture->config.store], current->name);
}

static void
limit_and_more(void **state)
{
	struct fixture *fixture = *state;
	static const char *const texts[] = { "fox one", "fox two two", "fox three three three",
					     "fox",	"hen",	       NULL };

	put_texts(fixture->store, "c1", "d", "1.1", 1, texts);

	struct store_hits hits = SEARCH(fixture, .text = "fox", .topic = 1, .limit = 3);

	assert_int_equal(hits.dense_count, 3);
	assert_true(hits.dense_more);
	assert_int_equal(hits.lexical_count, lexical(3));
	assert_int_equal(hits.lexical_more, has(STORE_CAP_LEXICAL));
	if (has(STORE_CAP_LEXICAL))
		assert_str(hits.lexical[0].text, "fox"); /* the shortest */
	for (size_t i = 1; i < 3; i++) {
		assert_true(hits.dense[i - 1].score >= hits.dense[i].score);
		assert_true(i >= hits.lexical_count ||
			    hits.lexical[i - 1].score >= hits.lexical[i].score);
	}
	hits = SEARCH(fixture, .text = "fox", .topic = 1, .limit = 5);
	assert_int_equal(hits.dense_count, 5);
	assert_false(hits.dense_more);
	assert_int_equal(hits.lexical_count, lexical(4));
	assert_false(hits.lexical_more);
	hits = SEARCH(fixture, .text = NULL, .topic = 1);
	assert_int_equal(hits.lexical_count, lexical(0));
	hits = SEARCH(fixture, .text = "fox", .topic = -1);
	assert_int_equal(hits.dense_count, 0);
}

static void
putting_again_replaces(void **state)
{
	struct fixture *fixture = *state;
	static const char *const before[] = { "red apple", "green apple", "blue apple", NULL };
	static const char *const after[] = { "ripe pear", NULL };

	put_texts(fixture->store, "c1", "d", "1.1", 1, before);
	put_texts(fixture->store, "c1", "d", "1.1", 1, before);
	assert_int_equal(count_of(fixture->store, "c1", "d", "1.1"), 3);
	assert_int_equal(SEARCH(fixture, .text = "apple", .topic = 1).lexical_count, lexical(3));
	put_texts(fixture->store, "c1", "d", "1.1", 1, after);
	assert_int_equal(count_of(fixture->store, "c1", "d", "1.1"), 1);

	struct store_hits hits = SEARCH(fixture, .text = "apple pear", .topic = 1);

	assert_int_equal(hits.dense_count, 1);
	assert_int_equal(hits.lexical_count, lexical(1));
	assert_str(hits.dense[0].text, "ripe pear");
}

static void
survives_close_and_open(void **state)
{
	struct fixture *fixture = *state;
	static const char *const texts[] = { "kept for good", NULL };
	static const char *const more[] = { "added later", NULL };

	put_texts(fixture->store, "c1", "d", "1.1", 1, texts);
	reopen_store(fixture);
	put_texts(fixture->store, "c1", "e", "2.1", 1, more);
	reopen_store(fixture);

	struct store_hits hits = SEARCH(fixture, .text = "kept later", .topic = 1);

	assert_int_equal(hits.dense_count, 2);
	assert_int_equal(hits.lexical_count, lexical(2));
	assert_int_equal(count_of(fixture->store, "c1", "d", "1.1"), 1);
}

/* ---- removing ---- */

static void
removes_generations(void **state)
{
	struct fixture *fixture = *state;
	struct store *store = fixture->store;
	static const char *const texts[] = { "same words", "same words again", NULL };
	struct err err = ERR_INIT;

	for (int seq = 1; seq <= 9; seq++) {
		char gen[16];

		(void)snprintf(gen, sizeof(gen), "%d.1", seq);
		put_texts(store, "c1", "d", gen, seq, texts);
	}
	put_texts(store, "c1", "d", "10.1", 1, texts);
	put_texts(store, "c1", "d", "5.2", 1, texts);
	put_texts(store, "c1", "other", "1.1", 1, texts);
	assert_int_equal(SEARCH(fixture, .text = "words", .topic = 1, .limit = 100).dense_count,
			 24);
	for (int i = 0; i < 2; i++) {
		assert_true(store->ops->remove_generation(store, STR("c1"), STR("d"), STR("9.1"),
							  &err));
		assert_int_equal(count_of(store, "c1", "d", "9.1"), 0);
	}
	for (int i = 0; i < 2; i++) {
		assert_true(
			store->ops->remove_older(store, STR("c1"), STR("d"), 8, STR("5.2"), &err));
		assert_int_equal(count_of(store, "c1", "d", "5.2"), 2);
		assert_int_equal(count_of(store, "c1", "d", "5.1"), 0);
		assert_int_equal(count_of(store, "c1", "d", "7.1"), 0);
		assert_int_equal(count_of(store, "c1", "d", "8.1"), 2);
		assert_int_equal(count_of(store, "c1", "d", "10.1"), 2);
		assert_int_equal(count_of(store, "c1", "other", "1.1"), 2);
	}

	struct store_hits hits = SEARCH(fixture, .text = "words", .topic = 1, .limit = 100);

	assert_int_equal(hits.dense_count, 8);
	assert_int_equal(hits.lexical_count, lexical(8));
	assert_true(store->ops->remove_older(store, STR("c1"), STR("d"), 1000, STR(""), &err));
	assert_int_equal(SEARCH(fixture, .text = "words", .topic = 1).dense_count, 2);
}

static void
collections_are_apart(void **state)
{
	struct fixture *fixture = *state;
	struct store *store = fixture->store;
	static const char *const texts[] = { "rare word here", NULL };
	static const char *const crowd[] = { "rare rare", "rare", "rare thing", "rare sort", NULL };
	struct err err = ERR_INIT;

	put_texts(store, "c1", "d", "1.1", 1, texts);
	put_texts(store, "c1", "e", "2.1", 1, (const char *const[]){ "common things", NULL });

	struct store_hits before = SEARCH(fixture, .text = "rare", .topic = 1);

	put_texts(store, "c2", "d", "1.1", 1, crowd);

	struct store_hits hits = SEARCH(fixture, .text = "rare", .topic = 1);

	assert_int_equal(hits.lexical_count, lexical(1));
	if (has(STORE_CAP_LEXICAL)) /* others' words do not change it */
		assert_true(hits.lexical[0].score == before.lexical[0].score);
	assert_int_equal(hits.dense_count, 2);
	for (int i = 0; i < 2; i++)
		assert_true(store->ops->remove_collection(store, STR("c1"), &err));
	assert_int_equal(SEARCH(fixture, .text = "rare", .topic = 1).dense_count, 0);
	assert_int_equal(SEARCH(fixture, .uid = "c2", .text = "rare", .topic = 1).lexical_count,
			 lexical(4));
	/* a writer that comes late, with more of it than before */
	put_texts(store, "c1", "d", "1.1", 1, crowd);
	assert_int_equal(SEARCH(fixture, .text = "rare", .topic = 1).dense_count, 4);
}

struct listing {
	int64_t generations, chunks;
	int64_t stop_after;
};

static bool
list_one(void *user, const struct store_generation *generation, struct err *err)
{
	struct listing *listing = user;

	listing->generations++;
	listing->chunks += generation->chunks;
	assert_true(generation->uid.len == 2 && generation->document_id.len > 0);
	if (listing->stop_after == listing->generations)
		return err_set(err, ERR_CANCELLED, "enough");
	return true;
}

static void
lists_generations(void **state)
{
	struct fixture *fixture = *state;
	struct store *store = fixture->store;
	static const char *const two[] = { "a b", "c d", NULL };
	struct listing all = { 0 }, some = { .stop_after = 2 };
	struct err err = ERR_INIT;

	put_texts(store, "c1", "d", "1.1", 1, two);
	put_texts(store, "c1", "d", "2.1", 1, two);
	put_texts(store, "c2", "d", "1.1", 1, two + 1);
	assert_true(store->ops->each_generation(store, list_one, &all, &err));
	assert_int_equal(all.generations, 3);
	assert_int_equal(all.chunks, 5);
	assert_false(store->ops->each_generation(store, list_one, &some, &err));
	assert_int_equal(err.code, ERR_CANCELLED);
	assert_int_equal(some.generations, 2);
}

/* ---- bad input ---- */

static void
refuses_bad_input(void **state)
{
	struct fixture *fixture = *state;
	struct doc doc = doc_defaults;
	static const char *const texts[] = { "some text", NULL };
	struct err err = ERR_INIT;

	doc.id = "d";
	doc.texts = texts;
	put_doc(fixture->store, &doc);
	doc.id = "e";
	assert_false(put_dim(fixture->store, &doc, DIM - 1, &err));
	assert_int_equal(err.code, ERR_EMBEDDER_MISMATCH);
	doc.gen = "first";
	assert_false(put_dim(fixture->store, &doc, DIM, &err));
	assert_int_equal(err.code, ERR_INVALID);

	struct store_hits hits = { 0 };
	float vector[DIM - 1] = { 1 };
	struct store_search bad = {
		.uid = STR("c1"), .vector = vector, .dim = DIM - 1, .limit = 3
	};

	assert_false(
		fixture->store->ops->search(fixture->store, &bad, &fixture->arena, &hits, &err));
	assert_int_equal(err.code, ERR_EMBEDDER_MISMATCH);
	assert_int_equal(SEARCH(fixture, .text = "some", .topic = 0).dense_count, 1);
}

static void
hostile_questions_are_just_words(void **state)
{
	struct fixture *fixture = *state;
	static const char *const texts[] = { "AND or near the title column",
					     "\xc3\x9c"
					     "ber c\xc3\xa4sar don't",
					     "what is this", NULL };
	static const char *const questions[] = {
		"\"",
		"\"\"",
		"AND",
		"AND OR NOT",
		"NEAR(",
		"NEAR(a b, 2)",
		"*",
		"^",
		"title:",
		"title : x",
		"{a b} :",
		"-column",
		"a + b",
		"(((",
		")",
		"col\"umn\"",
		"'; DROP TABLE chunk; --",
		"\xff\xfe",
		"",
		"   ",
		"?1",
		"\\",
		"\xe2\x80\x8b",
		"near*",
		"don't",
		"'",
		"\xc2\xbd",
		"\xf0\x9f\x98\x80",
		"words_1",
	};

	put_texts(fixture->store, "c1", "d", "1.1", 1, texts);
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++)
		(void)SEARCH(fixture, .text = questions[i], .topic = -1);

	struct store_search nul = {
		.uid = STR("c1"), .text = STR("col\0umn"), .lexical = true, .limit = 3
	};
	struct store_hits hits = { 0 };
	struct err err = ERR_INIT;

	assert_true(
		fixture->store->ops->search(fixture->store, &nul, &fixture->arena, &hits, &err));
	assert_int_equal(hits.lexical_count, lexical(0));
	assert_int_equal(SEARCH(fixture, .text = "NEAR(", .topic = -1).lexical_count, lexical(1));
	assert_int_equal(SEARCH(fixture, .text = "title:\"column\"", .topic = -1).lexical_count,
			 lexical(1));
	assert_int_equal(SEARCH(fixture, .text = "UBER CASAR", .topic = -1).lexical_count,
			 lexical(1));
	assert_int_equal(SEARCH(fixture, .text = "don't", .topic = -1).lexical_count, lexical(1));
	/* only stop words: they count; beside another word they do not */
	assert_int_equal(SEARCH(fixture, .text = "what is this?", .topic = -1).lexical_count,
			 lexical(1));
	assert_int_equal(SEARCH(fixture, .text = "what is the column?", .topic = -1).lexical_count,
			 lexical(1));
}

static void
long_questions_work(void **state)
{
	struct fixture *fixture = *state;
	static const char *const texts[] = { "needle w1", "w2", NULL };
	char question[16000];
	size_t len = 0;

	put_texts(fixture->store, "c1", "d", "1.1", 1, texts);
	for (int i = 0; i < 2000; i++)
		len += (size_t)snprintf(question + len, sizeof(question) - len, "w%d ", i);
	assert_int_equal(SEARCH(fixture, .text = question, .topic = -1).lexical_count, lexical(2));
}

/* ---- filters ---- */

static void
put_with_metadata(struct fixture *fixture, const char *id, const char *metadata)
{
	static const char *const texts[] = { "filtered text", NULL };
	struct doc doc = doc_defaults;
	char uri[64];

	(void)snprintf(uri, sizeof(uri), "u:%s", id);
	doc.id = id;
	doc.title = "T";
	doc.uri = uri;
	doc.metadata = metadata;
	doc.texts = texts;
	put_doc(fixture->store, &doc);
}

/* The ids of the hits, sorted, one letter each. */
static const char *
ids_of(struct store_hits hits, bool dense, char out[32])
{
	const struct store_hit *list = dense ? hits.dense : hits.lexical;
	size_t count = dense ? hits.dense_count : hits.lexical_count, len = 0;

	for (int id = 'a'; id <= 'z'; id++) {
		for (size_t i = 0; i < count; i++) {
			if (list[i].document_id.ptr[0] == id)
				out[len++] = (char)id;
		}
	}
	out[len] = '\0';
	return out;
}

static void
filters_select(void **state)
{
	struct fixture *fixture = *state;
	static const struct {
		const char *filter, *want;
	} cases[] = {
		{ "{}", "abcdefg" },
		{ "{\"lang\":\"en\"}", "ab" },
		{ "{\"lang\":{\"$eq\":\"de\"}}", "c" },
		{ "{\"lang\":\"EN\"}", "" },
		{ "{\"lang\":{\"$ne\":\"en\"}}", "cdefg" },
		{ "{\"year\":2020}", "a" },
		{ "{\"year\":2020.0}", "a" },
		{ "{\"year\":\"2020\"}", "d" },
		{ "{\"year\":{\"$gt\":2020}}", "bc" },
		{ "{\"year\":{\"$gte\":2020,\"$lt\":2022}}", "ab" },
		{ "{\"year\":{\"$lte\":2021.5}}", "ab" },
		{ "{\"year\":{\"$lt\":\"3\"}}", "d" },
		{ "{\"lang\":{\"$gt\":\"de\"}}", "ab" },
		{ "{\"tag\":\"x\"}", "ab" },
		{ "{\"tag\":{\"$in\":[\"x\",\"z\"]}}", "abc" },
		{ "{\"tag\":{\"$in\":[]}}", "" },
		{ "{\"tag\":{\"$nin\":[\"x\",\"z\"]}}", "defg" },
		{ "{\"tag\":{\"$nin\":[]}}", "abcdefg" },
		{ "{\"tag\":{\"$ne\":\"x\"}}", "cdefg" },
		{ "{\"tag\":{\"$in\":[\"z\",7,true]}}", "bcd" },
		{ "{\"tag\":1}", "" },
		{ "{\"ok\":true}", "ae" },
		{ "{\"ok\":false}", "b" },
		{ "{\"ok\":null}", "c" },
		{ "{\"ok\":1}", "" },
		{ "{\"ok\":{\"$ne\":true}}", "bcdfg" },
		{ "{\"document_id\":\"c\"}", "c" },
		{ "{\"document_id\":{\"$in\":[\"a\",\"g\",5]}}", "ag" },
		{ "{\"document_id\":{\"$nin\":[\"a\",5]}}", "bcdefg" },
		{ "{\"document_id\":{\"$gt\":\"e\"}}", "fg" },
		{ "{\"document_id\":5}", "" },
		{ "{\"document_id\":{\"$ne\":5}}", "abcdefg" },
		{ "{\"title\":\"T\",\"uri\":\"u:b\"}", "b" },
		{ "{\"title\":\"t\"}", "" },
		{ "{\"$or\":[{\"lang\":\"de\"},{\"year\":2020}]}", "ac" },
		{ "{\"$and\":[{\"lang\":\"en\"},{\"year\":{\"$gt\":2020}}]}", "b" },
		{ "{\"$not\":{\"lang\":\"en\"}}", "cdefg" },
		{ "{\"$not\":{\"$or\":[{\"lang\":\"en\"},{\"tag\":\"z\"}]}}", "defg" },
		{ "{\"lang\":\"en\",\"$not\":{\"tag\":{\"$in\":[7]}}}", "a" },
		{ "{\"missing\":\"x\"}", "" },
		{ "{\"missing\":{\"$gt\":0}}", "" },
		{ "{\"missing\":{\"$nin\":[\"x\"]}}", "abcdefg" },
		{ "{\"o'; DROP TABLE chunk; --\":\"1\"}", "" },
		{ "{\"we\\\"ird.$[0]\":\"q\\\"'\"}", "f" },
		{ "{\"\xc3\xbc\":\"\xe4\xbd\xa0\"}", "f" },
		{ "{\"inner\":1}", "" },
	};
	char dense[32], words[32];

	put_with_metadata(fixture, "a",
			  "{\"lang\":\"en\",\"year\":2020,\"tag\":[\"x\",\"y\"],\"ok\":true}");
	put_with_metadata(fixture, "b",
			  "{\"lang\":\"en\",\"year\":2021,\"tag\":[\"x\",7,\"x\"],\"ok\":false}");
	put_with_metadata(fixture, "c",
			  "{\"lang\":\"de\",\"year\":2022.5,\"tag\":\"z\",\"ok\":null}");
	put_with_metadata(fixture, "d", "{\"year\":\"2020\",\"tag\":true}");
	put_with_metadata(fixture, "e", "{\"ok\":[true],\"tag\":[]}");
	put_with_metadata(fixture, "f",
			  "{\"we\\\"ird.$[0]\":\"q\\\"'\",\"\xc3\xbc\":\"\xe4\xbd\xa0\",\"deep\":{"
			  "\"inner\":1}}");
	put_with_metadata(fixture, "g", "");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct store_hits hits =
			SEARCH(fixture, .text = "filtered", .topic = 0, .filter = cases[i].filter);

		if (strcmp(ids_of(hits, true, dense), cases[i].want) != 0 ||
		    (has(STORE_CAP_LEXICAL) &&
		     strcmp(ids_of(hits, false, words), cases[i].want) != 0))
			fail_msg("%s: dense '%s', lexical '%s', want '%s'", cases[i].filter, dense,
				 words, cases[i].want);
	}
}

static void
narrow_filter_fills_the_limit(void **state)
{
	struct fixture *fixture = *state;
	const char *texts[101] = { NULL };
	char words[100][48];

	for (size_t i = 0; i < 100; i++)
		texts[i] = words[i];
	for (int d = 0; d < 100; d++) {
		struct doc doc = doc_defaults;
		char id[16], metadata[32];

		for (size_t i = 0; i < 100; i++)
			(void)snprintf(words[i], sizeof(words[i]), "shared term number %zu of %d",
				       i, d);
		(void)snprintf(id, sizeof(id), "d%d", d);
		(void)snprintf(metadata, sizeof(metadata), "{\"shelf\":%d}", d);
		doc.id = id;
		doc.metadata = metadata;
		doc.topic = d; /* the filtered document is far from the question */
		doc.texts = texts;
		put_doc(fixture->store, &doc);
	}

	struct store_hits hits = SEARCH(fixture, .text = "shared term", .topic = 0, .limit = 60,
					.filter = "{\"shelf\":37}");

	assert_int_equal(hits.dense_count, 60);
	assert_true(hits.dense_more);
	assert_int_equal(hits.lexical_count, lexical(60));
	assert_int_equal(hits.lexical_more, has(STORE_CAP_LEXICAL));
	for (size_t i = 0; i < 60; i++) {
		assert_str(hits.dense[i].document_id, "d37");
		if (has(STORE_CAP_LEXICAL))
			assert_str(hits.lexical[i].document_id, "d37");
	}
	hits = SEARCH(fixture, .text = "shared term", .topic = 0, .limit = 100,
		      .filter = "{\"shelf\":37}");
	assert_int_equal(hits.dense_count, 100);
	assert_false(hits.dense_more);
}

/* ---- several threads, several processes ---- */

struct crowd {
	struct store *store;
	int number;
	atomic_int *failures;
};

static const char *const crowd_texts[] = { "crowd one", "crowd two", "crowd three", NULL };

/* Replaces its own document again and again and looks at it: one generation, whole, at any time. */
static void *
crowd_main(void *user)
{
	struct crowd *crowd = user;
	struct arena arena;
	struct err err = ERR_INIT;
	char id[16], gen[16], filter[48];

	arena_init(&arena, ARENA_BYTES);
	(void)snprintf(id, sizeof(id), "d%d", crowd->number);
	(void)snprintf(filter, sizeof(filter), "{\"document_id\":\"%s\"}", id);
	for (int round = 1; round <= 20; round++) {
		struct doc doc = doc_defaults;
		struct ask ask = { .uid = "c1", .text = "crowd", .filter = filter };
		struct store_hits hits = { 0 };

		(void)snprintf(gen, sizeof(gen), "%d.1", round);
		doc.id = id;
		doc.gen = gen;
		doc.texts = crowd_texts;
		if (!put_dim(crowd->store, &doc, DIM, &err) ||
		    !crowd->store->ops->remove_older(crowd->store, STR("c1"), str_of(id), round,
						     str_of(gen), &err) ||
		    !try_search(crowd->store, &arena, &ask, &hits, &err)) {
			print_error("%s (%s)\n", err.msg, err.cause);
			atomic_fetch_add(crowd->failures, 1);
			break;
		}
		if (hits.dense_count != 3 || hits.lexical_count != lexical(3) ||
		    !str_eq_c(hits.dense[0].gen, gen))
			atomic_fetch_add(crowd->failures, 1);
		arena_reset(&arena);
	}
	arena_release(&arena);
	return NULL;
}

/* Looks at everything while others write: with STORE_CAP_SNAPSHOT generations are whole in both legs, and the legs agree. */
static void *
watcher_main(void *user)
{
	struct crowd *crowd = user;
	struct arena arena;
	struct err err = ERR_INIT;

	arena_init(&arena, ARENA_BYTES);
	for (int round = 0; round < 60; round++) {
		struct ask ask = { .uid = "c1", .text = "crowd", .limit = 1000 };
		struct store_hits hits = { 0 };

		if (!try_search(crowd->store, &arena, &ask, &hits, &err) ||
		    (has(STORE_CAP_SNAPSHOT) &&
		     (hits.dense_count % 3 != 0 || hits.dense_count != hits.lexical_count))) {
			print_error("watcher: %zu, %zu, %s\n", hits.dense_count, hits.lexical_count,
				    err.msg);
			atomic_fetch_add(crowd->failures, 1);
		}
		arena_reset(&arena);
	}
	arena_release(&arena);
	return NULL;
}

/* Its puts fail beside the others', in the same transactions. */
static void *
spoiler_main(void *user)
{
	struct crowd *crowd = user;
	struct doc doc = doc_defaults;
	struct err err = ERR_INIT;

	doc.id = "spoiler";
	doc.texts = crowd_texts;
	for (int round = 0; round < 40; round++) {
		if (put_dim(crowd->store, &doc, DIM - 1, &err) || err.code != ERR_EMBEDDER_MISMATCH)
			atomic_fetch_add(crowd->failures, 1);
	}
	return NULL;
}

static int
run_crowd(struct store *store, int first, int count)
{
	pthread_t threads[16];
	struct crowd crowds[16];
	atomic_int failures = 0;

	for (int i = 0; i < count + 2; i++) {
		void *(*main_of)(void *) = i < count	? crowd_main
					   : i == count ? watcher_main
							: spoiler_main;

		crowds[i] = (struct crowd){ store, first + i, &failures };
		assert_int_equal(pthread_create(&threads[i], NULL, main_of, &crowds[i]), 0);
	}
	for (int i = 0; i < count + 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	return failures;
}

/* So many chunks, and a search that asks for more finds all of them where nothing is missed. */
static void
assert_all_there(struct fixture *fixture, int64_t chunks)
{
	struct listing all = { 0 };
	struct err err = ERR_INIT;
	struct store_hits hits;

	assert_true(fixture->store->ops->each_generation(fixture->store, list_one, &all, &err));
	assert_int_equal(all.chunks, chunks);
	hits = SEARCH(fixture, .text = "crowd", .topic = 0, .limit = (size_t)chunks + 100);
	assert_true((int64_t)hits.dense_count <= chunks);
	if (has(STORE_CAP_EXACT))
		assert_int_equal(hits.dense_count, chunks);
	assert_int_equal(hits.lexical_count, lexical((size_t)chunks));
}

static void
threads_share_a_store(void **state)
{
	struct fixture *fixture = *state;

	put_texts(fixture->store, "c1", "first", "1.1", 0, crowd_texts);
	assert_int_equal(run_crowd(fixture->store, 0, 6), 0);
	assert_all_there(fixture, 21);
}

static int
wait_child(pid_t child)
{
	int status = -1;

	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void
processes_share_a_store(void **state)
{
	struct fixture *fixture = *state;
	pid_t children[2];

	put_texts(fixture->store, "c1", "first", "1.1", 0, crowd_texts);
	store_close(fixture->store);
	for (int i = 0; i < 2; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			open_store(fixture);

			int failures = run_crowd(fixture->store, 10 * i, 2);

			store_close(fixture->store);
			_exit(failures);
		}
	}
	for (int i = 0; i < 2; i++)
		assert_int_equal(wait_child(children[i]), 0);
	open_store(fixture);
	assert_all_there(fixture, 15);
}

/* Several open a store that nobody has made yet. */
static void
processes_make_a_store(void **state)
{
	struct fixture *fixture = *state;
	pid_t children[6];

	bool is_file = strcmp(current->name, "sqlite") == 0;

	for (int round = 0; round < (is_file ? 60 : 4); round++) {
		store_close(fixture->store);
		folder_remove(fixture->folder);
		new_place(fixture);
		for (int i = 0; i < 6; i++) {
			children[i] = fork();
			if (children[i] == 0) {
				char id[2] = { (char)('a' + i), 0 };

				open_store(fixture);
				put_texts(fixture->store, "c1", id, "1.1", i, crowd_texts);
				store_close(fixture->store);
				_exit(0);
			}
		}
		for (int i = 0; i < 6; i++)
			assert_int_equal(wait_child(children[i]), 0);
		open_store(fixture);
		assert_all_there(fixture, 18);
	}
}

/* Killed at any moment: what was answered is there; with STORE_CAP_SNAPSHOT generations are whole or not there. */
static void
killed_writer_leaves_whole_generations(void **state)
{
	struct fixture *fixture = *state;
	char gen[32] = "";
	int64_t answered = 0;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	store_close(fixture->store);

	pid_t child = fork();

	if (child == 0) {
		open_store(fixture);
		for (int64_t seq = 1;; seq++) {
			(void)snprintf(gen, sizeof(gen), "%lld.1", (long long)seq);
			put_texts(fixture->store, "c1", "d", gen, 0, crowd_texts);
			if (write(ends[1], &seq, sizeof(seq)) != sizeof(seq))
				_exit(1);
		}
	}
	while (answered < 40)
		assert_int_equal(read(ends[0], &answered, sizeof(answered)), sizeof(answered));
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(wait_child(child), 1000 + SIGKILL);
	(void)close(ends[1]);
	while (read(ends[0], &answered, sizeof(answered)) == sizeof(answered))
		;
	(void)close(ends[0]);
	open_store(fixture);

	struct listing all = { 0 };
	struct err err = ERR_INIT;

	assert_true(fixture->store->ops->each_generation(fixture->store, list_one, &all, &err));
	assert_in_range(all.generations, answered, answered + 1);
	if (has(STORE_CAP_SNAPSHOT))
		assert_int_equal(all.chunks, 3 * all.generations);
	assert_in_range(all.chunks, 3 * answered, 3 * all.generations);
	assert_all_there(fixture, all.chunks);
}

/* What another process puts and removes is seen by the next search. */
static void
sees_other_processes(void **state)
{
	struct fixture *fixture = *state;
	struct store *mine = fixture->store;
	static const char *const texts[] = { "from elsewhere", NULL };
	struct err err = ERR_INIT;

	put_texts(mine, "c1", "a", "1.1", 0, texts);
	assert_int_equal(SEARCH(fixture, .text = "elsewhere", .topic = 0).dense_count, 1);
	open_store(fixture);

	struct store *other = fixture->store;

	put_texts(other, "c1", "b", "2.1", 0, texts);
	fixture->store = mine;
	assert_int_equal(SEARCH(fixture, .text = "elsewhere", .topic = 0).dense_count, 2);
	assert_true(other->ops->remove_generation(other, STR("c1"), STR("a"), STR("1.1"), &err));

	struct store_hits hits = SEARCH(fixture, .text = "elsewhere", .topic = 0);

	assert_int_equal(hits.dense_count, 1);
	assert_str(hits.dense[0].document_id, "b");
	store_close(other);
}

static void
small_memory_gives_the_same(void **state)
{
	struct fixture *fixture = *state;
	static const char *const texts[] = { "alpha", "beta", "gamma", "delta", NULL };

	put_texts(fixture->store, "c1", "d", "1.1", 3, texts);
	put_texts(fixture->store, "c1", "e", "2.1", 4, texts);
	put_texts(fixture->store, "c2", "f", "1.1", 4, texts);

	struct store_hits want = SEARCH(fixture, .text = "alpha", .topic = 4, .limit = 5);

	fixture->config.vector_cache_bytes = 0;
	reopen_store(fixture);
	for (int i = 0; i < 2; i++) {
		struct store_hits got = SEARCH(fixture, .text = "alpha", .topic = 4, .limit = 5);

		assert_int_equal(got.dense_count, want.dense_count);
		for (size_t k = 0; k < got.dense_count; k++)
			assert_int_equal(got.dense[k].row, want.dense[k].row);
		(void)SEARCH(fixture, .uid = "c2", .text = "alpha", .topic = 4);
	}
}

/* ---- faults ---- */

static void
store_path(const struct fixture *fixture, char out[FOLDER_BYTES + 16])
{
	(void)snprintf(out, FOLDER_BYTES + 16, "%s/rag.db", fixture->folder);
}

/* In a child that may not write beyond what the files have now and a little. */
static int
fill_the_disk(struct fixture *fixture)
{
	const struct rlimit limit = { (rlim_t)2 * 1024 * 1024, (rlim_t)2 * 1024 * 1024 };
	char *big = mem_alloc(300001);
	const char *texts[] = { big, NULL };
	struct err err = ERR_INIT;
	int64_t count = -1;
	int puts = 0;

	memset(big, 'x', 300000);
	(void)signal(SIGXFSZ, SIG_IGN);
	open_store(fixture);
	if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
		return 1;
	for (; puts < 100; puts++) {
		struct doc doc = doc_defaults;
		char id[16];

		(void)snprintf(id, sizeof(id), "fill%d", puts);
		doc.id = id;
		doc.texts = texts;
		if (put_dim(fixture->store, &doc, DIM, &err))
			continue;
		if (err.code != ERR_DISK_FULL)
			return 2;
		if (!fixture->store->ops->count(fixture->store, STR("c1"), str_of(id), STR("1.1"),
						&count, &err) ||
		    count != 0)
			return 3;
		break;
	}
	mem_free(big);
	/* what was there is still served */
	if (puts == 100 || count_of(fixture->store, "c1", "before", "1.1") != 3)
		return 4;
	store_close(fixture->store);
	return 0;
}

static void
full_disk_commits_nothing(void **state)
{
	struct fixture *fixture = *state;

	put_texts(fixture->store, "c1", "before", "1.1", 0, crowd_texts);
	store_close(fixture->store);

	pid_t child = fork();

	if (child == 0)
		_exit(fill_the_disk(fixture));

	int status = wait_child(child);

	open_store(fixture);
	assert_int_equal(status, 0);

	struct listing all = { 0 };
	struct err err = ERR_INIT;

	assert_true(fixture->store->ops->each_generation(fixture->store, list_one, &all, &err));
	assert_int_equal(all.chunks, 3 + all.generations - 1);
	/* with room again, it goes on */
	put_texts(fixture->store, "c1", "after", "1.1", 0, crowd_texts);
	assert_int_equal(SEARCH(fixture, .text = "crowd", .topic = -1).lexical_count, lexical(6));
}

static void
overwrite(const char *path, off_t offset, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, len, offset), (ssize_t)len);
	assert_int_equal(close(fd), 0);
}

static void
corrupt_file_is_said(void **state)
{
	struct fixture *fixture = *state;
	char path[FOLDER_BYTES + 16];
	struct store *store = NULL;
	struct err err = ERR_INIT;

	put_texts(fixture->store, "c1", "d", "1.1", 0, crowd_texts);
	store_close(fixture->store);
	store_path(fixture, path);
	overwrite(path, 0, "this is no database at all", 26);
	assert_false(current->open(&fixture->config, &store, &err));
	assert_int_equal(err.code, ERR_STORE_CORRUPT);
	assert_non_null(strstr(err.msg, path));
	assert_int_equal(unlink(path), 0);
	open_store(fixture);
}

static void
corrupt_pages_are_said(void **state)
{
	struct fixture *fixture = *state;
	char path[FOLDER_BYTES + 16];
	struct stat info;
	char noise[4096];
	struct store_hits hits = { 0 };
	struct ask ask = { .text = "crowd" };
	struct err err = ERR_INIT;

	put_texts(fixture->store, "c1", "d", "1.1", 0, crowd_texts);
	store_close(fixture->store);
	store_path(fixture, path);
	assert_int_equal(stat(path, &info), 0);
	memset(noise, 0xA5, sizeof(noise));
	for (off_t at = 4096; at < info.st_size; at += 4096)
		overwrite(path, at, noise, sizeof(noise));
	if (current->open(&fixture->config, &fixture->store, &err)) {
		assert_false(try_search(fixture->store, &fixture->arena, &ask, &hits, &err));
		store_close(fixture->store);
	}
	assert_int_equal(err.code, ERR_STORE_CORRUPT);
	assert_non_null(strstr(err.cause, path));
	folder_remove(fixture->folder);
	open_store(fixture);
}

static void
newer_file_is_refused(void **state)
{
	struct fixture *fixture = *state;
	char path[FOLDER_BYTES + 16];
	struct store *store = NULL;
	struct err err = ERR_INIT;
	const unsigned char newer[4] = { 0, 0, 0, 99 }, known[4] = { 0, 0, 0, 2 };

	store_close(fixture->store);
	store_path(fixture, path);
	overwrite(path, 60, newer, sizeof(newer)); /* user_version, in the file's header */
	assert_false(current->open(&fixture->config, &store, &err));
	assert_int_equal(err.code, ERR_STORE_FAILED);
	assert_non_null(strstr(err.msg, "newer program"));
	overwrite(path, 60, known, sizeof(known));
	open_store(fixture);
}

static void
folder_that_cannot_be_made(void **state)
{
	struct fixture *fixture = *state;
	struct config config = fixture->config;
	struct store *store = NULL;
	struct err err = ERR_INIT;
	char path[FOLDER_BYTES + 32];

	(void)snprintf(path, sizeof(path), "%s/a/b/c", fixture->folder);
	config.data_dir = path;
	assert_true(current->open(&config, &store, &err));
	store_close(store);
	(void)snprintf(path, sizeof(path), "%s/rag.db/x", fixture->folder);
	assert_false(current->open(&config, &store, &err));
	assert_int_equal(err.code, ERR_IO);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest contract[] = {
		TEST(finds_what_was_put),
		TEST(unknown_collection_is_empty),
		TEST(is_known_to_the_api),
		TEST(limit_and_more),
		TEST(putting_again_replaces),
		TEST(survives_close_and_open),
		TEST(removes_generations),
		TEST(collections_are_apart),
		TEST(lists_generations),
		TEST(refuses_bad_input),
		TEST(hostile_questions_are_just_words),
		TEST(long_questions_work),
		TEST(filters_select),
		TEST(narrow_filter_fills_the_limit),
		TEST(threads_share_a_store),
		TEST(processes_share_a_store),
		TEST(processes_make_a_store),
		TEST(killed_writer_leaves_whole_generations),
		TEST(sees_other_processes),
	};
	/* for a store that is a file */
	const struct CMUnitTest file[] = {
		TEST(small_memory_gives_the_same), TEST(full_disk_commits_nothing),
		TEST(corrupt_file_is_said),	   TEST(corrupt_pages_are_said),
		TEST(newer_file_is_refused),	   TEST(folder_that_cannot_be_made),
	};
	struct err err = ERR_INIT;
	int failed = 0;

	if (!http_client_global_init(&err))
		return 1;
	for (size_t i = 0; store_registry[i]; i++) {
		current = store_registry[i];
		print_message("store '%s'\n", current->name);
		if (strcmp(current->name, "chroma") == 0) {
			redis = redis_server_start(NULL);
			chroma = chroma_server_start();
		}
		failed += cmocka_run_group_tests_name(current->name, contract, NULL, NULL);
		if (strcmp(current->name, "sqlite") == 0)
			failed += cmocka_run_group_tests_name("sqlite file", file, NULL, NULL);
	}
	chroma_server_stop(chroma);
	redis_server_stop(redis);
	return failed;
}
