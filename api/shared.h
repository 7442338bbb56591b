/*
 * shared: what the handlers of collections, documents and queries have in common.
 */
#ifndef RAG_API_SHARED_H
#define RAG_API_SHARED_H

#include <stdbool.h>

#include "api/call.h"
#include "common/base/err.h"
#include "common/catalog.h"

/* The collection that the path's first parameter names; ERR_NOT_FOUND, also for a text that cannot be a name. */
bool shared_collection(struct call *call, struct collection *out, struct err *err);

/* ERR_EMBEDDER_MISMATCH when the collection's vectors are of another embedder than the configured one. */
bool shared_check_embedder(const struct call *call, const struct collection *collection,
			   struct err *err);

/* A text that cannot be an id is of no document: ERR_NOT_FOUND. */
bool shared_document_id(struct str id, struct err *err);
bool shared_no_document(struct str id, struct err *err);

#endif
