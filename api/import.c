/*
 * POST /collections/{c}/documents:import: a body of any size, one document a line.
 *
 * The body is read in pieces and cut into lines; up to a hundred of them (or half a megabyte) are a chunk, and a chunk is
 * what memory is held for. Of each chunk: the lines that are there already are passed over (an upload that is repeated),
 * the others reserve their place in the catalog and are added to the batch, each in one round trip for all. A line that
 * is no document becomes an item that failed. The body is not read on before its chunk is added: so want of room in the
 * queue, or a Redis that is away, holds the client back.
 *
 * An upload ends in one of three ways: the body has come (sealed, 202); it cannot go on, and says so (sealed as partial, a
 * problem document that names the last line); or this process dies, then a keeper seals it when its lease is over.
 * Repeating a chunk is always safe: ids, reservations and items are made of the batch and the line.
 *
 * A reservation is given back here only when its line is known to have ended; what was reserved for lines that were then
 * not added stays: the repeated upload finds it, or the clean-up. Giving it back could take it from another upload
 * of the same batch.
 */
#include <stdio.h>
#include <string.h>

#include "api/await.h"
#include "api/handlers.h"
#include "api/keep.h"
#include "api/reply.h"
#include "api/shared.h"
#include "api/submit.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/batch.h"
#include "common/catalog.h"
#include "common/ndjson.h"

#define PIECE_BYTES ((size_t)64 * 1024)
#define CHUNK_BYTES ((size_t)512 * 1024)
#define WAIT_MS 500	 /* a slice of waiting for the client */
#define ROOM_POLL_MS 100 /* between two looks for room */
#define YEAR_S 31536000
#define PAYLOAD_SLACK_BYTES ((size_t)256 * 1024)

/* One line that is a document. */
struct import_doc {
	struct ingest_payload payload; /* arena */
	char content_hash[SHA256_HEX_BYTES];
	char job_id[JOB_ID_BYTES];
	bool reserved;
};

struct import {
	struct call *call;
	struct collection collection;
	struct batch_upload upload;
	struct ndjson reader; /* owned */
	struct buf piece;     /* owned */
	struct arena arena;   /* of the chunk */
	struct batch_line lines[BATCH_MAX_LINES];
	struct import_doc docs[BATCH_MAX_LINES];
	size_t count, bytes; /* of the chunk */
	int64_t chunk_ms;    /* when its first line came */
	bool look;	     /* some lines may be there already */
	int64_t renewed_ms;
	int64_t last_line; /* up to it everything is in the batch */
};

static void
import_free(struct import *import)
{
	if (!import)
		return;
	ndjson_release(&import->reader);
	buf_release(&import->piece);
	arena_release(&import->arena);
	mem_free(import);
}
AUTO_PTR_DEFINE(import_free, struct import);

/* ---- one line ---- */

static bool
read_document(struct import *import, const struct ndjson_line *line, struct document_body *body,
	      struct err *err)
{
	AUTO_PTR(js_free) struct js *root = NULL;

	document_body_init(body);
	if (line->too_long)
		return err_set(err, ERR_TOO_LARGE, "the line has more than %zu bytes",
			       import->reader.max_bytes);
	if (!js_parse(line->text, &root, err))
		return false;
	if (!js_is(root, JS_OBJECT))
		return err_set(err, ERR_INVALID, "a line must be an object, not %s",
			       js_type_name(js_type(root)));
	if (!fields_from_json(&document_body_fields, root, body, &import->arena, err))
		return false;
	if (!shared_text_type(body, err))
		return false;
	if (str_trim(body->text).len == 0) {
		err_set(err, ERR_EMPTY_TEXT, "the document is empty");
		return err_at(err, "/text");
	}
	return body->id.len == 0 || catalog_doc_id_valid(body->id, err) || err_at(err, "/id");
}

static void
hash_line(struct str text, char out[BATCH_HASH_BYTES])
{
	char hex[SHA256_HEX_BYTES];

	sha256_hex(text, hex);
	(void)str_unhex(str_make(hex, (size_t)2 * BATCH_HASH_BYTES), out, BATCH_HASH_BYTES);
}

static bool
fill_document(struct import *import, const struct document_body *body, struct batch_line *line,
	      struct import_doc *doc, struct err *err)
{
	char made[BATCH_DOCUMENT_ID_BYTES];
	struct str id = body->id;

