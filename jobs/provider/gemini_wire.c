#include "jobs/provider/gemini_wire.h"

#include <string.h>

#include "common/base/auto.h"
#include "common/json.h"
#include "jobs/provider/fault.h"

/* Models of which the task is said in the text, not in a field; then their vector spaces of questions and documents fit. */
#define TASK_IN_TEXT "gemini-embedding-2"
#define QUERY_PREFIX "task: search result | query: "
#define DOCUMENT_PREFIX "title: none | text: "

static const char *
bare_name(const char *model)
{
	const char *prefix = "models/";

	return str_starts(str_of(model), prefix) ? model + strlen(prefix) : model;
}

void
gemini_build_path(const char *model, const char *verb, struct buf *out)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
				    "-._~";

	buf_add_str(out, "/models/");
	for (const char *c = bare_name(model); *c; c++) {
		if (strchr(plain, *c))
			buf_add_char(out, *c);
		else
			buf_printf(out, "%%%02X", (unsigned)(unsigned char)*c);
	}
	buf_printf(out, ":%s", verb);
}

/* ---- embeddings ---- */

static void
add_text(struct jw *w, struct str prefix, struct str text)
{
	AUTO(buf) struct buf whole = BUF_INIT(prefix.len + text.len + 1);

	jw_karr(w, "parts");
	jw_obj(w);
	jw_key(w, "text");
	if (prefix.len > 0) {
		buf_add(&whole, prefix.ptr, prefix.len);
		buf_add(&whole, text.ptr, text.len);
		text = str_make(whole.data, whole.len);
	}
	jw_str(w, text);
	jw_end(w);
	jw_end(w);
}

/* One vector's request: a content of one part, since several parts make one vector. */
static void
add_embed(struct jw *w, const struct gemini_embed *embed, const char *name, size_t nth)
{
	bool in_text = strcmp(name + strlen("models/"), TASK_IN_TEXT) == 0,
	     is_query = embed->task == EMBED_QUERY;
	struct str prefix = embed->prefix;

	if (in_text && prefix.len == 0)
		prefix = is_query ? STR(QUERY_PREFIX) : STR(DOCUMENT_PREFIX);
	jw_obj(w);
	jw_kcstr(w, "model", name);
	jw_kobj(w, "content");
	add_text(w, prefix, embed->texts[nth]);
	jw_end(w);
	if (!in_text && !embed->no_task)
		jw_kcstr(w, "taskType", is_query ? "RETRIEVAL_QUERY" : "RETRIEVAL_DOCUMENT");
	if (embed->dim > 0)
		jw_kint(w, "outputDimensionality", (int64_t)embed->dim);
	jw_end(w);
}

void
gemini_build_embed(const struct gemini_embed *embed, bool single, struct buf *out)
{
	AUTO(buf) struct buf name = BUF_INIT(1024);
	struct jw w = jw_start(out);

	buf_printf(&name, "models/%s", bare_name(embed->model));
	if (single) {
		add_embed(&w, embed, name.data, 0);
		return;
	}
	jw_obj(&w);
	jw_karr(&w, "requests");
	for (size_t i = 0; i < embed->count; i++)
		add_embed(&w, embed, name.data, i);
	jw_end(&w);
	jw_end(&w);
}

/* A count that may be missing. */
static int64_t
count_of(const struct js *object, const char *name, int64_t none)
{
	int64_t value = 0;

	if (!js_is(object, JS_OBJECT) || !js_get_int(object, name, &value) || value < 0)
		return none;
	return value;
}

bool
gemini_parse_embed(const struct reply *reply, size_t count, size_t dim, float *out,
		   struct remote_used *used, struct err *err)
{
	const struct js *root = reply->root, *list = NULL, *one = NULL;
	size_t found = 0;

	if (!js_is(root, JS_OBJECT))
		return err_set(err, ERR_PROVIDER_REPLY, "the reply is no object");
	list = js_get(root, "embeddings");
	one = js_get(root, "embedding");
	found = js_is(list, JS_ARRAY) ? js_len(list) : js_is(one, JS_OBJECT) ? 1 : 0;
	if (found != count)
		return err_set(err, ERR_PROVIDER_REPLY, "the reply holds %zu vectors for %zu texts",
			       found, count);
	for (size_t i = 0; i < count; i++) {
		const struct js *item = js_is(list, JS_ARRAY) ? js_at(list, i) : one;

		if (!js_is(item, JS_OBJECT) ||
		    !reply_vector(reply, js_get(item, "values"), dim, out + i * dim, err))
			return js_is(item, JS_OBJECT)
				       ? false
				       : err_set(err, ERR_PROVIDER_REPLY,
						 "vector %zu of the reply is no object", i + 1);
	}
	used->tokens_in =
		count_of(js_get(root, "usageMetadata"), "promptTokenCount", used->tokens_in);
	return true;
}

/* ---- answers ---- */

