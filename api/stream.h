/*
 * stream: a job's events as server-sent events: GET /jobs/{id}/events, and a query that asks for text/event-stream.
 *
 * A stream costs a thread of the listener and a place among the hub's waiters, so the number is capped as that of waits
 * is; no Redis connection is held while it waits, and it does not count as a request in progress.
 */
#ifndef RAG_API_STREAM_H
#define RAG_API_STREAM_H

#include <stdbool.h>

#include "api/call.h"
#include "api/hub.h"
#include "api/submit.h"
#include "common/base/err.h"

/* Does the client prefer an event stream to JSON (Accept)? */
bool stream_wanted(const struct call *call);

/* A place among the waiters, taken before anything is submitted. */
struct stream_place {
	struct hub_waiter waiter;
	bool taken;
};
/* ERR_STREAMS_FULL: too many, or the API stops. Also to change the job of a place that is taken. */
bool stream_enter(struct call *call, const char *job_id, struct stream_place *place,
		  struct err *err);
void stream_leave(struct call *call, struct stream_place *place);

/* Answers with the events of the submitted job from the beginning, and ends with them. place: taken for this job. */
bool stream_submitted(struct call *call, const struct submit *submit, struct stream_place *place,
		      struct err *err);

#endif
