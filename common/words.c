/*
 * Stems are those of M. F. Porter, "An algorithm for suffix stripping" (1980), so that what we hash agrees
 * with what SQLite's `porter` tokenizer indexes. A word is seen as [C](VC)^m[V]; each rule replaces a
 * suffix when the measure m of the rest is large enough.
 */
#include "common/words.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"

/* ---- cutting and folding ---- */

static bool
is_word_char(uint32_t cp)
{
	if (cp < 0x80)
		return (cp >= '0' && cp <= '9') || (cp >= 'a' && cp <= 'z') ||
		       (cp >= 'A' && cp <= 'Z');
	if (cp < 0xC0 || cp == 0xD7 || cp == 0xF7)
		return cp == 0xAA || cp == 0xB5 || cp == 0xBA;
	if (cp >= 0x2000 && cp <= 0x2BFF) /* punctuation, arrows, signs, boxes */
		return false;
	if (cp >= 0x3000 && cp <= 0x3020) /* CJK punctuation */
		return cp == 0x3005 || cp == 0x3006 || cp == 0x3007;
	return cp != 0xFFFD && cp != 0xFEFF && !(cp >= 0xFF00 && cp <= 0xFF0F) &&
	       !(cp >= 0xFE30 && cp <= 0xFE6F);
}

bool
words_next(struct str text, size_t *at, struct str *out_word)
{
	uint32_t cp = 0;
	size_t start = *at;

	while (start < text.len) {
		size_t step = str_utf8_next(text, start, &cp);

		if (is_word_char(cp))
			break;
		start += step;
	}

	size_t end = start;

	while (end < text.len) {
		size_t step = str_utf8_next(text, end, &cp);

		/* don't, l'eau: one word */
		if (!is_word_char(cp) && (cp == '\'' || cp == 0x2019) && end > start) {
			uint32_t after = 0;

			if (str_utf8_next(text, end + step, &after) == 0 || !is_word_char(after))
				break;
		} else if (!is_word_char(cp)) {
			break;
		}
		end += step;
	}
	*at = end;
	*out_word = str_sub(text, start, end);
	return end > start;
}

/* U+00C0..U+017F without their accents; '?' stands for letters that have more than one base letter and
 * stay as they are. */
static const char latin[] = "aaaaaa?ceeeeiiii?nooooo?ouuuuy??aaaaaa?ceeeeiiii?nooooo?ouuuuy?y"
			    "aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiii??jjkk?lllllll"
			    "lllnnnnnn???oooooo??rrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";

static uint32_t
fold_char(uint32_t cp)
{
	if (cp < 0x80)
		return cp >= 'A' && cp <= 'Z' ? cp - 'A' + 'a' : cp;
	if (cp >= 0xC0 && cp - 0xC0 < sizeof(latin) - 1) {
		char base = latin[cp - 0xC0];

		if (base != '?')
			return (uint32_t)base;
		return cp < 0xDF ? cp + 0x20 : cp;
	}
	if (cp >= 0x391 && cp <= 0x3A9)
		return cp + 0x20;
	if (cp >= 0x410 && cp <= 0x42F)
		return cp + 0x20;
	if (cp >= 0x400 && cp <= 0x40F)
		return cp + 0x50;
	return cp;
}

size_t
words_fold(struct str word, char out[WORDS_MAX_BYTES])
{
	size_t len = 0;
	uint32_t cp = 0;

	for (size_t at = 0; at < word.len && len + 4 < WORDS_MAX_BYTES;) {
		at += str_utf8_next(word, at, &cp);
		if (cp == '\'' || cp == 0x2019)
			continue;

		char bytes[4];
		size_t put = str_utf8_put(bytes, fold_char(cp));

		memcpy(out + len, bytes, put);
		len += put;
	}
	out[len] = '\0';
	return len;
}

/* ---- stop words, sorted; folded (no apostrophes) ---- */

