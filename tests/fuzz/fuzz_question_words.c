/* fuzz_question_words: any bytes as a question to the full-text index: what is made of it is always an expression that FTS5
 * understands, and text that holds the question itself is found by it. */
#include <string.h>

#include "jobs/store/sqlite_words.h"
#include "tests/fuzz/fuzz.h"

#define TABLE 1

static struct db *
open_index(void)
{
	static struct db db;
	struct err err = ERR_INIT;

	if (db.handle)
		return &db;
	must(db_open(&db, ":memory:", false, &err), "the database opens");
	must(sqlite_words_create(&db, TABLE, &err), "an index is made");
	return &db;
}

static size_t
count_found(struct db *db, const struct words_question *question)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;
	struct err err = ERR_INIT;
	bool row = true;
	size_t count = 0;

	must(db_prepare(db,
			"SELECT " SQLITE_WORDS_RANK "(words_1, ?2) FROM words_1 WHERE words_1 "
			"MATCH ?1",
			&statement, &err),
	     "the search is prepared");
	db_bind_str(db, statement, 1, text_of(&question->match));
	sqlite_words_bind(db, statement, 2, question);
	while (row) {
		must(db_step(db, statement, &row, &err), "the expression is understood");
		count += row;
		if (row)
			must(db_f64(statement, 0) >= 0, "a score is not negative");
	}
	return count;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(words_question) struct words_question question = { .count = 0 };
	AUTO_PTR(db_finish) struct sqlite3_stmt *insert = NULL;
	struct db *db = open_index();
	struct err err = ERR_INIT;
	struct str text = str_make((const char *)data, size);
	bool any = false;

	if (size > 65536 || !sqlite_words_question(db, text, NULL, &question, &any, &err))
		return 0;
	must(question.count <= WORDS_MAX_TERMS, "the phrases are bounded");
	must(any == (question.count > 0), "it says whether there is anything");
	if (!any)
		return 0;
	must(db_exec(db, "BEGIN", &err) &&
		     db_prepare(db, "INSERT INTO words_1 (rowid, text) VALUES (1, ?1)", &insert,
				&err),
	     "a chunk is prepared");
	db_bind_str(db, insert, 1, text);
	must(db_run(db, insert, &err), "a chunk is indexed");
	if (str_utf8_valid(text, NULL) && !memchr(data, 0, size))
		must(count_found(db, &question) == 1, "a question finds itself");
	else
		(void)count_found(db, &question);
	db_finish(TAKE(insert));
	db_rollback(db);
	return 0;
}
