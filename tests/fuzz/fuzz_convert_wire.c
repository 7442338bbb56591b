/*
 * fuzz_convert_wire: any bytes as what a converter hands to the worker, which believes nothing of it: a document that keeps
 * every promise, or an error of the few that a converter may have. The same bytes as pdftotext's output.
 */
#include "jobs/convert/convert.h"
#include "jobs/convert/wire.h"
#include "tests/fuzz/office.h"

static bool
read_wire(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	  struct parsed *out, struct err *err)
{
	AUTO(buf) struct buf again = BUF_INIT(8 * MIB);

	if (!wire_read(bytes, limits, arena, out, err)) {
		must(err->code != ERR_REDIS_UNAVAILABLE && err->code != ERR_STALE,
		     "no error of ours");
		if (err->code == ERR_CONFIG || err->code == ERR_UNSUPPORTED_MEDIA)
			err->code = ERR_BAD_DOCUMENT; /* may be said by rag-convert */
		return err->msg[0] != '\0' ? false : err_set(err, err->code, "-");
	}
	/* what was read can be written and read again, and is the same */
	struct parsed second;
	struct err ignored = ERR_INIT;

	wire_write(out, &again);
	if (buf_ok(&again) && out->block_count > 0) {
		must(wire_read(text_of(&again), limits, arena, &second, &ignored),
		     "can be read again");
		must(str_eq(second.text, out->text) && second.block_count == out->block_count,
		     "reads the same again");
	}
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = str_make((const char *)data, size);

	check_reader(read_wire, bytes);
	check_reader(convert_read_pdftotext, bytes);
	return 0;
}
