#include "common/ratelimit.h"

#include <assert.h>

#include "common/base/auto.h"
#include "common/keys.h"

extern const char embed_ratelimit_lua[];
static const struct redis_script script_ratelimit = { "ratelimit", embed_ratelimit_lua };

/* Microseconds between two tokens, rounded up: never more than was promised. */
static int64_t
interval_us(const struct ratelimit *limit)
{
	return (limit->window_s * 1000000 + limit->count - 1) / limit->count;
}

bool
ratelimit_take(struct redis *redis, struct str name, const struct ratelimit *limit, int64_t cost,
	       struct ratelimit_state *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key key = key_rate(name);
	struct redis_cmd cmd;
	struct ratelimit_state state;
	int64_t allowed;

	assert(limit->count > 0 && limit->window_s > 0 && cost > 0 && cost <= limit->count);
	redis_script_init(&cmd, &script_ratelimit, 1);
	redis_arg_c(&cmd, key.text);
	redis_arg_i64(&cmd, limit->count);
	redis_arg_i64(&cmd, interval_us(limit));
	redis_arg_i64(&cmd, cost);
	if (!redis_run_script(redis, &cmd, &script_ratelimit, &reply, err))
		return err_wrap(err, "rate limit");
	if (!reply_i64(reply_at(reply, 0), &allowed) ||
	    !reply_i64(reply_at(reply, 1), &state.remaining) ||
	    !reply_i64(reply_at(reply, 2), &state.reset_us) ||
	    !reply_i64(reply_at(reply, 3), &state.wait_us))
		return reply_bad("rate limit", err);
	state.allowed = allowed != 0;
	*out = state;
	return true;
}
