/*
 * query: from a question to an answer with checked citations.
 *
 *	cache -> embed -> retrieve -> rerank -> generate -> cite -> cache
 *
 * An answer is cached under the hash of everything that decides it: the collection's uid and epoch (it rises with
 * every visible change, so an entry is never wrong), the models, the question and its parameters. The epoch under
 * which an answer is kept is the one its retrieval is true for, read before the search.
 * A reranker that fails is left out, a generator that fails is replaced by the extractive one, and `warnings` says so; an answer made
 * under a warning is not cached.
 */
#include "jobs/handler.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/cache.h"
#include "common/catalog.h"
#include "common/sha256.h"
#include "jobs/provider/local.h"
#include "jobs/spec/filter.h"
#include "jobs/spec/spec.h"
#include "jobs/step/cite.h"
#include "jobs/step/retrieve.h"

#define QUERY_RERANK_DEPTH 50	 /* candidates that go to the reranker, at least */
#define QUERY_ANSWER_VERSION "2" /* part of the cache key: raise when answers change */
#define QUERY_SCORE_DIGITS 5
#define QUERY_CHUNK_ID_BYTES (CATALOG_DOC_ID_MAX_BYTES + CATALOG_GEN_BYTES + 32)
#define QUERY_EVENT_MAX_BYTES ((size_t)1024 * 1024)
#define QUERY_FALLBACK_MS 1000 /* of the job's time that a generator leaves to the fallback */
#define WARN_RERANK "RERANK_SKIPPED"
#define WARN_GENERATE "GENERATOR_FAILED"

struct query {
	struct job_context *context;
	struct query_payload payload;
	struct filter *filter;
	char fingerprint[SPEC_FINGERPRINT_BYTES];
	float *vector;
	struct candidate *candidates;
	size_t count;
	int64_t epoch; /* of the collection, that the candidates are true for */
	struct generated generated;
	struct cite_check cited;
	struct err rerank_failure;   /* ERR_NONE = none */
	struct err generate_failure; /* the same: the answer is the fallback's */
	struct {
		int64_t embed, retrieve, rerank, generate;
	} us;
	int64_t started_us;
};

static void
observe(struct query *query, const char *step, int64_t since_us, int64_t *out_us)
{
	*out_us = clock_mono_us() - since_us;
	metric_observe(query->context->env->step_seconds, METRIC_VALUES(step),
		       (double)*out_us / 1e6);
}

/* ---- telling those who follow ---- */

static bool
emit(const struct query *query, enum job_emit what, struct str data, struct err *err)
{
	const struct job_context *context = query->context;

	return !context->emit || context->emit(context->user, what, data, err);
}

static bool
on_text(void *user, struct str piece, struct err *err)
{
	return emit(user, JOB_EMIT_TEXT, piece, err);
}

static bool
emit_json(const struct query *query, enum job_emit what, const struct buf *json, struct err *err)
{
	return buf_check(json, "an event", err) &&
	       emit(query, what, str_make(json->data, json->len), err);
}

static struct str
chunk_id_of(const struct store_hit *hit, char out[QUERY_CHUNK_ID_BYTES])
{
	(void)snprintf(out, QUERY_CHUNK_ID_BYTES, STR_FMT "@" STR_FMT "#%lld",
		       STR_ARG(hit->document_id), STR_ARG(hit->gen), (long long)hit->ordinal);
	return str_of(out);
}

/* What the answer may cite: before its first word, so that a reader can show it meanwhile. */
static bool
emit_sources(const struct query *query, struct err *err)
{
	AUTO(buf) struct buf json = BUF_INIT(QUERY_EVENT_MAX_BYTES);
	struct jw w = jw_start(&json);
	char chunk_id[QUERY_CHUNK_ID_BYTES];

	if (!query->context->emit)
		return true;
	jw_obj(&w);
	jw_karr(&w, "sources");
	for (size_t i = 0; i < query->count; i++) {
		const struct candidate *candidate = &query->candidates[i];
		const struct store_hit *hit = &candidate->hit;

		jw_obj(&w);
		jw_kint(&w, "n", (int64_t)i + 1);
		jw_kstr(&w, "document_id", hit->document_id);
		jw_kstr(&w, "chunk_id", chunk_id_of(hit, chunk_id));
		jw_kstr(&w, "title", hit->title);
		jw_kstr(&w, "uri", hit->uri);
		jw_kstr(&w, "heading", hit->heading);
		jw_knum(&w, "score", (double)candidate->score, QUERY_SCORE_DIGITS);
		jw_end(&w);
	}
	jw_end(&w);
	jw_end(&w);
	return emit_json(query, JOB_EMIT_SOURCES, &json, err);
}

