/*
 * rag-tune FOLDER...: what each choice of docs/retrieval.md is worth.
 *
 * FOLDER holds a test collection in BEIR's layout (cli/beir.h). It goes through our parser, chunker, embedder and sqlite
 * store (in a temporary folder), and each question through the search, the fusion and the reranker: as the engine does
 * it, but within this process, so that each weight can be varied. One line is one variant; the first ones are as chosen.
 * `ragctl eval` measures the engine itself, through its API.
 */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/beir.h"
#include "cli/score.h"
#include "common/base/auto.h"
#include "common/base/mem.h"
#include "jobs/provider/local.h"
#include "jobs/provider/provider.h"
#include "jobs/step/chunk.h"
#include "jobs/step/fuse.h"
#include "jobs/step/parse.h"
#include "jobs/step/rescore.h"
#include "jobs/store/store.h"

#define ARENA_BYTES ((size_t)1 << 30)
#define LEG_LIMIT 400 /* as retrieve does it for the 200 best */
#define LIST_MAX 200
#define RERANK_DEPTH 50
#define VARIANTS_MAX 192

enum method { LEXICAL, DENSE, HYBRID, RERANKED };

/* One variant: what is varied, and what came out. */
struct variant {
	char name[48];
	enum method method;
	struct lexical_weights lexical;
	bool other_weights; /* lexical is not as chosen */
	double dense_weight;
	struct rerank_shares shares;
	size_t rescored; /* > 0: no lexical leg, so many dense hits re-scored in its place */
	enum rescore_rarity rarity;
	double sums[SCORE_KINDS];
};

struct engine {
	struct config config;
	struct store *store;
	struct embedder *embedder;
	struct beir beir;
	struct variant variants[VARIANTS_MAX];
	size_t variant_count;
};

static const struct provider_call no_limit = { .deadline_mono_ms = 0 };

static _Noreturn void
give_up(const char *what, const struct err *err)
{
	(void)fprintf(stderr, "rag-tune: %s: %s %s\n", what, err->msg, err->cause);
	exit(1);
}

/* ---- the variants ---- */

static struct variant *
add_variant(struct engine *engine, enum method method, const char *name)
{
	struct variant *variant = &engine->variants[engine->variant_count++];

	*variant = (struct variant){ .method = method,
				     .lexical = lexical_weights_chosen,
				     .dense_weight = engine->embedder->dense_weight,
				     .shares = rerank_shares_chosen };
	(void)str_copy(variant->name, sizeof(variant->name), str_of(name));
	return variant;
}

static void
vary(struct engine *engine, enum method method, const char *name, size_t offset,
     const double *values, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct variant *variant = add_variant(engine, method, "");

		variant->other_weights = true;
		*(double *)(void *)((char *)&variant->lexical + offset) = values[i];
		(void)snprintf(variant->name, sizeof(variant->name), "%s %g", name, values[i]);
	}
}

#define VARY(engine, method, member, ...)                                                          \
	do {                                                                                       \
		static const double values_[] = { __VA_ARGS__ };                                   \
		vary(engine, method, #member, offsetof(struct lexical_weights, member), values_,   \
		     ARRAY_SIZE(values_));                                                         \
	} while (0)

static void
vary_shares(struct engine *engine)
{
	static const char *const names[] = { "company", "coverage", "nearness", "headline" };
	static const float values[] = { 0.05F, 0.1F, 0.2F, 0.3F, 0.4F };

	for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
		for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
			struct variant *variant = add_variant(engine, RERANKED, "");
			float shares[4] = { 0 };

			shares[n] = values[v];
			variant->shares = (struct rerank_shares){ shares[0], shares[1], shares[2],
								  shares[3] };
			(void)snprintf(variant->name, sizeof(variant->name), "only %s %g", names[n],
				       (double)values[v]);
		}
	}
	for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
		struct variant *variant = add_variant(engine, RERANKED, "");

		variant->shares.company = values[v];
		(void)snprintf(variant->name, sizeof(variant->name), "company %g",
			       (double)values[v]);
	}
}

