/*
 * emitter: what a running job tells those who follow it. It gathers pieces of text for a moment (stream.coalesce_ms), so
 * that a token is not an event, numbers the events, adds snapshots that keep the stream bounded, and makes good what Redis
 * did not take: by a reset with the whole text, or, at the end, by saying that the tokens are not the whole answer.
 *
 * Belongs to one start of one job, on its slot's thread.
 */
#ifndef RAG_WORKER_EMITTER_H
#define RAG_WORKER_EMITTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/queue_stream.h"
#include "common/redis.h"

#define EMITTER_MAX_TEXT_BYTES                                                                     \
	((size_t)4 * 1024 * 1024) /* a longer answer comes with the result alone */

struct emitter {
	/* immutable */
	struct redis *redis;		 /* borrowed */
	const struct queue_lease *lease; /* borrowed */
	int64_t coalesce_ms, max_events;

	struct buf text; /* all so far */
	size_t sent;	 /* bytes of it in the stream */
	int64_t n;	 /* of the last event */
	int64_t flushed_ms;
	int64_t events;	      /* since the last snapshot */
	size_t snapshot_from; /* bytes of text at the last snapshot */
	int64_t retry_at_ms;  /* while lost */
	bool lost;	      /* the stream may miss something: only a reset goes next */
	bool off;	      /* nothing is emitted any more */
	bool whole;	      /* the stream's text is the answer */
};

void emitter_init(struct emitter *emitter, struct redis *redis, const struct queue_lease *lease,
		  int64_t coalesce_ms, int64_t max_events);
void emitter_release(struct emitter *emitter);

/* All of them: false only for ERR_STALE (another start has won) and ERR_CANCELLED (the job is asked to stop). */

/* The next piece, of any size, also half a character; an empty one only sends what is due. */
bool emitter_text(struct emitter *emitter, struct str piece, struct err *err);
/* The text so far is void: another follows from its beginning. Readers are told, when they have some of it. */
bool emitter_restart(struct emitter *emitter, struct err *err);
/* After the text so far. */
bool emitter_event(struct emitter *emitter, enum queue_emit_kind kind, struct str json,
		   struct err *err);
/* The answer is final: sends what is left. emitter->whole says whether the tokens add up to it. */
bool emitter_finish(struct emitter *emitter, struct str answer, struct err *err);

#endif
