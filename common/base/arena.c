/*
 * Blocks form a list, newest first; only the newest hands out memory. A new block is as large as all
 * memory handed out so far (so their number stays logarithmic), within [4 KiB, 1 MiB], or as large
 * as the one request that needs more. The cap counts what was handed out, not the rest of a block.
 *
 * arena_reset keeps the largest block up to 1 MiB: one huge document must not stay resident for the
 * life of a slot. Under AddressSanitizer everything not handed out is poisoned, so overruns and uses
 * after a reset are caught as with malloc.
 */
#include "common/base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(ptr, len) ASAN_POISON_MEMORY_REGION(ptr, len)
#define UNPOISON(ptr, len) ASAN_UNPOISON_MEMORY_REGION(ptr, len)
#else
#define POISON(ptr, len) ((void)(ptr), (void)(len))
#define UNPOISON(ptr, len) ((void)(ptr), (void)(len))
#endif

#define BLOCK_MIN_BYTES ((size_t)4096)
#define BLOCK_MAX_BYTES ((size_t)1024 * 1024)

struct arena_block {
	struct arena_block *next; /* owned */
	size_t size_bytes;
	size_t used_bytes;
	alignas(max_align_t) unsigned char data[];
};

static void
block_free(struct arena_block *block)
{
	UNPOISON(block->data, block->size_bytes);
	free(block);
}

static bool
block_push(struct arena *arena, size_t need)
{
	size_t size = arena->used_bytes;

	if (size < BLOCK_MIN_BYTES)
		size = BLOCK_MIN_BYTES;
	if (size > BLOCK_MAX_BYTES)
		size = BLOCK_MAX_BYTES;
	if (size < need)
		size = need;
	if (size > PTRDIFF_MAX - sizeof(struct arena_block))
		return false;

	/* above the largest regular block the size comes from input: refuse instead of aborting */
	struct arena_block *block = size > BLOCK_MAX_BYTES
					    ? malloc(sizeof(*block) + size)
					    : mem_grow(NULL, sizeof(*block) + size, 1);

	if (!block)
		return false;
	*block = (struct arena_block){ .next = arena->head, .size_bytes = size };
	POISON(block->data, size);
	arena->head = block;
	return true;
}

void
arena_init(struct arena *arena, size_t max_bytes)
{
	*arena = (struct arena){ .max_bytes = max_bytes };
}

void
arena_release(struct arena *arena)
{
	if (!arena)
		return;
	while (arena->head) {
		struct arena_block *next = arena->head->next;

		block_free(arena->head);
		arena->head = next;
	}
	arena->used_bytes = 0;
}

void
arena_reset(struct arena *arena)
{
	struct arena_block *keep = NULL;

	for (struct arena_block *block = arena->head, *next = NULL; block; block = next) {
		next = block->next;
		if (block->size_bytes > BLOCK_MAX_BYTES ||
		    (keep && keep->size_bytes >= block->size_bytes)) {
			block_free(block);
			continue;
		}
		if (keep)
			block_free(keep);
		keep = block;
	}
	if (keep) {
		keep->next = NULL;
		keep->used_bytes = 0;
		POISON(keep->data, keep->size_bytes);
	}
	arena->head = keep;
	arena->used_bytes = 0;
}

void *
arena_alloc(struct arena *arena, size_t size_bytes)
{
	const size_t align = alignof(max_align_t);
	size_t left = arena->max_bytes - arena->used_bytes;

	if (size_bytes > SIZE_MAX - align)
		return NULL;

	size_t need = size_bytes == 0 ? align : (size_bytes + align - 1) / align * align;

	if (need > left)
		return NULL;
	if (!arena->head || arena->head->size_bytes - arena->head->used_bytes < need) {
		if (!block_push(arena, need))
			return NULL;
	}

	/* unpoisoning would hide an overrun of our own from AddressSanitizer */
	assert(need <= arena->head->size_bytes - arena->head->used_bytes);

	unsigned char *ptr = arena->head->data + arena->head->used_bytes;

	arena->head->used_bytes += need;
	arena->used_bytes += need;
	UNPOISON(ptr, size_bytes);
	return memset(ptr, 0, size_bytes);
}

void *
arena_array(struct arena *arena, size_t count, size_t item_bytes)
{
	size_t size_bytes = 0;

	if (__builtin_mul_overflow(count, item_bytes, &size_bytes))
		return NULL;
	return arena_alloc(arena, size_bytes);
}

char *
arena_strndup(struct arena *arena, const char *ptr, size_t len)
{
	char *copy = len < SIZE_MAX ? arena_alloc(arena, len + 1) : NULL;

	if (copy && len > 0)
		memcpy(copy, ptr, len);
	return copy;
}

char *
arena_strdup(struct arena *arena, const char *text)
{
	return arena_strndup(arena, text, strlen(text));
}

char *
arena_printf(struct arena *arena, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	int len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (len < 0)
		return NULL;

	char *text = arena_alloc(arena, (size_t)len + 1);

	if (text) {
		va_start(args, fmt);
		(void)vsnprintf(text, (size_t)len + 1, fmt, args);
		va_end(args);
	}
	return text;
}

bool
arena_alloc_err(struct arena *arena, size_t size_bytes, const char *what, void **out_ptr,
		struct err *err)
{
	void *ptr = arena_alloc(arena, size_bytes);

	if (!ptr)
		return err_set(err, ERR_TOO_LARGE,
			       "cannot hold %s: more than %zu bytes of working memory", what,
			       arena->max_bytes);
	*out_ptr = ptr;
	return true;
}
