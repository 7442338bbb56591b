#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/auto.h"
#include "jobs/step/chunk.h"
#include "tests/support/text.h"

#define MIB ((size_t)1024 * 1024)

static struct arena arena;
static struct chunk *chunks;
static size_t count;
static struct parsed parsed;

static int
arena_open(void **state)
{
	(void)state;
	arena_init(&arena, 512 * MIB);
	return 0;
}

static int
arena_close(void **state)
{
	(void)state;
	arena_release(&arena);
	return 0;
}

/* Parses and cuts; every promise is checked. */
static void
cut(const char *media_type, struct str bytes, size_t size, size_t overlap)
{
	const struct parse_limits limits = { .max_text_bytes = 64 * MIB };
	const struct chunk_opts opts = { size, overlap };
	struct err err = ERR_INIT;

	if (!parse_document(str_of(media_type), bytes, &limits, &arena, &parsed, &err) ||
	    !chunk_text(&parsed, &opts, &arena, &chunks, &count, &err))
		fail_msg("%s", err.msg);
	if (text_check_chunks(&parsed, &opts, chunks, count))
		fail_msg("size %zu, overlap %zu: %s", size, overlap,
			 text_check_chunks(&parsed, &opts, chunks, count));
}

static struct str
repeat(struct buf *out, const char *piece, size_t times)
{
	for (size_t i = 0; i < times; i++)
		buf_add_str(out, piece);
	assert_true(buf_ok(out));
	return str_make(out->data, out->len);
}

static void
small_document_is_one_chunk(void **state)
{
	(void)state;
	cut("text/plain", STR("  Hello there.\n\nBye. \n"), 100, 20);
	assert_int_equal(count, 1);
	assert_true(str_eq_c(chunks[0].text, "Hello there.\n\nBye."));
	assert_int_equal(chunks[0].heading.len, 0);
}

static void
white_space_only(void **state)
{
	const struct parsed blank = { .text = STR(" \n\t  \n") };
	const struct chunk_opts opts = { 100, 10 };
	struct err err = ERR_INIT;

	(void)state;
	assert_false(chunk_text(&blank, &opts, &arena, &chunks, &count, &err));
	assert_int_equal(err.code, ERR_EMPTY_TEXT);
}

static void
sections_are_kept_apart(void **state)
{
	AUTO(buf) struct buf text = BUF_INIT(MIB);

	(void)state;
	buf_add_str(&text, "# Book\n\n## First\n\n");
	(void)repeat(&text, "Alpha beta. ", 10);
	buf_add_str(&text, "\n\n## Second\n\n");
	(void)repeat(&text, "Gamma delta. ", 10);
	buf_add_str(&text, "\n\n### Deeper\n\n");
	(void)repeat(&text, "Epsilon. ", 12);
	buf_add_str(
		&text,
		"\n\n# Other\n\nShort end that is long enough to stand, really, as it has words.");
	cut("text/markdown", str_make(text.data, text.len), 200, 50);
	assert_int_equal(count, 4);
	assert_true(str_eq_c(chunks[0].heading, "Book > First"));
	assert_true(str_starts(chunks[0].text, "# Book\n\n## First"));
	assert_true(str_eq_c(chunks[1].heading, "Book > Second"));
	assert_true(str_starts(chunks[1].text, "## Second"));
	assert_true(str_eq_c(chunks[2].heading, "Book > Second > Deeper"));
	assert_true(str_eq_c(chunks[3].heading, "Other"));
	assert_true(str_ends(chunks[2].text, "Epsilon.")); /* no overlap over a section's end */
}