static void
write_warning(const char *code, const struct err *failure, struct jw *w)
{
	jw_obj(w);
	jw_kcstr(w, "code", code);
	jw_kcstr(w, "detail", failure->msg);
	jw_end(w);
}

/* Nothing when there was no failure. */
static bool
emit_warning(const struct query *query, const char *code, const struct err *failure,
	     struct err *err)
{
	AUTO(buf) struct buf json = BUF_INIT(QUERY_EVENT_MAX_BYTES);
	struct jw w = jw_start(&json);

	if (failure->code == ERR_NONE || !query->context->emit)
		return true;
	write_warning(code, failure, &w);
	return emit_json(query, JOB_EMIT_WARNING, &json, err);
}

/* What an answer out of the cache cites, without the texts, and the answer. */
static bool
emit_cached(const struct query *query, const struct js *root, struct err *err)
{
	static const char *const left_out[] = { "text", "start", "end" };
	AUTO(buf) struct buf json = BUF_INIT(QUERY_EVENT_MAX_BYTES);
	struct jw w = jw_start(&json);
	const struct js *cited = js_get(root, "citations");
	struct str answer = STR("");

	if (!query->context->emit)
		return true;
	jw_obj(&w);
	jw_karr(&w, "sources");
	for (size_t i = 0; js_is(cited, JS_ARRAY) && i < js_len(cited); i++) {
		const struct js *one = js_at(cited, i);

		jw_obj(&w);
		for (const struct js_iter *it = js_first(one); it; it = js_next(one, it)) {
			bool out = false;

			for (size_t k = 0; k < ARRAY_SIZE(left_out); k++)
				out |= str_eq_c(js_iter_key(it), left_out[k]);
			if (out)
				continue;
			jw_key(&w, js_iter_key(it).ptr);
			jw_js(&w, js_iter_value(it));
		}
		jw_end(&w);
	}
	jw_end(&w);
	jw_end(&w);
	(void)js_get_str(root, "answer", &answer);
	return emit_json(query, JOB_EMIT_SOURCES, &json, err) &&
	       emit(query, JOB_EMIT_ANSWER, answer, err);
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
	if (!filter_parse(payload->filter, context->arena, &query->filter, err))
		return false;
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

static void
cache_hash(const struct query *query, char out[SHA256_HEX_BYTES])
{
	const struct query_payload *payload = &query->payload;
	const struct job_env *env = query->context->env;
	struct sha256 *hash = sha256_new();
	char numbers[128];
	int len;

	len = snprintf(numbers, sizeof(numbers), "%lld/%lld/%d/%d/%d/%d/%lld",
		       (long long)query->epoch, (long long)payload->top_k, payload->mode,
		       payload->rerank, payload->generate, payload->explain,
		       (long long)payload->max_tokens);
	sha256_add_field(hash, STR("answer " QUERY_ANSWER_VERSION " " RAG_VERSION));
	sha256_add_field(hash, payload->uid);
	sha256_add_field(hash, str_make(numbers, (size_t)len));
	sha256_add_field(hash, payload->query);
	sha256_add_field(hash, payload->filter);
	sha256_add_field(hash, str_of(query->fingerprint));
	sha256_add_field(hash, str_of(env->generator->ops->name));
	sha256_add_field(hash, str_of(env->generator->model));
	sha256_add_field(hash, str_of(env->reranker ? env->reranker->ops->name : ""));
	sha256_add_field(hash, str_of(env->reranker ? env->reranker->model : ""));
	sha256_finish_hex(hash, out);
}

static bool
embed_question(struct query *query, struct err *err)
{
	struct job_context *context = query->context;
	struct embedder *embedder = context->env->embedder;
	const struct provider_call call = { .deadline_mono_ms = context->deadline_mono_ms,
					    .cancel = context->cancel };
	int64_t since_us = clock_mono_us();

	if (query->payload.mode == QUERY_LEXICAL)
		return true;
	query->vector = arena_array(context->arena, embedder->dim, sizeof(float));
	if (!query->vector)
		return err_set(err, ERR_TOO_LARGE, "embed: cannot hold the question's vector");
	if (!job_step(context, "embed", 1, err) ||
	    !embedder->ops->embed(embedder, &call, EMBED_QUERY, &query->payload.query, 1,
				  query->vector, err))
		return err_wrap(err, "embed");
	observe(query, "embed", since_us, &query->us.embed);
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
		.query = query->payload.query,
		.vector = query->vector,
		.dim = context->env->embedder->dim,
		.mode = (enum query_mode)query->payload.mode,
		.dense_weight = context->env->embedder->dense_weight,
		.top_k = rerank && top_k < QUERY_RERANK_DEPTH ? QUERY_RERANK_DEPTH : top_k,
		.filter = query->filter,
	};
	int64_t since_us = clock_mono_us();

	if (!job_step(context, "retrieve", 1, err) ||
	    !retrieve(&request, context->arena, &query->candidates, &query->count, &query->epoch,
		      err))
		return err_wrap(err, "retrieve");
	observe(query, "retrieve", since_us, &query->us.retrieve);
	return true;
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
	const struct provider_call call = { .deadline_mono_ms = context->deadline_mono_ms,
					    .cancel = context->cancel };
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
	if (!reranker->ops->rerank(reranker, &call, query->payload.query, passages, query->count,
				   scores, err))
		return false;
	for (size_t i = 0; i < query->count; i++)
		query->candidates[i].score = scores[i];
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

	query->rerank_failure = ERR_INIT;
	if (query->payload.rerank && context->env->reranker && query->count > 0) {
		if (!job_step(context, "rerank", 1, err))
			return err_wrap(err, "rerank");
		if (!rerank_candidates(query, &query->rerank_failure)) {
			if (!job_check(context, err))
				return err_wrap(err, "rerank");
			log_warn("reranker skipped: %s", query->rerank_failure.msg);
		}
		observe(query, "rerank", since_us, &query->us.rerank);
	}
	if (query->count > top_k)
		query->count = top_k;
	return emit_warning(query, WARN_RERANK, &query->rerank_failure, err);
}

