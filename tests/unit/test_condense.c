/* Which questions lean on the conversation, and what is searched for then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "jobs/step/condense.h"

#define MIB ((size_t)1024 * 1024)

static void
leaning_questions(void **state)
{
	static const char *const leaning[] = {
		"How many drivers live there?",
		"How do I change that?",
		"And how often?",
		"What about winter tyres?",
		"How about the oil filter of a diesel engine?",
		"Does it need a special filter?",
		"Why is that necessary for diesel engines?",
		"Which one lasts longer in winter?",
		"Why?",
		"When?",
		"Or the brake fluid, when is this changed?",
		"How much does another cost?",
		"",
		"\xd0\x90 \xd0\xb7\xd0\xb8\xd0\xbc\xd0\xbe\xd0\xb9?", /* Russian: And in winter? */
	};
	static const char *const standing[] = {
		"Is there a limit on uploads?",
		"Are there winter tyres for vans?",
		"How do I retry a job that failed?",
		"How does the worker renew its lease while this job embeds its chunks?",
		"When do I change the oil?",
		"Which tax form does a limited company file in March?",
		"How are leases renewed?",
		"oil filter",
		"ERR_CONFIG exit code",
		"Wie oft wechsle ich das \xc3\x96l im Motor?",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(leaning); i++)
		if (!condense_leans(str_of(leaning[i])))
			fail_msg("'%s' leans", leaning[i]);
	for (size_t i = 0; i < ARRAY_SIZE(standing); i++)
		if (condense_leans(str_of(standing[i])))
			fail_msg("'%s' stands alone", standing[i]);
}

static struct str
condensed(const char *question, const struct history_turn *turns, size_t count, struct arena *arena)
{
	const struct history history = { turns, count };
	struct str out = { 0 };

	assert_true(condense_question(str_of(question), &history, arena, &out));
	return out;
}

static void
earlier_questions_are_added(void **state)
{
	const struct history_turn turns[] = {
		{ HISTORY_USER, STR("Which tyres are best in winter?") },
		{ HISTORY_ASSISTANT, STR("Those with deep treads [1].") },
		{ HISTORY_USER, STR("When do I change the oil?") },
		{ HISTORY_ASSISTANT, STR("Every 10,000 km [1].") },
		{ HISTORY_USER, STR(" And the filter?\n") },
		{ HISTORY_ASSISTANT, STR("With the oil [1].") },
	};
	AUTO(arena) struct arena arena;

	(void)state;
	arena_init(&arena, MIB);
	/* back to the first that says what it is about, and no further; answers are no part of it */
	assert_true(str_eq_c(condensed("How long does it last?", turns, 6, &arena),
			     "How long does it last?\nAnd the filter?\nWhen do I change the oil?"));
	assert_true(str_eq_c(condensed("How long does it last?", turns, 4, &arena),
			     "How long does it last?\nWhen do I change the oil?"));
	assert_true(
		str_eq_c(condensed("Which grade of oil suits diesel engines?", turns, 6, &arena),
			 "Which grade of oil suits diesel engines?"));
	assert_true(str_eq_c(condensed("Why?", turns, 0, &arena), "Why?"));
	assert_true(str_eq_c(condensed("Why?", turns + 1, 1, &arena), "Why?"));
}

static void
is_bounded(void **state)
{
	struct history_turn turns[HISTORY_MAX_TURNS];
	AUTO(arena) struct arena arena, small;
	const struct history history = { turns, HISTORY_MAX_TURNS };
	struct str out;
	char text[3 * CONDENSE_TURN_MAX_BYTES];

	(void)state;
	arena_init(&arena, MIB);
	arena_init(&small, 64);
	for (size_t i = 0; i + 1 < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xb6", 2);
	for (size_t i = 0; i < HISTORY_MAX_TURNS; i++)
		turns[i] = (struct history_turn){ HISTORY_USER,
						  str_make(text, sizeof(text) - sizeof(text) % 2) };
	out = condensed("And why?", turns, HISTORY_MAX_TURNS, &arena);
	assert_true(out.len <= 8 + CONDENSE_TURNS * (CONDENSE_TURN_MAX_BYTES + 1));
	assert_true(out.len > 8 + (CONDENSE_TURNS - 1) * CONDENSE_TURN_MAX_BYTES);
	assert_true(str_utf8_valid(out, NULL));
	assert_false(condense_question(STR("And why?"), &history, &small, &out));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaning_questions),
		cmocka_unit_test(earlier_questions_are_added),
		cmocka_unit_test(is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
