/*
 * queue_workers: who works on a queue, and on what. Only reads.
 *
 * Two sources, read one after the other: the announcements (zset `workers`) and the group's pending list, which alone says
 * what is running. Between the reads things move: a row may show a job that has just ended, or miss one that has just begun;
 * each single row was true when it was read.
 */
#include "common/queue.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/queue_internal.h"

#define WORKERS_MAX 1000

struct gathering {
	struct redis *redis;
	struct queue_ref queue;
	int64_t now_ms;
	struct queue_worker *rows; /* arena; room for 2 * max */
	size_t count, live;
};

static int64_t
as_i64(const struct reply *reply)
{
	int64_t value = 0;

	return reply_i64(reply, &value) ? value : 0;
}

static bool
read_time(struct gathering *g, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *time = NULL;

	if (!REDIS_CALL(g->redis, &time, err, "TIME"))
		return false;
	g->now_ms = as_i64(reply_at(time, 0)) * 1000 + as_i64(reply_at(time, 1)) / 1000;
	return true;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct queue_worker *)a)->consumer,
		      ((const struct queue_worker *)b)->consumer);
}

static bool
read_announced(struct gathering *g, size_t max, bool *out_more, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key workers = key_queue(g->queue, QK_WORKERS);
	struct redis_cmd cmd;
	struct str name;

	redis_cmd_init(&cmd, "ZRANGEBYSCORE");
	redis_arg_c(&cmd, workers.text);
	redis_arg_i64(&cmd, g->now_ms);
	redis_arg_c(&cmd, "+inf");
	redis_arg_c(&cmd, "WITHSCORES");
	redis_arg_c(&cmd, "LIMIT");
	redis_arg_c(&cmd, "0");
	redis_arg_i64(&cmd, (int64_t)max + 1);
	if (!redis_run(g->redis, &cmd, &reply, err))
		return false;
	*out_more = reply_len(reply) / 2 > max;
	for (size_t i = 0; i + 1 < reply_len(reply) && g->count < max; i += 2) {
		struct queue_worker *row = &g->rows[g->count++];

		*row = (struct queue_worker){ 0 };
		if (!reply_str(reply_at(reply, i), &name))
			return reply_bad("ZRANGEBYSCORE", err);
		str_copy(row->consumer, sizeof(row->consumer), name);
		row->expires_ms = as_i64(reply_at(reply, i + 1));
	}
	g->live = g->count;
	if (g->count > 1)
		qsort(g->rows, g->count, sizeof(*g->rows), by_name);
	return true;
}

/* The row of this consumer that is still free, or a new one. */
static struct queue_worker *
row_of(struct gathering *g, struct str consumer)
{
	struct queue_worker probe = { 0 }, *found, *row;

	str_copy(probe.consumer, sizeof(probe.consumer), consumer);
	found = g->live ? bsearch(&probe, g->rows, g->live, sizeof(*g->rows), by_name) : NULL;
	if (found && !found->busy)
		return found;
	row = &g->rows[g->count++];
	*row = probe;
	row->expires_ms = found ? found->expires_ms : 0;
	return row;
}

/* [entry, consumer, idle ms, deliveries] for each; the entries go to entries[], their rows to rows[]. */
static bool
read_pending(struct gathering *g, size_t max, struct reply **out, struct queue_worker **rows,
	     bool *io_more, struct err *err)
{
	struct key ready = key_queue(g->queue, QK_READY);
	struct err failure = ERR_INIT;
	struct redis_cmd cmd;

	redis_cmd_init(&cmd, "XPENDING");
	redis_arg_c(&cmd, ready.text);
	redis_arg_c(&cmd, QUEUE_GROUP);
	redis_arg_c(&cmd, "-");
	redis_arg_c(&cmd, "+");
	redis_arg_i64(&cmd, (int64_t)max + 1);
	if (!redis_run(g->redis, &cmd, out, &failure)) {
		/* no stream or no group yet: nothing runs */
		if (failure.code == ERR_REDIS_REPLY)
			return true;
		*err = failure;
		return false;
	}
	*io_more = *io_more || reply_len(*out) > max;
	for (size_t i = 0; i < reply_len(*out) && i < max; i++) {
		const struct reply *item = reply_at(*out, i);
		struct str consumer;

		if (!reply_str(reply_at(item, 1), &consumer))
			return reply_bad("XPENDING", err);
		rows[i] = row_of(g, consumer);
		rows[i]->busy = true;
		rows[i]->renewed_ms = g->now_ms - as_i64(reply_at(item, 2));
	}
	return true;
}

