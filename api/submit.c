#include "api/submit.h"

#include <string.h>

#include "api/await.h"
#include "api/keep.h"
#include "api/reply.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/queue.h"

#define YEAR_S 31536000
#define PAYLOAD_SLACK_BYTES ((size_t)256 * 1024) /* all but the body of a document */

/* ---- options ---- */

static const struct field option_rows[] = {
	FIELD(struct submit_options, run_at, FIELD_STR, .min = 1, .max = 40,
	      .doc = "not before this time (RFC 3339)"),
	FIELD(struct submit_options, delay_s, FIELD_I64, .min = 0, .max = YEAR_S,
	      .doc = "not before so many seconds from now"),
	FIELD(struct submit_options, expires_in_s, FIELD_I64, .min = 1, .max = YEAR_S,
	      .doc = "ends as `expired` when not started within so many seconds"),
	FIELD(struct submit_options, max_failures, FIELD_I64, .min = 1, .max = 100,
	      .doc = "failures after which the job is dead"),
	/* of queries only, the last one */
	FIELD(struct submit_options, stream, FIELD_BOOL,
	      .doc = "keep the answer's pieces for `/jobs/{id}/events`"),
};
const struct fields submit_option_fields = { .kind = "submission",
					     .rows = option_rows,
					     .count = ARRAY_SIZE(option_rows) - 1 };
const struct fields submit_query_option_fields = FIELDS("submission", option_rows);

static bool
check_options(const struct submit_options *options, struct err *err)
{
	int64_t unix_ms;

	if (options->run_at.len && !clock_parse_iso(options->run_at, &unix_ms)) {
		err_set(err, ERR_INVALID,
			"'run_at' must be a time like 2026-11-23T07:00:00Z, not '" STR_FMT "'",
			STR_ARG(options->run_at));
		return err_at(err, "/run_at");
	}
	if (options->run_at.len && options->delay_s) {
		err_set(err, ERR_INVALID, "'run_at' and 'delay_s' exclude each other");
		return err_at(err, "/delay_s");
	}
	return true;
}

bool
submit_options_from_params(struct call *call, struct submit_options *out, struct err *err)
{
	*out = (struct submit_options){ 0 };
	return call_param_word(call, "run_at", &out->run_at, err) &&
	       call_param_i64(call, "delay_s", 0, YEAR_S, &out->delay_s, err) &&
	       call_param_i64(call, "expires_in_s", 1, YEAR_S, &out->expires_in_s, err) &&
	       call_param_i64(call, "max_failures", 1, 100, &out->max_failures, err) &&
	       check_options(out, err);
}

static bool
is_option(const struct fields *table, struct str key)
{
	for (size_t i = 0; i < table->count; i++)
		if (str_eq_c(key, table->rows[i].name))
			return true;
	return false;
}

/* The members of root that are options, or those that are not, as a tree of their own. */
static bool
part_of(const struct js *root, const struct fields *table, bool options, size_t max_bytes,
	struct js **out, struct err *err)
{
	AUTO(buf) struct buf text = BUF_INIT(max_bytes);
	AUTO(buf) struct buf value = BUF_INIT(max_bytes);
	struct jw w = jw_start(&text);

	jw_obj(&w);
	for (const struct js_iter *it = js_first(root); it; it = js_next(root, it)) {
		if (is_option(table, js_iter_key(it)) != options)
			continue;
		buf_clear(&value);
		js_write(js_iter_value(it), &value);
		if (!buf_check(&value, "the body", err))
			return false;
		jw_key(&w, js_iter_key(it).ptr);
		jw_raw(&w, str_make(value.data, value.len));
	}
	jw_end(&w);
	return buf_check(&text, "the body", err) &&
	       js_parse(str_make(text.data, text.len), out, err);
}

bool
submit_options_from_json(struct call *call, const struct fields *table, struct js **root,
			 struct submit_options *out, struct err *err)
{
	/* a text can grow when it is written again: escapes */
	size_t max_bytes = (size_t)call->api->config->max_body_bytes * 6 + 1024;
	AUTO_PTR(js_free) struct js *options = NULL;
	struct js *rest = NULL;
	bool any = false;

