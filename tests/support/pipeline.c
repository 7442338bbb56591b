#include "tests/support/pipeline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "tests/support/jobs.h"

#define PIPELINE_ARENA_BYTES ((size_t)512 * 1024 * 1024)

static void
must(bool ok, const struct err *err)
{
	if (!ok)
		fail_msg("%s [%s]", err->msg, err->cause);
}

struct pipeline *
pipeline_start(void)
{
	struct pipeline *pipeline = mem_alloc(sizeof(*pipeline));
	struct embed_pool_opts pool;
	struct err err = ERR_INIT;

	pipeline->server = redis_server_start(NULL);
	pipeline->redis = redis_server_connect(pipeline->server);
	str_copy(pipeline->folder, sizeof(pipeline->folder), STR("/tmp/rag-pipeline-XXXXXX"));
	assert_non_null(mkdtemp(pipeline->folder));
	setenv("DATA_DIR", pipeline->folder, 1);
	setenv("REDIS_URL", redis_server_url(pipeline->server),
	       1); /* for a store that asks it, too */
	must(config_load(&pipeline->config, NULL, &err), &err);
	pipeline->env.config = &pipeline->config;
	pipeline->env.redis = pipeline->redis;
	must(store_open(&pipeline->config, &pipeline->env.store, &err), &err);
	must(embedder_open(&pipeline->config, &pipeline->env.embedder, &err), &err);
	must(embed_pool_opts_of(&pipeline->config, &pool, &err), &err);
	pipeline->env.embed_pool = embed_pool_new(&pool);
	must(reranker_open(&pipeline->config, &pipeline->env.reranker, &err), &err);
	must(generator_open(&pipeline->config, &pipeline->env.generator, &err), &err);
	must(prompt_template_load(&pipeline->config, &pipeline->prompt, &err), &err);
	pipeline->env.prompt = pipeline->prompt;
	must(catalog_get(pipeline->redis, STR("default"), &pipeline->collection, &err), &err);
	arena_init(&pipeline->arena, PIPELINE_ARENA_BYTES);
	buf_init(&pipeline->result, (size_t)16 * 1024 * 1024);
	return pipeline;
}

void
pipeline_stop(struct pipeline *pipeline)
{
	char command[128];

	embedder_close(pipeline->env.embedder);
	embed_pool_free(pipeline->env.embed_pool);
	reranker_close(pipeline->env.reranker);
	generator_close(pipeline->env.generator);
	prompt_template_free(pipeline->prompt);
	store_close(pipeline->env.store);
	redis_free(pipeline->redis);
	redis_server_stop(pipeline->server);
	config_release(&pipeline->config);
	arena_release(&pipeline->arena);
	buf_release(&pipeline->result);
	for (const char *const *name =
		     (const char *const[]){ "rag.db", "rag.db-wal", "rag.db-shm", NULL };
	     *name; name++) {
		(void)snprintf(command, sizeof(command), "%s/%s", pipeline->folder, *name);
		(void)remove(command);
	}
	(void)remove(pipeline->folder);
	mem_free(pipeline);
}

struct str
pipeline_accept(struct pipeline *pipeline, const char *job_id, const char *document_id,
		const char *content_type, const char *text)
{
	return jobs_ingest_payload(pipeline->redis, &pipeline->collection, job_id, document_id,
				   content_type, str_of(text), &pipeline->arena);
}

bool
pipeline_run(struct pipeline *pipeline, const char *type, const char *job_id, int64_t epoch,
	     struct str payload, struct err *err)
{
	struct job job = { .epoch = epoch, .starts = 1 };
	struct job_context context = {
		.env = &pipeline->env,
		.job = &job,
		.arena = &pipeline->arena,
		.deadline_mono_ms = pipeline->deadline_mono_ms,
		.cancel = pipeline->cancel,
		.progress = pipeline->progress,
		.emit = pipeline->emit,
		.user = pipeline->user,
	};
	struct jw w;

	str_copy(job.id, sizeof(job.id), str_of(job_id));
	str_copy(job.type, sizeof(job.type), str_of(type));
	buf_clear(&pipeline->result);
	w = jw_start(&pipeline->result);
	jw_obj(&w);
	if (!job_handler_find(str_of(type))(&context, payload, &w, err))
		return false;
	jw_end(&w);
	assert_true(buf_ok(&pipeline->result));
	return true;
}

bool
pipeline_ingest(struct pipeline *pipeline, const char *job_id, int64_t epoch,
		const char *document_id, const char *text, struct err *err)
{
	struct str payload = pipeline_accept(pipeline, job_id, document_id, "text/plain", text);

	return pipeline_run(pipeline, "ingest", job_id, epoch, payload, err);
}

bool
pipeline_query(struct pipeline *pipeline, const char *json, struct err *err)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	AUTO(buf) struct buf bytes = BUF_INIT((size_t)1024 * 1024);
	struct query_payload payload;
	struct err failure = ERR_INIT;

	query_payload_init(&payload, &pipeline->config);
	must(js_parse(str_of(json), &root, &failure), &failure);
	must(fields_from_json(&query_payload_fields, root, &payload, &pipeline->arena, &failure),
	     &failure);
	payload.collection = STR("default");
	payload.uid = str_of(pipeline->collection.uid);
	fields_to_pack(&query_payload_fields, &payload, &bytes);
	return pipeline_run(pipeline, "query", "query-job", 1, str_make(bytes.data, bytes.len),
			    err);
}

struct js *
pipeline_result(const struct pipeline *pipeline)
{
	struct js *root = NULL;
	struct err err = ERR_INIT;

	must(js_parse(str_make(pipeline->result.data, pipeline->result.len), &root, &err), &err);
	return root;
}

int64_t
pipeline_chunks(struct pipeline *pipeline, const char *document_id, int64_t seq, int64_t epoch)
{
	char gen[CATALOG_GEN_BYTES];
	int64_t count = -1;
	struct err err = ERR_INIT;

	catalog_gen_format(gen, seq, epoch);
	must(pipeline->env.store->ops->count(pipeline->env.store, str_of(pipeline->collection.uid),
					     str_of(document_id), str_of(gen), &count, &err),
	     &err);
	return count;
}
