/*
 * result: what a finished job leaves behind: one JSON object in the versioned msgpack envelope of
 * kind "result". Pure, thread-safe.
 */
#ifndef RAG_COMMON_RESULT_H
#define RAG_COMMON_RESULT_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

/* json: the text of one object; out: the envelope. */
void result_pack(struct str json, struct buf *out);

/* *out_json borrows from bytes. ERR_CORRUPT when it is not such an envelope. */
bool result_unpack(struct str bytes, struct str *out_json, struct err *err);

#endif
