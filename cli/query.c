#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/ask.h"
#include "cli/ask_stream.h"
#include "cli/show.h"
#include "cli/talk.h"

#define SNIPPET_LINES 3

/* ---- asking ---- */

static bool
make_body(struct cli *cli, const struct js *talk, struct buf *body, struct err *err)
{
	const struct cli_options *options = &cli->options;
	AUTO_PTR(js_free) struct js *filter = NULL;
	struct jw w = jw_start(body);

	if (options->filter && !js_parse(str_of(options->filter), &filter, err))
		return err_wrap(err, "--filter");
	jw_obj(&w);
	jw_kcstr(&w, "query", cli->args[0]);
	if (options->top_k > 0)
		jw_kint(&w, "top_k", options->top_k);
	if (options->mode)
		jw_kcstr(&w, "mode", options->mode);
	if (filter) {
		jw_key(&w, "filter");
		jw_js(&w, filter);
	}
	if (talk) {
		jw_key(&w, "history");
		jw_js(&w, talk);
	}
	if (options->no_generate)
		jw_kbool(&w, "generate", false);
	if (options->explain)
		jw_kbool(&w, "explain", true);
	if (options->rerank)
		jw_kbool(&w, "rerank", true);
	jw_end(&w);
	return buf_check(body, "the question", err);
}

static void
print_piece(struct cli *cli, struct str piece)
{
	AUTO(buf) struct buf text = BUF_INIT(8 << 20);

	text_add_piece(&text, piece);
	(void)fputs(text.data, cli->out);
	(void)fflush(cli->out);
}

static void
on_text(void *user, struct str piece)
{
	print_piece(user, piece);
}

static void
on_reset(void *user, struct str text)
{
	struct cli *cli = user;

	(void)fputs("\n\n", cli->out);
	(void)fflush(cli->out);
	(void)fputs("ragctl: the answer begins anew\n", cli->err);
	print_piece(cli, text);
}

/* With --json nothing but the result is printed. */
static bool
is_live(const struct cli *cli)
{
	return cli->options.stream && !cli->options.json;
}

static void
nothing(void *user, struct str text)
{
	(void)user;
	(void)text;
}

static bool
ask_server(struct cli *cli, const struct js *talk, struct js **out, struct err *err)
{
	const struct ask_listener listener = { .on_text = is_live(cli) ? on_text : nothing,
					       .on_reset = is_live(cli) ? on_reset : nothing,
					       .user = cli };
	AUTO(api) struct api api = { .cli = NULL };
	AUTO(buf) struct buf body = BUF_INIT(1 << 20);

	if (!make_body(cli, talk, &body, err) || !api_open(&api, cli, err))
		return false;
	if (cli->options.stream)
		return ask_stream(&api, cli->options.collection, str_make(body.data, body.len),
				  cli->options.timeout_s, &listener, out, err);
	return ask_query(&api, cli->options.collection, str_make(body.data, body.len),
			 cli->options.timeout_s, out, err);
}

/* ---- showing ---- */

static void
print_snippet(struct cli *cli, struct str text)
{
	AUTO(buf) struct buf line = BUF_INIT(1 << 20);
	AUTO(buf) struct buf wrapped = BUF_INIT(1 << 20);
	struct str rest, one;
	size_t columns = (size_t)cli->world->columns;

	text_add_line(&line, text);
	text_add_wrapped(&wrapped, str_make(line.data, line.len), columns, 5);
	rest = str_make(wrapped.data, wrapped.len);
	for (int i = 0; i < SNIPPET_LINES && str_split(&rest, '\n', &one); i++)
		(void)fprintf(cli->out, STR_FMT "%s\n", STR_ARG(one),
			      i + 1 == SNIPPET_LINES && rest.len > 0 ? " …" : "");
}

