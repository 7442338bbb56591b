/*
 * The door of civetweb. What civetweb does here: it listens, accepts, queues and keeps the pool of
 * threads. What it does not do: read requests or write answers; that is http_conn.c. The reason is
 * the list of measurements below (civetweb 1.15 and 1.16 as Debian ships them; both sources read):
 * half of them cannot be repaired from outside of its request loop.
 *
 *	finding					answer
 *	----------------------------------	------------------------------------------------------
 *	one thread per connection for its	at most max_connection_requests and max_connection_ms,
 *	life; keep-alive has no limit: more	small keep_alive_ms, and when every thread is taken a
 *	busy clients than threads starve	connection gives its thread back after 100 ms
 *	headers: the timeout starts again for	one absolute deadline per state of a connection, never
 *	each read, bodies trickle for ever in	moved by received bytes
 *	mg_read, idle connections hold a
 *	thread for request_timeout_ms
 *	one timeout setting for reading and	separate deadlines
 *	writing, head and body
 *	Content-Length + Transfer-Encoding,	400 and close (http_head.c)
 *	two lengths, "5x" as length accepted
 *	headers after the 64th silently		431 after 100 fields
 *	dropped (a length may be among them)
 *	unknown methods are "Bad request"	any token reaches the handler
 *	bare LF, folded lines, blank before	400 and close
 *	the colon accepted
 *	Expect: 100-continue never answered	answered before the body is read; 413 instead when the
 *						announced length is too large
 *	no limit of a body			http_body's limit; grown by what came, not by what was
 *						announced
 *	answers in two writes without		one sendmsg of head and body; tcp_nodelay 1
 *	tcp_nodelay: 44 ms each
 *	closes with unread bytes: a reset	shutdown, then a bounded read until the client is done
 *	that can destroy the answer
 *	decodes paths, cleans "//" and "..",	paths come raw; http_path_decode does one segment
 *	accepts %00
 *	files, listings, CGI, websockets,	never reached: its own request loop sees no byte of a
 *	error pages of its own			client, and it has no document_root
 *	mg_write sends nothing once mg_stop	our own socket calls: requests in progress end first
 *	was called
 *	mg_stop waits for a poll of up to 2 s	the listening socket is shut down first, which ends
 *	in its accept loop			that poll (and refuses new clients at once)
 *	TLS crashes with OpenSSL 3 (1.15)	no TLS; a proxy in front does it
 *	IPv6 not built in			ERR_CONFIG that says so (mg_check_feature)
 *	a failing bind says only "failed"	the same bind is tried here before, for its errno
 *
 * The hand-over: civetweb calls init_connection on the connection's thread before it reads anything.
 * There the connection is served until its end; when the callback returns, civetweb reads end of file
 * from the socket that was shut down and closes it. Its request callbacks refuse whatever may be left in
 * the receive buffer (nothing could be sent any more either).
 *
 * civetweb does not tell the socket of a connection, and at that moment not even its peer
 * (mg_get_request_info wants a request). So the address is found where civetweb has put it:
 * mg_set_user_connection_data writes into the field conn_data of the public struct mg_request_info, which
 * lies inside the connection; the place where the mark appears and disappears gives the struct, for every
 * version and build (http_server_start tries it on a connection to itself). The socket is then the one descriptor of this process with that peer and our port. It
 * is duplicated for our use, so that no mistake could ever read from a descriptor that has a new owner.
 */
#include "common/http_server.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <civetweb.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "common/base/mem.h"
#include "common/http_conn.h"

#define INFO_SEARCH_BYTES 1024 /* struct mg_request_info begins within them */
#define BACKLOG "511"
#define QUEUE_EXTRA 64 /* accepted connections that wait for a thread */
#define SELF_CHECK_MS 5000
#define FD_MARGIN 64 /* descriptors above the highest seen that are tried, too */

struct http_server {
	struct http_shared shared;
	struct mg_context *ctx; /* owned */
	int port;
	struct sockaddr_storage address; /* as bound */
	atomic_int top_fd;		 /* sockets are below it, as far as is known */
	atomic_int last_fd;		 /* of the newest connection */
	atomic_bool blind;		 /* connections do not show their address */
};

/* mg_init_library and mg_exit_library count, but not atomically. */
static pthread_mutex_t library_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- which socket is it ---- */

