/*
 * The contract: openapi.json, as it was when this was built. It says nothing that docs/api.md does not, so it needs no
 * key. Tests hold it against the table of routes, the tables of fields and what the API really answers.
 */
#include <stdio.h>
#include <string.h>

#include "api/handlers.h"
#include "api/reply.h"
#include "common/sha256.h"

extern const char embed_openapi_json[]; /* cmake/EmbedText.cmake */

bool
contract_get(struct call *call, struct err *err)
{
	static const char *const known[] = { NULL };
	struct str text = str_of(embed_openapi_json);
	char hash[SHA256_HEX_BYTES], etag[SHA256_HEX_BYTES + 2];
	bool present;

	if (!call_check_params(call, known, err))
		return false;
	sha256_hex(text, hash);
	(void)snprintf(etag, sizeof(etag), "\"%s\"", hash);
	if (call_none_match(call, etag, &present)) {
		reply_start_cached(call, 304, etag);
		return true;
	}
	reply_start_cached(call, 200, etag);
	call->answer.content_type = "application/json";
	buf_add(&call->body, text.ptr, text.len);
	return true;
}
