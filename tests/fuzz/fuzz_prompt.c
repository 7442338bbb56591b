/*
 * fuzz_prompt: any bytes as a prompt template, and, behind the first NUL, as a document. A template that is taken gives prompts
 * within their budget that are valid UTF-8, in which the document cannot cite and cannot close its tag.
 */
#include <string.h>

#include "jobs/step/cite.h"
#include "jobs/step/prompt.h"
#include "tests/fuzz/fuzz.h"

#define TEMPLATE                                                                                   \
	"== system ==\nx\n== user ==\n{{sources}}{{question}}\n== source ==\n{{n}}\n{{text}}\n== " \
	"refusal ==\nNo."
#define BUDGET 200

static void
check_prompt(const struct prompt_template *template, struct str document, bool ours)
{
	const struct source source = { .n = 1, .title = document, .text = document };
	const struct history_turn turn = { HISTORY_ASSISTANT, document };
	const struct prompt_request request = { .question = STR("?"),
						.sources = &source,
						.count = 1,
						.history = { &turn, 1 },
						.source_tokens = BUDGET,
						.history_tokens = BUDGET };
	AUTO(arena) struct arena arena;
	struct prompt prompt;
	struct cite_check check;
	struct err err = ERR_INIT;

	arena_init(&arena, 64 * MIB);
	if (!prompt_build(template, &request, &arena, &prompt, &err)) {
		must(err.code == ERR_TOO_LARGE, "a prompt is built, or too large");
		return;
	}
	must(prompt.count >= 1 && prompt.turns[prompt.count - 1].role == PROMPT_USER,
	     "the user has the last word");
	for (size_t i = 0; i < prompt.count; i++)
		must(str_utf8_valid(prompt.turns[i].text, NULL), "a prompt is UTF-8");
	if (!ours)
		return;

	struct str text = prompt.turns[prompt.count - 1].text;

	must(prompt.source_tokens <= BUDGET, "a source fits its budget");
	must(!str_find(text, STR("</source"), &(size_t){ 0 }), "a document cannot close its tag");
	must(cite_answer(text, 0, &arena, &check) && check.removed == 0,
	     "a document holds no mark");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
	size_t len = end ? (size_t)(end - data) : size;
	struct str document = end ? str_make((const char *)end + 1, size - len - 1)
				  : str_make((const char *)data, size);
	struct prompt_template *template = NULL, *own = NULL;
	struct err err = ERR_INIT;

	if (prompt_template_parse(str_make((const char *)data, len), "t", &template, &err))
		check_prompt(template, document, false);
	else
		must(err.code == ERR_CONFIG, "refused with a reason");
	prompt_template_free(template);
	must(prompt_template_parse(STR(TEMPLATE), "t", &own, &err), "the plain template is taken");
	check_prompt(own, document, true);
	prompt_template_free(own);
	return 0;
}
