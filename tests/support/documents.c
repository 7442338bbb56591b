#include "tests/support/documents.h"

#include <assert.h>
#include <string.h>
#include <zlib.h>

#include "common/base/auto.h"
#include "common/base/mem.h"

#define PIECE_BYTES ((size_t)1 << 20)

/* ---- PDF ---- */

static void
begin_object(struct buf *out, size_t start, size_t *offsets, size_t number)
{
	offsets[number] = out->len - start;
	buf_printf(out, "%zu 0 obj\n", number);
}

static void
pdf_title(struct buf *out, const char *title)
{
	struct str text = str_of(title);

	buf_add_str(out, "<< /Title <feff");
	for (size_t at = 0, len = 0; at < text.len; at += len) {
		uint32_t cp = 0;

		len = str_utf8_next(text, at, &cp);
		buf_printf(out, "%04x", (unsigned)cp);
	}
	buf_add_str(out, "> >>\nendobj\n");
}

static void
pdf_page(struct buf *out, size_t start, size_t *offsets, size_t number, const char *page)
{
	AUTO(buf) struct buf stream = BUF_INIT(1 << 20);
	struct str rest = str_of(page), line;

	buf_add_str(&stream, "BT /F1 12 Tf 72 720 Td 14 TL ");
	while (str_split(&rest, '\n', &line))
		buf_printf(&stream, "(" STR_FMT ") Tj T* ", STR_ARG(line));
	buf_add_str(&stream, "ET");
	begin_object(out, start, offsets, number);
	buf_printf(out,
		   "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << "
		   "/F1 3 0 R >> >> /Contents %zu 0 R >>\nendobj\n",
		   number + 1);
	begin_object(out, start, offsets, number + 1);
	buf_printf(out, "<< /Length %zu >>\nstream\n%s\nendstream\nendobj\n", stream.len,
		   stream.data);
}

static void
pdf(struct buf *out, const char *title, const char *const *pages, size_t count, const char *trailer)
{
	size_t objects = 4 + 2 * count, start = out->len;
	size_t *offsets = mem_array(objects + 1, sizeof(*offsets));

	buf_add_str(out, "%PDF-1.4\n");
	begin_object(out, start, offsets, 1);
	buf_add_str(out, "<< /Type /Catalog /Pages 2 0 R >>\nendobj\n");
	begin_object(out, start, offsets, 2);
	buf_add_str(out, "<< /Type /Pages /Kids [");
	for (size_t i = 0; i < count; i++)
		buf_printf(out, "%zu 0 R ", 5 + 2 * i);
	buf_printf(out, "] /Count %zu >>\nendobj\n", count);
	begin_object(out, start, offsets, 3);
	buf_add_str(out, "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding "
			 "/WinAnsiEncoding >>\nendobj\n");
	begin_object(out, start, offsets, 4);
	pdf_title(out, title ? title : "");
	for (size_t i = 0; i < count; i++)
		pdf_page(out, start, offsets, 5 + 2 * i, pages ? pages[i] : "");

	size_t table = out->len - start;

	buf_printf(out, "xref\n0 %zu\n0000000000 65535 f \n", objects + 1);
	for (size_t i = 1; i <= objects; i++)
		buf_printf(out, "%010zu 00000 n \n", offsets[i]);
	buf_printf(out,
		   "trailer << /Size %zu /Root 1 0 R /Info 4 0 R %s >>\nstartxref\n%zu\n%%%%EOF\n",
		   objects + 1, trailer, table);
	mem_free(offsets);
}

void
document_pdf(struct buf *out, const char *title, const char *const *pages, size_t count)
{
	pdf(out, title, pages, count, "");
}

void
document_pdf_locked(struct buf *out)
{
	static const char *const page[] = { "secret" };
	AUTO(buf) struct buf trailer = BUF_INIT(1024);

	buf_add_str(&trailer, "/ID [<00> <00>] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <");
	for (int i = 0; i < 32; i++)
		buf_printf(&trailer, "%02x", i + 1);
	buf_add_str(&trailer, "> /U <");
	for (int i = 0; i < 32; i++)
		buf_printf(&trailer, "%02x", 200 - i);
	buf_add_str(&trailer, "> >>");
	pdf(out, NULL, page, 1, trailer.data);
}

/* ---- ZIP ---- */

static void
number(struct buf *out, uint64_t value, int bytes)
{
	for (int i = 0; i < bytes; i++)
		buf_add_char(out, (char)(value >> (8 * i) & 0xff));
}

void
zip_begin(struct zip_maker *zip, struct buf *out)
{
	*zip = (struct zip_maker){ .out = out, .start = out->len };
}

/* What local header and directory share, from "version needed" to the length of the extra field. */
static void
zip_head(struct buf *out, const struct zip_made *made, unsigned flags)
{
	number(out, 20, 2);
	number(out, flags, 2);
	number(out, made->deflated ? 8 : 0, 2);
	number(out, 0, 4); /* time, date */
	number(out, made->crc, 4);
	number(out, made->packed, 4);
	number(out, made->size, 4);
	number(out, strlen(made->name), 2);
	number(out, 0, 2);
}

