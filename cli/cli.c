#include "cli/cli.h"

#include <errno.h>
#include <string.h>

#include "cli/args.h"
#include "cli/text.h"
#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/key_file.h"

#define DEFAULT_URL "http://127.0.0.1:8000"
#define MANY_ARGS SIZE_MAX

atomic_bool cli_interrupted;
const char cli_default_collection[] = "default";

/* clang-format off */
const struct command commands[] = {
	{ "", "ingest", "PATH...", 1, MANY_ARGS,
	  "collection jobs include exclude type uri-prefix no-uri force no-wait idempotency-key json", cli_ingest,
	  "send files and folders as documents",
	  "Folders are read with everything below them; hidden files and links to folders are left out.\n"
	  "Known endings: .txt .text .md .markdown .html .htm .xhtml .json .csv .tsv .xml .rtf .pdf .docx .xlsx\n"
	  ".pptx .odt .ods .odp .epub; others are skipped and counted\n"
	  "(see --type). A document's id is its path from the last part of PATH on: `ingest notes/work`\n"
	  "makes `work/plan.md`, `ingest work/plan.md` makes `plan.md`. The id stays the same from run to run,\n"
	  "and files whose content the collection already has are not sent again. Exit code 1 when a file failed.\n"
	  "One PATH that ends in .ndjson or .jsonl, or - for stdin, is a bulk import instead: one document a line, with the\n"
	  "members id, text, title, uri, metadata, content_type. Exit code 1 when a line failed. An upload that was cut goes\n"
	  "on with the same --idempotency-key.\n" },
	{ "", "query", "TEXT", 1, 1,
	  "collection top-k mode filter no-generate explain rerank conversation stream timeout json",
	  cli_query,
	  "ask a question: answer, sources, timings", NULL },
	{ "", "watch", "JOB", 1, 1, "json", cli_jobs_watch, "follow a job until it is done (as `jobs watch`)",
	  "Exit code 0 when it succeeded, 1 when it ended otherwise.\n" },
	{ "", "top", "", 0, 0, "interval once json", cli_top, "watch queues and workers",
	  "Draws in place on a terminal; q quits, the space bar looks at once. Elsewhere it prints a line a queue each time,\n"
	  "with --json an object a line. --once, or --json without --interval, looks once.\n" },
	{ "", "health", "", 0, 0, "health-url json", cli_health, "is the engine well?", NULL },
	{ "", "providers", "", 0, 0, "json", cli_providers, "what the engine depends on: limits, breaker, trouble",
	  "Providers and stores that were used within the last hour. REQUESTS and TOKENS are of the last minute, with their limits.\n" },
	{ "", "eval", "FOLDER", 1, 1, "collection keep jobs baseline resamples seed timeout json", cli_eval,
	  "measure retrieval on a test collection",
	  "FOLDER holds one in BEIR's layout: corpus.jsonl, queries.jsonl, qrels/test.tsv. The documents are ingested\n"
	  "into a collection made for the run, which is deleted at the end (--keep leaves it), or into the one\n"
	  "that --collection names. Each question is asked four times: lexical, dense, hybrid, hybrid reranked. Prints\n"
	  "nDCG@10, recall@10, recall@100 and MRR, with bootstrap intervals, and the differences to a baseline.\n" },
	{ "", "help", "[COMMAND...]", 0, 2, "", cli_help, "more about a command, or this list", NULL },
	{ "jobs", "list", "", 0, 0, "status queue job-type collection error limit json", cli_jobs_list,
	  "the newest jobs", NULL },
	{ "jobs", "show", "JOB", 1, 1, "result json", cli_jobs_show, "one job", NULL },
	{ "jobs", "watch", "JOB", 1, 1, "json", cli_jobs_watch, "follow a job until it is done",
	  "Exit code 0 when it succeeded, 1 when it ended otherwise.\n" },
	{ "jobs", "cancel", "JOB...", 1, MANY_ARGS, "json", cli_jobs_cancel, "stop jobs", NULL },
	{ "jobs", "retry", "JOB...", 1, MANY_ARGS, "json", cli_jobs_retry, "run failed jobs again", NULL },
	{ "batch", "watch", "IMPORT", 1, 1, "json", cli_batch_watch, "follow a bulk import until it is done",
	  "Exit code 0 when every line succeeded, 1 otherwise.\n" },
	{ "queues", "list", "", 0, 0, "json", cli_queues_list, "the queues and what is in them", NULL },
	{ "queues", "pause", "QUEUE", 1, 1, "json", cli_queues_pause, "stop starting jobs of a queue", NULL },
	{ "queues", "resume", "QUEUE", 1, 1, "json", cli_queues_resume, "start them again", NULL },
	{ "dead", "list", "", 0, 0, "queue collection job-type error older-than limit json", cli_dead_list,
	  "jobs that failed for good, newest first", NULL },
	{ "dead", "show", "JOB", 1, 1, "json", cli_dead_show, "one, with its error and what is known of its end", NULL },
	{ "dead", "retry", "[JOB...]", 0, MANY_ARGS, "queue collection job-type error older-than limit all yes jobs json",
	  cli_dead_retry, "queue dead jobs again, with fresh budgets",
	  "Give jobs, or a filter, or --all. More than one job is asked about, or takes --yes. Interrupted, or\n"
	  "without the server, the same command goes on with the rest. Exit code 1 when a job failed.\n" },
	{ "dead", "purge", "[JOB...]", 0, MANY_ARGS, "queue collection job-type error older-than limit all yes jobs json",
	  cli_dead_purge, "forget dead jobs: their records cannot be retried any more",
	  "As `dead retry`. A job that somebody retries meanwhile is left alone.\n" },
	{ "collections", "list", "", 0, 0, "json", cli_collections_list, "all collections", NULL },
	{ "collections", "create", "NAME", 1, 1, "description json", cli_collections_create,
	  "make a collection", NULL },
	{ "collections", "show", "COLLECTION", 1, 1, "json", cli_collections_show, "one collection", NULL },
	{ "collections", "delete", "COLLECTION", 1, 1, "yes json", cli_collections_delete,
	  "delete a collection with its documents", NULL },
	{ "documents", "list", "", 0, 0, "collection limit json", cli_documents_list,
	  "documents of a collection", NULL },
	{ "documents", "show", "DOCUMENT", 1, 1, "collection json", cli_documents_show, "one document", NULL },
	{ "documents", "delete", "DOCUMENT...", 1, MANY_ARGS, "collection json", cli_documents_delete,
	  "delete documents", NULL },
	{ "completion", "bash", "", 0, 0, "", cli_completion_bash, "print the completion script for bash",
	  "Load it with: source <(ragctl completion bash)\n" },
	{ "completion", "words", "[WORD...]", 0, MANY_ARGS, "", cli_completion_words, "", NULL },
	{ "keys", "create", "NAME", 1, 1, "file tenant scopes rate expires expires-in json", cli_keys_create,
	  "make an API key and show it, once",
	  "Works on the file alone and sends nothing. The key goes to stdout and is kept nowhere; the file\n"
	  "gets its hash. rag-api sees the new line within a second or two.\n" },
	{ "keys", "list", "", 0, 0, "file tenant json", cli_keys_list, "the API keys in a file", NULL },
	{ "keys", "revoke", "NAME|BEGIN", 1, 1, "file tenant all", cli_keys_revoke,
	  "take a key out of the file, by its name or by how it begins", NULL },
};
/* clang-format on */
const size_t command_count = ARRAY_SIZE(commands);

