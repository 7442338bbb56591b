/*
 * events: notices that a job's record has changed. The scripts PUBLISH "<job id> <version>" on
 * KEYS_CHANNEL; whoever waits reads the record then. A notice may be lost (reconnect): waiters
 * re-check after a reconnect and every few seconds. Pure functions here; the subscription is redis.h's.
 */
#ifndef RAG_COMMON_EVENTS_H
#define RAG_COMMON_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"

struct event {
	struct str job_id; /* borrowed from the message */
	int64_t version;
	bool emitted; /* not the record but the stream of its events has grown: "<job id> <version> e" */
};

bool event_parse(struct str message, struct event *out);

#endif
