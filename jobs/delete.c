/*
 * delete: cleans up after a document or a collection that readers no longer see (the API hid it when it accepted
 * the delete). Repeating it does nothing more.
 */
#include "jobs/handler.h"

#include "common/base/log.h"
#include "common/catalog.h"
#include "jobs/spec/spec.h"

/* The tombstone has `seq`: everything accepted before it goes, what was accepted later stays. */
static bool
delete_document(struct job_context *context, const struct delete_payload *payload, struct err *err)
{
	struct store *store = context->env->store;

	if (!job_step(context, "delete", 1, err) ||
	    !store->ops->remove_older(store, payload->uid, payload->document_id, payload->seq,
				      str_make(NULL, 0), err))
		return err_wrap(err, "delete document");
	return true;
}

static bool
delete_collection(struct job_context *context, const struct delete_payload *payload,
		  struct err *err)
{
	struct catalog_name name =
		catalog_full_name(str_of(context->job->tenant), payload->collection);
	struct store *store = context->env->store;
	bool more = true;

	if (!job_step(context, "delete", 1, err) ||
	    !catalog_delete(context->env->redis, str_of(name.text), payload->uid, err) ||
	    !store->ops->remove_collection(store, payload->uid, err))
		return err_wrap(err, "delete collection");
	while (more) {
		if (!job_check(context, err) ||
		    !catalog_purge(context->env->redis, payload->uid, &more, err))
			return err_wrap(err, "delete collection");
	}
	return true;
}

void
after_delete(const struct job_env *env, const struct job *job, struct str bytes)
{
	struct delete_payload payload = { 0 };
	struct err ignored = ERR_INIT;

	if (!fields_from_pack(&delete_payload_fields, bytes, &payload, &ignored) ||
	    payload.document_id.len == 0)
		return; /* a whole collection has no reservation */
	if (!catalog_release(env->redis, payload.uid, str_of(job->id), &ignored))
		log_debug("reservation not given back: %s", ignored.msg);
}

bool
handle_delete(struct job_context *context, struct str bytes, struct jw *result, struct err *err)
{
	struct delete_payload payload = { 0 };
	bool whole, done;

	if (!fields_from_pack(&delete_payload_fields, bytes, &payload, err))
		return err_wrap(err, "payload");
	whole = payload.document_id.len == 0;
	done = whole ? delete_collection(context, &payload, err)
		     : delete_document(context, &payload, err);
	if (!done)
		return false;
	jw_kstr(result, "collection", payload.collection);
	if (!whole)
		jw_kstr(result, "document_id", payload.document_id);
	jw_kbool(result, "deleted", true);
	return true;
}