	*out = (struct submit_options){ 0 };
	for (const struct js_iter *it = js_first(*root); it && !any; it = js_next(*root, it))
		any = is_option(table, js_iter_key(it));
	if (!any)
		return true;
	if (!part_of(*root, table, true, max_bytes, &options, err) ||
	    !fields_from_json(table, options, out, &call->arena, err) || !check_options(out, err) ||
	    !part_of(*root, table, false, max_bytes, &rest, err))
		return false;
	js_free(*root);
	*root = rest;
	return true;
}

/* ---- idempotency ---- */

static void
add_i64(struct sha256 *hash, int64_t value)
{
	sha256_add(hash, &value, sizeof(value));
}

static void
hash_idem(const struct call *call, struct str key, char out[SHA256_HEX_BYTES])
{
	struct sha256 *hash = sha256_new();

	if (!tenant_is_default(
		    str_of(call->tenant))) /* of the default's keys the hash stays what it was */
		sha256_add_field(hash, str_of(call->tenant));
	sha256_add_field(hash, str_of(call->key.name));
	sha256_add_field(hash, call->http->method);
	sha256_add_field(hash, call->http->path);
	sha256_add_field(hash, key);
	sha256_finish_hex(hash, out);
}

bool
submit_idem_hash(struct call *call, char out[SHA256_HEX_BYTES], struct err *err)
{
	struct str key;

	if (!call_idempotency_key(call, &key, err))
		return false;
	out[0] = '\0';
	if (key.len)
		hash_idem(call, key, out);
	return true;
}

static bool
hash_key(const struct call *call, const void *payload, struct str key, struct submit *submit,
	 struct err *err)
{
	AUTO(buf) struct buf packed = BUF_INIT(PAYLOAD_SLACK_BYTES);
	struct sha256 *hash;

	hash_idem(call, key, submit->idem_hash);
	fields_to_pack(submit->type->payload, payload, &packed);
	if (!buf_check(&packed, "the job", err))
		return false;
	hash = sha256_new();
	sha256_add_field(hash, str_make(packed.data, packed.len));
	sha256_add_field(hash, submit->options.run_at);
	add_i64(hash, submit->options.delay_s);
	add_i64(hash, submit->options.expires_in_s);
	add_i64(hash, submit->options.max_failures);
	sha256_finish_hex(hash, submit->fingerprint);
	return true;
}

static bool
find_earlier(struct call *call, struct submit *submit, struct err *err)
{
	struct redis *redis;

	return call_redis(call, &redis, err) &&
	       queue_find_idem(redis, submit->queue, str_of(submit->idem_hash),
			       str_of(submit->fingerprint), &submit->replayed, submit->job_id, err);
}

static void
make_id(struct submit *submit)
{
	char both[SHA256_HEX_BYTES];
	struct sha256 *hash;

	if (!submit->idem_hash[0]) {
		job_id_new(submit->queue, submit->job_id);
		return;
	}
	hash = sha256_new();
	sha256_add_field(hash, str_of(submit->idem_hash));
	sha256_add_field(hash, str_of(submit->fingerprint));
	sha256_finish_hex(hash, both);
	(void)job_id_from_hash(submit->queue, both, submit->job_id); /* both is hex */
}

/* A job that outlived its key (failed ones are kept for long) still is the one that this request made. */
static bool
find_same_id(struct call *call, struct submit *submit, struct err *err)
{
	struct err why = ERR_INIT;
	struct redis *redis;
	struct job job;

	if (!call_redis(call, &redis, err))
		return false;
	submit->replayed = queue_get(redis, str_of(submit->job_id), &job, &why);
	if (submit->replayed || why.code == ERR_NOT_FOUND)
		return true;
	*err = why;
	return false;
}

/* ---- steps ---- */

bool
submit_begin(struct call *call, const char *type, const void *payload, struct submit *submit,
	     struct err *err)
{
	struct str key;

