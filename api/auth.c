#include "api/auth.h"

#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/sha256.h"

#define CHECK_EVERY_MS 1000

struct auth {
	char *path; /* owned */
	pthread_mutex_t lock;
	/* shared, under lock */
	struct api_key *keys; /* owned */
	size_t count;
	struct stat seen;
	int64_t checked_mono_ms;
};

/* ---- the file ---- */

/* Others who may read it cannot use the keys, but may guess at weak ones. */
static void
warn_of_readers(const char *path, const struct stat *seen)
{
	if (seen->st_mode & S_IROTH)
		log_warn("every user of this machine may read the API keys' hashes in %s: chmod "
			 "600 it",
			 path);
}

static bool
load(struct auth *auth, struct err *err)
{
	AUTO(buf) struct buf text = BUF_INIT(KEY_FILE_MAX_BYTES);
	struct api_key *keys = NULL;
	struct stat seen = { 0 };
	size_t count = 0;

	if (!key_file_read(auth->path, &text, &seen, err))
		return false;
	auth->seen = seen; /* a broken version is reported once */
	if (!key_file_parse(auth->path, str_make(text.data, text.len), &keys, &count, err))
		return false;
	warn_of_readers(auth->path, &seen);
	mem_free(auth->keys);
	auth->keys = keys;
	auth->count = count;
	return true;
}

static void
reload_if_changed(struct auth *auth)
{
	int64_t now = clock_mono_ms();
	struct err err = ERR_INIT;
	struct stat seen;

	if (now - auth->checked_mono_ms < CHECK_EVERY_MS)
		return;
	auth->checked_mono_ms = now;
	if (stat(auth->path, &seen) != 0 ||
	    (seen.st_mtim.tv_sec == auth->seen.st_mtim.tv_sec &&
	     seen.st_mtim.tv_nsec == auth->seen.st_mtim.tv_nsec &&
	     seen.st_size == auth->seen.st_size && seen.st_ino == auth->seen.st_ino &&
	     seen.st_dev == auth->seen.st_dev))
		return;
	if (!load(auth, &err))
		log_err(LOG_ERROR, &err, "the API keys stay as they were");
	else if (auth->count == 0) /* the last one was revoked: it must not live on */
		log_warn("%s holds no key any more: every request is refused", auth->path);
	else
		log_info("API keys read again: %zu", auth->count);
}

bool
auth_open(const char *path, struct auth **out, struct err *err)
{
	struct auth *auth = mem_alloc(sizeof(*auth));

	auth->path = mem_strdup(path);
	pthread_mutex_init(&auth->lock, NULL);
	auth->checked_mono_ms = clock_mono_ms();
	if (!load(auth, err)) {
		auth_close(auth);
		return false;
	}
	if (auth->count == 0) {
		auth_close(auth);
		return err_set(err, ERR_CONFIG, "cannot use %s: it holds no key", path);
	}
	*out = auth;
	return true;
}

void
auth_close(struct auth *auth)
{
	if (!auth)
		return;
	pthread_mutex_destroy(&auth->lock);
	mem_free(auth->keys);
	mem_free(auth->path);
	mem_free(auth);
}

/* ---- a request ---- */

static bool
presented_key(const struct http_request *http, struct str *out)
{
	struct str header, scheme;

	if (http_header(http, "Authorization", &header) && str_split(&header, ' ', &scheme) &&
	    str_eq_nocase(scheme, STR("Bearer"))) {
		*out = str_trim(header);
		return out->len > 0;
	}
	if (http_header(http, "X-API-Key", &header)) {
		*out = str_trim(header);
		return out->len > 0;
	}
	return false;
}

bool
auth_check(struct auth *auth, const struct http_request *http, struct api_key *out, struct err *err)
{
	char hash[SHA256_HEX_BYTES];
	bool known = false;
	struct api_key found = { 0 };
	struct str key;

	if (!presented_key(http, &key))
		return err_set(err, ERR_UNAUTHENTICATED,
			       "an API key is needed: Authorization: Bearer <key>, or X-API-Key");
	sha256_hex(key, hash);
	pthread_mutex_lock(&auth->lock);
	reload_if_changed(auth);
	for (size_t i = 0; i < auth->count; i++) { /* all of them: the time tells nothing */
		if (str_eq_const_time(str_of(auth->keys[i].hash), str_of(hash))) {
			known = true;
			found = auth->keys[i];
		}
	}
	pthread_mutex_unlock(&auth->lock);
	if (!known)
		return err_set(err, ERR_UNAUTHENTICATED, "this API key is not known");
	if (found.expires_unix_ms && clock_unix_ms() >= found.expires_unix_ms)
		return err_set(err, ERR_UNAUTHENTICATED, "this API key has expired");
	*out = found;
	return true;
}
