#include "common/key_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/mem.h"

#define KEY_PREFIX "rag_"
#define KEY_PREFIX_LEN 4
#define KEY_RANDOM_LEN 32 /* of 62 characters each: 190 bits */
#define KEY_CHECK_LEN 6
#define KEY_HINT_LEN 10

_Static_assert(KEY_TEXT_BYTES == KEY_PREFIX_LEN + KEY_RANDOM_LEN + KEY_CHECK_LEN + 1,
	       "a key's length");

/* ---- scopes and rates ---- */

static const struct {
	const char *name;
	unsigned bit;
} scope_names[] = { { "read", SCOPE_READ }, { "ingest", SCOPE_INGEST }, { "admin", SCOPE_ADMIN } };

bool
scopes_parse(struct str text, unsigned *out)
{
	unsigned scopes = 0;
	struct str name;

	if (str_ends(text, ","))
		return false;
	while (str_split(&text, ',', &name)) {
		unsigned bit = 0;

		for (size_t i = 0; i < ARRAY_SIZE(scope_names); i++)
			if (str_eq_c(name, scope_names[i].name))
				bit = scope_names[i].bit;
		if (!bit)
			return false;
		scopes |= bit;
	}
	*out = scopes;
	return scopes != 0;
}

void
scopes_format(unsigned scopes, char out[SCOPES_TEXT_BYTES])
{
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(scope_names); i++) {
		if (!(scopes & scope_names[i].bit))
			continue;
		len += (size_t)snprintf(out + len, SCOPES_TEXT_BYTES - len, "%s%s", len ? "," : "",
					scope_names[i].name);
	}
}

bool
key_rate_parse(struct str text, int64_t *out_count, int64_t *out_window_s, struct err *err)
{
	struct str rest = text, count_text;
	int64_t count, window_s;

	if (str_eq_c(text, "none")) {
		*out_count = *out_window_s = 0;
		return true;
	}
	if (!str_split(&rest, '/', &count_text) ||
	    !str_to_i64(count_text, 1, KEY_RATE_MAX, &count) ||
	    !str_to_i64(rest, 1, KEY_RATE_WINDOW_MAX_S, &window_s))
		return err_set(
			err, ERR_INVALID,
			"a rate is '<requests>/<seconds>' like 100/60 (at most %d within %d s), or "
			"'none', not '" STR_FMT "'",
			KEY_RATE_MAX, KEY_RATE_WINDOW_MAX_S, STR_ARG(str_sub(text, 0, 60)));
	*out_count = count;
	*out_window_s = window_s;
	return true;
}

/* ---- a line ---- */

static bool
is_hint(struct str text)
{
	if (text.len == 0 || text.len >= KEY_HINT_BYTES)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '_' || c == '-'))
			return false;
	}
	return true;
}

static bool
set_tenant(struct str value, struct api_key *key, struct err *err)
{
	return tenant_valid(value, err) && str_copy(key->tenant, sizeof(key->tenant), value);
}

static bool
set_scopes(struct str value, struct api_key *key, struct err *err)
{
	return scopes_parse(value, &key->scopes) ||
	       err_set(err, ERR_INVALID, "scopes are some of read,ingest,admin, not '" STR_FMT "'",
		       STR_ARG(str_sub(value, 0, 60)));
}

static bool
set_rate(struct str value, struct api_key *key, struct err *err)
{
	return key_rate_parse(value, &key->rate_count, &key->rate_window_s, err);
}

static bool
set_expires(struct str value, struct api_key *key, struct err *err)
{
	return (clock_parse_iso(value, &key->expires_unix_ms) && key->expires_unix_ms > 0) ||
	       err_set(err, ERR_INVALID,
		       "expires is a time like 2027-01-31T00:00:00Z, not '" STR_FMT "'",
		       STR_ARG(str_sub(value, 0, 60)));
}

static bool
set_hint(struct str value, struct api_key *key, struct err *err)
{
	return (is_hint(value) && str_copy(key->hint, sizeof(key->hint), value)) ||
	       err_set(err, ERR_INVALID, "a hint has 1 to %d of A-Z, a-z, 0-9, '_' and '-'",
		       KEY_HINT_BYTES - 1);
}

