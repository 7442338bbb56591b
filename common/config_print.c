#include <string.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/str.h"
#include "common/config_rows.h"
#include "common/json.h"

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
		print_quoted(config_row_text(config, row), out);
		break;
	case ROW_SECRET:
		print_quoted(*config_row_text(config, row) ? "***" : "", out);
		break;
	case ROW_INT:
		(void)fprintf(out, "%lld", (long long)config_row_int(config, row));
		break;
	case ROW_REAL:
		jw_num(&w, config_row_real(config, row), 0);
		(void)fputs(number.data, out);
		break;
	case ROW_BOOL:
		(void)fputs(config_row_bool(config, row) ? "true" : "false", out);
		break;
	case ROW_ENUM:
		(void)fputs(config_row_enum(config, row), out);
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
	for (size_t i = 0; i < CONFIG_ROW_COUNT; i++) {
		const struct row *row = &config_rows[i];
		struct str section = str_make(row->path, config_row_section_len(row));

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
		if (*row->text)
			(void)fprintf(out, "`%s`", row->text);
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
	for (size_t i = 0; i < CONFIG_ROW_COUNT; i++) {
		const struct row *row = &config_rows[i];

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
