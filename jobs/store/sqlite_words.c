/*
 * Three things are made known to SQLite through FTS5's public interface (fts5_api): a tokenizer, a ranking function,
 * and nothing else; the index, its search and its phrases are FTS5's own.
 *
 * A question becomes an expression of phrases joined by OR:
 *  1. Each word that is no stop word (if there are others), once, however often and in whatever form it
 *     stands there. Its weight grows with the times it stands there, with less and less gain: a long question says
 *     by repeating what it is about.
 *  2. Each part in double quotes, as a phrase. Its words count as under 1, too: the phrase is preferred, not required,
 *     so a quotation that is slightly wrong still finds what it means.
 *  3. Each identifier, as a phrase: a run without blanks of several words, joined by _ . - : / @ # and the like, with a digit, an
 *     underscore, a dot ... in it (ERR_CONFIG, foo.bar(), CVE-2024-1234, v1.2.3, a@b.org); and runs joined by hyphens
 *     only (boundary-layer), which are a weaker hint.
 *
 * The score of a chunk is BM25 over these phrases (weight * idf * saturated frequency), with idf = ln(1 + (N - n + 0.5) /
 * (n + 0.5)), never negative, and a frequency in which the columns have weights; the length is that of the whole chunk.
 * k1, b and the weights are in struct lexical_weights; docs/retrieval.md has the figures behind them.
 *
 * The number of chunks that hold a phrase is counted once a search (xQueryPhrase), as FTS5's own bm25() does.
 */
#include "jobs/store/sqlite_words.h"

#include <math.h>
#include <sqlite3.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/words.h"

#define TOKENIZER "rag"
#define POINTER_TYPE "rag_words_question"
#define MATCH_MAX_BYTES ((size_t)256 * 1024)
#define SQL_BYTES 512
#define COLUMNS 3
#define PHRASE_MAX_TOKENS 16
#define TOKEN_MAX_BYTES 256 /* longer ones are cut, in the index as in questions */

const struct lexical_weights lexical_weights_chosen = {
	.k1 = 2,
	.b = 0.5,
	.title = 3,
	.heading = 2,
	.repeat = 8,
	.joined = 0,
	.exact = 4,
};

struct sqlite_words {
	fts5_api *api;
	fts5_tokenizer base; /* unicode61 */
	void *base_user;
	Fts5Tokenizer *base_instance; /* for questions */
};

/* ---- the tokenizer ---- */

/* Scripts that write no blanks between words. */
static bool
is_dense_script(uint32_t cp)
{
	return (cp >= 0x3040 && cp <= 0x30FF) || (cp >= 0x3400 && cp <= 0x9FFF) ||
	       (cp >= 0xAC00 && cp <= 0xD7A3) || (cp >= 0x20000 && cp <= 0x3FFFF) ||
	       (cp >= 0x0E00 && cp <= 0x0EFF) || (cp >= 0x1000 && cp <= 0x109F) ||
	       (cp >= 0x1780 && cp <= 0x17FF);
}

/* A word or a pair of characters, folded, not stemmed. */
struct token {
	struct str folded;
	int start, end; /* in the text */
};

typedef int (*token_fn)(void *user, const struct token *token);

struct splitter {
	token_fn fn;
	void *user;
	struct str text;
	bool pairs;
};

static size_t
script_run(struct str folded, size_t at, bool *out_dense)
{
	uint32_t cp = 0;
	size_t end = at + str_utf8_next(folded, at, &cp);

	*out_dense = is_dense_script(cp);
	while (end < folded.len) {
		size_t step = str_utf8_next(folded, end, &cp);

		if (is_dense_script(cp) != *out_dense)
			break;
		end += step;
	}
	return end;
}

/* The pairs of a run; a single character is itself. */
static int
emit_pairs(const struct splitter *splitter, const struct token *run)
{
	uint32_t cp = 0;
	size_t at = 0, one = str_utf8_next(run->folded, 0, &cp);
	int code = SQLITE_OK;

	do {
		size_t two = at + one;

		if (two < run->folded.len)
			two += str_utf8_next(run->folded, two, &cp);
		code = splitter->fn(splitter->user,
				    &(struct token){ str_sub(run->folded, at, two),
						     run->start + (int)at, run->start + (int)two });
		at += one;
		one = at < run->folded.len ? str_utf8_next(run->folded, at, &cp) : 0;
	} while (code == SQLITE_OK && at + one < run->folded.len);
	return code;
}

