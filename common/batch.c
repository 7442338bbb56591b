/*
 * The problem. A pipeline sends 100,000 documents as one body. The API may be killed at any byte of it, the client may
 * go away, two clients may send the same, Redis may be full for a while; in the end every line has exactly one outcome,
 * and the counts are exact at every moment.
 *
 * What is kept, in the partition of the batch:
 *	job:<batch>		the record, as of any job, with type "import": whether it is sealed, partial, cancelled; the counts of
 *				its lines by state; the token of the upload that may add lines; the greatest line
 *	batches			sorted set of the batches that are not over; score: the end of the upload's lease, once sealed
 *				a day that does not come
 *	items:<batch>:<n>	hash of the lines n * 100 ...: <state><hash of the line><document id>[\n<detail>]. Detail: of
 *				a line that succeeded the epoch that did it, of one that failed the code of its error
 *	rejects:<batch>		hash: line -> error, of the first thousand rejected lines (the others keep their code)
 *	job:<batch>.<line>	the child, an ordinary job, as long as it waits, runs, is dead, or was cancelled by itself
 *
 * Invariants (checked by queue_verify):
 *  1. A line has one item or none, and one state at a time: pending, succeeded, failed, cancelled, expired, rejected. The
 *     counts in the record are the counts of the items. Whatever changes a child's status changes item and counts in the
 *     same script (tally.inc); a step that is repeated finds the line in that state already and counts nothing.
 *  2. A pending line has a job that is not final; a job that is not final is a pending line of its batch, if that is there.
 *  3. A batch is final when it is sealed and nothing was pending at that moment. An operator's retry of a dead child moves its
 *     line back to pending and changes the counts, never the batch's status. One thing reopens a final batch: the same upload
 *     again, when it was sealed as partial.
 *  4. Lines are added by the upload whose token the record holds, while the batch is not sealed. Opening takes the token, so
 *     of two uploads at a time the later one goes on and the earlier one is refused; both add the same lines under the
 *     same ids, and a line that is there is left alone.
 *  5. An open batch whose lease is over is sealed as partial by any keeper (Redis' clock).
 *
 * Why a child that succeeded leaves only its item: a record, a result and their places are about a kilobyte, an item some
 * 40 bytes (measured in tests/it/test_batch.c). So 100,000 outcomes can be kept as long as the batch's own record.
 *
 * Rejected: counters in a key beside the record (every reader would read two keys, every script write two); a set of done
 * lines without their hash (a body that was changed under the same key would pass unnoticed); a fence by which the first
 * upload keeps out the second (after kill -9 of the API the repeated upload would wait for the lease).
 */
#include "common/batch.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/queue.h"
#include "common/queue_internal.h"
#include "common/zip.h"

#define DROP_KEYS 100
#define MAX_PAYLOAD_BYTES ((size_t)512 * 1024 * 1024)
#define MAX_ERROR_BYTES ((size_t)32 * 1024)
#define DROPPING_TRIES 3

#define SCRIPT(name)                                                                               \
	extern const char embed_##name##_lua[];                                                    \
	static const struct redis_script script_##name = { #name, embed_##name##_lua }
SCRIPT(batch_open);
SCRIPT(batch_add);
SCRIPT(batch_renew);
SCRIPT(batch_seal);
SCRIPT(batch_drop);

static void
arg_key(struct redis_cmd *cmd, const struct key *key)
{
	redis_arg_c(cmd, key->text);
}

static int64_t
bucket_of(int64_t line)
{
	return line / KEYS_BUCKET_LINES;
}

void
batch_document_id(const char *batch_id, int64_t line, char out[BATCH_DOCUMENT_ID_BYTES])
{
	size_t len = strlen(batch_id);
	const char *ulid = len > ID_ULID_LEN ? batch_id + len - ID_ULID_LEN : batch_id;

	(void)snprintf(out, BATCH_DOCUMENT_ID_BYTES, "%.*s-%lld", ID_ULID_LEN, ulid,
		       (long long)line);
}

/* The record that a script answered as its second item. */
static bool
answered(const struct reply *reply, const char *id, struct queue_ref queue, struct job *out,
	 struct err *err)
{
	return queue_job_parse(reply_at(reply, 1), id, queue, out, err);
}

