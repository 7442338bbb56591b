#include "common/cache.h"

#include "common/base/buf.h"
#include "common/keys.h"
#include "common/zip.h"

bool
cache_get(struct redis *redis, struct str hash, struct arena *arena, struct str *out)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key key = key_cache(hash);
	struct err ignored = ERR_INIT;
	struct str stored, plain;

	if (!REDIS_CALL(redis, &reply, &ignored, "GET", key.text) || reply_is_nil(reply) ||
	    !reply_str(reply, &stored))
		return false;
	if (!zip_unpack(stored, CACHE_MAX_VALUE_BYTES, arena, &plain, &ignored))
		return false;
	/* zip_unpack may borrow from the reply, which ends here. */
	out->ptr = arena_strndup(arena, plain.ptr, plain.len);
	out->len = plain.len;
	return out->ptr != NULL;
}

void
cache_put(struct redis *redis, struct str hash, struct str value, int64_t ttl_s)
{
	AUTO(buf) struct buf packed = BUF_INIT(CACHE_MAX_VALUE_BYTES + 64);
	struct key key = key_cache(hash);
	struct err ignored = ERR_INIT;
	struct redis_cmd cmd;

	if (value.len > CACHE_MAX_VALUE_BYTES)
		return;
	zip_pack(value, &packed);
	if (!buf_ok(&packed))
		return;
	redis_cmd_init(&cmd, "SET");
	redis_arg_c(&cmd, key.text);
	redis_arg(&cmd, str_make(packed.data, packed.len));
	redis_arg_c(&cmd, "EX");
	redis_arg_i64(&cmd, ttl_s);
	redis_run(redis, &cmd, NULL, &ignored);
}
