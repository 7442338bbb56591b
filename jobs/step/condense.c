#include "jobs/step/condense.h"

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/words.h"

#define TELLING_MIN 2 /* words that are no stop words */
#define CONDENSED_MAX_BYTES ((size_t)64 * 1024)

struct folded {
	char text[WORDS_MAX_BYTES];
	size_t len;
};

static bool
is_one_of(const struct folded *word, const char *const *list)
{
	for (; *list; list++)
		if (str_eq_c(str_make(word->text, word->len), *list))
			return true;
	return false;
}

static bool
points_back(const struct folded *word)
{
	static const char *const words[] = {
		"it",	   "its",   "it's",    "they", "them",	 "their",  "theirs", "this",
		"that",	   "these", "those",   "he",   "him",	 "his",	   "she",    "her",
		"hers",	   "there", "one",     "ones", "same",	 "former", "latter", "else",
		"another", "again", "instead", "more", "itself", "above",  NULL
	};

	return is_one_of(word, words);
}

/* "Is there a limit?", "a job that failed" */
static bool
is_no_pointer(const struct folded *word, size_t index, bool before_tells)
{
	static const char *const there[] = { "there", NULL };
	static const char *const that[] = { "that", NULL };

	return (index <= 1 && is_one_of(word, there)) || (before_tells && is_one_of(word, that));
}

/* "And how often?", "What about winter?" */
static bool
joins(const struct folded *first, const struct folded *second)
{
	static const char *const words[] = { "and",  "but",  "or",	  "so",	     "then",
					     "also", "else", "otherwise", "because", NULL };
	static const char *const asks[] = { "what", "how", NULL };
	static const char *const about[] = { "about", NULL };

	return is_one_of(first, words) || (is_one_of(first, asks) && is_one_of(second, about));
}

static bool
is_plain(struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.ptr[i] >= 0x80)
			return false;
	return true;
}

bool
condense_leans(struct str question)
{
	struct folded first = { .len = 0 }, second = { .len = 0 }, word;
	struct str next;
	size_t at = 0, words = 0, telling = 0;
	bool points = false, before_tells = false;

	while (words_next(question, &at, &next)) {
		word.len = words_fold(next, word.text);
		if (points_back(&word))
			points |= !is_no_pointer(&word, words, before_tells);
		before_tells = !words_is_stop(str_make(word.text, word.len));
		telling += before_tells;
		if (words == 0)
			first = word;
		else if (words == 1)
			second = word;
		words++;
	}
	if (words == 0 || joins(&first, &second) || telling < TELLING_MIN)
		return true;
	if (points && telling < CONDENSE_TELLING)
		return true;
	/* stop words of other languages are not known, and seem to tell something */
	return !is_plain(question) && words <= CONDENSE_SHORT_WORDS;
}

/* The end of what is too long: questions tend to come last. */
static struct str
end_of(struct str text)
{
	size_t start;

	if (text.len <= CONDENSE_TURN_MAX_BYTES)
		return text;
	start = text.len - CONDENSE_TURN_MAX_BYTES;
	while (start < text.len && ((unsigned char)text.ptr[start] & 0xc0) == 0x80)
		start++;
	return str_sub(text, start, text.len);
}

bool
condense_question(struct str question, const struct history *history, struct arena *arena,
		  struct str *out)
{
	AUTO(buf) struct buf text = BUF_INIT(CONDENSED_MAX_BYTES);
	size_t added = 0;
	char *copy;

	*out = question;
	if (!condense_leans(question))
		return true;
	buf_add(&text, question.ptr, question.len);
	for (size_t i = history->count; i-- > 0 && added < CONDENSE_TURNS;) {
		struct str turn = str_trim(history->turns[i].content);

		if (history->turns[i].role != HISTORY_USER)
			continue;
		turn = end_of(turn);
		buf_add_char(&text, '\n');
		buf_add(&text, turn.ptr, turn.len);
		added++;
		if (!condense_leans(turn))
			break;
	}
	if (added == 0)
		return true;
	if (!buf_ok(&text))
		return false;
	copy = arena_strndup(arena, text.data, text.len);
	if (!copy)
		return false;
	*out = str_make(copy, text.len);
	return true;
}
