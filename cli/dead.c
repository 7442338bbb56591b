/* Dead jobs: those that failed for good, kept until an operator retries or purges them. */
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/dead_run.h"
#include "cli/show.h"
#include "common/base/clock.h"

#define LIST_LIMIT 50

/* ---- which ones ---- */

struct choice {
	struct cli *cli;
	int64_t older_than_s; /* 0 = any */
	int64_t limit;	      /* 0 = all */
	int64_t seen;
	bool (*fn)(void *user, const struct js *job);
	void *user;
};

static bool
has_filter(const struct cli_options *options)
{
	return options->queue || options->job_type || options->error || options->older_than ||
	       options->collection != cli_default_collection;
}

static void
list_path(const struct cli_options *options, struct buf *path)
{
	buf_add_str(path, "/api/v1/jobs?status=failed");
	api_add_param(path, "queue", options->queue);
	api_add_param(path, "type", options->job_type);
	api_add_param(path, "error", options->error);
	if (options->collection != cli_default_collection)
		api_add_param(path, "collection", options->collection);
}

static bool
offer(void *user, const struct js *job)
{
	struct choice *choice = user;

	if (atomic_load(&cli_interrupted))
		return false;
	if (choice->older_than_s > 0 && show_age_s(job, "finished_at") < choice->older_than_s)
		return true;
	choice->seen++;
	return choice->fn(choice->user, job) && choice->seen != choice->limit;
}

/* Calls fn for each dead job that the options choose, newest first in each queue. */
static bool
each_chosen(struct choice *choice, struct err *err)
{
	AUTO(api) struct api api = { .cli = NULL };
	AUTO(buf) struct buf path = BUF_INIT(8192);
	const struct cli_options *options = &choice->cli->options;

	list_path(options, &path);
	if (options->older_than &&
	    !text_parse_age(str_of(options->older_than), &choice->older_than_s))
		return err_set(err, ERR_INVALID,
			       "--older-than must be like 90s, 30m, 12h or 7d, not '%s'",
			       options->older_than);
	return api_open(&api, choice->cli, err) &&
	       api_each(&api, path.data, 0, offer, choice, err) &&
	       (!atomic_load(&cli_interrupted) || err_set(err, ERR_CANCELLED, "interrupted"));
}

/* A mistake of the command line is known by having no answer behind it. */
static int
fail(struct cli *cli, const struct err *err)
{
	int code = cli_fail(cli, err);

	return err->code == ERR_INVALID && err->detail == 0 ? (int)CLI_USAGE : code;
}

/* ---- list ---- */

struct listing {
	struct cli *cli;
	struct text_table table;
	int64_t count;
};

static bool
add_row(void *user, const struct js *job)
{
	struct listing *listing = user;
	struct text_table *table = &listing->table;
	const struct js *error = show_member(job, "error");
	AUTO(buf) struct buf age = BUF_INIT(32);
	int64_t seconds = show_age_s(job, "finished_at");

	listing->count++;
	if (listing->cli->options.json) {
		show_json_item(listing->cli, job, listing->count == 1);
		return true;
	}
	if (seconds >= 0)
		text_add_age(&age, seconds);
	text_table_add(table, show_text(job, "id"));
	text_table_add(table, show_text(job, "type"));
	text_table_add(table, show_text(job, "collection"));
	text_table_add(table, str_make(age.data, age.len));
	text_table_add_int(table, show_int(job, "attempt", 0));
	text_table_add_int(table, show_int(job, "failures", 0));
	text_table_add(table, show_text(error, "code"));
	text_table_add(table, show_text(error, "title"));
	return true;
}

int
cli_dead_list(struct cli *cli)
{
	static const char *const heads[] = { "JOB",    "TYPE",	   "COLLECTION", "AGE",
					     "STARTS", "FAILURES", "ERROR",	 "" };
	struct listing listing = { .cli = cli };
	struct choice choice = { .cli = cli,
				 .limit = cli->options.limit ? cli->options.limit : LIST_LIMIT,
				 .fn = add_row,
				 .user = &listing };
	struct err err = ERR_INIT;

	text_table_init(&listing.table, heads, ARRAY_SIZE(heads), ARRAY_SIZE(heads) - 1);

	bool ok = each_chosen(&choice, &err);

	if (cli->options.json && (ok || listing.count > 0))
		(void)fputs(listing.count > 0 ? "]\n" : "[]\n", cli->out);
	else if (ok && listing.count > 0)
		text_table_print(&listing.table, show_columns(cli), cli->out);
	else if (ok && !cli->options.quiet)
		(void)fputs("no dead jobs\n", cli->err);
	if (ok && choice.seen == choice.limit && !cli->options.limit && !cli->options.quiet)
		(void)fprintf(cli->err, "the first %d; --limit N shows more\n", LIST_LIMIT);
	text_table_release(&listing.table);
	return ok ? CLI_OK : fail(cli, &err);
}

