/*
 * One array of rows, made from config.def, drives everything here: defaults, file, environment and the
 * checks. A value is set at most once by each source, the later source wins, and
 * the source of every row is kept as the text that --print-config shows.
 */
#include "common/config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/config_rows.h"
#include "common/config_yaml.h"
#include "common/suggest.h"

#define STRINGS_MAX_BYTES ((size_t)2 * 1024 * 1024)

struct loader {
	struct config *config;
	const char *file;
	const char **sources;		/* CONFIG_ROW_COUNT, in the config's arena */
	size_t lines[CONFIG_ROW_COUNT]; /* in the file; 0 = not set there */
	size_t section_lines
		[CONFIG_ROW_COUNT]; /* the same of a section, at the index of its first row */
};

static void *
member(struct config *config, const struct row *row)
{
	return (char *)config + row->offset;
}

static const struct row *
find_row(const char *path)
{
	for (size_t i = 0; i < CONFIG_ROW_COUNT; i++) {
		if (config_rows[i].kind != ROW_SECTION && strcmp(config_rows[i].path, path) == 0)
			return &config_rows[i];
	}
	return NULL;
}

static size_t
index_of(const struct row *row)
{
	return (size_t)(row - config_rows);
}

static void
set_defaults(struct loader *loader)
{
	for (size_t i = 0; i < CONFIG_ROW_COUNT; i++) {
		const struct row *row = &config_rows[i];
		void *to = member(loader->config, row);

		if (row->kind == ROW_SECTION)
			continue;
		loader->sources[i] = "default";
		if (row->kind == ROW_STRING || row->kind == ROW_SECRET)
			memcpy(to, &row->text, sizeof(row->text));
		else if (row->kind == ROW_INT)
			memcpy(to, &row->value, sizeof(row->value));
		else if (row->kind == ROW_REAL)
			memcpy(to, &row->real, sizeof(row->real));
		else if (row->kind == ROW_BOOL)
			memcpy(to, &(bool){ row->value != 0 }, sizeof(bool));
		else
			memcpy(to, &(int){ (int)row->value }, sizeof(int));
	}
}

/* ---- one value ---- */

/* A value and where it came from ("config.yaml:3", "environment WORKERS"). */
struct given {
	struct str text;
	bool quoted; /* text even where it looks like a number */
	const char *where;
};

static bool
no_memory(struct err *err)
{
	return err_set(err, ERR_CONFIG, "cannot hold the settings: more than %zu bytes",
		       STRINGS_MAX_BYTES);
}

/* "where: 'path' must be <want>, not '<text>'" */
static bool
refuse(const struct row *row, const struct given *given, const char *want, struct err *err)
{
	struct str shown = str_sub(given->text, 0, str_utf8_floor(given->text, 64));

	if (row->kind == ROW_SECRET)
		return err_set(err, ERR_CONFIG, "%s: '%s' must be %s", given->where, row->path,
			       want);
	return err_set(err, ERR_CONFIG, "%s: '%s' must be %s, not %s'" STR_FMT "'", given->where,
		       row->path, want, given->quoted ? "the text " : "", STR_ARG(shown));
}

/* Control characters, and what YAML would fold or refuse when the value is printed and read again. */
static bool
is_printable(uint32_t cp)
{
	return cp >= 0x20 && (cp < 0x7f || cp > 0x9f) && cp != 0x2028 && cp != 0x2029 &&
	       cp != 0xfeff && cp != 0xfffe && cp != 0xffff;
}

static bool
set_text(struct loader *loader, const struct row *row, const struct given *given, struct err *err)
{
	struct str text = given->text;
	AUTO(buf) struct buf want = BUF_INIT(100);

	if (!str_utf8_valid(text, NULL))
		return refuse(row, given, "UTF-8 text", err);
	for (size_t at = 0; at < text.len;) {
		uint32_t cp = 0;

		at += str_utf8_next(text, at, &cp);
		if (!is_printable(cp))
			return refuse(row, given, "one line without control characters", err);
	}
	if ((int64_t)text.len > row->max) {
		buf_printf(&want, "at most %lld bytes long", (long long)row->max);
		return refuse(row, given, want.data, err);
	}

	const char *copy = arena_strndup(&loader->config->strings_, text.ptr, text.len);

	if (!copy)
		return no_memory(err);
	memcpy(member(loader->config, row), &copy, sizeof(copy));
	return true;
}

