/*
 * files: which files an ingest sends, and under which ids.
 *
 * The id of a document is its path from the last part of the given PATH on, so it does not depend on
 * where the command runs. Files come sorted by id. Memory: the names only, some 200 bytes a file.
 */
#ifndef RAG_CLI_FILES_H
#define RAG_CLI_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"
#include "cli/reasons.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/sha256.h"

#define FILES_MAX_DEPTH 64
#define FILES_ID_MAX_BYTES 256 /* the engine's limit */

struct file {
	char *path;			   /* absolute; owned */
	char *id;			   /* owned */
	const char *rel;		   /* path below the given PATH; points into id */
	const char *type;		   /* media type */
	char known_hash[SHA256_HEX_BYTES]; /* of the collection's version; "" = none */
};

struct files {
	struct file *items; /* owned; sorted by id */
	size_t count, room;
	struct reasons skipped, failed;
};

/* The media type by the ending of a name; NULL when the ending is not known. */
const char *files_type(const char *name);

/* Collects cli->args by cli->options. Fails when a PATH does not exist, or two files would have one id. */
bool files_collect(const struct cli *cli, struct files *files, struct err *err);
void files_release(struct files *files);
struct file *files_find(const struct files *files, struct str id); /* NULL = none */

#endif
