/*
 * A search is one read transaction: the dense leg, the lexical leg and the texts of the hits all come from
 * the same state of the file. The filter is resolved first, to ranges of rows; both legs pick their best
 * among those, so a narrow filter does not starve them.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "jobs/store/sqlite_store.h"
#include "jobs/store/sqlite_words.h"

#define SQL_MAX_BYTES ((size_t)256 * 1024) /* FILTER_MAX_NODES conditions fit */

/* ---- the rows a filter allows ---- */

static bool
add_range(struct row_range **ranges, size_t *count, size_t *room, struct row_range range,
	  struct arena *arena, struct err *err)
{
	if (*count > 0 && (*ranges)[*count - 1].last + 1 == range.first) {
		(*ranges)[*count - 1].last = range.last;
		return true;
	}
	if (*count == *room) {
		void *more = NULL;

		*room = *room > 0 ? 2 * *room : 64;
		if (!arena_alloc_err(arena, *room * sizeof(**ranges), "the filter's rows", &more,
				     err))
			return false;
		if (*count > 0)
			memcpy(more, *ranges, *count * sizeof(**ranges));
		*ranges = more;
	}
	(*ranges)[(*count)++] = range;
	return true;
}

static bool
read_ranges(struct db *db, struct sqlite3_stmt *statement, struct arena *arena, struct row_set *out,
	    struct err *err)
{
	struct row_range *ranges = NULL;
	size_t count = 0, room = 0;
	bool row = false;

	while (db_step(db, statement, &row, err)) {
		if (!row) {
			*out = (struct row_set){ ranges, count, false };
			return true;
		}

		struct row_range range = { db_i64(statement, 0), db_i64(statement, 1) };

		if (!add_range(&ranges, &count, &room, range, arena, err))
			return false;
	}
	return false;
}

bool
sqlite_allowed_rows(struct db *db, int64_t collection, const struct filter *filter,
		    struct arena *arena, struct row_set *out, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;
	AUTO(buf) struct buf sql = BUF_INIT(SQL_MAX_BYTES);

	if (!filter) {
		*out = (struct row_set){ .all = true };
		return true;
	}
	buf_add_str(&sql,
		    "SELECT first_row, last_row FROM generation g WHERE first_row <= last_row "
		    "AND ");
	/* a plus keeps the planner from the index of the collection's generations */
	buf_add_str(&sql, sqlite_filter_narrows(filter) ? "+collection = ?1 AND "
							: "collection = ?1 AND ");
	sqlite_filter_sql(filter, &sql);
	buf_add_str(&sql, " ORDER BY first_row");
	if (!buf_check(&sql, "the filter", err) || !db_prepare(db, sql.data, &statement, err))
		return false;
	db_bind_i64(db, statement, 1, collection);
	sqlite_filter_bind(filter, db, statement);
	return read_ranges(db, statement, arena, out, err);
}

/* ---- the lexical leg ---- */

static bool
search_phrases(struct db *db, const struct sqlite_collection *collection,
	       const struct words_question *question, const struct row_set *set,
	       struct best_rows *best, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;
	long long id = (long long)collection->id;
	char sql[192];
	bool row = false;

	(void)snprintf(sql, sizeof(sql),
		       "SELECT rowid, " SQLITE_WORDS_RANK
		       "(words_%lld, ?4) FROM words_%lld WHERE words_%lld MATCH ?1 "
		       "AND rowid BETWEEN ?2 AND ?3",
		       id, id, id);
	if (!db_prepare(db, sql, &statement, err))
		return false;
	db_bind_str(db, statement, 1, str_make(question->match.data, question->match.len));
	db_bind_i64(db, statement, 2, set->all ? 0 : set->ranges[0].first);
	db_bind_i64(db, statement, 3, set->all ? INT64_MAX : set->ranges[set->count - 1].last);
	sqlite_words_bind(db, statement, 4, question);
	while (db_step(db, statement, &row, err)) {
		if (!row)
			return true;

		int64_t at = db_i64(statement, 0);

		if (row_set_has(set, at))
			best_rows_offer(best, at, (float)db_f64(statement, 1));
	}
	return false;
}

static bool
search_words(struct db *db, const struct sqlite_collection *collection,
	     const struct store_search *search, const struct row_set *set, struct best_rows *best,
	     struct err *err)
{
	AUTO(words_question) struct words_question question = { .count = 0 };
	bool any = false;

	if (!set->all && set->count == 0)
		return true;
	if (!sqlite_words_question(db, search->text, search->weights, &question, &any, err))
		return false;
	return !any || search_phrases(db, collection, &question, set, best, err);
}

/* ---- the hits ---- */

static bool
copy_str(struct arena *arena, struct str value, struct str *out)
{
	const char *copy = arena_strndup(arena, value.ptr, value.len);

	*out = str_make(copy, copy ? value.len : 0);
	return copy != NULL;
}

