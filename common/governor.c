/*
 * The governor: one count for all processes.
 *
 * The problem. A provider counts what all workers send with one key. If each worker guessed its share, the sum would be wrong whenever
 * their number changes; if each tried and was refused, they would waste calls and be refused again. So the count is in Redis, and what it
 * hands out is a moment: the caller waits for it and calls.
 *
 * Invariants (tests/it/test_governor.c):
 *  1. For any length of time L of the limit, the places given with moments in [t, t + L + L/40) are at most the limit, tokens likewise.
 *  2. Moments never go back: who asks first goes first.
 *  3. What is refused takes nothing.
 *  4. With the breaker open at most one call is on its way that was let go after it opened.
 *  5. A process that dies takes back nothing of 1 to 4: leases and probes end by time.
 *
 * How a place is found (governor_acquire.lua): the earliest moment that keeps the order, the sleep, the even pace (a bucket that lets late
 * callers catch up a twelfth of the window) and the window's sum (buckets of 1/120 of it, so a name costs at most 123 small fields whatever
 * its limit is). The pace makes the calls even; the sum is the promise.
 *
 * Rejected: a token bucket alone (a full one and what comes in while it is emptied pass the limit by the size of the bucket); a log of all
 * calls (its size is the limit); fixed minutes (twice the limit around their borders, seen from the server's minutes); asking again and
 * again until there is room (a hundred slots that poll are a thousand scripts a second).
 *
 * Calls at once have no known end, so those that wait block on a list: each report pushes an item, which wakes the one that has
 * waited longest. An item that nobody waited for costs one more try.
 */
#include "common/governor.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/keys.h"

#define GOVERNOR_WINDOW_MS 60000
#define GOVERNOR_LEASE_MS 120000
#define GOVERNOR_BLOCK_MS 500 /* between looks at the cancel flag */
#define GOVERNOR_BUSY_MS                                                                           \
	1000 /* to come again when all places are taken: nobody knows for how long */
#define GOVERNOR_KEY_HASH_LEN 8

#define SCRIPT(name)                                                                               \
	extern const char embed_##name##_lua[];                                                    \
	static const struct redis_script script_##name = { #name, embed_##name##_lua }
SCRIPT(governor_acquire);
SCRIPT(governor_extend);
SCRIPT(governor_report);
SCRIPT(governor_note);
SCRIPT(governor_state);

/* Why a call has to wait, as the script says it. */
struct reason {
	const char *wire;
	const char *text; /* short: it goes into a job's record */
	enum err_code code;
};
static const struct reason reasons[] = {
	{ "requests", "requests per minute", ERR_PROVIDER_LIMITED },
	{ "tokens", "tokens per minute", ERR_PROVIDER_LIMITED },
	{ "concurrency", "calls at once", ERR_PROVIDER_LIMITED },
	{ "sleep", "asked to wait", ERR_PROVIDER_LIMITED },
	{ "breaker", "out of service", ERR_PROVIDER_UNAVAILABLE },
	{ "probe", "out of service", ERR_PROVIDER_UNAVAILABLE },
	{ "quota", "daily quota", ERR_PROVIDER_QUOTA },
};

static const struct reason *
reason_find(struct str wire)
{
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (str_eq_c(wire, reasons[i].wire))
			return &reasons[i];
	}
	return NULL;
}

static bool
is_key_hash(struct str text)
{
	unsigned char bytes[GOVERNOR_KEY_HASH_LEN / 2];

	return text.len == GOVERNOR_KEY_HASH_LEN && str_unhex(text, bytes, sizeof(bytes));
}

/* "gemini:model:1a2b3c4d" -> "gemini model" */
static void
make_label(const char *name, char *out, size_t out_bytes)
{
	struct str text = str_of(name);
	char *colon;

	if (text.len > GOVERNOR_KEY_HASH_LEN &&
	    text.ptr[text.len - GOVERNOR_KEY_HASH_LEN - 1] == ':' &&
	    is_key_hash(str_sub(text, text.len - GOVERNOR_KEY_HASH_LEN, text.len)))
		text.len -= GOVERNOR_KEY_HASH_LEN + 1;
	str_copy(out, out_bytes, text);
	colon = strchr(out, ':');
	if (colon)
		*colon = ' ';
	if (colon && !colon[1]) /* a model without a name */
		*colon = '\0';
}