static bool
append_range(struct gathering *g, const struct reply *item, struct err *err)
{
	struct key ready = key_queue(g->queue, QK_READY);
	struct redis_cmd cmd;
	struct str entry;

	if (!reply_str(reply_at(item, 0), &entry))
		return reply_bad("XPENDING", err);
	redis_cmd_init(&cmd, "XRANGE");
	redis_arg_c(&cmd, ready.text);
	redis_arg(&cmd, entry);
	redis_arg(&cmd, entry);
	return redis_append(g->redis, &cmd, err);
}

/* Which job each entry is of. An entry that went in the meantime leaves the id empty. */
static bool
read_ids(struct gathering *g, const struct reply *pending, struct queue_worker **rows, size_t count,
	 struct err *err)
{
	for (size_t i = 0; i < count; i++)
		if (!append_range(g, reply_at(pending, i), err))
			return false;
	for (size_t i = 0; i < count; i++) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		struct str id = { 0 };

		if (!redis_next(g->redis, &reply, err))
			return false;
		reply_str(reply_get(reply_at(reply_at(reply, 0), 1), "j"), &id);
		if (!str_copy(rows[i]->job.id, sizeof(rows[i]->job.id), id))
			rows[i]->job.id[0] = '\0';
	}
	return true;
}

static bool
read_records(struct gathering *g, struct queue_worker **rows, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		struct key key = key_job(g->queue, str_of(rows[i]->job.id));
		struct redis_cmd cmd;

		redis_cmd_init(&cmd, "HGETALL");
		redis_arg_c(&cmd, key.text);
		if (!redis_append(g->redis, &cmd, err))
			return false;
	}
	for (size_t i = 0; i < count; i++) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		struct err ignored = ERR_INIT;
		char id[JOB_ID_BYTES];

		if (!redis_next(g->redis, &reply, err))
			return false;
		str_copy(id, sizeof(id), str_of(rows[i]->job.id));
		if (!queue_job_parse(reply, id, g->queue, &rows[i]->job, &ignored))
			rows[i]->job.id[0] = '\0';
	}
	return true;
}

bool
queue_workers(struct redis *redis, struct queue_ref queue, size_t max, struct arena *arena,
	      struct queue_workers *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *pending = NULL;
	struct gathering g = { .redis = redis, .queue = queue };
	struct queue_worker **rows;
	bool more = false;
	size_t count;

	if (max == 0 || max > WORKERS_MAX)
		max = WORKERS_MAX;
	g.rows = arena_array(arena, 2 * max, sizeof(*g.rows));
	rows = arena_array(arena, max, sizeof(void *));
	if (!g.rows || !rows)
		return err_set(err, ERR_TOO_LARGE, "cannot hold %zu workers", max);
	if (!read_time(&g, err) || !read_announced(&g, max, &more, err) ||
	    !read_pending(&g, max, &pending, rows, &more, err))
		return err_wrap(err, "list the workers of queue '%s'", queue.name);
	count = reply_len(pending) < max ? reply_len(pending) : max;
	if (!read_ids(&g, pending, rows, count, err) || !read_records(&g, rows, count, err))
		return err_wrap(err, "list the workers of queue '%s'", queue.name);
	*out = (struct queue_workers){ .rows = g.rows, .count = g.count, .more = more };
	return true;
}
