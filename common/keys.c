#include "common/keys.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Names in the order of enum queue_key, governor_key and catalog_key. */
static const char *const queue_names[] = { "ready",  "due",	"dead", "done",	  "paused",
					   "outbox", "workers", "stat", "batches" };
static const char *const governor_names[] = { "state", "window", "leases", "wake" };
static const char *const catalog_names[] = { "meta", "cur", "docs", "seqs" };

/* Ids have been checked where they came in, so every name fits; a cut name would be another key's. */
__attribute__((format(printf, 1, 2))) static struct key
make(const char *fmt, ...)
{
	struct key key;
	va_list args;

	va_start(args, fmt);

	int len = vsnprintf(key.text, sizeof(key.text), fmt, args);

	va_end(args);
	assert(len >= 0 && (size_t)len < sizeof(key.text));
	return key;
}

static struct key
in_queue(struct queue_ref queue, const char *kind, struct str id)
{
	return make("rag:{%s.%u}:%s:" STR_FMT, queue.name, queue.partition, kind, STR_ARG(id));
}

struct key
key_queue(struct queue_ref queue, enum queue_key which)
{
	return make("rag:{%s.%u}:%s", queue.name, queue.partition, queue_names[which]);
}

struct key
key_job(struct queue_ref queue, struct str job_id)
{
	return in_queue(queue, "job", job_id);
}

struct key
key_payload(struct queue_ref queue, struct str job_id)
{
	return in_queue(queue, "in", job_id);
}

struct key
key_result(struct queue_ref queue, struct str job_id)
{
	return in_queue(queue, "out", job_id);
}

struct key
key_events(struct queue_ref queue, struct str job_id)
{
	return in_queue(queue, "ev", job_id);
}

struct key
key_idem(struct queue_ref queue, struct str hash)
{
	return in_queue(queue, "idem", hash);
}

struct key
key_batch_items(struct queue_ref queue, struct str batch_id, int64_t bucket)
{
	return make("rag:{%s.%u}:items:" STR_FMT ":%lld", queue.name, queue.partition,
		    STR_ARG(batch_id), (long long)bucket);
}

struct key
key_batch_rejects(struct queue_ref queue, struct str batch_id)
{
	return in_queue(queue, "rejects", batch_id);
}

struct key
key_lock(struct queue_ref queue, const char *task)
{
	return in_queue(queue, "lock", str_of(task));
}

struct key
key_collections(void)
{
	return make("rag:collections");
}

struct key
key_catalog(struct str collection_uid, enum catalog_key which)
{
	return make("rag:{c:" STR_FMT "}:%s", STR_ARG(collection_uid), catalog_names[which]);
}

struct key
key_document(struct str collection_uid, struct str document_id)
{
	return make("rag:{c:" STR_FMT "}:doc:" STR_FMT, STR_ARG(collection_uid),
		    STR_ARG(document_id));
}

struct key
key_cache(struct str hash)
{
	return make("rag:cache:" STR_FMT, STR_ARG(hash));
}

struct key
key_embeddings_head(void)
{
	return make("rag:{embeddings}:head");
}

struct key
key_embeddings(int place)
{
	return make("rag:{embeddings}:%d", place);
}

struct key
key_rate(struct str name)
{
	return make("rag:rate:" STR_FMT, STR_ARG(name));
}

struct key
key_secret(void)
{
	return make("rag:secret");
}

struct key
key_governor(struct str name, enum governor_key which)
{
	return make("rag:{g:" STR_FMT "}:%s", STR_ARG(name), governor_names[which]);
}

struct key
key_governors(void)
{
	return make("rag:governors");
}
