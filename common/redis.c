/*
 * The socket is ours, the protocol is hiredis'. hiredis' own blocking calls time out per read(2), raise SIGPIPE in
 * the old version and differ between the versions we build with; its reply reader is the same in all of them. So this
 * file connects, sends and polls with exact deadlines, and feeds what arrives to a redisReader.
 *
 * Life of a connection:
 *
 *	closed --connect_now--> open --any failure of the socket, the protocol or the clock--> closed
 *
 * 1. `pending` counts commands sent (or buffered) whose replies have not been read; it is 0 when closed. A reply
 *    therefore always belongs to the oldest unanswered command; a connection on which that might not hold
 *    (timeout, broken reply) is closed.
 * 2. A closed connection fails fast until retry_at_ms: after n failures in a row the wait is random up to
 *    min(RETRY_MAX_MS, RETRY_BASE_MS * 2^n). The first reconnect after a success waits for nothing.
 * 3. Before a command is sent on a connection that has been idle, the socket is looked at: when the server has closed
 *    it meanwhile, we reconnect while nothing is lost yet. Nothing else is ever repeated.
 *
 * A script's SHA-1 is computed once a process and remembered by the address of its text (sha_of).
 */
#include "common/redis.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <hiredis/hiredis.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/redis_url.h"
#include "common/sha256.h"

#define RETRY_BASE_MS 10
#define RETRY_MAX_MS 1000
#define IDLE_CHECK_MS 100	 /* idle for longer: look at the socket before sending */
#define SUBSCRIBED_PING_MS 10000 /* a subscription that hears nothing asks after the peer */
#define OUT_MAX_BYTES ((size_t)1 << 30)
#define OUT_KEEP_BYTES ((size_t)1 << 16) /* a larger send buffer is freed after use */
#define READ_CHUNK_BYTES 16384

struct redis {
	/* immutable */
	struct redis_url url;
	int connect_timeout_ms, timeout_ms;
	char *client_name; /* owned, may be NULL */
	/* the connection */
	int fd; /* -1 = closed */
	redisReader *reader;
	struct buf out;
	size_t out_sent;
	size_t pending;
	int64_t since_ms, last_used_ms;
	/* failures in a row */
	unsigned failures;
	int64_t retry_at_ms;
	char last_cause[512];
	/* a subscription */
	bool subscribed, pinged;
	redisReply *message; /* the last one handed out */
};

/* ---- commands ---- */

void
redis_cmd_init(struct redis_cmd *cmd, const char *name)
{
	cmd->argc = 0;
	cmd->number_count = 0;
	cmd->overflow = false;
	redis_arg_c(cmd, name);
}

void
redis_arg(struct redis_cmd *cmd, struct str value)
{
	if (cmd->argc == REDIS_MAX_ARGS) {
		cmd->overflow = true;
		return;
	}
	cmd->argv[cmd->argc++] = value;
}

void
redis_arg_c(struct redis_cmd *cmd, const char *value)
{
	redis_arg(cmd, str_of(value));
}

void
redis_arg_i64(struct redis_cmd *cmd, int64_t value)
{
	if (cmd->number_count == ARRAY_SIZE(cmd->numbers)) {
		cmd->overflow = true;
		return;
	}

	char *text = cmd->numbers[cmd->number_count++];
	int len = snprintf(text, sizeof(cmd->numbers[0]), "%lld", (long long)value);

	redis_arg(cmd, str_make(text, (size_t)len));
}

static void
add_bulk(struct buf *out, struct str value)
{
	buf_add_char(out, '$');
	buf_add_i64(out, (int64_t)value.len);
	buf_add(out, "\r\n", 2);
	buf_add(out, value.ptr, value.len);
	buf_add(out, "\r\n", 2);
}

static void
add_command(struct buf *out, const struct str *argv, size_t argc)
{
	buf_add_char(out, '*');
	buf_add_i64(out, (int64_t)argc);
	buf_add(out, "\r\n", 2);
	for (size_t i = 0; i < argc; i++)
		add_bulk(out, argv[i]);
}

/* ---- failures ---- */

