/* Numbers of vectors: every one is exactly what the C library makes of it. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "jobs/provider/floats.h"

/* (float)strtod; what is not finite as a double is infinite */
static float
expected(const char *text)
{
	double value = 0;

	if (!str_to_f64(str_of(text), &value))
		value = text[0] == '-' ? -HUGE_VAL : HUGE_VAL;
	return fabs(value) > (double)FLT_MAX * 2 ? (float)copysign(HUGE_VAL, value) : (float)value;
}

/* To the bit: minus zero is not zero. */
static uint32_t
bits_of(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static void
check_number(const char *text)
{
	float out = 7, want = expected(text);
	size_t len = floats_scan_number(str_of(text), &out);

	if (len != strlen(text) || bits_of(out) != bits_of(want))
		fail_msg("'%s': %zu bytes, %.9g instead of %.9g", text, len, (double)out,
			 (double)want);
}

static void
test_numbers_as_they_come(void **state)
{
	static const char *const texts[] = {
		"0",
		"-0",
		"0.0",
		"-0.0",
		"1",
		"-1",
		"10",
		"0.1",
		"-0.25",
		"123456789",
		"0.013234567",
		"-0.08714285714285715",
		"0.012345678901234567",
		"1e5",
		"1E5",
		"1e+5",
		"1e-5",
		"-1.5e-10",
		"3.4028235e38",
		"1.17549435e-38",
		"0.00000000000000000000001234",
		"9007199254740993",
		"18446744073709551615",
		"184467440737095516150000",
		"12345678901234567890123456789",
		"0.12345678901234567890123456789e-10",
		"1.0000000000000000000000000001",
		"0.30000001192092896",
		"0.00000001",
		"0.000000012345678",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		check_number(texts[i]);
}

static void
test_numbers_at_the_borders(void **state)
{
	static const char *const texts[] = {
		/* the middle between two floats, and a hair beside it */
		"16777217",
		"16777217.0000000000000001",
		"16777216.9999999999999999",
		"16777219",
		"1.00000005960464477539062500",
		"1.00000005960464477539062501",
		"1.00000005960464477539062499",
		"0.500000029802322387695312500",
		"340282356779733661637539395458142568447",
		"340282356779733661637539395458142568448",
		"3.4028236e38",
		"1e39",
		"1e400",
		"-1e400",
		"1e-37",
		"1e-38",
		"1e-45",
		"7e-46",
		"1.4e-45",
		"1e-400",
		"-1e-400",
		"1e999999999",
		"1e-999999999",
		"0e999999999",
		"2.2250738585072014e-308",
		"1.7976931348623157e308",
	};
	char longest[601];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		check_number(texts[i]);
	/* 511 digits are read to the last one */
	memset(longest, '0', sizeof(longest));
	memcpy(longest, "1.000000059604644775390625", 26);
	longest[510] = '1';
	longest[511] = '\0';
	check_number(longest);
	/* a longer one only where its first digits decide */
	longest[511] = '1';
	longest[600] = '\0';

	float out = 7;

	assert_int_equal(floats_scan_number(str_of(longest), &out), 0);
	assert_true(out == 7);
	longest[5] = '3';
	assert_int_equal(floats_scan_number(str_of(longest), &out), 600);
	assert_true(out == (float)1.00030005960464477);
}

static uint64_t seed = 88172645463325252u;

static uint64_t
next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Every way to print a float or double, of all magnitudes. */
static void
test_a_million_random_numbers(void **state)
{
	char text[64];

	(void)state;
	for (int i = 0; i < 200000; i++) {
		uint64_t bits = next_random();
		uint32_t half = (uint32_t)bits;
		double value;
		float narrow;

		memcpy(&value, &bits, sizeof(value));
		memcpy(&narrow, &half, sizeof(narrow));
		if (isfinite(value)) {
			(void)snprintf(text, sizeof(text), "%.17g", value);
			check_number(text);
		}
		if (isfinite(narrow)) {
			(void)snprintf(text, sizeof(text), "%.9g", (double)narrow);
			check_number(text);
			(void)snprintf(text, sizeof(text), "%.12f", (double)narrow / 1e38);
			check_number(text);
			/* the very middle of two floats, and its neighbours */
			double middle = ((double)narrow + (double)nextafterf(narrow, 0)) / 2;

			(void)snprintf(text, sizeof(text), "%.17g", middle);
			check_number(text);
			(void)snprintf(text, sizeof(text), "%.17g", nextafter(middle, 1));
			check_number(text);
		}
		(void)snprintf(text, sizeof(text), "%.*f", (int)(bits % 20),
			       (double)(int64_t)next_random() / 9.3e18);
		check_number(text);
	}
}

static void
test_what_is_no_number(void **state)
{
	static const char *const texts[] = { "",   "-",	    "+1",   ".5",  "1.",       "01",  "-01",
					     "1e", "1e+",   "NaN",  "nan", "Infinity", "inf", "0x1",
					     "a",  "\"1\"", "null", "-a",  "1.e5" };
	float out = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		/* of "0x1" the 0 is one */
		size_t want = strcmp(texts[i], "0x1") == 0 ? 1 : 0;

		assert_int_equal(floats_scan_number(str_of(texts[i]), &out), want);
	}
	assert_int_equal(floats_scan_number(STR("1.5,"), &out), 3);
	assert_int_equal(floats_scan_number(STR("12345678"), &out), 8);
	/* never a byte behind the end */
	assert_int_equal(floats_scan_number(str_make("0.123456789", 7), &out), 7);
	assert_true(out == 0.12345F);
}

static void
test_arrays(void **state)
{
	static const struct {
		const char *text;
		size_t len, count;
	} rows[] = {
		{ "[1]", 3, 1 },   { "[1,2,3]", 7, 3 },	 { "[ 1 ,\n2\t,\r3 ] tail", 13, 3 },
		{ "[]", 0, 0 },	   { "[1,]", 0, 0 },	 { "[1 2]", 0, 0 },
		{ "[1,2", 0, 0 },  { "[1,null]", 0, 0 }, { "[1,NaN]", 0, 0 },
		{ "[[1]]", 0, 0 }, { "[\"1\"]", 0, 0 },	 { "1]", 0, 0 },
		{ "", 0, 0 },
	};
	struct floats floats;

	(void)state;
	floats_init(&floats, 100);
	floats_add(&floats, 9);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		floats.count = 1;
		assert_int_equal(floats_scan_array(str_of(rows[i].text), &floats), rows[i].len);
		assert_int_equal(floats.count, 1 + rows[i].count);
	}
	floats.max = 3;
	floats.count = 1;
	assert_int_equal(floats_scan_array(STR("[1,2]"), &floats), 5);
	assert_false(floats.failed);
	(void)floats_scan_array(STR("[1]"), &floats);
	assert_true(floats.failed);
	floats_release(&floats);
}

