/*
 * queue_keep: what has to happen without anybody asking: promote, reap, sweep, abandoned batches, and dead consumers.
 *
 * Each is two phases: ids are read first, then passed as keys to a script that looks at every one again. So a second
 * keeper at the same time does no harm; the advisory lock only spares the work.
 */
#include "common/queue.h"

#include "common/base/auto.h"
#include "common/base/id.h"
#include "common/batch.h"
#include "common/queue_internal.h"
#include "common/zip.h"

#define QUEUE_LOCK_MS 1000
#define QUEUE_MAX_REAPED 50
#define QUEUE_MAX_PROMOTED 60 /* a child of a batch has six keys */
#define QUEUE_DROP_STEPS 20   /* of one batch a round: 200,000 lines */
#define QUEUE_FORGOTTEN_LEASES                                                                     \
	10 /* idle time after which a consumer that never announced itself is dead */

#define SCRIPT(name)                                                                               \
	extern const char embed_##name##_lua[];                                                    \
	static const struct redis_script script_##name = { #name, embed_##name##_lua }
SCRIPT(promote);
SCRIPT(reap);
SCRIPT(sweep);
SCRIPT(announce);
SCRIPT(leave);
SCRIPT(lock);

static bool
take_lock(struct redis *redis, struct queue_ref queue, const char *owner, bool *out_ours,
	  struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key key = key_lock(queue, "keep");
	struct redis_cmd cmd;
	int64_t ours;

	redis_script_init(&cmd, &script_lock, 1);
	redis_arg_c(&cmd, key.text);
	redis_arg_c(&cmd, owner);
	redis_arg_i64(&cmd, QUEUE_LOCK_MS);
	if (!redis_run_script(redis, &cmd, &script_lock, &reply, err))
		return false;
	if (!reply_i64(reply, &ours))
		return reply_bad("lock", err);
	*out_ours = ours != 0;
	return true;
}

static bool
server_time_ms(struct redis *redis, int64_t *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	int64_t seconds, micros;

	if (!REDIS_CALL(redis, &reply, err, "TIME"))
		return false;
	if (!reply_i64(reply_at(reply, 0), &seconds) || !reply_i64(reply_at(reply, 1), &micros))
		return reply_bad("TIME", err);
	*out = seconds * 1000 + micros / 1000;
	return true;
}

/* Members of a sorted set with a score up to max_score, lowest first. */
static bool
members_until(struct redis *redis, const struct key *set, int64_t max_score, size_t limit,
	      struct reply **out, struct err *err)
{
	struct redis_cmd cmd;

	redis_cmd_init(&cmd, "ZRANGEBYSCORE");
	redis_arg_c(&cmd, set->text);
	redis_arg_c(&cmd, "-inf");
	redis_arg_i64(&cmd, max_score);
	redis_arg_c(&cmd, "LIMIT");
	redis_arg_c(&cmd, "0");
	redis_arg_i64(&cmd, (int64_t)limit);
	return redis_run(redis, &cmd, out, err);
}

static bool
run_count(struct redis *redis, struct redis_cmd *cmd, const struct redis_script *script,
	  int64_t *io_total, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	int64_t count;

	if (!redis_run_script(redis, cmd, script, &reply, err))
		return false;
	if (!reply_i64(reply, &count))
		return reply_bad(script->name, err);
	*io_total += count;
	return true;
}

/* ---- promote ---- */

static bool
promote(struct redis *redis, struct queue_ref queue, int64_t now_ms, struct queue_kept *out,
	struct err *err)
{
	AUTO_PTR(reply_free) struct reply *due_ids = NULL;
	struct key ready = key_queue(queue, QK_READY), due = key_queue(queue, QK_DUE);
	struct key done = key_queue(queue, QK_DONE), stat = key_queue(queue, QK_STAT);
	struct queue_job_keys keys[QUEUE_MAX_PROMOTED];
	struct queue_child_keys children[QUEUE_MAX_PROMOTED];
	size_t count, child_count = 0, child_at[QUEUE_MAX_PROMOTED];
	struct redis_cmd cmd;
	struct str id;

