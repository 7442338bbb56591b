#include "jobs/step/prompt_template.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/suggest.h"

#define OPENS "{{"
#define CLOSES "}}"
#define MARK_BYTES (sizeof(OPENS) - 1)
#define NAME_MAX_BYTES 64 /* of a placeholder, in messages */

extern const char embed_prompt_txt[];

/* The placeholders of a part, NULL-terminated; of the first `once` each stands there exactly once. */
static const struct part_rule {
	const char *name;
	const char *const *holds;
	size_t once;
} rules[PROMPT_PARTS] = {
	[PROMPT_PART_SYSTEM] = { "system", (const char *const[]){ "refusal", NULL }, 0 },
	[PROMPT_PART_USER] = { "user", (const char *const[]){ "sources", "question", NULL }, 2 },
	[PROMPT_PART_SOURCE] = { "source",
				 (const char *const[]){ "n", "text", "title", "heading", "place",
							"document_id", NULL },
				 2 },
	[PROMPT_PART_REFUSAL] = { "refusal", (const char *const[]){ NULL }, 0 },
};

struct reader {
	struct prompt_template *template;
	const char *name;
	struct str text; /* template->text */
};

/* ---- placeholders ---- */

/* The next placeholder from `at` on: *out_at is its "{{", *out_end behind its "}}". A "{{" that its line does not close: the end is
 * where it begins. */
static bool
find_placeholder(struct str text, size_t at, size_t *out_at, size_t *out_end, struct str *out_name)
{
	size_t found = 0, close = 0, line = 0;
	struct str rest = str_sub(text, at, text.len);

	if (!str_find(rest, STR(OPENS), &found))
		return false;
	*out_at = *out_end = at + found;
	rest = str_sub(text, *out_at + MARK_BYTES, text.len);
	if (str_find(rest, STR("\n"), &line))
		rest.len = line;
	if (!str_find(rest, STR(CLOSES), &close))
		return true;
	*out_name = str_trim(str_sub(rest, 0, close));
	*out_end = *out_at + MARK_BYTES + close + MARK_BYTES;
	return true;
}

static bool
fail_at(const struct reader *reader, const char *at, struct err *err)
{
	int line = 1;

	for (const char *c = reader->text.ptr; c < at; c++)
		line += *c == '\n';
	return err_wrap(err, "%s:%d", reader->name, line);
}

static bool
unknown(const struct reader *reader, const struct part_rule *rule, struct str name, const char *at,
	struct err *err)
{
	struct suggest suggest = suggest_start(name);
	struct str shown = str_sub(name, 0, str_utf8_floor(name, NAME_MAX_BYTES));

	for (const char *const *known = rule->holds; *known; known++)
		suggest_offer(&suggest, *known);
	if (suggest.nearest)
		err_set(err, ERR_CONFIG,
			"part '%s' has no placeholder '{{" STR_FMT "}}'; did you mean '{{%s}}'?",
			rule->name, STR_ARG(shown), suggest.nearest);
	else
		err_set(err, ERR_CONFIG, "part '%s' has no placeholder '{{" STR_FMT "}}'",
			rule->name, STR_ARG(shown));
	return fail_at(reader, at, err);
}

static bool
check_part(const struct reader *reader, enum prompt_part part, struct err *err)
{
	const struct part_rule *rule = &rules[part];
	struct str text = reader->template->parts[part], name = { 0 };
	size_t seen[8] = { 0 }, begin = 0, end = 0;

	for (size_t at = 0; find_placeholder(text, at, &begin, &end, &name); at = end) {
		size_t i = 0;

		if (end == begin) {
			err_set(err, ERR_CONFIG, "'{{' without '}}' in part '%s'", rule->name);
			return fail_at(reader, text.ptr + begin, err);
		}
		while (rule->holds[i] && !str_eq_c(name, rule->holds[i]))
			i++;
		if (!rule->holds[i])
			return unknown(reader, rule, name, text.ptr + begin, err);
		seen[i]++;
	}
	for (size_t i = 0; i < rule->once; i++)
		if (seen[i] != 1)
			return err_set(err, ERR_CONFIG,
				       "%s: part '%s' must hold '{{%s}}' once, not %zu times",
				       reader->name, rule->name, rule->holds[i], seen[i]);
	return true;
}

