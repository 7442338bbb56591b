#include "api/route.h"

#include <stdio.h>
#include <string.h>

#include "api/auth.h"
#include "api/handlers.h"
#include "api/reply.h"
#include "api/stats.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/ratelimit.h"
#include "common/sha256.h"

#define V1 "/api/v1"
/* Whoever submits may look after what was submitted; what a change asks for depends on the job (shared_job_to_change). */
#define OWN_JOB (SCOPE_READ | SCOPE_INGEST)

const struct route route_table[] = {
	{ "GET", V1 "/collections", collections_list, SCOPE_READ },
	{ "POST", V1 "/collections", collections_create, SCOPE_ADMIN },
	{ "GET", V1 "/collections/{c}", collections_get, SCOPE_READ },
	{ "PATCH", V1 "/collections/{c}", collections_patch, SCOPE_ADMIN },
	{ "DELETE", V1 "/collections/{c}", collections_delete, SCOPE_ADMIN },
	{ "GET", V1 "/collections/{c}/documents", documents_list, SCOPE_READ },
	{ "POST", V1 "/collections/{c}/documents", documents_post, SCOPE_INGEST },
	{ "POST", V1 "/collections/{c}/documents:import", documents_import, SCOPE_INGEST },
	{ "POST", V1 "/collections/{c}/documents:diff", documents_diff, SCOPE_READ },
	{ "GET", V1 "/collections/{c}/documents/{d}", documents_get, SCOPE_READ },
	{ "DELETE", V1 "/collections/{c}/documents/{d}", documents_delete, SCOPE_INGEST },
	{ "POST", V1 "/collections/{c}/query", query_post, SCOPE_READ },
	{ "GET", V1 "/jobs", jobs_list, SCOPE_READ },
	{ "POST", V1 "/jobs/{id}:cancel", jobs_cancel, OWN_JOB },
	{ "POST", V1 "/jobs/{id}:retry", jobs_retry, OWN_JOB },
	{ "GET", V1 "/jobs/{id}", jobs_get, OWN_JOB },
	{ "DELETE", V1 "/jobs/{id}", jobs_delete, OWN_JOB },
	{ "GET", V1 "/jobs/{id}/result", jobs_result, SCOPE_READ },
	{ "GET", V1 "/jobs/{id}/events", jobs_events, SCOPE_READ },
	{ "GET", V1 "/jobs/{id}/items", jobs_items, OWN_JOB },
	{ "GET", V1 "/queues", queues_list, SCOPE_READ | ROUTE_OPERATORS },
	{ "POST", V1 "/queues/{q}:pause", queues_pause, SCOPE_ADMIN | ROUTE_OPERATORS },
	{ "POST", V1 "/queues/{q}:resume", queues_resume, SCOPE_ADMIN | ROUTE_OPERATORS },
	{ "GET", V1 "/queues/{q}", queues_get, SCOPE_READ | ROUTE_OPERATORS },
	{ "GET", V1 "/queues/{q}/dead", queues_dead, SCOPE_READ | ROUTE_OPERATORS },
	{ "GET", V1 "/workers", workers_list, SCOPE_READ | ROUTE_OPERATORS },
	{ "GET", V1 "/dependencies", dependencies_list, SCOPE_READ | ROUTE_OPERATORS },
	{ "GET", "/openapi.json", contract_get, ROUTE_PUBLIC },
};
const size_t route_count = ARRAY_SIZE(route_table);

/* ---- matching ---- */

/* One segment of the pattern against one of the path. */
static bool
match_segment(struct str pattern, struct str segment, struct str *params, size_t *count)
{
	size_t close;

	if (pattern.len == 0 || pattern.ptr[0] != '{')
		return str_eq(pattern, segment);
	if (!str_find(pattern, STR("}"), &close))
		return false;
	struct str verb = str_sub(pattern, close + 1, pattern.len);
	if (segment.len <= verb.len ||
	    !str_eq(str_sub(segment, segment.len - verb.len, segment.len), verb))
		return false;
	if (*count < CALL_MAX_PARAMS)
		params[(*count)++] = str_sub(segment, 0, segment.len - verb.len);
	return true;
}

static bool
match_path(struct str pattern, struct str path, struct str *params)
{
	size_t count = 0;
	struct str a, b;

	/* a path that ends in '/' has one empty segment more, which split does not give */
	if (path.len == 0 || path.ptr[path.len - 1] == '/')
		return false;
	while (str_split(&pattern, '/', &a))
		if (!str_split(&path, '/', &b) || !match_segment(a, b, params, &count))
			return false;
	return path.len == 0;
}

