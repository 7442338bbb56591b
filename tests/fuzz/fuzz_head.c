/* fuzz_head: any bytes as the head of an HTTP request; and its path and parameters, decoded. */
#include <string.h>

#include "common/http_conn.h"
#include "tests/fuzz/fuzz.h"

static void
write_head(const struct http_head *head, struct buf *out)
{
	buf_printf(out, STR_FMT " " STR_FMT, STR_ARG(head->method), STR_ARG(head->path));
	if (head->query.len > 0)
		buf_printf(out, "?" STR_FMT, STR_ARG(head->query));
	buf_printf(out, " HTTP/1.%c\r\n", head->http_1_0 ? '0' : '1');
	for (size_t i = 0; i < head->field_count; i++)
		buf_printf(out, STR_FMT ": " STR_FMT "\r\n", STR_ARG(head->fields[i].name),
			   STR_ARG(head->fields[i].value));
	buf_add_str(out, "\r\n");
}

static void
check_head(const struct http_head *head, struct str whole)
{
	must(lies_in(head->method, whole) && lies_in(head->query, whole), "slices lie in the head");
	must(head->path.len > 0 && (head->path.ptr[0] == '/' || str_eq_c(head->path, "*")),
	     "a path begins with a slash");
	must(!head->chunked || head->content_length < 0, "a body has one length");
	must(!head->http_1_0 || (!head->chunked && !head->expect_continue), "HTTP/1.0 has neither");
	must(head->field_count <= HTTP_HEAD_MAX_FIELDS, "fields are counted");
	for (size_t i = 0; i < head->field_count; i++) {
		struct str name = head->fields[i].name, value = head->fields[i].value;

		must(name.len > 0 && lies_in(name, whole) && lies_in(value, whole),
		     "fields lie in the head");
		must(!memchr(name.ptr, ':', name.len), "a name holds no colon");
		must(value.len == 0 || (!memchr(value.ptr, '\n', value.len) &&
					!memchr(value.ptr, '\r', value.len)),
		     "a value is one line");
		must(str_eq(str_trim(value), value), "a value is trimmed");
	}
}

static bool
any_name(void *user, struct str name, struct err *err)
{
	(void)err;
	must(str_utf8_valid(name, NULL) && !(name.len && memchr(name.ptr, '\0', name.len)),
	     "a parameter's name is a text");
	(*(size_t *)user)++;
	return true;
}

static void
check_target(const struct http_head *head)
{
	const struct http_request request = { .query = head->query };
	AUTO(arena) struct arena arena;
	struct err err = ERR_INIT;
	struct str text = { 0 };
	size_t names = 0;
	bool found;

	arena_init(&arena, MIB);
	if (http_path_decode(head->path, &arena, &text, &err)) {
		must(text.len <= head->path.len, "decoding only shortens");
		must(str_utf8_valid(text, NULL) && !memchr(text.ptr, '\0', text.len),
		     "a decoded path is a text");
	} else {
		must(err.code == ERR_MALFORMED || err.code == ERR_TOO_LARGE,
		     "refused with a reason");
	}
	(void)http_each_param(&request, &arena, any_name, &names, &err);
	must(names <= head->query.len, "no more names than bytes");
	if (http_param(&request, "a", &arena, &found, &text, &err) && found)
		must(str_utf8_valid(text, NULL), "a parameter is a text");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *bytes = (const char *)data;
	AUTO(buf) struct buf written = BUF_INIT(MIB);
	struct http_head head, again;
	size_t at = 0, len = 0, cut_at = 0, cut_len = 0;
	enum http_head_scan scan = http_head_scan(bytes, size, &at, &len), cut;
	struct err err = ERR_INIT;

	/* in two pieces the same */
	cut = http_head_scan(bytes, size / 2, &cut_at, &cut_len);
	if (cut == HTTP_HEAD_MORE)
		cut = http_head_scan(bytes, size, &cut_at, &cut_len);
	must(cut == scan && (scan != HTTP_HEAD_DONE || len == cut_len), "pieces change nothing");
	if (scan != HTTP_HEAD_DONE)
		return 0;
	must(len <= size, "a head lies in the bytes");
	if (!http_head_parse(bytes, len, &head, &err)) {
		must(err.detail == 400 || err.detail == 417 || err.detail == 431 ||
			     err.detail == 505,
		     "a refusal has a status");
		return 0;
	}
	check_head(&head, str_make(bytes, len));
	check_target(&head);
	write_head(&head, &written);
	must(http_head_parse(written.data, written.len, &again, &err), "a head written out is one");
	must(str_eq(head.method, again.method) && str_eq(head.path, again.path) &&
		     str_eq(head.query, again.query) && head.field_count == again.field_count &&
		     head.keep_alive == again.keep_alive && head.chunked == again.chunked &&
		     head.content_length == again.content_length,
	     "and says the same");
	return 0;
}
