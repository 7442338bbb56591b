#include "jobs/step/embed.h"

#include <stdlib.h>
#include <string.h>

#include "common/embedding_cache.h"
#include "common/sha256.h"
#include "common/tokens.h"
#include "jobs/spec/choice.h"
#include "jobs/step/embed_pool.h"

#define KEY_VERSION "embedding 1" /* raise when the same text would get another vector */
#define TPM_CALLS 10		  /* a call is at most this part of a minute's tokens */

bool
embed_pool_opts_of(const struct config *config, struct embed_pool_opts *out, struct err *err)
{
	struct embedder_choice choice;
	int64_t per_minute;

	if (!choose_embedder(config, &choice, err))
		return false;
	per_minute = choice.at.tokens_per_minute;
	*out = (struct embed_pool_opts){
		.direct = choice.kind == EMBEDDER_LOCAL,
		.text_tokens = choice.text_tokens,
		.call_tokens = per_minute > 0 && per_minute / TPM_CALLS < EMBED_MAX_CALL_TOKENS
				       ? per_minute / TPM_CALLS + 1
				       : EMBED_MAX_CALL_TOKENS,
		.cache_bytes = config->embedding_cache_bytes,
		.cache_ttl_ms = config->embedding_cache_ttl_s * 1000,
		.redis_headroom_percent = config->redis_headroom_percent,
	};
	return true;
}

/* A text, or a part of one that is too long. */
struct piece {
	struct str text;
	size_t owner; /* the text it is of */
	int64_t tokens;
};

struct work {
	const struct embed_request *request;
	struct arena *arena;
	float *out;
	struct embed_stats *stats;
	size_t dim;
	struct embedding_key *keys; /* of each text */
	bool *known;		    /* its vector is in out */
	size_t *same;	/* the first text that is equal to it; itself: it is the first */
	bool *is_split; /* it is, or will be, the mean of its parts */
	size_t *parts;	/* pieces of it that are not embedded yet */
	struct piece *pieces;
	size_t piece_count;
};

static bool
too_large(const struct work *work, struct err *err)
{
	return err_set(err, ERR_TOO_LARGE,
		       "cannot hold the texts to embed: more than %zu bytes of working memory",
		       work->arena->max_bytes);
}

static bool
progress(const struct embed_request *request, size_t done, struct err *err)
{
	return done == request->count || !request->progress ||
	       request->progress(request->user, done, request->count, err);
}

/* Says how far it came, where there is more than one text. */
static bool
failed(const struct embed_request *request, size_t at, struct err *err)
{
	return request->count > 1 ? err_wrap(err, "text %zu of %zu", at + 1, request->count)
				  : false;
}

/* ---- an embedder of this process ---- */

static bool
embed_directly(const struct embed_request *request, float *out, struct embed_stats *stats,
	       struct err *err)
{
	struct embedder *embedder = request->embedder;
	size_t most = embedder->max_batch > 0 ? embedder->max_batch : 1;

	for (size_t at = 0, n = 0; at < request->count; at += n) {
		n = request->count - at < most ? request->count - at : most;
		if (!provider_call_check(&request->call, err) ||
		    !embedder->ops->embed(embedder, &request->call, request->task,
					  request->texts + at, n, out + at * embedder->dim, err))
			return failed(request, at, err);
		stats->embedded += n;
		if (!progress(request, at + n, err))
			return false;
	}
	return true;
}

/* ---- what is there already ---- */

static void
hash_texts(struct work *work)
{
	const struct embed_request *request = work->request;
	const char *task = request->task == EMBED_QUERY ? "query" : "document";

	for (size_t i = 0; i < request->count; i++) {
		struct sha256 *hash = sha256_new();
		char hex[SHA256_HEX_BYTES];

		sha256_add_field(hash, STR(KEY_VERSION));
		sha256_add_field(hash, str_of(request->embedder->fingerprint));
		sha256_add_field(hash, str_of(task));
		sha256_add_field(hash, request->realm);
		sha256_add_field(hash, request->texts[i]);
		sha256_finish_hex(hash, hex);
		(void)str_unhex(str_of(hex), work->keys[i].bytes, sizeof(work->keys[i].bytes));
	}
}

static struct embedding_cache
cache_of(const struct work *work)
{
	const struct embed_pool_opts *opts = embed_pool_opts(work->request->pool);

	return (struct embedding_cache){ .redis = work->request->call.redis,
					 .dim = work->dim,
					 .max_bytes = opts->cache_bytes,
					 .ttl_ms = opts->cache_ttl_ms };
}

static bool
has_cache(const struct work *work)
{
	return work->request->call.redis && embed_pool_opts(work->request->pool)->cache_bytes > 0;
}

