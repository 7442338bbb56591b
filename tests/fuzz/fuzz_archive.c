/*
 * fuzz_archive: any bytes as a ZIP archive: its directory, every part, and what media type its content is. The first byte
 * chooses what type was declared.
 */
#include "jobs/convert/zip_part.h"
#include "jobs/spec/media.h"
#include "tests/fuzz/fuzz.h"

static bool
take(void *user, struct str bytes, struct err *err)
{
	size_t *left = user;

	if (bytes.len > *left)
		return err_set(err, ERR_TOO_LARGE, "enough");
	*left -= bytes.len;
	return true;
}

static void
unpack_all(struct str bytes)
{
	struct zip_archive archive;
	struct zip_entry entry;
	struct err err = ERR_INIT;
	size_t left = 4 * MIB, count = 0;

	if (!zip_archive_open(bytes, &archive, &err))
		return;
	for (size_t at = 0; zip_dir_next(&archive.dir, &at, &entry) && count < 50; count++) {
		must(lies_in(entry.name, bytes), "a name lies in the archive");
		err_clear(&err);
		if (!zip_part_each(&archive, entry.name, take, &left, &err))
			must(err.code == ERR_BAD_DOCUMENT || err.code == ERR_TOO_LARGE,
			     "refused with a reason");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t mood = take_byte(&data, &size);
	struct str bytes = str_make((const char *)data, size);
	const struct media_type *type = NULL;
	struct err err = ERR_INIT;
	size_t choice = mood % (media_type_count + 1);
	struct str declared =
		choice < media_type_count ? str_of(media_types[choice].name) : STR("");

	if (media_resolve(declared, bytes, &type, &err))
		must(type && (declared.len == 0 || str_eq_c(declared, type->name)),
		     "the declared type");
	else
		must(err.code == ERR_UNSUPPORTED_MEDIA || err.code == ERR_BAD_DOCUMENT,
		     "refused with a reason");
	unpack_all(bytes);
	return 0;
}