/* The request info inside of a connection (see above), or NULL. */
static const struct mg_request_info *
find_info(const struct mg_connection *mg)
{
	static const char mark[1];
	const unsigned char *base = (const unsigned char *)mg;
	union {
		const char *in;
		void *out;
	} value = { .in = mark };
	const struct mg_request_info *found = NULL;

	mg_set_user_connection_data(mg, value.out);
	for (size_t at = 0; at < INFO_SEARCH_BYTES && !found; at += alignof(void *)) {
		const void *field = NULL;

		memcpy(&field, base + at + offsetof(struct mg_request_info, conn_data),
		       sizeof(field));
		if (field == mark)
			found = (const struct mg_request_info *)(const void *)(base + at);
	}
	mg_set_user_connection_data(mg, NULL);
	return found && found->conn_data == NULL ? found : NULL;
}

static int
port_of(const struct sockaddr_storage *address)
{
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;

	if (address->ss_family == AF_INET)
		return ntohs(v4->sin_port);
	return address->ss_family == AF_INET6 ? ntohs(v6->sin6_port) : -1;
}

static bool
host_of(const struct sockaddr_storage *address, char text[INET6_ADDRSTRLEN])
{
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;
	const void *ip = address->ss_family == AF_INET ? (const void *)&v4->sin_addr
						       : (const void *)&v6->sin6_addr;

	return inet_ntop(address->ss_family, ip, text, INET6_ADDRSTRLEN) != NULL;
}

/* The same address, whether or not it is written as IPv4 in IPv6 or with the name of an interface. */
static bool
is_same_host(const char *one, const char *two)
{
	const struct str mapped = STR("::ffff:");
	struct str a = str_of(one), b = str_of(two);

	a = str_sub(a, str_starts(a, mapped.ptr) ? mapped.len : 0, strcspn(one, "%"));
	b = str_sub(b, str_starts(b, mapped.ptr) ? mapped.len : 0, strcspn(two, "%"));
	return str_eq_nocase(a, b);
}

static bool
is_connection(int fd, const struct mg_request_info *info)
{
	struct sockaddr_storage peer = { 0 }, local = { 0 };
	socklen_t peer_len = sizeof(peer), local_len = sizeof(local);
	char text[INET6_ADDRSTRLEN];

	/* the port tells nearly all others apart, at the price of one call each */
	return getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0 &&
	       port_of(&peer) == info->remote_port && host_of(&peer, text) &&
	       is_same_host(text, info->remote_addr) &&
	       getsockname(fd, (struct sockaddr *)&local, &local_len) == 0 &&
	       port_of(&local) == info->server_port;
}

static bool
is_listener(int fd, const struct sockaddr_storage *address)
{
	struct sockaddr_storage local = { 0 };
	socklen_t len = sizeof(local), flag_len = sizeof(int);
	int listening = 0;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &flag_len) == 0 && listening &&
	       getsockname(fd, (struct sockaddr *)&local, &len) == 0 &&
	       memcmp(&local, address, sizeof(local)) == 0;
}

/* ---- civetweb's callbacks ---- */

/* Looks in [from, to); -1 when it is not there. */
static int
search_range(const struct mg_request_info *info, int from, int to)
{
	for (int fd = from; fd < to; fd++)
		if (is_connection(fd, info))
			return fd;
	return -1;
}

/*
 * Looked for from where the last one was, since neighbours arrive together, then among all numbers known to
 * be in use. Whoever is not found there has a higher number, or has reset the connection already (then it
 * has no peer any more): the list of all descriptors tells, since counting up to the limit may take a
 * million calls.
 */
static int
find_socket(struct http_server *server, const struct mg_request_info *info)
{
	int top = atomic_load(&server->top_fd), last = atomic_load(&server->last_fd);
	int fd = search_range(info, last, top);

	if (fd < 0)
		fd = search_range(info, 0, last);

	DIR *dir = fd < 0 ? opendir("/proc/self/fd") : NULL;

	// NOLINTNEXTLINE(concurrency-mt-unsafe): one thread reads this stream; other streams do not matter in glibc
	for (struct dirent *entry = NULL; dir && fd < 0 && (entry = readdir(dir)) != NULL;) {
		int64_t number = 0;

		if (str_to_i64(str_of(entry->d_name), top, INT_MAX - FD_MARGIN, &number) &&
		    is_connection((int)number, info))
			fd = (int)number;
	}
	if (dir)
		closedir(dir);
	while (fd >= top - FD_MARGIN / 2 &&
	       !atomic_compare_exchange_weak(&server->top_fd, &top, fd + FD_MARGIN))
		;
	if (fd >= 0)
		atomic_store(&server->last_fd, fd);
	return fd;
}

