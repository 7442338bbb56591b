/*
 * top: a live view of queues and workers.
 *
 * Two threads. The reader asks the API every interval: the queues, the workers, the bulk imports at work, and the newest dead jobs of
 * each queue with their errors (a record that has been read is not asked for again). The calling thread draws, and looks at keys, size and
 * signals ten times a second, so that a server that hangs does not make the view hang. They meet in one locked struct; the
 * drawing thread keeps the lock while it turns the trees into text. Nothing but the end of the program ends it: while the
 * server is away the last figures stay, with their age.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/show.h"
#include "cli/terminal.h"
#include "cli/top_view.h"
#include "common/base/clock.h"

#define DEFAULT_INTERVAL_S 2
#define CALL_TIMEOUT_MS 5000
#define LOOK_MS 100
#define VIEW_BYTES ((size_t)4 << 20)

struct top {
	/* immutable after start */
	struct cli *cli;
	int64_t interval_ms;

	/* owned by the reader */
	struct api api;

	/* shared, under lock */
	pthread_mutex_t lock;
	struct js *queues_page, *workers_page, *running_page; /* owned; NULL = not read */
	struct js *failures[TOP_MAX_FAILURES];		      /* owned */
	size_t failure_count;
	struct err problem, workers_problem; /* code ERR_NONE = none */
	int64_t read_unix_ms;
	unsigned reads;	   /* rounds that have ended */
	bool asked, ended; /* to read at once; to end */
};

/* ---- reading ---- */

static bool
get(struct top *top, const char *path, struct js **out, struct err *err)
{
	AUTO_PTR(js_free) struct js *page = NULL;
	struct api_call call = { .method = "GET", .path = path, .timeout_ms = CALL_TIMEOUT_MS };

	if (!api_json(&top->api, &call, &page, err))
		return false;
	*out = TAKE(page);
	return true;
}

/* The same for a list: it must have an array `data`. */
static bool
get_list(struct top *top, const char *path, struct js **out, struct err *err)
{
	AUTO_PTR(js_free) struct js *page = NULL;

	if (!get(top, path, &page, err))
		return false;
	if (!js_is(show_member(page, "data"), JS_ARRAY))
		return err_set(err, ERR_PROTOCOL, "the server's list has no 'data'");
	*out = TAKE(page);
	return true;
}

struct failures {
	struct js *rows[TOP_MAX_FAILURES]; /* owned; newest first */
	size_t count;
};

static void
failures_release(struct failures *failures)
{
	for (size_t i = 0; i < failures->count; i++)
		js_free(failures->rows[i]);
	failures->count = 0;
}

static bool
same_record(const struct js *a, const struct js *b)
{
	return str_eq(show_text(a, "id"), show_text(b, "id")) &&
	       show_int(a, "version", -1) == show_int(b, "version", -2);
}

/* Takes over the record that the last round has read of this job. Only the reader changes failures, so it may look. */
static struct js *
take_known(struct top *top, const struct js *job)
{
	struct js *found = NULL;

	(void)pthread_mutex_lock(&top->lock);
	for (size_t i = 0; i < top->failure_count && !found; i++) {
		if (!top->failures[i] || !same_record(top->failures[i], job))
			continue;
		found = top->failures[i];
		top->failures[i] = top->failures[--top->failure_count];
	}
	(void)pthread_mutex_unlock(&top->lock);
	return found;
}

/* ISO times of one zone sort as texts. */
static bool
is_newer(const struct js *a, const struct js *b)
{
	return str_cmp(show_text(a, "finished_at"), show_text(b, "finished_at")) > 0;
}

/* Puts the record where its time belongs; the oldest goes when there are too many. */
static void
insert(struct failures *failures, struct js *job)
{
	size_t at = failures->count;

	while (at > 0 && is_newer(job, failures->rows[at - 1]))
		at--;
	if (failures->count == TOP_MAX_FAILURES) {
		if (at == TOP_MAX_FAILURES) {
			js_free(job);
			return;
		}
		js_free(failures->rows[--failures->count]);
	}
	for (size_t i = failures->count; i > at; i--)
		failures->rows[i] = failures->rows[i - 1];
	failures->rows[at] = job;
	failures->count++;
}

