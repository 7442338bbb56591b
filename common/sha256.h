/*
 * sha256: content hashes, idempotency fingerprints and cache keys. The door of OpenSSL's libcrypto
 * (EVP); libcurl brings it anyway, and a kept library beats our own cryptography. Never fails once
 * the process runs (aborts when libcrypto is broken).
 */
#ifndef RAG_COMMON_SHA256_H
#define RAG_COMMON_SHA256_H

#include <stddef.h>

#include "common/base/str.h"

#define SHA256_BYTES 32
#define SHA256_HEX_BYTES 65 /* 64 digits and a NUL */

struct sha256; /* one running hash, heap */

struct sha256 *sha256_new(void);
void sha256_add(struct sha256 *hash, const void *ptr, size_t len);
/* Adds the length as 8 little-endian bytes, then the bytes: fields of a fingerprint cannot run into
 * each other. */
void sha256_add_field(struct sha256 *hash, struct str field);
void sha256_finish_hex(struct sha256 *hash, char out[SHA256_HEX_BYTES]); /* frees hash */

void sha256_hex(struct str data, char out[SHA256_HEX_BYTES]);

/* HMAC-SHA-256 (RFC 2104). */
void hmac_sha256(struct str key, struct str data, unsigned char out[SHA256_BYTES]);

/* SHA-1, for nothing but the names that Redis gives to scripts (EVALSHA). */
#define SHA1_HEX_BYTES 41
void sha1_hex(struct str data, char out[SHA1_HEX_BYTES]);

#endif
