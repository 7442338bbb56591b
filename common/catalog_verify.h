/*
 * catalog_verify: does the catalog keep its invariants (the essay of catalog.c), and what is left over in it.
 *
 * Verify reads everything and changes nothing. It may run beside live work: what looks wrong while the
 * collection is changing is looked at again, and only what is wrong both times is a problem. A leftover is a
 * reservation whose job is final or unknown; that happens in the course of things (a cancelled job, a crash
 * between two steps), so it is counted, and is a problem only when it is older than cleanup should leave it.
 * Memory: one entry for each reservation of a collection. One thread; the connection is the caller's.
 */
#ifndef RAG_COMMON_CATALOG_VERIFY_H
#define RAG_COMMON_CATALOG_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/redis.h"

#define CATALOG_LEFTOVER_MS                                                                        \
	(INT64_C(60) * 60 * 1000) /* unknown jobs: an accept may be this far ahead
							  of its submit */

struct catalog_verify {
	/* check: "collection", "document", "counters", "reservation", "orphan". text: one line for people. */
	void (*problem)(void *user, const char *check, const char *text);
	void *user;
	int64_t leftover_ms; /* older leftovers are problems; CATALOG_LEFTOVER_MS */
};

struct catalog_verified {
	int64_t collections, documents, chunks, bytes;
	int64_t reservations; /* of jobs that are not final */
	int64_t leftovers;
	int64_t busy;	 /* collections that never stood still: their sums were not compared */
	int64_t dropped; /* deleted collections that are not purged yet */
	int64_t problems;
};

bool catalog_verify(struct redis *redis, const struct catalog_verify *opts,
		    struct catalog_verified *out, struct err *err);

/* Releases the reservations of final jobs (a failed one aside, which may be retried) and of jobs nobody has heard
 * of for CATALOG_LEFTOVER_MS; lines of a batch without a job: when that is gone, or final for so long. Repeatable. */
bool catalog_sweep(struct redis *redis, int64_t *out_released, struct err *err);

/* Whether a reservation of this collection holds `seq`, i.e. a generation of that seq may still be committed. To
 * find garbage in a store: ask this first and for the current generation second (the essay of catalog.c). Reads
 * all reservations of the collection into the arena. */
struct catalog_reserved {
	int64_t *seqs; /* ascending, arena */
	size_t count;
};
bool catalog_reserved(struct redis *redis, struct str uid, struct arena *arena,
		      struct catalog_reserved *out, struct err *err);
bool catalog_reserved_has(const struct catalog_reserved *reserved, int64_t seq);

#endif
