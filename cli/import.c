/*
 * Bulk imports: `ingest FILE.ndjson|-` and `batch watch`.
 *
 * The file is streamed; the server holds the upload back while it has no room. An upload of a file that is cut is begun
 * again under the same Idempotency-Key: the server passes over the lines that it has. What came from stdin cannot be
 * read again, so then the key is told, for a second run with the same input.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/progress.h"
#include "cli/show.h"
#include "common/base/clock.h"
#include "common/base/id.h"

#define WAIT_S 2
#define UPLOAD_MS                                                                                  \
	(7 * 24 * 3600 * 1000) /* of one upload: the server has its own idea of too slow */
#define FIRST_PAUSE_MS 500
#define MAX_PAUSE_MS 15000
#define SHOWN_FAILURES 10
#define ID_ROOM 96

struct upload {
	struct cli *cli;
	int fd;
	bool may_repeat; /* a file, not a pipe */
	const char *key;
	int64_t sent_bytes;
	struct err read_err; /* of the input */
	struct progress progress;
	bool quiet;
};

/* ---- watching ---- */

static void
job_path(struct buf *path, const char *id, const char *tail)
{
	buf_add_str(path, "/api/v1/jobs/");
	api_add_encoded(path, str_of(id));
	buf_add_str(path, tail);
}

static void
show_progress(struct progress *progress, const struct js *job, int64_t now_ms)
{
	const struct js *state = show_member(job, "progress");
	const struct js *import = show_member(job, "import");
	const struct progress_state now = {
		.done = show_int(state, "done", 0),
		.total = show_int(state, "total", 0),
		.failed = show_int(state, "failed", 0),
		.note = show_bool(import, "sealed") ? NULL : "still uploading",
	};

	progress_show(progress, &now, now_ms);
}

/* Until it is done; *out_job is the last record (caller frees). */
static bool
watch(struct cli *cli, const char *id, struct js **out_job, struct err *err)
{
	const struct cli_world *world = cli->world;
	AUTO(api) struct api api = { .cli = NULL };
	AUTO(buf) struct buf path = BUF_INIT(8192);
	struct progress progress;
	char etag[128] = "";

	progress_start(&progress, cli->err, world->err_is_terminal, world->columns,
		       clock_mono_ms());
	job_path(&path, id, "");
	if (!api_open(&api, cli, err))
		return false;
	for (;;) {
		AUTO_PTR(js_free) struct js *job = NULL;
		const struct api_call call = { .method = "GET",
					       .path = path.data,
					       .prefer_wait_s = *etag ? WAIT_S : 0,
					       .if_none_match = *etag ? etag : NULL };
		struct str tag = STR("");

		if (!api_send(&api, &call, err))
			return false;
		if (http_reply_header(&api.reply, "etag", &tag))
			(void)str_copy(etag, sizeof(etag), tag);
		if (api.reply.status == 304)
			continue;
		if (!api_parse(&api, &job, err))
			return false;
		if (!cli->options.quiet)
			show_progress(&progress, job, clock_mono_ms());
		if (show_bool(job, "done")) {
			progress_end(&progress);
			*out_job = TAKE(job);
			return true;
		}
		/* it changes all the time: a look now and then is enough */
		if (!api_pause(250, err))
			return false;
	}
}

/* ---- the outcome ---- */

static bool
print_failure(void *user, const struct js *item)
{
	struct cli *cli = user;
	const struct js *error = show_member(item, "error");
	AUTO(buf) struct buf why = BUF_INIT(8192);
	AUTO(buf) struct buf line = BUF_INIT(8192);

	if (error)
		api_problem_text(error, &why);
	else
		buf_add_str(&why, "failed");
	text_add_line(&line, str_make(why.data, why.len));
	(void)fprintf(cli->err, "  line %lld: %s\n", (long long)show_int(item, "line", 0),
		      line.data);
	return true;
}

static void
print_failures(struct cli *cli, const char *id)
{
	AUTO(api) struct api api = { .cli = NULL };
	AUTO(buf) struct buf path = BUF_INIT(8192);
	struct err ignored = ERR_INIT;

	job_path(&path, id, "/items?status=failed");
	if (api_open(&api, cli, &ignored))
		(void)api_each(&api, path.data, SHOWN_FAILURES, print_failure, cli, &ignored);
}

/* The record's last word, and the exit code. */
static int
report(struct cli *cli, const struct js *job)
{
	const struct js *import = show_member(job, "import");
	int64_t succeeded = show_int(import, "succeeded", 0), items = show_int(import, "items", 0);
	int64_t failed = show_int(import, "failed", 0) + show_int(import, "rejected", 0);
	bool partial = show_bool(import, "partial");
	bool good =
		str_eq_c(show_text(job, "status"), "succeeded") && succeeded == items && !partial;
	AUTO(buf) struct buf id = BUF_INIT(1024);

	text_add_line(&id, show_text(job, "id"));
	if (cli->options.json) {
		show_json(cli, job);
		return good ? CLI_OK : CLI_FAILED;
	}
	if (!cli->options.quiet) {
		(void)fprintf(cli->out, "%s  ", id.data);
		show_status(cli, show_text(job, "status"));
		(void)fprintf(cli->out, ": %lld lines, %lld succeeded, %lld failed",
			      (long long)items, (long long)succeeded, (long long)failed);
		if (show_int(import, "cancelled", 0) + show_int(import, "expired", 0) > 0)
			(void)fprintf(cli->out, ", %lld cancelled, %lld expired",
				      (long long)show_int(import, "cancelled", 0),
				      (long long)show_int(import, "expired", 0));
		if (partial)
			(void)fprintf(cli->out, "; the upload ended after line %lld",
				      (long long)show_int(import, "last_line", 0));
		(void)fputc('\n', cli->out);
	}
	if (failed > 0)
		print_failures(cli, id.data);
	return good ? CLI_OK : CLI_FAILED;
}

