#include "tests/support/redis_server.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

#define START_TIMEOUT_MS 20000
#define MAX_ARGS 64

struct redis_server {
	char folder[64];
	char socket[96];
	char url[112];
	const char *extra[MAX_ARGS]; /* borrowed strings, NULL-terminated */
	pid_t pid;		     /* 0 = not running */
};

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	(void)fprintf(stderr, "redis_server: %s: %s\n", what, strerror(errno));
	abort();
}

/* Copies are the child's: they go with it. */
static void
arguments(const struct redis_server *server, char **argv)
{
	const char *const own[] = { "redis-server",
				    "--port",
				    "0",
				    "--unixsocket",
				    server->socket,
				    "--dir",
				    server->folder,
				    "--appendonly",
				    "yes",
				    "--appendfsync",
				    "everysec",
				    "--save",
				    "",
				    "--maxmemory-policy",
				    "noeviction",
				    "--logfile",
				    "redis.log" };
	size_t argc = 0;

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		argv[argc++] = mem_strdup(own[i]);
	for (size_t i = 0; server->extra[i]; i++)
		argv[argc++] = mem_strdup(server->extra[i]);
	argv[argc] = NULL;
}

/* The child dies with the test: a test that aborts leaves no server behind. */
static pid_t
spawn(const struct redis_server *server)
{
	char *argv[MAX_ARGS + 32];
	pid_t parent = getpid();
	pid_t pid = fork();

	must(pid >= 0, "fork");
	if (pid > 0)
		return pid;
	arguments(server, argv);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);

	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		(void)dup2(null, STDIN_FILENO);
		(void)dup2(null, STDOUT_FILENO);
	}

	(void)execvp(argv[0], argv);
	_exit(127);
}

static void
await_ready(struct redis_server *server)
{
	int64_t deadline_ms = clock_mono_ms() + START_TIMEOUT_MS;
	struct redis *redis = redis_server_connect(server);
	struct err err = ERR_INIT;

	while (!REDIS_CALL(redis, NULL, &err, "PING")) {
		must(waitpid(server->pid, NULL, WNOHANG) == 0, "redis-server ended at once");
		must(clock_mono_ms() < deadline_ms, "redis-server is not ready in time");
		clock_sleep_ms(2); /* between polls of the readiness condition */
	}
	redis_free(redis);
}

static void
start(struct redis_server *server)
{
	server->pid = spawn(server);
	await_ready(server);
}

struct redis_server *
redis_server_start(const char *const *extra)
{
	struct redis_server *server = mem_alloc(sizeof(*server));

	/* in memory where there is such a place: a busy disk stalls a server that appends to a file */
	(void)snprintf(server->folder, sizeof(server->folder), "%s/rag-test-redis-XXXXXX",
		       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	must(mkdtemp(server->folder) != NULL, "mkdtemp");
	(void)snprintf(server->socket, sizeof(server->socket), "%s/redis.sock", server->folder);
	(void)snprintf(server->url, sizeof(server->url), "unix://%s", server->socket);
	for (size_t i = 0; extra && extra[i]; i++) {
		must(i + 1 < MAX_ARGS, "too many arguments");
		server->extra[i] = extra[i];
	}
	start(server);
	return server;
}

const char *
redis_server_url(const struct redis_server *server)
{
	return server->url;
}

int
redis_server_pid(const struct redis_server *server)
{
	return server->pid;
}

void
redis_server_kill(struct redis_server *server)
{
	if (server->pid == 0)
		return;
	must(kill(server->pid, SIGKILL) == 0, "kill");
	must(waitpid(server->pid, NULL, 0) == server->pid, "waitpid");
	server->pid = 0;
}

void
redis_server_restart(struct redis_server *server)
{
	redis_server_kill(server);
	(void)unlink(server->socket);
	start(server);
}

static int
remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
	(void)info;
	(void)type;
	(void)walk;
	return remove(path);
}

void
redis_server_stop(struct redis_server *server)
{
	if (!server)
		return;
	redis_server_kill(server);
	(void)nftw(server->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	mem_free(server);
}

struct redis *
redis_server_connect(const struct redis_server *server)
{
	struct redis_opts opts = { .url = server->url,
				   .connect_timeout_ms = 2000,
				   .timeout_ms = 10000 };
	struct redis *redis = NULL;
	struct err err = ERR_INIT;

	must(redis_new(&opts, &redis, &err), err.msg);
	return redis;
}