static bool
set_int(struct loader *loader, const struct row *row, const struct given *given, struct err *err)
{
	AUTO(buf) struct buf want = BUF_INIT(200);
	int64_t value = 0;

	if (!given->quoted && str_to_i64(given->text, row->min, row->max, &value)) {
		memcpy(member(loader->config, row), &value, sizeof(value));
		return true;
	}
	buf_printf(&want, "a whole number between %lld and %lld%s%s%s", (long long)row->min,
		   (long long)row->max, *row->unit ? " (" : "", row->unit, *row->unit ? ")" : "");
	return refuse(row, given, want.data, err);
}

static bool
set_real(struct loader *loader, const struct row *row, const struct given *given, struct err *err)
{
	AUTO(buf) struct buf want = BUF_INIT(200);
	double value = 0;

	if (!given->quoted && str_to_f64(given->text, &value) && value >= row->real_min &&
	    value <= row->real_max) {
		memcpy(member(loader->config, row), &value, sizeof(value));
		return true;
	}
	buf_printf(&want, "a number between %g and %g", row->real_min, row->real_max);
	return refuse(row, given, want.data, err);
}

static bool
set_bool(struct loader *loader, const struct row *row, const struct given *given, struct err *err)
{
	bool value = false;

	if (given->quoted || !str_to_bool(given->text, &value))
		return refuse(row, given, "true or false", err);
	memcpy(member(loader->config, row), &value, sizeof(value));
	return true;
}

static bool
set_enum(struct loader *loader, const struct row *row, const struct given *given, struct err *err)
{
	AUTO(buf) struct buf want = BUF_INIT(200);

	buf_add_str(&want, "one of ");
	for (int i = 0; row->names[i]; i++) {
		if (str_eq_c(given->text, row->names[i])) {
			memcpy(member(loader->config, row), &i, sizeof(i));
			return true;
		}
		buf_printf(&want, "%s'%s'", i > 0 ? ", " : "", row->names[i]);
	}
	return refuse(row, given, want.data, err);
}

static bool
set_value(struct loader *loader, const struct row *row, const struct given *given, struct err *err)
{
	switch (row->kind) {
	case ROW_STRING:
	case ROW_SECRET:
		return set_text(loader, row, given, err);
	case ROW_INT:
		return set_int(loader, row, given, err);
	case ROW_REAL:
		return set_real(loader, row, given, err);
	case ROW_BOOL:
		return set_bool(loader, row, given, err);
	case ROW_ENUM:
		return set_enum(loader, row, given, err);
	case ROW_SECTION:
	default:
		assert(false);
		return false;
	}
}

static bool
set_from(struct loader *loader, const struct row *row, const struct given *given, struct err *err)
{
	const char *where = arena_strdup(&loader->config->strings_, given->where);

	if (!where)
		return no_memory(err);
	if (!set_value(loader, row, given, err))
		return false;
	loader->sources[index_of(row)] = where;
	return true;
}

/* ---- the file ---- */

static bool
read_file(const char *path, size_t max_bytes, const char *what, struct buf *out, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = 0;

	if (fd < 0)
		return err_set(err, ERR_CONFIG, "could not read %s '%s': %s", what, path,
			       strerrordesc_np(errno));
	do {
		char *to = buf_reserve(out, 4096);

		got = to ? read(fd, to, 4096) : 0;
		if (got > 0)
			buf_commit(out, (size_t)got);
	} while (got > 0 || (got < 0 && errno == EINTR));

	int errnum = errno;

	(void)close(fd);
	if (got < 0)
		return err_set(err, ERR_CONFIG, "could not read %s '%s': %s", what, path,
			       strerrordesc_np(errnum));
	if (!buf_ok(out) || out->len > max_bytes)
		return err_set(err, ERR_CONFIG, "cannot read %s '%s': more than %zu bytes", what,
			       path, max_bytes);
	return true;
}