static bool
read_hit(struct sqlite3_stmt *statement, struct arena *arena, struct store_hit *hit,
	 struct err *err)
{
	struct str *const texts[] = { &hit->document_id, &hit->gen,	&hit->title, &hit->uri,
				      &hit->metadata,	 &hit->heading, &hit->text };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (!copy_str(arena, db_str(statement, (int)i), texts[i]))
			return err_set(err, ERR_TOO_LARGE,
				       "cannot hold search hits: more than %zu bytes of working "
				       "memory",
				       arena->max_bytes);
	}
	hit->ordinal = db_i64(statement, 7);
	hit->start = db_i64(statement, 8);
	hit->end = db_i64(statement, 9);
	hit->page = db_i64(statement, 10);
	return true;
}

/* Copies what an earlier leg has read of the row already. */
static bool
reuse_hit(const struct store_hit *earlier, size_t count, struct store_hit *hit)
{
	for (size_t i = 0; i < count; i++) {
		if (earlier[i].row != hit->row)
			continue;

		float score = hit->score;

		*hit = earlier[i];
		hit->score = score;
		return true;
	}
	return false;
}

struct hit_list {
	struct store_hit *hits;
	size_t count;
};

static bool
read_hits(struct db *db, const struct best_rows *best, const struct hit_list *earlier,
	  struct arena *arena, struct hit_list *out, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;
	void *hits = NULL;

	if (!arena_alloc_err(arena, best->count * sizeof(struct store_hit), "search hits", &hits,
			     err) ||
	    !db_prepare(
		    db,
		    "SELECT g.document_id, g.gen, g.title, g.uri, g.metadata, c.heading, c.text, "
		    "c.ordinal, c.start_byte, c.end_byte, c.page FROM chunk c "
		    "JOIN generation g ON g.id = c.generation WHERE c.id = ?1",
		    &statement, err))
		return false;
	*out = (struct hit_list){ hits, 0 };
	for (size_t i = 0; i < best->count; i++) {
		struct store_hit *hit = &out->hits[out->count];
		bool row = false;

		*hit = (struct store_hit){ .row = best->items[i].row,
					   .score = best->items[i].score };
		if (reuse_hit(earlier->hits, earlier->count, hit)) {
			out->count++;
			continue;
		}
		db_bind_i64(db, statement, 1, hit->row);
		if (!db_step(db, statement, &row, err) ||
		    (row && !read_hit(statement, arena, hit, err)))
			return false;
		db_reset(statement);
		out->count += row;
	}
	return true;
}

/* ---- both legs, inside the transaction ---- */

struct search_run {
	struct sqlite_store *store;
	const struct store_search *search;
	struct arena *arena;
	struct db *db;
};

static bool
run_legs(const struct search_run *run, struct store_hits *out, struct err *err)
{
	struct best_rows dense_best = { 0 }, lexical_best = { 0 };
	struct sqlite_collection collection = { 0 };
	struct row_set set = { .all = true };
	struct dense_search dense = { run->search, &collection, run->arena, &set, &dense_best };
	const struct hit_list none = { NULL, 0 };
	struct hit_list dense_hits = none, lexical_hits = none;

	if (!best_rows_init(&dense_best, run->search->limit, run->arena, err) ||
	    !best_rows_init(&lexical_best, run->search->limit, run->arena, err) ||
	    !sqlite_find_collection(run->db, run->search->uid, &collection, err))
		return false;
	if (collection.id != 0 && run->search->vector) {
		if (!sqlite_search_dense(run->store, run->db, &dense, err))
			return false;
	} else if (collection.id != 0 &&
		   !sqlite_allowed_rows(run->db, collection.id, run->search->filter, run->arena,
					&set, err)) {
		return false;
	}
	if (collection.id != 0 && run->search->lexical &&
	    !search_words(run->db, &collection, run->search, &set, &lexical_best, err))
		return false;
	best_rows_sort(&dense_best);
	best_rows_sort(&lexical_best);
	if (!read_hits(run->db, &dense_best, &none, run->arena, &dense_hits, err) ||
	    !read_hits(run->db, &lexical_best, &dense_hits, run->arena, &lexical_hits, err))
		return false;
	*out = (struct store_hits){ .dense = dense_hits.hits,
				    .lexical = lexical_hits.hits,
				    .dense_count = dense_hits.count,
				    .lexical_count = lexical_hits.count,
				    .dense_more = dense_best.more,
				    .lexical_more = lexical_best.more };
	return true;
}

bool
sqlite_search(struct store *store, const struct store_search *search, struct arena *arena,
	      struct store_hits *out, struct err *err)
{
	struct sqlite_store *self = (struct sqlite_store *)store;
	struct db db = { 0 };

	if (!sqlite_reader_take(self, &db, err))
		return false;

	struct search_run run = { self, search, arena, &db };
	bool ok = db_exec(&db, "BEGIN", err) && run_legs(&run, out, err);

	db_rollback(&db);
	sqlite_reader_give(self, &db);
	return ok || err_wrap(err, "search");
}
