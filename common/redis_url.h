/*
 * redis_url: where a Redis is, parsed from its URL. Used by redis.c only; pure, so that it is tested without a
 * server. The password never enters an error text.
 *
 *	redis://[user:pass@]host[:port][/db]	port 6379 and db 0 unless said; [::1] for IPv6; user, password
 *						percent-encoded where needed
 *	unix://path[?db=N]			unix:///run/redis.sock
 *	""					redis://127.0.0.1:6379/0
 */
#ifndef RAG_COMMON_REDIS_URL_H
#define RAG_COMMON_REDIS_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"

struct redis_url {
	bool is_unix;
	char host[256]; /* or the path of the socket (a socket's path has at most 107 bytes) */
	char port[8];
	char user[128]; /* "" = none */
	char pass[512]; /* "" = no login */
	int64_t db;
	char label[288]; /* for causes and logs: "127.0.0.1:6379/0"; without user and password */
};

/* ERR_CONFIG "not a Redis URL: <why>". */
bool redis_url_parse(struct str url, struct redis_url *out, struct err *err);

#endif
