#include "jobs/spec/spec.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/catalog.h"
#include "common/sha256.h"
#include "jobs/spec/choice.h"
#include "jobs/spec/history.h"
#include "jobs/spec/media.h"
#include "jobs/spec/store.h"

/* ---- payloads ---- */

#define COLLECTION_DOC "name of the collection"
#define UID_DOC "identity of the collection: a re-created one has another"
#define SEQ_DOC "order of acceptance in the collection"

static const struct field document_body_rows[] = {
	FIELD(struct document_body, id, FIELD_STR, .max = CATALOG_DOC_ID_MAX_BYTES,
	      .doc = "id in the collection; without one the server makes a ULID"),
	FIELD(struct document_body, text, FIELD_STR, .required = true, .controls = true,
	      .doc = "the document"),
	FIELD(struct document_body, title, FIELD_STR, .max = SPEC_TITLE_MAX_CHARS,
	      .doc = "title, for lists and citations"),
	FIELD(struct document_body, uri, FIELD_STR, .max = SPEC_URI_MAX_CHARS,
	      .doc = "where the document comes from"),
	FIELD(struct document_body, metadata, FIELD_JSON, .max = SPEC_METADATA_MAX_BYTES,
	      .doc = "an object for filters"),
	FIELD(struct document_body, content_type, FIELD_STR, .min = 1, .max = 255,
	      .doc = "media type of `text`"),
};
const struct fields document_body_fields = FIELDS("document", document_body_rows);

static const struct field ingest_payload_rows[] = {
	FIELD(struct ingest_payload, collection, FIELD_STR, .required = true, .min = 1,
	      .max = CATALOG_NAME_MAX, .doc = COLLECTION_DOC),
	FIELD(struct ingest_payload, uid, FIELD_STR, .required = true, .min = ID_ULID_LEN,
	      .max = ID_ULID_LEN, .doc = UID_DOC),
	FIELD(struct ingest_payload, document_id, FIELD_STR, .required = true, .min = 1,
	      .max = CATALOG_DOC_ID_MAX_BYTES, .doc = "id in the collection"),
	FIELD(struct ingest_payload, seq, FIELD_I64, .required = true, .min = 1, .max = INT64_MAX,
	      .doc = SEQ_DOC),
	FIELD(struct ingest_payload, content_type, FIELD_STR, .required = true, .min = 1,
	      .max = 255, .doc = "media type, lower case, without parameters"),
	FIELD(struct ingest_payload, title, FIELD_STR, .max = SPEC_TITLE_MAX_CHARS, .doc = "title"),
	FIELD(struct ingest_payload, uri, FIELD_STR, .max = SPEC_URI_MAX_CHARS, .doc = "origin"),
	FIELD(struct ingest_payload, metadata, FIELD_JSON, .max = SPEC_METADATA_MAX_BYTES,
	      .doc = "canonical JSON object"),
	FIELD(struct ingest_payload, content_hash, FIELD_STR, .required = true,
	      .min = SHA256_HEX_BYTES - 1, .max = SHA256_HEX_BYTES - 1,
	      .doc = "SHA-256 of the body, hex"),
	FIELD(struct ingest_payload, body, FIELD_BYTES, .required = true,
	      .doc = "the document's bytes"),
};
const struct fields ingest_payload_fields = FIELDS("ingest", ingest_payload_rows);

const char *const query_mode_names[] = { "hybrid", "dense", "lexical", NULL };

