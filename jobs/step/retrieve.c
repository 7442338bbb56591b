/*
 * The reader's side of the catalog's promise: a reader sees each document in one whole version, the current
 * one, whatever writers do meanwhile.
 *
 * One look: read the collection's epoch, search the store, ask the catalog which generation of each hit's
 * document is current. Hits of another generation are dropped: not committed yet, replaced, or deleted.
 *  1. A document committed after the epoch was read (its commit_epoch is greater) may have been searched
 *     while its new chunks were being written or its old ones removed: look again. A store whose search sees
 *     one state (STORE_CAP_SNAPSHOT) shows a generation whole or not at all; there it is enough that the
 *     current one is among the hits.
 *  2. A document committed before was complete in the store before the search began, because chunks are
 *     durable before their commit. If its current generation is not among the hits, it does not match.
 *  3. When every hit was dropped while documents have a newer generation than their hits, look once more: a
 *     store may show its writes late.
 * Looks are bounded. After the last one, documents that still fail rule 1 are left out: something missing,
 * never something mixed.
 *
 * Dropped hits leave room: while fewer than top_k are visible and the store has more, the limit grows. The
 * first limit is at least the depth that fusing normalises by: so the same chunk has the same score for
 * different top_k.
 */
#include "jobs/step/retrieve.h"

#include <stdlib.h>

#include "common/catalog.h"
#include "jobs/step/fuse.h"
#include "jobs/step/rescore.h"

#define LIMIT_FIRST FUSE_DEPTH /* hits a leg */
#define LIMIT_OVER 2	       /* or this many times top_k */
#define LIMIT_GROWTH 4
#define LIMIT_MAX 20000
#define LOOKS_MAX 12

struct look {
	const struct retrieve_request *request;
	struct arena *arena;
	size_t limit;
	int64_t epoch;
	struct store_hits hits;
	struct str *ids; /* of the hits' documents, sorted, each once */
	struct catalog_current *current;
	size_t id_count;
	bool has_newer; /* a hit was dropped for a newer generation of its document */
};

static bool
too_large(const struct look *look, struct err *err)
{
	return err_set(err, ERR_TOO_LARGE,
		       "cannot hold the candidates: more than %zu bytes of working memory",
		       look->arena->max_bytes);
}

static bool
search(struct look *look, struct err *err)
{
	const struct retrieve_request *request = look->request;
	bool has_lexical = (request->store->ops->caps & STORE_CAP_LEXICAL) != 0;
	const struct store_search search = {
		.uid = request->uid,
		.text = request->query,
		.vector = request->mode == QUERY_LEXICAL ? NULL : request->vector,
		.dim = request->dim,
		.lexical = request->mode != QUERY_DENSE && has_lexical,
		.limit = look->limit,
		.filter = request->filter,
		.limits = request->limits,
	};

	if (request->mode == QUERY_LEXICAL && !has_lexical)
		return err_set(err, ERR_STORE_UNSUPPORTED,
			       "store '%s' has no lexical search: use mode 'dense' or 'hybrid'",
			       request->store->ops->name);
	return request->store->ops->search(request->store, &search, look->arena, &look->hits, err);
}

static int
compare_ids(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static bool
collect_documents(struct look *look, struct err *err)
{
	size_t count = 0;

	look->ids = arena_array(look->arena, look->hits.dense_count + look->hits.lexical_count,
				sizeof(*look->ids));
	if (!look->ids)
		return too_large(look, err);
	for (size_t i = 0; i < look->hits.dense_count; i++)
		look->ids[count++] = look->hits.dense[i].document_id;
	for (size_t i = 0; i < look->hits.lexical_count; i++)
		look->ids[count++] = look->hits.lexical[i].document_id;
	if (count > 1)
		qsort(look->ids, count, sizeof(*look->ids), compare_ids);
	look->id_count = 0;
	for (size_t i = 0; i < count; i++) {
		if (look->id_count == 0 || !str_eq(look->ids[look->id_count - 1], look->ids[i]))
			look->ids[look->id_count++] = look->ids[i];
	}
	look->current = arena_array(look->arena, look->id_count, sizeof(*look->current));
	return look->current || too_large(look, err);
}

static struct catalog_current *
current_of(const struct look *look, struct str document_id)
{
	const struct str *id =
		bsearch(&document_id, look->ids, look->id_count, sizeof(*look->ids), compare_ids);

	return &look->current[id - look->ids];
}

static bool
is_current(const struct look *look, const struct store_hit *hit)
{
	return str_eq_c(hit->gen, current_of(look, hit->document_id)->gen);
}

/* Rule 1; takes what a snapshot vouches for as committed before. */
static void
trust_whole(struct look *look, const struct store_hit *hits, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (is_current(look, &hits[i]))
			current_of(look, hits[i].document_id)->commit_epoch = 0;
	}
}

