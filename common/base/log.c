/*
 * A line is built on the stack and leaves in one write(2) of at most PIPE_BUF bytes, so lines of
 * several threads and processes never mix, and logging works when memory is out.
 *
 * Everything behind msg is built first, each value within its own limit; msg gets what is left.
 * A value is cut between characters, before its closing quote, and then ends with "...": whatever is
 * cut, the line stays valid JSON.
 */
#include "common/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/str.h"

#define FIELD_MAX_BYTES 128 /* a context value as set, its NUL included */
#define VALUE_MAX_BYTES 256 /* the same, escaped and quoted */
#define CAUSE_MAX_BYTES 512
#define TAIL_MAX_BYTES 3400

static const char *const level_names[] = { "debug", "info", "warn", "error" };
static const char *const field_names[] = { "req_id",   "job_id",      "job_type", "attempt", "step",
					   "provider", "traceparent", "tenant",	  "caller" };

#define FIELD_COUNT ARRAY_SIZE(field_names)

_Static_assert(FIELD_COUNT *(VALUE_MAX_BYTES + 16) + CAUSE_MAX_BYTES + 300 < TAIL_MAX_BYTES,
	       "all fields at their largest fit behind msg");
_Static_assert(TAIL_MAX_BYTES + 512 < LOG_LINE_MAX_BYTES, "msg keeps some room");

struct field {
	bool is_set;
	bool is_number;
	char value[FIELD_MAX_BYTES];
};

static _Thread_local struct field fields[FIELD_COUNT];

static _Atomic(const char *) service = "rag";
static _Atomic int threshold = LOG_INFO;
static _Atomic int test_fd = -1;

/* Bytes with a limit; what does not fit is dropped. */
struct out {
	char *data;
	size_t len;
	size_t max;
};

static void
put(struct out *out, const char *text, size_t len)
{
	if (len <= out->max - out->len) {
		memcpy(out->data + out->len, text, len);
		out->len += len;
	}
}

static void
put_text(struct out *out, const char *text)
{
	put(out, text, strlen(text));
}

/* One character as it stands between JSON quotes. */
static size_t
escape(char dst[8], struct str text, size_t at, size_t *out_step)
{
	uint32_t cp = 0;
	size_t step = str_utf8_next(text, at, &cp);
	char c = text.ptr[at];

	*out_step = step;
	if (step == 1 && ((unsigned char)c >= 0x80 || cp < 0x20 || cp == 0x7f)) {
		static const char shorts[] = "\nn\rr\tt";

		for (size_t i = 0; i < sizeof(shorts) - 1; i += 2) {
			if (c == shorts[i]) {
				dst[0] = '\\';
				dst[1] = shorts[i + 1];
				return 2;
			}
		}
		return (size_t)snprintf(dst, 8, "\\u%04x", (unsigned)cp & 0xffff);
	}
	if (c == '"' || c == '\\') {
		dst[0] = '\\';
		dst[1] = c;
		return 2;
	}
	memcpy(dst, text.ptr + at, step);
	return step;
}

/* A quoted string of at most max_bytes, quotes included. */
static void
put_string(struct out *out, struct str text, size_t max_bytes)
{
	size_t room = out->max - out->len;
	size_t end = out->len + (room < max_bytes ? room : max_bytes);

	if (end - out->len < sizeof("\"...\""))
		return;
	put_text(out, "\"");

	size_t cut_at = out->len; /* the last place where "..." and the quote still fit */

	for (size_t at = 0, step = 0; at < text.len; at += step) {
		char escaped[8];
		size_t len = escape(escaped, text, at, &step);

		if (out->len + 4 <= end)
			cut_at = out->len;
		if (out->len + len + 1 > end) {
			out->len = cut_at;
			put_text(out, "...");
			break;
		}
		put(out, escaped, len);
	}
	put_text(out, "\"");
}

static void
put_name(struct out *out, const char *name)
{
	put_text(out, ",\"");
	put_text(out, name);
	put_text(out, "\":");
}

static void
put_number(struct out *out, const char *name, int64_t value)
{
	char digits[24];

	(void)snprintf(digits, sizeof(digits), "%lld", (long long)value);
	put_name(out, name);
	put_text(out, digits);
}

static void
put_fields(struct out *out)
{
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		if (!fields[i].is_set)
			continue;
		put_name(out, field_names[i]);
		if (fields[i].is_number)
			put_text(out, fields[i].value);
		else
			put_string(out, str_of(fields[i].value), VALUE_MAX_BYTES);
	}
}

static void
write_all(const char *ptr, size_t len)
{
	int fd = atomic_load_explicit(&test_fd, memory_order_relaxed);

	while (len > 0) {
		ssize_t done = write(fd >= 0 ? fd : STDERR_FILENO, ptr, len);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return; /* nobody to tell */
		ptr += done;
		len -= (size_t)done;
	}
}

