/*
 * server_generator: what generators on a server have in common: an answer is streamed when somebody follows it, else had in one piece;
 * fields that a server refuses are left out from then on; a model that used up its tokens with thinking gets more of them, once. A
 * dialect adds how a request is written and a reply is read. One instance belongs to one slot.
 */
#ifndef RAG_JOBS_PROVIDER_SERVER_GENERATOR_H
#define RAG_JOBS_PROVIDER_SERVER_GENERATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "jobs/provider/model_answer.h"
#include "jobs/provider/provider.h"
#include "jobs/provider/remote.h"
#include "jobs/provider/reply.h"
#include "jobs/spec/choice.h"

struct server_generator;

struct generate_dialect {
	enum remote_auth auth;
	/* Adds path and body of a request (failures of the bufs are the caller's business). */
	void (*build)(const struct server_generator *self, const struct prompt *prompt,
		      int64_t max_tokens, bool stream, struct buf *path, struct buf *body);
	/* A whole body; the data of one event of a stream (`key`: masked in an error's message). Both add to the answer. */
	bool (*take_whole)(const struct reply *reply, struct model_answer *answer, struct err *err);
	bool (*take_event)(struct str data, const char *provider, const char *key,
			   struct model_answer *answer, struct err *err);
	/* Changes `without` after a refusal; false: that is nothing new. */
	bool (*learn)(struct server_generator *self, const struct fault *fault);
};

struct server_generator {
	struct generator generator; /* first: this is what the caller has */
	struct generator_choice choice;
	const struct generate_dialect *dialect;
	struct remote *remote;		  /* owned */
	struct str temperature, thinking; /* as configured, checked; "" = not sent */
	/* learnt */
	unsigned without; /* fields that are left out: the dialect's own bits */
	bool thinks;	  /* the model used up a limit before its first word */
};

bool server_generator_open(const struct config *config, const struct generator_ops *ops,
			   const struct generate_dialect *dialect, struct generator **out,
			   struct err *err);
/* Rows of generator_ops. */
void server_generator_close(struct generator *generator);
bool server_generator_generate(struct generator *generator, const struct provider_call *call,
			       const struct generate_request *request, struct arena *arena,
			       struct generated *out, struct err *err);

#endif
