/* The handlers against a real Redis and a real store: what becomes visible,
 * what is taken back, what is cached. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "tests/support/chroma_server.h"
#include "tests/support/documents.h"
#include "tests/support/jobs.h"
#include "tests/support/pipeline.h"

#define HERON                                                                                      \
	"The grey heron stands still in shallow water and waits for fish. "                        \
	"It nests in tall trees near lakes."
#define KILN                                                                                       \
	"A kiln fires clay at more than a thousand degrees. Glaze melts and "                      \
	"seals the pot against water."

static int
set_up(void **state)
{
	*state = pipeline_start();
	return 0;
}

static int
tear_down(void **state)
{
	pipeline_stop(*state);
	return 0;
}

static void
ingest(struct pipeline *pipeline, const char *job_id, int64_t epoch, const char *id,
       const char *text)
{
	struct err err = ERR_INIT;

	if (!pipeline_ingest(pipeline, job_id, epoch, id, text, &err))
		fail_msg("%s", err.msg);
}

static void
query(struct pipeline *pipeline, const char *json)
{
	struct err err = ERR_INIT;

	if (!pipeline_query(pipeline, json, &err))
		fail_msg("%s", err.msg);
}

static bool
result_flag(const struct pipeline *pipeline, const char *key)
{
	AUTO_PTR(js_free) struct js *root = pipeline_result(pipeline);
	bool value = false;

	assert_true(js_get_bool(root, key, &value));
	return value;
}

static size_t
result_items(const struct pipeline *pipeline, const char *key)
{
	AUTO_PTR(js_free) struct js *root = pipeline_result(pipeline);

	assert_true(js_is(js_get(root, key), JS_ARRAY));
	return js_len(js_get(root, key));
}

static int64_t
documents(struct pipeline *pipeline)
{
	struct collection collection;
	struct err err = ERR_INIT;

	assert_true(catalog_get(pipeline->redis, STR("default"), &collection, &err));
	return collection.documents;
}

static void
test_answer_cites_the_right_document(void **state)
{
	struct pipeline *pipeline = *state;
	AUTO_PTR(js_free) struct js *root = NULL;
	const struct js *citation;
	struct str text;
	int64_t n;

	ingest(pipeline, "j1", 1, "heron", HERON);
	ingest(pipeline, "j2", 1, "kiln", KILN);
	query(pipeline, "{\"query\":\"Where does the heron nest?\"}");
	root = pipeline_result(pipeline);
	assert_true(js_get_str(root, "answer", &text));
	assert_true(str_find(text, STR("tall trees"), &(size_t){ 0 }));
	assert_true(str_find(text, STR("[1]"), &(size_t){ 0 }));
	assert_int_equal(js_len(js_get(root, "citations")), 1);
	citation = js_at(js_get(root, "citations"), 0);
	assert_true(js_get_str(citation, "document_id", &text));
	assert_true(str_eq_c(text, "heron"));
	assert_true(js_get_str(citation, "chunk_id", &text));
	assert_true(str_eq_c(text, "heron@1.1#0"));
	assert_true(js_get_int(citation, "n", &n));
	assert_int_equal(n, 1);
	/* the range is that of the text itself */
	assert_true(js_get_int(citation, "start", &n));
	assert_int_equal(n, 0);
	assert_true(js_get_int(citation, "end", &n));
	assert_int_equal(n, strlen(HERON));
	assert_true(result_flag(pipeline, "grounded"));
}

static void
test_refuses_what_no_source_holds(void **state)
{
	struct pipeline *pipeline = *state;

	ingest(pipeline, "j1", 1, "heron", HERON);
	query(pipeline, "{\"query\":\"Which tax form does a limited company file in March?\"}");
	assert_true(result_flag(pipeline, "refused"));
	assert_false(result_flag(pipeline, "grounded"));
	assert_int_equal(result_items(pipeline, "citations"), 0);
	/* and so does an empty collection */
	query(pipeline, "{\"query\":\"heron\",\"filter\":{\"lang\":\"none\"}}");
	assert_true(result_flag(pipeline, "refused"));
}

