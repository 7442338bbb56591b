/* fuzz_parse_text: any bytes as text/plain; see document.h. */
#include "tests/fuzz/document.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_document("text/plain", data, size);
}
