/*
 * arena: memory that lives as long as one request or one job, freed at once.
 *
 * Blocks grow as needed up to a cap given at the start. arena_alloc returns NULL when the cap would
 * be passed: callers that allocate by input size turn that into ERR_TOO_LARGE (arena_alloc_err does
 * it). One thread at a time.
 */
#ifndef RAG_COMMON_BASE_ARENA_H
#define RAG_COMMON_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/err.h"

struct arena_block;

struct arena {
	struct arena_block *head; /* owned */
	size_t used_bytes;	  /* handed out, padding included */
	size_t max_bytes;
};

void arena_init(struct arena *arena, size_t max_bytes);
void arena_release(struct arena *arena);

/* Forgets all allocations but keeps one block, so that a slot allocates nothing in the steady
 * state. */
void arena_reset(struct arena *arena);

void *arena_alloc(struct arena *arena,
		  size_t size_bytes); /* zeroed, aligned to max_align_t; NULL past the cap */
void *arena_array(struct arena *arena, size_t count,
		  size_t item_bytes); /* the same, overflow-safe */
char *arena_strndup(struct arena *arena, const char *ptr,
		    size_t len); /* NUL-terminated copy, NULL past the cap */
char *arena_strdup(struct arena *arena, const char *text);
char *arena_printf(struct arena *arena, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* false with ERR_TOO_LARGE "cannot hold <what>: more than <max> bytes of working memory" */
bool arena_alloc_err(struct arena *arena, size_t size_bytes, const char *what, void **out_ptr,
		     struct err *err);

#endif
