/*
 * One call of remote_run is at most provider.attempts attempts. Each attempt:
 *
 *	a place within the fleet's limits -> wait for it -> HTTP -> what does it mean? -> report -> next attempt, or the end
 *
 * What an attempt came to is one error code; may_repeat reads nothing else. Three kinds of failures:
 *  - outages (_UNAVAILABLE, _LIMITED): everybody's trouble. Repeated here shortly; then the job waits in the queue, uncharged.
 *  - failures of this request (_REPLY, ERR_TIMEOUT): 500s, cut and garbled replies, silence. A server in trouble and a request that
 *    breaks the server look alike. They are charged to the job, so that such a request comes to an end; and they count for the
 *    breaker, so that in an outage it opens after a few of them and all others wait uncharged.
 *  - final ones: as they are.
 */
#include "jobs/provider/remote.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/http_client.h"

#define FIRST_PAUSE_MS 500 /* doubled for each attempt, full jitter */
#define SLICE_MS 50	   /* a wait looks at cancel this often */
#define ERROR_BODY_MAX ((size_t)64 * 1024)

struct remote {
	struct remote_opts opts;
	struct endpoint at;
	struct http_client *client; /* owned */
	struct http_reply reply;    /* owned */
	struct buf error_body;	    /* owned: of a stream that was none */
	char *auth;		    /* owned; NULL = none is sent */
	struct fault fault;

	/* of the remote_run at work */
	const struct provider_call *call;
	const struct remote_request *request;
	struct err stop; /* why one of the request's functions refused to go on */
	bool stopped;	 /* one did */
	bool told;
	int64_t start_mono_ms;
};

/* ---- life ---- */

bool
remote_new(const struct remote_opts *opts, struct remote **out, struct err *err)
{
	struct remote *remote = mem_alloc(sizeof(*remote));
	const char *key = opts->at->key;

	remote->opts = *opts;
	remote->at = *opts->at;
	remote->opts.at = &remote->at;
	http_reply_init(&remote->reply, REMOTE_MAX_REPLY_BYTES);
	buf_init(&remote->error_body, ERROR_BODY_MAX);
	if (key[0]) {
		const char *name =
			opts->auth == REMOTE_GOOGLE ? "x-goog-api-key: " : "Authorization: Bearer ";
		size_t size = strlen(name) + strlen(key) + 1;

		remote->auth = mem_alloc(size);
		(void)snprintf(remote->auth, size, "%s%s", name, key);
	}
	if (!http_client_new("rag-engine/" RAG_VERSION, &remote->client, err)) {
		remote_free(remote);
		return false;
	}
	*out = remote;
	return true;
}

void
remote_free(struct remote *remote)
{
	if (!remote)
		return;
	http_client_free(remote->client);
	http_reply_release(&remote->reply);
	buf_release(&remote->error_body);
	mem_free(remote->auth);
	mem_free(remote);
}

const struct fault *
remote_fault(const struct remote *remote)
{
	return &remote->fault;
}

/* ---- waiting ---- */

static bool
check(const struct provider_call *call, struct err *err)
{
	if (call->cancel && atomic_load(call->cancel))
		return err_set(err, ERR_CANCELLED, "the call was cancelled");
	if (call->deadline_mono_ms > 0 && clock_left_ms(call->deadline_mono_ms) == 0)
		return err_set(err, ERR_DEADLINE, "the deadline has passed");
	return true;
}

static bool
pause_ms(const struct remote *remote, int64_t ms, struct err *err)
{
	int64_t until_ms = clock_mono_ms() + ms, told_ms = 0;

	for (;;) {
		int64_t now_ms = clock_mono_ms();

		if (!check(remote->call, err))
			return false;
		if (remote->request->wait && now_ms - told_ms >= 2 * SLICE_MS) {
			told_ms = now_ms;
			if (!remote->request->wait(remote->request->user, err))
				return false;
		}
		if (now_ms >= until_ms)
			return true;
		clock_sleep_ms(until_ms - now_ms < SLICE_MS ? until_ms - now_ms : SLICE_MS);
	}
}

/* ---- the exchange ---- */

static bool
is_success(const struct http_reply *reply)
{
	return reply->status >= 200 && reply->status <= 299;
}

static bool
on_piece(void *user, struct str bytes)
{
	struct remote *remote = user;

	if (!is_success(&remote->reply)) {
		size_t room = remote->error_body.max - remote->error_body.len;

		buf_add(&remote->error_body, bytes.ptr, bytes.len < room ? bytes.len : room);
		return true;
	}
	remote->stopped = !remote->request->piece(remote->request->user, bytes, &remote->stop);
	return !remote->stopped;
}

static bool
on_wait(void *user)
{
	struct remote *remote = user;

	remote->stopped = !remote->request->wait(remote->request->user, &remote->stop);
	return !remote->stopped;
}

