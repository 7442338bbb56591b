#include "cron/task.h"

#include "common/catalog.h"
#include "common/catalog_verify.h"
#include "cron/store_check.h"

#define LIST_MAX_BYTES ((size_t)2 << 30)

static bool
purge_dropped(struct cron *cron, struct str uid, struct err *err)
{
	bool more = true;

	/* Its deletion may have broken off between its name and its record. */
	if (!catalog_delete(cron->redis, STR(""), uid, err) ||
	    !cron->store->ops->remove_collection(cron->store, uid, err))
		return err_wrap(err, "purge collection " STR_FMT, STR_ARG(uid));
	while (more) {
		if (!catalog_purge(cron->redis, uid, &more, err))
			return err_wrap(err, "purge collection " STR_FMT, STR_ARG(uid));
	}
	report_add(cron->report, "catalog", "collections purged", 1);
	return true;
}

static bool
purge_all(struct cron *cron, struct err *err)
{
	AUTO(arena) struct arena arena = { .max_bytes = (size_t)64 << 20 };
	struct str *uids;
	size_t count;

	if (!catalog_dropped(cron->redis, &arena, &uids, &count, err))
		return false;
	report_add(cron->report, "catalog", "collections purged", 0);
	for (size_t i = 0; i < count; i++) {
		if (!purge_dropped(cron, uids[i], err))
			return false;
	}
	return true;
}

bool
cron_cleanup(struct cron *cron, struct err *err)
{
	AUTO(arena) struct arena arena = { .max_bytes = LIST_MAX_BYTES };
	const struct store_check check = { .redis = cron->redis,
					   .store = cron->store,
					   .remove_garbage = true,
					   .problem = report_problem,
					   .user = cron->report };
	struct store_checked checked;
	int64_t released;

	if (!catalog_sweep(cron->redis, &released, err))
		return false;
	report_add(cron->report, "catalog", "reservations released", released);
	if (!purge_all(cron, err) || !store_check(&check, &arena, &checked, err))
		return false;
	report_add(cron->report, "store", "generations", checked.generations - checked.removed);
	report_add(cron->report, "store", "generations removed", checked.removed);
	report_add(cron->report, "store", "chunks removed", checked.garbage_chunks);
	return true;
}
