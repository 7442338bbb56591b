/*
 * pty: a program on a terminal of its own: what it draws, keys for it, its size and its settings. Asserts on any failure of its
 * own.
 */
#ifndef RAG_TESTS_SUPPORT_PTY_H
#define RAG_TESTS_SUPPORT_PTY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct pty;

/* program: a name in the build's bin folder, or an absolute path; env as for process_start, TERM aside. */
struct pty *pty_start(const char *const *argv, const char *const *env, int columns, int rows);
void pty_stop(struct pty *pty); /* SIGKILL if it still runs */
void pty_keys(struct pty *pty, const char *keys);
void pty_signal(struct pty *pty, int signal);
void pty_resize(struct pty *pty, int columns, int rows);

/* Everything written so far; valid until the next call. */
const char *pty_text(struct pty *pty);
/* Where the next wait begins: what was written before does not count. */
void pty_mark(struct pty *pty);
/* Fails the test when the text does not come within a long time. Returns where it stands. */
const char *pty_wait(struct pty *pty, const char *text);
/* Waits for the end; the exit code, or 128 + signal. */
int pty_end(struct pty *pty);
/* The terminal's lines are edited and shown, as a shell leaves them. */
bool pty_is_cooked(const struct pty *pty);

#endif