static void
test_unchanged_costs_nothing_and_keeps_order(void **state)
{
	struct pipeline *pipeline = *state;
	struct err err = ERR_INIT;
	struct str older;

	ingest(pipeline, "j1", 1, "doc", HERON);
	older = pipeline_accept(pipeline, "j2", "doc", "text/plain", KILN);
	ingest(pipeline, "j3", 1, "doc", HERON);
	assert_true(result_flag(pipeline, "unchanged"));
	assert_int_equal(pipeline_chunks(pipeline, "doc", 1, 1), 1);
	assert_int_equal(pipeline_chunks(pipeline, "doc", 3, 1), 0); /* nothing was written */
	/* the version between them, late, must not come through */
	assert_true(pipeline_run(pipeline, "ingest", "j2", 1, older, &err));
	assert_true(result_flag(pipeline, "superseded"));
	assert_int_equal(pipeline_chunks(pipeline, "doc", 2, 1), 0);
	assert_int_equal(pipeline_chunks(pipeline, "doc", 1, 1), 1);
	query(pipeline, "{\"query\":\"heron nest trees\",\"generate\":false}");
	assert_int_equal(result_items(pipeline, "results"), 1);
	assert_int_equal(documents(pipeline), 1);
}

static void
test_newer_version_replaces_and_sweeps(void **state)
{
	struct pipeline *pipeline = *state;

	ingest(pipeline, "j1", 1, "doc", HERON);
	ingest(pipeline, "j2", 1, "doc", KILN);
	assert_int_equal(pipeline_chunks(pipeline, "doc", 1, 1), 0);
	assert_int_equal(pipeline_chunks(pipeline, "doc", 2, 1), 1);
	assert_int_equal(documents(pipeline), 1);
}

static void
test_older_version_finishing_last_is_superseded(void **state)
{
	struct pipeline *pipeline = *state;
	struct err err = ERR_INIT;
	struct str first = pipeline_accept(pipeline, "j1", "doc", "text/plain", HERON);
	struct str second = pipeline_accept(pipeline, "j2", "doc", "text/plain", KILN);

	assert_true(pipeline_run(pipeline, "ingest", "j2", 1, second, &err));
	assert_true(pipeline_run(pipeline, "ingest", "j1", 1, first, &err));
	assert_true(result_flag(pipeline, "superseded"));
	assert_int_equal(pipeline_chunks(pipeline, "doc", 1, 1), 0);
	assert_int_equal(pipeline_chunks(pipeline, "doc", 2, 1), 1);
}

/* A worker taken for dead wakes up after another start of its job has
 * committed. */
static void
test_late_start_cannot_touch_the_newer_one(void **state)
{
	struct pipeline *pipeline = *state;
	struct err err = ERR_INIT;
	struct str payload = pipeline_accept(pipeline, "j1", "doc", "text/plain", HERON);

	assert_true(pipeline_run(pipeline, "ingest", "j1", 2, payload, &err));
	assert_true(pipeline_run(pipeline, "ingest", "j1", 1, payload, &err));
	assert_int_equal(pipeline_chunks(pipeline, "doc", 1, 2), 1);
	assert_int_equal(pipeline_chunks(pipeline, "doc", 1, 1), 0);
	assert_int_equal(documents(pipeline), 1);
}

/* Killed between commit and settle: the job runs again and says the same. */
static void
test_repeat_after_commit(void **state)
{
	struct pipeline *pipeline = *state;
	struct err err = ERR_INIT;
	struct str payload = pipeline_accept(pipeline, "j1", "doc", "text/plain", HERON);

	assert_true(pipeline_run(pipeline, "ingest", "j1", 1, payload, &err));
	assert_true(pipeline_run(pipeline, "ingest", "j1", 2, payload, &err));
	assert_false(result_flag(pipeline, "superseded"));
	assert_int_equal(documents(pipeline), 1);
	assert_int_equal(pipeline_chunks(pipeline, "doc", 1, 1) +
				 pipeline_chunks(pipeline, "doc", 1, 2),
			 1);
	query(pipeline, "{\"query\":\"heron\",\"generate\":false}");
	assert_int_equal(result_items(pipeline, "results"), 1);
}

