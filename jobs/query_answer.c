/*
 * From candidates to a checked answer:
 *
 *	prompt -> generator -> citations -> refusal -> grounding
 *
 * 1. Without a source there is nothing to ask a model for: the answer is the refusal.
 * 2. A generator that fails after its readers have got some of the answer is called again (provider.attempts), after they were
 *    told that what they have is void; one that fails before has tried by itself already.
 * 3. A generator that fails for good is replaced by the extractive one, which needs nothing but the sources, and `warnings` says so.
 *    A job's cancel, its deadline and a lost lease end the job as everywhere.
 * 4. An answer may cite what its generator was shown, nothing else.
 */
#include "jobs/query_internal.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "jobs/provider/local.h"

/* Of the job's time that is left, what a generator leaves to the fallback: a part, and this at least. */
#define FALLBACK_MS 1000
#define FALLBACK_PART 10
#define WARN_FAILED "GENERATOR_FAILED"
#define WARN_TRUNCATED "ANSWER_TRUNCATED"
#define WARN_LEFT_OUT "SOURCES_LEFT_OUT"
#define WARN_CUT "SOURCE_CUT"

static bool
is_extractive(const struct generator *generator)
{
	return generator->ops == &extractive_generator_ops;
}

/* ---- asking ---- */

static bool
make_sources(struct query *query, struct err *err)
{
	struct source *sources =
		arena_array(query->context->arena, query->count + 1, sizeof(*sources));

	if (!sources)
		return err_set(err, ERR_TOO_LARGE, "cannot hold %zu sources", query->count);
	for (size_t i = 0; i < query->count; i++) {
		const struct candidate *candidate = &query->candidates[i];

		sources[i] = (struct source){ .n = (int)i + 1,
					      .document_id = candidate->hit.document_id,
					      .title = candidate->hit.title,
					      .heading = candidate->hit.heading,
					      .text = candidate->hit.text,
					      .score = candidate->score };
	}
	query->sources = sources;
	query->citable = query->count;
	return true;
}

/* For a generator that is a model. */
static bool
make_prompt(struct query *query, struct err *err)
{
	const struct job_env *env = query->context->env;
	const struct prompt_request request = { .question = query->payload.query,
						.sources = query->sources,
						.count = query->count,
						.history = query->history,
						.source_tokens = env->config->source_tokens,
						.history_tokens = env->config->history_tokens };
	char detail[160];

	if (query->count == 0 || is_extractive(env->generator))
		return true;
	if (!prompt_build(env->prompt, &request, query->context->arena, &query->prompt, err))
		return false;
	query->citable = query->prompt.sources;
	if (query->prompt.source_cut &&
	    !query_warn(query, WARN_CUT,
			"the first source is longer than the prompt may be: its end was left out",
			err))
		return false;
	if (query->citable == query->count)
		return true;
	(void)snprintf(detail, sizeof(detail),
		       "%zu of %zu chunks did not fit into the prompt (%lld tokens)",
		       query->count - query->citable, query->count,
		       (long long)env->config->source_tokens);
	return query_warn(query, WARN_LEFT_OUT, detail, err);
}

/* With nothing to answer from, nobody is asked. */
static bool
refuse(struct query *query, const struct generate_request *request, struct err *err)
{
	query->generated = (struct generated){ .text = request->refusal,
					       .refused = true,
					       .model = query->context->env->generator->model };
	return !request->on_text || request->on_text(request->user, request->refusal, err);
}

/* The extractive answer in place of one that failed. */
static bool
fall_back(struct query *query, const struct generate_request *request, const struct err *failure,
	  struct err *err)
{
	struct job_context *context = query->context;
	const struct provider_call call = query_call(query);
	AUTO_PTR(generator_close) struct generator *fallback = NULL;

	log_warn("generator '%s' failed, answering with the sources' own words: %s",
		 context->env->generator->ops->name, failure->msg);
	bool more = query->citable < query->count; /* than the model was shown, and readers told */

	query->degraded = true;
	query->citable = query->count;
	query->prompt.count = 0;
	return query_warn(query, WARN_FAILED, failure->msg, err) &&
	       query_tell_restart(query, err) && (!more || query_tell_sources(query, err)) &&
	       extractive_generator_ops.open(context->env->config, &fallback, err) &&
	       fallback->ops->generate(fallback, &call, request, context->arena, &query->generated,
				       err);
}

