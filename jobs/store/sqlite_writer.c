/*
 * The one writer of this process. SQLite lets one connection write at a time and makes the others poll for
 * it, unfairly; and with synchronous=FULL a commit costs a flush of the disk. So all writes go through one
 * thread, which takes what has queued up meanwhile into one transaction: many callers share one flush.
 *
 * Invariants:
 *  1. A caller returns from sqlite_write only when its transaction is committed (and flushed) or undone.
 *  2. Each write runs in a savepoint: one that fails is undone alone, and only its caller hears of it.
 *  3. If SQLite undoes the whole transaction (disk full, I/O error) or COMMIT fails, nothing of it happened;
 *     when it held several writes, each is tried once more in a transaction of its own, so that one that
 *     does not fit does not fail the others.
 *  4. Everything about a write, its caller's strings included, stays alive because its caller waits.
 *
 * Chunk ids of a generation are consecutive, because no one else can insert during the transaction; the
 * writer checks it.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "jobs/store/sqlite_store.h"
#include "jobs/store/sqlite_words.h"

#define GROUP_MAX 64		    /* writes in one transaction */
#define REMOVAL_KEEP_VERSIONS 10000 /* a vector copy further behind is loaded anew */
#define SQL_BYTES 512

bool
sqlite_gen_seq(struct str gen, int64_t *out_seq, struct err *err)
{
	struct str rest = gen, seq = STR("");
	int64_t epoch = 0;

	if (!str_split(&rest, '.', &seq) || !str_to_i64(seq, 0, INT64_MAX, out_seq) ||
	    !str_to_i64(rest, 0, INT64_MAX, &epoch))
		return err_set(err, ERR_INVALID, "generation '" STR_FMT "' is not <seq>.<epoch>",
			       STR_ARG(gen));
	return true;
}

/* ---- collections ---- */

bool
sqlite_find_collection(struct db *db, struct str uid, struct sqlite_collection *out,
		       struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;
	bool row = false;

	if (!db_prepare(db, "SELECT id, version, log_floor, dim FROM collection WHERE uid = ?1",
			&statement, err))
		return false;
	db_bind_str(db, statement, 1, uid);
	if (!db_step(db, statement, &row, err))
		return false;
	*out = (struct sqlite_collection){ 0 };
	if (row)
		*out = (struct sqlite_collection){ db_i64(statement, 0), db_i64(statement, 1),
						   db_i64(statement, 2),
						   (size_t)db_i64(statement, 3) };
	return true;
}

/* Runs sql (no rows) with the given integers as parameters 1... */
static bool
run_i64(struct db *db, const char *sql, const int64_t *values, int count, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;

	if (!db_prepare(db, sql, &statement, err))
		return false;
	for (int i = 0; i < count; i++)
		db_bind_i64(db, statement, i + 1, values[i]);
	return db_run(db, statement, err);
}

/* The same with the collection's id put into the names of tables. */
static bool
run_named(struct db *db, const char *format, int64_t collection, const int64_t *values, int count,
	  struct err *err)
{
	struct buf sql = BUF_INIT(SQL_BYTES);
	struct str rest = str_of(format), piece = STR("");

	while (str_split(&rest, '#', &piece)) {
		buf_add(&sql, piece.ptr, piece.len);
		if (rest.len > 0)
			buf_add_i64(&sql, collection);
	}

	bool ok = buf_check(&sql, "a statement", err) && run_i64(db, sql.data, values, count, err);

	buf_release(&sql);
	return ok;
}

static bool
add_collection(struct db *db, const struct store_document *document, struct sqlite_collection *out,
	       struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;

	if (!db_prepare(db, "INSERT INTO collection (uid, dim) VALUES (?1, ?2)", &statement, err))
		return false;
	db_bind_str(db, statement, 1, document->uid);
	db_bind_i64(db, statement, 2, (int64_t)document->dim);
	return db_run(db, statement, err) && sqlite_find_collection(db, document->uid, out, err) &&
	       sqlite_words_create(db, out->id, err);
}

