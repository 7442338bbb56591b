/* What becomes of a call that a server finds too large: halves, parts, and what is remembered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "common/base/mem.h"
#include "common/tokens.h"
#include "jobs/step/embed_call.h"
#include "tests/support/must.h"
#include "tests/support/text.h"
#include "tests/support/told_embedder.h"

#define MANY 100

static struct told_embedder told;
static struct embed_limits limits;
static char names[MANY][24];
static struct str texts[MANY];
static float out[MANY * TOLD_DIM];
static bool split[MANY];
static struct provider_usage usage;
static const struct provider_call call = { .usage = &usage };

static int
begin(void **state)
{
	(void)state;
	told_init(&told, MANY);
	atomic_store(&limits.batch, 0);
	atomic_store(&limits.text_tokens, 0);
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "text %d", i);
		texts[i] = str_of(names[i]);
	}
	memset(split, 1, sizeof(split));
	usage = (struct provider_usage){ 0 };
	return 0;
}

static int
end(void **state)
{
	(void)state;
	told_release(&told);
	return 0;
}

static bool
embed(size_t count, struct err *err)
{
	const struct embed_load load = {
		.texts = texts, .count = count, .out = out, .split = split
	};

	return embed_call(&told.embedder, &call, EMBED_DOCUMENT, &limits, &load, err);
}

/* Each vector stands at its text's place, whatever the calls were. */
static void
check_vectors(size_t count)
{
	for (size_t i = 0; i < count; i++) {
		float expected[TOLD_DIM];

		if (split[i])
			continue;
		told_vector(texts[i], expected);
		assert_memory_equal(out + i * TOLD_DIM, expected, sizeof(expected));
	}
}

static void
test_one_call_when_nothing_is_refused(void **state)
{
	(void)state;
	MUST(embed(MANY, e));
	assert_int_equal(atomic_load(&told.calls), 1);
	check_vectors(MANY);
	for (int i = 0; i < MANY; i++)
		assert_false(split[i]);
	assert_int_equal(usage.requests, 1);
	MUST(embed(0, e));
	assert_int_equal(atomic_load(&told.calls), 1);
}

/* Every limit a server may have: all texts come through, and the second batch meets no refusal. */
static void
test_batch_is_halved_and_remembered(void **state)
{
	for (size_t takes = 1; takes <= MANY; takes++) {
		int refused;

		(void)end(state);
		(void)begin(state);
		told.takes_batch = takes;
		MUST(embed(MANY, e));
		check_vectors(MANY);
		assert_int_equal(atomic_load(&told.texts), MANY);
		assert_true((size_t)atomic_load(&told.largest) <= takes);
		refused = atomic_load(&told.refused);
		assert_true(refused <= 7); /* log2(100) */
		if (takes < MANY)
			assert_true(embed_batch(&told.embedder, &limits) * 2 >= takes &&
				    embed_batch(&told.embedder, &limits) <= takes);
		MUST(embed(MANY, e));
		assert_int_equal(atomic_load(&told.refused), refused);
	}
}

/* One text too long among many: the batch is not to blame, and only that text is cut. */
static void
test_long_text_is_no_batch_limit(void **state)
{
	char *large = mem_alloc(6001);

	(void)state;
	for (int i = 0; i < 6000; i++)
		large[i] = (char)(i % 6 == 5 ? ' ' : 'a' + i % 26);
	texts[37] = str_of(large);
	told.takes_bytes = 2000;
	MUST(embed(MANY, e));
	check_vectors(MANY);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(split[i], i == 37);
	assert_int_equal(atomic_load(&limits.batch), 0);
	assert_true(atomic_load(&limits.text_tokens) < tokens_estimate(texts[37]));
	assert_true(atomic_load(&limits.text_tokens) >= 500); /* 2000 bytes are taken */
	mem_free(large);
}

/* All of them too long, for a server nobody knows: the first one's refusals are all there are. */
static void
test_many_long_texts(void **state)
{
	char *large = mem_alloc(6001);

	(void)state;
	for (int i = 0; i < 6000; i++)
		large[i] = (char)(i % 6 == 5 ? ' ' : 'a' + i % 26);
	for (int i = 0; i < MANY; i++)
		texts[i] = str_make(large + i, 4000);
	told.takes_bytes = 2100;
	MUST(embed(MANY, e));
	for (int i = 0; i < MANY; i++)
		assert_true(split[i]);
	assert_int_equal(atomic_load(&told.texts), 2 * MANY);
	assert_true(atomic_load(&told.refused) <= 8); /* log2(100) and itself */
	assert_int_equal(atomic_load(&limits.batch), 0);
	mem_free(large);
}