void
redis_disconnect(struct redis *redis)
{
	if (redis->fd >= 0)
		(void)close(redis->fd);
	if (redis->reader)
		redisReaderFree(redis->reader);
	if (redis->message)
		freeReplyObject(redis->message);
	redis->fd = -1;
	redis->reader = NULL;
	redis->message = NULL;
	redis->subscribed = false;
	redis->pinged = false;
	redis->pending = 0;
	redis->since_ms = 0;
	redis->out_sent = 0;
	buf_clear(&redis->out);
}

static void
count_failure(struct redis *redis)
{
	unsigned shift = redis->failures < 10 ? redis->failures : 10;
	int64_t most = (int64_t)RETRY_BASE_MS << shift;

	if (most > RETRY_MAX_MS)
		most = RETRY_MAX_MS;
	redis->retry_at_ms = 0;
	if (redis->failures > 0)
		redis->retry_at_ms =
			clock_mono_ms() + 1 + (int64_t)(id_random_u64() % (uint64_t)most);
	redis->failures++;
}

/* Closes the connection and fills err: "could not reach Redis: <why>". */
static bool
lost(struct redis *redis, struct err *err, const char *why)
{
	redis_disconnect(redis);
	count_failure(redis);
	(void)snprintf(redis->last_cause, sizeof(redis->last_cause), "%s at %s", why,
		       redis->url.label);
	(void)err_set(err, ERR_REDIS_UNAVAILABLE, "could not reach Redis: %s", why);
	return err_cause(err, "%s", redis->last_cause);
}

static bool
lost_errno(struct redis *redis, struct err *err, int errnum)
{
	const char *text = strerrordesc_np(errnum);

	return lost(redis, err, text ? text : "unknown error");
}

static bool
lost_timeout(struct redis *redis, struct err *err)
{
	return lost(redis, err, "no reply in time");
}

/* ---- what error replies mean ---- */

/* Names of error replies after which this connection is of no use: the server is loading, a replica, cut off... */
static const char *const away_names[] = { "LOADING",	 "MASTERDOWN", "READONLY", "TRYAGAIN",
					  "CLUSTERDOWN", "MISCONF",    "BUSY",	   "UNBLOCKED",
					  "NOREPLICAS",	 "NOAUTH" };

/* An error raised by a command inside a script, as Redis before 7 words it:
 * "ERR Error running script (call to f_...): @user_script:3: -OOM command not allowed ..." */
static struct str
inner_error(struct str text)
{
	size_t at;

	if (str_starts(text, "ERR Error running script") && str_find(text, STR(": -"), &at))
		return str_sub(text, at + 3, text.len);
	return text;
}

static bool
is_named(struct str text, const char *name)
{
	size_t len = strlen(name);

	return str_starts(text, name) && (text.len == len || text.ptr[len] == ' ');
}

static bool
is_denied(struct str text)
{
	return is_named(text, "NOPERM") || str_starts(text, "ERR unknown command") ||
	       str_starts(text, "ERR unknown subcommand");
}

static bool
translate(struct redis *redis, const redisReply *reply, struct err *err)
{
	struct str text = inner_error(str_make(reply->str, reply->len));

	if (is_named(text, "OOM")) {
		(void)err_set(err, ERR_REDIS_FULL, "could not write to Redis: out of memory");
		return err_cause(err, STR_FMT, STR_ARG(text));
	}
	for (size_t i = 0; i < ARRAY_SIZE(away_names); i++) {
		if (!is_named(text, away_names[i]))
			continue;

		char why[64];

		(void)snprintf(why, sizeof(why), "it answers %s", away_names[i]);
		(void)lost(redis, err, why);
		if (strcmp(away_names[i], "NOAUTH") == 0)
			err->detail = REDIS_DETAIL_DENIED;
		return false;
	}
	(void)err_set(err, ERR_REDIS_REPLY, "unexpected reply from the queue");
	if (is_named(text, "NOGROUP"))
		err->detail = REDIS_DETAIL_NOGROUP;
	else if (is_denied(text))
		err->detail = REDIS_DETAIL_DENIED;
	return err_cause(err, STR_FMT, STR_ARG(text));
}

/* ---- bytes ---- */

