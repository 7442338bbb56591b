/*
 * http_conn: HTTP/1.1 on one connected socket, from its first byte to its close. Inside of
 * http_server: nothing else includes this. It knows no listener and no library.
 *
 * The public functions that take a struct http_request (http_body, http_answer_send, ...) are
 * implemented here.
 */
#ifndef RAG_COMMON_HTTP_CONN_H
#define RAG_COMMON_HTTP_CONN_H

#include <stdatomic.h>

#include <sys/uio.h>

#include "common/http_head.h"
#include "common/http_server.h"

#define DRAIN_MAX_BYTES                                                                            \
	((int64_t)256 * 1024) /* unread body that is read away to keep a connection */
#define DRAIN_MS 1000
#define READ_BYTES ((size_t)64 * 1024) /* of a body with a length, per read */

/* What all connections of one server share. */
struct http_shared {
	/* immutable after start */
	struct http_server_opts opts; /* strings in it are not used */
	int stop_fd;		      /* an eventfd, readable once the server stops */

	atomic_bool stopping;
	atomic_int busy; /* connections being served: each holds a thread */
};

enum body_kind { BODY_NONE, BODY_LENGTH, BODY_CHUNKED };

/* an answer written piece by piece; see http_conn_stream.c */
enum stream_state { STREAM_NONE, STREAM_OPEN, STREAM_ENDED, STREAM_BROKEN };

/* where a chunked body stands */
enum chunk_state { CHUNK_SIZE_LINE, CHUNK_DATA, CHUNK_DATA_END, CHUNK_TRAILER, CHUNK_DONE };

/* Owned by the connection's thread. */
struct http_conn {
	struct http_shared *shared; /* borrowed */
	int fd;			    /* borrowed */
	const char *remote;	    /* borrowed */
	int64_t start_ms;
	int64_t stop_deadline_ms; /* 0 = not stopping yet */
	int requests;

	/* received bytes; see the essay of http_conn.c */
	char *data; /* owned */
	size_t cap, len;
	size_t head_len;
	size_t at;

	/* of the request at work */
	struct http_head head;
	enum body_kind body;
	enum chunk_state chunk;
	int64_t left; /* BODY_LENGTH: of the body; BODY_CHUNKED: of the chunk */
	int64_t body_deadline_ms;
	int64_t body_patience_ms; /* of a streamed body, see http_body_some */
	bool body_streamed;
	bool body_done;	  /* wholly read off the connection */
	bool body_broken; /* nothing more can be read */
	bool body_kept;	  /* body_text is it */
	struct str body_text;
	bool expect_pending; /* the client waits for 100 Continue */
	bool answered;
	enum stream_state stream;
	bool stream_chunked;
	bool close;
};

/*
 * Serves all requests of fd (borrowed, non-blocking or not) and shuts it down in both directions. Returns when the
 * client is done, the limits of http_server_opts are reached, or the server stops.
 */
void http_conn_serve(struct http_shared *shared, int fd, const char *remote);

/* Decides about the connection's future (conn->close), marks the request as answered, and builds the head of its answer.
 * framing: a whole field with its CRLF, or "". false: the head is too large; the connection closes. */
bool http_conn_head(struct http_conn *conn, const struct http_answer *answer, const char *framing,
		    struct buf *out);

/* ---- http_conn_io.c: every wait of a connection ---- */

enum io { IO_OK, IO_EOF, IO_TIMEOUT, IO_STOP };

/* Waits until the socket is ready for the events of poll, or the deadline. idle: IO_STOP as soon as the
 * server stops; else a stopping server moves the deadline nearer. */
enum io http_conn_wait(struct http_conn *conn, short events, int64_t deadline_ms, bool idle);
/* Reads some bytes to where the caller says. *out_got > 0 on IO_OK. */
enum io http_conn_read(struct http_conn *conn, void *into, size_t room, int64_t deadline_ms,
		       bool idle, size_t *out_got);
/* Appends to data; the caller made room. */
enum io http_conn_fill(struct http_conn *conn, int64_t deadline_ms, bool idle);
/* All of the parts (which it changes); false when the client is gone or too slow. */
bool http_conn_send(struct http_conn *conn, struct iovec *parts, size_t count, int64_t deadline_ms);

/* ---- http_conn_body.c: http_body, http_body_some, and ---- */

/* Reads away what the handler left of the body; false when the connection must end instead. */
bool http_conn_drain(struct http_conn *conn);

#endif
