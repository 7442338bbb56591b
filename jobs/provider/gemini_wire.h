/*
 * gemini_wire: what Google's Generative Language API sends and takes: embedContent, batchEmbedContents, generateContent,
 * streamGenerateContent. Pure: bytes in, bytes out. Formats: the vendor's documentation, 2026-11.
 */
#ifndef RAG_JOBS_PROVIDER_GEMINI_WIRE_H
#define RAG_JOBS_PROVIDER_GEMINI_WIRE_H

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
#include "jobs/step/prompt.h"

/* "/models/<model>:<verb>", the model's name percent-encoded; a model may be given with or without "models/". */
void gemini_build_path(const char *model, const char *verb, struct buf *out);

/* ---- embeddings ---- */

struct gemini_embed {
	const char *model;
	enum embed_task task;
	struct str prefix; /* before each text; "" = the model's own, if it has one */
	const struct str *texts;
	size_t count;
	size_t dim;   /* 0 = not sent */
	bool no_task; /* taskType is not sent */
};

/* The body of batchEmbedContents; of embedContent for a single text when `single`. */
void gemini_build_embed(const struct gemini_embed *embed, bool single, struct buf *out);

/* Of either call: count vectors of dim numbers, in the order of the texts, at unit length whatever length they came with. */
bool gemini_parse_embed(const struct reply *reply, size_t count, size_t dim, float *out,
			struct remote_used *used, struct err *err);

/* ---- answers ---- */

struct gemini_generate {
	const struct prompt *prompt;
	int64_t max_tokens;	/* 0 = not sent */
	struct str temperature; /* a JSON number; "" = not sent */
	struct str thinking;	/* thinkingLevel; "" = not sent */
};

/* Of both calls. */
void gemini_build_generate(const struct gemini_generate *generate, struct buf *out);

/*
 * Adds a GenerateContentResponse, or an array of them, to the answer: a whole body, or an event of a stream. An error in their place
 * fails as it would have outside (`key`: masked in its message). A prompt that was blocked is complete, withheld, and has no text.
 */
bool gemini_take_answer(const struct reply *reply, struct model_answer *answer, struct err *err);
bool gemini_take_event(struct str data, const char *provider, const char *key,
		       struct model_answer *answer, struct err *err);

#endif
