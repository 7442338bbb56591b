/*
 * key_edit: changes of a file of API keys (common/key_file.h) that nobody loses and nobody sees half done.
 *
 * One change at a time: the folder of the file is locked (flock) from before it is read until it is replaced, so two
 * commands at once both take effect. The new text is written beside the file, synced, and renamed over it; a reader has
 * the old or the new one. A link is followed: what it leads to is replaced. A new file is for its owner alone (0600); one
 * that is there keeps owner, group and the group's right to read, and loses all rights of others. Comments and the order
 * of lines stay. A file that rag-api would refuse is not touched: ERR_CONFIG "<file>:<line>: ...".
 */
#ifndef RAG_CLI_KEY_EDIT_H
#define RAG_CLI_KEY_EDIT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/key_file.h"

/* Says what the new text is: `keys` are those of the old one. false with *err: nothing is changed. */
typedef bool (*key_edit_fn)(void *user, struct str text, const struct api_key *keys, size_t count,
			    struct buf *out, struct err *err);

/* The file may be missing: then its text is empty. */
bool key_edit(const char *path, key_edit_fn edit, void *user, struct err *err);

/* The keys of the file, without a lock; *out is heap. ERR_CONFIG. */
bool key_edit_read(const char *path, struct api_key **out, size_t *out_count, struct err *err);

#endif