static void
test_base64(void **state)
{
	static const struct {
		const char *text;
		size_t count;
		float first, last;
	} rows[] = { { "AACAPwAAAAA=", 2, 1, 0 },
		     { "AACAPwAAAAA", 2, 1, 0 },
		     { "zczMPQ==", 1, 0.1F, 0.1F },
		     { "zczMPQ", 1, 0.1F, 0.1F },
		     { "AAAgwQAAIEEAAABA", 3, -10, 2 } };
	static const char *const bad[] = {
		"",	     "=",	  "zczMPQ=",  "zczMPQ===", "zczM",
		"zczMPQ==A", "zczM PQ==", "zczMP-==", "zczMPR==",  "zczMPQA="
	};
	struct floats floats;

	(void)state;
	floats_init(&floats, 100);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		floats.count = 0;
		assert_true(floats_add_base64(str_of(rows[i].text), &floats));
		assert_int_equal(floats.count, rows[i].count);
		assert_true(floats.values[0] == rows[i].first);
		assert_true(floats.values[floats.count - 1] == rows[i].last);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		floats.count = 0;
		if (floats_add_base64(str_of(bad[i]), &floats) || floats.count != 0)
			fail_msg("'%s' is taken for base64", bad[i]);
	}
	floats_release(&floats);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_as_they_come),
		cmocka_unit_test(test_numbers_at_the_borders),
		cmocka_unit_test(test_a_million_random_numbers),
		cmocka_unit_test(test_what_is_no_number),
		cmocka_unit_test(test_arrays),
		cmocka_unit_test(test_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
