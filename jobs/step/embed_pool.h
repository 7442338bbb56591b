/*
 * embed_pool: what the slots of one process share for embedding: what was learnt of the server's limits, and calls in which texts of
 * several jobs travel together. Private to jobs/step/embed*.c and their tests; handlers use jobs/step/embed.h.
 */
#ifndef RAG_JOBS_STEP_EMBED_POOL_H
#define RAG_JOBS_STEP_EMBED_POOL_H

#include "jobs/step/embed.h"
#include "jobs/step/embed_call.h"

const struct embed_pool_opts *embed_pool_opts(const struct embed_pool *pool);
struct embed_limits *embed_pool_limits(struct embed_pool *pool);

/*
 * embed_call for documents, perhaps together with those of other threads. The outcome is this load's own: a cancel, a deadline or a
 * text of another load never fails it. call->usage gets its share.
 */
bool embed_pool_call(struct embed_pool *pool, struct embedder *embedder,
		     const struct provider_call *call, const struct embed_load *load,
		     struct err *err);

/* Loads in line at this moment; for tests. */
size_t embed_pool_line(struct embed_pool *pool);

/* Whether Redis has room for vectors; asks it at most once a second. */
bool embed_pool_has_room(struct embed_pool *pool, struct redis *redis);

#endif
