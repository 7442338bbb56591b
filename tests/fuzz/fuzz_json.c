/* fuzz_json: any bytes as JSON. What is read survives being written; canonical text is a fixed point. */
#include "common/json.h"
#include "tests/fuzz/fuzz.h"

static bool
parse_again(const struct buf *text, struct js **out)
{
	struct err err = ERR_INIT;

	return js_parse(text_of(text), out, &err);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_PTR(js_free) struct js *first = NULL;
	AUTO_PTR(js_free) struct js *second = NULL;
	AUTO_PTR(js_free) struct js *third = NULL;
	AUTO(buf) struct buf once = BUF_INIT(64 * MIB);
	AUTO(buf) struct buf twice = BUF_INIT(64 * MIB);
	AUTO(buf) struct buf plain = BUF_INIT(64 * MIB);
	AUTO(buf) struct buf thrice = BUF_INIT(64 * MIB);
	struct err err = ERR_INIT;

	if (!js_parse(str_make((const char *)data, size), &first, &err)) {
		must(err.code == ERR_MALFORMED || err.code == ERR_TOO_LARGE,
		     "refused with a reason");
		must(first == NULL, "nothing comes out of a refusal");
		return 0;
	}
	js_write_canonical(first, &once);
	must(str_utf8_valid(text_of(&once), NULL), "what is written is UTF-8");
	must(parse_again(&once, &second), "canonical text can be read");
	js_write_canonical(second, &twice);
	must(str_eq(text_of(&once), text_of(&twice)), "canonical text is a fixed point");

	js_write(first, &plain);
	must(parse_again(&plain, &third), "plain text can be read");
	js_write_canonical(third, &thrice);
	must(str_eq(text_of(&once), text_of(&thrice)), "plain text says the same");
	return 0;
}