/*
 * The extractive answer in place of one that failed: it needs nothing but the sources. What the other one has already told its readers
 * is no part of it: they get this answer with the result.
 */
static bool
fall_back(struct query *query, const struct generate_request *asked, struct err *err)
{
	struct job_context *context = query->context;
	const struct provider_call call = { .deadline_mono_ms = context->deadline_mono_ms,
					    .cancel = context->cancel };
	AUTO_PTR(generator_close) struct generator *fallback = NULL;
	struct generate_request request = *asked;

	log_warn("generator '%s' failed, answering with the sources' own words: %s",
		 context->env->generator->ops->name, query->generate_failure.msg);
	request.on_text = NULL;
	return emit_warning(query, WARN_GENERATE, &query->generate_failure, err) &&
	       extractive_generator_ops.open(context->env->config, &fallback, err) &&
	       fallback->ops->generate(fallback, &call, &request, context->arena, &query->generated,
				       err);
}

/* Fails only for a cancel, the deadline, a lost lease, and where there is nothing to fall back to. */
static bool
run_generator(struct query *query, const struct generate_request *request, struct err *err)
{
	struct job_context *context = query->context;
	struct generator *generator = context->env->generator;
	bool last = generator->ops == &extractive_generator_ops;
	int64_t deadline_ms = context->deadline_mono_ms;
	const struct provider_call call = { .deadline_mono_ms =
						    deadline_ms && !last
							    ? deadline_ms - QUERY_FALLBACK_MS
							    : deadline_ms,
					    .cancel = context->cancel };
	struct err failure = ERR_INIT;

	if (generator->ops->generate(generator, &call, request, context->arena, &query->generated,
				     &failure))
		return true;
	if (last || failure.code == ERR_STALE || failure.code == ERR_CANCELLED) {
		*err = failure;
		return false;
	}
	query->generate_failure = failure;
	return job_check(context, err) && fall_back(query, request, err);
}

