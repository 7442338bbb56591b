/*
 * child: see child.h.
 *
 * Order at the end: look at the leader without reaping it (its number stays taken), kill the group, then reap. So a
 * recycled process number is never hit, and nothing that the leader started outlives it.
 */
#include "jobs/convert/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"

#define LOOK_MS 50 /* how long a cancel may take to be seen */
#define END_LOOK_MS 2
#define READ_BYTES ((size_t)64 * 1024)
#define FIRST_FREE_FD 3

struct fd {
	int number; /* -1 = none */
};

static void
fd_release(struct fd *fd)
{
	if (fd->number >= 0)
		(void)close(fd->number);
	fd->number = -1;
}

/* Above the three that the child gets: dup2 onto those must not hit a source. */
static bool
lift(struct fd *fd)
{
	if (fd->number >= FIRST_FREE_FD)
		return true;

	int above = fcntl(fd->number, F_DUPFD_CLOEXEC, FIRST_FREE_FD);

	if (above < 0)
		return false;
	(void)close(fd->number);
	fd->number = above;
	return true;
}

static bool
make_input(struct str bytes, struct fd *out, struct err *err)
{
	out->number = memfd_create("document", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (out->number < 0 || !lift(out))
		return err_errno(err, errno, "hold the document for its converter");
	for (size_t at = 0; at < bytes.len;) {
		ssize_t n = write(out->number, bytes.ptr + at, bytes.len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_errno(err, n < 0 ? errno : EIO,
					 "hold the document for its converter");
		at += (size_t)n;
	}
	if (lseek(out->number, 0, SEEK_SET) != 0 ||
	    fcntl(out->number, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
		return err_errno(err, errno, "hold the document for its converter");
	return true;
}

static bool
make_pipe(struct fd *out_read, struct fd *out_write, struct err *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return err_errno(err, errno, "make a pipe to the converter");
	out_read->number = ends[0];
	out_write->number = ends[1];
	if (!lift(out_read) || !lift(out_write) ||
	    fcntl(out_read->number, F_SETFL, O_NONBLOCK) != 0)
		return err_errno(err, errno, "make a pipe to the converter");
	return true;
}

/* ---- the start ---- */

static int
spawn_with(const struct child_run *run, const int fds[3], posix_spawn_file_actions_t *actions,
	   posix_spawnattr_t *attributes, pid_t *out)
{
	static char *const no_environment[] = { NULL };
	sigset_t none, all;
	int failed = 0;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)sigdelset(&all, SIGKILL);
	(void)sigdelset(&all, SIGSTOP);
	for (int i = 0; i < 3 && !failed; i++)
		failed = posix_spawn_file_actions_adddup2(actions, fds[i], i);
	if (!failed)
		failed = posix_spawn_file_actions_addclosefrom_np(actions, FIRST_FREE_FD);
	if (!failed)
		failed = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP |
								      POSIX_SPAWN_SETSIGMASK |
								      POSIX_SPAWN_SETSIGDEF);
	if (!failed)
		failed = posix_spawnattr_setpgroup(attributes, 0);
	if (!failed)
		failed = posix_spawnattr_setsigmask(attributes, &none);
	if (!failed)
		failed = posix_spawnattr_setsigdefault(attributes, &all);
	if (failed)
		return failed;
	/* posix_spawn does not write to the arguments; its type is older than const */
	return posix_spawn(out, run->argv[0], actions, attributes,
			   (char *const *)(uintptr_t)run->argv, no_environment);
}

static bool
start(const struct child_run *run, const int fds[3], pid_t *out, struct err *err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int failed = posix_spawn_file_actions_init(&actions);

	if (failed)
		return err_errno(err, failed, "start the converter");
	failed = posix_spawnattr_init(&attributes);
	if (!failed) {
		failed = spawn_with(run, fds, &actions, &attributes, out);
		(void)posix_spawnattr_destroy(&attributes);
	}
	(void)posix_spawn_file_actions_destroy(&actions);
	if (failed == ENOENT || failed == EACCES) {
		err_set(err, ERR_CONFIG, "cannot start the converter: %s",
			failed == ENOENT ? "it is not installed" : "it may not be executed");
		return err_cause(err, "%s: %s", run->argv[0], strerrordesc_np(failed));
	}
	return !failed || err_errno(err, failed, "start the converter");
}

/* ---- its output ---- */

/* false: nothing more will come. */
static bool
drain(struct fd *fd, struct buf *to, bool drop_rest, bool *too_much)
{
	char bytes[4096];
	ssize_t n;

	if (buf_ok(to) && to->max - to->len >= READ_BYTES) {
		char *room = buf_reserve(to, READ_BYTES);

		n = room ? read(fd->number, room, READ_BYTES) : -1;
		if (n > 0)
			buf_commit(to, (size_t)n);
	} else {
		size_t left = to->max - to->len;

		n = read(fd->number, bytes, sizeof(bytes));
		if (n > 0 && (size_t)n > left && !drop_rest)
			*too_much = true;
		if (n > 0)
			buf_add(to, bytes, (size_t)n < left ? (size_t)n : left);
	}
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return true;
	fd_release(fd);
	return false;
}

static bool
stopped(const struct child_run *run, struct err *err)
{
	if (run->cancel && atomic_load(run->cancel)) {
		err_set(err, ERR_CANCELLED, "cancelled");
		return true;
	}
	if (clock_left_ms(run->deadline_mono_ms) > 0)
		return false;
	err_set(err, ERR_DEADLINE, "could not finish the conversion before the job's deadline");
	return true;
}

static bool
collect(const struct child_run *run, struct fd *output, struct fd *errors, bool *too_much,
	struct err *err)
{
	while ((output->number >= 0 || errors->number >= 0) && !*too_much) {
		struct pollfd fds[2] = { { .fd = output->number, .events = POLLIN },
					 { .fd = errors->number, .events = POLLIN } };
		int left = clock_left_ms(run->deadline_mono_ms);

		if (stopped(run, err))
			return false;
		if (poll(fds, 2, left < LOOK_MS ? left : LOOK_MS) <= 0)
			continue;
		if (fds[0].revents)
			(void)drain(output, run->output, false, too_much);
		if (fds[1].revents) {
			bool ignored = false;

			(void)drain(errors, run->errors, true, &ignored);
		}
	}
	return true;
}

/* ---- the end ---- */

/* Waits until the leader has ended, without reaping it. */
static bool
await_end(const struct child_run *run, pid_t pid, struct err *err)
{
	for (;;) {
		siginfo_t info = { 0 };

		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | WNOHANG) != 0 &&
		    errno != EINTR)
			return true;
		if (info.si_pid == pid)
			return true;
		if (stopped(run, err))
			return false;
		clock_sleep_ms(END_LOOK_MS);
	}
}