static void
test_delete_hides_at_once_and_cleans(void **state)
{
	struct pipeline *pipeline = *state;
	AUTO(buf) struct buf bytes = BUF_INIT(4096);
	struct delete_payload payload = { .collection = STR("default"),
					  .uid = str_of(pipeline->collection.uid),
					  .document_id = STR("doc") };
	struct str older = pipeline_accept(pipeline, "j0", "doc", "text/plain", KILN);
	struct err err = ERR_INIT;
	bool existed = false;

	ingest(pipeline, "j1", 1, "doc", HERON);
	query(pipeline, "{\"query\":\"heron\",\"generate\":false}");
	assert_int_equal(result_items(pipeline, "results"), 1);
	assert_true(catalog_delete_document(pipeline->redis, payload.uid, payload.document_id,
					    STR("j2"), &payload.seq, &existed, &err));
	assert_true(existed);
	/* before the clean-up has run */
	query(pipeline, "{\"query\":\"heron\",\"generate\":false}");
	assert_int_equal(result_items(pipeline, "results"), 0);
	fields_to_pack(&delete_payload_fields, &payload, &bytes);
	for (int i = 0; i < 2; i++)
		assert_true(pipeline_run(pipeline, "delete", "j2", 1,
					 str_make(bytes.data, bytes.len), &err));
	assert_int_equal(pipeline_chunks(pipeline, "doc", 2, 1), 0);
	/* an ingest accepted before the delete, finishing after it */
	assert_true(pipeline_run(pipeline, "ingest", "j0", 1, older, &err));
	assert_true(result_flag(pipeline, "superseded"));
	assert_int_equal(documents(pipeline), 0);
	/* and one accepted after it */
	ingest(pipeline, "j4", 1, "doc", HERON);
	assert_int_equal(documents(pipeline), 1);
}

static void
test_cache_follows_the_collection(void **state)
{
	struct pipeline *pipeline = *state;

	ingest(pipeline, "j1", 1, "heron", HERON);
	query(pipeline, "{\"query\":\"Where does the heron nest?\"}");
	assert_false(result_flag(pipeline, "cached"));
	query(pipeline, "{\"query\":\"Where does the heron nest?\"}");
	assert_true(result_flag(pipeline, "cached"));
	assert_int_equal(result_items(pipeline, "citations"), 1);
	query(pipeline, "{\"query\":\"Where does the heron nest?\",\"top_k\":3}");
	assert_false(result_flag(pipeline, "cached"));
	ingest(pipeline, "j2", 1, "kiln", KILN);
	query(pipeline, "{\"query\":\"Where does the heron nest?\"}");
	assert_false(result_flag(pipeline, "cached"));
}

/* ---- cancel, deadline, failures ---- */

struct stop_at {
	const char *stage;
	atomic_bool *cancel;
};

static bool
cancel_at_stage(void *user, const char *stage, int64_t done, int64_t total, struct err *err)
{
	struct stop_at *stop = user;

	(void)done;
	(void)total;
	(void)err;
	if (strcmp(stage, stop->stage) == 0)
		atomic_store(stop->cancel, true);
	return true;
}

static void
test_cancel_before_commit_leaves_nothing(void **state)
{
	struct pipeline *pipeline = *state;
	static const char *const stages[] = { "parse", "embed", "upsert" };
	atomic_bool cancel = false;

	for (size_t i = 0; i < ARRAY_SIZE(stages); i++) {
		struct stop_at stop = { .stage = stages[i], .cancel = &cancel };
		struct err err = ERR_INIT;
		char job_id[16];

		(void)snprintf(job_id, sizeof(job_id), "j%zu", i);
		atomic_store(&cancel, false);
		pipeline->cancel = &cancel;
		pipeline->progress = cancel_at_stage;
		pipeline->user = &stop;
		assert_false(pipeline_ingest(pipeline, job_id, 1, "doc", HERON, &err));
		assert_int_equal(err.code, ERR_CANCELLED);
		assert_int_equal(pipeline_chunks(pipeline, "doc", (int64_t)i + 1, 1), 0);
		assert_int_equal(documents(pipeline), 0);
	}
}

static bool
fence_lost(void *user, const char *stage, int64_t done, int64_t total, struct err *err)
{
	(void)done;
	(void)total;
	if (strcmp(stage, user) == 0)
		return err_set(err, ERR_STALE, "another start has won");
	return true;
}

