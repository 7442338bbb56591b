/* fuzz_sentence: any bytes as text to be cut into pieces that can be quoted. */
#include "jobs/provider/sentence.h"
#include "tests/fuzz/fuzz.h"

static bool
is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\t';
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make((const char *)data, size);
	struct sentence piece;
	size_t before = 0, last_at = 0;
	bool valid = str_utf8_valid(text, NULL);

	for (size_t at = 0; sentence_next(text, &at, &piece); before = piece.end, last_at = at) {
		struct str part = str_sub(text, piece.start, piece.end);

		must(piece.start >= before && piece.end > piece.start && piece.end <= size,
		     "pieces ascend inside the text");
		must(at > last_at && at <= size, "the place moves on");
		must(part.len <= SENTENCE_MAX_BYTES, "a piece is short");
		must(!is_blank(part.ptr[0]) && !is_blank(part.ptr[part.len - 1]),
		     "no white space around a piece");
		if (valid)
			must(str_utf8_valid(part, NULL), "no piece cuts a character");
	}
	return 0;
}