static const char *const stop_words[] = {
	"a",	   "about",	 "above",  "after",    "again",	  "against", "all",	"also",
	"am",	   "an",	 "and",	   "any",      "are",	  "as",	     "at",	"be",
	"because", "been",	 "before", "being",    "below",	  "between", "both",	"but",
	"by",	   "can",	 "cannot", "could",    "did",	  "do",	     "does",	"doing",
	"done",	   "dont",	 "down",   "during",   "each",	  "etc",     "few",	"for",
	"from",	   "further",	 "get",	   "give",     "had",	  "has",     "have",	"having",
	"he",	   "her",	 "here",   "hers",     "herself", "him",     "himself", "his",
	"how",	   "i",		 "if",	   "in",       "into",	  "is",	     "it",	"its",
	"itself",  "just",	 "may",	   "me",       "might",	  "more",    "most",	"must",
	"my",	   "myself",	 "no",	   "nor",      "not",	  "now",     "of",	"off",
	"on",	   "once",	 "only",   "or",       "other",	  "ought",   "our",	"ours",
	"out",	   "over",	 "own",	   "please",   "same",	  "shall",   "she",	"should",
	"so",	   "some",	 "such",   "than",     "that",	  "the",     "their",	"theirs",
	"them",	   "themselves", "then",   "there",    "these",	  "they",    "this",	"those",
	"through", "to",	 "too",	   "under",    "until",	  "up",	     "upon",	"us",
	"very",	   "was",	 "we",	   "were",     "what",	  "when",    "where",	"which",
	"while",   "who",	 "whom",   "whose",    "why",	  "will",    "with",	"would",
	"you",	   "your",	 "yours",  "yourself",
};

static int
compare_stop(const void *key, const void *row)
{
	return str_cmp(*(const struct str *)key, str_of(*(const char *const *)row));
}

bool
words_is_stop(struct str word)
{
	return bsearch(&word, stop_words, ARRAY_SIZE(stop_words), sizeof(stop_words[0]),
		       compare_stop) != NULL;
}

/* ---- Porter's stems ---- */

struct stem {
	char *word;
	size_t len;
};

static bool
is_consonant(const char *word, size_t at)
{
	switch (word[at]) {
	case 'a':
	case 'e':
	case 'i':
	case 'o':
	case 'u':
		return false;
	case 'y':
		return at == 0 || !is_consonant(word, at - 1);
	default:
		return true;
	}
}

/* m of the first len letters: how often a vowel is followed by a consonant */
static size_t
measure(const char *word, size_t len)
{
	size_t count = 0;

	for (size_t i = 1; i < len; i++)
		count += is_consonant(word, i) && !is_consonant(word, i - 1);
	return count;
}

static bool
has_vowel(const char *word, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!is_consonant(word, i))
			return true;
	}
	return false;
}

static bool
ends_double_consonant(const char *word, size_t len)
{
	return len >= 2 && word[len - 1] == word[len - 2] && is_consonant(word, len - 1);
}

/* consonant, vowel, consonant that is not w, x, y: hop, but not snow */
static bool
ends_cvc(const char *word, size_t len)
{
	return len >= 3 && is_consonant(word, len - 1) && !is_consonant(word, len - 2) &&
	       is_consonant(word, len - 3) && !strchr("wxy", word[len - 1]);
}

static bool
ends(const struct stem *stem, const char *suffix, size_t *out_rest)
{
	size_t len = strlen(suffix);

	if (stem->len < len || memcmp(stem->word + stem->len - len, suffix, len) != 0)
		return false;
	*out_rest = stem->len - len;
	return true;
}

/* a replacement is never longer than the suffix, but for an added "e" after a longer cut */
static void
replace(struct stem *stem, size_t rest, const char *with)
{
	size_t len = strlen(with);

	memcpy(stem->word + rest, with, len);
	stem->len = rest + len;
}

struct rule {
	const char *suffix, *with;
};

/* The first rule whose suffix is there decides, applied when the rest measures above `above`. */
static void
apply(struct stem *stem, const struct rule *rules, size_t count, size_t above)
{
	for (size_t i = 0; i < count; i++) {
		size_t rest = 0;

		if (!ends(stem, rules[i].suffix, &rest))
			continue;
		if (measure(stem->word, rest) > above)
			replace(stem, rest, rules[i].with);
		return;
	}
}

