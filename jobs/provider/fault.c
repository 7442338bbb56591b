/*
 * Statuses say most of it; the words of a body decide between "send less", "shorten this text", "leave this field out" and "never".
 * The words are those that servers are known to write (each has a row in tests/unit/test_fault.c). They are looked for only in a
 * server's own error message, never in a reply that succeeded.
 */
#include "jobs/provider/fault.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/json.h"
#include "jobs/provider/provider.h"

#define BODY_MAX_BYTES ((size_t)64 * 1024) /* an error that is longer is none of a provider's */
#define DAY_MS INT64_C(86400000)
#define DURATION_MAX_MS (100 * DAY_MS)
#define LONG_WAIT_MS 120000 /* Gemini says so of quotas that are a day's */
#define KEY_MIN_BYTES 4	    /* a shorter one may be part of any word */

/* ---- durations ---- */

bool
fault_parse_duration(struct str text, int64_t *out_ms)
{
	static const struct {
		const char *name;
		double ms;
	} units[] = { { "ms", 1 },   { "us", 1e-3 }, { "\xc2\xb5s", 1e-3 }, { "ns", 1e-6 },
		      { "s", 1000 }, { "m", 60e3 },  { "h", 3600e3 },	    { "d", 86400e3 } };
	double sum = 0;

	if (text.len == 0)
		return false;
	for (size_t at = 0; at < text.len;) {
		size_t from = at, unit = 0;
		double value = 0;

		while (at < text.len &&
		       ((text.ptr[at] >= '0' && text.ptr[at] <= '9') || text.ptr[at] == '.'))
			at++;
		if (!str_to_f64(str_sub(text, from, at), &value))
			return false;
		while (unit < ARRAY_SIZE(units) &&
		       !str_starts(str_sub(text, at, text.len), units[unit].name))
			unit++;
		if (unit == ARRAY_SIZE(units))
			return false;
		at += strlen(units[unit].name);
		sum += value * units[unit].ms;
	}
	*out_ms = sum < (double)DURATION_MAX_MS ? (int64_t)(sum + 0.999) : DURATION_MAX_MS;
	return true;
}

/* A reset: a duration, or bare seconds. */
static int64_t
reset_ms(const struct http_reply *reply, const char *name)
{
	struct str value = { 0 };
	int64_t ms = 0;
	double seconds = 0;

	if (!http_reply_header(reply, name, &value))
		return -1;
	if (fault_parse_duration(value, &ms))
		return ms;
	/* a moment instead of a duration, as some gateways send it, is not understood */
	if (str_to_f64(value, &seconds) && seconds >= 0 && seconds < 86400)
		return (int64_t)(seconds * 1000);
	return -1;
}

int64_t
fault_ratelimit_reset_ms(const struct http_reply *reply)
{
	static const char *const names[][2] = {
		{ "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests" },
		{ "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens" },
	};
	int64_t longest_ms = -1;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct str left = { 0 };

		if (!http_reply_header(reply, names[i][0], &left) || !str_eq_c(left, "0"))
			continue;

		int64_t ms = reset_ms(reply, names[i][1]);

		if (ms > longest_ms)
			longest_ms = ms;
	}
	return longest_ms;
}

/* ---- what may be shown ---- */

static bool
is_key_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.' || c == '*' || c == '+' || c == '/' || c == '~';
}

/* Length of what looks like a key at the begin of text, *out_shown of it is its name, which stays; 0 = none. */
static size_t
looks_like_key(struct str text, const char *key, size_t *out_shown)
{
	static const struct {
		const char *prefix;
		bool is_name; /* the prefix says that a key follows; else it is the key's own begin */
		size_t min;
	} signs[] = { { "key=", true, 1 },     { "Bearer ", true, 1 }, { "bearer ", true, 1 },
		      { "AIza", false, 10 },   { "sk-", false, 8 },    { "token=", true, 1 },
		      { "api_key=", true, 1 }, { "apikey=", true, 1 } };
	size_t key_len = strlen(key);

	*out_shown = 0;
	if (key_len >= KEY_MIN_BYTES && text.len >= key_len && memcmp(text.ptr, key, key_len) == 0)
		return key_len;
	for (size_t i = 0; i < ARRAY_SIZE(signs); i++) {
		size_t from = strlen(signs[i].prefix), end = from;

		if (!str_starts(text, signs[i].prefix))
			continue;
		while (end < text.len && is_key_char(text.ptr[end]))
			end++;
		if (end - from < signs[i].min)
			continue;
		*out_shown = signs[i].is_name ? from : 0;
		return end;
	}
	return 0;
}

