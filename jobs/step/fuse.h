/*
 * fuse: two ranked lists into one, by the convex combination of per-query min-max normalised scores
 * (Bruch, Gai, Ingber: An Analysis of Fusion Functions for Hybrid Retrieval, 2023):
 * score = w * norm(dense) + (1 - w) * norm(lexical). A leg's hit number FUSE_DEPTH has 0 there, and so has what is below it or
 * missing: so the same chunk has the same score however many hits were asked for. Among those with 0, the raw
 * scores decide. Pure.
 */
#ifndef RAG_JOBS_STEP_FUSE_H
#define RAG_JOBS_STEP_FUSE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "jobs/step/retrieve.h"

#define FUSE_DEPTH 100 /* hits of a leg that have a score above 0 */

/* By falling score, ties by row; each row once. *out lives in the arena; false when it is full. */
bool fuse_hits(const struct store_hits *hits, double dense_weight, struct arena *arena,
	       struct candidate **out, size_t *out_count);

#endif
