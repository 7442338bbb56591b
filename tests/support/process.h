/*
 * process: a program of this project, run by a test as a person would: own environment, stderr in a file, stopped by
 * pid. Asserts on any failure of its own.
 */
#ifndef RAG_TESTS_SUPPORT_PROCESS_H
#define RAG_TESTS_SUPPORT_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

struct process;

/* argv[0] is a name in the build's bin folder, or an absolute path; env: NULL-terminated "NAME=value" added to PATH alone. */
struct process *process_start(const char *const *argv, const char *const *env);
pid_t process_pid(const struct process *process);
void process_signal(const struct process *process, int signal);
/* Waits for the end; the exit code, or 128 + signal. */
int process_wait(struct process *process);
bool process_is_running(struct process *process);
/* What it has written to stderr so far (heap, mem_free). */
char *process_log(const struct process *process);
/* True as soon as stderr holds the text; false after timeout_ms. */
bool process_wait_log(struct process *process, const char *text, int timeout_ms);
/* SIGKILL if it still runs, then forgets it; NULL is fine. */
void process_stop(struct process *process);

/* Calls fn until it is true; fails the test after timeout_ms with `what`. */
void wait_until(bool (*fn)(void *user), void *user, int timeout_ms, const char *what);

/* A TCP port of 127.0.0.1 that nobody listens on at this moment. */
int free_port(void);

#endif
