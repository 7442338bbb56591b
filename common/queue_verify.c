/*
 * What is checked, by the numbers of queue.c's invariants
 *
 *   (1) A record's status and the structure that holds it agree, and no other structure holds it:
 *		queued, running, cancelling	its entry is in `ready` and names it
 *		scheduled, retrying		`due`, with its due time as score
 *		succeeded, cancelled, expired	`done`
 *		failed				`dead`
 *	 Every entry and every member of a structure has a record; every record, payload and result is known to a structure.
 *   (2) A running or cancelling job's entry is pending with its worker; any other pending entry is a queued job's.
 *   (3) running: epoch >= 1. 0 <= starts <= max_starts, 0 <= failures <= max_failures.
 *   (8) The bytes in the record are those of the keys; payloads exist exactly for unfinished and failed jobs; the sums are
 *	 those of `stat`. A result may be gone (its TTL), its bytes then count until the record goes.
 *  (13) Events exist exactly for jobs that stream: without a limit of time before the end, with one after it (they may have
 *	 run out); only a final job has a last event.
 *   Batches (the invariants of batch.c): a batch that is not final is in `batches`, a final one in `done`. (1) The counts in
 *	 its record are those of its items; (2) a pending line has a job that is not final, and such a job's line is pending;
 *	 (3) a sealed one without a pending line is final. Counts are compared when the record was the same before and after.
 *   Memory: records are listpacks.
 *
 * Walk: the five structures in pages, each page through verify.lua, which sees each job at one instant; then SCAN for
 * keys of jobs, again through verify.lua. Sums come from the first walk (SCAN may name a key twice), and are believed only
 * when `stat` and the sizes of the structures were the same before and after, and every job was met once.
 */
#include "common/queue_verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/keys.h"
#include "common/queue.h"
#include "common/queue_internal.h"

#define PAGE 70
#define GROUP "workers"

extern const char embed_verify_lua[];
static const struct redis_script script_verify = { "verify", embed_verify_lua };

struct item {
	char id[JOB_ID_BYTES];
	char entry[JOB_ENTRY_BYTES];
};

struct page {
	struct item items[PAGE];
	size_t count;
};

/* What verify.lua says of one job. */
struct view {
	const struct reply *record; /* borrowed */
	struct str encoding, pending, due, dead, done, own, item, batches;
	int64_t found, payload_bytes, result_bytes;
	int64_t events_ttl_ms; /* -1 = without limit, -2 = there is none */
};

struct walk {
	struct redis *redis;
	struct queue_ref queue;
	struct queue_verify_report *out;
	struct page page;
	int64_t done_bytes;	       /* out_bytes of jobs in `done` */
	bool counting;		       /* the first walk: sums are made */
	char (*batches)[JOB_ID_BYTES]; /* met in the first walk; owned */
	size_t batch_count;
	int64_t live_batches; /* not final */
};

__attribute__((format(printf, 3, 4))) static void
problem(struct walk *walk, const struct item *item, const char *fmt, ...)
{
	struct queue_verify_report *out = walk->out;
	char text[QUEUE_VERIFY_TEXT_BYTES];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	/* The second walk meets most jobs again: it only adds what the first cannot know. */
	for (size_t i = 0; i < out->text_count; i++) {
		size_t len = strlen(item->id);

		if (!walk->counting && strncmp(out->texts[i], item->id, len) == 0 &&
		    strcmp(out->texts[i] + len + 2, text) == 0)
			return;
	}
	out->problems++;
	if (out->text_count < QUEUE_VERIFY_TEXTS) {
		char *to = out->texts[out->text_count++];

		(void)snprintf(to, QUEUE_VERIFY_TEXT_BYTES, "%s: ", item->id);

		size_t used = strlen(to);

		(void)str_copy(to + used, QUEUE_VERIFY_TEXT_BYTES - used, str_of(text));
	}
}

/* ---- one job ---- */

static struct str
text_of(const struct view *view, const char *name)
{
	struct str text = { 0 };

	(void)reply_str(reply_get(view->record, name), &text);
	return text;
}

static int64_t
number_of(const struct view *view, const char *name)
{
	int64_t number = 0;

	(void)reply_i64(reply_get(view->record, name), &number);
	return number;
}

static bool
has(struct str text)
{
	return text.len > 0;
}

