/*
 * Copies of the vectors in memory, one a collection, each exactly as of one version of the collection. A
 * search must see one state of the file in both of its legs, so it uses a copy only at the version that its
 * read transaction sees:
 *  - same version: search it under the read lock, beside other searches;
 *  - older: take the write lock, bring it up to date from this transaction (removals since, rows above the
 *    last one), search;
 *  - newer: with the write lock held, begin the transaction anew. Copies only change under that lock, so
 *    now the transaction is not older than the copy, and nobody has to try twice.
 *
 * All copies together stay below max_copy_bytes: the least recently used ones go first, and a collection
 * that is too large alone is read from the file for every search.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "jobs/store/sqlite_store.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "vectors are stored as they are in memory");

/* ---- the list of copies ---- */

static struct vector_copy *
copy_take(struct sqlite_store *store, struct str uid)
{
	(void)pthread_mutex_lock(&store->copies_lock);

	struct vector_copy *copy = store->copies;

	while (copy && !str_eq_c(uid, copy->uid))
		copy = copy->next;
	if (!copy) {
		copy = mem_alloc(sizeof(*copy));
		copy->uid = mem_strndup(uid.ptr, uid.len);
		(void)pthread_rwlock_init(&copy->lock, NULL);
		copy->next = store->copies;
		store->copies = copy;
	}
	copy->users++;
	copy->last_use = ++store->uses;
	(void)pthread_mutex_unlock(&store->copies_lock);
	return copy;
}

static void
copy_free(struct vector_copy *copy)
{
	vectors_release(&copy->vectors);
	(void)pthread_rwlock_destroy(&copy->lock);
	mem_free(copy->uid);
	mem_free(copy);
}

/* Frees the least recently used copy that nobody uses; false: there is none. */
static bool
evict_one(struct sqlite_store *store)
{
	struct vector_copy **oldest = NULL;

	for (struct vector_copy **at = &store->copies; *at; at = &(*at)->next) {
		if ((*at)->users == 0 && (!oldest || (*at)->last_use < (*oldest)->last_use))
			oldest = at;
	}
	if (!oldest)
		return false;

	struct vector_copy *copy = *oldest;

	*oldest = copy->next;
	copy_free(copy);
	return true;
}

static size_t
total_bytes(const struct sqlite_store *store)
{
	size_t bytes = 0;

	for (const struct vector_copy *copy = store->copies; copy; copy = copy->next)
		bytes += atomic_load(&copy->bytes) + sizeof(*copy);
	return bytes;
}

static void
copy_give(struct sqlite_store *store, struct vector_copy *copy)
{
	(void)pthread_mutex_lock(&store->copies_lock);
	copy->users--;
	while (total_bytes(store) > store->max_copy_bytes && evict_one(store))
		;
	(void)pthread_mutex_unlock(&store->copies_lock);
}

void
sqlite_vectors_release(struct sqlite_store *store)
{
	while (store->copies) {
		struct vector_copy *next = store->copies->next;

		copy_free(store->copies);
		store->copies = next;
	}
}

/* ---- bringing a copy up to date; its write lock is held ---- */

static void
copy_reset(struct vector_copy *copy, size_t dim)
{
	vectors_release(&copy->vectors);
	vectors_init(&copy->vectors, dim);
	copy->collection = 0;
	copy->version = 0;
	copy->last_row = 0;
	copy->too_large = false;
	atomic_store(&copy->bytes, 0);
}

static bool
apply_removals(struct vector_copy *copy, struct db *db, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;
	bool row = false;

	if (!db_prepare(db,
			"SELECT first_row, last_row FROM removal "
			"WHERE collection = ?1 AND version > ?2",
			&statement, err))
		return false;
	db_bind_i64(db, statement, 1, copy->collection);
	db_bind_i64(db, statement, 2, copy->version);
	for (;;) {
		if (!db_step(db, statement, &row, err))
			return false;
		if (!row)
			return true;
		vectors_remove(&copy->vectors,
			       (struct row_range){ db_i64(statement, 0), db_i64(statement, 1) });
	}
}

static bool
check_vector(struct db *db, struct str blob, size_t dim, struct err *err)
{
	if (blob.len == dim * sizeof(float))
		return true;
	err_set(err, ERR_STORE_CORRUPT, "cannot use the store: a vector has %zu bytes, not %zu",
		blob.len, dim * sizeof(float));
	return err_cause(err, "%s", db->path);
}

