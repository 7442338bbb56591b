#include "jobs/provider/server_reranker.h"

#include <math.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/tokens.h"
#include "jobs/provider/remote.h"
#include "jobs/provider/reply.h"
#include "jobs/provider/rerank_wire.h"
#include "jobs/spec/choice.h"

#define MAX_BODY_BYTES ((size_t)64 * 1024 * 1024)
#define MAX_INFO_BYTES ((size_t)256 * 1024)
#define MAX_LESSONS 12	     /* that one call may learn: halvings, mostly */
#define TEXT_MAX_BYTES 32768 /* of a passage or a question; no model reads as much */
#define TEXT_MIN_BYTES 256   /* a text is not cut below this */

struct dialect {
	enum config_reranker kind;
	const char *path;
	size_t max_texts; /* of one request, until the server says another number */
	bool has_info;	  /* GET /info says it */
	void (*build)(const struct rerank_query *rerank, struct buf *out);
};

/* Cohere: at most 1,000 documents are recommended; TEI: its default. */
static const struct dialect dialects[] = {
	{ RERANKER_COHERE, "/v2/rerank", 1000, false, rerank_build_cohere },
	{ RERANKER_JINA, "/rerank", 1000, false, rerank_build_jina },
	{ RERANKER_TEI, "/rerank", 32, true, rerank_build_tei },
};

struct server_reranker {
	struct reranker reranker; /* first: this is what the caller has */
	struct reranker_choice choice;
	const struct dialect *dialect;
	struct remote *remote; /* owned */
	/* learnt */
	size_t max_texts, max_bytes; /* of one request; of one text */
	unsigned without;	     /* RERANK_NO_* */
	bool knows_info;
};

/* Passages that are sent: their texts, and where their scores go. */
struct ranking {
	struct str query;
	struct str *texts; /* owned, each too */
	size_t *places;	   /* owned */
	float *scores;	   /* owned */
	size_t count;
};

/* ---- texts ---- */

static void
add_line(struct buf *out, struct str line)
{
	line = str_trim(line);
	if (line.len == 0)
		return;
	if (out->len > 0)
		buf_add_char(out, '\n');
	buf_add(out, line.ptr, line.len);
}

/* Where it stands, then what it says. An empty slice when there is nothing to read. */
static struct str
text_of(const struct passage *passage)
{
	struct buf text = BUF_INIT(SIZE_MAX / 2);
	size_t len = 0;

	if (str_trim(passage->text).len == 0)
		return STR("");
	add_line(&text, passage->title);
	add_line(&text, passage->heading);
	add_line(&text, passage->text);

	const char *data = buf_take(&text, &len);

	return str_make(data, len);
}

static struct str
cut(struct str text, size_t max_bytes)
{
	return text.len <= max_bytes ? text : str_sub(text, 0, str_utf8_floor(text, max_bytes));
}

static void
ranking_init(struct ranking *ranking, struct str query, const struct passage *passages,
	     size_t count)
{
	*ranking = (struct ranking){
		.query = str_trim(query),
		.texts = mem_array(count + 1, sizeof(struct str)),
		.places = mem_array(count + 1, sizeof(size_t)),
		.scores = mem_array(count + 1, sizeof(float)),
	};
	for (size_t i = 0; ranking->query.len > 0 && i < count; i++) {
		struct str text = text_of(&passages[i]);

		if (text.len == 0)
			continue;
		ranking->texts[ranking->count] = text;
		ranking->places[ranking->count++] = i;
	}
}

static void
ranking_release(struct ranking *ranking)
{
	for (size_t i = 0; i < ranking->count; i++)
		mem_free((void *)(uintptr_t)ranking->texts[i].ptr);
	mem_free(ranking->texts);
	mem_free(ranking->places);
	mem_free(ranking->scores);
}

/* ---- exchanges ---- */

struct expected {
	size_t count;
	float *scores;
};

