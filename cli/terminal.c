#include "cli/terminal.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/base/clock.h"

#define DEFAULT_COLUMNS 80
#define DEFAULT_ROWS 24

#define ENTER "\033[?1049h\033[?25l" /* alternate screen, no cursor */
#define LEAVE "\033[?25h\033[?1049l"
#define HOME "\033[H"
#define CLEAR_LINE "\033[K"
#define CLEAR_BELOW "\033[J"

void
terminal_open(struct terminal *terminal, FILE *out)
{
	struct termios raw;

	*terminal = (struct terminal){ .out = out };
	if (isatty(STDIN_FILENO) == 1 && tcgetattr(STDIN_FILENO, &terminal->before) == 0) {
		raw = terminal->before;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
		raw.c_cc[VMIN] = 0;
		raw.c_cc[VTIME] = 0;
		terminal->has_keys = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
	}
	(void)fputs(ENTER, out);
	(void)fflush(out);
	(void)terminal_measure(terminal);
}

void
terminal_close(struct terminal *terminal)
{
	if (!terminal->out)
		return;
	(void)fputs(LEAVE, terminal->out);
	(void)fflush(terminal->out);
	if (terminal->has_keys)
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &terminal->before);
	*terminal = (struct terminal){ .out = NULL };
}

bool
terminal_measure(struct terminal *terminal)
{
	struct winsize size = { .ws_col = 0 };
	size_t columns = DEFAULT_COLUMNS, rows = DEFAULT_ROWS;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
		columns = size.ws_col;
		rows = size.ws_row;
	}

	bool changed = columns != terminal->columns || rows != terminal->rows;

	terminal->columns = columns;
	terminal->rows = rows;
	return changed;
}

int
terminal_key(struct terminal *terminal, int wait_ms)
{
	struct pollfd fd = { .fd = STDIN_FILENO, .events = POLLIN };
	unsigned char key = 0;

	if (!terminal->has_keys) {
		clock_sleep_ms(wait_ms);
		return 0;
	}
	if (poll(&fd, 1, wait_ms) <= 0)
		return 0;
	if (read(STDIN_FILENO, &key, 1) == 1)
		return key;
	terminal->has_keys = false; /* hung up: nothing to wait for, and nothing to restore */
	return 0;
}

void
terminal_draw(struct terminal *terminal, struct str lines)
{
	struct str line;
	size_t row = 0;

	(void)fputs(HOME, terminal->out);
	while (row < terminal->rows && str_split(&lines, '\n', &line)) {
		/* the last line has no end of line: it would scroll */
		(void)fprintf(terminal->out, "%s" STR_FMT CLEAR_LINE, row > 0 ? "\r\n" : "",
			      STR_ARG(line));
		row++;
	}
	if (row < terminal->rows)
		(void)fputs("\r\n" CLEAR_BELOW, terminal->out);
	(void)fflush(terminal->out);
}
