#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "jobs/step/parse.h"
#include "tests/support/text.h"

#define MIB ((size_t)1024 * 1024)

static const char *const media_types[] = { "text/plain", "text/markdown", "text/html",
					   "application/xhtml+xml", "application/json" };

static const struct parse_limits limits = { .max_text_bytes = 64 * MIB };

/* Each test's documents live here until its end. */
static struct arena arena;

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

static struct parsed
parse(const char *media_type, struct str bytes)
{
	struct parsed parsed = { 0 };
	struct err err = ERR_INIT;

	if (!parse_document(str_of(media_type), bytes, &limits, &arena, &parsed, &err))
		fail_msg("%s: %s", media_type, err.msg);
	if (text_check_parsed(&parsed))
		fail_msg("%s: %s", media_type, text_check_parsed(&parsed));
	return parsed;
}

static struct err
refused(const char *media_type, struct str bytes)
{
	struct parsed parsed = { 0 };
	struct err err = ERR_INIT;

	assert_false(parse_document(str_of(media_type), bytes, &limits, &arena, &parsed, &err));
	assert_null(parsed.text.ptr); /* untouched */
	return err;
}

static struct str
block_text(const struct parsed *parsed, size_t i)
{
	return str_sub(parsed->text, parsed->blocks[i].start, parsed->blocks[i].end);
}

/* With a byte order mark; 0xd83d 0xde00 is a pair. */
static void
bytes_that_are_utf16(void **state)
{
	struct parsed parsed = parse("text/plain", STR("\xff\xfeh\0i\0\r\0\n\0\x3d\xd8\0\xde"));

	(void)state;
	assert_true(str_eq_c(parsed.text, "hi\n\xf0\x9f\x98\x80"));
	parsed = parse("text/markdown", STR("\xfe\xff\0#\0 \0\xc4"));
	assert_true(str_eq_c(parsed.title, "\xc3\x84"));
	assert_non_null(strstr(refused("text/plain", STR("\xff\xfeh\0i")).msg, "UTF-16 at byte 4"));
	assert_non_null(strstr(refused("text/plain", STR("\xff\xfeh\0\0\xde")).msg, "byte 4"));
	assert_non_null(strstr(refused("text/plain", STR("\xff\xfe\x3d\xd8h\0")).msg, "byte 2"));
	assert_non_null(strstr(refused("text/plain", STR("\xff\xfe\x3d\xd8")).msg, "byte 2"));
}

/* blocks: "kind level text" joined by '|', e.g. "H1 Title|P words|L - item|C code|T a | b" with ; for a line break */
static void
assert_blocks(const char *media_type, const char *document, const char *expected)
{
	AUTO(buf) struct buf got = BUF_INIT((size_t)64 * 1024);
	struct parsed parsed = parse(media_type, str_of(document));

	for (size_t i = 0; i < parsed.block_count; i++) {
		struct str text = block_text(&parsed, i);

		buf_printf(&got, "%s%c%d ", i ? "~" : "", "PHLCT"[parsed.blocks[i].kind],
			   parsed.blocks[i].level);
		for (size_t k = 0; k < text.len; k++)
			buf_add_char(&got, (char)(text.ptr[k] == '\n' ? ';' : text.ptr[k]));
	}
	assert_string_equal(got.data, expected);
}

/* ---- all types ---- */

static void
media_types_and_parameters(void **state)
{
	(void)state;
	(void)parse("Text/Plain; charset=\"UTF-8\"", STR("x"));
	(void)parse("text/html;charset=us-ascii", STR("x"));
	assert_int_equal(refused("application/pdf", STR("x")).code, ERR_UNSUPPORTED_MEDIA);
	assert_int_equal(refused("", STR("x")).code, ERR_UNSUPPORTED_MEDIA);
	assert_int_equal(refused("text/plain; charset=latin1", STR("x")).code,
			 ERR_UNSUPPORTED_MEDIA);
}

