/*
 * keys: files of API keys for tests, which know the keys themselves.
 */
#ifndef RAG_TESTS_SUPPORT_KEYS_H
#define RAG_TESTS_SUPPORT_KEYS_H

struct test_key {
	const char *name, *key;
	const char *options; /* "tenant=a scopes=read"; NULL = none */
};

/* Replaces the file at once (written beside it, renamed), as ragctl does. Rows end with a name of NULL; tail: more text. */
void keys_write(const char *path, const struct test_key *rows, const char *tail);

#endif
