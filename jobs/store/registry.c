#include <stddef.h>

#include "jobs/store/chroma_store.h"
#include "jobs/store/sqlite_store.h"
#include "jobs/store/store.h"

const struct store_ops *const store_registry[] = { &sqlite_store_ops, &chroma_store_ops, NULL };

static const struct store_ops *
ops_for(int kind)
{
	switch ((enum config_store)kind) {
	case STORE_SQLITE:
		return &sqlite_store_ops;
	case STORE_CHROMA:
		return &chroma_store_ops;
	}
	return NULL;
}

bool
store_open(const struct config *config, struct store **out, struct err *err)
{
	const struct store_ops *ops = ops_for(config->store);

	if (!ops)
		return err_set(err, ERR_CONFIG,
			       "this build has no such store (there are: sqlite, chroma)");
	return ops->open(config, out, err);
}

void
store_close(struct store *store)
{
	if (store)
		store->ops->close(store);
}