	job_id_child(import->upload.id, line->line, doc->job_id);
	if (id.len == 0) {
		char *copy;

		batch_document_id(import->upload.id, line->line, made);
		copy = arena_strdup(&import->arena, made);
		if (!copy)
			return err_set(err, ERR_TOO_LARGE, "cannot hold the line");
		id = str_of(copy);
	}
	line->document_id = body->id;
	sha256_hex(body->text, doc->content_hash);
	doc->payload = (struct ingest_payload){
		.collection = str_of(import->collection.name),
		.uid = str_of(import->collection.uid),
		.document_id = id,
		.content_type = body->content_type,
		.title = body->title,
		.uri = body->uri,
		.metadata = body->metadata,
		.content_hash = str_of(doc->content_hash),
		.body = body->text,
	};
	return true;
}

/* A rejected line is an item too; false only when it cannot be held. */
static bool
take_line(struct import *import, const struct ndjson_line *text, struct err *err)
{
	struct batch_line *line = &import->lines[import->count];
	struct import_doc *doc = &import->docs[import->count];
	struct err why = ERR_INIT;
	struct document_body body;

	if (text->number > JOB_MAX_LINE)
		return err_set(err, ERR_TOO_LARGE, "the body has more than %lld lines",
			       (long long)JOB_MAX_LINE);
	*line = (struct batch_line){ .line = text->number, .result = BATCH_LINE_NEW };
	*doc = (struct import_doc){ .reserved = false };
	hash_line(text->text, line->hash);
	if (!read_document(import, text, &body, &why) ||
	    !fill_document(import, &body, line, doc, &why)) {
		struct err *copy = arena_alloc(&import->arena, sizeof(*copy));

		if (!copy)
			return err_set(err, ERR_TOO_LARGE, "cannot hold the lines of the body");
		*copy = why;
		line->error = copy;
	}
	if (import->count++ == 0)
		import->chunk_ms = clock_mono_ms();
	import->bytes += text->text.len;
	return true;
}

/* ---- a chunk ---- */

static size_t
lines_left(const struct import *import)
{
	size_t left = 0;

	for (size_t i = 0; i < import->count; i++)
		left += import->lines[i].result == BATCH_LINE_NEW ||
			import->lines[i].result == BATCH_LINE_FULL;
	return left;
}

static bool
is_closed(struct import *import, struct redis *redis, struct err *err)
{
	struct err ignored = ERR_INIT;
	struct job job;

	if (queue_get(redis, str_of(import->upload.id), &job, &ignored) && job.cancel_requested)
		return err_set(err, ERR_CANCELLED, "the import was cancelled");
	return err_set(err, ERR_CONFLICT,
		       "another upload of this batch has taken over, or the batch was sealed");
}

static bool
renew(struct import *import, struct redis *redis, struct err *err)
{
	int64_t now_ms = clock_mono_ms();
	bool open;

	if (now_ms - import->renewed_ms < import->upload.lease_ms / 3)
		return true;
	if (!batch_renew(redis, &import->upload, &open, err))
		return false;
	if (!open)
		return is_closed(import, redis, err);
	import->renewed_ms = now_ms;
	return true;
}

/* Reserves the place of each document that is to be added and packs its payload. *out_full: Redis has no room. */
static bool
reserve(struct import *import, struct redis *redis, bool *out_full, struct err *err)
{
	struct catalog_reservation items[BATCH_MAX_LINES];
	size_t at[BATCH_MAX_LINES], count = 0;

	*out_full = false;
	for (size_t i = 0; i < import->count; i++) {
		struct import_doc *doc = &import->docs[i];

		if (import->lines[i].error || doc->reserved ||
		    (import->lines[i].result != BATCH_LINE_NEW &&
		     import->lines[i].result != BATCH_LINE_FULL))
			continue;
		items[count] =
			(struct catalog_reservation){ .document_id = doc->payload.document_id,
						      .job_id = str_of(doc->job_id) };
		at[count++] = i;
	}
	if (!catalog_accept_many(redis, str_of(import->collection.uid), items, count, err))
		return false;
	for (size_t k = 0; k < count; k++) {
		struct import_doc *doc = &import->docs[at[k]];
		size_t max_bytes = doc->payload.body.len + PAYLOAD_SLACK_BYTES;
		AUTO(buf) struct buf packed = BUF_INIT(max_bytes);
		void *copy = NULL;

		if (items[k].seq == 0) {
			*out_full = true;
			continue;
		}
		doc->payload.seq = items[k].seq;
		doc->reserved = true;
		fields_to_pack(&ingest_payload_fields, &doc->payload, &packed);
		if (!buf_check(&packed, "the job", err) ||
		    !arena_alloc_err(&import->arena, packed.len + 1, "the lines", &copy, err))
			return false;
		memcpy(copy, packed.data, packed.len);
		import->lines[at[k]].payload = str_make(copy, packed.len);
	}
	return true;
}

