/*
 * zip: what payloads and results look like as bytes in Redis; the door of zstd.
 *
 * Below ZIP_MIN_BYTES, or where compression does not help, the bytes are stored as they are behind
 * one marker byte 'r'; else 'z', the plain length as 4 little-endian bytes, and a zstd frame (level 1).
 * Thread-safe.
 */
#ifndef RAG_COMMON_ZIP_H
#define RAG_COMMON_ZIP_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define ZIP_MIN_BYTES 512

void zip_pack(struct str plain, struct buf *out);

/* ERR_CORRUPT for a bad marker, length or frame; ERR_TOO_LARGE above max_bytes (checked before
 * allocating). *out_plain borrows from `stored` or lives in the arena. */
bool zip_unpack(struct str stored, size_t max_bytes, struct arena *arena, struct str *out_plain,
		struct err *err);

#endif