/* "<label>: <reason>", the label cut so that the reason is whole. */
static void
make_waiting_for(const char *name, const char *reason, char *out, size_t out_bytes)
{
	size_t room = out_bytes - strlen(reason) - 2, len;

	assert(room < out_bytes);
	make_label(name, out, room);
	len = strlen(out);
	(void)snprintf(out + len, out_bytes - len, ": %s", reason);
}

static void
note_name(struct redis *redis, const char *name)
{
	struct key key = key_governors();
	struct err ignored = ERR_INIT;
	struct redis_cmd cmd;

	redis_script_init(&cmd, &script_governor_note, 1);
	redis_arg_c(&cmd, key.text);
	redis_arg_c(&cmd, name);
	redis_run_script(redis, &cmd, &script_governor_note, NULL, &ignored);
}

/* ---- acquire ---- */

struct verdict {
	bool granted;
	int64_t wait_ms; /* granted: until its moment; else until it is worth asking again */
	int64_t at_ms;
	bool probe;
	const struct reason *reason;
	char what[160];
};

static bool
ask(struct redis *redis, const struct governor_ticket *ticket, int64_t max_wait_ms,
    struct verdict *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	const struct governor_limits *limits = &ticket->limits;
	struct str name = str_of(ticket->name), word, what = { 0 };
	struct key state = key_governor(name, GK_STATE), window = key_governor(name, GK_WINDOW);
	struct key leases = key_governor(name, GK_LEASES);
	struct verdict verdict = { 0 };
	int64_t probe = 0, note = 0;
	struct redis_cmd cmd;

	redis_script_init(&cmd, &script_governor_acquire, 3);
	redis_arg_c(&cmd, state.text);
	redis_arg_c(&cmd, window.text);
	redis_arg_c(&cmd, leases.text);
	redis_arg_c(&cmd, ticket->id);
	redis_arg_i64(&cmd, limits->requests_per_minute);
	redis_arg_i64(&cmd, limits->tokens_per_minute);
	redis_arg_i64(&cmd, limits->concurrency);
	redis_arg_i64(&cmd, ticket->tokens);
	redis_arg_i64(&cmd, max_wait_ms);
	redis_arg_i64(&cmd, ticket->opts.lease_ms);
	redis_arg_i64(&cmd, ticket->opts.breaker_open_ms);
	redis_arg_i64(&cmd, limits->window_ms);
	redis_arg_i64(&cmd, ticket->requests);
	if (!redis_run_script(redis, &cmd, &script_governor_acquire, &reply, err))
		return err_wrap(err, "limits of a provider");
	if (!reply_str(reply_at(reply, 0), &word) || !reply_i64(reply_at(reply, 4), &note))
		return reply_bad("limits of a provider", err);
	verdict.granted = str_eq_c(word, "OK");
	if (verdict.granted) {
		if (!reply_i64(reply_at(reply, 1), &verdict.wait_ms) ||
		    !reply_i64(reply_at(reply, 2), &verdict.at_ms) ||
		    !reply_i64(reply_at(reply, 3), &probe))
			return reply_bad("limits of a provider", err);
		verdict.probe = probe != 0;
	} else {
		if (!reply_str(reply_at(reply, 1), &word) ||
		    !(verdict.reason = reason_find(word)) ||
		    !reply_i64(reply_at(reply, 2), &verdict.wait_ms) ||
		    !reply_str(reply_at(reply, 3), &what))
			return reply_bad("limits of a provider", err);
		str_copy(verdict.what, sizeof(verdict.what), what);
	}
	if (note)
		note_name(redis, ticket->name);
	*out = verdict;
	return true;
}

