/*
 * The routes of collections. A deleted one is gone at once, its name is free; the clean-up is a job. `default` may be
 * deleted like any other: it is made again, empty, when it is next used.
 */
#include "api/handlers.h"
#include "api/reply.h"
#include "api/shared.h"
#include "api/submit.h"
#include "common/catalog.h"

#define DESCRIPTION_MAX_BYTES 255

struct collection_body {
	struct str name, description;
};

static const struct field create_rows[] = {
	FIELD(struct collection_body, name, FIELD_STR, .required = true, .min = 1,
	      .max = CATALOG_NAME_MAX, .doc = "a-z, 0-9, '-' and '_'"),
	FIELD(struct collection_body, description, FIELD_STR, .max = DESCRIPTION_MAX_BYTES,
	      .doc = "for people"),
};
const struct fields collection_create_fields = FIELDS("collection", create_rows);

static const struct field patch_rows[] = {
	FIELD(struct collection_body, description, FIELD_STR, .max = DESCRIPTION_MAX_BYTES,
	      .doc = "for people"),
};
const struct fields collection_patch_fields = FIELDS("change of a collection", patch_rows);

static void
collection_object(struct jw *w, const struct collection *collection)
{
	jw_obj(w);
	jw_kcstr(w, "name", collection->name);
	jw_kcstr(w, "object", "collection");
	jw_kcstr(w, "uid", collection->uid);
	jw_kcstr(w, "description", collection->description);
	jw_kcstr(w, "embedder", collection->fingerprint[0] ? collection->fingerprint : NULL);
	jw_kint(w, "documents", collection->documents);
	jw_kint(w, "chunks", collection->chunks);
	jw_kint(w, "bytes", collection->bytes);
	jw_kint(w, "epoch", collection->epoch);
	jw_ktime(w, "created_at", collection->created_ms);
	jw_ktime(w, "updated_at", collection->updated_ms);
	jw_end(w);
}

/* Limits of the table are characters, the record's are bytes. */
static bool
check_description(struct str description, struct err *err)
{
	if (description.len <= DESCRIPTION_MAX_BYTES)
		return true;
	err_set(err, ERR_INVALID, "'description' must have at most %d bytes, not %zu",
		DESCRIPTION_MAX_BYTES, description.len);
	return err_at(err, "/description");
}

bool
collections_list(struct call *call, struct err *err)
{
	static const char *const known[] = { "page_size", "page_token", NULL };
	struct collection *all;
	struct redis *redis;
	size_t size, count, at = 0, end;
	struct str after;

	if (!call_check_params(call, known, err) || !call_page_size(call, &size, err) ||
	    !call_page_token(call, STR(""), &after, err) || !call_redis(call, &redis, err) ||
	    !catalog_list(redis, call->tenant, &call->arena, &all, &count, err))
		return false;
	while (at < count && after.len && str_cmp(str_of(all[at].name), after) <= 0)
		at++;
	end = count - at > size ? at + size : count;
	struct jw w = reply_json(call, 200);
	jw_obj(&w);
	jw_karr(&w, "data");
	for (; at < end; at++)
		collection_object(&w, &all[at]);
	jw_end(&w);
	call_page_token_write(call, STR(""), end < count ? str_of(all[end - 1].name) : STR(""), &w);
	jw_end(&w);
	return true;
}

bool
collections_create(struct call *call, struct err *err)
{
	static const char *const known[] = { NULL };
	struct collection_body body = { .description = STR("") };
	AUTO_PTR(js_free) struct js *root = NULL;
	struct collection collection;
	struct catalog_name full;
	struct redis *redis;

	if (!call_check_params(call, known, err) || !call_json(call, &root, err) ||
	    !fields_from_json(&collection_create_fields, root, &body, &call->arena, err) ||
	    !check_description(body.description, err))
		return false;
	if (!catalog_name_valid(body.name, err))
		return err_at(err, "/name");
	full = shared_full_name(call, body.name);
	if (!call_redis(call, &redis, err) ||
	    !catalog_create(redis, str_of(full.text), body.description, &collection, err))
		return false;
	struct jw w = reply_json(call, 201);
	http_answer_header(&call->answer, "Location", "/api/v1/collections/%s", collection.name);
	collection_object(&w, &collection);
	return true;
}

bool
collections_get(struct call *call, struct err *err)
{
	static const char *const known[] = { NULL };
	struct collection collection;

	if (!call_check_params(call, known, err) || !shared_collection(call, &collection, err))
		return false;
	struct jw w = reply_json(call, 200);
	collection_object(&w, &collection);
	return true;
}

bool
collections_patch(struct call *call, struct err *err)
{
	static const char *const known[] = { NULL };
	AUTO_PTR(js_free) struct js *root = NULL;
	struct collection collection;
	struct collection_body body;
	struct catalog_name full;
	struct redis *redis;

	if (!call_check_params(call, known, err) || !call_json(call, &root, err) ||
	    !shared_collection(call, &collection, err))
		return false;
	full = shared_full_name(call, str_of(collection.name));
	body.description = str_of(collection.description);
	if (!fields_from_json(&collection_patch_fields, root, &body, &call->arena, err) ||
	    !check_description(body.description, err) || !call_redis(call, &redis, err) ||
	    !catalog_set_description(redis, str_of(full.text), body.description, &collection, err))
		return false;
	struct jw w = reply_json(call, 200);
	collection_object(&w, &collection);
	return true;
}

bool
collections_delete(struct call *call, struct err *err)
{
	static const char *const known[] = { NULL };
	struct delete_payload payload = { .collection = call->params[0], .document_id = STR("") };
	struct collection collection;
	struct submit submit = { 0 };
	struct catalog_name full;
	struct redis *redis;
	bool maybe;

	if (!call_check_params(call, known, err) ||
	    !submit_begin(call, "delete", &payload, &submit, err))
		return false;
	if (submit.replayed)
		return submit_answer(call, &submit, err);
	if (!shared_collection(call, &collection, err))
		return false;
	payload.collection = str_of(collection.name);
	payload.uid = str_of(collection.uid);
	full = shared_full_name(call, payload.collection);
	/* The job first: it deletes the collection too, so once it is accepted nothing can be left behind. */
	return submit_send(call, &submit, collection.name, &payload, true, &maybe, err) &&
	       call_redis(call, &redis, err) &&
	       catalog_delete(redis, str_of(full.text), payload.uid, err) &&
	       submit_answer(call, &submit, err);
}
