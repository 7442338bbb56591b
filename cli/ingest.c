/*
 * Sending many documents and seeing each of them through.
 *
 * 1. The files are collected and sorted; the collection's documents are listed page by page, and the
 *    content hash of those that are among our files is kept. Memory grows with our files only. A few
 *    files are asked for one by one instead: the collection may be large.
 * 2. `--jobs` threads take files in order: read, hash, skip when the collection has these bytes, else
 *    POST with an Idempotency-Key made of collection, id, hash and run: a lost reply can be repeated and
 *    is answered with the same job. What the server accepted goes to the queue of pending jobs.
 * 3. Two more threads take pending jobs in order and wait for them (long-poll); one that is not done
 *    yet goes to the end of the queue. When no files are left, the sending threads wait too.
 * 4. The calling thread draws the progress line.
 *
 * A file ends in exactly one of: unchanged, ingested (accepted, with --no-wait), failed, or not reached
 * because the run was interrupted or the server was lost. A refusal that would meet every file alike
 * (no server, no right, no collection) ends the run.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/files.h"
#include "cli/progress.h"
#include "cli/show.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/mem.h"

#define WAITERS 2
#define ASK_EACH_MAX 64 /* files; more are looked up by listing the collection */
#define WAIT_S 5
#define DEFAULT_RETRY_S 300
#define FIRST_RETRY_S INT64_C(5)
#define TICK_MS 200
#define BODY_MAX_BYTES ((size_t)256 * 1024 * 1024)
#define JOB_ID_ROOM 96

struct pending {
	size_t file;
	char job[JOB_ID_ROOM];
};

struct ingest {
	/* immutable after start */
	struct cli *cli;
	const char *run; /* a ulid: part of the idempotency keys */
	struct files files;
	bool ask_each;
	int64_t walk_failed; /* of failed: what the walk could not read, no member of files */

	/* shared, under lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t next;		 /* file to send next */
	size_t sending;		 /* threads that hold a file */
	size_t waiting_for;	 /* jobs that threads hold */
	struct pending *pending; /* ring of files.count places */
	size_t pending_head, pending_count;
	int64_t unchanged, accepted, ingested;
	struct reasons failed;
	int64_t busy_until_ms; /* a server asked to wait until then: for the progress line */
	bool ended;	       /* fatal, or all done */
	bool fatal;
	struct err fatal_err;
	size_t threads_left;
};

static void
lock(struct ingest *in)
{
	(void)pthread_mutex_lock(&in->lock);
}

static void
unlock(struct ingest *in)
{
	(void)pthread_cond_broadcast(&in->changed);
	(void)pthread_mutex_unlock(&in->lock);
}

/* ---- what the collection has ---- */

/* While a newer version is on its way, the one shown is not what will be there. */
static void
note_known(struct file *file, const struct js *document)
{
	struct str hash = show_text(document, "content_hash");

	if (hash.len == SHA256_HEX_BYTES - 1 && !show_bool(document, "in_flight"))
		(void)str_copy(file->known_hash, sizeof(file->known_hash), hash);
}

static bool
on_document(void *user, const struct js *item)
{
	struct ingest *in = user;
	struct file *file = files_find(&in->files, show_text(item, "id"));

	if (file)
		note_known(file, item);
	return !atomic_load(&cli_interrupted);
}

static void
documents_path(const struct cli *cli, struct buf *path)
{
	buf_add_str(path, "/api/v1/collections/");
	api_add_encoded(path, str_of(cli->options.collection));
	buf_add_str(path, "/documents");
}

static bool
list_known(struct ingest *in, struct err *err)
{
	AUTO(api) struct api api = { .cli = NULL };
	AUTO(buf) struct buf path = BUF_INIT(8192);

	documents_path(in->cli, &path);
	if (!api_open(&api, in->cli, err))
		return false;
	/* the first contact: somebody who mistyped an address should hear it soon */
	if (api.retry_ms > FIRST_RETRY_S * 1000)
		api.retry_ms = FIRST_RETRY_S * 1000;
	in->ask_each = !in->cli->options.force && in->files.count <= ASK_EACH_MAX;
	/* one page at least, to see that the collection is there */
	if (!api_each(&api, path.data, in->cli->options.force || in->ask_each ? 1 : 0, on_document,
		      in, err))
		return false;
	return !atomic_load(&cli_interrupted) || err_set(err, ERR_CANCELLED, "interrupted");
}

