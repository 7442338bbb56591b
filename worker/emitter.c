#include "worker/emitter.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"

#define PIECE_MAX_BYTES ((size_t)8 * 1024)  /* of one token event */
#define FULL_BYTES ((size_t)1024)	    /* so much goes at once, whatever the time */
#define SNAPSHOT_BYTES ((size_t)256 * 1024) /* a snapshot at least every so many bytes of text */
#define LOST_RETRY_MS 500

void
emitter_init(struct emitter *emitter, struct redis *redis, const struct queue_lease *lease,
	     int64_t coalesce_ms, int64_t max_events)
{
	*emitter = (struct emitter){ .redis = redis,
				     .lease = lease,
				     .coalesce_ms = coalesce_ms,
				     .max_events = max_events,
				     .flushed_ms = INT64_MIN / 2 };
	buf_init(&emitter->text, EMITTER_MAX_TEXT_BYTES);
}

void
emitter_release(struct emitter *emitter)
{
	buf_release(&emitter->text);
}

/* How much of the text, at most `max` bytes from `from`, is whole characters. */
static size_t
whole_characters(struct str text, size_t max)
{
	size_t end = text.len < max ? text.len : max, lead = end;

	if (end < text.len)
		return str_utf8_floor(text, end);
	/* the last character may not have come completely */
	while (lead > 0 && end - lead < 3 && ((unsigned char)text.ptr[lead - 1] & 0xc0) == 0x80)
		lead--;
	if (lead == 0)
		return end;

	unsigned char c = (unsigned char)text.ptr[lead - 1];
	size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;

	return end - (lead - 1) < need ? lead - 1 : end;
}

/* One event. false: STALE, CANCELLED. A failure of Redis is remembered, and the work goes on. */
static bool
emit(struct emitter *emitter, const struct queue_emit *event, bool *out_done, struct err *err)
{
	enum queue_emitted emitted = QUEUE_EMITTED;
	struct err failure = ERR_INIT;

	*out_done = false;
	if (!queue_emit(emitter->redis, emitter->lease, event, &emitted, &failure)) {
		if (failure.code == ERR_STALE) {
			*err = failure;
			return false;
		}
		log_debug("event not written: %s", failure.msg);
		emitter->lost = true;
		emitter->retry_at_ms = clock_mono_ms() + LOST_RETRY_MS;
		return true;
	}
	if (emitted == QUEUE_EMIT_STOP)
		return err_set(err, ERR_CANCELLED, "stopped on request");
	if (emitted == QUEUE_EMIT_NONE)
		emitter->off = true;
	if (emitted == QUEUE_EMIT_GAP) {
		emitter->lost = true;
		emitter->retry_at_ms = 0;
	}
	*out_done = emitted == QUEUE_EMITTED;
	return true;
}

/* All of the text in one event, after which the stream is right again. */
static bool
send_reset(struct emitter *emitter, const char *reason, struct err *err)
{
	struct str text = str_make(emitter->text.data, emitter->text.len);
	size_t len = whole_characters(text, text.len);
	const struct queue_emit event = { .n = ++emitter->n,
					  .kind = EMIT_RESET,
					  .reason = reason,
					  .data = str_sub(text, 0, len) };
	bool done;

	if (!emit(emitter, &event, &done, err))
		return false;
	if (!done)
		return true;
	emitter->lost = false;
	emitter->sent = emitter->snapshot_from = len;
	emitter->events = 0;
	return true;
}

static bool
is_snapshot_due(const struct emitter *emitter, size_t end)
{
	size_t grown = end - emitter->snapshot_from;

	return emitter->events * 2 >= emitter->max_events ||
	       (grown >= SNAPSHOT_BYTES && grown >= emitter->snapshot_from);
}

