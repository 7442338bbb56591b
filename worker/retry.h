/*
 * retry: what becomes of a job after its handler returned. Pure: the table of err_codes.h and the reason why it
 * was stopped decide, nothing else does.
 */
#ifndef RAG_WORKER_RETRY_H
#define RAG_WORKER_RETRY_H

#include <stdbool.h>

#include "common/base/err.h"
#include "common/queue.h"

/* Why a running job's cancel flag was raised. */
enum stop_reason {
	STOP_NONE,
	STOP_CANCEL, /* somebody asked for it */
	STOP_LOST,   /* its lease is gone: another start has won or will */
	STOP_DRAIN   /* this worker is shutting down and its time is over */
};

enum retry_verdict {
	RETRY_SETTLE, /* settle with *out_kind */
	RETRY_DROP    /* not ours any more: write nothing */
};

/* err NULL: the handler succeeded. */
enum retry_verdict retry_decide(const struct err *err, enum stop_reason reason,
				enum queue_settle_kind *out_kind);

#endif
