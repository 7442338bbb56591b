#include "common/base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"

/* log_line allocates nothing, so it still works here. */
static _Noreturn void
give_up(size_t count, size_t item_bytes)
{
	log_error("out of memory: cannot allocate %zu x %zu bytes", count, item_bytes);
	abort();
}

void *
mem_alloc(size_t size_bytes)
{
	return mem_array(1, size_bytes);
}

void *
mem_array(size_t count, size_t item_bytes)
{
	/* calloc refuses a product that overflows; size 0 may give NULL, hence 1 */
	void *ptr = count == 0 || item_bytes == 0 ? calloc(1, 1) : calloc(count, item_bytes);

	if (!ptr)
		give_up(count, item_bytes);
	return ptr;
}

void *
mem_grow(void *ptr, size_t count, size_t item_bytes)
{
	size_t size_bytes = 0;

	if (__builtin_mul_overflow(count, item_bytes, &size_bytes) || size_bytes > PTRDIFF_MAX)
		give_up(count, item_bytes);

	void *grown = realloc(ptr, size_bytes > 0 ? size_bytes : 1);

	if (!grown)
		give_up(count, item_bytes);
	return grown;
}

char *
mem_strdup(const char *text)
{
	return mem_strndup(text, strlen(text));
}

char *
mem_strndup(const char *ptr, size_t len)
{
	if (len >= PTRDIFF_MAX)
		give_up(len, 1);

	char *copy = malloc(len + 1);

	if (!copy)
		give_up(len + 1, 1);
	if (len > 0)
		memcpy(copy, ptr, len);
	copy[len] = '\0';
	return copy;
}

void *
mem_try_alloc(size_t size_bytes)
{
	return calloc(1, size_bytes > 0 ? size_bytes : 1);
}

void
mem_free(void *ptr)
{
	free(ptr);
}
