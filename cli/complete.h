/*
 * complete: what may stand at the end of a command line of ragctl: for the completion of shells.
 *
 * The words come from the tables of args.h, so they never drift. Names of collections, documents and jobs are asked of the
 * server that the line names, for at most a second; without it there are none, and no error.
 */
#ifndef RAG_CLI_COMPLETE_H
#define RAG_CLI_COMPLETE_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/cli.h"
#include "common/base/buf.h"

/* words: all behind the program's name; the last one is the one to complete ("" = a new one). Appends the candidates, each with
 * its '\n', as whole words. *out_files: names of files fit too. */
void complete_words(const struct cli *cli, const char *const *words, size_t count, struct buf *out,
		    bool *out_files);

#endif
