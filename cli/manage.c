/* Queues, collections, documents, health: one call each. */
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/show.h"
#include "common/base/clock.h"

/* ---- providers ---- */

/* "597/600", or "597" where there is no limit */
static void
add_use(struct text_table *table, const struct js *dependency, const char *key)
{
	const struct js *use = show_member(dependency, key);
	int64_t limit = show_int(use, "limit", 0);
	AUTO(buf) struct buf cell = BUF_INIT(64);

	buf_add_i64(&cell, show_int(use, "used", 0));
	if (limit > 0)
		buf_printf(&cell, "/%lld", (long long)limit);
	text_table_add_right(table, str_make(cell.data, cell.len));
}

static void
add_provider_row(struct text_table *table, const struct js *dependency)
{
	AUTO(buf) struct buf remark = BUF_INIT(4096);
	struct str waiting_for = show_text(dependency, "waiting_for");
	struct str trouble = show_text(dependency, "trouble");
	int64_t wait_ms = show_int(dependency, "wait_ms", 0);

	buf_add(&remark, waiting_for.ptr, waiting_for.len);
	if (wait_ms > 0)
		buf_printf(&remark, " (%lld s)", (long long)((wait_ms + 999) / 1000));
	if (trouble.len > 0) {
		buf_add_str(&remark, remark.len > 0 ? "; " : "");
		text_add_age(&remark, show_int(dependency, "trouble_s_ago", 0));
		buf_printf(&remark, " ago: " STR_FMT, STR_ARG(trouble));
	}
	text_table_add(table, show_text(dependency, "name"));
	text_table_add(table, show_text(dependency, "breaker"));
	add_use(table, dependency, "requests");
	add_use(table, dependency, "tokens");
	add_use(table, dependency, "in_flight");
	text_table_add_int(table, show_int(dependency, "failures", 0));
	text_table_add(table, str_make(remark.data, remark.len));
}

int
cli_providers(struct cli *cli)
{
	static const char *const heads[] = { "PROVIDER", "BREAKER",  "REQUESTS", "TOKENS",
					     "CALLS",	 "FAILURES", "" };
	struct show_list list = { .path = "/api/v1/dependencies",
				  .limit = API_UNPAGED,
				  .heads = heads,
				  .column_count = ARRAY_SIZE(heads),
				  .flexible = ARRAY_SIZE(heads) - 1,
				  .row = add_provider_row,
				  .nothing = "no provider was used within the last hour" };

	return show_list(cli, &list);
}

/* ---- queues ---- */

static void
add_queue_row(struct text_table *table, const struct js *queue)
{
	AUTO(buf) struct buf oldest = BUF_INIT(32);
	int64_t seconds = show_int(queue, "oldest_s", 0);

	if (show_int(queue, "waiting", 0) > 0)
		text_add_age(&oldest, seconds);
	text_table_add(table, show_text(queue, "name"));
	text_table_add(table, show_bool(queue, "paused") ? STR("paused") : STR("running"));
	text_table_add_int(table, show_int(queue, "waiting", 0));
	text_table_add_int(table, show_int(queue, "running", 0));
	text_table_add_int(table, show_int(queue, "due", 0));
	text_table_add_int(table, show_int(queue, "dead", 0));
	text_table_add_right(table, str_make(oldest.data, oldest.len));
	text_table_add_int(table, show_int(queue, "demand", 0));
}

int
cli_queues_list(struct cli *cli)
{
	static const char *const heads[] = { "QUEUE", "STATE", "WAITING", "RUNNING",
					     "DUE",   "DEAD",  "OLDEST",  "DEMAND" };
	struct show_list list = { .path = "/api/v1/queues",
				  .limit = API_UNPAGED,
				  .heads = heads,
				  .column_count = ARRAY_SIZE(heads),
				  .row = add_queue_row,
				  .nothing = "no queues" };

	return show_list(cli, &list);
}

/* "queue ingest is paused: 3 waiting, 1 running" */
static void
print_queue_state(struct cli *cli, const struct js *queue)
{
	AUTO(buf) struct buf name = BUF_INIT(1024);

	text_add_line(&name, show_text(queue, "name"));
	(void)fprintf(cli->out, "queue %s %s: %lld waiting, %lld running\n", name.data,
		      show_bool(queue, "paused") ? "is paused" : "runs",
		      (long long)show_int(queue, "waiting", 0),
		      (long long)show_int(queue, "running", 0));
}

