/*
 * eval_report: what `ragctl eval` found out, as a table and as JSON.
 */
#ifndef RAG_CLI_EVAL_REPORT_H
#define RAG_CLI_EVAL_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "cli/beir.h"
#include "cli/cli.h"
#include "cli/score.h"

enum eval_method { EVAL_LEXICAL, EVAL_DENSE, EVAL_HYBRID, EVAL_RERANKED, EVAL_METHODS };

struct eval_method_row {
	const char *name;  /* for --baseline and JSON */
	const char *title; /* for people */
	const char *mode;  /* of the query */
	bool rerank;
};
extern const struct eval_method_row eval_methods[EVAL_METHODS];

struct eval_report {
	const char *folder, *collection; /* borrowed, as all here */
	const struct beir *beir;
	const struct score (*scores)[EVAL_METHODS]; /* one a question */
	int64_t resamples, seed;
	int baseline; /* enum eval_method; -1 = the better one of lexical and dense, by nDCG@10 */
	int64_t ingest_ms, query_ms;
	int64_t short_lists; /* answers with all the chunks there may be, of fewer than SCORE_DEPTH documents */
	int64_t rerank_skipped;
};

void eval_report_table(const struct eval_report *report, FILE *out);
void eval_report_json(const struct eval_report *report, FILE *out);

#endif
