/*
 * The problem: a client reads an answer while it is written, loses its connection anywhere, and comes back with the id of
 * the last event it has seen, perhaps to another API process, perhaps after the job has started a second time. What it
 * then has put together must be the job's answer, byte for byte.
 *
 * ev:<id> is a Redis stream. Its entries:
 *	status, done	written by the scripts that change the status, in the same step
 *	token		a piece of text (emit.lua, fenced as every write of a worker: running, this epoch, this entry)
 *	reset		the text from here on; what was before is void
 *	snap		the whole text so far; written right after a token, whose id it names
 *	sources, warning	for people
 *
 * Invariants:
 *  1. Between the last reset (or the beginning) and any entry, the tokens in order are the text at that entry.
 *  2. start.lua writes a reset when an earlier start has emitted: tokens of two starts never add up.
 *  3. Emissions of one start are numbered; the record holds the last number written. The same number again writes
 *     nothing (a lost reply is repeated); a number left out, or a stream that is gone, is a GAP: the worker answers it
 *     with a reset that carries all its text.
 *  4. The stream is bounded: a worker adds a snapshot every so many entries, and entries before the snapshot but one
 *     go. The first entry of a stream that was trimmed is therefore a snapshot or a reset.
 *  5. Reading on from X: a snapshot that names X is passed over (nothing was missed), one that names a later id becomes
 *     a reset (what lies between was trimmed). Every other entry is taken as it comes. So by (1) and (4) the reader's
 *     text is right wherever X is, as long as X is an id of this stream; an id later than its last is none, and is
 *     answered from the beginning, with a reset by the caller.
 *  6. At the end `done` says whether the tokens add up to the answer of the result. Where they do not (Redis was full, the
 *     answer was changed after it was written) the caller sends the answer as a last reset.
 *
 * Rejected: pub/sub alone (nothing to resume from); a list or a string with offsets (no ids to resume from, no trimming
 * without moving offsets); the text in the record (a value over 64 bytes makes the hash five times as large).
 */
#include "common/queue_stream.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/queue_internal.h"

#define EVENTS_AT_ONCE 200
#define ID_PART_MAX INT64_C(9007199254740991)

extern const char embed_emit_lua[], embed_events_lua[];
static const struct redis_script script_emit = { "emit", embed_emit_lua };
static const struct redis_script script_events = { "events", embed_events_lua };

/* ---- emit ---- */

static const char *
emit_kind_name(enum queue_emit_kind kind)
{
	switch (kind) {
	case EMIT_TOKEN:
		return "token";
	case EMIT_RESET:
		return "reset";
	case EMIT_SOURCES:
		return "sources";
	case EMIT_WARNING:
		return "warning";
	}
	return "";
}

bool
queue_emit(struct redis *redis, const struct queue_lease *lease, const struct queue_emit *emit,
	   enum queue_emitted *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct key job = key_job(lease->queue, str_of(lease->job_id));
	struct key events = key_events(lease->queue, str_of(lease->job_id));
	struct redis_cmd cmd;
	struct str verdict;

	redis_script_init(&cmd, &script_emit, 2);
	redis_arg_c(&cmd, job.text);
	redis_arg_c(&cmd, events.text);
	redis_arg_c(&cmd, lease->entry);
	redis_arg_i64(&cmd, lease->epoch);
	redis_arg_c(&cmd, lease->job_id);
	redis_arg_c(&cmd, KEYS_CHANNEL);
	redis_arg_i64(&cmd, emit->n);
	redis_arg_c(&cmd, emit_kind_name(emit->kind));
	redis_arg(&cmd, emit->data);
	redis_arg_c(&cmd, emit->kind != EMIT_RESET ? ""
			  : emit->reason	   ? emit->reason
						   : "recovered");
	redis_arg(&cmd, emit->kind == EMIT_TOKEN ? emit->snapshot : STR(""));
	if (!redis_run_script(redis, &cmd, &script_emit, &reply, err) ||
	    !queue_verdict(reply, "emit", &verdict, err))
		return err_wrap(err, "emit");
	if (str_eq_c(verdict, "STALE"))
		return err_set(err, ERR_STALE, "another start of this job has won");
	*out = str_eq_c(verdict, "STOP")   ? QUEUE_EMIT_STOP
	       : str_eq_c(verdict, "GAP")  ? QUEUE_EMIT_GAP
	       : str_eq_c(verdict, "NONE") ? QUEUE_EMIT_NONE
					   : QUEUE_EMITTED;
	return true;
}

/* ---- ids ---- */

static bool
id_parts(struct str text, int64_t *out_ms, int64_t *out_n)
{
	struct str rest = text, ms;

	/* a piece without its number, or with two, is no id */
	if (!str_split(&rest, '-', &ms) || ms.len == 0 || rest.len == 0 ||
	    !str_to_i64(ms, 0, ID_PART_MAX, out_ms) || rest.ptr[0] == '-')
		return false;
	return str_to_i64(rest, 0, ID_PART_MAX, out_n);
}

bool
queue_event_id_parse(struct str text, char out[JOB_ENTRY_BYTES])
{
	int64_t ms = 0, n = 0;

	if (text.len >= JOB_ENTRY_BYTES || (!str_eq_c(text, "0") && !id_parts(text, &ms, &n)))
		return false;
	(void)snprintf(out, JOB_ENTRY_BYTES, "%lld-%lld", (long long)ms, (long long)n);
	return true;
}