static int
queue_verb(struct cli *cli, const char *verb)
{
	AUTO(buf) struct buf path = BUF_INIT(8192);

	buf_add_str(&path, "/api/v1/queues/");
	api_add_encoded(&path, str_of(cli->args[0]));
	buf_add_str(&path, verb);
	return show_call(cli, &(struct api_call){ .method = "POST", .path = path.data },
			 print_queue_state);
}

int
cli_queues_pause(struct cli *cli)
{
	return queue_verb(cli, ":pause");
}

int
cli_queues_resume(struct cli *cli)
{
	return queue_verb(cli, ":resume");
}

/* ---- collections ---- */

static void
collection_path(struct buf *path, const char *name)
{
	buf_add_str(path, "/api/v1/collections/");
	api_add_encoded(path, str_of(name));
}

static void
add_collection_row(struct text_table *table, const struct js *collection)
{
	text_table_add(table, show_text(collection, "name"));
	text_table_add_int(table, show_int(collection, "documents", 0));
	text_table_add_int(table, show_int(collection, "chunks", 0));
	text_table_add_int(table, show_int(collection, "bytes", 0));
	text_table_add(table, show_text(collection, "created_at"));
	text_table_add(table, show_text(collection, "description"));
}

int
cli_collections_list(struct cli *cli)
{
	static const char *const heads[] = { "COLLECTION", "DOCUMENTS", "CHUNKS",
					     "BYTES",	   "CREATED",	"DESCRIPTION" };
	struct show_list list = { .path = "/api/v1/collections",
				  .heads = heads,
				  .column_count = ARRAY_SIZE(heads),
				  .flexible = ARRAY_SIZE(heads) - 1,
				  .row = add_collection_row,
				  .nothing = "no collections" };

	return show_list(cli, &list);
}

int
cli_collections_create(struct cli *cli)
{
	AUTO(buf) struct buf body = BUF_INIT(65536);
	struct jw w = jw_start(&body);

	jw_obj(&w);
	jw_kcstr(&w, "name", cli->args[0]);
	if (cli->options.description)
		jw_kcstr(&w, "description", cli->options.description);
	jw_end(&w);
	return show_call(cli,
			 &(struct api_call){ .method = "POST",
					     .path = "/api/v1/collections",
					     .body = str_make(body.data, body.len) },
			 NULL);
}

int
cli_collections_show(struct cli *cli)
{
	AUTO(buf) struct buf path = BUF_INIT(8192);

	collection_path(&path, cli->args[0]);
	return show_call(cli, &(struct api_call){ .method = "GET", .path = path.data }, NULL);
}

/* The answer to a delete: the job that cleans up; what is deleted is gone already. */
static void
print_deleted(struct cli *cli, const struct js *job)
{
	AUTO(buf) struct buf id = BUF_INIT(1024);

	text_add_line(&id, show_text(job, "id"));
	(void)fprintf(cli->out, "deleted; the store is cleaned by job %s\n", id.data);
}

int
cli_collections_delete(struct cli *cli)
{
	AUTO(buf) struct buf path = BUF_INIT(8192);
	AUTO(buf) struct buf question = BUF_INIT(8192);
	const struct cli_world *world = cli->world;

	if (!cli->options.yes && !world->ask) {
		(void)fputs("ragctl: nobody to ask whether to delete: give --yes\n", cli->err);
		return CLI_USAGE;
	}
	buf_add_str(&question, "Delete the collection '");
	text_add_line(&question, str_of(cli->args[0]));
	buf_add_str(&question, "' with all its documents?");
	if (!cli->options.yes && !world->ask(world->user, question.data)) {
		(void)fputs("nothing deleted\n", cli->err);
		return CLI_FAILED;
	}
	collection_path(&path, cli->args[0]);
	return show_call(cli, &(struct api_call){ .method = "DELETE", .path = path.data },
			 print_deleted);
}

/* ---- documents ---- */

static void
document_path(struct buf *path, const struct cli *cli, const char *id)
{
	collection_path(path, cli->options.collection);
	buf_add_str(path, "/documents");
	if (id) {
		buf_add_char(path, '/');
		api_add_encoded(path, str_of(id));
	}
}

static void
add_document_row(struct text_table *table, const struct js *document)
{
	text_table_add(table, show_text(document, "id"));
	text_table_add_int(table, show_int(document, "bytes", 0));
	text_table_add_int(table, show_int(document, "chunks", 0));
	text_table_add(table, show_text(document, "updated_at"));
	text_table_add(table, show_text(document, "title"));
}

