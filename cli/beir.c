/*
 * Everything is checked before anything is used: judgements first (sorted by question and document), then the
 * questions, which take theirs, then the corpus, of which only hashes of the ids are kept.
 */
#include "cli/beir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define ARENA_BYTES ((size_t)1 << 30)
#define GRADE_MAX 1000
#define PATH_BYTES 4352
#define IDS_FIRST 4096 /* a power of two */
#define QRELS "qrels/test.tsv"

/* ---- lines ---- */

static FILE *
open_file(const char *folder, const char *name, struct err *err)
{
	char path[PATH_BYTES];
	int len = snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = len > 0 && (size_t)len < sizeof(path) ? fopen(path, "re") : NULL;

	if (!file)
		err_set(err, ERR_IO, "cannot read '%s/%s': %s", folder, name,
			strerrordesc_np(errno));
	return file;
}

/* ERR_INVALID, "corpus.jsonl:17: <what>". */
static bool
at_line(struct err *err, const char *name, int64_t line)
{
	err->code = ERR_INVALID;
	return err_wrap(err, "%s:%lld", name, (long long)line);
}

/* The next line without its end; *out_line false at the end of the file. */
static bool
read_line(struct beir_lines *lines, const char *name, struct str *out, bool *out_line,
	  struct err *err)
{
	errno = 0;

	ssize_t len = getline(&lines->line, &lines->room, lines->file);

	*out_line = len > 0;
	if (len <= 0) {
		if (ferror(lines->file))
			return err_set(err, ERR_IO, "cannot read %s: %s", name,
				       strerrordesc_np(errno));
		return true;
	}
	lines->number++;
	*out = str_make(lines->line, (size_t)len);
	if (lines->number == 1 && str_starts(*out, "\xEF\xBB\xBF"))
		*out = str_sub(*out, 3, out->len);
	*out = str_trim(*out);
	if (out->len > BEIR_LINE_MAX_BYTES) {
		err_set(err, ERR_INVALID, "the line is longer than %zu bytes", BEIR_LINE_MAX_BYTES);
		return at_line(err, name, lines->number);
	}
	return true;
}

/* ---- rows of the corpus and of the questions ---- */

/* One row; *out_row false at the end. Empty lines are passed over. */
static bool
next_row(struct beir_corpus *from, const char *name, struct beir_row *out, bool *out_row,
	 struct err *err)
{
	struct str line = STR("");
	int64_t number = 0;

	js_free(from->json);
	from->json = NULL;
	do {
		if (!read_line(&from->lines, name, &line, out_row, err))
			return false;
	} while (*out_row && line.len == 0);
	if (!*out_row)
		return true;
	if (!js_parse(line, &from->json, err))
		return at_line(err, name, from->lines.number);
	*out = (struct beir_row){ .title = STR(""), .text = STR(""), .line = from->lines.number };
	if (js_is(from->json, JS_OBJECT)) {
		(void)js_get_str(from->json, "title", &out->title);
		(void)js_get_str(from->json, "text", &out->text);
		if (js_get_int(from->json, "_id", &number)) {
			(void)snprintf(from->id_text, sizeof(from->id_text), "%lld",
				       (long long)number);
			out->id = str_of(from->id_text);
		} else {
			(void)js_get_str(from->json, "_id", &out->id);
		}
	}
	if (out->id.len == 0) {
		err_set(err, ERR_INVALID, "there is no \"_id\"");
		return at_line(err, name, from->lines.number);
	}
	out->title = str_trim(out->title);
	return true;
}

static bool
rows_open(struct beir_corpus *rows, const char *folder, const char *name, struct err *err)
{
	*rows = (struct beir_corpus){ .lines = { .file = open_file(folder, name, err) } };
	return rows->lines.file != NULL;
}

bool
beir_corpus_open(struct beir_corpus *corpus, const char *folder, struct err *err)
{
	return rows_open(corpus, folder, "corpus.jsonl", err);
}

bool
beir_corpus_next(struct beir_corpus *corpus, struct beir_row *out, bool *out_row, struct err *err)
{
	return next_row(corpus, "corpus.jsonl", out, out_row, err);
}

void
beir_corpus_release(struct beir_corpus *corpus)
{
	js_free(corpus->json);
	free(corpus->lines.line);
	if (corpus->lines.file)
		(void)fclose(corpus->lines.file);
	*corpus = (struct beir_corpus){ .json = NULL };
}

/* ---- ids that were there already: 16 bytes each ---- */

struct ids {
	struct id_line {
		uint64_t hash; /* 0 = empty */
		int64_t line;
	} * slots; /* owned */
	size_t size, count;
};

static struct id_line *
find_id(struct id_line *slots, size_t size, uint64_t hash)
{
	size_t at = (size_t)hash & (size - 1);

	while (slots[at].hash != 0 && slots[at].hash != hash)
		at = (at + 1) & (size - 1);
	return &slots[at];
}

