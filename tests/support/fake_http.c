#include "tests/support/fake_http.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/mem.h"

#define CONNECTIONS_MAX 256
#define LOOK_MS 20
#define REQUEST_MAX ((size_t)64 * 1024 * 1024)

struct connection {
	struct fake_http *server; /* borrowed */
	int fd, number;
	pthread_t thread;
};

struct fake_http {
	/* immutable after start */
	fake_serve serve;
	void *user;
	int fd, port;
	pthread_t thread;

	atomic_bool stopping;
	atomic_int requests;

	/* owned by the accepting thread until it has ended */
	struct connection connections[CONNECTIONS_MAX];
	int connection_count;
};

static void
demand(bool holds)
{
	if (!holds)
		abort();
}

/* True when readable; false when the server stops. */
static bool
wait_readable(struct fake_http *server, int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	while (!atomic_load(&server->stopping))
		if (poll(&pfd, 1, LOOK_MS) > 0)
			return true;
	return false;
}

/* Bytes of the body that the head announces. */
static size_t
body_length(struct str head)
{
	struct str line;
	uint64_t length = 0;

	while (str_split(&head, '\n', &line))
		if (str_eq_nocase(str_sub(line, 0, 15), STR("Content-Length:")))
			demand(str_to_u64(str_trim(str_sub(line, 15, line.len)), &length));
	return (size_t)length;
}

/* Reads on until `in` holds a whole request; false at the end of the connection. */
static bool
read_request(struct connection *connection, struct buf *in, struct fake_request *out)
{
	char chunk[65536];

	for (;;) {
		struct str all = str_make(in->data, in->len);
		size_t end = 0;

		if (str_find(all, STR("\r\n\r\n"), &end)) {
			size_t body = body_length(str_sub(all, 0, end));

			out->head = str_sub(all, 0, end + 4);
			out->body = str_sub(all, end + 4, end + 4 + body);
			if (out->body.len == body)
				return true;
		}
		if (!wait_readable(connection->server, connection->fd))
			return false;

		ssize_t got = recv(connection->fd, chunk, sizeof(chunk), 0);

		if (got <= 0)
			return false;
		buf_add(in, chunk, (size_t)got);
		demand(buf_ok(in));
	}
}

static void *
serve_connection(void *arg)
{
	struct connection *connection = arg;
	struct fake_http *server = connection->server;
	AUTO(buf) struct buf in = BUF_INIT(REQUEST_MAX);
	struct fake_request request = { .fd = connection->fd,
					.connection = connection->number,
					.server = server };

	while (read_request(connection, &in, &request)) {
		size_t used = request.head.len + request.body.len;

		request.nth = atomic_fetch_add(&server->requests, 1);
		if (!server->serve(&request, server->user))
			break;
		memmove(in.data, in.data + used, in.len - used);
		buf_truncate(&in, in.len - used);
	}
	shutdown(connection->fd, SHUT_RDWR);
	return NULL;
}

static void *
accept_all(void *arg)
{
	struct fake_http *server = arg;

	while (wait_readable(server, server->fd)) {
		struct connection *connection = &server->connections[server->connection_count];
		int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			continue;
		demand(server->connection_count < CONNECTIONS_MAX);
		*connection = (struct connection){ .server = server,
						   .fd = fd,
						   .number = server->connection_count };
		server->connection_count++;
		demand(pthread_create(&connection->thread, NULL, serve_connection, connection) ==
		       0);
	}
	return NULL;
}

struct fake_http *
fake_http_start(fake_serve serve, void *user)
{
	struct fake_http *server = mem_alloc(sizeof(*server));
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);

	server->serve = serve;
	server->user = user;
	server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	demand(server->fd >= 0 && bind(server->fd, (struct sockaddr *)&at, len) == 0);
	demand(listen(server->fd, 64) == 0);
	demand(getsockname(server->fd, (struct sockaddr *)&at, &len) == 0);
	server->port = ntohs(at.sin_port);
	demand(pthread_create(&server->thread, NULL, accept_all, server) == 0);
	return server;
}

int
fake_http_port(const struct fake_http *server)
{
	return server->port;
}

int
fake_http_requests(const struct fake_http *server)
{
	return atomic_load(&server->requests);
}

void
fake_http_stop(struct fake_http *server)
{
	if (!server)
		return;
	atomic_store(&server->stopping, true);
	pthread_join(server->thread, NULL);
	for (int i = 0; i < server->connection_count; i++) {
		pthread_join(server->connections[i].thread, NULL);
		close(server->connections[i].fd);
	}
	close(server->fd);
	mem_free(server);
}

void
fake_send(const struct fake_request *request, const char *text)
{
	size_t len = strlen(text);

	while (len > 0) {
		ssize_t sent = send(request->fd, text, len, MSG_NOSIGNAL);

		if (sent <= 0)
			return; /* the client is gone: it may */
		text += sent;
		len -= (size_t)sent;
	}
}

void
fake_wait_closed(const struct fake_request *request)
{
	char waste[4096];

	while (wait_readable(request->server, request->fd))
		if (recv(request->fd, waste, sizeof(waste), 0) <= 0)
			return;
}
