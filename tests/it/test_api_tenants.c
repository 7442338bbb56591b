/*
 * Every route with every scope, and every route with what is another tenant's: nothing leaks, not even that it exists.
 *
 * The table below has one row for each row of route_table, and says for itself what a key needs; a route that has no row
 * here fails the test. What a stranger is answered about a real id is compared byte for byte, headers included, with what he
 * is answered about an id of the same form that never existed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/route.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/catalog.h"
#include "common/key_file.h"
#include "common/keys.h"
#include "jobs/spec/spec.h"
#include "tests/support/api.h"
#include "tests/support/folder.h"
#include "tests/support/keys.h"
#include "tests/support/must.h"
#include "tests/support/raw_http.h"
#include "tests/support/redis_server.h"

#define V1 "/api/v1"

/* ---- the routes ---- */

#define R SCOPE_READ
#define I SCOPE_INGEST
#define A SCOPE_ADMIN
#define OPERATORS ROUTE_OPERATORS
#define MANIFEST                                                                                   \
	"{\"id\":\"n\",\"content_hash\":"                                                          \
	"\"0000000000000000000000000000000000000000000000000000000000000000\"}"
#define DOCUMENT "{\"id\":\"n\",\"text\":\"Something new.\"}"

static const struct expected {
	const char *method, *pattern;
	unsigned scopes;  /* any of them is enough; OPERATORS: of the operators' tenant */
	const char *body; /* a valid one; NULL = none */
} expected[] = {
	{ "GET", V1 "/collections", R, NULL },
	{ "POST", V1 "/collections", A, "{\"name\":\"made\"}" },
	{ "GET", V1 "/collections/{c}", R, NULL },
	{ "PATCH", V1 "/collections/{c}", A, "{\"description\":\"changed\"}" },
	{ "DELETE", V1 "/collections/{c}", A, NULL },
	{ "GET", V1 "/collections/{c}/documents", R, NULL },
	{ "POST", V1 "/collections/{c}/documents", I, DOCUMENT },
	{ "POST", V1 "/collections/{c}/documents:import", I, DOCUMENT },
	{ "POST", V1 "/collections/{c}/documents:diff", R, MANIFEST },
	{ "GET", V1 "/collections/{c}/documents/{d}", R, NULL },
	{ "DELETE", V1 "/collections/{c}/documents/{d}", I, NULL },
	{ "POST", V1 "/collections/{c}/query", R, "{\"query\":\"what?\"}" },
	{ "GET", V1 "/jobs", R, NULL },
	{ "POST", V1 "/jobs/{id}:cancel", R | I, NULL },
	{ "POST", V1 "/jobs/{id}:retry", R | I, NULL },
	{ "GET", V1 "/jobs/{id}", R | I, NULL },
	{ "DELETE", V1 "/jobs/{id}", R | I, NULL },
	{ "GET", V1 "/jobs/{id}/result", R, NULL },
	{ "GET", V1 "/jobs/{id}/events", R, NULL },
	{ "GET", V1 "/jobs/{id}/items", R | I, NULL },
	{ "GET", V1 "/queues", R | OPERATORS, NULL },
	{ "POST", V1 "/queues/{q}:pause", A | OPERATORS, NULL },
	{ "POST", V1 "/queues/{q}:resume", A | OPERATORS, NULL },
	{ "GET", V1 "/queues/{q}", R | OPERATORS, NULL },
	{ "GET", V1 "/queues/{q}/dead", R | OPERATORS, NULL },
	{ "GET", V1 "/workers", R | OPERATORS, NULL },
	{ "GET", V1 "/dependencies", R | OPERATORS, NULL },
	{ "GET", "/openapi.json", ROUTE_PUBLIC, NULL },
};

static const struct expected *
find_expected(const struct route *route)
{
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		if (strcmp(expected[i].method, route->method) == 0 &&
		    strcmp(expected[i].pattern, route->pattern) == 0)
			return &expected[i];
	return NULL;
}

/* ---- who asks ---- */

static const char *const tenants[] = { "default", "acme", "evil", "empty" };

/* "<tenant>-<scopes as a number>": a key of each tenant for each set of scopes. */
static struct str
key_of(const char *tenant, unsigned scopes, char out[64])
{
	(void)snprintf(out, 64, "key-%s-%u", tenant, scopes);
	return str_of(out);
}

static struct redis_server *redis_process;
static struct api_server *api;
static struct redis *redis;
static struct arena arena;
static char folder[FOLDER_BYTES];
static char fingerprint[SPEC_FINGERPRINT_BYTES]; /* of the default embedder */

static void
write_all_keys(const char *path)
{
	static char names[64][64], options[64][96];
	struct test_key rows[64] = { { 0 } };
	size_t count = 0;

	for (size_t t = 0; t < ARRAY_SIZE(tenants); t++) {
		for (unsigned scopes = 1; scopes <= SCOPE_ALL; scopes++) {
			char text[SCOPES_TEXT_BYTES];

			scopes_format(scopes, text);
			(void)key_of(tenants[t], scopes, names[count]);
			(void)snprintf(options[count], sizeof(options[count]),
				       "tenant=%s scopes=%s", tenants[t], text);
			/* one name for all: callers of two tenants may well have the same */
			rows[count] = (struct test_key){ "ann", names[count], options[count] };
			count++;
		}
	}
	keys_write(path, rows, "");
}

