/* Budgets in tokens: nothing is free, texts add up, and real text is near what models' tokenizers make of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/tokens.h"

static void
counts(void **state)
{
	(void)state;
	assert_int_equal(tokens_estimate(STR("")), 0);
	assert_int_equal(tokens_estimate(STR("a")), 1);
	assert_int_equal(tokens_estimate(STR("word")), 1);
	assert_int_equal(tokens_estimate(STR("words")), 2);
	assert_int_equal(tokens_estimate(STR("1234")), 2);
	assert_int_equal(tokens_estimate(STR("\xe6\x97\xa5\xe6\x9c\xac")),
			 2);					       /* two CJK characters */
	assert_int_equal(tokens_estimate(STR("\xd0\xb4\xd0\xb0")), 1); /* two Cyrillic ones */
	assert_true(tokens_estimate(STR("\xff\xff\xff\xff\xff\xff\xff\xff")) >=
		    2); /* no text at all */
}

/* 44 words, 54 tokens by a common byte-pair vocabulary: between that and a quarter more. */
static void
prose_is_near(void **state)
{
	int64_t tokens = tokens_estimate(STR(
		"The grey heron stands still in shallow water and waits for fish. It nests in tall "
		"trees near lakes, often in colonies of many pairs. Both parents feed the young, "
		"which leave the nest after about fifty days and return in the next spring."));

	(void)state;
	assert_in_range(tokens, 48, 68);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(counts),
					    cmocka_unit_test(prose_is_near) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
