/*
 * catalog: the truth about collections and documents (DESIGN: who owns it). Chunks in the store are
 * invisible until commit makes their generation the current one.
 *
 * Invariants (the essay is in catalog.c):
 *  1. A document's current generation changes only by commit.lua, and only to a newer seq.
 *  2. A tombstone of seq t hides every generation accepted before t, at once and for good.
 *  3. The collection's epoch rises with every visible change; it is part of every cache key.
 *  4. seq is reserved when an ingest or delete is accepted, remembered per job id: repeating gives the same.
 *  5. A generation is (seq, job epoch) and is written "<seq>.<epoch>"; store rows carry it verbatim.
 * Keys of one collection share {c:<uid>}; a re-created collection has a new uid, so nothing of the old one
 * can come back. Calls use the caller's connection and are repeatable.
 */
#ifndef RAG_COMMON_CATALOG_H
#define RAG_COMMON_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/str.h"
#include "common/redis.h"

#define CATALOG_NAME_MAX 63	     /* [a-z0-9][a-z0-9_-]*, at most 63 bytes */
#define CATALOG_DOC_ID_MAX_BYTES 256 /* UTF-8 without control characters */
#define CATALOG_GEN_BYTES 48

struct collection {
	char name[CATALOG_NAME_MAX + 1];
	char uid[ID_ULID_BYTES];
	char fingerprint
		[128]; /* of the embedder that made the vectors; "" until the first commit */
	char description[256];
	int64_t epoch;
	int64_t documents, chunks, bytes; /* of current generations */
	int64_t created_ms, updated_ms;
};

bool catalog_name_valid(struct str name, struct err *err); /* ERR_INVALID, says the rule */
bool catalog_doc_id_valid(struct str id, struct err *err);

/* ERR_ALREADY_EXISTS. `default` is made by catalog_get when it is missing. */
bool catalog_create(struct redis *redis, struct str name, struct str description,
		    struct collection *out, struct err *err);
bool catalog_get(struct redis *redis, struct str name, struct collection *out, struct err *err);
bool catalog_get_uid(struct redis *redis, struct str uid, struct collection *out, struct err *err);
bool catalog_set_description(struct redis *redis, struct str name, struct str description,
			     struct collection *out, struct err *err);
/* By name, ascending; all of them (there are few). Arena array. */
bool catalog_list(struct redis *redis, struct arena *arena, struct collection **out,
		  size_t *out_count, struct err *err);
/* Gone for readers and writers at once: the name is free, commits under this uid are ERR_GONE.
 * What the store holds is cleaned by a job; then catalog_purge drops the keys (<= 100 documents a call). */
bool catalog_delete(struct redis *redis, struct str name, struct str uid, struct err *err);
bool catalog_purge(struct redis *redis, struct str uid, bool *out_more, struct err *err);

/* ---- writers ---- */

/* Reserves the seq of this job id; the same for a repeated call. ERR_GONE: the collection was deleted. */
bool catalog_accept(struct redis *redis, struct str uid, struct str document_id, struct str job_id,
		    int64_t *out_seq, struct err *err);
/* Accepts a delete: reserves the seq and tombstones at once. *out_existed: readers saw a document before. */
bool catalog_delete_document(struct redis *redis, struct str uid, struct str document_id,
			     struct str job_id, int64_t *out_seq, bool *out_existed,
			     struct err *err);

struct catalog_commit {
	struct str uid, document_id, job_id;
	int64_t seq, epoch;    /* the generation */
	struct str title, uri; /* for listings; cut to 512 bytes at a character */
	struct str content_type;
	struct str content_hash; /* sha256 hex of the body */
	struct str
		version_hash; /* sha256 hex of everything that decides the chunks: body, metadata,
				      title, uri, chunker and embedder fingerprints */
	struct str
		fingerprint; /* embedder's; set for the collection when empty, else must be equal */
	int64_t bytes, chunks;
};

enum catalog_commit_result {
	CATALOG_COMMITTED,  /* this generation is the current one (also when repeated) */
	CATALOG_SUPERSEDED, /* a newer version or a delete won; sweep this generation */
};

/* ERR_EMBEDDER_MISMATCH, ERR_GONE (collection deleted). out_old_gen: the generation replaced, "" = none. */
bool catalog_commit(struct redis *redis, const struct catalog_commit *commit,
		    enum catalog_commit_result *out_result, char out_old_gen[CATALOG_GEN_BYTES],
		    struct err *err);

/* The same content again: raises the document's seq to `seq` and keeps its chunks, if its version_hash is
 * still this one. *out_unchanged false: it is not; do the work. */
bool catalog_touch(struct redis *redis, struct str uid, struct str document_id, struct str job_id,
		   int64_t seq, struct str version_hash, bool *out_unchanged, struct err *err);

/* The job is final: forgets its reserved seq. */
bool catalog_release(struct redis *redis, struct str uid, struct str job_id, struct err *err);

/* ---- readers ---- */

/* The collection's epoch now; read it before a search. ERR_GONE. */
bool catalog_epoch(struct redis *redis, struct str uid, int64_t *out_epoch, struct err *err);

struct catalog_current {
	char gen[CATALOG_GEN_BYTES]; /* "" = no visible generation (unknown, deleted, never committed) */
	int64_t commit_epoch; /* collection epoch of that commit: greater than the epoch read before
					the search means the search may have seen it half written: search again */
};
/* One HMGET for all. */
bool catalog_current(struct redis *redis, struct str uid, const struct str *document_ids,
		     size_t count, struct catalog_current *out, struct err *err);

struct document {
	struct str id, title, uri, content_type, content_hash, version_hash; /* arena */
	char gen[CATALOG_GEN_BYTES];
	int64_t seq;	     /* of the current version */
	int64_t pending_seq; /* newest accepted; > seq: something is in flight */
	int64_t bytes, chunks;
	int64_t created_ms, updated_ms;
	bool deleted; /* a tombstone */
};
/* ERR_NOT_FOUND when readers see none (tombstones included). */
bool catalog_document(struct redis *redis, struct str uid, struct str document_id,
		      struct arena *arena, struct document *out, struct err *err);
/* In byte order of ids, after `after` ("" = from the start). May be shorter than limit only at the end. */
bool catalog_documents(struct redis *redis, struct str uid, struct str after, size_t limit,
		       struct arena *arena, struct document **out, size_t *out_count,
		       struct err *err);

void catalog_gen_format(char out[CATALOG_GEN_BYTES], int64_t seq, int64_t epoch);
bool catalog_gen_parse(struct str gen, int64_t *out_seq, int64_t *out_epoch);

#endif
