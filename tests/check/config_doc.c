/* Prints docs/configuration.md from the table of settings; the build compares or renews the file. */
#include <stdio.h>
#include <stdlib.h>

#include "common/config.h"

int
main(void)
{
	config_print_markdown(stdout);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