static void
zip_add(struct zip_maker *zip, const char *name, struct str packed, uint32_t crc, uint64_t size,
	bool deflated)
{
	struct zip_made *made = &zip->made[zip->count++];

	assert(zip->count <= ZIP_MAKER_MAX);
	*made = (struct zip_made){
		.crc = crc,
		.packed = (uint32_t)packed.len,
		.size = size > UINT32_MAX ? UINT32_MAX - 1 : (uint32_t)size, /* a lie then */
		.at = (uint32_t)(zip->out->len - zip->start),
		.deflated = deflated,
	};
	str_copy(made->name, sizeof(made->name), str_of(name));
	buf_add_str(zip->out, "PK\3\4");
	zip_head(zip->out, made, zip->flags);
	buf_add_str(zip->out, made->name);
	buf_add(zip->out, packed.ptr, packed.len);
}

void
zip_store(struct zip_maker *zip, const char *name, struct str bytes)
{
	zip_add(zip, name, bytes, (uint32_t)crc32(0, (const Bytef *)bytes.ptr, (uInt)bytes.len),
		bytes.len, false);
}

struct packer {
	z_stream stream;
	struct buf packed;
	uint32_t crc;
	uint64_t size;
};

static void
pack(struct packer *packer, struct str bytes, int flush)
{
	packer->stream.next_in = (Bytef *)(uintptr_t)bytes.ptr;
	packer->stream.avail_in = (uInt)bytes.len;
	packer->crc = (uint32_t)crc32(packer->crc, (const Bytef *)bytes.ptr, (uInt)bytes.len);
	packer->size += bytes.len;
	do {
		char *room = buf_reserve(&packer->packed, 65536);

		assert(room);
		packer->stream.next_out = (Bytef *)room;
		packer->stream.avail_out = 65536;
		(void)deflate(&packer->stream, flush);
		buf_commit(&packer->packed, 65536 - packer->stream.avail_out);
	} while (packer->stream.avail_out == 0);
}

/* `times` times the same bytes without packing each: after a full flush the packed form of a piece does not depend on what
 * came before, so it is made once and copied. */
static void
pack_repeat(struct packer *packer, struct str bytes, uint64_t times)
{
	AUTO(buf) struct buf piece = BUF_INIT(PIECE_BYTES + bytes.len);
	uint64_t in_piece = 0;
	size_t start = packer->packed.len, len;
	uint32_t crc;

	for (; in_piece < times && piece.len < PIECE_BYTES; in_piece++)
		buf_add(&piece, bytes.ptr, bytes.len);
	if (in_piece == 0)
		return;

	struct str whole = str_make(piece.data, piece.len);

	crc = (uint32_t)crc32(0, (const Bytef *)whole.ptr, (uInt)whole.len);
	pack(packer, whole, Z_FULL_FLUSH);
	len = packer->packed.len - start;

	char *copy = mem_strndup(packer->packed.data + start, len);

	for (times -= in_piece; times >= in_piece; times -= in_piece) {
		buf_add(&packer->packed, copy, len);
		packer->crc = (uint32_t)crc32_combine(packer->crc, crc, (z_off_t)whole.len);
		packer->size += whole.len;
	}
	mem_free(copy);
	for (; times > 0; times--)
		pack(packer, bytes, Z_NO_FLUSH);
}

void
zip_deflate_repeat(struct zip_maker *zip, const char *name, struct str head, struct str bytes,
		   uint64_t times, struct str tail)
{
	struct packer packer = { 0 };

	buf_init(&packer.packed, (size_t)1 << 30);
	/* -15: deflate without a header; level 9 is what a bomb is made with */
	assert(deflateInit2(&packer.stream, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY) == Z_OK);
	pack(&packer, head, Z_FULL_FLUSH);
	pack_repeat(&packer, bytes, times);
	pack(&packer, tail, Z_FINISH);
	(void)deflateEnd(&packer.stream);
	zip_add(zip, name, str_make(packer.packed.data, packer.packed.len), packer.crc, packer.size,
		true);
	buf_release(&packer.packed);
}

void
zip_deflate(struct zip_maker *zip, const char *name, struct str bytes)
{
	zip_deflate_repeat(zip, name, bytes, STR(""), 0, STR(""));
}

void
zip_end(struct zip_maker *zip)
{
	size_t start = zip->out->len;

	for (size_t i = 0; i < zip->count; i++) {
		buf_add_str(zip->out, "PK\1\2");
		number(zip->out, 20, 2);
		zip_head(zip->out, &zip->made[i], zip->flags);
		number(zip->out, 0, 2 + 2); /* comment, disk */
		number(zip->out, 0, 2 + 4); /* attributes */
		number(zip->out, zip->made[i].at, 4);
		buf_add_str(zip->out, zip->made[i].name);
	}

	size_t bytes = zip->out->len - start;

	buf_add_str(zip->out, "PK\5\6");
	number(zip->out, 0, 4);
	number(zip->out, zip->count, 2);
	number(zip->out, zip->count, 2);
	number(zip->out, bytes, 4);
	number(zip->out, start - zip->start, 4);
	number(zip->out, 0, 2);
}
