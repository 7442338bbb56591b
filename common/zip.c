/*
 * Every length in a stored value is checked before it is believed: the plain length against the
 * caller's maximum (before allocating), the frame's own idea of its content against that length, the
 * frame's end against the end of the value, and what came out against what was promised.
 */
#include "common/zip.h"

#include <stdint.h>
#include <string.h>
#include <zstd.h>

#define LEVEL 1
#define HEAD_BYTES 5 /* marker and length of a compressed value */

static void
put_u32(char *out, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		out[i] = (char)(value >> (8 * i) & 0xFF);
}

static uint32_t
get_u32(const char *in)
{
	uint32_t value = 0;

	for (int i = 0; i < 4; i++)
		value |= (uint32_t)(unsigned char)in[i] << (8 * i);
	return value;
}

/* Appends the compressed form; false (nothing appended) when it would not be smaller. */
static bool
add_compressed(struct str plain, struct buf *out)
{
	if (plain.len < ZIP_MIN_BYTES || plain.len > UINT32_MAX)
		return false;

	/* room for a frame that is worth it, no more: a larger one fails, and is not wanted */
	size_t room = plain.len - HEAD_BYTES;
	size_t left = out->max - out->len;

	if (out->failed || left <= HEAD_BYTES)
		return false;
	if (room > left - HEAD_BYTES)
		room = left - HEAD_BYTES;

	char *at = buf_reserve(out, HEAD_BYTES + room);

	if (!at)
		return false;

	size_t len = ZSTD_compress(at + HEAD_BYTES, room, plain.ptr, plain.len, LEVEL);

	if (ZSTD_isError(len))
		return false;
	at[0] = 'z';
	put_u32(at + 1, (uint32_t)plain.len);
	buf_commit(out, HEAD_BYTES + len);
	return true;
}

void
zip_pack(struct str plain, struct buf *out)
{
	if (add_compressed(plain, out))
		return;
	buf_add_char(out, 'r');
	buf_add(out, plain.ptr, plain.len);
}

static bool
corrupt(struct err *err, const char *what)
{
	return err_set(err, ERR_CORRUPT, "cannot read a stored value: %s", what);
}

static bool
too_large(struct err *err, size_t len, size_t max_bytes)
{
	return err_set(err, ERR_TOO_LARGE, "cannot read a stored value: %zu bytes, at most %zu",
		       len, max_bytes);
}

static bool
unpack_frame(struct str frame, size_t plain_len, struct arena *arena, struct str *out_plain,
	     struct err *err)
{
	void *plain = NULL;

	if (ZSTD_getFrameContentSize(frame.ptr, frame.len) != plain_len)
		return corrupt(err, "its frame has another length than its head");
	if (ZSTD_findFrameCompressedSize(frame.ptr, frame.len) != frame.len)
		return corrupt(err, "its frame is cut or followed by other bytes");
	if (!arena_alloc_err(arena, plain_len + 1, "a stored value", &plain, err))
		return false;
	if (ZSTD_decompress(plain, plain_len, frame.ptr, frame.len) != plain_len)
		return corrupt(err, "its frame does not decompress");
	*out_plain = str_make(plain, plain_len);
	return true;
}

bool
zip_unpack(struct str stored, size_t max_bytes, struct arena *arena, struct str *out_plain,
	   struct err *err)
{
	if (stored.len == 0)
		return corrupt(err, "it is empty");
	if (stored.ptr[0] == 'r') {
		if (stored.len - 1 > max_bytes)
			return too_large(err, stored.len - 1, max_bytes);
		*out_plain = str_sub(stored, 1, stored.len);
		return true;
	}
	if (stored.ptr[0] != 'z')
		return corrupt(err, "unknown marker byte");
	if (stored.len <= HEAD_BYTES)
		return corrupt(err, "it is cut");

	size_t plain_len = get_u32(stored.ptr + 1);

	if (plain_len > max_bytes)
		return too_large(err, plain_len, max_bytes);
	return unpack_frame(str_sub(stored, HEAD_BYTES, stored.len), plain_len, arena, out_plain,
			    err);
}
