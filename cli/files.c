#include "cli/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/text.h"
#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/mem.h"

#define NAME_MAX_BYTES ((size_t)16384)
#define OOXML "application/vnd.openxmlformats-officedocument."
#define ODF "application/vnd.oasis.opendocument."

/* ---- names ---- */

static const char *
ending(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && dot != name ? dot + 1 : "";
}

const char *
files_type(const char *name)
{
	static const struct {
		const char *ending, *type;
	} known[] = {
		{ "txt", "text/plain" },
		{ "text", "text/plain" },
		{ "md", "text/markdown" },
		{ "markdown", "text/markdown" },
		{ "html", "text/html" },
		{ "htm", "text/html" },
		{ "xhtml", "application/xhtml+xml" },
		{ "json", "application/json" },
		{ "csv", "text/csv" },
		{ "tsv", "text/csv" },
		{ "xml", "application/xml" },
		{ "rtf", "application/rtf" },
		{ "pdf", "application/pdf" },
		{ "docx", OOXML "wordprocessingml.document" },
		{ "xlsx", OOXML "spreadsheetml.sheet" },
		{ "pptx", OOXML "presentationml.presentation" },
		{ "odt", ODF "text" },
		{ "ods", ODF "spreadsheet" },
		{ "odp", ODF "presentation" },
		{ "epub", "application/epub+zip" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (str_eq_nocase(str_of(ending(name)), str_of(known[i].ending)))
			return known[i].type;
	}
	return NULL;
}

static const char *
last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* A pattern with a '/' looks at the whole path, one without at the name. */
static bool
matches(const struct cli_list *patterns, const char *id, const char *rel)
{
	for (size_t i = 0; i < patterns->count; i++) {
		const char *pattern = patterns->items[i];
		bool whole = strchr(pattern, '/') != NULL;

		if (fnmatch(pattern, whole ? id : last_part(id), 0) == 0 ||
		    (whole && fnmatch(pattern, rel, 0) == 0))
			return true;
	}
	return false;
}

/* ---- the walk ---- */

struct walk {
	const struct cli *cli;
	struct files *files;
	struct buf path; /* of the entry at hand, absolute */
	struct buf id;
	size_t root_len; /* of id: what belongs to the given PATH's name, its '/' included */
	int depth;
};

/* An id that a terminal and an error message can show. */
static void
note(struct reasons *reasons, const char *text, const char *id)
{
	AUTO(buf) struct buf line = BUF_INIT(NAME_MAX_BYTES);

	text_add_line(&line, str_of(id));
	reasons_add(reasons, text, line.data);
}

static bool
id_is_fine(struct str id)
{
	if (!str_utf8_valid(id, NULL))
		return false;
	for (size_t i = 0; i < id.len; i++) {
		if ((unsigned char)id.ptr[i] < 0x20 || id.ptr[i] == 0x7f)
			return false;
	}
	return true;
}

static void
push_file(struct walk *walk, const char *type)
{
	struct files *files = walk->files;

	if (files->count == files->room) {
		files->room = files->room ? 2 * files->room : 64;
		files->items = mem_grow(files->items, files->room, sizeof(*files->items));
	}

	struct file *file = &files->items[files->count++];

	*file = (struct file){ .path = mem_strdup(walk->path.data),
			       .id = mem_strdup(walk->id.data),
			       .type = type };
	file->rel = file->id + walk->root_len;
}

static void
visit_file(struct walk *walk, const struct stat *info)
{
	const struct cli_options *options = &walk->cli->options;
	const char *id = walk->id.data, *type = files_type(id);
	char reason[100];

	if (options->include.count > 0 && !matches(&options->include, id, id + walk->root_len))
		return;
	if (!type)
		type = options->type;
	if (!type) {
		(void)snprintf(reason, sizeof(reason),
			       *ending(last_part(id)) ? "unknown ending '.%.40s' (--type)"
						      : "no ending (--type)%.0s",
			       ending(last_part(id)));
		note(&walk->files->skipped, reason, id);
	} else if (info->st_size == 0) {
		note(&walk->files->skipped, "empty file", id);
	} else if (walk->id.len > FILES_ID_MAX_BYTES) {
		note(&walk->files->failed, "the id is longer than 256 bytes", id);
	} else if (!id_is_fine(str_make(id, walk->id.len))) {
		note(&walk->files->failed, "the name is not UTF-8 text on one line", id);
	} else {
		push_file(walk, type);
	}
}

static void visit_folder(struct walk *walk, int fd);

/* The entry at walk->path; `parent` and `name` say how to reach it. */
static void
visit(struct walk *walk, int parent, const char *name)
{
	const struct cli_options *options = &walk->cli->options;
	struct stat info;
	bool is_link =
		fstatat(parent, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode);

	if (options->exclude.count > 0 &&
	    matches(&options->exclude, walk->id.data, walk->id.data + walk->root_len))
		return;
	if (fstatat(parent, name, &info, 0) != 0) {
		note(&walk->files->failed, strerrordesc_np(errno), walk->id.data);
	} else if (S_ISREG(info.st_mode)) {
		visit_file(walk, &info);
	} else if (!S_ISDIR(info.st_mode)) {
		note(&walk->files->skipped, "neither a file nor a folder", walk->id.data);
	} else if (is_link) {
		note(&walk->files->skipped, "a link to a folder", walk->id.data);
	} else if (walk->depth == FILES_MAX_DEPTH) {
		note(&walk->files->failed, "folders nested too deep", walk->id.data);
	} else {
		int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0)
			note(&walk->files->failed, strerrordesc_np(errno), walk->id.data);
		else
			visit_folder(walk, fd);
	}
}

