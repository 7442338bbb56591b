/*
 * wire: how rag-convert hands its result to the worker: a parsed document, or an error, as bytes.
 *
 * The writer may have been taken over by the document it read, so the reader believes nothing: it checks every length
 * against what is there, every range of every block against the text, and that the text keeps the promises of
 * parse.h (it goes through parse_out again). Little-endian:
 *
 *	"RAGC" version:u8 outcome:u8
 *	outcome 0: title_len:u32 title text_len:u32 text block_count:u32 blocks
 *	           a block: kind:u8 level:u8 page:u32 start:u32 end:u32
 *	outcome 1: code_len:u32 code (wire name of err_codes.h) msg_len:u32 msg
 */
#ifndef RAG_JOBS_CONVERT_WIRE_H
#define RAG_JOBS_CONVERT_WIRE_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "jobs/step/parse.h"

#define WIRE_BLOCK_BYTES 14

void wire_write(const struct parsed *parsed, struct buf *out);
void wire_write_err(const struct err *error, struct buf *out);

/* The result, in the arena; or the converter's error; or ERR_BAD_DOCUMENT for bytes that are no such thing. */
bool wire_read(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	       struct parsed *out, struct err *err);

#endif
