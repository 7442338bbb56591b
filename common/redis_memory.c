#include "common/redis.h"

/* "used_memory:1234\r\n" */
static int64_t
info_i64(struct str info, const char *name)
{
	struct str line, key;
	int64_t value;

	while (str_split(&info, '\n', &line))
		if (str_split(&line, ':', &key) && str_eq_c(key, name) &&
		    str_to_i64(str_trim(line), 0, INT64_MAX, &value))
			return value;
	return 0;
}

bool
redis_memory(struct redis *redis, int64_t *out_used_bytes, int64_t *out_maxmemory_bytes,
	     struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct err failure = ERR_INIT;
	struct str info = STR("");

	if (!REDIS_CALL(redis, &reply, &failure, "INFO", "memory")) {
		if (failure.code == ERR_REDIS_UNAVAILABLE) {
			*err = failure;
			return false;
		}
	} else {
		(void)reply_str(reply, &info);
	}
	*out_used_bytes = info_i64(info, "used_memory");
	*out_maxmemory_bytes = info_i64(info, "maxmemory");
	return true;
}