static bool
send_some(struct redis *redis, struct err *err)
{
	while (redis->out_sent < redis->out.len) {
		ssize_t n = send(redis->fd, redis->out.data + redis->out_sent,
				 redis->out.len - redis->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return true;
		if (n < 0)
			return lost_errno(redis, err, errno);
		redis->out_sent += (size_t)n;
	}
	redis->out_sent = 0;
	if (redis->out.cap > OUT_KEEP_BYTES)
		buf_release(&redis->out);
	else
		buf_clear(&redis->out);
	return true;
}

static bool
receive_some(struct redis *redis, struct err *err)
{
	char chunk[READ_CHUNK_BYTES];
	ssize_t n = recv(redis->fd, chunk, sizeof(chunk), MSG_DONTWAIT);

	if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK))
		return true;
	if (n < 0)
		return lost_errno(redis, err, errno);
	if (n == 0)
		return lost(redis, err, "the connection was closed");
	if (redisReaderFeed(redis->reader, chunk, (size_t)n) != REDIS_OK)
		return lost(redis, err, "the reply was not understood");
	return true;
}

/* Sends what is buffered and reads until one reply is there. A passed deadline is out_timed_out where the caller
 * takes it (the connection stays), else the connection is closed. */
static bool
read_reply(struct redis *redis, int64_t deadline_ms, bool *out_timed_out, redisReply **out,
	   struct err *err)
{
	for (;;) {
		void *reply = NULL;

		if (redisReaderGetReply(redis->reader, &reply) != REDIS_OK)
			return lost(redis, err, "the reply was not understood");
		if (reply) {
			*out = reply;
			redis->last_used_ms = clock_mono_ms();
			return true;
		}
		if (redis->out.len > 0 && !send_some(redis, err))
			return false;

		bool unsent = redis->out.len > 0;
		struct pollfd p = { .fd = redis->fd,
				    .events = (short)(unsent ? POLLIN | POLLOUT : POLLIN) };
		int n = poll(&p, 1, clock_left_ms(deadline_ms));

		if (n < 0 && errno != EINTR)
			return lost_errno(redis, err, errno);
		if (n == 0 && out_timed_out) {
			*out_timed_out = true;
			return true;
		}
		if (n == 0)
			return lost_timeout(redis, err);
		if (n > 0 && (p.revents & ~POLLOUT) != 0 && !receive_some(redis, err))
			return false;
	}
}

/* ---- connecting ---- */

/* Finishes a non-blocking connect: 0, or an errno. */
static int
await_connect(int fd, int64_t deadline_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int n;

	do {
		n = poll(&p, 1, clock_left_ms(deadline_ms));
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return ETIMEDOUT;
	if (n < 0)
		return errno;

	int failure = 0;
	socklen_t len = sizeof(failure);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &len) != 0)
		return errno;
	return failure;
}

/* A connected, non-blocking socket; -1 with *out_errno. */
static int
open_socket(int family, const struct sockaddr *address, socklen_t len, int64_t deadline_ms,
	    int *out_errno)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		*out_errno = errno;
		return -1;
	}

	int failure = 0;

	if (connect(fd, address, len) != 0)
		failure = errno == EINPROGRESS ? await_connect(fd, deadline_ms) : errno;
	if (failure != 0) {
		*out_errno = failure;
		(void)close(fd);
		return -1;
	}
	if (family != AF_UNIX) {
		int on = 1;

		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	}
	return fd;
}

static bool
connect_unix(struct redis *redis, int64_t deadline_ms, struct err *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int failure = 0;

	(void)str_copy(address.sun_path, sizeof(address.sun_path), str_of(redis->url.host));
	redis->fd = open_socket(AF_UNIX, (const struct sockaddr *)&address, sizeof(address),
				deadline_ms, &failure);
	return redis->fd >= 0 || lost_errno(redis, err, failure);
}

static bool
connect_tcp(struct redis *redis, int64_t deadline_ms, struct err *err)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	int failure = ECONNREFUSED;

	if (getaddrinfo(redis->url.host, redis->url.port, &hints, &list) != 0)
		return lost(redis, err, "its host name was not resolved");
	for (struct addrinfo *at = list; at && redis->fd < 0; at = at->ai_next)
		redis->fd = open_socket(at->ai_family, at->ai_addr, at->ai_addrlen, deadline_ms,
					&failure);
	freeaddrinfo(list);
	return redis->fd >= 0 || lost_errno(redis, err, failure);
}