const struct route *
route_match(struct str path, struct str params[CALL_MAX_PARAMS])
{
	for (size_t i = 0; i < route_count; i++)
		if (match_path(str_of(route_table[i].pattern), path, params))
			return &route_table[i];
	return NULL;
}

const struct route *
route_method(const struct route *first, struct str method)
{
	if (str_eq_c(method, "HEAD"))
		method = STR("GET");
	for (const struct route *row = first; row < route_table + route_count; row++) {
		if (strcmp(row->pattern, first->pattern) != 0)
			break;
		if (str_eq_c(method, row->method))
			return row;
	}
	return NULL;
}

void
route_allow(const struct route *first, char *out, size_t out_bytes)
{
	AUTO(buf) struct buf text = BUF_INIT(256);

	for (const struct route *row = first; row < route_table + route_count; row++) {
		if (strcmp(row->pattern, first->pattern) != 0)
			break;
		buf_printf(&text, "%s, ", row->method);
		if (strcmp(row->method, "GET") == 0)
			buf_add_str(&text, "HEAD, ");
	}
	buf_add_str(&text, "OPTIONS");
	str_copy(out, out_bytes, str_make(text.data, text.len));
}

/* ---- the way of a request ---- */

/* A web page in a browser may send some requests to a loopback address without asking: where no key protects the
 * API, only pages of this machine may. */
static bool
check_origin(const struct call *call, struct err *err)
{
	struct str origin, rest;
	size_t at;

	if (call->api->auth || !http_header(call->http, "Origin", &origin))
		return true;
	rest = origin;
	if (str_find(origin, STR("://"), &at))
		rest = str_sub(origin, at + 3, origin.len);
	static const char *const hosts[] = { "localhost", "127.0.0.1", "[::1]" };
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		struct str tail = str_sub(rest, strlen(hosts[i]), rest.len);

		if (str_starts(rest, hosts[i]) && (tail.len == 0 || tail.ptr[0] == ':'))
			return true;
	}
	return err_set(err, ERR_FORBIDDEN,
		       "a page of another origin cannot use an API that has no keys");
}

static bool
decode_params(struct call *call, struct err *err)
{
	for (size_t i = 0; i < CALL_MAX_PARAMS; i++)
		if (call->params[i].len &&
		    !http_path_decode(call->params[i], &call->arena, &call->params[i], err))
			return false;
	return true;
}

static bool
answer_other_method(struct call *call, const struct route *first, struct err *err)
{
	char allow[128];

	route_allow(first, allow, sizeof(allow));
	if (str_eq_c(call->http->method, "OPTIONS")) {
		reply_start(call, 204);
	} else {
		err_set(err, ERR_METHOD_NOT_ALLOWED, "cannot %.*s this resource: %s",
			(int)(call->http->method.len < 16 ? call->http->method.len : 16),
			call->http->method.ptr, allow);
		reply_problem(call, err, NULL);
	}
	http_answer_header(&call->answer, "Allow", "%s", allow);
	return true;
}

static bool
authenticate(struct call *call, struct err *err)
{
	if (!call->api->auth)
		return true;
	if (!auth_check(call->api->auth, call->http, &call->key, err))
		return false;
	log_field("caller", call->key.name);
	if (!tenant_is_default(str_of(call->tenant)))
		log_field("tenant", call->tenant);
	return true;
}

/* The limit that the key's line names, else the engine's; false: none. */
static bool
limit_of(const struct call *call, struct ratelimit *out)
{
	const struct config *config = call->api->config;

	if (!call->api->auth)
		return false;
	if (call->key.rate_count < 0)
		*out = (struct ratelimit){ config->rate_limit, config->rate_window_s };
	else
		*out = (struct ratelimit){ call->key.rate_count, call->key.rate_window_s };
	return out->count > 0;
}

/*
 * One token for every request of a key, whatever comes of it. When Redis cannot be asked the request goes on unlimited: nearly
 * every route then ends in 503 by itself, and what needs no Redis costs nobody much. Refusing here would only turn an outage of
 * Redis into one of everything.
 */
static bool
check_rate(struct call *call, struct err *err)
{
	struct call_rate rate = { .checked = true };
	struct err ignored = ERR_INIT;
	char name[4 + SHA256_HEX_BYTES] = "key:";
	struct redis *redis;

	if (!limit_of(call, &rate.limit))
		return true;
	/* a hash of the hash: who reads Redis learns nothing of what the file holds */
	sha256_hex(str_of(call->key.hash), name + 4);
	if (!call_redis(call, &redis, &ignored) ||
	    !ratelimit_take(redis, str_of(name), &rate.limit, 1, &rate.state, &ignored)) {
		log_debug("the rate limit was not checked: %s", ignored.msg);
		return true;
	}
	call->rate = rate;
	if (rate.state.allowed)
		return true;
	err_set(err, ERR_RATE_LIMITED, "this key may send %lld requests within %lld s",
		(long long)rate.limit.count, (long long)rate.limit.window_s);
	err->retry_after_ms = (rate.state.wait_us + 999) / 1000;
	return false;
}

