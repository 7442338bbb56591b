#include "jobs/provider/cohere.h"

#include "jobs/provider/cohere_wire.h"
#include "jobs/provider/server_embedder.h"

enum { NO_TRUNCATE = 1 }; /* a bit of `without` */

static void
build_embed(const struct server_embedder *self, const struct embed_texts *texts, struct buf *path,
	    struct buf *body)
{
	const struct cohere_embed embed = {
		.model = self->choice.at.model,
		.task = texts->task,
		.prefix = texts->prefix,
		.texts = texts->texts,
		.count = texts->count,
		.dim = self->choice.asks_dim ? self->choice.dim : 0,
		.no_truncate = (self->without & NO_TRUNCATE) != 0,
	};

	buf_add_str(path, "/v2/embed");
	cohere_build_embed(&embed, body);
}

static bool
learn_embed(struct server_embedder *self, const struct fault *fault, size_t count)
{
	(void)count;
	return fault_leave_out(fault, "truncate", NO_TRUNCATE, &self->without);
}

static const struct embed_dialect embed_dialect = {
	.auth = REMOTE_BEARER,
	.build = build_embed,
	.parse = cohere_parse_embed,
	.learn = learn_embed,
};

static bool
open_embedder(const struct config *config, struct embedder **out, struct err *err)
{
	return server_embedder_open(config, &cohere_embedder_ops, &embed_dialect, out, err);
}

const struct embedder_ops cohere_embedder_ops = {
	.name = "cohere",
	.is_remote = true,
	.open = open_embedder,
	.close = server_embedder_close,
	.embed = server_embedder_embed,
};