static void
bytes_that_are_not_utf8(void **state)
{
	char text[20];

	(void)state;
	for (size_t type = 0; type < ARRAY_SIZE(media_types); type++) {
		for (size_t at = 0; at < sizeof(text); at++) {
			char number[32];

			memset(text, 'a', sizeof(text));
			text[at] = (char)(at % 2 ? 0xff : 0xc3); /* never valid; cut off */

			struct err err = refused(media_types[type], str_make(text, sizeof(text)));

			assert_int_equal(err.code, ERR_BAD_DOCUMENT);
			(void)snprintf(number, sizeof(number), "byte %zu", at);
			assert_non_null(strstr(err.msg, number));
		}
	}
}

static void
no_text(void **state)
{
	static const char *const empty[] = {
		"",
		" \n\t\r\n ",
		"\xef\xbb\xbf",
		"---\ntitle: x\n---\n \n",
		"<html><head><title>T</title></head><body><script>x</script></body></html>",
		"{\"a\": null, \"b\": [], \"c\": \" \"}",
	};
	static const char *const types[] = { "text/plain",    "text/html", "text/plain",
					     "text/markdown", "text/html", "application/json" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(empty); i++)
		assert_int_equal(refused(types[i], str_of(empty[i])).code, ERR_EMPTY_TEXT);
}

static void
too_much_text(void **state)
{
	const struct parse_limits small = { .max_text_bytes = 10 };
	struct parsed parsed;

	(void)state;
	for (size_t type = 0; type < 4; type++) {
		struct err err = ERR_INIT;

		assert_true(parse_document(str_of(media_types[type]), STR("0123456789"), &small,
					   &arena, &parsed, &err));
		assert_false(parse_document(str_of(media_types[type]), STR("0123456789a"), &small,
					    &arena, &parsed, &err));
		assert_int_equal(err.code, ERR_TOO_LARGE);
	}

	struct err err = ERR_INIT;

	assert_false(parse_document(str_of("application/json"), STR("\"0123456789a\""), &small,
				    &arena, &parsed, &err));
	assert_int_equal(err.code, ERR_TOO_LARGE);
}

/* Documents that ask for more than the working memory are refused by every parser, whatever the place. */
static void
too_little_memory(void **state)
{
	AUTO(buf) struct buf html = BUF_INIT(MIB);
	AUTO(buf) struct buf text = BUF_INIT(MIB);
	AUTO(buf) struct buf json = BUF_INIT(MIB);

	(void)state;
	buf_add_char(&json, '[');
	for (int i = 0; i < 3000; i++) {
		buf_add_str(&html, "<p>x");
		buf_add_str(&text, "# x\n\n");
		buf_printf(&json, "%s{\"a\":1}", i ? "," : "");
	}
	buf_add_char(&json, ']');

	const struct buf *documents[] = { &text, &text, &html, &html, &json };

	for (size_t type = 0; type < ARRAY_SIZE(media_types); type++) {
		for (size_t max = 1024; max < (size_t)150 * 1024; max += max / 2) {
			AUTO(arena) struct arena small;
			struct parsed parsed;
			struct err err = ERR_INIT;

			arena_init(&small, max);
			if (!parse_document(str_of(media_types[type]),
					    str_make(documents[type]->data, documents[type]->len),
					    &limits, &small, &parsed, &err))
				assert_int_equal(err.code, ERR_TOO_LARGE);
			else
				assert_null(text_check_parsed(&parsed));
		}
	}
}

static void
deadline_passed(void **state)
{
	const struct parse_limits late = { .max_text_bytes = MIB, .deadline_mono_ms = 1000 };
	struct parsed parsed;

	(void)state;
	clock_set_for_test(2000, -1);
	for (size_t type = 0; type < ARRAY_SIZE(media_types); type++) {
		struct err err = ERR_INIT;

		assert_false(parse_document(str_of(media_types[type]), STR("1"), &late, &arena,
					    &parsed, &err));
		assert_int_equal(err.code, ERR_DEADLINE);
	}
	clock_set_for_test(-1, -1);
}

/* ---- text ---- */

