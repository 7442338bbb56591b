/*
 * reply: the JSON of a provider's reply. Arrays of nothing but numbers, and base64 of floats under "embedding", are taken out before the
 * rest is parsed (jobs/provider/floats.h) and read with reply_vector or reply_numbers; the rest is an ordinary tree (common/json.h).
 *
 * More lenient than the JSON that clients send us, since a model's words go through it: a lone surrogate (half of an emoji, where a
 * stream was cut) and \u0000 become U+FFFD, a byte order mark is passed over. Anything else that is not JSON in UTF-8 is
 * ERR_PROVIDER_REPLY.
 */
#ifndef RAG_JOBS_PROVIDER_REPLY_H
#define RAG_JOBS_PROVIDER_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/auto.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/json.h"
#include "jobs/provider/floats.h"

#define REPLY_MAX_FLOATS ((size_t)16 * 1024 * 1024) /* 2,048 vectors of 8,192 */

struct reply {
	struct js *
		root; /* owned; an array of numbers in it is shown as another value: use the functions below */
	struct floats floats;
	struct reply_span *spans; /* owned: the arrays */
	size_t span_count, span_cap;
};

/* On failure there is nothing to release. The text is not kept. */
bool reply_read(struct str body, struct reply *out, struct err *err);
void reply_release(struct reply *reply); /* zeroed memory is fine */

/* The numbers of an array of numbers (or what else was taken out); NULL when the value is none (or NULL). Borrowed. An empty array is none. */
const float *reply_numbers(const struct reply *reply, const struct js *value, size_t *out_count);

/*
 * The vector that is this value, at unit length (a zero vector stays one): an array of numbers, base64 of floats, or an array that
 * holds just one of these. ERR_PROVIDER_REPLY when it is anything else, has not `dim` numbers, or one that is not finite. What was
 * wrong, never the numbers, is in err.msg.
 */
bool reply_vector(const struct reply *reply, const struct js *value, size_t dim, float *out,
		  struct err *err);

#endif