void
fault_redact(struct str text, const char *key, char *out, size_t out_bytes)
{
	AUTO(buf) struct buf line = BUF_INIT((size_t)4 * FAULT_MESSAGE_BYTES);

	text = str_trim(text);
	for (size_t at = 0; at < text.len && line.len + 8 < line.max;) {
		size_t shown = 0, len = looks_like_key(str_sub(text, at, text.len), key, &shown);
		uint32_t cp = 0;

		if (len > 0) {
			if (shown > line.max - line.len - 8)
				break;
			buf_add(&line, text.ptr + at, shown);
			buf_add_str(&line, "***");
			at += len;
			continue;
		}
		len = str_utf8_next(text, at, &cp);
		if (cp < 0x20 || cp == 0x7f) {
			if (line.len > 0 && line.data[line.len - 1] != ' ')
				buf_add_char(&line, ' ');
		} else {
			char put[4];

			buf_add(&line, put, str_utf8_put(put, cp));
		}
		at += len;
	}
	(void)str_copy(out, out_bytes, str_trim(str_make(line.data, line.len)));
}

/* ---- the body of an error ---- */

/* All that servers put into one; strings borrow from the tree. */
struct told {
	struct str message, code, type, status, param;
	int64_t number;	       /* a numeric code; 0 = none */
	int64_t retry_ms;      /* RetryInfo; -1 = none */
	bool is_daily, is_key; /* quota per day; the key is not valid */
};

static void
take_str(const struct js *object, const char *name, struct str *out)
{
	struct str value = { 0 };

	if (out->len == 0 && js_get_str(object, name, &value))
		*out = value;
}

/* google.rpc.*: RetryInfo, QuotaFailure, ErrorInfo */
static void
take_google_detail(const struct js *detail, struct told *told)
{
	struct str type = { 0 }, value = { 0 };
	const struct js *violations = NULL;

	if (!js_is(detail, JS_OBJECT))
		return;
	if (!js_get_str(detail, "@type", &type))
		return;
	if (str_ends(type, "google.rpc.RetryInfo") && js_get_str(detail, "retryDelay", &value))
		(void)fault_parse_duration(value, &told->retry_ms);
	if (str_ends(type, "google.rpc.ErrorInfo") && js_get_str(detail, "reason", &value))
		told->is_key |= str_eq_c(value, "API_KEY_INVALID");
	violations = js_get(detail, "violations");
	for (size_t i = 0; js_is(violations, JS_ARRAY) && i < js_len(violations); i++) {
		const struct js *violation = js_at(violations, i);
		size_t at = 0;

		if (js_is(violation, JS_OBJECT) && js_get_str(violation, "quotaId", &value))
			told->is_daily |= str_find(value, STR("PerDay"), &at);
	}
}

/* FastAPI: a text, or [{"loc": ["body", "field"], "msg": "..."}] */
static void
take_detail(const struct js *detail, struct told *told)
{
	const struct js *first = NULL, *loc = NULL;

	if (js_is(detail, JS_STRING) && told->message.len == 0)
		told->message = js_str(detail);
	if (!js_is(detail, JS_ARRAY) || js_len(detail) == 0 || !js_is(js_at(detail, 0), JS_OBJECT))
		return;
	first = js_at(detail, 0);
	take_str(first, "msg", &told->message);
	take_str(first, "type", &told->type);
	loc = js_get(first, "loc");
	for (size_t i = 0; js_is(loc, JS_ARRAY) && i < js_len(loc); i++)
		if (js_is(js_at(loc, i), JS_STRING) && !str_eq_c(js_str(js_at(loc, i)), "body"))
			told->param = js_str(js_at(loc, i));
}

static void
take_object(const struct js *object, struct told *told)
{
	const struct js *details = js_get(object, "details");

	take_str(object, "message", &told->message);
	take_str(object, "code", &told->code);
	take_str(object, "type", &told->type);
	take_str(object, "error_type", &told->type);
	take_str(object, "status", &told->status);
	take_str(object, "param", &told->param);
	if (told->number == 0)
		(void)js_get_int(object, "code", &told->number);
	for (size_t i = 0; js_is(details, JS_ARRAY) && i < js_len(details); i++)
		take_google_detail(js_at(details, i), told);
}

