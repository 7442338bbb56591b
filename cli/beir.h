/*
 * beir: a test collection in BEIR's layout: corpus.jsonl, queries.jsonl, qrels/test.tsv in one folder.
 *
 * A line of corpus.jsonl is {"_id", "title"?, "text"}, one of queries.jsonl {"_id", "text"}; other members are
 * passed over, an _id may be a whole number. A line of test.tsv is "<question>\t<document>\t<grade>"; a first line that has no
 * number there is the head. The corpus is read line by line and never held; the questions are.
 *
 * Failures name the line: ERR_IO for what cannot be read, ERR_INVALID for what is wrong: "corpus.jsonl:17: ...".
 */
#ifndef RAG_CLI_BEIR_H
#define RAG_CLI_BEIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/score.h"
#include "common/base/arena.h"
#include "common/base/auto.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/json.h"

#define BEIR_LINE_MAX_BYTES ((size_t)64 * 1024 * 1024)

struct beir_row {
	struct str id, title, text; /* "" = none; until the next row */
	int64_t line;
};

/* A file and its line at hand. */
struct beir_lines {
	FILE *file;
	char *line; /* owned */
	size_t room;
	int64_t number;
};

/* The rows of corpus.jsonl, from the first one on. One thread at a time. */
struct beir_corpus {
	struct beir_lines lines;
	char id_text[24]; /* of an _id that is a number */
	struct js *json;  /* of the row handed out */
};

bool beir_corpus_open(struct beir_corpus *corpus, const char *folder, struct err *err);
/* *out_row false at the end. */
bool beir_corpus_next(struct beir_corpus *corpus, struct beir_row *out, bool *out_row,
		      struct err *err);
void beir_corpus_release(struct beir_corpus *corpus);

struct beir_query {
	struct str id, text;
	int64_t line;
	const struct score_judgement *judged; /* by document */
	size_t judged_count;
	size_t relevant; /* with a grade above 0 */
};

struct beir {
	struct arena arena;	    /* owns all below */
	struct beir_query *queries; /* that have a relevant document, in the file's order */
	size_t query_count;
	size_t queries_without;	   /* left out: no relevant document */
	size_t judged_unknown;	   /* judgements of questions that are not there: passed over */
	size_t judged_missing;	   /* of documents that are not there: they count as never found */
	size_t documents, without; /* rows of the corpus; those with neither title nor text */
};

/* Reads questions and judgements, and goes through the corpus once: ids must be there, and each once. */
bool beir_read(struct beir *beir, const char *folder, struct err *err);
void beir_release(struct beir *beir);

#endif
