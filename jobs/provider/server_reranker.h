/*
 * server_reranker: rerankers on a server: Cohere; any with Jina's /rerank; Text Embeddings Inference. Rows of registry.c. Private.
 *
 * Empty passages, and all of them under an empty question, are not sent. More passages than a server takes at once go in several
 * requests: a score depends on its passage and the question alone. What a server refuses (fields, so many passages, so long a text) is
 * remembered by the instance; a passage that is too long is cut.
 */
#ifndef RAG_JOBS_PROVIDER_SERVER_RERANKER_H
#define RAG_JOBS_PROVIDER_SERVER_RERANKER_H

#include "jobs/provider/provider.h"

extern const struct reranker_ops cohere_reranker_ops;
extern const struct reranker_ops jina_reranker_ops;
extern const struct reranker_ops tei_reranker_ops;

#endif