/* A change of the collection: its version, and what falls out of the removal log with it. */
static bool
raise_version(struct db *db, struct sqlite_collection *collection, struct err *err)
{
	collection->version++;

	int64_t floor = collection->version - REMOVAL_KEEP_VERSIONS;
	int64_t values[] = { collection->id, collection->version, floor };

	if (floor <= collection->log_floor)
		return run_i64(db, "UPDATE collection SET version = ?2 WHERE id = ?1", values, 2,
			       err);
	collection->log_floor = floor;
	return run_i64(db, "UPDATE collection SET version = ?2, log_floor = ?3 WHERE id = ?1",
		       values, 3, err) &&
	       run_i64(db, "DELETE FROM removal WHERE collection = ?1 AND version <= ?3", values, 3,
		       err);
}

/* ---- removing ---- */

struct generation_row {
	int64_t id;
	struct row_range rows;
};

/* collection->version must have been raised for this change. */
static bool
remove_rows(struct db *db, const struct sqlite_collection *collection,
	    const struct generation_row *generation, struct err *err)
{
	int64_t rows[] = { generation->rows.first, generation->rows.last };
	int64_t log[] = { collection->id, collection->version, rows[0], rows[1] };

	/* the index has no copy of the text: it is told the words to take out */
	return run_named(db,
			 "INSERT INTO words_# (words_#, rowid, title, heading, text) "
			 "SELECT 'delete', c.id, g.title, c.heading, c.text FROM chunk c "
			 "JOIN generation g ON g.id = c.generation WHERE c.id BETWEEN ?1 AND ?2 ",
			 collection->id, rows, 2, err) &&
	       run_i64(db, "DELETE FROM vector WHERE id BETWEEN ?1 AND ?2", rows, 2, err) &&
	       run_i64(db, "DELETE FROM chunk WHERE id BETWEEN ?1 AND ?2", rows, 2, err) &&
	       run_i64(db, "DELETE FROM attribute WHERE generation = ?1", &generation->id, 1,
		       err) &&
	       run_i64(db, "DELETE FROM generation WHERE id = ?1", &generation->id, 1, err) &&
	       run_i64(db, "INSERT INTO removal VALUES (?1, ?2, ?3, ?4)", log, 4, err);
}

/* The next generation that `statement` finds; *out_row false when there is none left. The statement is
 * reset, so that its rows may be deleted. */
static bool
next_generation(struct db *db, struct sqlite3_stmt *statement, struct generation_row *out,
		bool *out_row, struct err *err)
{
	if (!db_step(db, statement, out_row, err))
		return false;
	if (*out_row)
		*out = (struct generation_row){ db_i64(statement, 0),
						{ db_i64(statement, 1), db_i64(statement, 2) } };
	db_reset(statement);
	return true;
}

static bool
remove_found(struct db *db, struct sqlite_collection *collection, struct sqlite3_stmt *statement,
	     struct err *err)
{
	struct generation_row generation = { 0 };
	bool row = false, raised = false;

	while (next_generation(db, statement, &generation, &row, err)) {
		if (!row)
			return true;
		if (!raised && !raise_version(db, collection, err))
			return false;
		raised = true;
		if (!remove_rows(db, collection, &generation, err))
			return false;
	}
	return false;
}

static bool
remove_generation(struct db *db, struct sqlite_collection *collection, struct str document_id,
		  struct str gen, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;

	if (!db_prepare(db,
			"SELECT id, first_row, last_row FROM generation "
			"WHERE collection = ?1 AND document_id = ?2 AND gen = ?3",
			&statement, err))
		return false;
	db_bind_i64(db, statement, 1, collection->id);
	db_bind_str(db, statement, 2, document_id);
	db_bind_str(db, statement, 3, gen);
	return remove_found(db, collection, statement, err);
}

static bool
remove_older(struct db *db, struct sqlite_collection *collection, const struct write *write,
	     struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;

	if (!db_prepare(db,
			"SELECT id, first_row, last_row FROM generation WHERE collection = ?1 "
			"AND document_id = ?2 AND seq < ?3 AND gen <> ?4",
			&statement, err))
		return false;
	db_bind_i64(db, statement, 1, collection->id);
	db_bind_str(db, statement, 2, write->document_id);
	db_bind_i64(db, statement, 3, write->below_seq);
	db_bind_str(db, statement, 4, write->gen);
	return remove_found(db, collection, statement, err);
}

