#include "api/auth.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/sha256.h"

#define MAX_FILE_BYTES ((size_t)1024 * 1024)
#define CHECK_EVERY_MS 1000

struct auth_key {
	char name[CALL_PRINCIPAL_BYTES];
	char hash[SHA256_HEX_BYTES];
};

struct auth {
	char *path; /* owned */
	pthread_mutex_t lock;
	/* shared, under lock */
	struct auth_key *keys; /* owned */
	size_t count;
	struct stat seen;
	int64_t checked_mono_ms;
};

/* ---- the file ---- */

static bool
read_file(const char *path, struct buf *out, struct stat *out_stat, struct err *err)
{
	FILE *file = fopen(path, "re");
	bool ok = file != NULL;
	int errnum = errno;

	if (ok && fstat(fileno(file), out_stat) != 0) {
		errnum = errno;
		ok = false;
	}
	while (ok) {
		char chunk[4096];
		size_t len = fread(chunk, 1, sizeof(chunk), file);

		buf_add(out, chunk, len);
		if (len < sizeof(chunk)) {
			errnum = EIO;
			ok = ferror(file) == 0;
			break;
		}
	}
	if (file)
		fclose(file);
	if (!ok)
		return err_set(err, ERR_CONFIG, "could not read %s: %s", path, strerror(errnum));
	if (!buf_ok(out))
		return err_set(err, ERR_CONFIG, "cannot use %s: more than %zu bytes", path,
			       MAX_FILE_BYTES);
	return true;
}

static bool
parse_line(struct str line, struct auth_key *out)
{
	unsigned char hash[SHA256_BYTES];
	struct str name;

	if (!str_split(&line, ':', &name))
		return false;
	name = str_trim(name);
	line = str_trim(line);
	if (name.len == 0 || !str_unhex(line, hash, sizeof(hash)) ||
	    !str_copy(out->name, sizeof(out->name), name))
		return false;
	str_hex(out->hash, hash, sizeof(hash)); /* lower case */
	return true;
}

static bool
parse_keys(const char *path, struct str text, struct auth_key **out, size_t *out_count,
	   struct err *err)
{
	struct auth_key *keys = NULL;
	size_t count = 0, number = 0;
	struct str line;

	while (str_split(&text, '\n', &line)) {
		struct auth_key key = { 0 };

		number++;
		line = str_trim(line);
		if (line.len == 0 || line.ptr[0] == '#')
			continue;
		if (!parse_line(line, &key)) {
			mem_free(keys);
			return err_set(err, ERR_CONFIG,
				       "%s:%zu: expected \"name:<64 hex digits of the key's "
				       "SHA-256>\", the name of at most %d bytes",
				       path, number, CALL_PRINCIPAL_BYTES - 1);
		}
		keys = mem_grow(keys, count + 1, sizeof(*keys));
		keys[count++] = key;
	}
	if (count == 0)
		return err_set(err, ERR_CONFIG, "cannot use %s: it holds no key", path);
	*out = keys;
	*out_count = count;
	return true;
}

static bool
load(struct auth *auth, struct err *err)
{
	AUTO(buf) struct buf text = BUF_INIT(MAX_FILE_BYTES);
	struct auth_key *keys = NULL;
	struct stat seen = { 0 };
	size_t count = 0;

	if (!read_file(auth->path, &text, &seen, err))
		return false;
	auth->seen = seen; /* a broken version is reported once */
	if (!parse_keys(auth->path, str_make(text.data, text.len), &keys, &count, err))
		return false;
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
	     seen.st_size == auth->seen.st_size && seen.st_ino == auth->seen.st_ino))
		return;
	if (load(auth, &err))
		log_info("API keys read again: %zu", auth->count);
	else
		log_err(LOG_ERROR, &err, "the API keys stay as they were");
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
auth_check(struct auth *auth, const struct http_request *http,
	   char out_principal[CALL_PRINCIPAL_BYTES], struct err *err)
{
	char hash[SHA256_HEX_BYTES];
	bool known = false;
	struct str key;

	if (!presented_key(http, &key))
		return err_set(err, ERR_UNAUTHENTICATED,
			       "an API key is needed: Authorization: Bearer <key>, or X-API-Key");
	sha256_hex(key, hash);
	pthread_mutex_lock(&auth->lock);
	reload_if_changed(auth);
	for (size_t i = 0; i < auth->count; i++) { /* all of them: the time tells nothing */
		if (str_eq_const_time(str_of(auth->keys[i].hash), str_of(hash)) && !known) {
			known = true;
			str_copy(out_principal, CALL_PRINCIPAL_BYTES, str_of(auth->keys[i].name));
		}
	}
	pthread_mutex_unlock(&auth->lock);
	return known || err_set(err, ERR_UNAUTHENTICATED, "this API key is not known");
}
