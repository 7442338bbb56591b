/*
 * ragctl keys: make, list and revoke API keys in a file that rag-api reads (API_KEYS_FILE). Nothing is sent anywhere: the
 * key is made here, shown once, and only its hash is written.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/key_edit.h"
#include "cli/show.h"
#include "cli/text.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/json.h"

#define DAY_MS (INT64_C(86400) * 1000)

/* ---- what the command line says ---- */

static int
wrong_usage(struct cli *cli, const struct err *err)
{
	(void)cli_fail(cli, err);
	return CLI_USAGE;
}

static bool
need_file(const struct cli *cli, struct err *err)
{
	return cli->options.file ||
	       err_set(err, ERR_INVALID,
		       "--file FILE is needed: the file that API_KEYS_FILE names to rag-api");
}

static bool
read_expiry(const struct cli_options *options, struct api_key *key, struct err *err)
{
	if (options->expires && options->expires_in_days)
		return err_set(err, ERR_INVALID, "--expires and --expires-in exclude each other");
	if (options->expires_in_days)
		key->expires_unix_ms = clock_unix_ms() + options->expires_in_days * DAY_MS;
	if (!options->expires)
		return true;
	if (!clock_parse_iso(str_of(options->expires), &key->expires_unix_ms))
		return err_set(err, ERR_INVALID,
			       "--expires must be a time like 2027-01-31T00:00:00Z, not '%s'",
			       options->expires);
	return key->expires_unix_ms > clock_unix_ms() ||
	       err_set(err, ERR_INVALID, "--expires %s has passed", options->expires);
}

/* What the command line says of a new key; it is checked by the reader of the file's lines. */
static bool
describe(struct cli *cli, const char *text, struct api_key *out, struct err *err)
{
	const struct cli_options *options = &cli->options;
	struct api_key key = { .rate_count = -1, .scopes = SCOPE_READ | SCOPE_INGEST };
	struct str tenant = str_of(options->tenant ? options->tenant : TENANT_DEFAULT);
	AUTO(buf) struct buf line = BUF_INIT(4096);

	if (!str_copy(key.name, sizeof(key.name), str_of(cli->args[0])) || strchr(key.name, ':'))
		return err_set(err, ERR_INVALID, "a key's name has 1 to %d bytes and no ':'",
			       KEY_NAME_BYTES - 1);
	if (!tenant_valid(tenant, err))
		return err_wrap(err, "--tenant");
	(void)str_copy(key.tenant, sizeof(key.tenant), tenant);
	if (options->scopes && !scopes_parse(str_of(options->scopes), &key.scopes))
		return err_set(err, ERR_INVALID,
			       "--scopes takes some of read,ingest,admin, not '%s'",
			       options->scopes);
	if (options->rate &&
	    !key_rate_parse(str_of(options->rate), &key.rate_count, &key.rate_window_s, err))
		return err_wrap(err, "--rate");
	if (!read_expiry(options, &key, err))
		return false;
	sha256_hex(str_of(text), key.hash);
	key_text_hint(text, key.hint);
	key_line_format(&key, &line);
	return buf_check(&line, "the line", err) &&
	       key_line_parse(str_make(line.data, line.len), out, err);
}

/* ---- create ---- */

static bool
append_key(void *user, struct str text, const struct api_key *keys, size_t count, struct buf *out,
	   struct err *err)
{
	const struct api_key *key = user;

	(void)keys;
	(void)count;
	(void)err;
	buf_add(out, text.ptr, text.len);
	if (text.len && text.ptr[text.len - 1] != '\n')
		buf_add_char(out, '\n');
	key_line_format(key, out);
	buf_add_char(out, '\n');
	return true;
}

static void
key_members(struct jw *w, const struct api_key *key)
{
	char scopes[SCOPES_TEXT_BYTES], rate[48] = "none";

	scopes_format(key->scopes, scopes);
	if (key->rate_count > 0)
		(void)snprintf(rate, sizeof(rate), "%lld/%lld", (long long)key->rate_count,
			       (long long)key->rate_window_s);
	jw_kcstr(w, "name", key->name);
	jw_kcstr(w, "tenant", key->tenant);
	jw_kcstr(w, "scopes", scopes);
	jw_kcstr(w, "rate", key->rate_count < 0 ? NULL : rate);
	jw_ktime(w, "expires_at", key->expires_unix_ms);
	jw_kcstr(w, "hint", key->hint[0] ? key->hint : NULL);
}

static void
print_created(struct cli *cli, const struct api_key *key, const char *text)
{
	AUTO(buf) struct buf json = BUF_INIT(4096);
	char scopes[SCOPES_TEXT_BYTES];

	if (cli->options.json) {
		struct jw w = jw_start(&json);

		jw_obj(&w);
		jw_kcstr(&w, "key", text);
		key_members(&w, key);
		jw_end(&w);
		(void)fprintf(cli->out, "%s\n", json.data);
		return;
	}
	(void)fprintf(cli->out, "%s\n", text);
	scopes_format(key->scopes, scopes);
	if (!cli->options.quiet)
		(void)fprintf(cli->err,
			      "key of '%s', tenant %s, scopes %s: its hash is in %s.\n"
			      "This is the only time the key is shown.\n",
			      key->name, key->tenant, scopes, cli->options.file);
}

int
cli_keys_create(struct cli *cli)
{
	char text[KEY_TEXT_BYTES];
	struct err err = ERR_INIT;
	struct api_key key;

	key_text_new(text);
	if (!need_file(cli, &err) || !describe(cli, text, &key, &err))
		return wrong_usage(cli, &err);
	if (!key_edit(cli->options.file, append_key, &key, &err))
		return cli_fail(cli, &err);
	print_created(cli, &key, text);
	return CLI_OK;
}

