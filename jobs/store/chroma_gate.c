#include "jobs/store/chroma_gate.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

#define LOOK_MS 50 /* how often cancel is looked at */

struct chroma_pass {
	struct chroma_pass *next; /* of the idle ones */
};

struct chroma_gate {
	pthread_mutex_t lock;
	pthread_cond_t left;
	struct chroma_pass *passes; /* owned, all of them */
	struct chroma_pass *idle;   /* under lock */
};

bool
chroma_gate_new(const struct config *config, struct chroma_gate **out, struct err *err)
{
	struct chroma_gate *gate = mem_alloc(sizeof(*gate));
	size_t count = config->chroma_writers > 0 ? (size_t)config->chroma_writers : 1;
	pthread_condattr_t attr;

	(void)err;
	(void)pthread_mutex_init(&gate->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&gate->left, &attr);
	(void)pthread_condattr_destroy(&attr);
	gate->passes = mem_array(count, sizeof(*gate->passes));
	for (size_t i = 0; i < count; i++) {
		gate->passes[i].next = gate->idle;
		gate->idle = &gate->passes[i];
	}
	*out = gate;
	return true;
}

void
chroma_gate_free(struct chroma_gate *gate)
{
	if (!gate)
		return;
	(void)pthread_cond_destroy(&gate->left);
	(void)pthread_mutex_destroy(&gate->lock);
	mem_free(gate->passes);
	mem_free(gate);
}

static bool
check(const struct store_limits *limits, int64_t until_ms, struct err *err)
{
	if (limits && limits->cancel && atomic_load(limits->cancel))
		return err_set(err, ERR_CANCELLED, "the call was cancelled");
	if (limits && clock_left_ms(limits->deadline_mono_ms) == 0)
		return err_set(err, ERR_DEADLINE, "deadline exceeded");
	if (clock_mono_ms() >= until_ms)
		return err_set(err, ERR_STORE_UNAVAILABLE,
			       "could not write to Chroma: other writers kept it busy for %d ms",
			       CHROMA_GATE_WAIT_MS);
	return true;
}

/* One of this process' places. */
static bool
take_place(struct chroma_gate *gate, const struct store_limits *limits, int64_t until_ms,
	   struct chroma_pass **out, struct err *err)
{
	bool ok = true;

	(void)pthread_mutex_lock(&gate->lock);
	while (!gate->idle && ok) {
		struct timespec until;

		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += LOOK_MS * 1000000L;
		until.tv_sec += until.tv_nsec / 1000000000L;
		until.tv_nsec %= 1000000000L;
		(void)pthread_cond_timedwait(&gate->left, &gate->lock, &until);
		ok = check(limits, until_ms, err);
	}
	if (ok) {
		*out = gate->idle;
		gate->idle = gate->idle->next;
	}
	(void)pthread_mutex_unlock(&gate->lock);
	return ok;
}

bool
chroma_gate_enter(struct chroma_gate *gate, const struct store_limits *limits,
		  struct chroma_pass **out, struct err *err)
{
	int64_t until_ms = clock_mono_ms() + CHROMA_GATE_WAIT_MS;

	return check(limits, until_ms, err) && take_place(gate, limits, until_ms, out, err);
}

void
chroma_gate_leave(struct chroma_gate *gate, struct chroma_pass *pass)
{
	(void)pthread_mutex_lock(&gate->lock);
	pass->next = gate->idle;
	gate->idle = pass;
	(void)pthread_cond_signal(&gate->left);
	(void)pthread_mutex_unlock(&gate->lock);
}
