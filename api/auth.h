/*
 * auth: who may use the API: keys from a file, hashed.
 *
 * A line is "name:<sha256 of the key, 64 hex digits>"; empty lines and lines that begin with '#' are skipped. A
 * name may stand more than once (two keys while one is replaced). The file is read again when its time, size or
 * inode changed, looked at once a second; a new version that is broken is reported in the log and the keys before it
 * stay. Thread-safe.
 */
#ifndef RAG_API_AUTH_H
#define RAG_API_AUTH_H

#include <stdbool.h>

#include "api/call.h"
#include "common/base/err.h"
#include "common/http_server.h"

struct auth;

/* ERR_CONFIG "<file>:<line>: ..." for a file that cannot be read, has a bad line, or has no key. */
bool auth_open(const char *path, struct auth **out, struct err *err);
void auth_close(struct auth *auth); /* NULL is fine */

/* The key of "Authorization: Bearer <key>" or "X-API-Key: <key>"; ERR_UNAUTHENTICATED. */
bool auth_check(struct auth *auth, const struct http_request *http,
		char out_principal[CALL_PRINCIPAL_BYTES], struct err *err);

#endif
