/* fuzz_docx: any parts of such a file; see office.h. */
#include "tests/fuzz/office.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "_rels/.rels",
					     "word/document.xml",
					     "word/_rels/document.xml.rels",
					     "word/styles.xml",
					     "word/footnotes.xml",
					     "docProps/core.xml",
					     NULL };

	return fuzz_office(read_docx, names, data, size);
}