/* ---- an upload ---- */

/* As in submit.lua: the operators' own is not written. */
static const char *
tenant_of(const struct batch_upload *upload)
{
	return tenant_is_default(str_of(upload->tenant)) ? "" : upload->tenant;
}

static bool
open_once(struct redis *redis, const struct batch_upload *upload, struct reply **out_reply,
	  struct str *out_verdict, struct err *err)
{
	struct key batch = key_job(upload->queue, str_of(upload->id));
	struct key batches = key_queue(upload->queue, QK_BATCHES);
	struct key done = key_queue(upload->queue, QK_DONE);
	struct redis_cmd cmd;

	redis_script_init(&cmd, &script_batch_open, 3);
	arg_key(&cmd, &batch);
	arg_key(&cmd, &batches);
	arg_key(&cmd, &done);
	redis_arg_c(&cmd, upload->id);
	redis_arg_c(&cmd, upload->token);
	redis_arg_i64(&cmd, upload->lease_ms);
	redis_arg_c(&cmd, upload->collection);
	redis_arg_c(&cmd, tenant_of(upload));
	redis_arg(&cmd, upload->fingerprint);
	redis_arg_c(&cmd, KEYS_CHANNEL);
	return redis_run_script(redis, &cmd, &script_batch_open, out_reply, err) &&
	       queue_verdict(*out_reply, "batch_open", out_verdict, err);
}

bool
batch_open(struct redis *redis, const struct batch_upload *upload, enum batch_opened *out,
	   struct job *out_job, struct err *err)
{
	for (int tries = 0; tries < DROPPING_TRIES; tries++) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		struct str verdict;

		if (!open_once(redis, upload, &reply, &verdict, err))
			return err_wrap(err, "open the batch");
		if (str_eq_c(verdict, "REUSED"))
			return err_set(err, ERR_IDEMPOTENCY_REUSED,
				       "this Idempotency-Key was used with another request");
		if (str_eq_c(verdict, "DROPPING")) {
			if (!batch_drop(redis, upload->queue, str_of(upload->id), err))
				return false;
			continue;
		}
		*out = str_eq_c(verdict, "NEW")	       ? BATCH_NEW
		       : str_eq_c(verdict, "COMPLETE") ? BATCH_COMPLETE
						       : BATCH_RESUMED;
		return answered(reply, upload->id, upload->queue, out_job, err);
	}
	return err_set(err, ERR_CONFLICT,
		       "the batch of this Idempotency-Key is being removed: repeat later");
}

/* One bucket's part of the lines: [first, end). */
static bool
look_at_bucket(struct redis *redis, const struct batch_upload *upload, struct batch_line *lines,
	       size_t count, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key items =
		key_batch_items(upload->queue, str_of(upload->id), bucket_of(lines[0].line));
	char numbers[BATCH_MAX_LINES][24];
	struct redis_cmd cmd;

	redis_cmd_init(&cmd, "HMGET");
	arg_key(&cmd, &items);
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(numbers[i], sizeof(numbers[i]), "%lld", (long long)lines[i].line);
		redis_arg_c(&cmd, numbers[i]);
	}
	if (!redis_run(redis, &cmd, &reply, err))
		return err_wrap(err, "look at the lines of a batch");
	if (reply_len(reply) != count)
		return reply_bad("HMGET", err);
	for (size_t i = 0; i < count; i++) {
		struct str item;

		lines[i].result = BATCH_LINE_NEW;
		if (!reply_str(reply_at(reply, i), &item) || item.len <= BATCH_HASH_BYTES)
			continue;
		lines[i].state = item.ptr[0];
		lines[i].result = memcmp(item.ptr + 1, lines[i].hash, BATCH_HASH_BYTES) == 0
					  ? BATCH_LINE_KNOWN
					  : BATCH_LINE_DIFFERS;
	}
	return true;
}

bool
batch_look(struct redis *redis, const struct batch_upload *upload, struct batch_line *lines,
	   size_t count, struct err *err)
{
	size_t from = 0;

	while (from < count) {
		size_t end = from + 1;

		while (end < count && bucket_of(lines[end].line) == bucket_of(lines[from].line))
			end++;
		if (!look_at_bucket(redis, upload, lines + from, end - from, err))
			return false;
		from = end;
	}
	return true;
}

