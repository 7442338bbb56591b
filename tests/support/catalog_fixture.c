#include "tests/support/catalog_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/sha256.h"
#include "tests/support/must.h"

int
catalog_fixture_setup(void **state)
{
	struct catalog_fixture *f = mem_alloc(sizeof(*f));

	f->server = redis_server_start(NULL);
	f->redis = redis_server_connect(f->server);
	*state = f;
	return 0;
}

int
catalog_fixture_teardown(void **state)
{
	struct catalog_fixture *f = *state;

	redis_free(f->redis);
	redis_server_stop(f->server);
	mem_free(f);
	return 0;
}

void
fixture_collection(struct catalog_fixture *f)
{
	char name[CATALOG_NAME_MAX + 1];

	(void)snprintf(name, sizeof(name), "test-%u", ++f->made);
	MUST(catalog_create(f->redis, str_of(name), STR("made by a test"), &f->col, e));
}

struct str
fixture_uid(const struct catalog_fixture *f)
{
	return str_of(f->col.uid);
}

int64_t
fixture_accept(struct catalog_fixture *f, const char *doc, const char *job)
{
	int64_t seq = 0;

	MUST(catalog_accept(f->redis, fixture_uid(f), str_of(doc), str_of(job), &seq, e));
	return seq;
}

int64_t
fixture_delete(struct catalog_fixture *f, const char *doc, const char *job, bool *out_existed)
{
	int64_t seq = 0;
	bool existed = false;

	MUST(catalog_delete_document(f->redis, fixture_uid(f), str_of(doc), str_of(job), &seq,
				     &existed, e));
	if (out_existed)
		*out_existed = existed;
	return seq;
}

void
fixture_release(struct catalog_fixture *f, const char *job)
{
	MUST(catalog_release(f->redis, fixture_uid(f), str_of(job), e));
}

bool
fixture_commit_err(struct catalog_fixture *f, const struct fixture_commit *what,
		   enum catalog_commit_result *out_result, char old_gen[CATALOG_GEN_BYTES],
		   struct err *err)
{
	char hash[SHA256_HEX_BYTES];

	sha256_hex(str_of(what->version), hash);
	const struct catalog_commit commit = {
		.uid = fixture_uid(f),
		.document_id = str_of(what->doc),
		.job_id = str_of(what->job),
		.seq = what->seq,
		.epoch = what->epoch,
		.title = str_of(what->version),
		.uri = STR("https://example.org/a"),
		.content_type = STR("text/plain"),
		.content_hash = str_of(hash),
		.version_hash = str_of(hash),
		.fingerprint = STR("fp"),
		.bytes = what->chunks * 10,
		.chunks = what->chunks,
	};

	return catalog_commit(f->redis, &commit, out_result, old_gen, err);
}

enum catalog_commit_result
fixture_commit(struct catalog_fixture *f, const char *doc, const char *job, int64_t seq,
	       int64_t epoch, const char *version, int64_t chunks)
{
	enum catalog_commit_result result = CATALOG_SUPERSEDED;
	char old_gen[CATALOG_GEN_BYTES];

	const struct fixture_commit what = { doc, job, seq, epoch, version, chunks };

	MUST(fixture_commit_err(f, &what, &result, old_gen, e));
	return result;
}

bool
fixture_touch(struct catalog_fixture *f, const char *doc, const char *job, int64_t seq,
	      const char *version)
{
	char hash[SHA256_HEX_BYTES];
	bool unchanged = false;

	sha256_hex(str_of(version), hash);
	const struct catalog_touch touch = { fixture_uid(f), str_of(doc), str_of(job), seq,
					     str_of(hash),   STR("fp") };

	MUST(catalog_touch(f->redis, &touch, &unchanged, e));
	return unchanged;
}

const char *
fixture_gen(struct catalog_fixture *f, const char *doc)
{
	static _Thread_local struct catalog_current current;
	struct str id = str_of(doc);

	MUST(catalog_current(f->redis, fixture_uid(f), &id, 1, &current, e));
	return current.gen;
}

struct collection
fixture_counters(struct catalog_fixture *f)
{
	struct collection col;

	MUST(catalog_get_uid(f->redis, fixture_uid(f), &col, e));
	return col;
}

void
fixture_digest(struct catalog_fixture *f, char out[41])
{
	static const char script[] = "local keys, all = redis.call('KEYS', '*'), {}\n"
				     "table.sort(keys)\n"
				     "for _, k in ipairs(keys) do\n"
				     "	all[#all + 1] = k .. redis.call('DUMP', k)\n"
				     "end\n"
				     "return redis.sha1hex(table.concat(all))\n";
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct str text;

	MUST(REDIS_CALL(f->redis, &reply, e, "EVAL", script, "0"));
	assert_true(reply_str(reply, &text));
	assert_true(str_copy(out, 41, text));
}

void
fixture_full(struct catalog_fixture *f, bool full)
{
	MUST(REDIS_CALL(f->redis, NULL, e, "CONFIG", "SET", "maxmemory", full ? "1" : "0"));
}
