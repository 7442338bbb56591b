#include "jobs/provider/gemini.h"

#include "jobs/provider/gemini_wire.h"
#include "jobs/provider/server_embedder.h"
#include "jobs/provider/server_generator.h"

/* Bits of `without`. */
enum { NO_TASK = 1, NO_TEMPERATURE = 1, NO_THINKING = 2 };

/* ---- embedder ---- */

static void
build_embed(const struct server_embedder *self, const struct embed_texts *texts, struct buf *path,
	    struct buf *body)
{
	const struct gemini_embed embed = {
		.model = self->choice.at.model,
		.task = texts->task,
		.prefix = texts->prefix,
		.texts = texts->texts,
		.count = texts->count,
		.dim = self->choice.asks_dim ? self->choice.dim : 0,
		.no_task = (self->without & NO_TASK) != 0,
	};
	bool single = texts->count == 1;

	gemini_build_path(embed.model, single ? "embedContent" : "batchEmbedContents", path);
	gemini_build_embed(&embed, single, body);
}

static bool
learn_embed(struct server_embedder *self, const struct fault *fault, size_t count)
{
	if (fault_leave_out(fault, "taskType", NO_TASK, &self->without) ||
	    fault_leave_out(fault, "task_type", NO_TASK, &self->without))
		return true;
	if (fault->status != 404)
		return false;
	/* either the model is gone, or only the call for many is not there */
	if (count > 1) {
		self->per_request = 1;
		return true;
	}
	self->per_request = 0;
	return false;
}

static const struct embed_dialect embed_dialect = {
	.auth = REMOTE_GOOGLE,
	.counts_texts = true, /* so users report; undocumented */
	.build = build_embed,
	.parse = gemini_parse_embed,
	.learn = learn_embed,
};

static bool
open_embedder(const struct config *config, struct embedder **out, struct err *err)
{
	return server_embedder_open(config, &gemini_embedder_ops, &embed_dialect, out, err);
}

const struct embedder_ops gemini_embedder_ops = {
	.name = "gemini",
	.is_remote = true,
	.open = open_embedder,
	.close = server_embedder_close,
	.embed = server_embedder_embed,
};

/* ---- generator ---- */

static void
build_generate(const struct server_generator *self, const struct prompt *prompt, int64_t max_tokens,
	       bool stream, struct buf *path, struct buf *body)
{
	const struct gemini_generate generate = {
		.prompt = prompt,
		.max_tokens = max_tokens,
		.temperature = self->without & NO_TEMPERATURE ? STR("") : self->temperature,
		.thinking = self->without & NO_THINKING ? STR("") : self->thinking,
	};

	/* without alt=sse a stream is one array in pieces */
	gemini_build_path(self->choice.at.model,
			  stream ? "streamGenerateContent?alt=sse" : "generateContent", path);
	gemini_build_generate(&generate, body);
}

static bool
learn_generate(struct server_generator *self, const struct fault *fault)
{
	if (self->temperature.len > 0 &&
	    fault_leave_out(fault, "temperature", NO_TEMPERATURE, &self->without))
		return true;
	/* a field within it may be what is named */
	return self->thinking.len > 0 && str_starts(str_of(fault->field), "thinking") &&
	       fault_leave_out(fault, fault->field, NO_THINKING, &self->without);
}

static const struct generate_dialect generate_dialect = {
	.auth = REMOTE_GOOGLE,
	.build = build_generate,
	.take_whole = gemini_take_answer,
	.take_event = gemini_take_event,
	.learn = learn_generate,
};

static bool
open_generator(const struct config *config, struct generator **out, struct err *err)
{
	return server_generator_open(config, &gemini_generator_ops, &generate_dialect, out, err);
}

const struct generator_ops gemini_generator_ops = {
	.name = "gemini",
	.is_remote = true,
	.open = open_generator,
	.close = server_generator_close,
	.generate = server_generator_generate,
};
