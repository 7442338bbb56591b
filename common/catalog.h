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
 *  6. Only a job that holds its reservation commits. What is committed stays countable: documents, chunks and
 *     bytes are exact at every moment.
 * Keys of one collection share {c:<uid>}; a re-created collection has a new uid, so nothing of the old one
 * can come back. Calls use the caller's connection and are repeatable. With Redis at maxmemory, readers,
 * deletes and releases work; accept, commit, touch and create are ERR_REDIS_FULL and change nothing.
 *
 * Readers: e = catalog_epoch; search the store; catalog_current for the documents of the hits; then ask
 * catalog_visible for each hit. CATALOG_SEARCH_AGAIN for any of them: throw the hits away and begin again
 * with a new epoch. The store may be as unsteady as it likes: what passes is of one whole generation.
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
#include "common/tenant.h"

#define CATALOG_NAME_MAX 63 /* [a-z0-9][a-z0-9_-]*, at most 63 bytes */
#define CATALOG_FULL_NAME_MAX (TENANT_MAX + 1 + CATALOG_NAME_MAX)
#define CATALOG_DOC_ID_MAX_BYTES 256 /* UTF-8 without control characters */
#define CATALOG_GEN_BYTES 48

/*
 * A collection's full name tells its tenant: "<tenant>/<name>", of the operators' tenant "<name>" alone. Every function here
 * that finds a collection by name takes the full one, from catalog_full_name; clients only ever see the bare one.
 */
struct catalog_name {
	char text[CATALOG_FULL_NAME_MAX + 1];
};
/* Both must be valid names. */
struct catalog_name catalog_full_name(struct str tenant, struct str name);

struct collection {
	char name[CATALOG_NAME_MAX + 1]; /* bare */
	char tenant[TENANT_BYTES];
	char uid[ID_ULID_BYTES];
	char fingerprint
		[128]; /* of the embedder that made the vectors; "" until the first commit */
	char description[256];
	int64_t epoch;
	int64_t documents, chunks, bytes; /* of current generations */
	int64_t created_ms, updated_ms;
};

bool catalog_name_valid(struct str name,
			struct err *err); /* a bare one; ERR_INVALID, says the rule */
bool catalog_doc_id_valid(struct str id, struct err *err);

/* ERR_ALREADY_EXISTS. Each tenant's `default` is made by catalog_get when it is missing. */
/* Fails with ERR_INVALID for a bad name or a description over 255 bytes. */
bool catalog_create(struct redis *redis, struct str name, struct str description,
		    struct collection *out, struct err *err);
bool catalog_get(struct redis *redis, struct str name, struct collection *out, struct err *err);
/* ERR_GONE when it was deleted (or never was). */
bool catalog_get_uid(struct redis *redis, struct str uid, struct collection *out, struct err *err);
bool catalog_set_description(struct redis *redis, struct str name, struct str description,
			     struct collection *out, struct err *err);
/* Those of a tenant, or of all (NULL; the operators' `default` is then made), by tenant and name, ascending; all of them
 * (there are few), `default` among them. Arena array. */
bool catalog_list(struct redis *redis, const char *tenant, struct arena *arena,
		  struct collection **out, size_t *out_count, struct err *err);
/* Gone for readers and writers at once: the name is free, commits under this uid are ERR_GONE. Fine when
 * it was done before. What the store holds is cleaned by a job; then catalog_purge drops the keys (<= 100
 * documents a call; ERR_CONFLICT when the collection is not deleted). */
bool catalog_delete(struct redis *redis, struct str name, struct str uid, struct err *err);
bool catalog_purge(struct redis *redis, struct str uid, bool *out_more, struct err *err);

/* The uids of deleted collections that are not purged yet, and of creations that broke off; for cleanup. */
bool catalog_dropped(struct redis *redis, struct arena *arena, struct str **out_uids,
		     size_t *out_count, struct err *err);

/* ---- writers ---- */

/* Reserves the seq of this job id; the same for a repeated call. ERR_GONE: the collection was deleted;
 * ERR_CONFLICT: this job id holds a reservation for something else. The reservation is given back with
 * catalog_release and lives until then. */
bool catalog_accept(struct redis *redis, struct str uid, struct str document_id, struct str job_id,
		    int64_t *out_seq, struct err *err);
/* Many of them in one round trip, at most CATALOG_MAX_MANY. Errors as above end it (those before are reserved). Redis at
 * maxmemory: seq stays 0. */
#define CATALOG_MAX_MANY 100
struct catalog_reservation {
	struct str document_id, job_id; /* in, borrowed */
	int64_t seq;			/* out */
};
bool catalog_accept_many(struct redis *redis, struct str uid, struct catalog_reservation *items,
			 size_t count, struct err *err);
/* Accepts a delete: reserves the seq and tombstones at once. *out_existed: readers saw a document before. */
bool catalog_delete_document(struct redis *redis, struct str uid, struct str document_id,
			     struct str job_id, int64_t *out_seq, bool *out_existed,
			     struct err *err);

struct catalog_commit {
	struct str uid, document_id, job_id;
	int64_t seq, epoch;	 /* the generation */
	struct str title, uri;	 /* for listings; cut to 512 bytes at a character */
	struct str content_type; /* cut to 64 bytes */
	struct str
		content_hash; /* sha256 hex of the body; this and version_hash: 64 digits or "" */
	struct str
		version_hash; /* sha256 hex of everything that decides the chunks: body, metadata,
				      title, uri, chunker and embedder fingerprints */
	struct str
		fingerprint; /* embedder's; set for the collection when empty, else must be equal */
	int64_t bytes, chunks; /* chunks > 0 */
};

