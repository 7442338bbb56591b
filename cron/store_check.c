/*
 * Comparing two stores that change while one looks.
 *
 * Order of looking, for each collection: the store's generations (once, at the start), then the reservations, then
 * the documents.
 *  - A generation that no reservation holds at the second look can never be committed any more; if it is not
 *    current at the third look it never will be: garbage, safe to remove. In the other order a commit and a
 *    release between the looks would make a current generation look like garbage.
 *  - A visible generation that the store's list has not, or with another count of chunks, may have been committed or
 *    replaced since: the store is asked for this one generation, then the catalog whether it is still
 *    current. Only a wrong count of a generation that is current before and after is a problem.
 *  - Generations of a collection that is gone are garbage, all of them: a uid never comes back.
 */
#include "cron/store_check.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/catalog.h"
#include "common/catalog_verify.h"

#define PAGE 500
#define PAGE_MAX_BYTES ((size_t)64 << 20)

struct entry {
	struct str uid, document_id, gen; /* arena */
	int64_t chunks;
	bool visible;
};

struct entries {
	struct arena *arena;
	struct entry *items; /* arena */
	size_t count, cap;
};

static bool
out_of_room(const struct arena *arena, struct err *err)
{
	return err_set(err, ERR_TOO_LARGE,
		       "cannot hold the store's list of generations: more than %zu bytes",
		       arena->max_bytes);
}

static bool
copy_str(struct arena *arena, struct str text, struct str *out)
{
	char *copy = arena_strndup(arena, text.ptr, text.len);

	*out = str_make(copy, copy ? text.len : 0);
	return copy != NULL;
}

static bool
entry_add(void *user, const struct store_generation *generation, struct err *err)
{
	struct entries *entries = user;
	struct entry *entry;

	if (entries->count == entries->cap) {
		size_t cap = entries->cap ? entries->cap * 2 : 1024;
		struct entry *grown = arena_array(entries->arena, cap, sizeof(*grown));

		if (!grown)
			return out_of_room(entries->arena, err);
		if (entries->count > 0)
			memcpy(grown, entries->items, entries->count * sizeof(*grown));
		entries->items = grown;
		entries->cap = cap;
	}
	entry = &entries->items[entries->count];
	*entry = (struct entry){ .chunks = generation->chunks };
	/* Neighbours are often of one collection: its uid is kept once. */
	if (entries->count > 0 && str_eq(entry[-1].uid, generation->uid))
		entry->uid = entry[-1].uid;
	else if (!copy_str(entries->arena, generation->uid, &entry->uid))
		return out_of_room(entries->arena, err);
	if (!copy_str(entries->arena, generation->document_id, &entry->document_id) ||
	    !copy_str(entries->arena, generation->gen, &entry->gen))
		return out_of_room(entries->arena, err);
	entries->count++;
	return true;
}

static int
by_place(const void *a, const void *b)
{
	const struct entry *left = a, *right = b;
	int order = str_cmp(left->uid, right->uid);

	if (order == 0)
		order = str_cmp(left->document_id, right->document_id);
	return order ? order : str_cmp(left->gen, right->gen);
}

static void
broken(const struct store_check *check, struct store_checked *out, const struct collection *col,
       const struct document *doc, int64_t chunks)
{
	AUTO(buf) struct buf text = BUF_INIT(2048);

	buf_printf(&text,
		   "collection %s: '" STR_FMT
		   "' generation %s has %lld chunks in the store, the catalog says %lld",
		   col->name, STR_ARG(doc->id), doc->gen, (long long)chunks,
		   (long long)doc->chunks);
	check->problem(check->user, "store", text.data);
	out->problems++;
}

/* The list and the catalog disagree about a visible generation: who is right now? */
static bool
look_again(const struct store_check *check, const struct collection *col,
	   const struct document *doc, struct store_checked *out, struct err *err)
{
	struct str uid = str_of(col->uid);
	struct catalog_current current;
	int64_t chunks;

	if (!check->store->ops->count(check->store, uid, doc->id, str_of(doc->gen), &chunks, err))
		return err_wrap(err, "compare '" STR_FMT "'", STR_ARG(doc->id));
	if (!catalog_current(check->redis, uid, &doc->id, 1, &current, err))
		return false;
	if (chunks != doc->chunks && strcmp(current.gen, doc->gen) == 0)
		broken(check, out, col, doc, chunks);
	return true;
}

static bool
check_page(const struct store_check *check, struct entries *entries, const struct collection *col,
	   const struct document *docs, size_t count, struct store_checked *out, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		const struct entry wanted = { .uid = str_of(col->uid),
					      .document_id = docs[i].id,
					      .gen = str_of(docs[i].gen) };
		struct entry *entry = NULL;

		if (entries->count > 0)
			entry = bsearch(&wanted, entries->items, entries->count, sizeof(wanted),
					by_place);
		out->visible++;
		if (entry)
			entry->visible = true;
		if ((!entry || entry->chunks != docs[i].chunks) &&
		    !look_again(check, col, &docs[i], out, err))
			return false;
	}
	return true;
}