/* tail: the members behind msg, each with its comma */
static void
emit(enum log_level level, const char *msg, const struct out *tail)
{
	char line[LOG_LINE_MAX_BYTES];
	char ts[CLOCK_ISO_BYTES];
	struct out out = { .data = line, .max = sizeof(line) - tail->len - 2 /* "}\n" */ };

	clock_format_iso(ts, clock_unix_ms());
	put_text(&out, "{\"ts\":\"");
	put_text(&out, ts);
	put_text(&out, "\",\"level\":\"");
	put_text(&out, level_names[level]);
	put_text(&out, "\",\"svc\":");
	put_string(&out, str_of(atomic_load(&service)), 64);
	put_name(&out, "msg");
	put_string(&out, str_of(msg), sizeof(line));
	out.max = sizeof(line);
	put(&out, tail->data, tail->len);
	put_text(&out, "}\n");
	write_all(line, out.len);
}

/* Out-of-range levels count as error, so that a table is never read past its end. */
static enum log_level
clamp(enum log_level level)
{
	return (unsigned)level <= LOG_ERROR ? level : LOG_ERROR;
}

void
log_init(const char *svc, enum log_level level)
{
	atomic_store(&service, svc);
	atomic_store(&threshold, (int)clamp(level));
}

bool
log_level_parse(const char *text, enum log_level *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (str_eq_nocase(str_of(text), str_of(level_names[i]))) {
			*out = (enum log_level)i;
			return true;
		}
	}
	return false;
}

bool
log_enabled(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&threshold, memory_order_relaxed);
}

void
log_set_fd_for_test(int fd)
{
	atomic_store(&test_fd, fd);
}

/* NULL, and a line that says so, for a name that is not in the table: a wrong name is a mistake of
 * ours, but no reason to stop a daemon. */
static struct field *
field_named(const char *name)
{
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		if (strcmp(field_names[i], name) == 0)
			return &fields[i];
	}
	log_warn("log field '%s' is not known and was dropped", name);
	return NULL;
}

void
log_field(const char *name, const char *value)
{
	struct field *field = field_named(name);

	if (!field)
		return;
	field->is_set = value != NULL;
	field->is_number = false;
	(void)str_copy(field->value, sizeof(field->value), str_of(value));
}

void
log_field_i64(const char *name, int64_t value)
{
	struct field *field = field_named(name);

	if (!field)
		return;
	field->is_set = true;
	field->is_number = true;
	(void)snprintf(field->value, sizeof(field->value), "%lld", (long long)value);
}

void
log_clear_fields(void)
{
	memset(fields, 0, sizeof(fields));
}

void
log_line(enum log_level level, const char *fmt, ...)
{
	char msg[LOG_LINE_MAX_BYTES], tail_data[TAIL_MAX_BYTES];
	struct out tail = { .data = tail_data, .max = sizeof(tail_data) };
	int saved_errno = errno;
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, fmt);
	if (vsnprintf(msg, sizeof(msg), fmt, args) < 0)
		msg[0] = '\0';
	va_end(args);
	put_fields(&tail);
	emit(clamp(level), msg, &tail);
	errno = saved_errno;
}

void
log_err(enum log_level level, const struct err *err, const char *fmt, ...)
{
	char msg[LOG_LINE_MAX_BYTES], tail_data[TAIL_MAX_BYTES];
	struct out tail = { .data = tail_data, .max = sizeof(tail_data) };
	int saved_errno = errno;
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, fmt);
	int text_len = vsnprintf(msg, sizeof(msg), fmt, args);
	va_end(args);

	size_t len = text_len < 0 ? 0 : (size_t)text_len;

	/* a text that leaves no room for the error loses its end, the error is what matters */
	if (len > sizeof(msg) - sizeof(err->msg) - 2)
		len = sizeof(msg) - sizeof(err->msg) - 2;
	msg[len] = ':';
	msg[len + 1] = ' ';
	(void)str_copy(msg + len + 2, sizeof(msg) - len - 2, str_of(err->msg));

	put_fields(&tail);
	put_name(&tail, "err_code");
	put_string(&tail, str_of(err_info(err->code)->wire), VALUE_MAX_BYTES);
	if (err->detail != 0)
		put_number(&tail, "err_detail", err->detail);
	if (err->cause[0] != '\0') {
		put_name(&tail, "err_cause");
		put_string(&tail, str_of(err->cause), CAUSE_MAX_BYTES);
	}
	emit(clamp(level), msg, &tail);
	errno = saved_errno;
}

void
log_done(enum log_level level, int64_t dur_ms, int status, const char *fmt, ...)
{
	char msg[LOG_LINE_MAX_BYTES], tail_data[TAIL_MAX_BYTES];
	struct out tail = { .data = tail_data, .max = sizeof(tail_data) };
	int saved_errno = errno;
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, fmt);
	if (vsnprintf(msg, sizeof(msg), fmt, args) < 0)
		msg[0] = '\0';
	va_end(args);
	put_fields(&tail);
	put_number(&tail, "dur_ms", dur_ms);
	put_number(&tail, "status", status);
	emit(clamp(level), msg, &tail);
	errno = saved_errno;
}
