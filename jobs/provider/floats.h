/*
 * floats: numbers of vectors, out of JSON and base64, fast. A vector comes as a thousand numbers of text; a general parser makes a
 * tree node of each and spends most of a batch's time on that.
 *
 * A number is what the JSON grammar says, and its value is exactly (float)strtod of it, whatever its length: tested and fuzzed against
 * that. Pure.
 */
#ifndef RAG_JOBS_PROVIDER_FLOATS_H
#define RAG_JOBS_PROVIDER_FLOATS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/str.h"

struct floats {
	float *values; /* owned */
	size_t count, cap, max;
	bool failed; /* more than max: sticky */
};

void floats_init(struct floats *floats, size_t max);
void floats_release(struct floats *floats);
void floats_add(struct floats *floats, float value);

/*
 * The JSON number at the begin of text: its length in bytes; 0 when there is none, or when it is one of more than 511 bytes that no
 * shorter look decides. Past the range of float: infinite, with its sign.
 */
size_t floats_scan_number(struct str text, float *out);

/*
 * The JSON array of numbers at the begin of text, '[' to ']': its length, its numbers added. 0, and nothing added, when it is anything
 * else: empty, cut, or with a value that is no number.
 */
size_t floats_scan_array(struct str text, struct floats *into);

/* Base64 (RFC 4648, standard alphabet, padding may be missing) of 32-bit floats, least byte first; false, and nothing added, when it is
 * not, or empty. */
bool floats_add_base64(struct str text, struct floats *into);

#endif
