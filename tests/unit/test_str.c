#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <math.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/str.h"

static void
comparisons(void **state)
{
	struct str none = { NULL, 0 };

	(void)state;
	assert_true(str_eq(str_of(NULL), none));
	assert_true(str_eq(STR(""), none));
	assert_true(str_eq_c(str_make("abc", 2), "ab"));
	assert_false(str_eq(STR("a\0b"), STR("a\0c")));
	assert_true(str_eq_nocase(STR("Content-TYPE"), STR("content-type")));
	assert_false(str_eq_nocase(STR("["), STR("{"))); /* differ in the case bit only */
	assert_false(str_eq_nocase(STR("\xc3\x89"), STR("\xc3\xa9")));
	assert_true(str_starts(STR("abc"), ""));
	assert_true(str_starts(STR("abc"), "ab"));
	assert_false(str_starts(STR("a"), "ab"));
	assert_true(str_starts(none, ""));
	assert_true(str_ends(STR("abc"), "bc"));
	assert_false(str_ends(STR("c"), "bc"));
	assert_true(str_ends(none, ""));
	assert_int_equal(str_cmp(STR("a"), STR("a")), 0);
	assert_true(str_cmp(STR("a"), STR("b")) < 0);
	assert_true(str_cmp(STR("b"), STR("a\xff")) > 0);
	assert_true(str_cmp(STR("\xff"), STR("a")) > 0);
	assert_true(str_cmp(STR("a"), STR("aa")) < 0);
	assert_true(str_cmp(none, STR("a")) < 0);
	assert_int_equal(str_cmp(none, none), 0);
}

static void
slices(void **state)
{
	struct str text = STR("hello");
	size_t at = 77;

	(void)state;
	assert_true(str_eq_c(str_trim(STR(" \t\r\n\v\fa b \n")), "a b"));
	assert_int_equal(str_trim(STR(" \n ")).len, 0);
	assert_int_equal(str_trim(str_of(NULL)).len, 0);
	assert_true(str_eq_c(str_sub(text, 1, 3), "el"));
	assert_true(str_eq_c(str_sub(text, 3, 99), "lo"));
	assert_int_equal(str_sub(text, 99, 100).len, 0);
	assert_int_equal(str_sub(text, 4, 2).len, 0);
	assert_int_equal(str_sub(str_of(NULL), 1, 2).len, 0);
	assert_true(str_find(text, STR("l"), &at));
	assert_int_equal(at, 2);
	assert_true(str_find(text, STR(""), &at));
	assert_int_equal(at, 0);
	at = 77;
	assert_false(str_find(text, STR("hellox"), &at));
	assert_false(str_find(text, STR("x"), &at));
	assert_false(str_find(str_of(NULL), STR("x"), &at));
	assert_int_equal(at, 77);
}