static void
test_lost_fence_before_commit_writes_nothing_visible(void **state)
{
	struct pipeline *pipeline = *state;
	struct err err = ERR_INIT;
	char stage[] = "commit";

	pipeline->progress = fence_lost;
	pipeline->user = stage;
	assert_false(pipeline_ingest(pipeline, "j1", 1, "doc", HERON, &err));
	assert_int_equal(err.code, ERR_STALE);
	assert_int_equal(documents(pipeline), 0);
	assert_int_equal(pipeline_chunks(pipeline, "doc", 1, 1), 0);
}

static void
test_deadline(void **state)
{
	struct pipeline *pipeline = *state;
	struct err err = ERR_INIT;

	pipeline->deadline_mono_ms = clock_mono_ms() - 1;
	assert_false(pipeline_ingest(pipeline, "j1", 1, "doc", HERON, &err));
	assert_int_equal(err.code, ERR_DEADLINE);
	assert_false(pipeline_query(pipeline, "{\"query\":\"heron\"}", &err));
	assert_int_equal(err.code, ERR_DEADLINE);
}

static void
test_document_without_text_fails_for_good(void **state)
{
	struct pipeline *pipeline = *state;
	struct err err = ERR_INIT;

	assert_false(pipeline_ingest(pipeline, "j1", 1, "doc", " \n\t ", &err));
	assert_int_equal(err.code, ERR_EMPTY_TEXT);
	assert_false(err_info(err.code)->retryable);
	assert_int_equal(documents(pipeline), 0);
}

/* A store that loses a chunk, the way a bulk insert of a server may. */
static bool
count_one_less(struct store *store, struct str uid, struct str id, struct str gen, int64_t *out,
	       struct err *err)
{
	(void)store;
	(void)uid;
	(void)id;
	(void)gen;
	(void)err;
	*out = 0;
	return true;
}

static void
test_chunks_written_must_be_chunks_expected(void **state)
{
	struct pipeline *pipeline = *state;
	const struct store_ops *real = pipeline->env.store->ops;
	struct store_ops lossy = *real;
	struct err err = ERR_INIT;
	bool ok;

	lossy.count = count_one_less;
	pipeline->env.store->ops = &lossy;
	ok = pipeline_ingest(pipeline, "j1", 1, "doc", HERON, &err);
	pipeline->env.store->ops = real;
	assert_false(ok);
	assert_int_equal(err.code, ERR_STORE_FAILED);
	assert_int_equal(documents(pipeline), 0);
	assert_int_equal(pipeline_chunks(pipeline, "doc", 1, 1), 0);
}

/* Warnings that every hybrid answer over this store has: of the words that it cannot look for. */
static size_t
usual_warnings(const struct pipeline *pipeline)
{
	return (pipeline->env.store->ops->caps & STORE_CAP_LEXICAL) ? 0 : 1;
}

static bool
rerank_fails(struct reranker *reranker, const struct provider_call *call, struct str text,
	     const struct passage *passages, size_t count, float *out_scores, struct err *err)
{
	(void)reranker;
	(void)call;
	(void)text;
	(void)passages;
	(void)count;
	(void)out_scores;
	return err_set(err, ERR_PROVIDER_UNAVAILABLE, "could not reach the reranker");
}

static void
test_failing_reranker_is_a_warning(void **state)
{
	static const struct reranker_ops broken_ops = { .name = "broken", .rerank = rerank_fails };
	struct reranker broken = { .ops = &broken_ops };
	struct pipeline *pipeline = *state;
	struct reranker *real = pipeline->env.reranker;

	ingest(pipeline, "j1", 1, "heron", HERON);
	pipeline->env.reranker = &broken;
	for (int i = 0; i < 2; i++) {
		query(pipeline, "{\"query\":\"Where does the heron nest?\",\"rerank\":true}");
		assert_int_equal(result_items(pipeline, "warnings"), 1 + usual_warnings(pipeline));
		assert_int_equal(result_items(pipeline, "citations"), 1);
		assert_false(result_flag(pipeline, "cached")); /* such an answer is not kept */
	}
	pipeline->env.reranker = real;
	query(pipeline, "{\"query\":\"Where does the heron nest?\",\"rerank\":true}");
	assert_int_equal(result_items(pipeline, "warnings"), usual_warnings(pipeline));
}

