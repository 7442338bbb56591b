/* fuzz_parse_markdown: any bytes as text/markdown; see document.h. */
#include "tests/fuzz/document.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_document("text/markdown", data, size);
}
