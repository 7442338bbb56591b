/*
 * fuzz_sse: any bytes as an event stream; the first byte is how the bytes are cut into pieces. However they are cut, the
 * same events come out, and what comes out can be written and read again. The same bytes as an event id.
 */
#include <string.h>

#include "common/queue_stream.h"
#include "common/sse.h"
#include "tests/fuzz/fuzz.h"

struct seen {
	struct buf text; /* what was dispatched, written again */
	size_t count;
	bool had_id,
		lost_id; /* an id was taken back, which a writer cannot say: no id is the one before */
};

static bool
on_event(void *user, const struct sse_event *event)
{
	struct seen *seen = user;
	char name[SSE_NAME_BYTES];

	must(strlen(event->id) < SSE_ID_BYTES, "an id is bounded");
	must(!strpbrk(event->id, "\r\n"), "an id is one line");
	must(str_copy(name, sizeof(name), event->name), "a name is bounded");
	/* a NUL would end it early */
	if (strlen(name) != event->name.len)
		name[0] = '\0';
	seen->lost_id = seen->lost_id || (seen->had_id && !event->id[0]);
	seen->had_id = seen->had_id || event->id[0];
	sse_add_event(&seen->text, event->id, name, event->data);
	seen->count++;
	return true;
}

static void
decode(struct str bytes, size_t piece, struct seen *seen)
{
	struct sse_decoder decoder;
	struct err err = ERR_INIT;
	bool ok = true;

	sse_decoder_init(&decoder, MIB);
	for (size_t at = 0; ok && at < bytes.len; at += piece)
		ok = sse_decoder_feed(&decoder, str_sub(bytes, at, at + piece), on_event, seen,
				      &err);
	must(ok, "small input is never too large");
	sse_decoder_release(&decoder);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece = take_byte(&data, &size) % 7 + 1;
	struct str bytes = str_make((const char *)data, size);
	struct seen whole = { .text = BUF_INIT(8 * MIB) }, pieces = { .text = BUF_INIT(8 * MIB) };
	struct seen again = { .text = BUF_INIT(8 * MIB) };
	char id[JOB_ENTRY_BYTES], twice[JOB_ENTRY_BYTES];

	if (size > MIB / 2)
		return 0;
	decode(bytes, bytes.len + 1, &whole);
	decode(bytes, piece, &pieces);
	must(whole.count == pieces.count && str_eq(text_of(&whole.text), text_of(&pieces.text)),
	     "cuts do not matter");
	decode(text_of(&whole.text), piece, &again);
	must(whole.lost_id || (again.count == whole.count &&
			       str_eq(text_of(&again.text), text_of(&whole.text))),
	     "what is written is read as it was");
	if (queue_event_id_parse(bytes, id)) {
		must(queue_event_id_parse(str_of(id), twice) && strcmp(id, twice) == 0,
		     "an id has one text");
		must(queue_event_id_cmp(id, twice) == 0, "an id equals itself");
	}
	buf_release(&whole.text);
	buf_release(&pieces.text);
	buf_release(&again.text);
	return 0;
}