static bool
generate(struct query *query, struct err *err)
{
	struct job_context *context = query->context;
	struct source *sources = arena_array(context->arena, query->count + 1, sizeof(*sources));
	const struct generate_request request = { .question = query->payload.query,
						  .sources = sources,
						  .count = query->count,
						  .max_tokens = query->payload.max_tokens,
						  .on_text = context->emit ? on_text : NULL,
						  .user = query };
	int64_t since_us = clock_mono_us();

	if (!query->payload.generate)
		return true;
	if (!sources)
		return err_set(err, ERR_TOO_LARGE, "generate: cannot hold %zu sources",
			       query->count);
	for (size_t i = 0; i < query->count; i++) {
		const struct candidate *candidate = &query->candidates[i];

		sources[i] = (struct source){ .n = (int)i + 1,
					      .document_id = candidate->hit.document_id,
					      .title = candidate->hit.title,
					      .heading = candidate->hit.heading,
					      .text = candidate->hit.text,
					      .score = candidate->score };
	}
	if (!emit_sources(query, err) || !job_step(context, "generate", 1, err) ||
	    !run_generator(query, &request, err))
		return err_wrap(err, "generate");
	if (!cite_answer(query->generated.text, query->count, context->arena, &query->cited))
		return err_set(err, ERR_TOO_LARGE, "cite: cannot hold the answer");
	observe(query, "generate", since_us, &query->us.generate);
	return true;
}

/* ---- the result ---- */

static void
write_hit(const struct query *query, size_t index, bool numbered, struct jw *w)
{
	const struct candidate *candidate = &query->candidates[index];
	const struct store_hit *hit = &candidate->hit;
	char chunk_id[QUERY_CHUNK_ID_BYTES];

	jw_obj(w);
	if (numbered)
		jw_kint(w, "n", (int64_t)index + 1);
	jw_kstr(w, "document_id", hit->document_id);
	jw_kstr(w, "chunk_id", chunk_id_of(hit, chunk_id));
	jw_kstr(w, "title", hit->title);
	jw_kstr(w, "uri", hit->uri);
	jw_kstr(w, "heading", hit->heading);
	jw_kstr(w, "text", hit->text);
	if (hit->page > 0)
		jw_kint(w, "page", hit->page);
	else
		jw_knull(w, "page");
	jw_kint(w, "start", hit->start);
	jw_kint(w, "end", hit->end);
	jw_knum(w, "score", (double)candidate->score, QUERY_SCORE_DIGITS);
	if (!numbered) {
		if (hit->metadata.len)
			jw_kraw(w, "metadata", hit->metadata);
		else
			jw_knull(w, "metadata");
	}
	if (query->payload.explain) {
		/* Not a number (not in that leg) is written as null. */
		jw_knum(w, "dense", (double)candidate->dense, QUERY_SCORE_DIGITS);
		jw_knum(w, "lexical", (double)candidate->lexical, QUERY_SCORE_DIGITS);
	}
	jw_end(w);
}

/* Everything but what belongs to this run alone (times, whether it came from the cache). */
static void
write_answer(const struct query *query, struct jw *w)
{
	const struct query_payload *payload = &query->payload;

	if (payload->generate)
		jw_kstr(w, "answer", query->cited.text);
	else
		jw_knull(w, "answer");
	jw_karr(w, "citations");
	for (size_t i = 0; payload->generate && i < query->count; i++) {
		if (query->cited.used[i])
			write_hit(query, i, true, w);
	}
	jw_end(w);
	if (!payload->generate || payload->explain) {
		jw_karr(w, "results");
		for (size_t i = 0; i < query->count; i++)
			write_hit(query, i, false, w);
		jw_end(w);
	}
	jw_kbool(w, "grounded",
		 payload->generate && !query->generated.refused && query->cited.used_count > 0 &&
			 query->cited.removed == 0);
	jw_kbool(w, "refused", payload->generate && query->generated.refused);
	if (payload->generate)
		jw_kcstr(w, "model", query->generated.model);
	else
		jw_knull(w, "model");
	jw_karr(w, "warnings");
	if (query->rerank_failure.code != ERR_NONE)
		write_warning(WARN_RERANK, &query->rerank_failure, w);
	if (query->generate_failure.code != ERR_NONE)
		write_warning(WARN_GENERATE, &query->generate_failure, w);
	jw_end(w);
}