static bool
rerank_evenly(struct reranker *reranker, const struct provider_call *call, struct str text,
	      const struct passage *passages, size_t count, float *out_scores, struct err *err)
{
	(void)reranker;
	(void)call;
	(void)text;
	(void)passages;
	(void)err;
	for (size_t i = 0; i < count; i++)
		out_scores[i] = 0.5F;
	return true;
}

/* Another model of one provider may order otherwise: its answers are its own. */
static void
test_cache_knows_the_rerankers_model(void **state)
{
	static const char question[] = "{\"query\":\"Where does the heron nest?\",\"rerank\":true}";
	static const struct reranker_ops ops = { .name = "remote", .rerank = rerank_evenly };
	struct reranker first = { .ops = &ops, .model = "one" };
	struct reranker second = { .ops = &ops, .model = "two" };
	struct pipeline *pipeline = *state;
	struct reranker *real = pipeline->env.reranker;

	ingest(pipeline, "j1", 1, "heron", HERON);
	pipeline->env.reranker = &first;
	query(pipeline, question);
	query(pipeline, question);
	assert_true(result_flag(pipeline, "cached"));
	pipeline->env.reranker = &second;
	query(pipeline, question);
	assert_false(result_flag(pipeline, "cached"));
	/* a server of one's own has the model that it was started with */
	pipeline->config.reranker = RERANKER_TEI;
	pipeline->config.reranker_url = "http://127.0.0.1:8081";
	query(pipeline, question);
	assert_false(result_flag(pipeline, "cached"));
	query(pipeline, question);
	assert_true(result_flag(pipeline, "cached"));
	pipeline->config.reranker_url = "http://127.0.0.1:8082";
	query(pipeline, question);
	assert_false(result_flag(pipeline, "cached"));
	pipeline->env.reranker = real;
}

/* ---- a generator that does as it is told ---- */

static struct {
	enum err_code code; /* ERR_NONE: an answer */
	int tells;	    /* pieces before */
	int64_t deadline_mono_ms;
} script;

static bool
generate_as_told(struct generator *generator, const struct provider_call *call,
		 const struct generate_request *request, struct arena *arena, struct generated *out,
		 struct err *err)
{
	(void)arena;
	script.deadline_mono_ms = call->deadline_mono_ms;
	for (int i = 0; i < script.tells && request->on_text; i++)
		if (!request->on_text(request->user, STR("half an answer "), err))
			return false;
	if (script.code != ERR_NONE)
		return err_set(err, script.code, "the model does not answer");
	*out = (struct generated){ .text = STR("It nests in trees [1]."),
				   .model = generator->model };
	return true;
}

static const struct generator_ops told_ops = { .name = "told", .generate = generate_as_told };

static void
test_failing_generator_is_a_warning(void **state)
{
	static const enum err_code codes[] = {
		ERR_PROVIDER_UNAVAILABLE, ERR_PROVIDER_REJECTED, ERR_PROVIDER_REPLY,
		ERR_RATE_LIMITED,	  ERR_DEADLINE,		 ERR_TIMEOUT
	};
	static const char question[] = "{\"query\":\"Where does the heron nest?\"}";
	struct generator told = { .ops = &told_ops, .model = "told-1" };
	struct pipeline *pipeline = *state;
	struct generator *real = pipeline->env.generator;

	ingest(pipeline, "j1", 1, "heron", HERON);
	pipeline->env.generator = &told;
	pipeline->deadline_mono_ms = clock_mono_ms() + 60000;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		script.code = codes[i];
		query(pipeline, question);

		AUTO_PTR(js_free) struct js *result = pipeline_result(pipeline);
		const struct js *warning =
			js_at(js_get(result, "warnings"), usual_warnings(pipeline));

		assert_int_equal(js_len(js_get(result, "warnings")), 1 + usual_warnings(pipeline));
		assert_true(str_eq_c(js_str(js_get(warning, "code")), "GENERATOR_FAILED"));
		assert_true(
			str_eq_c(js_str(js_get(warning, "detail")), "the model does not answer"));
		assert_non_null(strstr(js_str(js_get(result, "answer")).ptr, "nests"));
		assert_int_equal(js_len(js_get(result, "citations")), 1);
		assert_true(js_bool(js_get(result, "grounded")));
		assert_false(str_eq_c(js_str(js_get(result, "model")), "told-1"));
		assert_false(js_bool(js_get(result, "cached"))); /* such an answer is not kept */
		/* it leaves time for the fallback */
		assert_true(script.deadline_mono_ms < pipeline->deadline_mono_ms);
	}
	/* it is well again: its own answer, without a warning, and kept */
	script.code = ERR_NONE;
	query(pipeline, question);
	assert_int_equal(result_items(pipeline, "warnings"), usual_warnings(pipeline));
	query(pipeline, question);
	assert_true(result_flag(pipeline, "cached"));
	pipeline->env.generator = real;
	pipeline->deadline_mono_ms = 0;
}