static void
splits(void **state)
{
	static const struct {
		const char *text;
		const char *pieces; /* joined by '|' */
	} cases[] = {
		{ "", "" },	{ "a", "a|" },	 { "a,,b", "a||b|" },	{ ",", "|" },
		{ "a,", "a|" }, { ",a", "|a|" }, { "a,b,c", "a|b|c|" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct str rest = str_of(cases[i].text), piece = { NULL, 0 };
		char joined[32] = "";
		size_t len = 0;

		while (str_split(&rest, ',', &piece)) {
			memcpy(joined + len, piece.ptr, piece.len);
			len += piece.len;
			joined[len++] = '|';
		}
		joined[len] = '\0';
		assert_string_equal(joined, cases[i].pieces);
	}
}

static void
integers(void **state)
{
	static const char *const bad[] = { "",
					   "-",
					   "+1",
					   " 1",
					   "1 ",
					   "1x",
					   "0x1",
					   "1.0",
					   "--1",
					   "1-",
					   "1,0",
					   "9223372036854775808",
					   "-9223372036854775809",
					   "18446744073709551616",
					   "99999999999999999999999999",
					   "\xd9\xa1" };
	int64_t value = 42;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(str_to_i64(str_of(bad[i]), INT64_MIN, INT64_MAX, &value));
	assert_false(str_to_i64(str_make("1\0", 2), INT64_MIN, INT64_MAX, &value));
	assert_int_equal(value, 42);
	assert_true(str_to_i64(STR("9223372036854775807"), INT64_MIN, INT64_MAX, &value));
	assert_true(value == INT64_MAX);
	assert_true(str_to_i64(STR("-9223372036854775808"), INT64_MIN, INT64_MAX, &value));
	assert_true(value == INT64_MIN);
	assert_true(str_to_i64(STR("-0"), -5, 5, &value));
	assert_int_equal(value, 0);
	assert_true(str_to_i64(STR("007"), -5, 7, &value));
	assert_int_equal(value, 7);
	assert_true(str_to_i64(str_make("123456", 3), 123, 123, &value));
	assert_int_equal(value, 123);
	assert_false(str_to_i64(STR("124"), 0, 123, &value));
	assert_false(str_to_i64(STR("-1"), 0, 123, &value));
}

static void
unsigned_integers(void **state)
{
	uint64_t value = 42;

	(void)state;
	assert_false(str_to_u64(STR("18446744073709551616"), &value));
	assert_false(str_to_u64(STR("18446744073709551620"), &value));
	assert_false(str_to_u64(STR("-1"), &value));
	assert_false(str_to_u64(STR(""), &value));
	assert_int_equal(value, 42);
	assert_true(str_to_u64(STR("18446744073709551615"), &value));
	assert_true(value == UINT64_MAX);
	assert_true(str_to_u64(STR("00000000000000000000000000000000000001"), &value));
	assert_int_equal(value, 1);
}

static bool
f64_is(const char *text, double want)
{
	double got = 0;

	return str_to_f64(str_of(text), &got) && got == want && signbit(got) == signbit(want);
}

static void
floats(void **state)
{
	static const char *const bad[] = { "",	     "-",     ".5",   "5.",	  "1e",
					   "1e+",    "+1",    "0x10", "inf",	  "nan",
					   "1 ",     " 1",    "1,5",  "1.5.2",	  "1e400",
					   "-1e400", "1e1.5", "NaN",  "Infinity", "1f" };
	char many[600];
	double value = 42;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(str_to_f64(str_of(bad[i]), &value));
	assert_true(f64_is("0", 0.0));
	assert_true(f64_is("-0", -0.0));
	assert_true(f64_is("-1.5e-3", -1.5e-3));
	assert_true(f64_is("1E+2", 100.0));
	assert_true(f64_is("007.25", 7.25));
	assert_true(f64_is("1.7976931348623157e308", 1.7976931348623157e308));
	assert_true(f64_is("5e-324", 5e-324));
	assert_true(f64_is("1e-999", 0.0));
	memset(many, '1', sizeof(many));
	assert_true(str_to_f64(str_make(many, 300), &value));
	value = 42;
	assert_false(str_to_f64(str_make(many, 400), &value)); /* not finite */
	many[1] = '.';
	assert_true(str_to_f64(str_make(many, 511), &value));
	assert_false(str_to_f64(str_make(many, 512), &value));
}

/* Where a locale with a decimal comma is installed, it must not matter. */
static void
floats_ignore_the_locale(void **state)
{
	static const char *const comma[] = { "de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "C.UTF-8" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(comma); i++) {
		if (setlocale(LC_ALL, comma[i]))
			break;
	}
	assert_true(f64_is("2.5", 2.5));
	(void)setlocale(LC_ALL, "C");
}

static void
booleans(void **state)
{
	static const char *const yes[] = { "true", "1", "YES", "On", "TRUE" };
	static const char *const no[] = { "false", "0", "no", "OFF", "False" };
	static const char *const bad[] = { "", "2", "t", "truee", "tru", "y", " true" };
	bool value = false;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		value = false;
		assert_true(str_to_bool(str_of(yes[i]), &value) && value);
		value = true;
		assert_true(str_to_bool(str_of(no[i]), &value) && !value);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(str_to_bool(str_of(bad[i]), &value));
}

static void
copies_are_cut_between_characters(void **state)
{
	struct str text = STR("a\u00e9\u20ac\U0001f600z"); /* ends at 1, 3, 6, 10, 11 */
	static const size_t want[] = { 0, 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11 };

	(void)state;
	for (size_t bytes = 1; bytes < ARRAY_SIZE(want); bytes++) {
		char dst[16];

		memset(dst, '#', sizeof(dst));
		assert_int_equal(str_copy(dst, bytes, text), bytes > text.len);
		assert_int_equal(strlen(dst), want[bytes]);
		assert_memory_equal(dst, text.ptr, want[bytes]);
		assert_int_equal(dst[bytes], '#');
	}

	char dst[4];

	assert_true(str_copy(dst, sizeof(dst), str_of(NULL)));
	assert_string_equal(dst, "");
}

static void
utf8_validity(void **state)
{
	static const struct {
		const char *text;
		size_t bad_at;
	} bad[] = {
		{ "\x80", 0 },
		{ "a\xc3", 1 },
		{ "\xc0\x80", 0 },
		{ "\xc1\xbf", 0 },
		{ "\xe0\x9f\xbf", 0 },
		{ "\xed\xa0\x80", 0 },
		{ "\xed\xbf\xbf", 0 },
		{ "\xf0\x8f\xbf\xbf", 0 },
		{ "\xf4\x90\x80\x80", 0 },
		{ "\xf5\x80\x80\x80", 0 },
		{ "\xff", 0 },
		{ "ok\xe2\x82", 2 },
		{ "\xe2\x28\xa1", 0 },
		{ "\xf0\x9f\x98", 0 },
		{ "\u20ac\xfe", 3 },
	};

	(void)state;
	assert_true(str_utf8_valid(STR(""), NULL));
	assert_true(
		str_utf8_valid(STR("a\0b\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80"
				   "\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"),
			       NULL));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		size_t at = 99;

		assert_false(str_utf8_valid(str_of(bad[i].text), &at));
		assert_int_equal(at, bad[i].bad_at);
	}
}

