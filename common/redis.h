/*
 * redis: one connection to Redis, commands, pipelines, scripts and subscriptions; the door of hiredis.
 *
 * A `struct redis` connects on first use and reconnects by itself after a failure (a hiredis context
 * cannot be reused after an error), with jitter between attempts, so a Redis that is away makes
 * commands fail fast with ERR_REDIS_UNAVAILABLE instead of hanging. A command is never sent twice
 * behind the caller's back: after a lost reply the caller gets ERR_REDIS_UNAVAILABLE and repeats what is
 * idempotent (all our scripts are). Every call has a timeout.
 * Error replies are translated once, here: OOM -> ERR_REDIS_FULL; LOADING, MASTERDOWN, READONLY,
 * TRYAGAIN, CLUSTERDOWN, MISCONF, UNBLOCKED, NOREPLICAS -> ERR_REDIS_UNAVAILABLE and the connection is
 * dropped (READONLY: a failover happened); anything else -> ERR_REDIS_REPLY with Redis' text as cause
 * (err.detail is REDIS_DETAIL_NOGROUP for NOGROUP, REDIS_DETAIL_DENIED for NOPERM and unknown commands).
 * One thread at a time; `redis_pool` lends connections to threads.
 */
#ifndef RAG_COMMON_REDIS_H
#define RAG_COMMON_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/auto.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define REDIS_DETAIL_NOGROUP 1
#define REDIS_DETAIL_DENIED 2

struct redis;
struct reply; /* one reply tree, heap; free with reply_free */

struct redis_opts {
	const char *
		url; /* redis://[user:pass@]host[:port][/db] or unix://path[?db=N]; "" = 127.0.0.1:6379 */
	int connect_timeout_ms;
	int timeout_ms;		 /* one command; redis_run_blocking adds its own time */
	const char *client_name; /* CLIENT SETNAME; may be NULL */
};

/* Checks the URL (ERR_CONFIG) and copies the options; does not connect. */
bool redis_new(const struct redis_opts *opts, struct redis **out, struct err *err);
void redis_free(struct redis *redis);
AUTO_PTR_DEFINE(redis_free, struct redis);

void redis_disconnect(struct redis *redis); /* the next command connects anew */
bool redis_is_connected(const struct redis *redis);
/* clock_mono_ms() of the beginning of the present unbroken connection; 0 when not connected. */
int64_t redis_connected_since_ms(const struct redis *redis);

/* An argument vector; the strings are borrowed until the command has been run or appended. */
#define REDIS_MAX_ARGS 1024
struct redis_cmd {
	struct str argv[REDIS_MAX_ARGS];
	size_t argc;
	char numbers[64][24]; /* storage for redis_arg_i64 */
	size_t number_count;
	bool overflow; /* more arguments than fit: running it is ERR_INTERNAL */
};

void redis_cmd_init(struct redis_cmd *cmd, const char *name);
void redis_arg(struct redis_cmd *cmd, struct str value);
void redis_arg_c(struct redis_cmd *cmd, const char *value);
void redis_arg_i64(struct redis_cmd *cmd, int64_t value);

/* Error replies are failures (see above). *out_reply may be NULL: the reply is dropped. */
bool redis_run(struct redis *redis, const struct redis_cmd *cmd, struct reply **out_reply,
	       struct err *err);
/* For BLOCK: the socket timeout is block_ms + timeout_ms. A nil reply is a success. */
bool redis_run_blocking(struct redis *redis, const struct redis_cmd *cmd, int block_ms,
			struct reply **out_reply, struct err *err);

/* REDIS_CALL(r, &reply, err, "GET", key): C strings only, all evaluated once. */
bool redis_call_argv(struct redis *redis, const char *const *argv, size_t argc,
		     struct reply **out_reply, struct err *err);
#define REDIS_CALL(redis, out_reply, err, ...)                                                     \
	redis_call_argv((redis), (const char *const[]){ __VA_ARGS__ },                             \
			ARRAY_SIZE(((const char *const[]){ __VA_ARGS__ })), (out_reply), (err))

/* Pipelining: append many, then read as many replies in order. After a failure of redis_next the rest
 * is lost (the connection was dropped). An error reply fails only its own redis_next. */