static void
reap(pid_t pid, struct child_end *out)
{
	struct rusage usage = { 0 };
	int status = 0;

	(void)kill(-pid, SIGKILL);
	(void)kill(pid, SIGKILL);
	while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR)
		;
	out->cpu_ms = (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
		      (int64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
	out->peak_bytes = (int64_t)usage.ru_maxrss * 1024;
	out->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	out->end_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

bool
child_run(const struct child_run *run, struct child_end *out, struct err *err)
{
	AUTO(fd) struct fd input = { -1 };
	AUTO(fd) struct fd output_read = { -1 };
	AUTO(fd) struct fd output_write = { -1 };
	AUTO(fd) struct fd errors_read = { -1 };
	AUTO(fd) struct fd errors_write = { -1 };
	struct child_end end = { 0 };
	pid_t pid;

	if (stopped(run, err) || !make_input(run->input, &input, err) ||
	    !make_pipe(&output_read, &output_write, err) ||
	    !make_pipe(&errors_read, &errors_write, err))
		return false;

	const int fds[3] = { input.number, output_write.number, errors_write.number };

	if (!start(run, fds, &pid, err))
		return false;
	fd_release(&input);
	fd_release(&output_write);
	fd_release(&errors_write);

	bool whole = collect(run, &output_read, &errors_read, &end.too_much, err) &&
		     (end.too_much || await_end(run, pid, err));

	reap(pid, &end);
	if (whole)
		*out = end;
	return whole;
}
