/*
 * told_embedder: an embedder that does what a test tells it: refuses batches and texts, fails, waits at a gate. Its vectors are made
 * of the text alone, so that a test knows each one. Thread-safe; one may serve many threads, and so count for all.
 */
#ifndef RAG_TESTS_SUPPORT_TOLD_EMBEDDER_H
#define RAG_TESTS_SUPPORT_TOLD_EMBEDDER_H

#include <pthread.h>
#include <stdatomic.h>

#include "jobs/provider/provider.h"

#define TOLD_DIM 8
#define TOLD_MAX_SEEN 65536

struct told_embedder {
	struct embedder embedder;
	/* the server's limits; 0 = none. Larger: ERR_TOO_LARGE */
	size_t takes_batch, takes_bytes;
	const char *
		poison; /* a call with a text that holds it is ERR_PROVIDER_REJECTED; NULL = none */
	atomic_int fail_code;  /* enum err_code of the next calls; 0 = none */
	atomic_int fail_after; /* calls that are still good before fail_code counts */
	atomic_bool gated;     /* calls wait until it is false, or their own cancel */
	atomic_int at_gate;    /* calls that wait */
	atomic_int calls, refused;
	atomic_int texts;	   /* of good calls */
	atomic_int largest;	   /* texts of one good call */
	pthread_mutex_t lock;	   /* of seen */
	char *seen[TOLD_MAX_SEEN]; /* texts of good calls (owned) */
	size_t seen_count;
};

/* max_batch: what the embedder says of itself. */
void told_init(struct told_embedder *told, size_t max_batch);
void told_release(struct told_embedder *told);
/* How often a text was embedded. */
int told_saw(struct told_embedder *told, const char *text);
/* The vector of a text that is not cut. */
void told_vector(struct str text, float out[TOLD_DIM]);

#endif