/* As on a store without a lexical leg. */
static void
vary_rescored(struct engine *engine)
{
	static const char *const names[] = { [RESCORE_BOTH] = "rescored both",
					     [RESCORE_CANDIDATES] = "rescored idf",
					     [RESCORE_LISTS] = "rescored lists" };
	static const size_t depths[] = { 100, 200, 400 };

	for (size_t r = 0; r < ARRAY_SIZE(names); r++) {
		for (size_t d = 0; d < ARRAY_SIZE(depths); d++) {
			for (int reranked = 0; reranked < 2; reranked++) {
				struct variant *variant =
					add_variant(engine, reranked ? RERANKED : HYBRID, "");

				variant->rescored = depths[d];
				variant->rarity = (enum rescore_rarity)r;
				(void)snprintf(variant->name, sizeof(variant->name), "%zu %s%s",
					       depths[d], names[r], reranked ? " rerank" : "");
			}
		}
	}
}

static void
add_variants(struct engine *engine)
{
	static const double b_values[] = { 0.4, 0.5, 0.6, 0.75 };
	static const double k1_values[] = { 1.2, 1.5, 2, 2.5 };

	(void)add_variant(engine, LEXICAL, "lexical");
	(void)add_variant(engine, DENSE, "dense");
	(void)add_variant(engine, HYBRID, "hybrid");
	(void)add_variant(engine, RERANKED, "hybrid + rerank");
	for (size_t k = 0; k < ARRAY_SIZE(k1_values); k++) {
		for (size_t b = 0; b < ARRAY_SIZE(b_values); b++) {
			struct variant *variant = add_variant(engine, LEXICAL, "");

			variant->other_weights = true;
			variant->lexical.k1 = k1_values[k];
			variant->lexical.b = b_values[b];
			(void)snprintf(variant->name, sizeof(variant->name), "k1 %g b %g",
				       k1_values[k], b_values[b]);
		}
	}
	VARY(engine, LEXICAL, repeat, 0.001, 2, 8, 1000);
	VARY(engine, LEXICAL, title, 0, 1, 2, 3, 4);
	VARY(engine, LEXICAL, joined, 0, 0.2, 0.4, 0.8);
	VARY(engine, LEXICAL, exact, 0, 2, 4, 8);
	for (int w = 0; w <= 10; w++) {
		struct variant *variant = add_variant(engine, HYBRID, "");

		variant->dense_weight = 0.1 * w;
		(void)snprintf(variant->name, sizeof(variant->name), "dense weight %.1f", 0.1 * w);
	}
	vary_rescored(engine);
	vary_shares(engine);
}

/* ---- ingesting, as the ingest job does it ---- */

static struct store_chunk *
make_chunks(struct engine *engine, const struct beir_row *row, struct arena *arena,
	    size_t *out_count)
{
	struct err err = ERR_INIT;
	struct parsed parsed = { .blocks = NULL };
	const struct parse_limits limits = { .max_text_bytes = (size_t)64 << 20 };
	const struct chunk_opts opts = { (size_t)engine->config.chunk_size,
					 (size_t)engine->config.chunk_overlap };
	struct chunk *chunks = NULL;
	size_t dim = engine->embedder->dim;
	struct str body = str_trim(row->text).len > 0 ? row->text : row->title;

	if (!parse_document(STR("text/plain"), body, &limits, arena, &parsed, &err) ||
	    !chunk_text(&parsed, &opts, arena, &chunks, out_count, &err)) {
		*out_count = 0; /* one of cranfield's abstracts is empty */
		return NULL;
	}

	struct store_chunk *out = arena_array(arena, *out_count, sizeof(*out));
	float *vectors = arena_array(arena, *out_count, dim * sizeof(float));

	for (size_t i = 0; i < *out_count; i++) {
		const char *text =
			arena_printf(arena, STR_FMT "\n" STR_FMT "\n" STR_FMT, STR_ARG(row->title),
				     STR_ARG(chunks[i].heading), STR_ARG(chunks[i].text));
		struct str whole = str_of(text);

		if (!engine->embedder->ops->embed(engine->embedder, &no_limit, EMBED_DOCUMENT,
						  &whole, 1, vectors + i * dim, &err))
			give_up("embed", &err);
		out[i] = (struct store_chunk){ .ordinal = (int64_t)i,
					       .text = chunks[i].text,
					       .heading = chunks[i].heading,
					       .start = (int64_t)chunks[i].start,
					       .end = (int64_t)chunks[i].end,
					       .vector = vectors + i * dim };
	}
	return out;
}

