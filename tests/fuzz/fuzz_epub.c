/* fuzz_epub: any parts of such a file; see office.h. */
#include "tests/fuzz/office.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "META-INF/container.xml",	"OEBPS/book.opf",
					     "OEBPS/text/ch1.xhtml",	"OEBPS/text/ch2.xhtml",
					     "META-INF/encryption.xml", NULL };

	return fuzz_office(read_epub, names, data, size);
}
