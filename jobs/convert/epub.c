/*
 * epub: books. The chapters in reading order (the spine), each read as a page of HTML by the HTML parser; a book has
 * no pages of its own. The title is the package's. Chapters that are not for reading in order (linear="no"), pictures
 * and scripts are left out. A chapter that the book says is encrypted (DRM) ends the reading with an error.
 */
#include <string.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "jobs/convert/package.h"
#include "jobs/convert/readers.h"
#include "jobs/step/parse_out.h"

#define ITEMS_MAX 20000
#define CHAPTER_MAX_BYTES ((size_t)32 << 20)
#define LIST_MAX_BYTES ((size_t)8 << 20)
#define TITLE_TAKEN_MAX_BYTES ((size_t)4096)

struct item {
	struct str id, path;
	bool is_page;
};

struct epub {
	struct parse_out out;
	struct arena *arena;
	const struct parse_limits *limits;
	struct zip_archive archive;
	struct str package; /* the part that lists the others */
	struct item *items; /* arena */
	size_t item_count;
	struct str *spine; /* arena; ids */
	size_t spine_count;
	struct buf title;
	bool in_title, has_title;
	struct str encrypted; /* META-INF/encryption.xml */
};

static struct str
keep(struct epub *epub, struct str text)
{
	char *copy = arena_strndup(epub->arena, text.ptr ? text.ptr : "", text.len);

	return copy ? str_make(copy, text.len) : STR("");
}

/* ---- where the package is ---- */

static void
container_start(void *user, const char *name, const struct xml_attrs *attrs)
{
	struct epub *epub = user;

	if (strcmp(name, "rootfile") == 0 && epub->package.len == 0)
		epub->package = keep(epub, xml_attr(attrs, "full-path"));
}

/* ---- what it lists ---- */

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A reference in the package, percent-encoded and perhaps with a fragment, as the name of a part. */
static struct str
path_of(struct epub *epub, struct str href)
{
	AUTO(buf) struct buf plain = BUF_INIT(1024);
	struct str name;

	if (!str_split(&href, '#', &name))
		return STR("");
	for (size_t i = 0; i < name.len; i++) {
		int high = i + 2 < name.len ? hex_digit(name.ptr[i + 1]) : -1;
		int low = i + 2 < name.len ? hex_digit(name.ptr[i + 2]) : -1;

		if (name.ptr[i] == '%' && high >= 0 && low >= 0) {
			buf_add_char(&plain, (char)(high * 16 + low));
			i += 2;
		} else {
			buf_add_char(&plain, name.ptr[i]);
		}
	}
	return package_path(epub->arena, epub->package, str_make(plain.data, plain.len));
}

static void
package_start(void *user, const char *name, const struct xml_attrs *attrs)
{
	struct epub *epub = user;
	struct str type = xml_attr(attrs, "media-type");

	epub->in_title = !epub->has_title && strcmp(name, "title") == 0;
	if (strcmp(name, "item") == 0 && epub->item_count < ITEMS_MAX)
		epub->items[epub->item_count++] = (struct item){
			.id = keep(epub, xml_attr(attrs, "id")),
			.path = path_of(epub, xml_attr(attrs, "href")),
			.is_page = str_eq_c(type, "application/xhtml+xml") ||
				   str_eq_c(type, "text/html"),
		};
	else if (strcmp(name, "itemref") == 0 && epub->spine_count < ITEMS_MAX &&
		 !str_eq_c(xml_attr(attrs, "linear"), "no"))
		epub->spine[epub->spine_count++] = keep(epub, xml_attr(attrs, "idref"));
}

static void
package_end(void *user, const char *name)
{
	struct epub *epub = user;

	(void)name;
	epub->has_title = epub->has_title || (epub->in_title && epub->title.len > 0);
	epub->in_title = false;
}

static void
package_text(void *user, struct str text)
{
	struct epub *epub = user;

	if (epub->in_title && epub->title.len + text.len <= TITLE_TAKEN_MAX_BYTES)
		buf_add(&epub->title, text.ptr, text.len);
}

