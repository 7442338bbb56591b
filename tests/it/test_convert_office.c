/*
 * Office formats as the worker reads them: text, order, headings, tables, pages, properties; damage, encryption, wrong
 * types; and bombs, each of which must end in a clear error or a bounded result, with the next document read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/resource.h>

#include "common/base/auto.h"
#include "tests/support/convert_kit.h"
#include "tests/support/documents.h"

#define MIB CONVERT_KIT_MIB
#define OOXML "application/vnd.openxmlformats-officedocument."
#define DOCX OOXML "wordprocessingml.document"
#define XLSX OOXML "spreadsheetml.sheet"
#define PPTX OOXML "presentationml.presentation"
#define ODT "application/vnd.oasis.opendocument.text"
#define ODS "application/vnd.oasis.opendocument.spreadsheet"
#define ODP "application/vnd.oasis.opendocument.presentation"
#define EPUB "application/epub+zip"

#define REL "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
#define RELS(items) "<Relationships>" items "</Relationships>"
#define RELATION(id, type, target)                                                                 \
	"<Relationship Id='" id "' Type='" REL type "' Target='" target "'/>"
#define W(body)                                                                                    \
	"<?xml version='1.0'?><w:document xmlns:w='w' xmlns:mc='mc'><w:body>" body                 \
	"</w:body></w:document>"
#define P(text) "<w:p><w:r><w:t>" text "</w:t></w:r></w:p>"
#define STYLED(style, text)                                                                        \
	"<w:p><w:pPr><w:pStyle w:val='" style "'/></w:pPr><w:r><w:t>" text "</w:t></w:r></w:p>"

static struct buf file;
static struct zip_maker zip;

static int
open_all(void **state)
{
	buf_init(&file, 64 * MIB);
	return convert_kit_open(state);
}

static int
close_all(void **state)
{
	buf_release(&file);
	return convert_kit_close(state);
}

static struct str
bytes(void)
{
	return str_make(file.data, file.len);
}

static void
begin(void)
{
	buf_clear(&file);
	zip_begin(&zip, &file);
}

static void
part(const char *name, const char *text)
{
	zip_deflate(&zip, name, str_of(text));
}

/* ---- DOCX ---- */

static void
begin_docx(const char *document)
{
	begin();
	part("[Content_Types].xml", "<Types/>");
	part("_rels/.rels", RELS(RELATION("r1", "officeDocument", "word/document.xml")));
	part("word/document.xml", document);
}

static const char docx_document[] = W(STYLED("Titel", "Das Handbuch") STYLED(
	"Second",
	"\xc3\x96l wechseln") "<w:p><w:r><w:t xml:space='preserve'>Warm "
			      "</w:t></w:r><w:r><w:tab/>"
			      "<w:t>ablassen.</w:t><w:br/><w:t>Neue "
			      "Zeile.</w:t></w:r></w:p>"
			      "<w:p><w:pPr><w:numPr><w:numId "
			      "w:val='1'/></w:numPr></w:pPr><w:r><w:t>Filter"
			      "</w:t></w:r></w:p>"
			      "<w:p><w:pPr><w:numPr><w:numId "
			      "w:val='1'/></w:numPr></w:pPr><w:r><w:t>Dichtung"
			      "</w:t></w:r></w:p>"
			      "<w:tbl><w:tr><w:tc>" P("Teil") "</w:tc><w:tc>" P("Preis")
					      P("netto") "</w:tc></w:tr><w:tr><w:tc>" P(
						      "Ring") "</w:tc><w:tc>" P("3,20") "</w:tc></"
											"w:tr></"
											"w:tbl>"
											"<w:p><w:"
											"del><w:r><"
											"w:delText>"
											"weg</"
											"w:delText>"
											"</w:r></"
											"w:del><w:"
											"ins><w:r><"
											"w:t>da"
											"</w:t></"
											"w:r></"
											"w:ins><w:"
											"r><w:"
											"instrText>"
											"PAGE</"
											"w:"
											"instrText>"
											"</w:r></"
											"w:p>"
											"<w:p><w:r>"
											"<mc:"
											"AlternateC"
											"ontent><"
											"mc:Choice>"
											"<w:t>"
											"einmal</"
											"w:t></"
											"mc:Choice>"
											"<mc:"
											"Fallback><"
											"w:t>"
											"zweimal</"
											"w:t></"
											"mc:"
											"Fallback><"
											"/mc:"
											"AlternateC"
											"ontent></"
											"w:r></"
											"w:p>");

