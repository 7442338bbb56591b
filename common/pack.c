/*
 * Writing is msgpack-c's packer with a callback that appends to the buf. Reading is our own walk over
 * the bytes: msgpack-c's unpacker allocates count x 24 bytes from an array header before it has
 * seen one element, so five bytes can map gigabytes; a walk allocates nothing at all, and its checks
 * are few enough to be seen whole:
 *
 * 1. A head or text is read only when all its bytes are there.
 * 2. A count is believed only when at least one byte remains for each item it promises. The scan
 *    counts open items over all levels, so nested lies are caught as early as flat ones.
 * 3. The scan keeps one counter a level in a fixed array; deeper than PACK_MAX_DEPTH is refused.
 * 4. A message ends where its value ends.
 *
 * Extension types are refused: nothing of ours writes them.
 */
#include "common/pack.h"

#include <assert.h>
#include <msgpack.h>
#include <stdint.h>
#include <string.h>

/* ---- writing ---- */

static int
append(void *user, const char *ptr, size_t len)
{
	buf_add(user, ptr, len);
	return 0; /* a full buf shows in its own sticky failure */
}

static msgpack_packer
packer(struct buf *out)
{
	msgpack_packer pk;

	msgpack_packer_init(&pk, out, append);
	return pk;
}

void
pack_nil(struct buf *out)
{
	msgpack_packer pk = packer(out);

	(void)msgpack_pack_nil(&pk);
}

void
pack_bool(struct buf *out, bool value)
{
	msgpack_packer pk = packer(out);

	(void)(value ? msgpack_pack_true(&pk) : msgpack_pack_false(&pk));
}

void
pack_i64(struct buf *out, int64_t value)
{
	msgpack_packer pk = packer(out);

	(void)msgpack_pack_int64(&pk, value);
}

void
pack_f64(struct buf *out, double value)
{
	msgpack_packer pk = packer(out);

	(void)msgpack_pack_double(&pk, value);
}

/* msgpack counts in 32 bits: what is longer cannot be said, and counts as a full buf. */
static bool
fits(struct buf *out, size_t count)
{
	if (count > UINT32_MAX)
		out->failed = true;
	return !out->failed;
}

void
pack_str(struct buf *out, struct str value)
{
	msgpack_packer pk = packer(out);

	if (!fits(out, value.len))
		return;
	(void)msgpack_pack_str(&pk, value.len);
	buf_add(out, value.ptr, value.len);
}

void
pack_bin(struct buf *out, struct str bytes)
{
	msgpack_packer pk = packer(out);

	if (!fits(out, bytes.len))
		return;
	(void)msgpack_pack_bin(&pk, bytes.len);
	buf_add(out, bytes.ptr, bytes.len);
}

void
pack_array(struct buf *out, size_t count)
{
	msgpack_packer pk = packer(out);

	if (fits(out, count))
		(void)msgpack_pack_array(&pk, count);
}

void
pack_map(struct buf *out, size_t count)
{
	msgpack_packer pk = packer(out);

	if (fits(out, count))
		(void)msgpack_pack_map(&pk, count);
}

/* ---- reading ---- */

static bool
corrupt(struct err *err, const char *what)
{
	return err_set(err, ERR_CORRUPT, "not valid msgpack: %s", what);
}

static size_t
left(const struct pack_reader *reader)
{
	return (size_t)(reader->end - reader->at);
}

/* A big-endian number of `len` bytes. */
static bool
get_uint(struct pack_reader *reader, size_t len, uint64_t *out, struct err *err)
{
	uint64_t value = 0;

	if (left(reader) < len)
		return corrupt(err, "cut in a number");
	for (size_t i = 0; i < len; i++)
		value = value << 8 | (unsigned char)reader->at[i];
	reader->at += len;
	*out = value;
	return true;
}

static bool
get_text(struct pack_reader *reader, enum pack_type type, uint64_t len, struct pack_value *out,
	 struct err *err)
{
	if (len > left(reader))
		return corrupt(err, "a text is longer than the message");
	out->type = type;
	out->u.str = str_make(reader->at, (size_t)len);
	reader->at += len;
	return true;
}

