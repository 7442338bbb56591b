#include "jobs/spec/store.h"

#include <string.h>

bool
spec_store_has_lexical(const struct config *config)
{
	return config->store == STORE_SQLITE;
}

bool
spec_check_mode(const struct config *config, enum query_mode mode, struct err *err)
{
	if (mode != QUERY_LEXICAL || spec_store_has_lexical(config))
		return true;
	err_set(err, ERR_STORE_UNSUPPORTED,
		"store '%s' has no lexical search: use mode 'dense' or 'hybrid'",
		config_store_names[config->store]);
	return err_at(err, "/mode");
}

/* Letters, digits and . _ - only: it becomes part of a path or a name. */
static bool
check_name(const char *setting, const char *value, size_t least, struct err *err)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	size_t len = strlen(value);
	bool ok = len >= least && strspn(value, plain) > 0 && !strstr(value, "..");

	for (size_t i = 0; ok && i < len; i++)
		ok = strchr(plain, value[i]) || strchr("._-", value[i]);
	return ok ||
	       err_set(err, ERR_CONFIG,
		       "cannot use %s '%s': at least %zu of a-z A-Z 0-9 . _ -, beginning with a "
		       "letter or a digit",
		       setting, value, least);
}

bool
spec_check_store(const struct config *config, struct err *err)
{
	if (config->store != STORE_CHROMA)
		return true;
	if (!config->chroma_host[0] || strpbrk(config->chroma_host, "/@?# "))
		return err_set(
			err, ERR_CONFIG,
			"cannot use store.chroma_host (CHROMA_HOST) '%s': a name or an address, "
			"without scheme and port",
			config->chroma_host);
	return check_name("store.chroma_tenant (CHROMA_TENANT)", config->chroma_tenant, 3, err) &&
	       check_name("store.chroma_database (CHROMA_DATABASE)", config->chroma_database, 3,
			  err) &&
	       check_name("store.chroma_prefix (CHROMA_PREFIX)", config->chroma_prefix, 1, err);
}
