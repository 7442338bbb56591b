/*
 * The dot product is written once with vector extensions and compiled for each instruction set; the
 * choice is made by asking the processor (no ifunc: their resolvers run before a sanitizer is ready).
 * Four sums run beside each other, so that the adds do not wait for one another.
 */
#include "jobs/store/vectors.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define BLOCK_ROWS ((size_t)1024)
#define LANES ((size_t)8)
#define COMPACT_MIN_DEAD ((size_t)4096) /* fewer removed rows are never worth a copy */

struct vectors_block {
	int64_t rows[BLOCK_ROWS];
	bool removed[BLOCK_ROWS];
	float values[]; /* BLOCK_ROWS * stride */
};

/* ---- dot product ---- */

/* unaligned: the element type's alignment is all that is asked for */
typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

#define DOT_BODY(a, b, dim)                                                                        \
	lanes s0 = { 0 }, s1 = { 0 }, s2 = { 0 }, s3 = { 0 };                                      \
	size_t i = 0;                                                                              \
	float sum = 0;                                                                             \
                                                                                                   \
	for (; i + 4 * LANES <= (dim); i += 4 * LANES) {                                           \
		s0 += *(const lanes *)((a) + i) * *(const lanes *)((b) + i);                       \
		s1 += *(const lanes *)((a) + i + LANES) * *(const lanes *)((b) + i + LANES);       \
		s2 += *(const lanes *)((a) + i + 2 * LANES) *                                      \
		      *(const lanes *)((b) + i + 2 * LANES);                                       \
		s3 += *(const lanes *)((a) + i + 3 * LANES) *                                      \
		      *(const lanes *)((b) + i + 3 * LANES);                                       \
	}                                                                                          \
	s0 += s1 + s2 + s3;                                                                        \
	for (size_t lane = 0; lane < LANES; lane++)                                                \
		sum += s0[lane];                                                                   \
	for (; i < (dim); i++)                                                                     \
		sum += (a)[i] * (b)[i];                                                            \
	return sum

static float
dot_plain(const float *a, const float *b, size_t dim)
{
	DOT_BODY(a, b, dim);
}

typedef float (*dot_fn)(const float *a, const float *b, size_t dim);

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static float
dot_avx2(const float *a, const float *b, size_t dim)
{
	DOT_BODY(a, b, dim);
}

static dot_fn
choose_dot(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? dot_avx2
									       : dot_plain;
}
#else
static dot_fn
choose_dot(void)
{
	return dot_plain;
}
#endif

float
vectors_dot(const float *a, const float *b, size_t dim)
{
	return choose_dot()(a, b, dim);
}

/* ---- sets of rows, the best rows ---- */

/* the first range that does not end before row */
static size_t
range_at(const struct row_set *set, int64_t row)
{
	size_t low = 0, high = set->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (set->ranges[mid].last < row)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool
row_set_has(const struct row_set *set, int64_t row)
{
	if (set->all)
		return true;

	size_t at = range_at(set, row);

	return at < set->count && set->ranges[at].first <= row;
}

static bool
is_better(struct scored_row a, struct scored_row b)
{
	return a.score != b.score ? a.score > b.score : a.row < b.row;
}

bool
best_rows_init(struct best_rows *best, size_t limit, struct arena *arena, struct err *err)
{
	void *items = NULL;

	*best = (struct best_rows){ .limit = limit };
	if (limit > SIZE_MAX / sizeof(struct scored_row))
		return err_set(err, ERR_TOO_LARGE, "cannot hold %zu hits", limit);
	if (!arena_alloc_err(arena, limit * sizeof(struct scored_row), "search hits", &items, err))
		return false;
	best->items = items;
	return true;
}

static void
sift_down(struct best_rows *best, size_t at)
{
	struct scored_row item = best->items[at];

	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= best->count)
			break;
		if (child + 1 < best->count &&
		    is_better(best->items[child], best->items[child + 1]))
			child++;
		if (!is_better(item, best->items[child]))
			break;
		best->items[at] = best->items[child];
		at = child;
	}
	best->items[at] = item;
}

void
best_rows_offer(struct best_rows *best, int64_t row, float score)
{
	struct scored_row item = { row, score };

	if (best->count < best->limit) {
		size_t at = best->count++;

		while (at > 0 && is_better(best->items[(at - 1) / 2], item)) {
			best->items[at] = best->items[(at - 1) / 2];
			at = (at - 1) / 2;
		}
		best->items[at] = item;
		return;
	}
	best->more = true;
	if (best->limit == 0 || !is_better(item, best->items[0]))
		return;
	best->items[0] = item;
	sift_down(best, 0);
}

static int
compare_rows(const void *left, const void *right)
{
	const struct scored_row *a = left, *b = right;

	return is_better(*a, *b) ? -1 : is_better(*b, *a);
}

