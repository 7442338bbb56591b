/*
 * cohere: embedder on Cohere; a row of registry.c. Its reranker: server_reranker.h. Private.
 */
#ifndef RAG_JOBS_PROVIDER_COHERE_H
#define RAG_JOBS_PROVIDER_COHERE_H

#include "jobs/provider/provider.h"

extern const struct embedder_ops cohere_embedder_ops;

#endif
