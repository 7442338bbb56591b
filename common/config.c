/*
 * One array of rows, made from config.def, drives everything here: defaults, file, environment, the
 * checks, and the two printers. A value is set at most once by each source, the later source wins, and
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
#include "common/config_yaml.h"
#include "common/json.h"
#include "common/suggest.h"

#define STRINGS_MAX_BYTES ((size_t)2 * 1024 * 1024)
#define SECRET_MAX_BYTES ((size_t)16 * 1024)

const char *const config_environment_names[] = { "development", "production", NULL };
const char *const config_store_names[] = { "sqlite", "chroma", NULL };
const char *const config_embedder_names[] = { "auto", "local", "gemini", "openai", "cohere", NULL };
const char *const config_generator_names[] = { "auto", "extractive", "gemini", "openai", NULL };
const char *const config_reranker_names[] = { "auto", "none", "local", "cohere", NULL };

/* ---- the rows ---- */

enum row_kind { ROW_SECTION, ROW_STRING, ROW_SECRET, ROW_INT, ROW_REAL, ROW_BOOL, ROW_ENUM };

struct row {
	enum row_kind kind;
	const char *path; /* a section's name */
	const char *env;
	const char *doc;
	size_t offset;
	const char *text; /* default of a string */
	int64_t value;	  /* default of an int, bool (0, 1) or enum (index) */
	int64_t min, max; /* int; max also of a string, in bytes */
	const char *unit;
	double real, real_min, real_max;
	const char *const *names;
};

#define AT(member) .offset = offsetof(struct config, member)

static const struct row rows[] = {
#define SECTION(name_, doc_) { .kind = ROW_SECTION, .path = (name_), .doc = (doc_) },
#define STRING(member, path_, env_, default_, max_, doc_)                                          \
	{ .kind = ROW_STRING,                                                                      \
	  .path = (path_),                                                                         \
	  .env = (env_),                                                                           \
	  .doc = (doc_),                                                                           \
	  AT(member),                                                                              \
	  .text = (default_),                                                                      \
	  .max = (max_) },
#define SECRET(member, path_, env_, doc_)                                                          \
	{ .kind = ROW_SECRET,                                                                      \
	  .path = (path_),                                                                         \
	  .env = (env_),                                                                           \
	  .doc = (doc_),                                                                           \
	  AT(member),                                                                              \
	  .text = "",                                                                              \
	  .max = (int64_t)SECRET_MAX_BYTES },
#define INT(member, path_, env_, default_, min_, max_, unit_, doc_)                                \
	{ .kind = ROW_INT,                                                                         \
	  .path = (path_),                                                                         \
	  .env = (env_),                                                                           \
	  .doc = (doc_),                                                                           \
	  AT(member),                                                                              \
	  .value = (default_),                                                                     \
	  .min = (min_),                                                                           \
	  .max = (max_),                                                                           \
	  .unit = (unit_) },
#define REAL(member, path_, env_, default_, min_, max_, doc_)                                      \
	{ .kind = ROW_REAL,                                                                        \
	  .path = (path_),                                                                         \
	  .env = (env_),                                                                           \
	  .doc = (doc_),                                                                           \
	  AT(member),                                                                              \
	  .real = (default_),                                                                      \
	  .real_min = (min_),                                                                      \
	  .real_max = (max_) },
#define BOOL(member, path_, env_, default_, doc_)                                                  \
	{ .kind = ROW_BOOL,                                                                        \
	  .path = (path_),                                                                         \
	  .env = (env_),                                                                           \
	  .doc = (doc_),                                                                           \
	  AT(member),                                                                              \
	  .value = (default_) },
#define ENUM(member, path_, env_, default_, names_, doc_)                                          \
	{ .kind = ROW_ENUM,                                                                        \
	  .path = (path_),                                                                         \
	  .env = (env_),                                                                           \
	  .doc = (doc_),                                                                           \
	  AT(member),                                                                              \
	  .value = (default_),                                                                     \
	  .names = (names_) },
#include "common/config.def"
#undef SECTION
#undef STRING
#undef SECRET
#undef INT
#undef REAL
#undef BOOL
#undef ENUM
};

#define ROW_COUNT ARRAY_SIZE(rows)

struct loader {
	struct config *config;
	const char *file;
	const char **sources;		 /* ROW_COUNT, in the config's arena */
	size_t lines[ROW_COUNT];	 /* in the file; 0 = not set there */
	size_t section_lines[ROW_COUNT]; /* the same of a section, at the index of its first row */
};

static void *
member(struct config *config, const struct row *row)
{
	return (char *)config + row->offset;
}

static int64_t
get_int(const struct config *config, const struct row *row)
{
	int64_t value = 0;

	memcpy(&value, (const char *)config + row->offset, sizeof(value));
	return value;
}

