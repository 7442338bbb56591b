/*
 * The result of a query, and the copy of it that the cache keeps. What belongs to one run alone (times, usage, whether it came from the
 * cache) is written apart and never kept.
 */
#include "jobs/query_internal.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/cache.h"
#include "common/sha256.h"
#include "jobs/spec/choice.h"

#define ANSWER_VERSION "3" /* part of the cache's key: raise when answers change */

/* ---- hits ---- */

/* Not a number (not in that leg, not reranked) is written as null. */
static void
write_scores(const struct candidate *candidate, struct jw *w)
{
	jw_knum(w, "dense", (double)candidate->dense, QUERY_SCORE_DIGITS);
	jw_knum(w, "lexical", (double)candidate->lexical, QUERY_SCORE_DIGITS);
	jw_knum(w, "fused", (double)candidate->fused, QUERY_SCORE_DIGITS);
	jw_knum(w, "rerank", (double)candidate->rerank, QUERY_SCORE_DIGITS);
}

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
	jw_kstr(w, "chunk_id", query_chunk_id(hit, chunk_id));
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
	if (query->payload.explain)
		write_scores(candidate, w);
	jw_end(w);
}

/* ---- explain ---- */

static void
write_search(const struct query *query, struct jw *w)
{
	const struct job_env *env = query->context->env;
	const struct query_payload *payload = &query->payload;

	jw_kobj(w, "search");
	jw_kstr(w, "query", query->search);
	jw_kbool(w, "condensed", !str_eq(query->search, payload->query));
	jw_kcstr(w, "mode", query_mode_names[query->mode]);
	jw_knum(w, "dense_weight",
		query->mode == QUERY_DENSE     ? 1
		: query->mode == QUERY_LEXICAL ? 0
					       : env->embedder->dense_weight,
		QUERY_SCORE_DIGITS);
	if (payload->filter.len)
		jw_kraw(w, "filter", payload->filter);
	else
		jw_knull(w, "filter");
	jw_kcstr(w, "embedder", query->fingerprint);
	jw_kcstr(w, "reranker", query->reranked ? env->reranker->ops->name : NULL);
	jw_kcstr(w, "store", env->store->ops->name);
	jw_end(w);
}

/* The first hits of a leg, at most as many as went on from it. */
static void
write_leg(const struct query *query, const char *name, const struct store_hit *hits, size_t count,
	  struct jw *w)
{
	size_t most = (size_t)query->payload.top_k;
	char chunk_id[QUERY_CHUNK_ID_BYTES];

	most = most < QUERY_RERANK_DEPTH ? QUERY_RERANK_DEPTH : most;
	jw_karr(w, name);
	for (size_t i = 0; i < count && i < most; i++) {
		jw_obj(w);
		jw_kstr(w, "document_id", hits[i].document_id);
		jw_kstr(w, "chunk_id", query_chunk_id(&hits[i], chunk_id));
		jw_knum(w, "score", (double)hits[i].score, QUERY_SCORE_DIGITS);
		jw_end(w);
	}
	jw_end(w);
}

static void
write_candidates(const struct query *query, struct jw *w)
{
	char chunk_id[QUERY_CHUNK_ID_BYTES];

	jw_karr(w, "candidates");
	for (size_t i = 0; i < query->considered; i++) {
		const struct candidate *candidate = &query->candidates[i];

		jw_obj(w);
		jw_kstr(w, "document_id", candidate->hit.document_id);
		jw_kstr(w, "chunk_id", query_chunk_id(&candidate->hit, chunk_id));
		write_scores(candidate, w);
		jw_knum(w, "score", (double)candidate->score, QUERY_SCORE_DIGITS);
		jw_kbool(w, "used", i < query->count);
		jw_end(w);
	}
	jw_end(w);
}