static bool
get_count(struct pack_reader *reader, enum pack_type type, uint64_t count, struct pack_value *out,
	  struct err *err)
{
	/* an item takes a byte at least, a pair two */
	if (count > left(reader) / (type == PACK_MAP ? 2 : 1))
		return corrupt(err, "a count is larger than the message");
	out->type = type;
	out->u.count = (uint32_t)count;
	return true;
}

static bool
get_sized(struct pack_reader *reader, enum pack_type type, size_t size_len, struct pack_value *out,
	  struct err *err)
{
	uint64_t size = 0;

	if (!get_uint(reader, size_len, &size, err))
		return false;
	if (type == PACK_STR || type == PACK_BIN)
		return get_text(reader, type, size, out, err);
	return get_count(reader, type, size, out, err);
}

static bool
get_real(struct pack_reader *reader, size_t len, struct pack_value *out, struct err *err)
{
	uint64_t bits = 0;

	if (!get_uint(reader, len, &bits, err))
		return false;
	out->type = PACK_F64;
	if (len == 4) {
		uint32_t bits32 = (uint32_t)bits;
		float value = 0;

		memcpy(&value, &bits32, sizeof(value));
		out->u.f64 = (double)value;
	} else {
		memcpy(&out->u.f64, &bits, sizeof(bits));
	}
	return true;
}

static bool
get_unsigned(struct pack_reader *reader, size_t len, struct pack_value *out, struct err *err)
{
	uint64_t value = 0;

	if (!get_uint(reader, len, &value, err))
		return false;
	if (value > INT64_MAX)
		return corrupt(err, "a whole number above 2^63-1");
	out->type = PACK_I64;
	out->u.i64 = (int64_t)value;
	return true;
}

static bool
get_signed(struct pack_reader *reader, size_t len, struct pack_value *out, struct err *err)
{
	uint64_t value = 0;

	if (!get_uint(reader, len, &value, err))
		return false;

	assert(len >= 1 && len <= sizeof(value));

	uint64_t sign = UINT64_C(1) << (8 * len - 1);

	out->type = PACK_I64;
	/* extend the sign, then let the bits be read as signed */
	value = (value ^ sign) - sign;
	memcpy(&out->u.i64, &value, sizeof(value));
	return true;
}

/* Of neighbouring heads each says twice the bytes of the one before: 1, 2, 4, 8. */
static size_t
head_width(unsigned head, unsigned first)
{
	return (size_t)1 << ((head - first) & 3);
}

/* Heads 0xc0 to 0xdf, where the head says how many bytes of number or size follow. */
static bool
next_marked(struct pack_reader *reader, unsigned head, struct pack_value *out, struct err *err)
{
	switch (head) {
	case 0xc0:
		out->type = PACK_NIL;
		return true;
	case 0xc2:
	case 0xc3:
		out->type = PACK_BOOL;
		out->u.boolean = head == 0xc3;
		return true;
	case 0xc4:
	case 0xc5:
	case 0xc6:
		return get_sized(reader, PACK_BIN, head_width(head, 0xc4), out, err);
	case 0xca:
	case 0xcb:
		return get_real(reader, head == 0xca ? 4 : 8, out, err);
	case 0xcc:
	case 0xcd:
	case 0xce:
	case 0xcf:
		return get_unsigned(reader, head_width(head, 0xcc), out, err);
	case 0xd0:
	case 0xd1:
	case 0xd2:
	case 0xd3:
		return get_signed(reader, head_width(head, 0xd0), out, err);
	case 0xd9:
	case 0xda:
	case 0xdb:
		return get_sized(reader, PACK_STR, head_width(head, 0xd9), out, err);
	case 0xdc:
	case 0xdd:
		return get_sized(reader, PACK_ARRAY, head == 0xdc ? 2 : 4, out, err);
	case 0xde:
	case 0xdf:
		return get_sized(reader, PACK_MAP, head == 0xde ? 2 : 4, out, err);
	default:
		return corrupt(err, head == 0xc1 ? "the byte c1" : "an extension type");
	}
}