static bool
read_scores(void *user, struct str body, struct remote_used *used, struct err *err)
{
	const struct expected *expected = user;
	AUTO(reply) struct reply reply = { 0 };

	return reply_read(body, &reply, err) &&
	       rerank_parse(&reply, expected->count, expected->scores, used, err);
}

static bool
ask(struct server_reranker *self, const struct provider_call *call, const struct ranking *ranking,
    size_t from, size_t count, struct err *err)
{
	AUTO(buf) struct buf body = BUF_INIT(MAX_BODY_BYTES);
	struct expected expected = { count, ranking->scores + from };
	struct str *texts = mem_array(count, sizeof(*texts));
	const struct rerank_query rerank = {
		.model = self->choice.at.model,
		.query = cut(ranking->query, self->max_bytes),
		.texts = texts,
		.count = count,
		.without = self->without,
	};
	int64_t tokens = (int64_t)count * tokens_estimate(rerank.query);

	for (size_t i = 0; i < count; i++) {
		texts[i] = cut(ranking->texts[from + i], self->max_bytes);
		tokens += tokens_estimate(texts[i]);
	}
	self->dialect->build(&rerank, &body);
	mem_free(texts);
	if (!buf_check(&body, "the request", err))
		return false;

	const struct remote_request request = {
		.path = self->dialect->path,
		.body = str_make(body.data, body.len),
		.tokens = tokens,
		.read = read_scores,
		.user = &expected,
	};

	return remote_run(self->remote, call, &request, err);
}

static bool
read_info(void *user, struct str body, struct remote_used *used, struct err *err)
{
	struct server_reranker *self = user;
	AUTO(reply) struct reply reply = { 0 };
	size_t limit = 0;

	*used = (struct remote_used){ 0 };
	if (!reply_read(body, &reply, err))
		return false;
	limit = rerank_parse_tei_info(&reply);
	if (limit > 0)
		self->max_texts = limit;
	return true;
}

/* What the server says of itself, once. One that does not (a proxy hides it) is taken as it usually is. */
static bool
look_at_info(struct server_reranker *self, const struct provider_call *call, struct err *err)
{
	const struct remote_request request = {
		.path = "/info",
		.method = "GET",
		.max_reply_bytes = MAX_INFO_BYTES,
		.read = read_info,
		.user = self,
	};

	if (self->knows_info || !self->dialect->has_info)
		return true;
	if (!remote_run(self->remote, call, &request, err)) {
		if (err->code != ERR_PROVIDER_REJECTED && err->code != ERR_PROVIDER_REPLY)
			return false;
		*err = ERR_INIT;
	}
	self->knows_info = true;
	return true;
}

/* Asks for less from now on; false when that is no use. */
static bool
learn(struct server_reranker *self, const struct fault *fault, size_t count)
{
	size_t limit = fault->batch_limit;

	switch (fault->class) {
	case FAULT_BATCH:
		if (count <= 1)
			return false;
		self->max_texts = limit > 0 && limit < count ? limit : count / 2;
		return true;
	case FAULT_TEXT:
		if (self->max_bytes <= TEXT_MIN_BYTES)
			return false;
		self->max_bytes /= 2;
		return true;
	case FAULT_FIELD:
		return fault_leave_out(fault, "top_n", RERANK_NO_TOP_N, &self->without) ||
		       fault_leave_out(fault, "return_documents", RERANK_NO_RETURN,
				       &self->without) ||
		       fault_leave_out(fault, "truncate", RERANK_NO_TRUNCATE, &self->without);
	case FAULT_NONE:
	case FAULT_LIMITED:
	case FAULT_OUTAGE:
	case FAULT_FAILED:
	case FAULT_QUOTA:
	case FAULT_REJECTED:
		break;
	}
	return false;
}

static size_t
longest_of(const struct ranking *ranking, size_t from, size_t count)
{
	size_t longest = ranking->query.len;

	for (size_t i = from; i < from + count; i++)
		longest = ranking->texts[i].len > longest ? ranking->texts[i].len : longest;
	return longest;
}