/* The newest dead jobs of one queue; lists leave the text of the error out, the record has it. */
static bool
read_dead(struct top *top, struct str queue, struct failures *io, struct err *err)
{
	AUTO(buf) struct buf path = BUF_INIT(1024);
	AUTO_PTR(js_free) struct js *page = NULL;
	const struct js *data;

	buf_printf(&path, "/api/v1/queues/");
	api_add_encoded(&path, queue);
	buf_printf(&path, "/dead?page_size=%d", TOP_MAX_FAILURES);
	if (!get_list(top, path.data, &page, err))
		return false;
	data = js_get(page, "data");
	for (size_t i = 0; i < js_len(data) && i < TOP_MAX_FAILURES; i++) {
		const struct js *row = js_at(data, i);
		struct js *job;
		struct err gone = ERR_INIT;

		if (io->count == TOP_MAX_FAILURES && !is_newer(row, io->rows[io->count - 1]))
			break;
		job = take_known(top, row);
		buf_clear(&path);
		buf_add_str(&path, "/api/v1/jobs/");
		api_add_encoded(&path, show_text(row, "id"));
		/* retried or purged in the meantime: passed over */
		if (job || get(top, path.data, &job, &gone))
			insert(io, job);
	}
	return true;
}

static bool
read_failures(struct top *top, const struct js *queues_page, struct failures *out, struct err *err)
{
	const struct js *queues = js_get(queues_page, "data");

	for (size_t i = 0; i < js_len(queues); i++) {
		const struct js *queue = js_at(queues, i);

		if (show_int(queue, "dead", 0) > 0 &&
		    !read_dead(top, show_text(queue, "name"), out, err))
			return false;
	}
	return true;
}

/*
 * What runs in `ingest`: a list of it begins with the bulk imports at work, which are not in the stream. No more is asked for
 * than runs, so that the walk over the queue does not go on into what waits.
 */
static bool
read_running(struct top *top, const struct js *queues_page, struct js **out, struct err *err)
{
	const struct js *queues = js_get(queues_page, "data");
	AUTO(buf) struct buf path = BUF_INIT(1024);
	int64_t running = 0;

	for (size_t i = 0; i < js_len(queues); i++)
		if (str_eq_c(show_text(js_at(queues, i), "name"), "ingest"))
			running = show_int(js_at(queues, i), "running", 0);
	running = running < 1 ? 1 : running > TOP_MAX_BATCHES ? TOP_MAX_BATCHES : running;
	buf_printf(&path, "/api/v1/jobs?queue=ingest&status=running&page_size=%lld",
		   (long long)running);
	return get_list(top, path.data, out, err);
}

static void
replace(struct js **slot, struct js *value)
{
	js_free(*slot);
	*slot = value;
}

static void
read_once(struct top *top)
{
	AUTO(failures) struct failures failures = { .count = 0 };
	struct js *queues = NULL, *workers = NULL, *running = NULL;
	struct err err = ERR_INIT, workers_err = ERR_INIT;
	bool ok = get_list(top, "/api/v1/queues", &queues, &err);
	bool has_workers = ok && get_list(top, "/api/v1/workers", &workers, &workers_err);

	if (ok)
		ok = read_failures(top, queues, &failures, &err) &&
		     read_running(top, queues, &running, &err);
	(void)pthread_mutex_lock(&top->lock);
	top->problem = err;
	if (queues) {
		replace(&top->queues_page, queues);
		top->read_unix_ms = clock_unix_ms();
		top->workers_problem = workers_err;
	}
	if (has_workers || workers_err.detail != 0)
		replace(&top->workers_page, workers);
	if (ok) {
		replace(&top->running_page, running);
		for (size_t i = 0; i < top->failure_count; i++)
			js_free(top->failures[i]);
		memcpy(top->failures, failures.rows, sizeof(failures.rows));
		top->failure_count = failures.count;
		failures.count = 0;
	}
	top->reads++;
	(void)pthread_mutex_unlock(&top->lock);
}