static size_t
ingest(struct engine *engine, const char *folder)
{
	AUTO(beir_corpus) struct beir_corpus corpus = { .json = NULL };
	struct err err = ERR_INIT;
	struct beir_row row;
	struct arena arena;
	size_t total = 0;
	bool more = true;

	arena_init(&arena, ARENA_BYTES);
	if (!beir_corpus_open(&corpus, folder, &err))
		give_up(folder, &err);
	while (more) {
		struct store_document document = { .uid = STR("tune"),
						   .gen = STR("1.1"),
						   .dim = engine->embedder->dim };

		if (!beir_corpus_next(&corpus, &row, &more, &err))
			give_up(folder, &err);
		if (!more)
			break;
		document.document_id = row.id;
		document.title = row.title;
		document.chunks = make_chunks(engine, &row, &arena, &document.count);
		total += document.count;
		if (document.count > 0 && !engine->store->ops->put(engine->store, &document, &err))
			give_up("put", &err);
		arena_reset(&arena);
	}
	arena_release(&arena);
	return total;
}

/* ---- asking ---- */

static int
by_falling_score(const void *a, const void *b)
{
	const struct candidate *left = a, *right = b;

	if (left->score != right->score)
		return left->score < right->score ? 1 : -1;
	return (left->hit.row > right->hit.row) - (left->hit.row < right->hit.row);
}

static void
rerank(const struct variant *variant, struct str question, struct candidate *list, size_t count)
{
	struct passage passages[RERANK_DEPTH];
	float scores[RERANK_DEPTH];
	struct err err = ERR_INIT;

	if (count > RERANK_DEPTH)
		count = RERANK_DEPTH;
	for (size_t i = 0; i < count; i++)
		passages[i] =
			(struct passage){ list[i].hit.title, list[i].hit.heading, list[i].hit.text,
					  list[i].score, list[i].hit.document_id };
	if (!local_rerank_by(&variant->shares, &no_limit, question, passages, count, scores, &err))
		give_up("rerank", &err);
	for (size_t i = 0; i < count; i++)
		list[i].score = scores[i];
	qsort(list, count, sizeof(*list), by_falling_score);
}

/* Documents in the order of their best chunks. */
static size_t
rank_documents(const struct candidate *list, size_t count, struct str *out)
{
	size_t documents = 0;

	for (size_t i = 0; i < count && i < LIST_MAX && documents < SCORE_DEPTH; i++) {
		size_t at = 0;

		while (at < documents && !str_eq(out[at], list[i].hit.document_id))
			at++;
		if (at == documents)
			out[documents++] = list[i].hit.document_id;
	}
	return documents;
}

/* The search of a variant; those with the chosen weights share one. */
static void
search(struct engine *engine, const struct variant *variant, const struct beir_query *query,
       const float *vector, struct arena *arena, struct store_hits *out)
{
	const struct store_search search = {
		.uid = STR("tune"),
		.text = query->text,
		.vector = vector,
		.dim = engine->embedder->dim,
		.lexical = true,
		.limit = LEG_LIMIT,
		.weights = &variant->lexical,
	};
	struct err err = ERR_INIT;

	if (!engine->store->ops->search(engine->store, &search, arena, out, &err))
		give_up("search", &err);
}

static void
ask(struct variant *variant, const struct beir_query *query, struct store_hits hits,
    struct arena *arena)
{
	struct str ranked[SCORE_DEPTH];
	struct candidate *list = NULL;
	struct err err = ERR_INIT;
	size_t count = 0;

