#include "cli/complete.h"

#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/args.h"
#include "cli/show.h"
#include "common/base/auto.h"
#include "common/base/str.h"
#include "common/job.h"

#define LOOK_UP_MS 1000
#define LOOK_UP_MAX 200

/* What is known of the line before the word at hand. */
struct line {
	const char *words[2]; /* of the command: group or name, and name */
	size_t word_count;
	const struct command *command;	  /* NULL = not complete yet */
	size_t arg_count;		  /* of the command, so far */
	const struct args_option *awaits; /* the option whose value comes next; NULL = none */
	bool ended;			  /* `--` was there */
	struct cli cli;			  /* with the server that the line names */
	struct args_option option;
};

struct candidates {
	struct buf *out;
	struct str start;   /* what they begin with */
	const char *prefix; /* put in front: "--mode=" */
	size_t prefix_len;
};

static void
offer(const struct candidates *to, struct str word)
{
	if (word.len < to->start.len || !str_eq(str_sub(word, 0, to->start.len), to->start))
		return;
	buf_add(to->out, to->prefix, to->prefix_len);
	buf_add(to->out, word.ptr, word.len);
	buf_add_char(to->out, '\n');
}

static void
offer_c(const struct candidates *to, const char *word)
{
	offer(to, str_of(word));
}

/* ---- the line so far ---- */

static const struct command *
find_command(const char *group, const char *name)
{
	for (size_t i = 0; i < command_count; i++)
		if (strcmp(commands[i].group, group) == 0 && strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static bool
is_group(const char *word)
{
	for (size_t i = 0; i < command_count; i++)
		if (*commands[i].group && strcmp(commands[i].group, word) == 0)
			return true;
	return false;
}

/* The values that decide which server is asked, and about what. */
static void
note_value(struct line *line, const struct args_option *option, const char *value)
{
	struct cli_options *to = &line->cli.options;

	if (strcmp(option->name, "url") == 0)
		to->url = value;
	else if (strcmp(option->name, "key") == 0)
		to->key = value;
	else if (strcmp(option->name, "key-file") == 0)
		to->key_file = value;
	else if (strcmp(option->name, "collection") == 0)
		to->collection = value;
}

static void
read_option(struct line *line, const char *word)
{
	const char *equals = strchr(word, '=');
	struct str name = str_of(word + 1);

	if (word[1] == '-')
		name = equals ? str_make(word + 2, (size_t)(equals - word) - 2) : str_of(word + 2);
	if (!args_option_find(name, word[1] != '-', &line->option) || !line->option.value)
		return;
	if (equals)
		note_value(line, &line->option, equals + 1);
	else
		line->awaits = &line->option;
}

static void
read_word(struct line *line, const char *word)
{
	if (line->awaits) {
		note_value(line, line->awaits, word);
		line->awaits = NULL;
	} else if (!line->ended && strcmp(word, "--") == 0) {
		line->ended = true;
	} else if (!line->ended && word[0] == '-' && word[1]) {
		read_option(line, word);
	} else if (line->command) {
		line->arg_count++;
	} else if (line->word_count < 2) {
		line->words[line->word_count++] = word;
		line->command = line->word_count == 2 ? find_command(line->words[0], word)
						      : find_command("", word);
		/* a group may have a command's name */
		if (line->word_count == 1 && is_group(word))
			line->command = NULL;
	}
}

/* ---- names that the server knows ---- */

struct look_up {
	const struct candidates *to;
	const char *member;
};

/* What a shell would split or interpret is left out. */
static bool
is_plain(struct str name)
{
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];

		if (c <= ' ' || c == 0x7f || strchr("\"'\\`$&|;<>()*?[]{}!#~", c))
			return false;
	}
	return name.len > 0;
}

static bool
on_item(void *user, const struct js *item)
{
	struct look_up *look_up = user;
	struct str name = show_text(item, look_up->member);

	if (is_plain(name))
		offer(look_up->to, name);
	return !atomic_load(&cli_interrupted);
}

