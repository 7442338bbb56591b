/*
 * Reading. Everything but a search reads ids alone: they say document, generation and ordinal.
 *
 * A search asks for one hit more than it is to give, to know whether there are more. What a clause could not say of the filter is decided for each
 * hit afterwards; while too few pass and the server has more, it is asked for four times as many.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "jobs/store/chroma_filter.h"
#include "jobs/store/chroma_store.h"
#include "jobs/store/filter_match.h"

#define COLLECTION_PAGE 100
#define IDS_MAX_BYTES ((size_t)1 << 30)
#define WHERE_MAX_BYTES ((size_t)1 << 20)
#define QUERY_MAX_BYTES ((size_t)4 << 20)
#define QUERY_GROWTH 4
#define QUERY_MAX_HITS ((size_t)100000)
#define QUERY_MORE_BYTES                                                                           \
	((size_t)64                                                                                \
	 << 20) /* of an answer to look through: read, it takes several times as much memory */
#define CLAUSE_MAX_HITS ((size_t)2000) /* compared one by one */
#define LIST_LOOKS 3		       /* of a collection that changes meanwhile */

/* ---- ids ---- */

/* One growing array over several pages. */
struct id_list {
	struct arena *arena;
	struct str *items; /* arena */
	size_t count, room;
};

static bool
list_add(struct id_list *list, const struct str *ids, size_t count, struct err *err)
{
	if (list->count + count > list->room) {
		void *more = NULL;
		size_t room = list->count + count + list->room;

		if (!arena_alloc_err(list->arena, room * sizeof(*list->items), "Chroma's records",
				     &more, err))
			return false;
		if (list->count > 0)
			memcpy(more, list->items, list->count * sizeof(*list->items));
		list->items = more;
		list->room = room;
	}
	if (count > 0)
		memcpy(list->items + list->count, ids, count * sizeof(*ids));
	list->count += count;
	return true;
}

/* Page by page: a get without a limit answers with everything. document_id NULL: of all documents. */
static bool
read_ids(struct chroma_store *store, struct str uid, const struct str *document_id,
	 const struct store_limits *limits, struct id_list *list, struct err *err)
{
	AUTO(http_reply) struct http_reply reply = { 0 };
	AUTO(buf) struct buf body = BUF_INIT(QUERY_MAX_BYTES);
	size_t got = CHROMA_PAGE;

	http_reply_init(&reply, CHROMA_REPLY_BYTES);
	for (size_t offset = 0; got == CHROMA_PAGE; offset += CHROMA_PAGE) {
		struct chroma_record_call call = {
			.uid = uid, .want = CHROMA_FIND, .verb = "get", .limits = limits
		};
		enum chroma_class class = CHROMA_ODD;
		struct str *ids = NULL;
		bool found = false;

		buf_clear(&body);
		if (document_id)
			chroma_build_get_document(&body, *document_id, CHROMA_PAGE, offset);
		else
			chroma_build_get_page(&body, CHROMA_PAGE, offset);
		call.body = str_make(body.data, body.len);
		if (!buf_check(&body, "a question", err) ||
		    !chroma_on_records(store, &call, &reply, &class, &found, err))
			return false;
		if (!found)
			return true;
		if (!chroma_parse_ids(chroma_body(&reply), list->arena, &ids, &got, err) ||
		    !list_add(list, ids, got, err))
			return false;
	}
	return true;
}

bool
chroma_document_ids(struct chroma_store *store, struct str uid, struct str document_id,
		    const struct store_limits *limits, struct arena *arena, struct chroma_ids *out,
		    struct err *err)
{
	struct id_list list = { .arena = arena };

	if (!read_ids(store, uid, &document_id, limits, &list, err))
		return false;
	*out = (struct chroma_ids){ list.items, list.count };
	return true;
}

bool
chroma_count(struct store *store, struct str uid, struct str document_id, struct str gen,
	     int64_t *out_chunks, struct err *err)
{
	AUTO(arena) struct arena arena = { .max_bytes = IDS_MAX_BYTES };
	struct chroma_ids ids = { NULL, 0 };
	int64_t chunks = 0;

	if (!chroma_document_ids((struct chroma_store *)store, uid, document_id, NULL, &arena, &ids,
				 err))
		return err_wrap(err, "count chunks");
	for (size_t i = 0; i < ids.count; i++) {
		struct chroma_id id;

		chunks += chroma_id_parse(ids.items[i], &id) &&
			  str_eq(id.document_id, document_id) && str_eq(id.gen, gen);
	}
	*out_chunks = chunks;
	return true;
}

