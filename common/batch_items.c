/*
 * Pages over the lines of a batch. A bucket is read whole; what its items do not say is read in one round trip for all of
 * its lines: the status of pending children, the errors of failed ones and of rejected lines. Only reads.
 */
#include "common/batch.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/queue.h"
#include "common/queue_internal.h"
#include "common/zip.h"

#define SCAN_BUCKETS 50
#define MAX_PAGE 1000
#define MAX_ERROR_BYTES ((size_t)32 * 1024)

/* One bucket as it was read. */
struct row {
	char state;			/* '\0' = no item */
	struct str document_id, detail; /* borrowed from the reply */
};

struct walk {
	struct redis *redis;
	const struct job *batch;
	struct arena *arena;
	struct batch_page *page;
	int64_t bucket;
	struct row rows[KEYS_BUCKET_LINES];
};

static bool
no_room(struct err *err)
{
	return err_set(err, ERR_TOO_LARGE, "cannot hold a page of this many items");
}

static void
read_row(struct walk *walk, struct str line_text, struct str item)
{
	int64_t line;
	size_t at;
	struct row *row;

	if (!str_to_i64(line_text, 1, JOB_MAX_LINE, &line) || item.len <= BATCH_HASH_BYTES ||
	    line / KEYS_BUCKET_LINES != walk->bucket)
		return;
	row = &walk->rows[line % KEYS_BUCKET_LINES];
	row->state = item.ptr[0];
	row->document_id = str_sub(item, 1 + BATCH_HASH_BYTES, item.len);
	row->detail = STR("");
	if (str_find(row->document_id, STR("\n"), &at)) {
		row->detail = str_sub(row->document_id, at + 1, row->document_id.len);
		row->document_id = str_sub(row->document_id, 0, at);
	}
	if (row->state == 'x') { /* of a rejected line the code is all that is kept here */
		row->detail = row->document_id;
		row->document_id = STR("");
	}
}

static bool
read_bucket(struct walk *walk, struct reply **out, struct err *err)
{
	struct key items =
		key_batch_items(walk->batch->queue, str_of(walk->batch->id), walk->bucket);

	memset(walk->rows, 0, sizeof(walk->rows));
	if (!REDIS_CALL(walk->redis, out, err, "HGETALL", items.text))
		return false;
	for (size_t i = 0; i + 1 < reply_len(*out); i += 2) {
		struct str line, item;

		if (reply_str(reply_at(*out, i), &line) && reply_str(reply_at(*out, i + 1), &item))
			read_row(walk, line, item);
	}
	return true;
}

/* What is asked about a line beside its item. */
static bool
append_question(struct walk *walk, int64_t line, char state, struct err *err)
{
	struct queue_ref queue = walk->batch->queue;
	struct key key, items;
	char id[JOB_ID_BYTES], number[24];
	struct redis_cmd cmd;

	job_id_child(walk->batch->id, line, id);
	(void)snprintf(number, sizeof(number), "%lld", (long long)line);
	if (state == 'x') {
		key = key_batch_rejects(queue, str_of(walk->batch->id));
		redis_cmd_init(&cmd, "HGET");
		redis_arg_c(&cmd, key.text);
		redis_arg_c(&cmd, number);
		return redis_append(walk->redis, &cmd, err);
	}
	key = state == 'f' ? key_result(queue, str_of(id)) : key_job(queue, str_of(id));
	redis_cmd_init(&cmd, state == 'f' ? "GET" : "HGET");
	redis_arg_c(&cmd, key.text);
	if (state != 'f')
		redis_arg_c(&cmd, "status");
	if (!redis_append(walk->redis, &cmd, err))
		return false;
	/* the item once more, after the record: a child that ended in between has no record, and its item says how */
	items = key_batch_items(queue, str_of(walk->batch->id), line / KEYS_BUCKET_LINES);
	redis_cmd_init(&cmd, "HGET");
	redis_arg_c(&cmd, items.text);
	redis_arg_c(&cmd, number);
	return redis_append(walk->redis, &cmd, err);
}

static enum job_status
status_of_state(char state)
{
	return state == 's'   ? JOB_SUCCEEDED
	       : state == 'c' ? JOB_CANCELLED
	       : state == 'e' ? JOB_EXPIRED
	       : state == 'p' ? JOB_QUEUED
			      : JOB_FAILED;
}

static bool
set_error(struct walk *walk, struct str code, const struct reply *stored, struct batch_item *item,
	  struct err *err)
{
	struct err *error = arena_alloc(walk->arena, sizeof(*error));
	struct err ignored = ERR_INIT;
	struct str bytes, plain;
	char wire[64];

