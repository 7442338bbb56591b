/*
 * extractive: answers with sentences of the sources themselves. No model, no network, always the same answer.
 *
 * 1. The question becomes terms: its words without stop words, stemmed. Rare terms weigh more; how rare, the
 *    sources tell, but only mildly: the very topic of a question stands in all of them.
 * 2. Does it fit at all? The best source and the best sentence must hold most of the question's terms (title and
 *    heading count), or two sentences together nearly all. A term that no source holds weighs more, and a name or number
 *    that no source holds most: a page about capital letters does not say what the capital of France is.
 *    Otherwise the answer is a refusal.
 * 3. A sentence that points back ("It nests ...") is taken together with the one before it. Each is scored by the terms it holds, by terms of its title and heading, pairs that stand together as in
 *    the question, its source's score, a beginning that fits ("To create ...", "X is ..."); fragments, questions, very
 *    long ones and those that point back ("However, it ...") lose.
 * 4. Sentences are picked one by one (maximal marginal relevance): what is new about the question counts, what was
 *    already said (overlapping chunks, copies) is never said again, another document is preferred among equals.
 *    It stops when the next is much worse than the first, or at the limit.
 * 5. They are written document by document, in the order of the text, each with its mark [n].
 *
 * Sources are quoted, never obeyed: text in them is data. What looks like a citation in a quote gets an invisible word joiner
 * (U+2060) after the bracket, so that neither cite_answer nor a client takes it for one of ours. Apart from
 * that, folded white space and the end of a cut sentence, quotes are verbatim.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "jobs/provider/local.h"
#include "jobs/provider/question.h"
#include "jobs/provider/sentence.h"
#include "jobs/step/cite.h"

#define MODEL "extractive"
#define REFUSAL "I could not find an answer to this question in the documents."

#define UNITS_MAX 20000	  /* sentences looked at */
#define CANDIDATES_MAX 48 /* of them, those that selection compares */
#define STEMS_MAX 96	  /* of a sentence, for likeness */
#define SHORT_STEMS 7
#define SENTENCES_MAX 4 /* in an answer */
#define CHARS_PER_TOKEN 4
#define ANSWER_MAX_BYTES 1600 /* without max_tokens */
#define FOLLOW_MAX_BYTES 160  /* of what "as follows:" announces */

/* how much of the question (by coverage weight) the best source and the best sentence must hold */
#define COVERAGE_MIN 0.62
#define SENTENCE_COVERAGE_MIN 0.6
#define TOGETHER_COVERAGE_MIN 0.75 /* of two sentences with two terms each */
#define UNIT_COVERAGE_MIN 0.25	   /* of a sentence looked at */
/* selection */
#define SAME_ABOVE 0.6	 /* likeness from which two sentences say the same */
#define GOOD_ENOUGH 0.62 /* of the best one's score */
#define NEW_ENOUGH 0.2	 /* of the question: a sentence that brings that much ... */
#define GOOD_IF_NEW 0.4	 /* ... needs only that */

struct unit {
	size_t source; /* index */
	size_t start, end;
	size_t follow_end; /* > end: what a colon announces, quoted with it */
	uint64_t mask;	   /* the question's terms it holds */
	double score;
	uint64_t *stems; /* arena; candidates only; ascending, each once */
	size_t stem_count;
	bool picked;
};

struct answer {
	const struct generate_request *request;
	struct arena *arena;
	struct question question;
	uint64_t *context;  /* a source: terms in its title and heading */
	uint64_t *content;  /* a source: the same, and in its text */
	struct unit *units; /* owned */
	size_t unit_count, unit_cap;
	struct unit *candidates[CANDIDATES_MAX];
	size_t candidate_count;
	struct unit *picked[SENTENCES_MAX];
	size_t picked_count;
	size_t budget_bytes;
};

static void
answer_release(struct answer *answer)
{
	mem_free(answer->units);
	answer->units = NULL;
}

/* ---- the question and its sources ---- */

/* Fills context and content, and the weights. */
static bool
read_sources(struct answer *answer, struct err *err)
{
	const struct generate_request *request = answer->request;
	struct question *question = &answer->question;

	answer->context = arena_array(answer->arena, request->count + 1, sizeof(uint64_t));
	answer->content = arena_array(answer->arena, request->count + 1, sizeof(uint64_t));
	if (!answer->context || !answer->content)
		return err_set(err, ERR_TOO_LARGE, "cannot hold %zu sources", request->count);
	for (size_t i = 0; i < request->count; i++) {
		const struct source *source = &request->sources[i];

		answer->context[i] = question_mask(question, source->title) |
				     question_mask(question, source->heading);
		answer->content[i] = answer->context[i] | question_mask(question, source->text);
		for (size_t t = 0; t < question->count; t++)
			question->terms[t].sources += answer->content[i] >> t & 1;
	}
	question_weigh(question, request->count);
	return true;
}

