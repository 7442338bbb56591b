#include "common/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/str.h"

#define FILE_NAME "config.yaml"

/* Each test runs in a folder of its own with no environment at all. */
static char folder[] = "/tmp/test_config.XXXXXX";

static int
group_setup(void **state)
{
	(void)state;
	return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int
group_teardown(void **state)
{
	(void)state;
	(void)unlink(FILE_NAME);
	(void)unlink("secret");
	return rmdir(folder);
}

static int
setup(void **state)
{
	(void)state;
	return clearenv();
}

static void
write_file(const char *name, struct str text)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text.ptr, 1, text.len, file), text.len);
	assert_int_equal(fclose(file), 0);
}

static void
load(struct config *config, const char *text)
{
	struct err err = ERR_INIT;

	write_file(FILE_NAME, str_of(text));
	if (!config_load(config, FILE_NAME, &err))
		fail_msg("%s: %s", text, err.msg);
}

static void
check_refused_bytes(struct str text, const char *want)
{
	struct config config;
	struct err err = ERR_INIT;

	write_file(FILE_NAME, text);
	if (config_load(&config, FILE_NAME, &err))
		fail_msg("accepted: %.100s", text.ptr);
	assert_int_equal(err.code, ERR_CONFIG);
	assert_string_equal(err.msg, want);
}

static void
check_refused(const char *text, const char *want)
{
	check_refused_bytes(str_of(text), want);
}

static void
gives_defaults(void **state)
{
	(void)state;
	struct config config;
	struct err err = ERR_INIT;

	assert_true(config_load(&config, NULL, &err));
	assert_string_equal(config.api_listen, "127.0.0.1:8000");
	assert_string_equal(config.redis_url.value, "");
	assert_int_equal(config.lease_ms, 30000);
	assert_int_equal(config.store, STORE_SQLITE);
	assert_int_equal(config.environment, ENVIRONMENT_DEVELOPMENT);
	assert_true(config.enable_monitoring);
	assert_true(config.enable_reranking);
	config_release(&config);
	config_release(&config); /* released already: nothing happens */
	config_release(NULL);
}

static void
reads_the_file(void **state)
{
	(void)state;
	struct config config;

	load(&config, "# a comment\n"
		      "data_dir: /var/lib/rag\n"
		      "redis: {url: \"redis://u:p@h:1/2\"}\n"
		      "api:\n"
		      "  listen: '[::1]:9000'\n"
		      "  threads: 64\n"
		      "pod:\n"		  /* a section without members */
		      "log.level: warn\n" /* the path as one word */
		      "store:\n  kind: chroma\n"
		      "monitoring:\n  enabled: no\n");
	assert_string_equal(config.data_dir, "/var/lib/rag");
	assert_string_equal(config.redis_url.value, "redis://u:p@h:1/2");
	assert_string_equal(config.api_listen, "[::1]:9000");
	assert_int_equal(config.api_threads, 64);
	assert_string_equal(config.log_level, "warn");
	assert_int_equal(config.store, STORE_CHROMA);
	assert_false(config.enable_monitoring);
	config_release(&config);
	load(&config, "");
	config_release(&config);
	load(&config, "---\n# nothing\n");
	config_release(&config);
}

static void
environment_beats_file(void **state)
{
	(void)state;
	struct config config;
	struct err err = ERR_INIT;

	write_file(FILE_NAME, STR("worker:\n  slots: 2\n  queues: query\n"));
	assert_int_equal(setenv("CONFIG_FILE", FILE_NAME, 1), 0);
	assert_int_equal(setenv("WORKERS", "9", 1), 0);
	assert_int_equal(setenv("QUEUES", "", 1), 0); /* empty: not set */
	assert_true(config_load(&config, NULL, &err));
	assert_int_equal(config.workers, 9);
	assert_string_equal(config.queues, "query");
	config_release(&config);
}

static void
reads_secrets_from_files(void **state)
{
	(void)state;
	struct config config;
	struct err err = ERR_INIT;

	write_file("secret", STR("redis://:geheim@h\r\n"));
	assert_int_equal(setenv("REDIS_URL_FILE", "secret", 1), 0);
	assert_true(config_load(&config, NULL, &err));
	assert_string_equal(config.redis_url.value, "redis://:geheim@h");
	config_release(&config);

	assert_int_equal(setenv("REDIS_URL", "redis://other", 1), 0);
	assert_false(config_load(&config, NULL, &err));
	assert_string_equal(err.msg, "environment REDIS_URL: REDIS_URL_FILE is set too");

	assert_int_equal(unsetenv("REDIS_URL"), 0);
	write_file("secret", STR("two\nlines"));
	assert_false(config_load(&config, NULL, &err));
	assert_string_equal(err.msg, "environment REDIS_URL_FILE: 'redis.url' must be one line "
				     "without control characters");
	assert_int_equal(setenv("REDIS_URL_FILE", "absent", 1), 0);
	assert_false(config_load(&config, NULL, &err));
	assert_string_equal(err.msg, "environment REDIS_URL_FILE: could not read the secret file "
				     "'absent': No such file or directory");
}

