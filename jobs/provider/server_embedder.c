#include "jobs/provider/server_embedder.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/tokens.h"
#include "common/words.h"
#include "jobs/spec/spec.h"

#define DENSE_WEIGHT 0.7 /* of a trained model; the local one has less */
#define MAX_BODY_BYTES ((size_t)64 * 1024 * 1024)
#define MAX_PATH_BYTES ((size_t)2048)
#define NUMBER_BYTES 32 /* of text in a reply, with what is around it */
#define MAX_LESSONS 4	/* that one call may learn */

struct expected {
	const struct server_embedder *self;
	const struct embed_texts *texts;
	float *vectors;
};

/*
 * No trained model has nothing to say of a word: a vector of zeros is a server in trouble (a number that overflowed and was set to 0,
 * a model that is not loaded). Kept, or cached, its text would never be found again. Of text without a word it may stand.
 */
static bool
refuse_zeros(const struct expected *expected, struct err *err)
{
	size_t dim = expected->self->embedder.dim;

	for (size_t i = 0; i < expected->texts->count; i++) {
		const float *vector = expected->vectors + i * dim;
		size_t at = 0, k = 0;
		struct str word;

		while (k < dim && vector[k] == 0)
			k++;
		if (k == dim && words_next(expected->texts->texts[i], &at, &word))
			return err_set(err, ERR_PROVIDER_REPLY,
				       "the reply holds a vector of zeros for a text of words");
	}
	return true;
}

static bool
read_vectors(void *user, struct str body, struct remote_used *used, struct err *err)
{
	const struct expected *expected = user;
	AUTO(reply) struct reply reply = { 0 };

	return reply_read(body, &reply, err) &&
	       expected->self->dialect->parse(&reply, expected->texts->count,
					      expected->self->embedder.dim, expected->vectors, used,
					      err) &&
	       refuse_zeros(expected, err);
}

static int64_t
tokens_of(const struct embed_texts *texts)
{
	int64_t sum = (int64_t)texts->count * tokens_estimate(texts->prefix);

	for (size_t i = 0; i < texts->count; i++)
		sum += tokens_estimate(texts->texts[i]);
	return sum;
}

/* One exchange. */
static bool
ask(struct server_embedder *self, const struct provider_call *call, const struct embed_texts *texts,
    float *vectors, struct err *err)
{
	AUTO(buf) struct buf body = BUF_INIT(MAX_BODY_BYTES), path = BUF_INIT(MAX_PATH_BYTES);
	struct expected expected = { self, texts, vectors };

	self->dialect->build(self, texts, &path, &body);
	if (!buf_check(&path, "the URL", err))
		return false;
	if (!buf_ok(&body)) {
		err_set(err, ERR_TOO_LARGE, "cannot send more than %zu bytes at once",
			MAX_BODY_BYTES);
		err->detail = texts->count > 1 ? TOO_LARGE_BATCH : TOO_LARGE_TEXT;
		return false;
	}

	const struct remote_request request = {
		.path = path.data,
		.body = str_make(body.data, body.len),
		.tokens = tokens_of(texts),
		.requests = self->dialect->counts_texts ? (int64_t)texts->count : 1,
		.max_reply_bytes =
			texts->count * self->embedder.dim * NUMBER_BYTES + MAX_BODY_BYTES / 16,
		.read = read_vectors,
		.user = &expected,
	};

	return remote_run(self->remote, call, &request, err);
}

/* The instance takes as many texts from now on as the server says. One that does not say is found out by the caller, who halves. */
static void
learn_batch(struct server_embedder *self, const struct fault *fault)
{
	if (fault->class == FAULT_BATCH && fault->batch_limit > 0 &&
	    fault->batch_limit < self->embedder.max_batch)
		self->embedder.max_batch = fault->batch_limit;
}

/* All texts, in as many requests as the server wants. */
static bool
ask_all(struct server_embedder *self, const struct provider_call *call, struct embed_texts *all,
	float *vectors, struct err *err)
{
	size_t lessons = 0, n = 0;

	for (size_t at = 0; at < all->count; at += n) {
		struct embed_texts part = *all;

		n = all->count - at;
		if (self->per_request > 0 && n > self->per_request)
			n = self->per_request;
		part.texts = all->texts + at;
		part.count = n;
		if (ask(self, call, &part, vectors + at * self->embedder.dim, err))
			continue;

		const struct fault *fault = remote_fault(self->remote);

		if (err->code == ERR_TOO_LARGE && fault->class != FAULT_BATCH)
			return false;
		learn_batch(self, fault);
		if (lessons++ == MAX_LESSONS || !self->dialect->learn(self, fault, n))
			return false;
		*err = ERR_INIT;
		n = 0;
	}
	return true;
}

bool
server_embedder_embed(struct embedder *embedder, const struct provider_call *call,
		      enum embed_task task, const struct str *texts, size_t count, float *out,
		      struct err *err)
{
	struct server_embedder *self = (struct server_embedder *)embedder;
	size_t dim = embedder->dim;
	struct str *sent = mem_array(count + 1, sizeof(*sent));
	struct embed_texts all = { .task = task,
				   .prefix = str_of(task == EMBED_QUERY
							    ? self->choice.query_prefix
							    : self->choice.document_prefix),
				   .texts = sent };
	float *vectors = NULL;
	bool done;

	/* servers refuse a whole batch for an empty text in it */
	for (size_t i = 0; i < count; i++)
		if (str_trim(texts[i]).len > 0)
			sent[all.count++] = texts[i];
	vectors = mem_array(all.count * dim + 1, sizeof(*vectors));
	done = ask_all(self, call, &all, vectors, err);
	for (size_t i = 0, nth = 0; done && i < count; i++) {
		if (str_trim(texts[i]).len > 0)
			memcpy(out + i * dim, vectors + nth++ * dim, dim * sizeof(*out));
		else
			memset(out + i * dim, 0, dim * sizeof(*out));
	}
	mem_free(vectors);
	mem_free(sent);
	return done;
}

void
server_embedder_close(struct embedder *embedder)
{
	struct server_embedder *self = (struct server_embedder *)embedder;

	remote_free(self->remote);
	mem_free(self);
}

bool
server_embedder_open(const struct config *config, const struct embedder_ops *ops,
		     const struct embed_dialect *dialect, struct embedder **out, struct err *err)
{
	struct server_embedder *self = mem_alloc(sizeof(*self));

	self->embedder.ops = ops;
	self->dialect = dialect;
	self->config = config;
	if (!choose_embedder(config, &self->choice, err) ||
	    !spec_embedder_fingerprint(config, self->embedder.fingerprint, err) ||
	    !remote_new(&(struct remote_opts){ .at = &self->choice.at,
					       .config = config,
					       .kind = REMOTE_EMBED,
					       .auth = dialect->auth },
			&self->remote, err)) {
		server_embedder_close(&self->embedder);
		return false;
	}
	self->embedder.dim = self->choice.dim;
	self->embedder.max_batch = self->choice.max_batch;
	self->embedder.dense_weight = DENSE_WEIGHT;
	*out = &self->embedder;
	return true;
}