static const char docx_styles[] =
	"<w:styles xmlns:w='w'><w:style w:type='paragraph' w:styleId='Titel'><w:name "
	"w:val='Title'/>"
	"</w:style><w:style w:type='paragraph' w:styleId='H2'><w:name w:val='heading "
	"2'/></w:style>"
	"<w:style w:type='paragraph' w:styleId='Second'><w:name w:val='Mine'/><w:basedOn "
	"w:val='H2'/></w:style></w:styles>";

static const char docx_footnotes[] = "<w:footnotes xmlns:w='w'><w:footnote w:type='separator'>" P(
	"----") "</w:footnote><w:footnote w:id='2'>" P("Eine Fu\xc3\x9fnote.") "</"
									       "w:"
									       "footno"
									       "te></"
									       "w:"
									       "footno"
									       "tes>";

static void
docx_text(void **state)
{
	(void)state;
	begin_docx(docx_document);
	part("word/_rels/document.xml.rels",
	     RELS(RELATION("r1", "styles", "styles.xml")
			  RELATION("r2", "footnotes", "/word/footnotes.xml")));
	part("word/styles.xml", docx_styles);
	part("word/footnotes.xml", docx_footnotes);
	part("docProps/core.xml", "<cp:coreProperties xmlns:cp='cp' "
				  "xmlns:dc='dc'><dc:title>Handbuch &amp; mehr</dc:title>"
				  "</cp:coreProperties>");
	zip_end(&zip);
	convert_kit_blocks(
		DOCX, bytes(),
		"H1 Das Handbuch~H2 \xc3\x96l wechseln~P0 Warm ablassen.;Neue Zeile.~L0 - "
		"Filter~L0 - Dichtung~T0 Teil | Preis netto~T0 Ring | 3,20~P0 da~P0 einmal~"
		"P0 Eine Fu\xc3\x9fnote.");
	assert_true(str_eq_c(convert_kit_read(DOCX, bytes()).title, "Handbuch & mehr"));
	/* no type declared, and every other one is refused */
	assert_true(str_eq_c(convert_kit_read("application/octet-stream", bytes()).title,
			     "Handbuch & mehr"));
}

/* ---- XLSX ---- */

#define SHEET(rows) "<worksheet><sheetData>" rows "</sheetData></worksheet>"

static void
begin_xlsx(const char *sheet)
{
	begin();
	part("[Content_Types].xml", "<Types/>");
	part("xl/workbook.xml",
	     "<workbook xmlns:r='r'><sheets><sheet name='Hidden' sheetId='9' "
	     "state='hidden' r:id='r2'/><sheet name='Preise' sheetId='1' r:id='r1'/>"
	     "</sheets></workbook>");
	part("xl/_rels/workbook.xml.rels",
	     RELS(RELATION("r1", "worksheet", "worksheets/sheet1.xml")
			  RELATION("r2", "worksheet", "worksheets/sheet2.xml")
				  RELATION("r3", "sharedStrings", "sharedStrings.xml")
					  RELATION("r4", "styles", "styles.xml")));
	part("xl/worksheets/sheet2.xml", SHEET("<row><c t='str'><v>secret</v></c></row>"));
	part("xl/sharedStrings.xml", "<sst><si><t>Name</t></si><si><r><t>Pr</t></r><r><t>eis</t></"
				     "r></si><si><t>B\xc3\xb6lzen</t>"
				     "<rPh><t>phonetic</t></rPh></si></sst>");
	part("xl/styles.xml",
	     "<styleSheet><numFmts><numFmt numFmtId='164' formatCode='0.00 \"days\"'/>"
	     "<numFmt numFmtId='165' formatCode='yyyy\\-mm'/></numFmts>"
	     "<cellStyleXfs><xf numFmtId='14'/></cellStyleXfs>"
	     "<cellXfs><xf numFmtId='0'/><xf numFmtId='14'/><xf numFmtId='164'/>"
	     "<xf numFmtId='165'/></cellXfs></styleSheet>");
	part("xl/worksheets/sheet1.xml", sheet);
	zip_end(&zip);
}

