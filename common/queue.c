/*
 * queue: the promises, and who keeps them.
 *
 * The problem. Jobs must survive the death of any process at any moment, take effect once though they may run more
 * than once, and never be forgotten. Redis runs a Lua script as one step; so every change of a job is one script, and
 * the scripts are the only writers of a job's status (tests/check/status_writer.sh).
 *
 * Keys of one partition share the tag {<queue>.<partition>} (common/keys.h): `ready` a stream with the one group
 * "workers", whose entries hold a job's id and nothing else; `due` scheduled and retrying jobs by time; `done` and `dead`
 * final jobs by time; job:<id> the record; in:<id> the payload; out:<id> the result or the text of the last error;
 * ev:<id> the events of a job that streams (queue_stream.c);
 * `stat` counters; `paused`; `workers` live consumers by expiry.
 *
 * Invariants (checked by queue_verify, by the tests after every step, and by `rag-cron verify`):
 *  1. A job that was accepted is, until it is final, in exactly one of: `ready`, `due`. A final job is in exactly one of
 *     `done` (succeeded, cancelled, expired) and `dead` (failed), until retention forgets it.
 *  2. No status changes outside a script. The group's pending list is the only truth about what is running.
 *  3. The fence is the epoch: start raises it, nothing lowers it. renew, progress and settle require a running job, this
 *     epoch and this stream entry; anything else is STALE. Reaping ends the right at once.
 *  4. Redis' clock (TIME in the scripts) decides leases, due times, expiry and retention.
 *  5. XACK and XDEL go together with the change of status. Therefore XLEN(ready) = waiting + running, exactly.
 *  6. Settling twice changes nothing. Final states never change, but for an operator's retry of a failed job.
 *  7. No MAXLEN on `ready`, no group at `$`; at most 100 items a script; no key is made up inside Lua: ids are read first,
 *     passed as keys, and looked at again inside the script.
 *  8. A consumer is deleted only by a script that sees nothing pending with it.
 *  9. starts counts the starts that lost their worker, and the present one; a job that reaches max_starts is dead, with
 *     the last worker in its record. failures counts failures of the work, apart from it. Handing back and waiting for a
 *     dependency that is away or limited cost neither.
 * 10. A retry waits in `due`, never in a slot.
 * 11. Redis at maxmemory: submit is refused whole (its first write is one that Redis refuses then); the other scripts
 *     begin with a write that is allowed then (Redis lets a script go on once it has written), so the system drains.
 * 12. stat.in_bytes and stat.out_bytes are the sums of the records' in_bytes and out_bytes, stat.done_bytes that of the
 *     out_bytes of jobs in `done`: what retention by bytes looks at. A result that has run out (TTL) counts until its record
 *     goes; the oldest go first, so it is among the first.
 * 13. A job that streams has ev:<id> from submit on; the event of a change of status is written in the same step. After the
 *     end it has a time to live, before it has none; it goes with the record.
 *
 * States and the scripts that move between them:
 *	submit      -> queued, or scheduled (in `due`)
 *	promote     scheduled, retrying -> queued
 *	start       queued -> running; -> expired (too late); puts back when paused
 *	settle      running, cancelling -> succeeded, failed, cancelled, retrying, queued (hand back)
 *	reap        running -> retrying, failed (starts spent); cancelling -> cancelled; queued (delivered, not started) -> queued
 *	cancel      queued, scheduled, retrying -> cancelled; running -> cancelling
 *	retry_dead  failed -> queued
 *	batch_open, batch_seal, and what ends the last child of a batch: a batch is running or cancelling in `batches`, then
 *		succeeded or cancelled in `done` (common/batch.c)
 *	sweep, forget  final -> gone
 *
 * Rejected: XAUTOCLAIM to another worker (no back-off for a job that kills its workers, and the pending list would hold
 * waiting work); a second index of running jobs (it diverges); payloads in the record (a value over 64 bytes makes the
 * hash five times as large); worker clocks.
 */
#include "common/queue.h"

#include <string.h>

#include "common/base/auto.h"
#include "common/base/id.h"
#include "common/batch.h"
#include "common/pack.h"
#include "common/queue_internal.h"
#include "common/zip.h"

#define QUEUE_MAX_STORED_BYTES ((size_t)512 * 1024 * 1024)
#define QUEUE_MAX_ERROR_BYTES 4096
#define QUEUE_ERROR_KIND "error"

#define SCRIPT(name)                                                                               \
	extern const char embed_##name##_lua[];                                                    \
	static const struct redis_script script_##name = { #name, embed_##name##_lua }
SCRIPT(submit);
SCRIPT(start);
SCRIPT(renew);
SCRIPT(progress);
SCRIPT(settle);
SCRIPT(cancel);
SCRIPT(retry_dead);
SCRIPT(forget);
SCRIPT(pause);

/* ---- replies ---- */

bool
queue_verdict(const struct reply *reply, const char *what, struct str *out, struct err *err)
{
	if (reply_str(reply, out) || reply_str(reply_at(reply, 0), out))
		return true;
	return reply_bad(what, err);
}

static int64_t
field_i64(const struct reply *flat, const char *name)
{
	int64_t value = 0;

	return reply_i64(reply_get(flat, name), &value) ? value : 0;
}

static void
field_text(const struct reply *flat, const char *name, char *out, size_t out_bytes)
{
	struct str value = { 0 };

	reply_str(reply_get(flat, name), &value);
	str_copy(out, out_bytes, value);
}

