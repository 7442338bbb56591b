/* fuzz_json_text: any bytes as a text to be written as JSON: always readable; valid text comes back as it was. */
#include <string.h>

#include "common/json.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make((const char *)data, size);
	AUTO(buf) struct buf out = BUF_INIT(64 * MIB);
	AUTO_PTR(js_free) struct js *root = NULL;
	struct jw w = jw_start(&out);
	struct err err = ERR_INIT;

	jw_str(&w, text);
	must(str_utf8_valid(text_of(&out), NULL), "what is written is UTF-8");
	if (size > 0 && memchr(data, '\0', size))
		return 0; /* written as an escape that our own reader refuses */
	must(js_parse(text_of(&out), &root, &err), "any text can be written as JSON");
	must(js_is(root, JS_STRING), "a text is a string");
	if (str_utf8_valid(text, NULL))
		must(str_eq(js_str(root), text), "valid text comes back as it was");
	return 0;
}
