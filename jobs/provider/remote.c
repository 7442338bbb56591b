/*
 * One call of remote_run is at most provider.attempts attempts. Each attempt:
 *
 *	a place within the fleet's limits -> wait for it -> HTTP -> what does it mean? -> report -> next attempt, or the end
 *
 * What an attempt came to is one error code; may_repeat reads nothing else. Three kinds of failures:
 *  - outages (_UNAVAILABLE, _LIMITED): everybody's trouble. Repeated here shortly; then the job waits in the queue, uncharged.
 *  - failures of this request (_REPLY, ERR_TIMEOUT): 500s, cut and garbled replies, silence. A server in trouble and a request that
 *    breaks the server look alike, but for one thing: whether the server answers others. So they count for the breaker, which any
 *    good answer closes. While it is open, no answer at all is an outage like any other; while it is not, it is charged to the job,
 *    and a request that breaks its server comes to an end. A whole answer that is garbage is always charged.
 *  - final ones: as they are.
 */
#include "jobs/provider/remote.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/governor.h"
#include "common/http_client.h"
#include "common/sha256.h"

#define FIRST_PAUSE_MS 500   /* doubled for each attempt, full jitter */
#define DEADLINE_SLACK_MS 20 /* a call's own timer is that exact */
#define SLICE_MS 50	     /* a wait looks at cancel this often */
#define ERROR_BODY_MAX ((size_t)64 * 1024)
#define LARGE_BODY_BYTES                                                                           \
	((size_t)256 * 1024) /* a server that hangs up on a smaller one has other reasons */
#define KEY_HASH_DIGITS 8
#define LEASE_MARGIN_MS 10000	  /* between the end of a call and its report */
#define LONGEST_STREAM_MS 3600000 /* where a job has no deadline */

struct remote {
	struct remote_opts opts;
	struct endpoint at;
	struct http_client *client;		/* owned */
	struct http_reply reply;		/* owned */
	struct buf error_body;			/* owned: of a stream that was none */
	char *auth;				/* owned; NULL = none is sent */
	char name[GOVERNOR_MAX_NAME_BYTES + 1]; /* under which its limits are counted */
	struct fault fault;

	/* of the remote_run at work */
	const struct provider_call *call;
	const struct remote_request *request;
	struct err stop; /* why one of the request's functions refused to go on */
	bool stopped;	 /* one did */
	bool told;
	bool broke; /* the last exchange ended without a whole answer */
	int64_t start_mono_ms;
};

/* ---- life ---- */

/* Provider, model, and whose account at which server it is. */
static void
make_name(struct remote *remote)
{
	const struct endpoint *at = &remote->at;
	struct sha256 *account = sha256_new();
	char hash[SHA256_HEX_BYTES];

	sha256_add_field(account, str_of(at->url));
	sha256_add_field(account, str_of(at->key));
	sha256_finish_hex(account, hash);
	(void)snprintf(remote->name, sizeof(remote->name), "%s:%s:%.*s", at->provider, at->model,
		       KEY_HASH_DIGITS, hash);
}

