#include "jobs/convert/package.h"

#include <string.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "jobs/step/parse.h"

#define PATH_MAX_BYTES ((size_t)1024)
#define TITLE_TAKEN_MAX_BYTES ((size_t)4096)

/* ---- names ---- */

static void
add_segments(struct buf *path, struct str name)
{
	struct str segment;

	while (str_split(&name, '/', &segment)) {
		if (segment.len == 0 || str_eq_c(segment, "."))
			continue;
		if (str_eq_c(segment, "..")) {
			const char *slash = memrchr(path->data, '/', path->len);

			buf_truncate(path, slash ? (size_t)(slash - path->data) : 0);
			continue;
		}
		if (path->len > 0)
			buf_add_char(path, '/');
		buf_add(path, segment.ptr, segment.len);
	}
}

static struct str
folder_of(struct str part)
{
	const char *slash = part.len ? memrchr(part.ptr, '/', part.len) : NULL;

	return slash ? str_sub(part, 0, (size_t)(slash - part.ptr)) : STR("");
}

struct str
package_path(struct arena *arena, struct str from_part, struct str target)
{
	AUTO(buf) struct buf path = BUF_INIT(PATH_MAX_BYTES);

	if (!str_starts(target, "/"))
		add_segments(&path, folder_of(from_part));
	add_segments(&path, target);

	char *copy = buf_ok(&path) ? arena_strndup(arena, path.data, path.len) : NULL;

	return copy ? str_make(copy, path.len) : str_make("", 0);
}

/* ---- relations ---- */

struct relations_reader {
	struct relations *out;
	struct arena *arena;
	struct str part;
	bool full;
};

static struct str
keep(struct arena *arena, struct str text, bool *full)
{
	char *copy = arena_strndup(arena, text.ptr ? text.ptr : "", text.len);

	*full = *full || !copy;
	return copy ? str_make(copy, text.len) : STR("");
}

static void
on_relation(void *user, const char *name, const struct xml_attrs *attrs)
{
	struct relations_reader *reader = user;
	struct relations *out = reader->out;
	struct str type = xml_attr(attrs, "Type");
	const char *slash;

	if (strcmp(name, "Relationship") != 0 ||
	    str_eq_c(xml_attr(attrs, "TargetMode"), "External") || reader->full)
		return;
	if (out->count == out->cap) {
		size_t cap = out->cap ? out->cap * 2 : 32;
		struct relation *items = cap <= (size_t)2 * PACKAGE_RELATIONS_MAX
						 ? arena_array(reader->arena, cap, sizeof(*items))
						 : NULL;

		if (!items) {
			reader->full = true;
			return;
		}
		if (out->count > 0)
			memcpy(items, out->items, out->count * sizeof(*items));
		out->items = items;
		out->cap = cap;
	}
	slash = type.len ? memrchr(type.ptr, '/', type.len) : NULL;
	if (slash)
		type = str_sub(type, (size_t)(slash + 1 - type.ptr), type.len);
	out->items[out->count++] = (struct relation){
		.id = keep(reader->arena, xml_attr(attrs, "Id"), &reader->full),
		.type = keep(reader->arena, type, &reader->full),
		.target = package_path(reader->arena, reader->part, xml_attr(attrs, "Target")),
	};
}

bool
package_relations(struct zip_archive *archive, struct str part, struct arena *arena,
		  struct relations *out, struct err *err)
{
	struct relations_reader reader = { .out = out, .arena = arena, .part = part };
	const struct xml_handler handler = { .start = on_relation, .user = &reader };
	struct str folder = folder_of(part);
	struct str name = str_sub(part, folder.len ? folder.len + 1 : 0, part.len);
	char list[PATH_MAX_BYTES];

	*out = (struct relations){ .count = 0 };
	if (snprintf(list, sizeof(list), STR_FMT "%s_rels/" STR_FMT ".rels", STR_ARG(folder),
		     folder.len ? "/" : "", STR_ARG(name)) >= (int)sizeof(list) ||
	    !zip_part_exists(archive, str_of(list)))
		return true;
	if (!xml_read_part(archive, str_of(list), &handler, err))
		return false;
	return !reader.full ||
	       err_set(err, ERR_TOO_LARGE, "cannot hold the parts that '" STR_FMT "' names",
		       STR_ARG(str_sub(part, 0, 80)));
}

const struct relation *
relation_by_id(const struct relations *relations, struct str id)
{
	for (size_t i = 0; i < relations->count; i++)
		if (str_eq(relations->items[i].id, id))
			return &relations->items[i];
	return NULL;
}

const struct relation *
relation_by_type(const struct relations *relations, const char *type)
{
	for (size_t i = 0; i < relations->count; i++)
		if (str_eq_c(relations->items[i].type, type))
			return &relations->items[i];
	return NULL;
}

/* ---- the title ---- */

struct title_reader {
	struct buf text;
	bool in, done;
};

static void
title_start(void *user, const char *name, const struct xml_attrs *attrs)
{
	struct title_reader *reader = user;

	(void)attrs;
	reader->in = !reader->done && strcmp(name, "title") == 0;
}

static void
title_end(void *user, const char *name)
{
	struct title_reader *reader = user;

	(void)name;
	reader->done = reader->done || (reader->in && reader->text.len > 0);
	reader->in = false;
}

static void
title_text(void *user, struct str text)
{
	struct title_reader *reader = user;

	if (reader->in && reader->text.len + text.len <= TITLE_TAKEN_MAX_BYTES)
		buf_add(&reader->text, text.ptr, text.len);
}

struct str
package_title(struct zip_archive *archive, struct str part, struct arena *arena)
{
	struct title_reader reader = { .in = false };
	const struct xml_handler handler = {
		.start = title_start, .end = title_end, .text = title_text, .user = &reader
	};
	struct err ignored = ERR_INIT;
	struct str title = STR("");

	buf_init(&reader.text, TITLE_TAKEN_MAX_BYTES);
	/* a document without readable properties is still a document */
	if (zip_part_exists(archive, part) && xml_read_part(archive, part, &handler, &ignored)) {
		char *copy = arena_strndup(arena, reader.text.data, reader.text.len);

		title = copy ? str_make(copy, reader.text.len) : STR("");
	}
	buf_release(&reader.text);
	return title;
}
