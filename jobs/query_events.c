#include "jobs/query_internal.h"

#include <stdio.h>

#include "common/base/clock.h"

static bool
emit(const struct query *query, enum job_emit what, struct str data, struct err *err)
{
	const struct job_context *context = query->context;

	return !context->emit || context->emit(context->user, what, data, err);
}

static bool
emit_json(const struct query *query, enum job_emit what, const struct buf *json, struct err *err)
{
	return buf_check(json, "an event", err) &&
	       emit(query, what, str_make(json->data, json->len), err);
}

struct str
query_chunk_id(const struct store_hit *hit, char out[QUERY_CHUNK_ID_BYTES])
{
	(void)snprintf(out, QUERY_CHUNK_ID_BYTES, STR_FMT "@" STR_FMT "#%lld",
		       STR_ARG(hit->document_id), STR_ARG(hit->gen), (long long)hit->ordinal);
	return str_of(out);
}

/* The first piece that is not empty is the first token. (The metric of it is jobs/provider/remote.h's, per provider.) */
bool
query_tell_text(void *user, struct str piece, struct err *err)
{
	struct query *query = user;

	if (piece.len > 0 && query->us.first_token == 0)
		query->us.first_token = clock_mono_us() - query->generate_from_us;
	query->told_bytes += piece.len;
	return emit(query, JOB_EMIT_TEXT, piece, err);
}

bool
query_tell_restart(struct query *query, struct err *err)
{
	if (query->told_bytes == 0)
		return true;
	query->told_bytes = 0;
	return emit(query, JOB_EMIT_RESET, STR(""), err);
}

/* What the answer may cite: before its first word, so that a reader can show it meanwhile. */
bool
query_tell_sources(const struct query *query, struct err *err)
{
	AUTO(buf) struct buf json = BUF_INIT(QUERY_EVENT_MAX_BYTES);
	struct jw w = jw_start(&json);
	char chunk_id[QUERY_CHUNK_ID_BYTES];

	if (!query->context->emit)
		return true;
	jw_obj(&w);
	jw_karr(&w, "sources");
	for (size_t i = 0; i < query->citable; i++) {
		const struct candidate *candidate = &query->candidates[i];
		const struct store_hit *hit = &candidate->hit;

		jw_obj(&w);
		jw_kint(&w, "n", (int64_t)i + 1);
		jw_kstr(&w, "document_id", hit->document_id);
		jw_kstr(&w, "chunk_id", query_chunk_id(hit, chunk_id));
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

bool
query_warn(struct query *query, const char *code, const char *detail, struct err *err)
{
	AUTO(buf) struct buf json = BUF_INIT(QUERY_EVENT_MAX_BYTES);
	struct jw w = jw_start(&json);

	if (query->warning_count < QUERY_WARNINGS_MAX) {
		struct query_warning *warning = &query->warnings[query->warning_count++];

		warning->code = code;
		(void)str_copy(warning->detail, sizeof(warning->detail), str_of(detail));
	}
	if (!query->context->emit)
		return true;
	jw_obj(&w);
	jw_kcstr(&w, "code", code);
	jw_kcstr(&w, "detail", detail);
	jw_end(&w);
	return emit_json(query, JOB_EMIT_WARNING, &json, err);
}

bool
query_tell_answer(const struct query *query, struct str answer, struct err *err)
{
	return emit(query, JOB_EMIT_ANSWER, answer, err);
}

/* What an answer out of the cache cites, without the texts, and the answer. */
bool
query_tell_cached(const struct query *query, const struct js *root, struct err *err)
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
