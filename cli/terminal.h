/*
 * terminal: the screen of `ragctl top`: drawn in place, keys read one by one, everything put back at the end.
 *
 * It takes over stdout (alternate screen, cursor hidden) and, where stdin is a terminal, stdin (keys come at once and are not
 * shown; Ctrl-C and Ctrl-Z are keys then, so that nothing stops the program with the screen taken). One at a time.
 */
#ifndef RAG_CLI_TERMINAL_H
#define RAG_CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <termios.h>

#include "common/base/str.h"

struct terminal {
	FILE *out; /* borrowed */
	bool has_keys;
	struct termios before;
	size_t columns, rows; /* as terminal_measure last found them */
};

#define TERMINAL_CTRL_C 3
#define TERMINAL_CTRL_L 12

void terminal_open(struct terminal *terminal, FILE *out);
void terminal_close(struct terminal *terminal); /* restores; harmless when done twice */

/* Looks at the size; true when it has changed since the last look. */
bool terminal_measure(struct terminal *terminal);
/* Waits up to wait_ms for a key; 0 = none came. */
int terminal_key(struct terminal *terminal, int wait_ms);
/* Draws lines (each ends with '\n', none is wider than the terminal) from the top; what was below is cleared. */
void terminal_draw(struct terminal *terminal, struct str lines);

#endif
