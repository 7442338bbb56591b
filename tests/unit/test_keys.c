#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/auto.h"
#include "common/keys.h"

static const struct queue_ref ingest = { "ingest", 0 };

static void
queue_keys(void **state)
{
	(void)state;
	assert_string_equal(key_queue(ingest, QK_READY).text, "rag:{ingest.0}:ready");
	assert_string_equal(key_queue(ingest, QK_DUE).text, "rag:{ingest.0}:due");
	assert_string_equal(key_queue(ingest, QK_DEAD).text, "rag:{ingest.0}:dead");
	assert_string_equal(key_queue(ingest, QK_DONE).text, "rag:{ingest.0}:done");
	assert_string_equal(key_queue(ingest, QK_PAUSED).text, "rag:{ingest.0}:paused");
	assert_string_equal(key_queue(ingest, QK_OUTBOX).text, "rag:{ingest.0}:outbox");
	assert_string_equal(key_queue(ingest, QK_WORKERS).text, "rag:{ingest.0}:workers");
	assert_string_equal(key_queue(ingest, QK_STAT).text, "rag:{ingest.0}:stat");
	assert_string_equal(key_job(ingest, STR("x")).text, "rag:{ingest.0}:job:x");
	assert_string_equal(key_payload(ingest, STR("x")).text, "rag:{ingest.0}:in:x");
	assert_string_equal(key_result(ingest, STR("x")).text, "rag:{ingest.0}:out:x");
	assert_string_equal(key_events(ingest, STR("x")).text, "rag:{ingest.0}:ev:x");
	assert_string_equal(key_idem(ingest, STR("h")).text, "rag:{ingest.0}:idem:h");
	assert_string_equal(key_lock((struct queue_ref){ "query", 3 }, "keep").text,
			    "rag:{query.3}:lock:keep");
}

static void
catalog_keys(void **state)
{
	(void)state;
	assert_string_equal(key_collections().text, "rag:collections");
	assert_string_equal(key_catalog(STR("u"), CK_META).text, "rag:{c:u}:meta");
	assert_string_equal(key_catalog(STR("u"), CK_CUR).text, "rag:{c:u}:cur");
	assert_string_equal(key_catalog(STR("u"), CK_DOCS).text, "rag:{c:u}:docs");
	assert_string_equal(key_catalog(STR("u"), CK_SEQS).text, "rag:{c:u}:seqs");
	assert_string_equal(key_document(STR("u"), STR("a}b:c")).text, "rag:{c:u}:doc:a}b:c");
	assert_string_equal(key_cache(STR("h")).text, "rag:cache:h");
	assert_string_equal(key_governor(STR("a:b"), GK_STATE).text, "rag:{g:a:b}:state");
	assert_string_equal(key_governor(STR("a:b"), GK_WINDOW).text, "rag:{g:a:b}:window");
	assert_string_equal(key_governor(STR("a:b"), GK_LEASES).text, "rag:{g:a:b}:leases");
	assert_string_equal(key_governor(STR("a:b"), GK_WAKE).text, "rag:{g:a:b}:wake");
	assert_string_equal(key_governors().text, "rag:governors");
	assert_string_equal(key_embeddings_head().text, "rag:{embeddings}:head");
	assert_string_equal(key_embeddings(7).text, "rag:{embeddings}:7");
}

/* The hash tag is the text between the first { and the first } after it: an id cannot change it. */
static void
the_longest_fits_and_keeps_its_tag(void **state)
{
	char id[256];

	(void)state;
	memset(id, '}', sizeof(id));

	struct key key = key_document(STR("01jdcx7m2v5q8r3s6t9w1y4z7b"), str_make(id, sizeof(id)));

	assert_int_equal(strlen(key.text), strlen("rag:{c:01jdcx7m2v5q8r3s6t9w1y4z7b}:doc:") + 256);
	assert_int_equal(strchr(key.text, '}') - strchr(key.text, '{'), 2 + 26 + 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queue_keys),
		cmocka_unit_test(catalog_keys),
		cmocka_unit_test(the_longest_fits_and_keeps_its_tag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