static bool
check_visible(const struct store_check *check, struct entries *entries,
	      const struct collection *col, struct store_checked *out, struct err *err)
{
	AUTO(arena) struct arena page = { .max_bytes = PAGE_MAX_BYTES };
	char after[CATALOG_DOC_ID_MAX_BYTES + 1] = "";
	size_t count = PAGE;

	while (count == PAGE) {
		struct document *docs;

		arena_reset(&page);
		count = PAGE;
		if (!catalog_documents(check->redis, str_of(col->uid), str_of(after), &page, &docs,
				       &count, err) ||
		    !check_page(check, entries, col, docs, count, out, err))
			return false;
		if (count > 0)
			(void)str_copy(after, sizeof(after), docs[count - 1].id);
	}
	return true;
}

static bool
is_reserved(const struct catalog_reserved *reserved, struct str gen)
{
	int64_t seq, epoch;

	return catalog_gen_parse(gen, &seq, &epoch) && catalog_reserved_has(reserved, seq);
}

static bool
remove_entry(const struct store_check *check, const struct entry *entry, struct store_checked *out,
	     struct err *err)
{
	if (!check->store->ops->remove_generation(check->store, entry->uid, entry->document_id,
						  entry->gen, err))
		return err_wrap(err, "remove generation " STR_FMT " of '" STR_FMT "'",
				STR_ARG(entry->gen), STR_ARG(entry->document_id));
	out->removed++;
	return true;
}

/* reserved NULL: the collection is gone, nothing of it will be committed. */
static bool
check_entries(const struct store_check *check, const struct entry *items, size_t count,
	      const struct catalog_reserved *reserved, struct store_checked *out, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		if (items[i].visible)
			continue;
		if (reserved && is_reserved(reserved, items[i].gen)) {
			out->in_flight++;
			continue;
		}
		out->garbage++;
		out->garbage_chunks += items[i].chunks;
		if (check->remove_garbage && reserved && !remove_entry(check, &items[i], out, err))
			return false;
	}
	if (check->remove_garbage && !reserved && count > 0) {
		if (!check->store->ops->remove_collection(check->store, items[0].uid, err))
			return err_wrap(err, "remove collection " STR_FMT, STR_ARG(items[0].uid));
		out->removed += (int64_t)count;
	}
	return true;
}

static bool
check_collection(const struct store_check *check, struct entries *entries,
		 const struct collection *col, struct store_checked *out, struct err *err)
{
	AUTO(arena) struct arena arena = { .max_bytes = (size_t)1 << 30 };
	const struct entry first = { .uid = str_of(col->uid) };
	struct catalog_reserved reserved;
	size_t from = 0, count = 0;

	if (!catalog_reserved(check->redis, str_of(col->uid), &arena, &reserved, err) ||
	    !check_visible(check, entries, col, out, err))
		return false;
	for (size_t to = entries->count; from < to;) {
		size_t mid = from + (to - from) / 2;

		if (by_place(&entries->items[mid], &first) < 0)
			from = mid + 1;
		else
			to = mid;
	}
	while (from + count < entries->count && str_eq(entries->items[from + count].uid, first.uid))
		count++;
	return check_entries(check, entries->items + from, count, &reserved, out, err);
}

/* The collections that the store has and the catalog may not have. */
static bool
check_gone(const struct store_check *check, struct entries *entries, struct store_checked *out,
	   struct err *err)
{
	for (size_t from = 0, count = 0; from < entries->count; from += count) {
		struct collection col;
		struct err local = ERR_INIT;

		for (count = 1; from + count < entries->count &&
				str_eq(entries->items[from + count].uid, entries->items[from].uid);)
			count++;
		if (catalog_get_uid(check->redis, entries->items[from].uid, &col, &local))
			continue; /* a living one: done by name */
		if (local.code != ERR_GONE) {
			*err = local;
			return false;
		}
		if (!check_entries(check, entries->items + from, count, NULL, out, err))
			return false;
	}
	return true;
}

bool
store_check(const struct store_check *check, struct arena *arena, struct store_checked *out,
	    struct err *err)
{
	struct entries entries = { .arena = arena };
	struct store_checked sum = { 0 };
	struct collection *cols;
	size_t count;

	if (!check->store->ops->each_generation(check->store, entry_add, &entries, err))
		return err_wrap(err, "list the store");
	if (entries.count > 0)
		qsort(entries.items, entries.count, sizeof(*entries.items), by_place);
	for (size_t i = 0; i < entries.count; i++) {
		sum.generations++;
		sum.chunks += entries.items[i].chunks;
	}
	if (!catalog_list(check->redis, NULL, arena, &cols, &count, err))
		return err_wrap(err, "compare store");
	for (size_t i = 0; i < count; i++) {
		struct err local = ERR_INIT;

		if (check_collection(check, &entries, &cols[i], &sum, &local))
			continue;
		if (local.code != ERR_GONE) { /* GONE: deleted while we looked */
			*err = local;
			return err_wrap(err, "compare collection '%s'", cols[i].name);
		}
	}
	if (!check_gone(check, &entries, &sum, err))
		return err_wrap(err, "compare store");
	*out = sum;
	return true;
}
