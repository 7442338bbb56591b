#include "tests/support/pty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

#define PTY_MAX_ENV 16
#define PTY_PATIENCE_MS 60000
#define PTY_MAX_TEXT ((size_t)64 << 20)

struct pty {
	pid_t pid;
	int fd, spare; /* spare: the other end, so that the settings can be read after the program's end */
	bool ended;
	int status;
	struct buf text;
	size_t mark;
};

/* The sanitizers' settings of the run hold for the program too. */
static void
add_sanitizers(const char **env, size_t *count)
{
	static char kept[3][1024];
	static const char *const names[] = { "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *value = getenv(names[i]);

		if (!value)
			continue;
		(void)snprintf(kept[i], sizeof(kept[i]), "%s=%s", names[i], value);
		env[(*count)++] = kept[i];
	}
}

struct pty *
pty_start(const char *const *argv, const char *const *env, int columns, int rows)
{
	struct pty *pty = mem_alloc(sizeof(*pty));
	const char *full_env[PTY_MAX_ENV + 8] = { NULL };
	struct winsize size = { .ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows };
	size_t count = 0;
	char program[4096];
	int slave = -1;

	/* of two settings of one name the first one holds */
	for (size_t i = 0; env && env[i]; i++) {
		assert_true(i < PTY_MAX_ENV);
		full_env[count++] = env[i];
	}
	full_env[count++] = "PATH=" RAG_BIN_DIR ":/usr/local/bin:/usr/bin:/bin";
	full_env[count++] = "TERM=xterm";
	full_env[count++] = "LC_ALL=C.UTF-8";
	add_sanitizers(full_env, &count);
	(void)snprintf(program, sizeof(program), "%s%s%s", argv[0][0] == '/' ? "" : RAG_BIN_DIR,
		       argv[0][0] == '/' ? "" : "/", argv[0]);
	buf_init(&pty->text, PTY_MAX_TEXT);
	assert_int_equal(openpty(&pty->fd, &slave, NULL, NULL, &size), 0);
	pty->spare = slave;
	pty->pid = fork();
	assert_true(pty->pid >= 0);
	if (pty->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)close(pty->fd);
		(void)login_tty(slave);
		/* execve takes char *const[] for historical reasons and changes nothing */
		(void)execve(program, (char *const *)(uintptr_t)argv,
			     (char *const *)(uintptr_t)full_env);
		_exit(127);
	}
	assert_int_equal(fcntl(pty->fd, F_SETFL, O_NONBLOCK), 0);
	(void)fcntl(pty->fd, F_SETFD, FD_CLOEXEC);
	(void)fcntl(pty->spare, F_SETFD, FD_CLOEXEC);
	return pty;
}

static void
read_all(struct pty *pty, int wait_ms)
{
	struct pollfd fd = { .fd = pty->fd, .events = POLLIN };
	char piece[8192];
	ssize_t got;

	(void)poll(&fd, 1, wait_ms);
	while ((got = read(pty->fd, piece, sizeof(piece))) > 0)
		buf_add(&pty->text, piece, (size_t)got);
}

static bool
is_running(struct pty *pty)
{
	if (!pty->ended)
		pty->ended = waitpid(pty->pid, &pty->status, WNOHANG) == pty->pid;
	return !pty->ended;
}

void
pty_stop(struct pty *pty)
{
	if (!pty)
		return;
	if (is_running(pty)) {
		(void)kill(pty->pid, SIGKILL);
		(void)waitpid(pty->pid, &pty->status, 0);
	}
	(void)close(pty->fd);
	(void)close(pty->spare);
	buf_release(&pty->text);
	mem_free(pty);
}

void
pty_keys(struct pty *pty, const char *keys)
{
	assert_int_equal(write(pty->fd, keys, strlen(keys)), strlen(keys));
}

void
pty_signal(struct pty *pty, int signal)
{
	assert_int_equal(kill(pty->pid, signal), 0);
}

void
pty_resize(struct pty *pty, int columns, int rows)
{
	struct winsize size = { .ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows };

	assert_int_equal(ioctl(pty->fd, TIOCSWINSZ, &size), 0);
}

const char *
pty_text(struct pty *pty)
{
	read_all(pty, 0);
	return pty->text.data;
}

void
pty_mark(struct pty *pty)
{
	read_all(pty, 0);
	pty->mark = pty->text.len;
}

const char *
pty_wait(struct pty *pty, const char *text)
{
	int64_t until = clock_mono_ms() + PTY_PATIENCE_MS;

	for (;;) {
		bool ended = !is_running(pty);

		read_all(pty, 20);

		const char *at = strstr(pty->text.data + pty->mark, text);

		if (at)
			return at;
		if (ended || clock_mono_ms() > until)
			fail_msg("%s without '%s': %s", ended ? "ended" : "waited", text,
				 pty->text.data + pty->mark);
	}
}

int
pty_end(struct pty *pty)
{
	int64_t until = clock_mono_ms() + PTY_PATIENCE_MS;

	while (is_running(pty)) {
		if (clock_mono_ms() > until)
			fail_msg("does not end: %s", pty->text.data + pty->mark);
		read_all(pty, 20); /* a full terminal would block it */
	}
	read_all(pty, 0);
	return WIFEXITED(pty->status) ? WEXITSTATUS(pty->status) : 128 + WTERMSIG(pty->status);
}

bool
pty_is_cooked(const struct pty *pty)
{
	struct termios now;

	assert_int_equal(tcgetattr(pty->spare, &now), 0);
	return (now.c_lflag & ICANON) && (now.c_lflag & ECHO) && (now.c_lflag & ISIG);
}
