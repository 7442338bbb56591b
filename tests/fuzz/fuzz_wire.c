/*
 * fuzz_wire: any bytes as what comes over a wire or out of Redis or a file; the first byte chooses the reader: JSON,
 * msgpack, a stored value, a settings file, a text to write as JSON. What is accepted must survive a round trip.
 *
 * Built with clang and -DRAG_FUZZ=ON; ends by abort with the broken promise on stderr.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/config_yaml.h"
#include "common/fields.h"
#include "common/json.h"
#include "common/pack.h"
#include "common/zip.h"

#define MIB ((size_t)1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds, const char *promise)
{
	if (holds)
		return;
	(void)fprintf(stderr, "broken: %s\n", promise);
	abort();
}

static struct str
text_of(const struct buf *buf)
{
	return str_make(buf->data, buf->len);
}

static void
try_json(struct str text)
{
	AUTO_PTR(js_free) struct js *first = NULL;
	AUTO_PTR(js_free) struct js *second = NULL;
	AUTO(buf) struct buf once = BUF_INIT(64 * MIB);
	AUTO(buf) struct buf twice = BUF_INIT(64 * MIB);
	struct err err = ERR_INIT;

	if (!js_parse(text, &first, &err)) {
		must(err.code == ERR_MALFORMED || err.code == ERR_TOO_LARGE,
		     "refused with a reason");
		return;
	}
	js_write_canonical(first, &once);
	must(js_parse(text_of(&once), &second, &err), "what is written can be read");
	js_write_canonical(second, &twice);
	must(str_eq(text_of(&once), text_of(&twice)), "canonical text is a fixed point");
}

struct thing {
	struct str name, blob, meta;
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
	FIELD(struct thing, count, FIELD_I64, .min = -5, .max = 200),
	FIELD(struct thing, weight, FIELD_F64),
	FIELD(struct thing, loud, FIELD_BOOL),
	FIELD(struct thing, mode, FIELD_ENUM, .names = modes),
};
static const struct fields table = FIELDS("t", rows);

static void
try_pack(struct str bytes)
{
	AUTO(buf) struct buf once = BUF_INIT(MIB);
	AUTO(buf) struct buf twice = BUF_INIT(MIB);
	struct pack_reader reader;
	struct pack_value value;
	struct thing thing = { .count = 1 }, again = { .count = 1 };
	struct err err = ERR_INIT;

	if (pack_read_start(&reader, bytes, &err)) {
		while (reader.at != reader.end)
			must(pack_next(&reader, &value, &err), "a scanned message can be walked");
	} else {
		must(err.code == ERR_CORRUPT, "refused as corrupt");
	}
	if (!fields_from_pack(&table, bytes, &thing, &err))
		return;
	fields_to_pack(&table, &thing, &once);
	must(fields_from_pack(&table, text_of(&once), &again, &err), "what is packed can be read");
	fields_to_pack(&table, &again, &twice);
	must(str_eq(text_of(&once), text_of(&twice)), "a message keeps its values");
}

static void
try_zip(struct str bytes)
{
	AUTO(arena) struct arena arena;
	AUTO(buf) struct buf out = BUF_INIT(4 * MIB);
	struct str plain, back;
	struct err err = ERR_INIT;

	arena_init(&arena, 4 * MIB);
	if (zip_unpack(bytes, MIB, &arena, &plain, &err)) {
		zip_pack(plain, &out);
		must(zip_unpack(text_of(&out), MIB, &arena, &back, &err),
		     "what is stored can be read");
		must(str_eq(plain, back), "a stored value is the same");
	}
}

static bool
on_entry(void *user, const struct config_entry *entry, struct err *err)
{
	(void)user;
	must(entry->line > 0 && entry->path[0], "an entry has a place and a name");
	return entry->kind != CONFIG_SEQUENCE || err_set(err, ERR_CONFIG, "a list");
}

static void
try_yaml(struct str text)
{
	struct err err = ERR_INIT;

	if (text.len <= CONFIG_FILE_MAX_BYTES && !config_yaml_read(text, "f", on_entry, NULL, &err))
		must(err.code == ERR_CONFIG, "refused as a setting");
}

static void
try_writer(struct str bytes)
{
	AUTO(buf) struct buf out = BUF_INIT(64 * MIB);
	AUTO_PTR(js_free) struct js *root = NULL;
	struct jw w = jw_start(&out);
	struct err err = ERR_INIT;

	jw_str(&w, bytes);
	if (bytes.len > 0 && memchr(bytes.ptr, '\0', bytes.len))
		return; /* written as an escape that our own reader refuses */
	must(js_parse(text_of(&out), &root, &err), "any text can be written as JSON");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(struct str) = { try_json, try_pack, try_zip, try_yaml,
						       try_writer };

	if (size > 0)
		readers[data[0] % ARRAY_SIZE(readers)](str_make((const char *)data + 1, size - 1));
	return 0;
}