static bool
set_up_command(struct redis *redis, const char *const *argv, size_t argc, bool needed,
	       int64_t deadline_ms, struct err *err)
{
	struct str args[4];
	redisReply *reply = NULL;

	assert(argc <= ARRAY_SIZE(args));
	for (size_t i = 0; i < argc; i++)
		args[i] = str_of(argv[i]);
	add_command(&redis->out, args, argc);
	if (!read_reply(redis, deadline_ms, NULL, &reply, err))
		return false;

	bool ok = reply->type != REDIS_REPLY_ERROR || !needed;

	if (!ok)
		(void)translate(redis, reply, err);
	freeReplyObject(reply);
	return ok;
}

#define SET_UP(needed, ...)                                                                        \
	set_up_command(redis, (const char *const[]){ __VA_ARGS__ },                                \
		       ARRAY_SIZE(((const char *const[]){ __VA_ARGS__ })), (needed), deadline_ms,  \
		       err)

/* Login, database and name of a fresh connection. */
static bool
set_up(struct redis *redis, int64_t deadline_ms, struct err *err)
{
	const struct redis_url *url = &redis->url;
	char db[24];

	if (url->pass[0] && url->user[0] && !SET_UP(true, "AUTH", url->user, url->pass))
		return false;
	if (url->pass[0] && !url->user[0] && !SET_UP(true, "AUTH", url->pass))
		return false;
	(void)snprintf(db, sizeof(db), "%lld", (long long)url->db);
	if (url->db != 0 && !SET_UP(true, "SELECT", db))
		return false;
	return !redis->client_name || SET_UP(false, "CLIENT", "SETNAME", redis->client_name);
}

static bool
connect_now(struct redis *redis, struct err *err)
{
	int64_t deadline_ms = clock_mono_ms() + redis->connect_timeout_ms;
	bool ok = redis->url.is_unix ? connect_unix(redis, deadline_ms, err)
				     : connect_tcp(redis, deadline_ms, err);

	if (!ok)
		return false;
	redis->reader = redisReaderCreate();
	if (!redis->reader)
		return lost(redis, err, "out of memory");
	if (!set_up(redis, deadline_ms, err)) {
		if (err->code ==
		    ERR_REDIS_REPLY) { /* login or database refused: an operator's business */
			struct err refused = *err;

			(void)lost(redis, err, "it refuses the login or the database");
			err->detail = REDIS_DETAIL_DENIED;
			(void)err_cause(err, "%s: %s", redis->url.label, refused.cause);
		}
		return false;
	}
	redis->since_ms = clock_mono_ms();
	redis->last_used_ms = redis->since_ms;
	return true;
}

/* Whether the server has closed an idle connection, or sent what nobody asked for. */
static bool
gone_while_idle(const struct redis *redis)
{
	char c;

	if (redis->pending > 0 || redis->out.len > 0 ||
	    clock_mono_ms() - redis->last_used_ms < IDLE_CHECK_MS)
		return false;

	ssize_t n = recv(redis->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);

	return !(n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR));
}

static bool
ensure_connected(struct redis *redis, struct err *err)
{
	if (redis->fd >= 0 && gone_while_idle(redis))
		redis_disconnect(redis);
	if (redis->fd >= 0)
		return true;

	int64_t wait_ms = redis->retry_at_ms - clock_mono_ms();

	if (redis->retry_at_ms != 0 && wait_ms > 0) {
		(void)err_set(err, ERR_REDIS_UNAVAILABLE,
			      "could not reach Redis: waiting before the next attempt");
		err->retry_after_ms = wait_ms;
		return err_cause(err, "last failure: %s", redis->last_cause);
	}
	return connect_now(redis, err);
}

/* ---- running commands ---- */

/* Takes the oldest unanswered reply. */
static bool
next_reply(struct redis *redis, int timeout_ms, struct reply **out_reply, struct err *err)
{
	redisReply *reply = NULL;

	if (!read_reply(redis, clock_mono_ms() + timeout_ms, NULL, &reply, err))
		return false;
	assert(reply); /* no time out without out_timed_out */
	redis->pending--;

	bool ok = reply->type != REDIS_REPLY_ERROR || translate(redis, reply, err);

	if (ok || redis->fd >= 0) {
		redis->failures = 0;
		redis->retry_at_ms = 0;
	}
	if (ok && out_reply)
		*out_reply = (struct reply *)(void *)reply;
	else
		freeReplyObject(reply);
	return ok;
}

