#include "jobs/convert/convert.h"

#include "common/base/auto.h"

const struct convert_reader convert_readers[] = {
	{ "pdf", MEDIA_PDF, NULL },
};
const size_t convert_reader_count = ARRAY_SIZE(convert_readers);