static bool
ask_known(const struct ingest *in, struct api *api, struct file *file, struct err *err)
{
	AUTO(buf) struct buf path = BUF_INIT(8192);
	AUTO_PTR(js_free) struct js *document = NULL;

	documents_path(in->cli, &path);
	buf_add_char(&path, '/');
	api_add_encoded(&path, str_of(file->id));
	if (api_get(api, path.data, &document, err)) {
		note_known(file, document);
		return true;
	}
	return err->detail == 404;
}

/* ---- one file ---- */

static bool
read_body(const char *path, struct buf *body, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t got = 0;

	buf_clear(body);
	if (fd < 0)
		return err_set(err, ERR_IO, "%s", strerrordesc_np(errno));
	do {
		char *to = buf_reserve(body, 65536);

		got = to ? read(fd, to, 65536) : 0;
		if (got > 0)
			buf_commit(body, (size_t)got);
	} while (got > 0 || (got < 0 && errno == EINTR));

	int errnum = errno;

	(void)close(fd);
	if (got < 0)
		return err_set(err, ERR_IO, "%s", strerrordesc_np(errnum));
	return buf_ok(body) || err_set(err, ERR_TOO_LARGE, "larger than %zu bytes", BODY_MAX_BYTES);
}

static void
make_key(const struct ingest *in, const struct file *file, const char *hash,
	 char key[SHA256_HEX_BYTES])
{
	struct sha256 *sha = sha256_new();

	sha256_add_field(sha, str_of(in->cli->options.collection));
	sha256_add_field(sha, str_of(file->id));
	sha256_add_field(sha, str_of(hash));
	sha256_add_field(sha, str_of(in->run));
	sha256_finish_hex(sha, key);
}

/* Percent-encodes all but the '/'. */
static void
add_encoded_path(struct buf *out, const char *path)
{
	struct str rest = str_of(path), part;
	bool first = true;

	while (str_split(&rest, '/', &part)) {
		if (!first)
			buf_add_char(out, '/');
		api_add_encoded(out, part);
		first = false;
	}
}

static void
add_uri(const struct cli_options *options, const struct file *file, struct buf *out)
{
	if (options->no_uri)
		return;
	buf_add_str(out, options->uri_prefix ? options->uri_prefix : "file://");
	add_encoded_path(out, options->uri_prefix ? file->rel : file->path);
}

static bool
post_file(struct ingest *in, struct api *api, const struct file *file, const struct buf *body,
	  const char *hash, struct js **out_job, struct err *err)
{
	AUTO(buf) struct buf path = BUF_INIT(65536);
	AUTO(buf) struct buf uri = BUF_INIT(65536);
	char key[SHA256_HEX_BYTES];

	make_key(in, file, hash, key);
	add_uri(&in->cli->options, file, &uri);
	documents_path(in->cli, &path);
	api_add_param(&path, "id", file->id);
	api_add_param(&path, "uri", uri.data);
	/* a JSON file is a document, not the JSON form of a request */
	if (strcmp(file->type, "application/json") == 0)
		api_add_param(&path, "raw", "true");
	return api_json(api,
			&(struct api_call){ .method = "POST",
					    .path = path.data,
					    .body = str_make(body->data, body->len),
					    .content_type = file->type,
					    .idempotency_key = key,
					    .timeout_ms = 120000 },
			out_job, err);
}

/* Nothing else would go better: no server, no right, no collection. */
static bool
is_fatal(const struct err *err)
{
	enum cli_exit code = cli_exit_code(err);

	return code == CLI_UNREACHABLE || code == CLI_NOT_FOUND || code == CLI_INTERRUPTED ||
	       err->detail == 401 || err->detail == 403;
}

static void
set_fatal(struct ingest *in, const struct err *err)
{
	if (!in->fatal)
		in->fatal_err = *err;
	in->fatal = in->ended = true;
}

static void
file_failed(struct ingest *in, size_t index, const char *why)
{
	AUTO(buf) struct buf line = BUF_INIT(4096);
	struct str reason = str_of(why);
	size_t at = 0;

	/* a request's id would make every reason a different one */
	if (str_find(reason, STR(" [request "), &at))
		reason.len = at;
	text_add_line(&line, reason);
	reasons_add(&in->failed, line.data, in->files.items[index].id);
}

