/*
 * multipart: a body of multipart/form-data (RFC 7578), cut into its parts. Strict: what a browser or curl sends is taken,
 * everything else is an error, so that no two readers see different parts in it.
 *
 * Nothing is copied: parts are slices of the body. Limits: MULTIPART_PARTS_MAX parts, headers of a part in
 * MULTIPART_HEAD_MAX bytes. No text before the first boundary or after the last, no nested multipart, no transfer
 * encoding but 7bit, 8bit and binary. Linear in the body. Pure and thread-safe.
 */
#ifndef RAG_COMMON_MULTIPART_H
#define RAG_COMMON_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/err.h"
#include "common/base/str.h"

#define MULTIPART_PARTS_MAX 16
#define MULTIPART_HEAD_MAX 4096
#define MULTIPART_BOUNDARY_MAX 70

struct multipart {
	struct str rest; /* of the body; begins with the next part's headers */
	char boundary[MULTIPART_BOUNDARY_MAX + 8]; /* "\r\n--" and the boundary */
	size_t boundary_len;
	size_t count; /* parts so far */
	bool ended;
};

struct multipart_part {
	struct str name;	 /* never "" */
	struct str filename;	 /* "" = none, or empty */
	struct str content_type; /* with its parameters; "" = none */
	struct str body;
};

/* content_type: the request's header. ERR_MALFORMED: no boundary there, or the body does not begin with it. */
bool multipart_open(struct str content_type, struct str body, struct multipart *out,
		    struct err *err);
/* *out_more false: there was no further part. ERR_MALFORMED. */
bool multipart_next(struct multipart *multipart, struct multipart_part *out, bool *out_more,
		    struct err *err);

#endif
