/*
 * raw_http: the client side of HTTP byte by byte, for requests that no library would send. Failures of
 * its own (no connection, no answer in time) fail the test.
 */
#ifndef RAG_TESTS_SUPPORT_RAW_HTTP_H
#define RAG_TESTS_SUPPORT_RAW_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/str.h"

#define RAW_PATIENCE_MS 20000 /* how long anything is waited for; never a part of what is tested */

struct raw_http {
	int fd;
	struct buf in; /* received, not yet taken */
	size_t first_recv_bytes;
};

struct raw_reply {
	int status;
	struct buf head; /* with the empty line */
	struct buf body;
};

void raw_open(struct raw_http *raw, int port);
bool raw_try_open(struct raw_http *raw, int port); /* false: nobody listens */
void raw_close(struct raw_http *raw);
void raw_send(struct raw_http *raw, const char *text); /* a peer that has closed is no failure */
bool raw_try_send(struct raw_http *raw, const void *ptr,
		  size_t len); /* false: the peer has closed */

/* Reads one answer; has_body false for answers to HEAD. reply: zeroed or of a call before. */
void raw_read(struct raw_http *raw, bool has_body, struct raw_reply *reply);
/* The same, but false when the connection ends before an answer began. */
bool raw_try_read(struct raw_http *raw, bool has_body, struct raw_reply *reply);
/* The next piece of a body in chunks (appended to out), after raw_read. */
enum raw_chunk {
	RAW_CHUNK_DATA,
	RAW_CHUNK_LAST, /* the body has ended */
	RAW_CHUNK_CUT	/* the connection ended before it did */
};
enum raw_chunk raw_read_chunk(struct raw_http *raw, struct buf *out);
/* What is there of a body without framing; false at its end. */
bool raw_read_some(struct raw_http *raw, struct buf *out);
void raw_reply_release(struct raw_reply *reply);
bool raw_header(const struct raw_reply *reply, const char *name, struct str *out);
bool raw_header_is(const struct raw_reply *reply, const char *name, const char *value);

/* Sends the text, reads one answer, gives its status. */
int raw_ask(struct raw_http *raw, const char *text, struct raw_reply *reply);

/* Waits until the peer has closed; false when bytes came first or it did not within the patience. */
bool raw_wait_closed(struct raw_http *raw);
/* True when the peer resets the connection within ms (which may destroy what it has sent before). */
bool raw_wait_reset(struct raw_http *raw, int ms);
/* True when the peer closes or sends within ms. */
bool raw_wait_ready(struct raw_http *raw, int ms);

#endif