static void
check_orphan(struct walk *walk, const struct item *item, const struct view *view)
{
	if (view->found)
		problem(walk, item, "entry %s has no record", item->entry);
	if (has(view->due) || has(view->dead) || has(view->done))
		problem(walk, item, "%s holds it, but there is no record",
			has(view->due)	  ? "due"
			: has(view->dead) ? "dead"
					  : "done");
	if (view->payload_bytes >= 0 || view->result_bytes >= 0)
		problem(walk, item, "%s without a record",
			view->payload_bytes >= 0 ? "a payload" : "a result");
	if (view->events_ttl_ms != -2)
		problem(walk, item, "events without a record");
	if (str_eq_c(view->item, "p"))
		problem(walk, item, "its batch waits for it, but there is no record");
	if (has(view->batches))
		problem(walk, item, "batches holds it, but there is no record");
}

/* (1): the structure that must hold a job of this status, as a bit; ready due dead done. */
enum { IN_READY = 1, IN_DUE = 2, IN_DEAD = 4, IN_DONE = 8, IN_BATCHES = 16 };

static int
expected_place(enum job_status status)
{
	switch (status) {
	case JOB_QUEUED:
	case JOB_RUNNING:
	case JOB_CANCELLING:
		return IN_READY;
	case JOB_SCHEDULED:
	case JOB_RETRYING:
		return IN_DUE;
	case JOB_FAILED:
		return IN_DEAD;
	case JOB_SUCCEEDED:
	case JOB_CANCELLED:
	case JOB_EXPIRED:
	case JOB_STATUS_COUNT:
		break;
	}
	return IN_DONE;
}

static bool
is_batch(const struct view *view)
{
	return str_eq_c(text_of(view, "type"), JOB_TYPE_IMPORT);
}

static void
check_place(struct walk *walk, const struct item *item, const struct view *view,
	    enum job_status status)
{
	int places = (has(view->own) ? IN_READY : 0) | (has(view->due) ? IN_DUE : 0) |
		     (has(view->dead) ? IN_DEAD : 0) | (has(view->done) ? IN_DONE : 0) |
		     (has(view->batches) ? IN_BATCHES : 0);
	int expected =
		is_batch(view) && !job_status_done(status) ? IN_BATCHES : expected_place(status);
	struct str entry = text_of(view, "entry");
	const char *name = job_status_name(status);

	if (places != expected)
		problem(walk, item, "%s, but held by%s%s%s%s%s%s", name,
			places & IN_READY ? " ready" : "", places & IN_DUE ? " due" : "",
			places & IN_DEAD ? " dead" : "", places & IN_DONE ? " done" : "",
			places & IN_BATCHES ? " batches" : "", places == 0 ? " nothing" : "");
	if (has(view->own) && !str_eq_c(view->own, item->id))
		problem(walk, item, "its entry " STR_FMT " is another job's", STR_ARG(entry));
	if (expected != IN_READY && has(entry))
		problem(walk, item, "%s, but names entry " STR_FMT, name, STR_ARG(entry));
	if (view->found && !str_eq_c(entry, item->entry))
		problem(walk, item, "entry %s is not the one it names ('" STR_FMT "')", item->entry,
			STR_ARG(entry));
	if (has(view->due)) {
		int64_t score = 0;

		if (!str_to_i64(view->due, 0, INT64_MAX, &score) || score != number_of(view, "due"))
			problem(walk, item, "due at " STR_FMT ", but its record says %lld",
				STR_ARG(view->due), (long long)number_of(view, "due"));
	}
}

/* (2) and (3) */
static void
check_running(struct walk *walk, const struct item *item, const struct view *view,
	      enum job_status status)
{
	bool running = status == JOB_RUNNING || status == JOB_CANCELLING;
	int64_t starts = number_of(view, "starts"), failures = number_of(view, "failures");

	if (running && !has(view->pending))
		problem(walk, item, "%s, but its entry is pending with nobody",
			job_status_name(status));
	else if (running && !str_eq(view->pending, text_of(view, "worker")))
		problem(walk, item, "its entry is pending with " STR_FMT ", not with its worker",
			STR_ARG(view->pending));
	else if (!running && status != JOB_QUEUED && has(view->pending))
		problem(walk, item, "%s, but pending with " STR_FMT, job_status_name(status),
			STR_ARG(view->pending));
	if (running && (number_of(view, "epoch") < 1 || starts < 1))
		problem(walk, item, "running with epoch %lld and %lld starts",
			(long long)number_of(view, "epoch"), (long long)starts);
	if (starts < 0 || starts > number_of(view, "max_starts") || failures < 0 ||
	    failures > number_of(view, "max_failures"))
		problem(walk, item, "%lld starts and %lld failures are outside of its budgets",
			(long long)starts, (long long)failures);
}

