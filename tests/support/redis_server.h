/*
 * redis_server: a real redis-server of a test's own, on a unix socket in a temporary folder, ready
 * when started. Any failure of its own aborts the test. Stopped by pid.
 */
#ifndef RAG_TESTS_SUPPORT_REDIS_SERVER_H
#define RAG_TESTS_SUPPORT_REDIS_SERVER_H

#include <stdbool.h>

#include "common/redis.h"

struct redis_server;

/*
 * extra: NULL-terminated redis-server arguments ("--maxmemory", "10mb", NULL), may be NULL. AOF is on
 * (everysec), maxmemory-policy noeviction, no snapshots. Returns when it answers PING.
 */
struct redis_server *redis_server_start(const char *const *extra);
const char *redis_server_url(const struct redis_server *server); /* unix://... */
int redis_server_pid(const struct redis_server *server);
void redis_server_kill(struct redis_server *server);	/* SIGKILL, waits for it */
void redis_server_restart(struct redis_server *server); /* same folder, socket, arguments; loaded */
void redis_server_stop(struct redis_server *server);	/* removes the folder; NULL is fine */

/* A struct redis to it (caller frees). */
struct redis *redis_server_connect(const struct redis_server *server);

#endif