static bool
ask_all(struct server_reranker *self, const struct provider_call *call,
	const struct ranking *ranking, struct err *err)
{
	size_t n = 0;
	int lessons = 0;

	for (size_t at = 0; at < ranking->count; at += n) {
		size_t longest = 0;

		n = ranking->count - at;
		n = n < self->max_texts ? n : self->max_texts;
		if (ask(self, call, ranking, at, n, err))
			continue;
		/* halving begins at what was sent */
		longest = longest_of(ranking, at, n);
		if (remote_fault(self->remote)->class == FAULT_TEXT && longest < self->max_bytes)
			self->max_bytes = longest;
		if (lessons++ == MAX_LESSONS || !learn(self, remote_fault(self->remote), n))
			return false;
		*err = ERR_INIT;
		n = 0;
	}
	return true;
}

/* ---- the instance ---- */

static bool
server_rerank(struct reranker *reranker, const struct provider_call *call, struct str query,
	      const struct passage *passages, size_t count, float *out_scores, struct err *err)
{
	struct server_reranker *self = (struct server_reranker *)reranker;
	struct ranking ranking;
	bool done = true;

	ranking_init(&ranking, query, passages, count);
	if (ranking.count > 0)
		done = look_at_info(self, call, err) && ask_all(self, call, &ranking, err);
	if (done) {
		rerank_squash(ranking.scores, ranking.count);
		for (size_t i = 0; i < count; i++)
			out_scores[i] = 0;
		for (size_t i = 0; i < ranking.count; i++)
			out_scores[ranking.places[i]] = ranking.scores[i];
	}
	/* without a question the order stays what it was */
	for (size_t i = 0; done && ranking.query.len == 0 && i < count; i++)
		out_scores[i] = passages[i].score > 0 ? fminf(passages[i].score, 1) : 0;
	ranking_release(&ranking);
	return done;
}

static void
server_close(struct reranker *reranker)
{
	struct server_reranker *self = (struct server_reranker *)reranker;

	remote_free(self->remote);
	mem_free(self);
}

static bool
server_open(const struct config *config, const struct reranker_ops *ops, enum config_reranker kind,
	    struct reranker **out, struct err *err)
{
	struct server_reranker *self = mem_alloc(sizeof(*self));

	self->reranker.ops = ops;
	for (size_t i = 0; i < ARRAY_SIZE(dialects); i++)
		if (dialects[i].kind == kind)
			self->dialect = &dialects[i];
	if (!choose_reranker(config, &self->choice, err) ||
	    !remote_new(&(struct remote_opts){ .at = &self->choice.at,
					       .config = config,
					       .kind = REMOTE_RERANK,
					       .auth = REMOTE_BEARER },
			&self->remote, err)) {
		server_close(&self->reranker);
		return false;
	}
	self->max_texts = self->dialect->max_texts;
	self->max_bytes = TEXT_MAX_BYTES;
	(void)str_copy(self->reranker.model, sizeof(self->reranker.model),
		       str_of(self->choice.at.model));
	*out = &self->reranker;
	return true;
}

static bool
open_cohere(const struct config *config, struct reranker **out, struct err *err)
{
	return server_open(config, &cohere_reranker_ops, RERANKER_COHERE, out, err);
}

static bool
open_jina(const struct config *config, struct reranker **out, struct err *err)
{
	return server_open(config, &jina_reranker_ops, RERANKER_JINA, out, err);
}

static bool
open_tei(const struct config *config, struct reranker **out, struct err *err)
{
	return server_open(config, &tei_reranker_ops, RERANKER_TEI, out, err);
}

const struct reranker_ops cohere_reranker_ops = {
	.name = "cohere",
	.is_remote = true,
	.open = open_cohere,
	.close = server_close,
	.rerank = server_rerank,
};

const struct reranker_ops jina_reranker_ops = {
	.name = "jina",
	.is_remote = true,
	.open = open_jina,
	.close = server_close,
	.rerank = server_rerank,
};

const struct reranker_ops tei_reranker_ops = {
	.name = "tei",
	.is_remote = true,
	.open = open_tei,
	.close = server_close,
	.rerank = server_rerank,
};