static void
parse_batch(const struct reply *flat, struct job *job)
{
	struct job_batch *batch = &job->batch;

	batch->is = true;
	batch->sealed = field_i64(flat, "sealed") != 0;
	batch->partial = field_i64(flat, "partial") != 0;
	batch->dropping = reply_get(flat, "drop") != NULL;
	batch->last_line = field_i64(flat, "lines");
	batch->pending = field_i64(flat, "n_wait");
	batch->succeeded = field_i64(flat, "n_ok");
	batch->failed = field_i64(flat, "n_fail");
	batch->cancelled = field_i64(flat, "n_cancel");
	batch->expired = field_i64(flat, "n_late");
	batch->rejected = field_i64(flat, "n_bad");
	batch->rate_milli = field_i64(flat, "rate");
	str_copy(job->stage, sizeof(job->stage), batch->sealed ? STR("ingest") : STR("upload"));
	job->progress_done = batch->succeeded + batch->failed + batch->cancelled + batch->expired +
			     batch->rejected;
	job->progress_total = job->progress_done + batch->pending;
}

bool
queue_job_parse(const struct reply *flat, const char *id, struct queue_ref queue, struct job *out,
		struct err *err)
{
	struct job job = { .queue = queue };
	struct str status, code;
	char wire[64];

	if (!reply_str(reply_get(flat, "status"), &status) ||
	    !job_status_parse(status, &job.status))
		return reply_bad("the record of a job", err);
	str_copy(job.id, sizeof(job.id), str_of(id));
	field_text(flat, "type", job.type, sizeof(job.type));
	field_text(flat, "collection", job.collection, sizeof(job.collection));
	field_text(flat, "tenant", job.tenant, sizeof(job.tenant));
	if (!job.tenant[0]) /* not written for the operators' own jobs, which are most */
		str_copy(job.tenant, sizeof(job.tenant), STR(TENANT_DEFAULT));
	field_text(flat, "worker", job.worker, sizeof(job.worker));
	field_text(flat, "entry", job.entry, sizeof(job.entry));
	field_text(flat, "stage", job.stage, sizeof(job.stage));
	if (job.status == JOB_RETRYING)
		field_text(flat, "wait", job.waiting_for, sizeof(job.waiting_for));
	job.version = field_i64(flat, "version");
	job.epoch = field_i64(flat, "epoch");
	job.starts = field_i64(flat, "starts");
	job.failures = field_i64(flat, "failures");
	job.max_starts = field_i64(flat, "max_starts");
	job.max_failures = field_i64(flat, "max_failures");
	job.created_ms = field_i64(flat, "created");
	job.started_ms = field_i64(flat, "started");
	job.updated_ms = field_i64(flat, "updated");
	job.finished_ms = field_i64(flat, "finished");
	job.due_ms = field_i64(flat, "due");
	job.expires_ms = field_i64(flat, "expires");
	job.cancel_requested = field_i64(flat, "cancel") != 0;
	job.progress_done = field_i64(flat, "pdone");
	job.progress_total = field_i64(flat, "ptotal");
	job.payload_bytes = field_i64(flat, "in_bytes");
	job.result_bytes = field_i64(flat, "out_bytes");
	job.stream_ttl_ms = field_i64(flat, "stream");
	field_text(flat, "evd", job.stream_end, sizeof(job.stream_end));
	if (strcmp(job.type, JOB_TYPE_IMPORT) == 0)
		parse_batch(flat, &job);
	job.error = ERR_NONE;
	if (reply_str(reply_get(flat, "error"), &code) && code.len > 0) {
		str_copy(wire, sizeof(wire), code);
		job.error = err_code_from_wire(wire);
	}
	*out = job;
	return true;
}

void
queue_job_keys(struct queue_ref queue, struct str id, struct queue_job_keys *out)
{
	out->job = key_job(queue, id);
	out->payload = key_payload(queue, id);
	out->result = key_result(queue, id);
	out->events = key_events(queue, id);
}

bool
queue_child_keys(struct queue_ref queue, struct str id, struct queue_child_keys *out)
{
	struct str batch;
	int64_t line;

	if (!job_id_is_child(id, &batch, &line))
		return false;
	out->batch = key_job(queue, batch);
	out->items = key_batch_items(queue, batch, line / KEYS_BUCKET_LINES);
	out->batches = key_queue(queue, QK_BATCHES);
	return true;
}

static void
arg_key(struct redis_cmd *cmd, const struct key *key)
{
	redis_arg_c(cmd, key->text);
}

static void
arg_child_keys(struct redis_cmd *cmd, const struct queue_child_keys *child)
{
	arg_key(cmd, &child->batch);
	arg_key(cmd, &child->items);
	arg_key(cmd, &child->batches);
}

/* false with ERR_NOT_FOUND: the text is no job id of ours. */
static bool
find_queue(struct str job_id, struct queue_ref *out, struct err *err)
{
	if (job_id_parse(job_id, out))
		return true;
	return err_set(err, ERR_NOT_FOUND, "there is no job '" STR_FMT "'",
		       (int)(job_id.len > JOB_ID_BYTES ? JOB_ID_BYTES : job_id.len), job_id.ptr);
}

static bool
no_such_job(struct str job_id, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND,
		       "there is no job '" STR_FMT "' (unknown, or past its retention)",
		       STR_ARG(job_id));
}

/* ---- submit ---- */

static bool
key_was_reused(struct err *err)
{
	return err_set(err, ERR_IDEMPOTENCY_REUSED,
		       "this Idempotency-Key was used with another request");
}

