#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdalign.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/auto.h"

static void
allocations_are_zeroed_aligned_and_apart(void **state)
{
	AUTO(arena) struct arena arena = { 0 };
	unsigned char *last = NULL;
	size_t last_size = 0;

	(void)state;
	arena_init(&arena, 4 << 20);
	for (int round = 0; round < 3; round++) {
		for (size_t size = 0; size < 3000; size += 13) {
			unsigned char *ptr = arena_alloc(&arena, size);

			assert_non_null(ptr);
			assert_int_equal((uintptr_t)ptr % alignof(max_align_t), 0);
			for (size_t i = 0; i < size; i++)
				assert_int_equal(ptr[i], 0);
			memset(ptr, 0xa5, size);
			if (last && last_size > 0)
				assert_int_equal(last[last_size - 1], 0xa5);
			last = ptr;
			last_size = size;
		}
		arena_reset(&arena);
		last_size = 0;
		assert_int_equal(arena.used_bytes, 0);
	}
}

static void
the_cap_is_exact(void **state)
{
	AUTO(arena) struct arena arena = { 0 };
	const size_t align = alignof(max_align_t);

	(void)state;
	arena_init(&arena, 10 * align);
	assert_null(arena_alloc(&arena, 10 * align + 1));
	assert_int_equal(arena.used_bytes, 0);
	assert_non_null(arena_alloc(&arena, 9 * align));
	assert_null(arena_alloc(&arena, align + 1));
	assert_non_null(arena_alloc(&arena, 1));
	assert_int_equal(arena.used_bytes, 10 * align);
	assert_null(arena_alloc(&arena, 0));
	assert_null(arena_strdup(&arena, ""));
	assert_null(arena_printf(&arena, "%d", 1));
	arena_reset(&arena);
	assert_non_null(arena_alloc(&arena, 10 * align));
}

/* Requests around the size of a block, each as the first one. */
static void
sizes_around_a_block(void **state)
{
	(void)state;
	for (size_t size = 4096 - 40; size < 4096 + 40; size++) {
		AUTO(arena) struct arena arena = { 0 };

		arena_init(&arena, 1 << 20);

		char *first = arena_alloc(&arena, size), *second = arena_alloc(&arena, 1);

		assert_non_null(first);
		memset(first, 0x7f, size);
		assert_int_equal(*second, 0);
	}
}

static void
sizes_do_not_overflow(void **state)
{
	AUTO(arena) struct arena arena = { 0 };

	(void)state;
	arena_init(&arena, SIZE_MAX);
	assert_null(arena_alloc(&arena, SIZE_MAX));
	assert_null(arena_alloc(&arena, SIZE_MAX - 1));
	assert_null(arena_alloc(&arena, SIZE_MAX - 15));
	assert_null(arena_alloc(&arena, (size_t)PTRDIFF_MAX + 1));
	assert_null(arena_array(&arena, SIZE_MAX / 2, 3));
	assert_null(arena_array(&arena, 3, SIZE_MAX / 2));
	assert_null(arena_strndup(&arena, "x", SIZE_MAX));
	assert_non_null(arena_array(&arena, 3, 5));
	assert_non_null(arena_array(&arena, 0, 5));
}

static void
reset_keeps_one_block(void **state)
{
	AUTO(arena) struct arena arena = { 0 };

	(void)state;
	arena_init(&arena, 64 << 20);
	for (int i = 0; i < 100; i++)
		assert_non_null(arena_alloc(&arena, 1000));
	arena_reset(&arena);

	/* the same work in the steady state happens in that block */
	struct arena_block *kept = arena.head;

	assert_non_null(kept);
	for (int i = 0; i < 30; i++)
		assert_non_null(arena_alloc(&arena, 1000));
	assert_ptr_equal(arena.head, kept);

	/* a huge request does not stay */
	assert_non_null(arena_alloc(&arena, 32 << 20));
	assert_ptr_not_equal(arena.head, kept);
	arena_reset(&arena);
	assert_ptr_equal(arena.head, kept);
	arena_release(&arena);
	assert_null(arena.head);
	assert_int_equal(arena.used_bytes, 0);
	assert_non_null(arena_alloc(&arena, 10)); /* usable again */
	arena_release(NULL);
}

static void
texts(void **state)
{
	AUTO(arena) struct arena arena = { 0 };
	char big[2000];

	(void)state;
	arena_init(&arena, 1 << 20);
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	assert_string_equal(arena_strdup(&arena, "abc"), "abc");
	assert_memory_equal(arena_strndup(&arena, "a\0b!", 3), "a\0b\0", 4);
	assert_string_equal(arena_strndup(&arena, NULL, 0), "");
	assert_string_equal(arena_printf(&arena, "%s-%d", "n", 7), "n-7");
	assert_string_equal(arena_printf(&arena, "%s", big), big);
	assert_string_equal(arena_printf(&arena, "%s", ""), "");
}

static void
the_error_names_what_and_how_much(void **state)
{
	AUTO(arena) struct arena arena = { 0 };
	struct err err = ERR_INIT;
	void *ptr = NULL;

	(void)state;
	arena_init(&arena, 4096);
	assert_true(arena_alloc_err(&arena, 4000, "the text", &ptr, &err));
	assert_non_null(ptr);
	assert_int_equal(err.code, ERR_NONE);

	void *before = ptr;

	assert_false(arena_alloc_err(&arena, 4000, "the text", &ptr, &err));
	assert_ptr_equal(ptr, before);
	assert_int_equal(err.code, ERR_TOO_LARGE);
	assert_string_equal(err.msg,
			    "cannot hold the text: more than 4096 bytes of working memory");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(allocations_are_zeroed_aligned_and_apart),
		cmocka_unit_test(the_cap_is_exact),
		cmocka_unit_test(sizes_around_a_block),
		cmocka_unit_test(sizes_do_not_overflow),
		cmocka_unit_test(reset_keeps_one_block),
		cmocka_unit_test(texts),
		cmocka_unit_test(the_error_names_what_and_how_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
