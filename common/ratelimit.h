/*
 * ratelimit: so many within so much time, counted in Redis, so that all processes share one count.
 *
 * A token bucket: it holds `count` at most, begins full, and fills by count / window evenly. So at most `count` come at once,
 * and within any time t at most count + t * count / window. The moment is Redis' own (TIME in the script), no process'
 * clock matters; a Redis whose clock was set back never locks anybody out for longer than one window. Times between two
 * tokens are whole microseconds, rounded up: at most a million a second.
 *
 * The state of one name is one key of about a hundred bytes, gone when the bucket is full again. The script begins with
 * a write that Redis allows at maxmemory, so a full Redis limits as before and refuses nobody for it.
 * Thread rule: that of the connection.
 */
#ifndef RAG_COMMON_RATELIMIT_H
#define RAG_COMMON_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/redis.h"

struct ratelimit {
	int64_t count;	  /* > 0 */
	int64_t window_s; /* > 0 */
};

struct ratelimit_state {
	bool allowed;
	int64_t remaining; /* whole tokens that are left */
	int64_t reset_us;  /* until one more is there; 0 = the bucket is full */
	int64_t wait_us;   /* refused: until `cost` are there; else 0 */
};

/*
 * Takes `cost` (1 to limit->count) from the bucket of this name, or nothing when it holds less. name: short printable
 * text that says what is counted, e.g. "key:<hash>". A lost reply may have taken its tokens. ERR_REDIS_UNAVAILABLE.
 */
bool ratelimit_take(struct redis *redis, struct str name, const struct ratelimit *limit,
		    int64_t cost, struct ratelimit_state *out, struct err *err);

#endif