static const struct {
	const char *text, *want;
} refused_files[] = {
	{ "api:\n  treads: 4\n",
	  "config.yaml:2: unknown setting 'api.treads'; did you mean 'api.threads'?" },
	{ "workers: 4\n",
	  "config.yaml:1: unknown setting 'workers'; did you mean 'worker.slots'?" },
	{ "chunk_size: 4\n",
	  "config.yaml:1: unknown setting 'chunk_size'; did you mean 'chunk.size'?" },
	{ "apii:\n  threads: 4\n", "config.yaml:1: unknown section 'apii'; did you mean 'api'?" },
	{ "nonsense: {a: 1}\n", "config.yaml:1: unknown section 'nonsense'" },
	{ "\n\napi:\n  threads: 7\n", "config.yaml:4: 'api.threads' must be a whole number "
				      "between 8 and 4096 (threads), not '7'" },
	{ "api: {threads: 4097}", "config.yaml:1: 'api.threads' must be a whole number "
				  "between 8 and 4096 (threads), not '4097'" },
	{ "api: {threads: many}", "config.yaml:1: 'api.threads' must be a whole number "
				  "between 8 and 4096 (threads), not 'many'" },
	{ "api: {threads: 8.5}", "config.yaml:1: 'api.threads' must be a whole number "
				 "between 8 and 4096 (threads), not '8.5'" },
	{ "api: {threads: '9'}", "config.yaml:1: 'api.threads' must be a whole number "
				 "between 8 and 4096 (threads), not the text '9'" },
	{ "api: {threads: [9]}", "config.yaml:1: 'api.threads' must be one value, not a list" },
	{ "api: {threads: {a: 9}}",
	  "config.yaml:1: 'api.threads' must be one value, not a section" },
	{ "api:\n  threads:\n", "config.yaml:2: 'api.threads' has no value" },
	{ "api:\n  threads: ~\n", "config.yaml:2: 'api.threads' has no value" },
	{ "api: 3\n", "config.yaml:1: 'api' is a section: its settings go below it, indented" },
	{ "api: [3]\n", "config.yaml:1: 'api' is a section: its settings go below it, indented" },
	{ "cache: {enabled: maybe}",
	  "config.yaml:1: 'cache.enabled' must be true or false, not 'maybe'" },
	{ "cache: {enabled: \"true\"}",
	  "config.yaml:1: 'cache.enabled' must be true or false, not the text 'true'" },
	{ "store:\n  kind: mysql\n",
	  "config.yaml:2: 'store.kind' must be one of 'sqlite', 'chroma', not 'mysql'" },
	{ "log: {level: verbose}", "config.yaml:1: 'log.level' must be one of 'debug', "
				   "'info', 'warn', 'error', not 'verbose'" },
	{ "log: {level: too-long-a-word}", "config.yaml:1: 'log.level' must be at most 8 "
					   "bytes long, not 'too-long-a-word'" },
	{ "data_dir: \"a\\nb\"\n", "config.yaml:1: 'data_dir' must be one line without "
				   "control characters, not the text 'a b'" },
	{ "data_dir: \"a\\0b\"\n", "config.yaml:1: 'data_dir' must be one line without "
				   "control characters, not the text 'a'" },
	{ "redis: {url: \"geheim\\x01\"}", "config.yaml:1: 'redis.url' must be one line "
					   "without control characters" },
	{ "api:\n  threads: 9\n  threads: 10\n",
	  "config.yaml:3: 'api.threads' is set twice, first on line 2" },
	{ "api.threads: 9\napi:\n  threads: 10\n",
	  "config.yaml:3: 'api.threads' is set twice, first on line 1" },
	{ "api:\n  threads: 9\nredis:\napi:\n  listen: x\n",
	  "config.yaml:4: 'api' comes twice, first on line 1" },
	{ "chunk:\n  overlap: 600\n  size: 1000\n",
	  "config.yaml:2: 'chunk.overlap' is 600 but must be at most half of 'chunk.size' "
	  "(1000, config.yaml:3)" },
	{ "api:\n  max_waiters: 64\n  threads: 64\n",
	  "config.yaml:2: 'api.max_waiters' is 64 but must be below 'api.threads' "
	  "(64, config.yaml:3)" },
	{ "queue:\n  backoff_base_ms: 11\n  backoff_max_ms: 10\n",
	  "config.yaml:2: 'queue.backoff_base_ms' is 11 but must be at most "
	  "'queue.backoff_max_ms' (10, config.yaml:3)" },
	/* YAML itself */
	{ "api:\n\tthreads: 9\n", "config.yaml:2: found character that cannot start any token" },
	{ "api:\n  threads: 9\n listen: x\n", "config.yaml:3: did not find expected key" },
	{ "data_dir: \"a\n", "config.yaml:2: found unexpected end of stream" },
	{ "api: &a\n  threads: 9\n", "config.yaml:1: anchors (&name) are not allowed" },
	{ "data_dir: &a x\n", "config.yaml:1: anchors (&name) are not allowed" },
	{ "api: [&a x]\n",
	  "config.yaml:1: 'api' is a section: its settings go below it, indented" },
	{ "data_dir: *a\n", "config.yaml:1: aliases (*name) are not allowed" },
	{ "<<: *a\n", "config.yaml:1: aliases (*name) are not allowed" },
	{ "data_dir: !!str 3\n", "config.yaml:1: tags (!name) are not allowed" },
	{ "data_dir: a\n---\ndata_dir: b\n", "config.yaml:2: a second document" },
	{ "- a\n- b\n", "config.yaml:1: not a list of settings ('name: value')" },
	{ "just words\n", "config.yaml:1: not a list of settings ('name: value')" },
	{ "? [a]\n: b\n", "config.yaml:1: a name must be a plain word" },
	{ "\"\": b\n", "config.yaml:1: not the name of a setting" },
	{ "data_dir: x\nlog: {level: \xff}\n", "config.yaml:2: invalid leading UTF-8 octet" },
	{ "data_dir: x\n\x01\n", "config.yaml:2: control characters are not allowed" },
};

