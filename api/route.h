/*
 * route: the table of routes, and the way of every request: admit, match, authenticate, check
 * the scope, handle, answer, log, count.
 *
 * A pattern's `{...}` takes one path segment (decoded into call->params in order); `{...}:verb` takes a segment
 * that ends with the verb. The pattern is also the route label of the metrics. Adding a route is one row here, and
 * a path in openapi.json: tests compare it with this table and with what the API answers.
 */
#ifndef RAG_API_ROUTE_H
#define RAG_API_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "api/call.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/http_server.h"

struct route {
	const char *method;
	const char *pattern;
	bool (*handle)(struct call *call, struct err *err);
	/* Which keys may use the row: those with any of the scopes that are named (SCOPE_READ, ...), and the marks
	 * below. A row that names none is refused to every key. */
	unsigned scopes;
};
#define ROUTE_OPERATORS                                                                            \
	0x100u /* only keys of the operators' tenant: what it shows or changes is everybody's */
#define ROUTE_PUBLIC 0x200u /* no key is asked for, and none is looked at */

/* Rows of one pattern stand together; a more special pattern stands before a more general one. */
extern const struct route route_table[];
extern const size_t route_count;

/* The first row whose pattern fits the path; params are raw. NULL: none. */
const struct route *route_match(struct str path, struct str params[CALL_MAX_PARAMS]);
/* The row of the same pattern with this method (HEAD is GET); NULL: none. */
const struct route *route_method(const struct route *first, struct str method);
/* "GET, HEAD, OPTIONS": the methods of the pattern. */
void route_allow(const struct route *first, char *out, size_t out_bytes);

/* http_handler of the API's listener; user is struct api. */
void route_request(const struct http_request *http, void *user);

#endif