static bool
remove_chunks_of_all(struct db *db, int64_t collection, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *each = NULL;
	AUTO_PTR(db_finish) struct sqlite3_stmt *drop = NULL;
	bool row = false;

	if (!db_prepare(db, "SELECT first_row, last_row FROM generation WHERE collection = ?1",
			&each, err) ||
	    !db_prepare(db, "DELETE FROM chunk WHERE id BETWEEN ?1 AND ?2", &drop, err))
		return false;
	db_bind_i64(db, each, 1, collection);
	for (;;) {
		if (!db_step(db, each, &row, err))
			return false;
		if (!row)
			return true;
		db_bind_i64(db, drop, 1, db_i64(each, 0));
		db_bind_i64(db, drop, 2, db_i64(each, 1));
		if (!db_run(db, drop, err))
			return false;
	}
}

static bool
remove_collection(struct db *db, int64_t id, struct err *err)
{
	static const char *const tables[] = {
		"DELETE FROM vector WHERE collection = ?1",
		"DELETE FROM attribute WHERE collection = ?1",
		"DELETE FROM generation WHERE collection = ?1",
		"DELETE FROM removal WHERE collection = ?1",
		"DELETE FROM collection WHERE id = ?1",
	};

	if (!remove_chunks_of_all(db, id, err) ||
	    !run_named(db, "DROP TABLE words_# ", id, NULL, 0, err))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		if (!run_i64(db, tables[i], &id, 1, err))
			return false;
	}
	return true;
}

/* ---- putting ---- */

static bool
insert_vectors_and_words(struct db *db, const struct sqlite_collection *collection,
			 const struct store_document *document, int64_t first_row, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *vector = NULL;
	AUTO_PTR(db_finish) struct sqlite3_stmt *words = NULL;
	char sql[SQL_BYTES];

	(void)snprintf(
		sql, sizeof(sql),
		"INSERT INTO words_%lld (rowid, title, heading, text) VALUES (?1, ?2, ?3, ?4)",
		(long long)collection->id);
	if (!db_prepare(db, "INSERT INTO vector VALUES (?1, ?2, ?3)", &vector, err) ||
	    !db_prepare(db, sql, &words, err))
		return false;
	for (size_t i = 0; i < document->count; i++) {
		const struct store_chunk *chunk = &document->chunks[i];
		int64_t row = first_row + (int64_t)i;

		db_bind_i64(db, vector, 1, row);
		db_bind_i64(db, vector, 2, collection->id);
		db_bind_blob(db, vector, 3, chunk->vector, document->dim * sizeof(float));
		db_bind_i64(db, words, 1, row);
		db_bind_str(db, words, 2, document->title);
		db_bind_str(db, words, 3, chunk->heading);
		db_bind_str(db, words, 4, chunk->text);
		if (!db_run(db, vector, err) || !db_run(db, words, err))
			return false;
	}
	return true;
}

static bool
next_row(struct db *db, const char *table, int64_t *out, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;
	bool row = false;

	if (!db_prepare(db, "SELECT seq FROM sqlite_sequence WHERE name = ?1", &statement, err))
		return false;
	db_bind_str(db, statement, 1, str_of(table));
	if (!db_step(db, statement, &row, err))
		return false;
	*out = row ? db_i64(statement, 0) + 1 : 1;
	return true;
}

/* AUTOINCREMENT remembers the greatest id given here, so the ids ascend for ever. */
static bool
insert_chunks(struct db *db, const struct store_document *document,
	      const struct generation_row *generation, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;

	if (!db_prepare(db, "INSERT INTO chunk VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", &statement,
			err))
		return false;
	for (size_t i = 0; i < document->count; i++) {
		const struct store_chunk *chunk = &document->chunks[i];

		db_bind_i64(db, statement, 1, generation->rows.first + (int64_t)i);
		db_bind_i64(db, statement, 2, generation->id);
		db_bind_i64(db, statement, 3, chunk->ordinal);
		db_bind_i64(db, statement, 4, chunk->start);
		db_bind_i64(db, statement, 5, chunk->end);
		db_bind_i64(db, statement, 6, chunk->page);
		db_bind_str(db, statement, 7, chunk->heading);
		db_bind_str(db, statement, 8, chunk->text);
		if (!db_run(db, statement, err))
			return false;
	}
	return true;
}

