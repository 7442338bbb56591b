#include "cron/task.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/catalog_verify.h"
#include "common/job.h"
#include "common/queue_verify.h"
#include "cron/store_check.h"

#define LIST_MAX_BYTES ((size_t)2 << 30)

/* The verifier keeps the first few texts and counts the rest. */
static void
report_queue(struct report *report, struct queue_ref queue, const struct queue_verify_report *seen)
{
	char text[QUEUE_VERIFY_TEXT_BYTES + 64];

	for (int64_t i = 0; i < seen->problems; i++) {
		if (i < (int64_t)seen->text_count)
			(void)snprintf(text, sizeof(text), "queue %s: %s", queue.name,
				       seen->texts[i]);
		else
			(void)snprintf(text, sizeof(text), "queue %s: problem %" PRId64, queue.name,
				       i + 1);
		report_problem(report, "queue", text);
	}
	report_add(report, queue.name, "jobs", seen->records);
	report_add(report, queue.name, "waiting", seen->waiting);
	report_add(report, queue.name, "running", seen->pending);
	report_add(report, queue.name, "failed", seen->by_status[JOB_FAILED]);
	report_add(report, queue.name, "sums checked", seen->totals_checked);
}

static bool
verify_queues(struct cron *cron, struct err *err)
{
	for (size_t i = 0; job_queue_names[i]; i++) {
		for (unsigned partition = 0; partition < JOB_PARTITIONS; partition++) {
			struct queue_ref queue = { job_queue_names[i], partition };
			struct queue_verify_report seen;

			if (!queue_verify(cron->redis, queue, &seen, err))
				return err_wrap(err, "verify queue %s", queue.name);
			report_queue(cron->report, queue, &seen);
		}
	}
	return true;
}

static bool
verify_catalog(struct cron *cron, struct err *err)
{
	const struct catalog_verify opts = { .problem = report_problem,
					     .user = cron->report,
					     .leftover_ms = CATALOG_LEFTOVER_MS };
	struct catalog_verified seen;

	if (!catalog_verify(cron->redis, &opts, &seen, err))
		return false;
	report_add(cron->report, "catalog", "collections", seen.collections);
	report_add(cron->report, "catalog", "documents", seen.documents);
	report_add(cron->report, "catalog", "chunks", seen.chunks);
	report_add(cron->report, "catalog", "reservations", seen.reservations);
	report_add(cron->report, "catalog", "leftover reservations", seen.leftovers);
	report_add(cron->report, "catalog", "too busy to compare sums", seen.busy);
	report_add(cron->report, "catalog", "collections to purge", seen.dropped);
	return true;
}

static bool
verify_store(struct cron *cron, struct err *err)
{
	AUTO(arena) struct arena arena = { .max_bytes = LIST_MAX_BYTES };
	const struct store_check check = { .redis = cron->redis,
					   .store = cron->store,
					   .problem = report_problem,
					   .user = cron->report };
	struct store_checked seen;
	struct err local = ERR_INIT;

	if (!store_check(&check, &arena, &seen, &local)) {
		if (local.code != ERR_REDIS_REPLY) {
			*err = local;
			return false;
		}
		/* The catalog cannot be read, which is a finding and no failure to look. */
		report_problem(cron->report, "store", local.msg);
		return true;
	}
	report_add(cron->report, "store", "generations", seen.generations);
	report_add(cron->report, "store", "chunks", seen.chunks);
	report_add(cron->report, "store", "visible", seen.visible);
	report_add(cron->report, "store", "in flight", seen.in_flight);
	report_add(cron->report, "store", "garbage", seen.garbage);
	return true;
}

bool
cron_verify(struct cron *cron, struct err *err)
{
	return verify_queues(cron, err) && verify_catalog(cron, err) && verify_store(cron, err);
}