static bool
refused(struct str verdict, const struct reply *reply, const struct queue_submit *submit,
	struct err *err)
{
	struct str what = { 0 };

	if (str_eq_c(verdict, "REUSED"))
		return key_was_reused(err);
	reply_str(reply_at(reply, 2), &what);
	if (str_eq_c(what, "bytes"))
		return err_set(err, ERR_QUEUE_FULL,
			       "queue '%s' is full: its payloads would pass %lld bytes",
			       submit->queue.name, (long long)submit->max_bytes);
	return err_set(err, ERR_QUEUE_FULL, "queue '%s' is full: %lld jobs are waiting",
		       submit->queue.name, (long long)submit->max_jobs);
}

bool
queue_submit(struct redis *redis, const struct queue_submit *submit, struct queue_submitted *out,
	     struct err *err)
{
	AUTO(buf) struct buf packed = BUF_INIT(QUEUE_MAX_STORED_BYTES);
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct queue_ref queue = submit->queue;
	struct key ready = key_queue(queue, QK_READY), due = key_queue(queue, QK_DUE);
	struct key stat = key_queue(queue, QK_STAT), idem = key_idem(queue, submit->idem_hash);
	struct queue_job_keys keys;
	struct redis_cmd cmd;
	struct str verdict, id;

	zip_pack(submit->payload, &packed);
	if (!buf_check(&packed, "the payload", err))
		return false;
	queue_job_keys(queue, str_of(submit->id), &keys);
	redis_script_init(&cmd, &script_submit, submit->idem_hash.len ? 7 : 6);
	arg_key(&cmd, &ready);
	arg_key(&cmd, &due);
	arg_key(&cmd, &keys.job);
	arg_key(&cmd, &keys.payload);
	arg_key(&cmd, &stat);
	arg_key(&cmd, &keys.events);
	if (submit->idem_hash.len)
		arg_key(&cmd, &idem);
	redis_arg_c(&cmd, submit->id);
	redis_arg_c(&cmd, submit->type);
	redis_arg_c(&cmd, submit->collection);
	redis_arg(&cmd, str_make(packed.data, packed.len));
	redis_arg_i64(&cmd, submit->delay_ms);
	redis_arg_i64(&cmd, submit->run_at_unix_ms);
	redis_arg_i64(&cmd, submit->expires_in_ms);
	redis_arg_i64(&cmd, submit->max_starts);
	redis_arg_i64(&cmd, submit->max_failures);
	redis_arg_i64(&cmd, submit->max_jobs);
	redis_arg_i64(&cmd, submit->max_bytes);
	redis_arg(&cmd, submit->fingerprint);
	redis_arg_i64(&cmd, submit->idem_ttl_ms > 0 ? submit->idem_ttl_ms : 1);
	redis_arg_c(&cmd, KEYS_CHANNEL);
	redis_arg(&cmd,
		  tenant_is_default(str_of(submit->tenant)) ? STR("") : str_of(submit->tenant));
	redis_arg_i64(&cmd, submit->stream_ttl_ms);
	if (!redis_run_script(redis, &cmd, &script_submit, &reply, err))
		return err_wrap(err, "submit");
	if (!queue_verdict(reply, "submit", &verdict, err))
		return false;
	if (!str_eq_c(verdict, "OK") && !str_eq_c(verdict, "REPLAY"))
		return refused(verdict, reply, submit, err);
	if (!reply_str(reply_at(reply, 1), &id))
		return reply_bad("submit", err);
	str_copy(out->id, sizeof(out->id), id);
	out->replayed = str_eq_c(verdict, "REPLAY");
	return true;
}

bool
queue_find_idem(struct redis *redis, struct queue_ref queue, struct str idem_hash,
		struct str fingerprint, bool *out_found, char out_id[JOB_ID_BYTES], struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key key = key_idem(queue, idem_hash);
	struct str held, id;

	if (!REDIS_CALL(redis, &reply, err, "GET", key.text))
		return err_wrap(err, "look for the idempotency key");
	if (reply_is_nil(reply)) {
		*out_found = false;
		return true;
	}
	if (!reply_str(reply, &held) || !str_split(&held, ' ', &id) || id.len >= JOB_ID_BYTES)
		return reply_bad("look for the idempotency key", err);
	if (!str_eq(held, fingerprint))
		return key_was_reused(err);
	str_copy(out_id, JOB_ID_BYTES, id);
	*out_found = true;
	return true;
}

/* ---- a worker's side ---- */

bool
queue_ensure_group(struct redis *redis, struct queue_ref queue, struct err *err)
{
	struct key ready = key_queue(queue, QK_READY);
	struct err failure = ERR_INIT;

	if (REDIS_CALL(redis, NULL, &failure, "XGROUP", "CREATE", ready.text, QUEUE_GROUP, "0",
		       "MKSTREAM"))
		return true;
	if (failure.code == ERR_REDIS_REPLY && strstr(failure.cause, "BUSYGROUP"))
		return true;
	*err = failure;
	return err_wrap(err, "make the group of queue '%s'", queue.name);
}

/* [[stream, [[entry, ["j", id]]]]] */
static bool
parse_entry(const struct reply *reply, struct queue_entry *out, struct err *err)
{
	const struct reply *first = reply_at(reply_at(reply_at(reply, 0), 1), 0);
	struct str entry, id = { 0 };

	if (!reply_str(reply_at(first, 0), &entry))
		return reply_bad("XREADGROUP", err);
	/* An entry that is not ours has no job: start takes it out. */
	reply_str(reply_get(reply_at(first, 1), "j"), &id);
	if (!str_copy(out->entry, sizeof(out->entry), entry))
		return reply_bad("XREADGROUP", err);
	if (!str_copy(out->job_id, sizeof(out->job_id), id))
		out->job_id[0] = '\0';
	return true;
}

