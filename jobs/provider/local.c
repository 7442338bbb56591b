#include "jobs/provider/local.h"

#include "common/base/clock.h"

bool
local_call_check(const struct provider_call *call, struct err *err)
{
	if (call->cancel && atomic_load(call->cancel))
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (call->deadline_mono_ms != 0 && clock_left_ms(call->deadline_mono_ms) == 0)
		return err_set(err, ERR_DEADLINE, "deadline exceeded");
	return true;
}