/* ---- parts ---- */

/* "== name ==": the part, or PROMPT_PARTS for another name; false: no such line. */
static bool
begins_part(struct str line, size_t *out_part, struct str *out_name)
{
	struct str trimmed = str_trim(line);

	if (trimmed.len < 5 || !str_starts(trimmed, "==") || !str_ends(trimmed, "=="))
		return false;
	*out_name = str_trim(str_sub(trimmed, 2, trimmed.len - 2));
	/* "=====" under a heading of a text is none */
	if (out_name->len == 0 || out_name->ptr[0] == '=')
		return false;
	for (*out_part = 0; *out_part < PROMPT_PARTS; (*out_part)++)
		if (str_eq_c(*out_name, rules[*out_part].name))
			break;
	return true;
}

/* White space at the end, and blank lines at the beginning. */
static struct str
without_blank_lines(struct str text)
{
	struct str all = str_trim(text);
	const char *start = all.ptr;

	if (all.len == 0)
		return STR("");
	while (start > text.ptr && (start[-1] == ' ' || start[-1] == '\t'))
		start--;
	return str_make(start, (size_t)(all.ptr + all.len - start));
}

static bool
cut_parts(struct reader *reader, struct err *err)
{
	struct str *parts = reader->template->parts;
	struct str rest = reader->text, line = { 0 }, name = { 0 };
	size_t part = PROMPT_PARTS, next = 0;
	const char *body = NULL;

	while (str_split(&rest, '\n', &line)) {
		if (!begins_part(line, &next, &name))
			continue;
		if (body)
			parts[part] =
				without_blank_lines(str_make(body, (size_t)(line.ptr - body)));
		if (next == PROMPT_PARTS) {
			err_set(err, ERR_CONFIG,
				"no part is called '" STR_FMT
				"' (there are: system, user, source, refusal)",
				STR_ARG(str_sub(name, 0, str_utf8_floor(name, NAME_MAX_BYTES))));
			return fail_at(reader, line.ptr, err);
		}
		if (parts[next].ptr) {
			err_set(err, ERR_CONFIG, "part '%s' comes twice", rules[next].name);
			return fail_at(reader, line.ptr, err);
		}
		part = next;
		parts[part] = STR("");
		body = line.ptr + line.len + (rest.len > 0);
	}
	if (body)
		parts[part] = without_blank_lines(
			str_make(body, (size_t)(reader->text.ptr + reader->text.len - body)));
	for (size_t i = 0; i < PROMPT_PARTS; i++)
		if (parts[i].len == 0)
			return err_set(err, ERR_CONFIG, "%s: part '%s' is %s", reader->name,
				       rules[i].name, parts[i].ptr ? "empty" : "missing");
	return true;
}

static bool
check_refusal(const struct reader *reader, struct err *err)
{
	struct str refusal = reader->template->parts[PROMPT_PART_REFUSAL];

	if (refusal.len <= PROMPT_REFUSAL_MAX_BYTES && !memchr(refusal.ptr, '\n', refusal.len))
		return true;
	return err_set(err, ERR_CONFIG, "%s: part 'refusal' must be one line of at most %zu bytes",
		       reader->name, PROMPT_REFUSAL_MAX_BYTES);
}

/* A copy with lines that end in \n alone, without a byte order mark. */
static void
take_text(struct reader *reader, struct str text)
{
	struct prompt_template *template = reader->template;
	size_t len = 0;

	if (str_starts(text, "\xef\xbb\xbf"))
		text = str_sub(text, 3, text.len);
	template->text = mem_alloc(text.len + 1);
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] != '\r' || i + 1 == text.len || text.ptr[i + 1] != '\n')
			template->text[len++] = text.ptr[i];
	reader->text = str_make(template->text, len);
}

static bool
check_text(const struct reader *reader, struct err *err)
{
	size_t bad_at = 0;

	if (!str_utf8_valid(reader->text, &bad_at)) {
		err_set(err, ERR_CONFIG, "not UTF-8 at byte %zu", bad_at);
		return fail_at(reader, reader->text.ptr + bad_at, err);
	}
	if (memchr(reader->text.ptr, '\0', reader->text.len))
		return err_set(err, ERR_CONFIG, "%s: holds a NUL byte", reader->name);
	return true;
}

