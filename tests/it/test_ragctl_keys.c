/* ragctl keys on real files: what is written, what is refused, and that nobody's change is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/key_file.h"
#include "tests/support/folder.h"
#include "tests/support/must.h"
#include "tests/support/process.h"

#define MAX_WORDS 24

struct fixture {
	char folder[FOLDER_BYTES];
	char path[FOLDER_BYTES + 16];
	char *out, *err; /* of the last run */
};

static int
setup(void **state)
{
	static struct fixture fixture;

	fixture = (struct fixture){ .out = NULL };
	folder_make(fixture.folder);
	(void)snprintf(fixture.path, sizeof(fixture.path), "%s/keys.txt", fixture.folder);
	*state = &fixture;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	free(f->out);
	free(f->err);
	folder_remove(f->folder);
	return 0;
}

/* `ragctl keys <words> --file <path>`; the API's address leads nowhere: a command that sent anything would fail. */
static int
run_at(struct fixture *f, const char *path, ...)
{
	const char *argv[MAX_WORDS] = { "ragctl", "--url", "http://127.0.0.1:1",
					"--file", path,	   "keys" };
	int argc = 6;
	size_t len = 0;
	va_list words;

	free(f->out);
	free(f->err);
	f->out = f->err = NULL;

	struct cli_world world = { .out = open_memstream(&f->out, &len),
				   .err = open_memstream(&f->err, &len),
				   .columns = 200 };

	va_start(words, path);
	for (const char *word = va_arg(words, const char *); word;
	     word = va_arg(words, const char *)) {
		assert_true(argc < MAX_WORDS);
		argv[argc++] = word;
	}
	va_end(words);

	int code = cli_main(argc, argv, &world);

	assert_int_equal(fclose(world.out), 0);
	assert_int_equal(fclose(world.err), 0);
	return code;
}
#define run(f, ...) run_at((f), (f)->path, __VA_ARGS__, NULL)

static void
must_run(struct fixture *f, int code, int want)
{
	if (code != want)
		fail_msg("exit code %d, not %d: %s%s", code, want, f->out, f->err);
}

static void
put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* The text of the file (buf) and its keys (heap). */
static size_t
get(const char *path, struct buf *text, struct api_key **keys)
{
	struct stat seen;
	size_t count;

	buf_clear(text);
	MUST(key_file_read(path, text, &seen, e));
	MUST(key_file_parse(path, str_make(text->data, text->len), keys, &count, e));
	return count;
}

static void
check_mode(const char *path, mode_t want)
{
	struct stat seen;

	assert_int_equal(stat(path, &seen), 0);
	assert_int_equal(seen.st_mode & 0777, want);
}

static void
test_create(void **state)
{
	struct fixture *f = *state;
	AUTO(buf) struct buf text = BUF_INIT(KEY_FILE_MAX_BYTES);
	char hash[SHA256_HEX_BYTES];
	struct api_key *keys;
	struct str key;

	must_run(f, run(f, "create", "ann"), CLI_OK);
	key = str_trim(str_of(f->out));
	assert_true(key_text_is_ours(key));
	assert_int_equal(get(f->path, &text, &keys), 1);
	sha256_hex(key, hash);
	assert_string_equal(keys[0].hash, hash);
	assert_string_equal(keys[0].name, "ann");
	assert_string_equal(keys[0].tenant, "default");
	assert_int_equal(keys[0].scopes, SCOPE_READ | SCOPE_INGEST);
	assert_int_equal(keys[0].rate_count, -1);
	assert_memory_equal(keys[0].hint, key.ptr, 10);
	mem_free(keys);
	/* the key itself is nowhere but on stdout */
	assert_null(strstr(text.data, f->out + 10));
	assert_null(strstr(f->err, f->out + 10));
	check_mode(f->path, 0600);

	must_run(f,
		 run(f, "create", "bob", "--tenant", "acme", "--scopes", "read,admin", "--rate",
		     "5/2", "--expires", "2099-01-01T00:00:00Z", "--json"),
		 CLI_OK);
	assert_non_null(strstr(f->out, "\"key\":\"rag_"));
	assert_int_equal(get(f->path, &text, &keys), 2);
	assert_string_equal(keys[1].tenant, "acme");
	assert_int_equal(keys[1].scopes, SCOPE_READ | SCOPE_ADMIN);
	assert_int_equal(keys[1].rate_count, 5);
	assert_int_equal(keys[1].rate_window_s, 2);
	assert_int_equal(keys[1].expires_unix_ms, INT64_C(4070908800000));
	mem_free(keys);

	must_run(f, run(f, "create", "eve", "--expires-in", "2", "--rate", "none"), CLI_OK);
	assert_int_equal(get(f->path, &text, &keys), 3);
	assert_true(keys[2].expires_unix_ms > clock_unix_ms() + INT64_C(86400000));
	assert_int_equal(keys[2].rate_count, 0);
	mem_free(keys);
}

