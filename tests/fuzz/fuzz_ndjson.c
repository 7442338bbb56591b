/* fuzz_ndjson: the lines of any bytes are the same in whatever pieces they come; their numbers rise, their length is bounded. */
#include "common/ndjson.h"
#include "tests/fuzz/fuzz.h"

#define LINE_MAX ((size_t)24)

static void
take(const struct ndjson_line *line, int64_t *io_last, struct buf *out)
{
	must(line->number > *io_last, "numbers rise");
	must(line->text.len <= LINE_MAX, "a line is bounded");
	must(str_trim(line->text).len > 0 || line->too_long, "blank lines are not given");
	*io_last = line->number;
	buf_printf(out, "%lld %zu %d ", (long long)line->number, line->text.len, line->too_long);
	buf_add(out, line->text.ptr, line->text.len);
}

static void
read_all(struct str text, size_t piece, struct buf *out)
{
	struct ndjson_line line;
	struct ndjson reader;
	int64_t last = 0;

	ndjson_init(&reader, LINE_MAX);
	while (text.len > 0) {
		size_t len = text.len < piece ? text.len : piece;

		ndjson_feed(&reader, str_sub(text, 0, len));
		text = str_sub(text, len, text.len);
		while (ndjson_next(&reader, &line))
			take(&line, &last, out);
	}
	if (ndjson_last(&reader, &line))
		take(&line, &last, out);
	ndjson_release(&reader);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(buf) struct buf whole = BUF_INIT(64 * MIB);
	AUTO(buf) struct buf pieces = BUF_INIT(64 * MIB);
	struct str text = str_make((const char *)data, size);

	if (size == 0)
		return 0;
	read_all(text, size, &whole);
	read_all(text, 1 + data[0] % 7, &pieces);
	must(str_eq(text_of(&whole), text_of(&pieces)), "pieces make no difference");
	return 0;
}
