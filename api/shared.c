#include "api/shared.h"

#include <string.h>

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
	struct redis *redis;

	if (!catalog_name_valid(call->params[0], &why))
		return no_collection(call->params[0], err);
	if (!call_redis(call, &redis, err))
		return false;
	if (catalog_get(redis, call->params[0], out, err))
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