/* Reads and drops what an abandoned pipeline left behind. */
static bool
drop_pending(struct redis *redis, struct err *err)
{
	int64_t deadline_ms = clock_mono_ms() + redis->timeout_ms;

	while (redis->fd >= 0 && redis->pending > 0) {
		redisReply *reply = NULL;

		if (!read_reply(redis, deadline_ms, NULL, &reply, err))
			return false;
		redis->pending--;
		freeReplyObject(reply);
	}
	return true;
}

static bool
append_args(struct redis *redis, const struct str *argv, size_t argc, struct err *err)
{
	if (redis->subscribed)
		return err_set(err, ERR_INTERNAL, "this connection to Redis only listens");
	if (!ensure_connected(redis, err))
		return false;
	add_command(&redis->out, argv, argc);
	if (!buf_ok(&redis->out)) {
		redis_disconnect(redis);
		return err_set(err, ERR_TOO_LARGE, "cannot send to Redis: more than %zu bytes",
			       OUT_MAX_BYTES);
	}
	redis->pending++;
	return redis->out.len < OUT_KEEP_BYTES || send_some(redis, err);
}

bool
redis_append(struct redis *redis, const struct redis_cmd *cmd, struct err *err)
{
	if (cmd->overflow)
		return err_set(err, ERR_INTERNAL, "too many arguments for one Redis command");
	return append_args(redis, cmd->argv, cmd->argc, err);
}

bool
redis_next(struct redis *redis, struct reply **out_reply, struct err *err)
{
	if (redis->fd < 0 || redis->pending == 0) {
		(void)err_set(err, ERR_REDIS_UNAVAILABLE,
			      "could not reach Redis: the connection was lost");
		return err_cause(err, "%s", redis->last_cause);
	}
	return next_reply(redis, redis->timeout_ms, out_reply, err);
}

bool
redis_run_blocking(struct redis *redis, const struct redis_cmd *cmd, int block_ms,
		   struct reply **out_reply, struct err *err)
{
	return drop_pending(redis, err) && redis_append(redis, cmd, err) &&
	       next_reply(redis, redis->timeout_ms + block_ms, out_reply, err);
}

bool
redis_run(struct redis *redis, const struct redis_cmd *cmd, struct reply **out_reply,
	  struct err *err)
{
	return redis_run_blocking(redis, cmd, 0, out_reply, err);
}

bool
redis_call_argv(struct redis *redis, const char *const *argv, size_t argc, struct reply **out_reply,
		struct err *err)
{
	struct str args[32];

	if (argc > ARRAY_SIZE(args))
		return err_set(err, ERR_INTERNAL, "too many arguments for one Redis command");
	for (size_t i = 0; i < argc; i++)
		args[i] = str_of(argv[i]);
	return drop_pending(redis, err) && append_args(redis, args, argc, err) &&
	       next_reply(redis, redis->timeout_ms, out_reply, err);
}

/* ---- scripts ---- */

struct known_sha {
	_Atomic(const char *) text; /* set last, with release */
	char sha[SHA1_HEX_BYTES];
};

/* Shared by all threads: slots are filled in order, under the lock, and never change. */
static struct known_sha known_shas[64];
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *
remember_sha(const char *text)
{
	char sha[SHA1_HEX_BYTES];
	const char *found = NULL;

	sha1_hex(str_of(text), sha);
	(void)pthread_mutex_lock(&known_lock);
	for (size_t i = 0; i < ARRAY_SIZE(known_shas) && !found; i++) {
		const char *at = atomic_load(&known_shas[i].text);

		if (!at) {
			(void)str_copy(known_shas[i].sha, SHA1_HEX_BYTES, str_of(sha));
			atomic_store_explicit(&known_shas[i].text, text, memory_order_release);
		}
		if (!at || at == text)
			found = known_shas[i].sha;
	}
	(void)pthread_mutex_unlock(&known_lock);
	return found;
}

/* NULL when the table is full: then EVAL carries the text. */
static const char *
sha_of(const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(known_shas); i++) {
		const char *at = atomic_load_explicit(&known_shas[i].text, memory_order_acquire);

		if (at == text)
			return known_shas[i].sha;
		if (!at)
			break;
	}
	return remember_sha(text);
}