static int
start_all(void **state)
{
	char path[FOLDER_BYTES + 16], setting[FOLDER_BYTES + 48];
	struct config config = { 0 };

	(void)state;
	MUST(config_load(&config, NULL, e));
	MUST(spec_embedder_fingerprint(&config, fingerprint, e));
	config_release(&config);
	MUST(http_client_global_init(e));
	arena_init(&arena, (size_t)64 << 20);
	folder_make(folder);
	(void)snprintf(path, sizeof(path), "%s/keys", folder);
	(void)snprintf(setting, sizeof(setting), "API_KEYS_FILE=%s", path);
	write_all_keys(path);
	redis_process = redis_server_start(NULL);
	redis = redis_server_connect(redis_process);
	/* nobody renews what `runs` here: it must not lose its lease while strangers ask */
	api = api_server_start(redis_server_url(redis_process),
			       (const char *const[]){ setting, "API_THREADS=16", "LEASE_MS=3600000",
						      NULL });
	return 0;
}

static int
stop_all(void **state)
{
	(void)state;
	int code = api_server_stop(api);

	redis_free(redis);
	redis_server_stop(redis_process);
	arena_release(&arena);
	folder_remove(folder);
	return code;
}

/* ---- asking ---- */

struct request {
	const char *method, *path, *body; /* body NULL = none */
	const char *tenant;		  /* NULL: no key */
	unsigned scopes;
	const char *header; /* one more line, without its end; NULL = none */
};

/* The whole answer, head and body; the line with the date is taken out. */
static int
ask_raw(const struct request *request, struct buf *out)
{
	AUTO(buf) struct buf text = BUF_INIT((size_t)64 * 1024);
	struct raw_reply reply = { 0 };
	struct raw_http raw;
	char key[64];
	struct str head, line;
	int status;

	buf_printf(&text,
		   "%s %s HTTP/1.1\r\nHost: x\r\nX-Request-Id: same\r\nConnection: close\r\n",
		   request->method, request->path);
	if (request->tenant)
		buf_printf(&text, "X-API-Key: " STR_FMT "\r\n",
			   STR_ARG(key_of(request->tenant, request->scopes, key)));
	if (request->header)
		buf_printf(&text, "%s\r\n", request->header);
	if (request->body)
		buf_printf(&text, "Content-Type: %s\r\n",
			   strstr(request->path, "documents:") ? "application/x-ndjson"
							       : "application/json");
	buf_printf(&text, "Content-Length: %zu\r\n\r\n%s",
		   request->body ? strlen(request->body) : 0, request->body ? request->body : "");
	assert_true(buf_ok(&text));
	raw_open(&raw, api->port);
	raw_send(&raw, text.data);
	raw_read(&raw, strcmp(request->method, "HEAD") != 0, &reply);
	raw_close(&raw);
	buf_clear(out);
	head = str_make(reply.head.data, reply.head.len);
	while (str_split(&head, '\n', &line))
		if (!str_starts(line, "Date:"))
			buf_printf(out, STR_FMT "\n", STR_ARG(line));
	buf_add(out, reply.body.data, reply.body.len);
	status = reply.status;
	raw_reply_release(&reply);
	return status;
}

static int
status_of(const struct request *request)
{
	AUTO(buf) struct buf out = BUF_INIT((size_t)1 << 20);

	return ask_raw(request, &out);
}

/* The path of a pattern: {c}, {d}, {id} and {q} are filled in. */
struct subject {
	const char *collection, *document, *job;
};

static const char *
path_of(const char *pattern, const struct subject *subject, char out[512])
{
	struct str rest = str_of(pattern), piece;
	size_t len = 0;

	while (str_split(&rest, '{', &piece)) {
		len += (size_t)snprintf(out + len, 512 - len, STR_FMT, STR_ARG(piece));
		if (rest.len == 0)
			break;
		assert_true(str_split(&rest, '}', &piece));
		const char *value = str_eq_c(piece, "c")    ? subject->collection
				    : str_eq_c(piece, "d")  ? subject->document
				    : str_eq_c(piece, "id") ? subject->job
				    : str_eq_c(piece, "q")  ? "hook"
							    : NULL;
		if (!value)
			fail_msg("%s: this test does not know '{" STR_FMT "}'", pattern,
				 STR_ARG(piece));
		len += (size_t)snprintf(out + len, 512 - len, "%s", value);
		assert_true(len < 512);
	}
	return out;
}

/* ---- scopes ---- */

static void
test_table_is_complete(void **state)
{
	(void)state;
	for (size_t i = 0; i < route_count; i++) {
		const struct route *route = &route_table[i];
		const struct expected *row = find_expected(route);

		if (!row) {
			fail_msg("%s %s has no row in tests/it/test_api_tenants.c: add one that "
				 "says which scopes it needs",
				 route->method, route->pattern);
			return;
		}
		if (row->scopes != route->scopes)
			fail_msg("%s %s declares scopes %#x, %#x are expected", route->method,
				 route->pattern, route->scopes, row->scopes);
	}
	assert_int_equal(route_count, ARRAY_SIZE(expected)); /* and no row is left over */
}