	if (!members_until(redis, &due, now_ms, QUEUE_MAX_PROMOTED, &due_ids, err))
		return false;
	count = reply_len(due_ids);
	if (count == 0)
		return true;
	for (size_t i = 0; i < count; i++) {
		if (!reply_str(reply_at(due_ids, i), &id))
			return reply_bad("ZRANGEBYSCORE", err);
		queue_job_keys(queue, id, &keys[i]);
		if (queue_child_keys(queue, id, &children[child_count]))
			child_at[child_count++] = i;
	}
	redis_script_init(&cmd, &script_promote,
			  4 + 3 * count + (child_count ? 1 + 3 * child_count : 0));
	redis_arg_c(&cmd, ready.text);
	redis_arg_c(&cmd, due.text);
	redis_arg_c(&cmd, done.text);
	redis_arg_c(&cmd, stat.text);
	for (size_t i = 0; i < count; i++) {
		redis_arg_c(&cmd, keys[i].job.text);
		redis_arg_c(&cmd, keys[i].payload.text);
		redis_arg_c(&cmd, keys[i].events.text);
	}
	if (child_count)
		redis_arg_c(&cmd, children[0].batches.text);
	for (size_t i = 0; i < child_count; i++) {
		redis_arg_c(&cmd, keys[child_at[i]].result.text);
		redis_arg_c(&cmd, children[i].batch.text);
		redis_arg_c(&cmd, children[i].items.text);
	}
	redis_arg_c(&cmd, KEYS_CHANNEL);
	for (size_t i = 0; i < count; i++) {
		reply_str(reply_at(due_ids, i), &id);
		redis_arg(&cmd, id);
	}
	return run_count(redis, &cmd, &script_promote, &out->promoted, err);
}

/* ---- reap ---- */

struct reap_item {
	char entry[JOB_ENTRY_BYTES], id[JOB_ID_BYTES];
	struct queue_job_keys keys;
	struct buf poison; /* owned */
};

/* The entries that have been pending for a whole lease: XPENDING's rows [entry, consumer, idle, deliveries]. */
static bool
idle_entries(struct redis *redis, struct queue_ref queue, int64_t lease_ms, struct reply **out,
	     struct err *err)
{
	struct key ready = key_queue(queue, QK_READY);
	struct err failure = ERR_INIT;
	struct redis_cmd cmd;

	redis_cmd_init(&cmd, "XPENDING");
	redis_arg_c(&cmd, ready.text);
	redis_arg_c(&cmd, QUEUE_GROUP);
	redis_arg_c(&cmd, "IDLE");
	redis_arg_i64(&cmd, lease_ms);
	redis_arg_c(&cmd, "-");
	redis_arg_c(&cmd, "+");
	redis_arg_i64(&cmd, QUEUE_MAX_REAPED);
	if (redis_run(redis, &cmd, out, &failure))
		return true;
	/* Lost, or not there yet: nothing is pending in the one that is made. */
	if (failure.detail == REDIS_DETAIL_NOGROUP)
		return queue_ensure_group(redis, queue, err);
	*err = failure;
	return false;
}

/* The job of an entry, read from the stream; "" when the entry is gone (then only the pending mark is left). */
static bool
read_items(struct redis *redis, struct queue_ref queue, const struct reply *rows,
	   struct reap_item *items, size_t count, struct err *err)
{
	struct key ready = key_queue(queue, QK_READY);

	for (size_t i = 0; i < count; i++) {
		struct redis_cmd cmd;
		struct str entry;

		if (!reply_str(reply_at(reply_at(rows, i), 0), &entry))
			return reply_bad("XPENDING", err);
		str_copy(items[i].entry, sizeof(items[i].entry), entry);
		redis_cmd_init(&cmd, "XRANGE");
		redis_arg_c(&cmd, ready.text);
		redis_arg(&cmd, entry);
		redis_arg(&cmd, entry);
		if (!redis_append(redis, &cmd, err))
			return false;
	}
	for (size_t i = 0; i < count; i++) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		struct str id = { 0 };

