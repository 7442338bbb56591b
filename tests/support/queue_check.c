#include "tests/support/queue_check.h"

#include <stdio.h>

#include "tests/support/must.h"

void
queue_check(struct redis *redis, struct queue_ref queue, const char *when,
	    struct queue_verify_report *out)
{
	static _Thread_local struct queue_verify_report report;

	MUST(queue_verify(redis, queue, &report, e));
	for (size_t i = 0; i < report.text_count; i++)
		(void)fprintf(stderr, "%s: %s\n", when, report.texts[i]);
	if (report.problems > 0)
		fail_msg("%s: %lld invariants broken", when, (long long)report.problems);
	if (!report.totals_checked)
		fail_msg("%s: the queue was not at rest", when);
	if (out)
		*out = report;
}
