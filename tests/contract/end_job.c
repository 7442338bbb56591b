/*
 * end_job REDIS_URL: a worker of a test's own in another process. For each line of its input it takes the next job of a
 * queue and ends it, then says which: so a test in any language can have jobs that end in every way.
 *
 *	<queue> hold		starts it and leaves it running
 *	<queue> <CODE>		it fails for good with this code of common/base/err_codes.h
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/api.h"
#include "tests/support/must.h"

static void
end_next(struct redis *redis, const char *queue, const char *how)
{
	struct fake_job job;
	struct arena arena;

	arena_init(&arena, (size_t)64 * 1024 * 1024);
	fake_take(redis, queue, &arena, &job);
	if (strcmp(how, "hold") != 0)
		fake_fail(redis, &job, err_code_from_wire(how), "the test ended it so");
	printf("%s\n", job.job.id);
	(void)fflush(stdout);
	arena_release(&arena);
}

int
main(int argc, char **argv)
{
	struct redis_opts opts = { .url = argc == 2 ? argv[1] : "",
				   .connect_timeout_ms = 5000,
				   .timeout_ms = 5000,
				   .client_name = "end_job" };
	struct redis *redis = NULL;
	char line[128];

	if (argc != 2) {
		(void)fprintf(stderr, "usage: end_job REDIS_URL\n");
		return 2;
	}
	MUST(redis_new(&opts, &redis, e));
	while (fgets(line, sizeof(line), stdin)) {
		char queue[32], how[64];
		struct str rest = str_trim(str_of(line)), word;

		if (!str_split(&rest, ' ', &word) || !str_copy(queue, sizeof(queue), word) ||
		    !str_copy(how, sizeof(how), rest) || how[0] == '\0') {
			(void)fprintf(stderr, "end_job: cannot understand '%s'\n", line);
			return 2;
		}
		end_next(redis, queue, how);
	}
	redis_free(redis);
	return 0;
}
