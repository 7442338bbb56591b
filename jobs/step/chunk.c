/*
 * chunk: one pass over the text, one cut at a time.
 *
 * From where a chunk starts, the scan looks at most 1.25 sizes ahead and remembers the best place to cut. A place
 * is a character that is not white space; what stands before it gives its strength:
 *
 *	SECTION	  a heading begins
 *	BLOCK	  another block begins
 *	PARAGRAPH the next list item or table row, or an empty line inside a block
 *	SENTENCE  the last word ended with . ! ? or a CJK stop; a new line of code or of a table row
 *	WORD	  white space, or a CJK comma, before it
 *	CHARACTER anything else, but
 *	NONE	  a combining mark, a joiner or what follows one; what comes right after a heading
 *
 * The first section from a third of the size on is always taken: a chunk about two things is found by neither.
 * Else the strongest place from half the size to the size wins, the latest of equals. If the section (or the
 * document) ends within 1.25 sizes, it is taken whole, so that no crumb is left behind.
 *
 * The next chunk starts there, or up to `overlap` characters before: at the earliest sentence in that reach, else
 * the earliest word, else the earliest character; never across a section. Starts strictly ascend and each chunk brings at least size / 4 new
 * characters (but the last of a section), so the scans together are linear in the text, whatever it holds: one
 * line of megabytes, no spaces, only stops.
 *
 * Why the ranges cover the text: a chunk runs from its start to the place of the cut, and the next one starts at
 * that place or before; only white space is trimmed off.
 *
 * A chunk's heading is the path at the start of what it brings new. Rejected: splitting recursively by a list of
 * separators and merging again (loses byte ranges easily, and leaves crumbs); packing whole blocks only (a
 * long paragraph needs cuts inside anyway).
 */
#include "jobs/step/chunk.h"

#include <string.h>

#include "common/base/auto.h"
#include "common/base/mem.h"
#include "jobs/step/parse_out.h"

#define SIZE_MIN 16 /* below it the shares of the size make no sense */
#define LABEL_MAX_BYTES 200
#define LEVELS 6

enum strength {
	CUT_NONE,
	CUT_CHARACTER,
	CUT_WORD,
	CUT_SENTENCE,
	CUT_PARAGRAPH,
	CUT_BLOCK,
	CUT_SECTION,
};

/* Where a scan stands, and what it has just seen. */
struct scan {
	const struct parsed *parsed;
	size_t at;
	size_t block; /* the first that ends after `at`; block_count = none */
	size_t solid; /* end of the last character that is not white space */
	size_t chars; /* passed since the start */
	size_t newlines;
	bool space, stop, soft_stop, joiner;
};

struct chunker {
	const struct parsed *parsed;
	struct arena *arena;
	size_t size, overlap;
	struct chunk *items; /* owned */
	size_t count, cap;

	struct str labels[LEVELS]; /* the path; .len 0 = none at this level */
	size_t next_heading;	   /* block index: headings before are in the path */
	size_t page_block; /* block index: the last that began at or before the present chunk */
	struct str path;   /* in the arena */
};

static void
chunker_release(struct chunker *chunker)
{
	mem_free(chunker->items);
	chunker->items = NULL;
}

/* ---- places to cut ---- */

static bool
in_ranges(uint32_t cp, const uint32_t (*ranges)[2], size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (cp >= ranges[i][0] && cp <= ranges[i][1])
			return true;
	return false;
}

/* Belongs to the character before: marks, variation selectors, joiners, skin tones, tags. */
static bool
extends(uint32_t cp)
{
	static const uint32_t ranges[][2] = {
		{ 0x0300, 0x036f }, { 0x200d, 0x200d },	  { 0x20d0, 0x20ff },
		{ 0xfe00, 0xfe0f }, { 0x1f3fb, 0x1f3ff }, { 0xe0020, 0xe007f },
	};

	return cp >= 0x300 && in_ranges(cp, ranges, ARRAY_SIZE(ranges));
}

static bool
is_cjk_stop(uint32_t cp)
{
	return cp == 0x3002 || cp == 0xff01 || cp == 0xff1f || cp == 0xff61;
}

