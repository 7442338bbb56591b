#include "jobs/provider/question.h"

#include <math.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/words.h"
#include "jobs/provider/word_weight.h"

#define STOP_WEIGHT_MAX 0.1F /* of word_weight */
#define TELLING_WEIGHT_MIN 0.69
/* coverage weight of a term no source holds, by its word weight */
#define ABSENT_WEIGHT 1.7
#define ABSENT_NAME_WEIGHT 2.2

/* ---- tokens ---- */

static bool
is_cjk(struct str text)
{
	uint32_t cp = 0;

	return text.len > 0 && str_utf8_next(text, 0, &cp) > 1 &&
	       ((cp >= 0x3040 && cp <= 0x30ff) || (cp >= 0x3400 && cp <= 0x9fff) ||
		(cp >= 0xac00 && cp <= 0xd7a3) || (cp >= 0x20000 && cp <= 0x3ffff));
}

static struct token
cjk_token(struct token_reader *reader)
{
	uint32_t cp = 0;
	size_t one = str_utf8_next(reader->cjk, 0, &cp);
	size_t two = one < reader->cjk.len ? one + str_utf8_next(reader->cjk, one, &cp) : one;
	struct token token = { .text = str_sub(reader->cjk, 0, two), .weight = 1 };

	token.stem = str_hash64(token.text, 0);
	/* the last character stands in the last pair */
	reader->cjk = two < reader->cjk.len ? str_sub(reader->cjk, one, reader->cjk.len) : STR("");
	return token;
}

bool
token_next(struct token_reader *reader, struct token *out)
{
	char form[WORDS_MAX_BYTES];
	struct str word;

	if (reader->cjk.len == 0) {
		if (!words_next(reader->text, &reader->at, &word))
			return false;
		if (!is_cjk(word)) {
			size_t len = words_fold(word, form);

			out->text = word;
			out->weight = word_weight(str_make(form, len));
			out->stem = str_hash64(str_make(form, words_stem(form, len)), 0);
			return true;
		}
		reader->cjk = word;
	}
	*out = cjk_token(reader);
	return true;
}

static bool
is_name(const struct token *token, bool first)
{
	char c = token->text.ptr[0];

	for (size_t i = 0; i < token->text.len; i++)
		if (token->text.ptr[i] >= '0' && token->text.ptr[i] <= '9')
			return true;
	return !first && c >= 'A' && c <= 'Z';
}

/* ---- the question ---- */

uint64_t
question_bit(const struct question *question, uint64_t stem)
{
	for (size_t i = 0; i < question->count; i++)
		if (question->terms[i].stem == stem)
			return (uint64_t)1 << i;
	return 0;
}

/* The first two words tell how answers begin. */
static void
read_kind(struct question *question, struct str text)
{
	struct str first = { 0 }, second = { 0 };
	size_t at = 0;

	(void)(words_next(text, &at, &first) && words_next(text, &at, &second));
	question->how = str_eq_nocase(first, STR("how"));
	question->what_is =
		str_eq_nocase(first, STR("what's")) ||
		(str_eq_nocase(first, STR("what")) &&
		 (str_eq_nocase(second, STR("is")) || str_eq_nocase(second, STR("are"))));
}

/* What the word tells in its plainest form: "happens" as little as "happen". */
static double
plain_weight(const struct token *token)
{
	static const char *const endings[] = { "s", "es", "d", "ed", "ing" };
	char form[WORDS_MAX_BYTES];
	size_t len = words_fold(token->text, form);
	float weight = token->weight;

	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		struct str word = str_make(form, len);

		if (!str_ends(word, endings[i]) || len < strlen(endings[i]) + 3)
			continue;
		word.len -= strlen(endings[i]);
		weight = fminf(weight, word_weight(word));
	}
	return (double)fmaxf(weight, STOP_WEIGHT_MAX * 2);
}

void
question_read(struct question *question, struct str text)
{
	struct token_reader reader = { .text = text };
	struct token token;

	read_kind(question, text);
	for (bool first = true; question->count < QUESTION_TERMS_MAX && token_next(&reader, &token);
	     first = false) {
		if (token.weight <= STOP_WEIGHT_MAX || question_bit(question, token.stem))
			continue;

		double weight = plain_weight(&token);

		if (weight >= TELLING_WEIGHT_MIN)
			question->telling |= (uint64_t)1 << question->count;
		question->terms[question->count++] = (struct term){
			.stem = token.stem,
			.weight = weight,
			.name = is_name(&token, first),
		};
	}
}

uint64_t
question_mask(const struct question *question, struct str text)
{
	struct token_reader reader = { .text = text };
	struct token token;
	uint64_t mask = 0;

	while (token_next(&reader, &token))
		mask |= question_bit(question, token.stem);
	return mask;
}

double
question_rank(const struct question *question, uint64_t mask)
{
	double sum = 0;

	for (size_t i = 0; i < question->count; i++)
		if (mask >> i & 1)
			sum += question->terms[i].rank;
	return question->rank_sum > 0 ? sum / question->rank_sum : 0;
}

double
question_coverage(const struct question *question, uint64_t mask)
{
	double sum = 0;

	for (size_t i = 0; i < question->count; i++)
		if (mask >> i & 1)
			sum += question->terms[i].coverage;
	return question->coverage_sum > 0 ? sum / question->coverage_sum : 0;
}

void
question_weigh(struct question *question, size_t source_count)
{
	double most = log(((double)source_count + 1) / 0.5);

	for (size_t i = 0; i < question->count; i++) {
		struct term *term = &question->terms[i];
		double rarity =
			log(((double)source_count + 1) / ((double)term->sources + 0.5)) / most;

		term->rank = term->weight * (0.6 + rarity);
		term->coverage = term->weight;
		if (term->sources == 0) {
			term->rank = 0; /* the same for all sentences */
			term->coverage *= term->name ? ABSENT_NAME_WEIGHT : ABSENT_WEIGHT;
		}
		question->rank_sum += term->rank;
		question->coverage_sum += term->coverage;
	}
}