enum catalog_commit_result {
	CATALOG_COMMITTED,  /* this generation is the current one (also when repeated) */
	CATALOG_SUPERSEDED, /* a newer version or a delete won; sweep this generation */
};

/* ERR_EMBEDDER_MISMATCH, ERR_GONE (collection deleted), ERR_INVALID. out_old_gen: the generation replaced, "" =
 * none. SUPERSEDED also when the job's reservation is gone: the job is final, this worker lost it. */
bool catalog_commit(struct redis *redis, const struct catalog_commit *commit,
		    enum catalog_commit_result *out_result, char out_old_gen[CATALOG_GEN_BYTES],
		    struct err *err);

/* The same content again: raises the document's seq to `seq` and keeps its chunks, if its version_hash is
 * still this one. *out_unchanged false: it is not; do the work. Afterwards an older version in flight is
 * superseded. The document's generation keeps its old seq: sweep with keep_gen, never by seq alone. */
struct catalog_touch {
	struct str uid, document_id, job_id;
	int64_t seq;
	struct str version_hash;
	struct str fingerprint; /* of the embedder that would do the work; "" = not compared */
};
/* ERR_EMBEDDER_MISMATCH: there is work, and commit would refuse it. ERR_GONE. */
bool catalog_touch(struct redis *redis, const struct catalog_touch *touch, bool *out_unchanged,
		   struct err *err);

/* The job's outcome stands (committed, superseded, unchanged, deleted), or it will never run again (cancelled,
 * expired, a failed one whose record goes): forgets its reserved seq, and the tombstone or the empty record of its
 * document when it was the last one in flight. A failed job keeps its reservation as long as an operator may retry
 * it: it then commits in its old place. */
bool catalog_release(struct redis *redis, struct str uid, struct str job_id, struct err *err);

/* ---- readers ---- */

/* The collection's epoch now; read it before a search. ERR_GONE. */
bool catalog_epoch(struct redis *redis, struct str uid, int64_t *out_epoch, struct err *err);

struct catalog_current {
	char gen[CATALOG_GEN_BYTES]; /* "" = no visible generation (unknown, deleted, never committed) */
	int64_t commit_epoch; /* collection epoch of that commit: greater than the epoch read before
					the search means the search may have seen it half written: search again */
};
/* One HMGET for all (one for each 500). */
bool catalog_current(struct redis *redis, struct str uid, const struct str *document_ids,
		     size_t count, struct catalog_current *out, struct err *err);

enum catalog_verdict {
	CATALOG_HIDDEN,	 /* not of the current generation: drop the hit */
	CATALOG_VISIBLE, /* of the current generation, which was whole before the search began */
	CATALOG_SEARCH_AGAIN /* the document was committed after epoch_before was read */
};
/* A hit of generation `hit_gen` found by a search that began after `epoch_before` was read; `current` was read
 * after the search. Pure. */
enum catalog_verdict catalog_visible(const struct catalog_current *current, struct str hit_gen,
				     int64_t epoch_before);

struct document {
	struct str id, title, uri, content_type, content_hash, version_hash; /* arena */
	char gen[CATALOG_GEN_BYTES];
	int64_t seq;	     /* of the current version */
	int64_t pending_seq; /* newest accepted; > seq: something is in flight */
	int64_t bytes, chunks;
	int64_t created_ms, updated_ms;
	bool deleted;		/* a tombstone; only catalog_peek shows one */
	struct str pending_job; /* the job of pending_seq; "" = nothing in flight */
};
/* ERR_NOT_FOUND when readers see none (tombstones included). */
bool catalog_document(struct redis *redis, struct str uid, struct str document_id,
		      struct arena *arena, struct document *out, struct err *err);
/* Also what readers do not see: gen "" with a pending_seq (first version in flight) or deleted; all of it
 * empty when nothing is known of the document. For diffs. */
bool catalog_peek(struct redis *redis, struct str uid, struct str document_id, struct arena *arena,
		  struct document *out, struct err *err);
/* What a diff needs of many documents, at most CATALOG_MAX_MANY in one round trip. */
struct catalog_state {
	bool visible, in_flight;
	char content_hash[65]; /* hex, of the visible version; "" = none */
};
bool catalog_states(struct redis *redis, struct str uid, const struct str *ids, size_t count,
		    struct catalog_state *out, struct err *err);
/* The ids alone, as catalog_documents. Arena array. */
bool catalog_ids(struct redis *redis, struct str uid, struct str after, struct arena *arena,
		 struct str **out, size_t *io_count, struct err *err);
/* In byte order of ids, after `after` ("" = from the start). *io_count: how many at most; how many there are, fewer
 * only at the end. */
bool catalog_documents(struct redis *redis, struct str uid, struct str after, struct arena *arena,
		       struct document **out, size_t *io_count, struct err *err);

void catalog_gen_format(char out[CATALOG_GEN_BYTES], int64_t seq, int64_t epoch);
bool catalog_gen_parse(struct str gen, int64_t *out_seq, int64_t *out_epoch);

#endif
