/*
 * pack: msgpack, the door of msgpack-c. What Redis holds as payload and result.
 *
 * Writing goes straight into a buf. Reading walks a byte slice without building a tree and trusts
 * no length: pack_scan checks the whole message first (counts against the bytes that remain, depth
 * at most PACK_MAX_DEPTH, no trailing bytes), because msgpack-c allocates by the claimed count.
 *
 * Envelope: every message in Redis is [version, kind, body]; see pack_envelope_*. A decoder takes the
 * current version and the one before it. One thread at a time.
 */
#ifndef RAG_COMMON_PACK_H
#define RAG_COMMON_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define PACK_MAX_DEPTH 16
#define PACK_VERSION 1

/* Writers; a map of n is followed by n (key, value) pairs. */
void pack_nil(struct buf *out);
void pack_bool(struct buf *out, bool value);
void pack_i64(struct buf *out, int64_t value);
void pack_f64(struct buf *out, double value);
void pack_str(struct buf *out, struct str value);
void pack_bin(struct buf *out, struct str bytes);
void pack_array(struct buf *out, size_t count);
void pack_map(struct buf *out, size_t count);

enum pack_type {
	PACK_NIL,
	PACK_BOOL,
	PACK_I64,
	PACK_F64,
	PACK_STR,
	PACK_BIN,
	PACK_ARRAY,
	PACK_MAP
};

struct pack_value {
	enum pack_type type;
	union {
		bool boolean;
		int64_t i64; /* unsigned above INT64_MAX is ERR_CORRUPT */
		double f64;
		struct str str; /* PACK_STR and PACK_BIN: borrowed from the input */
		uint32_t count; /* PACK_ARRAY: items; PACK_MAP: pairs; they follow */
	} u;
};

struct pack_reader {
	const char *at, *end; /* borrowed */
};

/* One complete message and nothing after it; else ERR_CORRUPT "not valid msgpack: ...". */
bool pack_scan(struct str bytes, struct err *err);

/* Scans, then starts reading at the first value. */
bool pack_read_start(struct pack_reader *reader, struct str bytes, struct err *err);
bool pack_next(struct pack_reader *reader, struct pack_value *out, struct err *err);
bool pack_skip(struct pack_reader *reader,
	       struct err *err); /* one whole value, nested ones included */

/* [PACK_VERSION, kind, <body: one msgpack value written by the caller right after>] */
void pack_envelope_begin(struct buf *out, const char *kind);
/* Checks the whole message, the version and the kind; the reader then stands at the body. */
bool pack_envelope_open(struct pack_reader *reader, struct str bytes, const char *kind,
			struct err *err);

#endif
