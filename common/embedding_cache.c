#include "common/embedding_cache.h"

#include <math.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/keys.h"

extern const char embed_embeddings_get_lua[], embed_embeddings_put_lua[],
	embed_embeddings_drop_lua[];

static const struct redis_script script_get = { "embeddings_get", embed_embeddings_get_lua };
static const struct redis_script script_put = { "embeddings_put", embed_embeddings_put_lua };
static const struct redis_script script_drop = { "embeddings_drop", embed_embeddings_drop_lua };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "vectors are shared between machines");

/* The keys of the ring; they live as long as a command that borrows them. */
struct ring {
	struct key head, places[EMBEDDING_CACHE_GENERATIONS];
};

static void
begin(struct redis_cmd *cmd, struct ring *ring, const struct redis_script *script)
{
	redis_script_init(cmd, script, 1 + EMBEDDING_CACHE_GENERATIONS);
	ring->head = key_embeddings_head();
	redis_arg_c(cmd, ring->head.text);
	for (int i = 0; i < EMBEDDING_CACHE_GENERATIONS; i++) {
		ring->places[i] = key_embeddings(i);
		redis_arg_c(cmd, ring->places[i].text);
	}
}

static struct str
key_bytes(const struct embedding_key *key)
{
	return str_make((const char *)key->bytes, sizeof(key->bytes));
}

/* A value of another length, or with something that is no number, is none. */
static bool
take_vector(const struct reply *reply, size_t dim, float *out)
{
	struct str value;

	if (reply_is_nil(reply) || !reply_str(reply, &value) || value.len != dim * sizeof(float))
		return false;
	memcpy(out, value.ptr, value.len);
	for (size_t i = 0; i < dim; i++)
		if (!isfinite(out[i]))
			return false;
	return true;
}

static size_t
get_some(const struct embedding_cache *cache, const struct embedding_key *keys, size_t count,
	 float *out, bool *out_found)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct err failure = ERR_INIT;
	struct redis_cmd cmd;
	struct ring ring;
	size_t found = 0;

	begin(&cmd, &ring, &script_get);
	redis_arg_i64(&cmd, cache->max_bytes);
	redis_arg_i64(&cmd, cache->ttl_ms);
	for (size_t i = 0; i < count; i++)
		redis_arg(&cmd, key_bytes(&keys[i]));
	if (!redis_run_script(cache->redis, &cmd, &script_get, &reply, &failure)) {
		log_debug("the embedding cache misses: %s", failure.msg);
		reply = NULL;
	}
	for (size_t i = 0; i < count; i++) {
		out_found[i] =
			reply && take_vector(reply_at(reply, i), cache->dim, out + i * cache->dim);
		found += out_found[i];
	}
	return found;
}

size_t
embedding_cache_get(const struct embedding_cache *cache, const struct embedding_key *keys,
		    size_t count, float *out, bool *out_found)
{
	size_t found = 0;

	for (size_t at = 0, n = 0; at < count; at += n) {
		n = count - at < EMBEDDING_CACHE_MANY ? count - at : EMBEDDING_CACHE_MANY;
		found += get_some(cache, keys + at, n, out + at * cache->dim, out_found + at);
	}
	return found;
}

static void
put_some(const struct embedding_cache *cache, struct redis_cmd *cmd)
{
	struct err failure = ERR_INIT;

	if (!redis_run_script(cache->redis, cmd, &script_put, NULL, &failure))
		log_debug("vectors are not kept: %s", failure.msg);
}

void
embedding_cache_put(const struct embedding_cache *cache, const struct embedding_key *keys,
		    size_t count, const float *vectors, const bool *skip)
{
	struct redis_cmd cmd;
	struct ring ring;
	size_t waiting = 0;

	for (size_t i = 0; i < count; i++) {
		if (skip && skip[i])
			continue;
		if (waiting == 0) {
			begin(&cmd, &ring, &script_put);
			redis_arg_i64(&cmd, cache->max_bytes);
			redis_arg_i64(&cmd, cache->ttl_ms);
		}
		redis_arg(&cmd, key_bytes(&keys[i]));
		redis_arg(&cmd, str_make((const char *)(vectors + i * cache->dim),
					 cache->dim * sizeof(float)));
		if (++waiting == EMBEDDING_CACHE_MANY) {
			put_some(cache, &cmd);
			waiting = 0;
		}
	}
	if (waiting > 0)
		put_some(cache, &cmd);
}

bool
embedding_cache_room(int64_t used_bytes, int64_t maxmemory_bytes, int64_t headroom_percent,
		     int64_t more_percent)
{
	return maxmemory_bytes <= 0 ||
	       used_bytes <= maxmemory_bytes / 100 * (100 - headroom_percent - more_percent);
}

bool
embedding_cache_drop(struct redis *redis, bool *out_dropped, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct redis_cmd cmd;
	struct ring ring;
	int64_t dropped;

	begin(&cmd, &ring, &script_drop);
	if (!redis_run_script(redis, &cmd, &script_drop, &reply, err))
		return err_wrap(err, "give back vectors of the cache");
	if (!reply_i64(reply, &dropped))
		return reply_bad("embeddings_drop", err);
	*out_dropped = dropped > 0;
	return true;
}