/* What is no failure of the generator's ends the job as before. */
static void
test_no_fallback_for_a_cancel(void **state)
{
	static const enum err_code codes[] = { ERR_CANCELLED, ERR_STALE };
	struct generator told = { .ops = &told_ops, .model = "told-1" };
	struct pipeline *pipeline = *state;
	struct generator *real = pipeline->env.generator;
	struct err err = ERR_INIT;

	ingest(pipeline, "j1", 1, "heron", HERON);
	pipeline->env.generator = &told;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		script.code = codes[i];
		assert_false(pipeline_query(pipeline, "{\"query\":\"Where does the heron nest?\"}",
					    &err));
		assert_int_equal(err.code, codes[i]);
	}
	pipeline->env.generator = real;
}

/* It is refused before a step that costs anything. */
static bool
no_step_is_made(void *user, const char *stage, int64_t done, int64_t total, struct err *err)
{
	(void)user;
	(void)done;
	(void)total;
	(void)err;
	fail_msg("step %s", stage);
	return true;
}

static void
test_other_embedder_is_a_mismatch(void **state)
{
	struct pipeline *pipeline = *state;
	const struct catalog_commit foreign = {
		.uid = str_of(pipeline->collection.uid),
		.document_id = STR("alien"),
		.job_id = STR("j0"),
		.seq = 1,
		.epoch = 1,
		.fingerprint = STR("other/model/3"),
		.chunks = 1,
	};
	enum catalog_commit_result result;
	char old_gen[CATALOG_GEN_BYTES];
	struct err err = ERR_INIT;
	int64_t seq;

	assert_true(catalog_accept(pipeline->redis, foreign.uid, foreign.document_id,
				   foreign.job_id, &seq, &err));
	assert_true(catalog_commit(pipeline->redis, &foreign, &result, old_gen, &err));
	assert_false(pipeline_query(pipeline, "{\"query\":\"heron\"}", &err));
	assert_int_equal(err.code, ERR_EMBEDDER_MISMATCH);
	pipeline->progress = no_step_is_made;
	assert_false(pipeline_ingest(pipeline, "j1", 1, "doc", HERON, &err));
	pipeline->progress = NULL;
	assert_int_equal(err.code, ERR_EMBEDDER_MISMATCH);
	assert_int_equal(pipeline_chunks(pipeline, "doc", 2, 1), 0);
	/* words alone need no vectors */
	if (pipeline->env.store->ops->caps & STORE_CAP_LEXICAL)
		query(pipeline, "{\"query\":\"heron\",\"mode\":\"lexical\"}");
}

static void
test_formats_and_headings(void **state)
{
	struct pipeline *pipeline = *state;
	static const char html[] = "<html><head><title>Birds</title></head><body><h1>Herons</h1>"
				   "<p>The grey heron nests in tall trees.</p></body></html>";
	AUTO_PTR(js_free) struct js *root = NULL;
	struct err err = ERR_INIT;
	struct str payload = pipeline_accept(pipeline, "j1", "page", "text/html", html), text;

	assert_true(pipeline_run(pipeline, "ingest", "j1", 1, payload, &err));
	query(pipeline, "{\"query\":\"Where does the heron nest?\"}");
	root = pipeline_result(pipeline);
	assert_true(js_get_str(js_at(js_get(root, "citations"), 0), "title", &text));
	assert_true(str_eq_c(text, "Birds"));
	assert_true(js_get_str(js_at(js_get(root, "citations"), 0), "heading", &text));
	assert_true(str_eq_c(text, "Herons"));
}

