/* The file of API keys: lines that are taken, lines that are refused and why, and the form of our own keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/mem.h"
#include "common/key_file.h"

#define HASH "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
#define OTHER "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"

static struct api_key
parsed(const char *line)
{
	struct err err = ERR_INIT;
	struct api_key key;

	if (!key_line_parse(str_of(line), &key, &err))
		fail_msg("%s: %s", line, err.msg);
	return key;
}

static void
test_plain_line(void **state)
{
	(void)state;
	struct api_key key = parsed("ann:" HASH);

	assert_string_equal(key.name, "ann");
	assert_string_equal(key.hash, HASH);
	assert_string_equal(key.tenant, "default");
	assert_int_equal(key.scopes, SCOPE_ALL);
	assert_int_equal(key.rate_count, -1);
	assert_int_equal(key.expires_unix_ms, 0);
	assert_string_equal(key.hint, "");
	/* as lenient as it always was: blanks around both, capitals, and any name */
	key = parsed("Ann & Bob (ops) :  "
		     "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08");
	assert_string_equal(key.name, "Ann & Bob (ops)");
	assert_string_equal(key.hash, HASH);
}

static void
test_options(void **state)
{
	(void)state;
	struct api_key key = parsed(
		"bob:" HASH
		"  rate=100/60 tenant=acme-2\tscopes=ingest,read expires=2027-01-31T00:00:00Z "
		"hint=rag_Ab12Cd");

	assert_string_equal(key.tenant, "acme-2");
	assert_int_equal(key.scopes, SCOPE_READ | SCOPE_INGEST);
	assert_int_equal(key.rate_count, 100);
	assert_int_equal(key.rate_window_s, 60);
	assert_int_equal(key.expires_unix_ms, INT64_C(1801353600000));
	assert_string_equal(key.hint, "rag_Ab12Cd");
	assert_int_equal(parsed("b:" HASH " rate=none").rate_count, 0);
	assert_string_equal(parsed("b:" HASH " tenant=default").tenant, "default");
}

