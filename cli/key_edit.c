#include "cli/key_edit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/mem.h"

#define MODE_NEW 0600
#define MODE_KEPT 0640 /* of a file that is there: never more than this */

/* The file that is edited: where it really is, and the lock on its folder. */
struct target {
	char path[PATH_MAX];   /* links followed */
	char folder[PATH_MAX]; /* of it */
	char temp[PATH_MAX];   /* beside it; "" = none is there */
	int lock_fd;	       /* -1 = not locked */
	bool exists;
	struct stat seen;
};

static void
target_release(struct target *target)
{
	if (target->temp[0])
		(void)unlink(target->temp);
	if (target->lock_fd >= 0)
		(void)close(target->lock_fd); /* and the lock goes */
	target->lock_fd = -1;
	target->temp[0] = '\0';
}

static bool
too_long(const char *path, struct err *err)
{
	return err_set(err, ERR_INVALID, "the path '%.100s...' is too long", path);
}

/* A file that is not there yet is where its name says. */
static bool
resolve(const char *path, struct target *target, struct err *err)
{
	char *real = realpath(path, NULL);
	bool fits = str_copy(target->path, sizeof(target->path), str_of(real ? real : path));
	char *slash;

	if (!real && errno != ENOENT)
		return err_errno(err, errno, "open '%s'", path);
	free(real);
	if (!fits)
		return too_long(path, err);
	(void)str_copy(target->folder, sizeof(target->folder), str_of(target->path));
	slash = strrchr(target->folder, '/');
	if (!slash)
		(void)str_copy(target->folder, sizeof(target->folder), STR("."));
	else
		slash[slash == target->folder] = '\0'; /* "/x" is in "/" */
	return true;
}

static bool
lock(struct target *target, struct err *err)
{
	int result;

	target->lock_fd = open(target->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (target->lock_fd < 0)
		return err_errno(err, errno, "open the folder '%s'", target->folder);
	do
		result = flock(target->lock_fd, LOCK_EX);
	while (result != 0 && errno == EINTR);
	return result == 0 || err_errno(err, errno, "lock the folder '%s'", target->folder);
}

static bool
read_text(struct target *target, struct buf *out, struct err *err)
{
	if (stat(target->path, &target->seen) != 0) {
		if (errno == ENOENT)
			return true;
		return err_errno(err, errno, "look at '%s'", target->path);
	}
	target->exists = true;
	return key_file_read(target->path, out, &target->seen, err);
}

static bool
write_all(int fd, const struct buf *text)
{
	size_t done = 0;

	while (done < text->len) {
		ssize_t some = write(fd, text->data + done, text->len - done);

		if (some < 0 && errno != EINTR)
			return false;
		done += some > 0 ? (size_t)some : 0;
	}
	return true;
}

/* Rights first: the text is never readable for more than it is in the end. */
static bool
fill_temp(int fd, const struct target *target, const struct buf *text)
{
	mode_t mode = MODE_NEW;

	if (target->exists) {
		mode = (target->seen.st_mode & MODE_KEPT) | MODE_NEW;
		if ((target->seen.st_uid != geteuid() || target->seen.st_gid != getegid()) &&
		    fchown(fd, target->seen.st_uid, target->seen.st_gid) != 0)
			return false;
	}
	return fchmod(fd, mode) == 0 && write_all(fd, text) && fsync(fd) == 0;
}

static bool
replace(struct target *target, const struct buf *text, struct err *err)
{
	int len = snprintf(target->temp, sizeof(target->temp), "%s.XXXXXX", target->path);
	bool ok;
	int fd, errnum;

	if (len < 0 || (size_t)len >= sizeof(target->temp)) {
		target->temp[0] = '\0';
		return too_long(target->path, err);
	}
	fd = mkostemp(target->temp, O_CLOEXEC);
	if (fd < 0) {
		target->temp[0] = '\0';
		return err_errno(err, errno, "make a file in '%s'", target->folder);
	}
	ok = fill_temp(fd, target, text);
	errnum = errno;
	if (close(fd) != 0 && ok) {
		errnum = errno;
		ok = false;
	}
	if (!ok)
		return err_errno(err, errnum, "write '%s'", target->temp);
	if (rename(target->temp, target->path) != 0)
		return err_errno(err, errno, "replace '%s'", target->path);
	target->temp[0] = '\0';
	if (fsync(target->lock_fd) != 0)
		return err_errno(err, errno, "sync the folder '%s'", target->folder);
	return true;
}

bool
key_edit(const char *path, key_edit_fn edit, void *user, struct err *err)
{
	AUTO(buf) struct buf before = BUF_INIT(KEY_FILE_MAX_BYTES);
	AUTO(buf) struct buf after = BUF_INIT(KEY_FILE_MAX_BYTES);
	AUTO(target) struct target target = { .lock_fd = -1 };
	struct api_key *keys = NULL;
	struct str text;
	size_t count;
	bool ok;

	if (!resolve(path, &target, err) || !lock(&target, err) ||
	    !read_text(&target, &before, err))
		return false;
	text = str_make(before.data, before.len);
	if (!key_file_parse(path, text, &keys, &count, err))
		return false;
	ok = edit(user, text, keys, count, &after, err) &&
	     buf_check(&after, "the file of keys", err) && replace(&target, &after, err);
	mem_free(keys);
	return ok;
}

bool
key_edit_read(const char *path, struct api_key **out, size_t *out_count, struct err *err)
{
	AUTO(buf) struct buf text = BUF_INIT(KEY_FILE_MAX_BYTES);
	struct stat seen;

	return key_file_read(path, &text, &seen, err) &&
	       key_file_parse(path, str_make(text.data, text.len), out, out_count, err);
}
