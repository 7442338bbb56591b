#include "jobs/provider/openai_wire.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/json.h"

/* ---- embeddings ---- */

void
openai_build_embed(const struct openai_embed *embed, struct buf *out)
{
	struct jw w = jw_start(out);

	jw_obj(&w);
	if (embed->model[0])
		jw_kcstr(&w, "model", embed->model);
	jw_karr(&w, "input");
	for (size_t i = 0; i < embed->count; i++) {
		AUTO(buf) struct buf whole = BUF_INIT(SIZE_MAX / 2);

		if (embed->prefix.len == 0) {
			jw_str(&w, embed->texts[i]);
			continue;
		}
		buf_add(&whole, embed->prefix.ptr, embed->prefix.len);
		buf_add(&whole, embed->texts[i].ptr, embed->texts[i].len);
		jw_str(&w, str_make(whole.data, whole.len));
	}
	jw_end(&w);
	if (!embed->no_encoding)
		jw_kcstr(&w, "encoding_format", embed->base64 ? "base64" : "float");
	if (embed->dimensions > 0)
		jw_kint(&w, "dimensions", (int64_t)embed->dimensions);
	jw_end(&w);
}

/* Which text an element belongs to; false when it says none, or one that is not there. */
static bool
place_of(const struct js *item, size_t position, size_t count, bool has_index, size_t *out)
{
	int64_t index = 0;

	if (!has_index) {
		*out = position;
		return true;
	}
	if (!js_get_int(item, "index", &index) || index < 0 || (uint64_t)index >= count)
		return false;
	*out = (size_t)index;
	return true;
}

static void
take_count(const struct js *usage, const char *name, int64_t *out)
{
	int64_t value = 0;

	if (js_is(usage, JS_OBJECT) && js_get_int(usage, name, &value) && value >= 0)
		*out = value;
}

static bool
place_all(const struct reply *reply, const struct js *data, size_t dim, float *out, struct err *err)
{
	size_t count = js_len(data);
	bool *seen = mem_array(count, sizeof(*seen)), has_index = false, done = true;

	for (size_t i = 0; i < count; i++)
		has_index |= js_is(js_at(data, i), JS_OBJECT) && js_get(js_at(data, i), "index");
	for (size_t i = 0; done && i < count; i++) {
		const struct js *item = js_at(data, i);
		size_t place = 0;

		done = js_is(item, JS_OBJECT) && place_of(item, i, count, has_index, &place) &&
		       !seen[place];
		if (!done) {
			err_set(err, ERR_PROVIDER_REPLY,
				"the reply does not say which vector belongs to which text");
			break;
		}
		seen[place] = true;
		done = reply_vector(reply, js_get(item, "embedding"), dim, out + place * dim, err);
	}
	mem_free(seen);
	return done;
}

bool
openai_parse_embed(const struct reply *reply, size_t count, size_t dim, float *out,
		   struct remote_used *used, struct err *err)
{
	/* a bare array: llama.cpp's own route */
	const struct js *root = reply->root,
			*data = js_is(root, JS_OBJECT) ? js_get(root, "data") : root;

	if (!js_is(data, JS_ARRAY))
		return err_set(err, ERR_PROVIDER_REPLY, "the reply holds no list of vectors");
	if (js_len(data) != count)
		return err_set(err, ERR_PROVIDER_REPLY, "the reply holds %zu vectors for %zu texts",
			       js_len(data), count);
	if (!place_all(reply, data, dim, out, err))
		return false;
	if (js_is(root, JS_OBJECT)) {
		take_count(js_get(root, "usage"), "total_tokens", &used->tokens_in);
		take_count(js_get(root, "usage"), "prompt_tokens", &used->tokens_in);
	}
	return true;
}

/* ---- chat ---- */

static void
add_message(struct jw *w, const char *role, struct str text)
{
	jw_obj(w);
	jw_kcstr(w, "role", role);
	jw_kstr(w, "content", text);
	jw_end(w);
}

