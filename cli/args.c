#include "cli/args.h"

#include <string.h>

#include "cli/text.h"
#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/str.h"
#include "common/suggest.h"

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_INT, OPTION_LIST };

struct option {
	const char *name;
	char letter; /* '\0' = none */
	enum option_kind kind;
	size_t offset;
	int64_t min, max;
	const char *value; /* for the help */
	const char *doc;
	bool global;
};

#define AT(member) .offset = offsetof(struct cli_options, member)
#define FLAG(name_, member, ...)                                                                   \
	{                                                                                          \
		.name = name_, .kind = OPTION_FLAG, AT(member), __VA_ARGS__                        \
	}
#define TEXT(name_, member, ...)                                                                   \
	{                                                                                          \
		.name = name_, .kind = OPTION_TEXT, AT(member), __VA_ARGS__                        \
	}
#define LIST(name_, member, ...)                                                                   \
	{                                                                                          \
		.name = name_, .kind = OPTION_LIST, AT(member), __VA_ARGS__                        \
	}
#define WHOLE(name_, member, ...)                                                                  \
	{                                                                                          \
		.name = name_, .kind = OPTION_INT, AT(member), __VA_ARGS__                         \
	}

static const struct option options[] = {
	TEXT("url", url, .value = "URL", .global = true,
	     .doc = "address of the API; else RAG_URL, else http://127.0.0.1:8000"),
	TEXT("key", key, .value = "KEY", .global = true,
	     .doc = "API key; else RAG_API_KEY (others on this machine can see a command line)"),
	TEXT("key-file", key_file, .value = "FILE", .global = true, .doc = "file with the API key"),
	WHOLE("retry", retry_s, .value = "SECONDS", .min = 0, .max = 86400, .global = true,
	      .doc = "how long a refused or lost request is repeated (ingest, dead: 300; others: "
		     "10)"),
	FLAG("quiet", quiet, .letter = 'q', .global = true, .doc = "no progress, no summary"),
	FLAG("no-color", no_color, .global = true, .doc = "no colours (as NO_COLOR)"),
	FLAG("help", help, .letter = 'h', .global = true, .doc = "this help"),
	FLAG("version", version, .global = true, .doc = "the version of ragctl"),

	FLAG("json", json, .doc = "print the server's answer as JSON"),
	TEXT("collection", collection, .letter = 'c', .value = "COLLECTION",
	     .doc = "the collection (default: default)"),
	WHOLE("jobs", jobs, .letter = 'j', .value = "N", .min = 1, .max = 64,
	      .doc = "requests in flight (default 8)"),
	LIST("include", include, .value = "GLOB",
	     .doc = "only files whose name matches (or path, where GLOB has a /); repeatable"),
	LIST("exclude", exclude, .value = "GLOB",
	     .doc = "no files or folders that match; repeatable"),
	TEXT("type", type, .value = "TYPE",
	     .doc = "media type of files whose ending is not known (else they are skipped)"),
	TEXT("uri-prefix", uri_prefix, .value = "URL",
	     .doc = "uri of a document = this and its path below PATH (default: file://...)"),
	FLAG("no-uri", no_uri, .doc = "send no uri"),
	FLAG("force", force, .doc = "send unchanged files too"),
	TEXT("idempotency-key", idempotency_key, .value = "KEY",
	     .doc = "of an import: the same key goes on where the last upload ended"),
	FLAG("no-wait", no_wait, .doc = "do not wait until the jobs are done"),
	WHOLE("top-k", top_k, .letter = 'k', .value = "N", .min = 1, .max = 200,
	      .doc = "how many chunks to retrieve"),
	TEXT("mode", mode, .value = "MODE", .doc = "hybrid, dense or lexical"),
	TEXT("filter", filter, .value = "JSON", .doc = "metadata filter, e.g. '{\"lang\":\"en\"}'"),
	FLAG("no-generate", no_generate, .doc = "retrieve only, no answer"),
	FLAG("explain", explain, .doc = "show all that was retrieved, and how it was found"),
	TEXT("conversation", conversation, .value = "FILE",
	     .doc = "the conversation so far, in a file; question and answer are added to it"),
	FLAG("rerank", rerank, .doc = "reorder the candidates"),
	FLAG("stream", stream, .doc = "print the answer while it is written"),
	WHOLE("timeout", timeout_s, .value = "SECONDS", .min = 1, .max = 86400,
	      .doc = "how long to wait for the result (default 120)"),
	TEXT("status", status, .value = "STATUS", .doc = "only jobs of this status"),
	TEXT("queue", queue, .value = "QUEUE", .doc = "only jobs of this queue"),
	TEXT("job-type", job_type, .value = "JOB-TYPE", .doc = "only jobs of this type"),
	TEXT("error", error, .value = "CODE", .doc = "only jobs whose last failure has this code"),
	TEXT("older-than", older_than, .value = "AGE",
	     .doc = "only jobs that ended longer ago: 90s, 30m, 12h, 7d"),
	WHOLE("interval", interval_s, .value = "SECONDS", .min = 1, .max = 3600,
	      .doc = "how often to look (default 2)"),
	FLAG("once", once, .doc = "look once and end"),
	FLAG("all", all, .doc = "all dead jobs; all keys that are meant"),
	WHOLE("limit", limit, .letter = 'n', .value = "N", .min = 1, .max = 1000000,
	      .doc = "at most so many"),
	FLAG("result", result, .doc = "print the job's result"),
	TEXT("description", description, .value = "TEXT", .doc = "what the collection is for"),
	TEXT("baseline", baseline, .value = "ROW",
	     .doc = "lexical, dense, hybrid or rerank (default: the better one of the first two)"),
	WHOLE("resamples", resamples, .value = "N", .min = 100, .max = 1000000,
	      .doc = "bootstrap samples (default 2000)"),
	WHOLE("seed", seed, .value = "N", .min = 0, .max = INT64_MAX,
	      .doc = "of the bootstrap's random numbers (default 1)"),
	FLAG("keep", keep, .doc = "leave the collection that the run made"),
	FLAG("yes", yes, .letter = 'y', .doc = "do not ask"),
	TEXT("health-url", health_url, .value = "URL",
	     .doc = "the health listener (default: the API's host, port 8089)"),
	TEXT("file", file, .value = "FILE",
	     .doc = "the file of API keys that rag-api reads (API_KEYS_FILE)"),
	TEXT("tenant", tenant, .value = "NAME",
	     .doc = "whose data the key leads to (default: default)"),
	TEXT("scopes", scopes, .value = "LIST",
	     .doc = "some of read,ingest,admin (default: read,ingest)"),
	TEXT("rate", rate, .value = "N/SECONDS",
	     .doc = "requests within so many seconds, or none (default: the engine's setting)"),
	TEXT("expires", expires, .value = "TIME",
	     .doc = "refused from then on: 2027-01-31T00:00:00Z"),
	WHOLE("expires-in", expires_in_days, .value = "DAYS", .min = 1, .max = 36500,
	      .doc = "the same, in days from now"),
};

