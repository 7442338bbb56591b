/*
 * The sqlite store: one file <DATA_DIR>/rag.db for one machine. Several processes may use it at a time.
 *
 *	sqlite_db.c	 connections, schema, error codes
 *	sqlite_writer.c	 the writer thread and all changes
 *	sqlite_search.c	 searching: sqlite_filter.c, sqlite_words.c, sqlite_vectors.c (-> vectors.c)
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/mem.h"
#include "jobs/store/sqlite_store.h"

#define FILE_NAME "rag.db"
#define PATH_BYTES 4224

/* ---- connections for reading ---- */

bool
sqlite_reader_take(struct sqlite_store *store, struct db *out, struct err *err)
{
	bool found = false;

	(void)pthread_mutex_lock(&store->readers_lock);
	if (store->idle_count > 0) {
		*out = store->idle[--store->idle_count];
		found = true;
	}
	(void)pthread_mutex_unlock(&store->readers_lock);
	return found || db_open(out, store->path, true, err);
}

void
sqlite_reader_give(struct sqlite_store *store, struct db *db)
{
	bool kept = false;

	(void)pthread_mutex_lock(&store->readers_lock);
	if (store->idle_count < SQLITE_IDLE_READERS) {
		store->idle[store->idle_count++] = *db;
		kept = true;
	}
	(void)pthread_mutex_unlock(&store->readers_lock);
	if (!kept)
		db_close(db);
}

/* ---- life ---- */

/* Makes the folder and those above it. */
static bool
make_folder(const char *path, struct err *err)
{
	char part[PATH_BYTES];

	if (!str_copy(part, sizeof(part), str_of(path)))
		return err_set(err, ERR_CONFIG, "DATA_DIR is longer than %d bytes", PATH_BYTES);
	for (size_t i = 1;; i++) {
		char c = part[i];

		if (c != '/' && c != '\0')
			continue;
		part[i] = '\0';
		if (mkdir(part, 0700) != 0 && errno != EEXIST)
			return err_errno(err, errno, "make the folder '%s'", part);
		part[i] = c;
		if (c == '\0')
			return true;
	}
}

static void
store_release(struct sqlite_store *store)
{
	for (size_t i = 0; i < store->idle_count; i++)
		db_close(&store->idle[i]);
	db_close(&store->db); /* last, so that it folds the log back into the file */
	sqlite_vectors_release(store);
	(void)pthread_mutex_destroy(&store->lock);
	(void)pthread_mutex_destroy(&store->readers_lock);
	(void)pthread_mutex_destroy(&store->copies_lock);
	(void)pthread_cond_destroy(&store->more);
	(void)pthread_cond_destroy(&store->done);
	mem_free(store->path);
	mem_free(store);
}

static void
sqlite_close(struct store *store)
{
	struct sqlite_store *self = (struct sqlite_store *)store;

	sqlite_writer_stop(self);
	store_release(self);
}

static bool
sqlite_open(const struct config *config, struct store **out, struct err *err)
{
	char path[PATH_BYTES + sizeof(FILE_NAME) + 1];
	const char *folder = config->data_dir[0] ? config->data_dir : ".";

	if (!make_folder(folder, err))
		return false;
	(void)snprintf(path, sizeof(path), "%s/%s", folder, FILE_NAME);

	struct sqlite_store *store = mem_alloc(sizeof(*store));

	store->store.ops = &sqlite_store_ops;
	store->path = mem_strdup(path);
	store->max_copy_bytes = (size_t)config->vector_cache_bytes;
	(void)pthread_mutex_init(&store->lock, NULL);
	(void)pthread_mutex_init(&store->readers_lock, NULL);
	(void)pthread_mutex_init(&store->copies_lock, NULL);
	(void)pthread_cond_init(&store->more, NULL);
	(void)pthread_cond_init(&store->done, NULL);
	if (!db_open(&store->db, store->path, false, err) || !db_prepare_schema(&store->db, err) ||
	    !sqlite_writer_start(store, err)) {
		store_release(store);
		return err_wrap(err, "store '%s'", path);
	}
	*out = &store->store;
	return true;
}

/* ---- writing ---- */

static bool
sqlite_put(struct store *store, const struct store_document *document, struct err *err)
{
	struct write write = { .kind = WRITE_PUT, .document = document };

	return sqlite_write((struct sqlite_store *)store, &write, err) ||
	       err_wrap(err, "store the document");
}

static bool
sqlite_remove_generation(struct store *store, struct str uid, struct str document_id,
			 struct str gen, struct err *err)
{
	struct write write = {
		.kind = WRITE_REMOVE_GENERATION, .uid = uid, .document_id = document_id, .gen = gen
	};

