/*
 * server_embedder: what embedders on a server have in common: blank texts are not sent, fields and batches that a server refuses are
 * remembered, vectors go to their texts. A dialect adds how a request is written and a reply is read. One instance belongs to one slot.
 */
#ifndef RAG_JOBS_PROVIDER_SERVER_EMBEDDER_H
#define RAG_JOBS_PROVIDER_SERVER_EMBEDDER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "jobs/provider/provider.h"
#include "jobs/provider/remote.h"
#include "jobs/provider/reply.h"
#include "jobs/spec/choice.h"

struct server_embedder;

/* Texts of one request, none of them blank. */
struct embed_texts {
	enum embed_task task;
	struct str prefix; /* before each; "" = none is set */
	const struct str *texts;
	size_t count;
};

struct embed_dialect {
	enum remote_auth auth;
	bool counts_texts; /* the server's limit of requests counts the texts of a request */
	/* Adds path and body of a request (failures of the bufs are the caller's business). */
	void (*build)(const struct server_embedder *self, const struct embed_texts *texts,
		      struct buf *path, struct buf *body);
	/* count vectors of dim numbers, of unit length, each at its text's place */
	bool (*parse)(const struct reply *reply, size_t count, size_t dim, float *out,
		      struct remote_used *used, struct err *err);
	/* Changes `without` or `per_request` after a refusal; false: that is nothing new. */
	bool (*learn)(struct server_embedder *self, const struct fault *fault, size_t count);
};

struct server_embedder {
	struct embedder embedder; /* first: this is what the caller has */
	struct embedder_choice choice;
	const struct embed_dialect *dialect;
	const struct config *config; /* borrowed: outlives the instance */
	struct remote *remote;	     /* owned */
	/* learnt */
	unsigned without;   /* fields that are left out: the dialect's own bits */
	size_t per_request; /* texts in one request; 0 = all of a call */
};

bool server_embedder_open(const struct config *config, const struct embedder_ops *ops,
			  const struct embed_dialect *dialect, struct embedder **out,
			  struct err *err);
/* Rows of embedder_ops. */
void server_embedder_close(struct embedder *embedder);
bool server_embedder_embed(struct embedder *embedder, const struct provider_call *call,
			   enum embed_task task, const struct str *texts, size_t count, float *out,
			   struct err *err);

#endif
