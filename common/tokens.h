/*
 * tokens: how many tokens of a language model a text is, without any model's tokenizer: for budgets and limits. Models differ by
 * some ten percent either way; the estimate is on the high side for prose, so that what fits by it fits. Pure.
 */
#ifndef RAG_COMMON_TOKENS_H
#define RAG_COMMON_TOKENS_H

#include <stdint.h>

#include "common/base/str.h"

/* Four ASCII letters or blanks a token, two digits or signs, two characters of other alphabets, one of CJK and emoji. */
int64_t tokens_estimate(struct str text);

#endif