		if (!redis_next(redis, &reply, err))
			return false;
		reply_str(reply_get(reply_at(reply_at(reply, 0), 1), "j"), &id);
		if (!str_copy(items[i].id, sizeof(items[i].id), id))
			items[i].id[0] = '\0';
		queue_job_keys(queue, str_of(items[i].id), &items[i].keys);
	}
	return true;
}

/* What a dead job's record will say, should this have been its last start. */
static bool
prepare_poison(struct redis *redis, struct reap_item *items, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		struct redis_cmd cmd;

		redis_cmd_init(&cmd, "HMGET");
		redis_arg_c(&cmd, items[i].keys.job.text);
		redis_arg_c(&cmd, "starts");
		redis_arg_c(&cmd, "worker");
		if (!redis_append(redis, &cmd, err))
			return false;
	}
	for (size_t i = 0; i < count; i++) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		AUTO(buf) struct buf text = BUF_INIT(4096);
		struct err poison = ERR_INIT;
		struct str worker = STR("unknown");
		int64_t starts = 0;

		if (!redis_next(redis, &reply, err))
			return false;
		reply_i64(reply_at(reply, 0), &starts);
		reply_str(reply_at(reply, 1), &worker);
		err_set(&poison, ERR_POISON,
			"cannot run: lost its worker %lld times, the last one was '" STR_FMT "'",
			(long long)starts, STR_ARG(worker));
		queue_error_pack(&poison, &text);
		zip_pack(str_make(text.data, text.len), &items[i].poison);
	}
	return true;
}

static bool
run_reap(struct redis *redis, struct queue_ref queue, const struct queue_keep_opts *opts,
	 const struct reap_item *items, size_t count, int64_t *io_reaped, struct err *err)
{
	static const enum queue_key wanted[] = { QK_READY, QK_DUE, QK_DEAD, QK_DONE, QK_STAT };
	struct queue_child_keys children[QUEUE_MAX_REAPED];
	struct key sets[ARRAY_SIZE(wanted)];
	size_t child_count = 0;
	struct redis_cmd cmd;

	for (size_t i = 0; i < count; i++)
		child_count += queue_child_keys(queue, str_of(items[i].id), &children[child_count]);
	redis_script_init(&cmd, &script_reap,
			  ARRAY_SIZE(wanted) + 4 * count + (child_count ? 1 + 2 * child_count : 0));
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		sets[i] = key_queue(queue, wanted[i]);
		redis_arg_c(&cmd, sets[i].text);
	}
	for (size_t i = 0; i < count; i++) {
		redis_arg_c(&cmd, items[i].keys.job.text);
		redis_arg_c(&cmd, items[i].keys.payload.text);
		redis_arg_c(&cmd, items[i].keys.result.text);
		redis_arg_c(&cmd, items[i].keys.events.text);
	}
	if (child_count)
		redis_arg_c(&cmd, children[0].batches.text);
	for (size_t i = 0; i < child_count; i++) {
		redis_arg_c(&cmd, children[i].batch.text);
		redis_arg_c(&cmd, children[i].items.text);
	}
	redis_arg_c(&cmd, QUEUE_GROUP);
	redis_arg_i64(&cmd, opts->lease_ms);
	redis_arg_i64(&cmd, opts->backoff_base_ms);
	redis_arg_i64(&cmd, opts->backoff_max_ms);
	redis_arg_i64(&cmd, (int64_t)(id_random_u64() % 2147483646) + 1);
	redis_arg_c(&cmd, err_info(ERR_POISON)->wire);
	redis_arg_c(&cmd, KEYS_CHANNEL);
	for (size_t i = 0; i < count; i++) {
		redis_arg_c(&cmd, items[i].entry);
		redis_arg_c(&cmd, items[i].id);
		redis_arg(&cmd, str_make(items[i].poison.data, items[i].poison.len));
	}
	return run_count(redis, &cmd, &script_reap, io_reaped, err);
}

