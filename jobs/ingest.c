/*
 * ingest: one version of one document, from bytes to visible chunks.
 *
 *	touch -> parse -> chunk -> embed -> put -> count -> commit -> sweep
 *
 * Rules:
 *  1. Until commit nothing of this generation can be seen. Whatever fails before it takes the generation out of
 *     the store again; what a killed worker leaves behind is swept by the next commit of the document or by
 *     rag-cron cleanup.
 *  2. When commit's answer is lost (Redis went away) nobody knows whether it took effect: nothing is removed, the job
 *     is repeated, and commit is idempotent.
 *  3. Before commit a cancel wins, after it success does: the sweep never fails the job.
 *  4. The same content under the same pipeline costs one script call (touch), and still takes part in the order of
 *     versions. The same call refuses a collection of another embedder, before anything is paid for.
 */
#include "jobs/handler.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/catalog.h"
#include "jobs/convert/convert.h"
#include "jobs/spec/spec.h"
#include "jobs/step/chunk.h"
#include "jobs/step/parse.h"

#define WARN_SPLIT "CHUNKS_EMBEDDED_IN_PARTS"
#define MAX_SWEPT_STARTS 32 /* more lost starts than this leave the rest to rag-cron cleanup */

struct ingest {
	struct job_context *context;
	struct ingest_payload payload;
	struct str title; /* the client's, else the document's own */
	char fingerprint[SPEC_FINGERPRINT_BYTES];
	char version_hash[65];
	char gen[CATALOG_GEN_BYTES];
	struct chunk *chunks;
	size_t chunk_count;
	float *vectors; /* chunk_count * dim */
	struct provider_usage usage;
	struct embed_stats embedded;
};

static void
observe(const struct ingest *ingest, const char *step, int64_t since_us)
{
	metric_observe(ingest->context->env->step_seconds, METRIC_VALUES(step),
		       (double)(clock_mono_us() - since_us) / 1e6);
}

static bool
prepare(struct ingest *ingest, struct str bytes, struct err *err)
{
	struct ingest_payload *payload = &ingest->payload;
	const struct config *config = ingest->context->env->config;
	char pipeline[SPEC_FINGERPRINT_BYTES];

	if (!fields_from_pack(&ingest_payload_fields, bytes, payload, err))
		return err_wrap(err, "payload");
	if (!spec_embedder_fingerprint(config, ingest->fingerprint, err) ||
	    !spec_pipeline_fingerprint(config, pipeline, err))
		return false;
	spec_version_hash(payload, pipeline, ingest->version_hash);
	catalog_gen_format(ingest->gen, payload->seq, ingest->context->job->epoch);
	return true;
}

static bool
parse_and_chunk(struct ingest *ingest, struct err *err)
{
	struct job_context *context = ingest->context;
	const struct config *config = context->env->config;
	const struct convert_opts convert = convert_opts_of(config);
	const struct parse_limits limits = {
		.max_text_bytes = (size_t)config->max_text_bytes,
		.deadline_mono_ms = context->deadline_mono_ms,
		.convert = &convert,
		.cancel = context->cancel,
	};
	const struct chunk_opts opts = {
		.size = (size_t)config->chunk_size,
		.overlap = (size_t)config->chunk_overlap,
	};
	struct parsed parsed;
	int64_t since_us = clock_mono_us();

	if (!job_step(context, "parse", 1, err) ||
	    !parse_document(ingest->payload.content_type, ingest->payload.body, &limits,
			    context->arena, &parsed, err))
		return err_wrap(err, "parse");
	observe(ingest, "parse", since_us);
	ingest->title = ingest->payload.title.len ? ingest->payload.title : parsed.title;
	since_us = clock_mono_us();
	if (!job_check(context, err) ||
	    !chunk_text(&parsed, &opts, context->arena, &ingest->chunks, &ingest->chunk_count, err))
		return err_wrap(err, "chunk");
	observe(ingest, "chunk", since_us);
	if (ingest->chunk_count == 0)
		return err_set(err, ERR_EMPTY_TEXT, "document '" STR_FMT "' yields no text",
			       STR_ARG(ingest->payload.document_id));
	return true;
}

