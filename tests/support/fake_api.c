#include "tests/support/fake_api.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/http_server.h"
#include "common/json.h"
#include "common/sha256.h"

#define MAX_JOBS 8192
#define MAX_FAULTS 16
#define PAGE 3 /* small, so that every list has several pages */

struct fake_job {
	char key[80];
	char document[300];
	char hash[SHA256_HEX_BYTES];
	int polls_left, version;
	const char *status; /* "forgotten": as if it had never been */
};

struct fake_api {
	struct http_server *server;
	char url[64];
	pthread_mutex_t lock;
	struct fake_fault faults[MAX_FAULTS];
	size_t fault_count;
	struct fake_job *jobs;
	size_t job_count;
	int polls, posting, rescued; /* rescued: 1 + the job that is retried before its DELETE */
	char poison[64];
	const char *result;
	struct fake_counts counts;
	struct buf log;
};

struct answer {
	int status;
	struct buf body;
	const char *location;
};

static bool
is_done(const struct fake_job *job)
{
	return strcmp(job->status, "succeeded") == 0 || strcmp(job->status, "failed") == 0 ||
	       strcmp(job->status, "cancelled") == 0;
}

static void
write_job(const struct fake_api *api, const struct fake_job *job, struct jw *w)
{
	char id[64];

	(void)snprintf(id, sizeof(id), "ingest-0-%d", (int)(job - api->jobs));
	jw_obj(w);
	jw_kcstr(w, "id", id);
	jw_kcstr(w, "type", "ingest");
	jw_kcstr(w, "status", job->status);
	jw_kbool(w, "done", is_done(job));
	jw_kcstr(w, "collection", "default");
	jw_kcstr(w, "worker", "host/1/0");
	jw_kint(w, "version", job->version);
	jw_kint(w, "attempt", 1);
	jw_kint(w, "max_starts", 5);
	jw_kint(w, "failures", 1);
	jw_kint(w, "max_failures", 5);
	jw_kcstr(w, "finished_at", is_done(job) ? "2026-11-01T10:00:00.000Z" : NULL);
	jw_key(w, "error");
	if (strcmp(job->status, "failed") == 0) {
		jw_obj(w);
		jw_kcstr(w, "code", "EMPTY_TEXT");
		jw_kcstr(w, "detail", "document yields no text");
		jw_end(w);
	} else {
		jw_null(w);
	}
	jw_end(w);
}

static void
problem(struct answer *answer, int status, const char *code, const char *detail,
	const char *pointer)
{
	struct jw w = jw_start(&answer->body);

	buf_clear(&answer->body);
	answer->status = status;
	jw_obj(&w);
	jw_kint(&w, "status", status);
	jw_kcstr(&w, "code", code);
	jw_kcstr(&w, "detail", detail);
	jw_kcstr(&w, "request_id", "req_1");
	if (pointer) {
		jw_karr(&w, "errors");
		jw_obj(&w);
		jw_kcstr(&w, "pointer", pointer);
		jw_kcstr(&w, "detail", detail);
		jw_end(&w);
		jw_end(&w);
	}
	jw_end(&w);
}

/* ---- routes ---- */

static void
post_document(struct fake_api *api, const struct http_request *request, struct arena *arena,
	      struct answer *answer)
{
	struct str id = STR(""), key = STR(""), body = STR("");
	bool found = false;
	struct err err = ERR_INIT;
	struct jw w = jw_start(&answer->body);
	struct fake_job *job = NULL;

	if (!http_param(request, "id", arena, &found, &id, &err) || !found ||
	    !http_header(request, "Idempotency-Key", &key) ||
	    !http_body(request, 1 << 20, arena, &body, &err)) {
		problem(answer, 400, "MALFORMED_REQUEST", err.msg, NULL);
		return;
	}
	for (size_t i = 0; i < api->job_count; i++) {
		if (str_eq_c(key, api->jobs[i].key))
			job = &api->jobs[i];
	}
	if (job) {
		api->counts.replays++;
	} else {
		assert(api->jobs && api->job_count < MAX_JOBS);
		job = &api->jobs[api->job_count++];
		*job = (struct fake_job){ .polls_left = api->polls, .status = "queued" };
		(void)str_copy(job->key, sizeof(job->key), key);
		(void)str_copy(job->document, sizeof(job->document), id);
		sha256_hex(body, job->hash);
		api->counts.posts++;
	}
	answer->status = 202;
	write_job(api, job, &w);
}

