#include "common/base/str.h"

#include <assert.h>
#include <endian.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CP_BAD UINT32_C(0xFFFD)
#define F64_MAX_CHARS 511 /* longer spellings of a number are refused */

static char
lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str
str_of(const char *text)
{
	return (struct str){ text, text ? strlen(text) : 0 };
}

struct str
str_make(const char *ptr, size_t len)
{
	return (struct str){ ptr, len };
}

bool
str_eq(struct str a, struct str b)
{
	assert((a.ptr && b.ptr) || a.len != b.len || a.len == 0);
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool
str_eq_c(struct str a, const char *b)
{
	return str_eq(a, str_of(b));
}

bool
str_eq_nocase(struct str a, struct str b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		if (lower(a.ptr[i]) != lower(b.ptr[i]))
			return false;
	}
	return true;
}

bool
str_starts(struct str text, const char *prefix)
{
	size_t len = strlen(prefix);

	return text.len >= len && str_eq_c(str_sub(text, 0, len), prefix);
}

bool
str_ends(struct str text, const char *suffix)
{
	size_t len = strlen(suffix);

	return text.len >= len && str_eq_c(str_sub(text, text.len - len, text.len), suffix);
}

int
str_cmp(struct str a, struct str b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int order = len > 0 ? memcmp(a.ptr, b.ptr, len) : 0;

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

struct str
str_trim(struct str text)
{
	size_t start = 0, end = text.len;

	while (start < end && is_space(text.ptr[start]))
		start++;
	while (end > start && is_space(text.ptr[end - 1]))
		end--;
	return str_sub(text, start, end);
}

struct str
str_sub(struct str text, size_t start, size_t end)
{
	if (end > text.len)
		end = text.len;
	if (start > end)
		start = end;
	return (struct str){ text.ptr ? text.ptr + start : NULL, end - start };
}

bool
str_find(struct str text, struct str needle, size_t *out_at)
{
	if (needle.len == 0) {
		*out_at = 0;
		return true;
	}
	if (needle.len > text.len)
		return false;

	const char *at = memmem(text.ptr, text.len, needle.ptr, needle.len);

	if (!at)
		return false;
	*out_at = (size_t)(at - text.ptr);
	return true;
}

bool
str_split(struct str *rest, char sep, struct str *out_piece)
{
	if (rest->len == 0)
		return false;

	const char *at = memchr(rest->ptr, sep, rest->len);
	size_t cut = at ? (size_t)(at - rest->ptr) : rest->len;

	*out_piece = str_sub(*rest, 0, cut);
	*rest = str_sub(*rest, cut + 1, rest->len);
	return true;
}

bool
str_to_u64(struct str text, uint64_t *out)
{
	uint64_t value = 0;

	if (text.len == 0)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (!is_digit(text.ptr[i]) || __builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(text.ptr[i] - '0'), &value))
			return false;
	}
	*out = value;
	return true;
}

bool
str_to_i64(struct str text, int64_t min, int64_t max, int64_t *out)
{
	bool negative = str_starts(text, "-");
	uint64_t size = 0;

	if (!str_to_u64(str_sub(text, negative, text.len), &size) ||
	    size > (uint64_t)INT64_MAX + negative)
		return false;

	/* negate one less, so that INT64_MIN does not overflow */
	int64_t value = negative && size > 0 ? -(int64_t)(size - 1) - 1 : (int64_t)size;

	if (value < min || value > max)
		return false;
	*out = value;
	return true;
}

static size_t
skip_digits(struct str text, size_t at)
{
	while (at < text.len && is_digit(text.ptr[at]))
		at++;
	return at;
}

/* -?digits(.digits)?([eE][+-]?digits)? */
static bool
is_decimal(struct str text)
{
	size_t start = str_starts(text, "-");
	size_t at = skip_digits(text, start);

	if (at == start)
		return false;
	if (at < text.len && text.ptr[at] == '.') {
		start = at + 1;
		at = skip_digits(text, start);
		if (at == start)
			return false;
	}
	if (at < text.len && lower(text.ptr[at]) == 'e') {
		start = at + 1;
		if (start < text.len && (text.ptr[start] == '+' || text.ptr[start] == '-'))
			start++;
		at = skip_digits(text, start);
		if (at == start)
			return false;
	}
	return at == text.len;
}

bool
str_to_f64(struct str text, double *out)
{
	char copy[F64_MAX_CHARS + 1];

	if (text.len > F64_MAX_CHARS || !is_decimal(text) || !str_copy(copy, sizeof(copy), text))
		return false;

	locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* glibc: a constant */

	if (!c_locale)
		return false;

	double value = strtod_l(copy, NULL, c_locale);

	freelocale(c_locale);
	if (!isfinite(value))
		return false;
	*out = value;
	return true;
}

bool
str_to_bool(struct str text, bool *out)
{
	static const struct {
		struct str word;
		bool value;
	} words[] = {
		{ { "true", 4 }, true }, { { "1", 1 }, true },	    { { "yes", 3 }, true },
		{ { "on", 2 }, true },	 { { "false", 5 }, false }, { { "0", 1 }, false },
		{ { "no", 2 }, false },	 { { "off", 3 }, false },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (str_eq_nocase(text, words[i].word)) {
			*out = words[i].value;
			return true;
		}
	}
	return false;
}

