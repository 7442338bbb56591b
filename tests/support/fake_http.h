/*
 * fake_http: a server that answers whatever a test writes: cut, late, garbled. Real bytes on a loopback
 * port, one thread per connection. Failures of its own abort the test program.
 */
#ifndef RAG_TESTS_SUPPORT_FAKE_HTTP_H
#define RAG_TESTS_SUPPORT_FAKE_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/str.h"

struct fake_http;

/* One request, with its body as announced by Content-Length. */
struct fake_request {
	int fd;
	int nth;	 /* of all requests to this server, from 0 */
	int connection;	 /* its number, from 0 */
	struct str head; /* with the empty line */
	struct str body;
	struct fake_http *server;
};

/* Writes to fd what it wants; true keeps the connection for a next request. */
typedef bool (*fake_serve)(const struct fake_request *request, void *user);

struct fake_http *fake_http_start(fake_serve serve, void *user);
int fake_http_port(const struct fake_http *server);
int fake_http_requests(const struct fake_http *server);
void fake_http_stop(struct fake_http *server); /* NULL is fine */

void fake_send(const struct fake_request *request, const char *text);
/* Blocks until the client has closed or the server is stopped. */
void fake_wait_closed(const struct fake_request *request);

#endif
