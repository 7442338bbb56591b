#include "tests/support/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/sha256.h"

void
keys_write(const char *path, const struct test_key *rows, const char *tail)
{
	char temp[512];
	FILE *file;

	(void)snprintf(temp, sizeof(temp), "%s.new", path);
	file = fopen(temp, "w");
	assert_non_null(file);
	(void)fputs("# who may use the API\n\n", file);
	for (; rows->name; rows++) {
		char hash[SHA256_HEX_BYTES];

		sha256_hex(str_of(rows->key), hash);
		(void)fprintf(file, "%s:%s %s\n", rows->name, hash,
			      rows->options ? rows->options : "");
	}
	(void)fputs(tail, file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(temp, 0600), 0);
	assert_int_equal(rename(temp, path), 0);
}
