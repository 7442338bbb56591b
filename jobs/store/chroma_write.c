/*
 * Writing. A generation is written in several requests: it is not all or nothing, but nothing of it is visible before the catalog's commit,
 * and the caller counts before it commits. Records of a generation are written from the first to the last and removed from the last to the first, so
 * what an interrupted write or removal leaves always begins with record 0.
 */
#include <stdio.h>
#include <stdlib.h>

#include "jobs/store/chroma_filter.h"
#include "jobs/store/chroma_store.h"

#define MIN_WRITE_BYTES ((size_t)64 * 1024)
#define FIELDS_MAX_BYTES ((size_t)1024 * 1024)
#define IDS_MAX_BYTES ((size_t)512 << 20)

/* ---- removing ---- */

/* Sent from the last to the first. */
static bool
delete_ids(struct chroma_store *store, struct str uid, const struct str *ids, size_t count,
	   const struct store_limits *limits, struct err *err)
{
	AUTO(http_reply) struct http_reply reply = { 0 };
	AUTO(buf) struct buf body = BUF_INIT(CHROMA_WRITE_BYTES);
	size_t most = CHROMA_DELETE_IDS;

	http_reply_init(&reply, CHROMA_REPLY_BYTES);
	while (count > 0) {
		size_t n = count < most ? count : most;
		enum chroma_class class = CHROMA_ODD;
		bool found = false;
		struct chroma_record_call call = {
			.uid = uid, .want = CHROMA_FIND, .verb = "delete", .limits = limits
		};

		buf_clear(&body);
		chroma_build_delete(&body, ids + count - n, n);
		call.body = str_make(body.data, body.len);
		if (!buf_check(&body, "a delete", err) ||
		    !chroma_on_records(store, &call, &reply, &class, &found, err))
			return false;
		if (!found)
			return true; /* the whole collection went */
		if (class == CHROMA_SPLIT && n == 1)
			return chroma_fail(&reply, "delete one record", err);
		if (class == CHROMA_SPLIT)
			most = n / 2;
		else
			count -= n;
	}
	return true;
}

/* Which generations of a document: those below a seq but one, or exactly one. */
struct selection {
	int64_t below_seq; /* 0 = exactly `gen` */
	struct str gen;
};

static bool
selects(const struct selection *selection, const struct chroma_id *id)
{
	bool same = str_eq(id->gen, selection->gen);

	return selection->below_seq == 0 ? same : !same && id->seq < selection->below_seq;
}

/* Ids of one document. */
static int
by_ordinal(const void *a, const void *b)
{
	struct chroma_id left = { .ordinal = 0 }, right = { .ordinal = 0 };

	(void)chroma_id_parse(*(const struct str *)a, &left);
	(void)chroma_id_parse(*(const struct str *)b, &right);
	return (left.ordinal > right.ordinal) - (left.ordinal < right.ordinal);
}

static bool
remove_selected(struct chroma_store *store, struct str uid, struct str document_id,
		const struct selection *selection, const struct store_limits *limits,
		struct err *err)
{
	AUTO(arena) struct arena arena = { .max_bytes = IDS_MAX_BYTES };
	struct chroma_ids ids = { NULL, 0 };
	size_t chosen = 0;

	if (!chroma_document_ids(store, uid, document_id, limits, &arena, &ids, err))
		return false;
	for (size_t i = 0; i < ids.count; i++) {
		struct chroma_id id;

		if (chroma_id_parse(ids.items[i], &id) && str_eq(id.document_id, document_id) &&
		    selects(selection, &id))
			ids.items[chosen++] = ids.items[i];
	}
	/* the order of a server's list is its own affair */
	if (chosen > 1)
		qsort(ids.items, chosen, sizeof(*ids.items), by_ordinal);
	return delete_ids(store, uid, ids.items, chosen, limits, err);
}