static void
test_refused_lines(void **state)
{
	(void)state;
	static const struct {
		const char *line, *said;
	} rows[] = {
		{ "ann", "expected" },
		{ "ann:", "expected" },
		{ "ann:1234", "expected" },
		{ "ann:" HASH "0", "expected" },
		{ "ann:" HASH ",x", "expected" },
		{ ":" HASH, "name" },
		{ "a\x01z:" HASH, "name" },
		{ "a\xff:" HASH, "name" },
		{ "0123456789012345678901234567890123456789012345678901234567890123:" HASH,
		  "name" },
		{ "a:" HASH " tenant=", "tenant" },
		{ "a:" HASH " tenant=Acme", "tenant" },
		{ "a:" HASH " tenant=a/b", "tenant" },
		{ "a:" HASH " tenant=-a", "tenant" },
		{ "a:" HASH " tenant=012345678901234567890123456789012", "tenant" },
		{ "a:" HASH " tenant=a tenant=b", "twice" },
		{ "a:" HASH " scopes=", "scopes" },
		{ "a:" HASH " scopes=read,", "scopes" },
		{ "a:" HASH " scopes=read,write", "scopes" },
		{ "a:" HASH " scopes=READ", "scopes" },
		{ "a:" HASH " rate=100", "rate" },
		{ "a:" HASH " rate=0/60", "rate" },
		{ "a:" HASH " rate=1/0", "rate" },
		{ "a:" HASH " rate=1/86401", "rate" },
		{ "a:" HASH " rate=-1/60", "rate" },
		{ "a:" HASH " rate=1/60/60", "rate" },
		{ "a:" HASH " expires=tomorrow", "expires" },
		{ "a:" HASH " expires=2027-01-31", "expires" },
		{ "a:" HASH " hint=", "hint" },
		{ "a:" HASH " hint=rag_/", "hint" },
		{ "a:" HASH " hint=0123456789012345", "hint" },
		{ "a:" HASH " colour=red", "'colour'" },
		{ "a:" HASH " read", "'read'" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		struct api_key key;

		if (key_line_parse(str_of(rows[i].line), &key, &err))
			fail_msg("taken: %s", rows[i].line);
		if (!strstr(err.msg, rows[i].said))
			fail_msg("%s: '%s' is not in '%s'", rows[i].line, rows[i].said, err.msg);
	}
}

/* What is written is read as the same. */
static void
test_format(void **state)
{
	(void)state;
	static const char *const lines[] = {
		"ann:" HASH " tenant=default scopes=read,ingest,admin",
		"a b:" HASH " tenant=t scopes=admin rate=none",
		"bob:" HASH
		" tenant=acme scopes=read rate=100/60 expires=2027-01-31T00:00:00.000Z hint=rag_A",
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		AUTO(buf) struct buf text = BUF_INIT(4096);
		struct api_key key = parsed(lines[i]);

		key_line_format(&key, &text);
		assert_string_equal(text.data, lines[i]);
	}
}

static void
test_file(void **state)
{
	(void)state;
	static const char text[] =
		"# who\r\n\n  ann:" HASH "\r\n\t# more\nbob:" OTHER " tenant=acme";
	struct err err = ERR_INIT;
	struct api_key *keys;
	size_t count;

	assert_true(key_file_parse("f", str_of(text), &keys, &count, &err));
	assert_int_equal(count, 2);
	assert_string_equal(keys[0].name, "ann");
	assert_int_equal(keys[0].line, 3);
	assert_string_equal(keys[1].tenant, "acme");
	assert_int_equal(keys[1].line, 5);
	mem_free(keys);
	assert_true(key_file_parse("f", STR("# nobody\n"), &keys, &count, &err));
	assert_int_equal(count, 0);
	mem_free(keys);

	assert_false(
		key_file_parse("dir/keys", STR("\nann:" HASH "\nbob:zz\n"), &keys, &count, &err));
	assert_int_equal(err.code, ERR_CONFIG);
	assert_true(str_starts(str_of(err.msg), "dir/keys:3: "));
	/* one key for two callers: whose request would it be? */
	assert_false(key_file_parse("k", STR("a:" HASH "\nb:" OTHER "\n\nc:" HASH " tenant=t\n"),
				    &keys, &count, &err));
	assert_string_equal(err.msg, "k:4: the same key as in line 1");
}

static void
test_scopes(void **state)
{
	(void)state;
	char text[SCOPES_TEXT_BYTES];
	unsigned scopes;

	for (unsigned bits = 1; bits <= SCOPE_ALL; bits++) {
		scopes_format(bits, text);
		assert_true(scopes_parse(str_of(text), &scopes));
		assert_int_equal(scopes, bits);
	}
	scopes_format(0, text);
	assert_string_equal(text, "");
	assert_false(scopes_parse(STR(""), &scopes));
	assert_false(scopes_parse(STR("read ,ingest"), &scopes));
}

static void
test_key_text(void **state)
{
	(void)state;
	char key[KEY_TEXT_BYTES], other[KEY_TEXT_BYTES], hint[KEY_HINT_BYTES];

	key_text_new(key);
	key_text_new(other);
	assert_string_not_equal(key, other);
	assert_int_equal(strlen(key), KEY_TEXT_BYTES - 1);
	assert_true(key_text_is_ours(str_of(key)));
	key_text_hint(key, hint);
	assert_int_equal(strlen(hint), 10);
	assert_memory_equal(hint, key, 10);
	assert_memory_equal(hint, "rag_", 4);

	/* any one character mistyped is noticed */
	for (size_t i = 0; i < KEY_TEXT_BYTES - 1; i++) {
		memcpy(other, key, sizeof(other));
		other[i] = other[i] == 'x' ? 'y' : 'x';
		assert_false(key_text_is_ours(str_of(other)));
	}
	assert_false(key_text_is_ours(str_sub(str_of(key), 0, KEY_TEXT_BYTES - 2)));
	assert_false(key_text_is_ours(STR("")));
	/* a known one, so that the form never changes unnoticed */
	assert_true(key_text_is_ours(STR("rag_0000000000000000000000000000000ZOMrJ8I")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain_line),    cmocka_unit_test(test_options),
		cmocka_unit_test(test_refused_lines), cmocka_unit_test(test_format),
		cmocka_unit_test(test_file),	      cmocka_unit_test(test_scopes),
		cmocka_unit_test(test_key_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