static void
plain_text(void **state)
{
	(void)state;
	assert_blocks("text/plain",
		      "\xef\xbb\xbf one\r\ntwo\rthree \r\n \t\r\n\r\nfour\f\x01 five\x7f\n",
		      "P0 one;two;three~P0 four; five");

	struct parsed parsed = parse("text/plain", STR("a\0b\xc2\x85\xc2\x80z"));

	assert_true(str_eq_c(parsed.text, "ab\nz"));
	assert_int_equal(parsed.title.len, 0);
}

/* ---- Markdown ---- */

static void
markdown_blocks(void **state)
{
	(void)state;
	assert_blocks("text/markdown",
		      "# One #\ntext\nmore\n## Two\n\nThree\n=====\nFour\n----\nend",
		      "H1 # One #~P0 text;more~H2 ## Two~H1 Three;=====~H2 Four;----~P0 end");
	assert_blocks("text/markdown", "#no\n####### no\n#\n  ### yes\n",
		      "P0 #no;####### no~H1 #~H3 ### yes");
	assert_blocks("text/markdown", "- a\n  b\n* c\n\n  d\n1. e\n12) f\n-g\n\nnext",
		      "L0 - a;  b~L0 * c~L0 d~L0 1. e~L0 12) f;-g~P0 next");
	assert_blocks("text/markdown", "p\n```c\n# no\n\n- no\n~~~\n```\nq\n~~~~\nx\n~~~\n~~~~\n",
		      "P0 p~C0 ```c;# no;;- no;~~~;```~P0 q~C0 ~~~~;x;~~~;~~~~");
	assert_blocks("text/markdown", "```\nnever closed\n\n# x", "C0 ```;never closed;;# x");
	assert_blocks("text/markdown", "a\n\n    code\n      more\n\ttab\nb",
		      "P0 a~C0     code;      more;\ttab~P0 b");
	assert_blocks("text/markdown", "| a | b |\n|---|:-:|\n| 1 | 2 |\n3 | 4\n\nafter | x",
		      "T0 | a | b |;|---|:-:|~T0 | 1 | 2 |~T0 3 | 4~P0 after | x");
	assert_blocks("text/markdown", "a\n\n***\n\n> quote\n> more",
		      "P0 a~P0 ***~P0 > quote;> more");
}

static void
markdown_labels_and_title(void **state)
{
	struct parsed parsed =
		parse("text/markdown", STR("intro\n\n## Two ##\nx\n\nOne  more\nline\n===\n"));
	const struct block *two = &parsed.blocks[1], *one = &parsed.blocks[3];

	(void)state;
	assert_true(str_eq_c(str_sub(parsed.text, two->label_start, two->label_end), "Two"));
	assert_true(str_eq_c(str_sub(parsed.text, one->label_start, one->label_end),
			     "One  more\nline"));
	assert_true(str_eq_c(parsed.title, "One more line")); /* the first of level 1 */
	assert_true(str_eq_c(parse("text/markdown", STR("x\n### C# ###\n")).title, "C#"));
}

static void
markdown_front_matter(void **state)
{
	struct parsed parsed = parse("text/markdown",
				     STR("---\r\ntitle: \"A: b\"\r\ntags: [x]\r\n---\r\n# Head\n"));

	(void)state;
	assert_true(str_eq_c(parsed.title, "A: b"));
	assert_true(str_eq_c(parsed.text, "# Head\n"));
	assert_blocks("text/markdown", "---\nno keys here\n---\nx",
		      "P0 ---~H2 no keys here;---~P0 x");
	assert_blocks("text/markdown", "---\na: never closed\n", "P0 ---~P0 a: never closed");
}

/* ---- HTML ---- */