static bool
may(const struct expected *row, const char *tenant, unsigned scopes)
{
	if (row->scopes & ROUTE_PUBLIC)
		return true;
	return (row->scopes & scopes & SCOPE_ALL) &&
	       (!(row->scopes & OPERATORS) || strcmp(tenant, "default") == 0);
}

/* Every route, every set of scopes, three tenants; about things that are not there, so that nothing happens. */
static void
test_every_scope(void **state)
{
	(void)state;
	static const char *const some[] = { "default", "evil", "acme" };
	const struct subject nothing = { "nowhere", "nothing",
					 "ingest-0-00000000000000000000000000" };

	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		const struct expected *row = &expected[i];
		char path[512];

		for (size_t t = 0; t < ARRAY_SIZE(some); t++) {
			for (unsigned scopes = 1; scopes <= SCOPE_ALL; scopes++) {
				struct request request = {
					row->method, path_of(row->pattern, &nothing, path),
					row->body,   some[t],
					scopes,	     NULL
				};
				int status = status_of(&request);

				if (status == 401 || (status == 403) == may(row, some[t], scopes))
					fail_msg("%s %s with scopes %u of tenant %s: %d",
						 row->method, path, scopes, some[t], status);
			}
		}
		struct request stranger = { row->method, path, row->body, NULL, 0, NULL };
		int status = status_of(&stranger);

		if ((status != 401) != ((row->scopes & ROUTE_PUBLIC) != 0))
			fail_msg("%s %s without a key: %d", row->method, path, status);
	}
}

/* ---- what belongs to somebody ---- */

enum { JOBS_MAX = 16 };

struct owned {
	const char *tenant;
	char jobs[JOBS_MAX][JOB_ID_BYTES];
	size_t job_count;
};

static const char *
post(const char *tenant, const char *path, const char *body, char out_id[JOB_ID_BYTES])
{
	struct answer answer = { 0 };
	char header[96], key[64];

	(void)snprintf(header, sizeof(header), "X-API-Key: " STR_FMT,
		       STR_ARG(key_of(tenant, SCOPE_ALL, key)));
	ask(api, &answer, "POST", path, body, header);
	if (answer.status != 202)
		fail_msg("POST %s: %d %s", path, answer.status, answer.reply.body.data);
	assert_true(str_copy(out_id, JOB_ID_BYTES, answer_str(&answer, "id")));
	answer_release(&answer);
	return out_id;
}

static void
add_job(struct owned *owned, const char *id)
{
	assert_true(owned->job_count < JOBS_MAX);
	assert_true(str_copy(owned->jobs[owned->job_count++], JOB_ID_BYTES, str_of(id)));
}

/* A document that readers see: its job is run as a worker would. */
static void
commit_document(struct owned *owned, const char *collection_name, const char *document)
{
	struct catalog_name full =
		catalog_full_name(str_of(owned->tenant), str_of(collection_name));
	char path[160], body[160], id[JOB_ID_BYTES], old_gen[CATALOG_GEN_BYTES];
	enum catalog_commit_result result;
	struct collection collection;
	struct fake_job job;
	int64_t seq;

	(void)snprintf(path, sizeof(path), V1 "/collections/%s/documents", collection_name);
	(void)snprintf(body, sizeof(body), "{\"id\":\"%s\",\"text\":\"The secret of %s.\"}",
		       document, owned->tenant);
	post(owned->tenant, path, body, id);
	fake_take(redis, "ingest", &arena, &job);
	assert_string_equal(job.lease.job_id, id);
	assert_string_equal(job.job.tenant, owned->tenant);
	assert_string_equal(job.job.collection, collection_name);
	MUST(catalog_get(redis, str_of(full.text), &collection, e));
	assert_string_equal(collection.tenant, owned->tenant);
	MUST(catalog_accept(redis, str_of(collection.uid), str_of(document), str_of(id), &seq, e));
	struct catalog_commit commit = {
		.uid = str_of(collection.uid),
		.document_id = str_of(document),
		.job_id = str_of(id),
		.seq = seq,
		.epoch = job.lease.epoch,
		.title = STR("A secret"),
		.fingerprint = str_of(fingerprint),
		.bytes = 10,
		.chunks = 1,
	};
	MUST(catalog_commit(redis, &commit, &result, old_gen, e));
	assert_int_equal(result, CATALOG_COMMITTED);
	MUST(catalog_release(redis, str_of(collection.uid), str_of(id), e));
	fake_succeed(redis, &job, "{\"document_id\":\"secret\",\"chunks\":1}");
	add_job(owned, id);
}

