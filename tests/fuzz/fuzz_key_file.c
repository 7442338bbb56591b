/*
 * fuzz_key_file: any bytes as a file of API keys. What is taken keeps the promises of key_file.h, and is the same when
 * it is written and read again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/mem.h"
#include "common/key_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must_hold(bool holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "broken: %s\n", what);
	abort();
}

static bool
is_same(const struct api_key *a, const struct api_key *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->tenant, b->tenant) == 0 &&
	       strcmp(a->hash, b->hash) == 0 && strcmp(a->hint, b->hint) == 0 &&
	       a->scopes == b->scopes && a->rate_count == b->rate_count &&
	       a->rate_window_s == b->rate_window_s && a->expires_unix_ms == b->expires_unix_ms;
}

static void
check_key(const struct api_key *key)
{
	AUTO(buf) struct buf line = BUF_INIT(4096);
	struct err err = ERR_INIT;
	struct api_key again;

	must_hold(key->name[0] && key->line > 0, "a key has a name and a line");
	must_hold(tenant_valid(str_of(key->tenant), &err), "its tenant is valid");
	must_hold(strlen(key->hash) == 64, "its hash is whole");
	must_hold(key->scopes && !(key->scopes & ~SCOPE_ALL), "it has scopes");
	must_hold(key->rate_count <= 0 || key->rate_window_s > 0, "its rate has a window");
	key_line_format(key, &line);
	must_hold(buf_ok(&line) && key_line_parse(str_make(line.data, line.len), &again, &err),
		  "its line can be read");
	must_hold(is_same(key, &again), "and says the same");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;
	struct api_key *keys;
	int64_t count, window_s;
	unsigned scopes;
	size_t key_count;
	struct str text = str_make((const char *)data, size);

	(void)key_text_is_ours(text);
	(void)scopes_parse(text, &scopes);
	(void)key_rate_parse(text, &count, &window_s, &err);
	if (!key_file_parse("fuzz", text, &keys, &key_count, &err)) {
		must_hold(err.code == ERR_CONFIG && str_starts(str_of(err.msg), "fuzz:"),
			  "a refused file is named with its line");
		return 0;
	}
	for (size_t i = 0; i < key_count; i++)
		check_key(&keys[i]);
	mem_free(keys);
	return 0;
}
