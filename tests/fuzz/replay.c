/*
 * replay: the main of a target without libFuzzer: runs it over files, and over every file in folders. So every input
 * that once broke something stays tested in the normal build.
 *
 *	fuzz_json.replay tests/fuzz/corpus/json
 */
#include <fts.h>
#include <sys/stat.h>

#include "common/base/mem.h"
#include "tests/fuzz/fuzz.h"

static bool
run_file(const char *path, size_t bytes)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data =
		mem_alloc(bytes ? bytes : 1); /* not one more: a sanitizer sees a read behind it */
	bool whole = file && fread(data, 1, bytes, file) == bytes;

	if (whole) {
		(void)fprintf(stderr, "%s\n", path); /* the last line before an abort says which */
		LLVMFuzzerTestOneInput(data, bytes);
	} else {
		(void)fprintf(stderr, "cannot read %s\n", path);
	}
	mem_free(data);
	if (file)
		(void)fclose(file);
	return whole;
}

int
main(int argc, char **argv)
{
	FTS *walk = argc > 1 ? fts_open(argv + 1, FTS_LOGICAL | FTS_NOCHDIR, NULL) : NULL;
	size_t count = 0;
	bool ok = walk != NULL;

	for (FTSENT *entry = walk ? fts_read(walk) : NULL; entry; entry = fts_read(walk)) {
		if (entry->fts_info == FTS_F) {
			ok = run_file(entry->fts_path, (size_t)entry->fts_statp->st_size) && ok;
			count++;
		} else if (entry->fts_info != FTS_D && entry->fts_info != FTS_DP) {
			(void)fprintf(stderr, "cannot read %s\n", entry->fts_path);
			ok = false;
		}
	}
	if (walk)
		(void)fts_close(walk);
	(void)printf("%zu inputs\n", count);
	return ok && count > 0 ? 0 : 1;
}
