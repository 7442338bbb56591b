#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/beir.h"
#include "tests/support/folder.h"
#include "tests/support/must.h"

#define TSV_HEAD "query-id\tcorpus-id\tscore\n"

static const char good_corpus[] = "{\"_id\":\"d1\",\"title\":\"One\",\"text\":\"first\"}\n"
				  "\n"
				  "{\"_id\":2,\"text\":\"second\",\"metadata\":{\"x\":[1]}}\r\n"
				  "{\"_id\":\"d3\",\"title\":\" \",\"text\":\"\\n\"}";
static const char good_queries[] = "{\"_id\":\"q1\",\"text\":\"one?\",\"lang\":\"en\"}\n"
				   "{\"_id\":\"q2\",\"text\":\"two?\"}\n"
				   "{\"_id\":\"q3\",\"text\":\"three?\"}\n";
static const char good_judged[] =
	TSV_HEAD "q1\td1\t1\nq1\t2\t2\r\nq2\td1\t0\nq9\td1\t1\n\nq3\tgone\t1\n"
		 "q1\td1\t1\n";

static char folder[FOLDER_BYTES];

static void
put(const char *name, const char *text)
{
	char path[FOLDER_BYTES + 32];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (!text) {
		(void)remove(path);
		return;
	}

	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void
put_all(const char *corpus, const char *queries, const char *judged)
{
	put("corpus.jsonl", corpus);
	put("queries.jsonl", queries);
	put("qrels/test.tsv", judged);
}

static int
set_up(void **state)
{
	char path[FOLDER_BYTES + 32];

	(void)state;
	folder_make(folder);
	(void)snprintf(path, sizeof(path), "%s/qrels", folder);
	return mkdir(path, 0700);
}

static int
tear_down(void **state)
{
	(void)state;
	folder_remove(folder);
	return 0;
}

static void
reads_a_folder(void **state)
{
	AUTO(beir) struct beir beir = { .queries = NULL };
	AUTO(beir_corpus) struct beir_corpus corpus = { .json = NULL };
	struct beir_row row;
	bool more = false;

	(void)state;
	put_all(good_corpus, good_queries, good_judged);
	MUST(beir_read(&beir, folder, e));
	assert_int_equal(beir.documents, 3);
	assert_int_equal(beir.without, 1);
	assert_int_equal(beir.query_count, 2);
	assert_int_equal(beir.queries_without, 1);
	assert_int_equal(beir.judged_unknown, 1);
	assert_int_equal(beir.judged_missing, 1);
	assert_true(str_eq_c(beir.queries[0].text, "one?"));
	assert_int_equal(beir.queries[0].judged_count, 2);
	assert_int_equal(beir.queries[0].relevant, 2);
	assert_true(str_eq_c(beir.queries[0].judged[0].document, "2"));
	assert_int_equal(beir.queries[0].judged[0].grade, 2);
	assert_true(str_eq_c(beir.queries[1].id, "q3"));

	MUST(beir_corpus_open(&corpus, folder, e));
	MUST(beir_corpus_next(&corpus, &row, &more, e));
	assert_true(more && str_eq_c(row.title, "One") && str_eq_c(row.id, "d1"));
	MUST(beir_corpus_next(&corpus, &row, &more, e));
	assert_true(more && str_eq_c(row.id, "2") && str_eq_c(row.text, "second"));
	assert_int_equal(row.line, 3);
	MUST(beir_corpus_next(&corpus, &row, &more, e));
	assert_true(more && row.title.len == 0);
	MUST(beir_corpus_next(&corpus, &row, &more, e));
	assert_false(more);
}

static void
names_the_line(void **state)
{
	static const struct {
		const char *corpus, *queries, *judged, *says;
	} cases[] = {
		{ NULL, good_queries, good_judged, "corpus.jsonl': No such file or directory" },
		{ good_corpus, NULL, good_judged, "queries.jsonl': No such file or directory" },
		{ good_corpus, good_queries, NULL, "qrels/test.tsv': No such file or directory" },
		{ "{\"_id\":\"a\",\"text\":\"x\"}\n{\"_id\":\"b\"", good_queries, good_judged,
		  "corpus.jsonl:2: not valid JSON" },
		{ "\n{\"text\":\"x\"}\n", good_queries, good_judged,
		  "corpus.jsonl:2: there is no \"_id\"" },
		{ "[1]\n", good_queries, good_judged, "corpus.jsonl:1: there is no \"_id\"" },
		{ "{\"_id\":\"a\",\"text\":\"x\"}\n{\"_id\":\"a\",\"text\":\"y\"}\n", good_queries,
		  good_judged, "corpus.jsonl:2: the _id 'a' stands in line 1 already" },
		{ "\n\n", good_queries, good_judged, "corpus.jsonl has no document" },
		{ good_corpus, "{\"_id\":\"q1\"}\n", good_judged,
		  "queries.jsonl:1: the question has no \"text\"" },
		{ good_corpus, "{\"_id\":\"q1\",\"text\":\"x\"}\n{\"_id\":\"q1\",\"text\":\"x\"}\n",
		  good_judged, "queries.jsonl:2: the _id 'q1' stands in line 1 already" },
		{ good_corpus, good_queries, TSV_HEAD, "qrels/test.tsv has no judgement" },
		{ good_corpus, good_queries, TSV_HEAD "q1 d1 1\n",
		  "qrels/test.tsv:2: the line is not" },
		{ good_corpus, good_queries, "q1\td1\t1\nq1\td1\tyes\n",
		  "qrels/test.tsv:2: the line is not" },
		{ good_corpus, good_queries, "q1\td1\t1\n\nq1\td1\t2\n",
		  "qrels/test.tsv:3: question 'q1' and document 'd1' have another grade in line "
		  "1" },
		{ good_corpus, good_queries, "q1\td1\t0\n",
		  "no question of queries.jsonl has a relevant document" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO(beir) struct beir beir = { .queries = NULL };
		struct err err = ERR_INIT;

		put_all(cases[i].corpus, cases[i].queries, cases[i].judged);
		assert_false(beir_read(&beir, folder, &err));
		if (!strstr(err.msg, cases[i].says))
			fail_msg("case %zu: no '%s' in: %s", i, cases[i].says, err.msg);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_folder),
		cmocka_unit_test(names_the_line),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
