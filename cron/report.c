#include "cron/report.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/json.h"

#define REPORT_MAX_BYTES ((size_t)64 << 20)

void
report_init(struct report *report, const char *task)
{
	*report = (struct report){ .task = task };
	arena_init(&report->arena, REPORT_MAX_BYTES);
}

void
report_release(struct report *report)
{
	arena_release(&report->arena);
	mem_free(report->problems);
	*report = (struct report){ .task = "" };
}

void
report_add(struct report *report, const char *group, const char *name, int64_t value)
{
	for (size_t i = 0; i < report->figure_count; i++) {
		struct report_figure *figure = &report->figures[i];

		if (strcmp(figure->group, group) == 0 && strcmp(figure->name, name) == 0) {
			figure->value += value;
			return;
		}
	}
	const char *copy = arena_strdup(&report->arena, group);

	if (copy && report->figure_count < REPORT_FIGURES_MAX)
		report->figures[report->figure_count++] =
			(struct report_figure){ .group = copy, .name = name, .value = value };
}

void
report_problem(void *user, const char *check, const char *text)
{
	struct report *report = user;
	size_t kept = (size_t)report->problem_count++;

	if (kept >= REPORT_PROBLEMS_MAX)
		return;
	if (kept == report->problem_cap) {
		report->problem_cap = kept == 0 ? 16 : kept * 2;
		report->problems =
			mem_grow(report->problems, report->problem_cap, sizeof(*report->problems));
	}
	const char *check_copy = arena_strdup(&report->arena, check);
	const char *text_copy = arena_strdup(&report->arena, text);

	report->problems[kept] = (struct report_problem){
		.check = check_copy ? check_copy : "",
		.text = text_copy ? text_copy : "",
	};
}

static size_t
kept_problems(const struct report *report)
{
	return report->problem_count < REPORT_PROBLEMS_MAX ? (size_t)report->problem_count
							   : REPORT_PROBLEMS_MAX;
}

static void
print_json(const struct report *report, FILE *out)
{
	AUTO(buf) struct buf text = BUF_INIT(REPORT_MAX_BYTES);
	struct jw w = jw_start(&text);

	jw_obj(&w);
	jw_kcstr(&w, "task", report->task);
	jw_kbool(&w, "ok", report->problem_count == 0);
	jw_kobj(&w, "figures");
	for (size_t i = 0; i < report->figure_count; i++) {
		const struct report_figure *figure = &report->figures[i];

		if (i == 0 || strcmp(figure[-1].group, figure->group) != 0) {
			if (i > 0)
				jw_end(&w);
			jw_kobj(&w, figure->group);
		}
		jw_kint(&w, figure->name, figure->value);
	}
	if (report->figure_count > 0)
		jw_end(&w);
	jw_end(&w);
	jw_kint(&w, "problem_count", report->problem_count);
	jw_karr(&w, "problems");
	for (size_t i = 0; i < kept_problems(report); i++) {
		jw_obj(&w);
		jw_kcstr(&w, "check", report->problems[i].check);
		jw_kcstr(&w, "text", report->problems[i].text);
		jw_end(&w);
	}
	jw_end(&w);
	jw_end(&w);
	(void)fprintf(out, "%s\n", text.data);
}

static void
print_text(const struct report *report, FILE *out)
{
	const char *group = "";

	for (size_t i = 0; i < kept_problems(report); i++)
		(void)fprintf(out, "BROKEN %s: %s\n", report->problems[i].check,
			      report->problems[i].text);
	for (size_t i = 0; i < report->figure_count; i++) {
		const struct report_figure *figure = &report->figures[i];

		if (strcmp(group, figure->group) != 0)
			(void)fprintf(out, "%s%s:", i > 0 ? "\n" : "", figure->group);
		(void)fprintf(out, "%s %" PRId64 " %s", strcmp(group, figure->group) ? "" : ",",
			      figure->value, figure->name);
		group = figure->group;
	}
	if (report->figure_count > 0)
		(void)fputc('\n', out);
	if (report->problem_count > REPORT_PROBLEMS_MAX)
		(void)fprintf(out, "%s: %" PRId64 " problems, the first %d are shown\n",
			      report->task, report->problem_count, REPORT_PROBLEMS_MAX);
	else if (report->problem_count > 0)
		(void)fprintf(out, "%s: %" PRId64 " problem%s\n", report->task,
			      report->problem_count, report->problem_count == 1 ? "" : "s");
	else
		(void)fprintf(out, "%s: ok\n", report->task);
}

void
report_print(const struct report *report, bool json, FILE *out)
{
	if (json)
		print_json(report, out);
	else
		print_text(report, out);
	(void)fflush(out);
}
