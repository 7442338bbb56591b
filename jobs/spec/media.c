#include "jobs/spec/media.h"

#include <string.h>

#include "common/base/auto.h"
#include "common/json.h"
#include "jobs/spec/zip_dir.h"

#define OOXML "application/vnd.openxmlformats-officedocument."
#define ODF "application/vnd.oasis.opendocument."
#define PDF_MARK_WITHIN 1024 /* readers accept bytes before %PDF- */
#define MIMETYPE_MAX_BYTES 100

const struct media_type media_types[] = {
	{ "text/plain", MEDIA_TEXT, true, "plain text" },
	{ "text/markdown", MEDIA_MARKDOWN, true, "Markdown" },
	{ "text/html", MEDIA_HTML, true, "an HTML page" },
	{ "application/xhtml+xml", MEDIA_HTML, true, "an XHTML page" },
	{ "application/json", MEDIA_JSON, true, "JSON" },
	{ "text/csv", MEDIA_CSV, true, "a CSV table" },
	{ "application/xml", MEDIA_XML, true, "an XML document" },
	{ "text/xml", MEDIA_XML, true, "an XML document" },
	{ "application/rtf", MEDIA_RTF, true, "an RTF document" },
	{ "text/rtf", MEDIA_RTF, true, "an RTF document" },
	{ "application/pdf", MEDIA_PDF, false, "a PDF document" },
	{ OOXML "wordprocessingml.document", MEDIA_DOCX, false, "a DOCX document" },
	{ OOXML "spreadsheetml.sheet", MEDIA_XLSX, false, "an XLSX workbook" },
	{ OOXML "presentationml.presentation", MEDIA_PPTX, false, "a PPTX presentation" },
	{ ODF "text", MEDIA_ODF, false, "an ODT document" },
	{ ODF "spreadsheet", MEDIA_ODF, false, "an ODS spreadsheet" },
	{ ODF "presentation", MEDIA_ODF, false, "an ODP presentation" },
	{ "application/epub+zip", MEDIA_EPUB, false, "an EPUB book" },
};
const size_t media_type_count = ARRAY_SIZE(media_types);

const struct media_type *
media_find(struct str name)
{
	for (size_t i = 0; i < media_type_count; i++)
		if (str_eq_nocase(name, str_of(media_types[i].name)))
			return &media_types[i];
	return NULL;
}

bool
media_is_utf8(const struct media_type *type)
{
	return type->is_text && type->format != MEDIA_RTF && type->format != MEDIA_XML;
}

bool
media_is_utf16(struct str bytes)
{
	return str_starts(bytes, "\xff\xfe") || str_starts(bytes, "\xfe\xff");
}

/* ---- marks at the beginning ---- */

/* What is no document of ours but has a name. */
static const struct {
	const char *mark;
	size_t len;
	const char *noun;
} strangers[] = {
	{ "\x89PNG\r\n", 6, "a PNG image" },
	{ "\xff\xd8\xff", 3, "a JPEG image" },
	{ "GIF87a", 6, "a GIF image" },
	{ "GIF89a", 6, "a GIF image" },
	{ "II*\0", 4, "a TIFF image" },
	{ "MM\0*", 4, "a TIFF image" },
	{ "\x1f\x8b", 2, "a gzip archive" },
	{ "\xfd"
	  "7zXZ",
	  5, "an xz archive" },
	{ "\x28\xb5\x2f\xfd", 4, "a zstd archive" },
	{ "7z\xbc\xaf\x27\x1c", 6, "a 7z archive" },
	{ "Rar!\x1a\x07", 6, "a RAR archive" },
	{ "\x7f"
	  "ELF",
	  4, "an executable" },
	{ "MZ\x90\0", 4, "an executable" },
	{ "SQLite format 3", 16, "an SQLite database" },
};

static bool
has(struct str bytes, const char *needle, size_t len)
{
	size_t at;

	return str_find(bytes, str_make(needle, len), &at);
}

