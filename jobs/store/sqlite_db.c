#include "jobs/store/sqlite_db.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <sqlite3.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "jobs/store/sqlite_words.h"

#define SCHEMA_VERSION 2
#define APPLICATION_ID 0x52414745 /* "RAGE": what `file` and a wrong DATA_DIR are told by */
#define BUSY_LIMIT_MS 30000	  /* FULL's worst wait for another process passed 4 s */
#define BUSY_STEP_MAX_MS 20
#define LOG_PAGES 1000	     /* copy the log into the file from here on */
#define LOG_LONG_PAGES 16384 /* 64 MiB: wait for readers, so that it begins anew */
#define LOG_WAIT_MS 200	     /* ... but not long: one may be walking over everything */

/*
 * collection.version rises with every change of the collection's chunks. Chunk ids only grow, and those
 * of one generation are consecutive (first_row..last_row). A vector copy in memory is brought up to date
 * by the rows above its last one and the rows of `removal` above its version; removals below log_floor
 * were forgotten. attribute holds the document's metadata, taken apart: one row a top-level scalar or
 * list item; type is s(tring), n(umber), b(oolean) or z (null).
 */
static const char schema[] =
	"CREATE TABLE collection (id INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE,"
	" dim INTEGER NOT NULL, version INTEGER NOT NULL DEFAULT 0,"
	" log_floor INTEGER NOT NULL DEFAULT 0);"
	"CREATE TABLE generation (id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" collection INTEGER NOT NULL, document_id TEXT NOT NULL, gen TEXT NOT NULL,"
	" seq INTEGER NOT NULL, first_row INTEGER NOT NULL, last_row INTEGER NOT NULL,"
	" title TEXT NOT NULL, uri TEXT NOT NULL, metadata TEXT NOT NULL,"
	" UNIQUE (collection, document_id, gen));"
	"CREATE TABLE attribute (collection INTEGER NOT NULL, key TEXT NOT NULL, type TEXT NOT "
	"NULL,"
	" value NOT NULL, generation INTEGER NOT NULL,"
	" PRIMARY KEY (collection, key, type, value, generation)) WITHOUT ROWID;"
	"CREATE INDEX attribute_generation ON attribute (generation);"
	"CREATE TABLE chunk (id INTEGER PRIMARY KEY AUTOINCREMENT, generation INTEGER NOT NULL,"
	" ordinal INTEGER NOT NULL, start_byte INTEGER NOT NULL, end_byte INTEGER NOT NULL,"
	" page INTEGER NOT NULL, heading TEXT NOT NULL, text TEXT NOT NULL);"
	"CREATE TABLE vector (id INTEGER PRIMARY KEY, collection INTEGER NOT NULL,"
	" value BLOB NOT NULL);"
	"CREATE INDEX vector_collection ON vector (collection);"
	"CREATE TABLE removal (collection INTEGER NOT NULL, version INTEGER NOT NULL,"
	" first_row INTEGER NOT NULL, last_row INTEGER NOT NULL,"
	" PRIMARY KEY (collection, version, first_row)) WITHOUT ROWID;";

static enum err_code
code_of(int code, int system_error)
{
	switch (code & 0xFF) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
		return ERR_STORE_UNAVAILABLE;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return ERR_STORE_CORRUPT;
	case SQLITE_FULL:
		return ERR_DISK_FULL;
	case SQLITE_TOOBIG:
		return ERR_TOO_LARGE;
	case SQLITE_CANTOPEN:
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return ERR_IO;
	case SQLITE_IOERR:
		return system_error == ENOSPC || system_error == EDQUOT || system_error == EFBIG
			       ? ERR_DISK_FULL
			       : ERR_IO;
	default:
		return ERR_STORE_FAILED;
	}
}

bool
db_fail(struct db *db, int code, const char *what, struct err *err)
{
	/* SQLite keeps the system's code of some failures only; db_step and db_exec clear errno first */
	int system_error = db->handle ? sqlite3_system_errno(db->handle) : 0;
	enum err_code ours = code_of(code, system_error != 0 ? system_error : errno);
	int extended = db->handle ? sqlite3_extended_errcode(db->handle) : code;

	err_set(err, ours, "%s %s: %s", ours == ERR_STORE_CORRUPT ? "cannot" : "could not", what,
		ours == ERR_STORE_CORRUPT ? "the store's file is corrupt" : sqlite3_errstr(code));
	err->detail = extended;
	return err_cause(err, "%s: %s", db->path,
			 db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(code));
}

static _Thread_local int64_t busy_limit_ms = BUSY_LIMIT_MS;

