/*
 * task: the maintenance tasks of rag-cron. One row in main.c and one function here make a new one.
 *
 * A task fills the report; what it could not do at all is its err (Redis or the store is away). Every task may
 * be repeated, may run beside workers and beside itself, and may be killed at any moment.
 */
#ifndef RAG_CRON_TASK_H
#define RAG_CRON_TASK_H

#include <stdbool.h>

#include "common/base/err.h"
#include "common/config.h"
#include "common/redis.h"
#include "cron/report.h"
#include "jobs/store/store.h"

struct cron {
	const struct config *config;
	struct redis *redis;
	struct store *store; /* NULL for tasks that do not need it */
	struct report *report;
};

/* Every invariant of queue, catalog and store; changes nothing. */
bool cron_verify(struct cron *cron, struct err *err);
/* Promotes due jobs, reaps those of lost workers, applies retention, once for every queue. Stays for a lease when
 * jobs are running: a lease can only be judged after one of unbroken connection. */
bool cron_keep(struct cron *cron, struct err *err);
/* Removes what nothing needs: generations in the store, deleted collections, reservations of jobs that are over
 * and with them old tombstones. */
bool cron_cleanup(struct cron *cron, struct err *err);

#endif