bool
queue_fetch(struct redis *redis, struct queue_ref queue, const char *consumer, int block_ms,
	    bool *out_got, struct queue_entry *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key ready = key_queue(queue, QK_READY);
	struct err failure = ERR_INIT;
	struct redis_cmd cmd;
	bool ok;

	redis_cmd_init(&cmd, "XREADGROUP");
	redis_arg_c(&cmd, "GROUP");
	redis_arg_c(&cmd, QUEUE_GROUP);
	redis_arg_c(&cmd, consumer);
	redis_arg_c(&cmd, "COUNT");
	redis_arg_c(&cmd, "1");
	if (block_ms > 0) {
		redis_arg_c(&cmd, "BLOCK");
		redis_arg_i64(&cmd, block_ms);
	}
	redis_arg_c(&cmd, "STREAMS");
	arg_key(&cmd, &ready);
	redis_arg_c(&cmd, ">");
	ok = block_ms > 0 ? redis_run_blocking(redis, &cmd, block_ms, &reply, &failure)
			  : redis_run(redis, &cmd, &reply, &failure);
	if (!ok) {
		/* Flushed or restored without it: make it again, at 0, so nothing waiting is passed over. */
		if (failure.detail == REDIS_DETAIL_NOGROUP &&
		    queue_ensure_group(redis, queue, err)) {
			*out_got = false;
			return true;
		}
		*err = failure;
		return err_wrap(err, "fetch from queue '%s'", queue.name);
	}
	*out_got = false;
	if (reply_is_nil(reply) || reply_len(reply) == 0)
		return true;
	if (!parse_entry(reply, out, err))
		return false;
	*out_got = true;
	return true;
}

/* The payload must outlive the reply. */
static bool
take_payload(const struct reply *reply, size_t max_bytes, struct arena *arena, struct str *out,
	     struct err *err)
{
	struct str stored, plain;
	char *copy;

	*out = str_make("", 0);
	if (reply_is_nil(reply))
		return err_set(err, ERR_CORRUPT, "the job's payload is missing");
	if (!reply_str(reply, &stored))
		return reply_bad("start", err);
	if (!zip_unpack(stored, max_bytes, arena, &plain, err))
		return err_wrap(err, "payload");
	copy = arena_strndup(arena, plain.ptr, plain.len);
	if (!copy)
		return err_set(err, ERR_TOO_LARGE, "payload: more than %zu bytes of working memory",
			       arena->max_bytes);
	*out = str_make(copy, plain.len);
	return true;
}

/* A payload that cannot be had will not be there at the next start either: the job is dead now, and says why. */
static bool
give_up(struct redis *redis, const struct queue_lease *lease, const struct err *why,
	struct queue_started *io, struct err *err)
{
	const struct queue_settle settle = { .kind = SETTLE_FAIL,
					     .error = why,
					     .retry_after_ms = -1 };
	struct err failure = ERR_INIT;

	if (queue_settle(redis, lease, &settle, &io->job.status, &failure)) {
		io->job.error = why->code;
		io->result = QUEUE_START_BROKEN;
		return true;
	}
	if (failure.code == ERR_STALE) {
		io->result = QUEUE_START_SKIPPED;
		return true;
	}
	*err = failure;
	return false;
}

/* Without a payload there is nothing that the caller could give back. */
static void
take_ended(const struct reply *reply, const char *job_id, struct queue_ref queue,
	   const struct queue_start *how, struct queue_started *out)
{
	struct err ignored = ERR_INIT;
	struct str type = { 0 };

	out->job = (struct job){ .queue = queue };
	reply_str(reply_at(reply, 2), &type);
	str_copy(out->job.id, sizeof(out->job.id), str_of(job_id));
	str_copy(out->job.type, sizeof(out->job.type), type);
	out->result = take_payload(reply_at(reply, 1), how->max_payload_bytes, how->arena,
				   &out->payload, &ignored)
			      ? QUEUE_START_ENDED
			      : QUEUE_START_SKIPPED;
}