/* Is `name` one of the words of `list`? */
static bool
has_word(const char *list, const char *name)
{
	struct str rest = str_of(list), word;

	while (str_split(&rest, ' ', &word)) {
		if (str_eq_c(word, name))
			return true;
	}
	return false;
}

static const struct option *
find_option(struct str name, char letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (letter ? options[i].letter == letter : str_eq_c(name, options[i].name))
			return &options[i];
	}
	return NULL;
}

static bool
unknown_option(const char *word, struct str name, struct err *err)
{
	struct suggest suggest = suggest_start(name);

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		suggest_offer(&suggest, options[i].name);
	if (suggest.nearest)
		return err_set(err, ERR_INVALID, "unknown option '%s'; did you mean '--%s'?", word,
			       suggest.nearest);
	return err_set(err, ERR_INVALID, "unknown option '%s'", word);
}

static bool
store_value(struct cli_options *to, const struct option *option, const char *value, struct err *err)
{
	char *at = (char *)to + option->offset;

	if (option->kind == OPTION_INT) {
		int64_t number = 0;

		if (!str_to_i64(str_of(value), option->min, option->max, &number))
			return err_set(err, ERR_INVALID,
				       "--%s must be a number between %lld and %lld, not '%s'",
				       option->name, (long long)option->min, (long long)option->max,
				       value);
		memcpy(at, &number, sizeof(number));
	} else if (option->kind == OPTION_LIST) {
		struct cli_list *list = (struct cli_list *)(void *)at;

		if (list->count == CLI_MAX_LIST)
			return err_set(err, ERR_INVALID, "--%s is given more than %d times",
				       option->name, CLI_MAX_LIST);
		list->items[list->count++] = value;
	} else {
		memcpy(at, &value, sizeof(value));
	}
	return true;
}

struct words {
	int argc;
	const char *const *argv;
	int at;
	uint64_t used; /* options given, one bit each */
};

