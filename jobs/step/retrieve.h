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
	float score;	      /* fused, 0..1 */
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
};

/* candidates: by falling score, at most top_k. out_epoch: the collection's epoch this answer is true for. */
bool retrieve(const struct retrieve_request *request, struct arena *arena, struct candidate **out,
	      size_t *out_count, int64_t *out_epoch, struct err *err);

#endif