/* A job record ends a file or makes it pending. */
static void
take_record(struct ingest *in, size_t index, const struct js *job)
{
	struct str id = show_text(job, "id"), status = show_text(job, "status");
	bool wait = !in->cli->options.no_wait;

	if (wait && id.len > 0 && id.len < JOB_ID_ROOM && !show_bool(job, "done")) {
		size_t at = (in->pending_head + in->pending_count++) % in->files.count;

		in->pending[at].file = index;
		(void)str_copy(in->pending[at].job, JOB_ID_ROOM, id);
	} else if (wait && show_bool(job, "done") && !str_eq_c(status, "succeeded")) {
		AUTO(buf) struct buf why = BUF_INIT(4096);
		const struct js *error = show_member(job, "error");

		if (error)
			api_problem_text(error, &why);
		else
			buf_printf(&why, "the job ended " STR_FMT, STR_ARG(status));
		file_failed(in, index, why.data);
	} else {
		in->ingested++;
	}
}

static void
send_file(struct ingest *in, struct api *api, size_t index, struct buf *body)
{
	AUTO_PTR(js_free) struct js *job = NULL;
	struct file *file = &in->files.items[index]; /* this thread's while it is being sent */
	char hash[SHA256_HEX_BYTES];
	struct err err = ERR_INIT;
	bool read = read_body(file->path, body, &err);
	bool asked = read && (!in->ask_each || ask_known(in, api, file, &err));
	bool same = false, sent = false;

	if (asked) {
		sha256_hex(str_make(body->data, body->len), hash);
		same = strcmp(hash, file->known_hash) == 0 && !in->cli->options.force;
	}
	if (asked && !same)
		sent = post_file(in, api, file, body, hash, &job, &err);
	if (body->cap > 4 << 20)
		buf_release(body); /* one huge file must not stay */
	lock(in);
	in->sending--;
	if (same)
		in->unchanged++;
	else if (sent)
		in->accepted++;
	if (sent)
		take_record(in, index, job);
	else if (!same && read && is_fatal(&err))
		set_fatal(in, &err);
	else if (!same)
		file_failed(in, index, err.msg);
	unlock(in);
}

/* ---- one pending job ---- */

static void
await_job(struct ingest *in, struct api *api, const struct pending *pending)
{
	AUTO(buf) struct buf path = BUF_INIT(1024);
	AUTO_PTR(js_free) struct js *job = NULL;
	struct err err = ERR_INIT;
	int64_t start = clock_mono_ms();

	buf_add_str(&path, "/api/v1/jobs/");
	api_add_encoded(&path, str_of(pending->job));

	bool got = api_json(api,
			    &(struct api_call){
				    .method = "GET", .path = path.data, .prefer_wait_s = WAIT_S },
			    &job, &err);

	/* a server that has no place for another waiter answers at once: do not spin */
	if (got && !show_bool(job, "done") && clock_mono_ms() - start < 200)
		(void)api_pause(TICK_MS, &(struct err){ .code = ERR_NONE });
	lock(in);
	in->waiting_for--;
	if (got)
		take_record(in, pending->file, job);
	else if (err.detail == 404 || err.detail == 410)
		file_failed(in, pending->file, "its job's record is gone");
	else if (is_fatal(&err))
		set_fatal(in, &err);
	else
		file_failed(in, pending->file, err.msg);
	unlock(in);
}

/* ---- the threads ---- */

enum work { WORK_NONE, WORK_SEND, WORK_WAIT };

/* Blocks until there is something to do; WORK_NONE when nothing can come any more. */
static enum work
take_work(struct ingest *in, bool sends, size_t *out_file, struct pending *out_pending)
{
	enum work work = WORK_NONE;

	lock(in);
	for (;;) {
		bool files_left = in->next < in->files.count;

		if (in->ended || atomic_load(&cli_interrupted))
			break;
		if (sends && files_left) {
			work = WORK_SEND;
			*out_file = in->next++;
			in->sending++;
			break;
		}
		if (in->pending_count > 0) {
			work = WORK_WAIT;
			*out_pending = in->pending[in->pending_head];
			in->pending_head = (in->pending_head + 1) % in->files.count;
			in->pending_count--;
			in->waiting_for++;
			break;
		}
		if (!files_left && in->sending == 0 && in->waiting_for == 0)
			break;
		(void)pthread_cond_wait(&in->changed, &in->lock);
	}
	unlock(in);
	return work;
}

