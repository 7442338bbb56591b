/*
 * vectors: the vectors of one collection in memory, searched exactly (every dot product is computed).
 *
 * 4 * dim bytes a vector (rounded up to 32 bytes), in blocks, so growing copies nothing. With AVX2, about
 * 4 ms for 100,000 vectors of 384 dimensions. Rows are added in ascending order; removed ones are marked
 * and their room is taken back when they are many. No locking: the owner does that. Searching does not
 * change anything, so several threads may search at a time.
 */
#ifndef RAG_JOBS_STORE_VECTORS_H
#define RAG_JOBS_STORE_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"

/* Rows first..last, both included. */
struct row_range {
	int64_t first, last;
};

/* Ascending, not overlapping. all: every row is in. */
struct row_set {
	const struct row_range *ranges;
	size_t count;
	bool all;
};

bool row_set_has(const struct row_set *set, int64_t row);

struct scored_row {
	int64_t row;
	float score;
};

/* The best `limit` of what is offered: greater score first, then smaller row. */
struct best_rows {
	struct scored_row *items; /* a heap, worst first, until best_rows_sort */
	size_t count, limit;
	bool more; /* something was offered that did not fit */
};

bool best_rows_init(struct best_rows *best, size_t limit, struct arena *arena, struct err *err);
void best_rows_offer(struct best_rows *best, int64_t row, float score);
void best_rows_sort(struct best_rows *best); /* best first; nothing may be offered afterwards */

struct vectors_block;
struct vectors {
	struct vectors_block **blocks; /* owned */
	size_t block_count;
	size_t dim, stride; /* floats; stride is dim rounded up */
	size_t count, dead; /* rows held, and those of them that are removed */
};

void vectors_init(struct vectors *vectors, size_t dim);
void vectors_release(struct vectors *vectors);
size_t vectors_bytes(const struct vectors *vectors);

/* row must be greater than all before; dim floats at any alignment. */
void vectors_add(struct vectors *vectors, int64_t row, const void *floats);
void vectors_remove(struct vectors *vectors, struct row_range range);
void vectors_search(const struct vectors *vectors, const float *query, const struct row_set *set,
		    struct best_rows *best);

/* a * b; any alignment. The fastest the processor has, chosen at run time. */
float vectors_dot(const float *a, const float *b, size_t dim);

#endif