/* ---- show ---- */

static void
job_path(struct buf *path, const char *id)
{
	buf_add_str(path, "/api/v1/jobs/");
	api_add_encoded(path, str_of(id));
}

static void
add_time(struct cli *cli, const char *name, const struct js *job, const char *key)
{
	AUTO(buf) struct buf line = BUF_INIT(256);
	int64_t seconds = show_age_s(job, key);

	if (seconds < 0)
		return;
	text_add_line(&line, show_text(job, key));
	buf_add_str(&line, " (");
	text_add_age(&line, seconds);
	buf_add_str(&line, " ago)");
	show_pair(cli, name, str_make(line.data, line.len));
}

/* "3 of 3": what was used of a budget. */
static void
add_budget(struct cli *cli, const char *name, const struct js *job, const char *used,
	   const char *most, const char *what)
{
	AUTO(buf) struct buf line = BUF_INIT(256);

	buf_printf(&line, "%lld of %lld %s", (long long)show_int(job, used, 0),
		   (long long)show_int(job, most, 0), what);
	show_pair(cli, name, str_make(line.data, line.len));
}

static void
print_dead(struct cli *cli, const struct js *job)
{
	AUTO(buf) struct buf text = BUF_INIT(16384);
	const struct js *error = show_member(job, "error");
	const struct js *progress = show_member(job, "progress");

	show_pair(cli, "job", show_text(job, "id"));
	show_pair(cli, "status", show_text(job, "status"));
	show_pair(cli, "type", show_text(job, "type"));
	show_pair(cli, "collection", show_text(job, "collection"));
	if (error) {
		show_pair(cli, "error", show_text(error, "code"));
		api_problem_text(error, &text);
		show_pair(cli, "", str_make(text.data, text.len));
	}
	show_pair(cli, "stage", show_text(progress, "stage"));
	show_pair(cli, "worker", show_text(job, "worker"));
	add_budget(cli, "starts", job, "attempt", "max_starts", "(lost workers, and the last one)");
	add_budget(cli, "failures", job, "failures", "max_failures", "");
	add_time(cli, "created", job, "created_at");
	add_time(cli, "started", job, "started_at");
	add_time(cli, "finished", job, "finished_at");
}

static bool
check_dead(const struct js *job, const char *id, struct err *err)
{
	struct str status = show_text(job, "status");

	if (str_eq_c(status, "failed"))
		return true;
	err_set(err, ERR_CONFLICT, "job '%s' is not dead, it is " STR_FMT, id, STR_ARG(status));
	err->detail = 409;
	return false;
}

static bool
get_dead(struct api *api, const char *id, struct js **out, struct err *err)
{
	AUTO(buf) struct buf path = BUF_INIT(8192);
	AUTO_PTR(js_free) struct js *job = NULL;

	job_path(&path, id);
	if (!api_get(api, path.data, &job, err) || !check_dead(job, id, err))
		return false;
	*out = TAKE(job);
	return true;
}

static bool
show_dead(struct cli *cli, struct err *err)
{
	AUTO(api) struct api api = { .cli = NULL };
	AUTO_PTR(js_free) struct js *job = NULL;

	if (!api_open(&api, cli, err) || !get_dead(&api, cli->args[0], &job, err))
		return false;
	if (cli->options.json)
		show_json(cli, job);
	else
		print_dead(cli, job);
	return true;
}

int
cli_dead_show(struct cli *cli)
{
	struct err err = ERR_INIT;

	return show_dead(cli, &err) ? CLI_OK : cli_fail(cli, &err);
}

/* ---- retry and purge ---- */

static bool
choose_job(void *user, const struct js *object)
{
	struct dead_job job = { .version = show_int(object, "version", 0) };

	if (str_copy(job.id, sizeof(job.id), show_text(object, "id")) && job.id[0])
		dead_jobs_add(user, &job);
	return true;
}

/* Those that are named; each must be there and dead. */
static bool
choose_named(struct cli *cli, struct dead_jobs *jobs, struct err *err)
{
	AUTO(api) struct api api = { .cli = NULL };

	if (!api_open(&api, cli, err))
		return false;
	for (size_t i = 0; i < cli->arg_count; i++) {
		AUTO_PTR(js_free) struct js *job = NULL;

		if (!get_dead(&api, cli->args[i], &job, err))
			return false;
		choose_job(jobs, job);
	}
	return true;
}