static void
look_up(struct work *work)
{
	const struct embed_request *request = work->request;
	const struct embedding_cache cache = cache_of(work);
	size_t found;

	if (!has_cache(work))
		return;
	found = embedding_cache_get(&cache, work->keys, request->count, work->out, work->known);
	work->stats->cached = found;
	metric_add(request->cache_total, METRIC_VALUES("embedding", "hit"), (double)found);
	metric_add(request->cache_total, METRIC_VALUES("embedding", "miss"),
		   (double)(request->count - found));
}

struct key_at {
	const struct embedding_key *key;
	size_t at;
};

static int
compare_keys(const void *a, const void *b)
{
	const struct key_at *left = a, *right = b;
	int order = memcmp(left->key->bytes, right->key->bytes, sizeof(left->key->bytes));

	return order ? order : (left->at > right->at) - (left->at < right->at);
}

/* Fills same[]: of equal texts the first one is embedded. */
static bool
find_same(struct work *work)
{
	size_t count = work->request->count;
	struct key_at *order = arena_array(work->arena, count, sizeof(*order));

	if (!order)
		return false;
	for (size_t i = 0; i < count; i++)
		order[i] = (struct key_at){ &work->keys[i], i };
	qsort(order, count, sizeof(*order), compare_keys);
	for (size_t i = 0; i < count; i++) {
		bool equal = i > 0 && memcmp(order[i].key->bytes, order[i - 1].key->bytes,
					     sizeof(order[i].key->bytes)) == 0;

		work->same[order[i].at] = equal ? work->same[order[i - 1].at] : order[i].at;
	}
	return true;
}

/* ---- pieces ---- */

static void
cut_text(struct work *work, size_t owner, size_t parts)
{
	struct str rest = work->request->texts[owner];

	for (; parts > 0; parts--) {
		size_t at = parts == 1 ? rest.len : embed_cut(rest, rest.len / parts);
		struct str text = str_sub(rest, 0, at);

		if (text.len == 0)
			continue;
		work->pieces[work->piece_count++] = (struct piece){
			.text = text, .owner = owner, .tokens = tokens_estimate(text)
		};
		work->parts[owner]++;
		rest = str_sub(rest, at, rest.len);
	}
}

static size_t
parts_of(struct str text, int64_t most_tokens)
{
	int64_t tokens = tokens_estimate(text);

	return most_tokens > 0 && tokens > most_tokens
		       ? (size_t)((tokens + most_tokens - 1) / most_tokens)
		       : 1;
}

/* Everything that goes to the embedder. */
static bool
make_pieces(struct work *work)
{
	const struct embed_request *request = work->request;
	/* once: what others learn meanwhile would ask for more than there is room for */
	int64_t most = atomic_load(&embed_pool_limits(request->pool)->text_tokens);
	size_t count = 0;

	for (size_t i = 0; i < request->count; i++)
		if (!work->known[i] && work->same[i] == i)
			count += parts_of(request->texts[i], most);
	work->pieces = arena_array(work->arena, count, sizeof(*work->pieces));
	if (!work->pieces)
		return false;
	for (size_t i = 0; i < request->count; i++) {
		size_t parts;

		if (work->known[i] || work->same[i] != i)
			continue;
		parts = parts_of(request->texts[i], most);
		memset(work->out + i * work->dim, 0, work->dim * sizeof(float));
		cut_text(work, i, parts);
		work->stats->embedded++;
		if (parts > 1) {
			work->is_split[i] = true;
			work->stats->split++;
		}
	}
	return true;
}

/* ---- calls ---- */

/* How many pieces from `at` go in one call. */
static size_t
fill_call(const struct work *work, size_t at, size_t batch, int64_t *out_tokens)
{
	int64_t most = embed_pool_opts(work->request->pool)->call_tokens;
	size_t n = 0, bytes = 0;

	*out_tokens = 0;
	while (at + n < work->piece_count && n < batch) {
		const struct piece *piece = &work->pieces[at + n];

		if (n > 0 && (*out_tokens + piece->tokens > most ||
			      bytes + piece->text.len > EMBED_MAX_CALL_BYTES))
			break;
		*out_tokens += piece->tokens;
		bytes += piece->text.len;
		n++;
	}
	return n;
}

/* Loads that leave half of a call free go together with those of others. */
static bool
call_embedder(struct work *work, const struct embed_load *load, size_t batch, struct err *err)
{
	const struct embed_request *request = work->request;
	int64_t most = embed_pool_opts(request->pool)->call_tokens;

	if (request->task == EMBED_DOCUMENT && load->count <= batch / 2 && load->tokens <= most / 2)
		return embed_pool_call(request->pool, request->embedder, &request->call, load, err);
	return embed_call(request->embedder, &request->call, request->task,
			  embed_pool_limits(request->pool), load, err);
}

