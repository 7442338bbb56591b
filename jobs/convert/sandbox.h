/*
 * sandbox: what a converter takes away from itself before it looks at the first byte of a document.
 *
 * Called once by rag-convert, a process of one thread. In the order of sandbox.c: the death of its parent kills it;
 * root becomes nobody; capabilities go; memory, processor time, open files and processes are limited, files cannot be
 * written and no core is left; Landlock closes the file system (to all but what an external tool is loaded
 * from); a seccomp filter refuses the network, new processes, signals to others, and all that changes the system.
 * Landlock is used where the kernel has it. The network is always closed: by the filter, or, on a kernel or a
 * processor without one, by a network namespace; when neither can be had the call fails, and nothing is converted.
 */
#ifndef RAG_JOBS_CONVERT_SANDBOX_H
#define RAG_JOBS_CONVERT_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/err.h"

struct sandbox {
	int64_t memory_bytes; /* address space; not with a sanitizer, which reserves terabytes */
	int64_t cpu_s;
	pid_t parent;	  /* 0 = do not look */
	const char *tool; /* path of the program that will be executed; NULL = none */
};

/* ERR_CONFIG when the process cannot be limited. */
bool sandbox_enter(const struct sandbox *sandbox, struct err *err);

#endif
