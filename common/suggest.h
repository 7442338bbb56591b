/*
 * suggest: the known name that an unknown one was probably meant to be, for messages. Pure.
 */
#ifndef RAG_COMMON_SUGGEST_H
#define RAG_COMMON_SUGGEST_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/str.h"

struct suggest {
	struct str word;     /* what was given; borrowed */
	const char *nearest; /* best so far; NULL = none near enough */
	size_t distance;
};

/* Start, offer every known name, read nearest. Names that differ in more than a third are not near. */
struct suggest suggest_start(struct str word);
void suggest_offer(struct suggest *suggest, const char *name);

/* Edits (insert, delete, replace, swap of neighbours) between two texts, both at most SUGGEST_MAX_BYTES;
 * SIZE_MAX when longer. */
#define SUGGEST_MAX_BYTES 63
size_t suggest_distance(struct str a, struct str b);

#endif