/* A retry far enough away not to come during the test, whatever the jitter. */
static void
settle(const struct fake_job *job, enum queue_settle_kind kind)
{
	struct err error = ERR_INIT;
	struct queue_settle request = { .kind = kind,
					.error = &error,
					.retry_after_ms = 3600000,
					.backoff_base_ms = 3600000,
					.backoff_max_ms = 3600000,
					.result_ttl_ms = 3600000 };
	enum job_status status;

	err_set(&error, ERR_STORE_FAILED, "the secret could not be found");
	MUST(queue_settle(redis, &job->lease, &request, &status, e));
}

static void
finish_job(struct owned *owned, enum queue_settle_kind kind)
{
	struct fake_job job;
	char id[JOB_ID_BYTES];

	post(owned->tenant, V1 "/collections/default/query", "{\"query\":\"secret?\"}", id);
	fake_take(redis, "query", &arena, &job);
	assert_string_equal(job.lease.job_id, id);
	if (kind == SETTLE_SUCCEED)
		fake_succeed(redis, &job, "{\"answer\":\"the secret\"}");
	else
		settle(&job, kind);
	add_job(owned, id);
}

static bool
job_has_status(void *user)
{
	const char *const *id_and_status = user;
	struct job job;

	MUST(queue_get(redis, str_of(id_and_status[0]), &job, e));
	return strcmp(job_status_name(job.status), id_and_status[1]) == 0;
}

/* A job that was not started in time: `start` finds it so. */
static void
expire_job(struct owned *owned)
{
	char id[JOB_ID_BYTES];
	int64_t until = clock_mono_ms() + API_PATIENCE_MS;
	const char *wanted[] = { id, "expired" };
	struct queue_ref queue;

	post(owned->tenant, V1 "/collections/default/query",
	     "{\"query\":\"late?\",\"expires_in_s\":1}", id);
	clock_sleep_ms(1100); /* its time by Redis' clock; a slower machine only makes it later */
	assert_true(job_queue_find(STR("query"), 0, &queue));
	while (!job_has_status(wanted)) {
		const struct queue_start how = { "tester", 1 << 20, &arena };
		struct queue_started started;
		struct queue_entry entry;
		bool got;

		assert_true(clock_mono_ms() < until);
		MUST(queue_fetch(redis, queue, "tester", 100, &got, &entry, e));
		if (got)
			MUST(queue_start(redis, queue, &entry, &how, &started, e));
	}
	add_job(owned, id);
}

/* An import whose one line is no document: final at once, and with an item. */
static void
import_nothing(struct owned *owned)
{
	struct request request = { "POST",	    V1 "/collections/secret/documents:import",
				   "no document\n", owned->tenant,
				   SCOPE_ALL,	    NULL };
	AUTO(buf) struct buf out = BUF_INIT((size_t)1 << 20);
	const char *const mark = "Location: " V1 "/jobs/";
	char id[JOB_ID_BYTES], path[160];
	const char *at;

	assert_int_equal(ask_raw(&request, &out), 202);
	at = strstr(out.data, mark);
	assert_non_null(at);
	at += strlen(mark);
	assert_true(str_copy(id, sizeof(id), str_make(at, strcspn(at, "\r"))));
	(void)snprintf(path, sizeof(path), V1 "/jobs/%s/items", id);
	request = (struct request){ "GET", path, NULL, owned->tenant, SCOPE_ALL, NULL };
	assert_int_equal(ask_raw(&request, &out), 200);
	assert_non_null(strstr(out.data, "\"rejected\":true"));
	add_job(owned, id);
}

/* A collection, visible documents, and a job of every status but queued. */
static void
make_most(struct owned *owned, const char *tenant)
{
	char id[JOB_ID_BYTES], path[160], key[64], header[96];
	struct answer answer = { 0 };
	struct fake_job job;

	*owned = (struct owned){ .tenant = tenant };
	(void)snprintf(header, sizeof(header), "X-API-Key: " STR_FMT,
		       STR_ARG(key_of(tenant, SCOPE_ALL, key)));
	ask(api, &answer, "POST", V1 "/collections", "{\"name\":\"secret\"}", header);
	assert_int_equal(answer.status, 201);
	assert_true(answer_is(&answer, "name", "secret")); /* the bare name */
	assert_true(str_eq_c(answer_header(&answer, "location"), V1 "/collections/secret"));
	answer_release(&answer);

	commit_document(owned, "secret", "doc-1"); /* succeeded */
	commit_document(owned, "default", "doc-1");
	finish_job(owned, SETTLE_SUCCEED);
	finish_job(owned, SETTLE_FAIL);	 /* failed */
	finish_job(owned, SETTLE_RETRY); /* retrying */
	expire_job(owned);
	import_nothing(owned);
	/* running */
	add_job(owned, post(tenant, V1 "/collections/default/query", "{\"query\":\"now?\"}", id));
	fake_take(redis, "query", &arena, &job);
	/* cancelling */
	add_job(owned, post(tenant, V1 "/collections/default/query", "{\"query\":\"stop?\"}", id));
	fake_take(redis, "query", &arena, &job);
	(void)snprintf(path, sizeof(path), V1 "/jobs/%s:cancel", id);
	assert_int_equal(status_of(
				 &(struct request){ "POST", path, NULL, tenant, SCOPE_ALL, NULL }),
			 202);
	/* cancelled */
	add_job(owned, post(tenant, V1 "/collections/default/query", "{\"query\":\"no?\"}", id));
	(void)snprintf(path, sizeof(path), V1 "/jobs/%s:cancel", id);
	assert_int_equal(status_of(
				 &(struct request){ "POST", path, NULL, tenant, SCOPE_ALL, NULL }),
			 200);
	/* scheduled */
	add_job(owned, post(tenant, V1 "/collections/secret/documents",
			    "{\"id\":\"later\",\"text\":\"x\",\"delay_s\":86400}", id));
}

