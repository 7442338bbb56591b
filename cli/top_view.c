/*
 * The screen, from top to bottom: what is looked at (one line), what is wrong (one line, when something is), the queues, the bulk imports at work, the
 * workers (busy ones; those that wait are only counted), the newest failures. When the rows do not suffice, the failures
 * shrink to three and the workers to what is left; what is missing is said.
 */
#include "cli/top_view.h"

#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/show.h"
#include "cli/text.h"
#include "common/base/auto.h"
#include "common/base/clock.h"

#define LINE_BYTES 65536
#define LEAST_FAILURES 3
#define PLAIN_WORKERS 1000

static const char bold[] = "\033[1m", red[] = "\033[31m", yellow[] = "\033[33m", dim[] = "\033[2m";

struct screen {
	const struct top_state *state;
	size_t columns; /* 0 = no limit */
	size_t rows;	/* left; SIZE_MAX = no limit */
	struct buf *out;
};

/* One line, cut, in a colour (NULL = none). */
static void
add_line(struct screen *screen, struct str line, const char *color)
{
	size_t columns;

	if (screen->rows == 0)
		return;
	if (screen->rows != SIZE_MAX)
		screen->rows--;
	if (screen->columns > 0)
		line.len = text_fitting(line, screen->columns, &columns);
	color = screen->state->color ? color : NULL;
	buf_add_str(screen->out, color ? color : "");
	buf_add(screen->out, line.ptr, line.len);
	buf_add_str(screen->out, color ? "\033[0m\n" : "\n");
}

/* The table's lines; color_of tells the colour of a row (0 is the first below the heads). */
static void
add_table(struct screen *screen, const struct text_table *table, size_t max_rows,
	  const char *(*color_of)(const void *user, size_t row), const void *user)
{
	AUTO(buf) struct buf text = BUF_INIT(SIZE_MAX / 4);
	struct str rest, line;

	text_table_format(table, screen->columns, &text);
	rest = str_make(text.data, text.len);
	for (size_t row = 0; row <= max_rows && str_split(&rest, '\n', &line); row++)
		add_line(screen, line, row == 0 ? bold : color_of(user, row - 1));
}

/* ---- the first lines ---- */

static void
add_clock(struct buf *out, int64_t unix_ms)
{
	char iso[CLOCK_ISO_BYTES];

	clock_format_iso(iso, unix_ms);
	buf_add(out, iso + 11, 8);
}

static void
add_head(struct screen *screen)
{
	AUTO(buf) struct buf line = BUF_INIT(LINE_BYTES);
	const struct top_state *state = screen->state;

	buf_add_str(&line, "ragctl top  ");
	text_add_line(&line, str_of(state->url));
	buf_add_str(&line, "  ");
	add_clock(&line, state->now_unix_ms);
	buf_add_str(&line, " UTC");
	if (state->interval_ms > 0)
		buf_printf(&line, "  every %lld s, q quits", (long long)state->interval_ms / 1000);
	add_line(screen, str_make(line.data, line.len), bold);
	if (!state->problem)
		return;
	buf_clear(&line);
	buf_add_str(&line, "trouble: ");
	text_add_line(&line, str_of(state->problem));
	if (state->read_unix_ms > 0) {
		buf_add_str(&line, "; what is shown is ");
		text_add_age(&line, (state->now_unix_ms - state->read_unix_ms) / 1000);
		buf_add_str(&line, " old");
	}
	if (state->interval_ms > 0)
		buf_add_str(&line, "; trying again");
	add_line(screen, str_make(line.data, line.len), red);
}

/* ---- queues ---- */

static void
add_rate(struct buf *out, const struct js *queue)
{
	const struct js *rate = show_member(queue, "finished_per_s");
	double value = js_is(rate, JS_REAL) || js_is(rate, JS_INT) ? js_number(rate) : 0;

	buf_printf(out, value > 0 && value < 100 ? "%.1f" : "%.0f", value);
}

/* "" when nothing waits or nothing finishes. */
static void
add_drain(struct buf *out, const struct js *queue)
{
	int64_t seconds = show_int(queue, "drain_s", 0);

	if (seconds > 0 && seconds < INT64_C(360000))
		text_add_duration(out, seconds);
	else if (seconds > 0)
		text_add_age(out, seconds);
}

