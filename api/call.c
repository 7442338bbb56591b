#include "api/call.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "api/keep.h"
#include "api/route.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/log.h"

#define ARENA_SLACK_BYTES ((size_t)80 * 1024 * 1024) /* a result of at most 64 MiB, and the rest */
#define ANSWER_MAX_BYTES ((size_t)128 * 1024 * 1024)
#define POOL_WAIT_MS 1000
#define TRACEPARENT_LEN 55
#define PAGE_CONTEXT_MAX_BYTES ((size_t)64 * 1024) /* path and parameters are 16 KiB at most */

/* ---- life ---- */

static bool
is_request_id(struct str text)
{
	if (text.len == 0 || text.len >= CALL_REQUEST_ID_BYTES)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '-' || c == '_' || c == '.' || c == ':'))
			return false;
	}
	return true;
}

/* W3C Trace Context, version 00: 00-<32 hex>-<16 hex>-<2 hex> */
static bool
is_traceparent(struct str text)
{
	if (text.len != TRACEPARENT_LEN || !str_starts(text, "00-"))
		return false;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		bool dash = i == 2 || i == 35 || i == 52;

		if (dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return false;
	}
	return true;
}

void
call_init(struct call *call, struct api *api, const struct http_request *http)
{
	struct str text;

	call->api = api;
	call->http = http;
	call->route = NULL;
	call->redis = NULL;
	call->has_secret = false;
	call->rate = (struct call_rate){ .checked = false };
	memset(call->params, 0, sizeof(call->params));
	arena_init(&call->arena, (size_t)api->config->max_body_bytes * 3 + ARENA_SLACK_BYTES);
	buf_init(&call->body, ANSWER_MAX_BYTES);
	http_answer_init(&call->answer, 500);
	call->key = (struct api_key){ .scopes = SCOPE_ALL, .rate_count = -1 };
	str_copy(call->key.name, sizeof(call->key.name), STR("anonymous"));
	str_copy(call->key.tenant, sizeof(call->key.tenant), STR(TENANT_DEFAULT));
	call->tenant = call->key.tenant;

	if (http_header(http, "X-Request-Id", &text) && is_request_id(text)) {
		str_copy(call->request_id, sizeof(call->request_id), text);
	} else {
		char ulid[ID_ULID_BYTES];

		id_ulid(ulid);
		(void)snprintf(call->request_id, sizeof(call->request_id), "req_%s", ulid);
	}
	call->traceparent[0] = '\0';
	if (http_header(http, "traceparent", &text) && is_traceparent(text))
		str_copy(call->traceparent, sizeof(call->traceparent), text);
}

void
call_release(struct call *call)
{
	call_give_redis(call);
	arena_release(&call->arena);
	buf_release(&call->body);
}

bool
call_redis(struct call *call, struct redis **out, struct err *err)
{
	if (!call->redis) {
		int64_t up_since_ms;

		if (!keep_redis_up(call->api->keep, &up_since_ms, err) ||
		    !redis_pool_take(call->api->pool, POOL_WAIT_MS, &call->redis, err))
			return false;
		/* A connection from before an outage is dead, though it does not know yet. */
		if (redis_is_connected(call->redis) &&
		    redis_connected_since_ms(call->redis) < up_since_ms)
			redis_disconnect(call->redis);
	}
	*out = call->redis;
	return true;
}

void
call_give_redis(struct call *call)
{
	if (call->redis)
		redis_pool_give(call->api->pool, call->redis);
	call->redis = NULL;
}

/* ---- parameters ---- */

static bool
param_is_known(void *user, struct str name, struct err *err)
{
	const char *const *known = *(const char *const **)user;

	for (size_t i = 0; known[i]; i++)
		if (str_eq_c(name, known[i]))
			return true;
	err_set(err, ERR_INVALID, "unknown parameter '" STR_FMT "'", STR_ARG(str_sub(name, 0, 60)));
	return err_at(err, "/" STR_FMT, STR_ARG(str_sub(name, 0, 60)));
}

bool
call_check_params(const struct call *call, const char *const *known, struct err *err)
{
	struct arena *arena = (struct arena *)(uintptr_t)&call->arena;

	return http_each_param(call->http, arena, param_is_known, &known, err);
}

bool
call_param(struct call *call, const char *name, struct str *out, struct err *err)
{
	bool found;

	if (!http_param(call->http, name, &call->arena, &found, out, err))
		return false;
	if (!found)
		*out = STR("");
	return true;
}