static bool
choose(struct cli *cli, const char *verb, struct dead_jobs *jobs, struct err *err)
{
	const struct cli_options *options = &cli->options;
	struct choice choice = {
		.cli = cli, .limit = options->limit, .fn = choose_job, .user = jobs
	};

	if (cli->arg_count > 0) {
		if (has_filter(options) || options->all || options->limit)
			return err_set(err, ERR_INVALID,
				       "give jobs to %s or a filter for them, not both", verb);
		return choose_named(cli, jobs, err);
	}
	if (!has_filter(options) && !options->all)
		return err_set(err, ERR_INVALID,
			       "which jobs to %s? give their ids, a filter (--queue, --collection, "
			       "--job-type, --error, --older-than) or --all",
			       verb);
	return each_chosen(&choice, err);
}

/* More than one job is asked about; -1 = go on, else the exit code. */
static int
confirm(struct cli *cli, const char *verb, size_t count)
{
	AUTO(buf) struct buf question = BUF_INIT(256);
	const struct cli_world *world = cli->world;

	if (count <= 1 || cli->options.yes)
		return -1;
	buf_printf(&question, "%c%s ", verb[0] - 'a' + 'A', verb + 1);
	text_add_count(&question, (int64_t)count);
	buf_add_str(&question, " dead jobs?");
	if (!world->ask) {
		(void)fprintf(cli->err, "ragctl: nobody to ask: '%s' (give --yes)\n",
			      question.data);
		return CLI_USAGE;
	}
	if (world->ask(world->user, question.data))
		return -1;
	(void)fputs("nothing done\n", cli->err);
	return CLI_FAILED;
}

static void
print_outcome(struct cli *cli, const char *done, size_t count, const struct dead_outcome *out)
{
	AUTO(buf) struct buf line = BUF_INIT(1024);
	int64_t left = (int64_t)count - out->done - out->moved - out->failed.total;

	text_add_count(&line, out->done);
	buf_printf(&line, " %s", done);
	if (out->moved > 0) {
		buf_add_str(&line, ", ");
		text_add_count(&line, out->moved);
		buf_add_str(&line, " not dead any more");
	}
	if (out->failed.total > 0) {
		buf_add_str(&line, ", ");
		text_add_count(&line, out->failed.total);
		buf_add_str(&line, " failed");
	}
	if (left > 0) {
		buf_add_str(&line, ", ");
		text_add_count(&line, left);
		buf_add_str(&line, " not reached");
	}
	(void)fprintf(cli->out, "%s\n", line.data);
	reasons_print(cli->out, "failed", &out->failed);
	if (left > 0)
		(void)fputs("Run the same command again to go on with the rest.\n", cli->out);
}

static void
print_outcome_json(struct cli *cli, const char *done, size_t count, const struct dead_outcome *out)
{
	AUTO(buf) struct buf text = BUF_INIT(1 << 20);
	struct jw w = jw_start(&text);

	jw_obj(&w);
	jw_kint(&w, "chosen", (int64_t)count);
	jw_kint(&w, done, out->done);
	jw_kint(&w, "not_dead_any_more", out->moved);
	jw_kint(&w, "failed", out->failed.total);
	jw_kint(&w, "not_reached", (int64_t)count - out->done - out->moved - out->failed.total);
	reasons_write(&w, "failed_reasons", &out->failed);
	jw_end(&w);
	(void)fprintf(cli->out, "%s\n", text.data);
}

static int
finish(struct cli *cli, const char *done, size_t count, const struct dead_outcome *out)
{
	if (cli->options.json)
		print_outcome_json(cli, done, count, out);
	else if (!cli->options.quiet)
		print_outcome(cli, done, count, out);
	if (atomic_load(&cli_interrupted))
		return cli_fail(cli, &(struct err){ .code = ERR_CANCELLED });
	if (out->fatal)
		return cli_fail(cli, &out->fatal_err);
	if (out->failed.total > 0 && count == 1)
		return cli_fail(cli, &out->first_err);
	return out->failed.total > 0 ? CLI_FAILED : CLI_OK;
}

static int
run_verb(struct cli *cli, enum dead_verb verb)
{
	const char *name = verb == DEAD_RETRY ? "retry" : "purge";
	const char *done = verb == DEAD_RETRY ? "retried" : "purged";
	AUTO(dead_jobs) struct dead_jobs jobs = { .items = NULL };
	struct dead_outcome outcome = { .done = 0 };
	struct err err = ERR_INIT;
	int code;

	if (!choose(cli, name, &jobs, &err))
		return fail(cli, &err);
	code = confirm(cli, name, jobs.count);
	if (code >= 0)
		return code;
	dead_run(cli, verb, &jobs, &outcome);
	code = finish(cli, done, jobs.count, &outcome);
	reasons_release(&outcome.failed);
	return code;
}

int
cli_dead_retry(struct cli *cli)
{
	return run_verb(cli, DEAD_RETRY);
}

int
cli_dead_purge(struct cli *cli)
{
	return run_verb(cli, DEAD_PURGE);
}