static void
html_blocks(void **state)
{
	(void)state;
	assert_blocks("text/html",
		      "<h1>A &amp; B</h1>x<p>one<b>two</b> \n three<div>four</div>five",
		      "H1 A & B~P0 x~P0 onetwo three~P0 four~P0 five");
	assert_blocks("text/html",
		      "<ul><li>a<li><p>b</p><p>c</p></ul><ol><li>x<ul><li>y</ul><li>z</ol>",
		      "L0 - a~L0 - b~L0 c~L0 1. x~L0 - y~L0 2. z");
	assert_blocks("text/html", "<dl><dt>term<dd>meaning</dl>", "L0 term~L0 meaning");
	assert_blocks("text/html",
		      "<table><caption>C</caption><tr><th>h<th>i<tr><td>1<td></td><td><p>2</"
		      "p><p>3</p></table>",
		      "P0 C~T0 h | i~T0 1 | 2;3");
	assert_blocks("text/html", "a<pre>\n  x  y\n\tz\n\n</pre>b<br>c <code> d </code>",
		      "P0 a~C0   x  y;\tz~P0 b;c d");
	assert_blocks("text/html",
		      "a&nbsp;b&shy;c &eacute;&#x6f22;&#0;&#1;&nosuch; <img alt='pic'>.",
		      "P0 a bc \xc3\xa9\xe6\xbc\xa2&nosuch; pic .");
	assert_blocks("text/html", "<html><body>one</body></html>two<p>three</html>",
		      "P0 one~P0 two~P0 three");
}

static void
html_left_out(void **state)
{
	(void)state;
	assert_blocks("text/html",
		      "a<script>if (x<b) '</p>'</script><style>p{}</style><noscript>n</noscript>"
		      "<template><p>t</template><svg><title>s</title><text>t</text></svg><!-- c -->"
		      "<nav><ul><li>n</ul></nav><div role=navigation>n</div><div class='top "
		      "nav-bar'>n</div>"
		      "<div class=navheader><table><tr><td>n</table></div><p hidden>h<p "
		      "style='display:none'>h"
		      "<select><option>o</select><iframe>i</iframe><p class=navy "
		      "id=navigation>kept<footer>f</footer>",
		      "P0 a~P0 kept~P0 f");
	assert_blocks("text/html", "<body class=navbar><p>x", "P0 x");
	assert_blocks("text/html", "<div class=nav><div>a<div>b</div></div>c</div>d", "P0 d");
}

static void
html_title(void **state)
{
	struct parsed parsed = parse("text/html", STR("<title> A\n &lt;b&gt; </title><h1>H</h1>x"));

	(void)state;
	assert_true(str_eq_c(parsed.title, "A <b>"));
	assert_true(
		str_eq_c(parse("text/html", STR("x<h2>First</h2><h1>Second</h1>")).title, "First"));
	assert_null(strstr(parsed.text.ptr, "<b>"));
}

static void
html_encoding_is_utf8(void **state)
{
	AUTO(buf) struct buf html = BUF_INIT(MIB);
	struct str piece = STR("é漢👍 ");

	(void)state;
	buf_add_str(&html, "<?xml version='1.0' encoding='iso-8859-1'?><html><head>"
			   "<meta charset=windows-1252><meta http-equiv=Content-Type "
			   "content='text/html; charset=shift_jis'></head><body>");
	for (int i = 0; i < 5000; i++) /* over many pieces of the parser's input */
		buf_add(&html, piece.ptr, piece.len);

	struct parsed parsed = parse("text/html", str_make(html.data, html.len));

	assert_int_equal(parsed.text.len, piece.len * 5000 - 1);
	for (size_t at = 0; at + piece.len <= parsed.text.len; at += piece.len)
		assert_memory_equal(parsed.text.ptr + at, piece.ptr, piece.len);
}

/* `open` count times, then `inside` */
static struct str
nested(struct buf *out, const char *open, size_t count, const char *inside)
{
	for (size_t i = 0; i < count; i++)
		buf_add_str(out, open);
	buf_add_str(out, inside);
	assert_true(buf_ok(out));
	return str_make(out->data, out->len);
}