bool
call_param_word(struct call *call, const char *name, struct str *out, struct err *err)
{
	bool found;

	if (!http_param(call->http, name, &call->arena, &found, out, err))
		return false;
	if (!found)
		*out = STR("");
	if (!found || out->len > 0)
		return true;
	err_set(err, ERR_INVALID, "'%s' must not be empty", name);
	return err_at(err, "/%s", name);
}

bool
call_param_i64(struct call *call, const char *name, int64_t min, int64_t max, int64_t *out,
	       struct err *err)
{
	struct str text;
	bool found;

	if (!http_param(call->http, name, &call->arena, &found, &text, err))
		return false;
	if (!found || str_to_i64(text, min, max, out))
		return true;
	err_set(err, ERR_INVALID, "'%s' must be a whole number from %lld to %lld", name,
		(long long)min, (long long)max);
	return err_at(err, "/%s", name);
}

bool
call_param_bool(struct call *call, const char *name, bool *out, struct err *err)
{
	struct str text;
	bool found;

	if (!http_param(call->http, name, &call->arena, &found, &text, err))
		return false;
	if (!found || str_to_bool(text, out))
		return true;
	err_set(err, ERR_INVALID, "'%s' must be true or false", name);
	return err_at(err, "/%s", name);
}

/* ---- pages ---- */

bool
call_page_size(struct call *call, size_t *out, struct err *err)
{
	struct str text;
	int64_t size;
	bool found;

	if (!http_param(call->http, "page_size", &call->arena, &found, &text, err))
		return false;
	*out = CALL_PAGE_DEFAULT;
	if (!found)
		return true;
	if (!str_to_i64(text, 0, INT64_MAX, &size)) {
		err_set(err, ERR_MALFORMED,
			"'page_size' must be a whole number that is not negative");
		return err_at(err, "/page_size");
	}
	if (size > 0) /* 0 means the default, as AIP-158 has it */
		*out = size > CALL_PAGE_MAX ? CALL_PAGE_MAX : (size_t)size;
	return true;
}

/* What a token is good for: one list of one tenant. */
static struct str
page_context(const struct call *call, struct str filters, struct buf *out)
{
	const struct str parts[] = { str_of(call->tenant), str_of(call->route->pattern),
				     call->params[0], filters };

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		buf_printf(out, "%zu:", parts[i].len);
		buf_add(out, parts[i].ptr, parts[i].len);
	}
	return str_make(out->data, out->len);
}

static bool
get_secret(struct call *call, struct err *err)
{
	struct redis *redis;

	if (!call->has_secret &&
	    (!call_redis(call, &redis, err) || !seal_secret(redis, &call->secret, err)))
		return false;
	call->has_secret = true;
	return true;
}

bool
call_page_token(struct call *call, struct str filters, struct str *out, struct err *err)
{
	AUTO(buf) struct buf context = BUF_INIT(PAGE_CONTEXT_MAX_BYTES);
	struct str token;

	if (!call_param(call, "page_token", &token, err) || !get_secret(call, err))
		return false;
	*out = STR("");
	if (token.len == 0 ||
	    unseal(&call->secret, page_context(call, filters, &context), token, &call->arena, out))
		return true;
	err_set(err, ERR_MALFORMED,
		"'page_token' is not one that this list gave for the same parameters");
	return err_at(err, "/page_token");
}

void
call_page_token_write(const struct call *call, struct str filters, struct str state, struct jw *w)
{
	AUTO(buf) struct buf context = BUF_INIT(PAGE_CONTEXT_MAX_BYTES);
	AUTO(buf) struct buf token = BUF_INIT(4096);

	assert(call->has_secret);
	if (state.len > 0)
		seal(&call->secret, page_context(call, filters, &context), state, &token);
	jw_kcstr(w, "next_page_token", buf_ok(&token) ? token.data : "");
}

/* ---- bodies and headers ---- */

struct str
call_media_type(const struct call *call)
{
	struct str header, type = STR("");

	if (http_header(call->http, "Content-Type", &header))
		str_split(&header, ';', &type);
	return str_trim(type);
}

