/*
 * local: the built-in providers, which need no network and no key: rows of registry.c. Private.
 */
#ifndef RAG_JOBS_PROVIDER_LOCAL_H
#define RAG_JOBS_PROVIDER_LOCAL_H

#include "jobs/provider/provider.h"

extern const struct embedder_ops local_embedder_ops;
extern const struct reranker_ops local_reranker_ops;
extern const struct generator_ops extractive_generator_ops;

/* How much of the reranked score each thing is; the rest is the first score. */
struct rerank_shares {
	float company, coverage, nearness, headline;
};
extern const struct rerank_shares rerank_shares_chosen;
/* The local reranker with other shares, for measuring. */
bool local_rerank_by(const struct rerank_shares *shares, const struct provider_call *call,
		     struct str query, const struct passage *passages, size_t count,
		     float *out_scores, struct err *err);

#endif