static void
utf8_every_character_round_trips(void **state)
{
	(void)state;
	for (uint32_t cp = 0; cp <= 0x110000; cp++) {
		char out[4];
		uint32_t back = 0;
		size_t len = str_utf8_put(out, cp);
		bool real = cp <= 0x10FFFF && (cp < 0xD800 || cp > 0xDFFF);

		if (str_utf8_next(str_make(out, len), 0, &back) != len ||
		    back != (real ? cp : 0xFFFD))
			fail_msg("U+%04X", (unsigned)cp);
	}
}

static void
utf8_bad_bytes_count_one_each(void **state)
{
	struct str text = STR("\xff\xe2\x82"
			      "a\u20ac");
	uint32_t cp = 0;

	(void)state;
	assert_int_equal(str_utf8_next(text, 0, &cp), 1);
	assert_int_equal(cp, 0xFFFD);
	assert_int_equal(str_utf8_next(text, 1, &cp), 1);
	assert_int_equal(str_utf8_next(text, 4, &cp), 3);
	assert_int_equal(cp, 0x20AC);
	assert_int_equal(str_utf8_next(text, 7, &cp), 0);
	assert_int_equal(str_utf8_count(text), 5);
	assert_int_equal(str_utf8_count(str_of(NULL)), 0);
}

/* The definition: a boundary is a place that walking with str_utf8_next reaches. All strings of up
 * to five bytes over an alphabet that has every kind of byte. */
static void
utf8_floor_agrees_with_walking(void **state)
{
	static const char bytes[] = "a\x80\xbf\xc3\xe2\xf0\x90\xff";
	const size_t kinds = sizeof(bytes) - 1;

	(void)state;
	for (size_t n = 0; n < kinds * kinds * kinds * kinds * kinds; n++) {
		char raw[5];
		size_t left = n, floor = 0;
		uint32_t cp = 0;

		for (size_t i = 0; i < sizeof(raw); i++, left /= kinds)
			raw[i] = bytes[left % kinds];

		struct str text = str_make(raw, sizeof(raw));
		size_t next = str_utf8_next(text, 0, &cp);

		for (size_t at = 0; at <= sizeof(raw) + 1; at++) {
			if (at >= next && floor < sizeof(raw)) {
				floor = next;
				next += str_utf8_next(text, next, &cp);
			}
			if (str_utf8_floor(text, at) != floor)
				fail_msg("string %zu, byte %zu", n, at);
		}
	}
}