/* Waits for the next round; a server that asks for more time gets it. */
static bool
wait_round(struct top *top)
{
	int64_t until = clock_mono_ms() + top->interval_ms;
	bool go_on = true, asked = false;

	if (top->problem.retry_after_ms > top->interval_ms)
		until = clock_mono_ms() + top->problem.retry_after_ms;
	while (go_on && !asked && clock_mono_ms() < until) {
		clock_sleep_ms(LOOK_MS);
		(void)pthread_mutex_lock(&top->lock);
		go_on = !top->ended;
		asked = top->asked;
		top->asked = false;
		(void)pthread_mutex_unlock(&top->lock);
	}
	return go_on;
}

static void *
reader_main(void *user)
{
	struct top *top = user;

	do {
		read_once(top);
	} while (wait_round(top));
	return NULL;
}

/* ---- showing ---- */

/* Under the lock. */
static struct top_state
state_of(const struct top *top, bool once)
{
	struct top_state state = {
		.url = top->cli->url,
		.interval_ms = once ? 0 : top->interval_ms,
		.now_unix_ms = clock_unix_ms(),
		.read_unix_ms = top->read_unix_ms,
		.problem = top->problem.code == ERR_NONE ? NULL : top->problem.msg,
		.workers_problem =
			top->workers_problem.code == ERR_NONE ? NULL : top->workers_problem.msg,
		.queues = show_member(top->queues_page, "data"),
		.workers = show_member(top->workers_page, "data"),
		.failure_count = top->failure_count,
		.color = top->cli->color,
	};

	for (size_t i = 0; i < top->failure_count; i++)
		state.failures[i] = top->failures[i];

	const struct js *running = show_member(top->running_page, "data");

	for (size_t i = 0; js_is(running, JS_ARRAY) && i < js_len(running); i++) {
		const struct js *job = js_at(running, i);

		if (show_member(job, "import") && state.batch_count < TOP_MAX_BATCHES)
			state.batches[state.batch_count++] = job;
	}
	return state;
}

static void
print_round(struct top *top, bool once)
{
	AUTO(buf) struct buf text = BUF_INIT(VIEW_BYTES * 16);
	struct top_state state;

	(void)pthread_mutex_lock(&top->lock);
	state = state_of(top, once);
	if (top->cli->options.json)
		top_view_json(&state, &text);
	else if (once)
		top_view(&state, show_columns(top->cli), 0, &text);
	else
		top_view_plain(&state, &text);
	(void)pthread_mutex_unlock(&top->lock);
	(void)fputs(text.data, top->cli->out);
	(void)fflush(top->cli->out);
}

static void
draw(struct top *top, struct terminal *terminal)
{
	AUTO(buf) struct buf text = BUF_INIT(VIEW_BYTES);
	struct top_state state;

	(void)pthread_mutex_lock(&top->lock);
	state = state_of(top, false);
	top_view(&state, terminal->columns, terminal->rows, &text);
	(void)pthread_mutex_unlock(&top->lock);
	terminal_draw(terminal, str_make(text.data, text.len));
}

/* The first answer refuses us: asking again would not help. */
static bool
is_hopeless(struct top *top)
{
	bool hopeless;

	(void)pthread_mutex_lock(&top->lock);
	hopeless = top->read_unix_ms == 0 && top->problem.detail >= 400 &&
		   top->problem.detail < 500 && cli_exit_code(&top->problem) != CLI_UNREACHABLE;
	(void)pthread_mutex_unlock(&top->lock);
	return hopeless;
}

