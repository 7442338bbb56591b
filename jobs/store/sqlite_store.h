/*
 * sqlite_store: the inside of the sqlite store, shared by its files. Private.
 *
 * Threads: any thread may call any function that takes a struct sqlite_store. Writes are handed to one
 * writer thread; reads use connections from a small pool.
 */
#ifndef RAG_JOBS_STORE_SQLITE_STORE_H
#define RAG_JOBS_STORE_SQLITE_STORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "jobs/store/sqlite_db.h"
#include "jobs/store/store.h"
#include "jobs/store/vectors.h"

#define SQLITE_IDLE_READERS 16

extern const struct store_ops sqlite_store_ops;

enum write_kind { WRITE_PUT, WRITE_REMOVE_GENERATION, WRITE_REMOVE_OLDER, WRITE_REMOVE_COLLECTION };

/* On the caller's stack until it is done; everything in it is borrowed from the caller. */
struct write {
	enum write_kind kind;
	const struct store_document *document; /* WRITE_PUT */
	struct str uid, document_id, gen;      /* the others; gen: the one to remove or to keep */
	int64_t below_seq;
	struct write *next;
	struct err *err;
	bool ok, done;
};

/* The vectors of one collection as of one version of it. */
struct vector_copy {
	struct vector_copy *next;
	char *uid; /* owned; immutable */
	/* under the store's copies_lock */
	size_t users;
	uint64_t last_use;
	/* under lock */
	pthread_rwlock_t lock;
	int64_t collection, version; /* 0: nothing loaded */
	int64_t last_row;
	bool too_large; /* at this version: read from the file instead */
	struct vectors vectors;
	atomic_size_t bytes; /* of vectors, for the owner of copies_lock */
};

struct sqlite_store {
	struct store store;
	char *path; /* owned */
	size_t max_copy_bytes;

	/* the queue of writes, under lock */
	pthread_mutex_t lock;
	pthread_cond_t more, done;
	struct write *first, **last;
	bool stop;

	/* owned by the writer thread */
	pthread_t writer;
	struct db db;

	/* under readers_lock */
	pthread_mutex_t readers_lock;
	struct db idle[SQLITE_IDLE_READERS];
	size_t idle_count;

	/* the list and the marked fields of its members, under copies_lock */
	pthread_mutex_t copies_lock;
	struct vector_copy *copies;
	uint64_t uses;
};

/* ---- sqlite_writer.c ---- */

bool sqlite_writer_start(struct sqlite_store *store, struct err *err);
void sqlite_writer_stop(struct sqlite_store *store); /* finishes what is queued */
/* Waits until the write is durable or has failed. */
bool sqlite_write(struct sqlite_store *store, struct write *write, struct err *err);

/* "<seq>.<epoch>"; ERR_INVALID. */
bool sqlite_gen_seq(struct str gen, int64_t *out_seq, struct err *err);

/* ---- sqlite.c: connections for reading ---- */

bool sqlite_reader_take(struct sqlite_store *store, struct db *out, struct err *err);
void sqlite_reader_give(struct sqlite_store *store, struct db *db);

/* A collection as the open read transaction sees it; id 0: it does not exist. */
struct sqlite_collection {
	int64_t id, version, log_floor;
	size_t dim;
};
bool sqlite_find_collection(struct db *db, struct str uid, struct sqlite_collection *out,
			    struct err *err);

/* ---- sqlite_vectors.c ---- */

/* The dense leg: offers the collection's rows of `set` to best. Begins the read transaction anew (and
 * changes *collection) when the copy in memory is newer than it. make_set is called once the transaction
 * is final. */
struct dense_search {
	const struct store_search *search;
	struct sqlite_collection *collection; /* as of the transaction */
	struct arena *arena;
	struct row_set *set; /* out: the rows that the filter allows */
	struct best_rows *best;
};
bool sqlite_search_dense(struct sqlite_store *store, struct db *db, struct dense_search *dense,
			 struct err *err);
void sqlite_vectors_release(struct sqlite_store *store);

/* ---- sqlite_search.c ---- */

bool sqlite_search(struct store *store, const struct store_search *search, struct arena *arena,
		   struct store_hits *out, struct err *err);
/* The rows of the collection that the filter allows. */
bool sqlite_allowed_rows(struct db *db, int64_t collection, const struct filter *filter,
			 struct arena *arena, struct row_set *out, struct err *err);

/* ---- sqlite_filter.c ---- */

/* A condition on table `generation` as g, with parameters from ?2 on (?1 is the collection's id). */
void sqlite_filter_sql(const struct filter *filter, struct buf *out);
/* The condition begins with a lookup in the index of attributes, so that needs no walk over all generations
 * of the collection. */
bool sqlite_filter_narrows(const struct filter *filter);
void sqlite_filter_bind(const struct filter *filter, struct db *db, struct sqlite3_stmt *statement);

#endif