static struct id_line *
id_slot(struct ids *ids, struct str id)
{
	uint64_t hash = str_hash64(id, 0);

	return find_id(ids->slots, ids->size, hash > 0 ? hash : 1);
}

static void
ids_grow(struct ids *ids)
{
	size_t size = ids->size > 0 ? 2 * ids->size : IDS_FIRST;
	struct id_line *slots = mem_array(size, sizeof(*slots));

	for (size_t i = 0; i < ids->size; i++) {
		if (ids->slots[i].hash != 0)
			*find_id(slots, size, ids->slots[i].hash) = ids->slots[i];
	}
	mem_free(ids->slots);
	ids->slots = slots;
	ids->size = size;
}

static bool
ids_add(struct ids *ids, const char *name, const struct beir_row *row, struct err *err)
{
	uint64_t hash = str_hash64(row->id, 0);

	if (2 * ids->count >= ids->size)
		ids_grow(ids);

	struct id_line *slot = id_slot(ids, row->id);

	if (slot->hash != 0) {
		err_set(err, ERR_INVALID, "the _id '" STR_FMT "' stands in line %lld already",
			STR_ARG(row->id), (long long)slot->line);
		return at_line(err, name, row->line);
	}
	*slot = (struct id_line){ hash > 0 ? hash : 1, row->line };
	ids->count++;
	return true;
}

static bool
ids_have(struct ids *ids, struct str id)
{
	return ids->count > 0 && id_slot(ids, id)->hash != 0;
}

static void
ids_release(struct ids *ids)
{
	mem_free(ids->slots);
}

/* ---- judgements ---- */

struct judged_row {
	struct str query;
	struct score_judgement judgement;
	int64_t line;
};

struct judged {
	struct judged_row *rows; /* owned */
	size_t count;
};

static void
judged_release(struct judged *judged)
{
	mem_free(judged->rows);
}

static int
by_query_document(const void *a, const void *b)
{
	const struct judged_row *left = a, *right = b;
	int order = str_cmp(left->query, right->query);

	if (order == 0)
		order = score_by_document(&left->judgement, &right->judgement);
	return order != 0 ? order : (left->line > right->line) - (left->line < right->line);
}

static bool
keep(struct arena *arena, struct str text, struct str *out, struct err *err)
{
	void *copy = NULL;

	if (!arena_alloc_err(arena, text.len + 1, "questions and judgements", &copy, err))
		return false;
	if (text.len > 0)
		memcpy(copy, text.ptr, text.len);
	*out = str_make(copy, text.len);
	return true;
}

static bool
add_judged(struct beir *beir, struct judged *judged, struct str line, int64_t number,
	   struct err *err)
{
	struct str rest = line, query = STR(""), document = STR("");
	struct judged_row row = { .line = number };
	bool parts = str_split(&rest, '\t', &query) && str_split(&rest, '\t', &document);

	if (!parts || query.len == 0 || document.len == 0 ||
	    !str_to_i64(str_trim(rest), -GRADE_MAX, GRADE_MAX, &row.judgement.grade)) {
		if (number == 1)
			return true; /* the head */
		err_set(err, ERR_INVALID,
			"the line is not <question> <tab> <document> <tab> <grade>");
		return at_line(err, QRELS, number);
	}
	if (!keep(&beir->arena, query, &row.query, err) ||
	    !keep(&beir->arena, document, &row.judgement.document, err))
		return false;
	if ((judged->count & (judged->count + 1)) == 0)
		judged->rows = mem_grow(judged->rows, 2 * judged->count + 2, sizeof(*judged->rows));
	judged->rows[judged->count++] = row;
	return true;
}

static bool
read_judged(struct beir *beir, struct judged *judged, FILE *file, struct err *err)
{
	struct beir_lines lines = { .file = file };
	struct str text = STR("");
	bool more = true, ok = true;

	while (ok && more) {
		ok = read_line(&lines, QRELS, &text, &more, err);
		if (ok && more && text.len > 0)
			ok = add_judged(beir, judged, text, lines.number, err);
	}
	free(lines.line);
	if (ok && judged->count == 0)
		ok = err_set(err, ERR_INVALID, QRELS " has no judgement");
	return ok;
}

/* Sorts, and makes equal rows one; the same pair with two grades is an error. */
static bool
sort_judged(struct judged *judged, struct err *err)
{
	size_t kept = 0;

	qsort(judged->rows, judged->count, sizeof(*judged->rows), by_query_document);
	for (size_t i = 0; i < judged->count; i++) {
		const struct judged_row *row = &judged->rows[i];
		const struct judged_row *last = kept > 0 ? &judged->rows[kept - 1] : NULL;

		if (!last || !str_eq(last->query, row->query) ||
		    !str_eq(last->judgement.document, row->judgement.document)) {
			judged->rows[kept++] = *row;
			continue;
		}
		if (last->judgement.grade != row->judgement.grade) {
			err_set(err, ERR_INVALID,
				"question '" STR_FMT "' and document '" STR_FMT
				"' have another grade in line %lld",
				STR_ARG(row->query), STR_ARG(row->judgement.document),
				(long long)last->line);
			return at_line(err, QRELS, row->line);
		}
	}
	judged->count = kept;
	return true;
}

