/*
 * One call to Chroma. Every call of the store is safe to repeat (get, query, upsert, delete by id, create-or-get), so a broken exchange is
 * simply tried again, a few times within about two seconds; what lasts longer is waited for in the queue, where it holds no slot.
 *
 * A server that refuses a body for its size may answer and close while we still send: the answer is often lost. So a large body whose sending
 * broke is taken for too large (SPLIT): if it was not, halving costs little.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "jobs/store/chroma_store.h"

#define ATTEMPTS 4
#define BACKOFF_MS 100	 /* doubled each time, with full jitter */
#define HINT_MAX_MS 2000 /* a longer Retry-After is for the queue */
#define CONNECT_TIMEOUT_MS 5000
#define MAYBE_413_BYTES ((size_t)512 * 1024)
#define EXCERPT_BYTES 160

/* ---- clients ---- */

static bool
client_take(struct chroma_store *store, struct http_client **out, struct err *err)
{
	struct http_client *client = NULL;

	(void)pthread_mutex_lock(&store->lock);
	if (store->idle_count > 0)
		client = store->idle[--store->idle_count];
	(void)pthread_mutex_unlock(&store->lock);
	if (client) {
		*out = client;
		return true;
	}
	return http_client_new("rag-engine/" RAG_VERSION, out, err);
}

static void
client_give(struct chroma_store *store, struct http_client *client)
{
	bool kept = false;

	(void)pthread_mutex_lock(&store->lock);
	if (store->idle_count < CHROMA_IDLE_CLIENTS) {
		store->idle[store->idle_count++] = client;
		kept = true;
	}
	(void)pthread_mutex_unlock(&store->lock);
	if (!kept)
		http_client_free(client);
}

void
chroma_http_release(struct chroma_store *store)
{
	while (store->idle_count > 0)
		http_client_free(store->idle[--store->idle_count]);
}

/* ---- failures ---- */

void
chroma_excerpt(const struct http_reply *reply, char *out, size_t out_bytes)
{
	struct str body = chroma_body(reply);

	(void)snprintf(out, out_bytes, "HTTP %d: " STR_FMT, reply->status,
		       STR_ARG(str_sub(body, 0, EXCERPT_BYTES)));
}

bool
chroma_fail(const struct http_reply *reply, const char *what, struct err *err)
{
	char excerpt[EXCERPT_BYTES + 32];

	chroma_excerpt(reply, excerpt, sizeof(excerpt));
	err_set(err, ERR_STORE_FAILED, "could not %s: Chroma answered %d", what, reply->status);
	err->detail = reply->status;
	return err_cause(err, "%s", excerpt);
}

static bool
unavailable(const struct chroma_store *store, const struct err *why, int64_t hint_ms,
	    struct err *err)
{
	const struct config *config = store->config;
	const struct err reason = *why;

	err_set(err, ERR_STORE_UNAVAILABLE, "could not reach Chroma at %s:%lld: %s",
		config->chroma_host, (long long)config->chroma_port, reason.msg);
	err->detail = reason.detail;
	err->retry_after_ms = hint_ms;
	(void)err_waiting_for(err, "chroma %s:%lld: out of service", config->chroma_host,
			      (long long)config->chroma_port);
	return reason.cause[0] ? err_cause(err, "%s", reason.cause) : false;
}

/* The token is not right, or something else than Chroma answers: waiting does not help, an operator must. */
static bool
refused(const struct http_reply *reply, enum chroma_class class, struct err *err)
{
	(void)chroma_fail(reply, "use the store", err);
	return err_wrap(err, class == CHROMA_REFUSED ? "the token of Chroma (CHROMA_TOKEN)"
						     : "the server at CHROMA_HOST is no Chroma v2");
}

/* ---- a call ---- */

struct attempt {
	struct chroma_store *store;
	const struct chroma_call *call;
	struct http_reply *reply;
	struct chroma_pass *pass; /* of a write on its way; else NULL */
	enum chroma_class class;
	struct err failure; /* of the exchange; ERR_NONE: there is an answer */
	bool is_hurried;    /* its time is what the caller has left, less than a server may take */
};

static bool
keep_place(void *user)
{
	chroma_gate_keep(((const struct attempt *)user)->pass);
	return true;
}