void
gemini_build_generate(const struct gemini_generate *generate, struct buf *out)
{
	const struct prompt *prompt = generate->prompt;
	struct jw w = jw_start(out);

	jw_obj(&w);
	if (prompt->system.len > 0) {
		jw_kobj(&w, "systemInstruction");
		add_text(&w, STR(""), prompt->system);
		jw_end(&w);
	}
	jw_karr(&w, "contents");
	for (size_t i = 0; i < prompt->count; i++) {
		jw_obj(&w);
		jw_kcstr(&w, "role", prompt->turns[i].role == PROMPT_USER ? "user" : "model");
		add_text(&w, STR(""), prompt->turns[i].text);
		jw_end(&w);
	}
	jw_end(&w);
	jw_kobj(&w, "generationConfig");
	if (generate->max_tokens > 0)
		jw_kint(&w, "maxOutputTokens", generate->max_tokens);
	if (generate->temperature.len > 0)
		jw_kraw(&w, "temperature", generate->temperature);
	if (generate->thinking.len > 0) {
		jw_kobj(&w, "thinkingConfig");
		jw_kstr(&w, "thinkingLevel", generate->thinking);
		jw_end(&w);
	}
	jw_end(&w);
	jw_end(&w);
}

static void
take_usage(const struct js *usage, struct model_answer *answer)
{
	int64_t written = count_of(usage, "candidatesTokenCount", -1),
		thought = count_of(usage, "thoughtsTokenCount", -1);

	/* cumulative: the last one counts */
	answer->tokens_in = count_of(usage, "promptTokenCount", answer->tokens_in);
	if (written >= 0 || thought >= 0)
		answer->tokens_out = (written > 0 ? written : 0) + (thought > 0 ? thought : 0);
}

/* Thoughts, signatures and calls of functions are not the answer. */
static void
take_parts(const struct js *parts, struct model_answer *answer)
{
	for (size_t i = 0; js_is(parts, JS_ARRAY) && i < js_len(parts); i++) {
		const struct js *part = js_at(parts, i);
		struct str text = { 0 };
		bool thought = false;

		if (!js_is(part, JS_OBJECT) || !js_get_str(part, "text", &text))
			continue;
		if (js_get_bool(part, "thought", &thought) && thought)
			continue;
		buf_add(&answer->text, text.ptr, text.len);
	}
}

static void
take_end(struct str reason, struct model_answer *answer)
{
	static const char *const filters[] = { "SAFETY",    "RECITATION",	  "LANGUAGE",
					       "BLOCKLIST", "PROHIBITED_CONTENT", "SPII" };

	if (reason.len == 0 || str_eq_c(reason, "FINISH_REASON_UNSPECIFIED"))
		return;
	answer->complete = true;
	answer->truncated = str_eq_c(reason, "MAX_TOKENS");
	(void)str_copy(answer->why, sizeof(answer->why), reason);
	for (size_t i = 0; i < ARRAY_SIZE(filters); i++)
		answer->withheld |= str_eq_c(reason, filters[i]);
	/* of images: there is no text in them */
	answer->withheld |= str_starts(reason, "IMAGE_");
}

static bool
take_response(const struct js *root, struct model_answer *answer, struct err *err)
{
	const struct js *candidates = NULL, *candidate = NULL, *content = NULL, *feedback = NULL;
	struct str reason = { 0 };

	if (!js_is(root, JS_OBJECT))
		return err_set(err, ERR_PROVIDER_REPLY, "the reply is no answer");
	take_usage(js_get(root, "usageMetadata"), answer);
	feedback = js_get(root, "promptFeedback");
	if (js_is(feedback, JS_OBJECT) && js_get_str(feedback, "blockReason", &reason) &&
	    !str_eq_c(reason, "BLOCK_REASON_UNSPECIFIED")) {
		answer->complete = answer->withheld = true;
		(void)str_copy(answer->why, sizeof(answer->why), reason);
	}
	candidates = js_get(root, "candidates");
	if (!js_is(candidates, JS_ARRAY) || js_len(candidates) == 0) /* usage alone */
		return true;
	candidate = js_at(candidates, 0);
	if (!js_is(candidate, JS_OBJECT))
		return err_set(err, ERR_PROVIDER_REPLY, "the reply is no answer");
	content = js_get(candidate, "content");
	if (js_is(content, JS_OBJECT))
		take_parts(js_get(content, "parts"), answer);
	if (!buf_ok(&answer->text))
		return err_set(err, ERR_PROVIDER_REPLY, "the answer is longer than %zu bytes",
			       MODEL_ANSWER_MAX_BYTES);
	if (js_get_str(candidate, "finishReason", &reason))
		take_end(reason, answer);
	return true;
}

bool
gemini_take_answer(const struct reply *reply, struct model_answer *answer, struct err *err)
{
	const struct js *root = reply->root;

	if (!js_is(root, JS_ARRAY))
		return take_response(root, answer, err);
	for (size_t i = 0; i < js_len(root); i++)
		if (!take_response(js_at(root, i), answer, err))
			return false;
	return true;
}

/* {"error": ...}, or an array of one. */
static bool
is_error(const struct js *root)
{
	if (js_is(root, JS_ARRAY) && js_len(root) > 0)
		root = js_at(root, 0);
	return js_is(root, JS_OBJECT) && js_get(root, "error") &&
	       !js_is(js_get(root, "error"), JS_NULL);
}

bool
gemini_take_event(struct str data, const char *provider, const char *key,
		  struct model_answer *answer, struct err *err)
{
	AUTO(reply) struct reply reply = { 0 };

	data = str_trim(data);
	if (data.len == 0 || str_eq_c(data, "[DONE]")) /* a gateway's habit; says nothing here */
		return true;
	if (!reply_read(data, &reply, err))
		return err_wrap(err, "an event of the stream");
	if (is_error(reply.root)) {
		struct fault fault;

		fault_of_event(data, key, &fault);
		return fault_to_err(&fault, provider, err);
	}
	return gemini_take_answer(&reply, answer, err);
}