/* What a chunk's vector is made of: where it stands, then what it says. */
static bool
embedding_text(const struct ingest *ingest, const struct chunk *chunk, struct str *out,
	       struct err *err)
{
	struct arena *arena = ingest->context->arena;
	char *text = NULL;

	if (ingest->title.len == 0 && chunk->heading.len == 0) {
		*out = chunk->text;
		return true;
	}
	text = arena_printf(arena, STR_FMT "\n" STR_FMT "\n" STR_FMT, STR_ARG(ingest->title),
			    STR_ARG(chunk->heading), STR_ARG(chunk->text));
	if (!text)
		return err_set(err, ERR_TOO_LARGE,
			       "cannot hold the texts to embed: more than %zu bytes",
			       arena->max_bytes);
	*out = str_of(text);
	return true;
}

static bool
embed(struct ingest *ingest, struct err *err)
{
	struct job_context *context = ingest->context;
	const struct provider_call call = { .deadline_mono_ms = context->deadline_mono_ms,
					    .cancel = context->cancel,
					    .redis = context->env->redis,
					    .usage = &ingest->usage,
					    .metrics = context->env->provider_metrics };
	struct embed_request request = job_embed_request(context, &call, EMBED_DOCUMENT);
	size_t dim = context->env->embedder->dim;
	int64_t since_us = clock_mono_us();
	struct str *texts = arena_array(context->arena, ingest->chunk_count, sizeof(*texts));

	ingest->vectors = arena_array(context->arena, ingest->chunk_count, dim * sizeof(float));
	if (!texts || !ingest->vectors)
		return err_set(err, ERR_TOO_LARGE, "embed: cannot hold the vectors of %zu chunks",
			       ingest->chunk_count);
	if (!job_step(context, "embed", (int64_t)ingest->chunk_count, err))
		return err_wrap(err, "embed");
	for (size_t i = 0; i < ingest->chunk_count; i++) {
		if (!embedding_text(ingest, &ingest->chunks[i], &texts[i], err))
			return err_wrap(err, "embed");
	}
	request.texts = texts;
	request.count = ingest->chunk_count;
	if (!embed_texts(&request, context->arena, ingest->vectors, &ingest->embedded, err))
		return err_wrap(err, "embed");
	observe(ingest, "embed", since_us);
	return true;
}

/* Puts the generation and makes sure that all of it is there. */
static bool
upsert(struct ingest *ingest, struct err *err)
{
	struct job_context *context = ingest->context;
	struct store *store = context->env->store;
	const struct ingest_payload *payload = &ingest->payload;
	size_t dim = context->env->embedder->dim;
	struct store_document document = {
		.uid = payload->uid,
		.document_id = payload->document_id,
		.gen = str_of(ingest->gen),
		.title = ingest->title,
		.uri = payload->uri,
		.metadata = payload->metadata,
		.count = ingest->chunk_count,
		.dim = dim,
		.limits = { context->deadline_mono_ms, context->cancel },
	};
	int64_t total = (int64_t)ingest->chunk_count, written = 0, since_us = clock_mono_us();
	struct store_chunk *chunks =
		arena_array(context->arena, ingest->chunk_count, sizeof(*chunks));

	if (!chunks)
		return err_set(err, ERR_TOO_LARGE, "upsert: cannot hold %zu chunks",
			       ingest->chunk_count);
	for (size_t i = 0; i < ingest->chunk_count; i++) {
		const struct chunk *chunk = &ingest->chunks[i];

		chunks[i] = (struct store_chunk){
			.ordinal = (int64_t)i,
			.text = chunk->text,
			.heading = chunk->heading,
			.start = (int64_t)chunk->start,
			.end = (int64_t)chunk->end,
			.page = chunk->page,
			.vector = ingest->vectors + i * dim,
		};
	}
	document.chunks = chunks;
	if (!job_step(context, "upsert", total, err) || !store->ops->put(store, &document, err) ||
	    !store->ops->count(store, payload->uid, payload->document_id, document.gen, &written,
			       err))
		return err_wrap(err, "upsert");
	if (written != total)
		return err_set(err, ERR_STORE_FAILED,
			       "upsert: the store holds %lld chunks of %lld written",
			       (long long)written, (long long)total);
	observe(ingest, "upsert", since_us);
	return true;
}