struct adding {
	const struct batch_upload *upload;
	struct batch_line *lines;
	size_t at[BATCH_MAX_LINES]; /* call -> line */
	struct buf packed;	    /* of the line at work; owned */
	/* names live until their command is appended */
	struct key batch, rejects, ready, due, stat, items;
	struct queue_job_keys keys;
	char id[JOB_ID_BYTES];
};

static void
fill_rejected(struct adding *adding, const struct batch_line *line, struct redis_cmd *cmd)
{
	AUTO(buf) struct buf text = BUF_INIT(MAX_ERROR_BYTES);

	queue_error_pack(line->error, &text);
	zip_pack(str_make(text.data, text.len), &adding->packed);
	redis_arg_c(cmd, err_info(line->error->code)->wire);
	redis_arg(cmd, str_make(adding->packed.data, adding->packed.len));
}

static void
fill_child(struct adding *adding, const struct batch_line *line, struct redis_cmd *cmd)
{
	const struct batch_upload *upload = adding->upload;

	zip_pack(line->payload, &adding->packed);
	redis_arg(cmd, line->document_id);
	redis_arg(cmd, str_make(adding->packed.data, adding->packed.len));
	redis_arg_c(cmd, upload->type);
	redis_arg_c(cmd, upload->collection);
	redis_arg_c(cmd, tenant_of(upload));
	redis_arg_i64(cmd, upload->max_starts);
	redis_arg_i64(cmd, upload->max_failures);
	redis_arg_i64(cmd, upload->expires_in_ms);
	redis_arg_i64(cmd, upload->max_jobs);
	redis_arg_i64(cmd, upload->max_bytes);
}

static void
fill_line(void *user, size_t call, struct redis_cmd *cmd)
{
	struct adding *adding = user;
	const struct batch_upload *upload = adding->upload;
	const struct batch_line *line = &adding->lines[adding->at[call]];

	buf_clear(&adding->packed);
	job_id_child(upload->id, line->line, adding->id);
	adding->items = key_batch_items(upload->queue, str_of(upload->id), bucket_of(line->line));
	redis_script_init(cmd, &script_batch_add, line->error ? 3 : 8);
	arg_key(cmd, &adding->batch);
	arg_key(cmd, &adding->items);
	arg_key(cmd, &adding->rejects);
	if (!line->error) {
		queue_job_keys(upload->queue, str_of(adding->id), &adding->keys);
		arg_key(cmd, &adding->ready);
		arg_key(cmd, &adding->due);
		arg_key(cmd, &adding->stat);
		arg_key(cmd, &adding->keys.job);
		arg_key(cmd, &adding->keys.payload);
	}
	redis_arg_c(cmd, adding->id);
	redis_arg_i64(cmd, line->line);
	redis_arg_c(cmd, upload->token);
	redis_arg(cmd, str_make(line->hash, BATCH_HASH_BYTES));
	redis_arg_c(cmd, KEYS_CHANNEL);
	if (line->error)
		fill_rejected(adding, line, cmd);
	else
		fill_child(adding, line, cmd);
}

static bool
take_line(void *user, size_t call, const struct reply *reply, const struct err *failure,
	  struct err *err)
{
	static const struct {
		const char *verdict;
		enum batch_result result;
	} verdicts[] = {
		{ "OK", BATCH_LINE_ADDED },	   { "KNOWN", BATCH_LINE_KNOWN },
		{ "DIFFERS", BATCH_LINE_DIFFERS }, { "FULL", BATCH_LINE_FULL },
		{ "CLOSED", BATCH_LINE_CLOSED },
	};
	struct adding *adding = user;
	struct batch_line *line = &adding->lines[adding->at[call]];
	struct str verdict, state;

	if (failure && failure->code == ERR_REDIS_FULL) {
		line->result = BATCH_LINE_FULL;
		return true;
	}
	if (failure) {
		*err = *failure;
		return false;
	}
	if (!queue_verdict(reply, "batch_add", &verdict, err))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
		if (!str_eq_c(verdict, verdicts[i].verdict))
			continue;
		line->result = verdicts[i].result;
		if (reply_str(reply_at(reply, 1), &state) && state.len > 0)
			line->state = state.ptr[0];
		return true;
	}
	return reply_bad("batch_add", err);
}

