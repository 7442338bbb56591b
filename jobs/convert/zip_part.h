/*
 * zip_part: the parts of an archive, unpacked piece by piece under one budget. The door of zlib.
 *
 * What an archive says about its sizes is not believed: unpacked bytes are counted as they come, over all parts of
 * a document, so neither one part nor many overlapping ones unpack without end. An archive inside is not opened.
 */
#ifndef RAG_JOBS_CONVERT_ZIP_PART_H
#define RAG_JOBS_CONVERT_ZIP_PART_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "jobs/spec/zip_dir.h"

#define ZIP_UNPACKED_MAX_BYTES ((int64_t)512 << 20)

struct zip_archive {
	struct zip_dir dir;
	int64_t left_bytes; /* of the budget */
};

bool zip_archive_open(struct str bytes, struct zip_archive *out, struct err *err);

/* Gets a part's bytes in order, a few kilobytes at a time; false ends it with its err. */
typedef bool (*zip_sink)(void *user, struct str bytes, struct err *err);

/* Is there a part of this name? */
bool zip_part_exists(const struct zip_archive *archive, struct str name);
/* ERR_BAD_DOCUMENT: not there, encrypted, packed in a way we do not read, damaged; ERR_TOO_LARGE: over budget. */
bool zip_part_each(struct zip_archive *archive, struct str name, zip_sink sink, void *user,
		   struct err *err);
/* All of it in the arena; ERR_TOO_LARGE also above max_bytes. */
bool zip_part_read(struct zip_archive *archive, struct str name, size_t max_bytes,
		   struct arena *arena, struct str *out, struct err *err);

#endif