static void
take_body(const struct js *root, struct told *told)
{
	const struct js *error = NULL;

	if (js_is(root, JS_ARRAY) && js_len(root) > 0)
		root = js_at(root, 0); /* Gemini without SSE */
	if (js_is(root, JS_STRING))
		told->message = js_str(root);
	if (!js_is(root, JS_OBJECT))
		return;
	error = js_get(root, "error");
	if (js_is(error, JS_OBJECT))
		take_object(error, told);
	if (js_get(root, "detail"))
		take_detail(js_get(root, "detail"), told);
	take_object(root, told);
	if (told->message.len == 0 &&
	    js_is(error, JS_STRING)) /* beside a message it is a name (Chroma) */
		told->message = js_str(error);
}

/* ---- words ---- */

static char
lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* Where needle (lower case) is in text, whatever the case there. */
static bool
find_nocase(struct str text, const char *needle, size_t *out_at)
{
	size_t len = strlen(needle);

	for (size_t at = 0; at + len <= text.len; at++) {
		size_t i = 0;

		while (i < len && lower(text.ptr[at + i]) == needle[i])
			i++;
		if (i == len) {
			*out_at = at;
			return true;
		}
	}
	return false;
}

static bool
has_any(struct str text, const char *const *needles)
{
	size_t at = 0;

	for (; *needles; needles++)
		if (find_nocase(text, *needles, &at))
			return true;
	return false;
}

static const char *const words_of_batch[] = { "tokens per request",
					      "batch size",
					      "batch_size",
					      "in one batch",
					      "maximum batch",
					      "payload too large",
					      "payload size",
					      "body too large",
					      "length limit exceeded",
					      "too many inputs",
					      "too many texts",
					      "too many documents",
					      "total number of texts",
					      "array too long",
					      "maximum number of inputs",
					      "too many sql variables",
					      NULL };
static const char *const words_of_text[] = {
	"context_length_exceeded",
	"exceed_context_size",
	"maximum context length",
	"exceeds the context length",
	"exceeds the available context",
	"context window",
	"inputs must have less than",
	"too large to process", /* llama.cpp, with or without the number */
	"maximum number of tokens",
	"maximum input length",
	"too many tokens",
	"input is too long",
	"input too long",
	"text is too long",
	"text too long",
	"input token length",
	NULL
};

/* "at most 100", "maximum allowed batch size 32": the first number after the last of these words that is there. */
static size_t
said_limit(struct str message)
{
	static const char *const before[] = {
		"at most ",	"allowed batch size ", "maximum batch size ",
		"larger than ", "maximum length ",     "less than or equal to ",
		"maximum of ",	"max batch size "
	};

	for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
		size_t from = 0, end = 0;
		int64_t limit = 0;

		if (!find_nocase(message, before[i], &from))
			continue;
		from = end = from + strlen(before[i]);
		while (end < message.len && message.ptr[end] >= '0' && message.ptr[end] <= '9')
			end++;
		if (end > from && str_to_i64(str_sub(message, from, end), 1, 100000, &limit))
			return (size_t)limit;
	}
	return 0;
}

static bool
is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

/* A field that a request can do without, named by the error; the first in the message, or the one of `param`. */
static bool
find_field(const struct told *told, char out[FAULT_FIELD_BYTES])
{
	static const char *const fields[] = { "temperature",
					      "top_p",
					      "topP",
					      "thinkingBudget",
					      "thinking_budget",
					      "thinkingLevel",
					      "thinking_level",
					      "thinkingConfig",
					      "max_tokens",
					      "max_completion_tokens",
					      "stream_options",
					      "include_usage",
					      "dimensions",
					      "encoding_format",
					      "outputDimensionality",
					      "output_dimensionality",
					      "output_dimension",
					      "taskType",
					      "task_type",
					      "truncate",
					      "max_tokens_per_doc",
					      "return_documents",
					      "top_n" };
	const char *found = NULL;
	size_t best = told->message.len;

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		size_t len = strlen(fields[i]), at = 0, base = 0;

		if (str_eq_c(told->param, fields[i])) {
			(void)str_copy(out, FAULT_FIELD_BYTES, told->param);
			return true;
		}
		while (told->message.ptr &&
		       str_find(str_sub(told->message, base, told->message.len), str_of(fields[i]),
				&at)) {
			size_t from = base + at, end = from + len;

			if ((from == 0 || !is_word_char(told->message.ptr[from - 1])) &&
			    (end == told->message.len || !is_word_char(told->message.ptr[end])) &&
			    from < best) {
				best = from;
				found = fields[i];
			}
			base = end;
		}
	}
	return found && str_copy(out, FAULT_FIELD_BYTES, str_of(found));
}