/* The first row of this section; NULL when there is no such section. */
static const struct row *
find_section(const char *path)
{
	for (size_t i = 0; i < CONFIG_ROW_COUNT; i++) {
		size_t len = config_row_section_len(&config_rows[i]);

		if (len > 0 && str_eq_c(str_make(config_rows[i].path, len), path))
			return &config_rows[i];
	}
	return NULL;
}

/* The setting that was probably meant: the same words spelt otherwise, else the fewest edits. */
static const char *
nearest_path(const struct config_entry *entry)
{
	struct suggest suggest = suggest_start(str_of(entry->path));

	for (size_t i = 0; i < CONFIG_ROW_COUNT; i++) {
		if (config_rows[i].kind == ROW_SECTION)
			continue;
		if (str_eq_nocase(str_of(entry->path), str_of(config_rows[i].env)))
			return config_rows[i].path;
		suggest_offer(&suggest, config_rows[i].path);
	}
	return suggest.nearest;
}

/* The same for a section; the name is written to out. */
static bool
nearest_section(const struct config_entry *entry, char out[SUGGEST_MAX_BYTES + 1])
{
	size_t least = SIZE_MAX;

	for (size_t i = 0; i < CONFIG_ROW_COUNT; i++) {
		struct str name =
			str_make(config_rows[i].path, config_row_section_len(&config_rows[i]));
		size_t distance = suggest_distance(str_of(entry->path), name);

		if (name.len > 0 && distance < least && distance <= (name.len + 2) / 3) {
			least = distance;
			(void)str_copy(out, SUGGEST_MAX_BYTES + 1, name);
		}
	}
	return least != SIZE_MAX;
}

static bool
unknown_entry(const struct config_entry *entry, const char *where, struct err *err)
{
	char section[SUGGEST_MAX_BYTES + 1] = "";
	const char *what = entry->kind == CONFIG_MAPPING ? "section" : "setting";
	const char *nearest = nearest_path(entry);

	if (entry->kind == CONFIG_MAPPING && nearest_section(entry, section))
		nearest = section;
	if (nearest)
		return err_set(err, ERR_CONFIG, "%s: unknown %s '%s'; did you mean '%s'?", where,
			       what, entry->path, nearest);
	return err_set(err, ERR_CONFIG, "%s: unknown %s '%s'", where, what, entry->path);
}

/* A section's members follow as entries of their own. `api:` with nothing below has none. */
static bool
section_entry(struct loader *loader, const struct row *first, const struct config_entry *entry,
	      const char *where, struct err *err)
{
	size_t *line = &loader->section_lines[index_of(first)];

	if (*line > 0)
		return err_set(err, ERR_CONFIG, "%s: '%s' comes twice, first on line %zu", where,
			       entry->path, *line);
	*line = entry->line;
	if (entry->kind == CONFIG_MAPPING ||
	    (entry->kind == CONFIG_SCALAR && entry->value.len == 0))
		return true;
	return err_set(err, ERR_CONFIG, "%s: '%s' is a section: its settings go below it, indented",
		       where, entry->path);
}

