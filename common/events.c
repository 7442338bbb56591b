#include "common/events.h"

#include "common/job.h"

bool
event_parse(struct str message, struct event *out)
{
	struct str id;
	struct queue_ref queue;
	int64_t version;

	bool emitted = str_ends(message, " e");

	if (emitted)
		message = str_sub(message, 0, message.len - 2);
	if (!str_split(&message, ' ', &id) || !job_id_parse(id, &queue) ||
	    !str_to_i64(message, 0, INT64_MAX, &version))
		return false;
	out->job_id = id;
	out->version = version;
	out->emitted = emitted;
	return true;
}