bool
chroma_remove_generation(struct store *store, struct str uid, struct str document_id,
			 struct str gen, struct err *err)
{
	const struct selection selection = { .gen = gen };

	return remove_selected((struct chroma_store *)store, uid, document_id, &selection, NULL,
			       err) ||
	       err_wrap(err, "remove chunks");
}

bool
chroma_remove_older(struct store *store, struct str uid, struct str document_id, int64_t below_seq,
		    struct str keep_gen, struct err *err)
{
	const struct selection selection = { .below_seq = below_seq, .gen = keep_gen };

	if (below_seq <= 0)
		return true;
	return remove_selected((struct chroma_store *)store, uid, document_id, &selection, NULL,
			       err) ||
	       err_wrap(err, "remove old chunks");
}

bool
chroma_remove_collection(struct store *base, struct str uid, struct err *err)
{
	struct chroma_store *store = (struct chroma_store *)base;
	AUTO(http_reply) struct http_reply reply = { 0 };
	enum chroma_class class = CHROMA_ODD;
	char name[CHROMA_NAME_BYTES], path[CHROMA_NAME_BYTES + 32];
	struct chroma_collection collection;
	struct chroma_preflight preflight;
	bool found = false;

	http_reply_init(&reply, CHROMA_REPLY_BYTES);
	chroma_forget(store, uid);
	if (!chroma_name_format(name, str_of(store->config->chroma_prefix), uid, err) ||
	    !chroma_prepare(store, NULL, &preflight, err) ||
	    !chroma_find(store, uid, CHROMA_FIND, NULL, &collection, &found, err))
		return err_wrap(err, "remove the collection's chunks");
	chroma_forget(store, uid);
	if (!found)
		return true;
	/* by name: the UUID is not taken here */
	(void)snprintf(path, sizeof(path), "/collections/%s", name);

	const struct chroma_call call = {
		.method = "DELETE", .scope = CHROMA_DATABASE, .path = path, .writes = true
	};

	if (!chroma_run(store, &call, &reply, &class, err))
		return err_wrap(err, "remove the collection's chunks");
	return class == CHROMA_OK || class == CHROMA_MISSING ||
	       chroma_fail(&reply, "remove the collection's chunks", err);
}

/* ---- putting ---- */

struct put {
	struct chroma_store *store;
	const struct store_document *document;
	struct buf fields, body;
	struct http_reply reply;
	struct chroma_preflight preflight;
};

static void
put_release(struct put *put)
{
	buf_release(&put->fields);
	buf_release(&put->body);
	http_reply_release(&put->reply);
}

static struct str
fields_of(const struct put *put)
{
	return str_make(put->fields.data, put->fields.len);
}

/* How many chunks from `from` on go into one write: at least one. */
static size_t
batch_of(const struct put *put, size_t from)
{
	const struct store_document *document = put->document;
	size_t max_rows = atomic_load(&put->store->max_rows);
	size_t max_bytes = atomic_load(&put->store->max_bytes), bytes = 0, count = 0;

	if (max_rows > put->preflight.max_batch)
		max_rows = put->preflight.max_batch;
	while (from + count < document->count && count < max_rows) {
		bytes += chroma_row_bytes(document, from + count, fields_of(put),
					  put->preflight.base64);
		if (count > 0 && bytes > max_bytes)
			break;
		count++;
	}
	return count;
}

static void
lower(atomic_size_t *limit, size_t to)
{
	size_t now = atomic_load(limit);

	while (to < now && !atomic_compare_exchange_weak(limit, &now, to))
		;
}

/* What the server's refusal teaches; a broken exchange teaches nothing for certain. */
static void
learn(struct put *put, size_t rows)
{
	if (put->reply.status == 413)
		lower(&put->store->max_bytes,
		      put->body.len / 2 > MIN_WRITE_BYTES ? put->body.len / 2 : MIN_WRITE_BYTES);
	else if (put->reply.status == 500)
		lower(&put->store->max_rows, rows > 1 ? rows / 2 : 1);
}