static const struct {
	const char *name;
	bool (*set)(struct str value, struct api_key *key, struct err *err);
} options[] = { { "tenant", set_tenant },
		{ "scopes", set_scopes },
		{ "rate", set_rate },
		{ "expires", set_expires },
		{ "hint", set_hint } };

/* The next piece between blanks. */
static bool
next_word(struct str *rest, struct str *out)
{
	size_t len = 0;

	*rest = str_trim(*rest);
	while (len < rest->len && rest->ptr[len] != ' ' && rest->ptr[len] != '\t')
		len++;
	*out = str_sub(*rest, 0, len);
	*rest = str_sub(*rest, len, rest->len);
	return out->len > 0;
}

static bool
parse_option(struct str word, struct api_key *key, unsigned *seen, struct err *err)
{
	struct str value = word, name = STR("");

	if (!str_split(&value, '=', &name))
		name = word;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (!str_eq_c(name, options[i].name))
			continue;
		if (*seen & 1u << i)
			return err_set(err, ERR_INVALID, "%s= stands twice", options[i].name);
		*seen |= 1u << i;
		return options[i].set(value, key, err);
	}
	return err_set(err, ERR_INVALID,
		       "'" STR_FMT "' is none of tenant=, scopes=, rate=, expires= and hint=",
		       STR_ARG(str_sub(name, 0, 60)));
}

static bool
parse_name(struct str name, struct api_key *key, struct err *err)
{
	bool ok = name.len > 0 && str_utf8_valid(name, NULL) &&
		  str_copy(key->name, sizeof(key->name), name);

	for (size_t i = 0; ok && i < name.len; i++)
		ok = (unsigned char)name.ptr[i] >= 0x20 && name.ptr[i] != 0x7f;
	return ok || err_set(err, ERR_INVALID,
			     "the name before ':' must have 1 to %d bytes of UTF-8 without control "
			     "characters",
			     KEY_NAME_BYTES - 1);
}

bool
key_line_parse(struct str line, struct api_key *out, struct err *err)
{
	struct api_key key = { .scopes = SCOPE_ALL, .rate_count = -1, .tenant = TENANT_DEFAULT };
	unsigned char hash[SHA256_BYTES];
	struct str rest = line, name, word;
	unsigned seen = 0;

	if (!str_split(&rest, ':', &name) || !next_word(&rest, &word) ||
	    !str_unhex(word, hash, sizeof(hash)))
		return err_set(
			err, ERR_INVALID,
			"expected \"name:<64 hex digits of the key's SHA-256>\" and options");
	str_hex(key.hash, hash, sizeof(hash));
	if (!parse_name(str_trim(name), &key, err))
		return false;
	while (next_word(&rest, &word))
		if (!parse_option(word, &key, &seen, err))
			return false;
	*out = key;
	return true;
}

void
key_line_format(const struct api_key *key, struct buf *out)
{
	char scopes[SCOPES_TEXT_BYTES], iso[CLOCK_ISO_BYTES];

	scopes_format(key->scopes, scopes);
	buf_printf(out, "%s:%s tenant=%s scopes=%s", key->name, key->hash, key->tenant, scopes);
	if (key->rate_count == 0)
		buf_add_str(out, " rate=none");
	else if (key->rate_count > 0)
		buf_printf(out, " rate=%lld/%lld", (long long)key->rate_count,
			   (long long)key->rate_window_s);
	if (key->expires_unix_ms) {
		clock_format_iso(iso, key->expires_unix_ms);
		buf_printf(out, " expires=%s", iso);
	}
	if (key->hint[0])
		buf_printf(out, " hint=%s", key->hint);
}

/* ---- a file ---- */

static int
by_hash(const void *a, const void *b)
{
	const struct api_key *const *left = a, *const *right = b;

	return strcmp((*left)->hash, (*right)->hash);
}

static bool
check_distinct(const char *path, const struct api_key *keys, size_t count, struct err *err)
{
	const struct api_key **sorted = mem_array(count + 1, sizeof(struct api_key *));
	bool ok = true;

	for (size_t i = 0; i < count; i++)
		sorted[i] = &keys[i];
	qsort(sorted, count, sizeof(struct api_key *), by_hash);
	for (size_t i = 1; ok && i < count; i++) {
		size_t a = sorted[i - 1]->line, b = sorted[i]->line;

		if (strcmp(sorted[i - 1]->hash, sorted[i]->hash) == 0)
			ok = err_set(err, ERR_CONFIG, "%s:%zu: the same key as in line %zu", path,
				     a > b ? a : b, a > b ? b : a);
	}
	mem_free(sorted);
	return ok;
}