/* An upload before this one has added the line while this one reserved for it, and it has ended already: then nobody
 * else gives the reservation back. */
static void
release_if_over(struct import *import, struct redis *redis, size_t i)
{
	const struct batch_line *line = &import->lines[i];
	struct err ignored = ERR_INIT;

	if (import->docs[i].reserved && line->result == BATCH_LINE_KNOWN &&
	    strchr("sce", line->state) &&
	    !catalog_release(redis, str_of(import->collection.uid), str_of(import->docs[i].job_id),
			     &ignored))
		log_debug("a reservation is left to the clean-up: %s", ignored.msg);
}

static bool
check_results(struct import *import, struct redis *redis, struct err *err)
{
	bool closed = false;

	for (size_t i = 0; i < import->count; i++) {
		release_if_over(import, redis, i);
		closed = closed || import->lines[i].result == BATCH_LINE_CLOSED;
		if (import->lines[i].result == BATCH_LINE_DIFFERS)
			return err_set(err, ERR_IDEMPOTENCY_REUSED,
				       "this Idempotency-Key was used with another body: line %lld "
				       "differs",
				       (long long)import->lines[i].line);
	}
	return !closed || is_closed(import, redis, err);
}

/* Adds what there is room for. false with an outage's error: try again (import->look is set). */
static bool
add_chunk(struct import *import, struct err *err)
{
	struct err full = ERR_INIT;
	struct redis *redis;
	bool no_memory;

	if (!call_redis(import->call, &redis, err) || !renew(import, redis, err))
		return false;
	if (import->look && !batch_look(redis, &import->upload, import->lines, import->count, err))
		return false;
	if (!check_results(import, redis, err))
		return false;
	if (!keep_admit(import->call->api->keep, import->upload.queue, false, &full))
		return true;
	if (!reserve(import, redis, &no_memory, err))
		return false;
	if (no_memory)
		return true;
	return batch_add(redis, &import->upload, import->lines, import->count, err) &&
	       check_results(import, redis, err);
}

static bool
check_draining(const struct import *import, struct err *err)
{
	return !atomic_load(&import->call->api->draining) ||
	       err_set(err, ERR_DRAINING, "the server is stopping");
}

static bool
wait_for_room(struct import *import, const struct err *why, int64_t deadline_ms, struct err *err)
{
	const struct config *config = import->call->api->config;

	call_give_redis(import->call);
	if (!check_draining(import, err))
		return false;
	if (clock_left_ms(deadline_ms) > 0) {
		clock_sleep_ms(ROOM_POLL_MS);
		return true;
	}
	if (why->code != ERR_NONE) {
		*err = *why;
		return false;
	}
	err_set(err, ERR_QUEUE_FULL, "there was no room in queue '%s' for %lld ms",
		import->upload.queue.name, (long long)config->import_stall_ms);
	err->retry_after_ms = keep_retry_after_ms(import->call->api->keep, import->upload.queue);
	return false;
}

/* Adds the whole chunk, waiting for room or for Redis within the stall limit. */
static bool
flush(struct import *import, struct err *err)
{
	int64_t stall_ms = import->call->api->config->import_stall_ms;
	int64_t deadline_ms = clock_mono_ms() + stall_ms;
	size_t left = lines_left(import);

	while (left > 0) {
		struct err why = ERR_INIT;
		bool again = !add_chunk(import, &why);

		if (again && !err_info(why.code)->outage) {
			*err = why;
			return false;
		}
		/* After a lost reply nobody knows which lines are there. */
		import->look = import->look || again;
		size_t now_left = lines_left(import);
		if (now_left == 0 && !again)
			break;
		if (now_left < left)
			deadline_ms = clock_mono_ms() + stall_ms;
		left = now_left > 0 ? now_left : 1;
		if (!wait_for_room(import, &why, deadline_ms, err))
			return false;
	}
	if (import->count > 0)
		import->last_line = import->lines[import->count - 1].line;
	call_give_redis(import->call);
	import->count = import->bytes = 0;
	arena_reset(&import->arena);
	return true;
}

/* ---- the body ---- */

