/* fuzz_xlsx: any parts of such a file; see office.h. */
#include "tests/fuzz/office.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "_rels/.rels",
					     "xl/workbook.xml",
					     "xl/_rels/workbook.xml.rels",
					     "xl/sharedStrings.xml",
					     "xl/styles.xml",
					     "xl/worksheets/sheet1.xml",
					     "xl/worksheets/sheet2.xml",
					     NULL };

	return fuzz_office(read_xlsx, names, data, size);
}