static void
write_prompt(const struct query *query, struct jw *w)
{
	const struct prompt *prompt = &query->prompt;

	if (prompt->count == 0) {
		jw_knull(w, "prompt");
		return;
	}
	jw_kobj(w, "prompt");
	jw_kstr(w, "template", str_make(query->context->env->prompt->hash, 16));
	jw_kint(w, "tokens", prompt->tokens);
	jw_kint(w, "system_tokens", prompt->system_tokens);
	jw_kint(w, "history_tokens", prompt->history_tokens);
	jw_kint(w, "source_tokens", prompt->source_tokens);
	jw_kint(w, "sources", (int64_t)prompt->sources);
	jw_kint(w, "sources_left_out", (int64_t)(query->count - prompt->sources));
	jw_kint(w, "history_turns", (int64_t)prompt->history_turns);
	jw_kint(w, "history_left_out", (int64_t)(query->history.count - prompt->history_turns));
	jw_end(w);
}

static void
write_grounding(const struct query *query, struct jw *w)
{
	const struct ground *ground = &query->ground;

	if (!query->is_checked) {
		jw_knull(w, "grounding");
		return;
	}
	jw_kobj(w, "grounding");
	jw_kint(w, "statements", (int64_t)ground->statements);
	jw_kint(w, "uncited", (int64_t)ground->uncited);
	jw_kint(w, "unsupported", (int64_t)ground->unsupported);
	jw_kint(w, "marks_removed", (int64_t)query->cited.removed);
	if (ground->first_bad.len)
		jw_kstr(w, "first_bad", ground->first_bad);
	else
		jw_knull(w, "first_bad");
	jw_end(w);
}

static void
write_explain(const struct query *query, struct jw *w)
{
	const struct store_hits *hits = &query->found.hits;

	jw_kobj(w, "explain");
	write_search(query, w);
	write_leg(query, "dense", hits->dense, hits->dense_count, w);
	write_leg(query, "lexical", hits->lexical, hits->lexical_count, w);
	write_candidates(query, w);
	write_prompt(query, w);
	write_grounding(query, w);
	jw_end(w);
}

/* ---- the answer ---- */

/* Every statement stands on a source that it names. Of a quoted answer that is so by how it is made. */
static bool
is_grounded(const struct query *query)
{
	return query->payload.generate && !query->generated.refused &&
	       query->cited.used_count > 0 && query->cited.removed == 0 &&
	       (!query->is_checked || ground_holds(&query->ground));
}

static void
write_warnings(const struct query *query, struct jw *w)
{
	jw_karr(w, "warnings");
	for (size_t i = 0; i < query->warning_count; i++) {
		jw_obj(w);
		jw_kcstr(w, "code", query->warnings[i].code);
		jw_kcstr(w, "detail", query->warnings[i].detail);
		jw_end(w);
	}
	jw_end(w);
}

