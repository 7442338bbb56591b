/* ragctl: the command line of the engine. Speaks HTTP only. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/base/str.h"
#include "common/http_client.h"

#define DEFAULT_COLUMNS 100

/* The first signal asks for an orderly end, the second finds the default action. */
static void
on_signal(int number)
{
	(void)number;
	atomic_store(&cli_interrupted, true);
}

static void
catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };

	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

/* NULL when not set, or empty */
static const char *
env_value(const char *name)
{
	const char *value =
		getenv(name); // NOLINT(concurrency-mt-unsafe): nobody changes the environment

	return value && *value ? value : NULL;
}

static int
columns(void)
{
	const char *text = env_value("COLUMNS");
	struct winsize size = { .ws_col = 0 };
	int64_t value = 0;

	if (text && str_to_i64(str_of(text), 20, 1000, &value))
		return (int)value;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20)
		return size.ws_col;
	return DEFAULT_COLUMNS;
}

static bool
ask(void *user, const char *question)
{
	char answer[16] = "";

	(void)user;
	(void)fprintf(stderr, "%s [y/N] ", question);
	(void)fflush(stderr);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

int
main(int argc, char **argv)
{
	const char *term = env_value("TERM");
	struct cli_world world = {
		.out = stdout,
		.err = stderr,
		.out_is_terminal = isatty(STDOUT_FILENO) == 1,
		.can_draw = isatty(STDOUT_FILENO) == 1 && term && strcmp(term, "dumb") != 0,
		.err_is_terminal = isatty(STDERR_FILENO) == 1 && term && strcmp(term, "dumb") != 0,
		.columns = columns(),
		.env_url = env_value("RAG_URL"),
		.env_key = env_value("RAG_API_KEY"),
		.no_color = env_value("NO_COLOR") || !term || strcmp(term, "dumb") == 0,
		.ask = isatty(STDIN_FILENO) == 1 ? ask : NULL,
	};
	struct err err = ERR_INIT;

	catch_signals();
	if (!http_client_global_init(&err)) {
		(void)fprintf(stderr, "ragctl: %s\n", err.msg);
		return CLI_FAILED;
	}

	int code = cli_main(argc, (const char *const *)argv, &world);

	http_client_global_release();
	return code;
}
