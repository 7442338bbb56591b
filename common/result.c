#include "common/result.h"

#include "common/pack.h"

#define RESULT_KIND "result"

void
result_pack(struct str json, struct buf *out)
{
	pack_envelope_begin(out, RESULT_KIND);
	pack_str(out, json);
}

bool
result_unpack(struct str bytes, struct str *out_json, struct err *err)
{
	struct pack_reader reader;
	struct pack_value value;

	if (!pack_envelope_open(&reader, bytes, RESULT_KIND, err) ||
	    !pack_next(&reader, &value, err))
		return err_wrap(err, "result of the job");
	if (value.type != PACK_STR)
		return err_set(err, ERR_CORRUPT, "result of the job: expected a string");
	*out_json = value.u.str;
	return true;
}