static void
step_plural(struct stem *stem)
{
	size_t rest = 0;

	if (ends(stem, "sses", &rest) || ends(stem, "ies", &rest))
		stem->len -= 2;
	else if (!ends(stem, "ss", &rest) && ends(stem, "s", &rest))
		stem->len--;
}

static void
step_past(struct stem *stem)
{
	size_t rest = 0;

	if (ends(stem, "eed", &rest)) {
		if (measure(stem->word, rest) > 0)
			stem->len--;
		return;
	}
	if (!(ends(stem, "ed", &rest) && has_vowel(stem->word, rest)) &&
	    !(ends(stem, "ing", &rest) && has_vowel(stem->word, rest)))
		return;
	stem->len = rest;

	size_t ignored = 0;

	bool cut = ends(stem, "at", &ignored) || ends(stem, "bl", &ignored) ||
		   ends(stem, "iz", &ignored);

	if (!cut && ends_double_consonant(stem->word, stem->len) &&
	    !strchr("lsz", stem->word[stem->len - 1]))
		stem->len--;
	else if (cut || (measure(stem->word, stem->len) == 1 && ends_cvc(stem->word, stem->len)))
		replace(stem, stem->len, "e");
}

static const struct rule rules_2[] = {
	{ "ational", "ate" }, { "tional", "tion" }, { "enci", "ence" },	  { "anci", "ance" },
	{ "izer", "ize" },    { "bli", "ble" },	    { "alli", "al" },	  { "entli", "ent" },
	{ "eli", "e" },	      { "ousli", "ous" },   { "ization", "ize" }, { "ation", "ate" },
	{ "ator", "ate" },    { "alism", "al" },    { "iveness", "ive" }, { "fulness", "ful" },
	{ "ousness", "ous" }, { "aliti", "al" },    { "iviti", "ive" },	  { "biliti", "ble" },
	{ "logi", "log" },
};
static const struct rule rules_3[] = {
	{ "icate", "ic" }, { "ative", "" }, { "alize", "al" }, { "iciti", "ic" },
	{ "ical", "ic" },  { "ful", "" },   { "ness", "" },
};
static const struct rule rules_4[] = {
	{ "al", "" },	{ "ance", "" }, { "ence", "" }, { "er", "" },	 { "ic", "" },
	{ "able", "" }, { "ible", "" }, { "ant", "" },	{ "ement", "" }, { "ment", "" },
	{ "ent", "" },	{ "ou", "" },	{ "ism", "" },	{ "ate", "" },	 { "iti", "" },
	{ "ous", "" },	{ "ive", "" },	{ "ize", "" },
};

static void
step_last(struct stem *stem)
{
	size_t rest = 0;

	if (ends(stem, "e", &rest)) {
		size_t m = measure(stem->word, rest);

		if (m > 1 || (m == 1 && !ends_cvc(stem->word, rest)))
			stem->len = rest;
	}
	if (measure(stem->word, stem->len) > 1 && ends_double_consonant(stem->word, stem->len) &&
	    stem->word[stem->len - 1] == 'l')
		stem->len--;
}

size_t
words_stem(char *word, size_t len)
{
	struct stem stem = { word, len };
	size_t rest = 0;

	if (len < 3)
		return len;
	for (size_t i = 0; i < len; i++) {
		if (word[i] < 'a' || word[i] > 'z')
			return len;
	}
	step_plural(&stem);
	step_past(&stem);
	if (ends(&stem, "y", &rest) && has_vowel(word, rest))
		replace(&stem, rest, "i");
	apply(&stem, rules_2, ARRAY_SIZE(rules_2), 0);
	apply(&stem, rules_3, ARRAY_SIZE(rules_3), 0);
	if (ends(&stem, "ion", &rest)) {
		if (rest > 0 && strchr("st", word[rest - 1]) && measure(word, rest) > 1)
			stem.len = rest;
	} else {
		apply(&stem, rules_4, ARRAY_SIZE(rules_4), 1);
	}
	step_last(&stem);
	word[stem.len] = '\0';
	return stem.len;
}
