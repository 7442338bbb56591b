/* fuzz_words: any bytes as text to be cut into words, folded, stemmed; as a question; as a search expression. */
#include <string.h>

#include "common/words.h"
#include "jobs/provider/question.h"
#include "tests/fuzz/fuzz.h"

static void
check_word(struct str word)
{
	char once[WORDS_MAX_BYTES], twice[WORDS_MAX_BYTES];
	size_t len = words_fold(word, once), again, stem;

	must(len < WORDS_MAX_BYTES && once[len] == '\0', "a folded word is ended");
	must(str_utf8_valid(str_make(once, len), NULL), "a folded word is UTF-8");
	again = words_fold(str_make(once, len), twice);
	must(again == len && memcmp(once, twice, len) == 0, "folding twice changes nothing");
	(void)words_is_stop(str_make(once, len));
	stem = words_stem(once, len);
	must(stem <= len && (stem > 0 || len == 0), "a stem is no longer than its word");
	must(memcmp(once, twice, stem > 0 ? 1 : 0) == 0, "a stem begins as its word");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make((const char *)data, size), word = { 0 };
	struct token_reader reader = { .text = text };
	struct question question = { 0 };
	struct token token;
	size_t before = 0, tokens = 0;

	for (size_t at = 0; words_next(text, &at, &word); before = at) {
		must(word.len > 0 && lies_in(word, text), "a word lies in the text");
		must(word.ptr >= text.ptr + before && at > before && at <= size, "words ascend");
		check_word(word);
	}
	while (token_next(&reader, &token)) {
		must(lies_in(token.text, text), "a token lies in the text");
		must(token.weight > 0 && token.weight <= 1, "a token has a weight");
		must(++tokens <= size, "no more tokens than bytes");
	}
	question_read(&question, text);
	must(question.count <= QUESTION_TERMS_MAX, "terms are counted");
	question_weigh(&question, 1);
	double rank = question_rank(&question, question_mask(&question, text));
	double coverage = question_coverage(&question, question_mask(&question, text));
	must(rank >= 0 && rank <= 1.000001, "a rank is from 0 to 1");
	must(coverage >= 0 && coverage <= 1.000001, "a coverage is from 0 to 1");
	return 0;
}
