#include "cli/dead_run.h"

#include <pthread.h>
#include <string.h>

#include "cli/api.h"
#include "cli/progress.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

#define TICK_MS 200
#define DEFAULT_RETRY_S 300 /* a rate limit may hold a long run up again and again */

struct run {
	/* immutable after start */
	struct cli *cli;
	enum dead_verb verb;
	const struct dead_jobs *jobs;
	int64_t retry_ms;

	/* shared, under lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t next, threads_left;
	int64_t busy_until_ms; /* a server asked to wait until then: for the progress line */
	struct dead_outcome *out;
};

void
dead_jobs_add(struct dead_jobs *jobs, const struct dead_job *job)
{
	if (jobs->count == jobs->room) {
		jobs->room = jobs->room ? 2 * jobs->room : 64;
		jobs->items = mem_grow(jobs->items, jobs->room, sizeof(*jobs->items));
	}
	jobs->items[jobs->count++] = *job;
}

void
dead_jobs_release(struct dead_jobs *jobs)
{
	mem_free(jobs->items);
	*jobs = (struct dead_jobs){ .items = NULL };
}

static void
lock(struct run *run)
{
	(void)pthread_mutex_lock(&run->lock);
}

static void
unlock(struct run *run)
{
	(void)pthread_cond_broadcast(&run->changed);
	(void)pthread_mutex_unlock(&run->lock);
}

static void
on_retry(void *user, const struct err *err, int64_t wait_ms)
{
	struct run *run = user;

	(void)err;
	lock(run);
	if (clock_mono_ms() + wait_ms > run->busy_until_ms)
		run->busy_until_ms = clock_mono_ms() + wait_ms;
	unlock(run);
}

/* No longer there, or no longer as it was. */
static bool
has_moved(const struct err *err)
{
	return err->detail == 404 || err->detail == 409 || err->detail == 412;
}

/* What would meet every job alike. */
static bool
is_fatal(const struct err *err)
{
	return err->detail == 401 || err->detail == 403 || err->code == ERR_CANCELLED ||
	       cli_exit_code(err) == CLI_UNREACHABLE;
}

static void
settle(struct run *run, const struct dead_job *job, const struct err *err)
{
	struct dead_outcome *out = run->out;

	lock(run);
	if (err->code == ERR_NONE) {
		out->done++;
	} else if (has_moved(err)) {
		out->moved++;
	} else if (is_fatal(err)) {
		if (!out->fatal)
			out->fatal_err = *err;
		out->fatal = true;
	} else {
		reasons_add(&out->failed, err->msg, job->id);
		if (out->first_err.code == ERR_NONE)
			out->first_err = *err;
	}
	unlock(run);
}

static void
one_job(struct run *run, struct api *api, const struct dead_job *job)
{
	AUTO(buf) struct buf path = BUF_INIT(1024);
	struct api_call call = { .repeatable = true };
	struct err err = ERR_INIT;
	char etag[32];

	(void)snprintf(etag, sizeof(etag), "\"v%lld\"", (long long)job->version);
	buf_add_str(&path, "/api/v1/jobs/");
	api_add_encoded(&path, str_of(job->id));
	if (run->verb == DEAD_RETRY) {
		call.method = "POST";
		buf_add_str(&path, ":retry");
	} else {
		/* not what somebody has retried in the meantime */
		call.method = "DELETE";
		call.if_match = etag;
	}
	call.path = path.data;
	if (!api_send(api, &call, &err) && err.code == ERR_NONE)
		err.code = ERR_INTERNAL;
	settle(run, job, &err);
}

static bool
take(struct run *run, const struct dead_job **out)
{
	bool got;

	lock(run);
	got = !run->out->fatal && !atomic_load(&cli_interrupted) && run->next < run->jobs->count;
	if (got)
		*out = &run->jobs->items[run->next++];
	unlock(run);
	return got;
}

static void *
run_thread(void *user)
{
	struct run *run = user;
	struct api api = { .cli = NULL };
	const struct dead_job *job;
	struct err err = ERR_INIT;

	if (api_open(&api, run->cli, &err)) {
		api.retry_ms = run->retry_ms;
		api.on_retry = on_retry;
		api.user = run;
		while (take(run, &job))
			one_job(run, &api, job);
		api_release(&api);
	}
	lock(run);
	if (err.code != ERR_NONE && !run->out->fatal) {
		run->out->fatal = true;
		run->out->fatal_err = err;
	}
	run->threads_left--;
	unlock(run);
	return NULL;
}

/* Waits up to TICK_MS for the end; false when all threads have ended. */
static bool
snapshot(struct run *run, struct progress_state *out)
{
	int64_t until_ms = clock_mono_ms() + TICK_MS;
	const struct dead_outcome *sofar = run->out;

	lock(run);
	while (run->threads_left > 0 && clock_cond_wait(&run->changed, &run->lock, until_ms))
		;

	bool more = run->threads_left > 0;

	*out = (struct progress_state){ .done = sofar->done + sofar->moved + sofar->failed.total,
					.total = (int64_t)run->jobs->count,
					.failed = sofar->failed.total };
	if (run->busy_until_ms > clock_mono_ms())
		out->note = "(the server asks to wait)";
	(void)pthread_mutex_unlock(&run->lock);
	return more;
}

static void
watch_threads(struct run *run)
{
	const struct cli_world *world = run->cli->world;
	struct progress progress;
	struct progress_state state;

	progress_start(&progress, run->cli->err, world->err_is_terminal, world->columns,
		       clock_mono_ms());
	while (snapshot(run, &state)) {
		if (!run->cli->options.quiet)
			progress_show(&progress, &state, clock_mono_ms());
	}
	progress_end(&progress);
}

static void
run_threads(struct run *run)
{
	size_t count = (size_t)run->cli->options.jobs, started = 0;
	pthread_t *threads;

	if (count > run->jobs->count)
		count = run->jobs->count;
	threads = mem_array(count + 1, sizeof(*threads));
	run->threads_left = count;
	while (started < count && pthread_create(&threads[started], NULL, run_thread, run) == 0)
		started++;
	if (started < count) {
		lock(run);
		run->threads_left -= count - started;
		if (started == 0) {
			run->out->fatal = true;
			err_set(&run->out->fatal_err, ERR_INTERNAL, "could not start a thread");
		}
		unlock(run);
	}
	watch_threads(run);
	for (size_t i = 0; i < started; i++)
		(void)pthread_join(threads[i], NULL);
	mem_free(threads);
}

void
dead_run(struct cli *cli, enum dead_verb verb, const struct dead_jobs *jobs,
	 struct dead_outcome *out)
{
	int64_t retry_s = cli->options.retry_s >= 0 ? cli->options.retry_s : DEFAULT_RETRY_S;
	struct run run = {
		.cli = cli, .verb = verb, .jobs = jobs, .retry_ms = retry_s * 1000, .out = out
	};

	*out = (struct dead_outcome){ .fatal_err = ERR_INIT, .first_err = ERR_INIT };
	(void)pthread_mutex_init(&run.lock, NULL);
	clock_cond_init(&run.changed);
	run_threads(&run);
	(void)pthread_cond_destroy(&run.changed);
	(void)pthread_mutex_destroy(&run.lock);
}
