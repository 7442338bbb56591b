#include "jobs/convert/readers.h"

#include "common/base/auto.h"
#include "jobs/convert/convert.h"

const struct convert_reader convert_readers[] = {
	{ "pdf", MEDIA_PDF, NULL },	   { "docx", MEDIA_DOCX, read_docx },
	{ "pptx", MEDIA_PPTX, read_pptx }, { "xlsx", MEDIA_XLSX, read_xlsx },
	{ "odf", MEDIA_ODF, read_odf },	   { "epub", MEDIA_EPUB, read_epub },
	{ "xml", MEDIA_XML, read_xml },	   { "rtf", MEDIA_RTF, read_rtf },
};
const size_t convert_reader_count = ARRAY_SIZE(convert_readers);
