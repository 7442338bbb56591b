/*
 * rag-convert: reads one document on its standard input and writes its text and structure (wire.h) on its standard
 * output, or becomes the tool that does. Started by rag-worker; for a look by hand:
 *
 *	rag-convert docx 536870912 60 33554432 0 /usr/bin/pdftotext < file.docx | strings
 *
 * One thread; it limits itself before it looks at the document, and ends by _exit: nothing is left to clean up.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "jobs/convert/convert.h"
#include "jobs/convert/sandbox.h"
#include "jobs/convert/wire.h"

#define EXIT_USAGE 2
#define SLACK_BYTES ((size_t)1 << 20)
#define LAST_WORDS_BYTES 4096

static const char usage[] =
	"usage: rag-convert FORMAT MEMORY_BYTES CPU_S MAX_TEXT_BYTES PARENT_PID PDFTOTEXT < "
	"document\n"
	"Run by rag-worker. Limits itself, reads one document, writes its text and structure.\n";

struct task {
	const struct convert_reader *reader;
	int64_t memory_bytes, cpu_s, max_text_bytes, parent;
	const char *pdftotext;
};

static bool
read_arguments(int argc, char **argv, struct task *out)
{
	if (argc != 7)
		return false;
	for (size_t i = 0; i < convert_reader_count; i++)
		if (strcmp(argv[1], convert_readers[i].name) == 0)
			out->reader = &convert_readers[i];
	out->pdftotext = argv[6];
	return out->reader && str_to_i64(str_of(argv[2]), 1, INT64_MAX, &out->memory_bytes) &&
	       str_to_i64(str_of(argv[3]), 1, 86400, &out->cpu_s) &&
	       str_to_i64(str_of(argv[4]), 1, INT32_MAX, &out->max_text_bytes) &&
	       str_to_i64(str_of(argv[5]), 0, INT32_MAX, &out->parent);
}

static bool
map_input(struct str *out, struct err *err)
{
	struct stat info;
	void *bytes;

	if (fstat(STDIN_FILENO, &info) != 0)
		return err_errno(err, errno, "read the document");
	if (info.st_size == 0) {
		*out = STR("");
		return true;
	}
	bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, STDIN_FILENO, 0);
	if (bytes == MAP_FAILED)
		return err_errno(err, errno, "read the document");
	*out = str_make(bytes, (size_t)info.st_size);
	return true;
}

static void
write_all(const struct buf *bytes)
{
	for (size_t at = 0; at < bytes->len;) {
		ssize_t n = write(STDOUT_FILENO, bytes->data + at, bytes->len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(1);
		at += (size_t)n;
	}
}

/* Reserved at the start: there may be no memory when it is needed. */
static struct buf last_words = BUF_INIT(LAST_WORDS_BYTES);

static __attribute__((noreturn)) void
end_with(const struct err *err)
{
	wire_write_err(err, &last_words);
	write_all(&last_words);
	_exit(0);
}

/* Becomes pdftotext. It reads a path best; "-" it takes in byte by byte, but a file that Landlock closes is open there. */
static __attribute__((noreturn)) void
become_tool(const struct task *task)
{
	static const char input[] = "/proc/self/fd/0";
	const char *argv[] = { "pdftotext", "-htmlmeta", "-enc", "UTF-8", "-eol",
			       "unix",	    input,	 "-",	 NULL };
	static char *const no_environment[] = { NULL };
	struct err err = ERR_INIT;

	int fd = open(input, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		argv[6] = "-";
	else
		(void)close(fd);
	execve(task->pdftotext, (char *const *)(uintptr_t)argv, no_environment);
	err_set(&err, ERR_UNSUPPORTED_MEDIA,
		"cannot read PDF documents on this worker: pdftotext %s (package poppler-utils)",
		errno == ENOENT ? "is not installed" : "cannot be executed");
	end_with(&err);
}

static __attribute__((noreturn)) void
convert(const struct task *task, struct str bytes)
{
	const struct parse_limits limits = { .max_text_bytes = (size_t)task->max_text_bytes };
	struct buf out = BUF_INIT(2 * limits.max_text_bytes + SLACK_BYTES);
	struct err err = ERR_INIT;
	struct parsed parsed;
	struct arena arena;

	arena_init(&arena, (size_t)task->memory_bytes);
	if (!task->reader->read(bytes, &limits, &arena, &parsed, &err))
		end_with(&err);
	wire_write(&parsed, &out);
	if (!buf_check(&out, "the document's text", &err))
		end_with(&err);
	write_all(&out);
	_exit(0);
}

int
main(int argc, char **argv)
{
	struct task task = { 0 };
	struct err err = ERR_INIT;
	struct str bytes;

	log_init("rag-convert", LOG_WARN);
	if (!read_arguments(argc, argv, &task)) {
		(void)fputs(usage, stderr);
		return EXIT_USAGE;
	}
	const struct sandbox sandbox = {
		.memory_bytes = task.memory_bytes,
		.cpu_s = task.cpu_s,
		.parent = (pid_t)task.parent,
		.tool = task.reader->read ? NULL : task.pdftotext,
	};

	(void)buf_reserve(&last_words, LAST_WORDS_BYTES - 1);
	if (task.reader->read && !map_input(&bytes, &err))
		end_with(&err);
	if (!sandbox_enter(&sandbox, &err))
		end_with(&err);
	if (!task.reader->read)
		become_tool(&task);
	convert(&task, bytes);
}
