#include "cli/api.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/id.h"

#define CONNECT_TIMEOUT_MS 5000
#define CALL_TIMEOUT_MS 30000
#define DEFAULT_RETRY_S 10
#define WAIT_MIN_MS 250
#define WAIT_MAX_MS 30000
#define LOOK_MS 100 /* how often an interrupt is looked at while waiting */
#define MAX_HEADERS 8
#define HEADER_BYTES 1200

bool
api_open(struct api *api, const struct cli *cli, struct err *err)
{
	int64_t retry_s = cli->options.retry_s >= 0 ? cli->options.retry_s : DEFAULT_RETRY_S;

	*api = (struct api){ .cli = cli, .retry_ms = retry_s * 1000 };
	buf_init(&api->url, 16384);
	http_reply_init(&api->reply, API_MAX_REPLY_BYTES);
	if (http_client_new("ragctl/" RAG_VERSION, &api->client, err))
		return true;
	api_release(api);
	return false;
}

void
api_release(struct api *api)
{
	http_client_free(api->client);
	api->client = NULL;
	http_reply_release(&api->reply);
	buf_release(&api->url);
}

void
api_add_encoded(struct buf *out, struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			     (c >= '0' && c <= '9') || (c && strchr("-._~", c));

		if (plain)
			buf_add_char(out, (char)c);
		else
			buf_printf(out, "%%%02X", c);
	}
}

void
api_add_param(struct buf *path, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	buf_printf(path, "%c%s=", strchr(path->data, '?') ? '&' : '?', name);
	api_add_encoded(path, str_of(value));
}

/* ---- what an answer says ---- */

static struct str
member_text(const struct js *object, const char *key)
{
	struct str text = STR("");

	if (js_is(object, JS_OBJECT))
		(void)js_get_str(object, key, &text);
	return text;
}

void
api_problem_text(const struct js *problem, struct buf *out)
{
	struct str detail = member_text(problem, "detail");
	struct str title = member_text(problem, "title");
	struct str code = member_text(problem, "code");
	struct str request = member_text(problem, "request_id");
	const struct js *errors = js_is(problem, JS_OBJECT) ? js_get(problem, "errors") : NULL;

	if (detail.len == 0)
		detail = title.len > 0 ? title : code.len > 0 ? code : STR("no reason given");
	buf_add(out, detail.ptr, detail.len);
	for (size_t i = 0; js_is(errors, JS_ARRAY) && i < js_len(errors); i++) {
		struct str pointer = member_text(js_at(errors, i), "pointer");
		struct str why = member_text(js_at(errors, i), "detail");

		if (pointer.len > 0)
			buf_printf(out, " (field " STR_FMT "%s", STR_ARG(pointer),
				   why.len > 0 && !str_eq(why, detail) ? ": " : "");
		if (pointer.len > 0 && why.len > 0 && !str_eq(why, detail))
			buf_add(out, why.ptr, why.len);
		if (pointer.len > 0)
			buf_add_char(out, ')');
	}
	if (request.len > 0)
		buf_printf(out, " [request " STR_FMT "]", STR_ARG(request));
}

static enum err_code
code_of_status(int status)
{
	switch (status) {
	case 400:
		return ERR_MALFORMED;
	case 401:
		return ERR_UNAUTHENTICATED;
	case 403:
		return ERR_FORBIDDEN;
	case 404:
		return ERR_NOT_FOUND;
	case 409:
		return ERR_CONFLICT;
	case 410:
		return ERR_GONE;
	case 413:
		return ERR_TOO_LARGE;
	case 429:
		return ERR_RATE_LIMITED;
	case 503:
		return ERR_OVERLOADED;
	case 504:
		return ERR_TIMEOUT;
	default:
		return status >= 500 ? ERR_INTERNAL : ERR_INVALID;
	}
}

/* An answer that is no success, as an error with its status in detail. */
static bool
refused(const struct api *api, struct err *err)
{
	const struct http_reply *reply = &api->reply;
	AUTO_PTR(js_free) struct js *problem = NULL;
	AUTO(buf) struct buf text = BUF_INIT(4096);
	struct err ignored = ERR_INIT;
	struct str code = STR("");
	enum err_code known = code_of_status(reply->status);

	if (js_parse(str_make(reply->body.data, reply->body.len), &problem, &ignored) &&
	    js_is(problem, JS_OBJECT)) {
		api_problem_text(problem, &text);
		code = member_text(problem, "code");
	} else {
		buf_printf(&text, "the server answered %d %s", reply->status,
			   reply->status == 404 ? "(is this the address of the API?)"
						: "without saying why");
	}
	if (code.len > 0 && err_code_from_wire(code.ptr) != ERR_INTERNAL)
		known = err_code_from_wire(code.ptr);
	err_set(err, known, "%s", text.data);
	err->detail = reply->status;
	err->retry_after_ms = http_reply_retry_after_ms(reply);
	return false;
}