/* A word of unicode61: as it is, or cut where the script changes; places inside of it are exact only where folding has left the
 * lengths alone. */
static int
on_base_token(void *user, int flags, const char *ptr, int len, int start, int end)
{
	const struct splitter *splitter = user;
	struct str folded = str_make(ptr, (size_t)len);
	size_t at = 0;
	int code = SQLITE_OK;

	(void)flags;
	while (code == SQLITE_OK && at < folded.len) {
		bool dense = false;
		size_t stop = script_run(folded, at, &dense);
		struct token token = { str_sub(folded, at, stop), start + (int)at,
				       start + (int)stop };

		if (stop == folded.len || token.end > end)
			token.end = end;
		if (token.start > token.end)
			token.start = token.end;
		if (dense) {
			code = emit_pairs(splitter, &token);
		} else {
			if (token.folded.len > TOKEN_MAX_BYTES)
				token.folded.len = str_utf8_floor(token.folded, TOKEN_MAX_BYTES);
			code = splitter->fn(splitter->user, &token);
		}
		at = stop;
	}
	return code;
}

struct rag_tokenizer {
	const struct sqlite_words *words;
	Fts5Tokenizer *base;
};

static int
create_tokenizer(void *user, const char **args, int arg_count, Fts5Tokenizer **out)
{
	struct sqlite_words *words = user;
	struct rag_tokenizer *tokenizer = mem_alloc(sizeof(*tokenizer));
	const char *base_args[] = { "remove_diacritics", "2" };

	(void)args;
	(void)arg_count;
	tokenizer->words = words;

	int code = words->base.xCreate(words->base_user, base_args, ARRAY_SIZE(base_args),
				       &tokenizer->base);

	if (code != SQLITE_OK) {
		mem_free(tokenizer);
		return code;
	}
	*out = (Fts5Tokenizer *)tokenizer;
	return SQLITE_OK;
}

static void
delete_tokenizer(Fts5Tokenizer *tokenizer)
{
	struct rag_tokenizer *self = (struct rag_tokenizer *)tokenizer;

	if (self)
		self->words->base.xDelete(self->base);
	mem_free(self);
}

struct emitter {
	void *user;
	int (*fn)(void *user, int flags, const char *ptr, int len, int start, int end);
};

static size_t
stem_of(struct str folded, char out[TOKEN_MAX_BYTES + 1])
{
	memcpy(out, folded.ptr, folded.len);
	out[folded.len] = '\0';
	return folded.len < WORDS_MAX_BYTES ? words_stem(out, folded.len) : folded.len;
}

static int
emit_stem(void *user, const struct token *token)
{
	const struct emitter *emitter = user;
	char stem[TOKEN_MAX_BYTES + 1];
	size_t len = stem_of(token->folded, stem);

	return emitter->fn(emitter->user, 0, stem, (int)len, token->start, token->end);
}

static int
tokenize(Fts5Tokenizer *tokenizer, void *user, int flags, const char *text, int len,
	 int (*fn)(void *, int, const char *, int, int, int))
{
	struct rag_tokenizer *self = (struct rag_tokenizer *)tokenizer;
	struct emitter emitter = { user, fn };
	struct splitter splitter = { .fn = emit_stem, .user = &emitter };

	return self->words->base.xTokenize(self->base, &splitter, flags, text, len, on_base_token);
}

/* ---- the ranking function ---- */

/* What is the same for all chunks of a search. */
struct ranking {
	const struct words_question *question;
	double mean_length;
	double idf[WORDS_MAX_TERMS]; /* times the phrase's weight */
};

static int
count_row(const Fts5ExtensionApi *api, Fts5Context *context, void *user)
{
	(void)api;
	(void)context;
	(*(int64_t *)user)++;
	return SQLITE_OK;
}

