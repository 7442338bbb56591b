/*
 * The built-in embedder "hash-1": no model, no network, the same vector on every machine.
 *
 * A text is a bag of features: the stem of each word that is no stop word, and the runs of 3 and 4
 * characters of the word between marks of its ends (^flow$: ^fl flo low ow$ ^flo flow low$), which bring
 * together what stemming does not, misspellings, compounds and languages other than English. A feature
 * counts sqrt(times), its word's weight (word_weight.h) and, for runs, a share so that a long word does
 * not outweigh a short one. Each feature is added to or taken from one of the dimensions, both chosen by
 * its hash; with random signs the collisions cancel on average, so the dot product of two texts is that
 * of their bags, with a noise of about 1 / sqrt(dim). Pairs of words were tried and made it worse (see
 * docs/retrieval.md).
 *
 * A change of anything here that changes a vector needs a new SPEC_LOCAL_MODEL.
 */
#include <math.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/mem.h"
#include "common/words.h"
#include "jobs/provider/local.h"
#include "jobs/provider/word_weight.h"
#include "jobs/spec/spec.h"

#define MAX_BATCH 64
#define DENSE_WEIGHT 0.3 /* docs/retrieval.md */
#define RUN_SHARE 0.5F	 /* of the runs of a word beside its stem */
#define RUN_MIN 3
#define RUN_MAX 4
#define SEED_STEM 1
#define SEED_RUN 2
#define SUM_SCALE 1048576.0F
#define TABLE_FIRST 4096 /* a power of two */

struct feature {
	uint64_t hash; /* 0: empty */
	float weight;
	float times;
};

struct local_embedder {
	struct embedder embedder;
	struct feature *table; /* owned; open addressing */
	size_t size, count;
	int64_t sums[SPEC_LOCAL_DIM]; /* in units of 1 / SUM_SCALE */
};

static struct feature *
find(struct feature *table, size_t size, uint64_t hash)
{
	size_t at = (size_t)hash & (size - 1);

	while (table[at].hash != 0 && table[at].hash != hash)
		at = (at + 1) & (size - 1);
	return &table[at];
}

static void
grow(struct local_embedder *self)
{
	struct feature *table = mem_array(2 * self->size, sizeof(*table));

	for (size_t i = 0; i < self->size; i++) {
		if (self->table[i].hash != 0)
			*find(table, 2 * self->size, self->table[i].hash) = self->table[i];
	}
	mem_free(self->table);
	self->table = table;
	self->size *= 2;
}

static void
add_feature(struct local_embedder *self, struct str text, uint64_t seed, float weight)
{
	uint64_t hash = str_hash64(text, seed);

	if (hash == 0)
		hash = 1;
	if (2 * self->count >= self->size)
		grow(self);

	struct feature *feature = find(self->table, self->size, hash);

	if (feature->hash == 0) {
		*feature = (struct feature){ .hash = hash, .weight = weight };
		self->count++;
	}
	feature->times++;
}

/* The runs of characters (not bytes) of a folded word. */
static void
add_runs(struct local_embedder *self, struct str word, float weight)
{
	char marked[WORDS_MAX_BYTES + 2];
	size_t starts[WORDS_MAX_BYTES + 3]; /* of each character, and the end */
	size_t chars = 0, total = 0;
	uint32_t cp = 0;

	marked[0] = '^';
	memcpy(marked + 1, word.ptr, word.len);
	marked[word.len + 1] = '$';

	struct str text = str_make(marked, word.len + 2);

	for (size_t at = 0; at < text.len; at += str_utf8_next(text, at, &cp))
		starts[chars++] = at;
	starts[chars] = text.len;
	for (size_t len = RUN_MIN; len <= RUN_MAX; len++)
		total += chars >= len ? chars - len + 1 : 0;
	if (total == 0)
		return;

	float share = weight * RUN_SHARE / sqrtf((float)total);

	for (size_t len = RUN_MIN; len <= RUN_MAX; len++) {
		for (size_t i = 0; i + len <= chars; i++)
			add_feature(self, str_sub(text, starts[i], starts[i + len]), SEED_RUN,
				    share);
	}
}

static void
add_words(struct local_embedder *self, struct str text, bool with_stop_words)
{
	char folded[WORDS_MAX_BYTES];
	struct str word = STR("");

	for (size_t at = 0; words_next(text, &at, &word);) {
		struct str key = str_make(folded, words_fold(word, folded));

		if (key.len == 0 || (!with_stop_words && words_is_stop(key)))
			continue;

		float weight = word_weight(key);

		add_runs(self, key, weight);
		key.len = words_stem(folded, key.len);
		add_feature(self, key, SEED_STEM, weight);
	}
}

/* Whole numbers, so that the order of the table, which depends on the texts before, does not matter. */
static void
project(struct local_embedder *self, enum embed_task task, float *out)
{
	size_t dim = self->embedder.dim;
	double squares = 0;

	memset(self->sums, 0, sizeof(self->sums));
	for (size_t i = 0; i < self->size; i++) {
		const struct feature *feature = &self->table[i];

		if (feature->hash == 0)
			continue;

		float times = task == EMBED_QUERY ? feature->times : sqrtf(feature->times);
		int64_t value = llrintf(feature->weight * times * SUM_SCALE);
		size_t at = (size_t)((feature->hash >> 20) % dim);

		self->sums[at] += feature->hash >> 63 ? value : -value;
	}
	for (size_t i = 0; i < dim; i++)
		squares += (double)self->sums[i] * (double)self->sums[i];

	double scale = squares > 0 ? 1 / sqrt(squares) : 0;

	for (size_t i = 0; i < dim; i++)
		out[i] = (float)((double)self->sums[i] * scale);
}

static bool
local_embed(struct embedder *embedder, const struct provider_call *call, enum embed_task task,
	    const struct str *texts, size_t count, float *out, struct err *err)
{
	struct local_embedder *self = (struct local_embedder *)embedder;

	for (size_t i = 0; i < count; i++) {
		if (!provider_call_check(call, err))
			return false;
		memset(self->table, 0, self->size * sizeof(*self->table));
		self->count = 0;
		add_words(self, texts[i], false);
		if (self->count == 0)
			add_words(self, texts[i], true);
		project(self, task, out + i * embedder->dim);
	}
	return true;
}

static void
local_close(struct embedder *embedder)
{
	struct local_embedder *self = (struct local_embedder *)embedder;

	mem_free(self->table);
	mem_free(self);
}

static bool
local_open(const struct config *config, struct embedder **out, struct err *err)
{
	struct local_embedder *self = mem_alloc(sizeof(*self));

	self->embedder = (struct embedder){ .ops = &local_embedder_ops,
					    .dim = SPEC_LOCAL_DIM,
					    .max_batch = MAX_BATCH,
					    .dense_weight = DENSE_WEIGHT };
	if (!spec_embedder_fingerprint(config, self->embedder.fingerprint, err)) {
		mem_free(self);
		return false;
	}
	self->size = TABLE_FIRST;
	self->table = mem_array(self->size, sizeof(*self->table));
	*out = &self->embedder;
	return true;
}

const struct embedder_ops local_embedder_ops = {
	.name = "local",
	.open = local_open,
	.close = local_close,
	.embed = local_embed,
};
