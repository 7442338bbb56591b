/*
 * cohere_wire: what Cohere's v2 embed sends and takes. Pure: bytes in, bytes out. Format: the vendor's documentation, 2026-11. Its
 * rerank: rerank_wire.h.
 */
#ifndef RAG_JOBS_PROVIDER_COHERE_WIRE_H
#define RAG_JOBS_PROVIDER_COHERE_WIRE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "jobs/provider/provider.h"
#include "jobs/provider/remote.h"
#include "jobs/provider/reply.h"

struct cohere_embed {
	const char *model;
	enum embed_task task;
	struct str prefix; /* before each text; "" = none */
	const struct str *texts;
	size_t count;
	size_t dim;	  /* 0 = not sent */
	bool no_truncate; /* truncate is not sent */
};

/* A text that is longer than the model takes is to be refused, not cut without a word (truncate NONE; the server's own habit is END). */
void cohere_build_embed(const struct cohere_embed *embed, struct buf *out);

/* count vectors of dim numbers, in the order of the texts, at unit length; floats or base64 of them. */
bool cohere_parse_embed(const struct reply *reply, size_t count, size_t dim, float *out,
			struct remote_used *used, struct err *err);

#endif