static bool
holds(const struct fake_job *job, size_t index, const struct fake_api *api)
{
	if (strcmp(job->status, "succeeded") != 0)
		return false;
	/* a later job of the same document has replaced it */
	for (size_t i = index + 1; i < api->job_count; i++) {
		if (strcmp(api->jobs[i].document, job->document) == 0 &&
		    strcmp(api->jobs[i].status, "succeeded") == 0)
			return false;
	}
	return true;
}

static void
get_document(struct fake_api *api, struct str raw, struct arena *arena, struct answer *answer)
{
	struct jw w = jw_start(&answer->body);
	struct str id = STR("");
	struct err err = ERR_INIT;

	(void)http_path_decode(raw, arena, &id, &err);
	for (size_t i = 0; i < api->job_count; i++) {
		if (!holds(&api->jobs[i], i, api) || !str_eq_c(id, api->jobs[i].document))
			continue;
		jw_obj(&w);
		jw_kcstr(&w, "id", api->jobs[i].document);
		jw_kcstr(&w, "content_hash", api->jobs[i].hash);
		jw_end(&w);
		return;
	}
	problem(answer, 404, "NOT_FOUND", "no such document", NULL);
}

static void
list_documents(struct fake_api *api, const struct http_request *request, struct arena *arena,
	       struct answer *answer)
{
	struct str token = STR("0");
	bool found = false;
	struct err err = ERR_INIT;
	int64_t from = 0;
	struct jw w = jw_start(&answer->body);
	char next[24] = "";
	size_t i = 0;

	(void)http_param(request, "page_token", arena, &found, &token, &err);
	if (found)
		(void)str_to_i64(token, 0, MAX_JOBS, &from);
	jw_obj(&w);
	jw_karr(&w, "data");
	for (i = (size_t)from; i < api->job_count && i < (size_t)from + PAGE; i++) {
		const struct fake_job *job = &api->jobs[i];

		if (!holds(job, i, api))
			continue; /* pages may be short, and empty */
		jw_obj(&w);
		jw_kcstr(&w, "id", job->document);
		jw_kcstr(&w, "content_hash", job->hash);
		jw_end(&w);
	}
	jw_end(&w);
	if (i < api->job_count)
		(void)snprintf(next, sizeof(next), "%zu", i);
	jw_kcstr(&w, "next_page_token", next);
	jw_end(&w);
	answer->status = 200;
}

/* NULL, and answered, when there is none. */
static struct fake_job *
find_job(struct fake_api *api, struct str id, struct answer *answer)
{
	int64_t index = -1;

	if (str_starts(id, "ingest-0-") &&
	    str_to_i64(str_sub(id, 9, id.len), 0, (int64_t)api->job_count - 1, &index) &&
	    strcmp(api->jobs[index].status, "forgotten") != 0)
		return &api->jobs[index];
	problem(answer, 404, "NOT_FOUND", "no such job", NULL);
	return NULL;
}

static void
list_failed(struct fake_api *api, const struct http_request *request, struct arena *arena,
	    struct answer *answer)
{
	struct str token = STR("0");
	bool found = false;
	struct err err = ERR_INIT;
	int64_t from = 0;
	struct jw w = jw_start(&answer->body);
	char next[24] = "";
	int count = 0;
	size_t i;

	(void)http_param(request, "page_token", arena, &found, &token, &err);
	if (found)
		(void)str_to_i64(token, 0, MAX_JOBS, &from);
	jw_obj(&w);
	jw_karr(&w, "data");
	for (i = (size_t)from; i < api->job_count && count < PAGE; i++) {
		if (strcmp(api->jobs[i].status, "failed") != 0)
			continue;
		write_job(api, &api->jobs[i], &w);
		count++;
	}
	jw_end(&w);
	if (i < api->job_count)
		(void)snprintf(next, sizeof(next), "%zu", i);
	jw_kcstr(&w, "next_page_token", next);
	jw_end(&w);
}