void
redis_script_init(struct redis_cmd *cmd, const struct redis_script *script, size_t key_count)
{
	const char *sha = sha_of(script->text);

	redis_cmd_init(cmd, sha ? "EVALSHA" : "EVAL");
	redis_arg_c(cmd, sha ? sha : script->text);
	redis_arg_i64(cmd, (int64_t)key_count);
}

bool
redis_run_script(struct redis *redis, struct redis_cmd *cmd, const struct redis_script *script,
		 struct reply **out_reply, struct err *err)
{
	struct err first = ERR_INIT;

	if (redis_run(redis, cmd, out_reply, &first))
		return true;
	if (first.code == ERR_REDIS_REPLY && str_starts(str_of(first.cause), "NOSCRIPT") &&
	    cmd->argc >= 2) {
		cmd->argv[0] = STR("EVAL");
		cmd->argv[1] = str_of(script->text);
		err_clear(&first);
		if (redis_run(redis, cmd, out_reply, &first))
			return true;
	}
	*err = first;
	return err_wrap(err, "script %s", script->name);
}

static bool
is_noscript(const struct err *err)
{
	return err->code == ERR_REDIS_REPLY && str_starts(str_of(err->cause), "NOSCRIPT");
}

/* The replies of a pipeline; *out_unknown marks the calls that found no script. All are read, so that the connection
 * stays in step, whatever take says. */
static bool
take_many(struct redis *redis, const struct redis_many *many, bool *out_unknown, struct err *err)
{
	bool ok = true;

	for (size_t i = 0; i < many->count; i++) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		struct err failure = ERR_INIT;

		out_unknown[i] = false;
		if (redis_next(redis, &reply, &failure)) {
			ok = ok && many->take(many->user, i, reply, NULL, err);
			continue;
		}
		if (failure.code == ERR_REDIS_UNAVAILABLE) {
			if (ok)
				*err = failure;
			return false;
		}
		out_unknown[i] = is_noscript(&failure);
		if (!out_unknown[i])
			ok = ok && many->take(many->user, i, NULL, &failure, err);
	}
	return ok;
}

bool
redis_run_many(struct redis *redis, const struct redis_script *script,
	       const struct redis_many *many, struct err *err)
{
	bool unknown[REDIS_MAX_MANY];
	struct redis_cmd cmd;

	assert(many->count <= REDIS_MAX_MANY);
	for (size_t i = 0; i < many->count; i++) {
		many->fill(many->user, i, &cmd);
		if (!redis_append(redis, &cmd, err))
			return err_wrap(err, "script %s", script->name);
	}
	if (!take_many(redis, many, unknown, err))
		return err_wrap(err, "script %s", script->name);
	for (size_t i = 0; i < many->count; i++) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		struct err failure = ERR_INIT;
		bool ran;

		if (!unknown[i])
			continue;
		many->fill(many->user, i, &cmd);
		ran = redis_run_script(redis, &cmd, script, &reply, &failure);
		if (!ran && failure.code == ERR_REDIS_UNAVAILABLE) {
			*err = failure;
			return false;
		}
		if (!many->take(many->user, i, ran ? reply : NULL, ran ? NULL : &failure, err))
			return false;
	}
	return true;
}

/* ---- subscriptions ---- */

bool
redis_subscribe(struct redis *redis, const char *channel, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;

	if (!REDIS_CALL(redis, &reply, err, "SUBSCRIBE", channel))
		return false;
	redis->subscribed = true;
	return true;
}

bool
redis_is_subscribed(const struct redis *redis)
{
	return redis->subscribed;
}

/* One thing pushed by the server: a message is kept in redis->message, anything else is dropped. */
static bool
take_push(struct redis *redis, int64_t deadline_ms, bool *out_timed_out, bool *out_got,
	  struct err *err)
{
	redisReply *reply = NULL;

	if (!read_reply(redis, deadline_ms, out_timed_out, &reply, err))
		return false;
	if (!reply)
		return true;
	redis->pinged = false;
	if (reply->type == REDIS_REPLY_ERROR) {
		(void)translate(redis, reply, err);
		freeReplyObject(reply);
		if (redis->fd >= 0)
			redis_disconnect(redis);
		return false;
	}

	const struct reply *push = (const struct reply *)(const void *)reply;
	struct str kind;

