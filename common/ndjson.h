/*
 * ndjson: cuts a stream of bytes into lines, for bodies with one JSON value a line.
 *
 *	ndjson_feed(&reader, piece); while (ndjson_next(&reader, &line)) ...;	for each piece
 *	if (ndjson_last(&reader, &line)) ...;					at the end
 *
 * Lines end in LF or CRLF and are numbered from 1; blank lines are counted and not given. A byte order mark before the
 * first line is dropped. A line above max_bytes is given once, with too_long and its first bytes, and costs no more
 * memory than the limit. Memory: the line that has begun. One thread.
 */
#ifndef RAG_COMMON_NDJSON_H
#define RAG_COMMON_NDJSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/str.h"

struct ndjson {
	size_t max_bytes;
	int64_t number;	  /* of the line that has begun, less one */
	struct buf begun; /* owned: of the line that has begun, at most max_bytes and one */
	struct str piece; /* borrowed: what is left of the piece fed last */
	bool given;	  /* begun has been given to the caller: it is dropped at the next call */
};

struct ndjson_line {
	struct str text; /* without its end; borrowed until the next call */
	int64_t number;
	bool too_long;
};

void ndjson_init(struct ndjson *reader, size_t max_bytes);
void ndjson_release(struct ndjson *reader);

/* The piece must live until ndjson_next has been false. */
void ndjson_feed(struct ndjson *reader, struct str piece);
/* The next whole line; false: feed more. */
bool ndjson_next(struct ndjson *reader, struct ndjson_line *out);
/* The last line, where the stream does not end in LF. */
bool ndjson_last(struct ndjson *reader, struct ndjson_line *out);

#endif