static void
test_pdf_cites_its_page(void **state)
{
	static const char *const pages[] = {
		"Cranes dance in spring, and again in autumn\non the fields where thousands rest.",
		"The grey heron nests in tall trees near lakes,\nwhere dozens of pairs build.",
		"Storks clatter with their bills on the roofs\nof the villages along the river.",
	};
	AUTO(buf) struct buf pdf = BUF_INIT(1 << 20);
	AUTO_PTR(js_free) struct js *root = NULL;
	struct pipeline *pipeline = *state;
	struct err err = ERR_INIT;
	struct str payload, text;
	int64_t page = 0;

	pipeline->config.convert_helper = RAG_BIN_DIR "/rag-convert";
	pipeline->config.chunk_size = 100; /* a page is a chunk: no three fit in one */
	pipeline->config.chunk_overlap = 0;
	document_pdf(&pdf, "Waders", pages, ARRAY_SIZE(pages));
	payload = jobs_ingest_payload(pipeline->redis, &pipeline->collection, "j1", "book",
				      "application/pdf", str_make(pdf.data, pdf.len),
				      &pipeline->arena);
	assert_true(pipeline_run(pipeline, "ingest", "j1", 1, payload, &err));
	query(pipeline, "{\"query\":\"Where does the heron nest?\"}");
	root = pipeline_result(pipeline);
	assert_true(js_get_str(js_at(js_get(root, "citations"), 0), "title", &text));
	assert_true(str_eq_c(text, "Waders"));
	assert_true(js_get_int(js_at(js_get(root, "citations"), 0), "page", &page));
	assert_int_equal(page, 2);
	/* what has no pages says so */
	assert_true(pipeline_ingest(pipeline, "j2", 1, "note", "Avocets sweep the mud.", &err));
	query(pipeline, "{\"query\":\"What do avocets sweep?\"}");
	js_free(root);
	root = pipeline_result(pipeline);
	assert_true(js_is(js_get(js_at(js_get(root, "citations"), 0), "page"), JS_NULL));
}

#define PIPELINE_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

/* For the settings of every pipeline that is started. */
static struct chroma_server *
use_chroma(void)
{
	struct err err = ERR_INIT;
	struct chroma_server *server;
	char port[16];

	if (!http_client_global_init(&err))
		abort();
	server = chroma_server_start();
	(void)snprintf(port, sizeof(port), "%d", chroma_server_port(server));
	(void)setenv("STORE", "chroma", 1);
	(void)setenv("CHROMA_PORT", port, 1);
	return server;
}

/* test_pipeline [chroma]: over sqlite, or over a real Chroma server. */
int
main(int argc, char **argv)
{
	struct chroma_server *server =
		argc > 1 && strcmp(argv[1], "chroma") == 0 ? use_chroma() : NULL;
	int failed;
	const struct CMUnitTest tests[] = {
		PIPELINE_TEST(test_answer_cites_the_right_document),
		PIPELINE_TEST(test_refuses_what_no_source_holds),
		PIPELINE_TEST(test_unchanged_costs_nothing_and_keeps_order),
		PIPELINE_TEST(test_newer_version_replaces_and_sweeps),
		PIPELINE_TEST(test_older_version_finishing_last_is_superseded),
		PIPELINE_TEST(test_late_start_cannot_touch_the_newer_one),
		PIPELINE_TEST(test_repeat_after_commit),
		PIPELINE_TEST(test_delete_hides_at_once_and_cleans),
		PIPELINE_TEST(test_cache_follows_the_collection),
		PIPELINE_TEST(test_cancel_before_commit_leaves_nothing),
		PIPELINE_TEST(test_lost_fence_before_commit_writes_nothing_visible),
		PIPELINE_TEST(test_deadline),
		PIPELINE_TEST(test_document_without_text_fails_for_good),
		PIPELINE_TEST(test_chunks_written_must_be_chunks_expected),
		PIPELINE_TEST(test_failing_reranker_is_a_warning),
		PIPELINE_TEST(test_cache_knows_the_rerankers_model),
		PIPELINE_TEST(test_failing_generator_is_a_warning),
		PIPELINE_TEST(test_no_fallback_for_a_cancel),
		PIPELINE_TEST(test_other_embedder_is_a_mismatch),
		PIPELINE_TEST(test_formats_and_headings),
		PIPELINE_TEST(test_pdf_cites_its_page),
	};

	failed = cmocka_run_group_tests(tests, NULL, NULL);
	chroma_server_stop(server);
	return failed;
}
