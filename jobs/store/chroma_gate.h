/*
 * chroma_gate: few writes to a Chroma server at a time. More than two writers make one Chroma two to three times slower and hold its readers up
 * (measured), so the fleet shares `store.chroma_writers` places: a leased place in Redis (common/governor), and before it a place in this process, so
 * that the threads of one worker do not ask Redis in turns.
 *
 * Threads: any. A thread holds one pass at a time. Private to the chroma store.
 */
#ifndef RAG_JOBS_STORE_CHROMA_GATE_H
#define RAG_JOBS_STORE_CHROMA_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/config.h"
#include "jobs/store/store.h"

struct chroma_gate;
bool chroma_gate_new(const struct config *config, struct chroma_gate **out, struct err *err);
void chroma_gate_free(struct chroma_gate *gate); /* NULL is fine; nobody is inside */

struct chroma_pass;
/*
 * Waits for a place: until limits' deadline, at most CHROMA_GATE_WAIT_MS. ERR_STORE_UNAVAILABLE when none came free, ERR_CANCELLED, ERR_DEADLINE,
 * ERR_REDIS_UNAVAILABLE.
 */
#define CHROMA_GATE_WAIT_MS 60000
bool chroma_gate_enter(struct chroma_gate *gate, const struct store_limits *limits,
		       struct chroma_pass **out, struct err *err);
void chroma_gate_leave(struct chroma_gate *gate, struct chroma_pass *pass);

#endif