static void
add_queue(struct text_table *table, const struct js *queue)
{
	static const char *const numbers[] = { "waiting", "running", "due", "dead", "demand" };
	AUTO(buf) struct buf cell = BUF_INIT(64);

	text_table_add(table, show_text(queue, "name"));
	text_table_add(table, show_bool(queue, "paused") ? STR("paused") : STR("running"));
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		buf_clear(&cell);
		text_add_count(&cell, show_int(queue, numbers[i], 0));
		text_table_add_right(table, str_make(cell.data, cell.len));
	}
	buf_clear(&cell);
	add_rate(&cell, queue);
	text_table_add_right(table, str_make(cell.data, cell.len));
	buf_clear(&cell);
	if (show_int(queue, "waiting", 0) > 0)
		text_add_age(&cell, show_int(queue, "oldest_s", 0));
	text_table_add_right(table, str_make(cell.data, cell.len));
	buf_clear(&cell);
	add_drain(&cell, queue);
	text_table_add_right(table, str_make(cell.data, cell.len));
	text_table_add_int(table, show_int(queue, "workers", 0));
}

static const char *
queue_color(const void *user, size_t row)
{
	const struct js *queue = js_at(user, row);

	if (show_bool(queue, "paused"))
		return yellow;
	/* work, and nobody to do it */
	if (show_int(queue, "waiting", 0) > 0 && show_int(queue, "workers", 0) == 0)
		return red;
	return NULL;
}

static void
add_queues(struct screen *screen)
{
	static const char *const heads[] = { "QUEUE",  "STATE",	 "WAITING", "RUNNING",
					     "DUE",    "DEAD",	 "DEMAND",  "DONE/S",
					     "OLDEST", "DRAINS", "WORKERS" };
	const struct js *queues = screen->state->queues;
	struct text_table table;

	if (!js_is(queues, JS_ARRAY))
		return;
	add_line(screen, STR(""), NULL);
	text_table_init(&table, heads, ARRAY_SIZE(heads), 0);
	for (size_t i = 0; i < js_len(queues); i++)
		add_queue(&table, js_at(queues, i));
	add_table(screen, &table, js_len(queues), queue_color, queues);
	text_table_release(&table);
}

/* ---- bulk imports ---- */

static const char *
no_color(const void *user, size_t row)
{
	(void)user;
	(void)row;
	return NULL;
}

static void
add_batch(struct text_table *table, const struct js *job)
{
	static const char *const numbers[] = { "done", "total", "failed", "rate_per_s" };
	const struct js *progress = show_member(job, "progress");
	const struct js *import = show_member(job, "import");
	AUTO(buf) struct buf cell = BUF_INIT(64);
	int64_t eta_s = show_int(progress, "eta_s", 0);

	text_table_add(table, show_text(job, "id"));
	text_table_add(table, show_text(job, "collection"));
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		buf_clear(&cell);
		text_add_count(&cell, show_int(progress, numbers[i], 0));
		text_table_add_right(table, str_make(cell.data, cell.len));
	}
	buf_clear(&cell);
	if (eta_s > 0)
		text_add_duration(&cell, eta_s);
	text_table_add_right(table, str_make(cell.data, cell.len));
	text_table_add(table, show_bool(import, "sealed") ? STR("") : STR("uploading"));
}

static void
add_batches(struct screen *screen)
{
	static const char *const heads[] = { "IMPORT", "COLLECTION", "DONE", "OF",
					     "FAILED", "DONE/S",     "LEFT", "" };
	const struct top_state *state = screen->state;
	struct text_table table;

	if (state->batch_count == 0)
		return;
	add_line(screen, STR(""), NULL);
	text_table_init(&table, heads, ARRAY_SIZE(heads), 0);
	table.tight = true;
	for (size_t i = 0; i < state->batch_count; i++)
		add_batch(&table, state->batches[i]);
	add_table(screen, &table, state->batch_count, no_color, NULL);
	text_table_release(&table);
}

/* ---- workers ---- */

struct busy {
	const struct js *rows[PLAIN_WORKERS];
	size_t count, busy, idle, silent; /* count: rows kept */
};

static void
sort_out(const struct js *workers, struct busy *out)
{
	for (size_t i = 0; js_is(workers, JS_ARRAY) && i < js_len(workers); i++) {
		const struct js *worker = js_at(workers, i);
		bool live = show_bool(worker, "live");

		if (live && !show_member(worker, "job")) {
			out->idle++;
			continue;
		}
		out->busy += live;
		out->silent += !live;
		if (out->count < PLAIN_WORKERS)
			out->rows[out->count++] = worker;
	}
}

