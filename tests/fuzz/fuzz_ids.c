/* fuzz_ids: any bytes as the small texts that carry a place or a time: job ids, notices, ULIDs, RFC 3339 times. */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/events.h"
#include "common/job.h"
#include "tests/fuzz/fuzz.h"

static void
check_time(struct str text)
{
	char once[CLOCK_ISO_BYTES], twice[CLOCK_ISO_BYTES];
	int64_t ms = 0, again = 0;

	if (!clock_parse_iso(text, &ms))
		return;
	clock_format_iso(once, ms);
	must(strnlen(once, sizeof(once)) < sizeof(once), "a time is ended");
	must(clock_parse_iso(str_of(once), &again) && again == ms, "a written time reads back");
	clock_format_iso(twice, again);
	must(strcmp(once, twice) == 0, "one time, one text");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make((const char *)data, size);
	enum job_status status;
	struct queue_ref queue, found;
	struct event event;
	int64_t ms = -1;

	if (job_id_parse(text, &queue)) {
		must(size < JOB_ID_BYTES, "a job id fits its place");
		must(job_queue_find(str_of(queue.name), queue.partition, &found),
		     "its queue exists");
		must(!memchr(data, '\0', size) && !memchr(data, '/', size) &&
			     !memchr(data, '{', size),
		     "a job id can stand in a path and in a key");
	}
	if (event_parse(text, &event)) {
		must(lies_in(event.job_id, text), "a notice's id lies in the message");
		must(job_id_parse(event.job_id, &queue) && event.version >= 0, "a notice is whole");
	}
	if (id_ulid_unix_ms(text, &ms)) {
		must(id_is_ulid(text), "only a ULID carries a time");
		must(ms >= 0 && ms < (int64_t)1 << 48, "48 bits of milliseconds");
	}
	if (job_status_parse(text, &status))
		must(str_eq_c(text, job_status_name(status)), "a status is its name");
	check_time(text);
	return 0;
}