static void
xlsx_text(void **state)
{
	(void)state;
	begin_xlsx(SHEET(
		"<row r='1'><c r='A1' t='inlineStr'><is><t>Preisliste 2026</t></is></c></row>"
		"<row r='3'><c r='A3' t='s'><v>0</v></c><c r='B3' t='s'><v>1</v></c>"
		"<c r='D3' t='str'><v>Seit</v></c></row>"
		"<row r='4'><c r='A4' t='s'><v>2</v></c><c r='B4' s='2'><v>3.2</v></c>"
		"<c r='C4' t='b'><v>1</v></c><c r='D4' s='1'><v>45321</v></c></row>"
		"<row r='5'><c r='B5' t='e'><v>#DIV/0!</v></c><c r='D5' s='3'><v>45321.75</v></c>"
		"<c r='XFE5'><v>1</v></c></row>"
		"<row r='1048576'><c r='XFD1048576' t='str'><v>Ecke</v></c></row>"));
	convert_kit_blocks(
		XLSX, bytes(),
		"H1@2 Preise~P0@2 Preisliste 2026~T0@2 Name: B\xc3\xb6lzen | Preis: 3.2 | TRUE | "
		"Seit: 2024-01-30~T0@2 Seit: 2024-01-30T18:00~T0@2 Ecke");
}

static void
xlsx_million_empty_rows(void **state)
{
	static const char row[] = "<row r='7' spans='1:16384'><c r='XFD1048576' s='1'/></row>";

	(void)state;
	begin();
	part("xl/workbook.xml",
	     "<workbook xmlns:r='r'><sheets><sheet name='Void' r:id='r1'/></sheets>"
	     "</workbook>");
	part("xl/_rels/workbook.xml.rels", RELS(RELATION("r1", "worksheet", "sheet.xml")));
	zip_deflate_repeat(&zip, "xl/sheet.xml",
			   STR("<worksheet><sheetData><row><c t='str'><v>first</v></c></row>"),
			   str_of(row), 1000000,
			   STR("<row><c t='str'><v>last</v></c></row></sheetData></worksheet>"));
	zip_end(&zip);
	convert_kit_blocks(XLSX, bytes(), "H1@1 Void~P0@1 first~P0@1 last");
}

/* ---- PPTX ---- */

#define SP(ph, text)                                                                               \
	"<p:sp><p:nvSpPr><p:nvPr>" ph "</p:nvPr></p:nvSpPr><p:txBody><a:p><a:r><a:t>" text         \
	"</a:t></a:r></a:p></p:txBody></p:sp>"
#define SLIDE(shapes) "<p:sld xmlns:p='p' xmlns:a='a'><p:cSld>" shapes "</p:cSld></p:sld>"

static void
pptx_text(void **state)
{
	(void)state;
	begin();
	part("ppt/presentation.xml", "<p:presentation xmlns:p='p' xmlns:r='r'><p:sldIdLst><p:sldId "
				     "id='256' r:id='r2'/><p:sldId "
				     "id='257' r:id='r1'/></p:sldIdLst></p:presentation>");
	part("ppt/_rels/presentation.xml.rels",
	     RELS(RELATION("r1", "slide", "slides/slide1.xml")
			  RELATION("r2", "slide", "slides/slide2.xml")));
	part("ppt/slides/slide1.xml",
	     SLIDE(SP("<p:ph type='title'/>",
		      "Second in order") "<a:tbl><a:tr><a:tc><a:p><a:t>a</a:t></a:p></"
					 "a:tc><a:tc><a:p><a:t>b</a:t></a:p>"
					 "</a:tc></a:tr></a:tbl>"));
	part("ppt/slides/slide2.xml",
	     SLIDE(SP("<p:ph type='ctrTitle'/>", "Erste \xe2\x80\x93 Folie")
			   SP("<p:ph idx='1'/>", "A point") SP("<p:ph type='sldNum'/>", "1")
				   SP("", "A free text")));
	part("ppt/slides/_rels/slide2.xml.rels",
	     RELS(RELATION("r9", "notesSlide", "../notesSlides/notes1.xml")));
	part("ppt/notesSlides/notes1.xml",
	     SLIDE(SP("<p:ph type='sldImg'/>", "picture") SP("<p:ph type='body'/>", "Say hello.")));
	zip_end(&zip);
	convert_kit_blocks(
		PPTX, bytes(),
		"H1@1 Erste \xe2\x80\x93 Folie~L0@1 A point~P0@1 A free text~P0@1 Say hello.~"
		"H1@2 Second in order~T0@2 a | b");
}

