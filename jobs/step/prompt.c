#include "jobs/step/prompt.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/tokens.h"
#include "jobs/step/cite.h"

#define PROMPT_MAX_BYTES ((size_t)16 * 1024 * 1024)
#define TAG_OPEN "<source"
#define TAG_CLOSE "</source"
#define CUT_MARK " ..."
#define TURN_GAP "\n\n" /* between what one side said in several turns, and between sources */

struct build {
	const struct prompt_template *template;
	const struct prompt_request *request;
	struct arena *arena;
	struct prompt *out;
};

/* ---- cleaning ---- */

static bool
is_control(uint32_t cp)
{
	return (cp < 0x20 && cp != '\n' && cp != '\t') || (cp >= 0x7f && cp < 0xa0);
}

/* Text as a prompt may hold it: bad bytes are U+FFFD, control characters blanks. */
static void
add_clean(struct str text, struct buf *out)
{
	for (size_t at = 0; at < text.len;) {
		uint32_t cp = 0;
		size_t len = str_utf8_next(text, at, &cp);
		char put[4];

		if (is_control(cp))
			buf_add_char(out, ' ');
		else
			buf_add(out, put, str_utf8_put(put, cp));
		at += len;
	}
}

static bool
begins_tag(struct str rest)
{
	return str_eq_nocase(str_sub(rest, 0, sizeof(TAG_OPEN) - 1), STR(TAG_OPEN)) ||
	       str_eq_nocase(str_sub(rest, 0, sizeof(TAG_CLOSE) - 1), STR(TAG_CLOSE));
}

/* Of a document: what looks like a part of the prompt is made harmless. After the cleaning, which makes blanks of other things. */
static void
add_foreign(struct str document, struct buf *out)
{
	AUTO(buf) struct buf clean = BUF_INIT(PROMPT_MAX_BYTES);
	struct str text;
	size_t from = 0;

	add_clean(document, &clean);
	text = str_make(clean.data, clean.len);
	for (size_t i = 0; i < text.len; i++) {
		bool mark = text.ptr[i] == '[' && cite_begins_mark(text, i);

		if (!mark && !(text.ptr[i] == '<' && begins_tag(str_sub(text, i, text.len))))
			continue;
		buf_add(out, text.ptr + from, i + 1 - from);
		buf_add_str(out, CITE_WORD_JOINER);
		from = i + 1;
	}
	buf_add(out, text.ptr + from, text.len - from);
}

/* On one line, without blanks around. */
static void
add_foreign_line(struct str text, struct buf *out)
{
	size_t from = out->len;

	add_foreign(str_trim(text), out);
	for (size_t i = from; i < out->len; i++)
		if (out->data[i] == '\n' || out->data[i] == '\t')
			out->data[i] = ' ';
}

static struct str
text_of(const struct buf *buf)
{
	return str_make(buf->data, buf->len);
}

static bool
keep(const struct build *build, const struct buf *text, struct str *out, struct err *err)
{
	char *copy;

	if (!buf_check(text, "the prompt", err))
		return false;
	copy = arena_strndup(build->arena, text->data, text->len);
	if (!copy)
		return err_set(err, ERR_TOO_LARGE,
			       "cannot hold the prompt: more than %zu bytes of working memory",
			       build->arena->max_bytes);
	*out = str_make(copy, text->len);
	return true;
}

/* ---- sources ---- */

/* "title > heading"; a path that begins with the title is told alone. */
static void
add_place(struct str title, struct str heading, struct buf *out)
{
	bool within = title.len > 0 && heading.len >= title.len &&
		      str_eq(str_sub(heading, 0, title.len), title) &&
		      (heading.len == title.len ||
		       str_starts(str_sub(heading, title.len, heading.len), " > "));

	if (!within)
		buf_add(out, title.ptr, title.len);
	if (!within && title.len > 0 && heading.len > 0)
		buf_add_str(out, " > ");
	buf_add(out, heading.ptr, heading.len);
}

static void
write_source(const struct build *build, const struct source *source, struct str text, bool cut,
	     struct buf *out)
{
	AUTO(buf) struct buf title = BUF_INIT(PROMPT_MAX_BYTES);
	AUTO(buf) struct buf heading = BUF_INIT(PROMPT_MAX_BYTES);
	AUTO(buf) struct buf place = BUF_INIT(PROMPT_MAX_BYTES);
	AUTO(buf) struct buf id = BUF_INIT(PROMPT_MAX_BYTES);
	AUTO(buf) struct buf body = BUF_INIT(PROMPT_MAX_BYTES);
	char n[16];

