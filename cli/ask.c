#include "cli/ask.h"

#include "cli/show.h"
#include "common/base/clock.h"
#include "common/base/id.h"

#define WAIT_S 20

bool
ask_outcome(const struct js *job, const char *what, struct err *err)
{
	AUTO(buf) struct buf why = BUF_INIT(4096);
	struct str status = show_text(job, "status");
	const struct js *error = show_member(job, "error");

	if (str_eq_c(status, "succeeded"))
		return true;
	if (error)
		api_problem_text(error, &why);
	return err_set(err, ERR_INTERNAL, "the %s " STR_FMT "%s%s", what, STR_ARG(status),
		       why.len > 0 ? ": " : "", why.data);
}

bool
ask_job(struct api *api, struct str id, int64_t deadline_mono_ms, struct js **out, struct err *err)
{
	AUTO(buf) struct buf path = BUF_INIT(1024);

	buf_add_str(&path, "/api/v1/jobs/");
	api_add_encoded(&path, id);
	for (;;) {
		AUTO_PTR(js_free) struct js *job = NULL;
		struct api_call call = { .method = "GET", .path = path.data };
		int left = clock_left_ms(deadline_mono_ms);
		int64_t start = clock_mono_ms();

		call.prefer_wait_s = left / 1000 < WAIT_S ? left / 1000 + 1 : WAIT_S;
		if (!api_json(api, &call, &job, err))
			return false;
		if (show_bool(job, "done")) {
			*out = TAKE(job);
			return true;
		}
		if (clock_left_ms(deadline_mono_ms) == 0)
			return err_set(err, ERR_TIMEOUT,
				       "no result within the time given; the job goes on: ragctl "
				       "jobs watch " STR_FMT,
				       STR_ARG(id));
		/* a server that has no place for another waiter answers at once: do not spin */
		if (clock_mono_ms() - start < 500 && !api_pause(300, err))
			return false;
	}
}

static bool
await_result(struct api *api, struct str id, int64_t deadline, struct js **out, struct err *err)
{
	AUTO_PTR(js_free) struct js *job = NULL;
	AUTO(buf) struct buf path = BUF_INIT(1024);

	buf_add_str(&path, "/api/v1/jobs/");
	api_add_encoded(&path, id);
	buf_add_str(&path, "/result");
	return ask_job(api, id, deadline, &job, err) && ask_outcome(job, "query", err) &&
	       api_get(api, path.data, out, err);
}

bool
ask_query(struct api *api, const char *collection, struct str body, int64_t timeout_s,
	  struct js **out, struct err *err)
{
	AUTO(buf) struct buf path = BUF_INIT(1024);
	AUTO_PTR(js_free) struct js *answer = NULL;
	int64_t deadline = clock_mono_ms() + 1000 * timeout_s;
	char key[ID_ULID_BYTES];

	id_ulid(key);
	buf_add_str(&path, "/api/v1/collections/");
	api_add_encoded(&path, str_of(collection));
	buf_add_str(&path, "/query");

	struct api_call call = { .method = "POST",
				 .path = path.data,
				 .body = body,
				 .idempotency_key = key,
				 .prefer_wait_s = timeout_s < WAIT_S ? (int)timeout_s : WAIT_S };

	if (!api_json(api, &call, &answer, err))
		return false;
	/* the result itself, or the job that will have it */
	if (!show_member(answer, "status")) {
		*out = TAKE(answer);
		return true;
	}
	return await_result(api, show_text(answer, "id"), deadline, out, err);
}