static void
refuses_with_file_and_line(void **state)
{
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(refused_files); i++)
		check_refused(refused_files[i].text, refused_files[i].want);
	check_refused_bytes(STR("data_dir: x\n\0\n"),
			    "config.yaml:2: control characters are not allowed");
}

static void
refuses_bad_environment(void **state)
{
	(void)state;
	static const struct {
		const char *name, *value, *want;
	} rows[] = {
		{ "LEASE_MS", "499",
		  "environment LEASE_MS: 'queue.lease_ms' must be a whole number between 500 and "
		  "3600000 (ms), not '499'" },
		{ "LEASE_MS", " 500",
		  "environment LEASE_MS: 'queue.lease_ms' must be a whole number between 500 and "
		  "3600000 (ms), not ' 500'" },
		{ "ENVIRONMENT", "Production",
		  "environment ENVIRONMENT: 'environment' must be one of 'development', "
		  "'production', not 'Production'" },
		{ "POD_NAME", "\xff",
		  "environment POD_NAME: 'pod.name' must be UTF-8 text, not '?'" },
		{ "POD_NAME", "a\xe2\x80\xa8z",
		  "environment POD_NAME: 'pod.name' must be one line without control characters, "
		  "not 'a\xe2\x80\xa8z'" },
		{ "CONFIG_FILE", "absent.yaml",
		  "could not read the configuration file 'absent.yaml': No such file or "
		  "directory" },
		{ "CONFIG_FILE", "/", "could not read the configuration file '/': Is a directory" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config config;
		struct err err = ERR_INIT;

		assert_int_equal(clearenv(), 0);
		assert_int_equal(setenv(rows[i].name, rows[i].value, 1), 0);
		assert_false(config_load(&config, NULL, &err));
		assert_int_equal(err.code, ERR_CONFIG);
		assert_string_equal(err.msg, rows[i].want);
	}
}

/* Every number of the table at and beside both limits, through the environment. */
static void
keeps_every_limit(void **state)
{
	(void)state;
	static const struct {
		const char *env;
		int64_t min, max;
		size_t offset;
	} rows[] = {
#define SECTION(...)
#define STRING(...)
#define SECRET(...)
#define REAL(...)
#define BOOL(...)
#define ENUM(...)
#define INT(member, path, env, def, min, max, unit, doc)                                           \
	{ env, min, max, offsetof(struct config, member) },
#include "common/config.def"
#undef SECTION
#undef STRING
#undef SECRET
#undef REAL
#undef BOOL
#undef ENUM
#undef INT
	};
	static const int deltas[] = { -1, 0, 1 };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (size_t k = 0; k < 2 * ARRAY_SIZE(deltas); k++) {
			int64_t value = (k % 2 ? rows[i].max : rows[i].min) + deltas[k / 2];
			bool want = value >= rows[i].min && value <= rows[i].max;
			struct config config;
			struct err err = ERR_INIT;
			AUTO(buf) struct buf text = BUF_INIT(64);

			buf_add_i64(&text, value);
			assert_int_equal(clearenv(), 0);
			assert_int_equal(setenv(rows[i].env, text.data, 1), 0);
			/* what goes together with them, wide open */
			if (strcmp(rows[i].env, "API_MAX_WAITERS") == 0)
				assert_int_equal(setenv("API_THREADS", "4096", 1), 0);
			if (strcmp(rows[i].env, "CHUNK_OVERLAP") == 0)
				assert_int_equal(setenv("CHUNK_SIZE", "20000", 1), 0);

			bool got = config_load(&config, NULL, &err);

			/* 4096 waiters need 4097 threads, which there cannot be */
			if (strcmp(rows[i].env, "API_MAX_WAITERS") == 0 && value == rows[i].max)
				want = false;
			if (got != want)
				fail_msg("%s=%s: %s", rows[i].env, text.data,
					 got ? "accepted" : err.msg);
			if (got) {
				assert_memory_equal((char *)&config + rows[i].offset, &value,
						    sizeof(value));
				config_release(&config);
			}
		}
	}
}