/* Puts the provider's name before what the HTTP client said, under a code of this room. */
static bool
blame(const struct remote *remote, enum err_code code, const char *text, struct err *err)
{
	char words[ERR_MSG_MAX_BYTES], cause[ERR_CAUSE_MAX_BYTES];

	(void)str_copy(words, sizeof(words), str_of(err->msg));
	(void)str_copy(cause, sizeof(cause), str_of(err->cause));
	err_set(err, code, "%s provider '%s': %s", text, remote->at.provider, words);
	return err_cause(err, "%s", cause);
}

/* No reply, or not all of it. */
static bool
judge_break(struct remote *remote, bool by_deadline, struct err *err)
{
	if (remote->stopped) {
		*err = remote->stop;
		return false;
	}
	if (err->code != ERR_CANCELLED && remote->reply.status >= 400) {
		/* it answered before it had read all, and hung up */
		struct str body =
			remote->request->piece
				? str_make(remote->error_body.data, remote->error_body.len)
				: str_make(remote->reply.body.data, remote->reply.body.len);

		fault_of_reply(&remote->reply, body, remote->at.key, &remote->fault);
		return fault_to_err(&remote->fault, remote->at.provider, err);
	}
	if (remote->reply.send_broke && err->code == ERR_PROTOCOL) {
		remote->fault =
			(struct fault){ .class = FAULT_BATCH, .status = 413, .retry_after_ms = -1 };
		blame(remote, ERR_TOO_LARGE, "could not send all of the request to", err);
		err->detail = TOO_LARGE_BATCH;
		return false;
	}
	switch ((int)err->code) {
	case ERR_TIMEOUT:
		return by_deadline
			       ? blame(remote, ERR_DEADLINE, "the deadline passed waiting for", err)
			       : blame(remote, ERR_TIMEOUT, "could not wait longer for", err);
	case ERR_CONNECT:
		return blame(remote, ERR_PROVIDER_UNAVAILABLE, "could not reach", err);
	case ERR_PROTOCOL:
	case ERR_TOO_LARGE:
		return blame(remote, ERR_PROVIDER_REPLY, "could not use the answer of", err);
	default:
		return false;
	}
}

/* Sends, receives, and says what came of it. */
static bool
exchange(struct remote *remote, struct remote_used *used, struct err *err)
{
	const struct remote_request *request = remote->request;
	const struct config *config = remote->opts.config;
	int left_ms = clock_left_ms(remote->call->deadline_mono_ms);
	int usual_ms = (int)config->provider_timeout_ms;
	bool is_stream = request->piece != NULL, by_deadline = left_ms <= usual_ms;
	const char *const headers[] = { "Content-Type: application/json",
					is_stream ? "Accept: text/event-stream"
						  : "Accept: application/json",
					remote->auth, NULL };
	AUTO(buf) struct buf url = BUF_INIT(4096);

	buf_printf(&url, "%s%s", remote->at.url, request->path);
	if (!buf_check(&url, "the URL of a provider", err))
		return false;

	const struct http_call call = {
		.method = request->method ? request->method : "POST",
		.url = url.data,
		.headers = headers,
		.body = request->body,
		.connect_timeout_ms = (int)config->provider_connect_ms,
		.timeout_ms = is_stream || by_deadline ? (left_ms > 0 ? left_ms : 1) : usual_ms,
		.silence_ms = is_stream ? usual_ms : 0,
		.cancel = remote->call->cancel,
		.on_wait = request->wait ? on_wait : NULL,
		.max_body_bytes = request->max_reply_bytes > 0 ? request->max_reply_bytes
							       : REMOTE_MAX_REPLY_BYTES,
		.on_data = is_stream ? on_piece : NULL,
		.user = remote,
	};

	if (!http_client_run(remote->client, &call, &remote->reply, err))
		return judge_break(remote, by_deadline, err);

	struct str body = str_make(remote->reply.body.data, remote->reply.body.len);

	if (!is_success(&remote->reply)) {
		if (is_stream)
			body = str_make(remote->error_body.data, remote->error_body.len);
		fault_of_reply(&remote->reply, body, remote->at.key, &remote->fault);
		return fault_to_err(&remote->fault, remote->at.provider, err);
	}
	if (request->read(request->user, body, used, err))
		return true;
	return err->code == ERR_PROVIDER_REPLY ? err_wrap(err, "provider '%s'", remote->at.provider)
					       : false;
}

/* ---- counting ---- */

static const char *const kind_names[] = {
	[REMOTE_EMBED] = "embed", [REMOTE_RERANK] = "rerank", [REMOTE_GENERATE] = "generate"
};

static const char *
outcome_name(enum err_code code)
{
	switch ((int)code) {
	case ERR_NONE:
		return "ok";
	case ERR_PROVIDER_LIMITED:
		return "limited";
	case ERR_PROVIDER_UNAVAILABLE:
		return "unavailable";
	case ERR_PROVIDER_QUOTA:
		return "quota";
	case ERR_PROVIDER_REJECTED:
		return "rejected";
	case ERR_PROVIDER_REPLY:
		return "failed";
	case ERR_TIMEOUT:
	case ERR_DEADLINE:
		return "timeout";
	case ERR_TOO_LARGE:
		return "too_large";
	case ERR_CANCELLED:
		return "cancelled";
	default:
		return "other";
	}
}