static bool
take_lines(struct import *import, struct err *err)
{
	struct ndjson_line line;

	ndjson_feed(&import->reader, str_make(import->piece.data, import->piece.len));
	while (ndjson_next(&import->reader, &line)) {
		if (!take_line(import, &line, err))
			return false;
		if ((import->count == BATCH_MAX_LINES || import->bytes >= CHUNK_BYTES) &&
		    !flush(import, err))
			return false;
	}
	buf_clear(&import->piece);
	return true;
}

/* Between two pieces: a slow client's lines are not kept waiting, and the lease goes on. */
static bool
look_around(struct import *import, struct err *err)
{
	struct redis *redis;

	if (!check_draining(import, err))
		return false;
	if (import->count > 0 && clock_mono_ms() - import->chunk_ms >= WAIT_MS)
		return flush(import, err);
	if (clock_mono_ms() - import->renewed_ms < import->upload.lease_ms / 3)
		return true;

	struct err why = ERR_INIT;
	bool ok = call_redis(import->call, &redis, &why) && renew(import, redis, &why);

	call_give_redis(import->call);
	/* an outage is met by the next flush, which waits */
	if (ok || err_info(why.code)->outage)
		return true;
	*err = why;
	return false;
}

static bool
read_body(struct import *import, struct err *err)
{
	const struct config *config = import->call->api->config;
	const struct http_body_pace pace = { .min_bytes_per_s = config->import_min_rate,
					     .patience_ms = config->import_stall_ms };
	enum http_body_event event = HTTP_BODY_DATA;
	struct ndjson_line line;

	while (event != HTTP_BODY_END) {
		if (!http_body_some(import->call->http, &pace, WAIT_MS, &import->piece, PIECE_BYTES,
				    &event, err) ||
		    (event == HTTP_BODY_DATA && !take_lines(import, err)) ||
		    !look_around(import, err))
			return false;
	}
	if (ndjson_last(&import->reader, &line) && !take_line(import, &line, err))
		return false;
	return flush(import, err);
}

/* ---- the answer ---- */

/* Sealed by this upload, for good: repeated while Redis is away, within the stall limit. */
static bool
seal_complete(struct import *import, struct job *out, struct err *err)
{
	int64_t deadline_ms = clock_mono_ms() + import->call->api->config->import_stall_ms;
	struct redis *redis;

	for (;;) {
		struct err why = ERR_INIT;

		if (call_redis(import->call, &redis, &why) &&
		    batch_seal(redis, &import->upload, true, out, &why))
			return (out->batch.sealed &&
				(!out->batch.partial || out->cancel_requested)) ||
			       is_closed(import, redis, err);
		if (!err_info(why.code)->outage || clock_left_ms(deadline_ms) == 0) {
			*err = why;
			return false;
		}
		call_give_redis(import->call);
		clock_sleep_ms(ROOM_POLL_MS);
	}
}

static bool
answer(struct call *call, const struct batch_upload *upload, bool replayed, struct err *err)
{
	struct submit submit = { .replayed = replayed };

	str_copy(submit.job_id, sizeof(submit.job_id), str_of(upload->id));
	return submit_answer(call, &submit, err);
}

/* The upload ends here: sealed as partial (unless it is not ours any more), and the problem says where. */
static bool
answer_stopped(struct import *import, const struct err *why)
{
	struct call *call = import->call;
	struct err ignored = ERR_INIT, err = *why;
	struct redis *redis;
	struct job job;

	call_give_redis(call);
	if (call_redis(call, &redis, &ignored) &&
	    !batch_seal(redis, &import->upload, false, &job, &ignored))
		log_err(LOG_WARN, &ignored, "the upload is left to its lease");
	err_wrap(&err, "the import stopped after line %lld", (long long)import->last_line);
	reply_problem(call, &err, import->upload.id);
	http_answer_header(&call->answer, "Location", "/api/v1/jobs/%s", import->upload.id);
	if (err_info(err.code)->retryable)
		reply_header_i64(call, "Retry-After",
				 err.retry_after_ms > 1000 ? (err.retry_after_ms + 999) / 1000 : 1);
	call->answer.close = true;
	log_err(LOG_WARN, &err, "bulk import");
	return true;
}

/* ---- the route ---- */

static bool
check_media_type(const struct call *call, struct err *err)
{
	static const char *const types[] = { "application/x-ndjson", "application/ndjson",
					     "application/jsonl", "application/x-jsonlines" };
	struct str type = call_media_type(call);

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (str_eq_nocase(type, str_of(types[i])))
			return call->http->has_body ||
			       err_set(err, ERR_MALFORMED,
				       "the body is empty: one JSON object a line is expected");
	return err_set(err, ERR_UNSUPPORTED_MEDIA,
		       "cannot take a body of type '" STR_FMT
		       "': application/x-ndjson is accepted, one document a line",
		       STR_ARG(str_sub(type, 0, 80)));
}