static int
begin_ranking(const Fts5ExtensionApi *api, Fts5Context *context,
	      const struct words_question *question, struct ranking **out)
{
	struct ranking *ranking = mem_alloc(sizeof(*ranking));
	sqlite3_int64 rows = 0, tokens = 0;
	size_t phrases = (size_t)api->xPhraseCount(context);
	int code = api->xRowCount(context, &rows);

	if (code == SQLITE_OK)
		code = api->xColumnTotalSize(context, -1, &tokens);
	ranking->question = question;
	ranking->mean_length = rows > 0 && tokens > 0 ? (double)tokens / (double)rows : 1;
	for (size_t i = 0; code == SQLITE_OK && i < phrases && i < question->count; i++) {
		int64_t holders = 0;

		code = api->xQueryPhrase(context, (int)i, &holders, count_row);
		ranking->idf[i] = question->phrase_weights[i] *
				  log1p(((double)(rows - holders) + 0.5) / ((double)holders + 0.5));
	}
	if (code == SQLITE_OK)
		code = api->xSetAuxdata(context, ranking, mem_free);
	else
		mem_free(ranking);
	*out = ranking;
	return code;
}

/* How often the phrase stands in the chunk, by the columns' weights. */
static int
frequency(const Fts5ExtensionApi *api, Fts5Context *context, int phrase,
	  const double column_weights[COLUMNS], double *out)
{
	Fts5PhraseIter at;
	int column = 0, offset = 0;
	int code = api->xPhraseFirst(context, phrase, &at, &column, &offset);

	*out = 0;
	for (; code == SQLITE_OK && column >= 0; api->xPhraseNext(context, &at, &column, &offset))
		*out += column < COLUMNS ? column_weights[column] : 0;
	return code;
}

static int
score_row(const Fts5ExtensionApi *api, Fts5Context *context, const struct ranking *ranking,
	  double *out)
{
	const struct lexical_weights *weights = &ranking->question->weights;
	const double columns[COLUMNS] = { weights->title, weights->heading, 1 };
	int phrases = api->xPhraseCount(context), length = 0;
	int code = api->xColumnSize(context, -1, &length);
	double norm =
		weights->k1 * (1 - weights->b + weights->b * (double)length / ranking->mean_length);

	*out = 0;
	for (int i = 0; code == SQLITE_OK && i < phrases && (size_t)i < ranking->question->count;
	     i++) {
		double times = 0;

		code = frequency(api, context, i, columns, &times);
		*out += ranking->idf[i] * times * (weights->k1 + 1) / (times + norm);
	}
	return code;
}

static void
rank(const Fts5ExtensionApi *api, Fts5Context *context, sqlite3_context *result, int arg_count,
     sqlite3_value **args)
{
	struct ranking *ranking = api->xGetAuxdata(context, 0);
	double score = 0;
	int code = SQLITE_OK;

	if (!ranking) {
		const struct words_question *question =
			arg_count == 1 ? sqlite3_value_pointer(args[0], POINTER_TYPE) : NULL;

		if (!question) {
			sqlite3_result_error(result, SQLITE_WORDS_RANK ": no question is bound",
					     -1);
			return;
		}
		code = begin_ranking(api, context, question, &ranking);
	}
	if (code == SQLITE_OK)
		code = score_row(api, context, ranking, &score);
	if (code == SQLITE_OK)
		sqlite3_result_double(result, score);
	else
		sqlite3_result_error_code(result, code);
}

/* ---- making them known ---- */

static bool
find_api(struct db *db, fts5_api **out, struct err *err)
{
	AUTO_PTR(db_finish) struct sqlite3_stmt *statement = NULL;

	*out = NULL;
	if (!db_prepare(db, "SELECT fts5(?1)", &statement, err))
		return false;
	if (sqlite3_bind_pointer(statement, 1, (void *)out, "fts5_api_ptr", NULL) != SQLITE_OK ||
	    sqlite3_step(statement) != SQLITE_ROW || !*out || (*out)->iVersion < 2)
		return err_set(err, ERR_STORE_FAILED,
			       "cannot use the store: this SQLite has no full-text search (FTS5)");
	return true;
}