static void
look_up(struct line *line, const char *path, const char *member, const struct candidates *to)
{
	AUTO(api) struct api api = { .cli = NULL };
	struct look_up look_up = { .to = to, .member = member };
	struct err err = ERR_INIT;

	if (!cli_set_up(&line->cli, &err) || !api_open(&api, &line->cli, &err))
		return;
	api.retry_ms = 0;
	api.most_ms = LOOK_UP_MS;
	(void)api_each(&api, path, LOOK_UP_MAX, on_item, &look_up, &err);
}

static void
look_up_documents(struct line *line, const struct candidates *to)
{
	AUTO(buf) struct buf path = BUF_INIT(8192);

	buf_add_str(&path, "/api/v1/collections/");
	api_add_encoded(&path, str_of(line->cli.options.collection));
	buf_add_str(&path, "/documents");
	look_up(line, path.data, "id", to);
}

static void
look_up_jobs(struct line *line, const struct candidates *to)
{
	const struct command *command = line->command;
	bool dead = command &&
		    (strcmp(command->group, "dead") == 0 || strcmp(command->name, "retry") == 0);

	look_up(line, dead ? "/api/v1/jobs?status=failed" : "/api/v1/jobs", "id", to);
}

/* ---- values ---- */

static void
offer_list(const struct candidates *to, const char *const *words)
{
	for (; *words; words++)
		offer_c(to, *words);
}

static void
offer_statuses(const struct candidates *to)
{
	for (int i = 0; i < JOB_STATUS_COUNT; i++)
		offer_c(to, job_status_name((enum job_status)i));
}

static void
offer_codes(const struct candidates *to)
{
	for (int i = ERR_NONE + 1; i < ERR_CODE_COUNT; i++)
		offer_c(to, err_info((enum err_code)i)->wire);
}

/* By the word that the help shows for the value or the argument. */
static void
offer_kind(struct line *line, struct str kind, const struct candidates *to, bool *out_files)
{
	static const char *const modes[] = { "hybrid", "dense", "lexical", NULL };
	static const char *const rankings[] = { "lexical", "dense", "hybrid", "rerank", NULL };
	static const char *const types[] = { "ingest", "query", "delete", "import", NULL };

	if (str_eq_c(kind, "PATH") || str_eq_c(kind, "FILE") || str_eq_c(kind, "FOLDER"))
		*out_files = true;
	else if (str_eq_c(kind, "COLLECTION"))
		look_up(line, "/api/v1/collections", "name", to);
	else if (str_eq_c(kind, "DOCUMENT"))
		look_up_documents(line, to);
	else if (str_eq_c(kind, "JOB"))
		look_up_jobs(line, to);
	else if (str_eq_c(kind, "BATCH"))
		look_up(line, "/api/v1/jobs?type=import", "id", to);
	else if (str_eq_c(kind, "QUEUE"))
		offer_list(to, job_queue_names);
	else if (str_eq_c(kind, "STATUS"))
		offer_statuses(to);
	else if (str_eq_c(kind, "CODE"))
		offer_codes(to);
	else if (str_eq_c(kind, "MODE"))
		offer_list(to, modes);
	else if (str_eq_c(kind, "ROW"))
		offer_list(to, rankings);
	else if (str_eq_c(kind, "JOB-TYPE"))
		offer_list(to, types);
}

/* "PATH..." or "[JOB...]" without its decoration; with several words, the one at this place. */
static struct str
kind_of_arg(const char *args, size_t at)
{
	struct str rest = str_of(args), word, kind = STR("");

	for (size_t i = 0; i <= at && str_split(&rest, ' ', &word); i++)
		kind = word;
	while (kind.len > 0 && (kind.ptr[0] == '[' || kind.ptr[0] == '|'))
		kind = str_sub(kind, 1, kind.len);
	while (kind.len > 0 && (kind.ptr[kind.len - 1] == ']' || kind.ptr[kind.len - 1] == '.'))
		kind.len--;
	return kind;
}

/* ---- words ---- */

static void
offer_options(const struct line *line, const struct candidates *to)
{
	struct args_option option;

	for (size_t i = 0; args_option_at(i, &option); i++) {
		AUTO(buf) struct buf word = BUF_INIT(128);

		if (!option.global && !args_takes(line->command, option.name))
			continue;
		buf_printf(&word, "--%s", option.name);
		offer(to, str_make(word.data, word.len));
	}
}