void
best_rows_sort(struct best_rows *best)
{
	if (best->count > 1)
		qsort(best->items, best->count, sizeof(best->items[0]), compare_rows);
}

/* ---- vectors ---- */

void
vectors_init(struct vectors *vectors, size_t dim)
{
	*vectors = (struct vectors){ .dim = dim, .stride = (dim + LANES - 1) / LANES * LANES };
}

void
vectors_release(struct vectors *vectors)
{
	if (!vectors)
		return;
	for (size_t i = 0; i < vectors->block_count; i++)
		mem_free(vectors->blocks[i]);
	mem_free(vectors->blocks);
	vectors_init(vectors, vectors->dim);
}

static size_t
block_bytes(const struct vectors *vectors)
{
	return sizeof(struct vectors_block) + BLOCK_ROWS * vectors->stride * sizeof(float);
}

size_t
vectors_bytes(const struct vectors *vectors)
{
	return vectors->block_count * block_bytes(vectors);
}

static int64_t
row_at(const struct vectors *vectors, size_t at)
{
	return vectors->blocks[at / BLOCK_ROWS]->rows[at % BLOCK_ROWS];
}

void
vectors_add(struct vectors *vectors, int64_t row, const void *floats)
{
	size_t at = vectors->count;

	assert(at == 0 || row_at(vectors, at - 1) < row);
	if (at == vectors->block_count * BLOCK_ROWS) {
		vectors->blocks = mem_grow(vectors->blocks, vectors->block_count + 1,
					   sizeof(struct vectors_block *));
		vectors->blocks[vectors->block_count++] = mem_alloc(block_bytes(vectors));
	}

	struct vectors_block *block = vectors->blocks[at / BLOCK_ROWS];

	block->rows[at % BLOCK_ROWS] = row;
	block->removed[at % BLOCK_ROWS] = false;
	memcpy(block->values + at % BLOCK_ROWS * vectors->stride, floats,
	       vectors->dim * sizeof(float));
	vectors->count++;
}

/* index of the first row >= row */
static size_t
index_of(const struct vectors *vectors, int64_t row)
{
	size_t low = 0, high = vectors->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (row_at(vectors, mid) < row)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Moves the living rows together and frees the blocks behind them. */
static void
compact(struct vectors *vectors)
{
	size_t to = 0;

	for (size_t from = 0; from < vectors->count; from++) {
		struct vectors_block *source = vectors->blocks[from / BLOCK_ROWS];

		if (source->removed[from % BLOCK_ROWS])
			continue;
		if (to != from) {
			struct vectors_block *target = vectors->blocks[to / BLOCK_ROWS];

			target->rows[to % BLOCK_ROWS] = source->rows[from % BLOCK_ROWS];
			target->removed[to % BLOCK_ROWS] = false;
			memmove(target->values + to % BLOCK_ROWS * vectors->stride,
				source->values + from % BLOCK_ROWS * vectors->stride,
				vectors->stride * sizeof(float));
		}
		to++;
	}
	vectors->count = to;
	vectors->dead = 0;
	while (vectors->block_count > (to + BLOCK_ROWS - 1) / BLOCK_ROWS)
		mem_free(vectors->blocks[--vectors->block_count]);
}

void
vectors_remove(struct vectors *vectors, struct row_range range)
{
	for (size_t at = index_of(vectors, range.first);
	     at < vectors->count && row_at(vectors, at) <= range.last; at++) {
		bool *removed = &vectors->blocks[at / BLOCK_ROWS]->removed[at % BLOCK_ROWS];

		vectors->dead += !*removed;
		*removed = true;
	}
	if (vectors->dead == vectors->count)
		vectors_release(vectors);
	else if (vectors->dead >= COMPACT_MIN_DEAD && vectors->dead > vectors->count / 4)
		compact(vectors);
}

/* rows with index start..end - 1 */
static void
search_span(const struct vectors *vectors, const float *query, size_t start, size_t end,
	    struct best_rows *best)
{
	dot_fn dot = choose_dot();

	for (size_t at = start; at < end; at++) {
		const struct vectors_block *block = vectors->blocks[at / BLOCK_ROWS];
		size_t slot = at % BLOCK_ROWS;

		if (block->removed[slot])
			continue;
		best_rows_offer(best, block->rows[slot],
				dot(query, block->values + slot * vectors->stride, vectors->dim));
	}
}

void
vectors_search(const struct vectors *vectors, const float *query, const struct row_set *set,
	       struct best_rows *best)
{
	if (set->all) {
		search_span(vectors, query, 0, vectors->count, best);
		return;
	}
	for (size_t i = 0; i < set->count; i++)
		search_span(vectors, query, index_of(vectors, set->ranges[i].first),
			    index_of(vectors, set->ranges[i].last + 1), best);
}
