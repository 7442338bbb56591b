/* fuzz_chroma_reply: any bytes as each of Chroma's answers. What is read lies within its limits; the rest is refused with a reason. */
#include <math.h>

#include "jobs/store/chroma_wire.h"
#include "tests/fuzz/fuzz.h"

static bool
count_one(void *user, const struct chroma_collection *collection, struct err *err)
{
	(void)err;
	must(collection->id[0] != '\0', "a collection has an id");
	*(size_t *)user += 1;
	return true;
}

static void
refused(const struct err *err)
{
	must(err->code == ERR_STORE_FAILED || err->code == ERR_TOO_LARGE, "refused with a reason");
}

static void
try_hits(struct str body, struct arena *arena)
{
	struct store_hit *hits = NULL;
	struct err err = ERR_INIT;
	size_t count = 0, total = 0;

	if (!chroma_parse_query(body, arena, &hits, &count, &total, &err)) {
		refused(&err);
		return;
	}
	must(count <= total, "no more hits than rows");
	for (size_t i = 0; i < count; i++) {
		must(hits[i].row >= 0 && hits[i].ordinal >= 0, "a hit has a place");
		must(hits[i].document_id.len > 0, "a hit has a document");
		must(str_utf8_valid(hits[i].text, NULL), "a text is UTF-8");
	}
}

static void
try_records(struct str body, struct arena *arena)
{
	static const float vector[2] = { 0.6F, 0.8F };
	struct store_hit *hits = NULL;
	struct err err = ERR_INIT;
	size_t count = 0;

	if (!chroma_parse_records(body, vector, 2, arena, &hits, &count, &err)) {
		refused(&err);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		must(isfinite(hits[i].score), "a score is a number");
		must(hits[i].document_id.len > 0, "a hit has a document");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(arena) struct arena arena;
	uint8_t kind = take_byte(&data, &size);
	struct str body = str_make((const char *)data, size);
	struct chroma_preflight limits;
	struct chroma_collection collection;
	struct chroma_id id;
	struct str *ids = NULL;
	struct err err = ERR_INIT;
	size_t count = 0, seen = 0;

	arena_init(&arena, 4 * MIB);
	switch (kind % 6) {
	case 0:
		try_hits(body, &arena);
		break;
	case 1:
		if (!chroma_parse_ids(body, &arena, &ids, &count, &err))
			refused(&err);
		try_records(body, &arena);
		break;
	case 2:
		if (!chroma_parse_preflight(body, &limits, &err))
			refused(&err);
		else
			must(limits.max_batch > 0, "a write has at least one row");
		break;
	case 3:
		if (!chroma_parse_collection(body, &collection, &err))
			refused(&err);
		break;
	case 4:
		if (!chroma_parse_collections(body, count_one, &seen, &count, &err))
			refused(&err);
		else
			must(seen <= count, "no more than there were");
		break;
	default:
		if (chroma_id_parse(body, &id)) {
			char text[CHROMA_ID_BYTES];

			must(lies_in(id.document_id, body) && lies_in(id.gen, body),
			     "parts of an id lie in it");
			if (size < CHROMA_ID_BYTES - 1) {
				chroma_id_format(text, id.document_id, id.gen, id.ordinal);
				must(chroma_id_parse(str_of(text), &id) || memchr(data, 0, size),
				     "an id that was read can be read again");
			}
		}
		(void)chroma_classify((int)size, body);
	}
	return 0;
}
