/*
 * sqlite_db: one connection to the store's file, and SQLite's error codes translated to ours. Private to
 * the sqlite store. A connection belongs to one thread at a time.
 *
 * SQLITE_BUSY and _LOCKED -> ERR_STORE_UNAVAILABLE; _CORRUPT and _NOTADB -> ERR_STORE_CORRUPT; _FULL and
 * write errors for want of space -> ERR_DISK_FULL; _CANTOPEN, _READONLY, _PERM -> ERR_IO; the rest
 * ERR_STORE_FAILED. The path and SQLite's own words are in err.cause.
 */
#ifndef RAG_JOBS_STORE_SQLITE_DB_H
#define RAG_JOBS_STORE_SQLITE_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/auto.h"
#include "common/base/err.h"
#include "common/base/str.h"

struct sqlite3;
struct sqlite3_stmt;
struct sqlite_words;

struct db {
	struct sqlite3 *handle;
	struct sqlite_words *words; /* owned; sqlite_words.h */
	const char *path;	    /* borrowed */
	int bind_error;		    /* of the binds since the last step; the step reports it */
};

/* Makes the file when it is missing. A connection for reading refuses to write. */
bool db_open(struct db *db, const char *path, bool for_reading, struct err *err);
void db_close(struct db *db);
/* Brings the schema up, an older program's file, too (once, then that program cannot use it any more):
 * ERR_STORE_FAILED for a file that a newer program made or that is not a store. */
bool db_prepare_schema(struct db *db, struct err *err);

bool db_exec(struct db *db, const char *sql, struct err *err);
/* Rolls back what is open, quietly. */
void db_rollback(struct db *db);
/* A failing statement may have rolled the whole transaction back. */
bool db_in_transaction(const struct db *db);

bool db_prepare(struct db *db, const char *sql, struct sqlite3_stmt **out, struct err *err);
void db_finish(struct sqlite3_stmt *statement); /* NULL is fine */
AUTO_PTR_DEFINE(db_finish, struct sqlite3_stmt);

/* Parameters count from 1. Text and blobs are borrowed until the next bind or reset. */
void db_bind_str(struct db *db, struct sqlite3_stmt *statement, int at, struct str value);
void db_bind_i64(struct db *db, struct sqlite3_stmt *statement, int at, int64_t value);
void db_bind_f64(struct db *db, struct sqlite3_stmt *statement, int at, double value);
void db_bind_blob(struct db *db, struct sqlite3_stmt *statement, int at, const void *ptr,
		  size_t len);

/* *out_row: a row is there to read; NULL when none is expected. */
bool db_step(struct db *db, struct sqlite3_stmt *statement, bool *out_row, struct err *err);
void db_reset(struct sqlite3_stmt *statement);
/* db_step to the end, then db_reset: for statements that give no rows. */
bool db_run(struct db *db, struct sqlite3_stmt *statement, struct err *err);

int64_t db_i64(struct sqlite3_stmt *statement, int column);
double db_f64(struct sqlite3_stmt *statement, int column);
struct str db_str(struct sqlite3_stmt *statement, int column);	/* until the next step */
struct str db_blob(struct sqlite3_stmt *statement, int column); /* until the next step */

/* Fills err from the connection's last error: "could not <what>: ...". */
bool db_fail(struct db *db, int code, const char *what, struct err *err);

#endif
