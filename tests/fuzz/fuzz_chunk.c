/*
 * fuzz_chunk: a text with blocks of every kind, as no parser might make them: a byte 0x01 ends a block, the byte after it
 * says what the next one is. The chunks must keep their promises all the same.
 */
#include "jobs/step/parse_out.h"
#include "tests/fuzz/document.h"

static void
add_block(struct parse_out *out, uint8_t what, struct str text)
{
	parse_out_begin(out, (enum block_kind)(what % (BLOCK_TABLE_ROW + 1)), 1 + what / 8 % 6);
	parse_out_add(out, text);
	parse_out_end(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct parse_limits limits = { .max_text_bytes = 8 * MIB };
	uint8_t mood = take_byte(&data, &size), what = take_byte(&data, &size);
	const struct chunk_opts opts = { .size = 16 + mood, .overlap = what };
	struct str rest = str_make((const char *)data, size), piece = { 0 };
	AUTO(arena) struct arena arena = { .max_bytes = 64 * MIB };
	struct parse_out out;
	struct parsed parsed;
	struct err err = ERR_INIT;

	if (!str_utf8_valid(rest, NULL))
		return 0; /* a parser never hands it on */
	parse_out_init(&out, &limits, &arena);
	while (str_split(&rest, '\x01', &piece)) {
		add_block(&out, what, piece);
		what = rest.len > 0 ? (uint8_t)rest.ptr[0] : 0;
	}
	if (parse_out_finish(&out, STR("title"), &arena, &parsed, &err) && parsed.block_count > 0) {
		must_be_kept(text_check_parsed(&parsed));
		check_chunks(&parsed, &opts, &arena);
	}
	parse_out_release(&out);
	return 0;
}