/* ---- OpenDocument ---- */

#define CONTENT(kind, body)                                                                        \
	"<office:document-content xmlns:office='o' xmlns:text='t' xmlns:table='tb' "               \
	"xmlns:draw='d' "                                                                          \
	"xmlns:presentation='p'><office:body><office:" kind ">" body "</office:" kind              \
	"></office:body></office:document-content>"

static void
make_odf(const char *mimetype, const char *content)
{
	begin();
	zip_store(&zip, "mimetype", str_of(mimetype));
	part("content.xml", content);
	part("meta.xml",
	     "<office:document-meta xmlns:office='o' xmlns:dc='dc'><dc:title>Titel</dc:title>"
	     "</office:document-meta>");
	zip_end(&zip);
}

static void
odt_text(void **state)
{
	(void)state;
	make_odf(
		ODT,
		CONTENT("text",
			"<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
			"<text:h text:outline-level='2'>\xc3\x9c"
			"berschrift</text:h><text:p>One<text:s "
			"text:c='3'/>two<text:line-break/>three<text:note><text:note-citation>1"
			"</text:note-citation><text:note-body><text:p>the "
			"note</text:p></text:note-body>"
			"</text:note> end.</text:p><text:list><text:list-item><text:p>item</text:p>"
			"</text:list-item></"
			"text:list><table:table><table:table-row><table:table-cell>"
			"<text:p>a</text:p></table:table-cell><table:table-cell><text:p>b</text:p>"
			"</table:table-cell></table:table-row></table:table>"));
	convert_kit_blocks(ODT, bytes(),
			   "H2 \xc3\x9c"
			   "berschrift~P0 One two;three the note end.~L0 - item~T0 a | b");
	assert_true(str_eq_c(convert_kit_read(ODT, bytes()).title, "Titel"));
}

static void
ods_text(void **state)
{
	(void)state;
	make_odf(
		ODS,
		CONTENT("spreadsheet",
			"<table:table table:name='Empty'/><table:table "
			"table:name='Teile'><table:table-row "
			"table:number-rows-repeated='1000000'><table:table-cell "
			"table:number-columns-repeated='16384'/></table:table-row><table:table-row>"
			"<table:table-cell/><table:table-cell><text:p>Name</text:p></"
			"table:table-cell>"
			"<table:table-cell><text:p>Preis</text:p></table:table-cell></"
			"table:table-row>"
			"<table:table-row><table:table-cell/><table:table-cell><text:p>Ring</"
			"text:p>"
			"</table:table-cell><table:table-cell "
			"office:value-type='float'><text:p>3,20</text:p>"
			"</table:table-cell></table:table-row></table:table>"));
	convert_kit_blocks(ODS, bytes(), "H1@2 Teile~T0@2 Name: Ring | Preis: 3,20");
}

static void
odp_text(void **state)
{
	(void)state;
	make_odf(ODP,
		 CONTENT("presentation",
			 "<draw:page><draw:frame "
			 "presentation:class='title'><draw:text-box><text:p>Hallo"
			 "</text:p></draw:text-box></"
			 "draw:frame><draw:frame><draw:text-box><text:p>Welt"
			 "</text:p></draw:text-box></draw:frame><presentation:notes><draw:frame>"
			 "<draw:text-box><text:p>Notiz</text:p></draw:text-box></draw:frame>"
			 "</presentation:notes></"
			 "draw:page><draw:page><draw:frame><draw:text-box><text:p>Zwei"
			 "</text:p></draw:text-box></draw:frame></draw:page>"));
	convert_kit_blocks(ODP, bytes(), "H1@1 Hallo~P0@1 Welt~P0@1 Notiz~P0@2 Zwei");
}

/* ---- EPUB ---- */

