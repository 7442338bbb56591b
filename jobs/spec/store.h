/*
 * store: which store the settings choose and what it can do, for those who link no store (the API). The contract suite of stores holds this against
 * the stores themselves. Pure.
 */
#ifndef RAG_JOBS_SPEC_STORE_H
#define RAG_JOBS_SPEC_STORE_H

#include <stdbool.h>

#include "common/base/err.h"
#include "common/config.h"
#include "jobs/spec/spec.h"

/* Does it find by words? If not, `lexical` queries are refused, and `hybrid` ones re-score what was found by meaning. */
bool spec_store_has_lexical(const struct config *config);

/* ERR_STORE_UNSUPPORTED at "/mode" for a query that this store cannot run. */
bool spec_check_mode(const struct config *config, enum query_mode mode, struct err *err);

/* ERR_CONFIG, naming the setting: a name that Chroma would not take, no host. */
bool spec_check_store(const struct config *config, struct err *err);

#endif