static void
check_bytes(struct walk *walk, const struct item *item, const struct view *view,
	    enum job_status status)
{
	bool payload = !job_status_done(status) || status == JOB_FAILED;
	int64_t in_bytes = number_of(view, "in_bytes"), out_bytes = number_of(view, "out_bytes");

	if (payload != (view->payload_bytes >= 0))
		problem(walk, item, "%s %s a payload", job_status_name(status),
			payload ? "without" : "with");
	if (in_bytes != (view->payload_bytes >= 0 ? view->payload_bytes : 0))
		problem(walk, item, "its payload has %lld bytes, its record says %lld",
			(long long)view->payload_bytes, (long long)in_bytes);
	if (view->result_bytes >= 0 && view->result_bytes != out_bytes)
		problem(walk, item, "its result has %lld bytes, its record says %lld",
			(long long)view->result_bytes, (long long)out_bytes);
	if (out_bytes < 0)
		problem(walk, item, "result of %lld bytes", (long long)out_bytes);
}

/* (13) */
static void
check_events(struct walk *walk, const struct item *item, const struct view *view,
	     enum job_status status)
{
	bool streams = number_of(view, "stream") > 0;
	const char *name = job_status_name(status);

	if (!streams && view->events_ttl_ms != -2)
		problem(walk, item, "it does not stream, but has events");
	else if (streams && !job_status_done(status) && view->events_ttl_ms != -1)
		problem(walk, item, "%s, but its events %s", name,
			view->events_ttl_ms == -2 ? "are gone" : "will run out");
	else if (streams && job_status_done(status) && view->events_ttl_ms == -1)
		problem(walk, item, "%s, but its events are kept for ever", name);
	if (streams && job_status_done(status) != has(text_of(view, "evd")))
		problem(walk, item, "%s %s a last event", name,
			job_status_done(status) ? "without" : "with");
}

/* A child against its line: the state that a record of this status stands for. No line: its batch is forgotten. */
static void
check_line(struct walk *walk, const struct item *item, const struct view *view,
	   enum job_status status)
{
	const char *expected = status == JOB_FAILED	 ? "f"
			       : status == JOB_CANCELLED ? "c"
			       : status == JOB_EXPIRED	 ? "e"
			       : status == JOB_SUCCEEDED ? "s"
							 : "p";

	if (has(view->item) && !str_eq_c(view->item, expected))
		problem(walk, item, "%s, but its line in the batch is '" STR_FMT "'",
			job_status_name(status), STR_ARG(view->item));
}

static void
check_batch(struct walk *walk, const struct item *item, const struct view *view,
	    enum job_status status)
{
	bool final = job_status_done(status);

	if (!final && status != JOB_RUNNING && status != JOB_CANCELLING)
		problem(walk, item, "a batch is not %s", job_status_name(status));
	if (!final && number_of(view, "sealed") == 1 && number_of(view, "n_wait") == 0)
		problem(walk, item, "sealed and nothing is pending, but it is %s",
			job_status_name(status));
	if (final && number_of(view, "sealed") == 0)
		problem(walk, item, "%s, but not sealed", job_status_name(status));
	if (!walk->counting)
		return;
	walk->live_batches += !final;
	walk->batches = mem_grow(walk->batches, walk->batch_count + 1, sizeof(*walk->batches));
	str_copy(walk->batches[walk->batch_count++], JOB_ID_BYTES, str_of(item->id));
}

static void
check_job(struct walk *walk, const struct item *item, const struct view *view)
{
	struct queue_verify_report *out = walk->out;
	enum job_status status;

	if (reply_len(view->record) == 0) {
		check_orphan(walk, item, view);
		return;
	}
	if (!job_status_parse(text_of(view, "status"), &status)) {
		problem(walk, item, "its status is '" STR_FMT "'",
			STR_ARG(text_of(view, "status")));
		return;
	}
	if (!str_eq_c(view->encoding, "listpack") && !str_eq_c(view->encoding, "ziplist"))
		problem(walk, item, "its record is a " STR_FMT ", not a listpack",
			STR_ARG(view->encoding));
	check_place(walk, item, view, status);
	if (is_batch(view)) {
		check_batch(walk, item, view, status);
	} else {
		check_running(walk, item, view, status);
		check_bytes(walk, item, view, status);
		check_events(walk, item, view, status);
		check_line(walk, item, view, status);
	}
	if (walk->counting) {
		out->records++;
		out->by_status[status]++;
		out->payload_bytes += view->payload_bytes >= 0 ? view->payload_bytes : 0;
		out->result_bytes += number_of(view, "out_bytes");
		if (status != JOB_FAILED && job_status_done(status))
			walk->done_bytes += number_of(view, "out_bytes");
	}
}

