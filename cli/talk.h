/*
 * talk: a conversation in a file: a JSON array of turns, as the engine takes it with a question (`history`). ragctl query --conversation
 * sends it and adds the question and its answer, so that the next question can lean on them.
 *
 * The file is replaced, never half written; the oldest turns leave it when it is longer than what the engine takes.
 */
#ifndef RAG_CLI_TALK_H
#define RAG_CLI_TALK_H

#include <stdbool.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/json.h"

#define TALK_MAX_TURNS 50    /* the engine's limits, docs/api.md */
#define TALK_MAX_BYTES 65536 /* as compact JSON */
#define TALK_MAX_CHARS 16000 /* of a turn; the rest of a longer answer is left out */

/* *out: the array; an empty one when there is no such file. ERR_CONFIG for a file that is none. */
bool talk_read(const char *path, struct js **out, struct err *err);

/* Adds both turns to `talk` and replaces the file. */
bool talk_add(const char *path, const struct js *talk, struct str question, struct str answer,
	      struct err *err);

#endif
