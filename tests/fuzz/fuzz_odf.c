/* fuzz_odf: any parts of such a file; see office.h. */
#include "tests/fuzz/office.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "content.xml", "meta.xml", "META-INF/manifest.xml",
					     NULL };

	return fuzz_office(read_odf, names, data, size);
}
