#include "cli/ask_stream.h"

#include <stdio.h>

#include "cli/show.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/job.h"
#include "common/sse.h"

#define TEXT_MAX_BYTES ((size_t)64 * 1024 * 1024)
#define SILENCE_MS 60000 /* the server sends something every 15 s */
#define PAUSE_MIN_MS 200
#define PAUSE_MAX_MS 3000

struct asking {
	const struct ask_listener *listener;
	struct sse_decoder decoder;
	struct buf text;	   /* all that was handed on since the last reset */
	char job_id[JOB_ID_BYTES]; /* "" = not known yet */
	struct js *done;	   /* owned: the data of the last event */
	size_t events;		   /* of this connection */
	struct err failure;	   /* of an event that cannot be read */
};

static void
asking_release(struct asking *asking)
{
	sse_decoder_release(&asking->decoder);
	buf_release(&asking->text);
	js_free(asking->done);
}

/* ---- events ---- */

/* A reset that only adds is told as what it adds. */
static void
take_reset(struct asking *asking, struct str text)
{
	struct str had = str_make(asking->text.data, asking->text.len);

	if (str_eq(had, str_sub(text, 0, had.len))) {
		struct str added = str_sub(text, had.len, text.len);

		if (added.len)
			asking->listener->on_text(asking->listener->user, added);
		buf_add(&asking->text, added.ptr, added.len);
		return;
	}
	buf_clear(&asking->text);
	buf_add(&asking->text, text.ptr, text.len);
	asking->listener->on_reset(asking->listener->user, text);
}

static bool
on_event(void *user, const struct sse_event *event)
{
	struct asking *asking = user;
	AUTO_PTR(js_free) struct js *data = NULL;
	struct str text;

	if (!js_parse(event->data, &data, &asking->failure) || !js_is(data, JS_OBJECT)) {
		if (asking->failure.code == ERR_NONE)
			err_set(&asking->failure, ERR_PROTOCOL, "an event that is no object");
		err_wrap(&asking->failure, "the server's event stream");
		asking->failure.code = ERR_PROTOCOL;
		return false;
	}
	asking->events++;
	if (str_eq_c(event->name, "token") && js_get_str(data, "t", &text)) {
		buf_add(&asking->text, text.ptr, text.len);
		asking->listener->on_text(asking->listener->user, text);
	} else if (str_eq_c(event->name, "reset") && js_get_str(data, "text", &text)) {
		take_reset(asking, text);
	} else if (str_eq_c(event->name, "status") && js_get_str(data, "id", &text)) {
		(void)str_copy(asking->job_id, sizeof(asking->job_id), text);
	} else if (str_eq_c(event->name, "done")) {
		js_free(asking->done);
		asking->done = TAKE(data);
	}
	return true;
}

static bool
on_data(void *user, struct str data)
{
	struct asking *asking = user;

	return sse_decoder_feed(&asking->decoder, data, on_event, asking, &asking->failure);
}

/* ---- the connection ---- */

/* One connection, until it ends in whatever way; true when something came. */
static bool
connect_once(struct api *api, struct asking *asking, const struct api_call *first, int64_t deadline,
	     struct err *err)
{
	AUTO(buf) struct buf path = BUF_INIT(1024);
	struct api_call call = *first;

	if (asking->job_id[0]) {
		buf_printf(&path, "/api/v1/jobs/%s/events", asking->job_id);
		call = (struct api_call){ .method = "GET",
					  .path = path.data,
					  .last_event_id = asking->decoder.id };
	}
	call.on_data = on_data;
	call.user = asking;
	call.silence_ms = SILENCE_MS;
	call.timeout_ms = clock_left_ms(deadline) > 0 ? clock_left_ms(deadline) : 1;
	sse_decoder_restart(&asking->decoder);
	asking->events = 0;
	return api_send(api, &call, err);
}

/* false: it is of no use to connect again. */
static bool
may_go_on(const struct asking *asking, const struct err *err)
{
	if (!asking->job_id[0] || asking->failure.code != ERR_NONE)
		return false;
	/* an answer with a status that is final is the server's last word */
	return err->code == ERR_NONE || (err->code != ERR_CANCELLED && err->detail == 0);
}

static bool
follow(struct api *api, struct asking *asking, const struct api_call *first, int64_t timeout_s,
       struct err *err)
{
	int64_t deadline = clock_mono_ms() + 1000 * timeout_s, last_ms = clock_mono_ms();
	int64_t pause_ms = PAUSE_MIN_MS;

	for (;;) {
		struct err failure = ERR_INIT;
		bool ok = connect_once(api, asking, first, deadline, &failure);

		if (asking->done)
			return true;
		if (asking->failure.code != ERR_NONE)
			failure = asking->failure;
		if (asking->events > 0) {
			last_ms = clock_mono_ms();
			pause_ms = PAUSE_MIN_MS;
		}
		if (clock_left_ms(deadline) == 0)
			return err_set(err, ERR_TIMEOUT,
				       "no result within the time given; the job goes on: ragctl "
				       "jobs watch %s",
				       asking->job_id);
		if ((!ok && !may_go_on(asking, &failure)) || (ok && !asking->job_id[0]) ||
		    clock_mono_ms() - last_ms > api->retry_ms + PAUSE_MAX_MS) {
			*err = failure;
			return err->code != ERR_NONE
				       ? false
				       : err_set(err, ERR_PROTOCOL,
						 "the stream of the answer ended without its end");
		}
		if (!api_pause(pause_ms, err))
			return false;
		pause_ms = pause_ms * 2 < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS;
	}
}

/* ---- the outcome ---- */

static bool
take_result(struct asking *asking, struct js **out, struct err *err)
{
	AUTO(buf) struct buf text = BUF_INIT(TEXT_MAX_BYTES);
	AUTO(buf) struct buf why = BUF_INIT(4096);
	struct str status = show_text(asking->done, "status");
	const struct js *result = show_member(asking->done, "result");
	const struct js *error = show_member(asking->done, "error");

	if (!str_eq_c(status, "succeeded")) {
		if (error)
			api_problem_text(error, &why);
		return err_set(err, ERR_INTERNAL, "the query " STR_FMT "%s%s", STR_ARG(status),
			       why.len > 0 ? ": " : "", why.data);
	}
	if (!js_is(result, JS_OBJECT))
		return err_set(err, ERR_GONE, "the result of job %s is no longer kept",
			       asking->job_id);
	js_write(result, &text);
	return buf_check(&text, "the result", err) &&
	       js_parse(str_make(text.data, text.len), out, err);
}

bool
ask_stream(struct api *api, const char *collection, struct str body, int64_t timeout_s,
	   const struct ask_listener *listener, struct js **out, struct err *err)
{
	AUTO(asking) struct asking asking = { .listener = listener, .failure = ERR_INIT };
	AUTO(buf) struct buf path = BUF_INIT(1024);
	char key[ID_ULID_BYTES];

	sse_decoder_init(&asking.decoder, TEXT_MAX_BYTES);
	buf_init(&asking.text, TEXT_MAX_BYTES);
	id_ulid(key);
	buf_add_str(&path, "/api/v1/collections/");
	api_add_encoded(&path, str_of(collection));
	buf_add_str(&path, "/query");

	const struct api_call call = {
		.method = "POST", .path = path.data, .body = body, .idempotency_key = key
	};

	return follow(api, &asking, &call, timeout_s, err) && take_result(&asking, out, err);
}
