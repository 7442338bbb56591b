#include "tests/support/jobs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/sha256.h"
#include "jobs/spec/spec.h"

#define JOBS_MAX_PAYLOAD_BYTES ((size_t)64 * 1024 * 1024)
#define JOBS_POLL_MS 10

static void
must(bool ok, const struct err *err)
{
	if (!ok)
		fail_msg("%s [%s]", err->msg, err->cause);
}

struct str
jobs_ingest_payload(struct redis *redis, const struct collection *collection, const char *job_id,
		    const char *document_id, const char *content_type, struct str text,
		    struct arena *arena)
{
	struct ingest_payload payload = {
		.collection = str_of(collection->name),
		.uid = str_of(collection->uid),
		.document_id = str_of(document_id),
		.content_type = str_of(content_type),
		.uri = STR(""),
		.title = STR(""),
		.metadata = STR(""),
		.body = text,
	};
	AUTO(buf) struct buf bytes = BUF_INIT(JOBS_MAX_PAYLOAD_BYTES);
	char hash[SHA256_HEX_BYTES];
	struct err err = ERR_INIT;
	char *copy;

	sha256_hex(payload.body, hash);
	payload.content_hash = str_of(hash);
	must(catalog_accept(redis, payload.uid, payload.document_id, str_of(job_id), &payload.seq,
			    &err),
	     &err);
	fields_to_pack(&ingest_payload_fields, &payload, &bytes);
	assert_true(buf_ok(&bytes));
	copy = arena_strndup(arena, bytes.data, bytes.len);
	assert_non_null(copy);
	return str_make(copy, bytes.len);
}

static void
submit(struct redis *redis, const char *queue, const char *type, struct str payload, const char *id,
       const char *collection)
{
	struct queue_submit request = {
		.id = id,
		.type = type,
		.collection = collection,
		.payload = payload,
		.max_starts = 5,
		.max_failures = 3,
		.max_jobs = 100000,
		.max_bytes = 1 << 30,
	};
	struct queue_submitted submitted;
	struct err err = ERR_INIT;

	assert_true(job_queue_find(str_of(queue), 0, &request.queue));
	must(queue_submit(redis, &request, &submitted, &err), &err);
}

static void
new_id(const char *queue, char out_id[JOB_ID_BYTES])
{
	struct queue_ref ref;

	assert_true(job_queue_find(str_of(queue), 0, &ref));
	job_id_new(ref, out_id);
}

void
jobs_submit_ingest(struct redis *redis, const struct collection *collection,
		   const char *document_id, struct str text, char out_id[JOB_ID_BYTES])
{
	AUTO(arena) struct arena arena;

	arena_init(&arena, JOBS_MAX_PAYLOAD_BYTES);
	new_id("ingest", out_id);
	submit(redis, "ingest", "ingest",
	       jobs_ingest_payload(redis, collection, out_id, document_id, "text/plain", text,
				   &arena),
	       out_id, collection->name);
}

void
jobs_submit_query(struct redis *redis, const struct collection *collection, const char *question,
		  char out_id[JOB_ID_BYTES])
{
	AUTO(buf) struct buf bytes = BUF_INIT((size_t)64 * 1024);
	struct query_payload payload = {
		.collection = str_of(collection->name),
		.uid = str_of(collection->uid),
		.query = str_of(question),
		.filter = STR(""),
		.top_k = 5,
		.generate = true,
		.max_tokens = 256,
	};

	fields_to_pack(&query_payload_fields, &payload, &bytes);
	assert_true(buf_ok(&bytes));
	new_id("query", out_id);
	submit(redis, "query", "query", str_make(bytes.data, bytes.len), out_id, collection->name);
}

struct job
jobs_get(struct redis *redis, const char *id)
{
	struct err err = ERR_INIT;
	struct job job;

	must(queue_get(redis, str_of(id), &job, &err), &err);
	return job;
}

struct job
jobs_wait(struct redis *redis, const char *id, enum job_status status, int timeout_ms)
{
	int64_t deadline_ms = clock_mono_ms() + timeout_ms;
	struct job job = { 0 };

	for (;;) {
		struct err err = ERR_INIT;

		/* an outage of Redis is part of some tests */
		if (queue_get(redis, str_of(id), &job, &err) && job.status == status)
			return job;
		if (clock_mono_ms() > deadline_ms)
			fail_msg("job %s is %s, not %s, after %d ms", id,
				 job_status_name(job.status), job_status_name(status), timeout_ms);
		clock_sleep_ms(JOBS_POLL_MS);
	}
}

void
jobs_wait_stage(struct redis *redis, const char *id, const char *stage, int timeout_ms)
{
	int64_t deadline_ms = clock_mono_ms() + timeout_ms;

	for (;;) {
		struct job job = jobs_get(redis, id);

		if (job.status == JOB_RUNNING && strcmp(job.stage, stage) == 0)
			return;
		if (job_status_done(job.status) || clock_mono_ms() > deadline_ms)
			fail_msg("job %s is %s at '%s', never seen running at '%s'", id,
				 job_status_name(job.status), job.stage, stage);
		clock_sleep_ms(1);
	}
}

char *
jobs_long_text(size_t bytes, unsigned seed)
{
	static const char *const words[] = {
		"heron", "lake",    "water", "kiln",  "clay", "glaze", "stone", "bridge", "canal",
		"mill",	 "harbour", "tower", "light", "sail", "rope",  "salt",	"oven",	  "bread"
	};
	AUTO(buf) struct buf text = BUF_INIT(bytes + 64);
	uint64_t random = seed;

	for (size_t word = 1; text.len < bytes; word++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		buf_add_str(&text, words[(random >> 33) % ARRAY_SIZE(words)]);
		buf_printf(&text, "%u", (unsigned)(random >> 40) % 1000);
		buf_add_str(&text, word % 90 == 0 ? ".\n\n" : word % 12 == 0 ? ". " : " ");
	}
	return buf_take(&text, &(size_t){ 0 });
}
