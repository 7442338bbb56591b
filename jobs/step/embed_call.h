/*
 * embed_call: texts through one embedder, whatever it refuses. A refusal of the size (ERR_TOO_LARGE) is answered by halving the batch,
 * and a single text that is too long is embedded in parts, its vector the mean of theirs. What was learnt of the server's limits is
 * remembered for the process, so that a refusal is met once.
 *
 * Private to jobs/step/embed*.c and their tests. Thread rule: the embedder's; the limits are shared by all threads.
 */
#ifndef RAG_JOBS_STEP_EMBED_CALL_H
#define RAG_JOBS_STEP_EMBED_CALL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "jobs/provider/provider.h"

#define EMBED_MAX_CALL_BYTES ((size_t)1024 * 1024) /* of texts; TEI refuses bodies of 2 MB */
#define EMBED_MAX_CALL_TOKENS 250000		   /* OpenAI refuses 300,000 a request */
#define EMBED_MIN_PART_BYTES 200 /* a text this short is not too long: it is refused for good */

/* Shared, only ever lowered once they are known; 0 = not known. */
struct embed_limits {
	atomic_size_t batch;		  /* texts a call */
	atomic_int_least64_t text_tokens; /* of one text (estimated) */
};

/* The most texts that may go in one call of this embedder. */
size_t embed_batch(const struct embedder *embedder, struct embed_limits *limits);

struct embed_load {
	const struct str *texts;
	size_t count;
	int64_t tokens; /* of all texts, estimated */
	float *out;	/* count vectors */
	bool *split;	/* count of them: true for a text that was embedded in parts */
};

/*
 * ERR_PROVIDER_REJECTED for a text that is refused however short its parts are; else the embedder's errors, never ERR_TOO_LARGE.
 */
bool embed_call(struct embedder *embedder, const struct provider_call *call, enum embed_task task,
		struct embed_limits *limits, const struct embed_load *load, struct err *err);

/* Where a text is cut that is to be cut about `at`: after white space near before it if there is any, else between two characters. Not 0
 * and not the end for a text of two characters or more. Pure. */
size_t embed_cut(struct str text, size_t at);

/* out += weight * vector. embed_mean_end makes it a vector of unit length (all zero stays). Pure. */
void embed_mean_add(float *out, const float *vector, size_t dim, size_t weight);
void embed_mean_end(float *out, size_t dim);

#endif
