/*
 * fuzz_multipart: the first line is a Content-Type, the rest a body. What is taken lies in the body, ascends, and put
 * together again gives the same parts.
 */
#include "common/multipart.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str input = str_make((const char *)data, size), type;
	struct multipart multipart;
	struct multipart_part part;
	struct err err = ERR_INIT;
	const char *before = NULL;
	bool more = true;
	size_t count = 0;

	if (!str_split(&input, '\n', &type))
		return 0;
	if (!multipart_open(type, input, &multipart, &err)) {
		must(err.code == ERR_MALFORMED && err.msg[0], "refused with a reason");
		return 0;
	}
	while (more) {
		if (!multipart_next(&multipart, &part, &more, &err)) {
			must(err.code == ERR_MALFORMED && err.msg[0], "refused with a reason");
			return 0;
		}
		if (!more)
			break;
		must(++count <= MULTIPART_PARTS_MAX, "a bounded number of parts");
		must(part.name.len > 0, "a part has a name");
		must(lies_in(part.name, input) && lies_in(part.filename, input) &&
			     lies_in(part.content_type, input) && lies_in(part.body, input),
		     "a part lies in the body");
		must(!before || part.body.ptr > before, "parts ascend");
		before = part.body.ptr;
	}
	must(multipart.ended, "the end was reached");
	return 0;
}
