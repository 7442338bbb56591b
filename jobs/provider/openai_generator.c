/*
 * An answer is streamed when somebody follows it, else had in one piece. A server that streams although not asked to, or the other way
 * round, is understood: a stream that begins with '{' is taken for a whole body.
 */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/sse.h"
#include "common/tokens.h"
#include "jobs/provider/openai.h"
#include "jobs/provider/openai_wire.h"
#include "jobs/provider/remote.h"
#include "jobs/spec/choice.h"

#define MAX_BODY_BYTES ((size_t)64 * 1024 * 1024)
#define MAX_EVENT_BYTES ((size_t)8 * 1024 * 1024)
#define MAX_FIELDS 4 /* that can be left out, one after the other */
#define THINKING_FACTOR                                                                            \
	4 /* a model that used up its tokens before the first word gets so many times as many, once */
#define THINKING_TOKENS 4096 /* but so many at least */

struct openai_generator {
	struct generator generator; /* first: this is what the caller has */
	struct generator_choice choice;
	struct str temperature;
	struct remote *remote; /* owned */
	/* learnt */
	bool no_temperature, no_options, completion_tokens, swapped, no_limit;
};

/* One answer. */
struct writing {
	struct openai_generator *self;
	const struct generate_request *request;
	struct openai_answer answer; /* owned */
	struct sse_decoder sse;	     /* owned */
	struct buf whole;	     /* owned: a body that is no stream */
	bool is_whole, started;
	size_t passed; /* bytes of answer.text that the request has been given */
	struct err *err;
};

/* ---- reading ---- */

static bool
pass_on(struct writing *writing, struct err *err)
{
	const struct generate_request *request = writing->request;
	struct str piece = str_make(writing->answer.text.data + writing->passed,
				    writing->answer.text.len - writing->passed);

	if (piece.len == 0 || !request->on_text)
		return true;
	writing->passed += piece.len;
	remote_told(writing->self->remote);
	return request->on_text(request->user, piece, err);
}

static bool
on_event(void *user, const struct sse_event *event)
{
	struct writing *writing = user;
	const struct endpoint *at = &writing->self->choice.at;

	return openai_take_event(event->data, at->provider, at->key, &writing->answer,
				 writing->err) &&
	       pass_on(writing, writing->err);
}

static bool
on_piece(void *user, struct str bytes, struct err *err)
{
	struct writing *writing = user;

	if (!writing->started) {
		struct str text = str_trim(bytes);

		writing->started = text.len > 0;
		writing->is_whole = text.len > 0 && text.ptr[0] == '{';
	}
	if (writing->is_whole) {
		buf_add(&writing->whole, bytes.ptr, bytes.len);
		return buf_ok(&writing->whole) ||
		       err_set(err, ERR_PROVIDER_REPLY, "the reply is longer than %zu bytes",
			       writing->whole.max);
	}
	writing->err = err;
	if (sse_decoder_feed(&writing->sse, bytes, on_event, writing, err))
		return true;
	if (err->code == ERR_TOO_LARGE && err->detail == 0) /* a line without an end */
		err->code = ERR_PROVIDER_REPLY;
	return false;
}

static bool
read_answer(void *user, struct str body, struct remote_used *used, struct err *err)
{
	struct writing *writing = user;
	struct openai_answer *answer = &writing->answer;

	writing->err = err;
	if (writing->is_whole)
		body = str_make(writing->whole.data, writing->whole.len);
	if (body.len > 0) {
		AUTO(reply) struct reply reply = { 0 };

		if (!reply_read(body, &reply, err) || !openai_parse_chat(&reply, answer, err) ||
		    !pass_on(writing, err))
			return false;
	} else if (!sse_decoder_end(&writing->sse, on_event, writing)) {
		return err->code != ERR_NONE ? false
					     : err_set(err, ERR_PROVIDER_REPLY,
						       "the stream is not one of events");
	}
	used->tokens_in = answer->tokens_in;
	used->tokens_out = answer->tokens_out >= 0
				   ? answer->tokens_out
				   : tokens_estimate(str_make(answer->text.data, answer->text.len));
	return answer->complete ||
	       err_set(err, ERR_PROVIDER_REPLY, "the stream ended before the answer did");
}

static bool
on_wait(void *user, struct err *err)
{
	const struct generate_request *request = ((struct writing *)user)->request;

	return request->on_text(request->user, STR(""), err);
}

static void
on_restart(void *user)
{
	struct writing *writing = user;

	openai_answer_release(&writing->answer);
	openai_answer_init(&writing->answer);
	sse_decoder_restart(&writing->sse);
	buf_clear(&writing->whole);
	writing->is_whole = writing->started = false;
	writing->passed = 0;
}

/* ---- asking ---- */

/* Leaves out, or renames, what the server does not take; false when that is nothing new. */
static bool
learn_field(struct openai_generator *self, const struct fault *fault)
{
	struct str field = str_of(fault->field);
	bool limit = str_eq_c(field, "max_tokens") || str_eq_c(field, "max_completion_tokens");

	if (fault->class != FAULT_FIELD)
		return false;
	if (str_eq_c(field, "temperature") && !self->no_temperature)
		return self->no_temperature = true;
	if ((str_eq_c(field, "stream_options") || str_eq_c(field, "include_usage")) &&
	    !self->no_options)
		return self->no_options = true;
	if (limit && !self->swapped) {
		self->completion_tokens = !self->completion_tokens;
		return self->swapped = true;
	}
	if (limit && !self->no_limit)
		return self->no_limit = true;
	return false;
}