/* ---- one page ---- */

static bool
read_view(const struct reply *reply, struct view *out)
{
	out->record = reply_at(reply, 0);
	return reply_str(reply_at(reply, 1), &out->encoding) &&
	       reply_i64(reply_at(reply, 2), &out->found) &&
	       reply_str(reply_at(reply, 3), &out->pending) &&
	       reply_str(reply_at(reply, 4), &out->due) &&
	       reply_str(reply_at(reply, 5), &out->dead) &&
	       reply_str(reply_at(reply, 6), &out->done) &&
	       reply_i64(reply_at(reply, 7), &out->payload_bytes) &&
	       reply_i64(reply_at(reply, 8), &out->result_bytes) &&
	       reply_str(reply_at(reply, 9), &out->own) &&
	       reply_i64(reply_at(reply, 10), &out->events_ttl_ms) &&
	       reply_str(reply_at(reply, 11), &out->item) &&
	       reply_str(reply_at(reply, 12), &out->batches);
}

static bool
check_page(struct walk *walk, struct err *err)
{
	struct page *page = &walk->page;
	struct key fixed[5], keys[PAGE][5];
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	static const enum queue_key names[5] = { QK_READY, QK_DUE, QK_DEAD, QK_DONE, QK_BATCHES };
	struct queue_child_keys child;
	struct redis_cmd cmd;

	if (page->count == 0)
		return true;
	redis_script_init(&cmd, &script_verify, 5 + 5 * page->count);
	for (size_t i = 0; i < 5; i++) {
		fixed[i] = key_queue(walk->queue, names[i]);
		redis_arg_c(&cmd, fixed[i].text);
	}
	for (size_t i = 0; i < page->count; i++) {
		struct str id = str_of(page->items[i].id);

		keys[i][0] = key_job(walk->queue, id);
		keys[i][1] = key_payload(walk->queue, id);
		keys[i][2] = key_result(walk->queue, id);
		keys[i][3] = key_events(walk->queue, id);
		keys[i][4] = queue_child_keys(walk->queue, id, &child) ? child.items : keys[i][0];
		for (size_t k = 0; k < 5; k++)
			redis_arg_c(&cmd, keys[i][k].text);
	}
	redis_arg_c(&cmd, GROUP);
	for (size_t i = 0; i < page->count; i++) {
		redis_arg_c(&cmd, page->items[i].id);
		redis_arg_c(&cmd, page->items[i].entry);
	}
	if (!redis_run_script(walk->redis, &cmd, &script_verify, &reply, err))
		return false;
	if (reply_len(reply) != page->count)
		return reply_bad("verify", err);
	for (size_t i = 0; i < page->count; i++) {
		struct view view;

		if (!read_view(reply_at(reply, i), &view))
			return reply_bad("verify", err);
		check_job(walk, &page->items[i], &view);
	}
	page->count = 0;
	return true;
}

/* Puts a job into the page and checks the page when it is full. */
static bool
meet(struct walk *walk, struct str id, struct str entry, struct err *err)
{
	struct item *item = &walk->page.items[walk->page.count];

	if (!str_copy(item->id, sizeof(item->id), id) ||
	    !str_copy(item->entry, sizeof(item->entry), entry)) {
		problem(walk, item, "not a job id");
		return true;
	}
	walk->page.count++;
	return walk->page.count < PAGE || check_page(walk, err);
}

/* ---- the structures ---- */

