/*
 * word_weight: how much a word tells, without a collection to count in: a stand-in for the inverse
 * document frequency, from three built-in lists of English words (stop words, very common, frequent).
 * Pure, thread-safe.
 */
#ifndef RAG_JOBS_PROVIDER_WORD_WEIGHT_H
#define RAG_JOBS_PROVIDER_WORD_WEIGHT_H

#include "common/base/str.h"

/* word: folded, not stemmed. In (0, 1]; 1 for a word in no list. */
float word_weight(struct str word);

#endif
