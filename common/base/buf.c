#include "common/base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"

#define CAP_MIN_BYTES ((size_t)64)

/* Shared by all empty buffers and therefore never written. */
char buf_empty_[1];

/* The largest len a buffer can hold: its NUL must fit below PTRDIFF_MAX. */
static size_t
len_max(const struct buf *buf)
{
	return buf->max < PTRDIFF_MAX - 1 ? buf->max : PTRDIFF_MAX - 1;
}

static void
grow(struct buf *buf, size_t need)
{
	size_t most = len_max(buf) + 1;
	size_t cap = buf->cap < CAP_MIN_BYTES ? CAP_MIN_BYTES : buf->cap;

	while (cap < need)
		cap = cap > most / 2 ? most : cap * 2;
	if (cap > most)
		cap = most;

	bool was_empty = buf->cap == 0;

	buf->data = mem_grow(was_empty ? NULL : buf->data, cap, 1);
	buf->cap = cap;
	if (was_empty)
		buf->data[0] = '\0';
}

void
buf_init(struct buf *buf, size_t max_bytes)
{
	*buf = (struct buf)BUF_INIT(max_bytes);
}

void
buf_release(struct buf *buf)
{
	if (!buf)
		return;
	if (buf->cap > 0)
		mem_free(buf->data);
	buf_init(buf, buf->max);
}

void
buf_clear(struct buf *buf)
{
	buf->len = 0;
	buf->failed = false;
	if (buf->cap > 0)
		buf->data[0] = '\0';
}

char *
buf_reserve(struct buf *buf, size_t len)
{
	if (buf->failed || len > len_max(buf) - buf->len) {
		buf->failed = true;
		return NULL;
	}
	if (buf->cap < buf->len + len + 1)
		grow(buf, buf->len + len + 1);
	return buf->data + buf->len;
}

void
buf_commit(struct buf *buf, size_t len)
{
	if (buf->failed || len == 0)
		return;
	assert(buf->cap > buf->len && len < buf->cap - buf->len);
	buf->len += len;
	buf->data[buf->len] = '\0';
}

void
buf_add(struct buf *buf, const void *ptr, size_t len)
{
	if (len == 0)
		return;

	char *to = buf_reserve(buf, len);

	if (!to)
		return;
	memcpy(to, ptr, len);
	buf_commit(buf, len);
}

void
buf_add_str(struct buf *buf, const char *text)
{
	buf_add(buf, text, strlen(text));
}

void
buf_add_char(struct buf *buf, char c)
{
	buf_add(buf, &c, 1);
}

void
buf_add_i64(struct buf *buf, int64_t value)
{
	char digits[24];
	char *at = digits + sizeof(digits);
	uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;

	do {
		*--at = (char)('0' + left % 10);
		left /= 10;
	} while (left > 0);
	if (value < 0)
		*--at = '-';
	buf_add(buf, at, (size_t)(digits + sizeof(digits) - at));
}

void
buf_printf(struct buf *buf, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	buf_vprintf(buf, fmt, args);
	va_end(args);
}

void
buf_vprintf(struct buf *buf, const char *fmt, va_list args)
{
	char small[256];
	va_list again;

	if (buf->failed)
		return;
	va_copy(again, args);
	int len = vsnprintf(small, sizeof(small), fmt, args);

	if (len < 0) {
		buf->failed = true;
	} else if ((size_t)len < sizeof(small)) {
		buf_add(buf, small, (size_t)len);
	} else {
		char *to = buf_reserve(buf, (size_t)len);

		if (to) {
			(void)vsnprintf(to, (size_t)len + 1, fmt, again);
			buf_commit(buf, (size_t)len);
		}
	}
	va_end(again);
}

void
buf_truncate(struct buf *buf, size_t len)
{
	assert(len <= buf->len);
	buf->len = len;
	if (buf->cap > 0)
		buf->data[len] = '\0';
}

bool
buf_ok(const struct buf *buf)
{
	return !buf->failed;
}

bool
buf_check(const struct buf *buf, const char *what, struct err *err)
{
	if (buf->failed)
		return err_set(err, ERR_TOO_LARGE, "cannot build %s: more than %zu bytes", what,
			       buf->max);
	return true;
}

char *
buf_take(struct buf *buf, size_t *out_len)
{
	if (buf->failed)
		return NULL;

	char *text = buf->cap > 0 ? buf->data : mem_strdup("");

	if (out_len)
		*out_len = buf->len;
	buf_init(buf, buf->max);
	return text;
}
