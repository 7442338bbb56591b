/*
 * fuzz_fault: any bytes as an error of a provider: two bytes for the status, one line of a header, the body. It is some fault, its words
 * are one line of UTF-8 without the key, and waits are bounded.
 */
#include <string.h>

#include "jobs/provider/fault.h"
#include "tests/fuzz/fuzz.h"

#define KEY "k3y-of-fuzz"

static void
check_words(const char *words)
{
	struct str text = str_of(words);
	size_t at = 0;

	must(str_utf8_valid(text, NULL), "words are UTF-8");
	must(!str_find(text, STR(KEY), &at), "a key is masked");
	for (size_t i = 0; i < text.len; i++)
		must((unsigned char)text.ptr[i] >= 0x20, "words are one line");
}

static void
check_fault(const struct fault *fault)
{
	struct err err = ERR_INIT;

	check_words(fault->message);
	check_words(fault->excerpt);
	must(fault->retry_after_ms >= -1, "a wait is not negative");
	must(fault->batch_limit <= 100000, "a limit is bounded");
	must((fault->class == FAULT_FIELD) == (fault->field[0] != '\0'), "a field has a name");
	must(!fault_to_err(fault, "p", &err) && err.code != ERR_NONE, "a fault is an error");
	must(err.code != ERR_PROVIDER_LIMITED || err_info(err.code)->outage, "a limit waits");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_reply reply;
	struct fault fault;
	struct str text;
	size_t line = 0;
	int64_t ms = 0;
	int status = 300 + (take_byte(&data, &size) * 256 + take_byte(&data, &size)) % 300;

	text = str_make((const char *)data, size);
	http_reply_init(&reply, 16);
	reply.status = status;
	if (str_find(text, STR("\n"), &line)) {
		buf_add(&reply.headers, text.ptr, line + 1);
		text = str_sub(text, line + 1, text.len);
	}
	fault_of_reply(&reply, text, KEY, &fault);
	must(fault.class != FAULT_NONE && fault.status == status, "an error is a fault");
	check_fault(&fault);
	must(fault_ratelimit_reset_ms(&reply) >= -1, "a reset is not negative");
	fault_of_event(text, KEY, &fault);
	must(fault.class != FAULT_NONE && fault.status >= 400, "an error in a stream is a fault");
	check_fault(&fault);
	if (fault_parse_duration(text, &ms))
		must(ms >= 0 && ms <= INT64_C(8640000000), "a duration is bounded");
	http_reply_release(&reply);
	return 0;
}