static void
write_run(const struct query *query, bool cached, struct jw *w)
{
	int64_t total_us = clock_mono_us() - query->started_us;

	jw_kbool(w, "cached", cached);
	jw_kobj(w, "timings_ms");
	jw_knum(w, "embed", (double)query->us.embed / 1e3, QUERY_SCORE_DIGITS);
	jw_knum(w, "retrieve", (double)query->us.retrieve / 1e3, QUERY_SCORE_DIGITS);
	jw_knum(w, "rerank", (double)query->us.rerank / 1e3, QUERY_SCORE_DIGITS);
	jw_knum(w, "generate", (double)query->us.generate / 1e3, QUERY_SCORE_DIGITS);
	jw_knum(w, "total", (double)total_us / 1e3, QUERY_SCORE_DIGITS);
	jw_end(w);
}

/* The members of a cached answer, as they were written. *out_hit: there was one. */
static bool
answer_from_cache(struct query *query, struct jw *result, bool *out_hit, struct err *err)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	AUTO(buf) struct buf member = BUF_INIT(CACHE_MAX_VALUE_BYTES);
	const struct job_env *env = query->context->env;
	struct err ignored = ERR_INIT;
	char hash[SHA256_HEX_BYTES];
	struct str text;
	bool hit;

	*out_hit = false;
	if (!env->config->enable_caching)
		return true;
	cache_hash(query, hash);
	hit = cache_get(env->redis, str_of(hash), query->context->arena, &text) &&
	      js_parse(text, &root, &ignored) && js_is(root, JS_OBJECT);
	metric_add(env->cache_total, METRIC_VALUES("answer", hit ? "hit" : "miss"), 1);
	if (!hit)
		return true;
	if (!emit_cached(query, root, err))
		return false;
	*out_hit = true;
	for (const struct js_iter *it = js_first(root); it; it = js_next(root, it)) {
		buf_clear(&member);
		js_write(js_iter_value(it), &member);
		jw_kraw(result, js_iter_key(it).ptr, str_make(member.data, member.len));
	}
	return true;
}

static void
answer_to_cache(const struct query *query)
{
	AUTO(buf) struct buf text = BUF_INIT(CACHE_MAX_VALUE_BYTES);
	const struct job_env *env = query->context->env;
	struct jw w = jw_start(&text);
	char hash[SHA256_HEX_BYTES];

	if (!env->config->enable_caching || query->rerank_failure.code != ERR_NONE ||
	    query->generate_failure.code != ERR_NONE)
		return;
	jw_obj(&w);
	write_answer(query, &w);
	jw_end(&w);
	if (!buf_ok(&text))
		return;
	cache_hash(query, hash);
	cache_put(env->redis, str_of(hash), str_make(text.data, text.len),
		  env->config->cache_ttl_s);
}

bool
handle_query(struct job_context *context, struct str payload, struct jw *result, struct err *err)
{
	struct query query = { .context = context, .started_us = clock_mono_us() };
	bool cached;

	if (!prepare(&query, payload, err))
		return false;
	if (!answer_from_cache(&query, result, &cached, err))
		return false;
	if (cached) {
		write_run(&query, true, result);
		return true;
	}
	if (!embed_question(&query, err) || !find(&query, err) || !rerank(&query, err) ||
	    !generate(&query, err) ||
	    !emit(&query, JOB_EMIT_ANSWER, query.payload.generate ? query.cited.text : STR(""),
		  err) ||
	    !job_check(context, err))
		return false;
	answer_to_cache(&query);
	write_answer(&query, result);
	write_run(&query, false, result);
	return true;
}
