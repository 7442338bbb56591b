/*
 * governor: what all processes together may ask of one dependency: how often, how much, how many at once, and when not at all.
 *
 * A dependency has a name, e.g. "gemini:gemini-embedding-001:1a2b3c4d" (provider, model, 8 hex digits of the key's hash) or
 * "chroma:host:8001:write"; everybody who uses the name counts together, in Redis, by Redis' clock (which may be set back). Around each call:
 *
 *	governor_acquire -> wait ticket.wait_ms -> the call -> governor_report
 *
 * - Requests and tokens a minute: no 60 s hold more than the limit, counted where calls arrive, if they arrive at most 1.5 s after
 *   they were let go; under load at least 95 % of it is used. Places are given in the order of asking, at one even pace, ahead of time:
 *   who gets one that is at most max_wait_ms away has it, and need not ask again.
 * - At once: leases, given back by the report; those of a process that died end by themselves after lease_ms.
 * - Sleep: a report that says when (Retry-After and its kin) holds everybody until then, at most 15 minutes; one that was limited and
 *   does not say, or says less than a second again and again, for 1 s, doubled each time up to a minute.
 * - Quota of a day: calls are refused without asking until the moment that was told, at most an hour, 5 minutes when none was.
 * - Breaker: after breaker_failures outages in a row nobody calls for breaker_open_ms, doubled each time up to sixteen times that;
 *   then one call tries, while the others go on waiting; one that has told nothing for two minutes is taken for dead.
 *
 * What is refused says when to come again (err.retry_after_ms) and what for (err.waiting_for): a job waits in the queue, not in a slot.
 * The state of a name is gone an hour after its last use. Thread rule: that of the connection.
 */
#ifndef RAG_COMMON_GOVERNOR_H
#define RAG_COMMON_GOVERNOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/redis.h"

#define GOVERNOR_MAX_NAME_BYTES 400 /* printable; a longer one is cut */

struct governor_limits {
	int64_t requests_per_minute, tokens_per_minute, concurrency; /* 0 = no limit */
	int64_t window_ms; /* 0 = 60,000: of another length than a minute, for a server that counts so (and tests) */
};

/* What one call counts as; more than a limit counts as the limit. */
struct governor_cost {
	int64_t requests; /* 0 = 1; more where a server counts the texts of a call */
	int64_t tokens;	  /* about so many; 0 = they do not count */
};

struct governor_opts {
	int64_t max_wait_ms; /* longest that the caller waits itself */
	int64_t lease_ms; /* longest that a call lasts, or goes on without governor_extend; 0 = 120,000 */
	int64_t breaker_failures; /* 0 = no breaker */
	int64_t breaker_open_ms;
	const atomic_bool *
		cancel; /* raised: the wait for another call's end is over (ERR_CANCELLED); may be NULL */
};

/* What was granted: plain data, for the report. One report each. */
struct governor_ticket {
	char name[GOVERNOR_MAX_NAME_BYTES + 1];
	char id[17];
	int64_t wait_ms; /* from the answer on: the caller waits so long before it sends, 0 to max_wait_ms */
	int64_t at_ms;		  /* when the call may go, by Redis' clock */
	int64_t requests, tokens; /* taken for it */
	bool probe;		  /* it finds out whether the dependency is back */
	bool governed;		  /* false: there was no connection to count with */
	struct governor_limits limits;
	struct governor_opts opts;
};

/*
 * A place for one call. cost NULL: one request, no tokens.
 *
 * true: granted; the caller waits out->wait_ms before it sends, and reports whatever happens.
 * false, without a call to make:
 *	ERR_PROVIDER_LIMITED	 it would have to wait longer than max_wait_ms: retry_after_ms says how long
 *	ERR_PROVIDER_UNAVAILABLE the breaker is open; retry_after_ms
 *	ERR_PROVIDER_QUOTA	 the day's quota is spent
 *	ERR_REDIS_UNAVAILABLE, ERR_CANCELLED
 * Where calls at once are limited it waits for the end of another one, inside, up to max_wait_ms; a raised cancel is seen within
 * half a second. redis NULL: granted at once, nothing is counted.
 */
bool governor_acquire(struct redis *redis, struct str name, const struct governor_limits *limits,
		      const struct governor_opts *opts, const struct governor_cost *cost,
		      struct governor_ticket *out, struct err *err);

/* A call that still lasts keeps its place for another lease_ms: for leases that are shorter than a call may be. Without Redis, or when the
 * lease is over already, nothing happens. */
void governor_extend(struct redis *redis, const struct governor_ticket *ticket);

enum governor_outcome {
	GOVERNOR_OK,
	GOVERNOR_LIMITED, /* 429 and its kin: everybody sleeps */
	GOVERNOR_QUOTA,	  /* the day's quota, no money: nobody asks for a while */
	GOVERNOR_OUTAGE,  /* away, broken: counts for the breaker */
	GOVERNOR_DENIED, /* 401, 402, 403, 404 of the model: it is no use for anybody; counts for the breaker */
	GOVERNOR_FAILED, /* the request's own fault: the dependency is there */
	GOVERNOR_ABANDONED, /* sent, and ended by us before anything was answered: nothing is known of the dependency */
	GOVERNOR_UNUSED /* never sent: the place is given back */
};

struct governor_report {
	enum governor_outcome outcome;
	int64_t tokens; /* that were really used; -1 = unknown, the estimate stays */
	int64_t hint_ms; /* nobody sends before, as the server told, with any outcome; -1 = nothing told */
	const char *what; /* one line for people, e.g. the error's msg; may be NULL; no secrets */
};

/* true: the dependency is out of service now (its breaker is open). Never fails the caller: without Redis nothing is counted, the lease
 * ends by itself, and the answer is false. */
bool governor_report(struct redis *redis, const struct governor_ticket *ticket,
		     const struct governor_report *report);

/* ---- how it stands, for health and metrics ---- */

enum governor_breaker { GOVERNOR_CLOSED, GOVERNOR_OPEN, GOVERNOR_HALF_OPEN };
const char *
governor_breaker_name(enum governor_breaker breaker); /* "closed", "open", "half-open" */

struct governor_state {
	char name[GOVERNOR_MAX_NAME_BYTES + 1];
	char label[160]; /* for people, without the key's hash: "gemini gemini-embedding-001" */
	enum governor_breaker breaker;
	int64_t wait_ms;      /* nobody calls for so long: breaker, sleep, quota; 0 = calls go */
	bool quota;	      /* the day's quota is spent */
	char waiting_for[64]; /* why calls do not go: as in a job's record; "" = they go */
	struct governor_limits limits;
	int64_t requests, tokens, in_flight; /* of the minute that ends now; now */
	int64_t failures;		     /* outages in a row */
	int64_t granted_total, refused_total;
	int64_t used_ago_ms; /* since the last call was let go */
	char what[200];	     /* the last trouble; "" = none */
	int64_t what_ago_ms;
};

/* All names used within the last hour (or day, while they were in trouble), by name; at most max of them. */
bool governor_list(struct redis *redis, struct governor_state *out, size_t max, size_t *out_count,
		   struct err *err);

#endif