static bool
reap(struct redis *redis, struct queue_ref queue, const struct queue_keep_opts *opts,
     struct queue_kept *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *rows = NULL;
	struct reap_item items[QUEUE_MAX_REAPED];
	size_t count;
	bool ok;

	if (!idle_entries(redis, queue, opts->lease_ms, &rows, err))
		return false;
	count = reply_len(rows);
	if (count == 0 || count > QUEUE_MAX_REAPED)
		return true;
	for (size_t i = 0; i < count; i++)
		buf_init(&items[i].poison, 8192);
	ok = read_items(redis, queue, rows, items, count, err) &&
	     prepare_poison(redis, items, count, err) &&
	     run_reap(redis, queue, opts, items, count, &out->reaped, err);
	for (size_t i = 0; i < count; i++)
		buf_release(&items[i].poison);
	return ok;
}

/* ---- sweep ---- */

/* Batches are only marked by the script: their many keys go afterwards, and in the next rounds. */
static bool
run_sweep(struct redis *redis, struct queue_ref queue, struct redis_cmd *cmd, int64_t *io_swept,
	  struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	const struct reply *batches;
	int64_t count;

	if (!redis_run_script(redis, cmd, &script_sweep, &reply, err))
		return false;
	if (!reply_i64(reply_at(reply, 0), &count))
		return reply_bad("sweep", err);
	batches = reply_at(reply, 1);
	*io_swept += count + (int64_t)reply_len(batches);
	for (size_t i = 0; i < reply_len(batches); i++) {
		struct str id;

		if (reply_str(reply_at(batches, i), &id) &&
		    !batch_drop_some(redis, queue, id, QUEUE_DROP_STEPS, err))
			return false;
	}
	return true;
}

static bool
sweep_ids(struct redis *redis, struct queue_ref queue, const struct queue_keep_opts *opts,
	  const struct reply *ids, int64_t *io_swept, struct err *err)
{
	struct key done = key_queue(queue, QK_DONE), dead = key_queue(queue, QK_DEAD);
	struct key stat = key_queue(queue, QK_STAT);
	struct queue_job_keys keys[QUEUE_MAX_ITEMS];
	size_t count = reply_len(ids);
	struct redis_cmd cmd;
	struct str id;

	if (count == 0)
		return true;
	redis_script_init(&cmd, &script_sweep, 3 + 4 * count);
	redis_arg_c(&cmd, done.text);
	redis_arg_c(&cmd, dead.text);
	redis_arg_c(&cmd, stat.text);
	for (size_t i = 0; i < count; i++) {
		if (!reply_str(reply_at(ids, i), &id))
			return reply_bad("ZRANGEBYSCORE", err);
		queue_job_keys(queue, id, &keys[i]);
		redis_arg_c(&cmd, keys[i].job.text);
		redis_arg_c(&cmd, keys[i].payload.text);
		redis_arg_c(&cmd, keys[i].result.text);
		redis_arg_c(&cmd, keys[i].events.text);
	}
	redis_arg_i64(&cmd, opts->done_max_age_ms);
	redis_arg_i64(&cmd, opts->dead_max_age_ms);
	redis_arg_i64(&cmd, opts->done_max_bytes);
	redis_arg_c(&cmd, KEYS_CHANNEL);
	for (size_t i = 0; i < count; i++) {
		reply_str(reply_at(ids, i), &id);
		redis_arg(&cmd, id);
	}
	return run_sweep(redis, queue, &cmd, io_swept, err);
}

static bool
sweep(struct redis *redis, struct queue_ref queue, const struct queue_keep_opts *opts,
      int64_t now_ms, struct queue_kept *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *old_done = NULL, *old_dead = NULL, *held = NULL;
	struct key done = key_queue(queue, QK_DONE), dead = key_queue(queue, QK_DEAD);
	struct key stat = key_queue(queue, QK_STAT);
	int64_t bytes = 0, until_ms = now_ms - opts->done_max_age_ms;

	if (!REDIS_CALL(redis, &held, err, "HGET", stat.text, "done_bytes"))
		return false;
	reply_i64(held, &bytes);
	/* Too many bytes: the oldest go, whatever their age. */
	if (bytes > opts->done_max_bytes)
		until_ms = now_ms;
	return members_until(redis, &done, until_ms, QUEUE_MAX_ITEMS, &old_done, err) &&
	       sweep_ids(redis, queue, opts, old_done, &out->swept, err) &&
	       members_until(redis, &dead, now_ms - opts->dead_max_age_ms, QUEUE_MAX_ITEMS,
			     &old_dead, err) &&
	       sweep_ids(redis, queue, opts, old_dead, &out->swept, err);
}