static bool
is_closer(uint32_t cp)
{
	return cp == ')' || cp == ']' || cp == '"' || cp == '\'' || cp == 0x201d || cp == 0x2019 ||
	       cp == 0xbb || cp == 0x300d || cp == 0x300f || cp == 0xff09;
}

static enum strength
at_block_start(const struct scan *scan)
{
	const struct block *block = &scan->parsed->blocks[scan->block];
	const struct block *before = scan->block > 0 ? block - 1 : NULL;

	if (block->kind == BLOCK_HEADING)
		return before && before->kind == BLOCK_HEADING && before->level < block->level
			       ? CUT_NONE /* the title stays with its first section */
			       : CUT_SECTION;
	if (before && before->kind == BLOCK_HEADING)
		return CUT_NONE;
	if (before && before->kind == block->kind &&
	    (block->kind == BLOCK_LIST_ITEM || block->kind == BLOCK_TABLE_ROW))
		return CUT_PARAGRAPH;
	return CUT_BLOCK;
}

static bool
lines_count(const struct scan *scan)
{
	if (scan->block == scan->parsed->block_count)
		return false;

	enum block_kind kind = scan->parsed->blocks[scan->block].kind;

	return kind == BLOCK_CODE || kind == BLOCK_TABLE_ROW || kind == BLOCK_LIST_ITEM;
}

/* The strength of a cut right before the character cp at scan->at. */
static enum strength
strength_at(const struct scan *scan, uint32_t cp)
{
	const struct parsed *parsed = scan->parsed;

	if (scan->block < parsed->block_count && parsed->blocks[scan->block].start <= scan->at &&
	    parsed->blocks[scan->block].start >= scan->solid)
		return at_block_start(scan);
	if (scan->newlines > 1)
		return CUT_PARAGRAPH;
	if (scan->newlines == 1 && lines_count(scan))
		return CUT_SENTENCE;
	if (scan->stop && scan->space) /* "e.g. this" does not end there */
		return cp >= 'a' && cp <= 'z' ? CUT_WORD : CUT_SENTENCE;
	if (scan->space)
		return CUT_WORD;
	if (extends(cp) || scan->joiner)
		return CUT_NONE;
	if (scan->soft_stop && !is_closer(cp))
		return scan->stop ? CUT_SENTENCE : CUT_WORD;
	return CUT_CHARACTER;
}

static void
scan_start(struct scan *scan, const struct parsed *parsed, size_t at, size_t block)
{
	*scan = (struct scan){ .parsed = parsed, .at = at, .block = block, .solid = at };
	while (scan->block < parsed->block_count && parsed->blocks[scan->block].end <= at)
		scan->block++;
}

/* Passes the character cp of len bytes. */
static void
scan_pass(struct scan *scan, uint32_t cp, size_t len)
{
	bool space = len == 1 && parse_is_space((char)cp);

	if (space) {
		scan->newlines += cp == '\n';
		scan->space = true;
	} else {
		bool cjk_stop = is_cjk_stop(cp);
		bool closes = is_closer(cp) && !scan->space;

		scan->stop =
			cp == '.' || cp == '!' || cp == '?' || cjk_stop || (closes && scan->stop);
		scan->soft_stop = cjk_stop || cp == 0x3001 || cp == 0xff0c || cp == 0x3000 ||
				  (closes && scan->soft_stop);
		scan->joiner = cp == 0x200d;
		scan->space = false;
		scan->newlines = 0;
		scan->solid = scan->at + len;
	}
	scan->at += len;
	scan->chars++;
	while (scan->block < scan->parsed->block_count &&
	       scan->parsed->blocks[scan->block].end <= scan->at)
		scan->block++;
}

static size_t
char_at(struct str text, size_t at, uint32_t *cp)
{
	unsigned char c = (unsigned char)text.ptr[at];

	if (c < 0x80) {
		*cp = c;
		return 1;
	}
	return str_utf8_next(text, at, cp);
}

static size_t
skip_space(struct str text, size_t at)
{
	while (at < text.len && parse_is_space(text.ptr[at]))
		at++;
	return at;
}

/* ---- one cut ---- */

struct cut {
	size_t at;
	size_t block; /* of the scan there */
	enum strength strength;
};