/* Runs one exchange; false only for what ends the call at once. */
static bool
exchange(struct attempt *attempt, struct err *err)
{
	const struct chroma_call *call = attempt->call;
	struct chroma_store *store = attempt->store;
	const char *const headers[] = { "Accept: application/json",
					"Content-Type: application/json",
					store->auth[0] ? store->auth : NULL, NULL };
	struct http_client *client = NULL;
	char url[2 * CHROMA_URL_BYTES];
	int left_ms = clock_left_ms(call->limits ? call->limits->deadline_mono_ms : 0);
	int64_t timeout_ms = store->config->chroma_timeout_ms;
	const struct http_call http = {
		.method = call->method,
		.url = url,
		.headers = headers,
		.body = call->body,
		.connect_timeout_ms = CONNECT_TIMEOUT_MS,
		.timeout_ms = left_ms < timeout_ms ? left_ms : (int)timeout_ms,
		.cancel = call->limits ? call->limits->cancel : NULL,
		.on_wait = attempt->pass ? keep_place : NULL,
		.user = attempt,
	};

	if (left_ms <= 0)
		return err_set(err, ERR_DEADLINE, "deadline exceeded");
	(void)snprintf(url, sizeof(url), "%s%s",
		       call->scope == CHROMA_SERVER ? store->server : store->database, call->path);
	if (!client_take(store, &client, err))
		return false;
	attempt->failure = ERR_INIT;
	attempt->is_hurried = left_ms < timeout_ms;
	if (!http_client_run(client, &http, attempt->reply, &attempt->failure)) {
		/* what it has kept of a server that went away is of no use */
		http_client_free(client);
		if (attempt->failure.code != ERR_CANCELLED)
			chroma_unprepare(store);
	} else {
		client_give(store, client);
	}
	return true;
}

/* The exchange failed. true: that decides the call; *out_ok, and err when it is false. */
static bool
failure_decides(struct attempt *attempt, bool *out_ok, struct err *err)
{
	const struct chroma_call *call = attempt->call;
	enum err_code code = attempt->failure.code;

	*out_ok = false;
	if (code == ERR_TIMEOUT && attempt->is_hurried) {
		err_set(err, ERR_DEADLINE, "deadline exceeded");
		return true;
	}
	if (code == ERR_TIMEOUT) {
		unavailable(attempt->store, &attempt->failure, -1, err);
		return true;
	}
	if (code != ERR_CONNECT && code != ERR_PROTOCOL) {
		*err = attempt->failure;
		return true;
	}
	if (attempt->reply->status != 413 &&
	    (code == ERR_CONNECT || call->body.len < MAYBE_413_BYTES))
		return false;
	attempt->class = CHROMA_SPLIT;
	*out_ok = true;
	return true;
}

/* true: the attempt has decided the call; *out_ok, and err when it is false. */
static bool
is_decided(struct attempt *attempt, bool *out_ok, struct err *err)
{
	struct http_reply *reply = attempt->reply;

	if (attempt->failure.code != ERR_NONE)
		return failure_decides(attempt, out_ok, err);
	attempt->class = chroma_classify(reply->status, chroma_body(reply));
	if (attempt->class == CHROMA_BUSY)
		return false;
	*out_ok = attempt->class != CHROMA_REFUSED && attempt->class != CHROMA_ODD;
	if (!*out_ok)
		refused(reply, attempt->class, err);
	return true;
}

/* The last attempt's failure, told by who is to blame. */
static bool
give_up(const struct attempt *attempt, int64_t hint_ms, struct err *err)
{
	const struct http_reply *reply = attempt->reply;
	struct err why = attempt->failure;
	char excerpt[EXCERPT_BYTES + 32];

	if (why.code != ERR_NONE)
		return unavailable(attempt->store, &why, hint_ms, err);
	if (reply->status == 500)
		return chroma_fail(reply, "use the store", err);
	chroma_excerpt(reply, excerpt, sizeof(excerpt));
	err_set(&why, ERR_STORE_UNAVAILABLE, "it answered %d", reply->status);
	err_cause(&why, "%s", excerpt);
	return unavailable(attempt->store, &why, hint_ms, err);
}