bool
queue_start(struct redis *redis, struct queue_ref queue, const struct queue_entry *entry,
	    const struct queue_start *how, struct queue_started *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key ready = key_queue(queue, QK_READY), stat = key_queue(queue, QK_STAT);
	struct key done = key_queue(queue, QK_DONE), paused = key_queue(queue, QK_PAUSED);
	struct queue_lease lease = { .queue = queue };
	struct err unusable = ERR_INIT;
	struct queue_child_keys child;
	struct queue_job_keys keys;
	struct redis_cmd cmd;
	struct str verdict;
	bool is_child;

	queue_job_keys(queue, str_of(entry->job_id), &keys);
	is_child = queue_child_keys(queue, str_of(entry->job_id), &child);
	redis_script_init(&cmd, &script_start, is_child ? 11 : 7);
	arg_key(&cmd, &ready);
	arg_key(&cmd, &keys.job);
	arg_key(&cmd, &keys.payload);
	arg_key(&cmd, &stat);
	arg_key(&cmd, &done);
	arg_key(&cmd, &paused);
	arg_key(&cmd, &keys.events);
	if (is_child) {
		arg_key(&cmd, &keys.result);
		arg_child_keys(&cmd, &child);
	}
	redis_arg_c(&cmd, QUEUE_GROUP);
	redis_arg_c(&cmd, how->consumer);
	redis_arg_c(&cmd, entry->entry);
	redis_arg_c(&cmd, entry->job_id);
	redis_arg_c(&cmd, KEYS_CHANNEL);
	if (!redis_run_script(redis, &cmd, &script_start, &reply, err) ||
	    !queue_verdict(reply, "start", &verdict, err))
		return err_wrap(err, "start");
	if (str_eq_c(verdict, "ENDED")) {
		take_ended(reply, entry->job_id, queue, how, out);
		return true;
	}
	if (!str_eq_c(verdict, "OK")) {
		out->result =
			str_eq_c(verdict, "PAUSED") ? QUEUE_START_PAUSED : QUEUE_START_SKIPPED;
		return true;
	}
	str_copy(lease.job_id, sizeof(lease.job_id), str_of(entry->job_id));
	str_copy(lease.entry, sizeof(lease.entry), str_of(entry->entry));
	str_copy(lease.consumer, sizeof(lease.consumer), str_of(how->consumer));
	if (!reply_i64(reply_at(reply, 1), &lease.epoch))
		return reply_bad("start", err);
	if (!queue_job_parse(reply_at(reply, 3), entry->job_id, queue, &out->job, err))
		return false;
	if (!take_payload(reply_at(reply, 2), how->max_payload_bytes, how->arena, &out->payload,
			  &unusable))
		return give_up(redis, &lease, &unusable, out, err);
	out->lease = lease;
	out->result = QUEUE_STARTED;
	return true;
}

static bool
stale(struct err *err)
{
	return err_set(err, ERR_STALE, "another start of this job has won");
}

static bool
run_renew(struct redis *redis, const struct queue_lease *lease, struct reply **out, struct err *err)
{
	struct key ready = key_queue(lease->queue, QK_READY);
	struct key job = key_job(lease->queue, str_of(lease->job_id));
	struct redis_cmd cmd;

	redis_script_init(&cmd, &script_renew, 2);
	arg_key(&cmd, &ready);
	arg_key(&cmd, &job);
	redis_arg_c(&cmd, QUEUE_GROUP);
	redis_arg_c(&cmd, lease->consumer);
	redis_arg_c(&cmd, lease->entry);
	redis_arg_i64(&cmd, lease->epoch);
	return redis_run_script(redis, &cmd, &script_renew, out, err);
}

bool
queue_renew(struct redis *redis, const struct queue_lease *lease, bool *out_cancel, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct err failure = ERR_INIT;
	struct str verdict;
	int64_t cancel;

	if (!run_renew(redis, lease, &reply, &failure)) {
		/* A worker whose slots are all busy fetches nothing, so it heals here what a fetch would heal. */
		if (failure.detail != REDIS_DETAIL_NOGROUP) {
			*err = failure;
			return err_wrap(err, "renew");
		}
		if (!queue_ensure_group(redis, lease->queue, err) ||
		    !run_renew(redis, lease, &reply, err))
			return err_wrap(err, "renew");
	}
	if (!queue_verdict(reply, "renew", &verdict, err))
		return err_wrap(err, "renew");
	if (!str_eq_c(verdict, "OK"))
		return stale(err);
	if (!reply_i64(reply_at(reply, 1), &cancel))
		return reply_bad("renew", err);
	*out_cancel = cancel != 0;
	return true;
}

bool
queue_cancel_flags(struct redis *redis, const struct queue_lease *leases, size_t count,
		   bool *out_flags, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		struct key job = key_job(leases[i].queue, str_of(leases[i].job_id));
		struct redis_cmd cmd;

		redis_cmd_init(&cmd, "HGET");
		arg_key(&cmd, &job);
		redis_arg_c(&cmd, "cancel");
		if (!redis_append(redis, &cmd, err))
			return err_wrap(err, "cancel flags");
	}
	for (size_t i = 0; i < count; i++) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		int64_t flag = 0;

		if (!redis_next(redis, &reply, err))
			return err_wrap(err, "cancel flags");
		out_flags[i] = reply_i64(reply, &flag) && flag != 0;
	}
	return true;
}

bool
queue_progress(struct redis *redis, const struct queue_lease *lease, const char *stage,
	       int64_t done, int64_t total, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key job = key_job(lease->queue, str_of(lease->job_id));
	struct key events = key_events(lease->queue, str_of(lease->job_id));
	struct redis_cmd cmd;
	struct str verdict;
	char short_stage[JOB_STAGE_BYTES];

	str_copy(short_stage, sizeof(short_stage), str_of(stage));
	redis_script_init(&cmd, &script_progress, 2);
	arg_key(&cmd, &job);
	arg_key(&cmd, &events);
	redis_arg_c(&cmd, lease->entry);
	redis_arg_i64(&cmd, lease->epoch);
	redis_arg_c(&cmd, short_stage);
	redis_arg_i64(&cmd, done);
	redis_arg_i64(&cmd, total);
	redis_arg_c(&cmd, lease->job_id);
	redis_arg_c(&cmd, KEYS_CHANNEL);
	if (!redis_run_script(redis, &cmd, &script_progress, &reply, err) ||
	    !queue_verdict(reply, "progress", &verdict, err))
		return err_wrap(err, "progress");
	return str_eq_c(verdict, "OK") || stale(err);
}

/* ---- settle ---- */

