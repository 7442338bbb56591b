/*
 * The routes of documents: list, get, submit, delete.
 *
 * A document comes as JSON (its text inside), as a raw body with its media type, or as a form with a file; all end in one struct and one
 * way: validate, reserve the seq in the catalog, submit. A reservation is given back when the job was refused for
 * good, and kept when the job may exist.
 */
#include <string.h>

#include "api/handlers.h"
#include "api/keep.h"
#include "api/reply.h"
#include "api/shared.h"
#include "api/submit.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/catalog.h"
#include "common/multipart.h"
#include "common/queue.h"
#include "jobs/spec/media.h"

/* ---- reading a document ---- */

static bool
no_text(bool raw, struct err *err)
{
	err_set(err, ERR_EMPTY_TEXT, "the document is empty");
	return raw ? false : err_at(err, "/text");
}

/* The members that come as text of their own: parameters, or parts of a form. */
#define TEXT_MEMBERS 4
static const char *const text_members[TEXT_MEMBERS] = { "id", "title", "uri", "metadata" };

/* They go through the table of the JSON form, so that all forms have the same limits and messages. "" = not given. */
static bool
fields_from_texts(struct call *call, const struct str texts[TEXT_MEMBERS],
		  struct document_body *body, struct err *err)
{
	AUTO(buf) struct buf text = BUF_INIT((size_t)256 * 1024);
	AUTO_PTR(js_free) struct js *root = NULL;
	struct jw w = jw_start(&text);

	jw_obj(&w);
	for (size_t i = 0; i < TEXT_MEMBERS; i++) {
		AUTO_PTR(js_free) struct js *metadata = NULL;

		if (texts[i].len == 0)
			continue;
		if (strcmp(text_members[i], "metadata") != 0) {
			jw_kstr(&w, text_members[i], texts[i]);
			continue;
		}
		if (!js_parse(texts[i], &metadata, err))
			return err_at(err, "/metadata");
		jw_kraw(&w, text_members[i], texts[i]);
	}
	jw_kcstr(&w, "text", "-"); /* required there; the body follows */
	jw_end(&w);
	return buf_check(&text, "the document's members", err) &&
	       js_parse(str_make(text.data, text.len), &root, err) &&
	       fields_from_json(&document_body_fields, root, body, &call->arena, err);
}

static bool
fields_from_params(struct call *call, struct document_body *body, struct err *err)
{
	struct str texts[TEXT_MEMBERS];

	for (size_t i = 0; i < TEXT_MEMBERS; i++)
		if (!call_param(call, text_members[i], &texts[i], err))
			return false;
	return fields_from_texts(call, texts, body, err);
}

/* The declared type against the bytes; for text that is read here and now, the bytes themselves. */
static bool
check_content(struct document_body *body, struct err *err)
{
	const struct media_type *type;
	size_t bad_at;

	if (!media_resolve(body->content_type, body->text, &type, err))
		return false;
	body->content_type = str_of(type->name);
	if (media_is_utf8(type) && !media_is_utf16(body->text) &&
	    !str_utf8_valid(body->text, &bad_at))
		return err_set(err, ERR_BAD_DOCUMENT, "the document is not UTF-8 at byte %zu",
			       bad_at);
	return true;
}

static bool
read_raw(struct call *call, struct document_body *body, struct submit_options *options,
	 struct err *err)
{
	static const char *const known[] = { "id",  "title",	   "uri", "metadata",
					     "raw", SUBMIT_PARAMS, NULL };
	struct str header = STR(MEDIA_DETECT);

	http_header(call->http, "Content-Type", &header);
	if (!spec_content_type(header, &body->content_type, err) ||
	    !call_check_params(call, known, err) || !submit_options_from_params(call, options, err))
		return false;
	struct str media_type = body->content_type;
	if (!fields_from_params(call, body, err) ||
	    !http_body(call->http, (size_t)call->api->config->max_body_bytes, &call->arena,
		       &body->text, err))
		return false;
	body->content_type = media_type;
	if (str_trim(body->text).len == 0)
		return no_text(true, err);
	return check_content(body, err);
}

