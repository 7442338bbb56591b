/*
 * sse_client: a client of event streams for tests: one connection at a time, read event by event, cut anywhere, resumed.
 * It puts the text together as docs/api.md tells a client to. Asserts on any failure of its own.
 */
#ifndef RAG_TESTS_SUPPORT_SSE_CLIENT_H
#define RAG_TESTS_SUPPORT_SSE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/json.h"
#include "common/sse.h"
#include "tests/support/raw_http.h"

struct sse_seen {
	char id[SSE_ID_BYTES], name[SSE_NAME_BYTES];
	char *data; /* owned */
};

struct sse_client {
	/* of the connection */
	struct raw_http raw;
	struct raw_reply head;
	bool open, ended; /* ended: in order, with the last chunk */
	size_t received;  /* bytes of its body */
	size_t limit;	  /* the client is cut after so many bytes of the body; 0 = never */
	struct buf body;  /* of this connection, as it came */
	size_t pings;
	/* of the client */
	struct sse_decoder decoder; /* .id: where to resume */
	struct buf text;
	char job_id[64], status[24]; /* of the last status or done event */
	char reset_reason[32];
	size_t events, resets, connections;
	bool done;
	struct js *result;    /* data of `done` */
	struct sse_seen seen; /* the last event */
};

void sse_client_init(struct sse_client *client);
void sse_client_release(struct sse_client *client);

/* Opens a connection and reads the head of the answer; its status, 0 when nobody is there. header and body may be NULL. With an id to resume
 * from, Last-Event-ID is sent. */
int sse_client_open(struct sse_client *client, int port, const char *method, const char *path,
		    const char *header, const char *body);
/* The next event, applied to the client's text; NULL: the connection has ended, or was cut at the limit. Borrowed until
 * the next call. */
const struct sse_seen *sse_client_next(struct sse_client *client);
/* Reads until an event of this name; fails the test when the stream ends before it. */
const struct sse_seen *sse_client_until(struct sse_client *client, const char *name);
/* Reads to the end of the connection. */
void sse_client_drain(struct sse_client *client);
void sse_client_close(struct sse_client *client);

#endif