/* ---- list ---- */

static bool
is_wanted(const struct cli *cli, const struct api_key *key)
{
	return !cli->options.tenant || strcmp(cli->options.tenant, key->tenant) == 0;
}

static void
add_row(struct text_table *table, const struct api_key *key)
{
	char scopes[SCOPES_TEXT_BYTES], iso[CLOCK_ISO_BYTES] = "", rate[48] = "";

	scopes_format(key->scopes, scopes);
	if (key->rate_count == 0)
		(void)str_copy(rate, sizeof(rate), STR("none"));
	else if (key->rate_count > 0)
		(void)snprintf(rate, sizeof(rate), "%lld/%llds", (long long)key->rate_count,
			       (long long)key->rate_window_s);
	if (key->expires_unix_ms)
		clock_format_iso(iso, key->expires_unix_ms);
	text_table_add(table, str_of(key->name));
	text_table_add(table, str_of(key->tenant));
	text_table_add(table, str_of(scopes));
	text_table_add(table, str_of(rate));
	text_table_add(table, str_of(iso));
	text_table_add(table, str_of(key->hint));
}

static void
print_table(struct cli *cli, const struct api_key *keys, size_t count)
{
	static const char *const heads[] = { "NAME", "TENANT",	"SCOPES",
					     "RATE", "EXPIRES", "BEGINS WITH" };
	AUTO(text_table) struct text_table table;
	bool any = false;

	text_table_init(&table, heads, ARRAY_SIZE(heads), 0);
	for (size_t i = 0; i < count; i++) {
		if (!is_wanted(cli, &keys[i]))
			continue;
		add_row(&table, &keys[i]);
		any = true;
	}
	if (any)
		text_table_print(&table, show_columns(cli), cli->out);
	else if (!cli->options.quiet)
		(void)fputs("no keys\n", cli->err);
}

static void
print_json(struct cli *cli, const struct api_key *keys, size_t count)
{
	AUTO(buf) struct buf json = BUF_INIT((size_t)64 * 1024 * 1024);
	struct jw w = jw_start(&json);

	jw_arr(&w);
	for (size_t i = 0; i < count; i++) {
		if (!is_wanted(cli, &keys[i]))
			continue;
		jw_obj(&w);
		key_members(&w, &keys[i]);
		jw_end(&w);
	}
	jw_end(&w);
	(void)fprintf(cli->out, "%s\n", json.data);
}

int
cli_keys_list(struct cli *cli)
{
	struct err err = ERR_INIT;
	struct api_key *keys;
	size_t count;

	if (!need_file(cli, &err))
		return wrong_usage(cli, &err);
	if (!key_edit_read(cli->options.file, &keys, &count, &err))
		return cli_fail(cli, &err);
	if (cli->options.json)
		print_json(cli, keys, count);
	else
		print_table(cli, keys, count);
	mem_free(keys);
	return CLI_OK;
}

/* ---- revoke ---- */

struct revoke {
	struct cli *cli;
	const char *which; /* a name, or how the key begins */
	size_t count;	   /* out: lines taken out */
};

static bool
is_meant(const struct revoke *revoke, const struct api_key *key)
{
	return is_wanted(revoke->cli, key) &&
	       (strcmp(revoke->which, key->name) == 0 || strcmp(revoke->which, key->hint) == 0);
}

static bool
not_one(const struct revoke *revoke, struct err *err)
{
	const struct cli *cli = revoke->cli;

	if (revoke->count == 0)
		return err_set(err, ERR_NOT_FOUND, "no key%s%s in %s is named or begins with '%s'",
			       cli->options.tenant ? " of tenant " : "",
			       cli->options.tenant ? cli->options.tenant : "", cli->options.file,
			       revoke->which);
	return err_set(
		err, ERR_INVALID,
		"%zu keys are meant by '%s': name one by how it begins (ragctl keys list), or give "
		"--all",
		revoke->count, revoke->which);
}

/* The file without the lines of the keys that are meant. */
static bool
remove_keys(void *user, struct str text, const struct api_key *keys, size_t count, struct buf *out,
	    struct err *err)
{
	struct revoke *revoke = user;
	size_t number = 0, at = 0;
	struct str line;

	for (size_t i = 0; i < count; i++)
		revoke->count += is_meant(revoke, &keys[i]);
	if (revoke->count == 0 || (revoke->count > 1 && !revoke->cli->options.all))
		return not_one(revoke, err);
	while (str_split(&text, '\n', &line)) {
		bool gone = false;

		number++;
		if (at < count && keys[at].line == number)
			gone = is_meant(revoke, &keys[at++]);
		if (gone)
			continue;
		buf_add(out, line.ptr, line.len);
		buf_add_char(out, '\n');
	}
	return true;
}

int
cli_keys_revoke(struct cli *cli)
{
	struct revoke revoke = { .cli = cli, .which = cli->args[0] };
	struct err err = ERR_INIT;

	if (!need_file(cli, &err))
		return wrong_usage(cli, &err);
	if (!key_edit(cli->options.file, remove_keys, &revoke, &err)) {
		(void)cli_fail(cli, &err);
		return err.code == ERR_NOT_FOUND ? CLI_NOT_FOUND : CLI_FAILED;
	}
	if (!cli->options.quiet)
		(void)fprintf(cli->err,
			      "%zu key%s revoked: rag-api refuses %s within a second or two\n",
			      revoke.count, revoke.count == 1 ? "" : "s",
			      revoke.count == 1 ? "it" : "them");
	return CLI_OK;
}
