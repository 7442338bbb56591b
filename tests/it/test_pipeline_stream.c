/*
 * What the query handler tells those who follow: over many questions, the pieces are the answer of the result, byte for
 * byte, whether it was just written, refused, or taken out of the cache; sources come before the first word.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/mem.h"
#include "tests/support/jobs.h"
#include "tests/support/must.h"
#include "tests/support/pipeline.h"

#define MIB ((size_t)1024 * 1024)

static struct pipeline *pipeline;

/* What was emitted, in order. */
struct heard {
	struct buf text, answer, sources, warnings;
	size_t pieces, answers, source_events, resets;
	bool late_sources;
	enum job_emit stop_at; /* fail there */
	bool stops;
};
static struct heard heard;

static bool
on_emit(void *user, enum job_emit what, struct str data, struct err *err)
{
	(void)user;
	if (heard.stops && what == heard.stop_at)
		return err_set(err, ERR_STALE, "another start of this job has won");
	switch (what) {
	case JOB_EMIT_TEXT:
		buf_add(&heard.text, data.ptr, data.len);
		heard.pieces++;
		break;
	case JOB_EMIT_RESET:
		buf_clear(&heard.text);
		heard.resets++;
		break;
	case JOB_EMIT_ANSWER:
		buf_add(&heard.answer, data.ptr, data.len);
		heard.answers++;
		break;
	case JOB_EMIT_SOURCES:
		buf_add(&heard.sources, data.ptr, data.len);
		heard.source_events++;
		heard.late_sources |= heard.pieces > 0;
		break;
	case JOB_EMIT_WARNING:
		buf_add(&heard.warnings, data.ptr, data.len);
		break;
	}
	return true;
}

static void
hear_nothing(void)
{
	buf_release(&heard.text);
	buf_release(&heard.answer);
	buf_release(&heard.sources);
	buf_release(&heard.warnings);
	heard = (struct heard){ .stops = false };
	buf_init(&heard.text, MIB);
	buf_init(&heard.answer, MIB);
	buf_init(&heard.sources, MIB);
	buf_init(&heard.warnings, MIB);
}

static int
setup(void **state)
{
	char *text = jobs_long_text(60000, 7);

	(void)state;
	hear_nothing();
	pipeline = pipeline_start();
	MUST(pipeline_ingest(pipeline, "ingest-1", 1, "long", text, e));
	MUST(pipeline_ingest(pipeline, "ingest-2", 1, "oil",
			     "Change the oil every 10,000 km. Drain it warm, as the manual says "
			     "in [1] and [2]. The oil filter is changed with the oil. "
			     "Use oil of grade 5W-30, \"synthetic\" or not.",
			     e));
	pipeline->emit = on_emit;
	mem_free(text);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	hear_nothing();
	pipeline_stop(pipeline);
	return 0;
}

static void
ask_for(const char *json)
{
	hear_nothing();
	MUST(pipeline_query(pipeline, json, e));
}

/* The answer of the result, "" when there is none. */
static void
check_answer(bool cached)
{
	AUTO_PTR(js_free) struct js *result = pipeline_result(pipeline);
	AUTO_PTR(js_free) struct js *sources = NULL;
	struct str answer = STR("");
	bool was_cached = false;

	(void)js_get_str(result, "answer", &answer);
	assert_true(js_get_bool(result, "cached", &was_cached));
	assert_int_equal(was_cached, cached);
	assert_int_equal(heard.answers, 1);
	assert_true(str_eq_c(answer, heard.answer.data));
	if (!cached)
		assert_true(str_eq_c(answer, heard.text.data));
	assert_false(heard.late_sources);
	if (heard.source_events == 0)
		return;
	assert_int_equal(heard.source_events, 1);
	MUST(js_parse(str_make(heard.sources.data, heard.sources.len), &sources, e));
	assert_true(js_len(js_get(sources, "sources")) >= js_len(js_get(result, "citations")));
	for (size_t i = 0; i < js_len(js_get(sources, "sources")); i++) {
		const struct js *source = js_at(js_get(sources, "sources"), i);
		struct str id;

		assert_true(js_get_str(source, "chunk_id", &id));
		assert_null(js_get(source, "text"));
	}
}

static void
pieces_are_the_answer(void **state)
{
	static const char *const words[] = {
		"oil",	 "filter", "grade", "warm",   "river", "stone",
		"light", "winter", "house", "letter", "music", "engine"
	};
	char json[200];

	(void)state;
	for (size_t i = 0; i < 60; i++) {
		(void)snprintf(json, sizeof(json),
			       "{\"query\":\"What about %s and %s?\",\"top_k\":%zu,"
			       "\"max_tokens\":%zu,\"rerank\":%s}",
			       words[i % 12], words[(i * 5 + i / 12) % 12], i % 9 + 1,
			       16 + i * 7 % 300, i % 2 ? "true" : "false");
		ask_for(json);
		check_answer(false);
		ask_for(json);
		check_answer(true);
		assert_int_equal(heard.pieces, 0); /* one piece: the answer itself */
	}
}

static void
an_answer_and_a_refusal(void **state)
{
	(void)state;
	ask_for("{\"query\":\"When do I change the oil?\"}");
	check_answer(false);
	assert_non_null(strstr(heard.text.data, "10,000 km"));
	assert_int_equal(heard.source_events, 1);
	ask_for("{\"query\":\"Who won the chess tournament of Zurich in 1953?\"}");
	check_answer(false);
	assert_non_null(strstr(heard.text.data, "could not find"));
}

/* Retrieval alone has no text: an answer of nothing says that there is none. */
static void
no_text_without_generation(void **state)
{
	(void)state;
	ask_for("{\"query\":\"oil\",\"generate\":false}");
	assert_int_equal(heard.pieces, 0);
	assert_int_equal(heard.answers, 1);
	assert_string_equal(heard.answer.data, "");
}

/* Whatever is told, a listener that has lost its right ends the work. */
static void
the_listener_can_end_it(void **state)
{
	static const enum job_emit kinds[] = { JOB_EMIT_SOURCES, JOB_EMIT_TEXT, JOB_EMIT_ANSWER };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds) * 2; i++) {
		struct err err = ERR_INIT;
		bool cached = i >= ARRAY_SIZE(kinds);

		hear_nothing();
		heard.stops = true;
		heard.stop_at = kinds[i % ARRAY_SIZE(kinds)];
		if (cached && heard.stop_at == JOB_EMIT_TEXT)
			continue;
		assert_false(pipeline_query(pipeline,
					    cached ? "{\"query\":\"When do I change the oil?\"}"
						   : "{\"query\":\"Which grade of oil?\"}",
					    &err));
		assert_int_equal(err.code, ERR_STALE);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_are_the_answer),
		cmocka_unit_test(an_answer_and_a_refusal),
		cmocka_unit_test(no_text_without_generation),
		cmocka_unit_test(the_listener_can_end_it),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
