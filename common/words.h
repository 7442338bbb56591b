/*
 * words: the words of a text, for matching and hashing: cutting, folding, stop words, stems.
 *
 * A word is a run of letters and digits (every character from U+00C0 on counts as a letter but
 * punctuation and symbols); an apostrophe inside a word does not end it. Folding makes ASCII, Latin,
 * Greek and Cyrillic letters lower case and takes the accents off Latin ones. Stop words and stems are
 * English. All functions are pure and thread-safe, and the same on every machine.
 */
#ifndef RAG_COMMON_WORDS_H
#define RAG_COMMON_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/str.h"

#define WORDS_MAX_BYTES 64 /* a folded word with its NUL; longer ones are cut */

/* The next word of text from *at on, as a slice of it; *at moves behind it. false: no more. */
bool words_next(struct str text, size_t *at, struct str *out_word);

/* Folds into out (NUL-terminated); the length. */
size_t words_fold(struct str word, char out[WORDS_MAX_BYTES]);

/* word must be folded */
bool words_is_stop(struct str word);

/* Porter's algorithm on a folded word, in place; the new length. Words that are not plain a-z stay. */
size_t words_stem(char *word, size_t len);

#endif