static void
fits_defaults(void **state)
{
	(void)state;
	struct config config;

	load(&config, "api: {threads: 64}\nchunk: {size: 100}\nqueue: {backoff_base_ms: 400000}\n");
	assert_int_equal(config.max_waiters, 32);
	assert_int_equal(config.chunk_overlap, 10);
	assert_int_equal(config.backoff_max_ms, 400000);
	config_release(&config);
	load(&config, "queue: {backoff_max_ms: 10}\n");
	assert_int_equal(config.backoff_base_ms, 10);
	config_release(&config);
	load(&config, "chunk: {size: 1000, overlap: 500}\napi: {threads: 8, max_waiters: 7}\n");
	assert_int_equal(config.chunk_overlap, 500);
	config_release(&config);
}

/* Reading these to their end would take libyaml minutes: the test's own time limit is the check. */
static void
stays_quick_with_floods(void **state)
{
	(void)state;
	size_t len = (size_t)256 * 1024;
	char *text = mem_alloc(len + 1);
	static const char *const floods[] = { "[",	 "{", "- ",  "a:\n ", "? ",
					      "\"a\": ", "'", "|\n", "&a ",   "!a " };

	for (size_t i = 0; i < ARRAY_SIZE(floods); i++) {
		struct config config;
		struct err err = ERR_INIT;
		size_t step = strlen(floods[i]);

		for (size_t at = 0; at < len; at++)
			text[at] = floods[i][at % step];
		write_file(FILE_NAME, str_make(text, len));
		assert_false(config_load(&config, FILE_NAME, &err));
		assert_int_equal(err.code, ERR_CONFIG);
	}
	memset(text, '#', len + 1);
	check_refused_bytes(str_make(text, len + 1), "cannot read the configuration file "
						     "'config.yaml': more than 262144 bytes");
	mem_free(text);
}

static char *
print(const struct config *config)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	config_print(config, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

/* The text without its comments. */
static void
strip(char *text)
{
	char *to = text;

	for (char *line = text; *line;) {
		char *end = strchr(line, '\n');
		char *comment = strstr(line, "# ");
		size_t keep =
			comment && comment < end ? (size_t)(comment - line) : (size_t)(end - line);

		memmove(to, line, keep);
		to += keep;
		*to++ = '\n';
		line = end + 1;
	}
	*to = '\0';
}

static void
prints_what_loads_back(void **state)
{
	(void)state;
	struct config config;

	assert_int_equal(setenv("POD_NAME", "a \"quoted\" \\ #name: é", 1), 0);
	assert_int_equal(setenv("WORKERS", "3", 1), 0);
	load(&config, "redis:\n  url: redis://:geheim@h\nmonitoring: {enabled: off}\n"
		      "api: {keys_file: ' x '}\nchunk: {size: 150}\nreranker: {kind: none}\n");

	char *first = print(&config);

	config_release(&config);
	assert_null(strstr(first, "geheim"));
	assert_non_null(strstr(first, "\nredis:\n  url: \"***\"  # config.yaml:2\n"));
	assert_non_null(strstr(first, "  slots: 3  # environment WORKERS\n"));
	assert_non_null(
		strstr(first,
		       "  name: \"a \\\"quoted\\\" \\\\ #name: é\"  # environment POD_NAME\n"));
	assert_non_null(strstr(first, "  overlap: 15  # default, fitted to chunk.size\n"));
	assert_non_null(strstr(first, "\ndata_dir: \"./data\"  # default\n"));

	assert_int_equal(clearenv(), 0);
	load(&config, first);

	char *second = print(&config);

	config_release(&config);
	strip(first);
	strip(second);
	assert_string_equal(first, second);
	free(first);
	free(second);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		TEST(gives_defaults),
		TEST(reads_the_file),
		TEST(environment_beats_file),
		TEST(reads_secrets_from_files),
		TEST(refuses_with_file_and_line),
		TEST(refuses_bad_environment),
		TEST(keeps_every_limit),
		TEST(fits_defaults),
		TEST(stays_quick_with_floods),
		TEST(prints_what_loads_back),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