static void
html_nested_deep(void **state)
{
	static const size_t depths[] = { 255, 300, 5000, 200000 };
	static const char *const opens[] = { "<div>",		"<b>",
					     "<div><p>",	"<ul><li>",
					     "<table><tr><td>", "<blockquote>" };

	(void)state;
	for (size_t d = 0; d < ARRAY_SIZE(depths); d++) {
		for (size_t o = 0; o < ARRAY_SIZE(opens); o++) {
			AUTO(buf) struct buf html = BUF_INIT(8 * MIB);
			struct parsed parsed =
				parse("text/html", nested(&html, opens[o], depths[d], "deep"));

			assert_non_null(memmem(parsed.text.ptr, parsed.text.len, "deep", 4));
			arena_reset(&arena);
		}
	}
}

/* What takes quadratic time somewhere inside the parser is refused, quickly enough for this test to end. */
static void
html_built_to_take_for_ever(void **state)
{
	AUTO(buf) struct buf html = BUF_INIT(16 * MIB);
	struct err err;

	(void)state;
	buf_add_str(&html, "<a");
	for (int i = 0; i < 1000000; i++)
		buf_printf(&html, " a%d=1", i);
	buf_add_str(&html, ">text</a>");
	err = refused("text/html", str_make(html.data, html.len));
	assert_int_equal(err.code, ERR_BAD_DOCUMENT);
	assert_non_null(strstr(err.msg, "attributes"));

	buf_clear(&html);
	(void)nested(&html, "<div>", 200000, "");
	err = refused("text/html", nested(&html, "</span>", 1000000, "deep"));
	assert_int_equal(err.code, ERR_BAD_DOCUMENT);
	assert_non_null(strstr(err.msg, "nested"));
}

static void
html_hostile_but_read(void **state)
{
	AUTO(buf) struct buf html = BUF_INIT(16 * MIB);
	struct parsed parsed;

	(void)state;
	parsed = parse("text/html", nested(&html, "<", 3000000, " end"));
	assert_true(parsed.text.len >= 3000003 && str_ends(parsed.text, "end"));

	buf_clear(&html);
	buf_add_str(&html, "before <!-- ");
	parsed = parse("text/html", nested(&html, "x", 8000000, ""));
	assert_true(str_eq_c(parsed.text, "before"));

	buf_clear(&html);
	buf_add_str(&html, "before <!-- ");
	parsed = parse("text/html", nested(&html, "x", 8000000, " --> after"));
	assert_true(str_eq_c(parsed.text, "before after"));

	buf_clear(&html);
	buf_add_str(&html, "<img src='data:");
	parsed = parse("text/html", nested(&html, "A", 8000000, "' alt=pic> after"));
	assert_true(str_eq_c(parsed.text, "pic after"));

	buf_clear(&html);
	assert_int_equal(refused("text/html", nested(&html, "<a", 1000000, "")).code,
			 ERR_EMPTY_TEXT);
	buf_clear(&html);
	parsed = parse("text/html", STR("<!DOCTYPE x [<!ENTITY a 'aaa'><!ENTITY b '&a;&a;'>"
					"<!ENTITY f SYSTEM 'file:///etc/passwd'>]><p>&b;&f;"));
	assert_null(memmem(parsed.text.ptr, parsed.text.len, "root:", 5));
	assert_true(str_ends(parsed.text, "&b;&f;"));
}

/* ---- JSON ---- */

static void
json_text(void **state)
{
	(void)state;
	assert_blocks(
		"application/json",
		"{\"title\":\"T\",\"n\":1.5,\"ok\":true,\"no\":null,\"tags\":[\"a\",\"b\",2],"
		"\"author\":{\"name\":\"N\",\"born\":1970},\"steps\":[{\"do\":\"x\"},{\"do\":\"y\"}"
		"],"
		"\"parts\":[{\"title\":\"P\",\"size\":3}],\"last\":\"z\"}",
		"P0 title: T;n: 1.5;ok: true;tags: a, b, 2;last: z~H1 author~P0 name: N;born: 1970~"
		"H1 steps~P0 do: x~P0 do: y~H1 parts~H2 P~P0 title: P;size: 3");
	assert_blocks("application/json", "{\"body\":\"one\\ntwo\\n\\nthree\",\"x\":1}",
		      "P0 body:~P0 one;two~P0 three~P0 x: 1");
	assert_blocks("application/json", "\"just \\u00e9\\u0007 text\"", "P0 just \xc3\xa9 text");
	assert_blocks("application/json", "[1,[2,3],\"x\"]", "P0 1~L0 - 2~L0 - 3~P0 x");
	assert_true(str_eq_c(parse("application/json", STR("{\"name\":\"N\"}")).title, "N"));
}

