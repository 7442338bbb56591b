#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/mem.h"
#include "common/words.h"

/* The words of text, folded, joined by blanks. */
static const char *
words_of(const char *text, char out[256])
{
	char folded[WORDS_MAX_BYTES];
	struct str word = STR("");
	size_t len = 0;

	out[0] = '\0';
	for (size_t at = 0; words_next(str_of(text), &at, &word);) {
		(void)words_fold(word, folded);
		len += (size_t)snprintf(out + len, 256 - len, "%s%s", len > 0 ? " " : "", folded);
	}
	return out;
}

static void
cuts_and_folds(void **state)
{
	static const char *const cases[][2] = {
		{ "", "" },
		{ " .,;!? -- ", "" },
		{ "Hello, World!", "hello world" },
		{ "state-of-the-art", "state of the art" },
		{ "don't 'quote' rock'n'roll'", "dont quote rocknroll" },
		{ "it\xe2\x80\x99s", "its" },
		{ "x86_64 3.14 v2", "x86 64 3 14 v2" },
		{ "\xc3\x9c"
		  "BER Caf\xc3\xa9 \xc5\x81\xc3\xb3"
		  "d\xc5\xba",
		  "uber cafe lodz" },
		{ "\xc3\x86ther Stra\xc3\x9f"
		  "e",
		  "\xc3\xa6ther stra\xc3\x9f"
		  "e" },
		{ "\xce\x91\xce\x92\xce\x93 \xd0\x9f\xd0\xa0\xd0\x98\xd0\x92\xd0\x95\xd0\xa2",
		  "\xce\xb1\xce\xb2\xce\xb3 \xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82" },
		{ "\xe4\xbd\xa0\xe5\xa5\xbd\xe3\x80\x82\xe4\xb8\x96",
		  "\xe4\xbd\xa0\xe5\xa5\xbd \xe4\xb8\x96" },
		{ "a\xe2\x80\x94"
		  "b\xe2\x80\xa6"
		  "c",
		  "a b c" },
		{ "bad\xff"
		  "byte",
		  "bad byte" },
	};
	char out[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(words_of(cases[i][0], out), cases[i][1]);
}

static void
long_words_are_cut(void **state)
{
	char *text = mem_alloc(10001);
	char folded[WORDS_MAX_BYTES];
	struct str word = STR("");
	size_t at = 0;

	(void)state;
	memset(text, 'A', 10000);
	assert_true(words_next(str_of(text), &at, &word));
	assert_int_equal(word.len, 10000);
	assert_true(words_fold(word, folded) < WORDS_MAX_BYTES);
	assert_int_equal(strlen(folded), words_fold(word, folded));
	for (size_t i = 0; i < 10000; i += 2)
		memcpy(text + i, "\xc3\x9f", 2);
	assert_true(str_utf8_valid(str_make(folded, words_fold(str_of(text), folded)), NULL));
	mem_free(text);
}

static void
stop_words(void **state)
{
	static const char *const stop[] = { "a", "the", "what", "is", "yourself", "dont", "about" };
	static const char *const other[] = { "", "wing", "them s", "zebra", "th" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(stop); i++)
		assert_true(words_is_stop(str_of(stop[i])));
	for (size_t i = 0; i < ARRAY_SIZE(other); i++)
		assert_false(words_is_stop(str_of(other[i])));
}

/* The examples of Porter's article, and some more. */
static const char *const stem_cases[][2] = {
	{ "caresses", "caress" },
	{ "ponies", "poni" },
	{ "ties", "ti" },
	{ "caress", "caress" },
	{ "cats", "cat" },
	{ "feed", "feed" },
	{ "agreed", "agre" },
	{ "plastered", "plaster" },
	{ "bled", "bled" },
	{ "motoring", "motor" },
	{ "sing", "sing" },
	{ "conflated", "conflat" },
	{ "troubled", "troubl" },
	{ "sized", "size" },
	{ "hopping", "hop" },
	{ "tanned", "tan" },
	{ "falling", "fall" },
	{ "hissing", "hiss" },
	{ "fizzed", "fizz" },
	{ "failing", "fail" },
	{ "filing", "file" },
	{ "happy", "happi" },
	{ "sky", "sky" },
	{ "relational", "relat" },
	{ "conditional", "condit" },
	{ "rational", "ration" },
	{ "valenci", "valenc" },
	{ "digitizer", "digit" },
	{ "radicalli", "radic" },
	{ "differentli", "differ" },
	{ "vileli", "vile" },
	{ "analogousli", "analog" },
	{ "vietnamization", "vietnam" },
	{ "predication", "predic" },
	{ "operator", "oper" },
	{ "feudalism", "feudal" },
	{ "decisiveness", "decis" },
	{ "hopefulness", "hope" },
	{ "callousness", "callous" },
	{ "formaliti", "formal" },
	{ "sensitiviti", "sensit" },
	{ "sensibiliti", "sensibl" },
	{ "triplicate", "triplic" },
	{ "formative", "form" },
	{ "formalize", "formal" },
	{ "electriciti", "electr" },
	{ "electrical", "electr" },
	{ "hopeful", "hope" },
	{ "goodness", "good" },
	{ "revival", "reviv" },
	{ "allowance", "allow" },
	{ "inference", "infer" },
	{ "airliner", "airlin" },
	{ "gyroscopic", "gyroscop" },
	{ "adjustable", "adjust" },
	{ "defensible", "defens" },
	{ "irritant", "irrit" },
	{ "replacement", "replac" },
	{ "adjustment", "adjust" },
	{ "dependent", "depend" },
	{ "adoption", "adopt" },
	{ "homologou", "homolog" },
	{ "communism", "commun" },
	{ "activate", "activ" },
	{ "angulariti", "angular" },
	{ "homologous", "homolog" },
	{ "effective", "effect" },
	{ "bowdlerize", "bowdler" },
	{ "probate", "probat" },
	{ "rate", "rate" },
	{ "cease", "ceas" },
	{ "controll", "control" },
	{ "roll", "roll" },
	{ "as", "as" },
	{ "relation", "relat" },
	{ "action", "action" },
	{ "x86s", "x86s" },
	{ "ion", "ion" },
	{ "yyy", "yyi" },
	{ "sses", "ss" },
	{ "eed", "eed" },
};

static void
stems(void **state)
{
	char word[WORDS_MAX_BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(stem_cases); i++) {
		size_t len = words_fold(str_of(stem_cases[i][0]), word);

		len = words_stem(word, len);
		if (!str_eq_c(str_make(word, len), stem_cases[i][1]))
			fail_msg("%s: got '%s', want '%s'", stem_cases[i][0], word,
				 stem_cases[i][1]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cuts_and_folds),
		cmocka_unit_test(long_words_are_cut),
		cmocka_unit_test(stop_words),
		cmocka_unit_test(stems),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
