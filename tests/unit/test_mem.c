#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/base/mem.h"

/* Under a sanitizer too, an impossible size gives NULL (read by its runtime, unused elsewhere). */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *
__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

const char *
__tsan_default_options(void)
{
	return "allocator_may_return_null=1";
}

static void
alloc_is_zeroed_and_never_null(void **state)
{
	(void)state;
	for (size_t size = 0; size < 200; size += 7) {
		unsigned char *ptr = mem_alloc(size);

		assert_non_null(ptr);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(ptr[i], 0);
		mem_free(ptr);
	}
	mem_free(mem_array(0, 8));
	mem_free(mem_array(8, 0));
	mem_free(NULL);
}

static void
grow_keeps_what_was_there(void **state)
{
	int *items = NULL;

	(void)state;
	for (size_t count = 1; count <= 1000; count++) {
		items = mem_grow(items, count, sizeof(*items));
		items[count - 1] = (int)count;
	}
	for (int i = 0; i < 1000; i++)
		assert_int_equal(items[i], i + 1);
	mem_free(items);
	mem_free(mem_grow(NULL, 0, 0));
}

static void
strings_are_copied(void **state)
{
	char *whole = mem_strdup("hello");
	char *part = mem_strndup("a\0bc", 3);
	char *empty = mem_strndup(NULL, 0);

	(void)state;
	assert_string_equal(whole, "hello");
	assert_memory_equal(part, "a\0b\0", 4);
	assert_string_equal(empty, "");
	mem_free(whole);
	mem_free(part);
	mem_free(empty);
}

static void
try_alloc_may_fail(void **state)
{
	char *ptr = mem_try_alloc(100);

	(void)state;
	assert_non_null(ptr);
	assert_int_equal(ptr[99], 0);
	mem_free(ptr);
	assert_null(mem_try_alloc(SIZE_MAX / 2));
}

static void
overflow_array(void)
{
	mem_free(mem_array(SIZE_MAX / 4, 8));
}

static void
overflow_grow(void)
{
	mem_free(mem_grow(NULL, SIZE_MAX / 4, 8));
}

static void
overflow_grow_signed(void)
{
	mem_free(mem_grow(NULL, SIZE_MAX - 8, 1));
}

static void
overflow_strndup(void)
{
	mem_free(mem_strndup("x", SIZE_MAX));
}

/* Runs fn in a child and returns its wait status; stderr is captured. */
static int
status_of(void (*fn)(void), char *out, size_t out_bytes)
{
	int pipe_fds[2];
	int status = 0;
	size_t len = 0;

	assert_int_equal(pipe(pipe_fds), 0);

	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		struct rlimit no_core = { 0, 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		(void)signal(SIGABRT, SIG_DFL);
		dup2(pipe_fds[1], STDERR_FILENO);
		fn();
		_exit(0);
	}
	close(pipe_fds[1]);
	for (ssize_t got = 1; got > 0 && len<out_bytes - 1; len += got> 0 ? (size_t)got : 0)
		got = read(pipe_fds[0], out + len, out_bytes - 1 - len);
	out[len] = '\0';
	close(pipe_fds[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void
overflow_aborts_with_a_line(void **state)
{
	static void (*const cases[])(void) = {
		overflow_array,
		overflow_grow,
		overflow_grow_signed,
		overflow_strndup,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[8192];
		int status = status_of(cases[i], text, sizeof(text));

		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
		assert_non_null(strstr(text, "\"level\":\"error\""));
		assert_non_null(strstr(text, "out of memory"));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alloc_is_zeroed_and_never_null),
		cmocka_unit_test(grow_keeps_what_was_there),
		cmocka_unit_test(strings_are_copied),
		cmocka_unit_test(try_alloc_may_fail),
		cmocka_unit_test(overflow_aborts_with_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