/* The mean of the parts by their length, of unit length. */
static void
test_vector_of_parts_is_their_mean(void **state)
{
	char large[901];
	float expected[TOLD_DIM] = { 0 }, part[TOLD_DIM];
	size_t at;

	(void)state;
	memset(large, 'x', 900);
	large[900] = '\0';
	large[399] = ' ';
	texts[0] = str_of(large);
	told.takes_bytes = 600;
	MUST(embed(1, e));
	assert_true(split[0]);
	at = embed_cut(texts[0], 450);
	assert_int_equal(at, 400);
	told_vector(str_sub(texts[0], 0, at), part);
	embed_mean_add(expected, part, TOLD_DIM, at);
	told_vector(str_sub(texts[0], at, 900), part);
	embed_mean_add(expected, part, TOLD_DIM, 900 - at);
	embed_mean_end(expected, TOLD_DIM);
	assert_memory_equal(out, expected, sizeof(expected));
	double squares = 0;
	for (int i = 0; i < TOLD_DIM; i++)
		squares += (double)out[i] * (double)out[i];
	assert_true(fabs(squares - 1) < 1e-6);
}

/* A server that takes nothing: an end, and it is final. */
static void
test_refuses_everything(void **state)
{
	struct err err = ERR_INIT;
	char large[4001];

	(void)state;
	memset(large, 'y', 4000);
	large[4000] = '\0';
	texts[0] = str_of(large);
	told.takes_bytes = 1;
	assert_false(embed(MANY, &err));
	assert_int_equal(err.code, ERR_PROVIDER_REJECTED);
	assert_non_null(strstr(err.msg, "too long"));
	assert_true(atomic_load(&told.calls) < 30);
	/* nothing was taken, so nothing is known of lengths: texts of later calls stay whole */
	assert_int_equal(atomic_load(&limits.text_tokens), 0);
}

static void
test_other_failures_pass(void **state)
{
	static const enum err_code codes[] = { ERR_PROVIDER_UNAVAILABLE, ERR_PROVIDER_LIMITED,
					       ERR_PROVIDER_REJECTED, ERR_PROVIDER_REPLY,
					       ERR_PROVIDER_QUOTA };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		struct err err = ERR_INIT;

		atomic_store(&told.calls, 0);
		atomic_store(&told.fail_code, (int)codes[i]);
		assert_false(embed(MANY, &err));
		assert_int_equal(err.code, codes[i]);
		assert_int_equal(atomic_load(&told.calls), 1);
	}
}

static void
test_stops_when_told(void **state)
{
	const atomic_bool cancelled = true;
	const struct provider_call cancel = { .cancel = &cancelled };
	const struct embed_load load = {
		.texts = texts, .count = MANY, .out = out, .split = split
	};
	struct err err = ERR_INIT;

	(void)state;
	assert_false(embed_call(&told.embedder, &cancel, EMBED_DOCUMENT, &limits, &load, &err));
	assert_int_equal(err.code, ERR_CANCELLED);
	assert_int_equal(atomic_load(&told.calls), 0);
}

/* Cuts are inside the text, between characters, and behind white space where there is some near. */
static void
test_cut(void **state)
{
	struct text_random random = { 7 };
	struct buf text = BUF_INIT(1 << 20);

	(void)state;
	assert_int_equal(embed_cut(STR("0123456789 12345"), 12), 11);
	assert_int_equal(embed_cut(STR("01 3456789012345"), 12), 12); /* too far before */
	assert_int_equal(embed_cut(STR("helloworldagain"), 9), 9);
	assert_int_equal(embed_cut(STR("\xe4\xbd\xa0\xe5\xa5\xbd"), 3), 3);
	assert_int_equal(embed_cut(STR("\xe4\xbd\xa0\xe5\xa5\xbd"), 4), 3);
	assert_int_equal(embed_cut(STR("\xe4\xbd\xa0\xe5\xa5\xbd"), 1), 3);
	assert_int_equal(embed_cut(STR(""), 0), 0);
	for (int i = 0; i < 500; i++) {
		struct str whole;
		size_t at, cut;

		buf_clear(&text);
		text_random_fill(&random, &text, 2 + text_random(&random, 200));
		whole = str_make(text.data, text.len);
		if (str_utf8_count(whole) < 2)
			continue;
		at = text_random(&random, whole.len);
		cut = embed_cut(whole, at);
		assert_true(cut > 0 && cut < whole.len);
		assert_int_equal(str_utf8_floor(whole, cut), cut);
	}
	buf_release(&text);
}

int
main(void)
{
#define EMBED_TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)
	const struct CMUnitTest tests[] = {
		EMBED_TEST(test_one_call_when_nothing_is_refused),
		EMBED_TEST(test_batch_is_halved_and_remembered),
		EMBED_TEST(test_long_text_is_no_batch_limit),
		EMBED_TEST(test_many_long_texts),
		EMBED_TEST(test_vector_of_parts_is_their_mean),
		EMBED_TEST(test_refuses_everything),
		EMBED_TEST(test_other_failures_pass),
		EMBED_TEST(test_stops_when_told),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
