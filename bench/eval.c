/*
 * rag-eval FOLDER...: how well retrieval finds what people judged relevant.
 *
 * FOLDER holds a collection in BEIR's layout: corpus.jsonl, queries.jsonl, qrels/test.tsv. It goes through
 * our parser, chunker, embedder and sqlite store (in a temporary folder), and each question through
 * the search, the fusion and the reranker. A document stands where its first chunk stands. Figures are means
 * over the questions that have a relevant document.
 *
 *	--weights	the hybrid line for dense weights 0, 0.1 ... 1
 */
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/json.h"
#include "jobs/provider/provider.h"
#include "jobs/step/chunk.h"
#include "jobs/step/fuse.h"
#include "jobs/step/parse.h"
#include "jobs/store/store.h"

#define ARENA_BYTES ((size_t)1 << 30)
#define LINE_MAX_BYTES ((size_t)64 << 20)
#define DEPTH 100      /* documents looked at */
#define LEG_LIMIT 300  /* chunks a leg for the figures at DEPTH */
#define FUSE_LIMIT 100 /* chunks a leg that are fused, as in retrieve */
#define RERANK_DEPTH 50
#define CUT 10

struct row {
	struct str id, title, text;
};

struct rows {
	struct row *items;
	size_t count;
};

struct judged {
	struct str query, document;
};

struct collection {
	struct arena arena;
	struct rows documents, queries;
	struct judged *judged; /* relevant pairs */
	size_t judged_count;
};

struct engine {
	const struct config *config;
	struct store *store;
	struct embedder *embedder;
	struct reranker *reranker;
};

/* Ranked document ids, best first, each once. */
struct ranking {
	struct str ids[DEPTH];
	size_t count;
};

struct figures {
	double ndcg, recall_cut, recall_depth, mrr;
	size_t questions;
};

static const struct provider_call no_limit = { .deadline_mono_ms = 0 };

static _Noreturn void
give_up(const char *what, const struct err *err)
{
	(void)fprintf(stderr, "rag-eval: %s: %s %s\n", what, err->msg, err->cause);
	exit(1);
}

/* ---- the collection ---- */

typedef void (*line_fn)(struct collection *collection, struct str line, void *user);

static void
each_line(struct collection *collection, const char *folder, const char *name, line_fn fn,
	  void *user)
{
	struct err err = ERR_INIT;
	const char *path = arena_printf(&collection->arena, "%s/%s", folder, name);
	FILE *file = path ? fopen(path, "re") : NULL;
	char *line = NULL;
	size_t room = 0;

	if (!file) {
		err_errno(&err, errno, "open it");
		give_up(path ? path : name, &err);
	}
	for (ssize_t len = 0; (len = getline(&line, &room, file)) > 0;) {
		if ((size_t)len < LINE_MAX_BYTES)
			fn(collection, str_trim(str_make(line, (size_t)len)), user);
	}
	free(line);
	(void)fclose(file);
}

static struct str
keep(struct collection *collection, struct str text)
{
	struct err err = ERR_INIT;
	const char *copy = arena_strndup(&collection->arena, text.ptr, text.len);

	if (!copy) {
		err_set(&err, ERR_TOO_LARGE, "the collection is too large");
		give_up("memory", &err);
	}
	return str_make(copy, text.len);
}

static void
add_row(struct collection *collection, struct str line, void *user)
{
	struct rows *rows = user;
	AUTO_PTR(js_free) struct js *json = NULL;
	struct err err = ERR_INIT;
	struct str id = STR(""), title = STR(""), text = STR("");

	if (line.len == 0)
		return;
	if (!js_parse(line, &json, &err))
		give_up("a line", &err);
	(void)js_get_str(json, "_id", &id);
	(void)js_get_str(json, "title", &title);
	(void)js_get_str(json, "text", &text);
	if ((rows->count & (rows->count + 1)) == 0)
		rows->items = mem_grow(rows->items, 2 * rows->count + 2, sizeof(*rows->items));
	rows->items[rows->count++] = (struct row){ keep(collection, id), keep(collection, title),
						   keep(collection, text) };
}