static void
test_wrong_words(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *words[6];
		const char *said;
	} rows[] = {
		{ { "create", "a:b" }, "':'" },
		{ { "create", "" }, "name" },
		{ { "create", "a\nb:x" }, "name" },
		{ { "create", "x", "--tenant", "Acme" }, "--tenant" },
		{ { "create", "x", "--scopes", "write" }, "--scopes" },
		{ { "create", "x", "--rate", "fast" }, "--rate" },
		{ { "create", "x", "--expires", "soon" }, "--expires" },
		{ { "create", "x", "--expires", "2001-01-01T00:00:00Z" }, "has passed" },
		{ { "create", "x", "--expires-in", "0" }, "--expires-in" },
		{ { "create" }, "create" },
		{ { "revoke" }, "revoke" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *const *w = rows[i].words;

		must_run(f, run(f, w[0], w[1], w[2], w[3], w[4]), CLI_USAGE);
		if (!strstr(f->err, rows[i].said))
			fail_msg("'%s' is not in %s", rows[i].said, f->err);
		assert_string_equal(f->out, "");
	}
	assert_int_not_equal(access(f->path, F_OK), 0); /* nothing was made */
	must_run(f, run_at(f, f->folder, "create", "x", NULL), CLI_FAILED);
	must_run(f, run(f, "list"), CLI_FAILED);
}

/* What others wrote stays: comments, order, old lines, and a last line without its end. */
static void
test_old_file(void **state)
{
	struct fixture *f = *state;
	AUTO(buf) struct buf text = BUF_INIT(KEY_FILE_MAX_BYTES);
	struct api_key *keys;
	static const char before[] =
		"# team\nann:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n\n"
		"# robots\r\nbob:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752";

	put(f->path, before);
	assert_int_equal(chmod(f->path, 0644), 0);
	must_run(f, run(f, "create", "new"), CLI_OK);
	assert_int_equal(get(f->path, &text, &keys), 3);
	assert_memory_equal(text.data, before, sizeof(before) - 1);
	assert_string_equal(keys[2].name, "new");
	mem_free(keys);
	check_mode(f->path, 0640); /* its group may go on reading, others not */

	must_run(f, run(f, "revoke", "ann"), CLI_OK);
	assert_int_equal(get(f->path, &text, &keys), 2);
	assert_memory_equal(text.data, "# team\n\n# robots\r\nbob:", 22);
	mem_free(keys);
	check_mode(f->path, 0640);
}

static void
test_revoke(void **state)
{
	struct fixture *f = *state;
	AUTO(buf) struct buf text = BUF_INIT(KEY_FILE_MAX_BYTES);
	char hint[KEY_HINT_BYTES];
	struct api_key *keys;

	must_run(f, run(f, "create", "ann"), CLI_OK);
	key_text_hint(f->out, hint);
	must_run(f, run(f, "create", "ann", "--tenant", "acme"), CLI_OK);
	must_run(f, run(f, "create", "ann", "--tenant", "acme"), CLI_OK);

	must_run(f, run(f, "revoke", "bob"), CLI_NOT_FOUND);
	must_run(f, run(f, "revoke", "ann"), CLI_FAILED); /* which of the three? */
	assert_non_null(strstr(f->err, "3 keys"));
	must_run(f, run(f, "revoke", "ann", "--tenant", "nobody"), CLI_NOT_FOUND);
	assert_int_equal(get(f->path, &text, &keys), 3);
	mem_free(keys);

	must_run(f, run(f, "revoke", hint), CLI_OK);
	assert_int_equal(get(f->path, &text, &keys), 2);
	assert_string_equal(keys[0].tenant, "acme");
	mem_free(keys);
	must_run(f, run(f, "revoke", "ann", "--tenant", "acme", "--all"), CLI_OK);
	assert_int_equal(get(f->path, &text, &keys), 0);
	mem_free(keys);
	must_run(f, run(f, "list"), CLI_OK);
	assert_string_equal(f->out, "");
}