static int64_t
seconds_since(const struct top_state *state, const struct js *object, const char *key)
{
	int64_t at = 0;

	if (!clock_parse_iso(show_text(object, key), &at))
		return -1;
	return state->now_unix_ms > at ? (state->now_unix_ms - at) / 1000 : 0;
}

/* "embed 412/1000" */
static void
add_stage(struct buf *out, const struct js *job)
{
	struct str stage = show_text(job, "stage");
	int64_t total = show_int(job, "total", 0);

	buf_add(out, stage.ptr, stage.len);
	if (stage.len > 0 && total > 0)
		buf_printf(out, " %lld/%lld", (long long)show_int(job, "done", 0),
			   (long long)total);
}

static void
add_worker(const struct top_state *state, struct text_table *table, const struct js *worker)
{
	const struct js *job = show_member(worker, "job");
	AUTO(buf) struct buf cell = BUF_INIT(4096);
	int64_t seconds = seconds_since(state, job, "started_at");

	text_table_add(table, show_text(worker, "name"));
	text_table_add(table, show_text(worker, "queue"));
	if (seconds >= 0)
		text_add_age(&cell, seconds);
	text_table_add_right(table, str_make(cell.data, cell.len));
	/* operators see that another tenant's job runs, not which */
	text_table_add(table, job && !show_member(job, "id") ? STR("(of another tenant)")
							     : show_text(job, "id"));
	text_table_add(table, show_text(job, "type"));
	text_table_add(table, show_text(job, "collection"));
	buf_clear(&cell);
	if (show_bool(worker, "live"))
		add_stage(&cell, job);
	else
		buf_add_str(&cell, "silent: its job starts again elsewhere");
	text_table_add(table, str_make(cell.data, cell.len));
}

static const char *
worker_color(const void *user, size_t row)
{
	const struct busy *busy = user;

	return show_bool(busy->rows[row], "live") ? NULL : red;
}

static void
add_rest(struct screen *screen, size_t count)
{
	AUTO(buf) struct buf line = BUF_INIT(128);

	buf_printf(&line, "… %zu more", count);
	add_line(screen, str_make(line.data, line.len), dim);
}

/* In at most max_rows lines, the empty one above included. */
static void
add_workers(struct screen *screen, size_t max_rows)
{
	static const char *const heads[] = { "WORKER", "QUEUE",	     "FOR",  "JOB",
					     "TYPE",   "COLLECTION", "STAGE" };
	AUTO(buf) struct buf line = BUF_INIT(LINE_BYTES);
	const struct top_state *state = screen->state;
	struct busy busy = { .count = 0 };
	struct text_table table;
	size_t room, shown;

	sort_out(state->workers, &busy);
	add_line(screen, STR(""), NULL);
	if (state->workers_problem) {
		buf_add_str(&line, "no workers to see: ");
		text_add_line(&line, str_of(state->workers_problem));
	} else {
		buf_printf(&line, "%zu busy, %zu waiting for work", busy.busy, busy.idle);
		if (busy.silent > 0)
			buf_printf(&line, ", %zu silent", busy.silent);
	}
	add_line(screen, str_make(line.data, line.len), dim);
	if (busy.count == 0 || max_rows < 4)
		return;
	room = max_rows - 3; /* the two lines above, and the heads */
	shown = busy.count <= room ? busy.count : room - 1;
	text_table_init(&table, heads, ARRAY_SIZE(heads), ARRAY_SIZE(heads) - 1);
	table.tight = true;
	for (size_t i = 0; i < shown; i++)
		add_worker(state, &table, busy.rows[i]);
	add_table(screen, &table, shown, worker_color, &busy);
	text_table_release(&table);
	if (shown < busy.count)
		add_rest(screen, busy.count - shown);
}

/* ---- failures ---- */