/* ---- one call ---- */

struct headers {
	char text[MAX_HEADERS][HEADER_BYTES];
	const char *list[MAX_HEADERS + 1];
	size_t count;
};

static void __attribute__((format(printf, 2, 3)))
add_header(struct headers *headers, const char *fmt, ...)
{
	va_list args;

	assert(headers->count < MAX_HEADERS);
	va_start(args, fmt);
	(void)vsnprintf(headers->text[headers->count], HEADER_BYTES, fmt, args);
	va_end(args);
	headers->list[headers->count] = headers->text[headers->count];
	headers->list[++headers->count] = NULL;
}

/* A problem document is kept whole, whatever the caller wanted of a success. */
static bool
on_stream(void *user, struct str data)
{
	struct api *api = user;
	const struct api_call *call = api->streaming;

	if (api->reply.status < 200 || api->reply.status >= 300) {
		buf_add(&api->reply.body, data.ptr, data.len);
		return buf_ok(&api->reply.body);
	}
	api->streamed = true;
	return call->on_data(call->user, data);
}

static bool
send_once(struct api *api, const struct api_call *call, struct err *err)
{
	struct headers headers = { .count = 0 };
	int timeout_ms = call->timeout_ms ? call->timeout_ms : CALL_TIMEOUT_MS;
	int connect_ms = CONNECT_TIMEOUT_MS;

	if (api->most_ms > 0)
		timeout_ms = connect_ms = api->most_ms;

	buf_clear(&api->url);
	if (*call->path == '/')
		buf_add_str(&api->url, api->cli->url);
	buf_add_str(&api->url, call->path);
	if (!buf_check(&api->url, "the address of a request", err))
		return false;
	add_header(&headers, "Accept: %s",
		   call->on_data ? "text/event-stream" : "application/json");
	if (call->last_event_id && *call->last_event_id)
		add_header(&headers, "Last-Event-ID: %s", call->last_event_id);
	if (*api->cli->key)
		add_header(&headers, "Authorization: Bearer %s", api->cli->key);
	if (call->body.len > 0 || call->on_read)
		add_header(&headers, "Content-Type: %s",
			   call->content_type ? call->content_type : "application/json");
	if (call->idempotency_key)
		add_header(&headers, "Idempotency-Key: %s", call->idempotency_key);
	if (call->if_none_match)
		add_header(&headers, "If-None-Match: %s", call->if_none_match);
	if (call->if_match)
		add_header(&headers, "If-Match: %s", call->if_match);
	if (call->prefer_wait_s > 0)
		add_header(&headers, "Prefer: wait=%d", call->prefer_wait_s);

	struct http_call http = { .method = call->method,
				  .url = api->url.data,
				  .headers = headers.list,
				  .body = call->body,
				  .on_read = call->on_read,
				  .read_user = call->read_user,
				  .connect_timeout_ms = connect_ms,
				  .timeout_ms = timeout_ms + 1000 * call->prefer_wait_s,
				  .silence_ms = call->silence_ms,
				  .cancel = &cli_interrupted,
				  .on_data = call->on_data ? on_stream : NULL,
				  .user = api,
				  .max_body_bytes = API_MAX_REPLY_BYTES };

	api->streaming = call;
	api->streamed = false;
	if (!http_client_run(api->client, &http, &api->reply, err)) {
		err->detail = 0;
		return false;
	}
	if ((api->reply.status >= 200 && api->reply.status < 300) || api->reply.status == 304)
		return true;
	return refused(api, err);
}

static bool
may_repeat(const struct api_call *call, const struct err *err)
{
	bool safe = strcmp(call->method, "GET") == 0 || strcmp(call->method, "DELETE") == 0 ||
		    call->idempotency_key || call->repeatable;

	if (err->code == ERR_CANCELLED)
		return false;
	if (err->detail == 0)
		return err->code == ERR_CONNECT || (safe && err_info(err->code)->retryable);
	return err->detail == 429 || err->detail == 503 ||
	       (safe && (err->detail == 408 || err->detail == 502 || err->detail == 504));
}

