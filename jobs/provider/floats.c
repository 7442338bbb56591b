/*
 * How a number is read. Up to 19 significant digits fit 64 bits; those after only say that there was more. What is left is
 * m * 10^e as a double, then as a float. Three ways, the first that is allowed:
 *
 *  1. m <= 2^53 and |e| <= 22: m and 10^|e| are doubles exactly, so one multiplication or division rounds correctly (Clinger). This is
 *     strtod's double itself.
 *  2. Otherwise, within the range of normal floats, the same with up to two steps has an error of at most 3 units in the last place of
 *     the double, of 2^29 such units between two floats. Unless the double is within MARGIN units of the middle between two floats,
 *     where rounding to float would turn, the float is that of strtod's double.
 *  3. Else, once in millions of numbers, the C library is asked.
 *
 * Rejected: Eisel-Lemire and its table of 128-bit powers. It gives the exact double; we need the float of it.
 */
#include "jobs/provider/floats.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "common/base/mem.h"

#define MAX_DIGITS 19
#define EXACT_MAX (UINT64_C(1) << 53)
#define EXACT_POWER 22
#define MAX_POWER (2 * EXACT_POWER)
#define EXPONENT_CAP 100000
#define MARGIN 64
#define FIRST_CAP 1024

/* ---- a growing array ---- */

void
floats_init(struct floats *floats, size_t max)
{
	*floats = (struct floats){ .max = max };
}

void
floats_release(struct floats *floats)
{
	mem_free(floats->values);
	*floats = (struct floats){ .max = floats->max };
}

static bool
reserve(struct floats *floats, size_t more)
{
	size_t cap = floats->cap > 0 ? floats->cap : FIRST_CAP;

	if (floats->failed || more > floats->max - floats->count) {
		floats->failed = true;
		return false;
	}
	while (cap < floats->count + more)
		cap *= 2;
	if (cap > floats->cap) {
		floats->values = mem_grow(floats->values, cap, sizeof(float));
		floats->cap = cap;
	}
	return true;
}

void
floats_add(struct floats *floats, float value)
{
	if (floats->count == floats->cap && !reserve(floats, 1))
		return;
	if (floats->count == floats->max) {
		floats->failed = true;
		return;
	}
	floats->values[floats->count++] = value;
}

/* ---- a number ---- */

static const double powers[EXACT_POWER + 1] = { 1e0,  1e1,  1e2,  1e3,	1e4,  1e5,  1e6,  1e7,
						1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
						1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };

struct decimal {
	uint64_t digits; /* the first MAX_DIGITS significant ones */
	int count;	 /* of them, from the first that is not 0 */
	int exponent;
	bool cut; /* one that is not 0 was left out */
};

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline void
add_digit(struct decimal *decimal, char c, bool is_fraction)
{
	unsigned digit = (unsigned)(c - '0');

	if (decimal->count < MAX_DIGITS) {
		decimal->digits = decimal->digits * 10 + digit;
		decimal->count += decimal->digits != 0;
		decimal->exponent -= is_fraction;
	} else {
		decimal->cut |= digit != 0;
		decimal->exponent += !is_fraction;
	}
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
/* Eight digits at once: a fraction has many. False when they are not all digits. */
static inline bool
add_eight(struct decimal *decimal, const char *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	if (((word & (word + UINT64_C(0x0606060606060606))) & UINT64_C(0xf0f0f0f0f0f0f0f0)) !=
	    UINT64_C(0x3030303030303030))
		return false;
	word &= UINT64_C(0x0f0f0f0f0f0f0f0f);
	word = word * 10 + (word >> 8); /* pairs, in every second byte */
	word = (((word & UINT64_C(0x000000ff000000ff)) * (100 + (UINT64_C(1000000) << 32))) +
		(((word >> 16) & UINT64_C(0x000000ff000000ff)) * (1 + (UINT64_C(10000) << 32)))) >>
	       32;
	decimal->digits = decimal->digits * 100000000 + word;
	decimal->count += 8;
	decimal->exponent -= 8;
	return true;
}
#else
static inline bool
add_eight(struct decimal *decimal, const char *at)
{
	(void)decimal;
	(void)at;
	return false;
}
#endif

/* The digits after the point. */
static const char *
take_fraction(const char *at, const char *end, struct decimal *decimal)
{
	while (at < end && *at == '0' && decimal->digits == 0) {
		decimal->exponent--;
		at++;
	}
	while (end - at >= 8 && decimal->count <= MAX_DIGITS - 8 && add_eight(decimal, at))
		at += 8;
	for (; at < end && is_digit(*at); at++)
		add_digit(decimal, *at, true);
	return at;
}

/* "e-5"; NULL when there is no digit. */
static const char *
take_exponent(const char *at, const char *end, struct decimal *decimal)
{
	bool negative = false;
	int exponent = 0;

	at++;
	if (at < end && (*at == '-' || *at == '+'))
		negative = *at++ == '-';
	if (at == end || !is_digit(*at))
		return NULL;
	for (; at < end && is_digit(*at); at++)
		if (exponent < EXPONENT_CAP)
			exponent = exponent * 10 + (*at - '0');
	decimal->exponent += negative ? -exponent : exponent;
	return at;
}

static float
to_float(double value)
{
	if (value >= (double)FLT_MAX + 0x1p103) /* half a step above the greatest */
		return INFINITY;
	return (float)value;
}

/* Ways 1 and 2; false when neither is allowed. */
static bool
convert(const struct decimal *decimal, float *out)
{
	int power = decimal->exponent < 0 ? -decimal->exponent : decimal->exponent;
	double value = (double)decimal->digits;
	uint64_t bits, low;

	if (decimal->digits == 0) {
		*out = 0;
		return true;
	}
	if (power > MAX_POWER)
		return false;
	for (int left = power; left > 0; left -= EXACT_POWER) {
		int step = left < EXACT_POWER ? left : EXACT_POWER;

		value = decimal->exponent < 0 ? value / powers[step] : value * powers[step];
	}
	if (power <= EXACT_POWER && decimal->digits <= EXACT_MAX && !decimal->cut) {
		*out = to_float(value);
		return true;
	}
	if (value < 1e-37 || value > 1e38)
		return false;
	memcpy(&bits, &value, sizeof(bits));
	low = bits & ((UINT64_C(1) << 29) - 1);
	if (low + MARGIN > UINT64_C(1) << 28 && low < (UINT64_C(1) << 28) + MARGIN)
		return false;
	*out = (float)value;
	return true;
}

/* Way 3. text is a number without a sign. */
static bool
ask_library(struct str text, float *out)
{
	double value = 0;

	if (text.len > 511)
		return false;
	*out = str_to_f64(text, &value) ? to_float(value)
					: INFINITY; /* it refuses what is not finite */
	return true;
}

size_t
floats_scan_number(struct str text, float *out)
{
	const char *at = text.ptr, *end = at + text.len, *digits;
	struct decimal decimal = { 0 };
	bool negative = at < end && *at == '-';
	float value = 0;

	at += negative;
	digits = at;
	if (at == end || !is_digit(*at))
		return 0;
	if (*at == '0') {
		at++;
		if (at < end && is_digit(*at))
			return 0;
	}
	for (; at < end && is_digit(*at); at++)
		add_digit(&decimal, *at, false);
	if (at < end && *at == '.') {
		const char *from = ++at;

		at = take_fraction(at, end, &decimal);
		if (at == from)
			return 0;
	}
	if (at < end && (*at == 'e' || *at == 'E')) {
		at = take_exponent(at, end, &decimal);
		if (!at)
			return 0;
	}
	if (!convert(&decimal, &value) &&
	    !ask_library(str_make(digits, (size_t)(at - digits)), &value))
		return 0;
	*out = negative ? -value : value;
	return (size_t)(at - text.ptr);
}

/* ---- an array ---- */

static const char *
skip_blanks(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
		at++;
	return at;
}

size_t
floats_scan_array(struct str text, struct floats *into)
{
	const char *at = text.ptr, *end = at + text.len;
	size_t before = into->count;

	if (text.len == 0 || *at != '[')
		return 0;
	for (;;) {
		float value = 0;
		size_t len;

		at = skip_blanks(at + 1, end);
		len = floats_scan_number(str_make(at, (size_t)(end - at)), &value);
		if (len == 0)
			break;
		floats_add(into, value);
		at = skip_blanks(at + len, end);
		if (at == end || (*at != ',' && *at != ']'))
			break;
		if (*at == ']')
			return (size_t)(at + 1 - text.ptr);
	}
	into->count = before;
	return 0;
}

/* ---- base64 ---- */

#define BAD 64 /* not of the alphabet */

/* clang-format off */
static const unsigned char sextets[128] = {
	64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
	64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
	64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62, 64, 64, 64, 63,
	52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64,
	64, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
	15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 64, 64, 64, 64,
	64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
	41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 64, 64, 64, 64, 64,
};
/* clang-format on */

static inline unsigned
sextet(char c)
{
	return (unsigned char)c < sizeof(sextets) ? sextets[(unsigned char)c] : BAD;
}

/* text, without padding, to the bytes it means: three for four characters, the rest for two or three. */
static bool
decode(struct str text, unsigned char *out)
{
	size_t at = 0;
	unsigned bad = 0, tail[3] = { 0 };

	for (; text.len - at >= 4; at += 4, out += 3) {
		unsigned a = sextet(text.ptr[at]), b = sextet(text.ptr[at + 1]);
		unsigned c = sextet(text.ptr[at + 2]), d = sextet(text.ptr[at + 3]);
		unsigned bits = a << 18 | b << 12 | c << 6 | d;

		bad |= a | b | c | d;
		out[0] = (unsigned char)(bits >> 16);
		out[1] = (unsigned char)(bits >> 8);
		out[2] = (unsigned char)bits;
	}
	for (size_t i = 0; at + i < text.len; i++)
		bad |= tail[i] = sextet(text.ptr[at + i]);
	if (text.len - at == 1 || bad >= BAD)
		return false;
	if (text.len - at == 0)
		return true;
	out[0] = (unsigned char)(tail[0] << 2 | tail[1] >> 4);
	if (text.len - at == 2)
		return (tail[1] & 15) == 0;
	out[1] = (unsigned char)(tail[1] << 4 | tail[2] >> 2);
	return (tail[2] & 3) == 0;
}

bool
floats_add_base64(struct str text, struct floats *into)
{
	size_t padding = 0, bytes, count;
	float *values;

	while (padding < 2 && str_ends(text, "=")) {
		text = str_sub(text, 0, text.len - 1);
		padding++;
	}
	bytes = text.len / 4 * 3 + text.len % 4 * 3 / 4;
	count = bytes / sizeof(float);
	if (count == 0 || bytes % sizeof(float) != 0 ||
	    (padding > 0 && (text.len + padding) % 4 != 0) || !reserve(into, count))
		return false;
	values = into->values + into->count;
	if (!decode(text, (unsigned char *)values))
		return false;
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
	for (size_t i = 0; i < count; i++) {
		uint32_t word;

		memcpy(&word, values + i, sizeof(word));
		word = __builtin_bswap32(word);
		memcpy(values + i, &word, sizeof(word));
	}
#endif
	into->count += count;
	return true;
}