static bool
refused(const struct governor_ticket *ticket, const struct verdict *verdict, struct err *err)
{
	const struct reason *reason = verdict->reason;
	bool limit = reason->code == ERR_PROVIDER_LIMITED;
	char label[128];

	make_label(ticket->name, label, sizeof(label));
	if (limit || !verdict->what[0])
		err_set(err, reason->code, "could not use %s now: %s", label, reason->text);
	else
		err_set(err, reason->code, "%s %s: %s: %s",
			reason->code == ERR_PROVIDER_QUOTA ? "cannot use" : "could not use", label,
			reason->text, verdict->what);
	make_waiting_for(ticket->name, reason->text, err->waiting_for, sizeof(err->waiting_for));
	err->retry_after_ms = verdict->wait_ms;
	if (strcmp(reason->wire, "concurrency") == 0 && verdict->wait_ms > GOVERNOR_BUSY_MS)
		err->retry_after_ms = GOVERNOR_BUSY_MS;
	return false;
}

/* Until another call ends, or its lease; at most ms. A failure is as good as the end of the time: the next question tells. */
static bool
wait_for_place(struct redis *redis, const struct governor_ticket *ticket, int64_t ms,
	       struct err *err)
{
	struct key wake = key_governor(str_of(ticket->name), GK_WAKE);
	int64_t end_ms = clock_mono_ms() + ms;
	int left;

	while ((left = clock_left_ms(end_ms)) > 0) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		struct redis_cmd cmd;
		char seconds[16];

		if (ticket->opts.cancel && atomic_load(ticket->opts.cancel))
			return err_set(err, ERR_CANCELLED, "cancelled");
		if (left > GOVERNOR_BLOCK_MS)
			left = GOVERNOR_BLOCK_MS;
		(void)snprintf(seconds, sizeof(seconds), "%d.%03d", left / 1000, left % 1000);
		redis_cmd_init(&cmd, "BLPOP");
		redis_arg_c(&cmd, wake.text);
		redis_arg_c(&cmd, seconds);
		if (!redis_run_blocking(redis, &cmd, left, &reply, err))
			return false;
		if (!reply_is_nil(reply))
			break;
	}
	return true;
}

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void
fill_ticket(struct str name, const struct governor_limits *limits, const struct governor_opts *opts,
	    const struct governor_cost *cost, struct governor_ticket *out)
{
	uint64_t id = id_random_u64();

	*out = (struct governor_ticket){ .limits = *limits, .opts = *opts, .governed = true };
	str_copy(out->name, sizeof(out->name), name);
	str_hex(out->id, &id, sizeof(id));
	if (out->limits.window_ms <= 0)
		out->limits.window_ms = GOVERNOR_WINDOW_MS;
	if (out->opts.lease_ms <= 0)
		out->opts.lease_ms = GOVERNOR_LEASE_MS;
	if (out->opts.breaker_open_ms <= 0)
		out->opts.breaker_failures = 0;
	out->requests = cost && cost->requests > 1 ? cost->requests : 1;
	out->tokens = cost && cost->tokens > 0 ? cost->tokens : 0;
	if (limits->requests_per_minute > 0)
		out->requests = least(out->requests, limits->requests_per_minute);
	if (limits->tokens_per_minute > 0)
		out->tokens = least(out->tokens, limits->tokens_per_minute);
}

bool
governor_acquire(struct redis *redis, struct str name, const struct governor_limits *limits,
		 const struct governor_opts *opts, const struct governor_cost *cost,
		 struct governor_ticket *out, struct err *err)
{
	int64_t end_ms = clock_mono_ms() + opts->max_wait_ms;
	struct governor_ticket ticket;
	struct verdict verdict = { 0 };

	fill_ticket(name, limits, opts, cost, &ticket);
	if (!redis) {
		ticket.governed = false;
		*out = ticket;
		return true;
	}
	for (;;) {
		int64_t left_ms = end_ms - clock_mono_ms();

		if (!ask(redis, &ticket, left_ms > 0 ? left_ms : 0, &verdict, err))
			return false;
		if (verdict.granted)
			break;
		assert(verdict.reason);
		if (strcmp(verdict.reason->wire, "concurrency") != 0 || left_ms <= 0)
			return refused(&ticket, &verdict, err);
		if (!wait_for_place(redis, &ticket, least(left_ms, verdict.wait_ms), err))
			return false;
	}
	ticket.at_ms = verdict.at_ms;
	ticket.probe = verdict.probe;
	ticket.wait_ms = verdict.wait_ms;
	*out = ticket;
	return true;
}

