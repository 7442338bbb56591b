#include "tests/support/chroma_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "tests/support/folder.h"
#include "tests/support/must.h"
#include "tests/support/process.h"

#define START_TIMEOUT_MS 120000
#define LOOK_TIMEOUT_MS 1000
#define CALL_TIMEOUT_MS 60000

struct chroma_server {
	char folder[FOLDER_BYTES];
	int port;
	struct process *process; /* owned; NULL = not running */
};

static int
call_for(const struct chroma_server *server, const char *method, const char *path, const char *body,
	 int timeout_ms, struct http_reply *reply)
{
	AUTO_PTR(http_client_free) struct http_client *client = NULL;
	struct err err = ERR_INIT;
	char url[1024];
	const struct http_call call = {
		.method = method,
		.url = url,
		.headers = (const char *const[]){ "Content-Type: application/json", NULL },
		.body = str_of(body),
		.connect_timeout_ms = timeout_ms,
		.timeout_ms = timeout_ms,
	};

	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/api/v2%s", server->port, path);
	MUST(http_client_new("test", &client, e));
	return http_client_run(client, &call, reply, &err) ? reply->status : 0;
}

int
chroma_server_call(const struct chroma_server *server, const char *method, const char *path,
		   const char *body, struct http_reply *reply)
{
	return call_for(server, method, path, body, CALL_TIMEOUT_MS, reply);
}

static bool
is_ready(void *user)
{
	struct chroma_server *server = user;
	struct http_reply reply;
	bool ready;

	if (!process_is_running(server->process))
		fail_msg("chroma ended at once");
	http_reply_init(&reply, 4096);
	ready = call_for(server, "GET", "/heartbeat", "", LOOK_TIMEOUT_MS, &reply) == 200;
	http_reply_release(&reply);
	return ready;
}

static void
start(struct chroma_server *server)
{
	char port[16];
	const char *const argv[] = { RAG_CHROMA,     "run",    "--path",
				     server->folder, "--host", "127.0.0.1",
				     "--port",	     port,     NULL };

	(void)snprintf(port, sizeof(port), "%d", server->port);
	if (access(RAG_CHROMA, X_OK) != 0)
		fail_msg("no " RAG_CHROMA ": scripts/python-tools.sh makes it");
	server->process =
		process_start(argv, (const char *const[]){ "ANONYMIZED_TELEMETRY=False", NULL });
	wait_until(is_ready, server, START_TIMEOUT_MS, "chroma is ready");
}

struct chroma_server *
chroma_server_start(void)
{
	struct chroma_server *server = mem_alloc(sizeof(*server));

	folder_make(server->folder);
	server->port = free_port();
	start(server);
	return server;
}

int
chroma_server_port(const struct chroma_server *server)
{
	return server->port;
}

void
chroma_server_kill(struct chroma_server *server)
{
	process_stop(server->process);
	server->process = NULL;
}

void
chroma_server_restart(struct chroma_server *server)
{
	chroma_server_kill(server);
	start(server);
}

void
chroma_server_stop(struct chroma_server *server)
{
	if (!server)
		return;
	chroma_server_kill(server);
	folder_remove(server->folder);
	mem_free(server);
}

void
chroma_configure(struct config *config, int port, const char *redis_url)
{
	config->store = STORE_CHROMA;
	config->chroma_host = "127.0.0.1";
	config->chroma_port = port;
	config->chroma_tenant = "default_tenant";
	config->chroma_database = "default_database";
	config->chroma_prefix = "rag-";
	config->chroma_token.value = "";
	config->chroma_writers = 2;
	config->chroma_batch = 200;
	config->chroma_timeout_ms = CALL_TIMEOUT_MS;
	config->redis_url.value = redis_url;
	config->redis_connect_timeout_ms = 2000;
	config->redis_timeout_ms = 10000;
	config->embedder = EMBEDDER_LOCAL;
}