int
cli_documents_list(struct cli *cli)
{
	static const char *const heads[] = { "ID", "BYTES", "CHUNKS", "UPDATED", "TITLE" };
	AUTO(buf) struct buf path = BUF_INIT(8192);
	struct show_list list = { .limit = cli->options.limit,
				  .heads = heads,
				  .column_count = ARRAY_SIZE(heads),
				  .flexible = ARRAY_SIZE(heads) - 1,
				  .row = add_document_row,
				  .nothing = "no documents" };

	document_path(&path, cli, NULL);
	list.path = path.data;
	return show_list(cli, &list);
}

int
cli_documents_show(struct cli *cli)
{
	AUTO(buf) struct buf path = BUF_INIT(8192);

	document_path(&path, cli, cli->args[0]);
	return show_call(cli, &(struct api_call){ .method = "GET", .path = path.data }, NULL);
}

int
cli_documents_delete(struct cli *cli)
{
	int first = CLI_OK;

	for (size_t i = 0; i < cli->arg_count; i++) {
		AUTO(buf) struct buf path = BUF_INIT(8192);
		struct api_call call = { .method = "DELETE" };

		document_path(&path, cli, cli->args[i]);
		call.path = path.data;

		int code = show_call(cli, &call, print_deleted);

		if (first == CLI_OK)
			first = code;
		if (code == CLI_INTERRUPTED || code == CLI_UNREACHABLE)
			break;
	}
	return first;
}

/* ---- health ---- */

/* http://host:8000 -> http://host:8089/health; a TLS front end is not the place to look. */
static void
health_address(const struct cli *cli, struct buf *out)
{
	struct str url = str_of(cli->url);
	size_t start = str_starts(url, "https://") ? 8 : 7;
	size_t end = start;

	if (cli->options.health_url) {
		buf_add_str(out, cli->options.health_url);
		return;
	}
	/* the host, with its brackets where it is an IPv6 address */
	if (start < url.len && url.ptr[start] == '[') {
		while (end < url.len && url.ptr[end] != ']')
			end++;
	}
	while (end < url.len && url.ptr[end] != ':' && url.ptr[end] != '/')
		end++;
	buf_printf(out, "http://" STR_FMT ":8089/health", STR_ARG(str_sub(url, start, end)));
}

static bool
get_timed(struct cli *cli, const char *path, struct js **out, int64_t *out_ms, struct err *err)
{
	AUTO(api) struct api api = { .cli = NULL };
	int64_t start = clock_mono_ms();

	if (!api_open(&api, cli, err))
		return false;
	api.retry_ms = 0;

	bool ok = api_get(&api, path, out, err);

	*out_ms = clock_mono_ms() - start;
	return ok;
}

int
cli_health(struct cli *cli)
{
	AUTO(buf) struct buf address = BUF_INIT(4096);
	AUTO_PTR(js_free) struct js *queues = NULL;
	AUTO_PTR(js_free) struct js *summary = NULL;
	struct err err = ERR_INIT, health_err = ERR_INIT;
	int64_t api_ms = 0, health_ms = 0;

	health_address(cli, &address);

	bool api_ok = get_timed(cli, "/api/v1/queues", &queues, &api_ms, &err);
	bool health_ok = get_timed(cli, address.data, &summary, &health_ms, &health_err);

	if (cli->options.json) {
		AUTO(buf) struct buf text = BUF_INIT(2 * API_MAX_REPLY_BYTES);
		struct jw w = jw_start(&text);

		jw_obj(&w);
		jw_kbool(&w, "api", api_ok);
		jw_kint(&w, "api_ms", api_ms);
		jw_kcstr(&w, "error", api_ok ? NULL : err.msg);
		jw_key(&w, "health");
		if (health_ok)
			jw_js(&w, summary);
		else
			jw_null(&w);
		jw_end(&w);
		(void)fprintf(cli->out, "%s\n", text.data);
		return api_ok ? CLI_OK : (int)cli_exit_code(&err);
	}
	if (api_ok)
		(void)fprintf(cli->out, "API: answers in %lld ms\n", (long long)api_ms);
	if (health_ok)
		show_record(cli, summary);
	else if (!cli->options.quiet)
		(void)fprintf(cli->err, "ragctl: no health summary at %s: %s\n", address.data,
			      health_err.msg);
	return api_ok ? CLI_OK : cli_fail(cli, &err);
}