static bool
load_judged(struct beir *beir, struct judged *judged, const char *folder, struct err *err)
{
	FILE *file = open_file(folder, QRELS, err);
	bool ok = file && read_judged(beir, judged, file, err) && sort_judged(judged, err);

	if (file)
		(void)fclose(file);
	return ok;
}

/* ---- questions ---- */

/* Takes the judgements of one question; none of them relevant: the question is left out. */
static bool
add_query(struct beir *beir, const struct beir_row *row, const struct judged *judged,
	  size_t *used_judged, struct err *err)
{
	struct beir_query query = { .line = row->line };
	const struct judged_row key = { .query = row->id };
	size_t first = 0, end = judged->count;
	void *list = NULL;

	while (first < end) { /* the first one of the question */
		size_t middle = first + (end - first) / 2;

		if (str_cmp(judged->rows[middle].query, key.query) < 0)
			first = middle + 1;
		else
			end = middle;
	}
	for (end = first; end < judged->count && str_eq(judged->rows[end].query, row->id); end++)
		query.relevant += judged->rows[end].judgement.grade > 0;
	*used_judged += end - first;
	if (query.relevant == 0) {
		beir->queries_without++;
		return true;
	}
	query.judged_count = end - first;
	if (!arena_alloc_err(&beir->arena, query.judged_count * sizeof(struct score_judgement),
			     "judgements", &list, err) ||
	    !keep(&beir->arena, row->id, &query.id, err) ||
	    !keep(&beir->arena, str_trim(row->text), &query.text, err))
		return false;
	for (size_t i = first; i < end; i++)
		((struct score_judgement *)list)[i - first] = judged->rows[i].judgement;
	query.judged = list;
	if (query.text.len == 0) {
		err_set(err, ERR_INVALID, "the question has no \"text\"");
		return at_line(err, "queries.jsonl", row->line);
	}
	if ((beir->query_count & (beir->query_count + 1)) == 0)
		beir->queries =
			mem_grow(beir->queries, 2 * beir->query_count + 2, sizeof(*beir->queries));
	beir->queries[beir->query_count++] = query;
	return true;
}

static bool
read_queries(struct beir *beir, const struct judged *judged, const char *folder, struct err *err)
{
	struct ids ids = { .slots = NULL };
	struct beir_corpus rows = { .json = NULL };
	struct beir_row row;
	size_t used = 0;
	bool more = true;
	bool ok = rows_open(&rows, folder, "queries.jsonl", err);

	while (ok && more) {
		ok = next_row(&rows, "queries.jsonl", &row, &more, err);
		if (ok && more)
			ok = ids_add(&ids, "queries.jsonl", &row, err) &&
			     add_query(beir, &row, judged, &used, err);
	}
	beir_corpus_release(&rows);
	ids_release(&ids);
	beir->judged_unknown = judged->count - used;
	if (ok && beir->query_count == 0)
		ok = err_set(err, ERR_INVALID,
			     "no question of queries.jsonl has a relevant document in " QRELS);
	return ok;
}

/* ---- everything ---- */

static bool
check_corpus(struct beir *beir, const char *folder, struct err *err)
{
	AUTO(beir_corpus) struct beir_corpus corpus = { .json = NULL };
	AUTO(ids) struct ids ids = { .slots = NULL };
	struct beir_row row;
	bool more = true;

	if (!beir_corpus_open(&corpus, folder, err))
		return false;
	while (more) {
		if (!beir_corpus_next(&corpus, &row, &more, err) ||
		    (more && !ids_add(&ids, "corpus.jsonl", &row, err)))
			return false;
		beir->documents += more;
		beir->without += more && row.title.len == 0 && str_trim(row.text).len == 0;
	}
	if (beir->documents == beir->without)
		return err_set(err, ERR_INVALID, "corpus.jsonl has no document");
	for (size_t q = 0; q < beir->query_count; q++) {
		for (size_t i = 0; i < beir->queries[q].judged_count; i++)
			beir->judged_missing +=
				!ids_have(&ids, beir->queries[q].judged[i].document);
	}
	return true;
}

bool
beir_read(struct beir *beir, const char *folder, struct err *err)
{
	AUTO(judged) struct judged judged = { .rows = NULL };

	*beir = (struct beir){ .queries = NULL };
	arena_init(&beir->arena, ARENA_BYTES);
	return load_judged(beir, &judged, folder, err) &&
	       read_queries(beir, &judged, folder, err) && check_corpus(beir, folder, err);
}

void
beir_release(struct beir *beir)
{
	mem_free(beir->queries);
	arena_release(&beir->arena);
	*beir = (struct beir){ .queries = NULL };
}