static void
cuts_prefer_sentences_to_words(void **state)
{
	AUTO(buf) struct buf text = BUF_INIT(MIB);

	(void)state;
	cut("text/plain", repeat(&text, "One two three four five six. ", 200), 100, 0);
	for (size_t i = 0; i < count; i++) {
		assert_true(str_starts(chunks[i].text, "One"));
		assert_true(str_ends(chunks[i].text, "six."));
	}
	cut("text/plain", str_make(text.data, text.len), 100, 40);
	for (size_t i = 1; i < count; i++) {
		assert_true(chunks[i].start < chunks[i - 1].end); /* overlaps ... */
		assert_true(str_starts(chunks[i].text, "One"));	  /* ... by whole sentences */
		assert_true(chunks[i - 1].end - chunks[i].start <= 40);
	}
	buf_clear(&text);
	cut("text/plain", repeat(&text, "word ", 1000), 100, 20);
	for (size_t i = 0; i < count; i++) {
		assert_true(str_starts(chunks[i].text, "word"));
		assert_true(str_ends(chunks[i].text, "word"));
	}
}

static void
heading_does_not_end_a_chunk(void **state)
{
	AUTO(buf) struct buf text = BUF_INIT(MIB);

	(void)state;
	for (int i = 0; i < 60; i++) {
		buf_printf(&text, "## Section %d\n\n", i);
		(void)repeat(&text, "Some words here. ", (size_t)(i * 7 % 31) + 1);
		buf_add_str(&text, "\n\n");
	}
	cut("text/markdown", str_make(text.data, text.len), 150, 30);
	for (size_t i = 0; i < count; i++)
		assert_true(str_ends(chunks[i].text, "."));
}

static void
no_crumb_at_the_end(void **state)
{
	AUTO(buf) struct buf text = BUF_INIT(MIB);

	(void)state;
	(void)repeat(&text, "Twenty characters. ", 6);
	cut("text/plain", str_make(text.data, text.len), 100, 0);
	assert_int_equal(count, 1); /* 114 characters: not 95 and 19 */
}

static void
text_without_spaces(void **state)
{
	AUTO(buf) struct buf line = BUF_INIT(8 * MIB);
	AUTO(buf) struct buf cjk = BUF_INIT(8 * MIB);
	AUTO(buf) struct buf emoji = BUF_INIT(8 * MIB);

	(void)state;
	cut("text/plain", repeat(&line, "x", 5 * MIB), 1000, 100);
	assert_in_range(count, 5 * MIB / 1000, 5 * MIB / 500);
	assert_int_equal(chunks[0].end - chunks[1].start, 100); /* overlap needs no spaces */
	arena_reset(&arena);

	cut("text/plain", repeat(&cjk, "漢字仮名、交じりの文章。", 20000), 200, 30);
	for (size_t i = 0; i < count; i++)
		assert_true(str_ends(chunks[i].text, "。"));
	arena_reset(&arena);

	/* a family of seven code points stays together while its size allows */
	cut("text/plain", repeat(&emoji, "👨‍👩‍👧‍👦", 20000), 100, 20);
	for (size_t i = 0; i < count; i++) {
		assert_true(str_starts(chunks[i].text, "👨"));
		assert_true(str_ends(chunks[i].text, "👦"));
	}
}

static void
long_white_space(void **state)
{
	AUTO(buf) struct buf text = BUF_INIT(8 * MIB);

	(void)state;
	for (int i = 0; i < 5; i++) {
		buf_add_str(&text, "words before ");
		(void)repeat(&text, i % 2 ? " " : "\n", 300000);
		buf_add_str(&text, "words after ");
	}
	cut("text/plain", str_make(text.data, text.len), 100, 50);
	assert_in_range(count, 5, 12);
	cut("text/markdown", str_make(text.data, text.len), 100, 50);

	buf_clear(&text); /* a last character far behind the rest */
	buf_add_str(&text, "words ");
	(void)repeat(&text, "\n", 500);
	buf_add_str(&text, "!");
	cut("text/plain", repeat(&text, "\n", 500), 100, 50);
	assert_int_equal(count, 2);
}

static void
only_headings_and_only_combining_marks(void **state)
{
	AUTO(buf) struct buf headings = BUF_INIT(8 * MIB);
	AUTO(buf) struct buf marks = BUF_INIT(8 * MIB);

	(void)state;
	for (int i = 0; i < 20000; i++)
		buf_printf(&headings, "%.*s t%d\n", i % 6 + 1, "######", i);
	cut("text/markdown", str_make(headings.data, headings.len), 100, 50);
	cut("text/plain", repeat(&marks, "\xcc\x81", 200000), 100, 50);
	cut("text/plain", repeat(&marks, "\xe2\x80\x8d", 200000), 100, 50);
}

