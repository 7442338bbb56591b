/*
 * filter_match: whether one document passes a filter (jobs/spec/filter.h), decided here and exactly: for stores whose own search can say
 * only a part of what a filter says. Pure.
 */
#ifndef RAG_JOBS_STORE_FILTER_MATCH_H
#define RAG_JOBS_STORE_FILTER_MATCH_H

#include <stdbool.h>

#include "common/base/str.h"
#include "common/json.h"
#include "jobs/spec/filter.h"

struct filter_subject {
	struct str document_id, title, uri;
	const struct js *metadata; /* an object, or NULL: none */
};

bool filter_matches(const struct filter *filter, const struct filter_subject *subject);

/* The document's own fields go before members of the metadata with the same name. */
bool filter_field_is_own(struct str field);

#endif
