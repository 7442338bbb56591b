#include "jobs/spec/zip_dir.h"

#include <string.h>

#define END_BYTES 22 /* the record at the end, without its comment */
#define END_COMMENT_MAX 65535
#define END64_BYTES 56
#define LOCATOR64_BYTES 20
#define ENTRY_BYTES 46
#define LOCAL_BYTES 30
#define FLAG_ENCRYPTED 0x0001U
#define EXTRA_ZIP64 0x0001U

/* ---- numbers, little-endian ---- */

static uint64_t
number(struct str bytes, size_t at, size_t len)
{
	uint64_t value = 0;

	if (at > bytes.len || len > bytes.len - at)
		return 0;
	for (size_t i = len; i > 0; i--)
		value = value << 8 | (unsigned char)bytes.ptr[at + i - 1];
	return value;
}

static bool
has_mark(struct str bytes, uint64_t at, const char *mark, size_t record_bytes)
{
	return at <= bytes.len && record_bytes <= bytes.len - at &&
	       memcmp(bytes.ptr + at, mark, 4) == 0;
}

/* ---- the record at the end ---- */

static bool
find_end(struct str bytes, size_t *out_at)
{
	size_t lowest = bytes.len > END_BYTES + END_COMMENT_MAX
				? bytes.len - END_BYTES - END_COMMENT_MAX
				: 0;

	for (size_t at = bytes.len; at-- > lowest;) {
		if (has_mark(bytes, at, "PK\5\6", END_BYTES) &&
		    at + END_BYTES + number(bytes, at + 20, 2) <= bytes.len) {
			*out_at = at;
			return true;
		}
	}
	return false;
}

struct end_record {
	uint64_t disk, count, dir_bytes, dir_at;
};

static struct end_record
read_end(struct str bytes, size_t at)
{
	struct end_record end = {
		.disk = number(bytes, at + 4, 2),
		.count = number(bytes, at + 10, 2),
		.dir_bytes = number(bytes, at + 12, 4),
		.dir_at = number(bytes, at + 16, 4),
	};
	size_t locator = at - LOCATOR64_BYTES;

	if (at < LOCATOR64_BYTES || !has_mark(bytes, locator, "PK\6\7", LOCATOR64_BYTES))
		return end;

	uint64_t end64 = number(bytes, locator + 8, 8);

	if (!has_mark(bytes, end64, "PK\6\6", END64_BYTES))
		return end;
	at = (size_t)end64;
	return (struct end_record){
		.disk = number(bytes, at + 16, 4),
		.count = number(bytes, at + 32, 8),
		.dir_bytes = number(bytes, at + 40, 8),
		.dir_at = number(bytes, at + 48, 8),
	};
}

bool
zip_dir_open(struct str bytes, struct zip_dir *out, struct err *err)
{
	size_t at = 0;

	if (!find_end(bytes, &at))
		return err_set(
			err, ERR_BAD_DOCUMENT,
			"cannot read the archive: it has no directory at its end (cut off?)");

	struct end_record end = read_end(bytes, at);

	if (end.disk != 0 || end.dir_at > at || end.dir_bytes > at - end.dir_at)
		return err_set(err, ERR_BAD_DOCUMENT,
			       "cannot read the archive: its directory is not where it says");
	if (end.count > ZIP_ENTRIES_MAX)
		return err_set(err, ERR_TOO_LARGE,
			       "cannot read the archive: %llu entries, at most %d are read",
			       (unsigned long long)end.count, ZIP_ENTRIES_MAX);
	*out = (struct zip_dir){
		.bytes = bytes,
		.start = (size_t)end.dir_at,
		.end = (size_t)(end.dir_at + end.dir_bytes),
		.count = (size_t)end.count,
	};
	return true;
}

/* ---- entries ---- */

/* Values too great for 32 bits stand in an extra field, in this order, each only when its place says so. */
static void
read_extra64(struct str extra, struct zip_entry *entry)
{
	uint64_t *const values[] = { &entry->size_bytes, &entry->packed_bytes, &entry->header_at };

	for (size_t at = 0; at + 4 <= extra.len;) {
		size_t len = (size_t)number(extra, at + 2, 2), from = at + 4;

		if (number(extra, at, 2) == EXTRA_ZIP64) {
			for (size_t i = 0; i < 3; i++) {
				if (*values[i] != UINT32_MAX)
					continue;
				if (from + 8 > at + 4 + len)
					return;
				*values[i] = number(extra, from, 8);
				from += 8;
			}
			return;
		}
		at += 4 + len;
	}
}

bool
zip_dir_next(const struct zip_dir *dir, size_t *at, struct zip_entry *out)
{
	struct str bytes = str_sub(dir->bytes, 0, dir->end);
	size_t start = *at ? *at : dir->start;

	if (!has_mark(bytes, start, "PK\1\2", ENTRY_BYTES))
		return false;

	size_t name_len = (size_t)number(bytes, start + 28, 2);
	size_t extra_len = (size_t)number(bytes, start + 30, 2);
	size_t next =
		start + ENTRY_BYTES + name_len + extra_len + (size_t)number(bytes, start + 32, 2);

	if (next > bytes.len)
		return false;
	*out = (struct zip_entry){
		.name = str_sub(bytes, start + ENTRY_BYTES, start + ENTRY_BYTES + name_len),
		.encrypted = (number(bytes, start + 8, 2) & FLAG_ENCRYPTED) != 0,
		.method = (unsigned)number(bytes, start + 10, 2),
		.crc = (uint32_t)number(bytes, start + 16, 4),
		.packed_bytes = number(bytes, start + 20, 4),
		.size_bytes = number(bytes, start + 24, 4),
		.header_at = number(bytes, start + 42, 4),
	};
	read_extra64(str_sub(bytes, start + ENTRY_BYTES + name_len,
			     start + ENTRY_BYTES + name_len + extra_len),
		     out);
	*at = next;
	return true;
}

bool
zip_dir_find(const struct zip_dir *dir, struct str name, struct zip_entry *out)
{
	struct zip_entry entry;

	for (size_t at = 0, i = 0; i < ZIP_ENTRIES_MAX && zip_dir_next(dir, &at, &entry); i++) {
		if (str_eq(entry.name, name)) {
			*out = entry;
			return true;
		}
	}
	return false;
}

bool
zip_dir_packed(const struct zip_dir *dir, const struct zip_entry *entry, struct str *out,
	       struct err *err)
{
	struct str bytes = dir->bytes;

	if (has_mark(bytes, entry->header_at, "PK\3\4", LOCAL_BYTES)) {
		size_t at = (size_t)entry->header_at;
		size_t data = at + LOCAL_BYTES + (size_t)number(bytes, at + 26, 2) +
			      (size_t)number(bytes, at + 28, 2);

		if (data <= bytes.len && entry->packed_bytes <= bytes.len - data) {
			*out = str_sub(bytes, data, data + (size_t)entry->packed_bytes);
			return true;
		}
	}
	return err_set(err, ERR_BAD_DOCUMENT,
		       "cannot read the archive: the bytes of '" STR_FMT "' are not there",
		       STR_ARG(str_sub(entry->name, 0, 80)));
}