static double
get_real(const struct config *config, const struct row *row)
{
	double value = 0;

	memcpy(&value, (const char *)config + row->offset, sizeof(value));
	return value;
}

static bool
get_bool(const struct config *config, const struct row *row)
{
	bool value = false;

	memcpy(&value, (const char *)config + row->offset, sizeof(value));
	return value;
}

static const char *
get_enum(const struct config *config, const struct row *row)
{
	int value = 0;

	memcpy(&value, (const char *)config + row->offset, sizeof(value));
	return row->names[value];
}

/* Strings and secrets: both are one pointer. */
static const char *
get_text(const struct config *config, const struct row *row)
{
	const char *value = NULL;

	static_assert(sizeof(struct secret) == sizeof(const char *), "a secret is its value");
	memcpy(&value, (const char *)config + row->offset, sizeof(value));
	return value;
}

static const struct row *
find_row(const char *path)
{
	for (size_t i = 0; i < ROW_COUNT; i++) {
		if (rows[i].kind != ROW_SECTION && strcmp(rows[i].path, path) == 0)
			return &rows[i];
	}
	return NULL;
}

static size_t
index_of(const struct row *row)
{
	return (size_t)(row - rows);
}

static void
set_defaults(struct loader *loader)
{
	for (size_t i = 0; i < ROW_COUNT; i++) {
		const struct row *row = &rows[i];
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

/* The length of the section a row's path begins with: 3 of "api.threads", 0 of "data_dir". */
static size_t
section_len(const struct row *row)
{
	const char *dot = strchr(row->path, '.');

	return row->kind != ROW_SECTION && dot ? (size_t)(dot - row->path) : 0;
}

/* The first row of this section; NULL when there is no such section. */
static const struct row *
find_section(const char *path)
{
	for (size_t i = 0; i < ROW_COUNT; i++) {
		size_t len = section_len(&rows[i]);

		if (len > 0 && str_eq_c(str_make(rows[i].path, len), path))
			return &rows[i];
	}
	return NULL;
}

/* The setting that was probably meant: the same words spelt otherwise, else the fewest edits. */
static const char *
nearest_path(const struct config_entry *entry)
{
	struct suggest suggest = suggest_start(str_of(entry->path));

	for (size_t i = 0; i < ROW_COUNT; i++) {
		if (rows[i].kind == ROW_SECTION)
			continue;
		if (str_eq_nocase(str_of(entry->path), str_of(rows[i].env)))
			return rows[i].path;
		suggest_offer(&suggest, rows[i].path);
	}
	return suggest.nearest;
}

/* The same for a section; the name is written to out. */
static bool
nearest_section(const struct config_entry *entry, char out[SUGGEST_MAX_BYTES + 1])
{
	size_t least = SIZE_MAX;

	for (size_t i = 0; i < ROW_COUNT; i++) {
		struct str name = str_make(rows[i].path, section_len(&rows[i]));
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
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

/* NAME_FILE of a secret. */
static bool
load_secret_file(struct loader *loader, const struct row *row, const char *path, struct err *err)
{
	AUTO(buf) struct buf text = BUF_INIT(SECRET_MAX_BYTES + 4096);
	AUTO(buf) struct buf where = BUF_INIT(PATH_MAX + 64);
	struct str value;

	buf_printf(&where, "environment %s_FILE", row->env);
	if (!read_file(path, SECRET_MAX_BYTES, "the secret file", &text, err))
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
	for (size_t i = 0; i < ROW_COUNT; i++) {
		if (rows[i].kind != ROW_SECTION && !load_env_row(loader, &rows[i], err))
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
		       (long long)get_int(loader->config, row), must, other->path,
		       (long long)get_int(loader->config, other), loader->sources[index_of(other)]);
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

	loader.sources = arena_array(&config->strings_, ROW_COUNT, sizeof(*loader.sources));
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

static void
print_quoted(const char *text, FILE *out)
{
	AUTO(buf) struct buf quoted = BUF_INIT(SIZE_MAX / 4);
	struct jw w = jw_start(&quoted); /* a JSON string is a YAML string */

	jw_str(&w, str_of(text));
	(void)fputs(quoted.data, out);
}

static void
print_value(const struct config *config, const struct row *row, FILE *out)
{
	AUTO(buf) struct buf number = BUF_INIT(64);
	struct jw w = jw_start(&number);

	switch (row->kind) {
	case ROW_STRING:
		print_quoted(get_text(config, row), out);
		break;
	case ROW_SECRET:
		print_quoted(*get_text(config, row) ? "***" : "", out);
		break;
	case ROW_INT:
		(void)fprintf(out, "%lld", (long long)get_int(config, row));
		break;
	case ROW_REAL:
		jw_num(&w, get_real(config, row), 0);
		(void)fputs(number.data, out);
		break;
	case ROW_BOOL:
		(void)fputs(get_bool(config, row) ? "true" : "false", out);
		break;
	case ROW_ENUM:
		(void)fputs(get_enum(config, row), out);
		break;
	case ROW_SECTION:
	default:
		break;
	}
}

/* A source as the end of a line: a file's name may hold anything. */
static void
print_comment(const char *source, FILE *out)
{
	(void)fputs("  # ", out);
	for (; *source; source++)
		(void)fputc((unsigned char)*source < 0x20 || *source == 0x7f ? '?' : *source, out);
	(void)fputc('\n', out);
}

void
config_print(const struct config *config, FILE *out)
{
	struct str open = STR("");

	(void)fputs("# The settings in effect, each with where it came from.\n", out);
	for (size_t i = 0; i < ROW_COUNT; i++) {
		const struct row *row = &rows[i];
		struct str section = str_make(row->path, section_len(row));

		if (row->kind == ROW_SECTION)
			continue;
		if (section.len > 0 && !str_eq(section, open))
			(void)fprintf(out, STR_FMT ":\n", STR_ARG(section));
		open = section;
		if (section.len > 0)
			(void)fprintf(out, "  %s: ", row->path + section.len + 1);
		else
			(void)fprintf(out, "%s: ", row->path);
		print_value(config, row, out);
		print_comment(config->sources_[i], out);
	}
}

static void
print_markdown_default(const struct row *row, FILE *out)
{
	switch (row->kind) {
	case ROW_STRING:
	case ROW_SECRET:
		(void)fprintf(out, *row->text ? "`%s`" : "", row->text);
		break;
	case ROW_INT:
		(void)fprintf(out, "%lld", (long long)row->value);
		break;
	case ROW_REAL:
		(void)fprintf(out, "%g", row->real);
		break;
	case ROW_BOOL:
		(void)fputs(row->value ? "`true`" : "`false`", out);
		break;
	case ROW_ENUM:
		(void)fprintf(out, "`%s`", row->names[row->value]);
		break;
	case ROW_SECTION:
	default:
		break;
	}
}

static void
print_markdown_allowed(const struct row *row, FILE *out)
{
	switch (row->kind) {
	case ROW_STRING:
		(void)fprintf(out, "text, at most %lld bytes", (long long)row->max);
		break;
	case ROW_SECRET:
		(void)fprintf(out, "secret; or a file named by `%s_FILE`", row->env);
		break;
	case ROW_INT:
		(void)fprintf(out, "%lld to %lld %s", (long long)row->min, (long long)row->max,
			      row->unit);
		break;
	case ROW_REAL:
		(void)fprintf(out, "%g to %g", row->real_min, row->real_max);
		break;
	case ROW_BOOL:
		(void)fputs("`true`, `false`", out);
		break;
	case ROW_ENUM:
		for (int i = 0; row->names[i]; i++)
			(void)fprintf(out, "%s`%s`", i > 0 ? ", " : "", row->names[i]);
		break;
	case ROW_SECTION:
	default:
		break;
	}
}

void
config_print_markdown(FILE *out)
{
	(void)fputs(
		"<!-- Generated from common/config.def: do not edit. Renew it with\n"
		"     cmake --build <folder> --target config-docs -->\n"
		"# Configuration\n\n"
		"Every program reads its settings from the environment, then from a YAML file "
		"(`--config FILE`, or\n`CONFIG_FILE` in the environment), then takes the default; "
		"the first that is there wins. An empty\nenvironment variable counts as not set. "
		"A setting `api.threads` is written in the file as\n\n"
		"```yaml\napi:\n  threads: 64\n```\n\n"
		"Unknown settings, wrong types and values out of range end the program with exit "
		"code 78 and the place\n(`config.yaml:3: ...` or `environment WORKERS: ...`). "
		"Secrets can also come from a file named by\n`<NAME>_FILE` (not both). "
		"`--print-config` shows the settings in effect and where each came from;\nsecrets "
		"are shown as `***`. The file has at most 256 KiB; anchors, aliases and tags are "
		"not allowed.\n\n"
		"A default that does not go with a value you give is fitted to it: "
		"`chunk.overlap` to `chunk.size`,\n`api.max_waiters` to `api.threads`, the "
		"`queue.backoff_*` pair to each other. Two values you give that\ndo not go "
		"together "
		"are an error.\n",
		out);
	for (size_t i = 0; i < ROW_COUNT; i++) {
		const struct row *row = &rows[i];

		if (row->kind == ROW_SECTION) {
			(void)fprintf(
				out,
				"\n## %s\n\n%s\n\n| Setting | Environment | Default | Values | "
				"Meaning |\n|---|---|---|---|---|\n",
				row->path, row->doc);
			continue;
		}
		(void)fprintf(out, "| `%s` | `%s` | ", row->path, row->env);
		print_markdown_default(row, out);
		(void)fputs(" | ", out);
		print_markdown_allowed(row, out);
		(void)fprintf(out, " | %s |\n", row->doc);
	}
}
