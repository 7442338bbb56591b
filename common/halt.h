/*
 * halt: the two things that end a call before it is done: somebody has raised its cancel flag, or its deadline has passed. Thread-safe.
 */
#ifndef RAG_COMMON_HALT_H
#define RAG_COMMON_HALT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

/* false: ERR_CANCELLED or ERR_DEADLINE. cancel NULL, deadline 0: there is none. */
bool halt_check(const atomic_bool *cancel, int64_t deadline_mono_ms, struct err *err);

/* Sleeps ms, and fails as halt_check within 50 ms of a reason to. */
bool halt_sleep_ms(const atomic_bool *cancel, int64_t deadline_mono_ms, int64_t ms,
		   struct err *err);

#endif