/* Last of all: whoever takes a job now would get this one. */
static void
make_queued(struct owned *owned)
{
	char id[JOB_ID_BYTES];

	add_job(owned,
		post(owned->tenant, V1 "/collections/secret/query", "{\"query\":\"wait?\"}", id));
}

static void
check_statuses(const struct owned *owned)
{
	bool seen[JOB_STATUS_COUNT] = { false };

	for (size_t i = 0; i < owned->job_count; i++) {
		struct job job;

		MUST(queue_get(redis, str_of(owned->jobs[i]), &job, e));
		assert_string_equal(job.tenant, owned->tenant);
		seen[job.status] = true;
	}
	for (size_t i = 0; i < JOB_STATUS_COUNT; i++)
		if (!seen[i])
			fail_msg("no job is %s", job_status_name((enum job_status)i));
}

/* All that Redis holds, but for what changes by itself. */
static void
dump(struct buf *out)
{
	AUTO_PTR(reply_free) struct reply *keys = NULL;

	buf_clear(out);
	MUST(REDIS_CALL(redis, &keys, e, "KEYS", "rag:*"));
	/* in the order of their names, which KEYS does not promise */
	size_t count = reply_len(keys);
	struct str *names = mem_array(count + 1, sizeof(*names));

	for (size_t i = 0; i < count; i++) {
		size_t at = i;
		struct str name;

		assert_true(reply_str(reply_at(keys, i), &name));
		for (; at > 0 && str_cmp(names[at - 1], name) > 0; at--)
			names[at] = names[at - 1];
		names[at] = name;
	}
	for (size_t i = 0; i < count; i++) {
		AUTO_PTR(reply_free) struct reply *value = NULL;
		struct redis_cmd cmd;
		struct str bytes;

		if (str_ends(names[i], ":workers") || str_ends(names[i], ":lock:keep"))
			continue;
		redis_cmd_init(&cmd, "DUMP");
		redis_arg(&cmd, names[i]);
		MUST(redis_run(redis, &cmd, &value, e));
		if (!reply_str(value, &bytes))
			continue; /* ran out meanwhile */
		buf_printf(out, STR_FMT "=", STR_ARG(names[i]));
		buf_add(out, bytes.ptr, bytes.len);
	}
	mem_free(names);
	assert_true(buf_ok(out));
}

/* ---- strangers ---- */

static struct str
whole(const struct buf *text)
{
	return str_make(text->data, text->len);
}

/* Replaces every `name` by blanks of the same number, so that texts about two ids can be compared. */
static void
blank_out(struct buf *text, const char *name)
{
	size_t len = strlen(name), at;
	struct str rest = str_make(text->data, text->len);

	while (len && str_find(rest, str_of(name), &at)) {
		size_t from = (size_t)(rest.ptr - text->data) + at;

		memset(text->data + from, ' ', len);
		rest = str_sub(rest, at + len, rest.len);
	}
}

static void
blank_all(struct buf *text, const struct subject *subject)
{
	blank_out(text, subject->job);
	blank_out(text, subject->collection);
	blank_out(text, subject->document);
}

/* The same request about what is another's and about what never was: the same answer. */
static void
check_same(struct request request, const char *pattern, const struct subject *real,
	   const struct subject *never)
{
	AUTO(buf) struct buf about_real = BUF_INIT((size_t)1 << 20);
	AUTO(buf) struct buf about_never = BUF_INIT((size_t)1 << 20);
	char real_path[512], never_path[512];
	int status;

	request.path = path_of(pattern, real, real_path);
	status = ask_raw(&request, &about_real);
	request.path = path_of(pattern, never, never_path);
	(void)ask_raw(&request, &about_never);
	blank_all(&about_real, real);
	blank_all(&about_never, never);
	if (about_real.len != about_never.len ||
	    memcmp(about_real.data, about_never.data, about_real.len) != 0)
		fail_msg("%s %s (%s) of tenant %s\n%s\n---- but %s\n%s", request.method, real_path,
			 request.header ? request.header : "", request.tenant, about_real.data,
			 never_path, about_never.data);
	/* nobody is answered anything but: no, or not found */
	if (status != 404 && status != 403 && !(status >= 400 && status < 500))
		fail_msg("%s %s of tenant %s: %d\n%s", request.method, real_path, request.tenant,
			 status, about_real.data);
}