/* ---- consumers ---- */

static bool
leave(struct redis *redis, struct queue_ref queue, struct str consumer, bool only_silent,
      int64_t *io_removed, struct err *err)
{
	struct key ready = key_queue(queue, QK_READY), workers = key_queue(queue, QK_WORKERS);
	struct redis_cmd cmd;

	redis_script_init(&cmd, &script_leave, 2);
	redis_arg_c(&cmd, ready.text);
	redis_arg_c(&cmd, workers.text);
	redis_arg_c(&cmd, QUEUE_GROUP);
	redis_arg(&cmd, consumer);
	redis_arg_c(&cmd, only_silent ? "1" : "0");
	return run_count(redis, &cmd, &script_leave, io_removed, err);
}

/* Consumers of the group with nothing pending that have been silent for long. */
static bool
remove_dead_consumers(struct redis *redis, struct queue_ref queue,
		      const struct queue_keep_opts *opts, struct queue_kept *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *consumers = NULL;
	struct key ready = key_queue(queue, QK_READY);
	struct err failure = ERR_INIT;

	if (!REDIS_CALL(redis, &consumers, &failure, "XINFO", "CONSUMERS", ready.text,
			QUEUE_GROUP)) {
		/* no stream or no group yet */
		if (failure.code == ERR_REDIS_REPLY)
			return true;
		*err = failure;
		return false;
	}
	for (size_t i = 0, tried = 0; i < reply_len(consumers) && tried < QUEUE_MAX_ITEMS; i++) {
		const struct reply *row = reply_at(consumers, i);
		int64_t pending = 0, idle_ms = 0;
		struct str name;

		if (!reply_str(reply_get(row, "name"), &name) ||
		    !reply_i64(reply_get(row, "pending"), &pending) ||
		    !reply_i64(reply_get(row, "idle"), &idle_ms))
			return reply_bad("XINFO CONSUMERS", err);
		if (pending > 0 || idle_ms < QUEUE_FORGOTTEN_LEASES * opts->lease_ms)
			continue;
		tried++;
		if (!leave(redis, queue, name, true, &out->consumers_removed, err))
			return false;
	}
	return true;
}

bool
queue_keep(struct redis *redis, struct queue_ref queue, const char *owner,
	   const struct queue_keep_opts *opts, struct queue_kept *out, struct err *err)
{
	struct queue_kept kept = { 0 };
	int64_t now_ms = 0;
	bool ours = false;

	if (!take_lock(redis, queue, owner, &ours, err))
		return err_wrap(err, "keep queue '%s'", queue.name);
	if (ours &&
	    (!server_time_ms(redis, &now_ms, err) || !promote(redis, queue, now_ms, &kept, err) ||
	     (opts->may_reap && !reap(redis, queue, opts, &kept, err)) ||
	     !batch_seal_abandoned(redis, queue, now_ms, &kept.sealed, err) ||
	     !sweep(redis, queue, opts, now_ms, &kept, err) ||
	     !remove_dead_consumers(redis, queue, opts, &kept, err)))
		return err_wrap(err, "keep queue '%s'", queue.name);
	*out = kept;
	return true;
}

bool
queue_announce(struct redis *redis, struct queue_ref queue, const char *consumer, int64_t ttl_ms,
	       struct err *err)
{
	struct key workers = key_queue(queue, QK_WORKERS);
	struct redis_cmd cmd;

	redis_script_init(&cmd, &script_announce, 1);
	redis_arg_c(&cmd, workers.text);
	redis_arg_c(&cmd, consumer);
	redis_arg_i64(&cmd, ttl_ms);
	return redis_run_script(redis, &cmd, &script_announce, NULL, err);
}

bool
queue_leave(struct redis *redis, struct queue_ref queue, const char *consumer, struct err *err)
{
	int64_t removed = 0;

	return leave(redis, queue, str_of(consumer), false, &removed, err);
}
