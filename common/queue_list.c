/*
 * queue_list: the figures and the lists of a queue. Only reads.
 *
 * A list walks five phases: batches at work (newest lease first), ready (stream order), due (next first), done and dead (newest first). A cursor is the phase's
 * letter and a position in it: the last stream id, or "<score>~<id>" of the last member. When that member has moved on,
 * its place still tells where to go on (rank_behind), so a walk sees every job that stays where it is, once.
 */
#include "common/queue.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/queue_internal.h"

#define LIST_MAX_SCAN 1000
#define LIST_BATCH 100

/* ---- figures ---- */

struct figures {
	struct reply *time, *ready, *pending, *due, *dead, *done, *stat, *paused, *groups;
};

static void
figures_release(struct figures *figures)
{
	struct reply **all = (struct reply **)figures;

	for (size_t i = 0; i < sizeof(*figures) / sizeof(struct reply *); i++)
		reply_free(all[i]);
}

static bool
append(struct redis *redis, const char *const *argv, size_t argc, struct err *err)
{
	struct redis_cmd cmd;

	redis_cmd_init(&cmd, argv[0]);
	for (size_t i = 1; i < argc; i++)
		redis_arg_c(&cmd, argv[i]);
	return redis_append(redis, &cmd, err);
}
#define APPEND(redis, err, ...)                                                                    \
	append((redis), (const char *const[]){ __VA_ARGS__ },                                      \
	       ARRAY_SIZE(((const char *const[]){ __VA_ARGS__ })), (err))

/* An error reply (no such stream or group yet) is as good as nothing there. */
static bool
next_or_nothing(struct redis *redis, struct reply **out, struct err *err)
{
	struct err failure = ERR_INIT;

	if (redis_next(redis, out, &failure) || failure.code == ERR_REDIS_REPLY)
		return true;
	*err = failure;
	return false;
}

static bool
read_figures(struct redis *redis, struct queue_ref queue, struct figures *out, struct err *err)
{
	struct key ready = key_queue(queue, QK_READY), due = key_queue(queue, QK_DUE);
	struct key dead = key_queue(queue, QK_DEAD), done = key_queue(queue, QK_DONE);
	struct key stat = key_queue(queue, QK_STAT), paused = key_queue(queue, QK_PAUSED);

	return APPEND(redis, err, "TIME") && APPEND(redis, err, "XLEN", ready.text) &&
	       APPEND(redis, err, "XPENDING", ready.text, QUEUE_GROUP) &&
	       APPEND(redis, err, "ZCARD", due.text) && APPEND(redis, err, "ZCARD", dead.text) &&
	       APPEND(redis, err, "ZCARD", done.text) && APPEND(redis, err, "HGETALL", stat.text) &&
	       APPEND(redis, err, "EXISTS", paused.text) &&
	       APPEND(redis, err, "XINFO", "GROUPS", ready.text) &&
	       redis_next(redis, &out->time, err) && redis_next(redis, &out->ready, err) &&
	       next_or_nothing(redis, &out->pending, err) && redis_next(redis, &out->due, err) &&
	       redis_next(redis, &out->dead, err) && redis_next(redis, &out->done, err) &&
	       redis_next(redis, &out->stat, err) && redis_next(redis, &out->paused, err) &&
	       next_or_nothing(redis, &out->groups, err);
}

static int64_t
as_i64(const struct reply *reply)
{
	int64_t value = 0;

	return reply_i64(reply, &value) ? value : 0;
}

/* "(<last delivered id>" of our group, or "-": where the waiting entries begin. */
static void
first_waiting(const struct reply *groups, char *out, size_t out_bytes)
{
	struct str name, last;

	(void)snprintf(out, out_bytes, "-");
	for (size_t i = 0; i < reply_len(groups); i++) {
		const struct reply *group = reply_at(groups, i);

		if (reply_str(reply_get(group, "name"), &name) && str_eq_c(name, QUEUE_GROUP) &&
		    reply_str(reply_get(group, "last-delivered-id"), &last))
			(void)snprintf(out, out_bytes, "(" STR_FMT, STR_ARG(last));
	}
}

static int64_t
age_of_first(const struct reply *entries, int64_t now_ms)
{
	struct str id, ms;
	int64_t at_ms;

	if (!reply_str(reply_at(reply_at(entries, 0), 0), &id) || !str_split(&id, '-', &ms) ||
	    !str_to_i64(ms, 0, INT64_MAX, &at_ms))
		return 0;
	return now_ms > at_ms ? now_ms - at_ms : 1;
}

