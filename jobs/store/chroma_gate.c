#include "jobs/store/chroma_gate.h"

#include <pthread.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/halt.h"
#include "common/redis.h"

#define LOOK_MS 50    /* how often cancel is looked at */
#define WAIT_MS 15000 /* for a place; longer is waited in the queue */
#define LEASE_MS                                                                                   \
	15000 /* a place of a process that died is free again after it; a write that lasts longer renews it */
#define RENEW_PART 3 /* of a lease: how often */

struct chroma_pass {
	struct chroma_pass *next; /* of the idle ones */
	struct redis *redis;	  /* owned */
	struct governor_ticket ticket;
	int64_t renewed_mono_ms;
};

struct chroma_gate {
	/* immutable */
	char name[GOVERNOR_MAX_NAME_BYTES + 1];
	struct governor_limits limits;
	struct governor_opts opts;
	struct chroma_pass *passes; /* owned, all of them */
	size_t count;
	/* shared, under lock */
	pthread_mutex_t lock;
	pthread_cond_t left;
	struct chroma_pass *idle;
};

static bool
open_passes(struct chroma_gate *gate, const struct config *config, struct err *err)
{
	const struct redis_opts opts = {
		.url = config->redis_url.value,
		.connect_timeout_ms = (int)config->redis_connect_timeout_ms,
		.timeout_ms = (int)config->redis_timeout_ms,
		.client_name = "rag-store",
	};

	gate->count = config->chroma_writers > 0 ? (size_t)config->chroma_writers : 1;
	gate->passes = mem_array(gate->count, sizeof(*gate->passes));
	for (size_t i = 0; i < gate->count; i++) {
		if (!redis_new(&opts, &gate->passes[i].redis, err)) /* connects on first use */
			return false;
		gate->passes[i].next = gate->idle;
		gate->idle = &gate->passes[i];
	}
	return true;
}

bool
chroma_gate_new(const struct config *config, struct chroma_gate **out, struct err *err)
{
	struct chroma_gate *gate = mem_alloc(sizeof(*gate));
	int64_t timeout_ms = config->chroma_timeout_ms;

	(void)pthread_mutex_init(&gate->lock, NULL);
	clock_cond_init(&gate->left);
	(void)snprintf(gate->name, sizeof(gate->name), "chroma:%s:%lld", config->chroma_host,
		       (long long)config->chroma_port);
	gate->limits.concurrency = config->chroma_writers > 0 ? config->chroma_writers : 1;
	gate->opts = (struct governor_opts){
		.max_wait_ms = WAIT_MS,
		.lease_ms = timeout_ms < LEASE_MS ? timeout_ms : LEASE_MS,
		.breaker_failures = config->provider_breaker_failures,
		.breaker_open_ms = config->provider_breaker_ms,
	};
	if (!open_passes(gate, config, err)) {
		chroma_gate_free(gate);
		return false;
	}
	*out = gate;
	return true;
}

void
chroma_gate_free(struct chroma_gate *gate)
{
	if (!gate)
		return;
	for (size_t i = 0; i < gate->count; i++)
		redis_free(gate->passes[i].redis);
	mem_free(gate->passes);
	(void)pthread_cond_destroy(&gate->left);
	(void)pthread_mutex_destroy(&gate->lock);
	mem_free(gate);
}

bool
chroma_wait(const struct store_limits *limits, int64_t ms, struct err *err)
{
	static const struct store_limits none = { 0 };

	limits = limits ? limits : &none;
	return halt_sleep_ms(limits->cancel, limits->deadline_mono_ms, ms, err);
}

static bool
busy(const struct chroma_gate *gate, struct err *err)
{
	err_set(err, ERR_STORE_UNAVAILABLE, "could not write to %s: other writers keep it busy",
		gate->name);
	err->retry_after_ms = LOOK_MS;
	return err_waiting_for(err, "%s: calls at once", gate->name);
}

/* One of this process' places. */
static bool
take_place(struct chroma_gate *gate, const struct store_limits *limits, struct chroma_pass **out,
	   struct err *err)
{
	int64_t until_ms = clock_mono_ms() + WAIT_MS;
	bool ok = true;

	(void)pthread_mutex_lock(&gate->lock);
	while (!gate->idle && ok) {
		(void)clock_cond_wait(&gate->left, &gate->lock, clock_mono_ms() + LOOK_MS);
		ok = chroma_wait(limits, 0, err) &&
		     (clock_mono_ms() < until_ms || gate->idle || busy(gate, err));
	}
	if (ok) {
		*out = gate->idle;
		gate->idle = gate->idle->next;
	}
	(void)pthread_mutex_unlock(&gate->lock);
	return ok;
}

static void
give_place(struct chroma_gate *gate, struct chroma_pass *pass)
{
	(void)pthread_mutex_lock(&gate->lock);
	pass->next = gate->idle;
	gate->idle = pass;
	(void)pthread_cond_signal(&gate->left);
	(void)pthread_mutex_unlock(&gate->lock);
}

/* What the governor refuses, in the store's own code. */
static bool
translate(struct err *err)
{
	if (err->code == ERR_PROVIDER_LIMITED || err->code == ERR_PROVIDER_UNAVAILABLE ||
	    err->code == ERR_PROVIDER_QUOTA)
		err->code = ERR_STORE_UNAVAILABLE;
	return false;
}

bool
chroma_gate_enter(struct chroma_gate *gate, const struct store_limits *limits,
		  struct chroma_pass **out, struct err *err)
{
	struct governor_opts opts = gate->opts;
	struct chroma_pass *pass = NULL;

	if (!chroma_wait(limits, 0, err) || !take_place(gate, limits, &pass, err))
		return false;
	opts.cancel = limits ? limits->cancel : NULL;
	if (limits && clock_left_ms(limits->deadline_mono_ms) < opts.max_wait_ms)
		opts.max_wait_ms = clock_left_ms(limits->deadline_mono_ms);
	if (!governor_acquire(pass->redis, str_of(gate->name), &gate->limits, &opts, NULL,
			      &pass->ticket, err)) {
		give_place(gate, pass);
		return translate(err);
	}
	/* the moment that the governor named may lie ahead */
	if (!chroma_wait(limits, pass->ticket.wait_ms, err)) {
		chroma_gate_leave(gate, pass, GOVERNOR_UNUSED, -1, NULL);
		return false;
	}
	pass->renewed_mono_ms = clock_mono_ms();
	*out = pass;
	return true;
}

void
chroma_gate_keep(struct chroma_pass *pass)
{
	int64_t now_ms = clock_mono_ms();

	if (now_ms - pass->renewed_mono_ms < pass->ticket.opts.lease_ms / RENEW_PART)
		return;
	pass->renewed_mono_ms = now_ms;
	governor_extend(pass->redis, &pass->ticket);
}

void
chroma_gate_leave(struct chroma_gate *gate, struct chroma_pass *pass, enum governor_outcome outcome,
		  int64_t hint_ms, const char *what)
{
	const struct governor_report report = {
		.outcome = outcome, .tokens = 0, .hint_ms = hint_ms, .what = what
	};

	governor_report(pass->redis, &pass->ticket, &report);
	give_place(gate, pass);
}