	(void)snprintf(n, sizeof(n), "%d", source->n);
	add_foreign_line(source->title, &title);
	add_foreign_line(source->heading, &heading);
	add_foreign_line(source->document_id, &id);
	add_place(text_of(&title), text_of(&heading), &place);
	add_foreign(str_trim(text), &body);
	if (cut)
		buf_add_str(&body, CUT_MARK);

	const struct prompt_value values[] = {
		{ "n", str_of(n) },	      { "text", text_of(&body) },
		{ "title", text_of(&title) }, { "heading", text_of(&heading) },
		{ "place", text_of(&place) }, { "document_id", text_of(&id) },
	};

	prompt_template_write(build->template, PROMPT_PART_SOURCE, values, ARRAY_SIZE(values), out);
}

/* A source that is too long for the budget alone: as much of its text as fits, to the end of a word. */
static void
write_cut_source(const struct build *build, const struct source *source, struct buf *out)
{
	int64_t budget = build->request->source_tokens;
	struct str text = source->text;

	for (;;) {
		int64_t tokens;
		size_t end;

		buf_clear(out);
		write_source(build, source, text, text.len < source->text.len, out);
		tokens = tokens_estimate(text_of(out));
		if (tokens <= budget || text.len == 0)
			return;
		/* in proportion, and a tenth less, so that it ends soon */
		end = (size_t)((double)text.len * 0.9 * (double)budget / (double)tokens);
		end = str_utf8_floor(text, end);
		for (size_t at = end; at > end / 2; at--) {
			if (text.ptr[at] == ' ' || text.ptr[at] == '\n') {
				end = at;
				break;
			}
		}
		text.len = end;
	}
}

static void
write_sources(struct build *build, struct buf *out)
{
	AUTO(buf) struct buf one = BUF_INIT(PROMPT_MAX_BYTES);
	const struct prompt_request *request = build->request;
	struct prompt *prompt = build->out;

	for (size_t i = 0; i < request->count; i++) {
		int64_t tokens;

		buf_clear(&one);
		write_source(build, &request->sources[i], request->sources[i].text, false, &one);
		tokens = tokens_estimate(text_of(&one));
		if (prompt->source_tokens + tokens > request->source_tokens) {
			if (i > 0)
				return;
			write_cut_source(build, &request->sources[i], &one);
			tokens = tokens_estimate(text_of(&one));
			prompt->source_cut = true;
		}
		if (i > 0)
			buf_add_str(out, TURN_GAP);
		buf_add(out, one.data, one.len);
		prompt->source_tokens += tokens;
		prompt->sources++;
	}
}

/* ---- the conversation ---- */

/* What the model gets of a turn: of its own answers the words without their marks. */
static bool
read_turn(const struct build *build, const struct history_turn *turn, struct str *out,
	  struct err *err)
{
	AUTO(buf) struct buf clean = BUF_INIT(PROMPT_MAX_BYTES);
	struct str text = str_trim(turn->content);
	struct cite_check check;

	if (turn->role == HISTORY_ASSISTANT) {
		if (!cite_answer(text, 0, build->arena, &check))
			return err_set(err, ERR_TOO_LARGE, "cannot hold the conversation so far");
		text = str_trim(check.text);
	}
	add_clean(text, &clean);
	return keep(build, &clean, out, err);
}

/* texts: of the history, cleaned. The first of the newest turns that fit, which is the user's. */
static size_t
first_kept(struct build *build, const struct str *texts)
{
	const struct history *history = &build->request->history;
	size_t first = history->count;
	int64_t tokens = 0;

	for (size_t i = history->count; i-- > 0;) {
		tokens += tokens_estimate(texts[i]);
		if (tokens > build->request->history_tokens)
			break;
		first = i;
	}
	while (first < history->count && history->turns[first].role != HISTORY_USER)
		first++;
	for (size_t i = first; i < history->count; i++)
		build->out->history_tokens += tokens_estimate(texts[i]);
	build->out->history_turns = history->count - first;
	return first;
}

/* Adds to the last turn when it is the same side's. */
static bool
add_turn(struct build *build, struct prompt_turn *turns, enum prompt_role role, struct str text,
	 struct err *err)
{
	AUTO(buf) struct buf both = BUF_INIT(PROMPT_MAX_BYTES);
	struct prompt *prompt = build->out;

