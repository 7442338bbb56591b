/*
 * seal: text that a client carries for us and can neither read nor change (page tokens).
 *
 * Sealed with a secret and for a context: opened with another secret, for another context, or after any change it is
 * refused. The same text for the same context seals to the same. What it costs: 16 bytes, and all twice for the hex
 * digits. Length is not hidden. A synthetic IV: HMAC-SHA256 over context and text, under whose first half the text is
 * encrypted by HMAC-SHA256 in counter mode; there is no nonce to repeat. Pure but for seal_secret.
 */
#ifndef RAG_COMMON_SEAL_H
#define RAG_COMMON_SEAL_H

#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/redis.h"

#define SEAL_SECRET_BYTES 32

struct seal_secret {
	unsigned char bytes[SEAL_SECRET_BYTES];
};

/* The one that all processes share through Redis; made at first need, also when Redis is full. */
bool seal_secret(struct redis *redis, struct seal_secret *out, struct err *err);

/* Appends hex digits, at least 32. */
void seal(const struct seal_secret *secret, struct str context, struct str text, struct buf *out);
/* false: nobody sealed this with the secret for this context. *out: in the arena. ERR_TOO_LARGE aside there are no
 * reasons to tell. */
bool unseal(const struct seal_secret *secret, struct str context, struct str sealed,
	    struct arena *arena, struct str *out);

#endif