static void
json_refused(void **state)
{
	AUTO(buf) struct buf json = BUF_INIT(4 * MIB);
	struct err err = refused("application/json", STR("{\"a\":1,}"));

	(void)state;
	assert_int_equal(err.code, ERR_BAD_DOCUMENT);
	assert_non_null(strstr(err.msg, "line 1"));
	err = refused("application/json", nested(&json, "[", 1000000, ""));
	assert_int_equal(err.code, ERR_BAD_DOCUMENT);
	assert_int_equal(refused("application/json", STR("1 2")).code, ERR_BAD_DOCUMENT);
}

/* ---- any input ---- */

static void
markdown_hostile(void **state)
{
	static const char *const pieces[] = { "#", ">",	   "[",	 "- ",	"```\n", "|",	"|-\n",
					      "*", "    ", "\t", "1. ", "\n---", "=\n", "~~~" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		AUTO(buf) struct buf text = BUF_INIT(4 * MIB);

		(void)parse("text/markdown", nested(&text, pieces[i], 100000, "x"));
	}
}

/* Random mixtures of marks, tags and characters keep every promise, as every type. */
static void
random_documents(void **state)
{
	static const char *const tags[] = { "<p>",
					    "</p>",
					    "<li>",
					    "<ul>",
					    "</ul>",
					    "<table>",
					    "<tr>",
					    "<td>",
					    "</table>",
					    "<pre>",
					    "</pre>",
					    "<h2>",
					    "</h2>",
					    "<br>",
					    "<nav>",
					    "</nav>",
					    "<title>",
					    "</title>",
					    "<div class=nav>",
					    "</div>",
					    "<dl><dt>",
					    "<dd>",
					    "<!--",
					    "-->",
					    "<ol>",
					    "<script>",
					    "</script>",
					    "&#8205;",
					    "<" };

	(void)state;
	for (uint64_t seed = 1; seed <= 3000; seed++) {
		AUTO(buf) struct buf text = BUF_INIT(MIB);
		struct text_random random = { seed * 7919 };
		const char *type = media_types[seed % 3];

		for (int i = 0; i < 8; i++) {
			text_random_fill(&random, &text, (size_t)text_random(&random, 12));
			if (seed % 3 == 2)
				buf_add_str(&text, tags[text_random(&random, ARRAY_SIZE(tags))]);
		}

		struct parsed parsed = { 0 };
		struct err err = ERR_INIT;

		if (!parse_document(str_of(type), str_make(text.data, text.len), &limits, &arena,
				    &parsed, &err))
			assert_int_equal(err.code, ERR_EMPTY_TEXT);
		else if (text_check_parsed(&parsed))
			fail_msg("seed %d, %s: %s: %s", (int)seed, type, text_check_parsed(&parsed),
				 text.data);
		arena_reset(&arena);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(media_types_and_parameters, arena_open,
						arena_close),
		cmocka_unit_test_setup_teardown(bytes_that_are_utf16, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(bytes_that_are_not_utf8, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(no_text, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(too_much_text, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(too_little_memory, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(deadline_passed, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(plain_text, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(markdown_blocks, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(markdown_labels_and_title, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(markdown_front_matter, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(html_blocks, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(html_left_out, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(html_title, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(html_encoding_is_utf8, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(html_nested_deep, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(html_built_to_take_for_ever, arena_open,
						arena_close),
		cmocka_unit_test_setup_teardown(html_hostile_but_read, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(json_text, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(json_refused, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(markdown_hostile, arena_open, arena_close),
		cmocka_unit_test_setup_teardown(random_documents, arena_open, arena_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