/* ---- listing ---- */

struct uid_list {
	struct arena *arena;
	const char *prefix;
	struct str *items; /* arena */
	size_t count, room;
};

/* Those of this engine: named as it names them. */
static bool
note_uid(void *user, const struct chroma_collection *collection, struct err *err)
{
	struct uid_list *list = user;
	size_t prefix = strlen(list->prefix);
	const char *copy;

	if (!collection->uid[0] || strncmp(collection->name, list->prefix, prefix) != 0 ||
	    strcmp(collection->name + prefix, collection->uid) != 0)
		return true;
	if (list->count == list->room) {
		void *more = NULL;

		list->room = list->room > 0 ? 2 * list->room : 64;
		if (!arena_alloc_err(list->arena, list->room * sizeof(*list->items),
				     "Chroma's collections", &more, err))
			return false;
		if (list->count > 0)
			memcpy(more, list->items, list->count * sizeof(*list->items));
		list->items = more;
	}
	copy = arena_strdup(list->arena, collection->uid);
	if (!copy)
		return err_set(err, ERR_TOO_LARGE, "cannot hold Chroma's collections");
	list->items[list->count++] = str_of(copy);
	return true;
}

static bool
list_collections(struct chroma_store *store, struct uid_list *list, struct err *err)
{
	AUTO(http_reply) struct http_reply reply = { 0 };
	struct chroma_preflight preflight;
	size_t got = COLLECTION_PAGE;

	http_reply_init(&reply, CHROMA_REPLY_BYTES);
	if (!chroma_prepare(store, NULL, &preflight, err))
		return false;
	for (size_t offset = 0; got == COLLECTION_PAGE; offset += COLLECTION_PAGE) {
		char path[96];
		const struct chroma_call call = { .method = "GET",
						  .scope = CHROMA_DATABASE,
						  .path = path };
		enum chroma_class class = CHROMA_ODD;

		(void)snprintf(path, sizeof(path), "/collections?limit=%d&offset=%zu",
			       COLLECTION_PAGE, offset);
		if (!chroma_run(store, &call, &reply, &class, err))
			return false;
		if (class != CHROMA_OK)
			return chroma_fail(&reply, "list the collections", err);
		if (!chroma_parse_collections(chroma_body(&reply), note_uid, list, &got, err))
			return false;
	}
	return true;
}