/* ---- sentences ---- */

struct look {
	size_t words;
	size_t pairs;	  /* terms that follow each other as in the question */
	bool begins_with; /* a term is among its first words */
	bool defines;	  /* a term, then is or are */
	bool leans;	  /* begins with what points back: this, it, however */
	bool to;	  /* begins with To */
	uint64_t mask;
};

static bool
points_back(struct str word)
{
	static const char *const words[] = { "again",	  "also",      "but",	  "furthermore",
					     "generally", "however",   "instead", "it",
					     "moreover",  "otherwise", "such",	  "that",
					     "then",	  "therefore", "these",	  "they",
					     "this",	  "those",     "thus" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (str_eq_nocase(word, str_of(words[i])))
			return true;
	return false;
}

static bool
is_to_be(struct str word)
{
	return str_eq_nocase(word, STR("is")) || str_eq_nocase(word, STR("are"));
}

static struct look
look_at(const struct question *question, struct str text)
{
	struct token_reader reader = { .text = text };
	struct look look = { 0 };
	struct token token;
	uint64_t last = 0;

	for (; token_next(&reader, &token); look.words++) {
		uint64_t bit = question_bit(question, token.stem);

		if (look.words == 0) {
			look.leans = points_back(token.text);
			look.to = str_eq_nocase(token.text, STR("to"));
		}
		if (last && look.words < 6 && is_to_be(token.text))
			look.defines = true;
		if (bit && last && bit == last << 1)
			look.pairs++;
		if (bit && look.words < 3)
			look.begins_with = true;
		look.mask |= bit;
		last = bit;
	}
	return look;
}

static double
score_of(const struct answer *answer, size_t source, struct str text, const struct sentence *piece,
	 const struct look *look)
{
	const struct question *question = &answer->question;
	double score = question_rank(question, look->mask);

	score += 0.35 * question_rank(question, answer->context[source] & ~look->mask);
	score += 0.2 * (double)answer->request->sources[source].score;
	score += 0.06 * (double)(look->pairs < 3 ? look->pairs : 3);
	if (look->begins_with)
		score += 0.06;
	if ((question->how && look->to) || (question->what_is && look->defines))
		score += 0.12;
	if (look->leans)
		score -= 0.1;
	if (look->words < 5)
		score -= 0.25;
	if (look->words > 50)
		score -= 0.1;
	if (!piece->full)
		score -= 0.15;
	if (text.ptr[piece->end - 1] == '?')
		score -= 0.3;
	if (text.ptr[piece->start] == '|')
		score -= 0.3; /* a row of a Markdown table: half a sentence at best */
	return score;
}

/* Headings are quoted by nobody: marked ones, and lines that repeat the chunk's heading or the title. */
static bool
is_heading(const struct source *source, struct str line)
{
	return str_eq(line, source->title) ||
	       (line.len > 0 && source->heading.len >= line.len &&
		str_eq(line, str_sub(source->heading, source->heading.len - line.len,
				     source->heading.len)));
}

/* "... the following command:" is quoted with what follows. */
static size_t
follow_end(struct str text, const struct sentence *piece)
{
	struct sentence next;
	size_t at = piece->end;

	if (text.ptr[piece->end - 1] != ':' || !sentence_next(text, &at, &next) ||
	    next.end - next.start > FOLLOW_MAX_BYTES)
		return piece->end;
	return next.end;
}

static void
add_unit(struct answer *answer, const struct unit *unit)
{
	if (answer->unit_count == answer->unit_cap) {
		answer->unit_cap = answer->unit_cap ? answer->unit_cap * 2 : 64;
		answer->units = mem_grow(answer->units, answer->unit_cap, sizeof(*answer->units));
	}
	answer->units[answer->unit_count++] = *unit;
}

/*
 * "It nests in trees." says what only together with the sentence before it: quoted as one piece, with the terms of
 * both. Only inside a paragraph, and only when the two are no longer than a sentence may be.
 */
static void
join_before(struct str text, const struct sentence *before, const struct look *before_look,
	    struct sentence *piece, struct look *look)
{
	bool near = before->full && before->end <= piece->start &&
		    piece->start - before->end <= 2 &&
		    piece->end - before->start <= SENTENCE_MAX_BYTES;

	if (!look->leans || !near || before_look->mask == 0 ||
	    str_find(str_sub(text, before->end, piece->start), STR("\n\n"), &(size_t){ 0 }))
		return;
	piece->start = before->start;
	look->mask |= before_look->mask;
	look->begins_with = before_look->begins_with;
	look->defines = before_look->defines;
	look->words += before_look->words;
	look->leans = before_look->leans;
}

static void
read_sentences(struct answer *answer, size_t index)
{
	struct sentence before = { 0 };
	struct look before_look = { 0 };
	const struct source *source = &answer->request->sources[index];
	struct sentence piece;
	/* the first sentence of a source says what it is about, unless it is the rest of one */
	bool rest =
		source->text.len > 0 && source->text.ptr[0] >= 'a' && source->text.ptr[0] <= 'z';
	double place = rest ? -0.25 : 0.05;

	for (size_t at = 0;
	     answer->unit_count < UNITS_MAX && sentence_next(source->text, &at, &piece);) {
		struct str text = str_sub(source->text, piece.start, piece.end);
		struct look look = look_at(&answer->question, text), own = look;
		struct sentence whole = piece;

		join_before(source->text, &before, &before_look, &whole, &look);
		before = piece;
		before_look = own;
		if (piece.heading || look.words < 2 || is_heading(source, text))
			continue;

		double score = score_of(answer, index, source->text, &whole, &look) + place;

		place = 0;
		if (look.mask == 0 ||
		    question_coverage(&answer->question, look.mask | answer->context[index]) <
			    UNIT_COVERAGE_MIN)
			continue;
		add_unit(answer, &(struct unit){ .source = index,
						 .start = whole.start,
						 .end = whole.end,
						 .follow_end = follow_end(source->text, &piece),
						 .mask = look.mask,
						 .score = score });
	}
}

/* ---- selection ---- */

static int
by_score(const void *a, const void *b)
{
	const struct unit *x = a, *y = b;

	if (x->score != y->score)
		return x->score < y->score ? 1 : -1;
	if (x->source != y->source)
		return x->source < y->source ? -1 : 1;
	return x->start < y->start ? -1 : x->start > y->start;
}

static int
by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static bool
read_stems(struct answer *answer, struct unit *unit, struct err *err)
{
	struct str text =
		str_sub(answer->request->sources[unit->source].text, unit->start, unit->end);
	struct token_reader reader = { .text = text };
	struct token token;
	uint64_t stems[STEMS_MAX];
	size_t count = 0, kept = 0;

	while (count < STEMS_MAX && token_next(&reader, &token))
		stems[count++] = token.stem;
	qsort(stems, count, sizeof(stems[0]), by_value);
	for (size_t i = 0; i < count; i++)
		if (kept == 0 || stems[i] != stems[kept - 1])
			stems[kept++] = stems[i];
	unit->stems = arena_array(answer->arena, kept + 1, sizeof(stems[0]));
	if (!unit->stems)
		return err_set(err, ERR_TOO_LARGE, "cannot hold the sentences to choose from");
	memcpy(unit->stems, stems, kept * sizeof(stems[0]));
	unit->stem_count = kept;
	return true;
}

/* Words in both, of the words in the shorter one (1 = nothing new); of all words when that is very short. */
static double
likeness(const struct unit *a, const struct unit *b)
{
	size_t both = 0, i = 0, k = 0;
	size_t fewer = a->stem_count < b->stem_count ? a->stem_count : b->stem_count;

	while (i < a->stem_count && k < b->stem_count) {
		uint64_t x = a->stems[i], y = b->stems[k];

		both += x == y;
		i += x <= y;
		k += y <= x;
	}
	if (fewer < SHORT_STEMS)
		fewer = a->stem_count + b->stem_count - both;
	return fewer > 0 ? (double)both / (double)fewer : 1;
}

static bool
choose_candidates(struct answer *answer, struct err *err)
{
	if (answer->unit_count > 0)
		qsort(answer->units, answer->unit_count, sizeof(*answer->units), by_score);
	for (size_t i = 0; i < answer->unit_count && i < CANDIDATES_MAX; i++) {
		if (!read_stems(answer, &answer->units[i], err))
			return false;
		answer->candidates[answer->candidate_count++] = &answer->units[i];
	}
	return true;
}

static double
unit_coverage(const struct answer *answer, const struct unit *unit)
{
	return question_coverage(&answer->question, unit->mask | answer->context[unit->source]);
}

/* A question about two things may be answered by two sentences that both say something telling. */
static bool
fits_together(const struct answer *answer)
{
	uint64_t telling = answer->question.telling;

	for (size_t i = 0; i < answer->candidate_count; i++) {
		uint64_t a = answer->candidates[i]->mask;

		for (size_t k = i + 1; k < answer->candidate_count; k++) {
			uint64_t b = answer->candidates[k]->mask;

			if (__builtin_popcountll(a & telling) >= 2 &&
			    __builtin_popcountll(b & telling) >= 2 &&
			    question_coverage(&answer->question, a | b) >= TOGETHER_COVERAGE_MIN)
				return true;
		}
	}
	return false;
}

static bool
fits(const struct answer *answer)
{
	double source = 0, sentence = 0;

	for (size_t i = 0; i < answer->request->count; i++) {
		double coverage = question_coverage(&answer->question, answer->content[i]);

		source = coverage > source ? coverage : source;
	}
	for (size_t i = 0; i < answer->candidate_count; i++) {
		double coverage = unit_coverage(answer, answer->candidates[i]);

		sentence = coverage > sentence ? coverage : sentence;
	}
	return (source >= COVERAGE_MIN && sentence >= SENTENCE_COVERAGE_MIN) ||
	       fits_together(answer);
}

/* The terms of the sentences picked so far. */
static uint64_t
said_mask(const struct answer *answer)
{
	uint64_t said = 0;

	for (size_t i = 0; i < answer->picked_count; i++)
		said |= answer->picked[i]->mask;
	return said;
}

/* What a candidate adds to those picked; below 0: nothing. */
static double
value_of(const struct answer *answer, const struct unit *unit)
{
	uint64_t said = said_mask(answer);
	double like = 0;
	bool new_document = true;
	struct str document = answer->request->sources[unit->source].document_id;

	for (size_t i = 0; i < answer->picked_count; i++) {
		const struct unit *other = answer->picked[i];
		double l = likeness(unit, other);

		if (unit->source == other->source && unit->start < other->end &&
		    other->start < unit->end)
			return -1; /* a piece of it is said already */
		like = l > like ? l : like;
		if (str_eq(document, answer->request->sources[other->source].document_id))
			new_document = false;
	}
	if (like >= SAME_ABOVE && answer->picked_count > 0)
		return -1;
	return unit->score + 0.35 * question_rank(&answer->question, unit->mask & ~said) -
	       0.4 * like + (new_document ? 0.03 : 0);
}

/* How good, against the best, a sentence must be to be said as well. */
static double
enough_for(const struct answer *answer, const struct unit *unit)
{
	double brings = question_rank(&answer->question, unit->mask & ~said_mask(answer));

	return brings >= NEW_ENOUGH ? GOOD_IF_NEW : GOOD_ENOUGH;
}

static size_t
cost_of(const struct unit *unit)
{
	return unit->follow_end - unit->start + sizeof(" [999] ");
}

static void
pick(struct answer *answer)
{
	double first = 0;
	size_t left = answer->budget_bytes;

	while (answer->picked_count < SENTENCES_MAX) {
		struct unit *best = NULL;
		double best_value = 0;

		for (size_t i = 0; i < answer->candidate_count; i++) {
			struct unit *unit = answer->candidates[i];
			double value = unit->picked ? -1 : value_of(answer, unit);

			/* the first may be cut, others must fit */
			if (value > best_value &&
			    (answer->picked_count == 0 || cost_of(unit) <= left)) {
				best = unit;
				best_value = value;
			}
		}
		if (!best || best_value < first * enough_for(answer, best))
			return;
		if (answer->picked_count == 0)
			first = best->score;
		best->picked = true;
		answer->picked[answer->picked_count++] = best;
		left -= cost_of(best) < left ? cost_of(best) : left;
	}
}

/* ---- writing ---- */

/* Documents in the order of their best sentence, inside them the order of the text. */
static void
order_picked(struct answer *answer)
{
	const struct source *sources = answer->request->sources;

	for (size_t done = 0; done < answer->picked_count;) {
		struct str document = sources[answer->picked[done]->source].document_id;
		size_t from = done++;

		for (size_t i = done; i < answer->picked_count; i++) {
			struct unit *unit = answer->picked[i];

			if (!str_eq(sources[unit->source].document_id, document))
				continue;
			memmove(&answer->picked[done + 1], &answer->picked[done],
				(i - done) * sizeof(struct unit *));
			answer->picked[done++] = unit;
		}
		for (size_t i = from + 1; i < done; i++) {
			struct unit *unit = answer->picked[i];
			size_t k = i;

			for (; k > from && (answer->picked[k - 1]->source > unit->source ||
					    (answer->picked[k - 1]->source == unit->source &&
					     answer->picked[k - 1]->start > unit->start));
			     k--)
				answer->picked[k] = answer->picked[k - 1];
			answer->picked[k] = unit;
		}
	}
}

/* White space folded; what looks like a citation made harmless. */
static void
write_quote(struct buf *out, struct str quote)
{
	bool space = false;

	for (size_t i = 0; i < quote.len; i++) {
		char c = quote.ptr[i];

		if (c == ' ' || (c >= '\t' && c <= '\r')) {
			space = true;
			continue;
		}
		if (space)
			buf_add_char(out, ' ');
		space = false;
		buf_add_char(out, c);
		if (c == '[' && cite_begins_mark(quote, i))
			buf_add_str(out, CITE_WORD_JOINER);
	}
}

/* At most max bytes of a sentence, cut between words. */
static struct str
shorten(struct str text, size_t max, bool *out_cut)
{
	*out_cut = text.len > max;
	if (!*out_cut)
		return text;

	size_t end = str_utf8_floor(text, max), at = end;

	while (at > 0 && text.ptr[at - 1] != ' ' && text.ptr[at - 1] != '\n')
		at--;
	return str_trim(str_sub(text, 0, at > 0 ? at : end));
}

static bool
tell(const struct generate_request *request, struct str piece, struct err *err)
{
	return !request->on_text || request->on_text(request->user, piece, err);
}

static bool
write_answer(struct answer *answer, struct generated *out, struct err *err)
{
	AUTO(buf) struct buf text = BUF_INIT((size_t)SENTENCES_MAX * 4 * SENTENCE_MAX_BYTES);

	order_picked(answer);
	for (size_t i = 0; i < answer->picked_count; i++) {
		const struct unit *unit = answer->picked[i];
		const struct source *source = &answer->request->sources[unit->source];
		bool cut = false;
		size_t from = text.len;
		struct str quote = shorten(str_sub(source->text, unit->start, unit->follow_end),
					   answer->budget_bytes, &cut);

		if (i > 0)
			buf_add_char(&text, ' ');
		write_quote(&text, quote);
		buf_printf(&text, "%s [%d]", cut ? " ..." : "", source->n);
		if (!tell(answer->request, str_make(text.data + from, text.len - from), err))
			return false;
	}
	if (!buf_check(&text, "the answer", err))
		return false;

	char *copy = arena_strndup(answer->arena, text.data, text.len);

	if (!copy)
		return err_set(err, ERR_TOO_LARGE, "cannot hold the answer");
	*out = (struct generated){ .text = str_make(copy, text.len), .model = MODEL };
	return true;
}

/* ---- the generator ---- */

static bool
extractive_generate(struct generator *generator, const struct provider_call *call,
		    const struct generate_request *request, struct arena *arena,
		    struct generated *out, struct err *err)
{
	AUTO(answer) struct answer answer = { .request = request, .arena = arena };
	int64_t tokens = request->max_tokens;

	(void)generator;
	answer.budget_bytes = ANSWER_MAX_BYTES;
	if (tokens > 0 && tokens < ANSWER_MAX_BYTES / CHARS_PER_TOKEN)
		answer.budget_bytes = (size_t)tokens * CHARS_PER_TOKEN;
	question_read(&answer.question, request->question);
	if (!provider_call_check(call, err) || !read_sources(&answer, err))
		return false;
	for (size_t i = 0; i < request->count; i++) {
		if (!provider_call_check(call, err))
			return false;
		read_sentences(&answer, i);
	}
	if (!choose_candidates(&answer, err))
		return false;
	if (fits(&answer))
		pick(&answer);
	if (answer.picked_count == 0) {
		struct str refusal = request->refusal.len > 0 ? request->refusal : STR(REFUSAL);

		if (!tell(request, refusal, err))
			return false;
		*out = (struct generated){ .text = refusal, .refused = true, .model = MODEL };
		return true;
	}
	return write_answer(&answer, out, err);
}

static bool
extractive_open(const struct config *config, struct generator **out, struct err *err)
{
	struct generator *generator = mem_alloc(sizeof(*generator));

	(void)config;
	(void)err;
	generator->ops = &extractive_generator_ops;
	(void)str_copy(generator->model, sizeof(generator->model), STR(MODEL));
	*out = generator;
	return true;
}

static void
extractive_close(struct generator *generator)
{
	mem_free(generator);
}

const struct generator_ops extractive_generator_ops = {
	.name = "extractive",
	.open = extractive_open,
	.close = extractive_close,
	.generate = extractive_generate,
};
