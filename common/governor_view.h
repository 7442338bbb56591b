/*
 * governor_view: governed dependencies as operators see them: one JSON form, of the API and of a worker's health page, and gauges.
 * A view is refreshed by one thread that has a connection (a worker's keeper) and read by others: thread-safe.
 */
#ifndef RAG_COMMON_GOVERNOR_VIEW_H
#define RAG_COMMON_GOVERNOR_VIEW_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/auto.h"
#include "common/governor.h"
#include "common/json.h"
#include "common/metrics.h"
#include "common/redis.h"

#define GOVERNOR_VIEW_MAX                                                                          \
	32 /* names: a handful are in use, and those of settings that were changed lately */

/* The items of an array that is open: objects of "object": "dependency"; members as in docs/api.md. */
void governor_view_items(struct jw *w, const struct governor_state *states, size_t count);

struct governor_view;
/* up: the gauge rag_engine_dependency_up of this registry, which others set, too. */
struct governor_view *governor_view_new(struct metrics *metrics, struct metric *up);
void governor_view_free(struct governor_view *view); /* NULL is fine */
AUTO_PTR_DEFINE(governor_view_free, struct governor_view);

/* Reads how all stand. A failure changes nothing. */
bool governor_view_refresh(struct governor_view *view, struct redis *redis, struct err *err);
/* Items as above, as they were when last refreshed. */
void governor_view_write(struct governor_view *view, struct jw *w);

#endif