/* ---- a form: the file, and members beside it ---- */

struct form {
	struct str file, file_type;
	bool has_file;
	struct str texts[TEXT_MEMBERS];
	bool has_text[TEXT_MEMBERS];
};

static bool
take_part(struct form *form, const struct multipart_part *part, struct err *err)
{
	if (str_eq_c(part->name, "file")) {
		if (form->has_file)
			return err_set(err, ERR_INVALID,
				       "the form has two files: one document a "
				       "request");
		form->has_file = true;
		form->file = part->body;
		form->file_type = part->content_type.len ? part->content_type : STR(MEDIA_DETECT);
		return true;
	}
	for (size_t i = 0; i < TEXT_MEMBERS; i++) {
		if (!str_eq_c(part->name, text_members[i]))
			continue;
		if (form->has_text[i] || !str_utf8_valid(part->body, NULL)) {
			err_set(err, ERR_INVALID, "'%s' %s", text_members[i],
				form->has_text[i] ? "is given twice" : "is not UTF-8");
			return err_at(err, "/%s", text_members[i]);
		}
		form->has_text[i] = true;
		form->texts[i] = part->body;
		return true;
	}
	return err_set(err, ERR_INVALID,
		       "the form has a field '" STR_FMT "': file, id, title, uri and metadata are "
		       "known",
		       STR_ARG(str_sub(part->name, 0, 40)));
}

static bool
read_form(struct call *call, struct form *form, struct err *err)
{
	struct str header = STR(""), bytes;
	struct multipart multipart;
	struct multipart_part part;
	bool more = true;

	http_header(call->http, "Content-Type", &header);
	if (!http_body(call->http, (size_t)call->api->config->max_body_bytes, &call->arena, &bytes,
		       err) ||
	    !multipart_open(header, bytes, &multipart, err))
		return false;
	while (more) {
		if (!multipart_next(&multipart, &part, &more, err) ||
		    (more && !take_part(form, &part, err)))
			return false;
	}
	if (form->has_file)
		return true;
	err_set(err, ERR_INVALID, "the form has no 'file'");
	return err_at(err, "/file");
}

static bool
read_multipart(struct call *call, struct document_body *body, struct submit_options *options,
	       struct err *err)
{
	static const char *const known[] = { SUBMIT_PARAMS, NULL };
	struct form form = { .has_file = false };
	struct str type;

	if (!call_check_params(call, known, err) ||
	    !submit_options_from_params(call, options, err) || !read_form(call, &form, err) ||
	    !spec_content_type(form.file_type, &type, err) ||
	    !fields_from_texts(call, form.texts, body, err))
		return false;
	body->content_type = type;
	body->text = form.file;
	if (str_trim(body->text).len == 0)
		return no_text(true, err);
	return check_content(body, err);
}

static bool
read_json(struct call *call, struct document_body *body, struct submit_options *options,
	  struct err *err)
{
	static const char *const known[] = { "raw", NULL };
	AUTO_PTR(js_free) struct js *root = NULL;

	if (!call_check_params(call, known, err) || !call_json(call, &root, err) ||
	    !submit_options_from_json(call, &submit_option_fields, &root, options, err) ||
	    !fields_from_json(&document_body_fields, root, body, &call->arena, err))
		return false;
	if (!shared_text_type(body, err))
		return false;
	return str_trim(body->text).len > 0 || no_text(false, err);
}

static bool
read_document(struct call *call, struct document_body *body, struct submit_options *options,
	      struct err *err)
{
	struct str type = call_media_type(call);
	bool raw = false, ok;

