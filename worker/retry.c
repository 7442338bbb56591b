#include "worker/retry.h"

enum retry_verdict
retry_decide(const struct err *err, enum stop_reason reason, enum queue_settle_kind *out_kind)
{
	if (reason == STOP_LOST)
		return RETRY_DROP;
	if (!err) {
		*out_kind = SETTLE_SUCCEED;
		return RETRY_SETTLE;
	}
	if (err->code == ERR_STALE)
		return RETRY_DROP;
	if (err->code == ERR_CANCELLED && reason == STOP_CANCEL)
		*out_kind = SETTLE_CANCEL;
	else if (err->code == ERR_CANCELLED && reason == STOP_DRAIN)
		*out_kind = SETTLE_HAND_BACK;
	else if (err_info(err->code)->outage &&
		 err->retry_after_ms > 0) /* "at once" says nothing */
		*out_kind = SETTLE_WAIT;
	else if (err_info(err->code)->outage)
		*out_kind = SETTLE_OUTAGE;
	else if (err_info(err->code)->retryable)
		*out_kind = SETTLE_RETRY;
	else
		*out_kind = SETTLE_FAIL;
	return RETRY_SETTLE;
}