void
openai_build_chat(const struct openai_chat *chat, struct buf *out)
{
	const struct prompt *prompt = chat->prompt;
	struct jw w = jw_start(out);

	jw_obj(&w);
	if (chat->model[0])
		jw_kcstr(&w, "model", chat->model);
	jw_karr(&w, "messages");
	if (prompt->system.len > 0)
		add_message(&w, "system", prompt->system);
	for (size_t i = 0; i < prompt->count; i++)
		add_message(&w, prompt->turns[i].role == PROMPT_USER ? "user" : "assistant",
			    prompt->turns[i].text);
	jw_end(&w);
	if (chat->max_tokens > 0)
		jw_kint(&w, chat->completion_tokens ? "max_completion_tokens" : "max_tokens",
			chat->max_tokens);
	if (chat->temperature.len > 0)
		jw_kraw(&w, "temperature", chat->temperature);
	if (chat->stream) {
		jw_kbool(&w, "stream", true);
		if (!chat->no_options) {
			jw_kobj(&w, "stream_options");
			jw_kbool(&w, "include_usage", true);
			jw_end(&w);
		}
	}
	jw_end(&w);
}

/* `delta` of a stream, `message` else. */
static void
take_text(const struct js *message, struct model_answer *answer)
{
	struct str text = { 0 };

	/* reasoning_content and reasoning are not the answer; content may be null */
	if (!js_is(message, JS_OBJECT))
		return;
	if (js_get_str(message, "content", &text))
		buf_add(&answer->text, text.ptr, text.len);
	if (js_get_str(message, "refusal", &text) && text.len > 0) {
		buf_add(&answer->text, text.ptr, text.len);
		answer->refused = true;
	}
}

static bool
take_choice(const struct js *choice, struct model_answer *answer, struct err *err)
{
	struct str reason = { 0 };

	if (!js_is(choice, JS_OBJECT))
		return err_set(err, ERR_PROVIDER_REPLY, "the reply is no answer");
	take_text(js_get(choice, "delta"), answer);
	take_text(js_get(choice, "message"), answer);
	answer->complete |= js_is(js_get(choice, "message"), JS_OBJECT); /* one piece, and all */
	if (!buf_ok(&answer->text))
		return err_set(err, ERR_PROVIDER_REPLY, "the answer is longer than %zu bytes",
			       MODEL_ANSWER_MAX_BYTES);
	if (js_get_str(choice, "finish_reason", &reason) && reason.len > 0) {
		answer->complete = true;
		answer->truncated = str_eq_c(reason, "length");
		answer->withheld = str_eq_c(reason, "content_filter");
		(void)str_copy(answer->why, sizeof(answer->why), reason);
	}
	return true;
}

static bool
take_root(const struct js *root, struct model_answer *answer, struct err *err)
{
	const struct js *choices = js_get(root, "choices"), *usage = js_get(root, "usage");

	take_count(usage, "prompt_tokens", &answer->tokens_in);
	take_count(usage, "completion_tokens", &answer->tokens_out);
	if (!js_is(choices, JS_ARRAY) || js_len(choices) == 0) /* usage alone, keep-alives */
		return true;
	return take_choice(js_at(choices, 0), answer, err);
}

bool
openai_parse_chat(const struct reply *reply, struct model_answer *answer, struct err *err)
{
	const struct js *choices = NULL;

	if (js_is(reply->root, JS_OBJECT))
		choices = js_get(reply->root, "choices");
	if (!js_is(choices, JS_ARRAY) || !js_is(js_at(choices, 0), JS_OBJECT) ||
	    !js_is(js_get(js_at(choices, 0), "message"), JS_OBJECT))
		return err_set(err, ERR_PROVIDER_REPLY, "the reply holds no answer");
	return take_root(reply->root, answer, err);
}

bool
openai_take_event(struct str data, const char *provider, const char *key,
		  struct model_answer *answer, struct err *err)
{
	AUTO(reply) struct reply reply = { 0 };
	const struct js *error = NULL;

	data = str_trim(data);
	if (str_eq_c(data, "[DONE]")) {
		answer->complete = true;
		return true;
	}
	if (data.len == 0)
		return true;
	if (!reply_read(data, &reply, err))
		return err_wrap(err, "an event of the stream");
	if (!js_is(reply.root, JS_OBJECT))
		return err_set(err, ERR_PROVIDER_REPLY, "an event of the stream is no object");
	error = js_get(reply.root, "error");
	if (error && !js_is(error, JS_NULL)) {
		struct fault fault;

		fault_of_event(data, key, &fault);
		return fault_to_err(&fault, provider, err);
	}
	return take_root(reply.root, answer, err);
}
