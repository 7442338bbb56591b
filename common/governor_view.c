/*
 * Gauges carry the label of a dependency, not its name: the hash of a key that was changed would leave a series behind that nobody
 * updates. Of several names with one label the one that was used last counts. A label that is not in the list any more is well, as far as
 * anybody knows: an hour without use has forgotten what was.
 */
#include "common/governor_view.h"

#include <pthread.h>
#include <string.h>

#include "common/base/mem.h"

struct governor_view {
	/* immutable */
	struct metric *up, *wait_seconds, *breaker, *used, *limit;

	/* owned by the thread that refreshes */
	struct governor_state fresh[GOVERNOR_VIEW_MAX];

	/* shared: written by that thread under lock, read by others under lock */
	pthread_mutex_t lock;
	struct governor_state states[GOVERNOR_VIEW_MAX];
	size_t count;
};

static void
limit_member(struct jw *w, const char *name, int64_t used, int64_t limit)
{
	jw_kobj(w, name);
	jw_kint(w, "used", used);
	if (limit > 0)
		jw_kint(w, "limit", limit);
	else
		jw_knull(w, "limit");
	jw_end(w);
}

void
governor_view_items(struct jw *w, const struct governor_state *states, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct governor_state *state = &states[i];

		jw_obj(w);
		jw_kcstr(w, "id", state->name);
		jw_kcstr(w, "object", "dependency");
		jw_kcstr(w, "name", state->label);
		jw_kcstr(w, "breaker", governor_breaker_name(state->breaker));
		jw_kcstr(w, "waiting_for", state->waiting_for[0] ? state->waiting_for : NULL);
		jw_kint(w, "wait_ms", state->wait_ms);
		limit_member(w, "requests", state->requests, state->limits.requests_per_minute);
		limit_member(w, "tokens", state->tokens, state->limits.tokens_per_minute);
		limit_member(w, "in_flight", state->in_flight, state->limits.concurrency);
		jw_kint(w, "failures", state->failures);
		jw_kint(w, "granted_total", state->granted_total);
		jw_kint(w, "refused_total", state->refused_total);
		jw_kint(w, "used_s_ago", state->used_ago_ms / 1000);
		jw_kcstr(w, "trouble", state->what[0] ? state->what : NULL);
		if (state->what[0])
			jw_kint(w, "trouble_s_ago", state->what_ago_ms / 1000);
		else
			jw_knull(w, "trouble_s_ago");
		jw_end(w);
	}
}

static struct metric *
gauge(struct metrics *metrics, const char *name, const char *const *labels, const char *help)
{
	return metrics_register(metrics, &(struct metric_opts){ .kind = METRIC_GAUGE,
								.name = name,
								.help = help,
								.labels = labels });
}

struct governor_view *
governor_view_new(struct metrics *metrics, struct metric *up)
{
	static const char *const by[] = { "dependency", NULL };
	static const char *const by_limit[] = { "dependency", "limit", NULL };
	struct governor_view *view = mem_alloc(sizeof(*view));

	view->up = up;
	view->wait_seconds = gauge(metrics, "rag_engine_dependency_wait_seconds", by,
				   "For so long nobody calls it: breaker, asked to wait, quota.");
	view->breaker = gauge(metrics, "rag_engine_dependency_breaker", by,
			      "0 closed, 1 open, 2 half-open.");
	view->used = gauge(metrics, "rag_engine_dependency_used", by_limit,
			   "Requests and tokens of the last minute, calls in flight.");
	view->limit = gauge(metrics, "rag_engine_dependency_limit", by_limit,
			    "What of them there may be; 0: no limit.");
	pthread_mutex_init(&view->lock, NULL);
	return view;
}

void
governor_view_free(struct governor_view *view)
{
	if (!view)
		return;
	pthread_mutex_destroy(&view->lock);
	mem_free(view);
}

static void
set_used(struct governor_view *view, const char *label, const char *what, int64_t used,
	 int64_t limit)
{
	metric_set(view->used, METRIC_VALUES(label, what), (double)used);
	metric_set(view->limit, METRIC_VALUES(label, what), (double)limit);
}

static void
set_gauges(struct governor_view *view, const struct governor_state *state)
{
	const char *const *labels = METRIC_VALUES(state->label);
	bool up = state->breaker == GOVERNOR_CLOSED && !state->quota;

	metric_set(view->up, labels, up);
	metric_set(view->wait_seconds, labels, (double)state->wait_ms / 1000);
	metric_set(view->breaker, labels, state->breaker);
	set_used(view, state->label, "requests", state->requests,
		 state->limits.requests_per_minute);
	set_used(view, state->label, "tokens", state->tokens, state->limits.tokens_per_minute);
	set_used(view, state->label, "in_flight", state->in_flight, state->limits.concurrency);
}

/* Is there another one with this label that was used since? */
static bool
is_outdated(const struct governor_state *states, size_t count, const struct governor_state *state)
{
	for (size_t i = 0; i < count; i++) {
		if (&states[i] != state && strcmp(states[i].label, state->label) == 0 &&
		    states[i].used_ago_ms < state->used_ago_ms)
			return true;
	}
	return false;
}

static bool
is_listed(const struct governor_state *states, size_t count, const char *label)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(states[i].label, label) == 0)
			return true;
	}
	return false;
}

bool
governor_view_refresh(struct governor_view *view, struct redis *redis, struct err *err)
{
	size_t count;

	if (!governor_list(redis, view->fresh, GOVERNOR_VIEW_MAX, &count, err))
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!is_outdated(view->fresh, count, &view->fresh[i]))
			set_gauges(view, &view->fresh[i]);
	}
	for (size_t i = 0; i < view->count; i++) {
		struct governor_state well = { 0 };

		if (is_listed(view->fresh, count, view->states[i].label))
			continue;
		str_copy(well.label, sizeof(well.label), str_of(view->states[i].label));
		set_gauges(view, &well);
	}
	pthread_mutex_lock(&view->lock);
	memcpy(view->states, view->fresh, count * sizeof(view->fresh[0]));
	view->count = count;
	pthread_mutex_unlock(&view->lock);
	return true;
}

void
governor_view_write(struct governor_view *view, struct jw *w)
{
	pthread_mutex_lock(&view->lock);
	governor_view_items(w, view->states, view->count);
	pthread_mutex_unlock(&view->lock);
}