int
queue_event_id_cmp(const char *a, const char *b)
{
	int64_t a_ms = 0, a_n = 0, b_ms = 0, b_n = 0;

	(void)id_parts(str_of(a), &a_ms, &a_n);
	(void)id_parts(str_of(b), &b_ms, &b_n);
	if (a_ms != b_ms)
		return a_ms < b_ms ? -1 : 1;
	return (a_n > b_n) - (a_n < b_n);
}

/* ---- read ---- */

static struct str
text_field(const struct reply *fields, const char *name)
{
	struct str text = STR("");

	(void)reply_str(reply_get(fields, name), &text);
	return text;
}

static int64_t
number_field(const struct reply *fields, const char *name)
{
	int64_t number = 0;

	(void)reply_i64(reply_get(fields, name), &number);
	return number;
}

static bool
copy_text(struct arena *arena, struct str text, struct str *out, struct err *err)
{
	char *copy = arena_strndup(arena, text.ptr, text.len);

	if (!copy)
		return err_set(err, ERR_TOO_LARGE,
			       "the events of the job are larger than %zu bytes", arena->max_bytes);
	*out = str_make(copy, text.len);
	return true;
}

/* *out_pass: a snapshot that this reader does not need. */
static bool
parse_event(const struct reply *fields, const char *after, struct arena *arena,
	    struct queue_event *event, bool *out_pass, struct err *err)
{
	static const char *const kinds[] = { "status",	"token",   "reset",
					     "sources", "warning", "done" };
	struct str kind = text_field(fields, "k"), reason = text_field(fields, "r");
	bool known = false;

	*out_pass = str_eq_c(kind, "snap") && str_eq_c(text_field(fields, "p"), after);
	if (*out_pass)
		return true;
	if (str_eq_c(kind, "snap")) {
		kind = STR("reset");
		reason = STR("trimmed");
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds) && !known; i++) {
		known = str_eq_c(kind, kinds[i]);
		event->kind = (enum queue_event_kind)i;
	}
	if (!known)
		return reply_bad("an event", err);
	if ((event->kind == QUEUE_EVENT_STATUS || event->kind == QUEUE_EVENT_DONE) &&
	    !job_status_parse(text_field(fields, "s"), &event->status))
		return reply_bad("an event", err);
	event->version = number_field(fields, "v");
	event->done = number_field(fields, "n");
	event->total = number_field(fields, "m");
	event->whole = number_field(fields, "w") == 1;
	return copy_text(arena, text_field(fields, "d"), &event->data, err) &&
	       copy_text(arena, reason, &event->reason, err) &&
	       copy_text(arena, text_field(fields, "g"), &event->stage, err);
}

static bool
parse_events(const struct reply *entries, struct arena *arena, struct queue_events *out,
	     struct err *err)
{
	size_t count = reply_len(entries);

	out->items = arena_array(arena, count + 1, sizeof(*out->items));
	if (!out->items)
		return err_set(err, ERR_TOO_LARGE, "cannot hold %zu events", count);
	for (size_t i = 0; i < count; i++) {
		const struct reply *entry = reply_at(entries, i);
		struct queue_event event = { .kind = QUEUE_EVENT_STATUS };
		bool pass = false;
		struct str id;

		if (!reply_str(reply_at(entry, 0), &id) || !queue_event_id_parse(id, event.id))
			return reply_bad("an event", err);
		if (!parse_event(reply_at(entry, 1), out->after, arena, &event, &pass, err))
			return false;
		(void)str_copy(out->after, sizeof(out->after), id);
		if (!pass)
			out->items[out->count++] = event;
	}
	out->more = count == EVENTS_AT_ONCE;
	return true;
}

bool
queue_events(struct redis *redis, struct str job_id, const char *after, struct arena *arena,
	     struct queue_events *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct queue_events events = { .count = 0 };
	struct queue_ref queue;
	struct key job, stream;
	struct redis_cmd cmd;
	struct str how;
	char id[JOB_ID_BYTES];

	if (!job_id_parse(job_id, &queue) || !str_copy(id, sizeof(id), job_id))
		return err_set(err, ERR_NOT_FOUND, "there is no such job");
	job = key_job(queue, job_id);
	stream = key_events(queue, job_id);
	redis_script_init(&cmd, &script_events, 2);
	redis_arg_c(&cmd, job.text);
	redis_arg_c(&cmd, stream.text);
	redis_arg_c(&cmd, after);
	redis_arg_i64(&cmd, EVENTS_AT_ONCE);
	if (!redis_run_script(redis, &cmd, &script_events, &reply, err))
		return err_wrap(err, "read the events of the job");
	if (!reply_str(reply_at(reply, 1), &how))
		return reply_bad("events", err);
	if (reply_len(reply_at(reply, 0)) == 0)
		return err_set(err, ERR_NOT_FOUND,
			       "there is no job '%s' (unknown, or past its retention)", id);
	if (!queue_job_parse(reply_at(reply, 0), id, queue, &events.job, err))
		return false;
	events.unknown = str_eq_c(how, "UNKNOWN");
	(void)str_copy(events.after, sizeof(events.after),
		       str_of(events.unknown ? QUEUE_EVENTS_FROM_START : after));
	if (!parse_events(reply_at(reply, 2), arena, &events, err))
		return false;
	*out = events;
	return true;
}
