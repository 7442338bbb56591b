#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/tokens.h"
#include "jobs/provider/openai.h"
#include "jobs/provider/openai_wire.h"
#include "jobs/provider/remote.h"
#include "jobs/spec/choice.h"
#include "jobs/spec/spec.h"

#define DENSE_WEIGHT 0.7 /* of a trained model; the local one has less */
#define MAX_BODY_BYTES ((size_t)64 * 1024 * 1024)
#define NUMBER_BYTES 32 /* of text, with what is around it */
#define MAX_FIELDS 2	/* that can be left out */

struct openai_embedder {
	struct embedder embedder; /* first: this is what the caller has */
	struct embedder_choice choice;
	struct remote *remote; /* owned */
	bool base64;
	bool no_dimensions, no_encoding; /* learnt */
};

/* One call: the texts that are sent, and where their vectors go. */
struct batch {
	struct openai_embedder *self;
	size_t count;
	float *vectors; /* of the texts sent */
};

static bool
read_vectors(void *user, struct str body, struct remote_used *used, struct err *err)
{
	struct batch *batch = user;
	AUTO(reply) struct reply reply = { 0 };

	return reply_read(body, &reply, err) &&
	       openai_parse_embed(&reply, batch->count, batch->self->embedder.dim, batch->vectors,
				  used, err);
}

/* Leaves out what the server does not take; false when that is nothing new. */
static bool
learn_field(struct openai_embedder *self, const struct fault *fault)
{
	struct str field = str_of(fault->field);

	if (fault->class != FAULT_FIELD)
		return false;
	if (str_eq_c(field, "dimensions") && !self->no_dimensions && self->choice.asks_dim)
		return self->no_dimensions = true;
	if (str_eq_c(field, "encoding_format") && !self->no_encoding)
		return self->no_encoding = true;
	return false;
}

static void
learn_batch(struct openai_embedder *self, const struct fault *fault, size_t count)
{
	size_t limit = fault->batch_limit;

	if (fault->class != FAULT_BATCH)
		return;
	if (limit == 0 || limit >= count)
		limit = count / 2;
	if (limit > 0 && limit < self->embedder.max_batch)
		self->embedder.max_batch = limit;
}

static bool
run_batch(struct openai_embedder *self, const struct provider_call *call, enum embed_task task,
	  const struct str *texts, struct batch *batch, struct err *err)
{
	struct str prefix = str_of(task == EMBED_QUERY ? self->choice.query_prefix
						       : self->choice.document_prefix);
	int64_t tokens = 0;

	for (size_t i = 0; i < batch->count; i++)
		tokens += tokens_estimate(texts[i]) + tokens_estimate(prefix);
	for (int learnt = 0;; learnt++) {
		AUTO(buf) struct buf body = BUF_INIT(MAX_BODY_BYTES);
		const struct openai_embed embed = {
			.model = self->choice.at.model,
			.prefix = prefix,
			.texts = texts,
			.count = batch->count,
			.dimensions = self->choice.asks_dim && !self->no_dimensions
					      ? self->embedder.dim
					      : 0,
			.base64 = self->base64,
			.no_encoding = self->no_encoding,
		};

		openai_build_embed(&embed, &body);
		if (!buf_ok(&body)) {
			err_set(err, ERR_TOO_LARGE, "cannot send more than %zu bytes at once",
				MAX_BODY_BYTES);
			err->detail = batch->count > 1 ? TOO_LARGE_BATCH : TOO_LARGE_TEXT;
			return false;
		}

		const struct remote_request request = {
			.path = "/embeddings",
			.body = str_make(body.data, body.len),
			.tokens = tokens,
			.max_reply_bytes = batch->count * self->embedder.dim * NUMBER_BYTES +
					   MAX_BODY_BYTES / 16,
			.read = read_vectors,
			.user = batch,
		};

		if (remote_run(self->remote, call, &request, err))
			return true;
		if (learnt == MAX_FIELDS || !learn_field(self, remote_fault(self->remote)))
			break;
		*err = ERR_INIT;
	}
	learn_batch(self, remote_fault(self->remote), batch->count);
	return false;
}

static bool
openai_embed(struct embedder *embedder, const struct provider_call *call, enum embed_task task,
	     const struct str *texts, size_t count, float *out, struct err *err)
{
	struct openai_embedder *self = (struct openai_embedder *)embedder;
	size_t dim = embedder->dim;
	struct str *sent = mem_array(count + 1, sizeof(*sent));
	struct batch batch = { .self = self };
	bool done = true;

	/* servers refuse a whole batch for an empty text in it */
	for (size_t i = 0; i < count; i++)
		if (str_trim(texts[i]).len > 0)
			sent[batch.count++] = texts[i];
	batch.vectors = mem_array(batch.count * dim + 1, sizeof(float));
	if (batch.count > 0)
		done = run_batch(self, call, task, sent, &batch, err);
	for (size_t i = 0, nth = 0; done && i < count; i++) {
		bool was_sent = str_trim(texts[i]).len > 0;

		for (size_t k = 0; k < dim; k++)
			out[i * dim + k] = was_sent ? batch.vectors[nth * dim + k] : 0;
		nth += was_sent;
	}
	mem_free(batch.vectors);
	mem_free(sent);
	return done;
}

static void
openai_close(struct embedder *embedder)
{
	struct openai_embedder *self = (struct openai_embedder *)embedder;

	remote_free(self->remote);
	mem_free(self);
}

static bool
openai_open(const struct config *config, struct embedder **out, struct err *err)
{
	struct openai_embedder *self = mem_alloc(sizeof(*self));

	self->embedder.ops = &openai_embedder_ops;
	if (!choose_embedder(config, &self->choice, err) ||
	    !spec_embedder_fingerprint(config, self->embedder.fingerprint, err) ||
	    !remote_new(&(struct remote_opts){ .at = &self->choice.at,
					       .config = config,
					       .kind = REMOTE_EMBED,
					       .auth = REMOTE_BEARER },
			&self->remote, err)) {
		openai_close(&self->embedder);
		return false;
	}
	self->embedder.dim = self->choice.dim;
	self->embedder.max_batch = self->choice.max_batch;
	self->embedder.dense_weight = DENSE_WEIGHT;
	self->base64 = config->openai_encoding == OPENAI_ENCODING_BASE64;
	*out = &self->embedder;
	return true;
}

const struct embedder_ops openai_embedder_ops = {
	.name = "openai",
	.is_remote = true,
	.open = openai_open,
	.close = openai_close,
	.embed = openai_embed,
};
