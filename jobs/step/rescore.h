/*
 * rescore: the lexical leg of a store that has none: BM25 over the dense leg's hits. What the dense leg has not found, this cannot find: `warnings` of a
 * result say so.
 *
 * How rare a word is cannot be counted in a collection that is not here. Over the candidates alone the question's own subject would look
 * common, since they were chosen for it; so a word's weight is that of built-in lists of English (jobs/provider/word_weight.h) beside its rarity among
 * the candidates. Figures: docs/retrieval.md. Words are as in the built-in embedder: folded, without stop words, stems. Pure.
 */
#ifndef RAG_JOBS_STEP_RESCORE_H
#define RAG_JOBS_STEP_RESCORE_H

#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/str.h"
#include "jobs/store/store.h"

#define RESCORE_DEPTH 400 /* dense hits that are worth looking at: more find hardly more */

enum rescore_rarity {
	RESCORE_BOTH,	    /* as chosen: the product of the two */
	RESCORE_CANDIDATES, /* idf over the candidates */
	RESCORE_LISTS	    /* the built-in lists */
};

/*
 * Fills the lexical leg of hits from its dense one: those that share a word with the question, by falling score, ties by row. Weights: k1, b, title,
 * heading and repeat are used; NULL = lexical_weights_chosen. false: the arena is full.
 */
bool rescore_hits(struct str question, const struct lexical_weights *weights,
		  enum rescore_rarity rarity, struct arena *arena, struct store_hits *hits);

#endif
