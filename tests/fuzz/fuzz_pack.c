/*
 * fuzz_pack: any bytes as msgpack out of Redis: a payload of each job type, a result, or any message. What is
 * accepted can be walked to its end and survives a round trip.
 */
#include "common/fields.h"
#include "common/pack.h"
#include "common/result.h"
#include "jobs/spec/spec.h"
#include "tests/fuzz/fuzz.h"

/* one row of each kind and limit */
struct thing {
	struct str name, blob, meta, list;
	int64_t count;
	double weight;
	bool loud;
	int mode;
};

static const char *const modes[] = { "a", "b", NULL };
static const struct field rows[] = {
	FIELD(struct thing, name, FIELD_STR, .required = true, .min = 1, .max = 8),
	FIELD(struct thing, blob, FIELD_BYTES, .max = 64),
	FIELD(struct thing, meta, FIELD_JSON, .max = 400),
	FIELD(struct thing, list, FIELD_LIST, .max = 400),
	FIELD(struct thing, count, FIELD_I64, .min = -5, .max = 200),
	FIELD(struct thing, weight, FIELD_F64),
	FIELD(struct thing, loud, FIELD_BOOL),
	FIELD(struct thing, mode, FIELD_ENUM, .names = modes),
};
static const struct fields table = FIELDS("t", rows);

union payload {
	struct thing thing;
	struct ingest_payload ingest;
	struct query_payload query;
	struct delete_payload delete;
};

static void
walk(struct str bytes)
{
	struct pack_reader reader, skipper;
	struct pack_value value;
	struct err err = ERR_INIT;

	if (!pack_read_start(&reader, bytes, &err)) {
		must(err.code == ERR_CORRUPT, "refused as corrupt");
		return;
	}
	skipper = reader;
	while (reader.at != reader.end) {
		must(pack_next(&reader, &value, &err), "a scanned message can be walked");
		if (value.type == PACK_STR || value.type == PACK_BIN)
			must(lies_in(value.u.str, bytes), "texts lie in the message");
	}
	must(pack_skip(&skipper, &err) && skipper.at == skipper.end,
	     "a message is one value and nothing after it");
}

static void
round_trip(const struct fields *fields, const union payload *defaults, struct str bytes)
{
	AUTO(buf) struct buf once = BUF_INIT(4 * MIB);
	AUTO(buf) struct buf twice = BUF_INIT(4 * MIB);
	union payload first = *defaults, again = *defaults;
	struct err err = ERR_INIT;

	if (!fields_from_pack(fields, bytes, &first, &err)) {
		must(err.code == ERR_CORRUPT || err.code == ERR_INVALID, "refused with a reason");
		return;
	}
	fields_to_pack(fields, &first, &once);
	must(fields_from_pack(fields, text_of(&once), &again, &err), "what is packed can be read");
	fields_to_pack(fields, &again, &twice);
	must(str_eq(text_of(&once), text_of(&twice)), "a message keeps its values");
}

static void
result(struct str bytes)
{
	AUTO(buf) struct buf out = BUF_INIT(4 * MIB);
	struct str json, again;
	struct err err = ERR_INIT;

	if (!result_unpack(bytes, &json, &err)) {
		must(err.code == ERR_CORRUPT, "refused as corrupt");
		return;
	}
	must(lies_in(json, bytes), "the result lies in the message");
	result_pack(json, &out);
	must(result_unpack(text_of(&out), &again, &err) && str_eq(json, again),
	     "a result comes back as it was");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct {
		const struct fields *fields;
		union payload defaults;
	} payloads[] = {
		{ &table, { .thing = { .count = 1 } } },
		{ &ingest_payload_fields, { .ingest = { .seq = 1 } } },
		{ &query_payload_fields, { .query = { .top_k = 10, .max_tokens = 512 } } },
		{ &delete_payload_fields, { .delete = { .seq = 0 } } },
	};
	struct str bytes = str_make((const char *)data, size);

	walk(bytes);
	result(bytes);
	for (size_t i = 0; i < ARRAY_SIZE(payloads); i++)
		round_trip(payloads[i].fields, &payloads[i].defaults, bytes);
	return 0;
}
