/*
 * catalog_fixture: a redis-server, a connection and a fresh collection, with the catalog's calls shortened
 * to what its tests vary. A call that fails where the test does not expect it fails the test.
 */
#ifndef RAG_TESTS_SUPPORT_CATALOG_FIXTURE_H
#define RAG_TESTS_SUPPORT_CATALOG_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/catalog.h"
#include "tests/support/redis_server.h"

struct catalog_fixture {
	struct redis_server *server; /* owned by the group */
	struct redis *redis;	     /* owned by the group */
	struct collection col;	     /* of the present test */
	unsigned made;
};

/* cmocka group set-up and tear-down: *state becomes a struct catalog_fixture. */
int catalog_fixture_setup(void **state);
int catalog_fixture_teardown(void **state);

/* A new, empty collection in f->col. */
void fixture_collection(struct catalog_fixture *f);
struct str fixture_uid(const struct catalog_fixture *f);

int64_t fixture_accept(struct catalog_fixture *f, const char *doc, const char *job);
int64_t fixture_delete(struct catalog_fixture *f, const char *doc, const char *job,
		       bool *out_existed);
void fixture_release(struct catalog_fixture *f, const char *job);

/* A commit of `chunks` chunks and 10 bytes for each, with the hash of `version` and fingerprint "fp". */
struct fixture_commit {
	const char *doc, *job;
	int64_t seq, epoch;
	const char *version;
	int64_t chunks;
};
bool fixture_commit_err(struct catalog_fixture *f, const struct fixture_commit *what,
			enum catalog_commit_result *out_result, char old_gen[CATALOG_GEN_BYTES],
			struct err *err);
enum catalog_commit_result fixture_commit(struct catalog_fixture *f, const char *doc,
					  const char *job, int64_t seq, int64_t epoch,
					  const char *version, int64_t chunks);
bool fixture_touch(struct catalog_fixture *f, const char *doc, const char *job, int64_t seq,
		   const char *version);

/* The visible generation, "" = none; borrowed until the next call of this thread. */
const char *fixture_gen(struct catalog_fixture *f, const char *doc);
struct collection fixture_counters(struct catalog_fixture *f);
/* A digest of everything in Redis: equal digests, nothing has changed. */
void fixture_digest(struct catalog_fixture *f, char out[41]);
/* Redis refuses what needs memory, or no longer. */
void fixture_full(struct catalog_fixture *f, bool full);

#endif