	if (reply_len(push) == 3 && reply_str(reply_at(push, 0), &kind) &&
	    str_eq_c(kind, "message")) {
		redis->message = reply;
		*out_got = true;
		return true;
	}
	freeReplyObject(reply);
	return true;
}

/* Asks after a peer that has been silent; it is lost when it does not answer within the timeout. */
static bool
check_silence(struct redis *redis, struct err *err)
{
	int64_t silent_ms = clock_mono_ms() - redis->last_used_ms;

	if (redis->pinged && silent_ms > SUBSCRIBED_PING_MS + redis->timeout_ms)
		return lost_timeout(redis, err);
	if (!redis->pinged && silent_ms > SUBSCRIBED_PING_MS) {
		add_command(&redis->out, &STR("PING"), 1);
		redis->pinged = true;
	}
	return true;
}

bool
redis_wait_message(struct redis *redis, int timeout_ms, bool *out_got, struct str *out_channel,
		   struct str *out_message, struct err *err)
{
	int64_t deadline_ms = clock_mono_ms() + timeout_ms;
	bool got = false, timed_out = false;

	if (!redis->subscribed) {
		(void)err_set(err, ERR_REDIS_UNAVAILABLE,
			      "could not reach Redis: the subscription was lost");
		return err_cause(err, "%s", redis->last_cause);
	}
	if (redis->message)
		freeReplyObject(redis->message);
	redis->message = NULL;
	if (!check_silence(redis, err))
		return false;
	while (!got && !timed_out) {
		if (!take_push(redis, deadline_ms, &timed_out, &got, err))
			return false;
	}
	if (got) {
		const struct reply *push = (const struct reply *)(const void *)redis->message;
		struct str channel, message;

		if (!reply_str(reply_at(push, 1), &channel) ||
		    !reply_str(reply_at(push, 2), &message))
			return lost(redis, err, "the reply was not understood");
		*out_channel = channel;
		*out_message = message;
	}
	*out_got = got;
	return true;
}

/* ---- replies ---- */

static const redisReply *
raw(const struct reply *reply)
{
	return (const redisReply *)(const void *)reply;
}

void
reply_free(struct reply *reply)
{
	if (reply)
		freeReplyObject(reply);
}

bool
reply_is_nil(const struct reply *reply)
{
	return !reply || raw(reply)->type == REDIS_REPLY_NIL;
}

bool
reply_str(const struct reply *reply, struct str *out)
{
	if (!reply ||
	    (raw(reply)->type != REDIS_REPLY_STRING && raw(reply)->type != REDIS_REPLY_STATUS))
		return false;
	*out = str_make(raw(reply)->str, raw(reply)->len);
	return true;
}

bool
reply_i64(const struct reply *reply, int64_t *out)
{
	struct str text;

	if (reply && raw(reply)->type == REDIS_REPLY_INTEGER) {
		*out = raw(reply)->integer;
		return true;
	}
	return reply_str(reply, &text) && str_to_i64(text, INT64_MIN, INT64_MAX, out);
}

size_t
reply_len(const struct reply *reply)
{
	return reply && raw(reply)->type == REDIS_REPLY_ARRAY ? raw(reply)->elements : 0;
}

const struct reply *
reply_at(const struct reply *reply, size_t index)
{
	if (index >= reply_len(reply))
		return NULL;
	return (const struct reply *)(const void *)raw(reply)->element[index];
}

const struct reply *
reply_get(const struct reply *reply, const char *name)
{
	size_t len = reply_len(reply);

	for (size_t i = 0; i + 1 < len; i += 2) {
		struct str key;

		if (reply_str(reply_at(reply, i), &key) && str_eq_c(key, name))
			return reply_at(reply, i + 1);
	}
	return NULL;
}

bool
reply_bad(const char *what, struct err *err)
{
	return err_set(err, ERR_REDIS_REPLY, "unexpected reply to %s", what);
}

/* ---- the server's settings ---- */

/* The value of "name:value\r\n" in an INFO text. */
static bool
info_value(struct str info, const char *name, struct str *out)
{
	struct str line;

	while (str_split(&info, '\n', &line)) {
		size_t len = strlen(name);

		line = str_trim(line);
		if (str_starts(line, name) && line.len > len && line.ptr[len] == ':') {
			*out = str_sub(line, len + 1, line.len);
			return true;
		}
	}
	return false;
}

