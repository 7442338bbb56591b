/*
 * office: a reader of a format that is an archive, over parts that are fuzzed: the input is the parts' bytes with a NUL
 * between, in the order of `names`; they are stored in an archive that is whole. (The archive itself: fuzz_archive.)
 */
#ifndef RAG_TESTS_FUZZ_OFFICE_H
#define RAG_TESTS_FUZZ_OFFICE_H

#include <string.h>

#include "jobs/convert/readers.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/documents.h"
#include "tests/support/text.h"

static inline void
check_reader(parse_fn read, struct str bytes)
{
	const struct parse_limits limits = { .max_text_bytes = MIB };
	AUTO(arena) struct arena arena;
	struct parsed parsed;
	struct err err = ERR_INIT;

	arena_init(&arena, 64 * MIB);
	if (read(bytes, &limits, &arena, &parsed, &err)) {
		const char *broken = parsed.block_count ? text_check_parsed(&parsed) : NULL;

		must(!broken, broken ? broken : "");
	} else {
		must(err.code == ERR_BAD_DOCUMENT || err.code == ERR_EMPTY_TEXT ||
			     err.code == ERR_TOO_LARGE,
		     "refused with a reason");
		must(err.msg[0] && str_utf8_valid(str_of(err.msg), NULL), "the reason is a text");
	}
}

static inline int
fuzz_office(parse_fn read, const char *const *names, const uint8_t *data, size_t size)
{
	AUTO(buf) struct buf file = BUF_INIT(16 * MIB);
	struct str rest = str_make((const char *)data, size), piece;
	struct zip_maker zip;

	if (size > 4 * MIB)
		return 0;
	zip_begin(&zip, &file);
	for (; *names && str_split(&rest, '\0', &piece); names++)
		if (piece.len > 0)
			zip_store(&zip, *names, piece);
	zip_end(&zip);
	check_reader(read, text_of(&file));
	return 0;
}

#endif