bool
sqlite_words_register(struct db *db, struct err *err)
{
	static fts5_tokenizer ours = { create_tokenizer, delete_tokenizer, tokenize };
	const char *base_args[] = { "remove_diacritics", "2" };
	struct sqlite_words *words = mem_alloc(sizeof(*words));

	db->words = words;
	if (!find_api(db, &words->api, err))
		return false;

	int code = words->api->xFindTokenizer(words->api, "unicode61", &words->base_user,
					      &words->base);

	if (code == SQLITE_OK)
		code = words->base.xCreate(words->base_user, base_args, ARRAY_SIZE(base_args),
					   &words->base_instance);
	if (code == SQLITE_OK)
		code = words->api->xCreateTokenizer(words->api, TOKENIZER, words, &ours, NULL);
	if (code == SQLITE_OK)
		code = words->api->xCreateFunction(words->api, SQLITE_WORDS_RANK, words, rank,
						   NULL);
	return code == SQLITE_OK || db_fail(db, code, "prepare full-text search", err);
}

void
sqlite_words_release(struct sqlite_words *words)
{
	if (words && words->base_instance)
		words->base.xDelete(words->base_instance);
	mem_free(words);
}

bool
sqlite_words_create(struct db *db, int64_t collection, struct err *err)
{
	char sql[SQL_BYTES];

	(void)snprintf(sql, sizeof(sql),
		       "CREATE VIRTUAL TABLE words_%lld USING fts5(title, heading, text, "
		       "content='', tokenize='" TOKENIZER "')",
		       (long long)collection);
	return db_exec(db, sql, err);
}

bool
sqlite_words_rebuild(struct db *db, int64_t collection, struct err *err)
{
	long long id = (long long)collection;
	char drop[SQL_BYTES], fill[SQL_BYTES];

	(void)snprintf(drop, sizeof(drop), "DROP TABLE IF EXISTS words_%lld", id);
	(void)snprintf(fill, sizeof(fill),
		       "INSERT INTO words_%lld (rowid, title, heading, text) "
		       "SELECT c.id, g.title, c.heading, c.text FROM generation g "
		       "JOIN chunk c ON c.id BETWEEN g.first_row AND g.last_row "
		       "WHERE g.collection = %lld ORDER BY g.first_row, c.id",
		       id, id);
	return db_exec(db, drop, err) && sqlite_words_create(db, collection, err) &&
	       db_exec(db, fill, err);
}

/* ---- a question ---- */

/* One word of the question: where it stands there (of a word with several scripts only about, since folding changes
 * lengths), and its folded text. */
struct place {
	int start, end;
	size_t folded_at, folded_len; /* in reader.folded */
	uint64_t stem;		      /* hash */
	bool stop, single;
};

struct reader {
	struct str text;
	struct place *places; /* owned; PLACES_MAX */
	size_t count;
	struct buf folded;
};

#define PLACES_MAX ((size_t)4 * WORDS_MAX_TERMS)

/* What an apostrophe leaves: "pump's" an s, "they'll" an ll, "l'eau" an l. */
static bool
is_remnant(struct str text, const struct token *token)
{
	static const char *const endings[] = { "s", "t", "d", "m", "re", "ve", "ll" };
	struct str before = str_sub(text, 0, (size_t)token->start);
	struct str after = str_sub(text, (size_t)token->end, text.len);

	if (token->folded.len == 1 && (str_starts(after, "'") || str_starts(after, "\xE2\x80\x99")))
		return token->folded.ptr[0] >= 'a' && token->folded.ptr[0] <= 'z';
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		if (str_eq_c(token->folded, endings[i]))
			return str_ends(before, "'") || str_ends(before, "\xE2\x80\x99");
	}
	return false;
}

/* Places made from folded text may lie beyond the question. */
static int
inside(struct str text, int place)
{
	return (size_t)place < text.len ? place : (int)text.len;
}

