/*
 * sqlite_words: our part in FTS5: how text becomes terms, what a question looks for, and how a chunk is scored.
 * Private to the sqlite store; one of each a connection, so the connection's thread rule holds.
 *
 * The tokenizer `rag`: FTS5's unicode61 (words are letters and digits; case folded, accents taken off), then pairs of
 * characters where a script writes no blanks between words (Chinese, Japanese, Korean, Thai ...), then Porter's stem for words of plain
 * a-z. Stop words are kept: a question leaves them out, its phrases need them.
 */
#ifndef RAG_JOBS_STORE_SQLITE_WORDS_H
#define RAG_JOBS_STORE_SQLITE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "jobs/store/sqlite_db.h"
#include "jobs/store/store.h"

/* Words and phrases of one question that are looked for; what goes beyond is not. */
#define WORDS_MAX_TERMS 256

/* Makes tokenizer and ranking function known to the connection. ERR_STORE_FAILED when SQLite has no FTS5. */
bool sqlite_words_register(struct db *db, struct err *err);
void sqlite_words_release(struct sqlite_words *words); /* NULL is fine; after its connection */

/* The full-text index of a collection, "words_<id>": made empty, or anew from its chunks. */
bool sqlite_words_create(struct db *db, int64_t collection, struct err *err);
bool sqlite_words_rebuild(struct db *db, int64_t collection, struct err *err);

/* What a question looks for. Opaque to all but the ranking function, which gets it as a pointer. */
struct words_question {
	struct lexical_weights weights;
	struct buf match; /* the MATCH expression: phrases joined by OR */
	size_t count;	  /* of its phrases */
	double phrase_weights[WORDS_MAX_TERMS];
};
void words_question_release(struct words_question *question);

/* *out_any false: the text has nothing to look for. */
bool sqlite_words_question(struct db *db, struct str text, const struct lexical_weights *weights,
			   struct words_question *out, bool *out_any, struct err *err);

/* Binds the question to a parameter that is the second argument of SQLITE_WORDS_RANK. It must outlive the statement's use. */
#define SQLITE_WORDS_RANK "rag_rank"
void sqlite_words_bind(struct db *db, struct sqlite3_stmt *statement, int at,
		       const struct words_question *question);

#endif
