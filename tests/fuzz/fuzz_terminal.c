/* fuzz_terminal: any bytes as text that ragctl shows: nothing that a terminal would obey comes through. */
#include "cli/text.h"
#include "tests/fuzz/fuzz.h"

static void
must_be_harmless(struct str text, bool lines)
{
	must(str_utf8_valid(text, NULL), "shown text is UTF-8");
	for (size_t at = 0; at < text.len;) {
		uint32_t cp = 0;

		at += str_utf8_next(text, at, &cp);
		must(cp >= 0x20 || (lines && cp == '\n'), "no control character");
		must(cp < 0x7f || cp > 0x9f, "no control character of C1");
		must(!(cp >= 0x202a && cp <= 0x202e) && !(cp >= 0x2066 && cp <= 0x2069),
		     "no change of direction");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t columns = take_byte(&data, &size) % 100, indent = columns % 7;
	struct str text = str_make((const char *)data, size);
	AUTO(buf) struct buf line = BUF_INIT(16 * MIB);
	AUTO(buf) struct buf again = BUF_INIT(16 * MIB);
	AUTO(buf) struct buf cell = BUF_INIT(16 * MIB);
	AUTO(buf) struct buf wrapped = BUF_INIT(64 * MIB);

	text_add_line(&line, text);
	must_be_harmless(text_of(&line), false);
	text_add_line(&again, text_of(&line));
	must(str_eq(str_trim(text_of(&line)), text_of(&again)), "cleaning twice changes nothing");
	text_add_cell(&cell, text, columns, true);
	must_be_harmless(text_of(&cell), false);
	must(text_columns(text_of(&cell)) == columns, "a cell has its columns");
	text_add_wrapped(&wrapped, text, columns, indent);
	must_be_harmless(text_of(&wrapped), true);
	return 0;
}
