/*
 * config_yaml: the little of YAML that a configuration file needs; the door of libyaml.
 *
 * Nested mappings of scalars. Anchors, aliases, tags, keys that are not scalars and second documents
 * are refused. Every entry is handed to a function as it is read, so the first unknown key ends the
 * reading: no tree is built, and nothing nests deeper than the known settings. The text must be small
 * (CONFIG_FILE_MAX_BYTES): libyaml needs quadratic time for floods of '['. Errors are ERR_CONFIG
 * "<name>:<line>: ...".
 */
#ifndef RAG_COMMON_CONFIG_YAML_H
#define RAG_COMMON_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/err.h"
#include "common/base/str.h"

#define CONFIG_FILE_MAX_BYTES ((size_t)256 * 1024)

enum config_entry_kind {
	CONFIG_SCALAR,
	CONFIG_QUOTED,	/* a scalar in quotes or as a block: text, whatever it looks like */
	CONFIG_MAPPING, /* its members follow as entries of their own */
	CONFIG_SEQUENCE
};

struct config_entry {
	const char *path; /* "api.threads" */
	enum config_entry_kind kind;
	struct str value; /* scalars; may hold NUL bytes */
	size_t line;
};

/* Returning false (err filled) ends the reading. It must refuse sequences. */
typedef bool (*config_entry_fn)(void *user, const struct config_entry *entry, struct err *err);

bool config_yaml_read(struct str text, const char *name, config_entry_fn fn, void *user,
		      struct err *err);

#endif
