#include "cli/progress.h"

#include "cli/text.h"
#include "common/base/auto.h"

#define SAMPLE_MS 1000
#define PLAIN_EVERY_MS 10000
#define SMOOTHING 0.3
#define BAR_MAX 30

void
progress_start(struct progress *progress, FILE *out, bool bar, int columns, int64_t now_ms)
{
	*progress = (struct progress){ .out = out,
				       .bar = bar,
				       .columns = columns,
				       .plain_every_ms = PLAIN_EVERY_MS,
				       .last_ms = now_ms,
				       .last_plain_ms = now_ms,
				       .rate = -1 };
}

static void
sample(struct progress *progress, int64_t done, int64_t now_ms)
{
	int64_t passed = now_ms - progress->last_ms;

	if (passed < SAMPLE_MS)
		return;

	double now = (double)(done - progress->last_done) * 1000 / (double)passed;

	progress->rate =
		progress->rate < 0 ? now : progress->rate * (1 - SMOOTHING) + now * SMOOTHING;
	progress->last_ms = now_ms;
	progress->last_done = done;
}

static void
add_bar(const struct progress *progress, const struct progress_state *state, struct buf *out)
{
	int width = progress->columns / 3 < BAR_MAX ? progress->columns / 3 : BAR_MAX;
	int64_t full = state->total > 0 ? state->done * width / state->total : width;

	buf_add_char(out, '[');
	for (int i = 0; i < width; i++)
		buf_add_char(out, i < full ? '#' : '-');
	buf_add_str(out, "] ");
}

void
progress_line(const struct progress *progress, const struct progress_state *state, struct buf *out)
{
	AUTO(buf) struct buf line = BUF_INIT(4096);
	int64_t left = state->total - state->done;

	if (progress->bar)
		add_bar(progress, state, &line);
	text_add_count(&line, state->done);
	buf_add_char(&line, '/');
	text_add_count(&line, state->total);
	if (progress->rate >= 0)
		buf_printf(&line, progress->rate < 10 ? ", %.1f/s" : ", %.0f/s", progress->rate);
	if (progress->rate > 0 && left > 0) {
		buf_add_str(&line, ", ETA ");
		text_add_duration(&line, (int64_t)((double)left / progress->rate + 0.5));
	}
	if (state->failed > 0) {
		buf_add_str(&line, ", failed ");
		text_add_count(&line, state->failed);
	}
	if (state->note)
		buf_printf(&line, " %s", state->note);
	text_add_cell(out, str_make(line.data, line.len),
		      progress->bar ? (size_t)progress->columns - 1 : 4096, false);
}

void
progress_show(struct progress *progress, const struct progress_state *state, int64_t now_ms)
{
	AUTO(buf) struct buf line = BUF_INIT(8192);

	sample(progress, state->done, now_ms);
	if (!progress->bar && now_ms - progress->last_plain_ms < progress->plain_every_ms)
		return;
	progress_line(progress, state, &line);
	(void)fprintf(progress->out, progress->bar ? "\r%s\033[K" : "%s\n", line.data);
	(void)fflush(progress->out);
	progress->last_plain_ms = now_ms;
	progress->drawn = progress->bar;
}

void
progress_end(struct progress *progress)
{
	if (progress->drawn)
		(void)fputs("\r\033[K", progress->out);
	(void)fflush(progress->out);
	progress->drawn = false;
}