/* Writes chunks from..from+count, halving what is too much. */
static bool
write_chunks(struct put *put, size_t from, size_t count, struct err *err)
{
	const struct store_document *document = put->document;

	for (size_t done = 0, n = count; done < count;) {
		enum chroma_class class = CHROMA_ODD;
		bool found = false;
		struct chroma_record_call call = { .uid = document->uid,
						   .want = CHROMA_MAKE,
						   .verb = "upsert",
						   .dim = document->dim,
						   .limits = &document->limits };

		n = n < count - done ? n : count - done;
		buf_clear(&put->body);
		if (!chroma_build_upsert(&put->body, document, from + done, n, fields_of(put),
					 put->preflight.base64, err))
			return false;
		call.body = str_make(put->body.data, put->body.len);
		if (!chroma_on_records(put->store, &call, &put->reply, &class, &found, err))
			return false;
		if (class != CHROMA_SPLIT) {
			done += n;
			continue;
		}
		learn(put, n);
		if (n == 1) /* without an answer nobody knows whether its size was the reason */
			return err_set(err, put->reply.status ? ERR_TOO_LARGE : ERR_STORE_FAILED,
				       "Chroma does not take chunk %zu: its write has %zu bytes",
				       from + done, put->body.len);
		n /= 2;
	}
	return true;
}

/* An upsert merges metadata and leaves what is beyond its last record: a generation that is there goes first. */
static bool
make_way(struct put *put, struct err *err)
{
	const struct store_document *document = put->document;
	const struct selection selection = { .gen = document->gen };
	AUTO(arena) struct arena arena = { .max_bytes = MIN_WRITE_BYTES };
	enum chroma_class class = CHROMA_ODD;
	char text[CHROMA_ID_BYTES];
	struct str id, *ids = NULL;
	size_t count = 0;
	bool found = false;
	struct chroma_record_call call = { .uid = document->uid,
					   .want = CHROMA_FIND_SAME,
					   .verb = "get",
					   .limits = &document->limits };

	chroma_id_format(text, document->document_id, document->gen, 0);
	id = str_of(text);
	buf_clear(&put->body);
	chroma_build_get_ids(&put->body, &id, 1);
	call.body = str_make(put->body.data, put->body.len);
	if (!chroma_on_records(put->store, &call, &put->reply, &class, &found, err))
		return false;
	if (!found)
		return true;
	if (!chroma_parse_ids(chroma_body(&put->reply), &arena, &ids, &count, err))
		return false;
	return count == 0 || remove_selected(put->store, document->uid, document->document_id,
					     &selection, &document->limits, err);
}

static bool
put_document(struct put *put, struct err *err)
{
	const struct store_document *document = put->document;
	int64_t seq = 0, epoch = 0;

	if (!catalog_gen_parse(document->gen, &seq, &epoch))
		return err_set(err, ERR_INVALID, "generation '" STR_FMT "' is not <seq>.<epoch>",
			       STR_ARG(document->gen));
	if (!chroma_filter_fields(document->metadata, &put->fields, err) ||
	    !chroma_prepare(put->store, &document->limits, &put->preflight, err) ||
	    !make_way(put, err))
		return false;
	for (size_t at = 0, n = 0; at < document->count; at += n) {
		n = batch_of(put, at);
		if (!write_chunks(put, at, n, err))
			return false;
	}
	return true;
}

bool
chroma_put(struct store *store, const struct store_document *document, struct err *err)
{
	AUTO(put) struct put put = { .store = (struct chroma_store *)store, .document = document };

	buf_init(&put.fields, FIELDS_MAX_BYTES);
	buf_init(&put.body, (size_t)1 << 30);
	http_reply_init(&put.reply, CHROMA_REPLY_BYTES);
	return put_document(&put, err) || err_wrap(err, "store the document");
}
