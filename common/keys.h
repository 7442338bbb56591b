/*
 * keys: the names of all keys in Redis; nothing else makes one.
 *
 * Keys that one script touches share a hash tag, so Redis Cluster stays possible: {<queue>.<partition>}
 * for the queue, {c:<collection uid>} for the catalog. Names are built into caller's storage and are
 * NUL-terminated. Pure and thread-safe.
 */
#ifndef RAG_COMMON_KEYS_H
#define RAG_COMMON_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/str.h"

#define KEYS_MAX_BYTES 512 /* the longest name and its NUL: a document id has at most 256 bytes */

struct key {
	char text[KEYS_MAX_BYTES];
};

/* One partition of one queue. The name is borrowed from the table in common/job.h. */
struct queue_ref {
	const char *name; /* "ingest", "query", "hook" */
	unsigned partition;
};

enum queue_key {
	QK_READY,
	QK_DUE,
	QK_DEAD,
	QK_DONE,
	QK_PAUSED,
	QK_OUTBOX,
	QK_WORKERS,
	QK_STAT,
	QK_BATCHES /* zset: batches that are not over, by the end of their upload's lease */
};

struct key key_queue(struct queue_ref queue, enum queue_key which);
struct key key_job(struct queue_ref queue, struct str job_id);	   /* job:<id> */
struct key key_payload(struct queue_ref queue, struct str job_id); /* in:<id> */
struct key key_result(struct queue_ref queue, struct str job_id);  /* out:<id> */
struct key key_events(struct queue_ref queue, struct str job_id);  /* ev:<id> */
struct key key_idem(struct queue_ref queue, struct str hash);	   /* idem:<hash> */
/* items:<batch>:<bucket>, a hash: line -> what became of it; a bucket holds KEYS_BUCKET_LINES lines, so that it stays
 * a listpack */
#define KEYS_BUCKET_LINES 100
struct key key_batch_items(struct queue_ref queue, struct str batch_id, int64_t bucket);
struct key key_batch_rejects(struct queue_ref queue,
			     struct str batch_id); /* hash: line -> error of a rejected line */
struct key key_lock(struct queue_ref queue, const char *task); /* lock:<task> */

struct key key_collections(void); /* hash: collection name -> uid */

enum catalog_key {
	CK_META, /* hash: the collection's record, counters, epoch, seq */
	CK_CUR,	 /* hash: document id -> "<seq>.<job epoch>:<collection epoch of the commit>" */
	CK_DOCS, /* zset, all scores 0: document ids in byte order, for listings */
	CK_SEQS	 /* hash: job id -> seq reserved by it; removed when the job is done with it */
};
struct key key_catalog(struct str collection_uid, enum catalog_key which);
struct key key_document(struct str collection_uid, struct str document_id); /* hash: doc:<id> */

struct key key_cache(struct str hash); /* exact-answer cache */
/* The embedding cache (common/embedding_cache.h), all under one tag: a hash that says which generation is the newest, and the
 * places of the ring, each a hash of vectors. */
struct key key_embeddings_head(void);
struct key key_embeddings(int place);
struct key key_secret(void); /* string: what seals page tokens, shared by all API processes */
struct key
key_rate(struct str name); /* a token bucket (common/ratelimit.h); the name has at most 200 bytes */

/* Of one governed dependency (common/governor.h); the name has at most 400 bytes. */
enum governor_key {
	GK_STATE,  /* hash: pace, sleep, breaker, counters */
	GK_WINDOW, /* hash: bucket of time -> requests and tokens */
	GK_LEASES, /* zset: calls in flight by the end of their lease */
	GK_WAKE	   /* list: one item for each call that ended while others wait for its place */
};
struct key key_governor(struct str name, enum governor_key which);
struct key key_governors(void); /* zset: the names, by their last use */

#define KEYS_CHANNEL "rag:events" /* PUBLISH channel of common/events */

#endif