static void
make_epub(const char *encryption)
{
	begin();
	zip_store(&zip, "mimetype", STR(EPUB));
	part("META-INF/container.xml",
	     "<container><rootfiles><rootfile full-path='OEBPS/book.opf'/>"
	     "</rootfiles></container>");
	part("OEBPS/book.opf",
	     "<package><metadata xmlns:dc='dc'><dc:title>Das "
	     "Buch</dc:title></metadata><manifest><item "
	     "id='c1' href='text/ch%201.xhtml' media-type='application/xhtml+xml'/><item id='c2' "
	     "href='text/ch2.xhtml' media-type='application/xhtml+xml'/><item id='x' href='x.svg' "
	     "media-type='image/svg+xml'/></manifest><spine><itemref idref='c2'/><itemref "
	     "idref='x'/>"
	     "<itemref idref='c1'/></spine></package>");
	part("OEBPS/text/ch 1.xhtml",
	     "<!DOCTYPE html><html><head><title>x</title></head><body><h1>Ende</h1>"
	     "<p>&Uuml;ber&nbsp;alles.</p></body></html>");
	part("OEBPS/text/ch2.xhtml",
	     "<html><body><h1>Anfang</h1><ul><li>Punkt</li></ul></body></html>");
	if (encryption)
		part("META-INF/encryption.xml", encryption);
	zip_end(&zip);
}

static void
epub_text(void **state)
{
	struct err err;

	(void)state;
	make_epub("<encryption><CipherReference URI='OEBPS/fonts/a.otf'/></encryption>");
	convert_kit_blocks(EPUB, bytes(),
			   "H1 Anfang~L0 - Punkt~H1 Ende~P0 \xc3\x9c"
			   "ber alles.");
	assert_true(str_eq_c(convert_kit_read(EPUB, bytes()).title, "Das Buch"));
	make_epub("<encryption><CipherReference URI='OEBPS/text/ch2.xhtml'/></encryption>");
	err = convert_kit_refused(EPUB, bytes());
	assert_int_equal(err.code, ERR_BAD_DOCUMENT);
	assert_non_null(strstr(err.msg, "DRM"));
}

/* ---- XML, RTF, CSV ---- */

static void
xml_text(void **state)
{
	struct err err;

	(void)state;
	convert_kit_blocks(
		"application/xml",
		STR("<?xml version='1.0' encoding='ISO-8859-1'?><book><title>B\xfc"
		    "cher</title><!-- no -->"
		    "<chapter><title>Eins <em>zwei</em></title><para>Some <b>bold</b> words.</para>"
		    "<para>More</para></chapter><chapter><title>Last</title></chapter></book>"),
		"H1 B\xc3\xbc"
		"cher~H2 Eins zwei~P0 Some bold words.~P0 More~H2 Last");
	err = convert_kit_refused("text/xml", STR("<a><b>not closed</a>"));
	assert_int_equal(err.code, ERR_BAD_DOCUMENT);
	assert_non_null(strstr(err.msg, "line 1"));
	err = convert_kit_refused(
		"text/xml",
		STR("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>"));
	assert_int_equal(err.code, ERR_BAD_DOCUMENT);
	assert_non_null(strstr(err.msg, "entities"));
	convert_kit_blocks(
		"text/xml",
		STR("<!DOCTYPE a PUBLIC 'x' 'http://127.0.0.1/x.dtd'><a>ein&nbsp;Wort</a>"),
		"P0 ein Wort");
}

static void
rtf_text(void **state)
{
	struct err err;

	(void)state;
	convert_kit_blocks(
		"application/rtf",
		STR("{\\rtf1\\ansi\\ansicpg1252{\\fonttbl{\\f0 Arial;}}{\\info{\\title "
		    "Titel}{\\author Me}}"
		    "{\\*\\generator Nobody;}\\pard\\outlinelevel0 "
		    "\\'dcber\\u8211\\'96schrift\\par\\pard "
		    "Ein {\\b fetter} Text\\line zweite {\\v hidden}Zeile "
		    "\\u-10179?\\u-8704?\\par\n"
		    "\\trowd\\pard\\intbl A\\cell B\\cell\\row\\pard {\\field{\\*\\fldinst "
		    "HYPERLINK "
		    "x}{\\fldrslt Link}} end\\par{\\header not}}"),
		"H1 \xc3\x9c"
		"ber\xe2\x80\x93schrift~P0 Ein fetter Text;zweite Zeile \xf0\x9f\x98\x80~T0 A | "
		"B~P0 Link end");
	err = convert_kit_refused("text/rtf", STR("{\\rtf1 cut off"));
	assert_int_equal(err.code, ERR_BAD_DOCUMENT);
}

