/* fuzz_zip: any bytes as a value stored in Redis, and as a value to be stored. */
#include "common/zip.h"
#include "tests/fuzz/fuzz.h"

static void
must_come_back(struct str plain, struct arena *arena)
{
	AUTO(buf) struct buf stored = BUF_INIT(4 * MIB);
	struct str back;
	struct err err = ERR_INIT;

	zip_pack(plain, &stored);
	must(buf_ok(&stored) && stored.len <= plain.len + 1,
	     "a stored value grows by its mark only");
	must(zip_unpack(text_of(&stored), MIB, arena, &back, &err), "what is stored can be read");
	must(str_eq(plain, back), "a stored value is the same");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = str_make((const char *)data, size);
	AUTO(arena) struct arena arena;
	struct err err = ERR_INIT;
	struct str plain;

	arena_init(&arena, 8 * MIB);
	if (zip_unpack(bytes, MIB, &arena, &plain, &err)) {
		must(plain.len <= MIB, "no more than asked for");
		must_come_back(plain, &arena);
	} else {
		must(err.code == ERR_CORRUPT || err.code == ERR_TOO_LARGE, "refused with a reason");
	}
	must_come_back(bytes, &arena);
	return 0;
}