static bool
setting_entry(struct loader *loader, const struct row *row, const struct config_entry *entry,
	      const char *where, struct err *err)
{
	struct given given = { .text = entry->value,
			       .quoted = entry->kind == CONFIG_QUOTED,
			       .where = where };
	size_t *line = &loader->lines[index_of(row)];

	if (*line > 0)
		return err_set(err, ERR_CONFIG, "%s: '%s' is set twice, first on line %zu", where,
			       row->path, *line);
	*line = entry->line;
	if (entry->kind == CONFIG_MAPPING || entry->kind == CONFIG_SEQUENCE)
		return err_set(err, ERR_CONFIG, "%s: '%s' must be one value, not a %s", where,
			       row->path, entry->kind == CONFIG_MAPPING ? "section" : "list");
	if (entry->kind == CONFIG_SCALAR && (entry->value.len == 0 || str_eq_c(entry->value, "~") ||
					     str_eq_c(entry->value, "null")))
		return err_set(err, ERR_CONFIG, "%s: '%s' has no value", where, row->path);
	return set_from(loader, row, &given, err);
}

static bool
on_entry(void *user, const struct config_entry *entry, struct err *err)
{
	struct loader *loader = user;
	AUTO(buf) struct buf where = BUF_INIT(PATH_MAX + 32);
	const struct row *row = find_row(entry->path);
	const struct row *section = find_section(entry->path);

	buf_printf(&where, "%s:%zu", loader->file, entry->line);
	if (row)
		return setting_entry(loader, row, entry, where.data, err);
	if (section)
		return section_entry(loader, section, entry, where.data, err);
	return unknown_entry(entry, where.data, err);
}

static bool
load_file(struct loader *loader, struct err *err)
{
	AUTO(buf) struct buf text = BUF_INIT(CONFIG_FILE_MAX_BYTES + 4096);

	if (!read_file(loader->file, CONFIG_FILE_MAX_BYTES, "the configuration file", &text, err))
		return false;
	return config_yaml_read(str_make(text.data, text.len), loader->file, on_entry, loader, err);
}

/* ---- the environment ---- */

static const char *
env_value(const char *name)
{
	const char *value =
		getenv(name); // NOLINT(concurrency-mt-unsafe): nobody changes the environment

	return value && *value ? value : NULL;
}

/* NAME_FILE of a secret. */
static bool
load_secret_file(struct loader *loader, const struct row *row, const char *path, struct err *err)
{
	AUTO(buf) struct buf text = BUF_INIT(CONFIG_SECRET_MAX_BYTES + 4096);
	AUTO(buf) struct buf where = BUF_INIT(PATH_MAX + 64);
	struct str value;

	buf_printf(&where, "environment %s_FILE", row->env);
	if (!read_file(path, CONFIG_SECRET_MAX_BYTES, "the secret file", &text, err))
		return err_wrap(err, "%s", where.data);
	value = str_make(text.data, text.len);
	while (str_ends(value, "\n") || str_ends(value, "\r"))
		value.len--;
	return set_from(loader, row, &(struct given){ .text = value, .where = where.data }, err);
}

static bool
load_env_row(struct loader *loader, const struct row *row, struct err *err)
{
	AUTO(buf) struct buf name = BUF_INIT(100);
	const char *value = env_value(row->env), *path = NULL;

	if (row->kind == ROW_SECRET) {
		buf_printf(&name, "%s_FILE", row->env);
		path = env_value(name.data);
		if (value && path)
			return err_set(err, ERR_CONFIG, "environment %s: %s_FILE is set too",
				       row->env, row->env);
		buf_clear(&name);
	}
	if (path)
		return load_secret_file(loader, row, path, err);
	if (!value)
		return true;
	buf_printf(&name, "environment %s", row->env);
	return set_from(loader, row, &(struct given){ .text = str_of(value), .where = name.data },
			err);
}

static bool
load_env(struct loader *loader, struct err *err)
{
	for (size_t i = 0; i < CONFIG_ROW_COUNT; i++) {
		if (config_rows[i].kind != ROW_SECTION &&
		    !load_env_row(loader, &config_rows[i], err))
			return false;
	}
	return true;
}

/* ---- values that must go together ---- */

static bool
is_default(const struct loader *loader, const struct row *row)
{
	return strcmp(loader->sources[index_of(row)], "default") == 0;
}