static struct str
after_space(struct str bytes)
{
	if (str_starts(bytes, "\xef\xbb\xbf"))
		bytes = str_sub(bytes, 3, bytes.len);
	while (bytes.len > 0 &&
	       (bytes.ptr[0] == ' ' || (bytes.ptr[0] >= '\t' && bytes.ptr[0] <= '\r')))
		bytes = str_sub(bytes, 1, bytes.len);
	return bytes;
}

/* ---- containers ---- */

static const struct media_type *
by_mimetype(const struct zip_dir *dir)
{
	struct zip_entry entry;
	struct str name;
	struct err ignored = ERR_INIT;

	if (!zip_dir_find(dir, STR("mimetype"), &entry) || entry.method != ZIP_STORED ||
	    entry.packed_bytes > MIMETYPE_MAX_BYTES ||
	    !zip_dir_packed(dir, &entry, &name, &ignored))
		return NULL;
	name = str_trim(name);
	if (str_ends(name, "-template"))
		name.len -= strlen("-template");

	const struct media_type *type = media_find(name);

	return type && (type->format == MEDIA_ODF || type->format == MEDIA_EPUB) ? type : NULL;
}

static const struct media_type *
container(struct str bytes, const char **out_noun)
{
	static const struct {
		const char *part, *type;
	} parts[] = {
		{ "word/document.xml", OOXML "wordprocessingml.document" },
		{ "xl/workbook.xml", OOXML "spreadsheetml.sheet" },
		{ "ppt/presentation.xml", OOXML "presentationml.presentation" },
		{ "META-INF/container.xml", "application/epub+zip" },
	};
	const struct media_type *type;
	struct zip_entry entry;
	struct zip_dir dir;
	struct err ignored = ERR_INIT;

	*out_noun = "a damaged ZIP archive";
	if (!zip_dir_open(bytes, &dir, &ignored))
		return NULL;
	type = by_mimetype(&dir);
	for (size_t i = 0; !type && i < ARRAY_SIZE(parts); i++)
		if (zip_dir_find(&dir, str_of(parts[i].part), &entry))
			type = media_find(str_of(parts[i].type));
	*out_noun = type ? type->noun : "a ZIP archive";
	return type;
}

/* The names in Microsoft's older container are UTF-16. */
static const char *
compound_noun(struct str bytes)
{
	static const char encrypted[] = "E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e";

	return has(bytes, encrypted, sizeof(encrypted))
		       ? "an Office document encrypted with a password"
		       : "a document of an old Office version (.doc, .xls, .ppt)";
}

static const struct media_type *
marked(struct str bytes, const char **out_noun)
{
	static const char compound[] = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

	*out_noun = NULL;
	if (str_starts(bytes, "PK\3\4") || str_starts(bytes, "PK\5\6"))
		return container(bytes, out_noun);
	if (str_starts(bytes, compound)) {
		*out_noun = compound_noun(bytes);
		return NULL;
	}
	for (size_t i = 0; i < ARRAY_SIZE(strangers); i++) {
		if (bytes.len >= strangers[i].len &&
		    memcmp(bytes.ptr, strangers[i].mark, strangers[i].len) == 0) {
			*out_noun = strangers[i].noun;
			return NULL;
		}
	}
	bytes = after_space(bytes);
	if (str_starts(bytes, "%PDF-"))
		return media_find(STR("application/pdf"));
	if (str_starts(bytes, "{\\rtf"))
		return media_find(STR("application/rtf"));
	return NULL;
}

