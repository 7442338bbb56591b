/*
 * provider: what turns text into vectors (embedder), reorders candidates (reranker) and writes answers
 * (generator). One file and one row in registry.c each; the contract suite tests/contract/test_provider.c
 * then tests it.
 *
 * Instances belong to one slot (one thread); they may own a curl handle. `struct provider_call` carries the deadline, the
 * cancel flag and the fleet's limits into every call. Failures: ERR_PROVIDER_UNAVAILABLE (outage), _LIMITED (a minute's quota or
 * too many at once: err.retry_after_ms says when), _QUOTA (a day's quota, no money: final), _REJECTED (final), _REPLY (garbage, or it
 * failed at this request), ERR_TIMEOUT, ERR_TOO_LARGE (a batch or a text the server does not take: err.detail), ERR_CANCELLED,
 * ERR_DEADLINE.
 */
#ifndef RAG_JOBS_PROVIDER_PROVIDER_H
#define RAG_JOBS_PROVIDER_PROVIDER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/auto.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/config.h"
#include "common/halt.h"
#include "common/metrics.h"
#include "common/redis.h"

/* err.detail of an ERR_TOO_LARGE. */
enum too_large {
	TOO_LARGE_UNKNOWN,
	TOO_LARGE_BATCH, /* too many texts at once: an embedder has lowered its max_batch where its server told */
	TOO_LARGE_TEXT, /* one text is longer than the model takes */
};

/* What was used of providers; a call adds to it. Estimated where the provider does not say. */
struct provider_usage {
	int64_t requests;
	int64_t embedding_tokens;
	int64_t prompt_tokens, completion_tokens; /* of the generator */
	int64_t search_units;			  /* of the reranker */
};

/* Of the process, set once before the slots start; each may be NULL. */
struct provider_metrics {
	struct metric *requests_total;	    /* provider, kind (embed, rerank, generate), outcome */
	struct metric *seconds;		    /* provider, kind */
	struct metric *tokens_total;	    /* provider, kind, direction (in, out) */
	struct metric *first_token_seconds; /* provider */
};

struct provider_call {
	int64_t deadline_mono_ms;  /* 0 = none */
	const atomic_bool *cancel; /* may be NULL */
	struct redis *redis; /* where limits are counted; the caller's own; NULL = not limited */
	struct provider_usage *usage;		/* added to; may be NULL */
	const struct provider_metrics *metrics; /* may be NULL */
};

/* ERR_CANCELLED or ERR_DEADLINE when the call is to stop. */
static inline bool
provider_call_check(const struct provider_call *call, struct err *err)
{
	return halt_check(call->cancel, call->deadline_mono_ms, err);
}

/* ---- embedder ---- */

enum embed_task { EMBED_DOCUMENT, EMBED_QUERY };

struct embedder;
struct embedder_ops {
	const char *name;
	bool is_remote; /* a server decides: what needs its good will is not promised */
	bool (*open)(const struct config *config, struct embedder **out, struct err *err);
	void (*close)(struct embedder *embedder);
	/* out: count * dim floats, each vector of unit length (all zero for text without a single term). */
	bool (*embed)(struct embedder *embedder, const struct provider_call *call,
		      enum embed_task task, const struct str *texts, size_t count, float *out,
		      struct err *err);
};
struct embedder {
	const struct embedder_ops *ops;
	size_t dim;
	size_t max_batch;      /* texts a call; an instance lowers it to what its server says */
	double dense_weight;   /* of the dense leg in hybrid fusion, 0..1 */
	char fingerprint[128]; /* equals spec_embedder_fingerprint */
};

/* ---- reranker ---- */

struct passage {
	struct str title, heading, text;
	float score;		/* fused, before reranking */
	struct str document_id; /* "" = of no other passage's */
};

struct reranker;
struct reranker_ops {
	const char *name;
	bool is_remote; /* a server decides: what needs its good will is not promised */
	bool (*open)(const struct config *config, struct reranker **out, struct err *err);
	void (*close)(struct reranker *reranker);
	/* out_scores: count of them, 0..1, greater is better */
	bool (*rerank)(struct reranker *reranker, const struct provider_call *call,
		       struct str query, const struct passage *passages, size_t count,
		       float *out_scores, struct err *err);
};
struct reranker {
	const struct reranker_ops *ops;
	char model[64]; /* part of the answer cache's key */
};

/* ---- generator ---- */

struct source {
	int n; /* the number the answer cites: [n], from 1 */
	struct str document_id, title, heading, text;
	float score; /* 0..1 after fusion or reranking */
};

/*
 * on_text gets the answer in pieces as they are decided; together they are generated.text, byte for byte. A piece may be
 * half a character. An empty piece only says that time has passed: call it while waiting for the next one. false (with
 * *err): stop, and fail with it. After the first piece that is not empty a generator does not begin anew by itself: it fails, and
 * the caller, who can tell the readers that what they have is void, calls again.
 */
struct generate_request {
	struct str question;
	const struct source *sources;
	size_t count;
	const struct prompt *
		prompt; /* jobs/step/prompt.h: what a model is told; the extractive one needs none */
	struct str
		refusal; /* what to say when the sources do not hold the answer; "" = the generator's own words */
	int64_t max_tokens;
	bool (*on_text)(void *user, struct str piece, struct err *err); /* NULL: nobody follows */
	void *user;
};

struct generated {
	struct str text; /* arena; cites as [n] */
	bool refused;	 /* the sources do not hold the answer; text says so */
	bool truncated;	 /* max_tokens, or the model's own limit, ended it */
	const char *model;
};

struct prompt;
struct generator;
struct generator_ops {
	const char *name;
	bool is_remote; /* a server decides: what needs its good will is not promised */
	bool (*open)(const struct config *config, struct generator **out, struct err *err);
	void (*close)(struct generator *generator);
	bool (*generate)(struct generator *generator, const struct provider_call *call,
			 const struct generate_request *request, struct arena *arena,
			 struct generated *out, struct err *err);
};
struct generator {
	const struct generator_ops *ops;
	char model[64];
};

/* By the configuration; ERR_CONFIG for one this build does not have. The reranker may come out NULL (none). */
bool embedder_open(const struct config *config, struct embedder **out, struct err *err);
bool reranker_open(const struct config *config, struct reranker **out, struct err *err);
bool generator_open(const struct config *config, struct generator **out, struct err *err);
void embedder_close(struct embedder *embedder); /* NULL is fine, as below */
void reranker_close(struct reranker *reranker);
void generator_close(struct generator *generator);
AUTO_PTR_DEFINE(generator_close, struct generator);

extern const struct embedder_ops *const embedder_registry[]; /* NULL-terminated */
extern const struct reranker_ops *const reranker_registry[];
extern const struct generator_ops *const generator_registry[];

#endif
