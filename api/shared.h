/*
 * shared: what the handlers of collections, documents and queries have in common.
 */
#ifndef RAG_API_SHARED_H
#define RAG_API_SHARED_H

#include <stdbool.h>

#include "api/call.h"
#include "common/base/err.h"
#include "common/catalog.h"
#include "common/job.h"
#include "jobs/spec/spec.h"

/*
 * A job of the client's, by its id. One of another tenant's is answered exactly as one that never was: ERR_NOT_FOUND,
 * also for a text that cannot be an id. Every route that takes a job's id begins here, or with await_job, which does the
 * same; an id belongs to one tenant for good, so what was checked stays true.
 */
bool shared_job(struct call *call, struct str id, struct job *out, struct err *err);
/* The same, for a change (cancel, retry, forget): ERR_FORBIDDEN when the key's scopes would not let it submit such a job. */
bool shared_job_to_change(struct call *call, struct str id, struct job *out, struct err *err);
bool shared_no_job(struct str id, struct err *err);
/* The text may be a job's id, and the job is of the call's tenant. */
bool shared_is_job_id(struct str id);
bool shared_is_own_job(const struct call *call, const struct job *job);

/* The full name of a collection of the call's tenant, for the functions of the catalog. name: a valid one. */
struct catalog_name shared_full_name(const struct call *call, struct str name);

/* The collection that the path's first parameter names; ERR_NOT_FOUND, also for a text that cannot be a name. */
bool shared_collection(struct call *call, struct collection *out, struct err *err);

/* ERR_EMBEDDER_MISMATCH when the collection's vectors are of another embedder than the configured one. */
bool shared_check_embedder(const struct call *call, const struct collection *collection,
			   struct err *err);

/* The content_type of a document whose text is a JSON string: what is no text cannot stand there. Canonical afterwards;
 * ERR_INVALID at /content_type. */
bool shared_text_type(struct document_body *body, struct err *err);

/* A text that cannot be an id is of no document: ERR_NOT_FOUND. */
bool shared_document_id(struct str id, struct err *err);
bool shared_no_document(struct str id, struct err *err);

#endif