/* ---- chapters ---- */

static void
append(struct parse_out *out, const struct parsed *chapter)
{
	for (size_t i = 0; i < chapter->block_count && parse_out_ok(out); i++) {
		const struct block *block = &chapter->blocks[i];

		parse_out_begin(out, block->kind, block->level);
		parse_out_add(out, str_sub(chapter->text, block->start, block->end));
	}
	parse_out_end(out);
}

/* Memory of one chapter goes with it. */
static bool
read_chapter(struct epub *epub, const struct item *item, struct err *err)
{
	struct arena arena;
	struct str bytes, clean;
	struct parsed chapter;
	size_t at;
	bool ok;

	if (epub->encrypted.len > 0 && str_find(epub->encrypted, item->path, &at))
		return err_set(err, ERR_BAD_DOCUMENT,
			       "cannot read the book: its chapters are encrypted (DRM)");
	arena_init(&arena, epub->arena->max_bytes - epub->arena->used_bytes);
	ok = zip_part_read(&epub->archive, item->path, CHAPTER_MAX_BYTES, &arena, &bytes, err) &&
	     parse_clean(bytes, &arena, &clean, err) &&
	     parse_html(clean, epub->limits, &arena, &chapter, err);
	if (ok)
		append(&epub->out, &chapter);
	arena_release(&arena);
	return ok;
}

static const struct item *
item_of(const struct epub *epub, struct str id)
{
	for (size_t i = 0; i < epub->item_count; i++)
		if (str_eq(epub->items[i].id, id))
			return &epub->items[i];
	return NULL;
}

static bool
read_lists(struct epub *epub, struct err *err)
{
	const struct xml_handler container = { .start = container_start, .user = epub };
	const struct xml_handler package = { .start = package_start,
					     .end = package_end,
					     .text = package_text,
					     .user = epub,
					     .doctype = XML_DOCTYPE };
	struct err ignored = ERR_INIT;

	epub->items = arena_array(epub->arena, ITEMS_MAX, sizeof(*epub->items));
	epub->spine = arena_array(epub->arena, ITEMS_MAX, sizeof(*epub->spine));
	if (!epub->items || !epub->spine)
		return err_set(err, ERR_TOO_LARGE, "cannot hold the book's chapters");
	if (!zip_part_read(&epub->archive, STR("META-INF/encryption.xml"), LIST_MAX_BYTES,
			   epub->arena, &epub->encrypted, &ignored))
		epub->encrypted = STR("");
	return xml_read_part(&epub->archive, STR("META-INF/container.xml"), &container, err) &&
	       xml_read_part(&epub->archive, epub->package, &package, err);
}

static bool
read_all(struct epub *epub, struct err *err)
{
	if (!read_lists(epub, err))
		return false;
	for (size_t i = 0; i < epub->spine_count && parse_out_ok(&epub->out); i++) {
		const struct item *item = item_of(epub, epub->spine[i]);

		if (!item)
			return err_set(err, ERR_BAD_DOCUMENT,
				       "cannot read the book: its chapter %zu is not there", i + 1);
		if (item->is_page && !read_chapter(epub, item, err))
			return err_wrap(err, "chapter %zu", i + 1);
	}
	return true;
}

bool
read_epub(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	  struct parsed *out, struct err *err)
{
	struct epub epub = { .arena = arena, .limits = limits };
	bool ok;

	if (!zip_archive_open(bytes, &epub.archive, err))
		return false;
	parse_out_init(&epub.out, limits, arena);
	buf_init(&epub.title, TITLE_TAKEN_MAX_BYTES);
	ok = read_all(&epub, err) &&
	     parse_out_finish(&epub.out, str_make(epub.title.data, epub.title.len), arena, out,
			      err);
	buf_release(&epub.title);
	parse_out_release(&epub.out);
	return ok;
}