static void
retry_job(struct fake_api *api, struct str id, struct answer *answer)
{
	struct jw w = jw_start(&answer->body);
	struct fake_job *job = find_job(api, str_sub(id, 0, id.len - strlen(":retry")), answer);

	if (!job)
		return;
	if (strcmp(job->status, "failed") != 0) {
		problem(answer, 409, "CONFLICT", "only failed jobs are retried", NULL);
		return;
	}
	job->status = "queued";
	job->polls_left = api->polls;
	job->version++;
	answer->status = 202;
	write_job(api, job, &w);
}

static void
forget_job(struct fake_api *api, const struct http_request *request, struct str id,
	   struct answer *answer)
{
	struct fake_job *job = find_job(api, id, answer);
	struct str tag = STR("");
	char now[24];

	if (!job)
		return;
	if (api->rescued > 0 && job == &api->jobs[api->rescued - 1]) {
		job->status = "succeeded";
		job->version += 3;
		api->rescued = 0;
	}
	(void)snprintf(now, sizeof(now), "\"v%d\"", job->version);
	if (http_header(request, "If-Match", &tag) && !str_eq_c(tag, now)) {
		problem(answer, 412, "PRECONDITION_FAILED", "another version", NULL);
		return;
	}
	if (!is_done(job)) {
		problem(answer, 409, "NOT_FINAL", "the job is not final", NULL);
		return;
	}
	job->status = "forgotten";
	answer->status = 204;
}

static void
get_job(struct fake_api *api, struct str id, struct answer *answer)
{
	struct jw w = jw_start(&answer->body);
	struct fake_job *job = find_job(api, id, answer);

	api->counts.polls++;
	if (!job)
		return;

	if (!is_done(job) && job->polls_left > 0 && --job->polls_left == 0)
		job->status =
			*api->poison && strstr(job->document, api->poison) ? "failed" : "succeeded";
	else if (!is_done(job))
		job->status = "running";
	answer->status = 200;
	write_job(api, job, &w);
}

static void
cancel_job(struct fake_api *api, struct str id, struct answer *answer)
{
	struct jw w = jw_start(&answer->body);

	id.len -= strlen(":cancel");
	for (size_t i = 0; i < api->job_count; i++) {
		char name[64];

		(void)snprintf(name, sizeof(name), "ingest-0-%zu", i);
		if (!str_eq_c(id, name))
			continue;
		if (is_done(&api->jobs[i])) {
			problem(answer, 409, "ALREADY_FINAL", "the job is already final", NULL);
			return;
		}
		api->jobs[i].status = "cancelled";
		answer->status = 200;
		write_job(api, &api->jobs[i], &w);
		return;
	}
	problem(answer, 404, "NOT_FOUND", "no such job", NULL);
}

static void
route(struct fake_api *api, const struct http_request *request, struct arena *arena,
      struct answer *answer)
{
	struct str path = request->path;
	bool post = str_eq_c(request->method, "POST");
	static const char one[] = "/api/v1/collections/default/documents/";

