/*
 * fuzz_floats: any bytes as a number, as an array of numbers, and as base64. A number has the value of (float)strtod to the bit; an array
 * has those of its numbers one by one; nothing behind the end is looked at.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "jobs/provider/floats.h"
#include "tests/fuzz/fuzz.h"

/* To the bit: minus zero is not zero. */
static uint32_t
bits_of(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static void
check_number(struct str text)
{
	float out = 7, want;
	double value = 0;
	size_t len = floats_scan_number(text, &out);

	if (len == 0) {
		must(out == 7, "what is no number is not written");
		return;
	}
	must(len <= text.len, "a number lies in the text");
	text = str_sub(text, 0, len);
	if (text.len > 511)
		return; /* more than the library is asked about */
	if (!str_to_f64(text, &value))
		value = text.ptr[0] == '-' ? -HUGE_VAL : HUGE_VAL;
	want = fabs(value) > (double)FLT_MAX * 2 ? (float)copysign(HUGE_VAL, value) : (float)value;
	must(bits_of(out) == bits_of(want), "a number is what strtod makes of it");
}

static void
check_array(struct str text)
{
	struct floats floats;
	size_t len, nth = 0;

	floats_init(&floats, MIB);
	len = floats_scan_array(text, &floats);
	must(len <= text.len && (len > 0) == (floats.count > 0), "an array has numbers");
	if (len > 0)
		must(text.ptr[0] == '[' && text.ptr[len - 1] == ']', "an array is in brackets");
	for (size_t at = 1; at < len;) {
		float value = 0;
		size_t size = floats_scan_number(str_sub(text, at, len), &value);

		if (size > 0)
			must(nth < floats.count && bits_of(value) == bits_of(floats.values[nth++]),
			     "an array has the numbers of its text");
		at += size > 0 ? size : 1;
	}
	must(nth == floats.count, "and no other ones");
	floats_release(&floats);
}

static void
check_base64(struct str text)
{
	struct floats floats;

	floats_init(&floats, MIB);
	if (floats_add_base64(text, &floats))
		must(floats.count > 0 && floats.count * 16 / 3 <= text.len,
		     "a float is more than five characters");
	else
		must(floats.count == 0, "a refused text adds nothing");
	floats_release(&floats);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make((const char *)data, size);

	check_number(text);
	check_array(text);
	check_base64(text);
	return 0;
}
