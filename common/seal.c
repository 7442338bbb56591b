#include "common/seal.h"

#include <string.h>

#include "common/base/auto.h"
#include "common/base/id.h"
#include "common/keys.h"
#include "common/sha256.h"

#define IV_BYTES 16
#define INPUT_MAX_BYTES ((size_t)1024 * 1024)

extern const char embed_secret_lua[];
static const struct redis_script script_secret = { "secret", embed_secret_lua };

bool
seal_secret(struct redis *redis, struct seal_secret *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	unsigned char fresh[SEAL_SECRET_BYTES];
	char hex[2 * SEAL_SECRET_BYTES + 1];
	struct key key = key_secret();
	struct redis_cmd cmd;
	struct str held;

	id_random(fresh, sizeof(fresh));
	str_hex(hex, fresh, sizeof(fresh));
	redis_script_init(&cmd, &script_secret, 1);
	redis_arg_c(&cmd, key.text);
	redis_arg_c(&cmd, hex);
	if (!redis_run_script(redis, &cmd, &script_secret, &reply, err))
		return err_wrap(err, "shared secret");
	if (!reply_str(reply, &held) || !str_unhex(held, out->bytes, sizeof(out->bytes)))
		return reply_bad("shared secret", err);
	return true;
}

/* A key of its own for each use of the secret. */
static void
derive(const struct seal_secret *secret, const char *use, unsigned char out[SHA256_BYTES])
{
	hmac_sha256(str_make((const char *)secret->bytes, sizeof(secret->bytes)), str_of(use), out);
}

/* Over the context's length, the context and the text. Longer ones than the limit have no IV: they are never sealed. */
static bool
make_iv(const struct seal_secret *secret, struct str context, struct str text,
	unsigned char iv[IV_BYTES])
{
	AUTO(buf) struct buf input = BUF_INIT(INPUT_MAX_BYTES);
	unsigned char key[SHA256_BYTES], mac[SHA256_BYTES];

	buf_printf(&input, "%zu:", context.len);
	buf_add(&input, context.ptr, context.len);
	buf_add(&input, text.ptr, text.len);
	derive(secret, "seal: iv", key);
	hmac_sha256(str_make((const char *)key, sizeof(key)), str_make(input.data, input.len), mac);
	memcpy(iv, mac, IV_BYTES);
	return buf_ok(&input);
}

/* Encrypts and decrypts alike. */
static void
mask(const struct seal_secret *secret, const unsigned char iv[IV_BYTES], unsigned char *bytes,
     size_t len)
{
	unsigned char key[SHA256_BYTES], block[IV_BYTES + 4], stream[SHA256_BYTES];

	derive(secret, "seal: text", key);
	memcpy(block, iv, IV_BYTES);
	for (size_t at = 0; at < len; at++) {
		if (at % SHA256_BYTES == 0) {
			size_t number = at / SHA256_BYTES;

			for (size_t i = 0; i < 4; i++)
				block[IV_BYTES + i] = (unsigned char)(number >> (8 * i));
			hmac_sha256(str_make((const char *)key, sizeof(key)),
				    str_make((const char *)block, sizeof(block)), stream);
		}
		bytes[at] ^= stream[at % SHA256_BYTES];
	}
}

void
seal(const struct seal_secret *secret, struct str context, struct str text, struct buf *out)
{
	AUTO(buf) struct buf bytes = BUF_INIT(INPUT_MAX_BYTES);
	unsigned char iv[IV_BYTES];
	char *hex;

	if (!make_iv(secret, context, text, iv)) {
		out->failed = true;
		return;
	}
	buf_add(&bytes, iv, sizeof(iv));
	buf_add(&bytes, text.ptr, text.len);
	if (!buf_ok(&bytes)) {
		out->failed = true;
		return;
	}
	mask(secret, iv, (unsigned char *)bytes.data + IV_BYTES, text.len);
	hex = buf_reserve(out, 2 * bytes.len + 1);
	if (!hex)
		return;
	str_hex(hex, bytes.data, bytes.len);
	buf_commit(out, 2 * bytes.len);
}

bool
unseal(const struct seal_secret *secret, struct str context, struct str sealed, struct arena *arena,
       struct str *out)
{
	unsigned char iv[IV_BYTES], *bytes;
	size_t len = sealed.len / 2;
	struct str text;

	if (sealed.len % 2 || len < IV_BYTES || len > INPUT_MAX_BYTES)
		return false;
	bytes = arena_array(arena, len + 1, 1);
	if (!bytes || !str_unhex(sealed, bytes, len))
		return false;
	text = str_make((const char *)bytes + IV_BYTES, len - IV_BYTES);
	mask(secret, bytes, bytes + IV_BYTES, text.len);
	if (!make_iv(secret, context, text, iv) ||
	    !str_eq_const_time(str_make((const char *)iv, IV_BYTES),
			       str_make((const char *)bytes, IV_BYTES)))
		return false;
	bytes[len] = '\0';
	*out = text;
	return true;
}