/* Owns fd. */
static void
visit_folder(struct walk *walk, int fd)
{
	DIR *dir = fdopendir(fd);
	size_t path_len = walk->path.len, id_len = walk->id.len;

	if (!dir) {
		(void)close(fd);
		return;
	}
	walk->depth++;
	// NOLINTNEXTLINE(concurrency-mt-unsafe): one thread reads this stream; other streams do not matter in glibc
	for (const struct dirent *entry = readdir(dir); entry && !atomic_load(&cli_interrupted);
	     entry = readdir(dir)) { // NOLINT(concurrency-mt-unsafe): as above
		if (entry->d_name[0] == '.')
			continue;
		buf_printf(&walk->path, "/%s", entry->d_name);
		buf_printf(&walk->id, "%s%s", id_len > 0 ? "/" : "", entry->d_name);
		if (buf_ok(&walk->path) && buf_ok(&walk->id))
			visit(walk, fd, entry->d_name);
		else
			note(&walk->files->failed, "the path is too long", entry->d_name);
		walk->path.failed = walk->id.failed = false;
		buf_truncate(&walk->path, path_len);
		buf_truncate(&walk->id, id_len);
	}
	walk->depth--;
	(void)closedir(dir); /* and fd */
}

/* ---- a given PATH ---- */

static bool
visit_root(struct walk *walk, const char *given, struct err *err)
{
	struct str shown = str_of(given);
	char *real = realpath(given, NULL);
	struct stat info;

	if (!real || stat(real, &info) != 0) {
		int errnum = errno;

		free(real);
		return err_set(err, ERR_INVALID, "cannot read '%s': %s", given,
			       strerrordesc_np(errnum));
	}
	while (shown.len > 1 && str_ends(shown, "/"))
		shown.len--;

	char *name = mem_strndup(shown.ptr, shown.len);
	const char *last = last_part(name);

	/* "." and ".." are no names, but the folder they mean has one */
	if (strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
		last = last_part(real);
	buf_clear(&walk->path);
	buf_clear(&walk->id);
	buf_add_str(&walk->path, strcmp(real, "/") == 0 ? "" : real);
	buf_add_str(&walk->id, last);
	walk->root_len = S_ISDIR(info.st_mode) && walk->id.len > 0 ? walk->id.len + 1 : 0;
	walk->depth = 0;
	if (S_ISDIR(info.st_mode)) {
		int fd = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0)
			note(&walk->files->failed, strerrordesc_np(errno), walk->id.data);
		else
			visit_folder(walk, fd);
	} else {
		visit(walk, AT_FDCWD, real);
	}
	mem_free(name);
	free(real);
	return true;
}

static int
by_id(const void *a, const void *b)
{
	return strcmp(((const struct file *)a)->id, ((const struct file *)b)->id);
}

static bool
check_unique(const struct files *files, struct err *err)
{
	for (size_t i = 1; i < files->count; i++) {
		const struct file *a = &files->items[i - 1], *b = &files->items[i];

		if (strcmp(a->id, b->id) == 0)
			return err_set(err, ERR_INVALID,
				       "two files would be the document '%.80s': '%.100s' and "
				       "'%.100s'",
				       a->id, a->path, b->path);
	}
	return true;
}

bool
files_collect(const struct cli *cli, struct files *files, struct err *err)
{
	struct walk walk = { .cli = cli, .files = files };
	bool ok = true;

	*files = (struct files){ .items = NULL };
	buf_init(&walk.path, NAME_MAX_BYTES);
	buf_init(&walk.id, NAME_MAX_BYTES);
	for (size_t i = 0; ok && i < cli->arg_count; i++)
		ok = visit_root(&walk, cli->args[i], err);
	buf_release(&walk.path);
	buf_release(&walk.id);
	if (ok && files->count > 0)
		qsort(files->items, files->count, sizeof(*files->items), by_id);
	if (ok && check_unique(files, err))
		return true;
	files_release(files);
	return false;
}

void
files_release(struct files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		mem_free(files->items[i].path);
		mem_free(files->items[i].id);
	}
	mem_free(files->items);
	reasons_release(&files->skipped);
	reasons_release(&files->failed);
	*files = (struct files){ .items = NULL };
}

struct file *
files_find(const struct files *files, struct str id)
{
	size_t low = 0, high = files->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = str_cmp(id, str_of(files->items[middle].id));

		if (order == 0)
			return &files->items[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}
