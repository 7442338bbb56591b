#include "jobs/provider/openai.h"

#include "jobs/provider/openai_wire.h"
#include "jobs/provider/server_embedder.h"
#include "jobs/provider/server_generator.h"

/* Bits of `without`: of embedders, of generators. */
enum { NO_DIMENSIONS = 1, NO_ENCODING = 2 };
enum { NO_TEMPERATURE = 1, NO_OPTIONS = 2, OTHER_LIMIT = 4, NO_LIMIT = 8 };

/* ---- embedder ---- */

static void
build_embed(const struct server_embedder *self, const struct embed_texts *texts, struct buf *path,
	    struct buf *body)
{
	const struct openai_embed embed = {
		.model = self->choice.at.model,
		.prefix = texts->prefix,
		.texts = texts->texts,
		.count = texts->count,
		.dimensions = self->choice.asks_dim && !(self->without & NO_DIMENSIONS)
				      ? self->choice.dim
				      : 0,
		.base64 = self->config->openai_encoding == OPENAI_ENCODING_BASE64,
		.no_encoding = (self->without & NO_ENCODING) != 0,
	};

	buf_add_str(path, "/embeddings");
	openai_build_embed(&embed, body);
}

static bool
learn_embed(struct server_embedder *self, const struct fault *fault, size_t count)
{
	(void)count;
	return (self->choice.asks_dim &&
		fault_leave_out(fault, "dimensions", NO_DIMENSIONS, &self->without)) ||
	       fault_leave_out(fault, "encoding_format", NO_ENCODING, &self->without);
}

static const struct embed_dialect embed_dialect = {
	.auth = REMOTE_BEARER,
	.build = build_embed,
	.parse = openai_parse_embed,
	.learn = learn_embed,
};

static bool
open_embedder(const struct config *config, struct embedder **out, struct err *err)
{
	return server_embedder_open(config, &openai_embedder_ops, &embed_dialect, out, err);
}

const struct embedder_ops openai_embedder_ops = {
	.name = "openai",
	.is_remote = true,
	.open = open_embedder,
	.close = server_embedder_close,
	.embed = server_embedder_embed,
};

/* ---- generator ---- */

static void
build_chat(const struct server_generator *self, const struct prompt *prompt, int64_t max_tokens,
	   bool stream, struct buf *path, struct buf *body)
{
	const struct openai_chat chat = {
		.model = self->choice.at.model,
		.prompt = prompt,
		.max_tokens = self->without & NO_LIMIT ? 0 : max_tokens,
		.temperature = self->without & NO_TEMPERATURE ? STR("") : self->temperature,
		.completion_tokens = (self->without & OTHER_LIMIT) != 0,
		.stream = stream,
		.no_options = (self->without & NO_OPTIONS) != 0,
	};

	buf_add_str(path, "/chat/completions");
	openai_build_chat(&chat, body);
}

/* Leaves out, or renames, what the server does not take. */
static bool
learn_chat(struct server_generator *self, const struct fault *fault)
{
	unsigned *without = &self->without;

	return fault_leave_out(fault, "temperature", NO_TEMPERATURE, without) ||
	       fault_leave_out(fault, "stream_options", NO_OPTIONS, without) ||
	       fault_leave_out(fault, "include_usage", NO_OPTIONS, without) ||
	       fault_leave_out(fault, "max_tokens", OTHER_LIMIT, without) ||
	       fault_leave_out(fault, "max_completion_tokens", OTHER_LIMIT, without) ||
	       fault_leave_out(fault, "max_tokens", NO_LIMIT, without) ||
	       fault_leave_out(fault, "max_completion_tokens", NO_LIMIT, without);
}

static const struct generate_dialect generate_dialect = {
	.auth = REMOTE_BEARER,
	.build = build_chat,
	.take_whole = openai_parse_chat,
	.take_event = openai_take_event,
	.learn = learn_chat,
};

static bool
open_generator(const struct config *config, struct generator **out, struct err *err)
{
	return server_generator_open(config, &openai_generator_ops, &generate_dialect, out, err);
}

const struct generator_ops openai_generator_ops = {
	.name = "openai",
	.is_remote = true,
	.open = open_generator,
	.close = server_generator_close,
	.generate = server_generator_generate,
};