static bool
walk_ready(struct walk *walk, struct err *err)
{
	struct key ready = key_queue(walk->queue, QK_READY);
	char from[JOB_ENTRY_BYTES + 1] = "-";

	for (;;) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		size_t count;

		if (!REDIS_CALL(walk->redis, &reply, err, "XRANGE", ready.text, from, "+", "COUNT",
				"100"))
			return false;
		count = reply_len(reply);
		for (size_t i = 0; i < count; i++) {
			const struct reply *entry = reply_at(reply, i);
			struct str id, job_id;

			if (!reply_str(reply_at(entry, 0), &id) || id.len >= JOB_ENTRY_BYTES)
				return reply_bad("XRANGE", err);
			if (!reply_str(reply_get(reply_at(entry, 1), "j"), &job_id))
				job_id = STR("(no job)");
			if (!meet(walk, job_id, id, err))
				return false;
			(void)snprintf(from, sizeof(from), "(" STR_FMT, STR_ARG(id));
		}
		if (count < 100)
			return check_page(walk, err);
	}
}

/* By rank, ascending. In a moving set a member may be missed or met twice: then the totals are not believed. */
static bool
walk_zset(struct walk *walk, enum queue_key which, struct err *err)
{
	struct key key = key_queue(walk->queue, which);

	for (int64_t at = 0;; at += PAGE) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		struct redis_cmd cmd;
		size_t count;

		redis_cmd_init(&cmd, "ZRANGE");
		redis_arg_c(&cmd, key.text);
		redis_arg_i64(&cmd, at);
		redis_arg_i64(&cmd, at + PAGE - 1);
		if (!redis_run(walk->redis, &cmd, &reply, err))
			return false;
		count = reply_len(reply);
		for (size_t i = 0; i < count; i++) {
			struct str id;

			if (!reply_str(reply_at(reply, i), &id))
				return reply_bad("ZRANGE", err);
			if (!meet(walk, id, STR(""), err))
				return false;
		}
		if (count < PAGE)
			return check_page(walk, err);
	}
}

/* ---- keys that no structure knows of ---- */

/* "rag:{q.p}:job:<id>", in:, out: or ev: -> the id. Of items:<id>:<n> and rejects:<id>: the batch. */
static bool
id_of_key(struct walk *walk, struct str key, struct str *out_id, bool *out_of_batch)
{
	static const char *const kinds[] = { "job:", "in:", "out:", "ev:", "items:", "rejects:" };
	struct key base = key_queue(walk->queue, QK_READY);
	size_t prefix = strlen(base.text) - strlen("ready");

	if (key.len <= prefix || memcmp(key.ptr, base.text, prefix) != 0)
		return false;

	struct str rest = str_sub(key, prefix, key.len);

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (str_starts(rest, kinds[i])) {
			rest = str_sub(rest, strlen(kinds[i]), rest.len);
			*out_of_batch = i >= 4;
			return str_split(&rest, ':', out_id);
		}
	}
	return false;
}

/* Items go before the record of their batch. */
static bool
check_items_key(struct walk *walk, struct str id, struct err *err)
{
	struct key job = key_job(walk->queue, id);
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct item item = { 0 };
	int64_t exists = 1;

	if (!REDIS_CALL(walk->redis, &reply, err, "EXISTS", job.text))
		return false;
	str_copy(item.id, sizeof(item.id), id);
	if (reply_i64(reply, &exists) && exists == 0)
		problem(walk, &item, "items of a batch without a record");
	return true;
}

static bool
walk_keys(struct walk *walk, struct err *err)
{
	struct key base = key_queue(walk->queue, QK_READY);
	char pattern[KEYS_MAX_BYTES + 1];
	char cursor[32] = "0";

	(void)snprintf(pattern, sizeof(pattern), "%.*s*",
		       (int)(strlen(base.text) - strlen("ready")), base.text);
	do {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		struct str next;

		if (!REDIS_CALL(walk->redis, &reply, err, "SCAN", cursor, "MATCH", pattern, "COUNT",
				"1000"))
			return false;
		for (size_t i = 0; i < reply_len(reply_at(reply, 1)); i++) {
			struct str key, id;
			bool of_batch = false, ok = true;

			if (!reply_str(reply_at(reply_at(reply, 1), i), &key))
				return reply_bad("SCAN", err);
			if (id_of_key(walk, key, &id, &of_batch))
				ok = of_batch ? check_items_key(walk, id, err)
					      : meet(walk, id, STR(""), err);
			if (!ok)
				return false;
		}
		if (!reply_str(reply_at(reply, 0), &next) ||
		    !str_copy(cursor, sizeof(cursor), next))
			return reply_bad("SCAN", err);
	} while (strcmp(cursor, "0") != 0);
	return check_page(walk, err);
}