bool
remote_new(const struct remote_opts *opts, struct remote **out, struct err *err)
{
	struct remote *remote = mem_alloc(sizeof(*remote));
	const char *key = opts->at->key;

	remote->opts = *opts;
	remote->at = *opts->at;
	remote->opts.at = &remote->at;
	make_name(remote);
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
pause_ms(const struct remote *remote, int64_t ms, struct err *err)
{
	int64_t told_ms = clock_mono_ms(), until_ms = told_ms + ms;

	for (;;) {
		int64_t now_ms = clock_mono_ms();

		if (!provider_call_check(remote->call, err))
			return false;
		if (remote->request->wait && now_ms - told_ms >= INT64_C(2) * SLICE_MS) {
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
judge_break(struct remote *remote, struct err *err)
{
	int64_t deadline_ms = remote->call->deadline_mono_ms;
	bool by_deadline = deadline_ms > 0 && clock_left_ms(deadline_ms) <= DEADLINE_SLACK_MS;

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
	/* the server went away, perhaps with a request that it had taken */
	if (remote->reply.unreachable && err->code == ERR_PROTOCOL)
		return blame(remote, ERR_PROVIDER_UNAVAILABLE, "could not reach", err);
	if (remote->reply.send_broke && err->code == ERR_PROTOCOL &&
	    remote->request->body.len >= LARGE_BODY_BYTES) {
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

/* TEI counts in a header what its bare arrays have no room for. */
static void
take_counted(const struct http_reply *reply, struct remote_used *used)
{
	struct str value = { 0 };
	int64_t tokens = 0;

	if (used->tokens_in < 0 && http_reply_header(reply, "x-compute-tokens", &value) &&
	    str_to_i64(value, 0, INT32_MAX, &tokens))
		used->tokens_in = tokens;
}

/* Sends, receives, and says what came of it. */
static bool
exchange(struct remote *remote, struct remote_used *used, struct err *err)
{
	const struct remote_request *request = remote->request;
	const struct config *config = remote->opts.config;
	int left_ms = clock_left_ms(remote->call->deadline_mono_ms);
	int usual_ms = (int)config->provider_timeout_ms;
	bool is_stream = request->piece != NULL;
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
		.timeout_ms =
			is_stream || left_ms <= usual_ms ? (left_ms > 0 ? left_ms : 1) : usual_ms,
		.silence_ms = is_stream ? usual_ms : 0,
		.cancel = remote->call->cancel,
		.on_wait = request->wait ? on_wait : NULL,
		.max_body_bytes = request->max_reply_bytes > 0 ? request->max_reply_bytes
							       : REMOTE_MAX_REPLY_BYTES,
		.on_data = is_stream ? on_piece : NULL,
		.user = remote,
	};

	if (!http_client_run(remote->client, &call, &remote->reply, err)) {
		remote->broke = err->code != ERR_TOO_LARGE && !remote->stopped;
		return judge_break(remote, err);
	}

	struct str body = str_make(remote->reply.body.data, remote->reply.body.len);

	if (!is_success(&remote->reply)) {
		if (is_stream)
			body = str_make(remote->error_body.data, remote->error_body.len);
		fault_of_reply(&remote->reply, body, remote->at.key, &remote->fault);
		return fault_to_err(&remote->fault, remote->at.provider, err);
	}
	if (request->read(request->user, body, used, err)) {
		take_counted(&remote->reply, used);
		return true;
	}
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

/* ---- the fleet's limits ---- */

static bool
acquire(const struct remote *remote, struct governor_ticket *ticket, struct err *err)
{
	const struct config *config = remote->opts.config;
	const struct governor_limits limits = {
		.requests_per_minute = remote->at.requests_per_minute,
		.tokens_per_minute = remote->at.tokens_per_minute,
		.concurrency = remote->at.concurrency,
	};
	int64_t left_ms = clock_left_ms(remote->call->deadline_mono_ms);
	int64_t call_ms = remote->request->piece ? LONGEST_STREAM_MS : config->provider_timeout_ms;
	int64_t max_wait_ms = config->provider_max_wait_ms;
	const struct governor_opts opts = {
		.max_wait_ms = max_wait_ms < left_ms ? max_wait_ms : left_ms,
		.lease_ms = (call_ms < left_ms ? call_ms : left_ms) + max_wait_ms + LEASE_MARGIN_MS,
		.breaker_failures = config->provider_breaker_failures,
		.breaker_open_ms = config->provider_breaker_ms,
		.cancel = remote->call->cancel,
	};
	const struct governor_cost cost = { .requests = remote->request->requests,
					    .tokens = remote->request->tokens };
	const struct governor_report unused = { GOVERNOR_UNUSED, -1, -1, NULL };

	if (!governor_acquire(remote->call->redis, str_of(remote->name), &limits, &opts, &cost,
			      ticket, err))
		return false;
	if (pause_ms(remote, ticket->wait_ms, err))
		return true;
	governor_report(remote->call->redis, ticket, &unused);
	return false;
}

static enum governor_outcome
outcome_of(const struct remote *remote, enum err_code code)
{
	if (remote->fault.is_access)
		return GOVERNOR_DENIED;
	switch ((int)code) {
	case ERR_NONE:
		return GOVERNOR_OK;
	case ERR_PROVIDER_LIMITED:
		return GOVERNOR_LIMITED;
	case ERR_PROVIDER_QUOTA:
		return GOVERNOR_QUOTA;
	case ERR_PROVIDER_UNAVAILABLE:
	case ERR_PROVIDER_REPLY:
	case ERR_TIMEOUT:
		return GOVERNOR_OUTAGE;
	case ERR_TOO_LARGE:
		return GOVERNOR_FAILED;
	default: /* the request's own affair; or we ended it, perhaps before the server had said a word */
		return remote->reply.status > 0 ? GOVERNOR_FAILED : GOVERNOR_ABANDONED;
	}
}

/* A job that waits says for what. */
static void
say_waiting(const struct remote *remote, struct err *err)
{
	const char *model = remote->at.model;

	if (err->code == ERR_PROVIDER_LIMITED || err->code == ERR_PROVIDER_UNAVAILABLE)
		err_waiting_for(err, "%s%s%s: %s", remote->at.provider, model[0] ? " " : "", model,
				err->code == ERR_PROVIDER_LIMITED ? "asked to wait"
								  : "out of service");
}

/* true: the breaker is open. */
static bool
report(const struct remote *remote, const struct governor_ticket *ticket,
       const struct remote_used *used, const struct err *err)
{
	bool done = err->code == ERR_NONE;
	int64_t tokens = used->tokens_in < 0	? -1
			 : used->tokens_out > 0 ? used->tokens_in + used->tokens_out
						: used->tokens_in;
	const struct governor_report said = {
		.outcome = outcome_of(remote, err->code),
		.tokens = tokens,
		.hint_ms = done ? fault_ratelimit_reset_ms(&remote->reply) : err->retry_after_ms,
		.what = done ? NULL : err->msg,
	};

	return governor_report(remote->call->redis, ticket, &said);
}

/* No word of the server about this very request: a 500, silence, a broken exchange; not an answer that is garbage. */
static bool
is_unanswered(const struct remote *remote, const struct err *err)
{
	return err->code == ERR_TIMEOUT || (err->code == ERR_PROVIDER_REPLY &&
					    (remote->broke || remote->fault.class == FAULT_FAILED));
}

/* The breaker is open: what failed is the server, not this request. */
static void
take_for_outage(const struct remote *remote, struct err *err)
{
	err->code = ERR_PROVIDER_UNAVAILABLE;
	say_waiting(remote, err);
}

/* ---- attempts ---- */

/* *out_sent: it came to a request. */
static bool
attempt(struct remote *remote, bool *out_sent, struct err *err)
{
	struct remote_used used = { -1, -1, -1 };
	struct governor_ticket ticket;
	bool is_open;

	*out_sent = false;
	remote->fault = (struct fault){ .retry_after_ms = -1 };
	if (!provider_call_check(remote->call, err) || !acquire(remote, &ticket, err))
		return false;
	*out_sent = true;
	if (remote->request->restart)
		remote->request->restart(remote->request->user);
	remote->stop = ERR_INIT;
	remote->stopped = remote->broke = false;
	buf_clear(&remote->error_body);
	if (!exchange(remote, &used, err))
		say_waiting(remote, err);
	is_open = report(remote, &ticket, &used, err);
	count(remote, &used, err->code);
	if (is_open && is_unanswered(remote, err))
		take_for_outage(remote, err);
	return err->code == ERR_NONE;
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

/* Attempts until one is done, or none is worth it. */
static bool
run_attempts(struct remote *remote, struct err *err)
{
	struct err last =
		ERR_INIT; /* of the attempt before, where its failure was this request's own */

	for (int64_t nth = 1;; nth++) {
		struct err failed = ERR_INIT;
		int64_t wait_ms = 0;
		bool sent = false;

		if (attempt(remote, &sent, &failed))
			return true;
		/* Answered with garbage, and then not asked any more, for others had failed: the garbage counts. */
		if (!sent && failed.code == ERR_PROVIDER_UNAVAILABLE &&
		    last.code == ERR_PROVIDER_REPLY) {
			*err = last;
			return false;
		}
		if (!may_repeat(remote, nth, &failed, &wait_ms)) {
			*err = failed;
			return false;
		}
		if (sent)
			last = is_unanswered(remote, &failed) ? ERR_INIT : failed;
		if (!pause_ms(remote, wait_ms, &failed)) {
			*err = failed;
			return false;
		}
	}
}

bool
remote_run(struct remote *remote, const struct provider_call *call,
	   const struct remote_request *request, struct err *err)
{
	bool done;

	remote->call = call;
	remote->request = request;
	remote->told = false;
	remote->start_mono_ms = clock_mono_ms();
	done = run_attempts(remote, err);
	remote->call = NULL;
	remote->request = NULL;
	return done;
}
