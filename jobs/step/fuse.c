#include "jobs/step/fuse.h"

#include <math.h>
#include <stdlib.h>

/* What turns a leg's scores into 0..1: its best hit is 1, its hit number FUSE_DEPTH (else its last one) 0. */
struct scale {
	float low, span;
	float last; /* the last one's score */
};

/* The hits are sorted by falling score. */
static struct scale
scale_of(const struct store_hit *hits, size_t count)
{
	size_t low = count < FUSE_DEPTH ? count : FUSE_DEPTH;

	if (count == 0)
		return (struct scale){ 0, 0, 0 };
	return (struct scale){ hits[low - 1].score, hits[0].score - hits[low - 1].score,
			       hits[count - 1].score };
}

/* Equal scores are all the best, but for a leg that found nothing alike. Below the depth it is negative. */
static double
raw_normal(struct scale scale, float score)
{
	if (scale.span <= 0)
		return score > 0;
	return ((double)score - (double)scale.low) / (double)scale.span;
}

static double
normal(struct scale scale, float score)
{
	double value = isnan(score) ? 0 : raw_normal(scale, score);

	return value > 0 ? value : 0;
}

/* Of hits that are deep in both legs: what is missing in a leg is as good as the leg's last hit. */
static double
tail(struct scale scale, float score)
{
	return raw_normal(scale, isnan(score) ? scale.last : score);
}

static int
by_row(const void *a, const void *b)
{
	const struct candidate *left = a, *right = b;

	return (left->hit.row > right->hit.row) - (left->hit.row < right->hit.row);
}

static int
by_falling_score(const void *a, const void *b)
{
	const struct candidate *left = a, *right = b;

	if (left->score != right->score)
		return left->score < right->score ? 1 : -1;
	if (left->tail != right->tail)
		return left->tail < right->tail ? 1 : -1;
	return by_row(a, b);
}

/* Joins the two entries of a row that is in both legs. */
static size_t
merge_rows(struct candidate *list, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (kept > 0 && list[kept - 1].hit.row == list[i].hit.row) {
			struct candidate *same = &list[kept - 1];

			same->dense = isnan(same->dense) ? list[i].dense : same->dense;
			same->lexical = isnan(same->lexical) ? list[i].lexical : same->lexical;
			continue;
		}
		list[kept++] = list[i];
	}
	return kept;
}

bool
fuse_hits(const struct store_hits *hits, double dense_weight, struct arena *arena,
	  struct candidate **out, size_t *out_count)
{
	const struct scale dense = scale_of(hits->dense, hits->dense_count);
	const struct scale lexical = scale_of(hits->lexical, hits->lexical_count);
	size_t count = 0;
	struct candidate *list =
		arena_array(arena, hits->dense_count + hits->lexical_count, sizeof(*list));

	if (!list)
		return false;
	for (size_t i = 0; i < hits->dense_count; i++)
		list[count++] = (struct candidate){ .hit = hits->dense[i],
						    .dense = hits->dense[i].score,
						    .lexical = NAN };
	for (size_t i = 0; i < hits->lexical_count; i++)
		list[count++] = (struct candidate){ .hit = hits->lexical[i],
						    .dense = NAN,
						    .lexical = hits->lexical[i].score };
	if (count > 1)
		qsort(list, count, sizeof(*list), by_row);
	count = merge_rows(list, count);
	for (size_t i = 0; i < count; i++) {
		list[i].score = (float)(dense_weight * normal(dense, list[i].dense) +
					(1 - dense_weight) * normal(lexical, list[i].lexical));
		list[i].tail = (float)(dense_weight * tail(dense, list[i].dense) +
				       (1 - dense_weight) * tail(lexical, list[i].lexical));
		list[i].hit.score = list[i].fused = list[i].score;
		list[i].rerank = NAN;
	}
	if (count > 1)
		qsort(list, count, sizeof(*list), by_falling_score);
	*out = list;
	*out_count = count;
	return true;
}
