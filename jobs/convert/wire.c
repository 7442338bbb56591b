#include "jobs/convert/wire.h"

#include <string.h>

#include "jobs/step/parse_out.h"

#define MARK "RAGC"
#define VERSION 1
#define OUTCOME_OK 0
#define OUTCOME_ERROR 1

/* ---- writing ---- */

static void
add_u32(struct buf *out, size_t value)
{
	char bytes[4];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(value >> (8 * i) & 0xff);
	buf_add(out, bytes, sizeof(bytes));
}

static void
add_text(struct buf *out, struct str text)
{
	add_u32(out, text.len);
	buf_add(out, text.ptr, text.len);
}

static void
add_head(struct buf *out, int outcome)
{
	buf_clear(out);
	buf_add_str(out, MARK);
	buf_add_char(out, VERSION);
	buf_add_char(out, (char)outcome);
}

void
wire_write(const struct parsed *parsed, struct buf *out)
{
	add_head(out, OUTCOME_OK);
	add_text(out, parsed->title);
	add_text(out, parsed->text);
	add_u32(out, parsed->block_count);
	for (size_t i = 0; i < parsed->block_count; i++) {
		const struct block *block = &parsed->blocks[i];

		buf_add_char(out, (char)block->kind);
		buf_add_char(out, (char)block->level);
		add_u32(out, (size_t)block->page);
		add_u32(out, block->start);
		add_u32(out, block->end);
	}
}

void
wire_write_err(const struct err *error, struct buf *out)
{
	add_head(out, OUTCOME_ERROR);
	add_text(out, str_of(err_info(error->code)->wire));
	add_text(out, str_of(error->msg));
}

/* ---- reading ---- */

struct reader {
	struct str bytes;
	size_t at;
	bool broken;
};

static size_t
take_number(struct reader *reader, size_t len)
{
	size_t value = 0;

	if (reader->broken || len > reader->bytes.len - reader->at) {
		reader->broken = true;
		return 0;
	}
	for (size_t i = len; i > 0; i--)
		value = value << 8 | (unsigned char)reader->bytes.ptr[reader->at + i - 1];
	reader->at += len;
	return value;
}

static struct str
take_text(struct reader *reader)
{
	size_t len = take_number(reader, 4);

	if (reader->broken || len > reader->bytes.len - reader->at) {
		reader->broken = true;
		return STR("");
	}
	reader->at += len;
	return str_sub(reader->bytes, reader->at - len, reader->at);
}

static bool
broken(struct err *err)
{
	return err_set(err, ERR_BAD_DOCUMENT, "cannot read the document: its converter went wrong");
}

/* A converter cannot say everything: that Redis is away is not for it to tell. */
static bool
read_error(struct reader *reader, struct err *err)
{
	static const enum err_code believed[] = { ERR_BAD_DOCUMENT, ERR_EMPTY_TEXT, ERR_TOO_LARGE,
						  ERR_UNSUPPORTED_MEDIA, ERR_CONFIG };
	struct str code = take_text(reader), msg = take_text(reader);

	if (reader->broken || reader->at != reader->bytes.len)
		return broken(err);
	for (size_t i = 0; i < ARRAY_SIZE(believed); i++) {
		if (str_eq_c(code, err_info(believed[i])->wire)) {
			msg = str_sub(msg, 0, ERR_MSG_MAX_BYTES);
			return err_set(err, believed[i], STR_FMT, STR_ARG(msg));
		}
	}
	return broken(err);
}

static bool
block_fits(const struct block *block, struct str text, size_t after)
{
	return (unsigned)block->kind <= BLOCK_TABLE_ROW && block->start >= after &&
	       block->end > block->start && block->end <= text.len &&
	       (block->kind == BLOCK_HEADING ? block->level >= 1 && block->level <= 6
					     : block->level == 0) &&
	       block->page >= 0;
}

/* Without what parse_out drops, or white space, at its ends: a control character there would leave a blank in front. */
static struct str
trim_low(struct str text)
{
	while (text.len > 0 && ((unsigned char)text.ptr[0] <= ' ' || text.ptr[0] == 0x7f))
		text = str_sub(text, 1, text.len);
	while (text.len > 0 &&
	       ((unsigned char)text.ptr[text.len - 1] <= ' ' || text.ptr[text.len - 1] == 0x7f))
		text.len--;
	return text;
}

/* Writes the text again, block by block: what comes out keeps the promises, whatever came in. */
static bool
read_blocks(struct reader *reader, struct str text, struct parse_out *out)
{
	size_t count = take_number(reader, 4), after = 0;

	if (reader->broken || count > (reader->bytes.len - reader->at) / WIRE_BLOCK_BYTES ||
	    !str_utf8_valid(text, NULL))
		return false;
	for (size_t i = 0; i < count && parse_out_ok(out); i++) {
		struct block block = { .kind = (enum block_kind)take_number(reader, 1) };
		struct str text_of;

		block.level = (int)take_number(reader, 1);
		block.page = (int32_t)(take_number(reader, 4) & INT32_MAX);
		block.start = take_number(reader, 4);
		block.end = take_number(reader, 4);
		if (!block_fits(&block, text, after) ||
		    str_utf8_floor(text, block.start) != block.start ||
		    (block.end < text.len && str_utf8_floor(text, block.end) != block.end))
			return false;
		after = block.end;
		out->page = block.page;
		parse_out_begin(out, block.kind, block.level);
		text_of = str_sub(text, block.start, block.end);
		parse_out_add(out, block.kind == BLOCK_CODE ? text_of : trim_low(text_of));
	}
	parse_out_end(out);
	return reader->at == reader->bytes.len || !parse_out_ok(out);
}

static bool
read_document(struct reader *reader, const struct parse_limits *limits, struct arena *arena,
	      struct parsed *out, struct err *err)
{
	struct str title = take_text(reader), text = take_text(reader);
	struct parse_out written;
	bool ok;

	if (reader->broken || !str_utf8_valid(title, NULL))
		return broken(err);
	parse_out_init(&written, limits, arena);
	ok = read_blocks(reader, text, &written)
		     ? parse_out_finish(&written, title, arena, out, err)
		     : broken(err);
	parse_out_release(&written);
	return ok;
}

bool
wire_read(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	  struct parsed *out, struct err *err)
{
	struct reader reader = { .bytes = bytes };

	if (!str_starts(bytes, MARK))
		return broken(err);
	reader.at = strlen(MARK);
	if (take_number(&reader, 1) != VERSION)
		return broken(err);
	switch (take_number(&reader, 1)) {
	case OUTCOME_OK:
		return !reader.broken ? read_document(&reader, limits, arena, out, err)
				      : broken(err);
	case OUTCOME_ERROR:
		return read_error(&reader, err);
	default:
		return broken(err);
	}
}