static unsigned
reads(struct top *top)
{
	unsigned count;

	(void)pthread_mutex_lock(&top->lock);
	count = top->reads;
	(void)pthread_mutex_unlock(&top->lock);
	return count;
}

/* Draws when something was read, when the size has changed, and each second for the ages. */
static int
watch_screen(struct top *top)
{
	struct terminal terminal;
	unsigned drawn = 0;
	int64_t drawn_ms = 0;
	int code = -1;

	terminal_open(&terminal, top->cli->out);
	while (code < 0) {
		bool due = terminal_measure(&terminal) || reads(top) != drawn ||
			   clock_mono_ms() - drawn_ms >= 1000;

		if (due) {
			drawn = reads(top);
			drawn_ms = clock_mono_ms();
			draw(top, &terminal);
		}

		int key = terminal_key(&terminal, LOOK_MS);

		if (key == 'q' || key == 'Q')
			code = CLI_OK;
		else if (is_hopeless(top))
			code = CLI_REFUSED;
		else if (key == TERMINAL_CTRL_C || atomic_load(&cli_interrupted))
			code = CLI_INTERRUPTED;
		else if (key == ' ' || key == TERMINAL_CTRL_L) {
			(void)pthread_mutex_lock(&top->lock);
			top->asked = true;
			(void)pthread_mutex_unlock(&top->lock);
		}
	}
	terminal_close(&terminal);
	return code;
}

static int
watch_lines(struct top *top)
{
	unsigned printed = 0;

	while (!atomic_load(&cli_interrupted) && !ferror(top->cli->out)) {
		if (is_hopeless(top))
			return CLI_REFUSED;
		if (reads(top) != printed) {
			printed = reads(top);
			print_round(top, false);
		}
		clock_sleep_ms(LOOK_MS);
	}
	return atomic_load(&cli_interrupted) ? CLI_INTERRUPTED : CLI_FAILED;
}

/* ---- the command ---- */

static int
run_live(struct top *top, bool screen)
{
	pthread_t reader;
	int code;

	if (pthread_create(&reader, NULL, reader_main, top) != 0) {
		struct err err = ERR_INIT;

		err_set(&err, ERR_INTERNAL, "could not start a thread");
		return cli_fail(top->cli, &err);
	}
	code = screen ? watch_screen(top) : watch_lines(top);
	(void)pthread_mutex_lock(&top->lock);
	top->ended = true;
	(void)pthread_mutex_unlock(&top->lock);
	atomic_store(&cli_interrupted, true); /* cuts a call that is in progress */
	(void)pthread_join(reader, NULL);
	return code == CLI_REFUSED ? cli_fail(top->cli, &top->problem) : code;
}

static int
run_once(struct top *top)
{
	read_once(top);
	if (top->problem.code != ERR_NONE)
		return cli_fail(top->cli, &top->problem);
	print_round(top, true);
	return CLI_OK;
}

int
cli_top(struct cli *cli)
{
	const struct cli_options *options = &cli->options;
	int64_t interval_s = options->interval_s ? options->interval_s : DEFAULT_INTERVAL_S;
	struct top top = { .cli = cli, .interval_ms = interval_s * 1000 };
	bool once = options->once || (options->json && !options->interval_s);
	struct err err = ERR_INIT;
	int code;

	top.problem = top.workers_problem = err;
	if (!api_open(&top.api, cli, &err))
		return cli_fail(cli, &err);
	if (!once)
		top.api.retry_ms = 0; /* the next round is the next try */
	(void)pthread_mutex_init(&top.lock, NULL);
	code = once ? run_once(&top) : run_live(&top, cli->world->can_draw && !options->json);
	(void)pthread_mutex_destroy(&top.lock);
	js_free(top.queues_page);
	js_free(top.workers_page);
	js_free(top.running_page);
	for (size_t i = 0; i < top.failure_count; i++)
		js_free(top.failures[i]);
	api_release(&top.api);
	return code;
}
