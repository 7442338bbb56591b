/*
 * embedding_cache: vectors kept in Redis by the hash of everything that decides them, so that a text that was embedded once is not
 * paid for again. An entry is never wrong; a cache that fails, is full or is not there misses, and nothing else.
 *
 * Bound: a ring of EMBEDDING_CACHE_GENERATIONS hashes. Vectors are written to the newest one; when it has its share of max_bytes, or
 * of the time to live, a new one begins in the place of the oldest one, which goes in one step. What is found in the older half of the
 * ring moves to the newest. So what was used within the last half of the cache's bytes is there (about "least recently used goes
 * first"), at a price of nothing an entry: no index, no second key, no sweep. Rejected: a sorted set of last uses beside a key a
 * vector (a third more memory for small vectors, a write for every hit, and a script that has to delete thousands of keys).
 *
 * Values are raw float32, little-endian, as the store's. Calls use the caller's connection; thread rule: that of the connection.
 * Memory: Redis' maxmemory belongs to the queue first. Who writes asks embedding_cache_room, and rag-api drops a generation
 * a second while the queue's room (queue.redis_headroom_percent) is nearly reached.
 */
#ifndef RAG_COMMON_EMBEDDING_CACHE_H
#define RAG_COMMON_EMBEDDING_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/redis.h"
#include "common/sha256.h"

#define EMBEDDING_CACHE_GENERATIONS                                                                \
	8			 /* another number is another cache: the one before ages away */
#define EMBEDDING_CACHE_MANY 100 /* entries in one call */

/* Of max_bytes of Redis, beside the queue's headroom: short of the first the cache gives back, short of the second it takes no more. */
#define EMBEDDING_CACHE_DROP_PERCENT 5
#define EMBEDDING_CACHE_STOP_PERCENT 10

struct embedding_cache {
	struct redis *redis; /* borrowed */
	size_t dim;
	int64_t max_bytes; /* > 0 */
	int64_t ttl_ms;	   /* > 0: an entry that was not moved is gone by then */
};

struct embedding_key {
	unsigned char bytes[SHA256_BYTES];
};

/* The vectors of `count` keys (any number): out_found[i] says whether out[i * dim ...] was written. Returns how many were found. */
size_t embedding_cache_get(const struct embedding_cache *cache, const struct embedding_key *keys,
			   size_t count, float *out, bool *out_found);

/* Keeps those of `count` vectors for which skip[i] is false (skip may be NULL). Best effort. */
void embedding_cache_put(const struct embedding_cache *cache, const struct embedding_key *keys,
			 size_t count, const float *vectors, const bool *skip);

/* Whether `used` of `maxmemory` bytes (0 = no limit) leave headroom_percent + more_percent of it free. Pure. */
bool embedding_cache_room(int64_t used_bytes, int64_t maxmemory_bytes, int64_t headroom_percent,
			  int64_t more_percent);

/* Gives the oldest generation's memory back; at most one a second, whoever asks. *out_dropped: one went. */
bool embedding_cache_drop(struct redis *redis, bool *out_dropped, struct err *err);

#endif
