/*
 * convert: see convert.h. Starts the helper, and makes one outcome of the ways in which it can end.
 */
#include "jobs/convert/convert.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "jobs/convert/child.h"
#include "jobs/convert/wire.h"

#define HELPER_NAME "rag-convert"
#define OUTPUT_SLACK_BYTES ((size_t)1 << 20)
#define ERRORS_MAX_BYTES ((size_t)4096)
#define EXCERPT_MAX_BYTES ((size_t)200)

struct convert_opts
convert_opts_of(const struct config *config)
{
	return (struct convert_opts){
		.helper = config->convert_helper,
		.pdftotext = config->pdftotext,
		.memory_bytes = config->convert_memory_bytes,
		.cpu_s = config->convert_cpu_s,
	};
}

const struct convert_reader *
convert_reader_of(enum media_format format)
{
	for (size_t i = 0; i < convert_reader_count; i++)
		if (convert_readers[i].format == format)
			return &convert_readers[i];
	return NULL;
}

bool
convert_reads(enum media_format format)
{
	return convert_reader_of(format) != NULL;
}

/* ---- the helper's path ---- */

static bool
helper_path(const struct convert_opts *opts, char out[PATH_MAX], struct err *err)
{
	char self[PATH_MAX];
	ssize_t len;
	char *slash;

	if (opts->helper[0]) {
		str_copy(out, PATH_MAX, str_of(opts->helper));
		return true;
	}
	len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[len > 0 ? len : 0] = '\0';
	slash = strrchr(self, '/');
	if (!slash ||
	    snprintf(out, PATH_MAX, "%.*s/" HELPER_NAME, (int)(slash - self), self) >= PATH_MAX)
		return err_set(err, ERR_CONFIG,
			       "cannot find " HELPER_NAME ": set convert.helper (CONVERT_HELPER)");
	return true;
}

bool
convert_check(const struct convert_opts *opts, struct err *err)
{
	char helper[PATH_MAX];

	if (!helper_path(opts, helper, err))
		return false;
	if (access(helper, X_OK) != 0)
		return err_set(err, ERR_CONFIG,
			       "cannot read PDF and office documents: there is no %s "
			       "(convert.helper, CONVERT_HELPER)",
			       helper);
	if (access(opts->pdftotext, X_OK) != 0)
		return err_set(err, ERR_CONFIG,
			       "cannot read PDF documents: there is no %s (package poppler-utils; "
			       "convert.pdftotext, PDFTOTEXT)",
			       opts->pdftotext);
	return true;
}

/* ---- how it ended ---- */

/* What it said last, for operators. */
static bool
with_cause(const struct child_end *end, const struct buf *errors, struct err *err)
{
	size_t from = errors->len > EXCERPT_MAX_BYTES ? errors->len - EXCERPT_MAX_BYTES : 0;

	return err_cause(err, "signal %d, exit code %d, %lld ms, %lld bytes; %s", end->end_signal,
			 end->exit_code, (long long)end->cpu_ms, (long long)end->peak_bytes,
			 errors->data + from);
}

static bool
says(const struct buf *errors, const char *what)
{
	return strstr(errors->data, what) != NULL;
}

static bool
bad_end(const struct media_type *type, const struct convert_opts *opts, const struct child_end *end,
	const struct buf *errors, struct err *err)
{
	if (end->end_signal == SIGXCPU || end->cpu_ms >= opts->cpu_s * 1000)
		err_set(err, ERR_BAD_DOCUMENT,
			"cannot read the document as %s: it takes more than %lld s of processor "
			"time",
			type->noun, (long long)opts->cpu_s);
	else if (says(errors, "ut of memory") || says(errors, "bad_alloc"))
		err_set(err, ERR_TOO_LARGE,
			"cannot read the document as %s: it takes more than %lld bytes of memory",
			type->noun, (long long)opts->memory_bytes);
	else if (end->end_signal == SIGKILL)
		err_set(err, ERR_INTERNAL,
			"could not read the document as %s: the converter was killed", type->noun);
	else
		err_set(err, ERR_BAD_DOCUMENT,
			"cannot read the document as %s: the converter broke down over it",
			type->noun);
	return with_cause(end, errors, err);
}

