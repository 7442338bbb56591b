#include "common/pack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/id.h"

static struct str
str_of_buf(const struct buf *buf)
{
	return str_make(buf->data, buf->len);
}

static void
reads_back_every_whole_number(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits < 64; bits++) {
		for (int64_t near = -2; near <= 2; near++) {
			for (int sign = 0; sign < 2; sign++) {
				AUTO(buf) struct buf out = BUF_INIT(64);
				struct pack_reader reader;
				struct pack_value value;
				struct err err = ERR_INIT;
				uint64_t raw = (UINT64_C(1) << bits) + (uint64_t)near;
				int64_t want = 0;

				raw = sign ? -raw : raw;
				memcpy(&want, &raw, sizeof(want));
				pack_i64(&out, want);
				assert_true(pack_read_start(&reader, str_of_buf(&out), &err));
				assert_true(pack_next(&reader, &value, &err));
				assert_int_equal(value.type, PACK_I64);
				assert_true(value.u.i64 == want);
				assert_false(pack_next(&reader, &value, &err));
			}
		}
	}
}

static void
check_text(size_t len, bool bin)
{
	static char text[70000];
	AUTO(buf) struct buf out = BUF_INIT(1 << 20);
	struct pack_reader reader;
	struct pack_value value;
	struct err err = ERR_INIT;

	(bin ? pack_bin : pack_str)(&out, str_make(text, len));
	assert_true(pack_read_start(&reader, str_of_buf(&out), &err));
	assert_true(pack_next(&reader, &value, &err));
	assert_int_equal(value.type, bin ? PACK_BIN : PACK_STR);
	assert_int_equal(value.u.str.len, len);
}

static void
reads_back_every_kind(void **state)
{
	(void)state;
	static const size_t lengths[] = { 0, 1, 31, 32, 255, 256, 65535, 65536 };
	static const double reals[] = { 0, -1.5, 1e308, 5e-324 };
	AUTO(buf) struct buf out = BUF_INIT(1 << 20);
	struct pack_reader reader;
	struct pack_value value;
	struct err err = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		check_text(lengths[i], false);
		check_text(lengths[i], true);
	}
	pack_array(&out, 7);
	pack_nil(&out);
	pack_bool(&out, true);
	pack_bool(&out, false);
	for (size_t i = 0; i < ARRAY_SIZE(reals); i++)
		pack_f64(&out, reals[i]);
	assert_true(pack_read_start(&reader, str_of_buf(&out), &err));
	assert_true(pack_next(&reader, &value, &err));
	assert_int_equal(value.type, PACK_ARRAY);
	assert_int_equal(value.u.count, 7);
	assert_true(pack_next(&reader, &value, &err));
	assert_int_equal(value.type, PACK_NIL);
	assert_true(pack_next(&reader, &value, &err) && value.u.boolean);
	assert_true(pack_next(&reader, &value, &err) && !value.u.boolean);
	for (size_t i = 0; i < ARRAY_SIZE(reals); i++) {
		assert_true(pack_next(&reader, &value, &err));
		assert_int_equal(value.type, PACK_F64);
		// NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): the same bits, NaN included
		assert_true(memcmp(&value.u.f64, &reals[i], sizeof(double)) == 0);
	}
	/* a writer of another program may send single precision */
	assert_true(pack_read_start(&reader, STR("\xca\x3f\xc0\x00\x00"), &err));
	assert_true(pack_next(&reader, &value, &err));
	assert_true(value.u.f64 > 1.49 && value.u.f64 < 1.51);
}

static void
counts_and_skips(void **state)
{
	(void)state;
	static const size_t counts[] = { 0, 15, 16, 65535, 65536 };

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		AUTO(buf) struct buf out = BUF_INIT(1 << 20);
		struct pack_reader reader;
		struct pack_value value;
		struct err err = ERR_INIT;

		pack_array(&out, 2);
		pack_map(&out, counts[i]);
		for (size_t k = 0; k < counts[i]; k++) {
			pack_i64(&out, 1);
			pack_nil(&out);
		}
		pack_str(&out, STR("after"));
		assert_true(pack_read_start(&reader, str_of_buf(&out), &err));
		assert_true(pack_next(&reader, &value, &err));
		assert_true(pack_skip(&reader, &err));
		assert_true(pack_next(&reader, &value, &err));
		assert_true(str_eq_c(value.u.str, "after"));
	}
}

static void
check_corrupt(struct str bytes)
{
	struct pack_reader reader;
	struct err err = ERR_INIT;

	assert_false(pack_scan(bytes, &err));
	assert_int_equal(err.code, ERR_CORRUPT);
	assert_true(str_starts(str_of(err.msg), "not valid msgpack: "));
	assert_false(pack_read_start(&reader, bytes, &err));
}

