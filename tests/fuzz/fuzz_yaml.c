/* fuzz_yaml: any bytes as a settings file. Every entry has a place and a name; what is wrong is ERR_CONFIG. */
#include <string.h>

#include "common/config_yaml.h"
#include "tests/fuzz/fuzz.h"

static bool
on_entry(void *user, const struct config_entry *entry, struct err *err)
{
	size_t *last = user;

	must(entry->line >= *last, "entries come in the order of the lines");
	must(entry->line > 0 && entry->path[0], "an entry has a place and a name");
	*last = entry->line;
	return entry->kind != CONFIG_SEQUENCE || err_set(err, ERR_CONFIG, "f:%zu: a list", *last);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;
	size_t last = 0;

	if (size <= CONFIG_FILE_MAX_BYTES &&
	    !config_yaml_read(str_make((const char *)data, size), "f", on_entry, &last, &err)) {
		must(err.code == ERR_CONFIG, "refused as a setting");
		must(strncmp(err.msg, "f:", 2) == 0, "a refusal names the place");
	}
	return 0;
}