	answer->status = 200;
	if (str_ends(path, "/documents") && str_starts(path, "/api/v1/collections/missing"))
		problem(answer, 404, "NOT_FOUND", "no collection 'missing'", NULL);
	else if (str_ends(path, "/documents") && post)
		post_document(api, request, arena, answer);
	else if (str_ends(path, "/documents"))
		list_documents(api, request, arena, answer);
	else if (str_starts(path, one) && str_eq_c(request->method, "GET"))
		get_document(api, str_sub(path, strlen(one), path.len), arena, answer);
	else if (str_ends(path, ":cancel"))
		cancel_job(api, str_sub(path, strlen("/api/v1/jobs/"), path.len), answer);
	else if (str_ends(path, ":retry"))
		retry_job(api, str_sub(path, strlen("/api/v1/jobs/"), path.len), answer);
	else if (str_eq_c(path, "/api/v1/jobs") || str_ends(path, "/dead"))
		list_failed(api, request, arena, answer);
	else if (str_starts(path, "/api/v1/jobs/") && str_eq_c(request->method, "DELETE"))
		forget_job(api, request, str_sub(path, strlen("/api/v1/jobs/"), path.len), answer);
	else if (str_ends(path, "/result") || (str_ends(path, "/query") && post))
		buf_add_str(&answer->body, api->result);
	else if (str_starts(path, "/api/v1/jobs/query-"))
		buf_add_str(&answer->body,
			    "{\"id\":\"query-0-1\",\"status\":\"succeeded\",\"done\":true}");
	else if (str_starts(path, "/api/v1/jobs/"))
		get_job(api, str_sub(path, strlen("/api/v1/jobs/"), path.len), answer);
	else if (str_eq_c(path, "/api/v1/queues") && request->query.len > 0)
		problem(answer, 400, "MALFORMED_REQUEST", "unknown parameter", NULL);
	else if (str_eq_c(path, "/api/v1/queues"))
		buf_add_str(&answer->body, "{\"data\":[{\"name\":\"ingest\",\"waiting\":3,\"oldest_"
					   "s\":61.5,\"running\":1,"
					   "\"due\":0,\"dead\":2,\"paused\":true,\"demand\":0}],"
					   "\"next_page_token\":\"\"}");
	else if (str_eq_c(path, "/api/v1/workers"))
		buf_add_str(
			&answer->body,
			"{\"data\":[{\"name\":\"h/1/0\",\"queue\":\"ingest\",\"live\":true,\"job\":"
			"{\"id\":\"ingest-0-77\",\"type\":\"ingest\",\"collection\":\"evil\\u001b["
			"2J\","
			"\"started_at\":\"2026-11-01T10:00:00.000Z\",\"stage\":\"embed\",\"done\":"
			"1,"
			"\"total\":9}},{\"name\":\"h/1/1\",\"queue\":\"ingest\",\"live\":true,"
			"\"job\":null}],\"truncated\":false,\"next_page_token\":\"\"}");
	else if (str_eq_c(path, "/api/v1/collections") && !post)
		buf_add_str(&answer->body, "{\"data\":[{\"name\":\"default\"},{\"name\":\"books\"},"
					   "{\"name\":\"two words\"}],\"next_page_token\":\"\"}");
	else if (str_eq_c(path, "/api/v1/collections/bad"))
		problem(answer, 422, "INVALID_ARGUMENT", "must be lower case", "/name");
	else if (str_eq_c(request->method, "DELETE"))
		answer->status = 204;
	else
		problem(answer, 404, "NOT_FOUND", "no such route", NULL);
}

static struct fake_fault *
find_fault(struct fake_api *api, const struct http_request *request)
{
	AUTO(buf) struct buf line = BUF_INIT(65536);
	size_t at = 0;

	buf_printf(&line, STR_FMT " " STR_FMT, STR_ARG(request->method), STR_ARG(request->path));
	for (size_t i = 0; i < api->fault_count; i++) {
		if (api->faults[i].times > 0 &&
		    str_find(str_make(line.data, line.len), str_of(api->faults[i].part), &at))
			return &api->faults[i];
	}
	return NULL;
}

static void
serve(struct fake_api *api, const struct http_request *request, struct answer *answer,
      struct http_answer *http)
{
	AUTO(arena) struct arena arena;
	struct str type = STR("-");
	struct fake_fault *fault = find_fault(api, request);

	arena_init(&arena, 8 << 20);
	(void)http_header(request, "Content-Type", &type);
	buf_printf(&api->log, STR_FMT " " STR_FMT "?" STR_FMT " " STR_FMT "\n",
		   STR_ARG(request->method), STR_ARG(request->path), STR_ARG(request->query),
		   STR_ARG(type));
	if (!fault || fault->after)
		route(api, request, &arena, answer);
	if (fault) {
		fault->times--;
		problem(answer, fault->status, "SCRIPTED", "scripted fault", NULL);
		if (fault->retry_after_s >= 0)
			http_answer_header(http, "Retry-After", "%d", fault->retry_after_s);
	}
}

static void
count_posting(struct fake_api *api, int change)
{
	(void)pthread_mutex_lock(&api->lock);
	api->posting += change;
	if (api->posting > api->counts.most_posts)
		api->counts.most_posts = api->posting;
	(void)pthread_mutex_unlock(&api->lock);
}

static void
handle(const struct http_request *request, void *user)
{
	struct fake_api *api = user;
	struct http_answer http;
	struct answer answer = { .status = 200 };
	bool post = str_eq_c(request->method, "POST");

	buf_init(&answer.body, 8 << 20);
	http_answer_init(&http, 200);
	if (post) {
		count_posting(api, 1);
		clock_sleep_ms(1); /* so that several can be in flight */
	}
	(void)pthread_mutex_lock(&api->lock);
	serve(api, request, &answer, &http);
	(void)pthread_mutex_unlock(&api->lock);
	http.status = answer.status;
	http.content_type = answer.body.len > 0 ? "application/json" : NULL;
	http.body = str_make(answer.body.data, answer.body.len);
	http_answer_send(request, &http);
	if (post)
		count_posting(api, -1);
	buf_release(&answer.body);
}