static bool
commit(struct ingest *ingest, enum catalog_commit_result *out_result, struct err *err)
{
	struct job_context *context = ingest->context;
	const struct ingest_payload *payload = &ingest->payload;
	const struct catalog_commit request = {
		.uid = payload->uid,
		.document_id = payload->document_id,
		.job_id = str_of(context->job->id),
		.seq = payload->seq,
		.epoch = context->job->epoch,
		.title = ingest->title,
		.uri = payload->uri,
		.content_type = payload->content_type,
		.content_hash = payload->content_hash,
		.version_hash = str_of(ingest->version_hash),
		.fingerprint = str_of(ingest->fingerprint),
		.bytes = (int64_t)payload->body.len,
		.chunks = (int64_t)ingest->chunk_count,
	};
	char old_gen[CATALOG_GEN_BYTES];

	if (!job_step(context, "commit", 1, err) ||
	    !catalog_commit(context->env->redis, &request, out_result, old_gen, err))
		return err_wrap(err, "commit");
	return true;
}

/* Best effort: what stays behind is invisible, and rag-cron cleanup finds it. */
static void
remove_own(const struct ingest *ingest)
{
	struct store *store = ingest->context->env->store;
	struct err ignored = ERR_INIT;

	if (!store->ops->remove_generation(store, ingest->payload.uid, ingest->payload.document_id,
					   str_of(ingest->gen), &ignored))
		log_debug("could not remove an unused generation: %s", ignored.msg);
}

/*
 * Takes out what this generation replaced: every older seq, and lost starts of this very job. A *newer* start
 * of it may be writing at this moment (this worker was thought dead): its epoch is greater and is left alone.
 */
static void
remove_replaced(const struct ingest *ingest)
{
	struct store *store = ingest->context->env->store;
	const struct ingest_payload *payload = &ingest->payload;
	int64_t epoch = ingest->context->job->epoch;
	struct err ignored = ERR_INIT;
	char gen[CATALOG_GEN_BYTES];
	bool done;

	done = store->ops->remove_older(store, payload->uid, payload->document_id, payload->seq,
					str_of(ingest->gen), &ignored);
	for (int64_t lost = epoch > MAX_SWEPT_STARTS ? epoch - MAX_SWEPT_STARTS : 1; lost < epoch;
	     lost++) {
		catalog_gen_format(gen, payload->seq, lost);
		if (strcmp(gen, ingest->gen) == 0)
			continue; /* the lost start that committed */
		done = store->ops->remove_generation(store, payload->uid, payload->document_id,
						     str_of(gen), &ignored) &&
		       done;
	}
	if (!done)
		log_debug("could not remove replaced generations: %s", ignored.msg);
}

static bool
write_generation(struct ingest *ingest, enum catalog_commit_result *out_result, struct err *err)
{
	if (!upsert(ingest, err)) {
		remove_own(ingest);
		return false;
	}
	if (!commit(ingest, out_result, err)) {
		/* Rule 2: an outage leaves open whether the commit took effect. */
		if (!err_info(err->code)->outage && err->code != ERR_REDIS_REPLY)
			remove_own(ingest);
		return false;
	}
	if (*out_result == CATALOG_SUPERSEDED)
		remove_own(ingest);
	else
		remove_replaced(ingest);
	return true;
}

static void
write_split_warning(const struct ingest *ingest, struct jw *result)
{
	char detail[160];

	(void)snprintf(detail, sizeof(detail),
		       "%zu of %zu chunks are longer than the embedder takes: each was embedded in "
		       "parts, its vector is their mean",
		       ingest->embedded.split, ingest->chunk_count);
	jw_obj(result);
	jw_kcstr(result, "code", WARN_SPLIT);
	jw_kcstr(result, "detail", detail);
	jw_end(result);
}

