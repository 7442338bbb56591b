/*
 * zip_dir: the list of what a ZIP archive holds, from its central directory. Reads, never unpacks.
 *
 * Shared by the API (telling a DOCX from an XLSX) and by the converters. Everything borrows from the archive's bytes;
 * nothing is allocated. An archive with more than ZIP_ENTRIES_MAX entries, in several volumes, or whose directory
 * does not lie where it says, is refused. Thread-safe.
 */
#ifndef RAG_JOBS_SPEC_ZIP_DIR_H
#define RAG_JOBS_SPEC_ZIP_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"

#define ZIP_ENTRIES_MAX 20000

enum zip_method { ZIP_STORED = 0, ZIP_DEFLATED = 8 };

struct zip_entry {
	struct str name; /* as it stands there: any bytes */
	unsigned method; /* enum zip_method, or one that we do not read */
	bool encrypted;
	uint64_t packed_bytes, size_bytes; /* as the directory says: not to be trusted */
	uint64_t header_at;		   /* of the entry's local header */
	uint32_t crc;
};

struct zip_dir {
	struct str bytes; /* the archive */
	size_t start, end;
	size_t count;
};

/* ERR_BAD_DOCUMENT: no directory (cut off, no archive), or a broken one. */
bool zip_dir_open(struct str bytes, struct zip_dir *out, struct err *err);
/* *at: 0 before the first entry. false: no more (err untouched when it is the end). */
bool zip_dir_next(const struct zip_dir *dir, size_t *at, struct zip_entry *out);
/* The first entry of this name. */
bool zip_dir_find(const struct zip_dir *dir, struct str name, struct zip_entry *out);
/* The entry's bytes as they are packed; ERR_BAD_DOCUMENT when they are not all there. */
bool zip_dir_packed(const struct zip_dir *dir, const struct zip_entry *entry, struct str *out,
		    struct err *err);

#endif
