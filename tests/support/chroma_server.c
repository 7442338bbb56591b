#include "tests/support/chroma_server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/support/folder.h"
#include "tests/support/process.h"

#define START_TIMEOUT_MS 120000
#define CALL_TIMEOUT_MS 60000

struct chroma_server {
	char folder[FOLDER_BYTES];
	int port;
	pid_t pid; /* 0 = not running */
};

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	(void)fprintf(stderr, "chroma_server: %s: %s\n", what, strerror(errno));
	abort();
}

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
	must(http_client_new("test", &client, &err), err.msg);
	return http_client_run(client, &call, reply, &err) ? reply->status : 0;
}

int
chroma_server_call(const struct chroma_server *server, const char *method, const char *path,
		   const char *body, struct http_reply *reply)
{
	return call_for(server, method, path, body, CALL_TIMEOUT_MS, reply);
}

/* The child dies with the test: a test that aborts leaves no server behind. */
static pid_t
spawn(const struct chroma_server *server)
{
	pid_t parent = getpid(), pid;
	char port[16];
	int null;

	must(access(RAG_CHROMA, X_OK) == 0, RAG_CHROMA " (scripts/python-tools.sh makes it)");
	(void)snprintf(port, sizeof(port), "%d", server->port);
	pid = fork();
	must(pid >= 0, "fork");
	if (pid > 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		(void)dup2(null, STDIN_FILENO);
		(void)dup2(null, STDOUT_FILENO);
		(void)dup2(null, STDERR_FILENO);
	}
	(void)setenv("ANONYMIZED_TELEMETRY", "False", 1);
	(void)execl(RAG_CHROMA, "chroma", "run", "--path", server->folder, "--host", "127.0.0.1",
		    "--port", port, (char *)NULL);
	_exit(127);
}

static void
start(struct chroma_server *server)
{
	struct http_reply reply;
	int64_t deadline_ms = clock_mono_ms() + START_TIMEOUT_MS;

	server->pid = spawn(server);
	http_reply_init(&reply, 4096);
	while (call_for(server, "GET", "/heartbeat", "", 1000, &reply) != 200) {
		must(waitpid(server->pid, NULL, WNOHANG) == 0, "chroma ended at once");
		must(clock_mono_ms() < deadline_ms, "chroma is not ready in time");
		clock_sleep_ms(20); /* between polls of the readiness condition */
	}
	http_reply_release(&reply);
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
	if (server->pid == 0)
		return;
	must(kill(server->pid, SIGKILL) == 0, "kill");
	must(waitpid(server->pid, NULL, 0) == server->pid, "waitpid");
	server->pid = 0;
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
chroma_server_configure(const struct chroma_server *server, struct config *config,
			const char *redis_url)
{
	config->store = STORE_CHROMA;
	config->chroma_host = "127.0.0.1";
	config->chroma_port = server->port;
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