static void
test_list(void **state)
{
	struct fixture *f = *state;

	must_run(f, run(f, "create", "ann", "--scopes", "admin"), CLI_OK);
	must_run(f, run(f, "create", "bob", "--tenant", "acme", "--rate", "9/60"), CLI_OK);
	must_run(f, run(f, "list"), CLI_OK);
	assert_non_null(strstr(f->out, "ann"));
	assert_non_null(strstr(f->out, "9/60"));
	must_run(f, run(f, "list", "--tenant", "acme", "--json"), CLI_OK);
	assert_null(strstr(f->out, "ann"));
	assert_non_null(strstr(f->out, "\"scopes\":\"read,ingest\""));
	assert_null(strstr(f->out, "hash"));
}

/* A file that rag-api would refuse is left as it is, and the line is named. */
static void
test_broken_file(void **state)
{
	struct fixture *f = *state;
	AUTO(buf) struct buf text = BUF_INIT(KEY_FILE_MAX_BYTES);
	struct stat seen;

	put(f->path, "# x\nann:zz\n");
	must_run(f, run(f, "create", "bob"), CLI_FAILED);
	assert_non_null(strstr(f->err, "keys.txt:2: "));
	assert_string_equal(f->out, "");
	must_run(f, run(f, "revoke", "ann"), CLI_FAILED);
	must_run(f, run(f, "list"), CLI_FAILED);
	MUST(key_file_read(f->path, &text, &seen, e));
	assert_string_equal(text.data, "# x\nann:zz\n");
}

/* A link stays a link: what it leads to is replaced. */
static void
test_link(void **state)
{
	struct fixture *f = *state;
	AUTO(buf) struct buf text = BUF_INIT(KEY_FILE_MAX_BYTES);
	char link[FOLDER_BYTES + 16];
	struct api_key *keys;
	struct stat seen;

	(void)snprintf(link, sizeof(link), "%s/link", f->folder);
	put(f->path, "");
	assert_int_equal(symlink("keys.txt", link), 0);
	must_run(f, run_at(f, link, "create", "ann", NULL), CLI_OK);
	assert_int_equal(lstat(link, &seen), 0);
	assert_true(S_ISLNK(seen.st_mode));
	assert_int_equal(get(f->path, &text, &keys), 1);
	mem_free(keys);
}

#define WRITERS 6
#define EACH 5

/* Processes that create and revoke at once: every change takes effect, and a reader never meets half a file. */
static void
test_at_once(void **state)
{
	struct fixture *f = *state;
	AUTO(buf) struct buf text = BUF_INIT(KEY_FILE_MAX_BYTES);
	struct process *running[WRITERS] = { NULL };
	struct api_key *keys;
	bool found[WRITERS][EACH] = { { false } };
	size_t count;

	must_run(f, run(f, "create", "first"), CLI_OK);
	for (int round = 0; round < EACH; round++) {
		for (int i = 0; i < WRITERS; i++) {
			char name[32];

			(void)snprintf(name, sizeof(name), "w%d-%d", i, round);
			running[i] = process_start((const char *const[]){ "ragctl", "keys",
									  "create", name, "--file",
									  f->path, NULL },
						   NULL);
		}
		if (round == 0)
			must_run(f, run(f, "revoke", "first"), CLI_OK);
		(void)get(f->path, &text, &keys); /* whole, at any moment */
		mem_free(keys);
		for (int i = 0; i < WRITERS; i++) {
			assert_int_equal(process_wait(running[i]), 0);
			process_stop(running[i]);
		}
	}
	count = get(f->path, &text, &keys);
	assert_int_equal(count, WRITERS * EACH);
	for (size_t i = 0; i < count; i++) {
		int64_t writer, round;
		struct str name = str_of(keys[i].name), head;

		assert_true(str_split(&name, '-', &head));
		assert_true(str_to_i64(str_sub(head, 1, head.len), 0, WRITERS - 1, &writer));
		assert_true(str_to_i64(name, 0, EACH - 1, &round));
		assert_false(found[writer][round]);
		found[writer][round] = true;
	}
	mem_free(keys);
	/* and no temporary file is left */
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(rmdir(f->folder), 0);
	folder_make(f->folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_create, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_words, setup, teardown),
		cmocka_unit_test_setup_teardown(test_old_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_revoke, setup, teardown),
		cmocka_unit_test_setup_teardown(test_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_link, setup, teardown),
		cmocka_unit_test_setup_teardown(test_at_once, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
