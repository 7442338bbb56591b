#include "jobs/provider/cohere_wire.h"

#include "common/base/auto.h"
#include "common/json.h"

void
cohere_build_embed(const struct cohere_embed *embed, struct buf *out)
{
	struct jw w = jw_start(out);

	jw_obj(&w);
	jw_kcstr(&w, "model", embed->model);
	/* required, and a vector of the other kind is another vector */
	jw_kcstr(&w, "input_type", embed->task == EMBED_QUERY ? "search_query" : "search_document");
	jw_karr(&w, "texts");
	for (size_t i = 0; i < embed->count; i++) {
		AUTO(buf) struct buf whole = BUF_INIT(embed->prefix.len + embed->texts[i].len + 1);

		buf_add(&whole, embed->prefix.ptr, embed->prefix.len);
		buf_add(&whole, embed->texts[i].ptr, embed->texts[i].len);
		jw_str(&w, str_make(whole.data, whole.len));
	}
	jw_end(&w);
	jw_karr(&w, "embedding_types");
	jw_cstr(&w, "float");
	jw_end(&w);
	if (embed->dim > 0)
		jw_kint(&w, "output_dimension", (int64_t)embed->dim);
	/* the usual END cuts without a word; refused, a text is embedded in parts, and the job says so */
	if (!embed->no_truncate)
		jw_kcstr(&w, "truncate", "NONE");
	jw_end(&w);
}

bool
cohere_parse_embed(const struct reply *reply, size_t count, size_t dim, float *out,
		   struct remote_used *used, struct err *err)
{
	const struct js *root = reply->root, *list = NULL, *units = NULL;
	int64_t tokens = 0;

	if (!js_is(root, JS_OBJECT))
		return err_set(err, ERR_PROVIDER_REPLY, "the reply is no object");
	list = js_get(root, "embeddings");
	/* by type; a bare list is the answer of v1 */
	if (js_is(list, JS_OBJECT))
		list = js_get(list, "float") ? js_get(list, "float") : js_get(list, "base64");
	if (!js_is(list, JS_ARRAY))
		return err_set(err, ERR_PROVIDER_REPLY, "the reply holds no list of vectors");
	if (js_len(list) != count)
		return err_set(err, ERR_PROVIDER_REPLY, "the reply holds %zu vectors for %zu texts",
			       js_len(list), count);
	for (size_t i = 0; i < count; i++)
		if (!reply_vector(reply, js_at(list, i), dim, out + i * dim, err))
			return false;
	units = js_get(root, "meta");
	units = js_is(units, JS_OBJECT) ? js_get(units, "billed_units") : NULL;
	if (js_is(units, JS_OBJECT) && js_get_int(units, "input_tokens", &tokens) && tokens >= 0)
		used->tokens_in = tokens;
	return true;
}