static bool
add_rows(struct sqlite_store *store, struct vector_copy *copy, struct db *db, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;
	bool row = false;

	if (!db_prepare(
		    db,
		    "SELECT id, value FROM vector WHERE collection = ?1 AND id > ?2 ORDER BY id",
		    &statement, err))
		return false;
	db_bind_i64(db, statement, 1, copy->collection);
	db_bind_i64(db, statement, 2, copy->last_row);
	while (db_step(db, statement, &row, err)) {
		if (!row)
			return true;

		struct str blob = db_blob(statement, 1);

		if (!check_vector(db, blob, copy->vectors.dim, err))
			return false;
		copy->last_row = db_i64(statement, 0);
		vectors_add(&copy->vectors, copy->last_row, blob.ptr);
		if (vectors_bytes(&copy->vectors) > store->max_copy_bytes) {
			vectors_release(&copy->vectors);
			copy->too_large = true;
			return true;
		}
	}
	return false;
}

static bool
copy_update(struct sqlite_store *store, struct vector_copy *copy, struct db *db,
	    const struct sqlite_collection *collection, struct err *err)
{
	if (copy->collection == collection->id && copy->version == collection->version)
		return true;
	if (copy->collection != collection->id || copy->version < collection->log_floor ||
	    copy->too_large) {
		copy_reset(copy, collection->dim);
		copy->collection = collection->id;
	}
	if ((copy->version > 0 && !apply_removals(copy, db, err)) ||
	    !add_rows(store, copy, db, err)) {
		copy_reset(copy, 0);
		return false;
	}
	copy->version = collection->version;
	atomic_store(&copy->bytes, vectors_bytes(&copy->vectors));
	return true;
}

/* ---- searching ---- */

static bool
search_file(struct db *db, const struct dense_search *dense, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;
	void *vector = NULL;
	size_t dim = dense->search->dim;
	bool row = false;

	if (!arena_alloc_err(dense->arena, dim * sizeof(float), "a vector", &vector, err) ||
	    !db_prepare(db, "SELECT id, value FROM vector WHERE collection = ?1", &statement, err))
		return false;
	db_bind_i64(db, statement, 1, dense->collection->id);
	while (db_step(db, statement, &row, err)) {
		if (!row)
			return true;

		int64_t id = db_i64(statement, 0);

		if (!row_set_has(dense->set, id))
			continue;

		struct str blob = db_blob(statement, 1);

		if (!check_vector(db, blob, dim, err))
			return false;
		memcpy(vector, blob.ptr, blob.len);
		best_rows_offer(dense->best, id, vectors_dot(dense->search->vector, vector, dim));
	}
	return false;
}

static bool
search_copy(struct vector_copy *copy, struct db *db, struct dense_search *dense, struct err *err)
{
	const struct store_search *search = dense->search;

	if (!sqlite_allowed_rows(db, dense->collection->id, search->filter, dense->arena,
				 dense->set, err))
		return false;
	if (search->dim != dense->collection->dim)
		return err_set(err, ERR_EMBEDDER_MISMATCH,
			       "cannot search with %zu dimensions: the collection has %zu",
			       search->dim, dense->collection->dim);
	if (copy->too_large)
		return search_file(db, dense, err);
	vectors_search(&copy->vectors, search->vector, dense->set, dense->best);
	return true;
}

static bool
is_newer(const struct vector_copy *copy, const struct sqlite_collection *collection)
{
	return copy->collection > collection->id ||
	       (copy->collection == collection->id && copy->version > collection->version);
}

/* The write lock is held. */
static bool
update_and_search(struct sqlite_store *store, struct vector_copy *copy, struct db *db,
		  struct dense_search *dense, struct err *err)
{
	if (is_newer(copy, dense->collection)) {
		if (!db_exec(db, "COMMIT", err) || !db_exec(db, "BEGIN", err) ||
		    !sqlite_find_collection(db, dense->search->uid, dense->collection, err))
			return false;
	}
	if (dense->collection->id == 0) { /* removed meanwhile */
		copy_reset(copy, 0);
		return true;
	}
	return copy_update(store, copy, db, dense->collection, err) &&
	       search_copy(copy, db, dense, err);
}

bool
sqlite_search_dense(struct sqlite_store *store, struct db *db, struct dense_search *dense,
		    struct err *err)
{
	struct vector_copy *copy = copy_take(store, dense->search->uid);
	bool ok = false;

	(void)pthread_rwlock_rdlock(&copy->lock);
	if (copy->collection == dense->collection->id &&
	    copy->version == dense->collection->version) {
		ok = search_copy(copy, db, dense, err);
		(void)pthread_rwlock_unlock(&copy->lock);
	} else {
		(void)pthread_rwlock_unlock(&copy->lock);
		(void)pthread_rwlock_wrlock(&copy->lock);
		ok = update_and_search(store, copy, db, dense, err);
		(void)pthread_rwlock_unlock(&copy->lock);
	}
	copy_give(store, copy);
	return ok;
}
