#include "common/base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/str.h"

#undef err_set /* here they are functions to analysers, too */
#undef err_wrap
#undef err_cause
#undef err_at
#undef err_waiting_for
#undef err_errno

// NOLINTBEGIN(bugprone-macro-parentheses): the arguments are values of initialisers
static const struct err_info table[ERR_CODE_COUNT] = {
#define X(name, wire_, http, retryable_, outage_, title_)                                          \
	[ERR_##name] = { .wire = wire_,                                                            \
			 .title = title_,                                                          \
			 .http_status = http,                                                      \
			 .retryable = retryable_,                                                  \
			 .outage = outage_ },
	ERR_CODES(X)
#undef X
};
// NOLINTEND(bugprone-macro-parentheses)

/* Copies text into a fixed array: one line, valid UTF-8, cut at a character boundary. Control bytes
 * become blanks, broken bytes '?'. */
static void
put_line(char *dst, size_t dst_bytes, const char *text)
{
	struct str src = str_of(text);
	size_t out = 0;

	for (size_t at = 0; at < src.len;) {
		uint32_t cp = 0;
		size_t step = str_utf8_next(src, at, &cp);

		if (out + step >= dst_bytes)
			break;
		if (step == 1 && (unsigned char)src.ptr[at] >= 0x80)
			dst[out] = '?';
		else if (cp < 0x20 || cp == 0x7f)
			dst[out] = ' ';
		else
			memcpy(dst + out, src.ptr + at, step);
		out += step;
		at += step;
	}
	dst[out] = '\0';
}

/* Formats first, so that an argument may point into the array that is written. The scratch array is
 * larger than any destination: a character cut at its end is dropped by put_line's own limit. */
#define SCRATCH_BYTES (2 * ERR_MSG_MAX_BYTES)

static void __attribute__((format(printf, 3, 0)))
put_format(char *dst, size_t dst_bytes, const char *fmt, va_list args)
{
	char scratch[SCRATCH_BYTES];

	if (vsnprintf(scratch, sizeof(scratch), fmt, args) < 0)
		scratch[0] = '\0';
	put_line(dst, dst_bytes, scratch);
}

bool
err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
	char msg[ERR_MSG_MAX_BYTES];
	va_list args;

	assert(err);
	va_start(args, fmt);
	put_format(msg, sizeof(msg), fmt, args);
	va_end(args);
	*err = ERR_INIT;
	err->code = code;
	memcpy(err->msg, msg, sizeof(msg));
	return false;
}

bool
err_wrap(struct err *err, const char *fmt, ...)
{
	char head[ERR_MSG_MAX_BYTES];
	char whole[2 * ERR_MSG_MAX_BYTES + 2];
	va_list args;

	assert(err);
	va_start(args, fmt);
	put_format(head, sizeof(head), fmt, args);
	va_end(args);

	size_t head_len = strlen(head);
	size_t msg_len = strnlen(err->msg, sizeof(err->msg) - 1);

	memcpy(whole, head, head_len);
	memcpy(whole + head_len, ": ", 2);
	memcpy(whole + head_len + 2, err->msg, msg_len);
	whole[head_len + 2 + msg_len] = '\0';
	put_line(err->msg, sizeof(err->msg), whole);
	return false;
}

bool
err_cause(struct err *err, const char *fmt, ...)
{
	va_list args;

	assert(err);
	va_start(args, fmt);
	put_format(err->cause, sizeof(err->cause), fmt, args);
	va_end(args);
	return false;
}

bool
err_at(struct err *err, const char *fmt, ...)
{
	va_list args;

	assert(err);
	va_start(args, fmt);
	put_format(err->pointer, sizeof(err->pointer), fmt, args);
	va_end(args);
	return false;
}

bool
err_waiting_for(struct err *err, const char *fmt, ...)
{
	va_list args;

	assert(err);
	va_start(args, fmt);
	put_format(err->waiting_for, sizeof(err->waiting_for), fmt, args);
	va_end(args);
	return false;
}

static enum err_code
code_of_errno(int errnum)
{
	switch (errnum) {
	case ENOSPC:
	case EDQUOT:
		return ERR_DISK_FULL;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	default:
		return ERR_IO;
	}
}

bool
err_errno(struct err *err, int errnum, const char *fmt, ...)
{
	char what[ERR_MSG_MAX_BYTES];
	char scratch[128];
	va_list args;

	va_start(args, fmt);
	put_format(what, sizeof(what), fmt, args);
	va_end(args);
	err_set(err, code_of_errno(errnum), "could not %s: %s", what,
		strerror_r(errnum, scratch, sizeof(scratch)));
	err->detail = errnum;
	return false;
}

void
err_clear(struct err *err)
{
	*err = ERR_INIT;
}

const struct err_info *
err_info(enum err_code code)
{
	return (unsigned)code < ERR_CODE_COUNT ? &table[code] : &table[ERR_INTERNAL];
}

enum err_code
err_code_from_wire(const char *wire)
{
	for (size_t i = 0; wire && i < ARRAY_SIZE(table); i++) {
		if (strcmp(table[i].wire, wire) == 0)
			return (enum err_code)i;
	}
	return ERR_INTERNAL;
}
