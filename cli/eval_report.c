#include "cli/eval_report.h"

#include "cli/text.h"
#include "common/base/mem.h"
#include "common/json.h"

#define NAME_COLUMNS 17
#define FIGURE_COLUMNS 15
#define DIGITS 4

const struct eval_method_row eval_methods[EVAL_METHODS] = {
	[EVAL_LEXICAL] = { "lexical", "lexical", "lexical", false },
	[EVAL_DENSE] = { "dense", "dense", "dense", false },
	[EVAL_HYBRID] = { "hybrid", "hybrid", "hybrid", false },
	[EVAL_RERANKED] = { "rerank", "hybrid + rerank", "hybrid", true },
};

/* Over all questions; minus = the method to take the differences to, or -1. */
static struct score_interval
figure(const struct eval_report *report, int method, int minus, int kind)
{
	size_t count = report->beir->query_count;
	double *values = mem_array(count, sizeof(*values));

	for (size_t q = 0; q < count; q++)
		values[q] = report->scores[q][method].values[kind] -
			    (minus >= 0 ? report->scores[q][minus].values[kind] : 0);

	struct score_interval interval =
		score_bootstrap(values, count, report->resamples, (uint64_t)report->seed);

	mem_free(values);
	return interval;
}

static int
baseline_of(const struct eval_report *report)
{
	if (report->baseline >= 0)
		return report->baseline;
	return figure(report, EVAL_DENSE, -1, SCORE_NDCG).mean >
			       figure(report, EVAL_LEXICAL, -1, SCORE_NDCG).mean
		       ? EVAL_DENSE
		       : EVAL_LEXICAL;
}

/* ---- the table ---- */

static void
print_heads(const char *first, FILE *out)
{
	(void)fprintf(out, "\n%-*s", NAME_COLUMNS, first);
	for (int kind = 0; kind < SCORE_KINDS; kind++)
		(void)fprintf(out, "%-*s", kind + 1 < SCORE_KINDS ? FIGURE_COLUMNS : 0,
			      score_names[kind]);
	(void)fputc('\n', out);
}

/* plus: what stands before a number that is not negative */
static void
add_figure(struct buf *out, double value, const char *plus)
{
	buf_printf(out, "%s%.3f", value < -0.0005 ? "" : plus,
		   value < -0.0005 || value > 0 ? value : 0);
}

/* The means, and the intervals below them. */
static void
print_rows(const struct eval_report *report, int method, int minus, FILE *out)
{
	AUTO(buf) struct buf means = BUF_INIT(1024);
	AUTO(buf) struct buf intervals = BUF_INIT(1024);
	const char *sign = minus >= 0 ? "+" : "";

	text_add_cell(&means, str_of(eval_methods[method].title), NAME_COLUMNS, true);
	text_add_cell(&intervals, STR(""), NAME_COLUMNS, true);
	for (int kind = 0; kind < SCORE_KINDS; kind++) {
		AUTO(buf) struct buf mean = BUF_INIT(64);
		AUTO(buf) struct buf pair = BUF_INIT(64);
		struct score_interval interval = figure(report, method, minus, kind);
		bool last = kind + 1 == SCORE_KINDS;

		add_figure(&mean, interval.mean, sign);
		add_figure(&pair, interval.low, sign);
		buf_add_str(&pair, "..");
		add_figure(&pair, interval.high, sign);
		text_add_cell(&means, str_make(mean.data, mean.len), FIGURE_COLUMNS, !last);
		text_add_cell(&intervals, str_make(pair.data, pair.len), FIGURE_COLUMNS, !last);
	}
	(void)fprintf(out, "%s\n%s\n", means.data, intervals.data);
}

static void
print_notes(const struct eval_report *report, FILE *out)
{
	const struct beir *beir = report->beir;

	if (beir->queries_without > 0)
		(void)fprintf(out, "%zu questions without a relevant document were left out.\n",
			      beir->queries_without);
	if (beir->without > 0)
		(void)fprintf(out, "%zu documents without text were left out.\n", beir->without);
	if (beir->judged_unknown > 0)
		(void)fprintf(out,
			      "%zu judgements of questions that are not in queries.jsonl were "
			      "passed over.\n",
			      beir->judged_unknown);
	if (beir->judged_missing > 0)
		(void)fprintf(out,
			      "%zu judged documents are not in corpus.jsonl; they count as not "
			      "found.\n",
			      beir->judged_missing);
	if (report->short_lists > 0)
		(void)fprintf(out,
			      "%lld answers were full before they held %d documents: recall@100 "
			      "is of what they held.\n",
			      (long long)report->short_lists, SCORE_DEPTH);
	if (report->rerank_skipped > 0)
		(void)fprintf(out, "The reranker failed %lld times; the order before it counted.\n",
			      (long long)report->rerank_skipped);
}

