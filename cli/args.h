/*
 * args: the command line of ragctl: which commands and options there are, and their help.
 *
 * Options may stand anywhere after the program's name, as `--name value` or `--name=value`; `--` ends
 * them. One table of options, one of commands; both make the help.
 */
#ifndef RAG_CLI_ARGS_H
#define RAG_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cli/cli.h"
#include "common/base/str.h"

struct command {
	const char *group; /* "jobs"; "" = a command of one word */
	const char *name;  /* "list" */
	const char *args;  /* "PATH..." for the help */
	size_t min_args, max_args;
	const char
		*options; /* names of the options it takes, blanks between; the global ones aside */
	int (*run)(struct cli *cli);
	const char *summary; /* one line */
	const char *help;    /* more; may be NULL */
};

extern const struct command commands[];
extern const size_t command_count;

/* A word of the command line: fills cli->options and cli->args (into args, of argc items), and finds the
 * command: *out NULL when only --help or --version, or a group without a command, was given (then *out_group says
 * which, or NULL). ERR_INVALID says what is wrong. */
bool args_parse(struct cli *cli, int argc, const char *const *argv, const char **args,
		const struct command **out, const char **out_group, struct err *err);

/* An option as others see it. */
struct args_option {
	const char *name;
	char letter;	   /* '\0' = none */
	const char *value; /* what its value is, "FILE"; NULL = it takes none */
	bool global;	   /* every command takes it */
};
bool args_option_at(size_t index, struct args_option *out); /* false past the end */
/* By its name, or by its one letter. */
bool args_option_find(struct str name, bool is_letter, struct args_option *out);
/* false for NULL */
bool args_takes(const struct command *command, const char *option);

/* The command that the first one or two words of cli->args name; they leave cli->args. *out and *out_group as above. */
bool args_command(struct cli *cli, const struct command **out, const char **out_group,
		  struct err *err);

/* Help of one command; of one group; of the program. */
void args_help(const struct command *command, const char *group, FILE *out);

#endif