static void
fingerprint(struct import *import, char out[SHA256_HEX_BYTES])
{
	struct sha256 *hash = sha256_new();

	sha256_add_field(hash, str_of(import->collection.uid));
	sha256_add(hash, &import->upload.max_failures, sizeof(int64_t));
	sha256_add(hash, &import->upload.expires_in_ms, sizeof(int64_t));
	sha256_finish_hex(hash, out);
}

static bool
fill_upload(struct import *import, struct err *err)
{
	struct call *call = import->call;
	const struct config *config = call->api->config;
	struct batch_upload *upload = &import->upload;
	char idem[SHA256_HEX_BYTES];
	int64_t expires_in_s = 0;

	*upload = (struct batch_upload){
		.lease_ms = config->upload_lease_ms,
		.collection = import->collection.name,
		.tenant = call->tenant,
		.type = "ingest",
		.max_starts = config->max_starts,
		.max_failures = config->max_failures,
		.max_jobs = config->queue_max_jobs,
		.max_bytes = config->queue_max_bytes,
	};
	if (!call_param_i64(call, "expires_in_s", 1, YEAR_S, &expires_in_s, err) ||
	    !call_param_i64(call, "max_failures", 1, 100, &upload->max_failures, err) ||
	    !submit_idem_hash(call, idem, err))
		return false;
	upload->expires_in_ms = expires_in_s * 1000;
	if (!job_queue_find(STR("ingest"), 0, &upload->queue))
		return err_set(err, ERR_INTERNAL, "there is no queue for imports");
	id_ulid(upload->token);
	if (idem[0])
		(void)job_id_from_hash(upload->queue, idem, upload->id); /* idem is hex */
	else
		job_id_new(upload->queue, upload->id);
	return true;
}

static bool
run(struct import *import, enum batch_opened opened, struct err *err)
{
	struct err why = ERR_INIT, ignored = ERR_INIT;
	struct job job;

	import->look = opened == BATCH_RESUMED;
	import->renewed_ms = clock_mono_ms();
	call_give_redis(import->call);
	if (!read_body(import, &why)) {
		/* of a body that was cut the whole lines are good */
		if (why.code == ERR_REQUEST_TIMEOUT || why.code == ERR_MALFORMED)
			(void)flush(import, &ignored);
		return answer_stopped(import, &why);
	}
	if (!seal_complete(import, &job, &why))
		return answer_stopped(import, &why);
	return answer(import->call, &import->upload, opened == BATCH_RESUMED, err);
}

static bool
import_admitted(struct call *call, struct err *err)
{
	static const char *const known[] = { "expires_in_s", "max_failures", NULL };
	AUTO_PTR(import_free) struct import *import = mem_alloc(sizeof(*import));
	size_t max_bytes = (size_t)call->api->config->max_body_bytes;
	char print[SHA256_HEX_BYTES];
	enum batch_opened opened;
	struct redis *redis;
	struct job job;

	import->call = call;
	ndjson_init(&import->reader, max_bytes);
	buf_init(&import->piece, PIECE_BYTES + 1);
	arena_init(&import->arena, max_bytes * 4 + 2 * CHUNK_BYTES + (size_t)64 * 1024 * 1024);
	if (!call_check_params(call, known, err) || !check_media_type(call, err) ||
	    !shared_collection(call, &import->collection, err) ||
	    !shared_check_embedder(call, &import->collection, err) || !fill_upload(import, err) ||
	    !call_redis(call, &redis, err))
		return false;
	fingerprint(import, print);
	import->upload.fingerprint = str_of(print);
	log_field("job_id", import->upload.id);
	if (!batch_open(redis, &import->upload, &opened, &job, err))
		return false;
	if (opened == BATCH_COMPLETE)
		return answer(call, &import->upload, true, err);
	return run(import, opened, err);
}

/* An upload may last for hours: so many that they take the place of every other request are not let in. */
bool
documents_import(struct call *call, struct err *err)
{
	int64_t most = call->api->config->max_imports;
	bool ok;

	if (atomic_fetch_add(&call->api->imports, 1) >= most)
		ok = err_set(err, ERR_RATE_LIMITED,
			     "%lld bulk imports are in progress, more are not taken at a time",
			     (long long)most);
	else
		ok = import_admitted(call, err);
	atomic_fetch_sub(&call->api->imports, 1);
	return ok;
}
