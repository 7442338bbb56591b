/*
 * history: the conversation before a question, as a client sends it with a query:
 *
 *	[{"role": "user", "content": "When do I change the oil?"}, {"role": "assistant", "content": "Every 10,000 km. [1]"}]
 *
 * oldest first. Any order of roles is taken; what a model is told of it is jobs/step/prompt.h's business. Pure.
 */
#ifndef RAG_JOBS_SPEC_HISTORY_H
#define RAG_JOBS_SPEC_HISTORY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define HISTORY_MAX_TURNS 50
#define HISTORY_MAX_CHARS 16000 /* of one turn */
#define HISTORY_MAX_BYTES 65536 /* of all, as compact JSON */

enum history_role { HISTORY_USER, HISTORY_ASSISTANT };

struct history_turn {
	enum history_role role;
	struct str content; /* arena; not only white space */
};

struct history {
	const struct history_turn *turns; /* oldest first */
	size_t count;
};

/* json: text of an array; "" = no history. ERR_INVALID with pointer "/history/3/role". */
bool history_parse(struct str json, struct arena *arena, struct history *out, struct err *err);

#endif