static bool
next_value(struct pack_reader *reader, struct pack_value *out, struct err *err)
{
	if (reader->at == reader->end)
		return corrupt(err, "cut");

	unsigned head = (unsigned char)*reader->at++;

	if (head < 0x80 || head >= 0xe0) {
		out->type = PACK_I64;
		out->u.i64 = head < 0x80 ? (int64_t)head : (int64_t)head - 256;
		return true;
	}
	if (head < 0x90)
		return get_count(reader, PACK_MAP, head & 15, out, err);
	if (head < 0xa0)
		return get_count(reader, PACK_ARRAY, head & 15, out, err);
	if (head < 0xc0)
		return get_text(reader, PACK_STR, head & 31, out, err);
	return next_marked(reader, head, out, err);
}

/* Walks over one whole value. open[level] = items still to come at that level. */
static bool
walk_value(struct pack_reader *reader, struct err *err)
{
	uint64_t open[PACK_MAX_DEPTH];
	uint64_t open_total = 0;
	size_t depth = 0;

	for (;;) {
		struct pack_value value;

		if (!next_value(reader, &value, err))
			return false;
		if (value.type == PACK_ARRAY || value.type == PACK_MAP) {
			uint64_t items = (uint64_t)value.u.count * (value.type == PACK_MAP ? 2 : 1);

			if (depth == PACK_MAX_DEPTH)
				return corrupt(err, "nested too deep");
			open[depth++] = items;
			open_total += items;
			if (open_total > left(reader))
				return corrupt(err, "a count is larger than the message");
		}
		while (depth > 0 && open[depth - 1] == 0)
			depth--;
		if (depth == 0)
			return true;
		open[depth - 1]--;
		open_total--;
	}
}

bool
pack_scan(struct str bytes, struct err *err)
{
	struct pack_reader reader = { bytes.ptr, bytes.ptr ? bytes.ptr + bytes.len : NULL };

	if (!walk_value(&reader, err))
		return false;
	if (reader.at != reader.end)
		return corrupt(err, "bytes after the end");
	return true;
}

bool
pack_read_start(struct pack_reader *reader, struct str bytes, struct err *err)
{
	if (!pack_scan(bytes, err))
		return false;
	*reader = (struct pack_reader){ bytes.ptr, bytes.ptr + bytes.len };
	return true;
}

bool
pack_next(struct pack_reader *reader, struct pack_value *out, struct err *err)
{
	struct pack_reader ahead = *reader;
	struct pack_value value = { .type = PACK_NIL };

	if (!next_value(&ahead, &value, err))
		return false;
	*reader = ahead;
	*out = value;
	return true;
}

bool
pack_skip(struct pack_reader *reader, struct err *err)
{
	struct pack_reader ahead = *reader;

	if (!walk_value(&ahead, err))
		return false;
	*reader = ahead;
	return true;
}

/* ---- envelope ---- */

#define VERSION_MIN (PACK_VERSION > 1 ? PACK_VERSION - 1 : 1)

void
pack_envelope_begin(struct buf *out, const char *kind)
{
	pack_array(out, 3);
	pack_i64(out, PACK_VERSION);
	pack_str(out, str_of(kind));
}

bool
pack_envelope_open(struct pack_reader *reader, struct str bytes, const char *kind, struct err *err)
{
	struct pack_reader body;
	struct pack_value value;

	if (!pack_read_start(&body, bytes, err) || !pack_next(&body, &value, err))
		return false;
	if (value.type != PACK_ARRAY || value.u.count != 3)
		return err_set(err, ERR_CORRUPT, "not a message: no [version, kind, body]");
	if (!pack_next(&body, &value, err))
		return false;
	if (value.type != PACK_I64)
		return err_set(err, ERR_CORRUPT, "not a message: its version is no number");
	if (value.u.i64 < VERSION_MIN || value.u.i64 > PACK_VERSION)
		return err_set(err, ERR_CORRUPT,
			       "cannot read a message of version %lld: this program knows %d to %d",
			       (long long)value.u.i64, VERSION_MIN, PACK_VERSION);
	if (!pack_next(&body, &value, err))
		return false;
	if (value.type != PACK_STR || !str_eq_c(value.u.str, kind))
		return err_set(err, ERR_CORRUPT, "not a message of kind '%s'", kind);
	*reader = body;
	return true;
}