/* A path often begins with the document's title once more ("Title > Section"): shown once. */
static struct str
heading_below(struct str heading, struct str title)
{
	struct str start = str_sub(heading, 0, title.len);

	if (title.len == 0 || !str_eq(start, title))
		return heading;
	if (heading.len == title.len)
		return str_make("", 0);
	/* "Titles" is not below "Title" */
	return str_starts(str_sub(heading, title.len, heading.len), " > ")
		       ? str_sub(heading, title.len + 3, heading.len)
		       : heading;
}

static void
print_source(struct cli *cli, const struct js *source, int64_t number)
{
	AUTO(buf) struct buf head = BUF_INIT(1 << 20);
	struct str title = show_text(source, "title"), uri = show_text(source, "uri");
	struct str heading = heading_below(show_text(source, "heading"), title);
	const struct js *score = show_member(source, "score");

	buf_printf(&head, "[%lld] ", (long long)number);
	text_add_line(&head, title.len > 0 ? title : show_text(source, "document_id"));
	if (heading.len > 0) {
		buf_add_str(&head, " > ");
		text_add_line(&head, heading);
	}
	if (show_int(source, "page", 0) > 0)
		buf_printf(&head, ", page %lld", (long long)show_int(source, "page", 0));
	if (js_is(score, JS_REAL) || js_is(score, JS_INT))
		buf_printf(&head, "  (%.3f)", js_number(score));
	(void)fprintf(cli->out, "%s\n", head.data);
	if (uri.len > 0) {
		buf_clear(&head);
		text_add_line(&head, uri);
		(void)fprintf(cli->out, "     %s\n", head.data);
	}
	print_snippet(cli, show_text(source, "text"));
}

static void
print_sources(struct cli *cli, const char *heading, const struct js *sources)
{
	if (!js_is(sources, JS_ARRAY) || js_len(sources) == 0)
		return;
	(void)fputc('\n', cli->out);
	show_heading(cli, heading);
	for (size_t i = 0; i < js_len(sources); i++) {
		const struct js *source = js_at(sources, i);

		print_source(cli, source, show_int(source, "n", (int64_t)i + 1));
	}
}

static void
print_timings(struct cli *cli, const struct js *result)
{
	AUTO(buf) struct buf line = BUF_INIT(4096);
	AUTO(buf) struct buf model = BUF_INIT(4096);
	const struct js *timings = show_member(result, "timings_ms");
	int parts = 0;

	if (!js_is(timings, JS_OBJECT))
		return;
	buf_printf(&line, "%lld ms", (long long)show_int(timings, "total", 0));
	for (const struct js_iter *it = js_first(timings); it; it = js_next(timings, it)) {
		if (str_eq_c(js_iter_key(it), "total") || js_is(js_iter_value(it), JS_NULL))
			continue;
		buf_add_str(&line, parts++ > 0 ? ", " : " (");
		text_add_line(&line, js_iter_key(it));
		buf_printf(&line, " %lld", (long long)show_int(timings, js_iter_key(it).ptr, 0));
	}
	if (parts > 0)
		buf_add_char(&line, ')');
	if (show_bool(result, "cached"))
		buf_add_str(&line, ", from the cache");
	text_add_line(&model, show_text(result, "model"));
	if (model.len > 0)
		buf_printf(&line, ", %s", model.data);
	(void)fprintf(cli->out, "\n%s\n", line.data);
}

static void
print_warnings(struct cli *cli, const struct js *warnings)
{
	for (size_t i = 0; js_is(warnings, JS_ARRAY) && i < js_len(warnings); i++) {
		AUTO(buf) struct buf why = BUF_INIT(4096);
		AUTO(buf) struct buf line = BUF_INIT(4096);

		if (js_is(js_at(warnings, i), JS_STRING))
			buf_add_str(&why, js_str(js_at(warnings, i)).ptr);
		else
			api_problem_text(js_at(warnings, i), &why);
		text_add_line(&line, str_make(why.data, why.len));
		(void)fprintf(cli->err, "warning: %s\n", line.data);
	}
}

/* ---- how it was found ---- */

static void
add_number(const struct js *object, const char *key, char out[24])
{
	const struct js *value = show_member(object, key);

	if (js_is(value, JS_REAL) || js_is(value, JS_INT))
		(void)snprintf(out, 24, "%.4g", js_number(value));
	else
		(void)snprintf(out, 24, "-");
}