/* ---- batches ---- */

static const char item_states[] = "psfcex"; /* as in tally.inc, in the order of read_batch */

struct lines {
	int64_t by_state[sizeof(item_states)];
	int64_t greatest;
};

static bool
read_batch(struct walk *walk, const char *id, struct reply **out, struct err *err)
{
	struct key key = key_job(walk->queue, str_of(id));

	return REDIS_CALL(walk->redis, out, err, "HMGET", key.text, "version", "drop", "lines",
			  "n_wait", "n_ok", "n_fail", "n_cancel", "n_late", "n_bad");
}

/* Counts the lines of one bucket; the children of pending ones are looked at. */
static bool
walk_bucket(struct walk *walk, const struct item *batch, int64_t bucket, struct lines *io,
	    struct err *err)
{
	struct key items = key_batch_items(walk->queue, str_of(batch->id), bucket);
	AUTO_PTR(reply_free) struct reply *reply = NULL;

	if (!REDIS_CALL(walk->redis, &reply, err, "HGETALL", items.text))
		return false;
	for (size_t i = 0; i + 1 < reply_len(reply); i += 2) {
		struct str text = { 0 }, item = { 0 };
		const char *state = NULL;
		char id[JOB_ID_BYTES];
		int64_t line = 0;

		(void)reply_str(reply_at(reply, i), &text);
		if (reply_str(reply_at(reply, i + 1), &item) && item.len > 0)
			state = memchr(item_states, item.ptr[0], sizeof(item_states) - 1);
		if (!state || !str_to_i64(text, 1, JOB_MAX_LINE, &line) ||
		    line / KEYS_BUCKET_LINES != bucket) {
			problem(walk, batch, "line '" STR_FMT "' in bucket %lld is none",
				STR_ARG(str_sub(text, 0, 40)), (long long)bucket);
			continue;
		}
		io->by_state[state - item_states]++;
		io->greatest = line > io->greatest ? line : io->greatest;
		job_id_child(batch->id, line, id);
		if (*state == 'p' && !meet(walk, str_of(id), STR(""), err))
			return false;
	}
	return true;
}

static bool
walk_batch(struct walk *walk, const char *id, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *before = NULL, *after = NULL;
	int64_t numbers[9] = { 0 }, version = 0;
	struct item batch = { 0 };
	struct lines lines = { 0 };

	str_copy(batch.id, sizeof(batch.id), str_of(id));
	if (!read_batch(walk, id, &before, err))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		reply_i64(reply_at(before, i), &numbers[i]);
	if (reply_is_nil(reply_at(before, 0)) || !reply_is_nil(reply_at(before, 1)))
		return true; /* gone, or being removed */
	for (int64_t bucket = 0; bucket <= numbers[2] / KEYS_BUCKET_LINES; bucket++)
		if (!walk_bucket(walk, &batch, bucket, &lines, err))
			return false;
	if (!check_page(walk, err) || !read_batch(walk, id, &after, err))
		return false;
	if (!reply_i64(reply_at(after, 0), &version) || version != numbers[0])
		return true; /* it moved */
	for (size_t i = 0; i < strlen(item_states); i++)
		if (lines.by_state[i] != numbers[3 + i])
			problem(walk, &batch, "counts %lld lines in state '%c', but there are %lld",
				(long long)numbers[3 + i], item_states[i],
				(long long)lines.by_state[i]);
	if (lines.greatest != numbers[2])
		problem(walk, &batch, "its greatest line is %lld, not %lld",
			(long long)lines.greatest, (long long)numbers[2]);
	return true;
}

static bool
walk_batches(struct walk *walk, struct err *err)
{
	for (size_t i = 0; i < walk->batch_count; i++)
		if (!walk_batch(walk, walk->batches[i], err))
			return false;
	return true;
}

/* ---- totals ---- */

struct totals {
	int64_t ready, pending, due, dead, done, batches, in_bytes, out_bytes, done_bytes, finished;
};

static bool
one_number(struct walk *walk, const char *command, enum queue_key which, const char *field,
	   int64_t *out, struct err *err)
{
	struct key key = key_queue(walk->queue, which);
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	bool ok = field ? REDIS_CALL(walk->redis, &reply, err, command, key.text, field)
			: REDIS_CALL(walk->redis, &reply, err, command, key.text);

	if (!ok)
		return false;
	*out = 0;
	if (!reply_is_nil(reply) && !reply_i64(reply, out))
		return reply_bad(command, err);
	return true;
}