/* What an exchange without an answer tells all writers. */
static enum governor_outcome
outcome_of_failure(const struct attempt *attempt)
{
	const struct http_reply *reply = attempt->reply;

	switch ((int)attempt->failure.code) {
	case ERR_TIMEOUT:
	case ERR_CONNECT: /* of a caller in a hurry: nobody knows whether it would have come */
		return attempt->is_hurried &&
				       (attempt->failure.code == ERR_TIMEOUT ||
					clock_left_ms(attempt->call->limits->deadline_mono_ms) == 0)
			       ? GOVERNOR_ABANDONED
			       : GOVERNOR_OUTAGE;
	case ERR_PROTOCOL:
		if (reply->status == 413)
			return GOVERNOR_FAILED;
		/* perhaps for the body's size */
		return reply->send_broke && attempt->call->body.len >= MAYBE_413_BYTES
			       ? GOVERNOR_ABANDONED
			       : GOVERNOR_OUTAGE;
	case ERR_TOO_LARGE:
		return GOVERNOR_FAILED;
	default: /* we ended it */
		return GOVERNOR_ABANDONED;
	}
}

/* What an exchange tells all writers. */
static enum governor_outcome
outcome_of(const struct attempt *attempt, bool went)
{
	const struct http_reply *reply = attempt->reply;

	if (!went)
		return GOVERNOR_UNUSED;
	if (attempt->failure.code != ERR_NONE)
		return outcome_of_failure(attempt);
	switch (chroma_classify(reply->status, chroma_body(reply))) {
	case CHROMA_BUSY:
		return reply->status == 429 ? GOVERNOR_LIMITED : GOVERNOR_OUTAGE;
	case CHROMA_REFUSED:
	case CHROMA_ODD:
		return GOVERNOR_DENIED;
	case CHROMA_OK:
	case CHROMA_MISSING:
	case CHROMA_EXISTS:
	case CHROMA_SPLIT:
	case CHROMA_BAD_REQUEST:
		break;
	}
	return GOVERNOR_OK;
}

/* One exchange, through the gate when it writes. */
static bool
exchange_in_turn(struct attempt *attempt, struct err *err)
{
	struct chroma_gate *gate = attempt->store->gate;
	struct chroma_pass *pass = NULL;
	enum governor_outcome outcome;
	char what[64];
	bool went;

	if (!attempt->call->writes)
		return exchange(attempt, err);
	if (!chroma_gate_enter(gate, attempt->call->limits, &pass, err))
		return false;
	attempt->pass = pass;
	went = exchange(attempt, err);
	attempt->pass = NULL;
	outcome = outcome_of(attempt, went);
	(void)snprintf(what, sizeof(what), "HTTP %d", attempt->reply->status);
	chroma_gate_leave(gate, pass, outcome, http_reply_retry_after_ms(attempt->reply),
			  outcome == GOVERNOR_OK || outcome == GOVERNOR_UNUSED ? NULL
			  : attempt->failure.code != ERR_NONE ? attempt->failure.msg
							      : what);
	return went;
}

bool
chroma_run(struct chroma_store *store, const struct chroma_call *call, struct http_reply *reply,
	   enum chroma_class *out_class, struct err *err)
{
	struct attempt attempt = { .store = store, .call = call, .reply = reply };

	for (int i = 0;; i++) {
		int64_t hint_ms = -1, delay_ms = BACKOFF_MS << i;
		bool decided = false, ok = false;

		if (!exchange_in_turn(&attempt, err)) {
			/* a 500 has opened the breaker: that was the answer to this call */
			if (i > 0 && attempt.failure.code == ERR_NONE && reply->status == 500 &&
			    err->code == ERR_STORE_UNAVAILABLE)
				return chroma_fail(reply, "use the store", err);
			return false;
		}
		decided = is_decided(&attempt, &ok, err);
		if (decided && ok)
			*out_class = attempt.class;
		if (decided)
			return ok;
		hint_ms = http_reply_retry_after_ms(reply);
		if (i + 1 == ATTEMPTS || hint_ms > HINT_MAX_MS)
			return give_up(&attempt, hint_ms, err);
		delay_ms = hint_ms >= 0 ? hint_ms
					: (int64_t)(id_random_u64() % (uint64_t)delay_ms) + 1;
		if (!chroma_wait(call->limits, delay_ms, err))
			return false;
	}
}