enum cli_exit
cli_exit_code(const struct err *err)
{
	int status = err->detail;

	if (err->code == ERR_CANCELLED && status == 0)
		return CLI_INTERRUPTED;
	if (status == 0 &&
	    (err->code == ERR_CONNECT || err->code == ERR_TIMEOUT || err->code == ERR_PROTOCOL))
		return CLI_UNREACHABLE;
	if (status == 429 || status == 502 || status == 503 || status == 504)
		return CLI_UNREACHABLE;
	if (status == 404 || status == 410)
		return CLI_NOT_FOUND;
	if (status >= 400 && status < 500)
		return CLI_REFUSED;
	return status >= 500 ? CLI_SERVER_ERROR : CLI_FAILED;
}

static void
print_problem(struct cli *cli, const char *text)
{
	AUTO(buf) struct buf line = BUF_INIT(8192);

	text_add_line(&line, str_of(text));
	(void)fflush(cli->out);
	(void)fprintf(cli->err, "ragctl: %s\n", line.data);
}

int
cli_fail(struct cli *cli, const struct err *err)
{
	int code = (int)cli_exit_code(err);

	print_problem(cli, code == CLI_INTERRUPTED ? "interrupted" : err->msg);
	if (code == CLI_UNREACHABLE && err->code == ERR_CONNECT)
		(void)fprintf(cli->err, "ragctl: is the engine running at %s? (--url, RAG_URL)\n",
			      cli->url);
	if (err->detail == 401 && str_starts(str_of(cli->key), "rag_") &&
	    !key_text_is_ours(str_of(cli->key)))
		(void)fputs("ragctl: this key is mistyped or cut: its checksum is wrong\n",
			    cli->err);
	else if (err->detail == 401)
		(void)fputs("ragctl: give an API key with RAG_API_KEY or --key-file\n", cli->err);
	return code;
}