const struct media_type *
media_detect(struct str bytes, const char **out_noun)
{
	const struct media_type *type = marked(bytes, out_noun);

	if (type)
		*out_noun = type->noun;
	if (type || *out_noun)
		return type;
	/* only what is no text may have bytes before the mark: a text may speak of %PDF- */
	if (!str_utf8_valid(bytes, NULL) && has(str_sub(bytes, 0, PDF_MARK_WITHIN), "%PDF-", 5)) {
		type = media_find(STR("application/pdf"));
		*out_noun = type->noun;
		return type;
	}
	if (media_is_utf16(bytes) || (str_utf8_valid(bytes, NULL) &&
				      memchr(bytes.ptr ? bytes.ptr : "", 0, bytes.len) == NULL))
		*out_noun = "text";
	else
		*out_noun = "of no known format";
	return NULL;
}

/* ---- text, when nothing was declared ---- */

static bool
starts_nocase(struct str bytes, const char *prefix)
{
	return str_eq_nocase(str_sub(bytes, 0, strlen(prefix)), str_of(prefix));
}

static bool
is_json(struct str text)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	struct err ignored = ERR_INIT;

	return text.len > 0 && (text.ptr[0] == '{' || text.ptr[0] == '[') &&
	       js_parse(text, &root, &ignored);
}

static const struct media_type *
guess_text(struct str bytes)
{
	struct str text = after_space(bytes);
	struct str head = str_sub(text, 0, 1024);

	if (starts_nocase(text, "<!doctype html") || starts_nocase(text, "<html"))
		return media_find(STR("text/html"));
	if (starts_nocase(text, "<?xml"))
		return media_find(has(head, "<html", 5) ? STR("application/xhtml+xml")
							: STR("application/xml"));
	if (is_json(text))
		return media_find(STR("application/json"));
	return media_find(STR("text/plain"));
}

/* ---- declared against found ---- */

static bool
contradiction(struct str declared, const char *noun, struct err *err)
{
	if (strcmp(noun, "an Office document encrypted with a password") == 0)
		return err_set(err, ERR_BAD_DOCUMENT,
			       "cannot read the document: it is encrypted with a password");
	if (declared.len == 0)
		return err_set(err, ERR_UNSUPPORTED_MEDIA, "cannot take this content: it is %s",
			       noun);
	return err_set(err, ERR_UNSUPPORTED_MEDIA,
		       "cannot take this content: declared as '" STR_FMT "', but it is %s",
		       STR_ARG(str_sub(declared, 0, 80)), noun);
}

static bool
is_container(enum media_format format)
{
	return format == MEDIA_DOCX || format == MEDIA_XLSX || format == MEDIA_PPTX ||
	       format == MEDIA_ODF || format == MEDIA_EPUB;
}

bool
media_resolve(struct str declared, struct str bytes, const struct media_type **out, struct err *err)
{
	const char *noun = NULL;
	const struct media_type *found = media_detect(bytes, &noun), *type;
	bool is_plain = !found && strcmp(noun, "text") == 0;

	if (declared.len == 0 || str_eq_nocase(declared, STR(MEDIA_DETECT))) {
		if (!found && !is_plain)
			return contradiction(STR(""), noun, err);
		*out = found ? found : guess_text(bytes);
		return true;
	}
	type = media_find(declared);
	if (!type)
		return err_set(err, ERR_UNSUPPORTED_MEDIA,
			       "cannot take a document of type '" STR_FMT "'",
			       STR_ARG(str_sub(declared, 0, 80)));
	if (found && found->format != type->format)
		return contradiction(declared, noun, err);
	if (!found && is_container(type->format) && strcmp(noun, "a damaged ZIP archive") == 0)
		return err_set(
			err, ERR_BAD_DOCUMENT,
			"cannot read the document as %s: the archive has no directory at its "
			"end (cut off, or damaged)",
			type->noun);
	if (!found && is_plain && (!type->is_text || type->format == MEDIA_RTF))
		return contradiction(declared, bytes.len ? "text" : "empty", err);
	/* a text type with bytes that are no text: the reader says at which byte */
	if (!found && !is_plain &&
	    (!type->is_text || type->format == MEDIA_RTF ||
	     strcmp(noun, "of no known format") != 0))
		return contradiction(declared, noun, err);
	*out = type;
	return true;
}