void
query_write_answer(const struct query *query, struct jw *w)
{
	const struct query_payload *payload = &query->payload;

	if (payload->generate)
		jw_kstr(w, "answer", query->cited.text);
	else
		jw_knull(w, "answer");
	jw_karr(w, "citations");
	for (size_t i = 0; payload->generate && i < query->citable; i++) {
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
	jw_kbool(w, "grounded", is_grounded(query));
	jw_kbool(w, "refused", payload->generate && query->generated.refused);
	jw_kbool(w, "truncated", payload->generate && query->generated.truncated);
	jw_kcstr(w, "model", payload->generate ? query->generated.model : NULL);
	write_warnings(query, w);
	if (payload->explain)
		write_explain(query, w);
}

static void
write_usage(const struct provider_usage *usage, struct jw *w)
{
	jw_kobj(w, "usage");
	jw_kint(w, "requests", usage->requests);
	jw_kint(w, "embedding_tokens", usage->embedding_tokens);
	jw_kint(w, "prompt_tokens", usage->prompt_tokens);
	jw_kint(w, "completion_tokens", usage->completion_tokens);
	jw_kint(w, "search_units", usage->search_units);
	jw_end(w);
}

void
query_write_run(const struct query *query, bool cached, struct jw *w)
{
	int64_t total_us = clock_mono_us() - query->started_us;

	jw_kbool(w, "cached", cached);
	write_usage(&query->usage, w);
	jw_kobj(w, "timings_ms");
	jw_knum(w, "embed", (double)query->us.embed / 1e3, QUERY_SCORE_DIGITS);
	jw_knum(w, "retrieve", (double)query->us.retrieve / 1e3, QUERY_SCORE_DIGITS);
	jw_knum(w, "rerank", (double)query->us.rerank / 1e3, QUERY_SCORE_DIGITS);
	jw_knum(w, "generate", (double)query->us.generate / 1e3, QUERY_SCORE_DIGITS);
	if (query->us.first_token > 0)
		jw_knum(w, "first_token", (double)query->us.first_token / 1e3, QUERY_SCORE_DIGITS);
	jw_knum(w, "total", (double)total_us / 1e3, QUERY_SCORE_DIGITS);
	jw_end(w);
}

/* ---- the cache ---- */

/* Which model writes, where, and how. */
static void
hash_generator(const struct query *query, struct sha256 *hash)
{
	const struct job_env *env = query->context->env;
	const struct config *config = env->config;
	struct generator_choice choice;
	struct err ignored = ERR_INIT;
	char numbers[64];
	int len = snprintf(numbers, sizeof(numbers), "%lld/%lld", (long long)config->source_tokens,
			   (long long)config->history_tokens);

	sha256_add_field(hash, str_of(env->generator->ops->name));
	sha256_add_field(hash, str_of(env->generator->model));
	if (choose_generator(config, &choice, &ignored)) {
		sha256_add_field(hash, str_of(choice.at.model));
		sha256_add_field(hash, str_of(choice.at.url));
	}
	sha256_add_field(hash, str_of(config->generator_temperature));
	sha256_add_field(hash, str_of(config->generator_thinking));
	sha256_add_field(hash, str_of(env->prompt->hash));
	sha256_add_field(hash, str_make(numbers, (size_t)len));
}

/* A server of TEI has the model that it was started with, whatever we call it: its URL says which. */
static void
hash_reranker(const struct query *query, struct sha256 *hash)
{
	const struct job_env *env = query->context->env;
	struct reranker_choice choice;
	struct err ignored = ERR_INIT;

	sha256_add_field(hash, str_of(env->reranker ? env->reranker->ops->name : ""));
	sha256_add_field(hash, str_of(env->reranker ? env->reranker->model : ""));
	if (env->reranker && choose_reranker(env->config, &choice, &ignored))
		sha256_add_field(hash, str_of(choice.at.url));
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
	sha256_add_field(hash, STR("answer " ANSWER_VERSION " " RAG_VERSION));
	sha256_add_field(hash, payload->uid);
	sha256_add_field(hash, str_make(numbers, (size_t)len));
	sha256_add_field(hash, payload->query);
	sha256_add_field(hash, payload->history);
	sha256_add_field(hash, payload->filter);
	sha256_add_field(hash, str_of(query->fingerprint));
	sha256_add_field(hash, str_of(env->store->ops->name));
	hash_reranker(query, hash);
	hash_generator(query, hash);
	sha256_finish_hex(hash, out);
}

/* The members of a cached answer, as they were written. *out_hit: there was one. */
bool
query_from_cache(struct query *query, struct jw *result, bool *out_hit, struct err *err)
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
	if (!query_tell_cached(query, root, err))
		return false;
	*out_hit = true;
	for (const struct js_iter *it = js_first(root); it; it = js_next(root, it)) {
		buf_clear(&member);
		js_write(js_iter_value(it), &member);
		jw_kraw(result, js_iter_key(it).ptr, str_make(member.data, member.len));
	}
	return true;
}

void
query_to_cache(const struct query *query)
{
	AUTO(buf) struct buf text = BUF_INIT(CACHE_MAX_VALUE_BYTES);
	const struct job_env *env = query->context->env;
	struct jw w = jw_start(&text);
	char hash[SHA256_HEX_BYTES];

	if (!env->config->enable_caching || query->degraded)
		return;
	jw_obj(&w);
	query_write_answer(query, &w);
	jw_end(&w);
	if (!buf_ok(&text))
		return;
	cache_hash(query, hash);
	cache_put(env->redis, str_of(hash), str_make(text.data, text.len),
		  env->config->cache_ttl_s);
}
