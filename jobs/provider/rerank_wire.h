/*
 * rerank_wire: what servers that reorder passages send and take. Requests differ (Cohere v2; Jina's, which vLLM, llama.cpp, Infinity,
 * LocalAI, SiliconFlow and Xinference follow; Text Embeddings Inference); one parser reads what any of them answers. Pure: bytes in,
 * bytes out. Formats: the vendors' documentation and sources, 2026-11.
 */
#ifndef RAG_JOBS_PROVIDER_RERANK_WIRE_H
#define RAG_JOBS_PROVIDER_RERANK_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "jobs/provider/remote.h"
#include "jobs/provider/reply.h"

/* Fields that a server may refuse and that a request can do without. */
enum { RERANK_NO_TOP_N = 1, RERANK_NO_RETURN = 2, RERANK_NO_TRUNCATE = 4 };

struct rerank_query {
	const char *model; /* "" = not sent */
	struct str query;
	const struct str *texts;
	size_t count;
	unsigned without; /* RERANK_NO_* */
};

void rerank_build_cohere(const struct rerank_query *rerank, struct buf *out); /* /v2/rerank */
void rerank_build_jina(const struct rerank_query *rerank, struct buf *out);   /* /rerank */
void rerank_build_tei(const struct rerank_query *rerank, struct buf *out);    /* /rerank */

/*
 * count scores, each at its text's place, as the server gives them (a probability, or any finite number). Read are: a list under
 * `results` or `data`, or alone, in any order; `relevance_score` or `score`. ERR_PROVIDER_REPLY unless there is exactly one for each text.
 */
bool rerank_parse(const struct reply *reply, size_t count, float *out, struct remote_used *used,
		  struct err *err);

/* Brings scores to 0..1 and keeps their order: as they are when all are there already, else through a logistic function. */
void rerank_squash(float *scores, size_t count);

/* TEI's /info: texts in one request; 0 = it does not say. */
size_t rerank_parse_tei_info(const struct reply *reply);

#endif