static void
add_failures(struct screen *screen, size_t max_rows)
{
	static const char *const heads[] = { "FAILED", "JOB", "TYPE", "COLLECTION", "ERROR", "" };
	const struct top_state *state = screen->state;
	struct text_table table;

	if (state->failure_count == 0 || max_rows < 3)
		return;
	add_line(screen, STR(""), NULL);
	text_table_init(&table, heads, ARRAY_SIZE(heads), ARRAY_SIZE(heads) - 1);
	table.tight = true;
	for (size_t i = 0; i < state->failure_count; i++) {
		const struct js *job = state->failures[i];
		const struct js *error = show_member(job, "error");
		AUTO(buf) struct buf cell = BUF_INIT(LINE_BYTES);
		int64_t seconds = seconds_since(state, job, "finished_at");

		if (seconds >= 0)
			text_add_age(&cell, seconds);
		text_table_add_right(&table, str_make(cell.data, cell.len));
		text_table_add(&table, show_text(job, "id"));
		text_table_add(&table, show_text(job, "type"));
		text_table_add(&table, show_text(job, "collection"));
		text_table_add(&table, show_text(error, "code"));
		buf_clear(&cell);
		if (error)
			api_problem_text(error, &cell);
		text_table_add(&table, str_make(cell.data, cell.len));
	}
	add_table(screen, &table, max_rows - 2, no_color, NULL);
	text_table_release(&table);
}

/* ---- public ---- */

void
top_view(const struct top_state *state, size_t columns, size_t rows, struct buf *out)
{
	struct screen screen = {
		.state = state, .columns = columns, .rows = rows ? rows : SIZE_MAX, .out = out
	};
	size_t failures = state->failure_count ? state->failure_count + 2 : 0;
	size_t least = failures < LEAST_FAILURES + 2 ? failures : LEAST_FAILURES + 2;
	size_t workers = PLAIN_WORKERS;

	add_head(&screen);
	add_queues(&screen);
	add_batches(&screen);
	if (!state->queues && !state->workers)
		return;
	if (rows)
		workers = screen.rows > least ? screen.rows - least : 0;
	if (workers >= 2)
		add_workers(&screen, workers);
	add_failures(&screen, rows && screen.rows < failures ? screen.rows : failures);
}

void
top_view_plain(const struct top_state *state, struct buf *out)
{
	const struct js *queues = state->problem ? NULL : state->queues;
	char now[CLOCK_ISO_BYTES];

	clock_format_iso(now, state->now_unix_ms);
	if (state->problem) {
		buf_printf(out, "%s trouble: ", now);
		text_add_line(out, str_of(state->problem));
		buf_add_char(out, '\n');
	}
	for (size_t i = 0; js_is(queues, JS_ARRAY) && i < js_len(queues); i++) {
		const struct js *queue = js_at(queues, i);
		AUTO(buf) struct buf name = BUF_INIT(1024);

		text_add_line(&name, show_text(queue, "name"));
		buf_printf(out, "%s %s waiting=%lld running=%lld due=%lld dead=%lld demand=%lld",
			   now, name.data, (long long)show_int(queue, "waiting", 0),
			   (long long)show_int(queue, "running", 0),
			   (long long)show_int(queue, "due", 0),
			   (long long)show_int(queue, "dead", 0),
			   (long long)show_int(queue, "demand", 0));
		buf_add_str(out, " done_per_s=");
		add_rate(out, queue);
		buf_printf(out, " oldest_s=%lld workers=%lld%s\n",
			   (long long)show_int(queue, "oldest_s", 0),
			   (long long)show_int(queue, "workers", 0),
			   show_bool(queue, "paused") ? " paused" : "");
	}
}

static void
write_or_null(struct jw *w, const char *key, const struct js *value)
{
	jw_key(w, key);
	if (value)
		jw_js(w, value);
	else
		jw_null(w);
}

void
top_view_json(const struct top_state *state, struct buf *out)
{
	struct jw w = jw_start(out);

	jw_obj(&w);
	jw_ktime(&w, "at", state->now_unix_ms);
	jw_kcstr(&w, "problem", state->problem);
	write_or_null(&w, "queues", state->problem ? NULL : state->queues);
	write_or_null(&w, "workers", state->problem ? NULL : state->workers);
	jw_karr(&w, "imports");
	for (size_t i = 0; i < state->batch_count && !state->problem; i++)
		jw_js(&w, state->batches[i]);
	jw_end(&w);
	jw_karr(&w, "failures");
	for (size_t i = 0; i < state->failure_count && !state->problem; i++)
		jw_js(&w, state->failures[i]);
	jw_end(&w);
	jw_end(&w);
	buf_add_char(out, '\n');
}
