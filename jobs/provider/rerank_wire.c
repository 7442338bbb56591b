#include "jobs/provider/rerank_wire.h"

#include <math.h>

#include "common/base/auto.h"
#include "common/base/mem.h"
#include "common/json.h"

/* ---- requests ---- */

static void
add_texts(struct jw *w, const char *name, const struct rerank_query *rerank)
{
	jw_karr(w, name);
	for (size_t i = 0; i < rerank->count; i++)
		jw_str(w, rerank->texts[i]);
	jw_end(w);
}

/* What Cohere and Jina have in common. */
static void
add_query(struct jw *w, const struct rerank_query *rerank)
{
	if (rerank->model[0])
		jw_kcstr(w, "model", rerank->model);
	jw_kstr(w, "query", rerank->query);
	add_texts(w, "documents", rerank);
	if (!(rerank->without & RERANK_NO_TOP_N))
		jw_kint(w, "top_n", (int64_t)rerank->count);
}

void
rerank_build_cohere(const struct rerank_query *rerank, struct buf *out)
{
	struct jw w = jw_start(out);

	/* return_documents is v1's: v2 refuses it */
	jw_obj(&w);
	add_query(&w, rerank);
	jw_end(&w);
}

void
rerank_build_jina(const struct rerank_query *rerank, struct buf *out)
{
	struct jw w = jw_start(out);

	jw_obj(&w);
	add_query(&w, rerank);
	if (!(rerank->without & RERANK_NO_RETURN))
		jw_kbool(&w, "return_documents", false);
	jw_end(&w);
}

void
rerank_build_tei(const struct rerank_query *rerank, struct buf *out)
{
	struct jw w = jw_start(out);

	/* the server has one model; a text that is too long is a 422 unless it may be cut */
	jw_obj(&w);
	jw_kstr(&w, "query", rerank->query);
	add_texts(&w, "texts", rerank);
	jw_kbool(&w, "raw_scores", false);
	if (!(rerank->without & RERANK_NO_TRUNCATE))
		jw_kbool(&w, "truncate", true);
	jw_end(&w);
}

/* ---- replies ---- */

static const struct js *
list_of(const struct js *root)
{
	if (!js_is(root, JS_OBJECT))
		return root;
	return js_get(root, "results") ? js_get(root, "results") : js_get(root, "data");
}

static bool
number_of(const struct js *value, float *out)
{
	if (!js_is(value, JS_INT) && !js_is(value, JS_REAL))
		return false;
	*out = (float)js_number(value);
	return isfinite(*out);
}

static bool
take_result(const struct js *item, size_t count, bool *seen, float *out)
{
	int64_t index = 0;
	float score = 0;

	if (!js_is(item, JS_OBJECT) || !js_get_int(item, "index", &index) || index < 0 ||
	    (uint64_t)index >= count || seen[index])
		return false;
	if (!number_of(js_get(item, "relevance_score"), &score) &&
	    !number_of(js_get(item, "score"), &score))
		return false;
	seen[index] = true;
	out[index] = score;
	return true;
}

static void
take_used(const struct js *root, struct remote_used *used)
{
	const struct js *meta = js_get(root, "meta"), *usage = js_get(root, "usage"), *units = NULL;
	int64_t value = 0;

	if (js_is(meta, JS_OBJECT))
		units = js_get(meta, "billed_units");
	if (js_is(units, JS_OBJECT) && js_get_int(units, "search_units", &value) && value >= 0)
		used->search_units = value;
	if (!js_is(usage, JS_OBJECT))
		return;
	if ((js_get_int(usage, "total_tokens", &value) ||
	     js_get_int(usage, "prompt_tokens", &value)) &&
	    value >= 0)
		used->tokens_in = value;
}

bool
rerank_parse(const struct reply *reply, size_t count, float *out, struct remote_used *used,
	     struct err *err)
{
	const struct js *list = list_of(reply->root);
	bool *seen = NULL;
	size_t read = 0;

	if (!js_is(list, JS_ARRAY))
		return err_set(err, ERR_PROVIDER_REPLY, "the reply holds no list of scores");
	if (js_len(list) != count)
		return err_set(err, ERR_PROVIDER_REPLY, "the reply holds %zu scores for %zu texts",
			       js_len(list), count);
	seen = mem_array(count + 1, sizeof(*seen));
	while (read < count && take_result(js_at(list, read), count, seen, out))
		read++;
	mem_free(seen);
	if (read < count)
		return err_set(err, ERR_PROVIDER_REPLY,
			       "the reply does not say the score of each text once");
	if (js_is(reply->root, JS_OBJECT))
		take_used(reply->root, used);
	return true;
}

void
rerank_squash(float *scores, size_t count)
{
	bool raw = false;

	for (size_t i = 0; i < count; i++)
		raw |= scores[i] < 0 || scores[i] > 1;
	for (size_t i = 0; raw && i < count; i++)
		scores[i] = (float)(1 / (1 + exp(-(double)scores[i])));
}

size_t
rerank_parse_tei_info(const struct reply *reply)
{
	int64_t value = 0;

	if (!js_is(reply->root, JS_OBJECT) ||
	    !js_get_int(reply->root, "max_client_batch_size", &value) || value < 1)
		return 0;
	return (size_t)value;
}