static int
note_place(void *user, const struct token *token)
{
	struct reader *reader = user;
	char stem[TOKEN_MAX_BYTES + 1];
	uint32_t cp = 0;

	if (reader->count == PLACES_MAX)
		return SQLITE_OK;
	(void)str_utf8_next(token->folded, 0, &cp);

	size_t len = stem_of(token->folded, stem);

	reader->places[reader->count++] = (struct place){
		.start = inside(reader->text, token->start),
		.end = inside(reader->text, token->end),
		.folded_at = reader->folded.len,
		.folded_len = token->folded.len,
		.stem = str_hash64(str_make(stem, len), 0),
		.stop = words_is_stop(token->folded) || is_remnant(reader->text, token),
		.single = is_dense_script(cp) && str_utf8_count(token->folded) == 1,
	};
	buf_add(&reader->folded, token->folded.ptr, token->folded.len);
	return buf_ok(&reader->folded) ? SQLITE_OK : SQLITE_NOMEM;
}

/* Adds a phrase to the expression. Its text comes from the question, so quotes in it are left out. */
static void
add_phrase(struct words_question *question, struct str text, bool prefix, double weight)
{
	if (question->count == WORDS_MAX_TERMS)
		return;
	if (question->count > 0)
		buf_add_str(&question->match, " OR ");
	buf_add_char(&question->match, '"');
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c == '"' || c == '\0')
			c = ' ';
		buf_add_char(&question->match, c);
	}
	buf_add_str(&question->match, prefix ? "\" *" : "\"");
	question->phrase_weights[question->count++] = weight;
}

static struct str
text_of(const struct reader *reader, size_t first, size_t last)
{
	return str_sub(reader->text, (size_t)reader->places[first].start,
		       (size_t)reader->places[last].end);
}

static struct str
folded_of(const struct reader *reader, const struct place *place)
{
	return str_make(reader->folded.data + place->folded_at, place->folded_len);
}

/* Each word once; false when there is none. */
static bool
add_words(const struct reader *reader, bool with_stop_words, struct words_question *question)
{
	double repeat = question->weights.repeat;

	for (size_t i = 0; i < reader->count; i++) {
		const struct place *place = &reader->places[i];
		bool seen = false;
		double times = 0;

		if (place->stop && !with_stop_words)
			continue;
		for (size_t k = 0; k < i && !seen; k++)
			seen = reader->places[k].stem == place->stem;
		for (size_t k = i; k < reader->count && !seen; k++)
			times += reader->places[k].stem == place->stem;
		if (!seen)
			add_phrase(question, folded_of(reader, place), place->single,
				   times * (repeat + 1) / (times + repeat));
	}
	return question->count > 0;
}

/* ---- its phrases ---- */

enum join { JOIN_NONE, JOIN_WEAK, JOIN_EXACT };

/* What stands between two words of the question. */
static enum join
join_of(struct str text, const struct place *left, const struct place *right)
{
	struct str gap = str_sub(text, (size_t)left->end, (size_t)right->start);
	unsigned char before = left->end > 0 ? (unsigned char)text.ptr[left->end - 1] : 0;
	unsigned char after =
		(size_t)right->start < text.len ? (unsigned char)text.ptr[right->start] : 0;
	bool digits = before >= '0' && before <= '9' && after >= '0' && after <= '9';

	if (right->start <= left->end || gap.len > 3)
		return JOIN_NONE;
	if (str_eq_c(gap, ",") || str_eq_c(gap, "'"))
		return digits ? JOIN_EXACT : JOIN_NONE;
	if (str_eq_c(gap, "-") || str_eq_c(gap, "/"))
		return JOIN_WEAK; /* boundary-layer, and/or */
	for (size_t i = 0; i < gap.len; i++) {
		if (!strchr("_.:/@#\\~->", gap.ptr[i]))
			return JOIN_NONE;
	}
	return JOIN_EXACT;
}

static bool
has_digit(struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] >= '0' && text.ptr[i] <= '9')
			return true;
	}
	return false;
}

/* "e.g.", "U.S.": single letters say nothing as a phrase. */
static bool
are_letters(const struct reader *reader, size_t first, size_t last)
{
	for (size_t i = first; i <= last; i++) {
		struct str text = text_of(reader, i, i);

		if (text.len > 1 || has_digit(text))
			return false;
	}
	return true;
}