static void
refuses_lies(void **state)
{
	(void)state;
	check_corrupt(STR(""));
	check_corrupt(STR("\xdd\xff\xff\xff\xff"));		    /* array32 of 2^32-1 */
	check_corrupt(STR("\xdf\xff\xff\xff\xff"));		    /* map32 of 2^32-1 */
	check_corrupt(STR("\xdb\xff\xff\xff\xff"));		    /* str32 of 2^32-1 */
	check_corrupt(STR("\xc6\xff\xff\xff\xff"));		    /* bin32 of 2^32-1 */
	check_corrupt(STR("\xcf\x80\x00\x00\x00\x00\x00\x00\x00")); /* 2^63 */
	check_corrupt(STR("\xc1"));				    /* never used */
	check_corrupt(STR("\xd4\x01\x01"));			    /* extension */
	check_corrupt(STR("\xc7\x01\x01\x01"));
	check_corrupt(STR("\x01\x01"));		/* trailing byte */
	check_corrupt(STR("\x92\x92\x01\x01")); /* nested counts that do not fit together */
	check_corrupt(STR("\x81\x01"));
}

static void
caps_depth(void **state)
{
	(void)state;
	char deep[1001];
	struct err err = ERR_INIT;

	memset(deep, '\x91', sizeof(deep));
	deep[1000] = '\xc0';
	check_corrupt(str_make(deep, sizeof(deep)));
	deep[PACK_MAX_DEPTH] = '\xc0';
	assert_true(pack_scan(str_make(deep, PACK_MAX_DEPTH + 1), &err));
	deep[PACK_MAX_DEPTH] = '\x91';
	deep[PACK_MAX_DEPTH + 1] = '\xc0';
	check_corrupt(str_make(deep, PACK_MAX_DEPTH + 2));
}

static void
refuses_every_cut(void **state)
{
	(void)state;
	char text[300] = "";
	AUTO(buf) struct buf out = BUF_INIT(1 << 20);
	struct err err = ERR_INIT;

	pack_envelope_begin(&out, "thing");
	pack_map(&out, 4);
	pack_str(&out, STR("a"));
	pack_f64(&out, 1.25);
	pack_str(&out, STR("b"));
	pack_str(&out, str_make(text, sizeof(text)));
	pack_str(&out, STR("c"));
	pack_array(&out, 20);
	for (int64_t i = 0; i < 20; i++)
		pack_i64(&out, i * 1000000007);
	pack_str(&out, STR("d"));
	pack_bin(&out, str_make(text, 40));
	assert_true(pack_scan(str_of_buf(&out), &err));
	for (size_t len = 0; len < out.len; len++) {
		/* a copy of the exact size, so that reading past it shows under a sanitizer */
		AUTO(buf) struct buf cut = BUF_INIT(1 << 20);

		buf_add(&cut, out.data, len);
		check_corrupt(str_of_buf(&cut));
	}
}

static void
survives_random_bytes(void **state)
{
	(void)state;
	for (int round = 0; round < 20000; round++) {
		char bytes[64];
		struct pack_reader reader;
		struct pack_value value;
		struct err err = ERR_INIT;

		id_random(bytes, sizeof(bytes));

		struct str text = str_make(bytes, (unsigned char)bytes[0] % sizeof(bytes));

		if (!pack_read_start(&reader, text, &err))
			continue;
		while (reader.at != reader.end)
			assert_true(pack_next(&reader, &value, &err));
	}
}

static void
opens_envelopes(void **state)
{
	(void)state;
	AUTO(buf) struct buf out = BUF_INIT(1 << 10);
	struct pack_reader reader = { NULL, NULL };
	struct pack_value value;
	struct err err = ERR_INIT;

	pack_envelope_begin(&out, "thing");
	pack_i64(&out, 7);
	assert_true(pack_envelope_open(&reader, str_of_buf(&out), "thing", &err));
	assert_true(pack_next(&reader, &value, &err));
	assert_int_equal(value.u.i64, 7);

	reader.at = NULL;
	assert_false(pack_envelope_open(&reader, str_of_buf(&out), "other", &err));
	assert_string_equal(err.msg, "not a message of kind 'other'");
	assert_null(reader.at);
	assert_false(pack_envelope_open(&reader, STR("\x93\x02\xa1t\xc0"), "t", &err));
	assert_string_equal(err.msg,
			    "cannot read a message of version 2: this program knows 1 to 1");
	assert_false(pack_envelope_open(&reader, STR("\x93\x00\xa1t\xc0"), "t", &err));
	assert_false(pack_envelope_open(&reader, STR("\x92\x01\xa1t"), "t", &err));
	assert_false(pack_envelope_open(&reader, STR("\x93\xa1v\xa1t\xc0"), "t", &err));
	assert_int_equal(err.code, ERR_CORRUPT);
}

static void
shows_a_full_buf(void **state)
{
	(void)state;
	AUTO(buf) struct buf out = BUF_INIT(4);

	pack_str(&out, STR("longer than four"));
	assert_false(buf_ok(&out));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_back_every_whole_number),
		cmocka_unit_test(reads_back_every_kind),
		cmocka_unit_test(counts_and_skips),
		cmocka_unit_test(refuses_lies),
		cmocka_unit_test(caps_depth),
		cmocka_unit_test(refuses_every_cut),
		cmocka_unit_test(survives_random_bytes),
		cmocka_unit_test(opens_envelopes),
		cmocka_unit_test(shows_a_full_buf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