static void
print_candidates(struct cli *cli, const struct js *candidates)
{
	static const char *const heads[] = { "", "CHUNK", "DENSE", "LEXICAL", "FUSED", "RERANK" };
	static const char *const scores[] = { "dense", "lexical", "fused", "rerank" };
	struct text_table table;

	if (!js_is(candidates, JS_ARRAY) || js_len(candidates) == 0)
		return;
	text_table_init(&table, heads, ARRAY_SIZE(heads), 1);
	for (size_t i = 0; i < js_len(candidates); i++) {
		const struct js *candidate = js_at(candidates, i);

		text_table_add(&table, show_bool(candidate, "used") ? STR("*") : STR(""));
		text_table_add(&table, show_text(candidate, "chunk_id"));
		for (size_t k = 0; k < ARRAY_SIZE(scores); k++) {
			char number[24];

			add_number(candidate, scores[k], number);
			text_table_add_right(&table, str_of(number));
		}
	}
	(void)fputc('\n', cli->out);
	show_heading(cli, "Candidates (* = among the first top_k)");
	text_table_print(&table, show_columns(cli), cli->out);
	text_table_release(&table);
}

/* Which legs found what is in the candidates; the lists themselves are in --json. */
static void
print_explain(struct cli *cli, const struct js *explain)
{
	static const char *const parts[] = { "search", "prompt", "grounding" };

	if (!js_is(explain, JS_OBJECT))
		return;
	print_candidates(cli, show_member(explain, "candidates"));
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		const struct js *part = show_member(explain, parts[i]);

		if (!js_is(part, JS_OBJECT))
			continue;
		(void)fputc('\n', cli->out);
		show_heading(cli, parts[i]);
		show_record(cli, part);
	}
}

static void
print_result(struct cli *cli, const struct js *result)
{
	AUTO(buf) struct buf text = BUF_INIT(8 << 20);
	const struct js *answer = show_member(result, "answer");
	const struct js *cited = show_member(result, "citations");
	const struct js *found = show_member(result, "results");

	if (js_is(answer, JS_STRING) && is_live(cli)) {
		(void)fputc('\n', cli->out); /* it stands there already */
	} else if (js_is(answer, JS_STRING)) {
		text_add_wrapped(&text, js_str(answer), (size_t)cli->world->columns, 0);
		(void)fputs(text.data, cli->out);
	}
	print_sources(cli, "Sources", cited);
	print_sources(cli, "Retrieved", found);
	if (!js_is(answer, JS_STRING) && (!js_is(found, JS_ARRAY) || js_len(found) == 0))
		(void)fputs("nothing found\n", cli->out);
	print_explain(cli, show_member(result, "explain"));
	print_warnings(cli, show_member(result, "warnings"));
	if (!cli->options.quiet)
		print_timings(cli, result);
}

/* false with *out: the answer is there, and could not be added to the conversation. */
static bool
ask_within_talk(struct cli *cli, struct js **out, struct err *err)
{
	AUTO_PTR(js_free) struct js *talk = NULL;
	const char *path = cli->options.conversation;

	if (path && !talk_read(path, &talk, err))
		return false;
	return ask_server(cli, talk, out, err) &&
	       (!path ||
		talk_add(path, talk, str_of(cli->args[0]), show_text(*out, "answer"), err));
}

int
cli_query(struct cli *cli)
{
	AUTO_PTR(js_free) struct js *result = NULL;
	struct err err = ERR_INIT;
	bool ok = ask_within_talk(cli, &result, &err);
	bool usage = (err.code == ERR_MALFORMED && err.detail == 0) || err.code == ERR_CONFIG;

	if (result && cli->options.json)
		show_json(cli, result);
	else if (result)
		print_result(cli, result);
	if (ok)
		return CLI_OK;
	return usage ? (cli_fail(cli, &err), CLI_USAGE) : cli_fail(cli, &err);
}