	document_body_init(body);
	if (!call_param_bool(call, "raw", &raw, err))
		return false;
	if (str_eq_nocase(type, STR("multipart/form-data")) && !raw)
		ok = read_multipart(call, body, options, err);
	else if (!raw && (type.len == 0 || str_eq_nocase(type, STR("application/json"))))
		ok = read_json(call, body, options, err);
	else
		ok = read_raw(call, body, options, err);
	if (!ok)
		return false;
	if (body->id.len && !catalog_doc_id_valid(body->id, err))
		return err_at(err, "/id");
	return true;
}

/* ---- submitting ---- */

static void
make_payload(const struct document_body *body, char content_hash[SHA256_HEX_BYTES],
	     struct ingest_payload *out)
{
	sha256_hex(body->text, content_hash);
	*out = (struct ingest_payload){
		.document_id = body->id,
		.content_type = body->content_type,
		.title = body->title,
		.uri = body->uri,
		.metadata = body->metadata,
		.content_hash = str_of(content_hash),
	};
}

/* The id that the server makes is the ULID of the job, so that a repeated call makes the same. */
static struct str
id_or_own(struct str id, const struct submit *submit)
{
	size_t len = strlen(submit->job_id);

	return id.len ? id : str_make(submit->job_id + len - ID_ULID_LEN, ID_ULID_LEN);
}

/* A duplicate of this request may have made the job, and the job may have ended, before this one reserved: then
 * nobody else gives the reservation back. */
static bool
release_if_over(struct redis *redis, const struct ingest_payload *payload, const char *job_id,
		struct err *err)
{
	struct job job;

	if (!queue_get(redis, str_of(job_id), &job, err))
		return err->code == ERR_NOT_FOUND;
	if (!job_status_done(job.status) || job.status == JOB_FAILED)
		return true;
	return catalog_release(redis, payload->uid, str_of(job_id), err);
}

static bool
accept_and_send(struct call *call, struct submit *submit, struct ingest_payload *payload,
		struct err *err)
{
	/* both outlive submit_send, which may write the id of an earlier job over submit->job_id */
	char job_id[JOB_ID_BYTES];
	struct err ignored = ERR_INIT;
	struct redis *redis;
	bool maybe;

	str_copy(job_id, sizeof(job_id), str_of(submit->job_id));
	if (!call_redis(call, &redis, err) ||
	    !catalog_accept(redis, payload->uid, payload->document_id, str_of(job_id),
			    &payload->seq, err))
		return false;
	if (submit_send(call, submit, payload->collection.ptr, payload, false, &maybe, err)) {
		if (submit->idem_hash[0])
			(void)release_if_over(redis, payload, job_id, &ignored);
		return true;
	}
	if (!maybe && call_redis(call, &redis, &ignored))
		catalog_release(redis, payload->uid, str_of(job_id), &ignored);
	return false;
}

bool
documents_post(struct call *call, struct err *err)
{
	char content_hash[SHA256_HEX_BYTES];
	struct collection collection;
	struct submit submit = { 0 };
	struct ingest_payload payload;
	struct document_body body;

	if (!read_document(call, &body, &submit.options, err))
		return false;
	make_payload(&body, content_hash, &payload);
	payload.collection = call->params[0];
	if (!submit_begin(call, "ingest", &payload, &submit, err))
		return false;
	if (submit.replayed)
		return submit_answer(call, &submit, err);
	if (!shared_collection(call, &collection, err) ||
	    !shared_check_embedder(call, &collection, err))
		return false;
	char own_id[JOB_ID_BYTES];
	str_copy(own_id, sizeof(own_id), id_or_own(payload.document_id, &submit));
	if (!payload.document_id.len)
		payload.document_id = str_of(own_id);
	payload.collection = str_of(collection.name);
	payload.uid = str_of(collection.uid);
	payload.body = body.text;
	return accept_and_send(call, &submit, &payload, err) && submit_answer(call, &submit, err);
}

/* ---- deleting ---- */