struct worker {
	struct ingest *in;
	pthread_t thread;
	bool sends;
	bool started;
};

static void
on_retry(void *user, const struct err *err, int64_t wait_ms)
{
	struct ingest *in = user;

	(void)err;
	lock(in);
	in->busy_until_ms = clock_mono_ms() + wait_ms;
	unlock(in);
}

static void
work_on(struct worker *worker, struct api *api)
{
	AUTO(buf) struct buf body = BUF_INIT(BODY_MAX_BYTES);
	struct pending pending;
	size_t file = 0;

	for (;;) {
		switch (take_work(worker->in, worker->sends, &file, &pending)) {
		case WORK_SEND:
			send_file(worker->in, api, file, &body);
			break;
		case WORK_WAIT:
			await_job(worker->in, api, &pending);
			break;
		case WORK_NONE:
			return;
		}
	}
}

static void *
run_worker(void *user)
{
	struct worker *worker = user;
	struct ingest *in = worker->in;
	struct api api = { .cli = NULL };
	struct err err = ERR_INIT;

	if (api_open(&api, in->cli, &err)) {
		api.on_retry = on_retry;
		api.user = in;
		work_on(worker, &api);
		api_release(&api);
		lock(in);
	} else {
		lock(in);
		set_fatal(in, &err);
	}
	in->threads_left--;
	unlock(in);
	return NULL;
}

/* ---- the calling thread ---- */

static int64_t
not_finished(const struct ingest *in)
{
	return (int64_t)in->files.count - in->unchanged - in->ingested -
	       (in->failed.total - in->walk_failed);
}

/* Waits up to TICK_MS for a change; false when all threads have ended. */
static bool
snapshot(struct ingest *in, struct progress_state *out)
{
	int64_t until_ms = clock_mono_ms() + TICK_MS;

	lock(in);
	/* every change signals; drawing is paced by time, not by changes */
	while (in->threads_left > 0 && clock_cond_wait(&in->changed, &in->lock, until_ms))
		;

	bool busy = in->busy_until_ms > clock_mono_ms();
	bool more = in->threads_left > 0;

	*out = (struct progress_state){ .done = (int64_t)in->files.count - not_finished(in),
					.total = (int64_t)in->files.count,
					.failed = in->failed.total,
					.note = busy ? "(the server asks to wait)" : NULL };
	unlock(in);
	return more;
}

static void
watch_threads(struct ingest *in)
{
	const struct cli_world *world = in->cli->world;
	struct progress progress;
	struct progress_state state;

	progress_start(&progress, in->cli->err, world->err_is_terminal, world->columns,
		       clock_mono_ms());
	while (snapshot(in, &state)) {
		if (!in->cli->options.quiet)
			progress_show(&progress, &state, clock_mono_ms());
	}
	progress_end(&progress);
}

static void
run_threads(struct ingest *in)
{
	size_t senders = (size_t)in->cli->options.jobs;
	size_t count = senders + (in->cli->options.no_wait ? 0 : WAITERS);
	struct worker *workers = mem_array(count, sizeof(*workers));

	in->threads_left = count;
	for (size_t i = 0; i < count; i++) {
		workers[i] = (struct worker){ .in = in, .sends = i < senders };
		workers[i].started =
			pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]) == 0;
		if (!workers[i].started) {
			struct err err = ERR_INIT;

			err_set(&err, ERR_INTERNAL, "could not start a thread");
			lock(in);
			in->threads_left--;
			set_fatal(in, &err);
			unlock(in);
		}
	}
	watch_threads(in);
	for (size_t i = 0; i < count; i++) {
		if (workers[i].started)
			(void)pthread_join(workers[i].thread, NULL);
	}
	mem_free(workers);
}

/* ---- the summary ---- */

static void
add_part(struct buf *out, int64_t count, const char *what)
{
	if (out->len > 0)
		buf_add_str(out, ", ");
	text_add_count(out, count);
	buf_printf(out, " %s", what);
}