static void
csv_text(void **state)
{
	struct err err;

	(void)state;
	convert_kit_blocks(
		"text/csv",
		STR("Name;Preis;Notiz\nBolzen;3,20;\"ein \"\"Zitat\"\"; mit\nUmbruch\"\n"
		    ";;\n\xc3\x96l;7;\n"),
		"T0 Name: Bolzen | Preis: 3,20 | Notiz: ein \"Zitat\"; mit Umbruch~T0 Name: "
		"\xc3\x96l | Preis: 7");
	convert_kit_blocks("text/csv", STR("1,2\n3,4\n"), "T0 1 | 2~T0 3 | 4");
	convert_kit_blocks("text/csv", STR("only,header\n"), "T0 only | header");
	err = convert_kit_refused("text/csv", STR("a,b\n\"never closed,c\n"));
	assert_int_equal(err.code, ERR_BAD_DOCUMENT);
	assert_non_null(strstr(err.msg, "record 2"));
}

/* ---- what is declared, what is there ---- */

static void
wrong_types(void **state)
{
	static const char *const zips[] = { DOCX, XLSX, PPTX, ODT, EPUB };

	(void)state;
	begin_docx(W(P("words")));
	zip_end(&zip);
	for (size_t i = 0; i < ARRAY_SIZE(zips); i++) {
		struct err err;

		if (i > 0) {
			err = convert_kit_refused(zips[i], bytes());
			assert_int_equal(err.code, ERR_UNSUPPORTED_MEDIA);
			assert_non_null(strstr(err.msg, zips[i]));
			assert_non_null(strstr(err.msg, "DOCX"));
		}
		err = convert_kit_refused(zips[i], STR("words"));
		assert_int_equal(err.code, ERR_UNSUPPORTED_MEDIA);
	}
	assert_non_null(strstr(convert_kit_refused("text/plain", bytes()).msg, "DOCX"));
	assert_non_null(strstr(convert_kit_refused("application/pdf", bytes()).msg, "DOCX"));
	assert_non_null(strstr(convert_kit_refused(DOCX, STR("%PDF-1.4\n")).msg, "PDF"));
	assert_non_null(strstr(
		convert_kit_refused("application/octet-stream", STR("\x89PNG\r\n\x1a\n")).msg,
		"PNG"));
	convert_kit_blocks("application/octet-stream", STR("{\\rtf1 rich}"), "P0 rich");
	convert_kit_blocks("application/octet-stream", STR("<?xml version='1.0'?><a>b</a>"),
			   "P0 b");
	convert_kit_blocks("application/octet-stream", STR("<!DOCTYPE html><p>page"), "P0 page");
	convert_kit_blocks("application/octet-stream", STR("{\"a\":1}"), "P0 a: 1");
	convert_kit_blocks("application/octet-stream", STR("{ a brace"), "P0 { a brace");
}

static void
encrypted(void **state)
{
	struct err err;

	(void)state;
	buf_clear(&file);
	buf_add(&file, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 8);
	buf_add(&file, "E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e\0", 32);
	err = convert_kit_refused(DOCX, bytes());
	assert_int_equal(err.code, ERR_BAD_DOCUMENT);
	assert_non_null(strstr(err.msg, "password"));

	begin();
	zip.flags = 1;
	part("word/document.xml", W(P("x")));
	zip_end(&zip);
	assert_non_null(strstr(convert_kit_refused(DOCX, bytes()).msg, "password"));

	begin();
	zip_store(&zip, "mimetype", STR(ODT));
	zip_store(&zip, "content.xml", STR("\x01\x02random"));
	part("META-INF/manifest.xml", "<m><encryption-data/></m>");
	zip_end(&zip);
	assert_non_null(strstr(convert_kit_refused(ODT, bytes()).msg, "password"));
}

