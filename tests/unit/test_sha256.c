#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/sha256.h"

static void
known_answers(void **state)
{
	char hex[SHA256_HEX_BYTES];

	(void)state;
	sha256_hex(STR(""), hex);
	assert_string_equal(hex,
			    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	sha256_hex(str_of(NULL), hex);
	assert_string_equal(hex,
			    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	sha256_hex(STR("abc"), hex);
	assert_string_equal(hex,
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void
script_names(void **state)
{
	char hex[SHA1_HEX_BYTES];

	(void)state;
	sha1_hex(STR("abc"), hex);
	assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
}

static void
pieces_make_the_same_hash(void **state)
{
	char text[1000], whole[SHA256_HEX_BYTES], pieces[SHA256_HEX_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 7);
	sha256_hex(str_make(text, sizeof(text)), whole);

	struct sha256 *hash = sha256_new();

	for (size_t at = 0, step = 0; at < sizeof(text); at += step, step++) {
		if (step > sizeof(text) - at)
			step = sizeof(text) - at;
		sha256_add(hash, text + at, step);
	}
	sha256_finish_hex(hash, pieces);
	assert_string_equal(pieces, whole);
}

static void
fields(const char *a, const char *b, char out[SHA256_HEX_BYTES])
{
	struct sha256 *hash = sha256_new();

	sha256_add_field(hash, str_of(a));
	sha256_add_field(hash, str_of(b));
	sha256_finish_hex(hash, out);
}

static void
fields_do_not_run_together(void **state)
{
	char one[SHA256_HEX_BYTES], two[SHA256_HEX_BYTES], raw[SHA256_HEX_BYTES];

	(void)state;
	fields("ab", "c", one);
	fields("a", "bc", two);
	assert_string_not_equal(one, two);
	fields("abc", "", two);
	assert_string_not_equal(one, two);
	/* the form is fixed: fingerprints are stored */
	sha256_hex(STR("\x02\0\0\0\0\0\0\0"
		       "ab"
		       "\x01\0\0\0\0\0\0\0"
		       "c"),
		   raw);
	assert_string_equal(one, raw);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),
		cmocka_unit_test(script_names),
		cmocka_unit_test(pieces_make_the_same_hash),
		cmocka_unit_test(fields_do_not_run_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