bool redis_append(struct redis *redis, const struct redis_cmd *cmd, struct err *err);
bool redis_next(struct redis *redis, struct reply **out_reply, struct err *err);

/*
 * Scripts (common/scripts/<name>.lua, embedded at build): EVALSHA, and once EVAL on NOSCRIPT, so two
 * versions can roll at the same time. cmd holds the KEYS and ARGV only:
 *	struct redis_cmd cmd;
 *	redis_script_init(&cmd, SCRIPT_SUBMIT, nkeys); redis_arg(...) the keys, then the arguments;
 *	redis_run_script(redis, &cmd, &reply, err)
 */
struct redis_script {
	const char *name; /* "submit" */
	const char *text; /* Lua, NUL-terminated */
};
void redis_script_init(struct redis_cmd *cmd, const struct redis_script *script, size_t key_count);
bool redis_run_script(struct redis *redis, struct redis_cmd *cmd, const struct redis_script *script,
		      struct reply **out_reply, struct err *err);

/* One script many times in one round trip. fill: writes call i into cmd (redis_script_init and the rest; what it
 * borrows lives until fill is called again). take: gets each reply in order (NULL and the failure, for an error reply);
 * false ends with *err. Calls that found the script unknown are run again one by one, after the others. */
struct redis_many {
	size_t count; /* at most REDIS_MAX_MANY */
	void (*fill)(void *user, size_t i, struct redis_cmd *cmd);
	bool (*take)(void *user, size_t i, const struct reply *reply, const struct err *failure,
		     struct err *err);
	void *user;
};
#define REDIS_MAX_MANY 100
bool redis_run_many(struct redis *redis, const struct redis_script *script,
		    const struct redis_many *many, struct err *err);

/* Subscriptions: after redis_subscribe only redis_wait_message may be called. *out_got is false when
 * nothing came within timeout_ms; both strings borrow from the connection until the next call. */
bool redis_subscribe(struct redis *redis, const char *channel, struct err *err);
bool redis_is_subscribed(const struct redis *redis);
bool redis_wait_message(struct redis *redis, int timeout_ms, bool *out_got, struct str *out_channel,
			struct str *out_message, struct err *err);

/* Replies. Getters check type and shape and never assert on what Redis sent. NULL reply = nil. */
void reply_free(struct reply *reply);
AUTO_PTR_DEFINE(reply_free, struct reply);
bool reply_is_nil(const struct reply *reply);
bool reply_str(const struct reply *reply, struct str *out); /* bulk or status; integers are false */
bool reply_i64(const struct reply *reply, int64_t *out);    /* integer, or a string that is one */
size_t reply_len(const struct reply *reply);		    /* items of an array, else 0 */
const struct reply *reply_at(const struct reply *reply, size_t index); /* NULL past the end */
/* The value after `name` in a flat [name, value, ...] array (HGETALL, XINFO); NULL when absent. */
const struct reply *reply_get(const struct reply *reply, const char *name);
/* false with ERR_REDIS_REPLY "unexpected reply to <what>" */
bool reply_bad(const char *what, struct err *err);

/* A pool of at most `size` connections; thread-safe. Taking waits up to wait_ms, then ERR_OVERLOADED. */
struct redis_pool;
bool redis_pool_new(const struct redis_opts *opts, size_t size, struct redis_pool **out,
		    struct err *err);
void redis_pool_free(struct redis_pool *pool); /* all must have been given back */
bool redis_pool_take(struct redis_pool *pool, int wait_ms, struct redis **out, struct err *err);
void redis_pool_give(struct redis_pool *pool, struct redis *redis); /* NULL is fine */

/* Refuses what would lose jobs: Redis older than 6.2 or maxmemory-policy other than noeviction are
 * ERR_CONFIG; a denied CONFIG or appendonly no gives a text in out_warning ("" = none). */
bool redis_check_server(struct redis *redis, char *out_warning, size_t warning_bytes,
			struct err *err);

/* Bytes that Redis uses, and its maxmemory (0 = no limit); both 0 where INFO is denied. */
bool redis_memory(struct redis *redis, int64_t *out_used_bytes, int64_t *out_maxmemory_bytes,
		  struct err *err);

#endif
