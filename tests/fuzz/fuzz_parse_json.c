/* fuzz_parse_json: any bytes as application/json; see document.h. */
#include "tests/fuzz/document.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_document("application/json", data, size);
}
