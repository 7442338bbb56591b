/*
 * fake_api: a small engine behind the real HTTP server, in memory, for tests of its clients: collections
 * hold documents at once when their job is done. Faults are scripted. Thread-safe; aborts on failures of
 * its own.
 */
#ifndef RAG_TESTS_SUPPORT_FAKE_API_H
#define RAG_TESTS_SUPPORT_FAKE_API_H

#include <stdbool.h>
#include <stddef.h>

struct fake_api;

struct fake_api *fake_api_start(void);
void fake_api_stop(struct fake_api *api); /* NULL is fine */
const char *fake_api_url(const struct fake_api *api);

/* The next `times` requests whose "METHOD /path" holds `part` are answered with `status` and this
 * Retry-After (-1 = none), but done first where `after` is set: a reply that got lost. */
struct fake_fault {
	const char *part;
	int status, times, retry_after_s;
	bool after;
};
void fake_api_fault(struct fake_api *api, const struct fake_fault *fault);

/* Jobs need so many looks until they are done (default 1; -1 = never). */
void fake_api_set_polls(struct fake_api *api, int polls);
/* Jobs of documents whose id holds this end failed. */
void fake_api_set_poison(struct fake_api *api, const char *part);
/* What GET /api/v1/jobs/query-.../result and a waiting query answer. */
void fake_api_set_result(struct fake_api *api, const char *json);

struct fake_counts {
	int posts;	/* accepted documents, repeated ones aside */
	int replays;	/* repeated ones */
	int polls;	/* GETs of jobs */
	int most_posts; /* in flight at a time */
};
struct fake_counts fake_api_counts(struct fake_api *api);
int fake_api_documents(struct fake_api *api);
int fake_api_dead(struct fake_api *api); /* failed jobs */
/* Before the next DELETE of ingest-0-<nth> somebody retries it, and it succeeds. */
void fake_api_retry_before_delete(struct fake_api *api, int nth);
/* Everything that came, "METHOD target content-type\n" each; heap, mem_free. */
char *fake_api_log(struct fake_api *api);

#endif