static const char *const variants[] = {
	NULL,
	"Prefer: wait=1",
	"If-None-Match: *",
	"If-None-Match: \"v1\"",
	"Idempotency-Key: one",
	"Accept: text/event-stream",
	"Last-Event-ID: 1",
	"Prefer: wait=1\r\nIf-None-Match: \"v2\"",
};

static void
check_row(const struct expected *row, const char *stranger, unsigned scopes,
	  const struct subject *real, const struct subject *never)
{
	for (size_t v = 0; v < ARRAY_SIZE(variants); v++) {
		struct request request = { row->method, NULL,	row->body,
					   stranger,	scopes, variants[v] };

		check_same(request, row->pattern, real, never);
		if (strcmp(row->method, "GET") == 0) {
			request.method = "HEAD";
			check_same(request, row->pattern, real, never);
		}
	}
}

/* A job's id that never was, of the same queue. */
static void
never_job(const char *real, char out[JOB_ID_BYTES])
{
	struct queue_ref queue;

	assert_true(job_id_parse(str_of(real), &queue));
	job_id_new(queue, out);
}

static void
check_stranger(const struct owned *owned, const char *stranger, unsigned scopes)
{
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		const struct expected *row = &expected[i];
		bool of_job = strstr(row->pattern, "{id}") != NULL;
		bool of_collection = strstr(row->pattern, "{c}") != NULL;
		struct subject real = { "secret", "doc-1", "" }, never = { "absent", "doc-1", "" };

		for (size_t k = 0; of_job && k < owned->job_count; k++) {
			char other[JOB_ID_BYTES];

			never_job(owned->jobs[k], other);
			real.job = owned->jobs[k];
			never.job = other;
			check_row(row, stranger, scopes, &real, &never);
		}
		if (!of_collection)
			continue;
		check_row(row, stranger, scopes, &real, &never);
		/* both have a `default`, but the document is the owner's alone */
		if (strstr(row->pattern, "{d}")) {
			real.collection = never.collection = "default";
			never.document = "doc-x";
			check_row(row, stranger, scopes, &real, &never);
		}
	}
}

static struct owned acme, operators;

static void
test_strangers(void **state)
{
	(void)state;
	AUTO(buf) struct buf before = BUF_INIT((size_t)16 << 20);
	AUTO(buf) struct buf after = BUF_INIT((size_t)16 << 20);
	char path[512];

	make_most(&acme, "acme");
	make_most(&operators, "default");
	make_queued(&acme);
	make_queued(&operators);
	check_statuses(&acme);
	check_statuses(&operators);
	/* each stranger's own `default` is made when he first looks at it */
	(void)snprintf(path, sizeof(path), V1 "/collections/default");
	assert_int_equal(status_of(&(struct request){ "GET", path, NULL, "evil", SCOPE_ALL, NULL }),
			 200);
	assert_int_equal(status_of(
				 &(struct request){ "GET", path, NULL, "empty", SCOPE_ALL, NULL }),
			 200);
	dump(&before);
	for (unsigned scopes = 1; scopes <= SCOPE_ALL; scopes++) {
		check_stranger(&acme, "evil", scopes);
		check_stranger(&operators, "evil", scopes);
	}
	dump(&after);
	/* nothing was changed, nothing was left behind */
	for (size_t i = 0, name = 0; i < before.len || i < after.len; i++) {
		if (i < before.len && str_starts(str_sub(whole(&before), i, before.len), "rag:"))
			name = i;
		if (i >= before.len || i >= after.len || before.data[i] != after.data[i])
			fail_msg("what strangers asked has changed Redis near '%.80s'",
				 before.data + name);
	}
}

/* Not even the operators, and nobody may the operators': `secret` and all ids of each are as never were to the other.
 * Both have a collection of that name, so jobs alone are looked at. */
static void
test_operators_have_no_way_in(void **state)
{
	(void)state;
	const struct owned *owners[] = { &acme, &operators };
	const char *const strangers[] = { "default", "acme" };

	for (size_t o = 0; o < 2; o++) {
		for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
			struct subject real = { "x", "x", "" }, never = { "x", "x", "" };

			if (!strstr(expected[i].pattern, "{id}"))
				continue;
			for (size_t k = 0; k < owners[o]->job_count; k++) {
				char other[JOB_ID_BYTES];

				never_job(owners[o]->jobs[k], other);
				real.job = owners[o]->jobs[k];
				never.job = other;
				check_row(&expected[i], strangers[o], SCOPE_ALL, &real, &never);
			}
		}
	}
}

/* ---- lists ---- */

static void
list(const char *tenant, const char *path, struct buf *out)
{
	struct request request = { "GET", path, NULL, tenant, SCOPE_ALL, NULL };

	assert_int_equal(ask_raw(&request, out), 200);
}

static bool
has(const struct buf *text, const char *what)
{
	return strstr(text->data, what) != NULL;
}