static bool
insert_generation(struct db *db, const struct sqlite_collection *collection,
		  const struct store_document *document, int64_t seq,
		  const struct generation_row *generation, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;

	if (!db_prepare(db,
			"INSERT INTO generation VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
			&statement, err))
		return false;
	db_bind_i64(db, statement, 1, generation->id);
	db_bind_i64(db, statement, 2, collection->id);
	db_bind_str(db, statement, 3, document->document_id);
	db_bind_str(db, statement, 4, document->gen);
	db_bind_i64(db, statement, 5, seq);
	db_bind_i64(db, statement, 6, generation->rows.first);
	db_bind_i64(db, statement, 7, generation->rows.last);
	db_bind_str(db, statement, 8, document->title);
	db_bind_str(db, statement, 9, document->uri);
	db_bind_str(db, statement, 10, document->metadata);
	return db_run(db, statement, err);
}

/* Takes the metadata apart: top-level scalars, and the scalars of top-level lists. */
static bool
insert_attributes(struct db *db, const struct sqlite_collection *collection,
		  const struct store_document *document, int64_t generation, struct err *err)
{
	static const char sql[] =
		"WITH item (key, type, atom) AS ("
		" SELECT key, type, atom FROM json_each(?3) UNION ALL"
		" SELECT m.key, i.type, i.atom FROM json_each(?3) m, json_each(m.value) i"
		" WHERE m.type = 'array')"
		"INSERT OR IGNORE INTO attribute SELECT ?1, key, CASE type WHEN 'text' THEN 's'"
		" WHEN 'null' THEN 'z' WHEN 'integer' THEN 'n' WHEN 'real' THEN 'n' ELSE 'b' END,"
		" ifnull(atom, 0), ?2 FROM item WHERE type NOT IN ('object', 'array')";
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;

	if (document->metadata.len == 0)
		return true;
	if (!db_prepare(db, sql, &statement, err))
		return false;
	db_bind_i64(db, statement, 1, collection->id);
	db_bind_i64(db, statement, 2, generation);
	db_bind_str(db, statement, 3, document->metadata);
	return db_run(db, statement, err) || err_wrap(err, "metadata");
}

static bool
put(struct db *db, const struct store_document *document, struct err *err)
{
	struct sqlite_collection collection = { 0 };
	struct generation_row generation = { 0 };
	int64_t seq = 0;

	if (!sqlite_gen_seq(document->gen, &seq, err) ||
	    !sqlite_find_collection(db, document->uid, &collection, err))
		return false;
	if (collection.id == 0 && !add_collection(db, document, &collection, err))
		return false;
	if (collection.dim != document->dim)
		return err_set(err, ERR_EMBEDDER_MISMATCH,
			       "cannot store vectors of %zu dimensions: the collection has %zu",
			       document->dim, collection.dim);
	if (!remove_generation(db, &collection, document->document_id, document->gen, err) ||
	    !raise_version(db, &collection, err) ||
	    !next_row(db, "generation", &generation.id, err) ||
	    !next_row(db, "chunk", &generation.rows.first, err))
		return false;
	generation.rows.last = generation.rows.first + (int64_t)document->count - 1;
	return insert_generation(db, &collection, document, seq, &generation, err) &&
	       insert_attributes(db, &collection, document, generation.id, err) &&
	       insert_chunks(db, document, &generation, err) &&
	       insert_vectors_and_words(db, &collection, document, generation.rows.first, err);
}

/* ---- the thread ---- */

static bool
run_write(struct db *db, struct write *write, struct err *err)
{
	struct sqlite_collection collection = { 0 };

	if (write->kind == WRITE_PUT)
		return put(db, write->document, err);
	if (!sqlite_find_collection(db, write->uid, &collection, err))
		return false;
	if (collection.id == 0)
		return true;
	switch (write->kind) {
	case WRITE_REMOVE_GENERATION:
		return remove_generation(db, &collection, write->document_id, write->gen, err);
	case WRITE_REMOVE_OLDER:
		return remove_older(db, &collection, write, err);
	case WRITE_REMOVE_COLLECTION:
		return remove_collection(db, collection.id, err);
	case WRITE_PUT:
		break;
	}
	return true;
}

