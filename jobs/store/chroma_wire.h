/*
 * chroma_wire: what goes over the wire to Chroma (v2 HTTP API) and what comes back, as pure functions: no network, no state. Private to the
 * chroma store.
 *
 * One record is one chunk. Its id is "<document>@<seq>.<epoch>#<ordinal>", the chunk_id of query results: everything that the store has to
 * know of a chunk but its text can be read from the id, from the right, whatever characters the document's id has. Its metadata are flat:
 *
 *	document_id, generation, title, uri, heading	strings ("" = none)
 *	ordinal, start, end, page			integers
 *	metadata					the document's metadata as it was given: a JSON object as text; absent = none
 * and what filters look at (chroma_filter.h): m.<field>, b.<field>, z.<field>, i.<field>=<item>, lo.<field>, hi.<field>, o.
 *
 * Formats: Chroma 1.0.3, 1.3.4 and 1.5.9 as observed. Nothing is decided by the text of a message, but for "too many SQL variables".
 */
#ifndef RAG_JOBS_STORE_CHROMA_WIRE_H
#define RAG_JOBS_STORE_CHROMA_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/catalog.h"
#include "common/json.h"
#include "jobs/spec/spec.h"
#include "jobs/store/store.h"

#define CHROMA_UUID_BYTES 40
#define CHROMA_NAME_BYTES 513 /* Chroma's names have 3 to 512 characters */
#define CHROMA_UID_BYTES 128
#define CHROMA_ID_BYTES (CATALOG_DOC_ID_MAX_BYTES + CATALOG_GEN_BYTES + 32)
#define CHROMA_DEFAULT_BATCH 100 /* rows, of a server that does not say its limit */

/* ---- names and ids ---- */

/* "<prefix><uid>"; ERR_INVALID when Chroma would not take it. */
bool chroma_name_format(char out[CHROMA_NAME_BYTES], struct str prefix, struct str uid,
			struct err *err);

struct chroma_id {
	struct str document_id, gen; /* slices of the id */
	int64_t seq, ordinal;
};
void chroma_id_format(char out[CHROMA_ID_BYTES], struct str document_id, struct str gen,
		      int64_t ordinal);
/* false: not an id of ours. */
bool chroma_id_parse(struct str id, struct chroma_id *out);

/* ---- what an answer means ---- */

enum chroma_class {
	CHROMA_OK,
	CHROMA_MISSING,	    /* 404 */
	CHROMA_EXISTS,	    /* 409 */
	CHROMA_SPLIT,	    /* too much at once: send less */
	CHROMA_BUSY,	    /* may work in a moment: 408, 425, 429, 500, 502, 503, 504 */
	CHROMA_REFUSED,	    /* 401, 402, 403: the token */
	CHROMA_BAD_REQUEST, /* 400, 422 */
	CHROMA_ODD	    /* any other status: this is no Chroma that we know */
};
/* By the status alone; two exceptions: a 500 for too many rows is SPLIT, a 500 for an id that is missing is BAD_REQUEST. */
enum chroma_class chroma_classify(int status, struct str body);

/* ---- requests ---- */

/* Creates or gets; the distance is cosine, never Chroma's default. */
void chroma_build_collection(struct buf *out, const char *name, struct str uid,
			     const char *fingerprint);
/* {"name": ...}: a tenant, a database */
void chroma_build_name(struct buf *out, const char *name);
/* Of one document's records, ids alone; one page. */
void chroma_build_get_document(struct buf *out, struct str document_id, size_t limit,
			       size_t offset);
void chroma_build_get_ids(struct buf *out, const struct str *ids, size_t count);
/* The first records that satisfy a clause: ids alone, or `whole`, with all that a hit is made of. */
void chroma_build_get_where(struct buf *out, struct str where, bool whole, size_t limit);
/* Every record's id, one page. */
void chroma_build_get_page(struct buf *out, size_t limit, size_t offset);
/* By ids and nothing else: a `limit` beside a `where` deletes every match on servers up to 1.0.3. */
void chroma_build_delete(struct buf *out, const struct str *ids, size_t count);
/* where: a clause (chroma_filter.h) or "" */
void chroma_build_query(struct buf *out, const float *vector, size_t dim, size_t limit,
			struct str where);
/*
 * The chunks from..from+count of the document. `fields` are the members of filters, JSON text `,"key":value...` or "". base64: vectors as base64
 * of little-endian float32. ERR_INVALID for a number that is not finite, an ordinal that is not the chunk's place (ids would be the same twice), a
 * generation that is none.
 */
bool chroma_build_upsert(struct buf *out, const struct store_document *document, size_t from,
			 size_t count, struct str fields, bool base64, struct err *err);
/* About how many bytes chunk `at` adds to such a body; never less than it does. */
size_t chroma_row_bytes(const struct store_document *document, size_t at, struct str fields,
			bool base64);

/* ---- replies; ERR_STORE_FAILED for what is not of the form ---- */

struct chroma_preflight {
	size_t max_batch; /* rows of one write */
	bool base64;	  /* vectors may be sent so; older servers do not say and cannot */
};
bool chroma_parse_preflight(struct str body, struct chroma_preflight *out, struct err *err);

struct chroma_collection {
	char id[CHROMA_UUID_BYTES]; /* UUID */
	char name[CHROMA_NAME_BYTES];
	char uid[CHROMA_UID_BYTES];		  /* "" = not ours */
	char fingerprint[SPEC_FINGERPRINT_BYTES]; /* of the embedder; "" = none */
	bool cosine;
	size_t dim; /* 0 = nothing was written yet */
};
bool chroma_parse_collection(struct str body, struct chroma_collection *out, struct err *err);
/* One page of the list: fn for each; *out_count: how many there were, ours or not. */
bool chroma_parse_collections(struct str body,
			      bool (*fn)(void *user, const struct chroma_collection *collection,
					 struct err *err),
			      void *user, size_t *out_count, struct err *err);
/* "ids" of a get: arena memory. */
bool chroma_parse_ids(struct str body, struct arena *arena, struct str **out, size_t *out_count,
		      struct err *err);
/*
 * Hits of a query in the order they came; *out_total: how many rows there were. Rows without a distance (a vector that was stored as NaN) and rows
 * that are not ours are left out. Texts are arena memory. hit->row is made of the id: equal for the same chunk at any time.
 */
bool chroma_parse_query(struct str body, struct arena *arena, struct store_hit **out,
			size_t *out_count, size_t *out_total, struct err *err);

/* Hits of a get that is whole, scored by the product of their vectors with `vector`; those that are not ours are left out. */
bool chroma_parse_records(struct str body, const float *vector, size_t dim, struct arena *arena,
			  struct store_hit **out, size_t *out_count, struct err *err);

#endif
