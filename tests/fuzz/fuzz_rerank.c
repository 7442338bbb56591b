/*
 * fuzz_rerank: any bytes as what a reranker, TEI's /info, or Cohere's embed answers. Scores that are read are finite, and come to 0..1 in
 * their order; vectors have unit length or none.
 */
#include <math.h>

#include "jobs/provider/cohere_wire.h"
#include "jobs/provider/rerank_wire.h"
#include "tests/fuzz/provider.h"

#define MAX_TEXTS 4
#define DIM 3

static void
check_scores(const struct reply *reply, size_t count)
{
	struct remote_used used = { -1, -1, -1 };
	float scores[MAX_TEXTS], squashed[MAX_TEXTS];
	struct err err = ERR_INIT;

	if (!rerank_parse(reply, count, scores, &used, &err)) {
		must(err.code == ERR_PROVIDER_REPLY, "garbage is garbage");
		return;
	}
	must(used.tokens_in >= -1 && used.search_units >= -1, "counts are counts");
	for (size_t i = 0; i < count; i++) {
		must(isfinite(scores[i]), "a score is a number");
		squashed[i] = scores[i];
	}
	rerank_squash(squashed, count);
	for (size_t i = 0; i < count; i++) {
		must(squashed[i] >= 0 && squashed[i] <= 1, "0 to 1");
		for (size_t k = 0; k < count; k++)
			must(scores[i] <= scores[k] ? squashed[i] <= squashed[k]
						    : squashed[i] >= squashed[k],
			     "the order stays");
	}
}

static void
check_vectors(const struct reply *reply, size_t count)
{
	struct remote_used used = { -1, -1, -1 };
	float vectors[MAX_TEXTS * DIM];
	struct err err = ERR_INIT;

	if (!cohere_parse_embed(reply, count, DIM, vectors, &used, &err)) {
		must(err.code == ERR_PROVIDER_REPLY, "garbage is garbage");
		return;
	}
	must(used.tokens_in >= -1, "a count is a count");
	must_be_vectors(vectors, count, DIM);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reply reply = { 0 };
	struct err err = ERR_INIT;

	if (!reply_read(str_make((const char *)data, size), &reply, &err))
		return 0;
	(void)rerank_parse_tei_info(&reply);
	for (size_t count = 0; count <= MAX_TEXTS; count++) {
		check_scores(&reply, count);
		check_vectors(&reply, count);
	}
	reply_release(&reply);
	return 0;
}