static void
add_judged(struct collection *collection, struct str line, void *user)
{
	struct str query = STR(""), document = STR(""), grade = STR("");
	int64_t relevant = 0;
	size_t count = collection->judged_count;

	(void)user;
	if (!str_split(&line, '\t', &query) || !str_split(&line, '\t', &document) ||
	    !str_split(&line, '\t', &grade) || !str_to_i64(grade, 0, 100, &relevant) ||
	    relevant == 0)
		return; /* the head line, or not relevant */
	if ((count & (count + 1)) == 0)
		collection->judged =
			mem_grow(collection->judged, 2 * count + 2, sizeof(*collection->judged));
	collection->judged[collection->judged_count++] =
		(struct judged){ keep(collection, query), keep(collection, document) };
}

static void
collection_read(struct collection *collection, const char *folder)
{
	*collection = (struct collection){ .judged = NULL };
	arena_init(&collection->arena, ARENA_BYTES);
	each_line(collection, folder, "corpus.jsonl", add_row, &collection->documents);
	each_line(collection, folder, "queries.jsonl", add_row, &collection->queries);
	each_line(collection, folder, "qrels/test.tsv", add_judged, NULL);
}

static void
collection_release(struct collection *collection)
{
	mem_free(collection->documents.items);
	mem_free(collection->queries.items);
	mem_free(collection->judged);
	arena_release(&collection->arena);
}

/* ---- ingesting, as the ingest job does it ---- */

