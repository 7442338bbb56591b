/* GET /jobs/{id}/items: what became of the lines of a bulk import. */
#include <stdio.h>
#include <string.h>

#include "api/handlers.h"
#include "api/reply.h"
#include "api/shared.h"
#include "common/batch.h"

static void
item_object(struct jw *w, const struct job *batch, const struct batch_item *item)
{
	char id[JOB_ID_BYTES];

	job_id_child(batch->id, item->line, id);
	jw_obj(w);
	jw_kint(w, "line", item->line);
	jw_kcstr(w, "object", "item");
	jw_key(w, "document_id");
	if (item->document_id.len)
		jw_str(w, item->document_id);
	else
		jw_null(w);
	jw_kcstr(w, "job_id", item->has_job ? id : NULL);
	jw_kcstr(w, "status", job_status_name(item->status));
	jw_kbool(w, "rejected", item->rejected);
	if (item->error) {
		jw_kobj(w, "error");
		reply_problem_members(w, item->error);
		jw_end(w);
	} else {
		jw_knull(w, "error");
	}
	jw_end(w);
}

static bool
read_status(struct call *call, struct str *out_text, int *out, struct err *err)
{
	enum job_status status;

	*out = -1;
	if (!call_param(call, "status", out_text, err))
		return false;
	if (out_text->len == 0)
		return true;
	if (!job_status_parse(*out_text, &status)) {
		err_set(err, ERR_INVALID, "there is no status '" STR_FMT "'",
			STR_ARG(str_sub(*out_text, 0, str_utf8_floor(*out_text, 60))));
		return err_at(err, "/status");
	}
	*out = (int)status;
	return true;
}

/* The token's state is the first line of the page. */
static bool
read_position(struct call *call, struct str filters, int64_t *out_line, struct err *err)
{
	struct str state;

	*out_line = 1;
	if (!call_page_token(call, filters, &state, err))
		return false;
	if (state.len == 0 || str_to_i64(state, 1, JOB_MAX_LINE, out_line))
		return true;
	err_set(err, ERR_MALFORMED, "'page_token' is not one that this list gave");
	return err_at(err, "/page_token");
}

static bool
answer_page(struct call *call, const struct job *batch, struct str filters, struct batch_page *page,
	    struct err *err)
{
	struct redis *redis;
	char next[24] = "";

	if (!call_redis(call, &redis, err) || !batch_items(redis, batch, &call->arena, page, err))
		return false;
	struct jw w = reply_json(call, 200);
	jw_obj(&w);
	jw_karr(&w, "data");
	for (size_t i = 0; i < page->count; i++)
		item_object(&w, batch, &page->items[i]);
	jw_end(&w);
	if (page->from_line > 0)
		(void)snprintf(next, sizeof(next), "%lld", (long long)page->from_line);
	call_page_token_write(call, filters, str_of(next), &w);
	jw_end(&w);
	return true;
}

bool
jobs_items(struct call *call, struct err *err)
{
	static const char *const known[] = { "status", "page_size", "page_token", NULL };
	struct batch_page page = { .status = -1 };
	struct str filters;
	struct job job;

	if (!call_check_params(call, known, err) ||
	    !read_status(call, &filters, &page.status, err) ||
	    !call_page_size(call, &page.limit, err) ||
	    !read_position(call, filters, &page.from_line, err) ||
	    !shared_job(call, call->params[0], &job, err))
		return false;
	if (!job.batch.is)
		return err_set(err, ERR_NOT_FOUND, "job '%s' is no import: it has no items",
			       job.id);
	return answer_page(call, &job, filters, &page, err);
}