	if (variant->method == LEXICAL)
		hits.dense_count = 0;
	if (variant->method == DENSE)
		hits.lexical_count = 0;
	if (variant->rescored > 0) {
		hits.dense_count =
			hits.dense_count < variant->rescored ? hits.dense_count : variant->rescored;
		if (!rescore_hits(query->text, &variant->lexical, variant->rarity, arena, &hits)) {
			err_set(&err, ERR_TOO_LARGE, "out of working memory");
			give_up("rescore", &err);
		}
	}
	if (!fuse_hits(&hits, variant->dense_weight, arena, &list, &count)) {
		err_set(&err, ERR_TOO_LARGE, "out of working memory");
		give_up("fuse", &err);
	}
	if (variant->method == RERANKED)
		rerank(variant, query->text, list, count);
	count = rank_documents(list, count, ranked);

	struct score score = score_ranking(ranked, count, query->judged, query->judged_count);

	for (int kind = 0; kind < SCORE_KINDS; kind++)
		variant->sums[kind] += score.values[kind];
}

static void
ask_all(struct engine *engine)
{
	float *vector = mem_array(engine->embedder->dim, sizeof(*vector));
	struct store_hits chosen = { .dense = NULL };
	struct err err = ERR_INIT;
	struct arena arena;

	arena_init(&arena, ARENA_BYTES);
	for (size_t q = 0; q < engine->beir.query_count; q++) {
		const struct beir_query *query = &engine->beir.queries[q];

		if (!engine->embedder->ops->embed(engine->embedder, &no_limit, EMBED_QUERY,
						  &query->text, 1, vector, &err))
			give_up("embed", &err);
		search(engine, &engine->variants[0], query, vector, &arena, &chosen);
		for (size_t i = 0; i < engine->variant_count; i++) {
			struct variant *variant = &engine->variants[i];
			struct store_hits hits = chosen;

			if (variant->other_weights)
				search(engine, variant, query, NULL, &arena, &hits);
			ask(variant, query, hits, &arena);
		}
		arena_reset(&arena);
	}
	arena_release(&arena);
	mem_free(vector);
}

static void
print_variants(const struct engine *engine)
{
	(void)printf("| %-20s |", "variant");
	for (int kind = 0; kind < SCORE_KINDS; kind++)
		(void)printf(" %-10s |", score_names[kind]);
	(void)printf(
		"\n|----------------------|------------|------------|------------|------------|\n");
	for (size_t i = 0; i < engine->variant_count; i++) {
		(void)printf("| %-20s |", engine->variants[i].name);
		for (int kind = 0; kind < SCORE_KINDS; kind++)
			(void)printf(" %10.4f |", engine->variants[i].sums[kind] /
							  (double)engine->beir.query_count);
		(void)printf("\n");
	}
}

/* ---- the run ---- */

static int
remove_one(const char *path, const struct stat *info, int flag, struct FTW *position)
{
	(void)info;
	(void)flag;
	(void)position;
	return remove(path);
}

static void
tune(const char *folder)
{
	char data[] = "/tmp/rag-tune-XXXXXX";
	struct engine *engine = mem_alloc(sizeof(*engine));
	struct err err = ERR_INIT;

	if (!beir_read(&engine->beir, folder, &err))
		give_up(folder, &err);
	if (!mkdtemp(data)) {
		err_errno(&err, errno, "make a folder");
		give_up(data, &err);
	}
	if (!config_load(&engine->config, NULL, &err))
		give_up("settings", &err);
	engine->config.data_dir = data;
	if (!store_open(&engine->config, &engine->store, &err) ||
	    !embedder_open(&engine->config, &engine->embedder, &err))
		give_up("open", &err);
	add_variants(engine);
	(void)printf("%s: %zu chunks, %zu questions\n", folder, ingest(engine, folder),
		     engine->beir.query_count);
	ask_all(engine);
	print_variants(engine);
	embedder_close(engine->embedder);
	store_close(engine->store);
	config_release(&engine->config);
	beir_release(&engine->beir);
	mem_free(engine);
	(void)nftw(data, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		tune(argv[i]);
	if (argc < 2)
		(void)fprintf(stderr, "usage: rag-tune FOLDER...\n");
	return argc < 2 ? 2 : 0;
}