static bool
read_by_time(struct redis *redis, struct queue_ref queue, const struct figures *figures,
	     int64_t now_ms, int64_t lease_ms, struct queue_stats *io, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *soon = NULL, *workers = NULL, *first = NULL;
	struct key ready = key_queue(queue, QK_READY), due = key_queue(queue, QK_DUE);
	struct key live = key_queue(queue, QK_WORKERS);
	char from[JOB_ENTRY_BYTES + 2], until[24], now[24];

	first_waiting(figures->groups, from, sizeof(from));
	(void)snprintf(until, sizeof(until), "%lld", (long long)now_ms + lease_ms);
	(void)snprintf(now, sizeof(now), "%lld", (long long)now_ms);
	if (!APPEND(redis, err, "ZCOUNT", due.text, "-inf", until) ||
	    !APPEND(redis, err, "ZCOUNT", live.text, now, "+inf") ||
	    !APPEND(redis, err, "XRANGE", ready.text, from, "+", "COUNT", "1") ||
	    !redis_next(redis, &soon, err) || !redis_next(redis, &workers, err) ||
	    !redis_next(redis, &first, err))
		return false;
	io->due_soon = as_i64(soon);
	io->workers = as_i64(workers);
	io->oldest_waiting_ms = io->waiting > 0 ? age_of_first(first, now_ms) : 0;
	return true;
}

bool
queue_stats(struct redis *redis, struct queue_ref queue, int64_t lease_ms, struct queue_stats *out,
	    struct err *err)
{
	AUTO(figures) struct figures figures = { 0 };
	struct queue_stats stats = { 0 };
	int64_t now_ms;

	if (!read_figures(redis, queue, &figures, err))
		return err_wrap(err, "look at queue '%s'", queue.name);
	now_ms =
		as_i64(reply_at(figures.time, 0)) * 1000 + as_i64(reply_at(figures.time, 1)) / 1000;
	stats.running = as_i64(reply_at(figures.pending, 0));
	stats.waiting = as_i64(figures.ready) - stats.running;
	stats.due = as_i64(figures.due);
	stats.dead = as_i64(figures.dead);
	stats.done = as_i64(figures.done);
	stats.payload_bytes = as_i64(reply_get(figures.stat, "in_bytes"));
	stats.result_bytes = as_i64(reply_get(figures.stat, "out_bytes"));
	stats.finished_total = as_i64(reply_get(figures.stat, "finished"));
	stats.failed_total = as_i64(reply_get(figures.stat, "failed"));
	stats.paused = as_i64(figures.paused) != 0;
	if (!read_by_time(redis, queue, &figures, now_ms, lease_ms, &stats, err))
		return err_wrap(err, "look at queue '%s'", queue.name);
	stats.demand = stats.paused ? 0 : stats.waiting + stats.running + stats.due_soon;
	*out = stats;
	return true;
}

/* ---- lists ---- */

static const char phases[] = "brdfx"; /* batches, ready, due, done (finished), dead (x) */

struct walk {
	struct redis *redis;
	struct queue_list *list;
	const char *phases; /* those in which jobs of the wanted status are */
	char phase;	    /* 0 = the end */
	char position[96];  /* in the phase; "" = its beginning */
	size_t scanned;
	struct job *jobs; /* arena */
	size_t count;
};

/* Where jobs of this status are. */
static const char *
phases_of_status(int status)
{
	switch (status) {
	case JOB_RUNNING:
	case JOB_CANCELLING:
		return "br";
	case JOB_QUEUED:
		return "r";
	case JOB_SCHEDULED:
	case JOB_RETRYING:
		return "d";
	case JOB_SUCCEEDED:
	case JOB_CANCELLED:
	case JOB_EXPIRED:
		return "f";
	case JOB_FAILED:
		return "x";
	default:
		return phases;
	}
}

static bool
bad_cursor(struct err *err)
{
	err_set(err, ERR_INVALID, "page_token is not one that a list of jobs has given");
	return err_at(err, "/page_token");
}

