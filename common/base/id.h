/*
 * id: unique, time-ordered identifiers, and random bytes.
 *
 * A ULID (github.com/ulid/spec): 48 bits of Unix milliseconds and 80 random bits as 26 characters
 * of Crockford's base 32, in lower case here. Within one process two ids of the same millisecond
 * still ascend. Randomness comes from getrandom(2). Thread-safe.
 */
#ifndef RAG_COMMON_BASE_ID_H
#define RAG_COMMON_BASE_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/str.h"

#define ID_ULID_LEN 26
#define ID_ULID_BYTES (ID_ULID_LEN + 1)

void id_ulid(char out[ID_ULID_BYTES]);
bool id_is_ulid(struct str text);
bool id_ulid_unix_ms(struct str ulid, int64_t *out_unix_ms);

void id_random(void *out, size_t len); /* aborts if the kernel refuses */
uint64_t id_random_u64(void);

#endif