/* Readers have half an answer, which its generator could not make whole: is another try worth it? */
static bool
may_begin_anew(const struct query *query, const struct err *failure, int64_t attempt)
{
	const struct job_context *context = query->context;
	bool time_left = context->deadline_mono_ms == 0 ||
			 clock_left_ms(context->deadline_mono_ms) > 2 * FALLBACK_MS;

	return query->told_bytes > 0 && time_left &&
	       attempt < context->env->config->provider_attempts &&
	       err_info(failure->code)->retryable && failure->code != ERR_PROVIDER_LIMITED &&
	       failure->code != ERR_DEADLINE;
}

/* Fails only for a cancel, the deadline, a lost lease, and where there is nothing to fall back to. */
static bool
run_generator(struct query *query, const struct generate_request *request, struct err *err)
{
	struct job_context *context = query->context;
	struct generator *generator = context->env->generator;
	bool last = is_extractive(generator);
	struct provider_call call = query_call(query);

	if (call.deadline_mono_ms && !last) {
		int64_t part_ms = clock_left_ms(call.deadline_mono_ms) / FALLBACK_PART;

		call.deadline_mono_ms -= part_ms > FALLBACK_MS ? part_ms : FALLBACK_MS;
	}
	for (int64_t attempt = 1;; attempt++) {
		struct err failure = ERR_INIT;

		if (generator->ops->generate(generator, &call, request, context->arena,
					     &query->generated, &failure))
			return true;
		if (last || failure.code == ERR_STALE || failure.code == ERR_CANCELLED) {
			*err = failure;
			return false;
		}
		if (!job_check(context, err))
			return false;
		if (!may_begin_anew(query, &failure, attempt))
			return fall_back(query, request, &failure, err);
		log_warn("generator '%s' failed in the middle of its answer, beginning anew: %s",
			 generator->ops->name, failure.msg);
		if (!query_tell_restart(query, err))
			return false;
	}
}

/* ---- checking ---- */

/* Was the answer made of sentences of the sources, so that nothing else can be in it? */
static bool
is_quoted(const struct query *query)
{
	return is_extractive(query->context->env->generator) || query->prompt.count == 0;
}

static bool
check_answer(struct query *query, struct err *err)
{
	struct job_context *context = query->context;
	struct generated *generated = &query->generated;

	if (!cite_answer(generated->text, query->citable, context->arena, &query->cited))
		return err_set(err, ERR_TOO_LARGE, "cite: cannot hold the answer");
	/* a model says so in the words it was told; whoever goes on and cites has answered */
	if (!generated->refused && query->cited.used_count == 0)
		generated->refused = prompt_is_refusal(context->env->prompt, query->cited.text);
	if (generated->truncated &&
	    !query_warn(query, WARN_TRUNCATED,
			"the answer was cut: a greater max_tokens gives more of it", err))
		return false;
	if (generated->refused || is_quoted(query))
		return true;
	query->is_checked = true;
	return ground_answer(query->cited.text, query->sources, query->citable, context->arena,
			     &query->ground) ||
	       err_set(err, ERR_TOO_LARGE, "cannot hold the words of the sources");
}

bool
query_generate(struct query *query, struct err *err)
{
	struct job_context *context = query->context;
	struct generate_request request = {
		.question = query->search,
		.refusal = context->env->prompt->parts[PROMPT_PART_REFUSAL],
		.max_tokens = query->payload.max_tokens,
		.on_text = context->emit ? query_tell_text : NULL,
		.user = query
	};
	bool ok;

	if (!query->payload.generate)
		return true;
	query->generate_from_us = clock_mono_us();
	if (!make_sources(query, err) || !make_prompt(query, err) ||
	    !query_tell_sources(query, err) || !job_step(context, "generate", 1, err))
		return err_wrap(err, "generate");
	request.sources = query->sources;
	request.count = query->count;
	request.prompt = query->prompt.count > 0 ? &query->prompt : NULL;
	ok = query->count == 0 ? refuse(query, &request, err) : run_generator(query, &request, err);
	if (!ok || !check_answer(query, err))
		return err_wrap(err, "generate");
	query_observe(query, "generate", query->generate_from_us, &query->us.generate);
	return true;
}