void
queue_error_pack(const struct err *error, struct buf *out)
{
	pack_envelope_begin(out, QUEUE_ERROR_KIND);
	pack_map(out, 6);
	pack_str(out, STR("code"));
	pack_str(out, str_of(err_info(error->code)->wire));
	pack_str(out, STR("msg"));
	pack_str(out, str_of(error->msg));
	pack_str(out, STR("cause"));
	pack_str(out, str_of(error->cause));
	pack_str(out, STR("pointer"));
	pack_str(out, str_of(error->pointer));
	pack_str(out, STR("detail"));
	pack_i64(out, error->detail);
	pack_str(out, STR("retry_after_ms"));
	pack_i64(out, error->retry_after_ms);
}

static void
set_error_field(struct err *error, struct str name, const struct pack_value *value)
{
	char wire[64];

	if (value->type == PACK_I64) {
		if (str_eq_c(name, "detail"))
			error->detail = (int)value->u.i64;
		else if (str_eq_c(name, "retry_after_ms"))
			error->retry_after_ms = value->u.i64;
	} else if (value->type == PACK_STR) {
		if (str_eq_c(name, "code")) {
			str_copy(wire, sizeof(wire), value->u.str);
			error->code = err_code_from_wire(wire);
		} else if (str_eq_c(name, "msg")) {
			str_copy(error->msg, sizeof(error->msg), value->u.str);
		} else if (str_eq_c(name, "cause")) {
			str_copy(error->cause, sizeof(error->cause), value->u.str);
		} else if (str_eq_c(name, "pointer")) {
			str_copy(error->pointer, sizeof(error->pointer), value->u.str);
		}
	}
}

bool
queue_error_unpack(struct str bytes, struct err *out)
{
	struct err ignored = ERR_INIT, error = ERR_INIT;
	struct pack_reader reader;
	struct pack_value map = { 0 }, name = { 0 }, value = { 0 };

	if (!pack_envelope_open(&reader, bytes, QUEUE_ERROR_KIND, &ignored) ||
	    !pack_next(&reader, &map, &ignored) || map.type != PACK_MAP)
		return false;
	for (uint32_t i = 0; i < map.u.count; i++) {
		if (!pack_next(&reader, &name, &ignored) || name.type != PACK_STR ||
		    !pack_next(&reader, &value, &ignored) || value.type == PACK_ARRAY ||
		    value.type == PACK_MAP)
			return false;
		set_error_field(&error, name.u.str, &value);
	}
	*out = error;
	return true;
}

static const char *
settle_kind_name(enum queue_settle_kind kind)
{
	switch (kind) {
	case SETTLE_SUCCEED:
		return "succeed";
	case SETTLE_RETRY:
		return "retry";
	case SETTLE_FAIL:
		return "fail";
	case SETTLE_CANCEL:
		return "cancel";
	case SETTLE_WAIT:
		return "wait";
	case SETTLE_OUTAGE:
		return "outage";
	case SETTLE_HAND_BACK:
		return "hand_back";
	}
	return "";
}

static bool
settle_bytes(const struct queue_settle *settle, struct buf *out, struct err *err)
{
	AUTO(buf) struct buf error = BUF_INIT(QUEUE_MAX_ERROR_BYTES);

	if (settle->kind == SETTLE_SUCCEED) {
		zip_pack(settle->result, out);
	} else if (settle->error) {
		queue_error_pack(settle->error, &error);
		zip_pack(str_make(error.data, error.len), out);
	}
	return buf_check(out, "the result", err);
}

bool
queue_settle(struct redis *redis, const struct queue_lease *lease,
	     const struct queue_settle *settle, enum job_status *out_status, struct err *err)
{
	static const enum queue_key wanted[] = { QK_STAT, QK_DUE, QK_DONE, QK_DEAD };
	AUTO(buf) struct buf bytes = BUF_INIT(QUEUE_MAX_STORED_BYTES);
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key ready = key_queue(lease->queue, QK_READY), sets[ARRAY_SIZE(wanted)];
	struct queue_child_keys child;
	struct queue_job_keys keys;
	struct redis_cmd cmd;
	char waiting_for[JOB_WAITING_BYTES];
	struct str verdict, status;
	bool is_child;

	if (!settle_bytes(settle, &bytes, err))
		return false;
	str_copy(waiting_for, sizeof(waiting_for), str_of(settle->waiting_for));
	queue_job_keys(lease->queue, str_of(lease->job_id), &keys);
	is_child = queue_child_keys(lease->queue, str_of(lease->job_id), &child);
	redis_script_init(&cmd, &script_settle, is_child ? 12 : 9);
	arg_key(&cmd, &ready);
	arg_key(&cmd, &keys.job);
	arg_key(&cmd, &keys.payload);
	arg_key(&cmd, &keys.result);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		sets[i] = key_queue(lease->queue, wanted[i]);
		arg_key(&cmd, &sets[i]);
	}
	arg_key(&cmd, &keys.events);
	if (is_child)
		arg_child_keys(&cmd, &child);
	redis_arg_c(&cmd, QUEUE_GROUP);
	redis_arg_c(&cmd, lease->entry);
	redis_arg_i64(&cmd, lease->epoch);
	redis_arg_c(&cmd, settle_kind_name(settle->kind));
	redis_arg(&cmd, str_make(bytes.data, bytes.len));
	redis_arg_c(&cmd, settle->error ? err_info(settle->error->code)->wire : "");
	redis_arg_i64(&cmd, settle->retry_after_ms < QUEUE_MAX_TOLD_MS ? settle->retry_after_ms
								       : QUEUE_MAX_TOLD_MS);
	redis_arg_i64(&cmd, settle->backoff_base_ms);
	redis_arg_i64(&cmd, settle->backoff_max_ms);
	redis_arg_i64(&cmd, (int64_t)(id_random_u64() >> 33));
	redis_arg_i64(&cmd, settle->result_ttl_ms > 0 ? settle->result_ttl_ms : 1);
	redis_arg_c(&cmd, lease->job_id);
	redis_arg_c(&cmd, KEYS_CHANNEL);
	redis_arg_c(&cmd, settle->stream_whole ? "1" : "0");
	redis_arg_c(&cmd, waiting_for);
	if (!redis_run_script(redis, &cmd, &script_settle, &reply, err) ||
	    !queue_verdict(reply, "settle", &verdict, err))
		return err_wrap(err, "settle");
	if (!str_eq_c(verdict, "OK"))
		return stale(err);
	if (!reply_str(reply_at(reply, 1), &status) || !job_status_parse(status, out_status))
		return reply_bad("settle", err);
	return true;
}

