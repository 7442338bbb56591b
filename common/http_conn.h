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

#include "common/http_server.h"

/* What all connections of one server share. */
struct http_shared {
	/* immutable after start */
	struct http_server_opts opts; /* strings in it are not used */
	int stop_fd;		      /* an eventfd, readable once the server stops */

	atomic_bool stopping;
	atomic_int busy; /* connections being served: each holds a thread */
};

/*
 * Serves all requests of fd (borrowed, non-blocking or not) and shuts it down in both directions. Returns when the
 * client is done, the limits of http_server_opts are reached, or the server stops.
 */
void http_conn_serve(struct http_shared *shared, int fd, const char *remote);

#endif