/* "Please retry in 26.42s." */
static int64_t
said_retry_ms(struct str message)
{
	size_t from = 0, end = 0;
	int64_t ms = -1;

	if (!find_nocase(message, "retry in ", &from))
		return -1;
	from = end = from + strlen("retry in ");
	while (end < message.len && (is_word_char(message.ptr[end]) || message.ptr[end] == '.'))
		end++;
	while (end > from && message.ptr[end - 1] == '.')
		end--;
	return fault_parse_duration(str_sub(message, from, end), &ms) ? ms : -1;
}

/* ---- the table ---- */

static bool
is_no_money(const struct told *told)
{
	static const char *const words[] = { "insufficient_quota", NULL };
	static const char *const trial[] = { "trial", NULL }, *const month[] = { "month", NULL };

	return has_any(told->code, words) || has_any(told->type, words) || told->is_daily ||
	       (has_any(told->message, trial) && has_any(told->message, month));
}

static enum fault_class
class_of_limit(const struct told *told)
{
	/* Gemini says when to retry of a day's quota too: hours; in RetryInfo, or in the message alone */
	int64_t wait_ms = told->retry_ms >= 0 ? told->retry_ms : said_retry_ms(told->message);

	return is_no_money(told) || wait_ms > LONG_WAIT_MS ? FAULT_QUOTA : FAULT_LIMITED;
}

/* 400, 413, 422: the request is at fault, but perhaps one that asks for less is not. */
static enum fault_class
class_of_request(int status, const struct told *told, struct fault *out)
{
	static const char *const one_text[] = { "too large to process", NULL };

	if (status != 413 && has_any(told->message, words_of_batch) &&
	    !has_any(told->message,
		     one_text)) { /* whose "physical batch size" is no batch of ours */
		out->batch_limit = said_limit(told->message);
		return FAULT_BATCH;
	}
	if (has_any(told->message, words_of_text) || has_any(told->code, words_of_text) ||
	    has_any(told->type, words_of_text))
		return FAULT_TEXT;
	if (status == 413) {
		out->batch_limit = said_limit(told->message);
		return FAULT_BATCH;
	}
	if (find_field(told, out->field))
		return FAULT_FIELD;
	return FAULT_REJECTED;
}

static enum fault_class
class_of(int status, const struct told *told, struct fault *out)
{
	static const char *const no_id[] = { "error finding id", NULL };

	if (told->is_key || status == 401 || status == 402 || status == 403 || status == 404)
		out->is_access = true;
	if (status == 402)
		return FAULT_QUOTA;
	switch (status) {
	case 400:
	case 413:
	case 422:
		return told->is_key ? FAULT_REJECTED : class_of_request(status, told, out);
	case 408:
	case 424: /* TEI: inference failed */
	case 425:
	case 499: /* the server thinks that we hung up */
		return FAULT_FAILED;
	case 429:
		return class_of_limit(told);
	case 500:
		if (has_any(told->message, words_of_text)) /* llama.cpp */
			return FAULT_TEXT;
		if (has_any(told->message, words_of_batch)) /* Chroma before 1.0 */
			return FAULT_BATCH;
		return has_any(told->message, no_id) ? FAULT_REJECTED : FAULT_FAILED;
	case 501:
	case 505:
		return FAULT_REJECTED;
	case 502:
	case 503:
	case 504:
	case 529:
		return FAULT_OUTAGE;
	default:
		return status >= 500 ? FAULT_FAILED : FAULT_REJECTED;
	}
}

/* The status that an error inside a stream would have had. */
static int
status_of_event(const struct told *told)
{
	static const struct {
		const char *word;
		int status;
	} words[] = { { "insufficient_quota", 429 },
		      { "rate_limit", 429 },
		      { "resource_exhausted", 429 },
		      { "overloaded", 503 },
		      { "unavailable", 503 },
		      { "deadline_exceeded", 504 },
		      { "context_length", 400 },
		      { "exceed_context", 400 },
		      { "invalid_request", 400 },
		      { "invalid_argument", 400 },
		      { "failed_precondition", 400 },
		      { "permission_denied", 403 },
		      { "unauthenticated", 401 },
		      { "authentication", 401 },
		      { "not_found", 404 } };
	const struct str places[] = { told->code, told->status, told->type };
	size_t at = 0;

	if (told->number >= 400 && told->number <= 599)
		return (int)told->number;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		for (size_t j = 0; j < ARRAY_SIZE(places); j++)
			if (find_nocase(places[j], words[i].word, &at))
				return words[i].status;
	return 500;
}