static bool
walk_start(struct walk *walk, struct err *err)
{
	const char *cursor = walk->list->cursor;
	struct str position, score;
	int64_t number;

	walk->phases = phases_of_status(walk->list->status);
	if (cursor[0] == '\0') {
		walk->phase = walk->phases[0];
		return true;
	}
	if (!strchr(walk->phases, cursor[0]))
		return bad_cursor(err);
	walk->phase = cursor[0];
	position = str_of(cursor + 1);
	str_copy(walk->position, sizeof(walk->position), position);
	if (position.len == 0)
		return true;
	if (!str_split(&position, walk->phase == 'r' ? '-' : '~', &score) ||
	    !str_to_i64(score, 0, INT64_MAX, &number) || position.len == 0)
		return bad_cursor(err);
	if (walk->phase == 'r' && !str_to_i64(position, 0, INT64_MAX, &number))
		return bad_cursor(err);
	return true;
}

static void
next_phase(struct walk *walk)
{
	const char *at = strchr(walk->phases, walk->phase);

	walk->position[0] = '\0';
	walk->phase = (char)(at ? at[1] : '\0');
}

/* The member at a rank; "" past the end. */
static bool
member_at(struct walk *walk, const struct key *set, const char *command, int64_t rank,
	  char out[JOB_ID_BYTES], struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct str id = { 0 };
	char text[24];

	(void)snprintf(text, sizeof(text), "%lld", (long long)rank);
	if (!REDIS_CALL(walk->redis, &reply, err, command, set->text, text, text))
		return false;
	reply_str(reply_at(reply, 0), &id);
	str_copy(out, JOB_ID_BYTES, id);
	return true;
}

/*
 * The rank behind the place of a member that has gone: among the members of its score, which are in the order of their bytes
 * (newest first: against it), by halving.
 */