/* The option at words->at, and its value behind '=' or in the next word. */
static bool
take_option(struct cli *cli, struct words *words, struct err *err)
{
	const char *word = words->argv[words->at];
	bool is_long = word[1] == '-';
	const char *equals = is_long ? strchr(word, '=') : NULL;
	struct str name = str_of(is_long ? word + 2 : word + 1);
	const struct option *option = NULL;

	if (equals)
		name = str_make(word + 2, (size_t)(equals - word) - 2);
	if (is_long)
		option = find_option(name, '\0');
	else if (name.len == 1)
		option = find_option(name, name.ptr[0]);
	if (!option)
		return unknown_option(word, name, err);
	words->used |= UINT64_C(1) << (option - options);
	if (option->kind == OPTION_FLAG) {
		if (equals)
			return err_set(err, ERR_INVALID, "--%s takes no value", option->name);
		memcpy((char *)&cli->options + option->offset, &(bool){ true }, sizeof(bool));
		return true;
	}
	if (!equals && words->at + 1 >= words->argc)
		return err_set(err, ERR_INVALID, "--%s needs a value (%s)", option->name,
			       option->value);
	return store_value(&cli->options, option, equals ? equals + 1 : words->argv[++words->at],
			   err);
}

static bool
is_group(const char *word)
{
	for (size_t i = 0; i < command_count; i++) {
		if (*commands[i].group && strcmp(commands[i].group, word) == 0)
			return true;
	}
	return false;
}