bool
str_copy(char *dst, size_t dst_bytes, struct str src)
{
	assert(dst_bytes > 0);
	bool fits = src.len < dst_bytes;
	size_t len = fits ? src.len : str_utf8_floor(src, dst_bytes - 1);

	if (len > 0)
		memcpy(dst, src.ptr, len);
	dst[len] = '\0';
	return fits;
}

/* Length of the well-formed character at ptr (left > 0 bytes follow); 0 when malformed. The bounds
 * of the second byte are those of table 3-7 of the Unicode standard. */
static size_t
decode(const unsigned char *ptr, size_t left, uint32_t *out_cp)
{
	unsigned char first = ptr[0], low = 0x80, high = 0xBF;
	size_t len = 0;

	if (first < 0x80) {
		*out_cp = first;
		return 1;
	}
	if (first >= 0xC2 && first <= 0xDF) {
		len = 2;
	} else if (first >= 0xE0 && first <= 0xEF) {
		len = 3;
		low = first == 0xE0 ? 0xA0 : low;
		high = first == 0xED ? 0x9F : high;
	} else if (first >= 0xF0 && first <= 0xF4) {
		len = 4;
		low = first == 0xF0 ? 0x90 : low;
		high = first == 0xF4 ? 0x8F : high;
	}
	if (len == 0 || left < len || ptr[1] < low || ptr[1] > high)
		return 0;

	uint32_t cp = first & (0x7Fu >> len);

	for (size_t i = 1; i < len; i++) {
		if ((ptr[i] & 0xC0) != 0x80)
			return 0;
		cp = cp << 6 | (ptr[i] & 0x3Fu);
	}
	*out_cp = cp;
	return len;
}

size_t
str_utf8_next(struct str text, size_t at, uint32_t *out_cp)
{
	if (at >= text.len)
		return 0;

	size_t len = decode((const unsigned char *)text.ptr + at, text.len - at, out_cp);

	if (len == 0) {
		*out_cp = CP_BAD;
		return 1;
	}
	return len;
}

bool
str_utf8_valid(struct str text, size_t *out_bad_at)
{
	for (size_t at = 0; at < text.len;) {
		uint32_t cp = 0;
		size_t len = decode((const unsigned char *)text.ptr + at, text.len - at, &cp);

		if (len == 0) {
			if (out_bad_at)
				*out_bad_at = at;
			return false;
		}
		at += len;
	}
	return true;
}

size_t
str_utf8_put(char out[4], uint32_t cp)
{
	if (cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF))
		cp = CP_BAD;
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}

	size_t len = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;

	for (size_t i = len; i-- > 1; cp >>= 6)
		out[i] = (char)(0x80 | (cp & 0x3F));
	out[0] = (char)((0xF00u >> len & 0xFF) | cp);
	return len;
}

size_t
str_utf8_floor(struct str text, size_t at)
{
	if (at >= text.len)
		return text.len;

	/* The nearest byte before `at` that is no continuation begins a character (or is a bad byte):
	 * `at` lies inside only when that character is whole and reaches beyond it. */
	for (size_t back = 0; back <= 3 && back <= at; back++) {
		if (((unsigned char)text.ptr[at - back] & 0xC0) == 0x80)
			continue;

		uint32_t cp = 0;

		return str_utf8_next(text, at - back, &cp) > back ? at - back : at;
	}
	return at;
}

size_t
str_utf8_count(struct str text)
{
	size_t count = 0;
	uint32_t cp = 0;

	for (size_t at = 0; at < text.len; count++)
		at += str_utf8_next(text, at, &cp);
	return count;
}

void
str_hex(char *out, const void *ptr, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *bytes = ptr;

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * len] = '\0';
}

static int
hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	c = lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
str_unhex(struct str hex, void *out, size_t out_len)
{
	unsigned char *bytes = out;

	if (hex.len % 2 != 0 || hex.len / 2 != out_len)
		return false;
	for (size_t i = 0; i < hex.len; i++) {
		if (hex_digit(hex.ptr[i]) < 0)
			return false;
	}
	for (size_t i = 0; i < out_len; i++)
		bytes[i] = (unsigned char)((unsigned)hex_digit(hex.ptr[2 * i]) << 4 |
					   (unsigned)hex_digit(hex.ptr[2 * i + 1]));
	return true;
}

bool
str_eq_const_time(struct str a, struct str b)
{
	volatile unsigned char differ = 0;

	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		differ = (unsigned char)(differ | (a.ptr[i] ^ b.ptr[i]));
	return differ == 0;
}

/* up to 8 bytes, little-endian whatever the machine */
static uint64_t
load_le(const char *ptr, size_t len)
{
	uint64_t word = 0;

	memcpy(&word, ptr, len);
	return le64toh(word);
}

/* MurmurHash64A (Austin Appleby, public domain), with its words read as little-endian */
uint64_t
str_hash64(struct str text, uint64_t seed)
{
	const uint64_t mul = UINT64_C(0xc6a4a7935bd1e995);
	uint64_t hash = seed ^ (text.len * mul);
	size_t at = 0;

	for (; text.len - at >= 8; at += 8) {
		uint64_t word = load_le(text.ptr + at, 8) * mul;

		word ^= word >> 47;
		hash = (hash ^ word * mul) * mul;
	}
	if (at < text.len)
		hash = (hash ^ load_le(text.ptr + at, text.len - at)) * mul;
	hash = (hash ^ hash >> 47) * mul;
	return hash ^ hash >> 47;
}