static bool
check_version(struct redis *redis, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct str info, version, major_text, minor_text;
	int64_t major, minor;

	if (!REDIS_CALL(redis, &reply, err, "INFO", "server"))
		return false;
	if (!reply_str(reply, &info) || !info_value(info, "redis_version", &version))
		return reply_bad("INFO", err);

	struct str rest = version;

	if (!str_split(&rest, '.', &major_text) || !str_split(&rest, '.', &minor_text) ||
	    !str_to_i64(major_text, 0, 1000, &major) || !str_to_i64(minor_text, 0, 1000, &minor))
		return reply_bad("INFO", err);
	if (major < 6 || (major == 6 && minor < 2))
		return err_set(err, ERR_CONFIG,
			       "cannot work with Redis " STR_FMT ": 6.2 or newer is needed",
			       STR_ARG(version));
	return true;
}

/* CONFIG GET name; *out_denied when Redis does not let us ask. */
static bool
config_get(struct redis *redis, const char *name, struct reply **out_reply, struct str *out_value,
	   bool *out_denied, struct err *err)
{
	struct err first = ERR_INIT;

	if (!REDIS_CALL(redis, out_reply, &first, "CONFIG", "GET", name)) {
		*out_denied = first.code == ERR_REDIS_REPLY && first.detail == REDIS_DETAIL_DENIED;
		if (!*out_denied)
			*err = first;
		return *out_denied;
	}
	*out_denied = !reply_str(reply_get(*out_reply, name), out_value);
	return true;
}

bool
redis_check_server(struct redis *redis, char *out_warning, size_t warning_bytes, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *policy_reply = NULL;
	AUTO_PTR(reply_free) struct reply *aof_reply = NULL;
	struct str policy = { 0 }, aof = { 0 };
	bool denied = false;
	const char *warning = "";

	if (!check_version(redis, err) ||
	    !config_get(redis, "maxmemory-policy", &policy_reply, &policy, &denied, err))
		return false;
	if (!denied && !str_eq_c(policy, "noeviction"))
		return err_set(err, ERR_CONFIG,
			       "cannot work with Redis' maxmemory-policy '" STR_FMT
			       "': it must be 'noeviction', or jobs are lost",
			       STR_ARG(policy));
	if (!denied && !config_get(redis, "appendonly", &aof_reply, &aof, &denied, err))
		return false;
	if (denied)
		warning =
			"Redis does not let us read its settings: make sure that maxmemory-policy "
			"is noeviction and appendonly is yes";
	else if (!str_eq_c(aof, "yes"))
		warning = "Redis runs with appendonly no: jobs are lost when it restarts";
	(void)str_copy(out_warning, warning_bytes, str_of(warning));
	return true;
}

/* ---- life ---- */

/* CLIENT SETNAME takes printable characters without spaces. */
static char *
clean_name(const char *name)
{
	char *copy = mem_strdup(name);

	for (char *p = copy; *p; p++) {
		if (*p <= ' ' || *p > '~')
			*p = '_';
	}
	return copy;
}

bool
redis_new(const struct redis_opts *opts, struct redis **out, struct err *err)
{
	struct redis_url url;

	if (!redis_url_parse(str_of(opts->url), &url, err))
		return false;

	struct redis *redis = mem_alloc(sizeof(*redis));

	redis->url = url;
	redis->connect_timeout_ms = opts->connect_timeout_ms > 0 ? opts->connect_timeout_ms : 2000;
	redis->timeout_ms = opts->timeout_ms > 0 ? opts->timeout_ms : 5000;
	redis->client_name = opts->client_name ? clean_name(opts->client_name) : NULL;
	redis->fd = -1;
	buf_init(&redis->out, OUT_MAX_BYTES);
	*out = redis;
	return true;
}

void
redis_free(struct redis *redis)
{
	if (!redis)
		return;
	redis_disconnect(redis);
	buf_release(&redis->out);
	explicit_bzero(redis->url.pass, sizeof(redis->url.pass));
	mem_free(redis->client_name);
	mem_free(redis);
}

bool
redis_is_connected(const struct redis *redis)
{
	return redis->fd >= 0;
}

int64_t
redis_connected_since_ms(const struct redis *redis)
{
	return redis->fd >= 0 ? redis->since_ms : 0;
}