static const struct field query_payload_rows[] = {
	FIELD(struct query_payload, collection, FIELD_STR, .internal = true,
	      .max = CATALOG_NAME_MAX, .doc = COLLECTION_DOC),
	FIELD(struct query_payload, uid, FIELD_STR, .internal = true, .max = ID_ULID_LEN,
	      .doc = UID_DOC),
	FIELD(struct query_payload, query, FIELD_STR, .required = true, .min = 1,
	      .max = SPEC_QUERY_MAX_CHARS, .doc = "the question"),
	FIELD(struct query_payload, top_k, FIELD_I64, .min = 1, .max = SPEC_TOP_K_MAX,
	      .doc = "chunks to retrieve"),
	FIELD(struct query_payload, filter, FIELD_JSON, .max = SPEC_FILTER_MAX_BYTES,
	      .doc = "metadata filter"),
	FIELD(struct query_payload, history, FIELD_LIST, .max = HISTORY_MAX_BYTES,
	      .doc = "the conversation so far"),
	FIELD(struct query_payload, mode, FIELD_ENUM, .names = query_mode_names,
	      .doc = "how to search"),
	FIELD(struct query_payload, rerank, FIELD_BOOL, .doc = "reorder the candidates"),
	FIELD(struct query_payload, generate, FIELD_BOOL, .doc = "write an answer"),
	FIELD(struct query_payload, explain, FIELD_BOOL, .doc = "show the scores"),
	FIELD(struct query_payload, max_tokens, FIELD_I64, .min = 16, .max = 4096,
	      .doc = "length of the answer"),
};
const struct fields query_payload_fields = FIELDS("query", query_payload_rows);

static const struct field delete_payload_rows[] = {
	FIELD(struct delete_payload, collection, FIELD_STR, .required = true, .min = 1,
	      .max = CATALOG_NAME_MAX, .doc = COLLECTION_DOC),
	FIELD(struct delete_payload, uid, FIELD_STR, .required = true, .min = ID_ULID_LEN,
	      .max = ID_ULID_LEN, .doc = UID_DOC),
	FIELD(struct delete_payload, document_id, FIELD_STR, .max = CATALOG_DOC_ID_MAX_BYTES,
	      .doc = "id in the collection; empty: the whole collection"),
	FIELD(struct delete_payload, seq, FIELD_I64, .min = 0, .max = INT64_MAX, .doc = SEQ_DOC),
};
const struct fields delete_payload_fields = FIELDS("delete", delete_payload_rows);

void
query_payload_init(struct query_payload *payload, const struct config *config)
{
	*payload = (struct query_payload){
		.top_k = config->retrieval_k,
		.mode = QUERY_HYBRID,
		.rerank = config->enable_reranking,
		.generate = true,
		.max_tokens = 512,
	};
}

void
document_body_init(struct document_body *body)
{
	*body = (struct document_body){ .content_type = STR("text/plain") };
}

/* ---- job types ---- */

const struct job_type job_types[] = {
	{ .name = "ingest", .queue = "ingest", .payload = &ingest_payload_fields },
	{ .name = "query", .queue = "query", .payload = &query_payload_fields },
	{ .name = "delete", .queue = "ingest", .payload = &delete_payload_fields },
};
const size_t job_type_count = ARRAY_SIZE(job_types);

const struct job_type *
job_type_find(struct str name)
{
	for (size_t i = 0; i < job_type_count; i++)
		if (str_eq_c(name, job_types[i].name))
			return &job_types[i];
	return NULL;
}

/* ---- media types ---- */

/* The value of a parameter, without the quotes it may have. */
static struct str
unquote(struct str value)
{
	if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
		return str_sub(value, 1, value.len - 1);
	return value;
}

static bool
check_parameters(struct str rest, struct err *err)
{
	struct str piece;
	while (str_split(&rest, ';', &piece)) {
		struct str name;
		piece = str_trim(piece);
		if (!str_split(&piece, '=', &name) ||
		    !str_eq_nocase(str_trim(name), STR("charset")))
			continue;
		struct str charset = unquote(str_trim(piece));
		if (!str_eq_nocase(charset, STR("utf-8")) && !str_eq_nocase(charset, STR("utf8")) &&
		    !str_eq_nocase(charset, STR("us-ascii")))
			return err_set(err, ERR_UNSUPPORTED_MEDIA,
				       "cannot take charset '" STR_FMT
				       "': only utf-8 and us-ascii are accepted",
				       STR_ARG(str_sub(charset, 0, 40)));
	}
	return true;
}