static struct store_chunk *
make_chunks(struct engine *engine, const struct row *row, struct arena *arena, size_t *out_count)
{
	struct err err = ERR_INIT;
	struct parsed parsed = { .blocks = NULL };
	const struct parse_limits limits = { .max_text_bytes = (size_t)64 << 20 };
	const struct chunk_opts opts = { (size_t)engine->config->chunk_size,
					 (size_t)engine->config->chunk_overlap };
	struct chunk *chunks = NULL;
	size_t dim = engine->embedder->dim;

	if (!parse_document(STR("text/plain"), row->text, &limits, arena, &parsed, &err) ||
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
ingest(struct engine *engine, const struct collection *collection)
{
	struct err err = ERR_INIT;
	struct arena arena;
	size_t total = 0;

	arena_init(&arena, ARENA_BYTES);
	for (size_t i = 0; i < collection->documents.count; i++) {
		const struct row *row = &collection->documents.items[i];
		struct store_document document = {
			.uid = STR("eval"),
			.document_id = row->id,
			.gen = STR("1.1"),
			.title = row->title,
			.dim = engine->embedder->dim,
		};

		document.chunks = make_chunks(engine, row, &arena, &document.count);
		total += document.count;
		if (document.count > 0 && !engine->store->ops->put(engine->store, &document, &err))
			give_up("put", &err);
		arena_reset(&arena);
	}
	arena_release(&arena);
	return total;
}

/* ---- asking ---- */

enum method { LEXICAL, DENSE, HYBRID, RERANKED, METHOD_COUNT };
static const char *const method_names[] = { "lexical", "dense", "hybrid", "hybrid + rerank" };

static int
by_falling_score(const void *a, const void *b)
{
	const struct candidate *left = a, *right = b;

	if (left->score != right->score)
		return left->score < right->score ? 1 : -1;
	return (left->hit.row > right->hit.row) - (left->hit.row < right->hit.row);
}

static void
rerank(struct engine *engine, struct str question, struct candidate *list, size_t count)
{
	struct passage passages[RERANK_DEPTH];
	float scores[RERANK_DEPTH];
	struct err err = ERR_INIT;

	if (count > RERANK_DEPTH)
		count = RERANK_DEPTH;
	for (size_t i = 0; i < count; i++)
		passages[i] = (struct passage){ list[i].hit.title, list[i].hit.heading,
						list[i].hit.text, list[i].score };
	if (!engine->reranker->ops->rerank(engine->reranker, &no_limit, question, passages, count,
					   scores, &err))
		give_up("rerank", &err);
	for (size_t i = 0; i < count; i++)
		list[i].score = scores[i];
	qsort(list, count, sizeof(*list), by_falling_score);
}

static void
rank_add(struct ranking *ranking, struct str id)
{
	for (size_t i = 0; i < ranking->count; i++) {
		if (str_eq(ranking->ids[i], id))
			return;
	}
	if (ranking->count < DEPTH)
		ranking->ids[ranking->count++] = id;
}

struct plan {
	enum method method;
	double dense_weight;
	struct figures figures;
};

static void
rank_by(struct engine *engine, const struct plan *plan, struct str question, struct store_hits hits,
	struct arena *arena, struct ranking *out)
{
	enum method method = plan->method;
	struct candidate *list = NULL;
	size_t count = 0;
	struct err err = ERR_INIT;

	*out = (struct ranking){ .count = 0 };
	for (size_t i = 0; method == LEXICAL && i < hits.lexical_count; i++)
		rank_add(out, hits.lexical[i].document_id);
	for (size_t i = 0; method == DENSE && i < hits.dense_count; i++)
		rank_add(out, hits.dense[i].document_id);
	if (method == LEXICAL || method == DENSE)
		return;
	if (hits.dense_count > FUSE_LIMIT)
		hits.dense_count = FUSE_LIMIT;
	if (hits.lexical_count > FUSE_LIMIT)
		hits.lexical_count = FUSE_LIMIT;
	if (!fuse_hits(&hits, plan->dense_weight, arena, &list, &count)) {
		err_set(&err, ERR_TOO_LARGE, "out of working memory");
		give_up("fuse", &err);
	}
	if (method == RERANKED)
		rerank(engine, question, list, count);
	for (size_t i = 0; i < count; i++)
		rank_add(out, list[i].hit.document_id);
}

static bool
is_relevant(const struct collection *collection, struct str query, struct str document)
{
	for (size_t i = 0; i < collection->judged_count; i++) {
		if (str_eq(collection->judged[i].query, query) &&
		    str_eq(collection->judged[i].document, document))
			return true;
	}
	return false;
}

static void
measure(const struct collection *collection, struct str query, const struct ranking *ranking,
	struct figures *figures)
{
	size_t relevant = 0, found_cut = 0, found = 0;
	double gain = 0, ideal = 0, first = 0;

	for (size_t i = 0; i < collection->judged_count; i++)
		relevant += str_eq(collection->judged[i].query, query);
	if (relevant == 0)
		return;
	for (size_t i = 0; i < ranking->count; i++) {
		if (!is_relevant(collection, query, ranking->ids[i]))
			continue;
		found++;
		found_cut += i < CUT;
		gain += i < CUT ? 1 / log2((double)i + 2) : 0;
		if (first <= 0)
			first = 1 / ((double)i + 1);
	}
	for (size_t i = 0; i < relevant && i < CUT; i++)
		ideal += 1 / log2((double)i + 2);
	figures->ndcg += gain / ideal;
	figures->recall_cut += (double)found_cut / (double)relevant;
	figures->recall_depth += (double)found / (double)relevant;
	figures->mrr += first;
	figures->questions++;
}

static void
ask_all(struct engine *engine, const struct collection *collection, struct plan *plans,
	size_t plan_count)
{
	float *vector = mem_array(engine->embedder->dim, sizeof(*vector));
	struct err err = ERR_INIT;
	struct ranking ranking;
	struct arena arena;

	arena_init(&arena, ARENA_BYTES);
	for (size_t i = 0; i < collection->queries.count; i++) {
		const struct row *query = &collection->queries.items[i];
		struct store_search search = { .uid = STR("eval"),
					       .text = query->text,
					       .vector = vector,
					       .dim = engine->embedder->dim,
					       .lexical = true,
					       .limit = LEG_LIMIT };
		struct store_hits hits = { .dense = NULL };

		if (!engine->embedder->ops->embed(engine->embedder, &no_limit, EMBED_QUERY,
						  &query->text, 1, vector, &err) ||
		    !engine->store->ops->search(engine->store, &search, &arena, &hits, &err))
			give_up("search", &err);
		for (size_t k = 0; k < plan_count; k++) {
			rank_by(engine, &plans[k], query->text, hits, &arena, &ranking);
			measure(collection, query->id, &ranking, &plans[k].figures);
		}
		arena_reset(&arena);
	}
	arena_release(&arena);
	mem_free(vector);
}

static void
print_plan(const struct plan *plan)
{
	double n = plan->figures.questions > 0 ? (double)plan->figures.questions : 1;

	(void)printf("| %-15s | %6.2f | %7.4f | %9.4f | %10.4f | %6.4f |\n",
		     method_names[plan->method], plan->dense_weight, plan->figures.ndcg / n,
		     plan->figures.recall_cut / n, plan->figures.recall_depth / n,
		     plan->figures.mrr / n);
}

static void
evaluate(struct engine *engine, const char *folder, bool all_weights)
{
	struct plan plans[METHOD_COUNT + 11] = { 0 };
	size_t count = 0;
	struct collection collection;

	collection_read(&collection, folder);
	for (int m = 0; m < METHOD_COUNT; m++)
		plans[count++] = (struct plan){ .method = (enum method)m,
						.dense_weight = engine->embedder->dense_weight };
	for (int w = 0; all_weights && w <= 10; w++)
		plans[count++] = (struct plan){ .method = HYBRID, .dense_weight = 0.1 * w };

	int64_t start = clock_mono_ms();
	size_t chunks = ingest(engine, &collection);
	int64_t ingested = clock_mono_ms();

	ask_all(engine, &collection, plans, count);
	(void)printf("%s: %zu documents, %zu chunks (%lld ms), %zu questions (%lld ms)\n", folder,
		     collection.documents.count, chunks, (long long)(ingested - start),
		     plans[0].figures.questions, (long long)(clock_mono_ms() - ingested));
	(void)printf("| method          | weight | nDCG@10 | recall@10 | recall@100 | MRR    |\n"
		     "|-----------------|--------|---------|-----------|------------|--------|\n");
	for (size_t i = 0; i < count; i++)
		print_plan(&plans[i]);
	collection_release(&collection);
}

static int
remove_one(const char *path, const struct stat *info, int flag, struct FTW *position)
{
	(void)info;
	(void)flag;
	(void)position;
	return remove(path);
}

static void
evaluate_folder(const char *folder, bool all_weights)
{
	char data[] = "/tmp/rag-eval-XXXXXX";
	struct config config;
	struct engine engine = { .config = &config };
	struct err err = ERR_INIT;

	if (!mkdtemp(data)) {
		err_errno(&err, errno, "make a folder");
		give_up(data, &err);
	}
	if (!config_load(&config, NULL, &err))
		give_up("settings", &err);
	config.data_dir = data;
	if (!store_open(&config, &engine.store, &err) ||
	    !embedder_open(&config, &engine.embedder, &err) ||
	    !reranker_open(&config, &engine.reranker, &err))
		give_up("open", &err);
	evaluate(&engine, folder, all_weights);
	reranker_close(engine.reranker);
	embedder_close(engine.embedder);
	store_close(engine.store);
	config_release(&config);
	(void)nftw(data, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int
main(int argc, char **argv)
{
	bool all_weights = false;
	int done = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--weights") == 0) {
			all_weights = true;
			continue;
		}
		evaluate_folder(argv[i], all_weights);
		done++;
	}
	if (done == 0)
		(void)fprintf(stderr, "usage: rag-eval [--weights] FOLDER...\n");
	return done == 0;
}