/* ---- public ---- */

struct fake_api *
fake_api_start(void)
{
	struct fake_api *api = mem_alloc(sizeof(*api));
	struct err err = ERR_INIT;
	struct http_server_opts opts = { .listen = "127.0.0.1:0",
					 .name = "fake",
					 .threads = 64,
					 .header_timeout_ms = 10000,
					 .body_timeout_ms = 10000,
					 .keep_alive_ms = 1000,
					 .max_connection_requests = 100000,
					 .max_connection_ms = 600000,
					 .max_header_bytes = 16384,
					 .handler = handle,
					 .user = api };

	(void)pthread_mutex_init(&api->lock, NULL);
	buf_init(&api->log, SIZE_MAX / 4);
	api->jobs = mem_array(MAX_JOBS, sizeof(*api->jobs));
	api->polls = 1;
	api->result = "{}";
	if (!http_server_start(&opts, &api->server, &err)) {
		(void)fprintf(stderr, "fake_api: %s\n", err.msg);
		abort();
	}
	(void)snprintf(api->url, sizeof(api->url), "http://127.0.0.1:%d",
		       http_server_port(api->server));
	return api;
}

void
fake_api_stop(struct fake_api *api)
{
	if (!api)
		return;
	http_server_stop(api->server);
	(void)pthread_mutex_destroy(&api->lock);
	buf_release(&api->log);
	mem_free(api->jobs);
	mem_free(api);
}

const char *
fake_api_url(const struct fake_api *api)
{
	return api->url;
}

void
fake_api_fault(struct fake_api *api, const struct fake_fault *fault)
{
	(void)pthread_mutex_lock(&api->lock);
	assert(api->fault_count < MAX_FAULTS);
	api->faults[api->fault_count++] = *fault;
	(void)pthread_mutex_unlock(&api->lock);
}

void
fake_api_set_polls(struct fake_api *api, int polls)
{
	(void)pthread_mutex_lock(&api->lock);
	api->polls = polls;
	(void)pthread_mutex_unlock(&api->lock);
}

void
fake_api_set_poison(struct fake_api *api, const char *part)
{
	(void)pthread_mutex_lock(&api->lock);
	(void)str_copy(api->poison, sizeof(api->poison), str_of(part));
	(void)pthread_mutex_unlock(&api->lock);
}

void
fake_api_set_result(struct fake_api *api, const char *json)
{
	(void)pthread_mutex_lock(&api->lock);
	api->result = json;
	(void)pthread_mutex_unlock(&api->lock);
}

struct fake_counts
fake_api_counts(struct fake_api *api)
{
	(void)pthread_mutex_lock(&api->lock);

	struct fake_counts counts = api->counts;

	(void)pthread_mutex_unlock(&api->lock);
	return counts;
}

int
fake_api_documents(struct fake_api *api)
{
	int count = 0;

	(void)pthread_mutex_lock(&api->lock);
	for (size_t i = 0; i < api->job_count; i++)
		count += holds(&api->jobs[i], i, api);
	(void)pthread_mutex_unlock(&api->lock);
	return count;
}

int
fake_api_dead(struct fake_api *api)
{
	int count = 0;

	(void)pthread_mutex_lock(&api->lock);
	for (size_t i = 0; i < api->job_count; i++)
		count += strcmp(api->jobs[i].status, "failed") == 0;
	(void)pthread_mutex_unlock(&api->lock);
	return count;
}

void
fake_api_retry_before_delete(struct fake_api *api, int nth)
{
	(void)pthread_mutex_lock(&api->lock);
	api->rescued = 1 + nth;
	(void)pthread_mutex_unlock(&api->lock);
}

char *
fake_api_log(struct fake_api *api)
{
	(void)pthread_mutex_lock(&api->lock);

	char *text = mem_strndup(api->log.data, api->log.len);

	(void)pthread_mutex_unlock(&api->lock);
	return text;
}
