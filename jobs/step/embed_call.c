#include "jobs/step/embed_call.h"

#include <math.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/tokens.h"

struct caller {
	struct embedder *embedder;
	const struct provider_call *call;
	enum embed_task task;
	struct embed_limits *limits;
	size_t refusals;
};

size_t
embed_batch(const struct embedder *embedder, struct embed_limits *limits)
{
	size_t learnt = atomic_load(&limits->batch);
	size_t most = embedder->max_batch > 0 ? embedder->max_batch : 1;

	return learnt > 0 && learnt < most ? learnt : most;
}

static void
learn_batch(struct embed_limits *limits, size_t taken)
{
	size_t known = atomic_load(&limits->batch);

	while (known == 0 || known > taken)
		if (atomic_compare_exchange_weak(&limits->batch, &known, taken))
			return;
}

/* A text of so many tokens (estimated, so not to be taken at its word) was refused. */
static void
learn_length(struct embed_limits *limits, int64_t refused)
{
	int64_t known = atomic_load(&limits->text_tokens), fits = refused - refused / 8 - 1;

	while (fits > 0 && (known == 0 || known > fits))
		if (atomic_compare_exchange_weak(&limits->text_tokens, &known, fits))
			return;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

size_t
embed_cut(struct str text, size_t at)
{
	size_t near = at - at / 4;

	for (size_t i = at; i > near; i--)
		if (is_space(text.ptr[i - 1]))
			return i;
	at = str_utf8_floor(text, at);
	if (at == 0 && text.len > 0) {
		uint32_t cp;

		at = str_utf8_next(text, 0, &cp);
	}
	return at;
}

void
embed_mean_add(float *out, const float *vector, size_t dim, size_t weight)
{
	for (size_t i = 0; i < dim; i++)
		out[i] += (float)weight * vector[i];
}

void
embed_mean_end(float *out, size_t dim)
{
	double squares = 0;

	for (size_t i = 0; i < dim; i++)
		squares += (double)out[i] * (double)out[i];
	if (squares <= 0)
		return;

	double scale = 1 / sqrt(squares);

	for (size_t i = 0; i < dim; i++)
		out[i] = (float)((double)out[i] * scale);
}

static bool embed_range(struct caller *caller, const struct str *texts, size_t count, float *out,
			bool *split, struct err *err);

static bool
embed_in_parts(struct caller *caller, struct str text, float *out, struct err *err)
{
	size_t dim = caller->embedder->dim;
	size_t at = embed_cut(text, text.len / 2);
	const struct str parts[2] = { str_sub(text, 0, at), str_sub(text, at, text.len) };
	bool split[2];
	float *vectors;
	bool ok;

	if (text.len < EMBED_MIN_PART_BYTES)
		return err_set(err, ERR_PROVIDER_REJECTED,
			       "the embedder takes no text of %zu bytes: it is too long for it",
			       text.len);
	vectors = mem_array(2, dim * sizeof(float));
	ok = embed_range(caller, parts, 2, vectors, split, err);
	if (ok) {
		memset(out, 0, dim * sizeof(float));
		embed_mean_add(out, vectors, dim, parts[0].len);
		embed_mean_add(out, vectors + dim, dim, parts[1].len);
		embed_mean_end(out, dim);
	}
	mem_free(vectors);
	return ok;
}

static bool
embed_halves(struct caller *caller, const struct str *texts, size_t count, float *out, bool *split,
	     struct err *err)
{
	size_t half = (count + 1) / 2;

	return embed_range(caller, texts, half, out, split, err) &&
	       embed_range(caller, texts + half, count - half, out + half * caller->embedder->dim,
			   split + half, err);
}

/* By what this very call has found out; what was known before, the texts were cut to. */
static bool
has_long_text(const struct caller *caller, const struct str *texts, size_t count)
{
	int64_t most = atomic_load(&caller->limits->text_tokens);

	for (size_t i = 0; caller->refusals > 0 && most > 0 && i < count; i++)
		if (tokens_estimate(texts[i]) > most)
			return true;
	return false;
}

static bool
embed_range(struct caller *caller, const struct str *texts, size_t count, float *out, bool *split,
	    struct err *err)
{
	struct err failure = ERR_INIT;
	size_t refusals;
	bool is_long;

	if (!provider_call_check(caller->call, err))
		return false;
	is_long = has_long_text(caller, texts, count);
	if (is_long && count == 1) {
		split[0] = true;
		return embed_in_parts(caller, texts[0], out, err);
	}
	if (is_long || count > embed_batch(caller->embedder, caller->limits))
		return embed_halves(caller, texts, count, out, split, err);
	if (caller->embedder->ops->embed(caller->embedder, caller->call, caller->task, texts, count,
					 out, &failure)) {
		memset(split, 0, count * sizeof(*split));
		return true;
	}
	if (failure.code != ERR_TOO_LARGE) {
		*err = failure;
		return false;
	}
	refusals = ++caller->refusals;
	if (count == 1) {
		split[0] = true;
		if (!embed_in_parts(caller, texts[0], out, err))
			return false;
		/* its parts were taken: so it was its length, not a server that takes nothing at all */
		learn_length(caller->limits, tokens_estimate(texts[0]));
		return true;
	}
	if (!embed_halves(caller, texts, count, out, split, err))
		return false;
	/* Both halves were taken at once: it was their number. Else one text was too long, or a half has learnt it already. */
	if (caller->refusals == refusals) {
		size_t half = (count + 1) / 2,
		       taken = embed_batch(caller->embedder, caller->limits);

		learn_batch(caller->limits, half < taken ? half : taken);
	}
	return true;
}

bool
embed_call(struct embedder *embedder, const struct provider_call *call, enum embed_task task,
	   struct embed_limits *limits, const struct embed_load *load, struct err *err)
{
	struct caller caller = {
		.embedder = embedder, .call = call, .task = task, .limits = limits
	};

	return load->count == 0 ||
	       embed_range(&caller, load->texts, load->count, load->out, load->split, err);
}