	submit->type = job_type_find(str_of(type));
	submit->replayed = false;
	submit->idem_hash[0] = submit->fingerprint[0] = '\0';
	if (!submit->type || !job_queue_find(str_of(submit->type->queue), 0, &submit->queue))
		return err_set(err, ERR_INTERNAL, "no queue takes jobs of type '%s'", type);
	if (!call_idempotency_key(call, &key, err))
		return false;
	if (key.len) {
		if (!hash_key(call, payload, key, submit, err) || !find_earlier(call, submit, err))
			return false;
		if (submit->replayed)
			return true;
	}
	make_id(submit);
	if (key.len && !find_same_id(call, submit, err))
		return false;
	if (submit->replayed)
		return true;
	/* a delete makes room, so want of room is no reason to refuse it */
	return strcmp(type, "delete") == 0 ||
	       keep_admit(call->api->keep, submit->queue, strcmp(type, "query") == 0, err);
}

static void
fill(const struct call *call, const struct submit *submit, const char *collection, bool always,
     struct queue_submit *out)
{
	const struct config *config = call->api->config;
	const struct submit_options *options = &submit->options;

	*out = (struct queue_submit){
		.queue = submit->queue,
		.id = submit->job_id,
		.type = submit->type->name,
		.collection = collection,
		.tenant = call->tenant,
		.idem_hash = str_of(submit->idem_hash),
		.fingerprint = str_of(submit->fingerprint),
		.idem_ttl_ms = config->idempotency_ttl_s * 1000,
		.delay_ms = options->delay_s * 1000,
		.expires_in_ms = options->expires_in_s * 1000,
		.max_starts = config->max_starts,
		.max_failures =
			options->max_failures ? options->max_failures : config->max_failures,
		.max_jobs = always ? INT64_MAX / 2 : config->queue_max_jobs,
		.stream_ttl_ms = options->stream ? config->stream_ttl_s * 1000 : 0,
		.max_bytes = always ? INT64_MAX / 2 : config->queue_max_bytes,
	};
	if (options->run_at.len)
		clock_parse_iso(options->run_at, &out->run_at_unix_ms);
}

bool
submit_send(struct call *call, struct submit *submit, const char *collection, const void *payload,
	    bool always, bool *out_maybe, struct err *err)
{
	size_t max_bytes = (size_t)call->api->config->max_body_bytes * 2 + PAYLOAD_SLACK_BYTES;
	AUTO(buf) struct buf packed = BUF_INIT(max_bytes);
	struct queue_submitted submitted;
	struct queue_submit job;
	struct redis *redis;
	bool ok;

	*out_maybe = false;
	fields_to_pack(submit->type->payload, payload, &packed);
	fill(call, submit, collection, always, &job);
	job.payload = str_make(packed.data, packed.len);
	if (!buf_check(&packed, "the job", err) || !call_redis(call, &redis, err))
		return false;
	ok = queue_submit(redis, &job, &submitted, err);
	if (!ok && err->code == ERR_REDIS_UNAVAILABLE) /* a lost reply: the same id again is safe */
		ok = queue_submit(redis, &job, &submitted, err);
	if (!ok) {
		*out_maybe = err->code == ERR_REDIS_UNAVAILABLE;
		if (err->code == ERR_QUEUE_FULL)
			err->retry_after_ms = keep_retry_after_ms(call->api->keep, submit->queue);
		return false;
	}
	submit->replayed = submitted.replayed;
	str_copy(submit->job_id, sizeof(submit->job_id), str_of(submitted.id));
	log_field("job_id", submit->job_id);
	return true;
}

bool
submit_answer(struct call *call, const struct submit *submit, struct err *err)
{
	struct await await = { 0 };
	struct job job;

	call_prefer(call, &await.prefer);
	log_field("job_id", submit->job_id);
	if (!await_job(call, str_of(submit->job_id), &await, &job, err)) {
		if (err->code == ERR_NOT_FOUND && submit->replayed)
			return err_set(err, ERR_GONE,
				       "the job that this Idempotency-Key made is no longer kept");
		return false;
	}
	if (await.prefer.wait_s > 0 && job_status_done(job.status)) {
		if (!await_answer_result(call, &job, err))
			return false;
	} else {
		if (!await_answer_record(call, 202, &job, err))
			return false;
		if (job_status_done(job.status)) /* a replay: 202 promises to be asked again */
			reply_header_i64(call, "Retry-After", 1);
	}
	await_headers(call, &await);
	http_answer_header(&call->answer, "Location", "/api/v1/jobs/%s", job.id);
	if (submit->replayed)
		http_answer_header(&call->answer, "Idempotent-Replayed", "true");
	return true;
}