static bool
ask(struct openai_generator *self, const struct provider_call *call, struct writing *writing,
    int64_t max_tokens, struct err *err)
{
	const struct prompt *prompt = writing->request->prompt;
	bool stream = writing->request->on_text != NULL;

	for (int learnt = 0;; learnt++) {
		AUTO(buf) struct buf body = BUF_INIT(MAX_BODY_BYTES);
		const struct openai_chat chat = {
			.model = self->choice.at.model,
			.prompt = prompt,
			.max_tokens = self->no_limit ? 0 : max_tokens,
			.temperature = self->no_temperature ? STR("") : self->temperature,
			.completion_tokens = self->completion_tokens,
			.stream = stream,
			.no_options = self->no_options,
		};

		openai_build_chat(&chat, &body);
		if (!buf_check(&body, "the prompt", err))
			return false;

		const struct remote_request request = {
			.path = "/chat/completions",
			.body = str_make(body.data, body.len),
			.tokens = prompt->tokens + (max_tokens > 0 ? max_tokens : 0),
			.read = read_answer,
			.piece = stream ? on_piece : NULL,
			.wait = stream ? on_wait : NULL,
			.restart = on_restart,
			.user = writing,
		};

		if (remote_run(self->remote, call, &request, err))
			return true;
		if (learnt == MAX_FIELDS || !learn_field(self, remote_fault(self->remote)))
			return false;
		*err = ERR_INIT;
	}
}

/* The answer, into the arena. */
static bool
finish(const struct openai_generator *self, const struct openai_answer *answer, struct arena *arena,
       struct generated *out, struct err *err)
{
	char *text = NULL;

	if (answer->text.len == 0)
		return err_set(err, ERR_PROVIDER_REJECTED, "provider '%s' gave no answer%s",
			       self->choice.at.provider,
			       answer->filtered	   ? ": its content filter stopped it"
			       : answer->truncated ? ": the limit of tokens was used up before the "
						     "first word"
						   : "");
	text = arena_strndup(arena, answer->text.data, answer->text.len);
	if (!text)
		return err_set(err, ERR_TOO_LARGE, "cannot hold the answer: %zu bytes",
			       answer->text.len);
	*out = (struct generated){
		.text = str_make(text, answer->text.len),
		.refused = answer->refused,
		.truncated = answer->truncated || answer->filtered,
		.model = self->choice.at.model,
	};
	return true;
}

static bool
openai_generate(struct generator *generator, const struct provider_call *call,
		const struct generate_request *request, struct arena *arena, struct generated *out,
		struct err *err)
{
	struct openai_generator *self = (struct openai_generator *)generator;
	struct writing writing = { .self = self, .request = request };
	int64_t more = request->max_tokens * THINKING_FACTOR;
	bool done;

	openai_answer_init(&writing.answer);
	sse_decoder_init(&writing.sse, MAX_EVENT_BYTES);
	buf_init(&writing.whole, MAX_EVENT_BYTES);
	done = ask(self, call, &writing, request->max_tokens, err);
	if (done && writing.answer.text.len == 0 && writing.answer.truncated && !self->no_limit)
		done = ask(self, call, &writing, more > THINKING_TOKENS ? more : THINKING_TOKENS,
			   err);
	done = done && finish(self, &writing.answer, arena, out, err);
	openai_answer_release(&writing.answer);
	sse_decoder_release(&writing.sse);
	buf_release(&writing.whole);
	return done;
}

/* ---- life ---- */

static void
openai_close(struct generator *generator)
{
	struct openai_generator *self = (struct openai_generator *)generator;

	remote_free(self->remote);
	mem_free(self);
}

static bool
take_temperature(const struct config *config, struct str *out, struct err *err)
{
	double value = 0;

	*out = str_of(config->generator_temperature);
	if (out->len == 0 || (str_to_f64(*out, &value) && value >= 0 && value <= 2))
		return true;
	return err_set(err, ERR_CONFIG,
		       "cannot use generator.temperature (GENERATION_TEMPERATURE) '%s': it is a "
		       "number from 0 to 2",
		       config->generator_temperature);
}

static bool
openai_open(const struct config *config, struct generator **out, struct err *err)
{
	struct openai_generator *self = mem_alloc(sizeof(*self));

	self->generator.ops = &openai_generator_ops;
	if (!choose_generator(config, &self->choice, err) ||
	    !take_temperature(config, &self->temperature, err) ||
	    !remote_new(&(struct remote_opts){ .at = &self->choice.at,
					       .config = config,
					       .kind = REMOTE_GENERATE,
					       .auth = REMOTE_BEARER },
			&self->remote, err)) {
		openai_close(&self->generator);
		return false;
	}
	(void)str_copy(self->generator.model, sizeof(self->generator.model),
		       str_of(self->choice.at.model));
	*out = &self->generator;
	return true;
}

const struct generator_ops openai_generator_ops = {
	.name = "openai",
	.is_remote = true,
	.open = openai_open,
	.close = openai_close,
	.generate = openai_generate,
};
