#include "api/shared.h"

#include <string.h>

#include "jobs/spec/media.h"

#include "common/queue.h"

/* ---- jobs ---- */

bool
shared_no_job(struct str id, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "there is no job '" STR_FMT "'",
		       STR_ARG(str_sub(id, 0, str_utf8_floor(id, 80))));
}

bool
shared_is_job_id(struct str id)
{
	struct queue_ref queue;

	return job_id_parse(id, &queue) && id.len < JOB_ID_BYTES;
}

bool
shared_is_own_job(const struct call *call, const struct job *job)
{
	return strcmp(job->tenant, call->tenant) == 0;
}

bool
shared_job(struct call *call, struct str id, struct job *out, struct err *err)
{
	struct redis *redis;
	struct job job;

	if (!shared_is_job_id(id))
		return shared_no_job(id, err);
	if (!call_redis(call, &redis, err))
		return false;
	if (!queue_get(redis, id, &job, err))
		return err->code == ERR_NOT_FOUND ? shared_no_job(id, err) : false;
	if (!shared_is_own_job(call, &job))
		return shared_no_job(id, err);
	*out = job;
	return true;
}

bool
shared_job_to_change(struct call *call, struct str id, struct job *out, struct err *err)
{
	unsigned needed;

	if (!shared_job(call, id, out, err))
		return false;
	needed = strcmp(out->type, "query") == 0 ? SCOPE_READ : SCOPE_INGEST;
	if (call->key.scopes & needed)
		return true;
	return err_set(err, ERR_FORBIDDEN, "to change a job of type '%s' needs a key with scope %s",
		       out->type, needed == SCOPE_READ ? "read" : "ingest");
}

/* ---- collections and documents ---- */

struct catalog_name
shared_full_name(const struct call *call, struct str name)
{
	return catalog_full_name(str_of(call->tenant), name);
}

static bool
no_collection(struct str name, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "there is no collection '" STR_FMT "'",
		       STR_ARG(str_sub(name, 0, 80)));
}

bool
shared_collection(struct call *call, struct collection *out, struct err *err)
{
	struct err why = ERR_INIT;
	struct catalog_name full;
	struct redis *redis;

	if (!catalog_name_valid(call->params[0], &why))
		return no_collection(call->params[0], err);
	full = shared_full_name(call, call->params[0]);
	if (!call_redis(call, &redis, err))
		return false;
	if (catalog_get(redis, str_of(full.text), out, err))
		return true;
	return err->code == ERR_NOT_FOUND ? no_collection(call->params[0], err) : false;
}

bool
shared_check_embedder(const struct call *call, const struct collection *collection, struct err *err)
{
	if (!collection->fingerprint[0] ||
	    strcmp(collection->fingerprint, call->api->fingerprint) == 0)
		return true;
	return err_set(err, ERR_EMBEDDER_MISMATCH,
		       "the vectors of collection '%s' were made by '%s', but '%s' is configured",
		       collection->name, collection->fingerprint, call->api->fingerprint);
}

bool
shared_no_document(struct str id, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "there is no document '" STR_FMT "'",
		       STR_ARG(str_sub(id, 0, str_utf8_floor(id, 100))));
}

bool
shared_document_id(struct str id, struct err *err)
{
	struct err why = ERR_INIT;

	return catalog_doc_id_valid(id, &why) || shared_no_document(id, err);
}

bool
shared_text_type(struct document_body *body, struct err *err)
{
	const struct media_type *type;

	if (!spec_content_type(body->content_type, &body->content_type, err)) {
		err->code = ERR_INVALID; /* of a member, not of the request */
		return err_at(err, "/content_type");
	}
	type = media_find(body->content_type);
	if (type && type->is_text)
		return true;
	err_set(err, ERR_INVALID,
		"'content_type' cannot be '" STR_FMT
		"' in JSON: send the file as the request's body, or as multipart/form-data",
		STR_ARG(body->content_type));
	return err_at(err, "/content_type");
}