bool
batch_add(struct redis *redis, const struct batch_upload *upload, struct batch_line *lines,
	  size_t count, struct err *err)
{
	struct adding adding = { .upload = upload, .lines = lines };
	size_t calls = 0;
	bool ok;

	for (size_t i = 0; i < count && calls < BATCH_MAX_LINES; i++)
		if (lines[i].result == BATCH_LINE_NEW || lines[i].result == BATCH_LINE_FULL)
			adding.at[calls++] = i;
	buf_init(&adding.packed, MAX_PAYLOAD_BYTES);
	adding.batch = key_job(upload->queue, str_of(upload->id));
	adding.rejects = key_batch_rejects(upload->queue, str_of(upload->id));
	adding.ready = key_queue(upload->queue, QK_READY);
	adding.due = key_queue(upload->queue, QK_DUE);
	adding.stat = key_queue(upload->queue, QK_STAT);

	const struct redis_many many = {
		.count = calls, .fill = fill_line, .take = take_line, .user = &adding
	};

	ok = redis_run_many(redis, &script_batch_add, &many, err);
	buf_release(&adding.packed);
	return ok || err_wrap(err, "add lines to the batch");
}

bool
batch_renew(struct redis *redis, const struct batch_upload *upload, bool *out_open, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key batch = key_job(upload->queue, str_of(upload->id));
	struct key batches = key_queue(upload->queue, QK_BATCHES);
	struct redis_cmd cmd;
	struct str verdict;

	redis_script_init(&cmd, &script_batch_renew, 2);
	arg_key(&cmd, &batch);
	arg_key(&cmd, &batches);
	redis_arg_c(&cmd, upload->id);
	redis_arg_c(&cmd, upload->token);
	redis_arg_i64(&cmd, upload->lease_ms);
	if (!redis_run_script(redis, &cmd, &script_batch_renew, &reply, err) ||
	    !queue_verdict(reply, "batch_renew", &verdict, err))
		return err_wrap(err, "renew the upload");
	*out_open = str_eq_c(verdict, "OK");
	return true;
}

/* ---- the end of it ---- */

struct seal {
	struct queue_ref queue;
	const char *id, *how, *token;
};

/* *out_verdict borrows from *out_reply. */
static bool
seal(struct redis *redis, const struct seal *what, struct reply **out_reply,
     struct str *out_verdict, struct err *err)
{
	struct key batch = key_job(what->queue, str_of(what->id));
	struct key batches = key_queue(what->queue, QK_BATCHES);
	struct key done = key_queue(what->queue, QK_DONE), stat = key_queue(what->queue, QK_STAT);
	struct redis_cmd cmd;

	redis_script_init(&cmd, &script_batch_seal, 4);
	arg_key(&cmd, &batch);
	arg_key(&cmd, &batches);
	arg_key(&cmd, &done);
	arg_key(&cmd, &stat);
	redis_arg_c(&cmd, what->id);
	redis_arg_c(&cmd, what->how);
	redis_arg_c(&cmd, what->token);
	redis_arg_c(&cmd, KEYS_CHANNEL);
	return redis_run_script(redis, &cmd, &script_batch_seal, out_reply, err) &&
	       queue_verdict(*out_reply, "batch_seal", out_verdict, err);
}

static bool
no_batch(const char *id, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "there is no job '%s' (unknown, or past its retention)",
		       id);
}

bool
batch_seal(struct redis *redis, const struct batch_upload *upload, bool complete,
	   struct job *out_job, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct str verdict;

	const struct seal what = { upload->queue, upload->id, complete ? "complete" : "partial",
				   upload->token };

	if (!seal(redis, &what, &reply, &verdict, err))
		return err_wrap(err, "seal the batch");
	if (str_eq_c(verdict, "NONE"))
		return no_batch(upload->id, err);
	return answered(reply, upload->id, upload->queue, out_job, err);
}

