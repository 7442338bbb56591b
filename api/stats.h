/*
 * stats: the metrics of rag-api, and its part of the health page. Thread-safe.
 */
#ifndef RAG_API_STATS_H
#define RAG_API_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/api.h"
#include "common/base/buf.h"
#include "common/base/str.h"
#include "common/metrics.h"

struct stats;

struct stats *stats_new(struct api *api); /* api is borrowed; only looked at when scraped */
void stats_free(struct stats *stats);	  /* NULL is fine */
struct metrics *stats_metrics(struct stats *stats);

/* Counts one answered request. route: the template. */
void stats_request(struct stats *stats, struct str method, const char *route, int status,
		   int64_t dur_us);

/* For the monitor; user is struct api. */
bool stats_probe(void *user, enum health_probe probe, char *out_reason, size_t reason_bytes);
void stats_summary(void *user, struct buf *out);

#endif
