/*
 * spec: the job types: payload, queue, limits; linked by the API and the workers. Adding a job type is one
 * row in spec.c and one handler in jobs/.
 *
 * Payload structures are plain data; their field tables drive JSON in, validation, msgpack and docs.
 * Strings borrow from the arena or the bytes they were read from.
 */
#ifndef RAG_JOBS_SPEC_SPEC_H
#define RAG_JOBS_SPEC_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/config.h"
#include "common/fields.h"

#define SPEC_QUERY_MAX_CHARS 4000
#define SPEC_TITLE_MAX_CHARS 500
#define SPEC_URI_MAX_CHARS 2000
#define SPEC_METADATA_MAX_BYTES 16384
#define SPEC_FILTER_MAX_BYTES 8192
#define SPEC_TOP_K_MAX 200

/* What a client sends as JSON to POST .../documents; also filled from a raw body and its parameters. */
struct document_body {
	struct str id; /* "" = the server makes one */
	struct str text;
	struct str title, uri;
	struct str metadata;	 /* JSON object, canonical; "" = none */
	struct str content_type; /* of `text`; default text/plain */
};
extern const struct fields document_body_fields;

struct ingest_payload {
	struct str collection, uid, document_id;
	int64_t seq;
	struct str content_type; /* media type without parameters, lower case */
	struct str title, uri, metadata;
	struct str content_hash; /* sha256 hex of body */
	struct str body;	 /* the document's bytes */
};
extern const struct fields ingest_payload_fields;

enum query_mode { QUERY_HYBRID, QUERY_DENSE, QUERY_LEXICAL };
extern const char *const query_mode_names[]; /* NULL-terminated */

struct query_payload {
	struct str collection, uid; /* internal: not from JSON */
	struct str query;
	int64_t top_k;	    /* 1..SPEC_TOP_K_MAX */
	struct str filter;  /* JSON object, see jobs/spec/filter.h; "" = none */
	struct str history; /* JSON array, see jobs/spec/history.h; "" = none */
	int mode;	    /* enum query_mode */
	bool rerank;
	bool generate;
	bool explain;
	int64_t max_tokens; /* of the answer, 16..4096 */
};
extern const struct fields query_payload_fields;

struct delete_payload {
	struct str collection, uid;
	struct str document_id; /* "" = the whole collection */
	int64_t seq;
};
extern const struct fields delete_payload_fields;

/* Defaults from the configuration (top_k, rerank, generate = true ...). */
void query_payload_init(struct query_payload *payload, const struct config *config);
void document_body_init(struct document_body *body);

struct job_type {
	const char *name;  /* "ingest" */
	const char *queue; /* "ingest" */
	const struct fields *payload;
};
extern const struct job_type job_types[];
extern const size_t job_type_count;
const struct job_type *job_type_find(struct str name); /* NULL when unknown */

/* ---- documents ---- */

/* "Text/HTML; charset=utf-8" -> "text/html", MEDIA_DETECT for application/octet-stream; ERR_UNSUPPORTED_MEDIA, naming
 * what is accepted, for a type no parser takes or, with a text type, a charset other than UTF-8/US-ASCII. */
bool spec_content_type(struct str header, struct str *out_media_type, struct err *err);

/* ---- what this configuration makes of text ---- */

#define SPEC_FINGERPRINT_BYTES 128
/* Parser and chunker as one: raise it when the same document and settings would give other chunks. */
#define SPEC_PIPELINE_VERSION 1
#define SPEC_LOCAL_MODEL "hash-1"
#define SPEC_LOCAL_DIM 768

/* "local/hash-1/768": provider, model, dimension, and 8 digits of a hash of the prefixes where there are any. ERR_CONFIG as
 * choose_embedder. */
bool spec_embedder_fingerprint(const struct config *config, char out[SPEC_FINGERPRINT_BYTES],
			       struct err *err);
/* Everything that decides what chunks come out of a document: parser and chunker version, size, overlap, and
 * the embedder's fingerprint. */
bool spec_pipeline_fingerprint(const struct config *config, char out[SPEC_FINGERPRINT_BYTES],
			       struct err *err);
/* ERR_CONFIG for settings that do not go together, as jobs/spec/choice.h says, and for a store that this build does not have. */
bool spec_check_config(const struct config *config, struct err *err);

/* sha256 hex of everything that decides a document's chunks; equal = unchanged. */
void spec_version_hash(const struct ingest_payload *payload, const char *pipeline_fingerprint,
		       char out[65]);

#endif
