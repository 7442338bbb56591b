/* fuzz_numbers: any bytes as a number, against the C library's reading of the same text; and back from text to text. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <string.h>

#include "common/json.h"
#include "tests/fuzz/fuzz.h"

/* The library's readers are banned because they take garbage; here the grammar is checked first. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wunavailable-declarations"
#endif
long long fuzz_reference_ll(const char *text, char **end, int base) __asm__("strtoll");
unsigned long long fuzz_reference_ull(const char *text, char **end, int base) __asm__("strtoull");
double fuzz_reference_d(const char *text, char **end) __asm__("strtod");

/* -?digits, or digits only */
static bool
is_whole(struct str text, bool minus)
{
	size_t at = minus && text.len > 0 && text.ptr[0] == '-' ? 1 : 0;

	for (size_t i = at; i < text.len; i++)
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
	return text.len > at;
}

static size_t
digits(struct str text, size_t at)
{
	while (at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9')
		at++;
	return at;
}

/* -?digits(.digits)?([eE][+-]?digits)? */
static bool
is_decimal(struct str text)
{
	size_t at = text.len > 0 && text.ptr[0] == '-' ? 1 : 0, end = digits(text, at);

	if (end == at)
		return false;
	if (end < text.len && text.ptr[end] == '.') {
		at = end + 1;
		end = digits(text, at);
		if (end == at)
			return false;
	}
	if (end < text.len && (text.ptr[end] == 'e' || text.ptr[end] == 'E')) {
		at = end + 1;
		if (at < text.len && (text.ptr[at] == '+' || text.ptr[at] == '-'))
			at++;
		end = digits(text, at);
		if (end == at)
			return false;
	}
	return end == text.len;
}

static void
check_whole(struct str text, const char *ended)
{
	int64_t value = 0, low = 0;
	uint64_t big = 0;
	bool ok = str_to_i64(text, INT64_MIN, INT64_MAX, &value);
	long long expected;
	unsigned long long big_expected;

	errno = 0;
	expected = fuzz_reference_ll(ended, NULL, 10);
	must(ok == (is_whole(text, true) && errno == 0), "str_to_i64 takes what is a number");
	must(!ok || value == expected, "str_to_i64 reads the number");
	must(!str_to_i64(text, 5, 4, &low), "an empty range takes nothing");
	if (ok)
		must(str_to_i64(text, value, value, &low) && low == value &&
			     (value == INT64_MAX ||
			      !str_to_i64(text, value + 1, INT64_MAX, &low)) &&
			     (value == INT64_MIN || !str_to_i64(text, INT64_MIN, value - 1, &low)),
		     "the range is kept");
	errno = 0;
	big_expected = fuzz_reference_ull(ended, NULL, 10);
	ok = str_to_u64(text, &big);
	must(ok == (is_whole(text, false) && errno == 0), "str_to_u64 takes what is a number");
	must(!ok || big == big_expected, "str_to_u64 reads the number");
}

static void
check_decimal(struct str text, const char *ended)
{
	AUTO(buf) struct buf out = BUF_INIT(64);
	struct jw w = jw_start(&out);
	double value = 0, again = 0;
	bool ok = str_to_f64(text, &value);
	double expected = is_decimal(text) ? fuzz_reference_d(ended, NULL) : (double)INFINITY;

	must(ok == (isfinite(expected) && text.len <= 511), "str_to_f64 takes what is a number");
	if (!ok)
		return;
	must(value == expected && signbit(value) == signbit(expected),
	     "str_to_f64 reads the number");
	jw_num(&w, value, 0);
	must(str_to_f64(text_of(&out), &again) && value <= again &&
		     value >= again, /* -0 is written as 0 */
	     "a number written reads back exactly");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(buf) struct buf ended = BUF_INIT(MIB);
	struct str text = str_make((const char *)data, size);
	bool flag;

	if (size > 4096)
		return 0;
	buf_add(&ended, data, size);
	if (strlen(ended.data) == size) {
		check_whole(text, ended.data);
		check_decimal(text, ended.data);
	}
	if (str_to_bool(text, &flag))
		must(size >= 1 && size <= 5, "a truth value is a word");
	return 0;
}
