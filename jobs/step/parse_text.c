#include <string.h>

#include "jobs/step/parse.h"
#include "jobs/step/parse_out.h"

#define DEADLINE_LINES 4096 /* lines between two looks at the clock */

/* The document is the text; its paragraphs stand between empty lines. No title: a first line is no promise. */
bool
parse_text(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	   struct parsed *out, struct err *err)
{
	AUTO(block_list) struct block_list blocks = { 0 };
	struct block open = { .kind = BLOCK_PARAGRAPH };
	size_t at = 0, start = 0, end = 0, lines = 0;

	if (bytes.len > limits->max_text_bytes)
		return err_set(err, ERR_TOO_LARGE,
			       "the document has %zu bytes of text; at most %zu", bytes.len,
			       limits->max_text_bytes);
	block_list_init(&blocks, arena);
	while (parse_line(bytes, &at, &start, &end)) {
		if (++lines % DEADLINE_LINES == 0 && !parse_deadline(limits, err))
			return false;

		struct str line = str_trim(str_sub(bytes, start, end));

		if (line.len > 0) {
			if (open.end == 0)
				open.start = (size_t)(line.ptr - bytes.ptr);
			open.end = (size_t)(line.ptr - bytes.ptr) + line.len;
		} else if (open.end > 0) {
			block_list_add(&blocks, &open);
			open.end = 0;
		}
	}
	if (open.end > 0)
		block_list_add(&blocks, &open);

	struct parsed parsed = { .text = bytes, .title = STR("") };

	if (!block_list_finish(&blocks, arena, &parsed, err))
		return false;
	*out = parsed;
	return true;
}
