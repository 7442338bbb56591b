#include "cli/files.h"

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

#include "common/base/auto.h"
#include "common/base/buf.h"

/* The tests run inside a folder of their own, "<tmp>/root". */
static char top[] = "/tmp/test_files.XXXXXX";

static void
put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int
group_setup(void **state)
{
	(void)state;
	if (!mkdtemp(top) || chdir(top) != 0)
		return -1;
	assert_int_equal(mkdir("root", 0755), 0);
	assert_int_equal(chdir("root"), 0);
	assert_int_equal(mkdir("sub", 0755), 0);
	assert_int_equal(mkdir("sub/deep", 0755), 0);
	assert_int_equal(mkdir(".hidden", 0755), 0);
	assert_int_equal(mkdir("other", 0755), 0);
	assert_int_equal(mkdir("other/sub", 0755), 0);
	put("b.md", "b");
	put("a.txt", "a");
	put("sub/page.HTML", "<p>");
	put("sub/deep/data.json", "{}");
	put("sub/pic.png", "x");
	put("sub/pic2.png", "x");
	put("sub/README", "x");
	put("sub/empty.txt", "");
	put("sub/.secret.md", "x");
	put("sub/bad\xff.txt", "x");
	put(".hidden/x.md", "x");
	put("other/sub/page.HTML", "y");
	assert_int_equal(symlink("../..", "sub/deep/loop"), 0);
	assert_int_equal(symlink("../a.txt", "sub/link.txt"), 0);
	assert_int_equal(symlink("nowhere", "sub/broken.md"), 0);
	assert_int_equal(mkfifo("sub/pipe.md", 0600), 0);
	return 0;
}

static int
group_teardown(void **state)
{
	static const char *const names[] = {
		"root/b.md",
		"root/a.txt",
		"root/sub/page.HTML",
		"root/sub/deep/data.json",
		"root/sub/pic.png",
		"root/sub/pic2.png",
		"root/sub/README",
		"root/sub/empty.txt",
		"root/sub/.secret.md",
		"root/sub/bad\xff.txt",
		"root/.hidden/x.md",
		"root/other/sub/page.HTML",
		"root/sub/deep/loop",
		"root/sub/link.txt",
		"root/sub/broken.md",
		"root/sub/pipe.md",
		"root/sub/deep",
		"root/sub",
		"root/.hidden",
		"root/other/sub",
		"root/other",
		"root",
		NULL,
	};

	(void)state;
	assert_int_equal(chdir(top), 0);
	for (size_t i = 0; names[i]; i++)
		assert_int_equal(remove(names[i]), 0);
	return rmdir(top);
}

static bool
collect(struct files *files, struct cli *cli, const char *const *paths, struct err *err)
{
	cli->args = paths;
	cli->arg_count = 0;
	while (paths[cli->arg_count])
		cli->arg_count++;
	return files_collect(cli, files, err);
}

static void
check_ids(struct cli *cli, const char *const *paths, const char *want)
{
	struct files files;
	struct err err = ERR_INIT;
	AUTO(buf) struct buf ids = BUF_INIT(4096);

	if (!collect(&files, cli, paths, &err))
		fail_msg("%s", err.msg);
	for (size_t i = 0; i < files.count; i++)
		buf_printf(&ids, "%s%s", i > 0 ? " " : "", files.items[i].id);
	assert_string_equal(ids.data, want);
	for (size_t i = 0; i < files.count; i++)
		assert_ptr_equal(files_find(&files, str_of(files.items[i].id)), &files.items[i]);
	assert_null(files_find(&files, STR("none")));
	files_release(&files);
}

static void
names_documents_by_the_last_part(void **state)
{
	(void)state;
	struct cli cli = { .args = NULL };
	static const char all[] = "root/a.txt root/b.md root/other/sub/page.HTML "
				  "root/sub/deep/data.json root/sub/link.txt root/sub/page.HTML";

	check_ids(&cli, (const char *[]){ ".", NULL }, all);
	check_ids(&cli, (const char *[]){ "../root/", NULL }, all);
	check_ids(&cli, (const char *[]){ "sub/..", NULL }, all);
	check_ids(&cli, (const char *[]){ "sub", NULL },
		  "sub/deep/data.json sub/link.txt sub/page.HTML");
	check_ids(&cli, (const char *[]){ "sub/deep//", "b.md", "./a.txt", NULL },
		  "a.txt b.md deep/data.json");
	check_ids(&cli, (const char *[]){ "sub/link.txt", NULL }, "link.txt");
}