static void
offer_commands(const struct line *line, const struct candidates *to)
{
	const char *group = line->word_count > 0 ? line->words[0] : "";
	const char *last = "";

	for (size_t i = 0; i < command_count; i++) {
		const struct command *command = &commands[i];

		if (!*command->summary)
			continue; /* not for people */
		if (strcmp(command->group, group) == 0) {
			offer_c(to, command->name);
		} else if (!*group && strcmp(command->group, last) != 0) {
			/* the rows of a group stand together */
			last = command->group;
			offer_c(to, last);
		}
	}
}

/* "--mode=de": the value behind the '='. */
static void
offer_value_of(struct line *line, const char *word, struct candidates *to, bool *out_files)
{
	const char *equals = strchr(word, '=');
	struct args_option option;

	to->prefix = word;
	to->prefix_len = (size_t)(equals + 1 - word);
	to->start = str_of(equals + 1);
	if (args_option_find(str_make(word + 2, (size_t)(equals - word) - 2), false, &option) &&
	    option.value)
		offer_kind(line, str_of(option.value), to, out_files);
}

void
complete_words(const struct cli *cli, const char *const *words, size_t count, struct buf *out,
	       bool *out_files)
{
	const char *word = count > 0 ? words[count - 1] : "";
	struct candidates to = { .out = out, .start = str_of(word), .prefix = "" };
	struct line line = { .cli = *cli };

	*out_files = false;
	for (size_t i = 0; i + 1 < count; i++)
		read_word(&line, words[i]);
	if (line.awaits)
		offer_kind(&line, str_of(line.awaits->value), &to, out_files);
	else if (!line.ended && str_starts(to.start, "--") && strchr(word, '='))
		offer_value_of(&line, word, &to, out_files);
	else if (!line.ended && word[0] == '-')
		offer_options(&line, &to);
	else if (!line.command)
		offer_commands(&line, &to);
	else if (line.arg_count < line.command->max_args)
		offer_kind(&line, kind_of_arg(line.command->args, line.arg_count), &to, out_files);
}

/* ---- the commands ---- */

/* Bash cuts words at '=' and ':' too, and puts back only the last piece: so what stands before it is taken off. */
static const char script[] =
	"# Completion of ragctl for bash. ragctl itself knows the words: `ragctl completion words` "
	"answers them, the first\n"
	"# line saying whether names of files fit too. Load it with: source <(ragctl completion "
	"bash)\n"
	"_ragctl()\n"
	"{\n"
	"\tlocal line=${COMP_LINE:0:COMP_POINT} piece=${COMP_WORDS[COMP_CWORD]} words word before "
	"answer\n"
	"\tread -ra words <<<\"$line\"\n"
	"\t[[ $line == *[[:space:]] ]] && words+=('')\n"
	"\tword=${words[-1]}\n"
	"\t[[ $piece == '=' || $piece == ':' ]] && piece=\n"
	"\tbefore=${word%\"$piece\"}\n"
	"\tmapfile -t answer < <(\"${words[0]}\" completion words -- \"${words[@]:1}\" "
	"2>/dev/null)\n"
	"\tCOMPREPLY=(\"${answer[@]:1}\")\n"
	"\tCOMPREPLY=(\"${COMPREPLY[@]#\"$before\"}\")\n"
	"\tif [[ ${answer[0]} == files ]]; then\n"
	"\t\tcompopt -o filenames 2>/dev/null\n"
	"\t\tmapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- \"$piece\")\n"
	"\tfi\n"
	"}\n"
	"complete -F _ragctl ragctl\n";

int
cli_completion_bash(struct cli *cli)
{
	(void)fputs(script, cli->out);
	return CLI_OK;
}

int
cli_completion_words(struct cli *cli)
{
	AUTO(buf) struct buf out = BUF_INIT(1 << 20);
	bool files = false;

	complete_words(cli, cli->args, cli->arg_count, &out, &files);
	(void)fprintf(cli->out, "%s\n%s", files ? "files" : "words", out.data);
	return CLI_OK;
}