bool
call_json(struct call *call, struct js **out, struct err *err)
{
	struct str type = call_media_type(call), text;
	AUTO_PTR(js_free) struct js *root = NULL;

	if (type.len && !str_eq_nocase(type, STR("application/json")) &&
	    !str_eq_nocase(type, STR("application/merge-patch+json")))
		return err_set(err, ERR_UNSUPPORTED_MEDIA,
			       "cannot take a body of type '" STR_FMT
			       "': application/json is accepted",
			       STR_ARG(str_sub(type, 0, 80)));
	if (!http_body(call->http, (size_t)call->api->config->max_body_bytes, &call->arena, &text,
		       err))
		return false;
	if (str_trim(text).len == 0)
		return err_set(err, ERR_MALFORMED, "the body is empty: a JSON object is expected");
	if (!js_parse(text, &root, err))
		return false;
	if (!js_is(root, JS_OBJECT))
		return err_set(err, ERR_INVALID, "the body must be an object, not %s",
			       js_type_name(js_type(root)));
	*out = TAKE(root);
	return true;
}

/* "wait=10, respond-async; x=y": preferences are told apart by commas, their parameters are ignored. */
void
call_prefer(const struct call *call, struct prefer *out)
{
	struct str header, item;

	*out = (struct prefer){ .wait_s = -1 };
	if (!http_header(call->http, "Prefer", &header))
		return;
	while (str_split(&header, ',', &item)) {
		struct str pair, name;
		int64_t wait_s;

		if (!str_split(&item, ';', &pair) || !str_split(&pair, '=', &name))
			continue;
		name = str_trim(name);
		pair = str_trim(pair);
		if (pair.len >= 2 && pair.ptr[0] == '"' && pair.ptr[pair.len - 1] == '"')
			pair = str_sub(pair, 1, pair.len - 1);
		if (str_eq_nocase(name, STR("respond-async")))
			out->respond_async = true;
		else if (str_eq_nocase(name, STR("wait")) && out->wait_s < 0 &&
			 str_to_i64(pair, 0, INT64_MAX, &wait_s))
			out->wait_s = wait_s < call->api->config->max_wait_s
					      ? wait_s
					      : call->api->config->max_wait_s;
	}
}

/* Printable ASCII, as the strings of RFC 9651: anything else reaches us in whatever encoding a client has. */
static bool
check_key(struct str key, struct err *err)
{
	if (key.len == 0)
		return err_set(err, ERR_MALFORMED, "the Idempotency-Key is empty");
	if (key.len > CALL_IDEMPOTENCY_KEY_MAX_BYTES)
		return err_set(err, ERR_MALFORMED,
			       "the Idempotency-Key has %zu bytes, at most %d are accepted",
			       key.len, CALL_IDEMPOTENCY_KEY_MAX_BYTES);
	for (size_t i = 0; i < key.len; i++)
		if (key.ptr[i] < ' ' || key.ptr[i] > '~' || key.ptr[i] == '"')
			return err_set(
				err, ERR_MALFORMED,
				"an Idempotency-Key has printable ASCII characters, and quotes "
				"only around it");
	return true;
}

bool
call_idempotency_key(const struct call *call, struct str *out, struct err *err)
{
	struct str key;

	if (!http_header(call->http, "Idempotency-Key", &key)) {
		*out = STR("");
		return true;
	}
	key = str_trim(key);
	if (key.len >= 2 && key.ptr[0] == '"' && key.ptr[key.len - 1] == '"')
		key = str_sub(key, 1, key.len - 1);
	if (!check_key(key, err))
		return false;
	*out = key;
	return true;
}

/* Is the entity tag in this header's list? Strong: a weak tag is not the same. */
static bool
lists_tag(const struct call *call, const char *name, const char *etag, bool strong,
	  bool *out_present)
{
	struct str header, item;

	*out_present = http_header(call->http, name, &header);
	if (!*out_present)
		return false;
	while (str_split(&header, ',', &item)) {
		item = str_trim(item);
		if (!strong && str_starts(item, "W/"))
			item = str_sub(item, 2, item.len);
		if (str_eq_c(item, etag) || str_eq_c(item, "*"))
			return true;
	}
	return false;
}

bool
call_none_match(const struct call *call, const char *etag, bool *out_present)
{
	return lists_tag(call, "If-None-Match", etag, false, out_present);
}

bool
call_if_match(const struct call *call, const char *etag, bool *out_present)
{
	return lists_tag(call, "If-Match", etag, true, out_present);
}