static int
by_text(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* Ids that a page shift has shown twice count once. */
static size_t
sort_unique(struct str *ids, size_t count)
{
	size_t kept = 0;

	if (count > 1)
		qsort(ids, count, sizeof(*ids), by_text);
	for (size_t i = 0; i < count; i++) {
		if (kept == 0 || !str_eq(ids[kept - 1], ids[i]))
			ids[kept++] = ids[i];
	}
	return kept;
}

/* *out_known false: it does not say. */
static bool
record_count(struct chroma_store *store, struct str uid, size_t *out, bool *out_known,
	     struct err *err)
{
	AUTO(http_reply) struct http_reply reply = { 0 };
	struct chroma_collection collection;
	enum chroma_class class = CHROMA_ODD;
	char path[CHROMA_UUID_BYTES + 32];
	const struct chroma_call call = { .method = "GET", .scope = CHROMA_DATABASE, .path = path };
	int64_t count = 0;

	http_reply_init(&reply, CHROMA_REPLY_BYTES);
	if (!chroma_find(store, uid, CHROMA_FIND, NULL, &collection, out_known, err))
		return false;
	if (!*out_known)
		return true;
	(void)snprintf(path, sizeof(path), "/collections/%s/count", collection.id);
	if (!chroma_run(store, &call, &reply, &class, err))
		return false;
	*out_known = class == CHROMA_OK &&
		     str_to_i64(str_trim(chroma_body(&reply)), 0, INT64_MAX, &count);
	*out = (size_t)count;
	return true;
}

/* All ids of a collection, sorted. Pages shift when records are removed meanwhile: then it is read again, a few times. */
static bool
list_records(struct chroma_store *store, struct str uid, struct arena *arena, struct str **out,
	     size_t *out_count, struct err *err)
{
	for (int look = 1;; look++) {
		struct id_list list = { .arena = arena };
		size_t count = 0;
		bool known = false;

		arena_reset(arena);
		if (!read_ids(store, uid, NULL, NULL, &list, err) ||
		    !record_count(store, uid, &count, &known, err))
			return false;
		*out = list.items;
		*out_count = sort_unique(list.items, list.count);
		if (!known || count == *out_count || look == LIST_LOOKS)
			return true;
	}
}

static bool
tell_generations(struct str uid, const struct str *ids, size_t count,
		 bool (*fn)(void *user, const struct store_generation *generation, struct err *err),
		 void *user, struct err *err)
{
	struct store_generation generation = { .uid = uid };

	for (size_t i = 0; i < count; i++) {
		struct chroma_id id;

		if (!chroma_id_parse(ids[i], &id))
			continue;
		if (generation.chunks > 0 && str_eq(id.document_id, generation.document_id) &&
		    str_eq(id.gen, generation.gen)) {
			generation.chunks++;
			continue;
		}
		if (generation.chunks > 0 && !fn(user, &generation, err))
			return false;
		generation.document_id = id.document_id;
		generation.gen = id.gen;
		generation.chunks = 1;
	}
	return generation.chunks == 0 || fn(user, &generation, err);
}

bool
chroma_each_generation(struct store *base,
		       bool (*fn)(void *user, const struct store_generation *generation,
				  struct err *err),
		       void *user, struct err *err)
{
	struct chroma_store *store = (struct chroma_store *)base;
	AUTO(arena) struct arena uids = { .max_bytes = IDS_MAX_BYTES };
	AUTO(arena) struct arena ids = { .max_bytes = IDS_MAX_BYTES };
	struct uid_list list = { .arena = &uids, .prefix = store->config->chroma_prefix };

	if (!list_collections(store, &list, err))
		return err_wrap(err, "list Chroma's collections");
	for (size_t i = 0; i < list.count; i++) {
		struct str *items = NULL;
		size_t count = 0;

		if (!list_records(store, list.items[i], &ids, &items, &count, err))
			return err_wrap(err, "list Chroma's records");
		if (!tell_generations(list.items[i], items, count, fn, user, err))
			return false;
	}
	return true;
}

/* ---- searching ---- */

static bool
hit_passes(const struct filter *filter, const struct store_hit *hit)
{
	AUTO_PTR(js_free) struct js *metadata = NULL;
	struct filter_subject subject = { .document_id = hit->document_id,
					  .title = hit->title,
					  .uri = hit->uri };
	struct err ignored = ERR_INIT;

	if (hit->metadata.len > 0 && js_parse(hit->metadata, &metadata, &ignored) &&
	    js_is(metadata, JS_OBJECT))
		subject.metadata = metadata;
	return filter_matches(filter, &subject);
}

static size_t
keep_passing(const struct filter *filter, struct store_hit *hits, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; filter && i < count; i++) {
		if (hit_passes(filter, &hits[i]))
			hits[kept++] = hits[i];
	}
	return filter ? kept : count;
}

struct question {
	struct chroma_store *store;
	const struct store_search *search;
	struct buf where, body;
	struct http_reply reply;
};

static void
question_release(struct question *question)
{
	buf_release(&question->where);
	buf_release(&question->body);
	http_reply_release(&question->reply);
}

/* *out_found false: no such collection. */
static bool
ask(struct question *question, size_t limit, bool *out_found, struct err *err)
{
	const struct store_search *search = question->search;
	enum chroma_class class = CHROMA_ODD;
	struct chroma_record_call call = { .uid = search->uid,
					   .want = CHROMA_FIND_SAME,
					   .verb = "query",
					   .dim = search->dim,
					   .limits = &search->limits };

	buf_clear(&question->body);
	chroma_build_query(&question->body, search->vector, search->dim, limit,
			   str_make(question->where.data, question->where.len));
	call.body = str_make(question->body.data, question->body.len);
	if (!buf_check(&question->body, "the search", err) ||
	    !chroma_on_records(question->store, &call, &question->reply, &class, out_found, err))
		return false;
	return !*out_found || class == CHROMA_OK || chroma_fail(&question->reply, "search", err);
}

/* Records that satisfy the clause. *out_found false: no such collection. */
static bool
ask_clause(struct question *question, bool whole, size_t limit, bool *out_found, struct err *err)
{
	const struct store_search *search = question->search;
	enum chroma_class class = CHROMA_ODD;
	struct chroma_record_call call = { .uid = search->uid,
					   .want = CHROMA_FIND_SAME,
					   .verb = "get",
					   .limits = &search->limits };

	buf_clear(&question->body);
	chroma_build_get_where(&question->body, str_make(question->where.data, question->where.len),
			       whole, limit);
	call.body = str_make(question->body.data, question->body.len);
	if (!buf_check(&question->body, "the search", err) ||
	    !chroma_on_records(question->store, &call, &question->reply, &class, out_found, err))
		return false;
	return !*out_found || class == CHROMA_OK || chroma_fail(&question->reply, "search", err);
}