void
governor_extend(struct redis *redis, const struct governor_ticket *ticket)
{
	struct key state = key_governor(str_of(ticket->name), GK_STATE);
	struct key leases = key_governor(str_of(ticket->name), GK_LEASES);
	struct err ignored = ERR_INIT;
	struct redis_cmd cmd;

	if (!redis || !ticket->governed)
		return;
	redis_script_init(&cmd, &script_governor_extend, 2);
	redis_arg_c(&cmd, state.text);
	redis_arg_c(&cmd, leases.text);
	redis_arg_c(&cmd, ticket->id);
	redis_arg_i64(&cmd, ticket->opts.lease_ms);
	(void)redis_run_script(redis, &cmd, &script_governor_extend, NULL, &ignored);
}

/* ---- report ---- */

static const char *const outcome_wire[] = {
	[GOVERNOR_OK] = "ok",
	[GOVERNOR_LIMITED] = "limited",
	[GOVERNOR_QUOTA] = "quota",
	[GOVERNOR_OUTAGE] = "outage",
	[GOVERNOR_DENIED] = "denied",
	[GOVERNOR_FAILED] = "failed",
	[GOVERNOR_ABANDONED] = "abandoned",
	[GOVERNOR_UNUSED] = "unused",
};

bool
governor_report(struct redis *redis, const struct governor_ticket *ticket,
		const struct governor_report *report)
{
	static const enum governor_key which[] = { GK_STATE, GK_WINDOW, GK_LEASES, GK_WAKE };
	const struct governor_limits *limits = &ticket->limits;
	struct str what = str_of(report->what);
	struct key keys[ARRAY_SIZE(which)];
	struct err ignored = ERR_INIT;
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct redis_cmd cmd;
	int64_t is_open = 0;

	if (!redis || !ticket->governed)
		return false;
	redis_script_init(&cmd, &script_governor_report, ARRAY_SIZE(which));
	for (size_t i = 0; i < ARRAY_SIZE(which); i++) {
		keys[i] = key_governor(str_of(ticket->name), which[i]);
		redis_arg_c(&cmd, keys[i].text);
	}
	redis_arg_c(&cmd, ticket->id);
	redis_arg_c(&cmd, outcome_wire[report->outcome]);
	redis_arg_i64(&cmd, ticket->at_ms);
	redis_arg_i64(&cmd, ticket->tokens);
	redis_arg_i64(&cmd, report->tokens);
	redis_arg_i64(&cmd, report->hint_ms);
	redis_arg_i64(&cmd, ticket->opts.breaker_failures);
	redis_arg_i64(&cmd, ticket->opts.breaker_open_ms);
	redis_arg_i64(&cmd, (int64_t)(id_random_u64() >> 33));
	redis_arg(&cmd, str_sub(what, 0, str_utf8_floor(what, 199)));
	redis_arg_i64(&cmd, limits->window_ms);
	redis_arg_i64(&cmd, limits->requests_per_minute);
	redis_arg_i64(&cmd, limits->tokens_per_minute);
	redis_arg_i64(&cmd, limits->concurrency);
	redis_arg_i64(&cmd, ticket->requests);
	return redis_run_script(redis, &cmd, &script_governor_report, &reply, &ignored) &&
	       reply_i64(reply, &is_open) && is_open > 0;
}

/* ---- how it stands ---- */

const char *
governor_breaker_name(enum governor_breaker breaker)
{
	static const char *const names[] = { "closed", "open", "half-open" };

	return (unsigned)breaker < ARRAY_SIZE(names) ? names[breaker] : "unknown";
}

static int64_t
field(const struct reply *flat, const char *name)
{
	int64_t value = 0;

	return reply_i64(reply_get(flat, name), &value) ? value : 0;
}

