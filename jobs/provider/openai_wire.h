/*
 * openai_wire: what OpenAI and the many servers that speak like it (Ollama, vLLM, llama.cpp, TEI, LocalAI, gateways) send and take:
 * /embeddings and /chat/completions, streamed and not. Pure: bytes in, bytes out.
 */
#ifndef RAG_JOBS_PROVIDER_OPENAI_WIRE_H
#define RAG_JOBS_PROVIDER_OPENAI_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "jobs/provider/model_answer.h"
#include "jobs/provider/remote.h"
#include "jobs/provider/reply.h"
#include "jobs/step/prompt.h"

/* ---- embeddings ---- */

struct openai_embed {
	const char *model;	 /* "" = not sent */
	struct str prefix;	 /* before each text */
	const struct str *texts; /* any bytes: ill-formed UTF-8 is sent as U+FFFD */
	size_t count;
	size_t dimensions; /* 0 = not sent */
	bool base64;	   /* how vectors are asked for */
	bool no_encoding;  /* encoding_format is not sent: floats */
};

/* Adds the body to out (check buf_ok). */
void openai_build_embed(const struct openai_embed *embed, struct buf *out);

/*
 * count vectors of dim numbers, unit length, placed by their `index` (by position where no element has one); each may be an array or
 * base64. ERR_PROVIDER_REPLY unless there is exactly one for each text.
 */
bool openai_parse_embed(const struct reply *reply, size_t count, size_t dim, float *out,
			struct remote_used *used, struct err *err);

/* ---- chat ---- */

struct openai_chat {
	const char *model;
	const struct prompt *prompt;
	int64_t max_tokens;	 /* 0 = not sent */
	struct str temperature;	 /* a JSON number; "" = not sent */
	bool completion_tokens;	 /* the limit is called max_completion_tokens */
	bool stream, no_options; /* no_options: without stream_options */
};

void openai_build_chat(const struct openai_chat *chat, struct buf *out);

/* The body of an answer that was not streamed. */
bool openai_parse_chat(const struct reply *reply, struct model_answer *answer, struct err *err);

/* The data of one event of a stream: adds to the answer. An error inside the stream fails as it would have outside (`key`: masked in
 * its message). */
bool openai_take_event(struct str data, const char *provider, const char *key,
		       struct model_answer *answer, struct err *err);

#endif
