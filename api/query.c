/* The route of queries: a job like any other, which most clients wait for (Prefer: wait), or follow (text/event-stream). */
#include <string.h>

#include "api/handlers.h"
#include "api/reply.h"
#include "api/shared.h"
#include "api/stream.h"
#include "api/submit.h"
#include "common/catalog.h"
#include "jobs/spec/filter.h"
#include "jobs/spec/history.h"
#include "jobs/spec/store.h"

/* Puts the query into its queue, unless it is there already. */
static bool
submit_query(struct call *call, struct submit *submit, struct query_payload *payload,
	     struct err *err)
{
	struct collection collection;
	bool maybe;

	if (submit->replayed)
		return true;
	if (!shared_collection(call, &collection, err) ||
	    !shared_check_embedder(call, &collection, err))
		return false;
	payload->collection = str_of(collection.name);
	payload->uid = str_of(collection.uid);
	return submit_send(call, submit, collection.name, payload, false, &maybe, err);
}

/* The place comes first: a stream that there is no room for leaves no job behind. */
static bool
submit_and_stream(struct call *call, struct submit *submit, struct query_payload *payload,
		  struct err *err)
{
	struct stream_place place = { .taken = false };
	char job_id[JOB_ID_BYTES];
	bool ok;

	memcpy(job_id, submit->job_id, sizeof(job_id));
	ok = stream_enter(call, job_id, &place, err) && submit_query(call, submit, payload, err);
	/* another request with the same key was faster: its job is the one to follow */
	if (ok && strcmp(job_id, submit->job_id) != 0)
		ok = stream_enter(call, submit->job_id, &place, err);
	ok = ok && stream_submitted(call, submit, &place, err);
	stream_leave(call, &place);
	return ok;
}

bool
query_post(struct call *call, struct err *err)
{
	static const char *const known[] = { NULL };
	AUTO_PTR(js_free) struct js *root = NULL;
	struct submit submit = { 0 };
	struct query_payload payload;
	struct filter *filter;
	struct history history;

	query_payload_init(&payload, call->api->config);
	if (!call_check_params(call, known, err) || !call_json(call, &root, err) ||
	    !submit_options_from_json(call, &submit_query_option_fields, &root, &submit.options,
				      err) ||
	    !fields_from_json(&query_payload_fields, root, &payload, &call->arena, err) ||
	    !filter_parse(payload.filter, &call->arena, &filter, err) ||
	    !history_parse(payload.history, &call->arena, &history, err))
		return false;
	if (str_trim(payload.query).len == 0) {
		err_set(err, ERR_INVALID, "'query' must not be blank");
		return err_at(err, "/query");
	}
	if (!spec_check_mode(call->api->config, (enum query_mode)payload.mode, err))
		return false;
	payload.collection = call->params[0];
	submit.options.stream |= stream_wanted(call);
	return submit_begin(call, "query", &payload, &submit, err) &&
	       (stream_wanted(call) ? submit_and_stream(call, &submit, &payload, err)
				    : submit_query(call, &submit, &payload, err) &&
					      submit_answer(call, &submit, err));
}
