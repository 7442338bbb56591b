/*
 * The life of a job
 *
 * A job is one record (the hash job:<id>), one payload (in:<id>) and at most one result or error text (out:<id>). Where
 * it stands is said twice, and both are changed by the same script: its status, and the one structure that holds it.
 *
 *                     submit                                  submit with a delay
 *                       |                                              |
 *                       v                   promote                    v
 *       +---------> [queued] <------------------------------------ [scheduled]
 *       |             |  ^  ^                                          |
 *       |       start |  |  | promote                                  |
 *       |             |  |  +-------------------- [retrying]           |
 *       |             |  | settle: hand back       ^      |            |
 *       |             v  |                         |      |            |
 *       |           [running] --settle: retry,-----+      |            |
 *       |            |  |  |    wait, outage; reap        |            |
 *       |     cancel |  |  |                              |            |
 *       |            v  |  +----------------------+       |            |
 *       |  [cancelling] |                         |       |            |
 *       |    |       |  | settle: succeed         | settle: fail; budget spent (retry, reap)
 *       |    |       v  v                         v       |            |
 *       |    |    (succeeded)                  (failed) --+-- retry_dead: back to queued, fresh budgets
 *       |    |                                    |       |            |
 *       +----|------------------------------------+       |            |
 *            v                                            v            v
 *       (cancelled) <--------- cancel of queued, retrying, scheduled --+
 *       (expired)   <--------- start or promote, later than expires_ms, of a job that never ran
 *
 *	[in progress]  (final)
 *
 *	status				structure			payload
 *	queued, running, cancelling	an entry of `ready`		kept
 *	scheduled, retrying		`due`, by due_ms		kept
 *	succeeded, cancelled, expired	`done`, by finished_ms		deleted
 *	failed				`dead`, by finished_ms		kept, for a retry
 *
 * Who is running is said by the group's pending list alone: a running or cancelling job's entry is pending with its
 * worker. A queued job's entry may be pending too, in the moment between XREADGROUP and start: that is no start.
 *
 * Three counters, never mixed:
 *	epoch	  rises with every start and never falls, not even by retry_dead. The fencing token: whoever holds an older
 *		  one can change nothing.
 *	starts	  charged starts: those whose worker was lost, and the present one. An orderly end of a start gives it
 *		  back. At max_starts the next loss makes the job dead (POISON): it kills its workers.
 *	failures  errors the job itself reported (settle: retry). At max_failures it is dead. Outages of what it depends on,
 *		  waits for its limits and hand-backs by draining workers cost nothing.
 *
 * A cancel wins until the job succeeds: a job that was asked to stop ends cancelled whatever its worker reports, a loss of the
 * worker included, unless that is success.
 */
#include "common/job.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/id.h"

static const char *const status_names[JOB_STATUS_COUNT] = {
	[JOB_SCHEDULED] = "scheduled",	 [JOB_QUEUED] = "queued",
	[JOB_RUNNING] = "running",	 [JOB_RETRYING] = "retrying",
	[JOB_CANCELLING] = "cancelling", [JOB_SUCCEEDED] = "succeeded",
	[JOB_FAILED] = "failed",	 [JOB_CANCELLED] = "cancelled",
	[JOB_EXPIRED] = "expired",
};

const char *const job_queue_names[] = { "ingest", "query", "hook", NULL };

const char *
job_status_name(enum job_status status)
{
	return (unsigned)status < JOB_STATUS_COUNT ? status_names[status] : "unknown";
}

bool
job_status_parse(struct str text, enum job_status *out)
{
	for (int i = 0; i < JOB_STATUS_COUNT; i++) {
		if (str_eq_c(text, status_names[i])) {
			*out = (enum job_status)i;
			return true;
		}
	}
	return false;
}

bool
job_status_done(enum job_status status)
{
	return status == JOB_SUCCEEDED || status == JOB_FAILED || status == JOB_CANCELLED ||
	       status == JOB_EXPIRED;
}

bool
job_queue_find(struct str name, unsigned partition, struct queue_ref *out)
{
	if (partition >= JOB_PARTITIONS)
		return false;
	for (size_t i = 0; job_queue_names[i]; i++) {
		if (str_eq_c(name, job_queue_names[i])) {
			*out = (struct queue_ref){ job_queue_names[i], partition };
			return true;
		}
	}
	return false;
}

void
job_id_new(struct queue_ref queue, char out[JOB_ID_BYTES])
{
	char ulid[ID_ULID_BYTES];

	id_ulid(ulid);
	(void)snprintf(out, JOB_ID_BYTES, "%s-%u-%s", queue.name, queue.partition, ulid);
}

bool
job_id_from_hash(struct queue_ref queue, const char *sha256_hex, char out[JOB_ID_BYTES])
{
	static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz"; /* Crockford's */
	unsigned char bits[16];
	char ulid[ID_ULID_BYTES];

	if (!str_unhex(str_sub(str_of(sha256_hex), 0, 2 * sizeof(bits)), bits, sizeof(bits)))
		return false;
	bits[0] |= 0x80; /* a time far ahead: see the header */
	/* 26 digits hold 130 bits: two zero bits in front of the 128 */
	for (size_t i = 0; i < ID_ULID_LEN; i++) {
		unsigned value = 0;

		for (size_t k = 0; k < 5; k++) {
			size_t at = 5 * i + k;
			unsigned byte = at < 2 ? 0 : bits[(at - 2) / 8];

			value = value << 1 | (byte >> (7 - (at + 6) % 8) & 1);
		}
		ulid[i] = digits[value];
	}
	ulid[ID_ULID_LEN] = '\0';
	(void)snprintf(out, JOB_ID_BYTES, "%s-%u-%s", queue.name, queue.partition, ulid);
	return true;
}

void
job_id_child(const char *batch_id, int64_t line, char out[JOB_ID_BYTES])
{
	(void)snprintf(out, JOB_ID_BYTES, "%s.%lld", batch_id, (long long)line);
}

bool
job_id_is_child(struct str id, struct str *out_batch, int64_t *out_line)
{
	struct str line;
	size_t at;

	if (!str_find(id, STR("."), &at))
		return false;
	line = str_sub(id, at + 1, id.len);
	/* one way to write a line, as below */
	if (line.len == 0 || line.ptr[0] == '0' || !str_to_i64(line, 1, JOB_MAX_LINE, out_line))
		return false;
	*out_batch = str_sub(id, 0, at);
	return true;
}

bool
job_id_parse(struct str id, struct queue_ref *out_queue)
{
	struct str rest = id, name, number;
	int64_t partition, line;

	job_id_is_child(id, &rest, &line);
	if (id.len >= JOB_ID_BYTES || !str_split(&rest, '-', &name) ||
	    !str_split(&rest, '-', &number))
		return false;
	/* "00" is no other way to write "0": an id has one text */
	if (!str_to_i64(number, 0, JOB_PARTITIONS - 1, &partition) ||
	    (number.len > 1 && number.ptr[0] == '0'))
		return false;
	return id_is_ulid(rest) && job_queue_find(name, (unsigned)partition, out_queue);
}
