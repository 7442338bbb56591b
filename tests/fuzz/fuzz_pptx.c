/* fuzz_pptx: any parts of such a file; see office.h. */
#include "tests/fuzz/office.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "_rels/.rels",
					     "ppt/presentation.xml",
					     "ppt/_rels/presentation.xml.rels",
					     "ppt/slides/slide1.xml",
					     "ppt/slides/_rels/slide1.xml.rels",
					     "ppt/notesSlides/notes1.xml",
					     "ppt/slides/slide2.xml",
					     NULL };

	return fuzz_office(read_pptx, names, data, size);
}