bool
spec_content_type(struct str header, struct str *out_media_type, struct err *err)
{
	struct str rest = header, type = { 0 };
	str_split(&rest, ';', &type);
	type = str_trim(type);
	const struct media_type *media = media_find(type);
	if (media) {
		/* what is no text, or says its own, has no charset here */
		if (media->is_text && media->format != MEDIA_RTF && !check_parameters(rest, err))
			return false;
		*out_media_type = str_of(media->name);
		return true;
	}
	if (str_eq_nocase(type, STR(MEDIA_DETECT))) {
		*out_media_type = STR(MEDIA_DETECT);
		return true;
	}
	return err_set(
		err, ERR_UNSUPPORTED_MEDIA,
		"cannot take a document of type '" STR_FMT
		"': plain text, Markdown, HTML, XHTML, JSON, CSV, XML, RTF, PDF, DOCX, XLSX, "
		"PPTX, ODT, ODS, ODP and EPUB are accepted",
		STR_ARG(str_sub(type, 0, 80)));
}

/* ---- what this configuration makes of text ---- */

bool
spec_embedder_fingerprint(const struct config *config, char out[SPEC_FINGERPRINT_BYTES],
			  struct err *err)
{
	struct embedder_choice choice;
	char hash[SHA256_HEX_BYTES], prefixes[16] = "";
	int len;

	if (!choose_embedder(config, &choice, err))
		return false;
	if (choice.query_prefix[0] || choice.document_prefix[0]) {
		struct sha256 *all = sha256_new();

		sha256_add_field(all, str_of(choice.query_prefix));
		sha256_add_field(all, str_of(choice.document_prefix));
		sha256_finish_hex(all, hash);
		(void)snprintf(prefixes, sizeof(prefixes), "/%.8s", hash);
	}
	len = snprintf(out, SPEC_FINGERPRINT_BYTES, "%s/%s/%zu%s", choice.at.provider,
		       choice.at.model, choice.dim, prefixes);
	if (len < 0 || len >= SPEC_FINGERPRINT_BYTES)
		return err_set(err, ERR_CONFIG, "cannot use an embedder with a name this long");
	return true;
}

bool
spec_pipeline_fingerprint(const struct config *config, char out[SPEC_FINGERPRINT_BYTES],
			  struct err *err)
{
	char embedder[SPEC_FINGERPRINT_BYTES];
	if (!spec_embedder_fingerprint(config, embedder, err))
		return false;
	int len =
		snprintf(out, SPEC_FINGERPRINT_BYTES, "v%d/%lld/%lld/%s", SPEC_PIPELINE_VERSION,
			 (long long)config->chunk_size, (long long)config->chunk_overlap, embedder);
	if (len < 0 || len >= SPEC_FINGERPRINT_BYTES)
		return err_set(err, ERR_CONFIG, "cannot use an embedder with a name this long");
	return true;
}

bool
spec_check_config(const struct config *config, struct err *err)
{
	char fingerprint[SPEC_FINGERPRINT_BYTES];
	struct generator_choice generator;
	struct reranker_choice reranker;
	if (!spec_pipeline_fingerprint(config, fingerprint, err))
		return false;
	if (!choose_generator(config, &generator, err) || !choose_reranker(config, &reranker, err))
		return false;
	if (!spec_check_store(config, err))
		return false;
	if (config->chunk_overlap > config->chunk_size / 2)
		return err_set(err, ERR_CONFIG,
			       "cannot use chunk.overlap (CHUNK_OVERLAP) %lld: at most half of "
			       "chunk.size, which is %lld",
			       (long long)config->chunk_overlap, (long long)config->chunk_size);
	return true;
}

void
spec_version_hash(const struct ingest_payload *payload, const char *pipeline_fingerprint,
		  char out[SHA256_HEX_BYTES])
{
	struct sha256 *hash = sha256_new();
	sha256_add_field(hash, str_of(pipeline_fingerprint));
	sha256_add_field(hash, payload->content_hash);
	sha256_add_field(hash, payload->content_type);
	sha256_add_field(hash, payload->title);
	sha256_add_field(hash, payload->uri);
	sha256_add_field(hash, payload->metadata);
	sha256_finish_hex(hash, out);
}
