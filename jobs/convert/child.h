/*
 * child: one run of a program with a document on its input, from start to end.
 *
 * posix_spawn (vfork and exec: safe in a process with threads), a process group of its own, an empty environment,
 * no descriptor but 0, 1, 2, all signals as new. Its output is collected up to a cap, of its error output the first
 * kilobytes. It is gone, with its group, when child_run returns, whatever happened. Thread-safe.
 */
#ifndef RAG_JOBS_CONVERT_CHILD_H
#define RAG_JOBS_CONVERT_CHILD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

struct child_run {
	const char *const *argv; /* NULL-terminated; argv[0] is a path */
	struct str input;
	int64_t deadline_mono_ms;  /* 0 = none */
	const atomic_bool *cancel; /* NULL = none */
	struct buf *output;	   /* its max is the cap */
	struct buf *errors;	   /* what is above its max is dropped */
};

struct child_end {
	bool too_much;		    /* its output passed the cap */
	int exit_code;		    /* -1: ended by a signal */
	int end_signal;		    /* 0: it ended by itself */
	int64_t cpu_ms, peak_bytes; /* what it took: processor time, resident memory */
};

/* false: it could not be started (ERR_CONFIG when the program is not there), or was stopped: ERR_DEADLINE,
 * ERR_CANCELLED. */
bool child_run(const struct child_run *run, struct child_end *out, struct err *err);

#endif
