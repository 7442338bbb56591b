/*
 * fuzz_headers: any bytes as a request's head, as the API reads it: trace context, request id, preferences, entity tags,
 * idempotency key, page size and page token. The first byte is the length of a list's state for a token of our own.
 */
#include <string.h>

#include "api/call.h"
#include "api/route.h"
#include "common/http_conn.h"
#include "tests/fuzz/fuzz.h"

static bool
is_plain(const char *text)
{
	for (; *text; text++)
		if (*text <= 0x20 || *text >= 0x7f || strchr("\"\\<>", *text))
			return false;
	return true;
}

static void
check_headers(struct call *call)
{
	struct prefer prefer;
	struct str key = { 0 };
	struct err err = ERR_INIT;
	bool present = false;

	must(call->request_id[0] && is_plain(call->request_id), "a request id is harmless");
	must(!call->traceparent[0] ||
		     (strlen(call->traceparent) == 55 && is_plain(call->traceparent)),
	     "a trace context is whole");
	call_prefer(call, &prefer);
	must(prefer.wait_s >= -1 && prefer.wait_s <= call->api->config->max_wait_s,
	     "a wait is capped");
	must(!call_none_match(call, "\"x-1\"", &present) || present,
	     "what is absent does not match");
	if (call_idempotency_key(call, &key, &err))
		must(key.len <= CALL_IDEMPOTENCY_KEY_MAX_BYTES, "a key is short");
	else
		must(err.code == ERR_MALFORMED, "refused with a reason");
	(void)call_media_type(call);
}

static void
check_params(struct call *call)
{
	struct str state = { 0 };
	struct err err = ERR_INIT;
	size_t size = 0;

	if (call_page_size(call, &size, &err))
		must(size > 0 && size <= CALL_PAGE_MAX, "a page has a size");
	else
		must(err.code == ERR_MALFORMED || err.code == ERR_INVALID, "refused with a reason");
	err = ERR_INIT;
	if (!call_page_token(call, STR("a|b"), &state, &err))
		must(err.code == ERR_MALFORMED || err.code == ERR_INVALID, "refused with a reason");
}

/* A token that the API gives is one that it takes, for the same list only. */
static void
check_own_token(struct call *call, struct http_request *request, struct str state)
{
	AUTO(buf) struct buf out = BUF_INIT(4096);
	AUTO(buf) struct buf query = BUF_INIT(4096);
	AUTO_PTR(js_free) struct js *root = NULL;
	struct jw w = jw_start(&out);
	struct err err = ERR_INIT;
	struct str token = { 0 }, back = { 0 };

	jw_obj(&w);
	call_page_token_write(call, STR("a|b"), state, &w);
	jw_end(&w);
	must(js_parse(text_of(&out), &root, &err) && js_get_str(root, "next_page_token", &token),
	     "a token is written");
	if (token.len == 0)
		return;
	buf_printf(&query, "page_token=" STR_FMT, STR_ARG(token));
	request->query = text_of(&query);
	must(call_page_token(call, STR("a|b"), &back, &err) && str_eq(back, state),
	     "a token comes back as the state it was made of");
	must(!call_page_token(call, STR("a|c"), &back, &err), "and not for another list");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct config config = { .max_body_bytes = INT64_C(1024) * 1024,
					      .max_wait_s = 60 };
	static struct api api = { .config = &config };
	static struct http_conn conn;
	size_t state_len = take_byte(&data, &size), at = 0, len = 0;
	const char *bytes = (const char *)data;
	struct err err = ERR_INIT;
	struct call call;

	memset(&conn, 0, sizeof(conn));
	if (http_head_scan(bytes, size, &at, &len) != HTTP_HEAD_DONE ||
	    !http_head_parse(bytes, len, &conn.head, &err))
		return 0;

	struct http_request request = { .method = conn.head.method,
					.path = conn.head.path,
					.query = conn.head.query,
					.conn = &conn };

	call_init(&call, &api, &request);
	call.route = route_match(request.path, call.params);
	if (!call.route)
		call.route = &route_table[0];
	call.secret = (struct seal_secret){ { 1, 2, 3 } };
	call.has_secret = true; /* there is no Redis to ask */
	check_headers(&call);
	check_params(&call);
	check_own_token(&call, &request, str_sub(str_make(bytes, size), 0, state_len));
	call_release(&call);
	return 0;
}