/* Takes the vectors of n pieces; fresh: the texts that are complete now. */
static void
take_vectors(struct work *work, size_t at, size_t n, const struct embed_load *load, bool *fresh)
{
	for (size_t k = 0; k < n; k++) {
		const struct piece *piece = &work->pieces[at + k];
		size_t i = piece->owner;
		float *row = work->out + i * work->dim;

		embed_mean_add(row, load->out + k * work->dim, work->dim,
			       work->is_split[i] ? piece->text.len : 1);
		if (load->split[k] && !work->is_split[i]) {
			work->is_split[i] = true;
			work->stats->split++;
		}
		if (--work->parts[i] > 0)
			continue;
		if (work->is_split[i])
			embed_mean_end(row, work->dim);
		work->known[i] = fresh[i] = true;
	}
}

static void
keep(struct work *work, const bool *fresh, size_t from, size_t to, bool *skip)
{
	const struct embedding_cache cache = cache_of(work);

	if (!has_cache(work) ||
	    !embed_pool_has_room(work->request->pool, work->request->call.redis))
		return;
	for (size_t i = from; i < to; i++)
		skip[i] = !fresh[i];
	embedding_cache_put(&cache, work->keys + from, to - from, work->out + from * work->dim,
			    skip + from);
}

static size_t
texts_done(const struct work *work, size_t at)
{
	return at < work->piece_count ? work->pieces[at].owner : work->request->count;
}

static bool
embed_pieces(struct work *work, struct err *err)
{
	const struct embed_request *request = work->request;
	size_t most = embed_batch(request->embedder, embed_pool_limits(request->pool));
	struct str *texts;
	struct embed_load load;
	bool *fresh, *skip;

	most = most < work->piece_count ? most : work->piece_count;
	texts = arena_array(work->arena, most, sizeof(*texts));
	load = (struct embed_load){ .texts = texts,
				    .out = arena_array(work->arena, most,
						       work->dim * sizeof(float)),
				    .split = arena_array(work->arena, most, sizeof(bool)) };
	fresh = arena_array(work->arena, request->count, sizeof(*fresh));
	skip = arena_array(work->arena, request->count, sizeof(*skip));
	if (!texts || !load.out || !load.split || !fresh || !skip)
		return too_large(work, err);
	for (size_t at = 0, n = 0; at < work->piece_count; at += n) {
		size_t batch = embed_batch(request->embedder, embed_pool_limits(request->pool));
		size_t from = work->pieces[at].owner;

		n = fill_call(work, at, batch < most ? batch : most, &load.tokens);
		load.count = n;
		for (size_t k = 0; k < n; k++)
			texts[k] = work->pieces[at + k].text;
		if (!provider_call_check(&request->call, err) ||
		    !call_embedder(work, &load, batch, err))
			return failed(request, from, err);
		take_vectors(work, at, n, &load, fresh);
		keep(work, fresh, from, work->pieces[at + n - 1].owner + 1, skip);
		memset(fresh + from, 0, request->count - from);
		if (!progress(request, texts_done(work, at + n), err))
			return false;
	}
	return true;
}

/* ---- all of it ---- */

static bool
allocate(struct work *work)
{
	size_t count = work->request->count;

	work->keys = arena_array(work->arena, count, sizeof(*work->keys));
	work->known = arena_array(work->arena, count, sizeof(*work->known));
	work->same = arena_array(work->arena, count, sizeof(*work->same));
	work->is_split = arena_array(work->arena, count, sizeof(bool));
	work->parts = arena_array(work->arena, count, sizeof(*work->parts));
	return work->keys && work->known && work->same && work->is_split && work->parts;
}

/* A blank text has no vector, and servers refuse it. */
static void
pass_over_blanks(struct work *work)
{
	for (size_t i = 0; i < work->request->count; i++) {
		if (work->known[i] || str_trim(work->request->texts[i]).len > 0)
			continue;
		memset(work->out + i * work->dim, 0, work->dim * sizeof(float));
		work->known[i] = true;
	}
}

bool
embed_texts(const struct embed_request *request, struct arena *arena, float *out,
	    struct embed_stats *out_stats, struct err *err)
{
	struct work work = { .request = request,
			     .arena = arena,
			     .out = out,
			     .stats = out_stats,
			     .dim = request->embedder->dim };

	*out_stats = (struct embed_stats){ 0 };
	if (!provider_call_check(&request->call, err))
		return false;
	if (embed_pool_opts(request->pool)->direct)
		return embed_directly(request, out, out_stats, err);
	if (request->count == 0)
		return true;
	if (!allocate(&work))
		return too_large(&work, err);
	hash_texts(&work);
	look_up(&work);
	pass_over_blanks(&work);
	if (!find_same(&work) || !make_pieces(&work))
		return too_large(&work, err);
	if (work.piece_count > 0 && !embed_pieces(&work, err))
		return false;
	for (size_t i = 0; i < request->count; i++)
		if (!work.known[i])
			memcpy(out + i * work.dim, out + work.same[i] * work.dim,
			       work.dim * sizeof(float));
	return true;
}
