/*
 * fuzz_reply: any bytes as the body of a provider's reply, with every reader of the OpenAI formats over it. What strict JSON is, is a
 * reply too; a vector that is read has unit length or none; the words of an answer are valid UTF-8.
 */
#include "common/json.h"
#include "jobs/provider/openai_wire.h"
#include "tests/fuzz/provider.h"

#define DIM 3

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make((const char *)data, size);
	struct reply reply = { 0 };
	struct js *strict = NULL;
	struct err err = ERR_INIT;
	struct model_answer answer;
	bool is_json = js_parse(text, &strict, &err);

	err = ERR_INIT;
	if (reply_read(text, &reply, &err)) {
		struct remote_used used = { -1, -1, -1 };
		float vectors[2 * DIM];

		must(reply.root != NULL, "a reply has a root");
		for (size_t count = 1; count <= 2; count++)
			if (openai_parse_embed(&reply, count, DIM, vectors, &used, &err))
				must_be_vectors(vectors, count, DIM);
		model_answer_init(&answer);
		(void)openai_parse_chat(&reply, &answer, &err);
		must_be_answer(&answer);
		reply_release(&reply);
	} else {
		must(err.code == ERR_PROVIDER_REPLY, "garbage is garbage");
		must(!is_json, "what is JSON is a reply");
	}
	js_free(strict);
	model_answer_init(&answer);
	(void)openai_take_event(text, "openai", "key", &answer, &err);
	must_be_answer(&answer);
	return 0;
}
