/*
 * sse: server-sent events (WHATWG HTML, 9.2) as text: a writer for what we serve, a decoder for what we read. Pure: no
 * socket, no clock. One thread at a time.
 */
#ifndef RAG_COMMON_SSE_H
#define RAG_COMMON_SSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define SSE_ID_BYTES 128
#define SSE_NAME_BYTES 64

/* ---- writing ---- */

/* How long a client waits before it connects again. */
void sse_add_retry(struct buf *out, int64_t retry_ms);
/* A line that clients pass over, and an empty one. text: without line breaks. */
void sse_add_comment(struct buf *out, const char *text);
/* id: "" = none, the client keeps the last one. id and name: without line breaks and NUL. data may have lines. */
void sse_add_event(struct buf *out, const char *id, const char *name, struct str data);

/* ---- reading ---- */

/* Strings live until the callback returns. */
struct sse_event {
	const char *id;	 /* the last id so far, also of an event before; "" = none yet */
	struct str name; /* "message" when none was given */
	struct str data; /* lines joined by LF */
};

struct sse_decoder {
	struct buf line, data;
	char id[SSE_ID_BYTES]; /* to resume from; "" = none yet */
	char next_id[SSE_ID_BYTES];
	char name[SSE_NAME_BYTES];
	int64_t retry_ms; /* -1 = the server has not said */
	bool has_data, after_cr, started;
};

/* An event (its data and its longest line) may have so many bytes. */
void sse_decoder_init(struct sse_decoder *decoder, size_t max_event_bytes);
void sse_decoder_release(struct sse_decoder *decoder);
/* A new connection: what was read of an unfinished event is dropped, the id stays. */
void sse_decoder_restart(struct sse_decoder *decoder);

/*
 * Takes the next bytes, in pieces of any size, and calls fn for each whole event. false: fn returned false (err as it
 * has left it, untouched here), or ERR_TOO_LARGE. An id longer than SSE_ID_BYTES - 1 or with a NUL is passed over, as is
 * an unfinished event at the end.
 */
bool sse_decoder_feed(struct sse_decoder *decoder, struct str bytes,
		      bool (*fn)(void *user, const struct sse_event *event), void *user,
		      struct err *err);

/*
 * The connection has ended. By the standard what is left is dropped (do nothing but restart or release); servers of models whose
 * events are whole lines sometimes leave out the last line break, so this takes what is left as if it were there.
 */
bool sse_decoder_end(struct sse_decoder *decoder,
		     bool (*fn)(void *user, const struct sse_event *event), void *user);

#endif
