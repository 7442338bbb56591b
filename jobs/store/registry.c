#include <stddef.h>

#include "jobs/store/sqlite_store.h"
#include "jobs/store/store.h"

const struct store_ops *const store_registry[] = { &sqlite_store_ops, NULL };

static const struct store_ops *
ops_for(int kind)
{
	switch ((enum config_store)kind) {
	case STORE_SQLITE:
		return &sqlite_store_ops;
	case STORE_CHROMA:
		break;
	}
	return NULL;
}

bool
store_open(const struct config *config, struct store **out, struct err *err)
{
	const struct store_ops *ops = ops_for(config->store);

	if (!ops)
		return err_set(err, ERR_CONFIG,
			       "store 'chroma' is not part of this build (there are: sqlite)");
	return ops->open(config, out, err);
}

void
store_close(struct store *store)
{
	if (store)
		store->ops->close(store);
}