	if (!error)
		return no_room(err);
	*error = ERR_INIT;
	str_copy(wire, sizeof(wire), code);
	if (!reply_str(stored, &bytes) ||
	    !zip_unpack(bytes, MAX_ERROR_BYTES, walk->arena, &plain, &ignored) ||
	    !queue_error_unpack(plain, error)) {
		error->code = err_code_from_wire(wire);
		str_copy(error->msg, sizeof(error->msg), str_of(err_info(error->code)->title));
	}
	item->error = error;
	return true;
}

/* Reads the answers to append_question. */
static bool
answer_question(struct walk *walk, const struct row *row, struct batch_item *item, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *first = NULL, *again = NULL;
	struct str status, now;

	if (!redis_next(walk->redis, &first, err))
		return false;
	if (row->state == 'x')
		return set_error(walk, row->detail, first, item, err);
	if (!redis_next(walk->redis, &again, err))
		return false;
	if (row->state == 'f') {
		/* a dead job keeps the text of its error as long as it keeps its record */
		item->has_job = !reply_is_nil(first);
		return set_error(walk, row->detail, first, item, err);
	}
	if (reply_str(first, &status) && job_status_parse(status, &item->status)) {
		item->has_job = true;
	} else if (reply_str(again, &now) && now.len > 0) {
		item->status = status_of_state(now.ptr[0]);
	}
	return true;
}

static bool
has_question(const struct row *row)
{
	return row->state && row->state != 's' && row->state != 'e';
}

static bool
make_item(struct walk *walk, int64_t line, const struct row *row, struct batch_item *out,
	  struct err *err)
{
	char made[BATCH_DOCUMENT_ID_BYTES];
	struct str id = row->document_id;
	char *copy;

	*out = (struct batch_item){ .line = line,
				    .status = status_of_state(row->state),
				    .rejected = row->state == 'x' };
	if (id.len == 0 && !out->rejected) {
		batch_document_id(walk->batch->id, line, made);
		id = str_of(made);
	}
	copy = arena_strndup(walk->arena, id.ptr ? id.ptr : "", id.len);
	if (!copy)
		return no_room(err);
	out->document_id = str_make(copy, id.len);
	return true;
}

/* Could an item in this state have the status that is wanted? A pending one's is known only from its record. */
static bool
may_be_wanted(const struct walk *walk, char state)
{
	int wanted = walk->page->status;

	if (!state)
		return false;
	if (wanted < 0)
		return true;
	return state == 'p' ? !job_status_done((enum job_status)wanted)
			    : (int)status_of_state(state) == wanted;
}

/* The lines of the bucket from `from` on, until the page is full; *out_next: the first line not looked at. */
static bool
take_bucket(struct walk *walk, int64_t from, int64_t *out_next, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct batch_page *page = walk->page;
	int64_t base = walk->bucket * KEYS_BUCKET_LINES, end = base + KEYS_BUCKET_LINES, line;
	size_t room = page->limit - page->count, found = 0;

	if (!read_bucket(walk, &reply, err))
		return false;
	for (line = from; line < end && found < room; line++) {
		const struct row *row = &walk->rows[line - base];

		if (!may_be_wanted(walk, row->state))
			continue;
		found++;
		if (has_question(row) && !append_question(walk, line, row->state, err))
			return false;
	}
	*out_next = line;
	for (line = from; line < *out_next; line++) {
		const struct row *row = &walk->rows[line - base];
		struct batch_item *item = &page->items[page->count];

		if (!may_be_wanted(walk, row->state))
			continue;
		if (!make_item(walk, line, row, item, err) ||
		    (has_question(row) && !answer_question(walk, row, item, err)))
			return false;
		if (page->status < 0 || (int)item->status == page->status)
			page->count++;
	}
	return true;
}

bool
batch_items(struct redis *redis, const struct job *batch, struct arena *arena,
	    struct batch_page *page, struct err *err)
{
	struct walk walk = { .redis = redis, .batch = batch, .arena = arena, .page = page };
	int64_t next = page->from_line < 1 ? 1 : page->from_line;

	if (page->limit == 0 || page->limit > MAX_PAGE)
		page->limit = MAX_PAGE;
	page->count = 0;
	page->items = arena_array(arena, page->limit, sizeof(*page->items));
	if (!page->items)
		return no_room(err);
	for (int i = 0; i < SCAN_BUCKETS && next <= batch->batch.last_line; i++) {
		walk.bucket = next / KEYS_BUCKET_LINES;
		if (!take_bucket(&walk, next, &next, err))
			return err_wrap(err, "list the items of a batch");
		if (page->count == page->limit)
			break;
	}
	page->from_line = next <= batch->batch.last_line ? next : 0;
	return true;
}
