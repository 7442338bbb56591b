#include "tests/support/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

#define PROCESS_MAX_ENV 32
#define PROCESS_POLL_MS 10
#define PROCESS_END_MS 120000 /* a limit, not a measure */

struct process {
	pid_t pid;
	int status;
	bool ended;
	char log_path[64];
};

struct process *
process_start(const char *const *argv, const char *const *env)
{
	struct process *process = mem_alloc(sizeof(*process));
	const char *full_env[PROCESS_MAX_ENV + 4] = { "PATH=/usr/local/bin:/usr/bin:/bin" };
	size_t count = 1;
	static char kept[3][1024];
	char program[4096];
	int log;

	/* the sanitizers' settings of the run hold for the programs too */
	for (const char *const *name =
		     (const char *const[]){ "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", NULL };
	     *name; name++) {
		const char *value = getenv(*name);

		if (!value)
			continue;
		(void)snprintf(kept[count - 1], sizeof(kept[0]), "%s=%s", *name, value);
		full_env[count] = kept[count - 1];
		count++;
	}
	for (size_t i = 0; env && env[i]; i++) {
		assert_true(count < PROCESS_MAX_ENV);
		full_env[count++] = env[i];
	}
	(void)snprintf(program, sizeof(program), "%s%s%s", argv[0][0] == '/' ? "" : RAG_BIN_DIR,
		       argv[0][0] == '/' ? "" : "/", argv[0]);
	str_copy(process->log_path, sizeof(process->log_path), STR("/tmp/rag-process-XXXXXX"));
	log = mkostemp(process->log_path, O_CLOEXEC | O_APPEND);
	assert_true(log >= 0);
	process->pid = fork();
	assert_true(process->pid >= 0);
	if (process->pid == 0) {
		/* a test that aborts leaves nothing running */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(log, STDOUT_FILENO);
		dup2(log, STDERR_FILENO);
		/* execve takes char *const[] for historical reasons and changes nothing */
		execve(program, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)full_env);
		_exit(127);
	}
	close(log);
	return process;
}

pid_t
process_pid(const struct process *process)
{
	return process->pid;
}

void
process_signal(const struct process *process, int signal)
{
	assert_int_equal(kill(process->pid, signal), 0);
}

static int
exit_code(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int
process_wait(struct process *process)
{
	int64_t deadline_ms = clock_mono_ms() + PROCESS_END_MS;

	while (process_is_running(process)) {
		if (clock_mono_ms() > deadline_ms) {
			kill(process->pid, SIGKILL);
			fail_msg("process %d did not end within %d ms; its log is %s",
				 (int)process->pid, PROCESS_END_MS, process->log_path);
		}
		clock_sleep_ms(PROCESS_POLL_MS);
	}
	return exit_code(process->status);
}

bool
process_is_running(struct process *process)
{
	if (!process->ended)
		process->ended = waitpid(process->pid, &process->status, WNOHANG) == process->pid;
	return !process->ended;
}

char *
process_log(const struct process *process)
{
	AUTO(buf) struct buf text = BUF_INIT((size_t)64 * 1024 * 1024);
	char piece[8192];
	ssize_t got;
	int fd = open(process->log_path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	while ((got = read(fd, piece, sizeof(piece))) > 0)
		buf_add(&text, piece, (size_t)got);
	close(fd);
	buf_add_str(&text, "");
	return mem_strndup(text.data, text.len);
}

bool
process_wait_log(struct process *process, const char *text, int timeout_ms)
{
	int64_t deadline_ms = clock_mono_ms() + timeout_ms;
	bool found = false;

	while (!found && clock_mono_ms() < deadline_ms) {
		char *log = process_log(process);

		found = strstr(log, text) != NULL;
		mem_free(log);
		if (!found)
			clock_sleep_ms(PROCESS_POLL_MS);
	}
	return found;
}

void
process_stop(struct process *process)
{
	if (!process)
		return;
	if (process_is_running(process)) {
		kill(process->pid, SIGKILL);
		process_wait(process);
	}
	unlink(process->log_path);
	mem_free(process);
}

void
wait_until(bool (*fn)(void *user), void *user, int timeout_ms, const char *what)
{
	int64_t deadline_ms = clock_mono_ms() + timeout_ms;

	while (!fn(user)) {
		if (clock_mono_ms() > deadline_ms)
			fail_msg("not within %d ms: %s", timeout_ms, what);
		clock_sleep_ms(PROCESS_POLL_MS);
	}
}

int
free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	close(fd);
	return ntohs(address.sin_port);
}