static void
test_lists(void **state)
{
	(void)state;
	static const char *const paths[] = {
		V1 "/jobs",
		V1 "/jobs?page_size=1",
		V1 "/jobs?status=failed",
		V1 "/jobs?queue=query",
		V1 "/jobs?collection=secret",
		V1 "/jobs?type=ingest",
		V1 "/jobs?error=STORE_FAILED",
		V1 "/collections/default/documents",
	};
	AUTO(buf) struct buf text = BUF_INIT((size_t)1 << 20);
	AUTO(buf) struct buf other = BUF_INIT((size_t)1 << 20);

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		list("evil", paths[i], &text);
		if (!has(&text, "\r\n\r\n{\"data\":[],\"next_page_token\":\"\"}"))
			fail_msg("%s: %s", paths[i], text.data);
		list("empty", paths[i], &other);
		assert_string_equal(text.data, other.data);
	}
	list("evil", V1 "/collections", &text);
	assert_false(has(&text, "secret"));
	assert_true(has(&text, "\"name\":\"default\""));

	list("acme", V1 "/jobs", &text);
	for (size_t i = 0; i < acme.job_count; i++)
		assert_true(has(&text, acme.jobs[i]));
	for (size_t i = 0; i < operators.job_count; i++)
		assert_false(has(&text, operators.jobs[i]));
	list("acme", V1 "/collections", &text);
	assert_true(has(&text, "\"name\":\"secret\""));
	assert_false(has(&text, "acme"));

	/* fleet-wide views of the operators: not one id or name of a tenant's */
	static const char *const fleet[] = { V1 "/jobs",
					     V1 "/queues",
					     V1 "/queues/query",
					     V1 "/workers",
					     V1 "/dependencies",
					     V1 "/queues/query/dead",
					     V1 "/queues/ingest/dead" };
	for (size_t i = 0; i < ARRAY_SIZE(fleet); i++) {
		list("default", fleet[i], &text);
		for (size_t k = 0; k < acme.job_count; k++)
			assert_false(has(&text, acme.jobs[k]));
		assert_false(has(&text, "acme"));
	}
}

/* ---- page tokens and idempotency keys ---- */

static void
test_page_tokens(void **state)
{
	(void)state;
	static const char *const lists[] = { V1 "/jobs?page_size=1", V1 "/collections?page_size=1",
					     V1 "/collections/default/documents?page_size=1" };
	static const char *const mark = "\"next_page_token\":\"";

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		AUTO(buf) struct buf text = BUF_INIT((size_t)1 << 20);
		AUTO(buf) struct buf stolen = BUF_INIT((size_t)1 << 20);
		AUTO(buf) struct buf garbage = BUF_INIT((size_t)1 << 20);
		char path[1024], token[700];
		const char *at;

		list("acme", lists[i], &text);
		at = strstr(text.data, mark);
		assert_non_null(at);
		at += strlen(mark);
		assert_true(str_copy(token, sizeof(token), str_make(at, strcspn(at, "\""))));
		if (!token[0]) { /* one document alone has no second page */
			assert_int_equal(i, 2);
			continue;
		}
		/* sealed: it tells nothing of where it stands */
		assert_null(strstr(token, "717565727")); /* "query" in hex, cut */
		assert_null(strstr(token, "696e67657374"));
		(void)snprintf(path, sizeof(path), "%s&page_token=%s", lists[i], token);
		struct request request = { "GET", path, NULL, "acme", SCOPE_ALL, NULL };
		assert_int_equal(status_of(&request), 200);
		request.tenant = "evil";
		assert_int_equal(ask_raw(&request, &stolen), 400);
		memset(token, '0', strlen(token));
		(void)snprintf(path, sizeof(path), "%s&page_token=%s", lists[i], token);
		assert_int_equal(ask_raw(&request, &garbage), 400);
		assert_string_equal(stolen.data, garbage.data);
	}
}

static void
test_idempotency_keys(void **state)
{
	(void)state;
	static const char *const who[] = { "acme", "evil", "default" };
	char ids[3][JOB_ID_BYTES];
	struct answer answer = { 0 };

	/* the same name, key, path and text in three tenants: three jobs */
	for (size_t i = 0; i < 3; i++) {
		char header[96], key[64];

		(void)snprintf(header, sizeof(header), "X-API-Key: " STR_FMT,
			       STR_ARG(key_of(who[i], SCOPE_ALL, key)));
		ask(api, &answer, "POST", V1 "/collections/default/query", "{\"query\":\"same?\"}",
		    header, "Idempotency-Key: shared");
		assert_int_equal(answer.status, 202);
		assert_int_equal(answer_header(&answer, "idempotent-replayed").len, 0);
		assert_true(str_copy(ids[i], JOB_ID_BYTES, answer_str(&answer, "id")));
		answer_release(&answer);
		/* again, by another key of the same name: the same job */
		(void)snprintf(header, sizeof(header), "X-API-Key: " STR_FMT,
			       STR_ARG(key_of(who[i], SCOPE_READ, key)));
		ask(api, &answer, "POST", V1 "/collections/default/query", "{\"query\":\"same?\"}",
		    header, "Idempotency-Key: shared");
		assert_true(str_eq_c(answer_header(&answer, "idempotent-replayed"), "true"));
		assert_true(answer_is(&answer, "id", ids[i]));
		answer_release(&answer);
	}
	assert_string_not_equal(ids[0], ids[1]);
	assert_string_not_equal(ids[0], ids[2]);
	/* another text under it is refused for the same tenant, and news to another */
	for (int i = 0; i < 2; i++) {
		char header[96], key[64];

		(void)snprintf(header, sizeof(header), "X-API-Key: " STR_FMT,
			       STR_ARG(key_of(i ? "empty" : "acme", SCOPE_ALL, key)));
		ask(api, &answer, "POST", V1 "/collections/default/query", "{\"query\":\"other?\"}",
		    header, "Idempotency-Key: shared");
		assert_int_equal(answer.status, i ? 202 : 422);
		answer_release(&answer);
	}
}