/* A second look that fails takes nothing away from the first: what came stays. false: the job is to stop. */
static bool
let_it_be(struct err *err)
{
	if (err->code == ERR_CANCELLED || err->code == ERR_DEADLINE)
		return false;
	log_debug("could not look for what the index may have missed: %s", err->msg);
	*err = ERR_INIT;
	return true;
}

/*
 * A graph index under a condition can miss what is far from the question: it goes from neighbour to neighbour, and equal vectors cut it into
 * parts. So when fewer came than were asked for, it is counted how many there are, and if some are missing all are compared.
 */
static bool
look_through(struct question *question, struct arena *arena, size_t total, struct store_hit **hits,
	     size_t *count, struct err *err)
{
	const struct store_search *search = question->search;
	struct store_hit *all = NULL;
	struct str *ids = NULL;
	size_t there = 0, passing = 0;
	bool found = false;

	if (!ask_clause(question, false, total + 1, &found, err) ||
	    (found && !chroma_parse_ids(chroma_body(&question->reply), arena, &ids, &there, err)))
		return let_it_be(err);
	if (there <= total)
		return true;
	if (!ask_clause(question, true, CLAUSE_MAX_HITS, &found, err) ||
	    (found && !chroma_parse_records(chroma_body(&question->reply), search->vector,
					    search->dim, arena, &all, &passing, err)))
		return let_it_be(err);
	passing = keep_passing(search->filter, all, passing);
	if (passing <= *count)
		return true;
	*hits = all;
	*count = passing;
	return true;
}

static bool
search_dense(struct question *question, struct arena *arena, struct store_hits *out,
	     struct err *err)
{
	const struct store_search *search = question->search;
	size_t wanted = search->limit + 1, count = 0, total = 0, limit;
	struct store_hit *hits = NULL;

	for (limit = wanted;; limit *= QUERY_GROWTH) {
		bool found = false, first = limit == wanted;

		if (limit > QUERY_MAX_HITS)
			limit = QUERY_MAX_HITS;
		if (!first) {
			http_reply_release(&question->reply);
			http_reply_init(&question->reply, QUERY_MORE_BYTES);
		}
		if (!ask(question, limit, &found, err) ||
		    (found && !chroma_parse_query(chroma_body(&question->reply), arena, &hits,
						  &count, &total, err))) {
			/* more than can be held to look through: what passed until now is the answer */
			if (first || err->code != ERR_TOO_LARGE)
				return false;
			*err = ERR_INIT;
			break;
		}
		if (!found)
			return true;
		count = keep_passing(search->filter, hits, count);
		if (count >= wanted || total < limit || limit >= QUERY_MAX_HITS)
			break;
	}
	if (question->where.len > 0 && count < wanted && total < limit &&
	    !look_through(question, arena, total, &hits, &count, err))
		return false;
	if (hits && count > 1)
		qsort(hits, count, sizeof(*hits), store_by_score);
	*out = (struct store_hits){ .dense = hits,
				    .dense_count = count < search->limit ? count : search->limit,
				    .dense_more = count > search->limit };
	return true;
}

bool
chroma_search(struct store *store, const struct store_search *search, struct arena *arena,
	      struct store_hits *out, struct err *err)
{
	AUTO(question)
	struct question question = { .store = (struct chroma_store *)store, .search = search };
	enum chroma_where where = CHROMA_WHERE_ALL;
	struct store_hits hits = { 0 };

	buf_init(&question.where, WHERE_MAX_BYTES);
	buf_init(&question.body, QUERY_MAX_BYTES);
	http_reply_init(&question.reply, CHROMA_REPLY_BYTES);
	for (size_t i = 0; search->vector && i < search->dim; i++) {
		if (!isfinite(search->vector[i]))
			return err_set(err, ERR_INVALID,
				       "search: the vector has a number that is not finite");
	}
	if (search->filter)
		where = chroma_filter_where(search->filter, &question.where);
	if (!buf_check(&question.where, "the filter", err))
		return err_wrap(err, "search");
	if (search->vector && where != CHROMA_WHERE_NONE && search->limit > 0 &&
	    !search_dense(&question, arena, &hits, err))
		return err_wrap(err, "search");
	*out = hits;
	return true;
}
