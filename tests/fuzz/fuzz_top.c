/* fuzz_top: whatever a server answers, the screen of `ragctl top` fits the terminal and has nothing that a terminal would obey. */
#include "cli/text.h"
#include "cli/top_view.h"
#include "common/json.h"
#include "tests/fuzz/fuzz.h"

static void
check_line(struct str line, size_t columns)
{
	must(columns == 0 || text_columns(line) <= columns, "a line fits the terminal");
	for (size_t at = 0; at < line.len;) {
		uint32_t cp = 0;

		at += str_utf8_next(line, at, &cp);
		must(cp >= 0x20 && !(cp >= 0x7f && cp <= 0x9f), "no control character");
		must(!(cp >= 0x202a && cp <= 0x202e) && !(cp >= 0x2066 && cp <= 0x2069),
		     "no change of direction");
	}
}

static void
check_screen(struct str screen, size_t columns, size_t rows)
{
	struct str line;
	size_t count = 0;

	must(str_utf8_valid(screen, NULL), "the screen is UTF-8");
	for (; str_split(&screen, '\n', &line); count++)
		check_line(line, columns);
	must(rows == 0 || count <= rows, "the lines fit the terminal");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t columns = take_byte(&data, &size) % 200, rows = take_byte(&data, &size) % 60;
	struct top_state state = { .url = "http://127.0.0.1:8000", .now_unix_ms = 1700000000000 };
	AUTO_PTR(js_free) struct js *root = NULL, *again = NULL;
	AUTO(buf) struct buf out = BUF_INIT(64 * MIB);
	struct err err = ERR_INIT;

	if (!js_parse(str_make((const char *)data, size), &root, &err))
		return 0;
	state.queues = state.workers = root;
	for (size_t i = 0; i < TOP_MAX_FAILURES && js_is(root, JS_ARRAY) && i < js_len(root); i++) {
		state.failures[state.failure_count++] = js_at(root, i);
		if (i < TOP_MAX_BATCHES)
			state.batches[state.batch_count++] = js_at(root, i);
	}
	top_view(&state, columns, rows, &out);
	check_screen(text_of(&out), columns, rows);
	buf_clear(&out);
	top_view_plain(&state, &out);
	check_screen(text_of(&out), 0, 0);
	buf_clear(&out);
	top_view_json(&state, &out);
	must(js_parse(text_of(&out), &again, &err), "the JSON form is JSON");
	return 0;
}