static int
on_connection(const struct mg_connection *mg, void **conn_data)
{
	struct http_server *server = mg_get_user_data(mg_get_context(mg));
	const struct mg_request_info *info = find_info(mg);

	*conn_data = NULL;
	if (!info) { /* self_check tells: this never happens to a client */
		atomic_store(&server->blind, true);
		return 0;
	}

	int fd = find_socket(server, info);

	if (fd < 0)
		return 0; /* the client is gone */

	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (own < 0) {
		shutdown(fd, SHUT_RDWR);
		return 0;
	}
	http_conn_serve(&server->shared, own, info->remote_addr);
	close(own);
	return 0;
}

/* What civetweb reads by itself is left over from a connection that has ended. */
static int
on_request(struct mg_connection *mg)
{
	(void)mg;
	return 400;
}

static int
on_error(struct mg_connection *mg, int status, const char *text)
{
	(void)mg, (void)status, (void)text;
	return 0;
}

/* Of its log lines none is news: a failed start has been explained by try_bind. */
static int
on_log(const struct mg_connection *mg, const char *text)
{
	(void)mg, (void)text;
	return 1;
}

/* ---- start ---- */

/* Binds once to learn whether it works, and why not. *out: the address civetweb is to bind. */
static bool
try_bind(const struct http_server_opts *opts, struct sockaddr_storage *out, struct err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE },
			*found = NULL;
	char host[256], service[16];
	bool loopback = false;
	int port = 0, on = 1;

	if (!http_listen_parse(opts->listen, host, &port, &loopback, err))
		return err_wrap(err, "%s listener", opts->name);
	if (strchr(host, ':') == NULL)
		hints.ai_family = AF_INET;
	(void)snprintf(service, sizeof(service), "%d", port);

	int failed = getaddrinfo(host, service, &hints, &found);

	if (failed)
		return err_set(err, ERR_CONFIG,
			       "%s listener: could not find the address of '%s': %s", opts->name,
			       host, gai_strerror(failed));
	memcpy(out, found->ai_addr, found->ai_addrlen);

	int family = found->ai_family;
	socklen_t len = found->ai_addrlen;

	freeaddrinfo(found);
	if (family == AF_INET6 && !mg_check_feature(MG_FEATURES_IPV6))
		return err_set(
			err, ERR_CONFIG,
			"%s listener: cannot listen on '%s': the installed civetweb has no IPv6",
			opts->name, opts->listen);

	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int problem = 0;

	if (fd < 0)
		return err_errno(err, errno, "open a socket for the %s listener", opts->name);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)out, len) != 0 || listen(fd, 1) != 0)
		problem = errno;
	close(fd);
	if (problem) {
		err_errno(err, problem, "listen on '%s' for %s", opts->listen, opts->name);
		err->code = ERR_CONFIG;
		return false;
	}
	return true;
}

static bool
start_library(struct http_server *server, const char *ports, struct err *err)
{
	const struct http_server_opts *opts = &server->shared.opts;
	struct mg_callbacks callbacks = {
		.init_connection = on_connection,
		.begin_request = on_request,
		.http_error = on_error,
		.log_message = on_log,
		.log_access = on_log,
	};
	char threads[16], queue[16], text[256] = "";
	const char *settings[] = { "listening_ports",
				   ports,
				   "num_threads",
				   threads,
				   "connection_queue",
				   queue,
				   "listen_backlog",
				   BACKLOG,
				   "tcp_nodelay",
				   "1",
				   "enable_keep_alive",
				   "no",
				   "request_timeout_ms",
				   "1000",
				   "max_request_size",
				   "1024",
				   "decode_url",
				   "no",
				   "enable_directory_listing",
				   "no",
				   "enable_auth_domain_check",
				   "no",
				   NULL };
	struct mg_init_data init = { .callbacks = &callbacks,
				     .user_data = server,
				     .configuration_options = settings };
	struct mg_error_data error = { .text = text, .text_buffer_size = sizeof(text) };

	(void)snprintf(threads, sizeof(threads), "%d", opts->threads);
	(void)snprintf(queue, sizeof(queue), "%d", opts->threads + QUEUE_EXTRA);
	pthread_mutex_lock(&library_lock);
	mg_init_library(MG_FEATURES_DEFAULT);
	pthread_mutex_unlock(&library_lock);
	server->ctx = mg_start2(&init, &error);
	if (!server->ctx)
		return err_set(err, ERR_CONFIG, "could not listen on '%s' for %s: %s", opts->listen,
			       opts->name, text);
	return true;
}

