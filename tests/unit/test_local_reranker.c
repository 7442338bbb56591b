/* The company that passages keep (jobs/provider/local_reranker.c); the rest is in tests/contract/test_provider.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "jobs/provider/local.h"
#include "tests/support/must.h"

static const struct provider_call no_limit = { .deadline_mono_ms = 0 };
static const struct rerank_shares company_alone = { .company = 0.5F };

// NOLINTBEGIN(bugprone-macro-parentheses): literals of an initialiser
#define PASSAGE(document, words, first)                                                            \
	{                                                                                          \
		.document_id = { document, sizeof(document) - 1 },                                 \
		.text = { words, sizeof(words) - 1 }, .score = first                               \
	}
// NOLINTEND(bugprone-macro-parentheses)

static void
likes_company(void **state)
{
	static const struct passage passages[] = {
		PASSAGE("a", "Granite quarries of the northern valleys", 0.9F),
		PASSAGE("b", "Northern valleys and their granite quarries", 0.8F),
		PASSAGE("c", "Embroidered curtains", 0.5F),
		PASSAGE("d", "A quarry of granite in a valley", 0.5F),
	};
	float scores[4];

	(void)state;
	MUST(local_rerank_by(&company_alone, &no_limit, STR("stone"), passages, 4, scores, e));
	for (size_t i = 0; i < 4; i++)
		assert_true(scores[i] >= 0 && scores[i] <= 1);
	assert_true(scores[3] > scores[2] + 0.2F);
	assert_true(scores[0] > scores[2] && scores[1] > scores[2]);
	assert_true(scores[2] <=
		    0.25F + 1e-6F); /* the least alike: half of its first score is left */
}

static void
own_document_is_no_company(void **state)
{
	static const struct passage passages[] = {
		PASSAGE("a", "Granite quarries of the northern valleys", 0.9F),
		PASSAGE("a", "Granite quarries of the northern valleys, again", 0.8F),
		PASSAGE("b", "Limestone caves at the coast", 0.7F),
		PASSAGE("c", "Caves of limestone along a coast", 0.6F),
	};
	float scores[4];

	(void)state;
	MUST(local_rerank_by(&company_alone, &no_limit, STR("stone"), passages, 4, scores, e));
	/* what is alike in a does not lift a; what b and c share lifts them */
	assert_true(scores[2] > scores[0] && scores[3] > scores[1]);
}

static void
nothing_to_compare(void **state)
{
	static const struct passage same[] = {
		PASSAGE("a", "Granite", 0.9F),
		PASSAGE("a", "Granite", 0.3F),
	};
	static const struct passage one[] = { PASSAGE("a", "Granite", 0.4F) };
	float scores[2];

	(void)state;
	MUST(local_rerank_by(&company_alone, &no_limit, STR("stone"), same, 2, scores, e));
	assert_true(scores[0] > 0.89F && scores[0] < 0.91F);
	assert_true(scores[1] > 0.29F && scores[1] < 0.31F);
	MUST(local_rerank_by(&company_alone, &no_limit, STR("stone"), one, 1, scores, e));
	assert_true(scores[0] > 0.39F && scores[0] < 0.41F);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(likes_company),
		cmocka_unit_test(own_document_is_no_company),
		cmocka_unit_test(nothing_to_compare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
