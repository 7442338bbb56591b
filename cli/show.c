#include "cli/show.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"

struct str
show_text(const struct js *object, const char *key)
{
	struct str text = STR("");

	if (js_is(object, JS_OBJECT))
		(void)js_get_str(object, key, &text);
	return text;
}

int64_t
show_int(const struct js *object, const char *key, int64_t otherwise)
{
	const struct js *value = show_member(object, key);

	if (js_is(value, JS_REAL)) {
		double real = js_number(value);

		/* one that no integer can hold is as good as none */
		return real > -9e18 && real < 9e18 ? (int64_t)real : otherwise;
	}
	return js_is(value, JS_INT) ? js_int(value) : otherwise;
}

bool
show_bool(const struct js *object, const char *key)
{
	const struct js *value = show_member(object, key);

	return js_is(value, JS_BOOL) && js_bool(value);
}

const struct js *
show_member(const struct js *object, const char *key)
{
	const struct js *value = js_is(object, JS_OBJECT) ? js_get(object, key) : NULL;

	return js_is(value, JS_NULL) ? NULL : value;
}

int64_t
show_age_s(const struct js *object, const char *key)
{
	int64_t at = 0;

	if (!clock_parse_iso(show_text(object, key), &at))
		return -1;
	return clock_unix_ms() > at ? (clock_unix_ms() - at) / 1000 : 0;
}

static void
record_member(struct cli *cli, const char *prefix, const struct js_iter *it)
{
	AUTO(buf) struct buf name = BUF_INIT(1024);
	AUTO(buf) struct buf raw = BUF_INIT(API_MAX_REPLY_BYTES);
	AUTO(buf) struct buf line = BUF_INIT(API_MAX_REPLY_BYTES);
	const struct js *value = js_iter_value(it);

	if (js_is(value, JS_NULL))
		return;
	buf_printf(&name, "%s" STR_FMT, prefix, STR_ARG(js_iter_key(it)));
	if (js_is(value, JS_OBJECT) && js_len(value) > 0) {
		buf_add_char(&name, '.');
		for (const struct js_iter *in = js_first(value); in; in = js_next(value, in))
			record_member(cli, name.data, in);
		return;
	}
	if (js_is(value, JS_STRING))
		buf_add(&raw, js_str(value).ptr, js_str(value).len);
	else
		js_write(value, &raw);
	text_add_line(&line, str_make(name.data, name.len));
	buf_add_str(&line, ": ");
	text_add_line(&line, str_make(raw.data, raw.len));
	(void)fprintf(cli->out, "%s\n", line.data);
}

void
show_record(struct cli *cli, const struct js *object)
{
	if (!js_is(object, JS_OBJECT)) {
		show_json(cli, object);
		return;
	}
	for (const struct js_iter *it = js_first(object); it; it = js_next(object, it))
		record_member(cli, "", it);
}

void
show_json(struct cli *cli, const struct js *value)
{
	AUTO(buf) struct buf text = BUF_INIT(2 * API_MAX_REPLY_BYTES);

	js_write(value, &text);
	(void)fprintf(cli->out, "%s\n", text.data);
}

void
show_json_item(struct cli *cli, const struct js *item, bool first)
{
	AUTO(buf) struct buf text = BUF_INIT(2 * API_MAX_REPLY_BYTES);

	js_write(item, &text);
	(void)fprintf(cli->out, "%s%s", first ? "[" : ",\n", text.data);
}

void
show_pair(struct cli *cli, const char *name, struct str value)
{
	AUTO(buf) struct buf line = BUF_INIT(API_MAX_REPLY_BYTES);

	text_add_line(&line, value);
	if (line.len > 0)
		(void)fprintf(cli->out, "%-12s %s\n", name, line.data);
}

void
show_status(struct cli *cli, struct str status)
{
	AUTO(buf) struct buf word = BUF_INIT(1024);
	const char *color = str_eq_c(status, "succeeded") ? "\033[32m"
			    : str_eq_c(status, "failed")  ? "\033[31m"
							  : "\033[33m";

	text_add_line(&word, status);
	(void)fprintf(cli->out, "%s%s%s", cli->color ? color : "", word.data,
		      cli->color ? "\033[0m" : "");
}

void
show_heading(struct cli *cli, const char *text)
{
	(void)fprintf(cli->out, "%s%s%s\n", cli->color ? "\033[1m" : "", text,
		      cli->color ? "\033[0m" : "");
}

size_t
show_columns(const struct cli *cli)
{
	return cli->world->out_is_terminal ? (size_t)cli->world->columns : 0;
}

/* ---- lists ---- */

struct printing {
	struct cli *cli;
	const struct show_list *list;
	struct text_table table;
	int64_t count;
};

static bool
print_item(void *user, const struct js *item)
{
	struct printing *printing = user;

	printing->count++;
	if (!printing->cli->options.json) {
		printing->list->row(&printing->table, item);
		return true;
	}
	show_json_item(printing->cli, item, printing->count == 1);
	return true;
}

static bool
run_list(struct printing *printing, struct err *err)
{
	struct cli *cli = printing->cli;
	AUTO(api) struct api api = { .cli = NULL };

	if (!api_open(&api, cli, err))
		return false;

	bool ok = api_each(&api, printing->list->path, printing->list->limit, print_item, printing,
			   err);

	if (cli->options.json && (ok || printing->count > 0))
		(void)fputs(printing->count > 0 ? "]\n" : "[]\n", cli->out);
	else if (ok && printing->count > 0)
		text_table_print(&printing->table, show_columns(cli), cli->out);
	else if (ok && !cli->options.quiet)
		(void)fprintf(cli->err, "%s\n", printing->list->nothing);
	return ok;
}

int
show_list(struct cli *cli, const struct show_list *list)
{
	struct printing printing = { .cli = cli, .list = list };
	struct err err = ERR_INIT;

	text_table_init(&printing.table, list->heads, list->column_count, list->flexible);

	bool ok = run_list(&printing, &err);

	text_table_release(&printing.table);
	return ok ? CLI_OK : cli_fail(cli, &err);
}

/* ---- one call ---- */

static bool
run_call(struct cli *cli, const struct api_call *call,
	 void (*print)(struct cli *cli, const struct js *answer), struct err *err)
{
	AUTO(api) struct api api = { .cli = NULL };
	AUTO_PTR(js_free) struct js *answer = NULL;

	if (!api_open(&api, cli, err) || !api_send(&api, call, err))
		return false;
	if (api.reply.body.len == 0)
		return true; /* 204 */
	if (!api_parse(&api, &answer, err))
		return false;
	if (cli->options.json)
		show_json(cli, answer);
	else
		(print ? print : show_record)(cli, answer);
	return true;
}

int
show_call(struct cli *cli, const struct api_call *call,
	  void (*print)(struct cli *cli, const struct js *answer))
{
	struct err err = ERR_INIT;

	return run_call(cli, call, print, &err) ? CLI_OK : cli_fail(cli, &err);
}