/* A chunk being looked for, in characters from its start. */
struct search {
	const struct chunker *chunker;
	size_t fresh_chars; /* characters of overlap */
	struct cut best;
	bool found;
};

/* Weighs the place before the character cp; true: look no further. */
static bool
weigh(struct search *search, const struct scan *scan, uint32_t cp)
{
	enum strength strength = strength_at(scan, cp);
	size_t size = search->chunker->size;
	struct cut here = { .at = scan->at, .block = scan->block, .strength = strength };
	bool in_window = scan->chars <= size && scan->chars >= size / 2 &&
			 scan->chars >= search->fresh_chars + size / 4;

	if (strength == CUT_SECTION && scan->chars >= size / 3) {
		search->best = here;
		search->found = true;
		return true;
	}
	/* beyond the size only if the window was white space: what comes before is trimmed */
	if ((in_window && (!search->found || strength >= search->best.strength)) ||
	    (!search->found && scan->chars > size)) {
		search->best = here;
		search->found = true;
	}
	return false;
}

/* The place where the chunk that starts at `start`, with new text from `fresh` on, ends. */
static struct cut
find_cut(const struct chunker *chunker, size_t start, size_t fresh, size_t block)
{
	struct str text = chunker->parsed->text;
	size_t whole_max = chunker->size + chunker->size / 4;
	struct cut end = { text.len, chunker->parsed->block_count, CUT_SECTION };
	struct search search = { .chunker = chunker };
	struct scan scan;

	scan_start(&scan, chunker->parsed, start, block);
	while (scan.at < text.len && (scan.chars < whole_max || !search.found)) {
		uint32_t cp = 0;
		size_t len = char_at(text, scan.at, &cp);
		bool space = len == 1 && parse_is_space((char)cp);

		if (scan.at <= fresh)
			search.fresh_chars = scan.chars;
		else if (!space && weigh(&search, &scan, cp))
			return search.best;
		scan_pass(&scan, cp, len);
	}
	if (!search.found || (scan.chars <= whole_max && skip_space(text, scan.at) >= text.len))
		return end;
	return search.best;
}

/* The earliest good start in the last `overlap` characters before the cut, or the cut. */
static size_t
overlap_start(const struct chunker *chunker, size_t start, size_t block, const struct cut *cut)
{
	struct str text = chunker->parsed->text;
	size_t reach = cut->at, best = cut->at;
	enum strength best_strength = CUT_NONE;
	struct scan scan;

	if (chunker->overlap == 0 || cut->strength == CUT_SECTION)
		return cut->at;
	for (size_t chars = 0; reach > start && chars < chunker->overlap; chars++)
		reach = str_utf8_floor(text, reach - 1);
	if (reach <= start)
		return cut->at;

	/* from one character before, to know what stands before `reach` */
	scan_start(&scan, chunker->parsed, str_utf8_floor(text, reach - 1), block);
	while (scan.at < cut->at) {
		uint32_t cp = 0;
		size_t len = char_at(text, scan.at, &cp);

		if (scan.at >= reach && !(len == 1 && parse_is_space((char)cp))) {
			enum strength strength = strength_at(&scan, cp);
			enum strength rank = strength > CUT_SENTENCE ? CUT_SENTENCE : strength;

			if (strength == CUT_SECTION || rank > best_strength) {
				best = scan.at;
				best_strength = rank;
			}
		}
		scan_pass(&scan, cp, len);
	}
	return best;
}

/* ---- headings ---- */

static bool
path_build(struct chunker *chunker, struct err *err)
{
	AUTO(buf) struct buf path = BUF_INIT((size_t)LEVELS * (LABEL_MAX_BYTES + 3));
	void *copy = NULL;

	for (size_t i = 0; i < LEVELS; i++) {
		if (chunker->labels[i].len == 0)
			continue;
		if (path.len > 0)
			buf_add_str(&path, " > ");
		buf_add(&path, chunker->labels[i].ptr, chunker->labels[i].len);
	}
	if (!arena_alloc_err(chunker->arena, path.len + 1, "the chunks", &copy, err))
		return false;
	memcpy(copy, path.data, path.len);
	chunker->path = str_make(copy, path.len);
	return true;
}