void
eval_report_table(const struct eval_report *report, FILE *out)
{
	AUTO(buf) struct buf line = BUF_INIT(8192);
	int baseline = baseline_of(report);
	char head[64];

	text_add_line(&line, str_of(report->folder));
	buf_add_str(&line, ": ");
	text_add_count(&line, (int64_t)(report->beir->documents - report->beir->without));
	buf_printf(&line, " documents (%.1f s), ", (double)report->ingest_ms / 1000);
	text_add_count(&line, (int64_t)report->beir->query_count);
	buf_printf(&line, " questions, each asked in %d ways (%.1f s)", EVAL_METHODS,
		   (double)report->query_ms / 1000);
	(void)fprintf(out, "%s\n", line.data);
	print_notes(report, out);
	print_heads("", out);
	for (int method = 0; method < EVAL_METHODS; method++)
		print_rows(report, method, -1, out);
	(void)snprintf(head, sizeof(head), "minus %s", eval_methods[baseline].name);
	print_heads(head, out);
	for (int method = 0; method < EVAL_METHODS; method++) {
		if (method != baseline)
			print_rows(report, method, baseline, out);
	}
	(void)fprintf(out, "\nBelow each mean: 95 %% of %lld bootstrap samples (seed %lld).\n",
		      (long long)report->resamples, (long long)report->seed);
}

/* ---- JSON ---- */

static void
write_figures(const struct eval_report *report, int method, int minus, struct jw *w)
{
	for (int kind = 0; kind < SCORE_KINDS; kind++) {
		struct score_interval interval = figure(report, method, minus, kind);

		jw_kobj(w, score_json_names[kind]);
		jw_knum(w, "mean", interval.mean, DIGITS);
		jw_knum(w, "low", interval.low, DIGITS);
		jw_knum(w, "high", interval.high, DIGITS);
		jw_end(w);
	}
}

static void
write_counts(const struct eval_report *report, struct jw *w)
{
	const struct beir *beir = report->beir;

	jw_kcstr(w, "folder", report->folder);
	jw_kcstr(w, "collection", report->collection);
	jw_kint(w, "documents", (int64_t)(beir->documents - beir->without));
	jw_kint(w, "documents_without_text", (int64_t)beir->without);
	jw_kint(w, "questions", (int64_t)beir->query_count);
	jw_kint(w, "questions_without_relevant", (int64_t)beir->queries_without);
	jw_kint(w, "judgements_of_unknown_questions", (int64_t)beir->judged_unknown);
	jw_kint(w, "judged_documents_missing", (int64_t)beir->judged_missing);
	jw_kint(w, "short_answers", report->short_lists);
	jw_kint(w, "rerank_skipped", report->rerank_skipped);
	jw_kint(w, "ingest_ms", report->ingest_ms);
	jw_kint(w, "query_ms", report->query_ms);
	jw_kint(w, "resamples", report->resamples);
	jw_kint(w, "seed", report->seed);
}

void
eval_report_json(const struct eval_report *report, FILE *out)
{
	AUTO(buf) struct buf text = BUF_INIT(1 << 20);
	struct jw w = jw_start(&text);
	int baseline = baseline_of(report);

	jw_obj(&w);
	write_counts(report, &w);
	jw_kcstr(&w, "baseline", eval_methods[baseline].name);
	jw_karr(&w, "rows");
	for (int method = 0; method < EVAL_METHODS; method++) {
		jw_obj(&w);
		jw_kcstr(&w, "name", eval_methods[method].name);
		write_figures(report, method, -1, &w);
		if (method == baseline) {
			jw_knull(&w, "minus_baseline");
		} else {
			jw_kobj(&w, "minus_baseline");
			write_figures(report, method, baseline, &w);
			jw_end(&w);
		}
		jw_end(&w);
	}
	jw_end(&w);
	jw_end(&w);
	(void)fprintf(out, "%s\n", text.data);
}
