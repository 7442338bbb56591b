/* The route of queries: a job like any other, which most clients wait for (Prefer: wait). */
#include "api/handlers.h"
#include "api/reply.h"
#include "api/shared.h"
#include "api/submit.h"
#include "common/catalog.h"
#include "jobs/spec/filter.h"

bool
query_post(struct call *call, struct err *err)
{
	static const char *const known[] = { NULL };
	AUTO_PTR(js_free) struct js *root = NULL;
	struct collection collection;
	struct submit submit = { 0 };
	struct query_payload payload;
	struct filter *filter;
	bool maybe;

	query_payload_init(&payload, call->api->config);
	if (!call_check_params(call, known, err) || !call_json(call, &root, err) ||
	    !submit_options_from_json(call, &root, &submit.options, err) ||
	    !fields_from_json(&query_payload_fields, root, &payload, &call->arena, err) ||
	    !filter_parse(payload.filter, &call->arena, &filter, err))
		return false;
	if (str_trim(payload.query).len == 0) {
		err_set(err, ERR_INVALID, "'query' must not be blank");
		return err_at(err, "/query");
	}
	payload.collection = call->params[0];
	if (!submit_begin(call, "query", &payload, &submit, err))
		return false;
	if (submit.replayed)
		return submit_answer(call, &submit, err);
	if (!shared_collection(call, &collection, err) ||
	    !shared_check_embedder(call, &collection, err))
		return false;
	payload.collection = str_of(collection.name);
	payload.uid = str_of(collection.uid);
	return submit_send(call, &submit, collection.name, &payload, false, &maybe, err) &&
	       submit_answer(call, &submit, err);
}
