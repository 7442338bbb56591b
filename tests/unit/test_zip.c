#include "common/zip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/id.h"
#include "common/base/mem.h"

static void
check_round_trip(struct str plain, char want_marker)
{
	AUTO(buf) struct buf out = BUF_INIT(SIZE_MAX / 4);
	AUTO(arena) struct arena arena;
	struct err err = ERR_INIT;
	struct str back = { NULL, 0 };

	arena_init(&arena, 64 << 20);
	zip_pack(plain, &out);
	assert_true(buf_ok(&out));
	assert_int_equal(out.data[0], want_marker);
	assert_true(zip_unpack(str_make(out.data, out.len), plain.len, &arena, &back, &err));
	assert_true(str_eq(plain, back));
	if (plain.len > 0) {
		assert_false(zip_unpack(str_make(out.data, out.len), plain.len - 1, &arena, &back,
					&err));
		assert_int_equal(err.code, ERR_TOO_LARGE);
	}
}

static void
round_trips_and_chooses(void **state)
{
	(void)state;
	char *text = mem_alloc(1 << 20);

	memset(text, 'a', 1 << 20);
	check_round_trip(STR(""), 'r');
	check_round_trip(str_make(text, ZIP_MIN_BYTES - 1), 'r');
	check_round_trip(str_make(text, ZIP_MIN_BYTES), 'z');
	check_round_trip(str_make(text, 1 << 20), 'z');
	id_random(text, 1 << 20); /* does not compress */
	check_round_trip(str_make(text, 1 << 20), 'r');
	check_round_trip(str_make(text, 600), 'r');
	mem_free(text);
}

static void
uses_the_room_there_is(void **state)
{
	(void)state;
	char text[4096];
	AUTO(buf) struct buf out = BUF_INIT(100);

	memset(text, 'x', sizeof(text));
	zip_pack(str_make(text, sizeof(text)), &out);
	assert_true(buf_ok(&out));
	assert_int_equal(out.data[0], 'z');
	buf_clear(&out);
	id_random(text, sizeof(text));
	zip_pack(str_make(text, sizeof(text)), &out);
	assert_false(buf_ok(&out));
}

static void
check_refused(struct str stored, enum err_code want)
{
	AUTO(arena) struct arena arena;
	struct err err = ERR_INIT;
	struct str back = STR("untouched");

	arena_init(&arena, 1 << 20);
	assert_false(zip_unpack(stored, 1 << 20, &arena, &back, &err));
	assert_int_equal(err.code, want);
	assert_true(str_eq_c(back, "untouched"));
}

static void
refuses_what_is_broken(void **state)
{
	(void)state;
	char text[4096];
	AUTO(buf) struct buf out = BUF_INIT(1 << 20);

	check_refused(STR(""), ERR_CORRUPT);
	check_refused(STR("x123"), ERR_CORRUPT);
	check_refused(STR("z"), ERR_CORRUPT);
	check_refused(STR("z\x10\x00\x00\x00"), ERR_CORRUPT);
	check_refused(STR("z\x10\x00\x00\x00garbage"), ERR_CORRUPT);
	check_refused(STR("z\xff\xff\xff\xff\x28\xb5\x2f\xfd"), ERR_TOO_LARGE);
	memset(text, 'x', sizeof(text));
	text[100] = 'y';
	zip_pack(str_make(text, sizeof(text)), &out);
	for (size_t len = 0; len < out.len; len++)
		check_refused(str_make(out.data, len), ERR_CORRUPT);
	buf_add_char(&out, '!');
	check_refused(str_make(out.data, out.len), ERR_CORRUPT);
	buf_truncate(&out, out.len - 1);
	out.data[1]++; /* the head lies */
	check_refused(str_make(out.data, out.len), ERR_CORRUPT);
}

static void
keeps_the_arenas_cap(void **state)
{
	(void)state;
	char text[8192];
	AUTO(buf) struct buf out = BUF_INIT(1 << 20);
	AUTO(arena) struct arena arena;
	struct err err = ERR_INIT;
	struct str back;

	arena_init(&arena, 1024);
	memset(text, 'x', sizeof(text));
	zip_pack(str_make(text, sizeof(text)), &out);
	assert_false(zip_unpack(str_make(out.data, out.len), 1 << 20, &arena, &back, &err));
	assert_int_equal(err.code, ERR_TOO_LARGE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trips_and_chooses),
		cmocka_unit_test(uses_the_room_there_is),
		cmocka_unit_test(refuses_what_is_broken),
		cmocka_unit_test(keeps_the_arenas_cap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
