#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/show.h"
#include "common/base/clock.h"

#define LIST_LIMIT 50
#define WATCH_WAIT_S 20

static void
job_path(struct buf *path, const char *id, const char *rest)
{
	buf_add_str(path, "/api/v1/jobs/");
	api_add_encoded(path, str_of(id));
	buf_add_str(path, rest);
}

/* "embed 412/1000", what it waits for, or what went wrong */
static void
add_remark(struct buf *out, const struct js *job)
{
	const struct js *progress = show_member(job, "progress");
	const struct js *error = show_member(job, "error");
	struct str stage = show_text(progress, "stage");
	struct str waiting_for = show_text(job, "waiting_for");
	int64_t total = show_int(progress, "total", 0);

	if (waiting_for.len > 0) {
		buf_printf(out, "waiting for " STR_FMT, STR_ARG(waiting_for));
	} else if (js_is(error, JS_OBJECT)) {
		api_problem_text(error, out);
	} else if (js_is(error, JS_STRING)) {
		buf_add(out, js_str(error).ptr, js_str(error).len);
	} else if (stage.len > 0 && !show_bool(job, "done")) {
		buf_add(out, stage.ptr, stage.len);
		if (total > 0)
			buf_printf(out, " %lld/%lld", (long long)show_int(progress, "done", 0),
				   (long long)total);
	}
}

static void
add_job_row(struct text_table *table, const struct js *job)
{
	AUTO(buf) struct buf age = BUF_INIT(32);
	AUTO(buf) struct buf remark = BUF_INIT(8192);
	int64_t seconds = show_age_s(job, "created_at");

	if (seconds >= 0)
		text_add_age(&age, seconds);
	add_remark(&remark, job);
	text_table_add(table, show_text(job, "id"));
	text_table_add(table, show_text(job, "status"));
	text_table_add(table, show_text(job, "type"));
	text_table_add(table, show_text(job, "collection"));
	text_table_add(table, str_make(age.data, age.len));
	text_table_add(table, str_make(remark.data, remark.len));
}

static const char *const job_heads[] = { "ID", "STATUS", "TYPE", "COLLECTION", "AGE", "" };

static int
list_jobs(struct cli *cli, const char *path, const char *nothing)
{
	struct show_list list = { .path = path,
				  .limit = cli->options.limit ? cli->options.limit : LIST_LIMIT,
				  .heads = job_heads,
				  .column_count = ARRAY_SIZE(job_heads),
				  .flexible = ARRAY_SIZE(job_heads) - 1,
				  .row = add_job_row,
				  .nothing = nothing };

	return show_list(cli, &list);
}

int
cli_jobs_list(struct cli *cli)
{
	AUTO(buf) struct buf path = BUF_INIT(8192);
	const struct cli_options *options = &cli->options;

	buf_add_str(&path, "/api/v1/jobs");
	api_add_param(&path, "status", options->status);
	api_add_param(&path, "queue", options->queue);
	api_add_param(&path, "type", options->job_type);
	api_add_param(&path, "error", options->error);
	if (options->collection != cli_default_collection)
		api_add_param(&path, "collection", options->collection);
	return list_jobs(cli, path.data, "no jobs");
}

int
cli_jobs_show(struct cli *cli)
{
	AUTO(buf) struct buf path = BUF_INIT(8192);

	job_path(&path, cli->args[0], cli->options.result ? "/result" : "");
	return show_call(cli, &(struct api_call){ .method = "GET", .path = path.data }, NULL);
}

/* ---- cancel and retry ---- */

static void
print_job_line(struct cli *cli, const struct js *job)
{
	AUTO(buf) struct buf line = BUF_INIT(16384);
	AUTO(buf) struct buf remark = BUF_INIT(8192);

	text_add_line(&line, show_text(job, "id"));
	(void)fprintf(cli->out, "%s  ", line.data);
	show_status(cli, show_text(job, "status"));
	add_remark(&remark, job);
	buf_clear(&line);
	text_add_line(&line, str_make(remark.data, remark.len));
	(void)fprintf(cli->out, "%s%s\n", line.len > 0 ? "  " : "", line.data);
}

/* One POST a job; goes on after a failure, and returns the first one's code. */
static int
each_job(struct cli *cli, const char *verb)
{
	int first = CLI_OK;

	for (size_t i = 0; i < cli->arg_count; i++) {
		AUTO(buf) struct buf path = BUF_INIT(8192);
		struct api_call call = { .method = "POST" };

		job_path(&path, cli->args[i], verb);
		call.path = path.data;

		int code = show_call(cli, &call, print_job_line);

		if (first == CLI_OK)
			first = code;
		if (code == CLI_INTERRUPTED || code == CLI_UNREACHABLE)
			break;
	}
	return first;
}

int
cli_jobs_cancel(struct cli *cli)
{
	return each_job(cli, ":cancel");
}

int
cli_jobs_retry(struct cli *cli)
{
	return each_job(cli, ":retry");
}

/* ---- watch ---- */

static void
print_change(struct cli *cli, const struct js *job, struct buf *last)
{
	AUTO(buf) struct buf line = BUF_INIT(16384);
	AUTO(buf) struct buf remark = BUF_INIT(8192);

	add_remark(&remark, job);
	text_add_line(&line, show_text(job, "status"));
	buf_add_char(&line, ' ');
	text_add_line(&line, str_make(remark.data, remark.len));
	if (str_eq(str_make(line.data, line.len), str_make(last->data, last->len)))
		return;
	buf_clear(last);
	buf_add(last, line.data, line.len);
	if (cli->options.json)
		show_json(cli, job);
	else if (!cli->options.quiet)
		print_job_line(cli, job);
	(void)fflush(cli->out);
}

static bool
watch(struct cli *cli, bool *out_succeeded, struct err *err)
{
	AUTO(api) struct api api = { .cli = NULL };
	AUTO(buf) struct buf path = BUF_INIT(8192);
	AUTO(buf) struct buf last = BUF_INIT(16384);
	char etag[128] = "";

	job_path(&path, cli->args[0], "");
	if (!api_open(&api, cli, err))
		return false;
	for (;;) {
		AUTO_PTR(js_free) struct js *job = NULL;
		struct api_call call = { .method = "GET",
					 .path = path.data,
					 .prefer_wait_s = *etag ? WATCH_WAIT_S : 0,
					 .if_none_match = *etag ? etag : NULL };
		struct str tag = STR("");
		int64_t start = clock_mono_ms();

		if (!api_send(&api, &call, err))
			return false;
		if (api.reply.status != 304) {
			if (!api_parse(&api, &job, err))
				return false;
			print_change(cli, job, &last);
			if (show_bool(job, "done")) {
				*out_succeeded = str_eq_c(show_text(job, "status"), "succeeded");
				return true;
			}
		}
		if (http_reply_header(&api.reply, "etag", &tag) &&
		    !str_copy(etag, sizeof(etag), tag))
			etag[0] = '\0';
		/* a server that answers at once, for too many wait already */
		if ((!*etag || clock_mono_ms() - start < 500) && !api_pause(500, err))
			return false;
	}
}

int
cli_jobs_watch(struct cli *cli)
{
	struct err err = ERR_INIT;
	bool succeeded = false;

	if (!watch(cli, &succeeded, &err))
		return cli_fail(cli, &err);
	return succeeded ? CLI_OK : CLI_FAILED;
}
