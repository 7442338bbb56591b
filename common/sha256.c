#include "common/sha256.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "common/base/log.h"

/* EVP fails only when libcrypto itself is broken (no default provider): nothing can go on. */
static void
must(int ok)
{
	if (ok != 1) {
		log_error("libcrypto cannot compute SHA-256");
		abort();
	}
}

/* struct sha256 is OpenSSL's context under our name: one allocation, no wrapper. */
static EVP_MD_CTX *
context(struct sha256 *hash)
{
	return (EVP_MD_CTX *)(void *)hash;
}

struct sha256 *
sha256_new(void)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	must(ctx != NULL);
	must(EVP_DigestInit_ex(ctx, EVP_sha256(), NULL));
	return (struct sha256 *)(void *)ctx;
}

void
sha256_add(struct sha256 *hash, const void *ptr, size_t len)
{
	if (len > 0)
		must(EVP_DigestUpdate(context(hash), ptr, len));
}

void
sha256_add_field(struct sha256 *hash, struct str field)
{
	unsigned char size[8];

	for (size_t i = 0; i < sizeof(size); i++)
		size[i] = (unsigned char)((uint64_t)field.len >> (8 * i));
	sha256_add(hash, size, sizeof(size));
	sha256_add(hash, field.ptr, field.len);
}

void
sha256_finish_hex(struct sha256 *hash, char out[SHA256_HEX_BYTES])
{
	unsigned char digest[SHA256_BYTES];

	must(EVP_DigestFinal_ex(context(hash), digest, NULL));
	EVP_MD_CTX_free(context(hash));
	str_hex(out, digest, sizeof(digest));
}

void
sha256_hex(struct str data, char out[SHA256_HEX_BYTES])
{
	struct sha256 *hash = sha256_new();

	sha256_add(hash, data.ptr, data.len);
	sha256_finish_hex(hash, out);
}

void
hmac_sha256(struct str key, struct str data, unsigned char out[SHA256_BYTES])
{
	static const unsigned char nothing[1] = {
		0
	}; /* NULL would mean: the key of the call before */
	const void *key_bytes = key.len ? (const void *)key.ptr : nothing;
	const unsigned char *bytes = data.len ? (const unsigned char *)data.ptr : nothing;
	unsigned int len = 0;

	must(HMAC(EVP_sha256(), key_bytes, (int)key.len, bytes, data.len, out, &len) != NULL);
	must(len == SHA256_BYTES);
}

void
sha1_hex(struct str data, char out[SHA1_HEX_BYTES])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	must(EVP_Digest(data.ptr, data.len, digest, &len, EVP_sha1(), NULL));
	must(len * 2 + 1 == SHA1_HEX_BYTES);
	str_hex(out, digest, len);
}