/* Both were given. */
static bool
refuse_pair(const struct loader *loader, const struct row *row, const char *must,
	    const struct row *other, struct err *err)
{
	return err_set(err, ERR_CONFIG, "%s: '%s' is %lld but must be %s '%s' (%lld, %s)",
		       loader->sources[index_of(row)], row->path,
		       (long long)config_row_int(loader->config, row), must, other->path,
		       (long long)config_row_int(loader->config, other),
		       loader->sources[index_of(other)]);
}

/* Gives `row`, which has its default, a value that goes with `to`'s. */
static void
fit_default(struct loader *loader, const struct row *row, const struct row *to, int64_t value)
{
	const char *source =
		arena_printf(&loader->config->strings_, "default, fitted to %s", to->path);

	assert(value >= row->min && value <= row->max);
	memcpy(member(loader->config, row), &value, sizeof(value));
	loader->sources[index_of(row)] = source ? source : "default";
}

static bool
check_overlap(struct loader *loader, struct err *err)
{
	const struct row *size = find_row("chunk.size"), *overlap = find_row("chunk.overlap");
	struct config *config = loader->config;

	if (config->chunk_overlap <= config->chunk_size / 2)
		return true;
	if (!is_default(loader, overlap))
		return refuse_pair(loader, overlap, "at most half of", size, err);
	fit_default(loader, overlap, size, config->chunk_size / 10);
	return true;
}

static bool
check_waiters(struct loader *loader, struct err *err)
{
	const struct row *threads = find_row("api.threads"), *waiters = find_row("api.max_waiters");
	struct config *config = loader->config;

	if (config->max_waiters < config->api_threads)
		return true;
	if (is_default(loader, waiters)) {
		fit_default(loader, waiters, threads, config->api_threads / 2);
		return true;
	}
	return refuse_pair(loader, waiters, "below", threads, err);
}

static bool
check_backoff(struct loader *loader, struct err *err)
{
	const struct row *base = find_row("queue.backoff_base_ms");
	const struct row *most = find_row("queue.backoff_max_ms");
	struct config *config = loader->config;

	if (config->backoff_base_ms <= config->backoff_max_ms)
		return true;
	if (is_default(loader, most))
		fit_default(loader, most, base, config->backoff_base_ms);
	else if (is_default(loader, base))
		fit_default(loader, base, most, config->backoff_max_ms);
	else
		return refuse_pair(loader, base, "at most", most, err);
	return true;
}

static bool
check_log_level(struct loader *loader, struct err *err)
{
	const struct row *row = find_row("log.level");
	enum log_level level = LOG_INFO;
	struct given given = { .text = str_of(loader->config->log_level),
			       .where = loader->sources[index_of(row)] };

	return log_level_parse(loader->config->log_level, &level) ||
	       refuse(row, &given, "one of 'debug', 'info', 'warn', 'error'", err);
}

static bool
check_together(struct loader *loader, struct err *err)
{
	return check_log_level(loader, err) && check_overlap(loader, err) &&
	       check_waiters(loader, err) && check_backoff(loader, err);
}

/* ---- public ---- */

static bool
load_all(struct config *config, const char *path, struct err *err)
{
	struct loader loader = { .config = config, .file = path ? path : env_value("CONFIG_FILE") };

	loader.sources = arena_array(&config->strings_, CONFIG_ROW_COUNT, sizeof(*loader.sources));
	if (!loader.sources)
		return no_memory(err);
	set_defaults(&loader);
	config->sources_ = loader.sources;
	return (!loader.file || load_file(&loader, err)) && load_env(&loader, err) &&
	       check_together(&loader, err);
}

bool
config_load(struct config *config, const char *path, struct err *err)
{
	*config = (struct config){ .sources_ = NULL };
	arena_init(&config->strings_, STRINGS_MAX_BYTES);
	if (load_all(config, path, err))
		return true;
	config_release(config);
	return false;
}

void
config_release(struct config *config)
{
	if (!config)
		return;
	arena_release(&config->strings_);
	*config = (struct config){ .sources_ = NULL };
}