static void
write_result(const struct ingest *ingest, bool unchanged, bool superseded, struct jw *result)
{
	const struct ingest_payload *payload = &ingest->payload;

	jw_kstr(result, "document_id", payload->document_id);
	jw_kstr(result, "collection", payload->collection);
	jw_kint(result, "version", payload->seq);
	jw_kstr(result, "title", ingest->title);
	jw_kint(result, "bytes", (int64_t)payload->body.len);
	jw_kint(result, "chunks", (int64_t)ingest->chunk_count);
	jw_kstr(result, "content_hash", payload->content_hash);
	jw_kbool(result, "unchanged", unchanged);
	jw_kbool(result, "superseded", superseded);
	jw_kobj(result, "usage");
	jw_kint(result, "chunks_embedded", (int64_t)ingest->embedded.embedded);
	jw_kint(result, "chunks_cached", (int64_t)ingest->embedded.cached);
	jw_kint(result, "embedding_requests", ingest->usage.requests);
	jw_kint(result, "embedding_tokens", ingest->usage.embedding_tokens);
	jw_end(result);
	jw_karr(result, "warnings");
	if (ingest->embedded.split > 0)
		write_split_warning(ingest, result);
	jw_end(result);
}

/*
 * *out_done: the catalog has this very version already. Either the same content came before (*out_unchanged), or an
 * earlier start of this job committed and was lost before it could say so; then what it replaced is swept now.
 */
static bool
touch(struct ingest *ingest, bool *out_done, bool *out_unchanged, struct err *err)
{
	struct job_context *context = ingest->context;
	const struct ingest_payload *payload = &ingest->payload;
	struct document document;
	struct err ignored = ERR_INIT;
	int64_t seq, epoch;
	const struct catalog_touch touch = {
		.uid = payload->uid,
		.document_id = payload->document_id,
		.job_id = str_of(context->job->id),
		.seq = payload->seq,
		.version_hash = str_of(ingest->version_hash),
		.fingerprint = str_of(ingest->fingerprint),
	};

	if (!job_check(context, err) || !catalog_touch(context->env->redis, &touch, out_done, err))
		return err_wrap(err, "look up document");
	*out_unchanged = *out_done;
	if (!*out_done || !catalog_document(context->env->redis, payload->uid, payload->document_id,
					    context->arena, &document, &ignored))
		return true;
	ingest->title = document.title;
	ingest->chunk_count = (size_t)document.chunks;
	if (catalog_gen_parse(str_of(document.gen), &seq, &epoch) && seq == payload->seq) {
		*out_unchanged = false;
		str_copy(ingest->gen, sizeof(ingest->gen), str_of(document.gen));
		remove_replaced(ingest);
	}
	return true;
}

void
after_ingest(const struct job_env *env, const struct job *job, struct str bytes)
{
	struct ingest_payload payload = { 0 };
	struct err ignored = ERR_INIT;

	if (!fields_from_pack(&ingest_payload_fields, bytes, &payload, &ignored) ||
	    !catalog_release(env->redis, payload.uid, str_of(job->id), &ignored))
		log_debug("reservation not given back: %s", ignored.msg);
}

bool
handle_ingest(struct job_context *context, struct str payload, struct jw *result, struct err *err)
{
	struct ingest ingest = { .context = context };
	enum catalog_commit_result committed = CATALOG_COMMITTED;
	bool done = false, unchanged = false;

	if (!prepare(&ingest, payload, err) || !touch(&ingest, &done, &unchanged, err))
		return false;
	if (!done) {
		if (!parse_and_chunk(&ingest, err) || !embed(&ingest, err) ||
		    !write_generation(&ingest, &committed, err))
			return false;
	}
	write_result(&ingest, unchanged, committed == CATALOG_SUPERSEDED, result);
	return true;
}
