/*
 * ask_stream: a query whose answer is handed on as it is written. A connection that is cut is taken up again where it
 * ended (Last-Event-ID), also at another server behind the same address.
 */
#ifndef RAG_CLI_ASK_STREAM_H
#define RAG_CLI_ASK_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/api.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/json.h"

struct ask_listener {
	void (*on_text)(void *user, struct str piece);
	/* What was handed on before is void; text is the whole answer so far. */
	void (*on_reset)(void *user, struct str text);
	void *user;
};

/* As ask_query; the pieces handed on add up to the result's answer. */
bool ask_stream(struct api *api, const char *collection, struct str body, int64_t timeout_s,
		const struct ask_listener *listener, struct js **out, struct err *err);

#endif
