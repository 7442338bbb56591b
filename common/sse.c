#include "common/sse.h"

#include <string.h>

/* ---- writing ---- */

void
sse_add_retry(struct buf *out, int64_t retry_ms)
{
	buf_printf(out, "retry: %lld\n\n", (long long)retry_ms);
}

void
sse_add_comment(struct buf *out, const char *text)
{
	buf_printf(out, ": %s\n\n", text);
}

/* Cuts the next line off; CR, LF and CRLF end one, as a reader sees them. */
static bool
next_line(struct str *rest, struct str *out)
{
	size_t at = 0, skip = 1;

	if (!rest->ptr)
		return false;
	while (at < rest->len && rest->ptr[at] != '\n' && rest->ptr[at] != '\r')
		at++;
	*out = str_sub(*rest, 0, at);
	if (at == rest->len) {
		*rest = (struct str){ 0 };
		return true;
	}
	if (rest->ptr[at] == '\r' && at + 1 < rest->len && rest->ptr[at + 1] == '\n')
		skip = 2;
	*rest = str_make(rest->ptr + at + skip, rest->len - at - skip);
	return true;
}

void
sse_add_event(struct buf *out, const char *id, const char *name, struct str data)
{
	struct str rest = data.ptr ? data : STR(""), line;

	if (id[0])
		buf_printf(out, "id: %s\n", id);
	buf_printf(out, "event: %s\n", name);
	while (next_line(&rest, &line)) {
		buf_add_str(out, "data: ");
		buf_add(out, line.ptr, line.len);
		buf_add_char(out, '\n');
	}
	buf_add_char(out, '\n');
}

/* ---- reading ---- */

void
sse_decoder_init(struct sse_decoder *decoder, size_t max_event_bytes)
{
	*decoder = (struct sse_decoder){ .retry_ms = -1 };
	buf_init(&decoder->line, max_event_bytes);
	buf_init(&decoder->data, max_event_bytes);
}

void
sse_decoder_release(struct sse_decoder *decoder)
{
	buf_release(&decoder->line);
	buf_release(&decoder->data);
}

static void
forget_event(struct sse_decoder *decoder)
{
	buf_clear(&decoder->data);
	decoder->name[0] = '\0';
	decoder->has_data = false;
}

void
sse_decoder_restart(struct sse_decoder *decoder)
{
	forget_event(decoder);
	buf_clear(&decoder->line);
	(void)str_copy(decoder->next_id, sizeof(decoder->next_id), str_of(decoder->id));
	decoder->after_cr = decoder->started = false;
}

static void
take_field(struct sse_decoder *decoder, struct str name, struct str value)
{
	int64_t retry_ms = 0;

	if (str_eq_c(name, "data")) {
		if (decoder->has_data)
			buf_add_char(&decoder->data, '\n');
		buf_add(&decoder->data, value.ptr, value.len);
		decoder->has_data = true;
	} else if (str_eq_c(name, "event")) {
		(void)str_copy(decoder->name, sizeof(decoder->name), value);
	} else if (str_eq_c(name, "id")) {
		if (value.len < SSE_ID_BYTES && !memchr(value.ptr ? value.ptr : "", 0, value.len))
			(void)str_copy(decoder->next_id, sizeof(decoder->next_id), value);
	} else if (str_eq_c(name, "retry")) {
		if (value.len > 0 && value.ptr[0] != '-' &&
		    str_to_i64(value, 0, INT64_C(86400000), &retry_ms))
			decoder->retry_ms = retry_ms;
	}
}

static bool
dispatch(struct sse_decoder *decoder, bool (*fn)(void *user, const struct sse_event *event),
	 void *user)
{
	const struct sse_event event = {
		.id = decoder->id,
		.name = decoder->name[0] ? str_of(decoder->name) : STR("message"),
		.data = str_make(decoder->data.data, decoder->data.len),
	};
	bool go_on;

	(void)str_copy(decoder->id, sizeof(decoder->id), str_of(decoder->next_id));
	go_on = !decoder->has_data || fn(user, &event);
	forget_event(decoder);
	return go_on;
}

static bool
take_line(struct sse_decoder *decoder, bool (*fn)(void *user, const struct sse_event *event),
	  void *user)
{
	struct str line = str_make(decoder->line.data, decoder->line.len), name = line;
	struct str value = STR("");
	size_t colon = 0;
	bool go_on = true;

	if (!decoder->started && line.len >= 3 && memcmp(line.ptr, "\xef\xbb\xbf", 3) == 0)
		line = name = str_sub(line, 3, line.len);
	decoder->started = true;
	if (line.len == 0) {
		go_on = dispatch(decoder, fn, user);
	} else if (line.ptr[0] != ':') {
		if (str_find(line, STR(":"), &colon)) {
			name = str_sub(line, 0, colon);
			value = str_sub(line, colon + 1, line.len);
			if (value.len > 0 && value.ptr[0] == ' ')
				value = str_sub(value, 1, value.len);
		}
		take_field(decoder, name, value);
	}
	buf_clear(&decoder->line);
	return go_on;
}

bool
sse_decoder_feed(struct sse_decoder *decoder, struct str bytes,
		 bool (*fn)(void *user, const struct sse_event *event), void *user, struct err *err)
{
	for (size_t at = 0; at < bytes.len;) {
		size_t from = at;

		/* the LF of a CRLF */
		if (decoder->after_cr && bytes.ptr[at] == '\n')
			from = ++at;
		decoder->after_cr = false;
		while (at < bytes.len && bytes.ptr[at] != '\n' && bytes.ptr[at] != '\r')
			at++;
		buf_add(&decoder->line, bytes.ptr + from, at - from);
		if (!buf_check(&decoder->line, "a line of the event stream", err))
			return false;
		if (at == bytes.len)
			return true;
		decoder->after_cr = bytes.ptr[at++] == '\r';
		if (!take_line(decoder, fn, user))
			return false;
		if (!buf_check(&decoder->data, "an event of the stream", err))
			return false;
	}
	return true;
}

bool
sse_decoder_end(struct sse_decoder *decoder, bool (*fn)(void *user, const struct sse_event *event),
		void *user)
{
	bool go_on = decoder->line.len == 0 || take_line(decoder, fn, user);

	return go_on && buf_ok(&decoder->data) && dispatch(decoder, fn, user);
}
