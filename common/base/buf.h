/*
 * buf: a growing byte buffer with a maximum and a sticky failure.
 *
 * Invariants: data is never NULL and always NUL-terminated (the NUL is not counted in len); after
 * the first failed append (maximum reached) `failed` stays true, further appends do nothing: append
 * freely, then check buf_ok once. Out of memory below the maximum aborts (see mem.h). One thread at
 * a time.
 */
#ifndef RAG_COMMON_BASE_BUF_H
#define RAG_COMMON_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

struct buf {
	char *data; /* owned unless it is the shared empty string */
	size_t len;
	size_t cap; /* bytes allocated; 0 = data is the shared empty string */
	size_t max; /* len never passes this */
	bool failed;
};

extern char buf_empty_[1];

#define BUF_INIT(max_bytes)                                                                        \
	{                                                                                          \
		.data = buf_empty_, .len = 0, .cap = 0, .max = (max_bytes), .failed = false        \
	}

void buf_init(struct buf *buf, size_t max_bytes);
void buf_release(struct buf *buf); /* frees; afterwards empty and usable again with the same max */
void buf_clear(struct buf *buf);   /* len 0, failure forgotten, memory kept */

void buf_add(struct buf *buf, const void *ptr, size_t len);
void buf_add_str(struct buf *buf, const char *text);
void buf_add_char(struct buf *buf, char c);
void buf_add_i64(struct buf *buf, int64_t value);
void buf_printf(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *buf, const char *fmt, va_list args)
	__attribute__((format(printf, 2, 0)));

/* Makes room for len more bytes and returns where to write them (then call buf_commit); NULL after
 * a failure. */
char *buf_reserve(struct buf *buf, size_t len);
void buf_commit(struct buf *buf, size_t len);

void buf_truncate(struct buf *buf, size_t len); /* len must be <= buf->len */
bool buf_ok(const struct buf *buf);

/* true, or ERR_TOO_LARGE "cannot build <what>: more than <max> bytes" */
bool buf_check(const struct buf *buf, const char *what, struct err *err);

/* The heap string (caller frees with mem_free); buf is empty afterwards. NULL when the buffer
 * failed. */
char *buf_take(struct buf *buf, size_t *out_len);

#endif