bool
documents_delete(struct call *call, struct err *err)
{
	static const char *const known[] = { SUBMIT_PARAMS, NULL };
	struct delete_payload payload = { .collection = call->params[0],
					  .document_id = call->params[1] };
	struct collection collection;
	struct submit submit = { 0 };
	struct document document;
	struct redis *redis;
	bool existed, maybe;

	if (!call_check_params(call, known, err) ||
	    !submit_options_from_params(call, &submit.options, err) ||
	    !shared_document_id(call->params[1], err) ||
	    !submit_begin(call, "delete", &payload, &submit, err))
		return false;
	if (submit.replayed)
		return submit_answer(call, &submit, err);
	if (!shared_collection(call, &collection, err) || !call_redis(call, &redis, err))
		return false;
	if (!catalog_peek(redis, str_of(collection.uid), payload.document_id, &call->arena,
			  &document, err))
		return false;
	/* one that is only on its way, or whose delete is, is known too */
	if (!document.gen[0] && !document.deleted && document.pending_seq == 0)
		return shared_no_document(payload.document_id, err);
	payload.collection = str_of(collection.name);
	payload.uid = str_of(collection.uid);
	/* From here on readers do not see it. When the job cannot be submitted, the clean-up of old generations
	 * finds what it would have removed; a repeated call submits it again. */
	return catalog_delete_document(redis, payload.uid, payload.document_id,
				       str_of(submit.job_id), &payload.seq, &existed, err) &&
	       submit_send(call, &submit, collection.name, &payload, true, &maybe, err) &&
	       submit_answer(call, &submit, err);
}

/* ---- reading ---- */

static void
document_object(struct jw *w, const struct document *document)
{
	jw_obj(w);
	jw_kstr(w, "id", document->id);
	jw_kcstr(w, "object", "document");
	jw_kstr(w, "title", document->title);
	jw_kstr(w, "uri", document->uri);
	jw_kstr(w, "content_type", document->content_type);
	jw_kstr(w, "content_hash", document->content_hash);
	jw_kcstr(w, "version", document->gen);
	jw_kint(w, "bytes", document->bytes);
	jw_kint(w, "chunks", document->chunks);
	jw_kbool(w, "in_flight", document->pending_seq > document->seq);
	jw_ktime(w, "created_at", document->created_ms);
	jw_ktime(w, "updated_at", document->updated_ms);
	jw_end(w);
}

bool
documents_get(struct call *call, struct err *err)
{
	static const char *const known[] = { NULL };
	struct collection collection;
	struct document document;
	struct redis *redis;

	if (!call_check_params(call, known, err) || !shared_document_id(call->params[1], err) ||
	    !shared_collection(call, &collection, err) || !call_redis(call, &redis, err))
		return false;
	if (!catalog_document(redis, str_of(collection.uid), call->params[1], &call->arena,
			      &document, err))
		return err->code == ERR_NOT_FOUND ? shared_no_document(call->params[1], err)
						  : false;
	struct jw w = reply_json(call, 200);
	document_object(&w, &document);
	return true;
}

bool
documents_list(struct call *call, struct err *err)
{
	static const char *const known[] = { "page_size", "page_token", NULL };
	struct document *documents;
	struct collection collection;
	struct redis *redis;
	size_t size, count;
	struct str after;

	if (!call_check_params(call, known, err) || !call_page_size(call, &size, err) ||
	    !call_page_token(call, STR(""), &after, err) ||
	    !shared_collection(call, &collection, err) || !call_redis(call, &redis, err))
		return false;
	count = size;
	if (!catalog_documents(redis, str_of(collection.uid), after, &call->arena, &documents,
			       &count, err))
		return false;
	struct jw w = reply_json(call, 200);
	jw_obj(&w);
	jw_karr(&w, "data");
	for (size_t i = 0; i < count; i++)
		document_object(&w, &documents[i]);
	jw_end(&w);
	call_page_token_write(call, STR(""), count == size ? documents[count - 1].id : STR(""), &w);
	jw_end(&w);
	return true;
}
