#include "tests/support/told_embedder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

void
told_vector(struct str text, float out[TOLD_DIM])
{
	double squares = 0;

	for (uint64_t i = 0; i < TOLD_DIM; i++) {
		out[i] = (float)(str_hash64(text, i + 1) % 1000) / 1000.0F - 0.5F;
		squares += (double)out[i] * (double)out[i];
	}
	for (int i = 0; i < TOLD_DIM; i++)
		out[i] = (float)((double)out[i] / sqrt(squares));
}

static bool
pass_gate(struct told_embedder *told, const struct provider_call *call, struct err *err)
{
	bool ok = true;

	if (!atomic_load(&told->gated))
		return true;
	atomic_fetch_add(&told->at_gate, 1);
	while (ok && atomic_load(&told->gated)) {
		clock_sleep_ms(1);
		ok = provider_call_check(call, err);
	}
	atomic_fetch_sub(&told->at_gate, 1);
	return ok;
}

/* What the server says of the request; true: it takes it. */
static bool
is_taken(struct told_embedder *told, const struct str *texts, size_t count, struct err *err)
{
	size_t at;
	int code = atomic_load(&told->fail_code);

	if (code != 0 && atomic_fetch_sub(&told->fail_after, 1) <= 0)
		return err_set(err, (enum err_code)code, "told to fail");
	if (told->takes_batch > 0 && count > told->takes_batch)
		return err_set(err, ERR_TOO_LARGE, "batch size %zu > maximum %zu", count,
			       told->takes_batch);
	for (size_t i = 0; i < count; i++) {
		if (told->takes_bytes > 0 && texts[i].len > told->takes_bytes)
			return err_set(err, ERR_TOO_LARGE, "a text of %zu bytes", texts[i].len);
		if (told->poison && str_find(texts[i], str_of(told->poison), &at))
			return err_set(err, ERR_PROVIDER_REJECTED, "told to refuse this text");
	}
	return true;
}

static bool
told_embed(struct embedder *embedder, const struct provider_call *call, enum embed_task task,
	   const struct str *texts, size_t count, float *out, struct err *err)
{
	struct told_embedder *told = (struct told_embedder *)embedder;
	int largest = atomic_load(&told->largest);

	(void)task;
	atomic_fetch_add(&told->calls, 1);
	if (call->usage)
		call->usage->requests++;
	if (!pass_gate(told, call, err) || !is_taken(told, texts, count, err)) {
		if (err->code == ERR_TOO_LARGE)
			atomic_fetch_add(&told->refused, 1);
		return false;
	}
	pthread_mutex_lock(&told->lock);
	for (size_t i = 0; i < count; i++) {
		told_vector(texts[i], out + i * TOLD_DIM);
		if (told->seen_count < TOLD_MAX_SEEN)
			told->seen[told->seen_count++] = mem_strndup(texts[i].ptr, texts[i].len);
	}
	pthread_mutex_unlock(&told->lock);
	if (call->usage)
		call->usage->embedding_tokens += 10 * (int64_t)count;
	atomic_fetch_add(&told->texts, (int)count);
	while (largest < (int)count &&
	       !atomic_compare_exchange_weak(&told->largest, &largest, (int)count))
		;
	return true;
}

static const struct embedder_ops told_ops = { .name = "told", .embed = told_embed };

void
told_init(struct told_embedder *told, size_t max_batch)
{
	memset(told, 0, sizeof(*told));
	told->embedder = (struct embedder){
		.ops = &told_ops, .dim = TOLD_DIM, .max_batch = max_batch, .fingerprint = "told/1/8"
	};
	pthread_mutex_init(&told->lock, NULL);
}

void
told_release(struct told_embedder *told)
{
	for (size_t i = 0; i < told->seen_count; i++)
		mem_free(told->seen[i]);
	pthread_mutex_destroy(&told->lock);
}

int
told_saw(struct told_embedder *told, const char *text)
{
	int times = 0;

	pthread_mutex_lock(&told->lock);
	for (size_t i = 0; i < told->seen_count; i++)
		times += strcmp(told->seen[i], text) == 0;
	pthread_mutex_unlock(&told->lock);
	return times;
}