/* ---- clients' and operators' side ---- */

bool
queue_get(struct redis *redis, struct str job_id, struct job *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct queue_ref queue;
	struct key key;
	char id[JOB_ID_BYTES];

	if (!find_queue(job_id, &queue, err))
		return false;
	key = key_job(queue, job_id);
	str_copy(id, sizeof(id), job_id);
	if (!REDIS_CALL(redis, &reply, err, "HGETALL", key.text))
		return err_wrap(err, "look up job");
	if (reply_len(reply) == 0)
		return no_such_job(job_id, err);
	return queue_job_parse(reply, id, queue, out, err);
}

bool
queue_result(struct redis *redis, const struct job *job, size_t max_bytes, struct arena *arena,
	     struct str *out_result, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key key = key_result(job->queue, str_of(job->id));
	struct str stored, plain;
	char *copy;

	if (!REDIS_CALL(redis, &reply, err, "GET", key.text))
		return err_wrap(err, "look up the result of job '%s'", job->id);
	if (reply_is_nil(reply)) {
		if (job->result_bytes > 0)
			return err_set(err, ERR_GONE,
				       "the result of job '%s' is past its retention", job->id);
		return err_set(err, ERR_NOT_FOUND, "job '%s' has no result", job->id);
	}
	if (!reply_str(reply, &stored))
		return reply_bad("a result", err);
	if (!zip_unpack(stored, max_bytes, arena, &plain, err))
		return err_wrap(err, "result of job '%s'", job->id);
	copy = arena_strndup(arena, plain.ptr, plain.len);
	if (!copy)
		return err_set(err, ERR_TOO_LARGE,
			       "the result of job '%s' is larger than %zu bytes", job->id,
			       max_bytes);
	*out_result = str_make(copy, plain.len);
	return true;
}

bool
queue_last_error(struct redis *redis, const struct job *job, struct err *out)
{
	AUTO(arena) struct arena arena;
	struct err ignored = ERR_INIT;
	struct str bytes = STR("");

	arena_init(&arena, (size_t)64 * 1024);
	if (job->error != ERR_NONE &&
	    queue_result(redis, job, (size_t)32 * 1024, &arena, &bytes, &ignored) &&
	    queue_error_unpack(bytes, out))
		return true;
	*out = ERR_INIT;
	out->code = job->error;
	str_copy(out->msg, sizeof(out->msg), str_of(err_info(job->error)->title));
	return false;
}

/* The record that a script answered as its second item. */
static bool
answered_job(const struct reply *reply, struct str job_id, struct queue_ref queue, struct job *out,
	     struct err *err)
{
	char id[JOB_ID_BYTES];

	str_copy(id, sizeof(id), job_id);
	return queue_job_parse(reply_at(reply, 1), id, queue, out, err);
}

bool
queue_cancel(struct redis *redis, struct str job_id, const struct queue_keep_opts *retention,
	     struct job *out, struct err *err)
{
	static const enum queue_key wanted[] = { QK_STAT, QK_DUE, QK_DONE };
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key ready, sets[ARRAY_SIZE(wanted)];
	struct queue_child_keys child;
	struct queue_job_keys keys;
	struct queue_ref queue;
	struct redis_cmd cmd;
	struct str verdict;
	struct job job = { 0 };
	bool is_child;

	(void)retention;
	if (!find_queue(job_id, &queue, err))
		return false;
	queue_job_keys(queue, job_id, &keys);
	ready = key_queue(queue, QK_READY);
	is_child = queue_child_keys(queue, job_id, &child);
	redis_script_init(&cmd, &script_cancel, is_child ? 11 : 8);
	arg_key(&cmd, &ready);
	arg_key(&cmd, &keys.job);
	arg_key(&cmd, &keys.payload);
	arg_key(&cmd, &keys.result);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		sets[i] = key_queue(queue, wanted[i]);
		arg_key(&cmd, &sets[i]);
	}
	arg_key(&cmd, &keys.events);
	if (is_child)
		arg_child_keys(&cmd, &child);
	redis_arg_c(&cmd, QUEUE_GROUP);
	redis_arg(&cmd, job_id);
	redis_arg_c(&cmd, KEYS_CHANNEL);
	if (!redis_run_script(redis, &cmd, &script_cancel, &reply, err) ||
	    !queue_verdict(reply, "cancel", &verdict, err))
		return err_wrap(err, "cancel");
	if (str_eq_c(verdict, "NONE"))
		return no_such_job(job_id, err);
	if (str_eq_c(verdict, "BATCH"))
		return batch_cancel(redis, job_id, out, err);
	if (!answered_job(reply, job_id, queue, &job, err))
		return false;
	if (str_eq_c(verdict, "FINAL"))
		return err_set(err, ERR_ALREADY_FINAL, "cannot cancel job '%s': it has %s", job.id,
			       job_status_name(job.status));
	*out = job;
	return true;
}