static void
count_tokens(const struct remote *remote, const char *direction, int64_t tokens)
{
	const struct provider_metrics *metrics = remote->call->metrics;

	if (metrics && tokens > 0)
		metric_add(metrics->tokens_total,
			   METRIC_VALUES(remote->at.provider, kind_names[remote->opts.kind],
					 direction),
			   (double)tokens);
}

static void
count(const struct remote *remote, const struct remote_used *used, enum err_code code)
{
	const char *kind = kind_names[remote->opts.kind], *provider = remote->at.provider;
	const struct provider_metrics *metrics = remote->call->metrics;
	struct provider_usage *usage = remote->call->usage;
	int64_t in = used->tokens_in >= 0 ? used->tokens_in : remote->request->tokens;
	int64_t out = used->tokens_out >= 0 ? used->tokens_out : 0;

	if (metrics) {
		metric_add(metrics->requests_total,
			   METRIC_VALUES(provider, kind, outcome_name(code)), 1);
		metric_observe(metrics->seconds, METRIC_VALUES(provider, kind),
			       (double)remote->reply.total_ms / 1000);
	}
	if (usage)
		usage->requests++;
	if (code != ERR_NONE && !remote->told)
		return;
	count_tokens(remote, "in", in);
	count_tokens(remote, "out", out);
	if (!usage)
		return;
	if (remote->opts.kind == REMOTE_EMBED)
		usage->embedding_tokens += in;
	if (remote->opts.kind == REMOTE_GENERATE) {
		usage->prompt_tokens += in;
		usage->completion_tokens += out;
	}
	if (used->search_units > 0)
		usage->search_units += used->search_units;
}

void
remote_told(struct remote *remote)
{
	const struct provider_metrics *metrics = remote->call ? remote->call->metrics : NULL;

	if (remote->told)
		return;
	remote->told = true;
	if (metrics)
		metric_observe(metrics->first_token_seconds, METRIC_VALUES(remote->at.provider),
			       (double)(clock_mono_ms() - remote->start_mono_ms) / 1000);
}

/* ---- attempts ---- */

static bool
attempt(struct remote *remote, struct err *err)
{
	struct remote_used used = { -1, -1, -1 };
	bool done;

	if (!check(remote->call, err))
		return false;
	if (remote->request->restart)
		remote->request->restart(remote->request->user);
	remote->stop = ERR_INIT;
	remote->stopped = false;
	remote->fault = (struct fault){ .retry_after_ms = -1 };
	buf_clear(&remote->error_body);
	done = exchange(remote, &used, err);
	count(remote, &used, done ? ERR_NONE : err->code);
	return done;
}

/* How long to wait before the next attempt; false = there is none. */
static bool
may_repeat(const struct remote *remote, int64_t nth, struct err *err, int64_t *out_pause_ms)
{
	const struct config *config = remote->opts.config;
	int64_t ceiling_ms = (int64_t)FIRST_PAUSE_MS << (nth - 1);
	int64_t jitter_ms = (int64_t)(id_random_u64() % (uint64_t)(ceiling_ms + 1));

	switch ((int)err->code) {
	case ERR_PROVIDER_LIMITED:
		if (err->retry_after_ms <
		    0) /* not said: a job that waits must know when to come again */
			err->retry_after_ms = ceiling_ms + jitter_ms;
		break;
	case ERR_PROVIDER_UNAVAILABLE:
	case ERR_PROVIDER_REPLY:
	case ERR_TIMEOUT:
		break;
	default:
		return false;
	}
	*out_pause_ms = err->retry_after_ms >= 0 ? err->retry_after_ms + jitter_ms / 10 : jitter_ms;
	if (err->retry_after_ms < 0 && *out_pause_ms > config->provider_max_wait_ms)
		*out_pause_ms = config->provider_max_wait_ms;
	return nth < config->provider_attempts && !remote->told &&
	       (err->retry_after_ms < 0 || err->retry_after_ms <= config->provider_max_wait_ms) &&
	       *out_pause_ms < clock_left_ms(remote->call->deadline_mono_ms);
}

bool
remote_run(struct remote *remote, const struct provider_call *call,
	   const struct remote_request *request, struct err *err)
{
	bool done = false;

	remote->call = call;
	remote->request = request;
	remote->told = false;
	remote->start_mono_ms = clock_mono_ms();
	for (int64_t nth = 1; !done; nth++) {
		struct err failed = ERR_INIT, ended = ERR_INIT;
		int64_t wait_ms = 0;

		done = attempt(remote, &failed);
		if (done)
			break;
		if (!may_repeat(remote, nth, &failed, &wait_ms)) {
			*err = failed;
			break;
		}
		if (!pause_ms(remote, wait_ms, &ended)) {
			*err = ended;
			break;
		}
	}
	remote->call = NULL;
	remote->request = NULL;
	return done;
}
