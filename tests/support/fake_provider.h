/*
 * fake_provider: tests/fake/provider.py, the scripted server for all formats of providers, as a process of a test. What can be set, scripted
 * and asked is at the head of that file. Asserts on any failure of its own.
 */
#ifndef RAG_TESTS_SUPPORT_FAKE_PROVIDER_H
#define RAG_TESTS_SUPPORT_FAKE_PROVIDER_H

#include <stdint.h>

#include "common/json.h"

struct fake_provider;

struct fake_provider *fake_provider_start(void);
void fake_provider_stop(struct fake_provider *fake); /* NULL is fine */

/* Base URL for a setting such as GEMINI_BASE_URL: "gemini", "openai", "vllm", "ollama", "llamacpp", "tei", "cohere", "jina". The text lives as
 * long as the server. */
const char *fake_provider_url(struct fake_provider *fake, const char *dialect);
int fake_provider_port(const struct fake_provider *fake);

/* json: members of the settings: "\"openai\": {\"max_batch\": 4}, \"latency_ms\": 5". */
void fake_provider_config(struct fake_provider *fake, const char *members);
/* json: members of one row of faults: "\"route\": \"gemini.*\", \"fault\": \"cut\", \"times\": 1". */
void fake_provider_fail(struct fake_provider *fake, const char *members);
void fake_provider_heal(struct fake_provider *fake);  /* no faults any more */
void fake_provider_reset(struct fake_provider *fake); /* as at the start; up */
void fake_provider_down(
	struct fake_provider *fake); /* connections are refused and cut, the port stays ours */
void fake_provider_up(struct fake_provider *fake);

/* What arrived at routes that match the pattern ("gemini.*"): "requests", "inputs", "tokens", "ok", "ok_inputs"; "connections" and
 * "max_in_flight" are of all routes. */
int64_t fake_provider_count(struct fake_provider *fake, const char *pattern, const char *what);
/* {"requests": [...]}: the last ones, to be freed with js_free. */
struct js *fake_provider_requests(struct fake_provider *fake, const char *pattern, int last);

#endif