static void
hex(void **state)
{
	static const unsigned char raw[] = { 0x00, 0x0f, 0xf0, 0xab, 0xff };
	unsigned char back[5];
	char text[11];

	(void)state;
	str_hex(text, raw, sizeof(raw));
	assert_string_equal(text, "000ff0abff");
	assert_true(str_unhex(STR("000FF0abFf"), back, sizeof(back)));
	assert_memory_equal(back, raw, sizeof(raw));
	memset(back, 7, sizeof(back));
	assert_false(str_unhex(STR("000ff0abf"), back, sizeof(back)));
	assert_false(str_unhex(STR("000ff0abfg"), back, sizeof(back)));
	assert_false(str_unhex(STR("000ff0ab"), back, sizeof(back)));
	assert_int_equal(back[0], 7);
	assert_true(str_unhex(STR(""), back, 0));
	str_hex(text, raw, 0);
	assert_string_equal(text, "");
}

static void
constant_time_equality(void **state)
{
	(void)state;
	assert_true(str_eq_const_time(STR("secret"), STR("secret")));
	assert_false(str_eq_const_time(STR("secret"), STR("secreT")));
	assert_false(str_eq_const_time(STR("Secret"), STR("secret")));
	assert_false(str_eq_const_time(STR("secre"), STR("secret")));
	assert_false(str_eq_const_time(STR("ab"), STR("ba"))); /* differences must not cancel */
	assert_true(str_eq_const_time(str_of(NULL), STR("")));
}

/* Known values pin the function: they are stored in places that outlive a build. */
static void
hash_is_stable(void **state)
{
	(void)state;
	assert_true(str_hash64(STR(""), 0) == 0);
	assert_true(str_hash64(STR("hello world"), 0) == UINT64_C(0xd3ba2368a832afce));
	assert_true(str_hash64(STR("hello world"), 1) == UINT64_C(0x26487f815882e16d));
	assert_true(str_hash64(STR("12345678"), 0) == UINT64_C(0x758f67d162b2d202));
}

/* Flipping any one input bit flips about half of the output bits. */
static void
hash_is_mixed(void **state)
{
	int flipped = 0, count = 0;
	char text[21] = "the quick brown fox.";

	(void)state;
	for (size_t len = 1; len <= 20; len++) {
		uint64_t base = str_hash64(str_make(text, len), 9);

		for (size_t bit = 0; bit < len * 8; bit++) {
			text[bit / 8] = (char)(text[bit / 8] ^ (1 << (bit % 8)));
			uint64_t other = str_hash64(str_make(text, len), 9);

			text[bit / 8] = (char)(text[bit / 8] ^ (1 << (bit % 8)));
			assert_true(base != other);
			flipped += __builtin_popcountll(base ^ other);
			count++;
		}
	}
	assert_in_range(flipped / count, 30, 34);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comparisons),
		cmocka_unit_test(slices),
		cmocka_unit_test(splits),
		cmocka_unit_test(integers),
		cmocka_unit_test(unsigned_integers),
		cmocka_unit_test(floats),
		cmocka_unit_test(floats_ignore_the_locale),
		cmocka_unit_test(booleans),
		cmocka_unit_test(copies_are_cut_between_characters),
		cmocka_unit_test(utf8_validity),
		cmocka_unit_test(utf8_every_character_round_trips),
		cmocka_unit_test(utf8_bad_bytes_count_one_each),
		cmocka_unit_test(utf8_floor_agrees_with_walking),
		cmocka_unit_test(hex),
		cmocka_unit_test(constant_time_equality),
		cmocka_unit_test(hash_is_stable),
		cmocka_unit_test(hash_is_mixed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