static bool
read_pending(struct walk *walk, int64_t *out, struct err *err)
{
	struct key key = key_queue(walk->queue, QK_READY);
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct err first = ERR_INIT;

	*out = 0;
	if (!REDIS_CALL(walk->redis, &reply, &first, "XPENDING", key.text, GROUP)) {
		if (first.detail == REDIS_DETAIL_NOGROUP) /* nobody has fetched yet */
			return true;
		*err = first;
		return false;
	}
	return reply_i64(reply_at(reply, 0), out) || reply_bad("XPENDING", err);
}

static bool
read_totals(struct walk *walk, struct totals *out, struct err *err)
{
	return one_number(walk, "XLEN", QK_READY, NULL, &out->ready, err) &&
	       read_pending(walk, &out->pending, err) &&
	       one_number(walk, "ZCARD", QK_DUE, NULL, &out->due, err) &&
	       one_number(walk, "ZCARD", QK_DEAD, NULL, &out->dead, err) &&
	       one_number(walk, "ZCARD", QK_DONE, NULL, &out->done, err) &&
	       one_number(walk, "ZCARD", QK_BATCHES, NULL, &out->batches, err) &&
	       one_number(walk, "HGET", QK_STAT, "in_bytes", &out->in_bytes, err) &&
	       one_number(walk, "HGET", QK_STAT, "out_bytes", &out->out_bytes, err) &&
	       one_number(walk, "HGET", QK_STAT, "done_bytes", &out->done_bytes, err) &&
	       one_number(walk, "HGET", QK_STAT, "finished", &out->finished, err);
}

static void
compare(struct walk *walk, const char *what, int64_t is, int64_t should)
{
	static const struct item whole = { .id = "the queue" };

	if (is != should)
		problem(walk, &whole, "%s: %lld, but the jobs add up to %lld", what, (long long)is,
			(long long)should);
}

static void
check_totals(struct walk *walk, const struct totals *totals)
{
	const struct queue_verify_report *out = walk->out;
	const int64_t *by = out->by_status;

	int64_t running = by[JOB_RUNNING] + by[JOB_CANCELLING] - walk->live_batches;

	compare(walk, "entries of ready", totals->ready, by[JOB_QUEUED] + running);
	compare(walk, "members of batches", totals->batches, walk->live_batches);
	compare(walk, "members of due", totals->due, by[JOB_SCHEDULED] + by[JOB_RETRYING]);
	compare(walk, "members of dead", totals->dead, by[JOB_FAILED]);
	compare(walk, "members of done", totals->done,
		by[JOB_SUCCEEDED] + by[JOB_CANCELLED] + by[JOB_EXPIRED]);
	compare(walk, "payload bytes in stat", totals->in_bytes, out->payload_bytes);
	compare(walk, "result bytes in stat", totals->out_bytes, out->result_bytes);
	compare(walk, "result bytes of done jobs in stat", totals->done_bytes, walk->done_bytes);
	if (totals->pending < running || totals->pending > totals->ready)
		compare(walk, "pending entries", totals->pending, running);
}

bool
queue_verify(struct redis *redis, struct queue_ref queue, struct queue_verify_report *out,
	     struct err *err)
{
	struct walk *walk = mem_alloc(sizeof(*walk));
	struct totals before = { 0 }, after = { 0 };
	bool ok;

	*out = (struct queue_verify_report){ 0 };
	walk->redis = redis;
	walk->queue = queue;
	walk->out = out;
	walk->counting = true;
	ok = read_totals(walk, &before, err) && walk_ready(walk, err) &&
	     walk_zset(walk, QK_DUE, err) && walk_zset(walk, QK_DEAD, err) &&
	     walk_zset(walk, QK_DONE, err) && walk_zset(walk, QK_BATCHES, err);
	walk->counting = false;
	ok = ok && walk_batches(walk, err) && walk_keys(walk, err) &&
	     read_totals(walk, &after, err);
	if (ok) {
		out->totals_checked = memcmp(&before, &after, sizeof(before)) == 0;
		out->pending = after.pending;
		out->waiting = after.ready - after.pending;
		if (out->totals_checked)
			check_totals(walk, &after);
	}
	mem_free(walk->batches);
	mem_free(walk);
	return ok || err_wrap(err, "verify queue %s", queue.name);
}