static void
includes_and_excludes(void **state)
{
	(void)state;
	struct cli cli = { .args = NULL };

	cli.options.include = (struct cli_list){ .items = { "*.md", "*.txt" }, .count = 2 };
	check_ids(&cli, (const char *[]){ ".", NULL }, "root/a.txt root/b.md root/sub/link.txt");
	cli.options.exclude = (struct cli_list){ .items = { "link*" }, .count = 1 };
	check_ids(&cli, (const char *[]){ ".", NULL }, "root/a.txt root/b.md");
	cli.options.include.count = 0;
	cli.options.exclude = (struct cli_list){ .items = { "sub" }, .count = 1 }; /* folders too */
	check_ids(&cli, (const char *[]){ ".", NULL }, "root/a.txt root/b.md");
	cli.options.exclude = (struct cli_list){ .items = { "other/*", "root/*.md" }, .count = 2 };
	check_ids(&cli, (const char *[]){ ".", NULL },
		  "root/a.txt root/sub/deep/data.json root/sub/link.txt root/sub/page.HTML");
}

static void
says_why_files_are_left_out(void **state)
{
	(void)state;
	struct cli cli = { .args = NULL };
	struct files files;
	struct err err = ERR_INIT;
	AUTO(buf) struct buf text = BUF_INIT(4096);

	assert_true(collect(&files, &cli, (const char *[]){ "sub", NULL }, &err));
	assert_int_equal(files.skipped.total, 6);
	for (size_t i = 0; i < files.skipped.count; i++) {
		if (files.skipped.rows[i].count == 2)
			assert_string_equal(files.skipped.rows[i].text,
					    "unknown ending '.png' (--type)");
		buf_printf(&text, "%s;", files.skipped.rows[i].text);
	}
	assert_int_equal(files.skipped.count, 5);
	assert_non_null(strstr(text.data, "no ending (--type);"));
	assert_non_null(strstr(text.data, "empty file;"));
	assert_non_null(strstr(text.data, "a link to a folder;"));
	assert_non_null(strstr(text.data, "neither a file nor a folder;"));
	assert_int_equal(files.failed.total, 2);
	files_release(&files);

	cli.options.type = "text/plain";
	assert_true(
		collect(&files, &cli, (const char *[]){ "sub/README", "sub/pic.png", NULL }, &err));
	assert_int_equal(files.count, 2);
	assert_string_equal(files.items[0].type, "text/plain");
	files_release(&files);
}

static void
refuses_what_cannot_be(void **state)
{
	(void)state;
	struct cli cli = { .args = NULL };
	struct files files;
	struct err err = ERR_INIT;

	assert_false(collect(&files, &cli, (const char *[]){ "absent", NULL }, &err));
	assert_string_equal(err.msg, "cannot read 'absent': No such file or directory");
	assert_false(collect(&files, &cli, (const char *[]){ "sub", "other/sub", NULL }, &err));
	assert_true(
		str_starts(str_of(err.msg), "two files would be the document 'sub/page.HTML': "));
	assert_false(collect(&files, &cli, (const char *[]){ "a.txt", "./a.txt", NULL }, &err));
}

static void
knows_types(void **state)
{
	(void)state;
	assert_string_equal(files_type("a.MD"), "text/markdown");
	assert_string_equal(files_type("x/a.b.htm"), "text/html");
	assert_string_equal(files_type("a.xhtml"), "application/xhtml+xml");
	assert_string_equal(files_type("a.pdf"), "application/pdf");
	assert_string_equal(files_type("A.Epub"), "application/epub+zip");
	assert_null(files_type("a.doc"));
	assert_null(files_type("md"));
	assert_null(files_type(".md"));
}

static void
gathers_reasons(void **state)
{
	(void)state;
	struct reasons reasons = { .count = 0 };
	char text[8];

	for (int i = 0; i < 40; i++) {
		(void)snprintf(text, sizeof(text), "r%d", i % 20);
		reasons_add(&reasons, text, "example");
	}
	assert_int_equal(reasons.count, REASONS_MAX);
	assert_int_equal(reasons.total, 40);
	assert_int_equal(reasons.rows[0].count, 2);
	reasons_release(&reasons);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_documents_by_the_last_part),
		cmocka_unit_test(includes_and_excludes),
		cmocka_unit_test(says_why_files_are_left_out),
		cmocka_unit_test(refuses_what_cannot_be),
		cmocka_unit_test(knows_types),
		cmocka_unit_test(gathers_reasons),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