static void
print_summary(struct ingest *in, int64_t took_ms)
{
	AUTO(buf) struct buf line = BUF_INIT(1024);
	int64_t open = not_finished(in);

	add_part(&line, in->ingested, in->cli->options.no_wait ? "accepted" : "ingested");
	add_part(&line, in->unchanged, "unchanged");
	add_part(&line, in->files.skipped.total, "skipped");
	add_part(&line, in->failed.total, "failed");
	if (open > 0)
		add_part(&line, open, "not finished");
	buf_printf(&line, " in %.1f s", (double)took_ms / 1000);
	(void)fprintf(in->cli->out, "%s\n", line.data);
	reasons_print(in->cli->out, "skipped", &in->files.skipped);
	reasons_print(in->cli->out, "failed", &in->failed);
	if (open > 0)
		(void)fputs(
			"Run the same command again to go on: what is done is not sent again.\n",
			in->cli->out);
}

static void
print_json_summary(struct ingest *in, int64_t took_ms)
{
	AUTO(buf) struct buf text = BUF_INIT(1 << 20);
	struct jw w = jw_start(&text);

	jw_obj(&w);
	jw_kcstr(&w, "collection", in->cli->options.collection);
	jw_kint(&w, in->cli->options.no_wait ? "accepted" : "ingested", in->ingested);
	jw_kint(&w, "unchanged", in->unchanged);
	jw_kint(&w, "skipped", in->files.skipped.total);
	jw_kint(&w, "failed", in->failed.total);
	jw_kint(&w, "not_finished", not_finished(in));
	jw_kint(&w, "took_ms", took_ms);
	reasons_write(&w, "skipped_reasons", &in->files.skipped);
	reasons_write(&w, "failed_reasons", &in->failed);
	jw_end(&w);
	(void)fprintf(in->cli->out, "%s\n", text.data);
}

static int
finish(struct ingest *in, int64_t took_ms)
{
	if (in->cli->options.json)
		print_json_summary(in, took_ms);
	else if (!in->cli->options.quiet)
		print_summary(in, took_ms);
	if (atomic_load(&cli_interrupted))
		return cli_fail(in->cli, &(struct err){ .code = ERR_CANCELLED });
	if (in->fatal)
		return cli_fail(in->cli, &in->fatal_err);
	if (in->failed.total > 0 && (in->cli->options.quiet || in->cli->options.json))
		(void)fprintf(in->cli->err, "ragctl: %lld failed\n", (long long)in->failed.total);
	return in->failed.total > 0 ? CLI_FAILED : CLI_OK;
}

static int
run_ingest(struct ingest *in)
{
	int64_t start = clock_mono_ms();
	struct err err = ERR_INIT;

	if (!list_known(in, &err)) {
		if (err.detail == 404)
			err_wrap(&err, "collection '%s'", in->cli->options.collection);
		return cli_fail(in->cli, &err);
	}
	in->pending = mem_array(in->files.count + 1, sizeof(*in->pending));
	(void)pthread_mutex_init(&in->lock, NULL);
	clock_cond_init(&in->changed);
	/* what the walk could not read counts as failed like the rest */
	in->failed = in->files.failed;
	in->walk_failed = in->failed.total;
	in->files.failed = (struct reasons){ .count = 0 };
	if (in->files.count > 0)
		run_threads(in);

	int code = finish(in, clock_mono_ms() - start);

	(void)pthread_cond_destroy(&in->changed);
	(void)pthread_mutex_destroy(&in->lock);
	mem_free(in->pending);
	reasons_release(&in->failed);
	return code;
}

/* A bulk import is one file, or stdin. */
static bool
is_import(const struct cli *cli)
{
	struct str path = str_of(cli->args[0]);

	return cli->arg_count == 1 &&
	       (str_eq_c(path, "-") || str_ends(path, ".ndjson") || str_ends(path, ".jsonl"));
}

int
cli_ingest(struct cli *cli)
{
	struct ingest in = { .cli = cli };
	char run[ID_ULID_BYTES];
	struct err err = ERR_INIT;

	id_ulid(run);
	in.run = run;
	if (cli->options.retry_s < 0)
		cli->options.retry_s = DEFAULT_RETRY_S;
	if (is_import(cli))
		return cli_import(cli, cli->args[0]);
	if (!files_collect(cli, &in.files, &err)) {
		(void)cli_fail(cli, &err);
		return CLI_USAGE;
	}

	int code = run_ingest(&in);

	files_release(&in.files);
	return code;
}