/* What a key may not do is refused before anything is looked up: the answer says nothing of what exists. */
static bool
check_scope(const struct call *call, const struct route *row, struct err *err)
{
	char needed[SCOPES_TEXT_BYTES], has[SCOPES_TEXT_BYTES];

	if ((row->scopes & ROUTE_OPERATORS) && !tenant_is_default(str_of(call->tenant)))
		return err_set(
			err, ERR_FORBIDDEN,
			"queues are everybody's: only keys of the operators' tenant may use them");
	if (row->scopes & call->key.scopes & SCOPE_ALL)
		return true;
	scopes_format(row->scopes, needed);
	scopes_format(call->key.scopes, has);
	return err_set(err, ERR_FORBIDDEN, "this needs a key with scope %s, and this one has %s",
		       needed, has);
}

/* No body is unpacked here: one that is packed is not read as if it were plain. */
static bool
check_encoding(const struct call *call, struct err *err)
{
	struct str encoding;

	if (!call->http->has_body || !http_header(call->http, "Content-Encoding", &encoding) ||
	    str_eq_nocase(str_trim(encoding), STR("identity")))
		return true;
	return err_set(err, ERR_UNSUPPORTED_MEDIA,
		       "cannot take a body with Content-Encoding: send it as it is, not packed");
}

static bool
dispatch(struct call *call, struct err *err)
{
	const struct route *first = route_match(call->http->path, call->params);
	const struct route *row = first ? route_method(first, call->http->method) : NULL;
	bool public = row && (row->scopes & ROUTE_PUBLIC);

	call->route = row ? row : first;
	if (!check_origin(call, err) ||
	    (!public && (!authenticate(call, err) || !check_rate(call, err))))
		return false;
	if (!first)
		return err_set(err, ERR_NOT_FOUND, "there is nothing at this path");
	if (!row)
		return answer_other_method(call, first, err);
	return (public || check_scope(call, row, err)) && check_encoding(call, err) &&
	       decode_params(call, err) && row->handle(call, err);
}

static bool
admit(struct call *call, struct err *err)
{
	int now = atomic_load(&call->api->in_progress);

	if (now <= call->api->config->max_concurrent_requests)
		return true;
	return err_set(err, ERR_RATE_LIMITED, "%d requests are in progress, at most %lld may be",
		       now - 1, (long long)call->api->config->max_concurrent_requests);
}

static void
finish(struct call *call, int64_t started_us)
{
	struct str path = str_sub(call->http->path, 0, 300);
	int64_t dur_us = clock_mono_us() - started_us;
	int status = call->answer.status;

	stats_request(call->api->stats, call->http->method,
		      call->route ? call->route->pattern : "none", status, dur_us);
	log_done(status >= 500 ? LOG_WARN : LOG_INFO, dur_us / 1000, status, STR_FMT " " STR_FMT,
		 STR_ARG(str_sub(call->http->method, 0, 16)), STR_ARG(path));
	log_clear_fields();
}

void
route_request(const struct http_request *http, void *user)
{
	struct api *api = user;
	struct err err = ERR_INIT;
	struct call call;
	int64_t started_us = clock_mono_us();

	call_init(&call, api, http);
	log_field("req_id", call.request_id);
	if (call.traceparent[0])
		log_field("traceparent", call.traceparent);
	atomic_fetch_add(&api->in_progress, 1);
	if (!admit(&call, &err) || !dispatch(&call, &err)) {
		int status = err_info(err.code)->http_status;

		/* 503 is told by the access line; what is ours to mend is told with its cause */
		if (status >= 500 && status != 503)
			log_err(LOG_ERROR, &err, "request failed");
		reply_problem(&call, &err, NULL);
	}
	call_give_redis(&call);
	/* a line of its own in a terminal */
	if (call.body.len > 0 && call.body.data[call.body.len - 1] != '\n')
		buf_add_char(&call.body, '\n');
	if (!buf_check(&call.body, "the answer", &err)) {
		log_err(LOG_ERROR, &err, "request failed");
		reply_problem(&call, &err, NULL);
	}
	call.answer.body = str_make(call.body.data, call.body.len);
	if (atomic_load(&api->draining))
		call.answer.close = true;
	/* Before the answer is out, so that a client that counts its own finds it counted. */
	atomic_fetch_sub(&api->in_progress, 1);
	finish(&call, started_us);
	http_answer_send(http, &call.answer);
	call_release(&call);
}
