/*
 * retrieve: from a question to the best visible chunks of a collection.
 *
 * Reads the collection's epoch, searches the store, asks the catalog for the current generations of the
 * candidates' documents and drops the rest; searches again when a document was committed in between (its
 * hits may be of a half written generation), and with a greater limit when too few visible ones are left.
 * Then fuses the two legs (jobs/step/fuse.h).
 */
#ifndef RAG_JOBS_STEP_RETRIEVE_H
#define RAG_JOBS_STEP_RETRIEVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/redis.h"
#include "jobs/spec/spec.h"
#include "jobs/store/store.h"

struct candidate {
	struct store_hit hit;
	float dense, lexical; /* raw scores; NAN = not in that leg */
	float fused;	      /* 0..1 */
	float rerank;	      /* 0..1; NAN = not reranked */
	float score;	      /* what counts: fused, or rerank when there is one */
	float tail;	      /* orders equal scores */
};

struct retrieve_request {
	struct redis *redis;
	struct store *store;
	struct str uid, query;
	const float *vector; /* NULL in lexical mode */
	size_t dim;
	enum query_mode mode;
	double dense_weight;
	size_t top_k;
	const struct filter *filter;
	struct store_limits limits;
};

struct retrieved {
	struct candidate *list; /* by falling score, at most top_k */
	size_t count;
	int64_t epoch;		/* of the collection, that this is true for */
	struct store_hits hits; /* both legs, the visible ones, as the store gave them */
	bool rescored; /* the store has no lexical leg: it is the dense one, re-scored (jobs/step/rescore.h) */
};

/* Memory of *out is the arena's. */
bool retrieve(const struct retrieve_request *request, struct arena *arena, struct retrieved *out,
	      struct err *err);

#endif