	return sqlite_write((struct sqlite_store *)store, &write, err) ||
	       err_wrap(err, "remove chunks");
}

static bool
sqlite_remove_older(struct store *store, struct str uid, struct str document_id, int64_t below_seq,
		    struct str keep_gen, struct err *err)
{
	struct write write = { .kind = WRITE_REMOVE_OLDER,
			       .uid = uid,
			       .document_id = document_id,
			       .gen = keep_gen,
			       .below_seq = below_seq };

	return sqlite_write((struct sqlite_store *)store, &write, err) ||
	       err_wrap(err, "remove old chunks");
}

static bool
sqlite_remove_collection(struct store *store, struct str uid, struct err *err)
{
	struct write write = { .kind = WRITE_REMOVE_COLLECTION, .uid = uid };

	return sqlite_write((struct sqlite_store *)store, &write, err) ||
	       err_wrap(err, "remove the collection's chunks");
}

/* ---- reading ---- */

static bool
count_chunks(struct db *db, const struct str names[3], int64_t *out, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;
	bool row = false;

	if (!db_prepare(db,
			"SELECT count(c.id) FROM collection l "
			"JOIN generation g ON g.collection = l.id "
			"JOIN chunk c ON c.id BETWEEN g.first_row AND g.last_row "
			"WHERE l.uid = ?1 AND g.document_id = ?2 AND g.gen = ?3",
			&statement, err))
		return false;
	for (int i = 0; i < 3; i++)
		db_bind_str(db, statement, i + 1, names[i]);
	if (!db_step(db, statement, &row, err))
		return false;
	*out = row ? db_i64(statement, 0) : 0;
	return true;
}

static bool
sqlite_count(struct store *store, struct str uid, struct str document_id, struct str gen,
	     int64_t *out_chunks, struct err *err)
{
	struct sqlite_store *self = (struct sqlite_store *)store;
	const struct str names[3] = { uid, document_id, gen };
	struct db db = { 0 };

	if (!sqlite_reader_take(self, &db, err))
		return false;

	bool ok = count_chunks(&db, names, out_chunks, err);

	sqlite_reader_give(self, &db);
	return ok || err_wrap(err, "count chunks");
}

typedef bool (*generation_fn)(void *user, const struct store_generation *generation,
			      struct err *err);

static bool
walk_generations(struct db *db, generation_fn fn, void *user, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;
	bool row = false;

	if (!db_prepare(db,
			"SELECT l.uid, g.document_id, g.gen, (SELECT count(*) FROM chunk c "
			"WHERE c.id BETWEEN g.first_row AND g.last_row) "
			"FROM generation g JOIN collection l ON l.id = g.collection ORDER BY g.id",
			&statement, err))
		return false;
	while (db_step(db, statement, &row, err)) {
		if (!row)
			return true;

		struct store_generation generation = { db_str(statement, 0), db_str(statement, 1),
						       db_str(statement, 2), db_i64(statement, 3) };

		if (!fn(user, &generation, err))
			return false;
	}
	return false;
}

static bool
sqlite_each_generation(struct store *store, generation_fn fn, void *user, struct err *err)
{
	struct sqlite_store *self = (struct sqlite_store *)store;
	struct db db = { 0 };

	if (!sqlite_reader_take(self, &db, err))
		return false;

	bool ok = walk_generations(&db, fn, user, err);

	sqlite_reader_give(self, &db);
	return ok;
}

static bool
sqlite_ping(struct store *store, struct err *err)
{
	struct sqlite_store *self = (struct sqlite_store *)store;
	struct sqlite_collection collection = { 0 };
	struct db db = { 0 };

	if (!sqlite_reader_take(self, &db, err))
		return false;

	bool ok = sqlite_find_collection(&db, STR(""), &collection, err);

	sqlite_reader_give(self, &db);
	return ok;
}

const struct store_ops sqlite_store_ops = {
	.name = "sqlite",
	.caps = STORE_CAP_DENSE | STORE_CAP_LEXICAL | STORE_CAP_SNAPSHOT | STORE_CAP_EXACT,
	.open = sqlite_open,
	.close = sqlite_close,
	.put = sqlite_put,
	.search = sqlite_search,
	.count = sqlite_count,
	.remove_generation = sqlite_remove_generation,
	.remove_older = sqlite_remove_older,
	.remove_collection = sqlite_remove_collection,
	.each_generation = sqlite_each_generation,
	.ping = sqlite_ping,
};
