/*
 * cache: answers kept in Redis by the hash of everything that decides them (common/sha256). An entry is never
 * wrong, only old: the collection's epoch is part of what is hashed. A cache that fails is a miss.
 */
#ifndef RAG_COMMON_CACHE_H
#define RAG_COMMON_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/str.h"
#include "common/redis.h"

#define CACHE_MAX_VALUE_BYTES ((size_t)1024 * 1024)

/* true: *out is the value, in the arena. */
bool cache_get(struct redis *redis, struct str hash, struct arena *arena, struct str *out);

/* Larger values than CACHE_MAX_VALUE_BYTES are not kept. */
void cache_put(struct redis *redis, struct str hash, struct str value, int64_t ttl_s);

#endif