static const struct command *
find_command(const char *group, const char *name)
{
	for (size_t i = 0; i < command_count; i++) {
		if (strcmp(commands[i].group, group) == 0 && strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static bool
unknown_command(const char *group, const char *word, struct err *err)
{
	struct suggest suggest = suggest_start(str_of(word));

	for (size_t i = 0; i < command_count; i++) {
		if (!*group && *commands[i].group)
			suggest_offer(&suggest, commands[i].group);
		if (strcmp(commands[i].group, group) == 0)
			suggest_offer(&suggest, commands[i].name);
	}
	if (suggest.nearest)
		return err_set(err, ERR_INVALID, "unknown command '%s%s%s'; did you mean '%s'?",
			       group, *group ? " " : "", word, suggest.nearest);
	return err_set(err, ERR_INVALID, "unknown command '%s%s%s'", group, *group ? " " : "",
		       word);
}

bool
args_command(struct cli *cli, const struct command **out, const char **out_group, struct err *err)
{
	const char *group = "";

	*out = NULL;
	*out_group = NULL;
	if (cli->arg_count == 0)
		return cli->options.help || cli->options.version ||
		       err_set(err, ERR_INVALID, "no command given");
	if (is_group(cli->args[0])) {
		group = *out_group = cli->args[0];
		cli->args++;
		cli->arg_count--;
		/* a group alone is its list */
		if (cli->arg_count == 0) {
			*out = cli->options.help ? NULL : find_command(group, "list");
			return true;
		}
	}
	*out = find_command(group, cli->args[0]);
	if (!*out)
		return unknown_command(group, cli->args[0], err);
	cli->args++;
	cli->arg_count--;
	return true;
}

static bool
check_options(const struct command *command, uint64_t used, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (!(used >> i & 1) || options[i].global ||
		    has_word(command->options, options[i].name))
			continue;
		return err_set(err, ERR_INVALID, "'%s%s%s' takes no --%s", command->group,
			       *command->group ? " " : "", command->name, options[i].name);
	}
	return true;
}

static bool
check_count(const struct cli *cli, const struct command *command, struct err *err)
{
	if (cli->arg_count < command->min_args)
		return err_set(err, ERR_INVALID, "'%s%s%s' needs %s", command->group,
			       *command->group ? " " : "", command->name, command->args);
	if (cli->arg_count > command->max_args)
		return err_set(err, ERR_INVALID, "'%s%s%s' does not know what to do with '%s'",
			       command->group, *command->group ? " " : "", command->name,
			       cli->args[command->max_args]);
	return true;
}

bool
args_parse(struct cli *cli, int argc, const char *const *argv, const char **args,
	   const struct command **out, const char **out_group, struct err *err)
{
	struct words words = { .argc = argc, .argv = argv, .at = 1 };
	bool ended = false;

	*out = NULL;
	*out_group = NULL;
	cli->args = args;
	for (; words.at < argc; words.at++) {
		const char *word = argv[words.at];

		if (ended || word[0] != '-' || word[1] == '\0')
			args[cli->arg_count++] = word;
		else if (strcmp(word, "--") == 0)
			ended = true;
		else if (!take_option(cli, &words, err))
			return false;
	}
	if (!args_command(cli, out, out_group, err))
		return false;
	if (!*out || cli->options.help)
		return true;
	return check_options(*out, words.used, err) && check_count(cli, *out, err);
}

/* ---- for others ---- */

static void
show_option(const struct option *option, struct args_option *out)
{
	*out = (struct args_option){ .name = option->name,
				     .letter = option->letter,
				     .value = option->value,
				     .global = option->global };
}

bool
args_option_at(size_t index, struct args_option *out)
{
	if (index >= ARRAY_SIZE(options))
		return false;
	show_option(&options[index], out);
	return true;
}

bool
args_option_find(struct str name, bool is_letter, struct args_option *out)
{
	const struct option *option = NULL;

	if (!is_letter)
		option = find_option(name, '\0');
	else if (name.len == 1)
		option = find_option(name, name.ptr[0]);
	if (option)
		show_option(option, out);
	return option != NULL;
}

bool
args_takes(const struct command *command, const char *option)
{
	return command && has_word(command->options, option);
}

/* ---- help ---- */

static void
print_option(const struct option *option, FILE *out)
{
	AUTO(buf) struct buf left = BUF_INIT(100);

	if (option->letter)
		buf_printf(&left, "  -%c, --%s", option->letter, option->name);
	else
		buf_printf(&left, "      --%s", option->name);
	if (option->value)
		buf_printf(&left, " %s", option->value);
	(void)fprintf(out, "%-26s %s\n", left.data, option->doc);
}

static void
print_globals(FILE *out)
{
	(void)fputs("\nEverywhere:\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (options[i].global)
			print_option(&options[i], out);
	}
}

/* "dead retry [JOB...]" */
static void
add_usage(struct buf *out, const struct command *command)
{
	buf_printf(out, "%s%s%s%s%s", command->group, *command->group ? " " : "", command->name,
		   *command->args ? " " : "", command->args);
}

static void
help_command(const struct command *command, FILE *out)
{
	AUTO(buf) struct buf usage = BUF_INIT(200);

	add_usage(&usage, command);
	(void)fprintf(out, "Usage: ragctl %s [options]\n\n%s\n", usage.data, command->summary);
	if (command->help)
		(void)fprintf(out, "\n%s", command->help);
	if (*command->options)
		(void)fputs("\nOptions:\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (has_word(command->options, options[i].name))
			print_option(&options[i], out);
	}
	print_globals(out);
}

/* Not for people, or not of the group that was asked for (NULL: all). */
static bool
is_hidden(const struct command *command, const char *group)
{
	return !*command->summary || (group && strcmp(command->group, group) != 0);
}

/* The commands in two columns, an empty line before each group. */
static void
help_list(const char *group, FILE *out)
{
	const char *last = NULL;
	size_t width = 0;

	for (size_t i = 0; i < command_count; i++) {
		AUTO(buf) struct buf left = BUF_INIT(200);

		add_usage(&left, &commands[i]);
		if (!is_hidden(&commands[i], group) && left.len > width)
			width = left.len;
	}
	for (size_t i = 0; i < command_count; i++) {
		AUTO(buf) struct buf left = BUF_INIT(200);

		if (is_hidden(&commands[i], group))
			continue;
		if (last && strcmp(last, commands[i].group) != 0)
			(void)fputc('\n', out);
		last = commands[i].group;
		add_usage(&left, &commands[i]);
		(void)fprintf(out, "  %-*s  %s\n", (int)width, left.data, commands[i].summary);
	}
}

void
args_help(const struct command *command, const char *group, FILE *out)
{
	if (command) {
		help_command(command, out);
		return;
	}
	(void)fprintf(out, "Usage: ragctl %s%sCOMMAND [options]\n\n", group ? group : "",
		      group ? " " : "");
	help_list(group, out);
	print_globals(out);
	if (group && find_command(group, "list"))
		(void)fprintf(out, "\n`ragctl %s` alone is `ragctl %s list`.\n", group, group);
	if (group)
		return;
	(void)fputs("\nExit codes:\n"
		    "  0  done\n"
		    "  1  failed, or a part of it failed\n"
		    "  2  the command line is wrong\n"
		    "  3  no server, or it stays unavailable\n"
		    "  4  not found\n"
		    "  5  the server refused the request\n"
		    "  6  the server failed\n"
		    "  130  interrupted\n"
		    "\n`ragctl COMMAND --help` says more about a command.\n",
		    out);
}
