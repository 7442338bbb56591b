#include "common/halt.h"

#include "common/base/clock.h"

#define SLICE_MS 50

bool
halt_check(const atomic_bool *cancel, int64_t deadline_mono_ms, struct err *err)
{
	if (cancel && atomic_load(cancel))
		return err_set(err, ERR_CANCELLED, "the call was cancelled");
	if (clock_left_ms(deadline_mono_ms) == 0)
		return err_set(err, ERR_DEADLINE, "the deadline has passed");
	return true;
}

bool
halt_sleep_ms(const atomic_bool *cancel, int64_t deadline_mono_ms, int64_t ms, struct err *err)
{
	int64_t until_ms = clock_mono_ms() + ms;

	for (;;) {
		int64_t left_ms = until_ms - clock_mono_ms();

		if (!halt_check(cancel, deadline_mono_ms, err))
			return false;
		if (left_ms <= 0)
			return true;
		clock_sleep_ms(left_ms < SLICE_MS ? left_ms : SLICE_MS);
	}
}
