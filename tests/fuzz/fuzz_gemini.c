/*
 * fuzz_gemini: any bytes as what Gemini answers: vectors, a whole answer, an event of a stream. A vector that is read has unit length or
 * none; the words of an answer are valid UTF-8; garbage fails as garbage.
 */
#include "jobs/provider/gemini_wire.h"
#include "tests/fuzz/provider.h"

#define DIM 3

static void
check_answer(struct model_answer *answer)
{
	must(answer->complete || (!answer->truncated && !answer->withheld && !answer->why[0]),
	     "only an end has a reason");
	must_be_answer(answer);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make((const char *)data, size);
	struct reply reply = { 0 };
	struct model_answer answer;
	struct err err = ERR_INIT;

	if (reply_read(text, &reply, &err)) {
		struct remote_used used = { -1, -1, -1 };
		float vectors[2 * DIM];

		for (size_t count = 1; count <= 2; count++) {
			err = ERR_INIT;
			if (gemini_parse_embed(&reply, count, DIM, vectors, &used, &err))
				must_be_vectors(vectors, count, DIM);
			else
				must(err.code == ERR_PROVIDER_REPLY, "garbage is garbage");
		}
		must(used.tokens_in >= -1, "a count is a count");
		model_answer_init(&answer);
		(void)gemini_take_answer(&reply, &answer, &err);
		check_answer(&answer);
		reply_release(&reply);
	}
	model_answer_init(&answer);
	err = ERR_INIT;
	if (!gemini_take_event(text, "gemini", "key", &answer, &err))
		must(err.code != ERR_NONE && err.msg[0], "a failure says why");
	check_answer(&answer);
	return 0;
}
