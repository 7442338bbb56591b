/*
 * rag-bench-store [DOCUMENTS [CHUNKS [THREADS]]]: how fast the store writes and searches.
 *
 * THREADS writers put DOCUMENTS documents of CHUNKS chunks each (default 2,000 x 10, 4 threads; made-up words with
 * a skewed distribution, vectors of the built-in embedder's dimension), each waiting until its document is
 * durable. Then 200 hybrid searches with 3 words, without a filter and with one that allows 1 %, one thread.
 */
#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "jobs/spec/filter.h"
#include "jobs/spec/spec.h"
#include "jobs/store/store.h"

#define CHUNK_WORDS 130
#define MAX_CHUNKS 64
#define SEARCHES 200
#define VOCABULARY 20000
#define ARENA_BYTES ((size_t)256 << 20)

struct bench {
	struct store *store;
	int64_t documents, chunks;
	atomic_llong next;
	_Atomic int64_t worst_us;
};

static _Noreturn void
give_up(const char *what, const struct err *err)
{
	(void)fprintf(stderr, "rag-bench-store: %s: %s %s\n", what, err->msg, err->cause);
	exit(1);
}

static uint64_t
draw(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *seed >> 33;
}

/* Low numbers are frequent. */
static unsigned
draw_word(uint64_t *seed)
{
	uint64_t range = 1 + draw(seed) % VOCABULARY;

	return (unsigned)(draw(seed) % range);
}

static void
draw_text(uint64_t *seed, size_t words, char *out, size_t out_bytes)
{
	size_t len = 0;

	for (size_t i = 0; i < words && len + 16 < out_bytes; i++)
		len += (size_t)snprintf(out + len, out_bytes - len, "w%u ", draw_word(seed));
}

static void
draw_vector(uint64_t *seed, float *out)
{
	for (size_t i = 0; i < SPEC_LOCAL_DIM; i++)
		out[i] = ((float)(draw(seed) & 0xFFFF) / 65536.0F - 0.5F) * 0.1F;
}

static void *
write_some(void *user)
{
	struct bench *bench = user;
	struct store_chunk chunks[MAX_CHUNKS];
	char(*texts)[1024] = mem_array(MAX_CHUNKS, sizeof(*texts));
	float(*vectors)[SPEC_LOCAL_DIM] = mem_array(MAX_CHUNKS, sizeof(*vectors));
	struct err err = ERR_INIT;

	for (;;) {
		int64_t number = atomic_fetch_add(&bench->next, 1);
		uint64_t seed = (uint64_t)number;
		char id[32], metadata[48];

		if (number >= bench->documents)
			break;
		(void)snprintf(id, sizeof(id), "doc%lld", (long long)number);
		(void)snprintf(metadata, sizeof(metadata), "{\"shelf\":%lld}",
			       (long long)number % 100);
		for (int64_t i = 0; i < bench->chunks; i++) {
			draw_text(&seed, CHUNK_WORDS, texts[i], sizeof(texts[i]));
			draw_vector(&seed, vectors[i]);
			chunks[i] = (struct store_chunk){ .ordinal = i,
							  .text = str_of(texts[i]),
							  .vector = vectors[i] };
		}

		const struct store_document document = {
			.uid = STR("bench"),
			.document_id = str_of(id),
			.gen = STR("1.1"),
			.metadata = str_of(metadata),
			.chunks = chunks,
			.count = (size_t)bench->chunks,
			.dim = SPEC_LOCAL_DIM,
		};
		int64_t start = clock_mono_us();

		if (!bench->store->ops->put(bench->store, &document, &err))
			give_up("put", &err);

		int64_t took = clock_mono_us() - start, worst = atomic_load(&bench->worst_us);

		while (took > worst &&
		       !atomic_compare_exchange_weak(&bench->worst_us, &worst, took))
			;
	}
	mem_free(texts);
	mem_free(vectors);
	return NULL;
}

