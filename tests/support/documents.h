/*
 * documents: files of the formats that are no text, made by the tests: a PDF writer and a ZIP writer, as small as
 * they can be. What they write is appended to a buffer.
 */
#ifndef RAG_TESTS_SUPPORT_DOCUMENTS_H
#define RAG_TESTS_SUPPORT_DOCUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/str.h"

/* pages: lines separated by \n, in WinAnsi; parentheses and backslashes escaped by the caller. title: UTF-8 of the BMP, or
 * NULL. */
void document_pdf(struct buf *out, const char *title, const char *const *pages, size_t count);
/* The same with an encryption dictionary that no password opens. */
void document_pdf_locked(struct buf *out);

#define ZIP_MAKER_MAX 64

struct zip_maker {
	struct buf *out;
	size_t start; /* of the archive in out */
	struct zip_made {
		char name[128];
		uint32_t crc, packed, size, at;
		bool deflated;
	} made[ZIP_MAKER_MAX];
	size_t count;
	unsigned flags; /* of the next entry: 1 = says that it is encrypted */
};

void zip_begin(struct zip_maker *zip, struct buf *out);
void zip_store(struct zip_maker *zip, const char *name, struct str bytes);
void zip_deflate(struct zip_maker *zip, const char *name, struct str bytes);
/* `times` times the same bytes, packed as they are made: for bombs. */
void zip_deflate_repeat(struct zip_maker *zip, const char *name, struct str head, struct str bytes,
			uint64_t times, struct str tail);
void zip_end(struct zip_maker *zip);

#endif