static bool
rank_behind(struct walk *walk, const struct key *set, struct str score, const char *gone,
	    int64_t *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *before = NULL, *same = NULL;
	bool newest_first = walk->phase != 'd';
	const char *command = newest_first ? "ZREVRANGE" : "ZRANGE";
	char exact[24], beyond[25];
	int64_t low, high;

	str_copy(exact, sizeof(exact), score);
	(void)snprintf(beyond, sizeof(beyond), "(%s", exact);
	if (!REDIS_CALL(walk->redis, &before, err, "ZCOUNT", set->text,
			newest_first ? beyond : "-inf", newest_first ? "+inf" : beyond) ||
	    !REDIS_CALL(walk->redis, &same, err, "ZCOUNT", set->text, exact, exact))
		return false;
	low = as_i64(before);
	high = low + as_i64(same);
	while (low < high) {
		int64_t middle = low + (high - low) / 2;
		char member[JOB_ID_BYTES];

		if (!member_at(walk, set, command, middle, member, err))
			return false;

		int order = strcmp(member, gone);

		if (newest_first ? order > 0 : order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*out = low;
	return true;
}

/* The next members of the phase's set: [id, score, ...]. */
static bool
read_set(struct walk *walk, const struct key *set, size_t limit, struct reply **out,
	 struct err *err)
{
	AUTO_PTR(reply_free) struct reply *rank = NULL;
	bool newest_first = walk->phase != 'd';
	struct str id = str_of(walk->position), score;
	char from[24], to[24], member[JOB_ID_BYTES];
	int64_t index = 0;

	if (id.len > 0) {
		str_split(&id, '~', &score);
		str_copy(member, sizeof(member), id);
		if (!REDIS_CALL(walk->redis, &rank, err, newest_first ? "ZREVRANK" : "ZRANK",
				set->text, member))
			return false;
		if (reply_i64(rank, &index))
			index++;
		else if (!rank_behind(walk, set, score, member, &index, err))
			return false;
	}
	(void)snprintf(from, sizeof(from), "%lld", (long long)index);
	(void)snprintf(to, sizeof(to), "%lld", (long long)(index + (int64_t)limit - 1));
	return REDIS_CALL(walk->redis, out, err, newest_first ? "ZREVRANGE" : "ZRANGE", set->text,
			  from, to, "WITHSCORES");
}

/* The next ids of the phase: for a stream [[entry, [j, id]], ...], for a set [id, score, ...]. */
static bool
read_ids(struct walk *walk, size_t limit, struct reply **out, struct err *err)
{
	struct queue_ref queue = walk->list->queue;
	struct key key;
	char from[100], count[24];

	if (walk->phase != 'r') {
		key = key_queue(queue, walk->phase == 'b'   ? QK_BATCHES
				       : walk->phase == 'd' ? QK_DUE
				       : walk->phase == 'f' ? QK_DONE
							    : QK_DEAD);
		return read_set(walk, &key, limit, out, err);
	}
	key = key_queue(queue, QK_READY);
	(void)snprintf(from, sizeof(from), "%s%s", walk->position[0] ? "(" : "-", walk->position);
	(void)snprintf(count, sizeof(count), "%zu", limit);
	return REDIS_CALL(walk->redis, out, err, "XRANGE", key.text, from, "+", "COUNT", count);
}

static size_t
id_count(const struct walk *walk, const struct reply *ids)
{
	return walk->phase == 'r' ? reply_len(ids) : reply_len(ids) / 2;
}

static bool
id_at(const struct walk *walk, const struct reply *ids, size_t i, struct str *out)
{
	if (walk->phase == 'r')
		return reply_str(reply_get(reply_at(reply_at(ids, i), 1), "j"), out);
	return reply_str(reply_at(ids, 2 * i), out);
}

static void
remember(struct walk *walk, const struct reply *ids, size_t i)
{
	struct str entry, id, score;

	if (walk->phase == 'r') {
		if (reply_str(reply_at(reply_at(ids, i), 0), &entry))
			str_copy(walk->position, sizeof(walk->position), entry);
		return;
	}
	if (reply_str(reply_at(ids, 2 * i), &id) && reply_str(reply_at(ids, 2 * i + 1), &score))
		(void)snprintf(walk->position, sizeof(walk->position), STR_FMT "~" STR_FMT,
			       STR_ARG(score), STR_ARG(id));
}

static bool
wanted(const struct queue_list *list, const struct job *job)
{
	return (list->status < 0 || (int)job->status == list->status) &&
	       (!list->type || strcmp(list->type, job->type) == 0) &&
	       (!list->collection || strcmp(list->collection, job->collection) == 0) &&
	       (list->error == ERR_NONE || list->error == job->error) &&
	       (!list->tenant || strcmp(list->tenant, job->tenant) == 0);
}

/* Reads the records of one batch of ids and keeps those that are wanted, up to the limit. */
static bool
take_batch(struct walk *walk, const struct reply *ids, struct err *err)
{
	size_t count = id_count(walk, ids);
	bool full = false;

	for (size_t i = 0; i < count; i++) {
		struct str id = { 0 };
		struct key key;

		id_at(walk, ids, i, &id);
		key = key_job(walk->list->queue, id);
		if (!APPEND(walk->redis, err, "HGETALL", key.text))
			return false;
	}
	for (size_t i = 0; i < count; i++) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		struct err ignored = ERR_INIT;
		struct job *job = &walk->jobs[walk->count];
		struct str id = { 0 };
		char text[JOB_ID_BYTES];

		if (!redis_next(walk->redis, &reply, err))
			return false;
		if (full)
			continue;
		walk->scanned++;
		remember(walk, ids, i);
		id_at(walk, ids, i, &id);
		/* A record that went in the meantime is passed over. */
		if (str_copy(text, sizeof(text), id) &&
		    queue_job_parse(reply, text, walk->list->queue, job, &ignored) &&
		    wanted(walk->list, job))
			walk->count++;
		full = walk->count == walk->list->limit;
	}
	return true;
}

bool
queue_list(struct redis *redis, struct queue_list *list, struct arena *arena, struct job **out_jobs,
	   size_t *out_count, struct err *err)
{
	struct walk walk = { .redis = redis, .list = list };

	if (list->limit == 0 || list->limit > LIST_MAX_SCAN)
		list->limit = LIST_MAX_SCAN;
	walk.jobs = arena_array(arena, list->limit + 1, sizeof(*walk.jobs));
	if (!walk.jobs)
		return err_set(err, ERR_TOO_LARGE, "cannot hold a page of %zu jobs", list->limit);
	if (!walk_start(&walk, err))
		return false;
	while (walk.phase && walk.count < list->limit && walk.scanned < LIST_MAX_SCAN) {
		AUTO_PTR(reply_free) struct reply *ids = NULL;
		size_t batch = LIST_MAX_SCAN - walk.scanned;

		batch = batch < LIST_BATCH ? batch : LIST_BATCH;
		if (!read_ids(&walk, batch, &ids, err) || !take_batch(&walk, ids, err))
			return err_wrap(err, "list the jobs of queue '%s'", list->queue.name);
		if (id_count(&walk, ids) < batch && walk.count < list->limit)
			next_phase(&walk);
	}
	list->cursor[0] = '\0';
	if (walk.phase)
		(void)snprintf(list->cursor, sizeof(list->cursor), "%c%.94s", walk.phase,
			       walk.position);
	*out_jobs = walk.jobs;
	*out_count = walk.count;
	return true;
}