/* pdftotext: 1 cannot open, 3 not permitted */
static bool
bad_pdf(const struct child_end *end, const struct buf *errors, struct err *err)
{
	if (says(errors, "Incorrect password"))
		err_set(err, ERR_BAD_DOCUMENT,
			"cannot read the PDF document: it is encrypted with a password");
	else if (end->exit_code == 3)
		err_set(err, ERR_BAD_DOCUMENT,
			"cannot read the PDF document: its author does not permit to copy text");
	else
		err_set(err, ERR_BAD_DOCUMENT,
			"cannot read the PDF document: it is damaged or cut "
			"off");
	return with_cause(end, errors, err);
}

struct outcome {
	struct child_end end;
	struct buf output, errors;
};

static void
outcome_release(struct outcome *outcome)
{
	buf_release(&outcome->output);
	buf_release(&outcome->errors);
}

static bool
read_outcome(const struct media_type *type, const struct outcome *outcome,
	     const struct parse_limits *limits, struct arena *arena, struct parsed *out,
	     struct err *err)
{
	struct str bytes = str_make(outcome->output.data, outcome->output.len);
	const struct child_end *end = &outcome->end;

	if (end->too_much)
		return err_set(err, ERR_TOO_LARGE,
			       "cannot take the document's text: more than %zu bytes",
			       limits->max_text_bytes);
	if (end->end_signal == 0 && str_starts(bytes, "RAGC")) {
		if (wire_read(bytes, limits, arena, out, err))
			return true;
		return with_cause(end, &outcome->errors, err);
	}
	if (type->format == MEDIA_PDF && end->exit_code == 0)
		return convert_read_pdftotext(bytes, limits, arena, out, err);
	if (type->format == MEDIA_PDF && end->exit_code > 0 &&
	    !says(&outcome->errors, "ut of memory"))
		return bad_pdf(end, &outcome->errors, err);
	return bad_end(type, limits->convert, end, &outcome->errors, err);
}

bool
convert_document(const struct media_type *type, struct str bytes, const struct parse_limits *limits,
		 struct arena *arena, struct parsed *out, struct err *err)
{
	const struct convert_opts *opts = limits->convert;
	const struct convert_reader *reader = convert_reader_of(type->format);
	AUTO(outcome) struct outcome outcome = { 0 };
	char helper[PATH_MAX], memory[24], cpu[24], text[24], parent[24];

	buf_init(&outcome.output, 2 * limits->max_text_bytes + OUTPUT_SLACK_BYTES);
	buf_init(&outcome.errors, ERRORS_MAX_BYTES);
	if (!opts || !reader)
		return err_set(err, ERR_UNSUPPORTED_MEDIA, "cannot read %s here", type->noun);
	if (!helper_path(opts, helper, err))
		return false;
	(void)snprintf(memory, sizeof(memory), "%lld", (long long)opts->memory_bytes);
	(void)snprintf(cpu, sizeof(cpu), "%lld", (long long)opts->cpu_s);
	(void)snprintf(text, sizeof(text), "%zu", limits->max_text_bytes);
	(void)snprintf(parent, sizeof(parent), "%d", (int)getpid());

	const char *const argv[] = { helper, reader->name, memory,	    cpu,
				     text,   parent,	   opts->pdftotext, NULL };
	const struct child_run run = {
		.argv = argv,
		.input = bytes,
		.deadline_mono_ms = limits->deadline_mono_ms,
		.cancel = limits->cancel,
		.output = &outcome.output,
		.errors = &outcome.errors,
	};

	if (!child_run(&run, &outcome.end, err))
		return false;
	return read_outcome(type, &outcome, limits, arena, out, err);
}