/* ---- loading ---- */

bool
prompt_template_parse(struct str text, const char *name, struct prompt_template **out,
		      struct err *err)
{
	AUTO_PTR(prompt_template_free)
	struct prompt_template *template = mem_alloc(sizeof(*template));
	struct reader reader = { .template = template, .name = name };
	struct sha256 *hash;

	if (text.len > PROMPT_TEMPLATE_MAX_BYTES)
		return err_set(err, ERR_CONFIG, "%s: larger than %zu bytes", name,
			       PROMPT_TEMPLATE_MAX_BYTES);
	take_text(&reader, text);
	if (!check_text(&reader, err) || !cut_parts(&reader, err))
		return false;
	for (enum prompt_part part = 0; part < PROMPT_PARTS; part++)
		if (!check_part(&reader, part, err))
			return false;
	if (!check_refusal(&reader, err))
		return false;
	hash = sha256_new();
	for (size_t i = 0; i < PROMPT_PARTS; i++)
		sha256_add_field(hash, template->parts[i]);
	sha256_finish_hex(hash, template->hash);
	*out = TAKE(template);
	return true;
}

bool
prompt_template_load(const struct config *config, struct prompt_template **out, struct err *err)
{
	const char *path = config->prompt_file;
	AUTO(buf) struct buf text = BUF_INIT(PROMPT_TEMPLATE_MAX_BYTES + 1);
	FILE *file;
	char *room;
	size_t got;
	bool failed;

	if (!path || !path[0])
		return prompt_template_parse(str_of(embed_prompt_txt), "the built-in prompt", out,
					     err);
	file = fopen(path, "re");
	if (!file) {
		(void)err_errno(err, errno, "read the prompt template '%s'", path);
		err->code = ERR_CONFIG;
		return false;
	}
	room = buf_reserve(&text, PROMPT_TEMPLATE_MAX_BYTES + 1);
	got = fread(room, 1, PROMPT_TEMPLATE_MAX_BYTES + 1, file);
	failed = ferror(file) != 0;
	(void)fclose(file);
	if (failed)
		return err_set(err, ERR_CONFIG, "could not read the prompt template '%s'", path);
	buf_commit(&text, got);
	return prompt_template_parse(str_make(text.data, text.len), path, out, err);
}

void
prompt_template_free(struct prompt_template *template)
{
	if (!template)
		return;
	mem_free(template->text);
	mem_free(template);
}

/* ---- writing ---- */

static struct str
value_of(const struct prompt_value *values, size_t count, struct str name)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq_c(name, values[i].name))
			return values[i].text;
	assert(false); /* parsing has refused it */
	return STR("");
}

/* One line of the template, without its end. false: it has placeholders, and they are all empty. */
static bool
write_line(struct str line, const struct prompt_value *values, size_t count, struct buf *out)
{
	size_t begin = 0, end = 0, at = 0, placeholders = 0, filled = 0, from = out->len;
	struct str name = { 0 };

	for (; find_placeholder(line, at, &begin, &end, &name); at = end) {
		struct str text = value_of(values, count, name);

		buf_add(out, line.ptr + at, begin - at);
		buf_add(out, text.ptr, text.len);
		placeholders++;
		filled += text.len > 0;
	}
	if (placeholders > 0 && filled == 0) {
		buf_truncate(out, from);
		return false;
	}
	buf_add(out, line.ptr + at, line.len - at);
	while (placeholders > 0 && out->len > from && out->data[out->len - 1] == ' ')
		buf_truncate(out, out->len - 1);
	return true;
}

void
prompt_template_write(const struct prompt_template *template, enum prompt_part part,
		      const struct prompt_value *values, size_t count, struct buf *out)
{
	struct str rest = template->parts[part], line = { 0 };
	bool first = true;

	while (str_split(&rest, '\n', &line)) {
		size_t before = out->len;

		if (!first)
			buf_add_char(out, '\n');
		if (!write_line(line, values, count, out))
			buf_truncate(out, before);
		else
			first = false;
	}
}