static int
watch_and_report(struct cli *cli, const char *id)
{
	AUTO_PTR(js_free) struct js *job = NULL;
	struct err err = ERR_INIT;

	if (!watch(cli, id, &job, &err))
		return cli_fail(cli, &err);
	if (!show_member(job, "import")) {
		err_set(&err, ERR_NOT_FOUND, "job '%s' is no import: see `jobs watch`", id);
		err.detail = 404;
		return cli_fail(cli, &err);
	}
	return report(cli, job);
}

int
cli_batch_watch(struct cli *cli)
{
	return watch_and_report(cli, cli->args[0]);
}

/* ---- uploading ---- */

static bool
read_some(void *user, char *into, size_t room, size_t *out_len)
{
	struct upload *upload = user;
	ssize_t got;

	do {
		got = read(upload->fd, into, room);
	} while (got < 0 && errno == EINTR && !atomic_load(&cli_interrupted));
	if (got < 0) {
		err_errno(&upload->read_err, errno, "read the input");
		return false;
	}
	upload->sent_bytes += got;
	*out_len = (size_t)got;
	return true;
}

/* One try. *out_id: the import, also of one that stopped, "" = not known. */
static bool
upload_once(struct upload *upload, char out_id[ID_ROOM], struct err *err)
{
	AUTO(api) struct api api = { .cli = NULL };
	AUTO(buf) struct buf path = BUF_INIT(8192);
	AUTO_PTR(js_free) struct js *job = NULL;
	struct api_call call = { .method = "POST",
				 .on_read = read_some,
				 .read_user = upload,
				 .content_type = "application/x-ndjson",
				 .idempotency_key = upload->key,
				 .timeout_ms = UPLOAD_MS };

	buf_add_str(&path, "/api/v1/collections/");
	api_add_encoded(&path, str_of(upload->cli->options.collection));
	buf_add_str(&path, "/documents:import");
	call.path = path.data;
	if (!api_open(&api, upload->cli, err))
		return false;
	api.retry_ms =
		0; /* the body is not there a second time: repeated here, from its beginning */
	if (!api_json(&api, &call, &job, err)) {
		if (upload->read_err.code != ERR_NONE)
			*err = upload->read_err;
		return false;
	}
	(void)str_copy(out_id, ID_ROOM, show_text(job, "id"));
	return true;
}

static bool
may_go_on(const struct upload *upload, const struct err *err)
{
	if (err->code == ERR_CANCELLED || upload->read_err.code != ERR_NONE ||
	    (!upload->may_repeat && upload->sent_bytes > 0))
		return false;
	if (err->detail == 408 || err->detail == 429 || err->detail == 502 || err->detail == 503 ||
	    err->detail == 504 || err->detail == 507)
		return true;
	return err->code == ERR_CONNECT || err->code == ERR_TIMEOUT || err->code == ERR_PROTOCOL;
}

static bool
send_all(struct upload *upload, char out_id[ID_ROOM], struct err *err)
{
	int64_t give_up_ms = clock_mono_ms() + upload->cli->options.retry_s * 1000;
	int64_t pause_ms = FIRST_PAUSE_MS;

	for (;;) {
		struct err failure = ERR_INIT;

		upload->sent_bytes = 0;
		if (upload_once(upload, out_id, &failure))
			return true;
		/* libcurl's own codes are no HTTP statuses */
		int64_t wait_ms =
			failure.retry_after_ms > pause_ms ? failure.retry_after_ms : pause_ms;

		if (!may_go_on(upload, &failure) || clock_mono_ms() + wait_ms > give_up_ms) {
			*err = failure;
			return false;
		}
		if (!upload->quiet)
			(void)fprintf(upload->cli->err, "ragctl: %s; going on in %lld s\n",
				      failure.msg, (long long)(wait_ms + 999) / 1000);
		if (!api_pause(wait_ms, err))
			return false;
		pause_ms = pause_ms * 2 < MAX_PAUSE_MS ? pause_ms * 2 : MAX_PAUSE_MS;
		if (upload->may_repeat && lseek(upload->fd, 0, SEEK_SET) < 0)
			return err_errno(err, errno, "read the input again");
	}
}

static int
run_upload(struct upload *upload)
{
	struct cli *cli = upload->cli;
	struct err err = ERR_INIT;
	char id[ID_ROOM] = "";

	if (!send_all(upload, id, &err)) {
		int code = cli_fail(cli, &err);

		(void)fprintf(cli->err,
			      "ragctl: the same command with --idempotency-key %s goes on where it "
			      "ended\n",
			      upload->key);
		return code;
	}
	if (cli->options.no_wait) {
		(void)fprintf(cli->out, "%s\n", id);
		return CLI_OK;
	}
	if (!upload->quiet)
		(void)fprintf(cli->err, "ragctl: uploaded, import %s\n", id);
	return watch_and_report(cli, id);
}

int
cli_import(struct cli *cli, const char *path)
{
	struct upload upload = { .cli = cli, .quiet = cli->options.quiet };
	char made[ID_ULID_BYTES];
	struct err err = ERR_INIT;
	int code;

	upload.read_err = ERR_INIT;
	id_ulid(made);
	upload.key = cli->options.idempotency_key ? cli->options.idempotency_key : made;
	upload.fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	if (upload.fd < 0) {
		err_errno(&err, errno, "open '%s'", path);
		(void)cli_fail(cli, &err);
		return CLI_USAGE;
	}
	upload.may_repeat = lseek(upload.fd, 0, SEEK_CUR) >= 0;
	code = run_upload(&upload);
	if (upload.fd != STDIN_FILENO)
		(void)close(upload.fd);
	return code;
}