/* A heading right under one that a chunk begins with names the chunk as well. */
static bool
is_subtitle(const struct parsed *parsed, size_t index, size_t at, size_t end)
{
	const struct block *block = &parsed->blocks[index];

	return index > 0 && block->kind == BLOCK_HEADING && block->start < end &&
	       block[-1].kind == BLOCK_HEADING && block[-1].start >= at &&
	       block[-1].level < block->level;
}

/* Takes in the headings that begin at or before `at`, where the new text of a chunk that goes to `end` begins. */
static bool
path_advance(struct chunker *chunker, size_t at, size_t end, struct err *err)
{
	const struct parsed *parsed = chunker->parsed;
	bool changed = false;

	for (; chunker->next_heading < parsed->block_count; chunker->next_heading++) {
		const struct block *block = &parsed->blocks[chunker->next_heading];

		if (block->start > at && !is_subtitle(parsed, chunker->next_heading, at, end))
			break;
		if (block->kind != BLOCK_HEADING)
			continue;

		int level = block->level < 1 ? 1 : block->level > LEVELS ? LEVELS : block->level;

		for (int i = level - 1; i < LEVELS; i++)
			chunker->labels[i] = STR("");
		chunker->labels[level - 1] =
			parse_fold(chunker->arena,
				   str_sub(parsed->text, block->label_start, block->label_end),
				   LABEL_MAX_BYTES);
		changed = true;
	}
	return !changed || path_build(chunker, err);
}

/* ---- all chunks ---- */

static int32_t
page_advance(struct chunker *chunker, size_t at)
{
	const struct parsed *parsed = chunker->parsed;

	while (chunker->page_block + 1 < parsed->block_count &&
	       parsed->blocks[chunker->page_block + 1].start <= at)
		chunker->page_block++;
	return parsed->block_count > 0 ? parsed->blocks[chunker->page_block].page : 0;
}

static bool
add_chunk(struct chunker *chunker, size_t start, size_t fresh, size_t end, struct err *err)
{
	struct str text = chunker->parsed->text;

	while (end > start && parse_is_space(text.ptr[end - 1]))
		end--;
	if (!path_advance(chunker, fresh, end, err))
		return false;
	if (chunker->count == chunker->cap) {
		chunker->cap = chunker->cap ? chunker->cap * 2 : 16;
		chunker->items = mem_grow(chunker->items, chunker->cap, sizeof(*chunker->items));
	}
	chunker->items[chunker->count++] = (struct chunk){
		.text = str_sub(text, start, end),
		.heading = chunker->path,
		.start = start,
		.end = end,
		.page = page_advance(chunker, fresh),
	};
	return true;
}

static bool
cut_all(struct chunker *chunker, struct err *err)
{
	struct str text = chunker->parsed->text;
	size_t start = skip_space(text, 0), fresh = start, block = 0;

	while (start < text.len) {
		struct cut cut = find_cut(chunker, start, fresh, block);

		if (!add_chunk(chunker, start, fresh, cut.at, err))
			return false;
		if (cut.at >= text.len)
			break;
		fresh = cut.at;
		start = overlap_start(chunker, start, block, &cut);
		if (start == fresh)
			block = cut.block;
	}
	return true;
}

bool
chunk_text(const struct parsed *parsed, const struct chunk_opts *opts, struct arena *arena,
	   struct chunk **out, size_t *out_count, struct err *err)
{
	AUTO(chunker) struct chunker chunker = { .parsed = parsed, .arena = arena };
	void *items = NULL;

	chunker.size = opts->size < SIZE_MIN ? SIZE_MIN : opts->size;
	chunker.overlap = opts->overlap < chunker.size / 2 ? opts->overlap : chunker.size / 2;
	chunker.path = STR("");
	if (!cut_all(&chunker, err))
		return false;
	if (chunker.count == 0)
		return err_set(err, ERR_EMPTY_TEXT, "the document has no text");
	if (!arena_alloc_err(arena, chunker.count * sizeof(struct chunk), "the chunks", &items,
			     err))
		return false;
	memcpy(items, chunker.items, chunker.count * sizeof(struct chunk));
	*out = items;
	*out_count = chunker.count;
	return true;
}
