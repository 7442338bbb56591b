/*
 * A server that streams although not asked to, or the other way round, is understood: what begins with '{' or '[' is a whole body.
 */
#include "jobs/provider/server_generator.h"

#include "common/base/mem.h"
#include "common/sse.h"
#include "common/tokens.h"
#include "jobs/step/prompt.h"

#define MAX_BODY_BYTES ((size_t)64 * 1024 * 1024)
#define MAX_PATH_BYTES ((size_t)2048)
#define MAX_EVENT_BYTES ((size_t)8 * 1024 * 1024)
#define MAX_LESSONS 4 /* that one call may learn */
/* A model that thinks gets so many times as many tokens as the answer may have, but so many at least. */
#define THINKING_FACTOR 4
#define THINKING_TOKENS 4096

/* One answer. */
struct writing {
	struct server_generator *self;
	const struct generate_request *request;
	struct model_answer answer; /* owned */
	struct sse_decoder sse;	    /* owned */
	struct buf whole;	    /* owned: a body that is no stream */
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

	return writing->self->dialect->take_event(event->data, at->provider, at->key,
						  &writing->answer, writing->err) &&
	       pass_on(writing, writing->err);
}

static bool
on_piece(void *user, struct str bytes, struct err *err)
{
	struct writing *writing = user;

	if (!writing->started) {
		struct str text = str_trim(bytes);

		writing->started = text.len > 0;
		writing->is_whole = text.len > 0 && (text.ptr[0] == '{' || text.ptr[0] == '[');
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
read_whole(struct writing *writing, struct str body, struct err *err)
{
	const struct endpoint *at = &writing->self->choice.at;
	AUTO(reply) struct reply reply = { 0 };

	/* a stream was asked for: what came instead may be an error */
	if (writing->is_whole)
		return writing->self->dialect->take_event(body, at->provider, at->key,
							  &writing->answer, err);
	return reply_read(body, &reply, err) &&
	       writing->self->dialect->take_whole(&reply, &writing->answer, err);
}

static bool
read_answer(void *user, struct str body, struct remote_used *used, struct err *err)
{
	struct writing *writing = user;
	struct model_answer *answer = &writing->answer;

	writing->err = err;
	if (writing->is_whole)
		body = str_make(writing->whole.data, writing->whole.len);
	if (body.len > 0) {
		if (!read_whole(writing, body, err) || !pass_on(writing, err))
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
	if (!answer->complete)
		return err_set(err, ERR_PROVIDER_REPLY, "the reply ended before the answer did");
	if (answer->text.len == 0 && !answer->withheld && !answer->truncated)
		return err_set(err, ERR_PROVIDER_REPLY, "the reply holds no text%s%s",
			       answer->why[0] ? ": " : "", answer->why);
	return true;
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

	model_answer_release(&writing->answer);
	model_answer_init(&writing->answer);
	sse_decoder_restart(&writing->sse);
	buf_clear(&writing->whole);
	writing->is_whole = writing->started = false;
	writing->passed = 0;
}

/* ---- asking ---- */

static bool
ask(struct server_generator *self, const struct provider_call *call, struct writing *writing,
    int64_t max_tokens, struct err *err)
{
	const struct prompt *prompt = writing->request->prompt;
	bool stream = writing->request->on_text != NULL;

	for (int lessons = 0;; lessons++) {
		AUTO(buf) struct buf body = BUF_INIT(MAX_BODY_BYTES);
		AUTO(buf) struct buf path = BUF_INIT(MAX_PATH_BYTES);

		self->dialect->build(self, prompt, max_tokens, stream, &path, &body);
		if (!buf_check(&body, "the prompt", err) || !buf_check(&path, "the URL", err))
			return false;

		const struct remote_request request = {
			.path = path.data,
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
		if (writing->passed > 0 || lessons == MAX_LESSONS ||
		    !self->dialect->learn(self, remote_fault(self->remote)))
			return false;
		*err = ERR_INIT;
	}
}

static int64_t
with_thinking(int64_t max_tokens)
{
	int64_t more = max_tokens * THINKING_FACTOR;

	return more > THINKING_TOKENS ? more : THINKING_TOKENS;
}

/* The answer, into the arena. */
static bool
finish(const struct server_generator *self, const struct model_answer *answer, struct arena *arena,
       struct generated *out, struct err *err)
{
	const char *provider = self->choice.at.provider;
	char *text = NULL;

	if (answer->text.len == 0 && answer->withheld)
		return err_set(err, ERR_PROVIDER_REJECTED, "provider '%s' withheld the answer (%s)",
			       provider, answer->why);
	if (answer->text.len == 0)
		return err_set(err, ERR_PROVIDER_REJECTED,
			       "provider '%s' gave no answer: its model used up all tokens before "
			       "the first word",
			       provider);
	text = arena_strndup(arena, answer->text.data, answer->text.len);
	if (!text)
		return err_set(err, ERR_TOO_LARGE, "cannot hold the answer: %zu bytes",
			       answer->text.len);
	*out = (struct generated){
		.text = str_make(text, answer->text.len),
		.refused = answer->refused,
		.truncated = answer->truncated || answer->withheld,
		.model = self->choice.at.model,
	};
	return true;
}

bool
server_generator_generate(struct generator *generator, const struct provider_call *call,
			  const struct generate_request *request, struct arena *arena,
			  struct generated *out, struct err *err)
{
	struct server_generator *self = (struct server_generator *)generator;
	struct writing writing = { .self = self, .request = request };
	int64_t limit = request->max_tokens;
	bool done;

	model_answer_init(&writing.answer);
	sse_decoder_init(&writing.sse, MAX_EVENT_BYTES);
	buf_init(&writing.whole, MAX_EVENT_BYTES);
	if (self->thinks && limit > 0)
		limit = with_thinking(limit);
	done = ask(self, call, &writing, limit, err);
	if (done && writing.answer.truncated && writing.answer.text.len == 0 && !self->thinks &&
	    limit > 0) {
		self->thinks = true;
		done = ask(self, call, &writing, with_thinking(limit), err);
	}
	done = done && finish(self, &writing.answer, arena, out, err);
	model_answer_release(&writing.answer);
	sse_decoder_release(&writing.sse);
	buf_release(&writing.whole);
	return done;
}

/* ---- life ---- */

void
server_generator_close(struct generator *generator)
{
	struct server_generator *self = (struct server_generator *)generator;

	remote_free(self->remote);
	mem_free(self);
}

bool
server_generator_open(const struct config *config, const struct generator_ops *ops,
		      const struct generate_dialect *dialect, struct generator **out,
		      struct err *err)
{
	struct server_generator *self = mem_alloc(sizeof(*self));

	self->generator.ops = ops;
	self->dialect = dialect;
	if (!choose_generator(config, &self->choice, err) ||
	    !remote_new(&(struct remote_opts){ .at = &self->choice.at,
					       .config = config,
					       .kind = REMOTE_GENERATE,
					       .auth = dialect->auth },
			&self->remote, err)) {
		server_generator_close(&self->generator);
		return false;
	}
	self->temperature = str_of(self->choice.temperature);
	self->thinking = str_of(self->choice.thinking);
	(void)str_copy(self->generator.model, sizeof(self->generator.model),
		       str_of(self->choice.at.model));
	*out = &self->generator;
	return true;
}