static void
judge(int status, struct str body, const char *key, const struct http_reply *reply,
      struct fault *out)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	struct told told = { .retry_ms = -1 };
	struct err ignored = ERR_INIT;
	struct str head = str_sub(body, 0, (size_t)2 * FAULT_MESSAGE_BYTES);

	if (body.len <= BODY_MAX_BYTES && js_parse(str_trim(body), &root, &ignored)) {
		take_body(root, &told);
	} else if (head.len > 0 && !str_starts(str_trim(head), "<")) {
		told.message = head; /* "Payload too large": words to judge by, not to show */
	}
	*out = (struct fault){ .status = status, .retry_after_ms = -1 };
	if (root)
		fault_redact(told.message, key, out->message, sizeof(out->message));
	if (!out->message[0])
		fault_redact(head, key, out->excerpt, sizeof(out->excerpt));
	if (status == 0)
		out->status = status_of_event(&told);
	out->class = class_of(out->status, &told, out);
	if (out->class != FAULT_LIMITED && out->class != FAULT_OUTAGE && out->class != FAULT_FAILED)
		return;
	if (reply) {
		struct str ms = { 0 };
		uint64_t value = 0;

		if (http_reply_header(reply, "retry-after-ms", &ms) && str_to_u64(ms, &value))
			out->retry_after_ms = value < (uint64_t)DURATION_MAX_MS ? (int64_t)value
										: DURATION_MAX_MS;
		if (out->retry_after_ms < 0)
			out->retry_after_ms = http_reply_retry_after_ms(reply);
	}
	if (out->retry_after_ms < 0)
		out->retry_after_ms = told.retry_ms;
	if (out->retry_after_ms < 0)
		out->retry_after_ms = said_retry_ms(told.message);
	if (out->retry_after_ms < 0 && reply && out->class == FAULT_LIMITED)
		out->retry_after_ms = fault_ratelimit_reset_ms(reply);
}

void
fault_of_reply(const struct http_reply *reply, struct str body, const char *key, struct fault *out)
{
	if (reply->status >= 200 && reply->status <= 299)
		*out = (struct fault){ .status = reply->status, .retry_after_ms = -1 };
	else
		judge(reply->status, body, key, reply, out);
}

void
fault_of_event(struct str json, const char *key, struct fault *out)
{
	judge(0, json, key, NULL, out);
}

/* ---- in the words of our own errors ---- */

bool
fault_to_err(const struct fault *fault, const char *provider, struct err *err)
{
	static const struct {
		enum err_code code;
		const char *text;
	} rows[] = {
		[FAULT_NONE] = { ERR_PROVIDER_REPLY, "gave an answer that could not be used" },
		[FAULT_LIMITED] = { ERR_PROVIDER_LIMITED, "has no room for more requests now" },
		[FAULT_OUTAGE] = { ERR_PROVIDER_UNAVAILABLE, "is not available" },
		[FAULT_FAILED] = { ERR_PROVIDER_REPLY, "failed at this request" },
		[FAULT_QUOTA] = { ERR_PROVIDER_QUOTA, "has no quota left" },
		[FAULT_BATCH] = { ERR_TOO_LARGE, "does not take so much at once" },
		[FAULT_TEXT] = { ERR_TOO_LARGE, "does not take a text this long" },
		[FAULT_FIELD] = { ERR_PROVIDER_REJECTED, "does not take a field of the request" },
		[FAULT_REJECTED] = { ERR_PROVIDER_REJECTED, "rejected the request" },
	};
	const char *words = fault->message;

	err_set(err, rows[fault->class].code, "provider '%s' %s (HTTP %d)%s%s", provider,
		rows[fault->class].text, fault->status, words[0] ? ": " : "", words);
	err->detail = fault->class == FAULT_BATCH  ? TOO_LARGE_BATCH
		      : fault->class == FAULT_TEXT ? TOO_LARGE_TEXT
						   : fault->status;
	err->retry_after_ms = fault->retry_after_ms;
	if (fault->excerpt[0])
		err_cause(err, "%s", fault->excerpt);
	return false;
}

bool
fault_leave_out(const struct fault *fault, const char *field, unsigned bit, unsigned *without)
{
	if (fault->class != FAULT_FIELD || strcmp(fault->field, field) != 0 || (*without & bit))
		return false;
	*without |= bit;
	return true;
}