/* SQLite's own handler waits up to 100 ms between tries and so loses against a busy writer. */
static int
wait_while_busy(void *user, int tries)
{
	static _Thread_local int64_t since_ms;

	(void)user;
	if (tries == 0)
		since_ms = clock_mono_ms();
	if (clock_mono_ms() - since_ms > busy_limit_ms || tries > busy_limit_ms)
		return 0;

	uint64_t step = 1 + (uint64_t)tries / 4;

	clock_sleep_ms(1 + (int64_t)(id_random_u64() %
				     (step < BUSY_STEP_MAX_MS ? step : BUSY_STEP_MAX_MS)));
	return 1;
}

/* After each commit. Readers that never pause keep SQLite's own checkpoints from ever beginning the log anew;
 * it would grow without bound. A checkpoint that fails is tried again after the next commit. */
static int
after_commit(void *user, sqlite3 *handle, const char *name, int log_pages)
{
	(void)user;
	if (log_pages < LOG_PAGES)
		return SQLITE_OK;
	busy_limit_ms = LOG_WAIT_MS;
	(void)sqlite3_wal_checkpoint_v2(handle, name,
					log_pages < LOG_LONG_PAGES ? SQLITE_CHECKPOINT_PASSIVE
								   : SQLITE_CHECKPOINT_RESTART,
					NULL, NULL);
	busy_limit_ms = BUSY_LIMIT_MS;
	return SQLITE_OK;
}

bool
db_open(struct db *db, const char *path, bool for_reading, struct err *err)
{
	*db = (struct db){ .path = path };

	int code = sqlite3_open_v2(path, &db->handle,
				   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
					   SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
				   NULL);

	if (code != SQLITE_OK) {
		db_fail(db, code, "open the store", err);
		db_close(db);
		return false;
	}
	(void)sqlite3_busy_handler(db->handle, wait_while_busy, NULL);

	const char *setup = for_reading ? "PRAGMA query_only = 1; PRAGMA cache_size = -1024;"
					: "PRAGMA synchronous = FULL; PRAGMA cache_size = -8192;"
					  "PRAGMA journal_size_limit = 67108864;";

	if (!db_exec(db, setup, err) || !sqlite_words_register(db, err)) {
		db_close(db);
		return false;
	}
	if (!for_reading)
		(void)sqlite3_wal_hook(db->handle, after_commit, NULL);
	return true;
}

void
db_close(struct db *db)
{
	(void)sqlite3_close_v2(db->handle);
	sqlite_words_release(db->words); /* its tokenizers are gone with the connection */
	db->handle = NULL;
	db->words = NULL;
}

static bool
read_number(struct db *db, const char *sql, int64_t *out, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;
	bool row = false;

	if (!db_prepare(db, sql, &statement, err) || !db_step(db, statement, &row, err))
		return false;
	*out = row ? db_i64(statement, 0) : 0;
	return true;
}

/* Version 1 indexed with FTS5's own `porter` tokenizer: the indexes are made anew from the chunks. */
static bool
rebuild_words(struct db *db, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;
	int64_t id = 0, next = 0;
	bool row = true;

	if (!db_prepare(db, "SELECT min(id) FROM collection WHERE id > ?1", &statement, err))
		return false;
	for (;;) {
		db_bind_i64(db, statement, 1, id);
		if (!db_step(db, statement, &row, err))
			return false;
		next = row ? db_i64(statement, 0) : 0;
		db_reset(statement); /* its table must not be in use while others are made */
		if (next == 0)
			return true;
		id = next;
		if (!sqlite_words_rebuild(db, id, err))
			return err_wrap(err, "renew the words of collection %lld", (long long)id);
	}
}

static bool
stamp_file(struct db *db, struct err *err)
{
	char stamp[96];

	(void)snprintf(stamp, sizeof(stamp),
		       "PRAGMA application_id = %d; PRAGMA user_version = %d;", APPLICATION_ID,
		       SCHEMA_VERSION);
	return db_exec(db, stamp, err);
}

/* Inside a write transaction, so that two programs starting at a time do not both make the tables. */
static bool
make_schema(struct db *db, struct err *err)
{
	int64_t version = 0, tables = 0;

	if (!read_number(db, "PRAGMA user_version", &version, err) ||
	    !read_number(db, "SELECT count(*) FROM sqlite_schema", &tables, err))
		return false;
	if (version == SCHEMA_VERSION)
		return true;
	if (version == 1)
		return rebuild_words(db, err) && stamp_file(db, err);
	if (version > SCHEMA_VERSION) {
		err_set(err, ERR_STORE_FAILED,
			"cannot use the store: a newer program made it (its version is %lld, "
			"this one knows up to %d)",
			(long long)version, SCHEMA_VERSION);
		return err_cause(err, "%s", db->path);
	}
	if (version != 0 || tables > 0) {
		err_set(err, ERR_STORE_FAILED, "cannot use the store: the file is not a store");
		return err_cause(err, "%s", db->path);
	}

	return db_exec(db, schema, err) && stamp_file(db, err);
}