bool
batch_cancel(struct redis *redis, struct str id, struct job *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct queue_ref queue;
	char text[JOB_ID_BYTES];
	struct str verdict;
	struct job job;

	if (!job_id_parse(id, &queue) || !str_copy(text, sizeof(text), id))
		return err_set(err, ERR_NOT_FOUND, "there is no such batch");
	if (!seal(redis, &(struct seal){ queue, text, "cancel", "" }, &reply, &verdict, err))
		return err_wrap(err, "cancel");
	if (str_eq_c(verdict, "NONE"))
		return no_batch(text, err);
	if (!answered(reply, text, queue, &job, err))
		return false;
	if (job.status == JOB_SUCCEEDED)
		return err_set(err, ERR_ALREADY_FINAL, "cannot cancel job '%s': it has %s", job.id,
			       job_status_name(job.status));
	*out = job;
	return true;
}

bool
batch_seal_abandoned(struct redis *redis, struct queue_ref queue, int64_t now_ms,
		     int64_t *io_sealed, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *ids = NULL;
	struct key batches = key_queue(queue, QK_BATCHES);
	char until[24];

	(void)snprintf(until, sizeof(until), "%lld", (long long)now_ms);
	if (!REDIS_CALL(redis, &ids, err, "ZRANGEBYSCORE", batches.text, "-inf", until, "LIMIT",
			"0", "100"))
		return false;
	for (size_t i = 0; i < reply_len(ids); i++) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		char id[JOB_ID_BYTES];
		struct str text, verdict;

		if (!reply_str(reply_at(ids, i), &text) || !str_copy(id, sizeof(id), text))
			continue;
		if (!seal(redis, &(struct seal){ queue, id, "lease", "" }, &reply, &verdict, err))
			return err_wrap(err, "seal an abandoned batch");
		*io_sealed += str_eq_c(verdict, "OK");
	}
	return true;
}

/* ---- removal ---- */

/* One call of batch_drop.lua; *io_next: the bucket it begins with, then the next one, -1 = the end. */
static bool
drop_step(struct redis *redis, struct queue_ref queue, struct str id, int64_t buckets,
	  int64_t *io_next, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key batch = key_job(queue, id), done = key_queue(queue, QK_DONE);
	struct key rejects = key_batch_rejects(queue, id);
	/* a request's thread has a small stack */
	struct key *items = mem_array(DROP_KEYS, sizeof(*items));
	int64_t count = buckets - *io_next < DROP_KEYS ? buckets - *io_next : DROP_KEYS;
	struct redis_cmd cmd;

	redis_script_init(&cmd, &script_batch_drop, 3 + (size_t)count);
	arg_key(&cmd, &batch);
	arg_key(&cmd, &done);
	arg_key(&cmd, &rejects);
	for (int64_t i = 0; i < count; i++) {
		items[i] = key_batch_items(queue, id, *io_next + i);
		arg_key(&cmd, &items[i]);
	}
	redis_arg(&cmd, id);
	redis_arg_i64(&cmd, *io_next);
	redis_arg_i64(&cmd, buckets);
	redis_arg_c(&cmd, KEYS_CHANNEL);
	bool ok = redis_run_script(redis, &cmd, &script_batch_drop, &reply, err) &&
		  (reply_i64(reply, io_next) || reply_bad("batch_drop", err));

	mem_free(items);
	return ok;
}

bool
batch_drop_some(struct redis *redis, struct queue_ref queue, struct str id, int steps,
		struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key batch = key_job(queue, id);
	int64_t next = -1, last_line = 0;

	if (!REDIS_CALL(redis, &reply, err, "HMGET", batch.text, "drop", "lines"))
		return err_wrap(err, "remove a batch");
	if (!reply_i64(reply_at(reply, 0), &next))
		return true; /* gone, or not marked */
	reply_i64(reply_at(reply, 1), &last_line);
	for (int i = 0; next >= 0 && (steps == 0 || i < steps); i++)
		if (!drop_step(redis, queue, id, bucket_of(last_line) + 1, &next, err))
			return err_wrap(err, "remove a batch");
	return true;
}

bool
batch_drop(struct redis *redis, struct queue_ref queue, struct str id, struct err *err)
{
	return batch_drop_some(redis, queue, id, 0, err);
}