bool
api_pause(int64_t ms, struct err *err)
{
	int64_t until = clock_mono_ms() + ms;

	while (!atomic_load(&cli_interrupted)) {
		int64_t left = until - clock_mono_ms();

		if (left <= 0)
			return true;
		clock_sleep_ms(left < LOOK_MS ? left : LOOK_MS);
	}
	return err_set(err, ERR_CANCELLED, "interrupted");
}

/* The server's word, else doubling with jitter. */
static int64_t
wait_before(const struct err *err, int attempt)
{
	int64_t cap = WAIT_MIN_MS << (attempt < 7 ? attempt : 7);

	if (cap > WAIT_MAX_MS)
		cap = WAIT_MAX_MS;
	if (err->retry_after_ms >= 0)
		return err->retry_after_ms + (int64_t)(id_random_u64() % WAIT_MIN_MS);
	return cap / 2 + (int64_t)(id_random_u64() % (uint64_t)(cap / 2 + 1));
}

bool
api_send(struct api *api, const struct api_call *call, struct err *err)
{
	int64_t give_up = clock_mono_ms() + api->retry_ms;

	for (int attempt = 0;; attempt++) {
		struct err failure = ERR_INIT;

		if (send_once(api, call, &failure))
			return true;

		int64_t wait = wait_before(&failure, attempt);

		if (api->streamed || !may_repeat(call, &failure) ||
		    clock_mono_ms() + wait > give_up) {
			*err = failure;
			return false;
		}
		if (api->on_retry)
			api->on_retry(api->user, &failure, wait);
		if (!api_pause(wait, err))
			return false;
	}
}

bool
api_parse(const struct api *api, struct js **out, struct err *err)
{
	AUTO_PTR(js_free) struct js *answer = NULL;

	if (!js_parse(str_make(api->reply.body.data, api->reply.body.len), &answer, err)) {
		err_wrap(err, "the server answered %d", api->reply.status);
		err->code = ERR_PROTOCOL;
		return false;
	}
	if (!js_is(answer, JS_OBJECT))
		return err_set(err, ERR_PROTOCOL,
			       "the server answered %s, not an object: is this the API?",
			       js_type_name(js_type(answer)));
	*out = TAKE(answer);
	return true;
}

bool
api_json(struct api *api, const struct api_call *call, struct js **out, struct err *err)
{
	return api_send(api, call, err) && api_parse(api, out, err);
}

bool
api_get(struct api *api, const char *path, struct js **out, struct err *err)
{
	return api_json(api, &(struct api_call){ .method = "GET", .path = path }, out, err);
}

/* ---- lists ---- */

/* One page; next is the token of the following one, "" = there is none, or fn had enough. */
static bool
one_page(struct api *api, const char *path, int64_t *left,
	 bool (*fn)(void *user, const struct js *item), void *user, struct buf *next,
	 struct err *err)
{
	AUTO_PTR(js_free) struct js *page = NULL;
	struct str token = STR("");

	buf_clear(next);
	if (!api_get(api, path, &page, err))
		return false;

	const struct js *data = js_is(page, JS_OBJECT) ? js_get(page, "data") : NULL;

	if (!js_is(data, JS_ARRAY))
		return err_set(err, ERR_PROTOCOL, "the server's list has no 'data'");
	for (size_t i = 0; i < js_len(data); i++) {
		if (!fn(user, js_at(data, i)) || --*left == 0)
			return true;
	}
	(void)js_get_str(page, "next_page_token", &token);
	buf_add(next, token.ptr, token.len);
	return true;
}

bool
api_each(struct api *api, const char *path, int64_t limit,
	 bool (*fn)(void *user, const struct js *item), void *user, struct err *err)
{
	AUTO(buf) struct buf next = BUF_INIT(65536);
	int64_t left = limit > 0 ? limit : INT64_MAX;

	for (;;) {
		AUTO(buf) struct buf full = BUF_INIT(131072);
		char size[24];

		(void)snprintf(size, sizeof(size), "%lld", left < 1000 ? (long long)left : 1000LL);
		buf_add_str(&full, path);
		api_add_param(&full, "page_size", limit == API_UNPAGED ? NULL : size);
		api_add_param(&full, "page_token", next.data);
		if (!buf_check(&full, "the address of a request", err) ||
		    !one_page(api, full.data, &left, fn, user, &next, err))
			return false;
		if (next.len == 0)
			return true;
	}
}