bool
key_file_parse(const char *path, struct str text, struct api_key **out, size_t *out_count,
	       struct err *err)
{
	struct api_key *keys = NULL;
	size_t count = 0, cap = 0, number = 0;
	struct str line;

	while (str_split(&text, '\n', &line)) {
		struct err why = ERR_INIT;
		struct api_key key;

		number++;
		line = str_trim(line);
		if (line.len == 0 || line.ptr[0] == '#')
			continue;
		if (!key_line_parse(line, &key, &why)) {
			mem_free(keys);
			return err_set(err, ERR_CONFIG, "%s:%zu: %s", path, number, why.msg);
		}
		key.line = number;
		if (count == cap) {
			cap = cap ? 2 * cap : 16;
			keys = mem_grow(keys, cap, sizeof(*keys));
		}
		keys[count++] = key;
	}
	if (!check_distinct(path, keys, count, err)) {
		mem_free(keys);
		return false;
	}
	*out = keys;
	*out_count = count;
	return true;
}

bool
key_file_read(const char *path, struct buf *out, struct stat *out_stat, struct err *err)
{
	FILE *file = fopen(path, "re");
	bool ok = file != NULL;
	int errnum = errno;

	if (ok && fstat(fileno(file), out_stat) != 0) {
		errnum = errno;
		ok = false;
	}
	while (ok) {
		char chunk[4096];
		size_t len = fread(chunk, 1, sizeof(chunk), file);

		buf_add(out, chunk, len);
		if (len < sizeof(chunk)) {
			errnum = errno ? errno : EIO;
			ok = ferror(file) == 0;
			break;
		}
	}
	if (file)
		(void)fclose(file);
	if (!ok) {
		(void)err_errno(err, errnum, "read %s", path);
		err->code = ERR_CONFIG;
		return false;
	}
	if (!buf_ok(out))
		return err_set(err, ERR_CONFIG, "cannot use %s: more than %zu bytes", path,
			       out->max);
	return true;
}

/* ---- the text of a key ---- */

static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* Six characters of the SHA-256 of what stands before them. */
static void
checksum(const char *text, size_t len, char out[KEY_CHECK_LEN])
{
	char hex[SHA256_HEX_BYTES];
	unsigned char bytes[8];
	uint64_t value = 0;

	sha256_hex(str_make(text, len), hex);
	(void)str_unhex(str_make(hex, 2 * sizeof(bytes)), bytes, sizeof(bytes)); /* it is hex */
	for (size_t i = 0; i < sizeof(bytes); i++)
		value = value << 8 | bytes[i];
	for (size_t i = 0; i < KEY_CHECK_LEN; i++) {
		out[i] = digits[value % 62];
		value /= 62;
	}
}

void
key_text_new(char out[KEY_TEXT_BYTES])
{
	size_t len = KEY_PREFIX_LEN;

	memcpy(out, KEY_PREFIX, KEY_PREFIX_LEN);
	while (len < KEY_PREFIX_LEN + KEY_RANDOM_LEN) {
		unsigned char byte;

		id_random(&byte, 1);
		if (byte < 248) /* 4 * 62: every character is as likely as another */
			out[len++] = digits[byte % 62];
	}
	checksum(out, len, out + len);
	out[KEY_TEXT_BYTES - 1] = '\0';
}

bool
key_text_is_ours(struct str text)
{
	char check[KEY_CHECK_LEN];
	size_t len = KEY_PREFIX_LEN + KEY_RANDOM_LEN;

	if (text.len != KEY_TEXT_BYTES - 1 || !str_starts(text, KEY_PREFIX))
		return false;
	for (size_t i = KEY_PREFIX_LEN; i < text.len; i++)
		if (text.ptr[i] == '\0' || !strchr(digits, text.ptr[i]))
			return false;
	checksum(text.ptr, len, check);
	return memcmp(check, text.ptr + len, KEY_CHECK_LEN) == 0;
}

void
key_text_hint(const char *key, char out[KEY_HINT_BYTES])
{
	str_copy(out, KEY_HINT_BYTES, str_sub(str_of(key), 0, KEY_HINT_LEN));
}
