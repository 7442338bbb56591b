/* fuzz_cite: any bytes as an answer with [n] marks; the first byte is the number of sources. */
#include "jobs/step/cite.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t sources = take_byte(&data, &size) % 20, used = 0;
	struct str answer = str_make((const char *)data, size);
	struct cite_check once, twice;
	AUTO(arena) struct arena arena;

	arena_init(&arena, 16 * MIB);
	if (!cite_answer(answer, sources, &arena, &once))
		return 0;
	must(once.text.len <= size, "marks are only taken out");
	for (size_t i = 0; i < sources; i++)
		used += once.used[i];
	must(used == once.used_count, "used sources are counted");
	if (str_utf8_valid(answer, NULL))
		must(str_utf8_valid(once.text, NULL), "no character is cut");
	must(cite_answer(once.text, sources, &arena, &twice), "a checked answer can be checked");
	must(twice.removed == 0 && str_eq(once.text, twice.text) &&
		     once.used_count == twice.used_count,
	     "checking twice changes nothing");
	return 0;
}
