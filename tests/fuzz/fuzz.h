/*
 * fuzz: what the targets of this folder share. A target is one decoder in one file, fuzz_<name>.c, with one function,
 * LLVMFuzzerTestOneInput; it ends by abort with the broken promise on stderr. Seeds and what once broke lie in
 * corpus/<name>/. Two programs come out of each target: with clang and RAG_FUZZ a libFuzzer one, in every build one
 * that replays the corpus (replay.c). How to run and to add: docs/testing.md.
 */
#ifndef RAG_TESTS_FUZZ_FUZZ_H
#define RAG_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define MIB ((size_t)1024 * 1024)

/* Any bytes, not NUL-terminated; returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void
must(bool holds, const char *promise)
{
	if (holds)
		return;
	(void)fprintf(stderr, "broken: %s\n", promise);
	abort();
}

static inline struct str
text_of(const struct buf *buf)
{
	return str_make(buf->data, buf->len);
}

/* Takes the first byte off the input; 0 at its end. */
static inline uint8_t
take_byte(const uint8_t **data, size_t *size)
{
	if (*size == 0)
		return 0;
	*size -= 1;
	return *(*data)++;
}

static inline bool
lies_in(struct str part, struct str whole)
{
	return part.len == 0 ||
	       (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

#endif
