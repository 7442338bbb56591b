#include "tests/support/sse_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "tests/support/must.h"

#define MAX_BYTES ((size_t)64 * 1024 * 1024)

void
sse_client_init(struct sse_client *client)
{
	*client = (struct sse_client){ .raw.fd = -1 };
	sse_decoder_init(&client->decoder, MAX_BYTES);
	buf_init(&client->text, MAX_BYTES);
	buf_init(&client->body, MAX_BYTES);
}

static void
forget_seen(struct sse_client *client)
{
	mem_free(client->seen.data);
	client->seen = (struct sse_seen){ .data = NULL };
}

void
sse_client_close(struct sse_client *client)
{
	if (client->open)
		raw_close(&client->raw);
	client->open = false;
}

void
sse_client_release(struct sse_client *client)
{
	sse_client_close(client);
	forget_seen(client);
	raw_reply_release(&client->head);
	sse_decoder_release(&client->decoder);
	buf_release(&client->text);
	buf_release(&client->body);
	js_free(client->result);
	client->result = NULL;
}

int
sse_client_open(struct sse_client *client, int port, const char *method, const char *path,
		const char *header, const char *body)
{
	AUTO(buf) struct buf request = BUF_INIT(MAX_BYTES);

	sse_client_close(client);
	forget_seen(client);
	sse_decoder_restart(&client->decoder);
	buf_clear(&client->body);
	client->received = client->pings = 0;
	client->ended = false;
	client->connections++;
	buf_printf(&request, "%s %s HTTP/1.1\r\nHost: x\r\n", method, path);
	if (client->decoder.id[0])
		buf_printf(&request, "Last-Event-ID: %s\r\n", client->decoder.id);
	if (header)
		buf_printf(&request, "%s\r\n", header);
	if (body)
		buf_printf(&request, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
			   strlen(body));
	buf_printf(&request, "\r\n%s", body ? body : "");
	if (!raw_try_open(&client->raw, port))
		return 0;
	client->open = true;
	raw_send(&client->raw, request.data);
	if (!raw_try_read(&client->raw, true, &client->head)) {
		sse_client_close(client);
		return 0;
	}
	return client->head.status;
}

/* What a client does with an event: docs/api.md, "Streams". */
static void
apply(struct sse_client *client, const struct sse_event *event)
{
	AUTO_PTR(js_free) struct js *data = NULL;
	struct str text;

	MUST(js_parse(event->data, &data, e));
	assert_true(js_is(data, JS_OBJECT));
	if (str_eq_c(event->name, "token")) {
		assert_true(js_get_str(data, "t", &text));
		buf_add(&client->text, text.ptr, text.len);
	} else if (str_eq_c(event->name, "reset")) {
		assert_true(js_get_str(data, "text", &text));
		buf_clear(&client->text);
		buf_add(&client->text, text.ptr, text.len);
		assert_true(js_get_str(data, "reason", &text));
		(void)str_copy(client->reset_reason, sizeof(client->reset_reason), text);
		client->resets++;
	}
	if (js_get_str(data, "id", &text))
		(void)str_copy(client->job_id, sizeof(client->job_id), text);
	if (js_get_str(data, "status", &text))
		(void)str_copy(client->status, sizeof(client->status), text);
	if (str_eq_c(event->name, "done")) {
		client->done = true;
		js_free(client->result);
		client->result = TAKE(data);
	}
}

static bool
on_event(void *user, const struct sse_event *event)
{
	struct sse_client *client = user;
	struct sse_seen *seen = &client->seen;

	(void)str_copy(seen->id, sizeof(seen->id), str_of(event->id));
	(void)str_copy(seen->name, sizeof(seen->name), event->name);
	seen->data = mem_strndup(event->data.ptr, event->data.len);
	apply(client, event);
	client->events++;
	/* the rest of the bytes waits, so that the client's state is that after this event */
	return false;
}

/* Decodes the next event out of what has come; false: there is none yet. */
static bool
decode(struct sse_client *client)
{
	struct err err = ERR_INIT;

	/* byte by byte: the decoder stops after an event, and takes the rest later */
	while (client->received < client->body.len) {
		struct str byte = str_make(client->body.data + client->received, 1);

		if (client->limit > 0 && client->received >= client->limit)
			return false;
		client->received++;
		if (byte.ptr[0] == '\n' && client->received >= 7 &&
		    memcmp(byte.ptr - 6, ": ping\n", 7) == 0)
			client->pings++;
		if (!sse_decoder_feed(&client->decoder, byte, on_event, client, &err)) {
			assert_int_equal(err.code, ERR_NONE);
			return true;
		}
	}
	return false;
}

const struct sse_seen *
sse_client_next(struct sse_client *client)
{
	forget_seen(client);
	while (!decode(client)) {
		enum raw_chunk chunk;

		if (!client->open || client->ended)
			return NULL;
		if (client->limit > 0 && client->received >= client->limit) {
			sse_client_close(client); /* the network, not the server */
			return NULL;
		}
		chunk = raw_read_chunk(&client->raw, &client->body);
		if (chunk == RAW_CHUNK_DATA)
			continue;
		client->ended = chunk == RAW_CHUNK_LAST;
		sse_client_close(client);
		return NULL;
	}
	return &client->seen;
}

const struct sse_seen *
sse_client_until(struct sse_client *client, const char *name)
{
	const struct sse_seen *seen;

	while ((seen = sse_client_next(client)) != NULL)
		if (strcmp(seen->name, name) == 0)
			return seen;
	fail_msg("the stream ended without '%s': %s", name, client->body.data);
	return NULL;
}

void
sse_client_drain(struct sse_client *client)
{
	while (sse_client_next(client))
		;
}
