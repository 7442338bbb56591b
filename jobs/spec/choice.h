/*
 * choice: what the settings choose: `auto` and every default resolved, in one place, for the API and the workers alike. Nobody else reads
 * the settings of providers.
 *
 * Defaults of models, dimensions and batches: the vendors' documentation, 2026-11; names change about monthly and are settings.
 * Pure; strings borrow from the configuration or are static.
 */
#ifndef RAG_JOBS_SPEC_CHOICE_H
#define RAG_JOBS_SPEC_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/config.h"

/* Where a provider is, and how much of it may be used. */
struct endpoint {
	const char *provider; /* name of the registry's row: "local", "gemini", ... */
	const char *model;    /* "" = the server's only one */
	const char *url;      /* base, http(s), without a slash at the end; "" = not remote */
	const char *key;      /* "" = none is sent */
	/* of all workers together; 0 = no limit */
	int64_t requests_per_minute, tokens_per_minute, concurrency;
};

struct embedder_choice {
	enum config_embedder kind; /* never EMBEDDER_AUTO, and so below */
	struct endpoint at;
	size_t dim;	     /* numbers in a vector */
	bool asks_dim;	     /* the model has vectors of several lengths: `dim` is asked for */
	size_t max_batch;    /* texts a call; 0 = the provider's own business (local) */
	int64_t text_tokens; /* that the model takes of one text; 0 = not known, or no limit */
	const char *query_prefix, *document_prefix; /* "" = none */
};

struct generator_choice {
	enum config_generator kind;
	struct endpoint at;
	const char *temperature; /* a JSON number from 0 to 2; "" = not sent, as below */
	const char *thinking;	 /* minimal, low, medium, high */
};

struct reranker_choice {
	enum config_reranker kind; /* RERANKER_NONE: no endpoint */
	struct endpoint at;
};

/* ERR_CONFIG, naming the setting: a key or URL that is missing, a URL that is none, a dimension nobody knows or the model does not
 * have, a temperature or a thinking level that is none. */
bool choose_embedder(const struct config *config, struct embedder_choice *out, struct err *err);
bool choose_generator(const struct config *config, struct generator_choice *out, struct err *err);
bool choose_reranker(const struct config *config, struct reranker_choice *out, struct err *err);

#endif
