/*
 * store: where chunks and vectors live. One row in registry.c and one file make a new store; the contract
 * suite tests/contract/test_store.c then tests it.
 *
 * A store knows nothing of visibility: it holds generations, the catalog says which one is current. A
 * `struct store` is shared by all threads of a process; calls may come from any of them.
 * Failures: ERR_STORE_UNAVAILABLE (away, busy: wait), ERR_DISK_FULL, ERR_STORE_CORRUPT, ERR_STORE_FAILED.
 */
#ifndef RAG_JOBS_STORE_STORE_H
#define RAG_JOBS_STORE_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/config.h"
#include "jobs/spec/filter.h"

struct store;

enum store_cap {
	STORE_CAP_DENSE = 1,
	STORE_CAP_LEXICAL = 2, /* BM25 of its own */
	/* put is all or nothing, and a search sees one state of the store: what it sees of a generation is
	 * whole */
	STORE_CAP_SNAPSHOT = 4,
	STORE_CAP_EXACT =
		8, /* dense search compares every vector; else an index may miss some of those far off */
};

/* How long a call may take. Zeroed: as long as the store's own limits let it. A store in a file need not look at it. */
struct store_limits {
	int64_t deadline_mono_ms;  /* 0 = none -> ERR_DEADLINE */
	const atomic_bool *cancel; /* may be NULL -> ERR_CANCELLED */
};

struct store_chunk {
	int64_t ordinal; /* 0, 1, ... in reading order */
	struct str text;
	struct str heading;  /* path, "Chapter > Section"; "" = none */
	int64_t start, end;  /* byte range in the document's text */
	int64_t page;	     /* 0 = none */
	const float *vector; /* dim floats, unit length */
};

/* One complete generation of one document. */
struct store_document {
	struct str uid; /* of the collection */
	struct str document_id, gen;
	struct str title, uri, metadata; /* metadata: JSON object or "" */
	const struct store_chunk *chunks;
	size_t count, dim;
	struct store_limits limits;
};

/* How the lexical leg of a store of ours weighs; docs/retrieval.md has the figures behind what was chosen. */
struct lexical_weights {
	double k1, b;	       /* BM25 */
	double title, heading; /* of a word there; in the text it is 1 */
	double repeat; /* a word that stands n times in the question weighs n (repeat + 1) / (n + repeat) */
	double joined; /* of words joined by hyphens, as a phrase, for each word */
	double exact;  /* of quoted parts and identifiers, as phrases, for each word */
};
extern const struct lexical_weights lexical_weights_chosen;

struct store_search {
	struct str uid;
	struct str text;     /* for the lexical leg */
	const float *vector; /* for the dense leg; NULL = no dense leg */
	size_t dim;
	bool lexical; /* do the lexical leg */
	size_t limit; /* hits a leg */
	const struct lexical_weights
		*weights; /* NULL = lexical_weights_chosen; for measuring others */
	const struct filter *
		filter; /* NULL = none; applied inside the search: `limit` is filled if it can be */
	struct store_limits limits;
};

struct store_hit {
	struct str document_id, gen, title, uri, heading, text, metadata; /* arena */
	int64_t ordinal, start, end, page;
	int64_t row; /* the same chunk has the same row in both legs of one search */
	float score; /* dense: cosine; lexical: BM25, greater is better */
};

/* For qsort: by falling score, equal scores by row. */
static inline int
store_by_score(const void *a, const void *b)
{
	const struct store_hit *left = a, *right = b;

	if (left->score != right->score)
		return left->score < right->score ? 1 : -1;
	return (left->row > right->row) - (left->row < right->row);
}

struct store_hits {
	struct store_hit *dense, *lexical; /* as store_by_score sorts */
	size_t dense_count, lexical_count;
	bool dense_more, lexical_more; /* a greater limit would give more */
};

/* A generation as the store has it, for verify and sweeping. */
struct store_generation {
	struct str uid, document_id, gen;
	int64_t chunks;
};

struct store_ops {
	const char *name;
	unsigned caps; /* enum store_cap */
	bool (*open)(const struct config *config, struct store **out, struct err *err);
	void (*close)(struct store *store);
	/* Writes all chunks of the generation, durable when it returns; repeating replaces. All or nothing where
	 * the store can; else the caller counts afterwards. */
	bool (*put)(struct store *store, const struct store_document *document, struct err *err);
	bool (*search)(struct store *store, const struct store_search *search, struct arena *arena,
		       struct store_hits *out, struct err *err);
	bool (*count)(struct store *store, struct str uid, struct str document_id, struct str gen,
		      int64_t *out_chunks, struct err *err);
	/* Idempotent. */
	bool (*remove_generation)(struct store *store, struct str uid, struct str document_id,
				  struct str gen, struct err *err);
	/* All generations with a seq below `below_seq` but keep_gen ("" = keep none). */
	bool (*remove_older)(struct store *store, struct str uid, struct str document_id,
			     int64_t below_seq, struct str keep_gen, struct err *err);
	bool (*remove_collection)(struct store *store, struct str uid, struct err *err);
	/* Every generation, in no order that matters; fn false stops with its err. */
	bool (*each_generation)(struct store *store,
				bool (*fn)(void *user, const struct store_generation *generation,
					   struct err *err),
				void *user, struct err *err);
	/* A cheap round trip: can it serve? */
	bool (*ping)(struct store *store, struct err *err);
};

struct store {
	const struct store_ops *ops; /* first member of every implementation's structure */
};

/* By config->store; ERR_CONFIG for one this build does not have. */
bool store_open(const struct config *config, struct store **out, struct err *err);
void store_close(struct store *store); /* NULL is fine */

extern const struct store_ops
	*const store_registry[]; /* NULL-terminated; the contract suite walks it */

#endif