static void
write_all(struct bench *bench, size_t threads)
{
	pthread_t *ids = mem_array(threads, sizeof(*ids));
	int64_t start = clock_mono_us();

	for (size_t i = 0; i < threads; i++) {
		if (pthread_create(&ids[i], NULL, write_some, bench) != 0)
			abort();
	}
	for (size_t i = 0; i < threads; i++)
		(void)pthread_join(ids[i], NULL);

	double seconds = (double)(clock_mono_us() - start) / 1e6;

	(void)printf("write: %lld documents, %lld chunks, %zu threads: %.0f documents/s, %.0f "
		     "chunks/s, worst wait %.0f ms\n",
		     (long long)bench->documents, (long long)bench->documents * bench->chunks,
		     threads, (double)bench->documents / seconds,
		     (double)(bench->documents * bench->chunks) / seconds,
		     (double)atomic_load(&bench->worst_us) / 1000);
	mem_free(ids);
}

static int
compare_i64(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return (left > right) - (left < right);
}

static void
search_all(struct bench *bench, const char *filter_json)
{
	int64_t times[SEARCHES];
	float vector[SPEC_LOCAL_DIM];
	char question[64];
	uint64_t seed = 99;
	struct err err = ERR_INIT;
	struct arena arena;

	arena_init(&arena, ARENA_BYTES);
	for (int i = -1; i < SEARCHES; i++) { /* the first one loads the vectors */
		struct filter *filter = NULL;
		struct store_hits hits = { .dense = NULL };
		struct store_search search = { .uid = STR("bench"),
					       .vector = vector,
					       .dim = SPEC_LOCAL_DIM,
					       .lexical = true,
					       .limit = 100 };

		draw_text(&seed, 3, question, sizeof(question));
		draw_vector(&seed, vector);
		search.text = str_of(question);

		int64_t start = clock_mono_us();

		if (!filter_parse(str_of(filter_json), &arena, &filter, &err))
			give_up("filter", &err);
		search.filter = filter;
		if (!bench->store->ops->search(bench->store, &search, &arena, &hits, &err))
			give_up("search", &err);
		if (i < 0)
			(void)printf("first search: %.1f ms\n",
				     (double)(clock_mono_us() - start) / 1000);
		else
			times[i] = clock_mono_us() - start;
		arena_reset(&arena);
	}
	arena_release(&arena);
	qsort(times, SEARCHES, sizeof(times[0]), compare_i64);

	int64_t p50 = times[SEARCHES / 2], p99 = times[SEARCHES * 99 / 100];

	(void)printf("search%s: p50 %.2f ms, p99 %.2f ms\n", filter_json[0] ? " (1 % filter)" : "",
		     (double)p50 / 1000, (double)p99 / 1000);
}

static int
remove_one(const char *path, const struct stat *info, int flag, struct FTW *position)
{
	(void)info;
	(void)flag;
	(void)position;
	return remove(path);
}

static int64_t
number_of(int argc, char **argv, int index, int64_t fallback, int64_t max)
{
	int64_t value = fallback;

	if (index < argc && !str_to_i64(str_of(argv[index]), 1, max, &value)) {
		(void)fprintf(stderr, "usage: rag-bench-store [DOCUMENTS [CHUNKS [THREADS]]]\n");
		exit(2);
	}
	return value;
}

int
main(int argc, char **argv)
{
	char data[] = "/tmp/rag-bench-XXXXXX";
	struct config config = { .vector_cache_bytes = (int64_t)4 << 30 };
	struct bench bench = { .documents = number_of(argc, argv, 1, 2000, 10000000),
			       .chunks = number_of(argc, argv, 2, 10, MAX_CHUNKS) };
	struct err err = ERR_INIT;

	if (!mkdtemp(data)) {
		err_errno(&err, errno, "make a folder");
		give_up(data, &err);
	}
	config.data_dir = data;
	if (!store_open(&config, &bench.store, &err))
		give_up("open", &err);
	write_all(&bench, (size_t)number_of(argc, argv, 3, 4, 256));
	search_all(&bench, "");
	search_all(&bench, "{\"shelf\":7}");
	store_close(bench.store);
	(void)nftw(data, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}
