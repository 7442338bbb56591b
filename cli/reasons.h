/*
 * reasons: why some of many failed or were left out: how often each reason, with one example. One thread.
 */
#ifndef RAG_CLI_REASONS_H
#define RAG_CLI_REASONS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/json.h"

#define REASONS_MAX 12

struct reasons {
	struct reason {
		char *text, *example; /* owned */
		int64_t count;
	} rows[REASONS_MAX];
	size_t count;
	int64_t total; /* those beyond REASONS_MAX different texts included */
};

void reasons_add(struct reasons *reasons, const char *text, const char *example);
void reasons_release(struct reasons *reasons);

/* "  <what>: <reason>: <count> (<example>)", a line each. */
void reasons_print(FILE *out, const char *what, const struct reasons *reasons);
/* "key":[{"reason":...,"count":...,"example":...}] */
void reasons_write(struct jw *w, const char *key, const struct reasons *reasons);

#endif
