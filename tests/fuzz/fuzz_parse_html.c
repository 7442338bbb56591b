/* fuzz_parse_html: any bytes as text/html; see document.h. */
#include "tests/fuzz/document.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_document("text/html", data, size);
}
