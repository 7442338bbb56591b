/*
 * query: from a question to an answer with checked citations.
 *
 *	cache -> condense -> embed -> retrieve -> rerank -> generate (query_answer.c) -> cache
 *
 * An answer is cached under the hash of everything that decides it: the collection's uid and epoch (it rises with
 * every visible change, so an entry is never wrong), the models, the question and its parameters. The epoch under
 * which an answer is kept is the one its retrieval is true for, read before the search.
 *
 * What can be done without is done without, and `warnings` says so: an embedder that is away leaves the lexical leg of a hybrid
 * search (where the store has one), a reranker that fails leaves the fused order, a generator that fails leaves the extractive answer.
 * An answer made so is not cached. Each of them gets a part of the job's time only, so that something can follow.
 */
#include "jobs/query_internal.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/catalog.h"
#include "jobs/step/condense.h"

#define EMBED_TIME 0.5 /* of the job's time that is left */
#define RERANK_TIME 0.5
#define WARN_EMBED "EMBEDDER_SKIPPED"
#define WARN_RERANK "RERANK_SKIPPED"
#define WARN_RESCORED "LEXICAL_RESCORED"

/* ---- what the steps share ---- */

struct provider_call
query_call(struct query *query)
{
	const struct job_context *context = query->context;

	return (struct provider_call){ .deadline_mono_ms = context->deadline_mono_ms,
				       .cancel = context->cancel,
				       .redis = context->env->redis,
				       .usage = &query->usage,
				       .metrics = context->env->provider_metrics };
}

struct provider_call
query_call_within(struct query *query, double part)
{
	struct provider_call call = query_call(query);

	if (call.deadline_mono_ms) {
		int64_t now = clock_mono_ms(), left = call.deadline_mono_ms - now;

		call.deadline_mono_ms = now + (left > 0 ? (int64_t)((double)left * part) : 0);
	}
	return call;
}

void
query_observe(struct query *query, const char *step, int64_t since_us, int64_t *out_us)
{
	*out_us = clock_mono_us() - since_us;
	metric_observe(query->context->env->step_seconds, METRIC_VALUES(step),
		       (double)*out_us / 1e6);
}

bool
query_may_do_without(const struct err *failure)
{
	switch ((int)failure->code) {
	case ERR_PROVIDER_UNAVAILABLE:
	case ERR_PROVIDER_LIMITED:
	case ERR_PROVIDER_QUOTA:
	case ERR_PROVIDER_REJECTED:
	case ERR_PROVIDER_REPLY:
	case ERR_RATE_LIMITED:
	case ERR_CONNECT:
	case ERR_TIMEOUT:
	case ERR_PROTOCOL:
	case ERR_DEADLINE: /* of the call: the job's own is checked apart */
	case ERR_TOO_LARGE:
		return true;
	default:
		return false;
	}
}

/* ---- the steps ---- */

static bool
prepare(struct query *query, struct str bytes, struct err *err)
{
	struct job_context *context = query->context;
	struct query_payload *payload = &query->payload;
	struct collection collection;

	query_payload_init(payload, context->env->config);
	if (!fields_from_pack(&query_payload_fields, bytes, payload, err))
		return err_wrap(err, "payload");
	if (!filter_parse(payload->filter, context->arena, &query->filter, err) ||
	    !history_parse(payload->history, context->arena, &query->history, err))
		return false;
	if (!condense_question(payload->query, &query->history, context->arena, &query->search))
		return err_set(err, ERR_TOO_LARGE, "cannot hold the conversation so far");
	query->mode = (enum query_mode)payload->mode;
	if (!spec_embedder_fingerprint(context->env->config, query->fingerprint, err))
		return false;
	if (!catalog_get_uid(context->env->redis, payload->uid, &collection, err))
		return err_wrap(err, "collection '" STR_FMT "'", STR_ARG(payload->collection));
	if (payload->mode != QUERY_LEXICAL && collection.fingerprint[0] &&
	    !str_eq_c(str_of(collection.fingerprint), query->fingerprint))
		return err_set(err, ERR_EMBEDDER_MISMATCH,
			       "collection '%s' was made with embedder '%s', this worker has '%s'",
			       collection.name, collection.fingerprint, query->fingerprint);
	query->epoch = collection.epoch;
	return true;
}

/* Without it the words of the question can still be searched for. */
static bool
can_do_without_vector(const struct query *query)
{
	return query->mode == QUERY_HYBRID &&
	       (query->context->env->store->ops->caps & STORE_CAP_LEXICAL) != 0;
}

static bool
call_embedder(struct query *query, struct err *err)
{
	const struct provider_call call = can_do_without_vector(query)
						  ? query_call_within(query, EMBED_TIME)
						  : query_call(query);
	struct embed_request request = job_embed_request(query->context, &call, EMBED_QUERY);
	struct embed_stats stats;

	request.texts = &query->search;
	request.count = 1;
	return embed_texts(&request, query->context->arena, query->vector, &stats, err);
}