static void
add_joined(const struct reader *reader, struct words_question *question)
{
	for (size_t first = 0, last = 0; first < reader->count; first = last + 1) {
		enum join strongest = JOIN_NONE;

		for (last = first; last + 1 < reader->count && last - first + 1 < PHRASE_MAX_TOKENS;
		     last++) {
			enum join join = join_of(reader->text, &reader->places[last],
						 &reader->places[last + 1]);

			if (join == JOIN_NONE)
				break;
			strongest = join > strongest ? join : strongest;
		}
		if (strongest == JOIN_NONE || are_letters(reader, first, last))
			continue;

		struct str text = text_of(reader, first, last);
		double weight = strongest == JOIN_EXACT || has_digit(text)
					? question->weights.exact
					: question->weights.joined;

		if (weight > 0)
			add_phrase(question, text, false, (double)(last - first + 1) * weight);
	}
}

/* The closing mark for an opening one; 0: it opens nothing. */
static uint32_t
closing_quote(uint32_t cp)
{
	switch (cp) {
	case '"':
		return '"';
	case 0x201C: /* 66 up */
		return 0x201D;
	case 0x201E: /* 99 down */
		return 0x201C;
	case 0xAB:
		return 0xBB;
	case 0x300C:
		return 0x300D;
	default:
		return 0;
	}
}

static void
add_quoted_part(const struct reader *reader, size_t start, size_t end,
		struct words_question *question)
{
	size_t count = 0;

	for (size_t i = 0; i < reader->count; i++)
		count += (size_t)reader->places[i].start >= start &&
			 (size_t)reader->places[i].end <= end;
	if (count > 1 && count <= PHRASE_MAX_TOKENS)
		add_phrase(question, str_sub(reader->text, start, end), false,
			   (double)count * question->weights.exact);
}

static void
add_quoted(const struct reader *reader, struct words_question *question)
{
	size_t start = 0;
	uint32_t closing = 0, cp = 0;

	for (size_t at = 0, step = 0; at < reader->text.len; at += step) {
		step = str_utf8_next(reader->text, at, &cp);
		if (closing != 0 && cp == closing) {
			add_quoted_part(reader, start, at, question);
			closing = 0;
		} else if (closing == 0 && closing_quote(cp) != 0) {
			closing = closing_quote(cp);
			start = at + step;
		}
	}
}

void
words_question_release(struct words_question *question)
{
	buf_release(&question->match);
}

static bool
read_question(struct sqlite_words *words, struct reader *reader, struct words_question *out)
{
	struct splitter splitter = { .fn = note_place, .user = reader };

	if (words->base.xTokenize(words->base_instance, &splitter, FTS5_TOKENIZE_QUERY,
				  reader->text.ptr, (int)reader->text.len,
				  on_base_token) != SQLITE_OK)
		return false;
	/* phrases first: there is room for them then */
	add_quoted(reader, out);
	add_joined(reader, out);
	return add_words(reader, false, out) || add_words(reader, true, out);
}

bool
sqlite_words_question(struct db *db, struct str text, const struct lexical_weights *weights,
		      struct words_question *out, bool *out_any, struct err *err)
{
	struct reader reader = { .text = text, .folded = BUF_INIT(MATCH_MAX_BYTES) };

	*out = (struct words_question){ .weights = weights ? *weights : lexical_weights_chosen,
					.match = BUF_INIT(MATCH_MAX_BYTES) };
	if (text.len > MATCH_MAX_BYTES)
		return err_set(err, ERR_TOO_LARGE, "the question is longer than %zu bytes",
			       MATCH_MAX_BYTES);
	reader.places = mem_array(PLACES_MAX, sizeof(*reader.places));
	*out_any = text.len > 0 && read_question(db->words, &reader, out);
	mem_free(reader.places);
	buf_release(&reader.folded);
	return buf_check(&out->match, "the question's words", err);
}

void
sqlite_words_bind(struct db *db, struct sqlite3_stmt *statement, int at,
		  const struct words_question *question)
{
	int code = sqlite3_bind_pointer(statement, at, (void *)(uintptr_t)question, POINTER_TYPE,
					NULL);

	if (code != SQLITE_OK)
		db->bind_error = code;
}
