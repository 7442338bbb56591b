/*
 * auth: who may use the API: keys from a file, hashed (common/key_file.h tells its format).
 *
 * The file is read again when its time, size, inode or device changed, looked at once a second: an edit, a rename over
 * it, and a symlink that leads elsewhere now (as Kubernetes changes a mounted secret) are all seen. A new version that
 * is broken is reported in the log and the keys before it stay, as they do when the file is gone; one that holds no key
 * refuses everybody (the last key was revoked). Thread-safe.
 */
#ifndef RAG_API_AUTH_H
#define RAG_API_AUTH_H

#include <stdbool.h>

#include "common/base/err.h"
#include "common/http_server.h"
#include "common/key_file.h"

struct auth;

/* ERR_CONFIG "<file>:<line>: ..." for a file that cannot be read, has a bad line, or has no key. */
bool auth_open(const char *path, struct auth **out, struct err *err);
void auth_close(struct auth *auth); /* NULL is fine */

/* The key of "Authorization: Bearer <key>" or "X-API-Key: <key>"; ERR_UNAUTHENTICATED. */
bool auth_check(struct auth *auth, const struct http_request *http, struct api_key *out,
		struct err *err);

#endif