bool
queue_retry_dead(struct redis *redis, struct str job_id, struct job *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key ready, stat, dead, done;
	struct queue_child_keys child;
	struct queue_job_keys keys;
	struct queue_ref queue;
	struct redis_cmd cmd;
	struct str verdict;
	struct job job = { 0 };
	bool is_child;

	if (!find_queue(job_id, &queue, err))
		return false;
	queue_job_keys(queue, job_id, &keys);
	ready = key_queue(queue, QK_READY);
	stat = key_queue(queue, QK_STAT);
	dead = key_queue(queue, QK_DEAD);
	done = key_queue(queue, QK_DONE);
	is_child = queue_child_keys(queue, job_id, &child);
	redis_script_init(&cmd, &script_retry_dead, is_child ? 11 : 7);
	arg_key(&cmd, &ready);
	arg_key(&cmd, &keys.job);
	arg_key(&cmd, &keys.payload);
	arg_key(&cmd, &keys.result);
	arg_key(&cmd, &stat);
	arg_key(&cmd, &dead);
	arg_key(&cmd, &keys.events);
	if (is_child) {
		arg_child_keys(&cmd, &child);
		arg_key(&cmd, &done);
	}
	redis_arg(&cmd, job_id);
	redis_arg_c(&cmd, KEYS_CHANNEL);
	if (!redis_run_script(redis, &cmd, &script_retry_dead, &reply, err) ||
	    !queue_verdict(reply, "retry", &verdict, err))
		return err_wrap(err, "retry");
	if (str_eq_c(verdict, "NONE"))
		return no_such_job(job_id, err);
	if (!answered_job(reply, job_id, queue, &job, err))
		return false;
	if (str_eq_c(verdict, "CONFLICT"))
		return err_set(err, ERR_CONFLICT,
			       "cannot retry job '%s': it is %s, only failed jobs are retried",
			       job.id, job_status_name(job.status));
	if (str_eq_c(verdict, "GONE"))
		return err_set(err, ERR_GONE, "cannot retry job '%s': its payload is gone", job.id);
	*out = job;
	return true;
}

static bool
forget(struct redis *redis, struct str job_id, int64_t version, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key stat, done, dead;
	struct queue_job_keys keys;
	struct queue_ref queue;
	struct redis_cmd cmd;
	struct str verdict;

	if (!find_queue(job_id, &queue, err))
		return false;
	queue_job_keys(queue, job_id, &keys);
	stat = key_queue(queue, QK_STAT);
	done = key_queue(queue, QK_DONE);
	dead = key_queue(queue, QK_DEAD);
	redis_script_init(&cmd, &script_forget, 7);
	arg_key(&cmd, &keys.job);
	arg_key(&cmd, &keys.payload);
	arg_key(&cmd, &keys.result);
	arg_key(&cmd, &stat);
	arg_key(&cmd, &done);
	arg_key(&cmd, &dead);
	arg_key(&cmd, &keys.events);
	redis_arg(&cmd, job_id);
	redis_arg_c(&cmd, KEYS_CHANNEL);
	redis_arg_i64(&cmd, version);
	if (!redis_run_script(redis, &cmd, &script_forget, &reply, err) ||
	    !queue_verdict(reply, "forget", &verdict, err))
		return err_wrap(err, "forget");
	if (str_eq_c(verdict, "NONE"))
		return no_such_job(job_id, err);
	if (str_eq_c(verdict, "CONFLICT"))
		return err_set(err, ERR_NOT_FINAL,
			       "cannot forget job '" STR_FMT "': it is not final, cancel it first",
			       STR_ARG(job_id));
	if (str_eq_c(verdict, "CHANGED"))
		return err_set(err, ERR_PRECONDITION,
			       "cannot forget job '" STR_FMT "': its record has changed",
			       STR_ARG(job_id));
	return !str_eq_c(verdict, "BATCH") || batch_drop(redis, queue, job_id, err);
}

bool
queue_forget(struct redis *redis, struct str job_id, struct err *err)
{
	return forget(redis, job_id, 0, err);
}

bool
queue_forget_version(struct redis *redis, struct str job_id, int64_t version, struct err *err)
{
	return forget(redis, job_id, version, err);
}

bool
queue_pause(struct redis *redis, struct queue_ref queue, bool paused, struct err *err)
{
	struct key key = key_queue(queue, QK_PAUSED);
	struct redis_cmd cmd;

	redis_script_init(&cmd, &script_pause, 1);
	arg_key(&cmd, &key);
	redis_arg_c(&cmd, paused ? "1" : "0");
	if (!redis_run_script(redis, &cmd, &script_pause, NULL, err))
		return err_wrap(err, "%s queue '%s'", paused ? "pause" : "resume", queue.name);
	return true;
}

bool
queue_is_paused(struct redis *redis, struct queue_ref queue, bool *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key key = key_queue(queue, QK_PAUSED);
	int64_t exists;

	if (!REDIS_CALL(redis, &reply, err, "EXISTS", key.text))
		return err_wrap(err, "look at queue '%s'", queue.name);
	if (!reply_i64(reply, &exists))
		return reply_bad("EXISTS", err);
	*out = exists != 0;
	return true;
}
