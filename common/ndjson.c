#include "common/ndjson.h"

#include <string.h>

static const char bom[] = "\xef\xbb\xbf";

void
ndjson_init(struct ndjson *reader, size_t max_bytes)
{
	*reader = (struct ndjson){ .max_bytes = max_bytes };
	/* one byte more tells that a line is too long, another holds its CR; the first line may have a mark before it */
	buf_init(&reader->begun, max_bytes + 2 + sizeof(bom) - 1);
}

void
ndjson_release(struct ndjson *reader)
{
	buf_release(&reader->begun);
}

void
ndjson_feed(struct ndjson *reader, struct str piece)
{
	reader->piece = piece;
}

/* Appends up to what a line may have; the rest of a longer one is not kept. */
static void
keep(struct ndjson *reader, struct str part)
{
	size_t room = reader->begun.max - reader->begun.len;

	buf_add(&reader->begun, part.ptr, part.len < room ? part.len : room);
}

static void
drop_given(struct ndjson *reader)
{
	if (!reader->given)
		return;
	reader->given = false;
	/* a long line must not hold its memory for the rest of the stream */
	if (reader->begun.cap > (size_t)1024 * 1024)
		buf_release(&reader->begun);
	else
		buf_clear(&reader->begun);
}

/* A whole line without its LF; false: it is blank. */
static bool
make_line(struct ndjson *reader, struct str text, struct ndjson_line *out)
{
	reader->number++;
	if (reader->number == 1 && str_starts(text, bom))
		text = str_sub(text, sizeof(bom) - 1, text.len);
	if (text.len > 0 && text.ptr[text.len - 1] == '\r')
		text.len--;
	*out = (struct ndjson_line){ .text = text,
				     .number = reader->number,
				     .too_long = text.len > reader->max_bytes };
	if (out->too_long)
		out->text = str_sub(text, 0, reader->max_bytes);
	return out->too_long ||
	       str_trim(text).len > 0; /* how the rest looks is not known of every long one */
}

bool
ndjson_next(struct ndjson *reader, struct ndjson_line *out)
{
	drop_given(reader);
	while (reader->piece.len > 0) {
		const char *end = memchr(reader->piece.ptr, '\n', reader->piece.len);
		struct str part = reader->piece;

		if (!end) {
			keep(reader, part);
			reader->piece = str_make(NULL, 0);
			return false;
		}
		part.len = (size_t)(end - part.ptr);
		reader->piece = str_sub(reader->piece, part.len + 1, reader->piece.len);
		if (reader->begun.len > 0) {
			keep(reader, part);
			part = str_make(reader->begun.data, reader->begun.len);
			reader->given = true;
		}
		if (make_line(reader, part, out))
			return true;
		drop_given(reader);
	}
	return false;
}

bool
ndjson_last(struct ndjson *reader, struct ndjson_line *out)
{
	drop_given(reader);
	if (reader->begun.len == 0)
		return false;
	reader->given = true;
	return make_line(reader, str_make(reader->begun.data, reader->begun.len), out);
}