/* Every cut of a file, and every byte changed, ends in a document or an error; never a crash. */
static void
damaged_files(void **state)
{
	static const char *const types[] = { DOCX, XLSX, ODT, EPUB };

	(void)state;
	for (size_t type = 0; type < ARRAY_SIZE(types); type++) {
		AUTO(buf) struct buf copy = BUF_INIT(MIB);

		if (type == 0) {
			begin_docx(W(P("words")));
			zip_end(&zip);
		} else if (type == 1) {
			begin_xlsx(SHEET("<row><c t='s'><v>0</v></c></row>"));
		} else if (type == 2) {
			make_odf(ODT, CONTENT("text", "<text:p>words</text:p>"));
		} else {
			make_epub(NULL);
		}
		for (size_t cut = 1; cut < file.len; cut += file.len / 7) {
			struct err err = convert_kit_refused(types[type], str_make(file.data, cut));

			assert_true(err.code == ERR_BAD_DOCUMENT ||
				    err.code == ERR_UNSUPPORTED_MEDIA);
		}
		for (size_t at = 4; at < file.len; at += file.len / 23) {
			struct parsed parsed;
			struct err err = ERR_INIT;

			buf_clear(&copy);
			buf_add(&copy, file.data, file.len);
			copy.data[at] = (char)(copy.data[at] ^ 0x55);
			if (!parse_document(str_of(types[type]), str_make(copy.data, copy.len),
					    &convert_kit_limits, &convert_kit_arena, &parsed, &err))
				assert_true(err.code == ERR_BAD_DOCUMENT ||
					    err.code == ERR_EMPTY_TEXT ||
					    err.code == ERR_UNSUPPORTED_MEDIA ||
					    err.code == ERR_TOO_LARGE);
		}
	}
}

/* ---- bombs ---- */

/* Resident memory of the largest converter so far; the sanitizer's own is part of it. */
static void
assert_peak_below(size_t bytes_max)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_CHILDREN, &usage), 0);
	if ((size_t)usage.ru_maxrss * 1024 > bytes_max)
		fail_msg("a converter took %ld KiB", usage.ru_maxrss);
}

static void
assert_next_is_read(void)
{
	begin_docx(W(P("still here")));
	zip_end(&zip);
	convert_kit_blocks(DOCX, bytes(), "P0 still here");
}

static void
bomb_of_ten_gigabytes(void **state)
{
	static char zeros[MIB];
	struct err err;

	(void)state;
	memset(zeros, ' ', sizeof(zeros));
	convert_kit_opts.cpu_s = 600; /* here the budget of bytes is tested, on any machine */
	begin();
	part("_rels/.rels", RELS(RELATION("r1", "officeDocument", "word/document.xml")));
	zip_deflate_repeat(&zip, "word/document.xml", STR("<w:document xmlns:w='w'><w:body><w:p>"),
			   str_make(zeros, sizeof(zeros)), 10240,
			   STR("</w:p></w:body></w:document>"));
	zip_end(&zip);
	assert_in_range(file.len, 9 * MIB, 12 * MIB);
	err = convert_kit_refused(DOCX, bytes());
	assert_int_equal(err.code, ERR_TOO_LARGE);
	assert_peak_below(512 * MIB);
	assert_next_is_read();
}

static void
bomb_of_entities(void **state)
{
	AUTO(buf) struct buf bomb = BUF_INIT(MIB);
	struct err err;

	(void)state;
	buf_add_str(&bomb, "<?xml version='1.0'?><!DOCTYPE w [<!ENTITY l0 'lol'>");
	for (int i = 1; i < 30; i++) {
		buf_printf(&bomb, "<!ENTITY l%d '", i);
		for (int k = 0; k < 10; k++)
			buf_printf(&bomb, "&l%d;", i - 1);
		buf_add_str(&bomb, "'>");
	}
	buf_add_str(&bomb, "]>" P("&l29;"));
	begin_docx(bomb.data);
	zip_end(&zip);
	err = convert_kit_refused(DOCX, bytes());
	assert_int_equal(err.code, ERR_BAD_DOCUMENT);
	assert_non_null(strstr(err.msg, "DOCTYPE"));
	err = convert_kit_refused("application/xml", str_make(bomb.data, bomb.len));
	assert_int_equal(err.code, ERR_BAD_DOCUMENT);
	assert_non_null(strstr(err.msg, "entities"));
	assert_next_is_read();
}