static bool
embed_question(struct query *query, struct err *err)
{
	struct job_context *context = query->context;
	int64_t since_us = clock_mono_us();
	struct err failure = ERR_INIT;

	if (query->mode == QUERY_LEXICAL)
		return true;
	query->vector = arena_array(context->arena, context->env->embedder->dim, sizeof(float));
	if (!query->vector)
		return err_set(err, ERR_TOO_LARGE, "embed: cannot hold the question's vector");
	if (!job_step(context, "embed", 1, err))
		return err_wrap(err, "embed");
	if (!call_embedder(query, &failure)) {
		if (!job_check(context, err))
			return err_wrap(err, "embed");
		if (!can_do_without_vector(query) || !query_may_do_without(&failure)) {
			*err = failure;
			return err_wrap(err, "embed");
		}
		log_warn("searching by words alone: %s", failure.msg);
		query->mode = QUERY_LEXICAL;
		query->degraded = true;
		if (!query_warn(query, WARN_EMBED, failure.msg, err))
			return false;
	}
	query_observe(query, "embed", since_us, &query->us.embed);
	return true;
}

static bool
find(struct query *query, struct err *err)
{
	struct job_context *context = query->context;
	size_t top_k = (size_t)query->payload.top_k;
	bool rerank = query->payload.rerank && context->env->reranker;
	const struct retrieve_request request = {
		.redis = context->env->redis,
		.store = context->env->store,
		.uid = query->payload.uid,
		.query = query->search,
		.vector = query->mode == QUERY_LEXICAL ? NULL : query->vector,
		.dim = context->env->embedder->dim,
		.mode = query->mode,
		.dense_weight = context->env->embedder->dense_weight,
		.top_k = rerank && top_k < QUERY_RERANK_DEPTH ? QUERY_RERANK_DEPTH : top_k,
		.filter = query->filter,
		.limits = { context->deadline_mono_ms, context->cancel },
	};
	int64_t since_us = clock_mono_us();

	if (!job_step(context, "retrieve", 1, err) ||
	    !retrieve(&request, context->arena, &query->found, err))
		return err_wrap(err, "retrieve");
	query->candidates = query->found.list;
	query->count = query->considered = query->found.count;
	query->epoch = query->found.epoch;
	query_observe(query, "retrieve", since_us, &query->us.retrieve);
	return !query->found.rescored ||
	       query_warn(query, WARN_RESCORED,
			  "this store has no search by words: they were looked for among what was "
			  "found by meaning",
			  err);
}

static int
by_falling_score(const void *a, const void *b)
{
	const struct candidate *left = a, *right = b;

	if (left->score != right->score)
		return left->score < right->score ? 1 : -1;
	return (left->hit.row > right->hit.row) - (left->hit.row < right->hit.row);
}

static bool
rerank_candidates(struct query *query, struct err *err)
{
	struct job_context *context = query->context;
	struct reranker *reranker = context->env->reranker;
	const struct provider_call call = query_call_within(query, RERANK_TIME);
	struct passage *passages = arena_array(context->arena, query->count, sizeof(*passages));
	float *scores = arena_array(context->arena, query->count, sizeof(*scores));

	if (!passages || !scores)
		return err_set(err, ERR_TOO_LARGE, "cannot hold %zu passages", query->count);
	for (size_t i = 0; i < query->count; i++) {
		const struct candidate *candidate = &query->candidates[i];

		passages[i] = (struct passage){ .title = candidate->hit.title,
						.heading = candidate->hit.heading,
						.text = candidate->hit.text,
						.score = candidate->score,
						.document_id = candidate->hit.document_id };
	}
	if (!reranker->ops->rerank(reranker, &call, query->search, passages, query->count, scores,
				   err))
		return false;
	for (size_t i = 0; i < query->count; i++)
		query->candidates[i].score = query->candidates[i].rerank = scores[i];
	query->reranked = true;
	qsort(query->candidates, query->count, sizeof(*query->candidates), by_falling_score);
	return true;
}

/* Fails only for a cancel or the deadline: without a reranker the fused order stands. */
static bool
rerank(struct query *query, struct err *err)
{
	struct job_context *context = query->context;
	size_t top_k = (size_t)query->payload.top_k;
	int64_t since_us = clock_mono_us();
	struct err failure = ERR_INIT;

	if (query->payload.rerank && context->env->reranker && query->count > 0) {
		if (!job_step(context, "rerank", 1, err))
			return err_wrap(err, "rerank");
		if (!rerank_candidates(query, &failure)) {
			if (!job_check(context, err))
				return err_wrap(err, "rerank");
			log_warn("reranker skipped: %s", failure.msg);
			query->degraded = true;
			if (!query_warn(query, WARN_RERANK, failure.msg, err))
				return false;
		}
		query_observe(query, "rerank", since_us, &query->us.rerank);
	}
	if (query->count > top_k)
		query->count = top_k;
	return true;
}

bool
handle_query(struct job_context *context, struct str payload, struct jw *result, struct err *err)
{
	struct query query = { .context = context, .started_us = clock_mono_us() };
	bool cached;

	if (!prepare(&query, payload, err))
		return false;
	if (!query_from_cache(&query, result, &cached, err))
		return false;
	if (cached) {
		query_write_run(&query, true, result);
		return true;
	}
	if (!embed_question(&query, err) || !find(&query, err) || !rerank(&query, err) ||
	    !query_generate(&query, err) ||
	    !query_tell_answer(&query, query.payload.generate ? query.cited.text : STR(""), err) ||
	    !job_check(context, err))
		return false;
	query_to_cache(&query);
	query_write_answer(&query, result);
	query_write_run(&query, false, result);
	return true;
}
