/*
 * mem: allocation of things whose size the program decides.
 *
 * These never return NULL: out of memory logs one line and aborts (the supervisor restarts us, the
 * stream redelivers). Anything sized by input is checked against a named limit first; when a limit
 * is large, use mem_try_alloc.
 */
#ifndef RAG_COMMON_BASE_MEM_H
#define RAG_COMMON_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size_bytes) __attribute__((malloc, returns_nonnull)); /* zeroed */
void *mem_array(size_t count, size_t item_bytes)
	__attribute__((malloc, returns_nonnull)); /* zeroed; overflow aborts */
void *mem_grow(void *ptr, size_t count, size_t item_bytes)
	__attribute__((returns_nonnull)); /* realloc; new part undefined */
char *mem_strdup(const char *text) __attribute__((malloc, returns_nonnull));
char *mem_strndup(const char *ptr, size_t len)
	__attribute__((malloc, returns_nonnull)); /* NUL-terminated copy of len bytes */
void *mem_try_alloc(size_t size_bytes);		  /* zeroed, or NULL */
void mem_free(void *ptr);			  /* NULL is fine */

#endif
