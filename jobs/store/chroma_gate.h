/*
 * chroma_gate: few writes to a Chroma server at a time. More than two writers make one Chroma two to three times slower and hold its readers up
 * (measured), so the fleet shares `store.chroma_writers` places: leases in Redis under the server's name (common/governor), and before them as many
 * places in this process, so that the threads of one worker do not all wait in Redis. The same name has a circuit breaker: while Chroma is away, one
 * write tries from time to time and the others are refused at once.
 *
 * Threads: any. A thread holds one pass at a time. Private to the chroma store.
 */
#ifndef RAG_JOBS_STORE_CHROMA_GATE_H
#define RAG_JOBS_STORE_CHROMA_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/config.h"
#include "common/governor.h"
#include "jobs/store/store.h"

struct chroma_gate;
bool chroma_gate_new(const struct config *config, struct chroma_gate **out, struct err *err);
void chroma_gate_free(struct chroma_gate *gate); /* NULL is fine; nobody is inside */

/*
 * Waits for a place, some 15 s at most. ERR_STORE_UNAVAILABLE when none came free or the breaker is open (retry_after_ms says when to come again),
 * ERR_CANCELLED, ERR_DEADLINE, ERR_REDIS_UNAVAILABLE.
 */
struct chroma_pass;
bool chroma_gate_enter(struct chroma_gate *gate, const struct store_limits *limits,
		       struct chroma_pass **out, struct err *err);
/* To be called again and again while the write lasts: it keeps its place. */
void chroma_gate_keep(struct chroma_pass *pass);
/* hint_ms: the server told to come back then; -1 = nothing told. what: one line for people, or NULL. */
void chroma_gate_leave(struct chroma_gate *gate, struct chroma_pass *pass,
		       enum governor_outcome outcome, int64_t hint_ms, const char *what);

/* Sleeps ms, which may be 0. ERR_CANCELLED, ERR_DEADLINE as soon as the limits (NULL = none) say so. */
bool chroma_wait(const struct store_limits *limits, int64_t ms, struct err *err);

#endif