static void
fill_waiting(const struct reply *flat, int64_t now_ms, struct governor_state *out)
{
	int64_t open_ms = field(flat, "open"), sleep_ms = field(flat, "sleep");
	int64_t quota_ms = field(flat, "quota"), free_ms = field(flat, "free");
	const struct reason *reason = NULL;
	int64_t until_ms = 0;
	struct str word;

	if (open_ms > 0)
		out->breaker = open_ms > now_ms ? GOVERNOR_OPEN : GOVERNOR_HALF_OPEN;
	out->quota = quota_ms > now_ms;
	if (out->quota) {
		reason = reason_find(STR("quota"));
		until_ms = quota_ms;
	} else if (open_ms > 0) {
		reason = reason_find(STR("breaker"));
		until_ms = open_ms;
	} else if (sleep_ms > now_ms) {
		reason = reason_find(STR("sleep"));
		until_ms = sleep_ms;
	} else if (free_ms > now_ms && reply_str(reply_get(flat, "reason"), &word)) {
		/* not waited for by all: whoever wants less may go */
		reason = reason_find(word);
	}
	out->wait_ms = until_ms > now_ms ? until_ms - now_ms : 0;
	if (reason)
		make_waiting_for(out->name, reason->text, out->waiting_for,
				 sizeof(out->waiting_for));
}

static bool
get_state(struct redis *redis, struct str name, struct governor_state *out, bool *out_known,
	  struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key state = key_governor(name, GK_STATE), window = key_governor(name, GK_WINDOW);
	struct key leases = key_governor(name, GK_LEASES);
	struct governor_state found = { 0 };
	const struct reply *flat;
	struct redis_cmd cmd;
	struct str what;
	int64_t now_ms;

	redis_script_init(&cmd, &script_governor_state, 3);
	redis_arg_c(&cmd, state.text);
	redis_arg_c(&cmd, window.text);
	redis_arg_c(&cmd, leases.text);
	if (!redis_run_script(redis, &cmd, &script_governor_state, &reply, err))
		return false;
	*out_known = !reply_is_nil(reply);
	if (!*out_known)
		return true;
	flat = reply_at(reply, 4);
	if (!reply_i64(reply_at(reply, 0), &now_ms) ||
	    !reply_i64(reply_at(reply, 1), &found.in_flight) ||
	    !reply_i64(reply_at(reply, 2), &found.requests) ||
	    !reply_i64(reply_at(reply, 3), &found.tokens))
		return reply_bad("the state of a provider", err);
	str_copy(found.name, sizeof(found.name), name);
	make_label(found.name, found.label, sizeof(found.label));
	found.limits = (struct governor_limits){ field(flat, "rpm"), field(flat, "tpm"),
						 field(flat, "slots"), field(flat, "window") };
	found.failures = field(flat, "fails");
	found.granted_total = field(flat, "granted");
	found.refused_total = field(flat, "refused");
	found.used_ago_ms = now_ms - field(flat, "seen");
	if (reply_str(reply_get(flat, "what"), &what)) {
		str_copy(found.what, sizeof(found.what), what);
		found.what_ago_ms = now_ms - field(flat, "what_at");
	}
	fill_waiting(flat, now_ms, &found);
	*out = found;
	return true;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct governor_state *)a)->name,
		      ((const struct governor_state *)b)->name);
}

bool
governor_list(struct redis *redis, struct governor_state *out, size_t max, size_t *out_count,
	      struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key key = key_governors();
	size_t count = 0;

	/* the newest first, so that what does not fit is what nobody uses */
	if (!REDIS_CALL(redis, &reply, err, "ZREVRANGE", key.text, "0", "-1"))
		return err_wrap(err, "limits of providers");
	for (size_t i = 0; i < reply_len(reply) && count < max; i++) {
		struct str name;
		bool known;

		if (!reply_str(reply_at(reply, i), &name) || name.len > GOVERNOR_MAX_NAME_BYTES)
			return reply_bad("limits of providers", err);
		if (!get_state(redis, name, &out[count], &known, err))
			return err_wrap(err, "limits of providers");
		count += known;
	}
	qsort(out, count, sizeof(*out), by_name);
	*out_count = count;
	return true;
}
