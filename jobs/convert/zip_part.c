#include "jobs/convert/zip_part.h"

#include <string.h>
#include <zlib.h>

#include "common/base/auto.h"
#include "common/base/buf.h"

#define PIECE_BYTES ((size_t)32768)
#define NAME_SHOWN_BYTES 80

bool
zip_archive_open(struct str bytes, struct zip_archive *out, struct err *err)
{
	out->left_bytes = ZIP_UNPACKED_MAX_BYTES;
	return zip_dir_open(bytes, &out->dir, err);
}

bool
zip_part_exists(const struct zip_archive *archive, struct str name)
{
	struct zip_entry entry;

	return zip_dir_find(&archive->dir, name, &entry);
}

static bool
spend(struct zip_archive *archive, size_t bytes, struct err *err)
{
	if ((int64_t)bytes > archive->left_bytes)
		return err_set(err, ERR_TOO_LARGE,
			       "cannot unpack the document: its parts have more than %lld bytes",
			       (long long)ZIP_UNPACKED_MAX_BYTES);
	archive->left_bytes -= (int64_t)bytes;
	return true;
}

struct unpacking {
	struct zip_archive *archive;
	const struct zip_entry *entry;
	z_stream stream;
	uLong crc;
};

static void
unpacking_release(struct unpacking *unpacking)
{
	(void)inflateEnd(&unpacking->stream);
}

static bool
damaged(const struct zip_entry *entry, struct err *err)
{
	return err_set(err, ERR_BAD_DOCUMENT,
		       "cannot read the document: its part '" STR_FMT "' is damaged",
		       STR_ARG(str_sub(entry->name, 0, NAME_SHOWN_BYTES)));
}

static bool
pass(struct unpacking *unpacking, struct str piece, zip_sink sink, void *user, struct err *err)
{
	if (!spend(unpacking->archive, piece.len, err))
		return false;
	unpacking->crc = crc32(unpacking->crc, (const Bytef *)piece.ptr, (uInt)piece.len);
	return piece.len == 0 || sink(user, piece, err);
}

static bool
inflate_all(struct unpacking *unpacking, struct str packed, zip_sink sink, void *user,
	    struct err *err)
{
	z_stream *stream = &unpacking->stream;
	char piece[PIECE_BYTES];
	int status = Z_OK;

	/* zlib does not write there; its type is older than const */
	stream->next_in = (Bytef *)(uintptr_t)packed.ptr;
	stream->avail_in = (uInt)packed.len;
	while (status == Z_OK) {
		stream->next_out = (Bytef *)piece;
		stream->avail_out = (uInt)sizeof(piece);
		status = inflate(stream, Z_NO_FLUSH);
		if (status != Z_OK && status != Z_STREAM_END)
			return damaged(unpacking->entry, err);
		if (!pass(unpacking, str_make(piece, sizeof(piece) - stream->avail_out), sink, user,
			  err))
			return false;
	}
	return true;
}

static bool
unpack(struct zip_archive *archive, const struct zip_entry *entry, struct str packed, zip_sink sink,
       void *user, struct err *err)
{
	AUTO(unpacking) struct unpacking unpacking = { .archive = archive, .entry = entry };
	bool ok = true;

	if (inflateInit2(&unpacking.stream, -MAX_WBITS) != Z_OK)
		return err_set(err, ERR_TOO_LARGE, "cannot unpack the document: out of memory");
	if (entry->method == ZIP_DEFLATED)
		ok = inflate_all(&unpacking, packed, sink, user, err);
	for (size_t at = 0; ok && entry->method == ZIP_STORED && at < packed.len; at += PIECE_BYTES)
		ok = pass(&unpacking, str_sub(packed, at, at + PIECE_BYTES), sink, user, err);
	if (ok && unpacking.crc != entry->crc)
		return damaged(entry, err);
	return ok;
}

bool
zip_part_each(struct zip_archive *archive, struct str name, zip_sink sink, void *user,
	      struct err *err)
{
	struct str shown = str_sub(name, 0, NAME_SHOWN_BYTES), packed;
	struct zip_entry entry;

	if (!zip_dir_find(&archive->dir, name, &entry))
		return err_set(err, ERR_BAD_DOCUMENT,
			       "cannot read the document: it has no part '" STR_FMT "'",
			       STR_ARG(shown));
	if (entry.encrypted)
		return err_set(err, ERR_BAD_DOCUMENT,
			       "cannot read the document: it is encrypted with a password");
	if (entry.method != ZIP_STORED && entry.method != ZIP_DEFLATED)
		return err_set(err, ERR_BAD_DOCUMENT,
			       "cannot read the document: its part '" STR_FMT
			       "' is packed by method %u; stored and deflated are read",
			       STR_ARG(shown), entry.method);
	return zip_dir_packed(&archive->dir, &entry, &packed, err) &&
	       unpack(archive, &entry, packed, sink, user, err);
}

static bool
collect(void *user, struct str bytes, struct err *err)
{
	struct buf *to = user;

	buf_add(to, bytes.ptr, bytes.len);
	return buf_check(to, "a part of the document", err);
}

bool
zip_part_read(struct zip_archive *archive, struct str name, size_t max_bytes, struct arena *arena,
	      struct str *out, struct err *err)
{
	AUTO(buf) struct buf all = BUF_INIT(max_bytes);
	void *copy = NULL;

	if (!zip_part_each(archive, name, collect, &all, err) ||
	    !arena_alloc_err(arena, all.len + 1, "a part of the document", &copy, err))
		return false;
	memcpy(copy, all.data, all.len);
	*out = str_make(copy, all.len);
	return true;
}