/*
 * One connection to ourselves that ends at once. When it has been served, the way from civetweb's
 * connections to their sockets works with the library that is installed.
 */
static bool
self_check(const struct http_server *server, struct err *err)
{
	struct sockaddr_storage to = server->address;
	struct sockaddr_in *v4 = (void *)&to;
	struct sockaddr_in6 *v6 = (void *)&to;
	struct pollfd pfd = { .fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0),
			      .events = POLLIN };

	if (to.ss_family == AF_INET && v4->sin_addr.s_addr == htonl(INADDR_ANY))
		v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else if (to.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr))
		v6->sin6_addr = in6addr_loopback;
	if (pfd.fd < 0)
		return err_errno(err, errno, "open a socket for the %s listener",
				 server->shared.opts.name);
	if (connect(pfd.fd, (struct sockaddr *)&to, sizeof(to)) == 0) {
		shutdown(pfd.fd, SHUT_WR);
		poll(&pfd, 1, SELF_CHECK_MS); /* until it is closed, by whomever */
	}
	close(pfd.fd);
	if (atomic_load(&server->blind))
		return err_set(err, ERR_INTERNAL, "cannot serve HTTP with civetweb %s: %s",
			       mg_version(), "its connections do not show their peers");
	return true;
}

bool
http_server_start(const struct http_server_opts *opts, struct http_server **out, struct err *err)
{
	struct sockaddr_storage address = { 0 };
	struct mg_server_port bound = { 0 };
	char text[INET6_ADDRSTRLEN] = "", ports[80];

	assert(opts->handler && opts->threads > 0 && opts->max_header_bytes >= 256);
	if (!try_bind(opts, &address, err))
		return false;
	host_of(&address, text);
	(void)snprintf(ports, sizeof(ports), address.ss_family == AF_INET6 ? "[%s]:%d" : "%s:%d",
		       text, port_of(&address));

	struct http_server *server = mem_alloc(sizeof(*server));

	server->shared.opts = *opts;
	atomic_store(&server->top_fd, FD_MARGIN);
	server->shared.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server->shared.stop_fd < 0) {
		err_errno(err, errno, "make the stop signal of the %s listener", opts->name);
		mem_free(server);
		return false;
	}
	if (!start_library(server, ports, err)) {
		http_server_stop(server);
		return false;
	}
	mg_get_server_ports(server->ctx, 1, &bound);
	server->port = bound.port;
	if (address.ss_family == AF_INET6)
		((struct sockaddr_in6 *)(void *)&address)->sin6_port = htons((uint16_t)bound.port);
	else
		((struct sockaddr_in *)(void *)&address)->sin_port = htons((uint16_t)bound.port);
	server->address = address;
	if (!self_check(server, err)) {
		http_server_stop(server);
		return false;
	}
	*out = server;
	return true;
}

int
http_server_port(const struct http_server *server)
{
	return server->port;
}

/* Ends civetweb's wait for new connections; they are refused from now on. */
static void
shut_listener(const struct http_server *server)
{
	DIR *dir = opendir("/proc/self/fd");
	int64_t fd = 0;

	// NOLINTNEXTLINE(concurrency-mt-unsafe): as in search_listing
	for (struct dirent *entry = NULL; dir && (entry = readdir(dir)) != NULL;)
		if (str_to_i64(str_of(entry->d_name), 0, INT_MAX, &fd) &&
		    is_listener((int)fd, &server->address))
			shutdown((int)fd, SHUT_RDWR);
	if (dir)
		closedir(dir);
}

void
http_server_stop(struct http_server *server)
{
	if (!server)
		return;
	if (server->ctx) {
		uint64_t one = 1;
		ssize_t written = 0;

		atomic_store(&server->shared.stopping, true);
		written = write(server->shared.stop_fd, &one, sizeof(one));
		assert(written == sizeof(one));
		(void)written;
		shut_listener(server);
		mg_stop(server->ctx);
	}
	pthread_mutex_lock(&library_lock);
	mg_exit_library();
	pthread_mutex_unlock(&library_lock);
	close(server->shared.stop_fd);
	mem_free(server);
}
