#include "cli/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/buf.h"

#define FILE_MAX_BYTES ((size_t)1024 * 1024)
#define PATH_MAX_BYTES 4096

static bool
read_text(const char *path, struct buf *out, struct err *err)
{
	FILE *file = fopen(path, "re");
	char chunk[4096];
	size_t len;
	bool failed;

	if (!file && errno == ENOENT)
		return true;
	if (!file)
		return err_errno(err, errno, "read '%s'", path);
	while ((len = fread(chunk, 1, sizeof(chunk), file)) > 0)
		buf_add(out, chunk, len);
	failed = ferror(file) != 0;
	(void)fclose(file);
	if (failed)
		return err_set(err, ERR_IO, "could not read '%s'", path);
	return buf_check(out, "the conversation", err);
}

bool
talk_read(const char *path, struct js **out, struct err *err)
{
	AUTO(buf) struct buf text = BUF_INIT(FILE_MAX_BYTES);
	AUTO_PTR(js_free) struct js *root = NULL;

	if (!read_text(path, &text, err))
		return false;
	if (text.len == 0)
		buf_add_str(&text, "[]");
	if (!js_parse(str_make(text.data, text.len), &root, err)) {
		(void)err_wrap(err, "%s", path);
		err->code = ERR_CONFIG;
		return false;
	}
	if (!js_is(root, JS_ARRAY))
		return err_set(err, ERR_CONFIG, "'%s' is no conversation: not a JSON array", path);
	*out = TAKE(root);
	return true;
}

static void
write_turn(const char *role, struct str text, struct jw *w)
{
	size_t chars = 0, end = 0;

	while (end < text.len && chars < TALK_MAX_CHARS) {
		uint32_t cp = 0;

		end += str_utf8_next(text, end, &cp);
		chars++;
	}
	jw_obj(w);
	jw_kcstr(w, "role", role);
	jw_kstr(w, "content", str_sub(text, 0, end));
	jw_end(w);
}

/* From the turn `first` on, and the new ones. */
static void
write_talk(const struct js *talk, size_t first, struct str question, struct str answer,
	   struct buf *out)
{
	struct jw w = jw_start(out);

	buf_clear(out);
	jw_arr(&w);
	for (size_t i = first; i < js_len(talk); i++)
		jw_js(&w, js_at(talk, i));
	write_turn("user", question, &w);
	if (str_trim(answer).len > 0)
		write_turn("assistant", answer, &w);
	jw_end(&w);
}

static bool
replace(const char *path, const struct buf *text, struct err *err)
{
	char temp[PATH_MAX_BYTES];
	int len = snprintf(temp, sizeof(temp), "%s.XXXXXX", path);
	int fd = -1, errnum;
	FILE *file = NULL;
	bool ok;

	if (len > 0 && (size_t)len < sizeof(temp))
		fd = mkostemp(temp, O_CLOEXEC);
	else
		errno = ENAMETOOLONG;
	if (fd >= 0)
		file = fdopen(fd, "w");
	if (!file) {
		errnum = errno;
		if (fd >= 0) {
			(void)close(fd);
			(void)unlink(temp);
		}
		return err_errno(err, errnum, "write '%s'", path);
	}
	ok = fwrite(text->data, 1, text->len, file) == text->len && fputc('\n', file) != EOF;
	ok = fclose(file) == 0 && ok;
	ok = ok && rename(temp, path) == 0;
	if (ok)
		return true;
	errnum = errno;
	(void)unlink(temp);
	return err_errno(err, errnum, "write '%s'", path);
}

bool
talk_add(const char *path, const struct js *talk, struct str question, struct str answer,
	 struct err *err)
{
	AUTO(buf) struct buf text = BUF_INIT(FILE_MAX_BYTES * 2);
	size_t count = js_len(talk),
	       first = count + 2 > TALK_MAX_TURNS ? count + 2 - TALK_MAX_TURNS : 0;

	for (;; first++) {
		write_talk(talk, first, question, answer, &text);
		if (first >= count || (buf_ok(&text) && text.len <= TALK_MAX_BYTES))
			break;
	}
	return buf_check(&text, "the conversation", err) && replace(path, &text, err);
}