	if (prompt->count == 0 || turns[prompt->count - 1].role != role) {
		turns[prompt->count++] = (struct prompt_turn){ .role = role, .text = text };
		return true;
	}
	buf_add(&both, turns[prompt->count - 1].text.ptr, turns[prompt->count - 1].text.len);
	buf_add_str(&both, TURN_GAP);
	buf_add(&both, text.ptr, text.len);
	return keep(build, &both, &turns[prompt->count - 1].text, err);
}

static bool
add_history(struct build *build, struct prompt_turn *turns, struct err *err)
{
	const struct history *history = &build->request->history;
	struct str *texts = arena_array(build->arena, history->count + 1, sizeof(*texts));

	if (!texts)
		return err_set(err, ERR_TOO_LARGE, "cannot hold the conversation so far");
	for (size_t i = 0; i < history->count; i++)
		if (!read_turn(build, &history->turns[i], &texts[i], err))
			return false;
	for (size_t i = first_kept(build, texts); i < history->count; i++) {
		enum prompt_role role =
			history->turns[i].role == HISTORY_USER ? PROMPT_USER : PROMPT_ASSISTANT;

		/* an answer of nothing but marks */
		if (texts[i].len > 0 && !add_turn(build, turns, role, texts[i], err))
			return false;
	}
	return true;
}

/* ---- the whole ---- */

static bool
write_system(struct build *build, struct err *err)
{
	AUTO(buf) struct buf text = BUF_INIT(PROMPT_MAX_BYTES);
	const struct prompt_value refusal = { "refusal",
					      build->template->parts[PROMPT_PART_REFUSAL] };

	prompt_template_write(build->template, PROMPT_PART_SYSTEM, &refusal, 1, &text);
	build->out->system_tokens = tokens_estimate(text_of(&text));
	return keep(build, &text, &build->out->system, err);
}

static bool
write_question(struct build *build, struct str *out, struct err *err)
{
	AUTO(buf) struct buf text = BUF_INIT(PROMPT_MAX_BYTES);
	AUTO(buf) struct buf sources = BUF_INIT(PROMPT_MAX_BYTES);
	AUTO(buf) struct buf question = BUF_INIT(PROMPT_MAX_BYTES);

	write_sources(build, &sources);
	add_clean(str_trim(build->request->question), &question);

	const struct prompt_value values[] = { { "sources", text_of(&sources) },
					       { "question", text_of(&question) } };

	prompt_template_write(build->template, PROMPT_PART_USER, values, ARRAY_SIZE(values), &text);
	return keep(build, &text, out, err);
}

bool
prompt_build(const struct prompt_template *template, const struct prompt_request *request,
	     struct arena *arena, struct prompt *out, struct err *err)
{
	struct prompt prompt = { .count = 0 };
	struct build build = {
		.template = template, .request = request, .arena = arena, .out = &prompt
	};
	struct prompt_turn *turns = arena_array(arena, request->history.count + 1, sizeof(*turns));
	struct str question = { 0 };

	if (!turns)
		return err_set(err, ERR_TOO_LARGE, "cannot hold the conversation so far");
	if (!write_system(&build, err) || !add_history(&build, turns, err) ||
	    !write_question(&build, &question, err) ||
	    !add_turn(&build, turns, PROMPT_USER, question, err))
		return false;
	prompt.turns = turns;
	prompt.tokens = prompt.system_tokens;
	for (size_t i = 0; i < prompt.count; i++)
		prompt.tokens += tokens_estimate(turns[i].text);
	*out = prompt;
	return true;
}

/* ---- refusals ---- */

/* White space, quotes and emphasis of Markdown, which a model may put around a sentence. */
static struct str
bare(struct str text)
{
	static const char around[] = " \t\r\n\"'*_`>";

	while (text.len > 0 && memchr(around, text.ptr[0], sizeof(around) - 1))
		text = str_sub(text, 1, text.len);
	while (text.len > 0 && memchr(around, text.ptr[text.len - 1], sizeof(around) - 1))
		text.len--;
	return text;
}

bool
prompt_is_refusal(const struct prompt_template *template, struct str answer)
{
	struct str refusal = bare(template->parts[PROMPT_PART_REFUSAL]);
	struct str text = bare(answer);

	/* the full stop may be missing */
	while (refusal.len > 1 && (str_ends(refusal, ".") || str_ends(refusal, "!")))
		refusal.len--;
	return str_eq_nocase(str_sub(text, 0, refusal.len), refusal);
}
