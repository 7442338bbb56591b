/* fuzz_parse_csv: any bytes as text/csv; see document.h. */
#include "tests/fuzz/document.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_document("text/csv", data, size);
}