static void
heading_path_is_bounded(void **state)
{
	AUTO(buf) struct buf text = BUF_INIT(8 * MIB);

	(void)state;
	for (int level = 1; level <= 6; level++) {
		(void)repeat(&text, "#", (size_t)level);
		buf_add_char(&text, ' ');
		(void)repeat(&text, "é", 5000);
		buf_add_str(&text, "\n\n");
	}
	buf_add_str(&text, "the end");
	cut("text/markdown", str_make(text.data, text.len), 1000, 100);
	assert_in_range(chunks[count - 1].heading.len, 1000, 6 * 203);
}

/* Random text, and random blocks over it, at many sizes. */
static void
random_documents(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4000; seed++) {
		AUTO(buf) struct buf text = BUF_INIT(MIB);
		struct text_random random = { seed * 104729 };
		size_t size = 16 + (size_t)text_random(&random, seed % 2 ? 200 : 40);
		size_t overlap = (size_t)text_random(&random, size);
		const struct parse_limits limits = { .max_text_bytes = MIB };
		const struct chunk_opts opts = { size, overlap };
		struct err err = ERR_INIT;

		text_random_fill(&random, &text, (size_t)text_random(&random, 600));
		if (!parse_document(seed % 3 ? STR("text/markdown") : STR("text/plain"),
				    str_make(text.data, text.len), &limits, &arena, &parsed, &err))
			continue;
		for (size_t i = 0; i < parsed.block_count; i++) { /* any kind anywhere */
			if (text_random(&random, 3))
				continue;
			parsed.blocks[i].kind = (enum block_kind)text_random(&random, 5);
			parsed.blocks[i].level = (int)text_random(&random, 9);
			parsed.blocks[i].label_start = parsed.blocks[i].start;
			parsed.blocks[i].label_end = parsed.blocks[i].end;
		}
		if (!text_random(&random, 5))
			parsed.block_count = 0; /* a text without any structure */
		assert_true(chunk_text(&parsed, &opts, &arena, &chunks, &count, &err));
		if (text_check_chunks(&parsed, &opts, chunks, count))
			fail_msg("seed %d, size %zu, overlap %zu: %s", (int)seed, size, overlap,
				 text_check_chunks(&parsed, &opts, chunks, count));

		struct chunk *again = NULL;
		size_t again_count = 0;

		assert_true(chunk_text(&parsed, &opts, &arena, &again, &again_count, &err));
		assert_int_equal(again_count, count);
		for (size_t i = 0; i < count; i++)
			assert_true(again[i].start == chunks[i].start &&
				    again[i].end == chunks[i].end);
		arena_reset(&arena);
	}
}

static void
too_little_memory(void **state)
{
	AUTO(buf) struct buf text = BUF_INIT(MIB);
	const struct chunk_opts opts = { 100, 20 };

	(void)state;
	cut("text/markdown", repeat(&text, "# h\n\nsome words to cut into pieces\n\n", 1000), 100,
	    20);
	for (size_t max = 16; max < 100000; max *= 3) {
		AUTO(arena) struct arena small;
		struct err err = ERR_INIT;

		arena_init(&small, max);
		if (!chunk_text(&parsed, &opts, &small, &chunks, &count, &err))
			assert_int_equal(err.code, ERR_TOO_LARGE);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(small_document_is_one_chunk, arena_open,
						arena_close),
		cmocka_unit_test_setup_teardown(white_space_only, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(sections_are_kept_apart, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(cuts_prefer_sentences_to_words, arena_open,
						arena_close),
		cmocka_unit_test_setup_teardown(heading_does_not_end_a_chunk, arena_open,
						arena_close),
		cmocka_unit_test_setup_teardown(no_crumb_at_the_end, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(text_without_spaces, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(long_white_space, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(only_headings_and_only_combining_marks, arena_open,
						arena_close),
		cmocka_unit_test_setup_teardown(heading_path_is_bounded, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(random_documents, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(too_little_memory, arena_open, arena_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
