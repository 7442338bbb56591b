#include "tests/support/text.h"

#include "common/base/auto.h"
#include "jobs/step/parse_out.h"

uint64_t
text_random(struct text_random *random, uint64_t below)
{
	uint64_t x = random->state ? random->state : 88172645463325252ULL;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	random->state = x;
	return below ? (x >> 11) % below : x;
}

void
text_random_fill(struct text_random *random, struct buf *out, size_t chars)
{
	static const char *const pieces[] = {
		" ",
		" ",
		" ",
		"\n",
		"\n\n",
		"\n  \n",
		". ",
		"! ",
		"? ",
		"a",
		"Word",
		"longer",
		"e.g.",
		"3.14",
		"x_y",
		"# ",
		"## ",
		"- ",
		"1. ",
		"> ",
		"| a | b",
		"|---|",
		"```\n",
		"    ",
		"\n---\n",
		"===",
		"\t",
		"é",
		"ß",
		"漢",
		"字",
		"。",
		"、",
		"！",
		"「",
		"」",
		"👨‍👩‍👧‍👦",
		"🏽",
		"🇩🇪",
		"e\xcc\x81",
		"\xc2\xa0",
		"\"",
		")",
		"[1]",
		"<b>",
		"&amp;",
		"{\"",
		"\xe2\x80\x8d",
	};
	uint64_t mood = text_random(random, 4); /* some documents have few or no spaces */

	for (size_t i = 0; i < chars; i++) {
		uint64_t pick = text_random(random, ARRAY_SIZE(pieces));

		if (mood == 0 && pick < 9)
			pick = 27 + pick % 20;
		buf_add_str(out, pieces[pick]);
	}
}

static bool
is_boundary(struct str text, size_t at)
{
	return at == text.len || (at < text.len && ((unsigned char)text.ptr[at] & 0xc0) != 0x80);
}

static const char *
check_text(struct str text)
{
	if (!str_utf8_valid(text, NULL))
		return "text is not UTF-8";
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
			return "text has a control character";
	}
	return NULL;
}

static const char *
check_block(struct str text, const struct block *block, size_t after)
{
	if (block->start < after || block->end <= block->start || block->end > text.len)
		return "blocks overlap, are empty, out of order or outside the text";
	if (!is_boundary(text, block->start) || !is_boundary(text, block->end))
		return "a block begins or ends inside a character";
	if (!parse_is_blank(str_sub(text, after, block->start)))
		return "words between two blocks";
	if (parse_is_space(text.ptr[block->end - 1]) ||
	    parse_is_blank(str_sub(text, block->start, block->end)))
		return "a block ends with white space";
	if (block->kind != BLOCK_HEADING)
		return NULL;
	if (block->level < 1 || block->level > 6)
		return "a heading without a level from 1 to 6";
	if (block->label_start < block->start || block->label_end > block->end ||
	    block->label_start > block->label_end)
		return "a label outside its heading";
	return NULL;
}

const char *
text_check_parsed(const struct parsed *parsed)
{
	const char *wrong = check_text(parsed->text);
	size_t after = 0;

	for (size_t i = 0; !wrong && i < parsed->block_count; i++) {
		wrong = check_block(parsed->text, &parsed->blocks[i], after);
		after = parsed->blocks[i].end;
	}
	if (wrong)
		return wrong;
	if (!parse_is_blank(str_sub(parsed->text, after, parsed->text.len)))
		return "words after the last block";
	if (!str_utf8_valid(parsed->title, NULL) || parsed->title.len > PARSE_TITLE_MAX_BYTES)
		return "a title that is not UTF-8 or too long";
	return parsed->block_count ? NULL : "no block";
}

const char *
text_check_chunks(const struct parsed *parsed, const struct chunk_opts *opts,
		  const struct chunk *chunks, size_t count)
{
	struct str text = parsed->text;
	size_t covered = 0;

	for (size_t i = 0; i < count; i++) {
		const struct chunk *chunk = &chunks[i];

		if (chunk->end <= chunk->start || chunk->end > text.len)
			return "an empty chunk, or one outside the text";
		if (i > 0 && (chunk->start <= chunk[-1].start || chunk->end <= chunk[-1].end))
			return "chunks do not ascend";
		if (!is_boundary(text, chunk->start) || !is_boundary(text, chunk->end))
			return "a chunk begins or ends inside a character";
		if (chunk->start > covered && !parse_is_blank(str_sub(text, covered, chunk->start)))
			return "words in no chunk";
		if (str_utf8_count(chunk->text) * 2 > opts->size * 3)
			return "a chunk of more than 1.5 sizes";
		if (chunk->text.ptr != text.ptr + chunk->start ||
		    chunk->text.len != chunk->end - chunk->start)
			return "a chunk's text is not its range";
		if (!str_utf8_valid(chunk->heading, NULL))
			return "a heading that is not UTF-8";
		covered = chunk->end;
	}
	return parse_is_blank(str_sub(text, covered, text.len)) ? NULL
								: "words after the last chunk";
}