/* Two programs that make a new file at a time: SQLite refuses one of them at once, without the busy handler, for each holds what the
 * other one waits for. */
static bool
choose_log(struct db *db, struct err *err)
{
	int64_t until_ms = clock_mono_ms() + BUSY_LIMIT_MS;

	while (!db_exec(db, "PRAGMA journal_mode = WAL", err)) {
		if (err->code != ERR_STORE_UNAVAILABLE || clock_mono_ms() > until_ms)
			return false;
		clock_sleep_ms(1 + (int64_t)(id_random_u64() % BUSY_STEP_MAX_MS));
	}
	return true;
}

bool
db_prepare_schema(struct db *db, struct err *err)
{
	if (!choose_log(db, err) || !db_exec(db, "BEGIN IMMEDIATE", err))
		return false;
	if (!make_schema(db, err) || !db_exec(db, "COMMIT", err)) {
		db_rollback(db);
		return false;
	}
	return true;
}

bool
db_exec(struct db *db, const char *sql, struct err *err)
{
	errno = 0;

	int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

	return code == SQLITE_OK || db_fail(db, code, "use the store", err);
}

void
db_rollback(struct db *db)
{
	if (db_in_transaction(db))
		(void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
}

bool
db_in_transaction(const struct db *db)
{
	return !sqlite3_get_autocommit(db->handle);
}

bool
db_prepare(struct db *db, const char *sql, struct sqlite3_stmt **out, struct err *err)
{
	int code = sqlite3_prepare_v2(db->handle, sql, -1, out, NULL);

	return code == SQLITE_OK || db_fail(db, code, "prepare a statement", err);
}

void
db_finish(struct sqlite3_stmt *statement)
{
	(void)sqlite3_finalize(statement);
}

static void
note_bind(struct db *db, int code)
{
	if (code != SQLITE_OK)
		db->bind_error = code;
}

void
db_bind_str(struct db *db, struct sqlite3_stmt *statement, int at, struct str value)
{
	note_bind(db, sqlite3_bind_text64(statement, at, value.ptr ? value.ptr : "", value.len,
					  SQLITE_STATIC, SQLITE_UTF8));
}

void
db_bind_i64(struct db *db, struct sqlite3_stmt *statement, int at, int64_t value)
{
	note_bind(db, sqlite3_bind_int64(statement, at, value));
}

void
db_bind_f64(struct db *db, struct sqlite3_stmt *statement, int at, double value)
{
	note_bind(db, sqlite3_bind_double(statement, at, value));
}

void
db_bind_blob(struct db *db, struct sqlite3_stmt *statement, int at, const void *ptr, size_t len)
{
	note_bind(db, sqlite3_bind_blob64(statement, at, ptr, len, SQLITE_STATIC));
}

bool
db_step(struct db *db, struct sqlite3_stmt *statement, bool *out_row, struct err *err)
{
	int code = db->bind_error;

	db->bind_error = SQLITE_OK;
	errno = 0;
	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	if (code != SQLITE_ROW && code != SQLITE_DONE)
		return db_fail(db, code, "use the store", err);
	if (out_row)
		*out_row = code == SQLITE_ROW;
	return true;
}

void
db_reset(struct sqlite3_stmt *statement)
{
	(void)sqlite3_reset(statement);
}

bool
db_run(struct db *db, struct sqlite3_stmt *statement, struct err *err)
{
	bool row = true, ok = true;

	while (ok && row)
		ok = db_step(db, statement, &row, err);
	db_reset(statement);
	return ok;
}

int64_t
db_i64(struct sqlite3_stmt *statement, int column)
{
	return sqlite3_column_int64(statement, column);
}

double
db_f64(struct sqlite3_stmt *statement, int column)
{
	return sqlite3_column_double(statement, column);
}

struct str
db_str(struct sqlite3_stmt *statement, int column)
{
	const unsigned char *text = sqlite3_column_text(statement, column);

	return str_make((const char *)text, (size_t)sqlite3_column_bytes(statement, column));
}

struct str
db_blob(struct sqlite3_stmt *statement, int column)
{
	const void *blob = sqlite3_column_blob(statement, column);

	return str_make(blob, (size_t)sqlite3_column_bytes(statement, column));
}
