/* fuzz_rtf: any bytes as such a document; see office.h. */
#include "tests/fuzz/office.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_reader(read_rtf, str_make((const char *)data, size));
	return 0;
}