/* ---- own jobs ---- */

/* To change a job takes the scope that submitting it takes. */
static void
test_changes_of_own_jobs(void **state)
{
	(void)state;
	static const char *const verbs[][2] = { { "POST", ":cancel" },
						{ "POST", ":retry" },
						{ "DELETE", "" } };
	char query[JOB_ID_BYTES], document[JOB_ID_BYTES], path[160];

	for (size_t v = 0; v < ARRAY_SIZE(verbs); v++) {
		post("acme", V1 "/collections/default/query", "{\"query\":\"mine?\"}", query);
		post("acme", V1 "/collections/default/documents", "{\"text\":\"mine\"}", document);
		for (unsigned scopes = 1; scopes <= SCOPE_ALL; scopes++) {
			for (int i = 0; i < 2; i++) {
				unsigned needed = i ? SCOPE_INGEST : SCOPE_READ;

				(void)snprintf(path, sizeof(path), V1 "/jobs/%s%s",
					       i ? document : query, verbs[v][1]);
				struct request request = { verbs[v][0], path,	NULL,
							   "acme",	scopes, NULL };
				int status = status_of(&request);

				if ((status != 403) != ((scopes & needed) != 0))
					fail_msg("%s %s with scopes %u: %d", verbs[v][0], path,
						 scopes, status);
			}
		}
	}
}

/* ---- collections of the same name ---- */

static void
test_same_names(void **state)
{
	(void)state;
	AUTO(buf) struct buf text = BUF_INIT((size_t)1 << 20);
	struct request request = { "POST", V1 "/collections", "{\"name\":\"secret\"}",
				   "evil", SCOPE_ALL,	      NULL };

	/* the name is free for the stranger, and taken only by himself */
	assert_int_equal(ask_raw(&request, &text), 201);
	assert_int_equal(ask_raw(&request, &text), 409);
	assert_true(has(&text, "there is a collection 'secret' already"));
	request = (struct request){ "GET",     V1 "/collections/secret/documents/doc-1",
				    NULL,      "evil",
				    SCOPE_ALL, NULL };
	assert_int_equal(ask_raw(&request, &text), 404);
	/* what he does to his, the others' does not feel */
	request = (struct request){
		"PATCH", V1 "/collections/secret", "{\"description\":\"evil\"}", "evil", SCOPE_ALL,
		NULL
	};
	assert_int_equal(ask_raw(&request, &text), 200);
	request = (struct request){ "DELETE", V1 "/collections/secret", NULL, "evil", SCOPE_ALL,
				    NULL };
	assert_int_equal(ask_raw(&request, &text), 202);
	request = (struct request){ "DELETE", V1 "/collections/default", NULL, "evil", SCOPE_ALL,
				    NULL };
	assert_int_equal(ask_raw(&request, &text), 202);
	for (size_t i = 0; i < 2; i++) {
		const char *owner = i ? "default" : "acme";

		list(owner, V1 "/collections/secret", &text);
		assert_true(has(&text, "\"documents\":1,"));
		assert_false(has(&text, "evil"));
		list(owner, V1 "/collections/secret/documents/doc-1", &text);
		list(owner, V1 "/collections/default/documents/doc-1", &text);
	}
}

/* The job that deletes a tenant's collection finds it by its full name. */
static void
test_names_in_the_catalog(void **state)
{
	(void)state;
	struct collection collection;
	struct err err = ERR_INIT;

	MUST(catalog_get(redis, STR("acme/secret"), &collection, e));
	assert_string_equal(collection.name, "secret");
	assert_string_equal(collection.tenant, "acme");
	MUST(catalog_get(redis, STR("secret"), &collection, e)); /* of old: without a tenant */
	assert_string_equal(collection.tenant, "default");
	assert_false(catalog_create(redis, STR("Acme/secret"), STR(""), &collection, &err));
	assert_false(catalog_create(redis, STR("acme/a/b"), STR(""), &collection, &err));
	assert_false(catalog_create(redis, STR("/a"), STR(""), &collection, &err));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_is_complete),
		cmocka_unit_test(test_every_scope),
		cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_operators_have_no_way_in),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_page_tokens),
		cmocka_unit_test(test_idempotency_keys),
		cmocka_unit_test(test_changes_of_own_jobs),
		cmocka_unit_test(test_same_names),
		cmocka_unit_test(test_names_in_the_catalog),
	};
	return cmocka_run_group_tests(tests, start_all, stop_all);
}
