/*
 * report: what a task has found and done, printed once at its end, for people or as one JSON object.
 *
 * Figures keep the order in which they were set. Problems are broken invariants; the first REPORT_PROBLEMS_MAX
 * are kept with their text, all are counted. One thread.
 */
#ifndef RAG_CRON_REPORT_H
#define RAG_CRON_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/arena.h"

#define REPORT_FIGURES_MAX 128
#define REPORT_PROBLEMS_MAX 1000

struct report_figure {
	const char *group, *name; /* arena, literal */
	int64_t value;
};

struct report_problem {
	const char *check, *text; /* arena */
};

struct report {
	const char *task; /* literal */
	struct arena arena;
	struct report_figure figures[REPORT_FIGURES_MAX];
	size_t figure_count;
	struct report_problem *problems; /* owned, heap */
	size_t problem_cap;
	int64_t problem_count; /* all, also those without a text */
};

void report_init(struct report *report, const char *task);
void report_release(struct report *report);

/* Adds to the figure of this name in the group; name is a literal. */
void report_add(struct report *report, const char *group, const char *name, int64_t value);
/* The shape that the verifiers call: user is the report. */
void report_problem(void *user, const char *check, const char *text);

void report_print(const struct report *report, bool json, FILE *out);

#endif