static void
bomb_in_a_bomb(void **state)
{
	AUTO(buf) struct buf inner = BUF_INIT(16 * MIB);
	static char zeros[MIB];

	(void)state;
	begin();
	zip_deflate_repeat(&zip, "0", STR(""), str_make(zeros, sizeof(zeros)), 100, STR(""));
	zip_end(&zip);
	buf_add(&inner, file.data, file.len);
	/* an archive inside is never opened, whatever it is called */
	begin();
	zip_store(&zip, "word/document.xml", str_make(inner.data, inner.len));
	zip_end(&zip);
	assert_int_equal(convert_kit_refused(DOCX, bytes()).code, ERR_BAD_DOCUMENT);
	begin();
	zip_store(&zip, "inner.zip", str_make(inner.data, inner.len));
	zip_end(&zip);
	assert_int_equal(convert_kit_refused("application/octet-stream", bytes()).code,
			 ERR_UNSUPPORTED_MEDIA);
	assert_next_is_read();
}

/* Elements, groups and repeated texts without end. */
static void
bombs_of_depth_and_repetition(void **state)
{
	AUTO(buf) struct buf text = BUF_INIT(32 * MIB);
	struct err err;

	(void)state;
	for (int i = 0; i < 200000; i++)
		buf_add_str(&text, "<w:tbl>");
	begin_docx(text.data);
	zip_end(&zip);
	assert_int_equal(convert_kit_refused(DOCX, bytes()).code, ERR_BAD_DOCUMENT);

	buf_clear(&text);
	buf_add_str(&text, "{\\rtf1");
	for (int i = 0; i < 1000000; i++)
		buf_add_char(&text, '{');
	err = convert_kit_refused("application/rtf", str_make(text.data, text.len));
	assert_int_equal(err.code, ERR_BAD_DOCUMENT);

	/* HTML, 200,000 deep: read in the worker's own process, in bounded memory */
	buf_clear(&text);
	for (int i = 0; i < 200000; i++)
		buf_add_str(&text, "<div>");
	buf_add_str(&text, "deep");
	convert_kit_blocks("text/html", str_make(text.data, text.len), "P0 deep");

	/* one shared text of 64 KiB, a million times */
	begin();
	part("xl/workbook.xml",
	     "<workbook xmlns:r='r'><sheets><sheet name='S' r:id='r1'/></sheets></workbook>");
	part("xl/_rels/workbook.xml.rels",
	     RELS(RELATION("r1", "worksheet", "sheet.xml")
			  RELATION("r2", "sharedStrings", "sst.xml")));
	zip_deflate_repeat(&zip, "xl/sst.xml", STR("<sst><si><t>"), STR("words and words "), 4096,
			   STR("</t></si></sst>"));
	zip_deflate_repeat(&zip, "xl/sheet.xml", STR("<worksheet><sheetData>"),
			   STR("<row><c t='s'><v>0</v></c><c t='s'><v>0</v></c></row>"), 1000000,
			   STR("</sheetData></worksheet>"));
	zip_end(&zip);
	err = convert_kit_refused(XLSX, bytes());
	assert_int_equal(err.code, ERR_TOO_LARGE);
	assert_peak_below(512 * MIB);
	assert_next_is_read();
}

#define OFFICE_TEST(fn) cmocka_unit_test_setup_teardown(fn, open_all, close_all)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		OFFICE_TEST(docx_text),
		OFFICE_TEST(xlsx_text),
		OFFICE_TEST(pptx_text),
		OFFICE_TEST(odt_text),
		OFFICE_TEST(ods_text),
		OFFICE_TEST(odp_text),
		OFFICE_TEST(epub_text),
		OFFICE_TEST(xml_text),
		OFFICE_TEST(rtf_text),
		OFFICE_TEST(csv_text),
		OFFICE_TEST(wrong_types),
		OFFICE_TEST(encrypted),
		OFFICE_TEST(damaged_files),
		OFFICE_TEST(xlsx_million_empty_rows),
		OFFICE_TEST(bomb_of_ten_gigabytes),
		OFFICE_TEST(bomb_of_entities),
		OFFICE_TEST(bomb_in_a_bomb),
		OFFICE_TEST(bombs_of_depth_and_repetition),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