/* false: the whole transaction is gone, with the reason in *err */
static bool
run_saved(struct db *db, struct write *write, struct err *err)
{
	if (!db_exec(db, "SAVEPOINT one", err))
		return false;
	write->ok = run_write(db, write, write->err);
	if (!write->ok && !db_in_transaction(db)) {
		*err = *write->err;
		return false;
	}
	if (!write->ok && !db_exec(db, "ROLLBACK TO one", err))
		return false;
	return db_exec(db, "RELEASE one", err);
}

/* false: nothing of it happened, with the reason in *err */
static bool
run_transaction(struct db *db, struct write *first, struct err *err)
{
	if (!db_exec(db, "BEGIN IMMEDIATE", err))
		return false;
	for (struct write *write = first; write; write = write->next) {
		if (!run_saved(db, write, err)) {
			db_rollback(db);
			return false;
		}
	}
	if (!db_exec(db, "COMMIT", err)) {
		db_rollback(db);
		return false;
	}
	return true;
}

static void
run_group(struct db *db, struct write *first)
{
	struct err err = ERR_INIT;

	if (run_transaction(db, first, &err))
		return;
	if (!first->next || err.code == ERR_STORE_UNAVAILABLE) {
		for (struct write *write = first; write; write = write->next) {
			write->ok = false;
			*write->err = err;
		}
		return;
	}
	for (struct write *write = first, *next = NULL; write; write = next) {
		next = write->next;
		write->next = NULL;
		run_group(db, write);
		write->next = next;
	}
}

/* Cuts a group off the queue; NULL: stop. */
static struct write *
take_group(struct sqlite_store *store)
{
	while (!store->first && !store->stop)
		(void)pthread_cond_wait(&store->more, &store->lock);

	struct write *first = store->first, *end = first;

	if (!first)
		return NULL;
	for (size_t i = 1; i < GROUP_MAX && end->next; i++)
		end = end->next;
	store->first = end->next;
	if (!store->first)
		store->last = &store->first;
	end->next = NULL;
	return first;
}

static void *
writer_main(void *user)
{
	struct sqlite_store *store = user;
	struct write *first = NULL;

	(void)pthread_mutex_lock(&store->lock);
	while ((first = take_group(store))) {
		(void)pthread_mutex_unlock(&store->lock);
		run_group(&store->db, first);
		(void)pthread_mutex_lock(&store->lock);
		/* once done, a write may be gone with its caller's stack */
		for (struct write *next = NULL; first; first = next) {
			next = first->next;
			first->done = true;
		}
		(void)pthread_cond_broadcast(&store->done);
	}
	(void)pthread_mutex_unlock(&store->lock);
	return NULL;
}

bool
sqlite_writer_start(struct sqlite_store *store, struct err *err)
{
	store->last = &store->first;

	int code = pthread_create(&store->writer, NULL, writer_main, store);

	return code == 0 || err_errno(err, code, "start the store's writer thread");
}

void
sqlite_writer_stop(struct sqlite_store *store)
{
	(void)pthread_mutex_lock(&store->lock);
	store->stop = true;
	(void)pthread_cond_signal(&store->more);
	(void)pthread_mutex_unlock(&store->lock);
	(void)pthread_join(store->writer, NULL);
}

bool
sqlite_write(struct sqlite_store *store, struct write *write, struct err *err)
{
	struct err failure = ERR_INIT;

	write->err = &failure;
	write->next = NULL;
	(void)pthread_mutex_lock(&store->lock);
	*store->last = write;
	store->last = &write->next;
	(void)pthread_cond_signal(&store->more);
	while (!write->done)
		(void)pthread_cond_wait(&store->done, &store->lock);
	(void)pthread_mutex_unlock(&store->lock);
	if (!write->ok)
		*err = failure;
	return write->ok;
}
