/*
 * store_check: catalog and store compared both ways.
 *
 * Every visible generation has exactly its chunks in the store; every generation in the store is visible, or of
 * a job that may still commit it, or garbage. Runs beside live work (how, see store_check.c). Memory: one
 * entry for each generation in the store, within the arena given.
 */
#ifndef RAG_CRON_STORE_CHECK_H
#define RAG_CRON_STORE_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/redis.h"
#include "jobs/store/store.h"

struct store_check {
	struct redis *redis;
	struct store *store;
	bool remove_garbage;
	void (*problem)(void *user, const char *check, const char *text); /* check: "store" */
	void *user;
};

struct store_checked {
	int64_t generations, chunks; /* in the store */
	int64_t visible, in_flight, garbage, garbage_chunks, removed;
	int64_t problems;
};

bool store_check(const struct store_check *check, struct arena *arena, struct store_checked *out,
		 struct err *err);

#endif