static bool
send_piece(struct emitter *emitter, size_t len, struct err *err)
{
	size_t end = emitter->sent + len;
	struct str text = str_make(emitter->text.data, emitter->text.len);
	struct queue_emit event = { .n = emitter->n + 1,
				    .kind = EMIT_TOKEN,
				    .data = str_sub(text, emitter->sent, end),
				    .snapshot = STR("") };
	bool done, snapshot;

	emitter->flushed_ms = clock_mono_ms();
	emitter->events++;
	snapshot = is_snapshot_due(emitter, end);
	if (snapshot)
		event.snapshot = str_sub(text, 0, end);
	emitter->n++;
	if (!emit(emitter, &event, &done, err))
		return false;
	if (!done)
		return true;
	emitter->sent = end;
	if (snapshot) {
		emitter->events = 0;
		emitter->snapshot_from = end;
	}
	return true;
}

/* Sends all that is there; at the end also what is no whole character. */
static bool
flush(struct emitter *emitter, struct err *err)
{
	if (emitter->lost && clock_mono_ms() >= emitter->retry_at_ms &&
	    !send_reset(emitter, "recovered", err))
		return false;
	while (!emitter->lost && !emitter->off) {
		struct str rest = str_sub(str_make(emitter->text.data, emitter->text.len),
					  emitter->sent, emitter->text.len);
		size_t len = whole_characters(rest, PIECE_MAX_BYTES);

		if (len == 0)
			return true;
		if (!send_piece(emitter, len, err))
			return false;
		if (emitter->lost && emitter->retry_at_ms == 0 &&
		    !send_reset(emitter, "recovered", err))
			return false;
	}
	return true;
}

bool
emitter_text(struct emitter *emitter, struct str piece, struct err *err)
{
	size_t waiting;

	if (emitter->off)
		return true;
	buf_add(&emitter->text, piece.ptr, piece.len);
	if (!buf_ok(&emitter->text)) {
		emitter->off = true;
		return true;
	}
	waiting = emitter->text.len - emitter->sent;
	if (waiting == 0 && !emitter->lost)
		return true;
	/* the first piece after a pause goes at once */
	if (waiting < FULL_BYTES && clock_mono_ms() - emitter->flushed_ms < emitter->coalesce_ms)
		return true;
	return flush(emitter, err);
}

bool
emitter_restart(struct emitter *emitter, struct err *err)
{
	bool told = emitter->sent > 0;

	if (emitter->off)
		return true;
	buf_clear(&emitter->text);
	emitter->sent = emitter->snapshot_from = 0;
	emitter->flushed_ms = INT64_MIN / 2; /* its first piece goes at once */
	/* a stream that has lost something gets its reset with the text to come */
	return !told || emitter->lost || send_reset(emitter, "restarted", err);
}

bool
emitter_event(struct emitter *emitter, enum queue_emit_kind kind, struct str json, struct err *err)
{
	struct queue_emit event = { .kind = kind, .data = json };
	bool done;

	if (emitter->off)
		return true;
	if (!flush(emitter, err))
		return false;
	/* it is for people, no part of the text: not made good when it is lost */
	if (emitter->lost || emitter->off)
		return true;
	event.n = ++emitter->n;
	emitter->events++;
	return emit(emitter, &event, &done, err);
}

bool
emitter_finish(struct emitter *emitter, struct str answer, struct err *err)
{
	size_t have = emitter->text.len;

	if (emitter->off)
		return true;
	/* an answer that was changed after it was written comes with the result */
	if (answer.len < have || (have > 0 && memcmp(answer.ptr, emitter->text.data, have) != 0))
		return flush(emitter, err);
	if (answer.len > have)
		buf_add(&emitter->text, answer.ptr + have, answer.len - have);
	if (!buf_ok(&emitter->text)) {
		emitter->off = true;
		return true;
	}
	emitter->retry_at_ms = 0;
	if (!flush(emitter, err))
		return false;
	emitter->whole = !emitter->lost && !emitter->off && emitter->sent == answer.len &&
			 str_utf8_valid(answer, NULL);
	return true;
}