static bool
read_key(struct cli *cli, const char *path, struct err *err)
{
	FILE *file = fopen(path, "re");
	size_t len = 0;

	if (!file)
		return err_errno(err, errno, "read the key file '%s'", path);
	len = fread(cli->key_text, 1, sizeof(cli->key_text) - 1, file);
	(void)fclose(file);

	struct str key = str_trim(str_make(cli->key_text, len));

	memmove(cli->key_text, key.ptr, key.len);
	cli->key_text[key.len] = '\0';
	cli->key = cli->key_text;
	return key.len > 0 || err_set(err, ERR_INVALID, "the key file '%s' is empty", path);
}

bool
cli_set_up(struct cli *cli, struct err *err)
{
	const struct cli_world *world = cli->world;
	const char *given = cli->options.url ? cli->options.url
			    : world->env_url ? world->env_url
					     : DEFAULT_URL;
	struct str base = str_trim(str_of(given));

	while (str_ends(base, "/"))
		base.len--;
	if (!str_starts(base, "http://") && !str_starts(base, "https://"))
		return err_set(err, ERR_INVALID,
			       "the address '%s' does not begin with http:// or https://", given);
	if (!str_copy(cli->url_text, sizeof(cli->url_text), base))
		return err_set(err, ERR_INVALID, "the address of the API is too long");
	cli->url = cli->url_text;
	cli->key = cli->options.key ? cli->options.key : world->env_key ? world->env_key : "";
	cli->color = world->out_is_terminal && !world->no_color && !cli->options.no_color;
	if (strlen(cli->key) >= sizeof(cli->key_text))
		return err_set(err, ERR_INVALID, "the API key is too long");
	return !cli->options.key_file || read_key(cli, cli->options.key_file, err);
}

static int
usage(struct cli *cli, const struct err *err)
{
	print_problem(cli, err->msg);
	(void)fputs("ragctl: `ragctl --help` lists commands and options\n", cli->err);
	return CLI_USAGE;
}

static int
run(struct cli *cli, int argc, const char *const *argv, const char **args)
{
	const struct command *command = NULL;
	const char *group = NULL;
	struct err err = ERR_INIT;

	if (!args_parse(cli, argc, argv, args, &command, &group, &err))
		return usage(cli, &err);
	if (cli->options.version) {
		(void)fprintf(cli->out, "ragctl " RAG_VERSION "\n");
		return CLI_OK;
	}
	if (cli->options.help || !command) {
		args_help(command, group, cli->out);
		return CLI_OK;
	}
	if (!cli_set_up(cli, &err))
		return usage(cli, &err);
	return command->run(cli);
}

int
cli_help(struct cli *cli)
{
	const struct command *command = NULL;
	const char *group = NULL;
	struct err err = ERR_INIT;

	cli->options.help = true; /* a group alone is itself then, not its list */
	if (!args_command(cli, &command, &group, &err))
		return usage(cli, &err);
	args_help(command, group, cli->out);
	return CLI_OK;
}

int
cli_main(int argc, const char *const *argv, const struct cli_world *world)
{
	struct cli cli = { .world = world, .out = world->out, .err = world->err };
	const char **args = mem_array((size_t)argc + 1, sizeof(*args));

	cli.options.retry_s = -1;
	cli.options.jobs = 8;
	cli.options.timeout_s = 120;
	cli.options.resamples = 2000;
	cli.options.seed = 1;
	cli.options.collection = cli_default_collection;

	int code = run(&cli, argc, argv, args);

	if (fflush(cli.out) != 0 && code == CLI_OK)
		code = CLI_FAILED; /* nobody has seen the result */
	mem_free(args);
	return code;
}