/* Documents that the search may have seen half; they are hidden in this look. */
static size_t
hide_doubtful(struct look *look)
{
	size_t doubtful = 0;

	if (look->request->store->ops->caps & STORE_CAP_SNAPSHOT) {
		trust_whole(look, look->hits.dense, look->hits.dense_count);
		trust_whole(look, look->hits.lexical, look->hits.lexical_count);
	}
	for (size_t i = 0; i < look->id_count; i++) {
		if (look->current[i].gen[0] == '\0' || look->current[i].commit_epoch <= look->epoch)
			continue;
		look->current[i].gen[0] = '\0';
		doubtful++;
	}
	return doubtful;
}

static int64_t
seq_of(struct str gen)
{
	int64_t seq = 0, epoch = 0;

	return catalog_gen_parse(gen, &seq, &epoch) ? seq : 0;
}

static size_t
keep_visible(struct look *look, struct store_hit *hits, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (is_current(look, &hits[i]))
			hits[kept++] = hits[i];
		else if (seq_of(str_of(current_of(look, hits[i].document_id)->gen)) >
			 seq_of(hits[i].gen))
			look->has_newer = true;
	}
	return kept;
}

/* One search and one question to the catalog; the hits left are visible. */
static bool
look_once(struct look *look, size_t *out_doubtful, struct err *err)
{
	const struct retrieve_request *request = look->request;

	look->has_newer = false;
	if (!catalog_epoch(request->redis, request->uid, &look->epoch, err) || !search(look, err) ||
	    !collect_documents(look, err) ||
	    !catalog_current(request->redis, request->uid, look->ids, look->id_count, look->current,
			     err))
		return false;
	*out_doubtful = hide_doubtful(look);
	look->hits.dense_count = keep_visible(look, look->hits.dense, look->hits.dense_count);
	look->hits.lexical_count = keep_visible(look, look->hits.lexical, look->hits.lexical_count);
	return true;
}

/* A leg that could still give visible hits, and has not given enough. */
static bool
wants_more(const struct look *look)
{
	size_t top_k = look->request->top_k;

	return look->limit < LIMIT_MAX &&
	       ((look->hits.dense_more && look->hits.dense_count < top_k) ||
		(look->hits.lexical_more && look->hits.lexical_count < top_k));
}

static bool
look_until_sure(struct look *look, struct err *err)
{
	bool late = false; /* rule 3 was used */

	for (int looks = 1;; looks++) {
		size_t doubtful = 0;

		if (!look_once(look, &doubtful, err))
			return false;

		bool none = look->hits.dense_count + look->hits.lexical_count == 0;

		if (looks >= LOOKS_MAX)
			return true;
		if (doubtful > 0)
			continue;
		if (wants_more(look)) {
			look->limit *= LIMIT_GROWTH;
			continue;
		}
		if (!none || !look->has_newer || late)
			return true;
		late = true;
	}
}

/* Where the store finds by meaning alone, words are looked for in what it found. */
static bool
is_rescored(const struct retrieve_request *request)
{
	return request->mode == QUERY_HYBRID &&
	       (request->store->ops->caps & STORE_CAP_LEXICAL) == 0;
}

bool
retrieve(const struct retrieve_request *request, struct arena *arena, struct retrieved *out,
	 struct err *err)
{
	struct look look = { .request = request,
			     .arena = arena,
			     .limit = is_rescored(request) ? RESCORE_DEPTH : LIMIT_FIRST };
	double weight = request->mode == QUERY_DENSE	 ? 1
			: request->mode == QUERY_LEXICAL ? 0
							 : request->dense_weight;
	struct candidate *list = NULL;
	size_t count = 0;

	if (look.limit < LIMIT_OVER * request->top_k)
		look.limit = LIMIT_OVER * request->top_k;
	if (!look_until_sure(&look, err))
		return false;
	if (is_rescored(request) &&
	    !rescore_hits(request->query, NULL, RESCORE_BOTH, arena, &look.hits))
		return too_large(&look, err);
	if (!fuse_hits(&look.hits, weight, arena, &list, &count))
		return too_large(&look, err);
	*out = (struct retrieved){ .list = list,
				   .count = count < request->top_k ? count : request->top_k,
				   .epoch = look.epoch,
				   .hits = look.hits,
				   .rescored = is_rescored(request) };
	return true;
}
