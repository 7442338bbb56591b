/*
 * condense: what to search for when a question leans on the conversation before it ("And how often?"): the question, and behind it the
 * earlier questions that say what it is about. No model is asked.
 *
 * A question leans when it holds a word that points back (it, they, this, there, one, ...) and fewer than CONDENSE_TELLING words that tell
 * something, begins with one that joins (and, but, or, so, then, also, what about, how about), or has fewer than two words that tell
 * something. "there" as first or second word ("Is there a limit?") and "that" behind a word that tells something ("a job that
 * failed") do not point back. Then the user's turns are added from the newest
 * back to one that does not lean itself, at most CONDENSE_TURNS of them. A question in another language than English leans when it has at
 * most CONDENSE_SHORT_WORDS words. Answers are not added: they would pull the search to what was found already. Pure.
 */
#ifndef RAG_JOBS_STEP_CONDENSE_H
#define RAG_JOBS_STEP_CONDENSE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/str.h"
#include "jobs/spec/history.h"

#define CONDENSE_TURNS 3
#define CONDENSE_SHORT_WORDS 3
#define CONDENSE_TELLING 5
#define CONDENSE_TURN_MAX_BYTES 600 /* of an earlier question; the end of a longer one */

/* Does the question point back, as told above? */
bool condense_leans(struct str question);

/* *out: the question itself when it leans on nothing, else arena memory. false: arena full. */
bool condense_question(struct str question, const struct history *history, struct arena *arena,
		       struct str *out);

#endif
