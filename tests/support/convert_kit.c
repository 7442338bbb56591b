#include "tests/support/convert_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "tests/support/text.h"

struct arena convert_kit_arena;
struct convert_opts convert_kit_opts;
struct parse_limits convert_kit_limits;

int
convert_kit_open(void **state)
{
	(void)state;
	arena_init(&convert_kit_arena, 512 * CONVERT_KIT_MIB);
	convert_kit_opts = (struct convert_opts){
		.helper = RAG_BIN_DIR "/rag-convert",
		.pdftotext = "/usr/bin/pdftotext",
		.memory_bytes = (int64_t)(512 * CONVERT_KIT_MIB),
		.cpu_s = 60,
	};
	convert_kit_limits = (struct parse_limits){
		.max_text_bytes = 32 * CONVERT_KIT_MIB,
		.convert = &convert_kit_opts,
	};
	return 0;
}

int
convert_kit_close(void **state)
{
	(void)state;
	arena_release(&convert_kit_arena);
	return 0;
}

struct parsed
convert_kit_read(const char *media_type, struct str bytes)
{
	struct parsed parsed = { 0 };
	struct err err = ERR_INIT;

	if (!parse_document(str_of(media_type), bytes, &convert_kit_limits, &convert_kit_arena,
			    &parsed, &err))
		fail_msg("%s: %s [%s]", media_type, err.msg, err.cause);
	if (text_check_parsed(&parsed))
		fail_msg("%s: %s", media_type, text_check_parsed(&parsed));
	return parsed;
}

struct err
convert_kit_refused(const char *media_type, struct str bytes)
{
	struct parsed parsed = { 0 };
	struct err err = ERR_INIT;

	assert_false(parse_document(str_of(media_type), bytes, &convert_kit_limits,
				    &convert_kit_arena, &parsed, &err));
	assert_null(parsed.text.ptr); /* untouched */
	return err;
}

void
convert_kit_blocks(const char *media_type, struct str bytes, const char *expected)
{
	AUTO(buf) struct buf got = BUF_INIT(1 << 20);
	struct parsed parsed = convert_kit_read(media_type, bytes);

	for (size_t i = 0; i < parsed.block_count; i++) {
		const struct block *block = &parsed.blocks[i];

		buf_printf(&got, "%s%c%d", i ? "~" : "", "PHLCT"[block->kind], block -> level);
		if (block->page)
			buf_printf(&got, "@%d", (int)block->page);
		buf_add_char(&got, ' ');
		for (size_t at = block->start; at < block->end; at++)
			buf_add_char(&got,
				     (char)(parsed.text.ptr[at] == '\n' ? ';'
									: parsed.text.ptr[at]));
	}
	assert_string_equal(got.data, expected);
}
