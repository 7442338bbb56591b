#include "jobs/provider/model_answer.h"

void
model_answer_init(struct model_answer *answer)
{
	*answer = (struct model_answer){ .tokens_in = -1, .tokens_out = -1 };
	buf_init(&answer->text, MODEL_ANSWER_MAX_BYTES);
}

void
model_answer_release(struct model_answer *answer)
{
	buf_release(&answer->text);
}
