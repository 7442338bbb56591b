#include "tests/support/folder.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void
folder_make(char out[FOLDER_BYTES])
{
	(void)snprintf(out, FOLDER_BYTES, "/tmp/rag-test-XXXXXX");
	if (!mkdtemp(out)) {
		perror("mkdtemp");
		abort();
	}
}

static int
remove_one(const char *path, const struct stat *info, int flag, struct FTW *position)
{
	(void)info;
	(void)flag;
	(void)position;
	return remove(path);
}

void
folder_remove(const char *path)
{
	(void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
