#include "common/config_yaml.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <yaml.h>

#include "common/base/auto.h"
#include "common/base/buf.h"

#define MAX_DEPTH 4
#define PATH_BYTES 160 /* longer than any setting's path */

struct reader {
	yaml_parser_t parser;
	struct str text;
	const char *name;
	config_entry_fn fn;
	void *user;
};

static void
reader_release(struct reader *reader)
{
	yaml_parser_delete(&reader->parser);
}

static void
yaml_event_t_release(yaml_event_t *event)
{
	yaml_event_delete(event);
}

static bool
fail_at(const struct reader *reader, size_t line, const char *what, struct err *err)
{
	return err_set(err, ERR_CONFIG, "%s:%zu: %s", reader->name, line, what);
}

static size_t
line_of(const yaml_event_t *event)
{
	return event->start_mark.line + 1;
}

/* libyaml places errors of its scanner and parser by mark, those of its decoder by byte offset. */
static bool
parser_failed(const struct reader *reader, struct err *err)
{
	const yaml_parser_t *parser = &reader->parser;
	const char *problem = parser->problem ? parser->problem : "out of memory";
	size_t line = 1;

	if (parser->error != YAML_READER_ERROR)
		return fail_at(reader, parser->problem_mark.line + 1, problem, err);
	for (size_t i = 0; i < parser->problem_offset && i < reader->text.len; i++)
		line += reader->text.ptr[i] == '\n';
	return fail_at(reader, line, problem, err);
}

/* What this reader does not take, whatever its place. */
static const char *
refused_feature(const yaml_event_t *event)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;

	if (event->type == YAML_ALIAS_EVENT)
		return "aliases (*name) are not allowed";
	if (event->type == YAML_SCALAR_EVENT) {
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
	} else if (event->type == YAML_MAPPING_START_EVENT) {
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
	} else if (event->type == YAML_SEQUENCE_START_EVENT) {
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
	}
	if (anchor)
		return "anchors (&name) are not allowed";
	return tag ? "tags (!name) are not allowed" : NULL;
}

static bool
next_event(struct reader *reader, yaml_event_t *event, struct err *err)
{
	if (!yaml_parser_parse(&reader->parser, event)) {
		memset(event, 0, sizeof(*event));
		return parser_failed(reader, err);
	}

	const char *refused = refused_feature(event);

	return !refused || fail_at(reader, line_of(event), refused, err);
}

static struct str
scalar_text(const yaml_event_t *event)
{
	return str_make((const char *)event->data.scalar.value, event->data.scalar.length);
}

/* path "a" and key "b" make "a.b". */
static bool
join_path(const struct reader *reader, const char *path, const yaml_event_t *key,
	  char out[PATH_BYTES], struct err *err)
{
	AUTO(buf) struct buf joined = BUF_INIT(PATH_BYTES - 1);
	struct str name = scalar_text(key);

	buf_printf(&joined, "%s%s", path, *path ? "." : "");
	buf_add(&joined, name.ptr, name.len);
	if (!buf_ok(&joined) || name.len == 0 || memchr(name.ptr, '\0', name.len))
		return fail_at(reader, line_of(key), "not the name of a setting", err);
	memcpy(out, joined.data, joined.len + 1);
	return true;
}

static bool read_mapping(struct reader *reader, const char *path, int depth, struct err *err);

static bool
read_value(struct reader *reader, const char *path, size_t line, int depth, struct err *err)
{
	AUTO(yaml_event_t) yaml_event_t event = { .type = YAML_NO_EVENT };
	struct config_entry entry = { .path = path, .line = line };

	if (!next_event(reader, &event, err))
		return false;
	if (event.type == YAML_SCALAR_EVENT) {
		bool plain = event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

		entry.kind = plain ? CONFIG_SCALAR : CONFIG_QUOTED;
		entry.value = scalar_text(&event);
		return reader->fn(reader->user, &entry, err);
	}

	bool mapping = event.type == YAML_MAPPING_START_EVENT;

	entry.kind = mapping ? CONFIG_MAPPING : CONFIG_SEQUENCE;
	if (!reader->fn(reader->user, &entry, err))
		return false;
	if (!mapping || depth == MAX_DEPTH)
		return fail_at(reader, line, "nested too deep", err);
	return read_mapping(reader, path, depth + 1, err);
}

static bool
read_mapping(struct reader *reader, const char *path, int depth, struct err *err)
{
	for (;;) {
		AUTO(yaml_event_t) yaml_event_t key = { .type = YAML_NO_EVENT };
		char key_path[PATH_BYTES];

		if (!next_event(reader, &key, err))
			return false;
		if (key.type == YAML_MAPPING_END_EVENT)
			return true;
		if (key.type != YAML_SCALAR_EVENT)
			return fail_at(reader, line_of(&key), "a name must be a plain word", err);
		if (!join_path(reader, path, &key, key_path, err) ||
		    !read_value(reader, key_path, line_of(&key), depth, err))
			return false;
	}
}

/* The root of a document; an empty one counts as a mapping without members. */
static bool
read_root(struct reader *reader, struct err *err)
{
	AUTO(yaml_event_t) yaml_event_t event = { .type = YAML_NO_EVENT };

	if (!next_event(reader, &event, err))
		return false;
	if (event.type == YAML_MAPPING_START_EVENT)
		return read_mapping(reader, "", 0, err);
	if (event.type == YAML_SCALAR_EVENT && event.data.scalar.length == 0 &&
	    event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		return true;
	return fail_at(reader, line_of(&event), "not a list of settings ('name: value')", err);
}

static bool
read_stream(struct reader *reader, struct err *err)
{
	bool had_document = false;

	for (;;) {
		AUTO(yaml_event_t) yaml_event_t event = { .type = YAML_NO_EVENT };

		if (!next_event(reader, &event, err))
			return false;
		if (event.type == YAML_STREAM_END_EVENT)
			return true;
		if (event.type != YAML_DOCUMENT_START_EVENT)
			continue;
		if (had_document)
			return fail_at(reader, line_of(&event), "a second document", err);
		had_document = true;
		if (!read_root(reader, err))
			return false;
	}
}

bool
config_yaml_read(struct str text, const char *name, config_entry_fn fn, void *user, struct err *err)
{
	AUTO(reader)
	struct reader reader = { .text = text, .name = name, .fn = fn, .user = user };

	assert(text.len <= CONFIG_FILE_MAX_BYTES);
	if (!yaml_parser_initialize(&reader.parser))
		return err_set(err, ERR_CONFIG, "%s:1: out of memory", name);
	yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text.ptr, text.len);
	yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
	return read_stream(&reader, err);
}
