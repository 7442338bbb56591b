/* Sealed text: what was sealed opens, and nothing else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/seal.h"
#include "common/sha256.h"

static const struct seal_secret secret = { { 1, 2, 3 } };
static const struct seal_secret other = { { 1, 2, 4 } };

static struct str
sealed_of(struct str context, struct str text, struct buf *out)
{
	buf_clear(out);
	seal(&secret, context, text, out);
	assert_true(buf_ok(out));
	return str_make(out->data, out->len);
}

static bool
opens(const struct seal_secret *with, struct str context, struct str sealed, struct str want)
{
	AUTO(arena) struct arena arena;
	struct str text;

	arena_init(&arena, (size_t)4 << 20);
	if (!unseal(with, context, sealed, &arena, &text))
		return false;
	assert_true(str_eq(text, want));
	assert_int_equal(text.ptr[text.len], 0);
	return true;
}

static void
test_there_and_back(void **state)
{
	(void)state;
	AUTO(buf) struct buf out = BUF_INIT(1 << 20);
	char text[300];

	for (size_t len = 0; len < sizeof(text); len++) {
		text[len] = (char)('a' + len % 26);
		struct str plain = str_make(text, len);
		struct str sealed = sealed_of(STR("jobs"), plain, &out);

		assert_int_equal(sealed.len, 2 * (16 + len));
		assert_true(opens(&secret, STR("jobs"), sealed, plain));
	}
}

static void
test_only_what_was_sealed(void **state)
{
	(void)state;
	AUTO(buf) struct buf out = BUF_INIT(4096);
	struct str text = STR("query/r1764067000000-0");
	struct str sealed = sealed_of(STR("acme|jobs"), text, &out);

	assert_false(opens(&other, STR("acme|jobs"), sealed, text));
	assert_false(opens(&secret, STR("evil|jobs"), sealed, text));
	assert_false(opens(&secret, STR("acme|job"), sealed, text));
	assert_false(opens(&secret, STR(""), sealed, text));
	assert_false(opens(&secret, STR("acme|jobs"), str_sub(sealed, 0, sealed.len - 2), text));
	assert_false(opens(&secret, STR("acme|jobs"), str_sub(sealed, 0, sealed.len - 1), text));
	assert_false(opens(&secret, STR("acme|jobs"), str_sub(sealed, 2, sealed.len), text));
	assert_false(opens(&secret, STR("acme|jobs"), STR(""), text));
	for (size_t i = 0; i < sealed.len; i++) {
		char was = out.data[i];

		out.data[i] = was == '0' ? '1' : '0';
		assert_false(opens(&secret, STR("acme|jobs"), sealed, text));
		out.data[i] = was;
	}
	assert_true(opens(&secret, STR("acme|jobs"), sealed, text));
}

/* Nothing of the text shows, two texts with the same beginning have nothing in common, and the same seals to the same. */
static void
test_opaque(void **state)
{
	(void)state;
	AUTO(buf) struct buf a = BUF_INIT(4096);
	AUTO(buf) struct buf b = BUF_INIT(4096);
	struct str text = STR("ingest-0-01m8952vczzezh34kwvbett44m");
	char hex[200];

	str_hex(hex, text.ptr, text.len);
	(void)sealed_of(STR("x"), text, &a);
	assert_null(strstr(a.data, "01m8952"));
	assert_null(strstr(a.data, str_sub(str_of(hex), 0, 12).ptr));
	(void)sealed_of(STR("x"), text, &b);
	assert_string_equal(a.data, b.data);
	(void)sealed_of(STR("x"), STR("ingest-0-01m8952vczzezh34kwvbett44n"), &b);
	assert_memory_not_equal(a.data, b.data, 32);
	assert_memory_not_equal(a.data + 32, b.data + 32, 32);
	(void)sealed_of(STR("y"), text, &b);
	assert_memory_not_equal(a.data + 32, b.data + 32, 32);
}

/* RFC 4231, test cases 2 and 6. */
static void
test_hmac(void **state)
{
	(void)state;
	unsigned char mac[SHA256_BYTES];
	char hex[SHA256_HEX_BYTES], key[131];

	hmac_sha256(STR("Jefe"), STR("what do ya want for nothing?"), mac);
	str_hex(hex, mac, sizeof(mac));
	assert_string_equal(hex,
			    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof(key));
	hmac_sha256(str_make(key, sizeof(key)),
		    STR("Test Using Larger Than Block-Size Key - Hash Key First"), mac);
	str_hex(hex, mac, sizeof(mac));
	assert_string_equal(hex,
			    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	hmac_sha256(STR(""), STR(""), mac);
	str_hex(hex, mac, sizeof(mac));
	assert_string_equal(hex,
			    "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_only_what_was_sealed),
		cmocka_unit_test(test_opaque),
		cmocka_unit_test(test_hmac),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
