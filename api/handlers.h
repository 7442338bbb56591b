/*
 * handlers: the functions behind the routes, by the file they are in. Each answers through api/reply.h, or fails.
 */
#ifndef RAG_API_HANDLERS_H
#define RAG_API_HANDLERS_H

#include <stdbool.h>

#include "api/call.h"
#include "common/base/err.h"

/* contract.c */
bool contract_get(struct call *call, struct err *err);

/* collections.c */
extern const struct fields collection_create_fields, collection_patch_fields;
bool collections_list(struct call *call, struct err *err);
bool collections_create(struct call *call, struct err *err);
bool collections_get(struct call *call, struct err *err);
bool collections_patch(struct call *call, struct err *err);
bool collections_delete(struct call *call, struct err *err);

/* documents.c */
bool documents_list(struct call *call, struct err *err);
bool documents_post(struct call *call, struct err *err);
bool documents_get(struct call *call, struct err *err);
bool documents_delete(struct call *call, struct err *err);

/* import.c */
bool documents_import(struct call *call, struct err *err);

/* diff.c */
bool documents_diff(struct call *call, struct err *err);

/* items.c */
bool jobs_items(struct call *call, struct err *err);

/* query.c */
bool query_post(struct call *call, struct err *err);

/* jobs.c */
bool jobs_list(struct call *call, struct err *err);
bool jobs_get(struct call *call, struct err *err);
bool jobs_result(struct call *call, struct err *err);
bool jobs_cancel(struct call *call, struct err *err);
bool jobs_retry(struct call *call, struct err *err);
bool jobs_delete(struct call *call, struct err *err);

/* stream.c */
bool jobs_events(struct call *call, struct err *err);

/* queues.c */
bool queues_list(struct call *call, struct err *err);
bool queues_get(struct call *call, struct err *err);
bool queues_pause(struct call *call, struct err *err);
bool queues_resume(struct call *call, struct err *err);
bool queues_dead(struct call *call, struct err *err);

/* workers.c */
bool workers_list(struct call *call, struct err *err);
bool dependencies_list(struct call *call, struct err *err);

#endif
