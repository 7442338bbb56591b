/* fuzz_utf8: any bytes as UTF-8: every function about characters agrees with the check, and with the others. */
#include <string.h>

#include "tests/fuzz/fuzz.h"

/* Walks the text; what is good comes back byte for byte. */
static size_t
walk(struct str text, bool *out_good)
{
	size_t count = 0;

	*out_good = true;
	for (size_t at = 0; at < text.len; count++) {
		uint32_t cp = 0;
		char back[4];
		size_t step = str_utf8_next(text, at, &cp), put = str_utf8_put(back, cp);

		must(step >= 1 && step <= 4 && at + step <= text.len,
		     "a character lies in the text");
		if (put != step || memcmp(back, text.ptr + at, step) != 0) {
			must(cp == 0xfffd && step == 1, "a bad byte is one U+FFFD");
			*out_good = false;
		}
		at += step;
	}
	return count;
}

static void
check_copy(struct str text, size_t room)
{
	char copy[64];
	bool whole;

	memset(copy, 'x', sizeof(copy));
	whole = str_copy(copy, room, text);
	must(strnlen(copy, room) < room, "a copy ends");
	must(copy[63] == 'x' || room == 64, "a copy stays in its array");
	if (!memchr(text.ptr, '\0', text.len) && str_utf8_valid(text, NULL)) {
		must(whole == (text.len < room), "a copy says whether it is whole");
		must(str_utf8_valid(str_of(copy), NULL), "a cut copy is UTF-8");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t room = 1 + take_byte(&data, &size) % 64, bad_at = 0;
	struct str text = str_make((const char *)data, size);
	bool good, valid = str_utf8_valid(text, &bad_at);
	size_t count = walk(text, &good);

	must(good == valid, "the walk finds what the check finds");
	if (!valid) {
		must(bad_at < size, "the bad place lies in the text");
		must(str_utf8_valid(str_sub(text, 0, bad_at), NULL),
		     "before the bad place all is well");
	} else {
		must(str_utf8_count(text) == count, "characters are counted as they are walked");
		for (size_t at = 0; at <= size; at++) {
			size_t floor = str_utf8_floor(text, at);

			must(floor <= at && at - floor < 4, "a boundary is near");
			must(str_utf8_valid(str_sub(text, 0, floor), NULL), "a boundary is one");
		}
	}
	if (size > 0)
		check_copy(text, room);
	return 0;
}
