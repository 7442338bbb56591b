/*
 * chroma_store: the inside of the chroma store, shared by its files. Private.
 *
 *	chroma_wire.c	    what is said and answered (pure)
 *	chroma_filter.c	    filters in Chroma's terms (pure), filter_match.c exactly
 *	chroma_http.c	    one call: connection, retries, what a failure is
 *	chroma_gate.c	    few writes at a time, of the whole fleet
 *	chroma_collection.c tenant, database, collections
 *	chroma_write.c	    put and remove
 *	chroma_read.c	    search, count, list
 *
 * Threads: any thread may call any function that takes a struct chroma_store. HTTP clients are lent to one call each.
 */
#ifndef RAG_JOBS_STORE_CHROMA_STORE_H
#define RAG_JOBS_STORE_CHROMA_STORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/http_client.h"
#include "jobs/store/chroma_gate.h"
#include "jobs/store/chroma_wire.h"
#include "jobs/store/store.h"

#define CHROMA_IDLE_CLIENTS 16
#define CHROMA_CACHED 64      /* collections whose UUID is remembered */
#define CHROMA_PAGE 5000      /* ids in one page of a get */
#define CHROMA_DELETE_IDS 500 /* in one delete: 6,000 were too many for old servers */
#define CHROMA_WRITE_BYTES ((size_t)8 << 20) /* aim for one write; a server takes 40 MiB */
#define CHROMA_REPLY_BYTES ((size_t)256 << 20)
#define CHROMA_URL_BYTES 1024

extern const struct store_ops chroma_store_ops;

struct chroma_cached {
	char uid[CHROMA_UID_BYTES]; /* "" = free */
	struct chroma_collection collection;
};

struct chroma_store {
	struct store store; /* first member */
	/* immutable after open */
	const struct config *config;
	char server[CHROMA_URL_BYTES];	 /* "http://host:port/api/v2" */
	char database[CHROMA_URL_BYTES]; /* server + "/tenants/t/databases/d" */
	char auth[CHROMA_URL_BYTES];	 /* header, "" = none; holds the token */
	char fingerprint[SPEC_FINGERPRINT_BYTES];
	struct chroma_gate *gate; /* owned */
	/* learnt from the server; any thread */
	atomic_size_t max_bytes, max_rows; /* of one write */
	/* under lock */
	pthread_mutex_t lock;
	struct http_client *idle[CHROMA_IDLE_CLIENTS];
	size_t idle_count;
	bool prepared; /* tenant and database are there, `preflight` is of this server */
	struct chroma_preflight preflight;
	struct chroma_cached cached[CHROMA_CACHED];
	size_t next_cached;
};

/* ---- chroma_http.c ---- */

enum chroma_scope { CHROMA_SERVER, CHROMA_DATABASE };

struct chroma_call {
	const char *method;
	enum chroma_scope scope;
	const char *path; /* after the scope's URL */
	struct str body;  /* JSON; "" = none */
	bool writes;	  /* goes through the gate */
	const struct store_limits *limits;
};

/*
 * One call that is safe to repeat: tries again for a moment what may pass. True: *out_class is OK, MISSING, EXISTS, SPLIT or BAD_REQUEST, and reply
 * is the answer. False: ERR_STORE_UNAVAILABLE (away, busy: wait), ERR_STORE_FAILED (token refused, no Chroma there, broken inside),
 * ERR_CANCELLED, ERR_DEADLINE, ERR_TOO_LARGE (the reply), ERR_REDIS_UNAVAILABLE (of the gate).
 */
bool chroma_run(struct chroma_store *store, const struct chroma_call *call,
		struct http_reply *reply, enum chroma_class *out_class, struct err *err);
/* For an answer that was not wanted: ERR_STORE_FAILED "could not <what>: ..." with the server's words as cause. */
bool chroma_fail(const struct http_reply *reply, const char *what, struct err *err);
/* Words of the answer, one line, short. */
void chroma_excerpt(const struct http_reply *reply, char *out, size_t out_bytes);
void chroma_http_release(struct chroma_store *store);

static inline struct str
chroma_body(const struct http_reply *reply)
{
	return str_make(reply->body.data, reply->body.len);
}

/* ---- chroma_collection.c ---- */

/* Makes sure of tenant and database, and knows the server's limits; once, and again after a connection was lost. */
bool chroma_prepare(struct chroma_store *store, const struct store_limits *limits,
		    struct chroma_preflight *out, struct err *err);
void chroma_unprepare(struct chroma_store *store);

enum chroma_want {
	CHROMA_FIND,	  /* as it is */
	CHROMA_FIND_SAME, /* made with our embedder, else ERR_EMBEDDER_MISMATCH */
	CHROMA_MAKE	  /* the same, and made when it is missing */
};
struct chroma_record_call {
	struct str uid;
	enum chroma_want want;
	const char *verb; /* "upsert", "get", ... */
	struct str body;
	size_t dim; /* of the vectors in it; 0 = none */
	const struct store_limits *limits;
};
/*
 * A call on the records of a collection. *out_found false: there is no such collection. A UUID that has become wrong (dropped, made again) is
 * looked up once more. A 400 becomes ERR_EMBEDDER_MISMATCH when the dimensions differ, else ERR_STORE_FAILED; *out_class is OK or SPLIT.
 */
bool chroma_on_records(struct chroma_store *store, const struct chroma_record_call *call,
		       struct http_reply *reply, enum chroma_class *out_class, bool *out_found,
		       struct err *err);
bool chroma_find(struct chroma_store *store, struct str uid, enum chroma_want want,
		 const struct store_limits *limits, struct chroma_collection *out, bool *out_found,
		 struct err *err);
void chroma_forget(struct chroma_store *store, struct str uid);

/* ---- chroma_write.c ---- */

bool chroma_put(struct store *store, const struct store_document *document, struct err *err);
bool chroma_remove_generation(struct store *store, struct str uid, struct str document_id,
			      struct str gen, struct err *err);
bool chroma_remove_older(struct store *store, struct str uid, struct str document_id,
			 int64_t below_seq, struct str keep_gen, struct err *err);
bool chroma_remove_collection(struct store *store, struct str uid, struct err *err);

/* ---- chroma_read.c ---- */

struct chroma_ids {
	struct str *items; /* arena */
	size_t count;
};
/* The ids of all records of a document, all generations. */
bool chroma_document_ids(struct chroma_store *store, struct str uid, struct str document_id,
			 const struct store_limits *limits, struct arena *arena,
			 struct chroma_ids *out, struct err *err);
bool chroma_search(struct store *store, const struct store_search *search, struct arena *arena,
		   struct store_hits *out, struct err *err);
bool chroma_count(struct store *store, struct str uid, struct str document_id, struct str gen,
		  int64_t *out_chunks, struct err *err);
bool chroma_each_generation(struct store *store,
			    bool (*fn)(void *user, const struct store_generation *generation,
				       struct err *err),
			    void *user, struct err *err);

#endif
