/*
 * Filters, tenants and deletes while imports, single documents, replacements and deletes run: readers of two tenants look
 * at everything all the time, and a model on the clients' side says what they may and must see.
 *
 * The model. Each document belongs to one writer, so its operations have an order. An operation has three moments by a
 * logical clock: sent, accepted (the answer came), done (its job was seen to have succeeded). A reader notes the clock before it
 * asks and after it was answered. Version k of a document may be seen when k was sent before the answer came and nothing
 * later has taken effect before the question: no later delete accepted, no later version done. It must be seen when it was
 * done before the question and nothing later was sent before the answer.
 *
 * Every sentence of every version names tenant, document and version, so a chunk tells whose it is, and whether it
 * satisfies the filter it was found by. The choices follow from a seed, which a failure prints (RAG_TEST_SEED repeats
 * it; the moments at which threads run are not repeated).
 */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/route.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/sha256.h"
#include "tests/support/api.h"
#include "tests/support/folder.h"
#include "tests/support/keys.h"
#include "tests/support/must.h"
#include "tests/support/redis_server.h"

#define V1 "/api/v1"
#define COLLECTION V1 "/collections/shared"

#define TENANTS 2
#define IMPORTED 48 /* documents of the importing writer, the rest are the other's */
#define DOCUMENTS 80
#define IMPORTS 4 /* rounds */
#define SINGLES 60
#define READERS 2	  /* of each tenant */
#define WRITE_FOR_MS 9000 /* no new round after that, however slow the machine */
#define OPS_MAX 40	  /* of one document */
#define NO_VERSION (-1)

struct op {
	bool is_delete;
	int version;
	uint64_t sent, accepted, done; /* 0 = not yet */
	char hash[SHA256_HEX_BYTES];   /* of the text */
	char job[JOB_ID_BYTES];
};

struct world {
	int port;
	uint64_t seed;
	int64_t write_until_mono_ms;
	atomic_bool stop;   /* readers */
	atomic_bool failed; /* everybody */
	atomic_int checks, seen, writers;
	pthread_mutex_t lock;
	/* under lock */
	uint64_t clock;
	struct op ops[TENANTS][DOCUMENTS][OPS_MAX];
	int count[TENANTS][DOCUMENTS];
	char why[2048]; /* the first failure */
};

static struct world world = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct actor {
	int tenant;
	uint64_t random;
	bool imports;
};

/* ---- failing, time, chance ---- */

__attribute__((format(printf, 1, 2))) static void
broken(const char *fmt, ...)
{
	va_list args;

	pthread_mutex_lock(&world.lock);
	if (!atomic_exchange(&world.failed, true)) {
		va_start(args, fmt);
		(void)vsnprintf(world.why, sizeof(world.why), fmt, args);
		va_end(args);
	}
	pthread_mutex_unlock(&world.lock);
	atomic_store(&world.stop, true);
}

static uint64_t
tick(void)
{
	uint64_t now;

	pthread_mutex_lock(&world.lock);
	now = ++world.clock;
	pthread_mutex_unlock(&world.lock);
	return now;
}

static uint64_t
chance(struct actor *actor, uint64_t below)
{
	actor->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
	uint64_t x = actor->random;

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return (x ^ x >> 31) % below;
}

/* ---- what a version is ---- */

static bool
is_half(int document, int version)
{
	return (document + version) % 2 == 0;
}

/* About one in a hundred. */
static bool
is_rare(int document, int version)
{
	return (document * 7 + version * 13) % 100 < 2;
}

static void
write_text(int tenant, int document, int version, struct buf *out)
{
	static const char *const words[] = { "barley", "wheat", "rye",	"oats", "clover",
					     "maize",  "beans", "hops", "flax" };

	for (int i = 0; i < 9; i++)
		buf_printf(out, "The harvest of %s in mk%dx%dx%dx was stored before the rain. ",
			   words[(document + version + i) % 9], tenant, document, version);
}

/* The members of a document as JSON, without braces. */
static void
write_members(int tenant, int document, int version, struct buf *out, char hash[SHA256_HEX_BYTES])
{
	AUTO(buf) struct buf text = BUF_INIT(4096);

	write_text(tenant, document, version, &text);
	sha256_hex(str_make(text.data, text.len), hash);
	buf_printf(out,
		   "\"id\":\"d-%d\",\"text\":\"%s\",\"metadata\":{\"half\":%s,\"rare\":%s,"
		   "\"version\":%d}",
		   document, text.data, is_half(document, version) ? "true" : "false",
		   is_rare(document, version) ? "true" : "false", version);
}

/* The version that a chunk or a text names, and whether it names only that one. */
static bool
read_marks(struct str text, int *tenant, int *document, int *version)
{
	bool any = false;
	size_t at;

	while (str_find(text, STR("mk"), &at)) {
		struct str rest = str_sub(text, at + 2, text.len), piece;
		int64_t value[3];

		for (int i = 0; i < 3; i++)
			if (!str_split(&rest, 'x', &piece) ||
			    !str_to_i64(piece, 0, 1000000, &value[i]))
				return false;
		if (any && (*tenant != value[0] || *document != value[1] || *version != value[2]))
			return false;
		*tenant = (int)value[0];
		*document = (int)value[1];
		*version = (int)value[2];
		any = true;
		text = rest;
	}
	return any;
}

/* ---- asking ---- */

static int
ask_as(int tenant, const char *method, const char *path, const char *body, const char *header,
       struct answer *out)
{
	char key[64];

	(void)snprintf(key, sizeof(key), "X-API-Key: key-%d", tenant);
	ask_with(world.port, method, path,
		 (const char *const[]){ key, "Content-Type: application/json", header, NULL },
		 str_of(body), out);
	return out->status;
}

/* Until the job is done; false: it is not succeeded. */
static bool
wait_for_job(int tenant, const char *id)
{
	char path[160];
	int64_t until = clock_mono_ms() + INT64_C(4) * API_PATIENCE_MS;

	(void)snprintf(path, sizeof(path), V1 "/jobs/%s", id);
	while (clock_mono_ms() < until && !atomic_load(&world.failed)) {
		struct answer answer = { 0 };
		bool ok, done;

		if (ask_as(tenant, "GET", path, NULL, "Prefer: wait=10", &answer) != 200)
			broken("GET %s: %d %s", path, answer.status, answer.reply.body.data);
		done = str_find(str_of(answer.reply.body.data), STR("\"done\":true"),
				&(size_t){ 0 });
		ok = str_eq_c(answer_str(&answer, "status"), "succeeded");
		if (done && !ok)
			broken("job %s: %s", id, answer.reply.body.data);
		answer_release(&answer);
		if (done)
			return ok;
	}
	broken("job %s did not end", id);
	return false;
}

/* ---- the model ---- */

/* A new operation, sent now. Its index. */
static int
begin_op(int tenant, int document, bool is_delete, const char *hash)
{
	struct op *op;
	int at;

	pthread_mutex_lock(&world.lock);
	at = world.count[tenant][document];
	if (at < OPS_MAX) {
		op = &world.ops[tenant][document][at];
		*op = (struct op){ .is_delete = is_delete, .version = at, .sent = ++world.clock };
		(void)str_copy(op->hash, sizeof(op->hash), str_of(hash));
		world.count[tenant][document]++;
	}
	pthread_mutex_unlock(&world.lock);
	return at < OPS_MAX ? at : NO_VERSION;
}

static void
op_accepted(int tenant, int document, int at, const char *job)
{
	pthread_mutex_lock(&world.lock);
	world.ops[tenant][document][at].accepted = ++world.clock;
	(void)str_copy(world.ops[tenant][document][at].job, JOB_ID_BYTES, str_of(job));
	pthread_mutex_unlock(&world.lock);
}

static void
op_done(int tenant, int document, int at)
{
	pthread_mutex_lock(&world.lock);
	world.ops[tenant][document][at].done = ++world.clock;
	pthread_mutex_unlock(&world.lock);
}

static int
next_version(int tenant, int document)
{
	int count;

	pthread_mutex_lock(&world.lock);
	count = world.count[tenant][document];
	pthread_mutex_unlock(&world.lock);
	return count;
}

/* Under lock: has something later than `at` surely taken effect before `before`? */
static bool
is_over(int tenant, int document, int at, uint64_t before)
{
	for (int k = at + 1; k < world.count[tenant][document]; k++) {
		const struct op *op = &world.ops[tenant][document][k];
		uint64_t effect = op->is_delete ? op->accepted : op->done;

		if (effect && effect < before)
			return true;
	}
	return false;
}

/* Version `version` was seen between the two moments: may it be? */
static void
check_seen(int tenant, int document, int version, uint64_t before, uint64_t after,
	   const char *where)
{
	const char *wrong = NULL;
	struct op op = { 0 };

	pthread_mutex_lock(&world.lock);
	if (document < 0 || document >= DOCUMENTS || version < 0 ||
	    version >= world.count[tenant][document]) {
		wrong = "nobody has sent it";
	} else {
		op = world.ops[tenant][document][version];
		if (op.is_delete || op.sent > after)
			wrong = "it was not sent yet";
		else if (is_over(tenant, document, version, before))
			wrong = "it was deleted or replaced before";
	}
	pthread_mutex_unlock(&world.lock);
	atomic_fetch_add(&world.seen, 1);
	if (wrong)
		broken("%s: tenant %d saw version %d of d-%d, but %s (asked %" PRIu64 "..%" PRIu64
		       ", sent %" PRIu64 ")",
		       where, tenant, version, document, wrong, before, after, op.sent);
}

/* The version that must be seen by whoever asked at `before` and was answered at `after`; NO_VERSION: none must. */
static int
must_see(int tenant, int document, uint64_t before, uint64_t after)
{
	int must = NO_VERSION;

	pthread_mutex_lock(&world.lock);
	for (int k = 0; k < world.count[tenant][document]; k++) {
		const struct op *op = &world.ops[tenant][document][k];

		if (op->sent < after)
			must = !op->is_delete && op->done && op->done < before ? k : NO_VERSION;
	}
	pthread_mutex_unlock(&world.lock);
	return must;
}

static int
version_of_hash(int tenant, int document, struct str hash)
{
	int version = NO_VERSION;

	pthread_mutex_lock(&world.lock);
	for (int k = 0; k < world.count[tenant][document]; k++)
		if (!world.ops[tenant][document][k].is_delete &&
		    str_eq_c(hash, world.ops[tenant][document][k].hash))
			version = k;
	pthread_mutex_unlock(&world.lock);
	return version;
}

/* ---- writers ---- */

static void
send_delete(int tenant, int document)
{
	struct answer answer = { 0 };
	char path[160], job[JOB_ID_BYTES];
	int at = begin_op(tenant, document, true, "");

	if (at == NO_VERSION)
		return;
	(void)snprintf(path, sizeof(path), COLLECTION "/documents/d-%d", document);
	if (ask_as(tenant, "DELETE", path, NULL, NULL, &answer) != 202)
		broken("DELETE %s: %d %s", path, answer.status, answer.reply.body.data);
	(void)str_copy(job, sizeof(job), answer_str(&answer, "id"));
	op_accepted(tenant, document, at, job);
	answer_release(&answer);
}

static bool
last_is_ingest(int tenant, int document)
{
	bool is;

	pthread_mutex_lock(&world.lock);
	int count = world.count[tenant][document];
	is = count > 0 && !world.ops[tenant][document][count - 1].is_delete;
	pthread_mutex_unlock(&world.lock);
	return is;
}

/* One round of the importing writer: which documents it sends, and the jobs that carry them. */
struct round {
	int at[IMPORTED]; /* index of the operation, NO_VERSION = not in this round */
	char jobs[IMPORTED][JOB_ID_BYTES];
};

static bool
has_import(void)
{
	struct str params[CALL_MAX_PARAMS];
	const struct route *route = route_match(STR(COLLECTION "/documents:import"), params);

	return route && strcmp(route->method, "POST") == 0;
}

/* One body, one job. */
static void
send_by_import(int tenant, struct round *round, struct str body)
{
	struct answer answer = { 0 };
	char key[64];

	(void)snprintf(key, sizeof(key), "X-API-Key: key-%d", tenant);
	ask_with(world.port, "POST", COLLECTION "/documents:import",
		 (const char *const[]){ key, "Content-Type: application/x-ndjson", NULL }, body,
		 &answer);
	if (answer.status != 202)
		broken("import: %d %s", answer.status, answer.reply.body.data);
	for (int d = 0; d < IMPORTED; d++)
		(void)str_copy(round->jobs[d], JOB_ID_BYTES, answer_str(&answer, "id"));
	answer_release(&answer);
}

/* The same lines one after the other, none waited for. */
static void
send_one_by_one(int tenant, struct round *round, struct str body)
{
	for (int d = 0; d < IMPORTED && !atomic_load(&world.failed); d++) {
		struct answer answer = { 0 };
		char one[8192];
		struct str line;

		if (round->at[d] == NO_VERSION)
			continue;
		if (!str_split(&body, '\n', &line) || !str_copy(one, sizeof(one), line))
			broken("a document has no line");
		else if (ask_as(tenant, "POST", COLLECTION "/documents", one, NULL, &answer) != 202)
			broken("POST documents: %d %s", answer.status, answer.reply.body.data);
		(void)str_copy(round->jobs[d], JOB_ID_BYTES, answer_str(&answer, "id"));
		answer_release(&answer);
	}
}

/* Many documents at once, by an import or one by one; some of them are deleted again while they are worked on. */
static void
import_round(struct actor *actor, bool by_import)
{
	AUTO(buf) struct buf body = BUF_INIT((size_t)4 << 20);
	int tenant = actor->tenant;
	struct round round;

	for (int d = 0; d < IMPORTED; d++) {
		char hash[SHA256_HEX_BYTES];

		round.at[d] = NO_VERSION;
		round.jobs[d][0] = '\0';
		if (chance(actor, 100) < 30)
			continue;
		buf_add_char(&body, '{');
		write_members(tenant, d, next_version(tenant, d), &body, hash);
		buf_add_str(&body, "}\n");
		round.at[d] = begin_op(tenant, d, false, hash);
	}
	if (by_import)
		send_by_import(tenant, &round, str_make(body.data, body.len));
	else
		send_one_by_one(tenant, &round, str_make(body.data, body.len));
	for (int d = 0; d < IMPORTED; d++) {
		if (round.at[d] != NO_VERSION)
			op_accepted(tenant, d, round.at[d], round.jobs[d]);
		if (last_is_ingest(tenant, d) && chance(actor, 100) < 20)
			send_delete(tenant, d);
	}
	for (int d = 0; d < IMPORTED && !atomic_load(&world.failed); d++)
		if (round.at[d] != NO_VERSION && wait_for_job(tenant, round.jobs[d]))
			op_done(tenant, d, round.at[d]);
}

/* Sent once or twice under one key: one job. */
static int
send_document(struct actor *actor, int document, char job[JOB_ID_BYTES])
{
	AUTO(buf) struct buf body = BUF_INIT(16384);
	char hash[SHA256_HEX_BYTES], key[96];
	int tenant = actor->tenant, version = next_version(tenant, document), at;
	int times = chance(actor, 5) == 0 ? 2 : 1;

	buf_add_char(&body, '{');
	write_members(tenant, document, version, &body, hash);
	buf_add_char(&body, '}');
	/* the two tenants use the same keys on purpose */
	(void)snprintf(key, sizeof(key), "Idempotency-Key: d-%d-%d", document, version);
	at = begin_op(tenant, document, false, hash);
	for (int i = 0; at != NO_VERSION && i < times; i++) {
		struct answer answer = { 0 };

		if (ask_as(tenant, "POST", COLLECTION "/documents", body.data, key, &answer) != 202)
			broken("POST documents: %d %s", answer.status, answer.reply.body.data);
		(void)str_copy(job, JOB_ID_BYTES, answer_str(&answer, "id"));
		answer_release(&answer);
	}
	if (at != NO_VERSION)
		op_accepted(tenant, document, at, job);
	return at;
}

static void
single_step(struct actor *actor)
{
	int document = IMPORTED + (int)chance(actor, DOCUMENTS - IMPORTED);
	int tenant = actor->tenant, at = NO_VERSION;
	int versions = 1 + (int)chance(actor, 2); /* a second one may overtake the first */
	char job[JOB_ID_BYTES];

	if (last_is_ingest(tenant, document) && chance(actor, 100) < 30) {
		send_delete(tenant, document);
		return;
	}
	for (int i = 0; i < versions && !atomic_load(&world.failed); i++)
		at = send_document(actor, document, job);
	if (at != NO_VERSION && chance(actor, 100) < 60 && wait_for_job(tenant, job))
		op_done(tenant, document, at);
}

/* At the end everything has taken effect. */
static void
wait_for_all(int tenant, int first, int last)
{
	for (int d = first; d < last && !atomic_load(&world.failed); d++) {
		int count = next_version(tenant, d);
		char job[JOB_ID_BYTES];

		if (count == 0)
			continue;
		pthread_mutex_lock(&world.lock);
		bool done = world.ops[tenant][d][count - 1].done != 0;
		(void)str_copy(job, sizeof(job), str_of(world.ops[tenant][d][count - 1].job));
		pthread_mutex_unlock(&world.lock);
		if (!done && wait_for_job(tenant, job))
			op_done(tenant, d, count - 1);
	}
}

static bool
goes_on(void)
{
	return !atomic_load(&world.failed) && clock_mono_ms() < world.write_until_mono_ms;
}

static void *
write_things(void *user)
{
	struct actor *actor = user;

	if (actor->imports) {
		for (int i = 0; i < IMPORTS && goes_on(); i++)
			import_round(actor, has_import() && i % 3 != 2);
		wait_for_all(actor->tenant, 0, IMPORTED);
	} else {
		for (int i = 0; i < SINGLES && goes_on(); i++)
			single_step(actor);
		wait_for_all(actor->tenant, IMPORTED, DOCUMENTS);
	}
	atomic_fetch_sub(&world.writers, 1);
	return NULL;
}

/* ---- readers ---- */

enum narrowing {
	FILTER_NONE_AT_ALL,
	FILTER_HALF,
	FILTER_RARE,
	FILTER_NOT_HALF,
	FILTER_DOCUMENT,
	FILTER_COUNT
};

static void
write_filter(enum narrowing filter, int document, struct buf *out)
{
	switch (filter) {
	case FILTER_HALF:
		buf_add_str(out, ",\"filter\":{\"half\":true}");
		break;
	case FILTER_RARE:
		buf_add_str(out, ",\"filter\":{\"rare\":true}");
		break;
	case FILTER_NOT_HALF:
		buf_add_str(out, ",\"filter\":{\"$not\":{\"half\":true}}");
		break;
	case FILTER_DOCUMENT:
		buf_printf(out, ",\"filter\":{\"document_id\":\"d-%d\"}", document);
		break;
	case FILTER_NONE_AT_ALL:
	case FILTER_COUNT:
		break;
	}
}

static bool
satisfies(enum narrowing filter, int wanted, int document, int version)
{
	switch (filter) {
	case FILTER_HALF:
		return is_half(document, version);
	case FILTER_RARE:
		return is_rare(document, version);
	case FILTER_NOT_HALF:
		return !is_half(document, version);
	case FILTER_DOCUMENT:
		return document == wanted;
	case FILTER_NONE_AT_ALL:
	case FILTER_COUNT:
		break;
	}
	return true;
}

struct question {
	int tenant;
	const char *mode;
	enum narrowing filter;
	int document; /* of FILTER_DOCUMENT */
	char text[128];
	uint64_t before, after;
	int found[DOCUMENTS]; /* version of each document found, NO_VERSION = not found */
	bool answered;
};

/* One chunk of an answer: whose, of what, and only once in one version. */
static void
check_chunk(struct question *question, struct str id, struct str text)
{
	int tenant = -1, document = -1, version = -1;
	char own_id[32];

	if (!read_marks(text, &tenant, &document, &version)) {
		broken("a chunk names no version, or several: " STR_FMT, STR_ARG(text));
		return;
	}
	(void)snprintf(own_id, sizeof(own_id), "d-%d", document);
	if (tenant != question->tenant || document >= DOCUMENTS || !str_eq_c(id, own_id)) {
		broken("tenant %d got, as " STR_FMT ": " STR_FMT, question->tenant, STR_ARG(id),
		       STR_ARG(text));
		return;
	}
	if (!satisfies(question->filter, question->document, document, version))
		broken("version %d of d-%d does not satisfy filter %d (%s)", version, document,
		       (int)question->filter, question->mode);
	if (question->found[document] != NO_VERSION && question->found[document] != version)
		broken("d-%d is there in versions %d and %d at once (%s)", document,
		       question->found[document], version, question->mode);
	if (question->found[document] == NO_VERSION)
		check_seen(tenant, document, version, question->before, question->after,
			   question->mode);
	question->found[document] = version;
}

static void
ask_question(struct question *question, int top_k)
{
	AUTO(buf) struct buf body = BUF_INIT(4096);
	struct answer answer = { 0 };

	for (int d = 0; d < DOCUMENTS; d++)
		question->found[d] = NO_VERSION;
	buf_printf(&body, "{\"query\":\"%s\",\"generate\":false,\"top_k\":%d,\"mode\":\"%s\"",
		   question->text, top_k, question->mode);
	write_filter(question->filter, question->document, &body);
	buf_add_char(&body, '}');
	question->before = tick();
	ask_as(question->tenant, "POST", COLLECTION "/query", body.data, "Prefer: wait=20",
	       &answer);
	question->after = tick();
	question->answered = answer.status == 200;
	if (answer.status != 200 && answer.status != 202)
		broken("query %s: %d %s", body.data, answer.status, answer.reply.body.data);
	if (answer.status == 200) {
		const struct js *results = answer_get(&answer, "results");

		for (size_t i = 0; js_at(results, i) && !atomic_load(&world.failed); i++)
			check_chunk(question, js_str(js_get(js_at(results, i), "document_id")),
				    js_str(js_get(js_at(results, i), "text")));
	}
	answer_release(&answer);
	atomic_fetch_add(&world.checks, 1);
}

static const char *const modes[] = { "hybrid", "dense", "lexical" };

static void
read_by_query(struct actor *actor)
{
	struct question question = { .tenant = actor->tenant,
				     .mode = modes[chance(actor, 3)],
				     .filter = (enum narrowing)chance(actor, FILTER_COUNT),
				     .document = (int)chance(actor, DOCUMENTS) };

	(void)snprintf(question.text, sizeof(question.text), "harvest of %s",
		       chance(actor, 2) ? "barley" : "clover");
	ask_question(&question, 1 + (int)chance(actor, 60));
}

/* A question that names a version which stands: it must be found. */
static void
read_by_name(struct actor *actor)
{
	int document = (int)chance(actor, DOCUMENTS);
	uint64_t now = tick();
	int version = must_see(actor->tenant, document, now, now);
	struct question question = { .tenant = actor->tenant,
				     .mode = chance(actor, 2) ? "lexical" : "hybrid",
				     .filter = chance(actor, 2) ? FILTER_NONE_AT_ALL
								: FILTER_DOCUMENT,
				     .document = document };

	if (version == NO_VERSION)
		return;
	(void)snprintf(question.text, sizeof(question.text), "mk%dx%dx%dx", actor->tenant, document,
		       version);
	ask_question(&question, 20);
	if (question.answered &&
	    must_see(actor->tenant, document, question.before, question.after) == version &&
	    question.found[document] != version)
		broken("version %d of d-%d of tenant %d stands and was not found (%s)", version,
		       document, actor->tenant, question.mode);
}

static void
read_document(struct actor *actor)
{
	int tenant = actor->tenant, document = (int)chance(actor, DOCUMENTS), must, version;
	struct answer answer = { 0 };
	uint64_t before, after;
	char path[160];

	(void)snprintf(path, sizeof(path), COLLECTION "/documents/d-%d", document);
	before = tick();
	ask_as(tenant, "GET", path, NULL, NULL, &answer);
	after = tick();
	must = must_see(tenant, document, before, after);
	if (answer.status == 200) {
		version = version_of_hash(tenant, document, answer_str(&answer, "content_hash"));
		check_seen(tenant, document, version, before, after, "GET");
		if (must != NO_VERSION && version != must)
			broken("GET d-%d: version %d, not %d", document, version, must);
	} else if (answer.status != 404 || must != NO_VERSION) {
		broken("GET d-%d of tenant %d: %d, version %d must be there", document, tenant,
		       answer.status, must);
	}
	answer_release(&answer);
	atomic_fetch_add(&world.checks, 1);
}

struct listing {
	int tenant;
	uint64_t before;
	int found[DOCUMENTS];
};

/* One page; *token goes on, "" = the end. */
static void
read_page(struct listing *listing, char token[1200])
{
	struct answer answer = { 0 };
	uint64_t before, after;
	char path[1400];

	(void)snprintf(path, sizeof(path), COLLECTION "/documents?page_size=17%s%s",
		       token[0] ? "&page_token=" : "", token);
	before = tick();
	ask_as(listing->tenant, "GET", path, NULL, NULL, &answer);
	after = tick();
	if (answer.status != 200)
		broken("list: %d %s", answer.status, answer.reply.body.data);
	for (size_t i = 0; answer_get(&answer, "data") && js_at(answer_get(&answer, "data"), i);
	     i++) {
		const struct js *row = js_at(answer_get(&answer, "data"), i);
		struct str id = js_str(js_get(row, "id"));
		int64_t document = -1;
		int version;

		if (!str_starts(id, "d-") ||
		    !str_to_i64(str_sub(id, 2, id.len), 0, DOCUMENTS - 1, &document)) {
			broken("a list holds " STR_FMT, STR_ARG(id));
			break;
		}
		version = version_of_hash(listing->tenant, (int)document,
					  js_str(js_get(row, "content_hash")));
		check_seen(listing->tenant, (int)document, version, before, after, "list");
		if (listing->found[document] != NO_VERSION)
			broken("a list holds d-%d twice", (int)document);
		listing->found[document] = version;
	}
	if (!str_copy(token, 1200, answer_str(&answer, "next_page_token")))
		broken("a page token is too long");
	answer_release(&answer);
}

static void
read_list(int tenant, struct listing *listing)
{
	char token[1200] = "";
	uint64_t after;

	*listing = (struct listing){ .tenant = tenant, .before = tick() };
	for (int d = 0; d < DOCUMENTS; d++)
		listing->found[d] = NO_VERSION;
	do
		read_page(listing, token);
	while (token[0] && !atomic_load(&world.failed));
	after = tick();
	for (int d = 0; d < DOCUMENTS; d++)
		if (must_see(tenant, d, listing->before, after) != NO_VERSION &&
		    listing->found[d] == NO_VERSION)
			broken("d-%d of tenant %d stands and is not in the list", d, tenant);
	atomic_fetch_add(&world.checks, 1);
}

/* The job of some operation of the other tenant, "" = none yet. */
static void
foreign_job(struct actor *actor, char out[JOB_ID_BYTES])
{
	int document = (int)chance(actor, DOCUMENTS), other = 1 - actor->tenant;

	pthread_mutex_lock(&world.lock);
	int count = world.count[other][document];
	(void)str_copy(out, JOB_ID_BYTES,
		       count ? str_of(world.ops[other][document][count - 1].job) : STR(""));
	pthread_mutex_unlock(&world.lock);
}

/* What is the other's is not there, by name or in a list. */
static void
read_foreign(struct actor *actor)
{
	static const char *const verbs[][2] = { { "GET", "" },
						{ "GET", "/result" },
						{ "POST", ":cancel" },
						{ "POST", ":retry" },
						{ "DELETE", "" } };
	size_t verb = chance(actor, ARRAY_SIZE(verbs));
	char id[JOB_ID_BYTES], path[160];
	struct answer answer = { 0 };

	foreign_job(actor, id);
	if (!id[0])
		return;
	(void)snprintf(path, sizeof(path), V1 "/jobs/%s%s", id, verbs[verb][1]);
	if (ask_as(actor->tenant, verbs[verb][0], path, NULL, "Prefer: wait=1", &answer) != 404)
		broken("%s %s of the other tenant: %d %s", verbs[verb][0], path, answer.status,
		       answer.reply.body.data);
	answer_release(&answer);
	if (ask_as(actor->tenant, "GET", V1 "/jobs?page_size=200", NULL, NULL, &answer) != 200)
		broken("GET jobs: %d", answer.status);
	if (answer.reply.body.len && strstr(answer.reply.body.data, id))
		broken("the list of jobs of tenant %d holds %s", actor->tenant, id);
	answer_release(&answer);
	atomic_fetch_add(&world.checks, 1);
}

static void *
read_things(void *user)
{
	struct actor *actor = user;
	struct listing listing;

	while (!atomic_load(&world.stop)) {
		switch (chance(actor, 8)) {
		case 0:
			read_list(actor->tenant, &listing);
			break;
		case 1:
			read_foreign(actor);
			break;
		case 2:
			read_by_name(actor);
			break;
		case 3:
		case 4:
			read_document(actor);
			break;
		default:
			read_by_query(actor);
		}
	}
	return NULL;
}

/* ---- the end ---- */

/* The state after all operations: the version that is left, NO_VERSION = none. */
static int
final_version(int tenant, int document)
{
	int count = world.count[tenant][document];

	return count && !world.ops[tenant][document][count - 1].is_delete ? count - 1 : NO_VERSION;
}

static void
check_end(int tenant)
{
	struct answer answer = { 0 };
	struct listing listing;
	int left = 0;

	read_list(tenant, &listing);
	for (int d = 0; d < DOCUMENTS; d++) {
		if (listing.found[d] != final_version(tenant, d))
			broken("in the end d-%d of tenant %d is version %d, not %d", d, tenant,
			       listing.found[d], final_version(tenant, d));
		left += final_version(tenant, d) != NO_VERSION;
	}
	ask_as(tenant, "GET", COLLECTION, NULL, NULL, &answer);
	if (answer_int(&answer, "documents") != left)
		broken("in the end tenant %d has %lld documents, not %d", tenant,
		       (long long)answer_int(&answer, "documents"), left);
	answer_release(&answer);
	/* every word query finds all that satisfies its filter, and nothing else */
	for (int filter = 0; filter < FILTER_DOCUMENT; filter++) {
		struct question question = { .tenant = tenant,
					     .mode = "lexical",
					     .filter = (enum narrowing)filter,
					     .text = "harvest" };

		if (filter == FILTER_NONE_AT_ALL)
			continue; /* more chunks than a query gives */
		ask_question(&question, 200);
		for (int d = 0; d < DOCUMENTS && question.answered; d++) {
			int version = final_version(tenant, d);
			bool wanted =
				version != NO_VERSION && satisfies(question.filter, 0, d, version);

			if ((question.found[d] != NO_VERSION) != wanted)
				broken("in the end filter %d of tenant %d: d-%d is %s", filter,
				       tenant, d, wanted ? "missing" : "there");
		}
	}
}

/* The collection of one tenant goes, with all that the store holds of it; the other's of the same name stays. */
static void
check_deleted_collection(int tenant)
{
	struct answer answer = { 0 };
	char job[JOB_ID_BYTES];

	if (ask_as(tenant, "DELETE", COLLECTION, NULL, NULL, &answer) != 202)
		broken("DELETE " COLLECTION ": %d %s", answer.status, answer.reply.body.data);
	(void)str_copy(job, sizeof(job), answer_str(&answer, "id"));
	answer_release(&answer);
	(void)wait_for_job(tenant, job);
	if (ask_as(tenant, "GET", COLLECTION, NULL, NULL, &answer) != 404)
		broken("tenant %d still has its collection: %d", tenant, answer.status);
	answer_release(&answer);
	check_end(1 - tenant);
}

/* ---- the stack ---- */

struct stack {
	struct redis_server *redis;
	struct api_server *api;
	struct process *worker;
	char folder[FOLDER_BYTES], redis_url[300], data_dir[100];
};

static int
start_stack(void **state)
{
	static struct stack s;
	char path[FOLDER_BYTES + 16], keys[FOLDER_BYTES + 48];

	*state = &s;
	MUST(http_client_global_init(e));
	folder_make(s.folder);
	(void)snprintf(path, sizeof(path), "%s/keys", s.folder);
	(void)snprintf(keys, sizeof(keys), "API_KEYS_FILE=%s", path);
	keys_write(path,
		   (const struct test_key[]){ { "ann", "key-0", "tenant=north" },
					      { "ann", "key-1", "tenant=south" },
					      { 0 } },
		   "");
	s.redis = redis_server_start(NULL);
	(void)snprintf(s.redis_url, sizeof(s.redis_url), "REDIS_URL=%s", redis_server_url(s.redis));
	(void)snprintf(s.data_dir, sizeof(s.data_dir), "DATA_DIR=%s", s.folder);
	s.api = api_server_start(redis_server_url(s.redis),
				 (const char *const[]){ keys, "API_THREADS=64", NULL });
	s.worker = process_start((const char *const[]){ "rag-worker", NULL },
				 (const char *const[]){
					 s.redis_url, s.data_dir, "METRICS_LISTEN=127.0.0.1:0",
					 "CHUNK_SIZE=300", "CHUNK_OVERLAP=0", NULL });
	world.port = s.api->port;
	for (int t = 0; t < TENANTS; t++) {
		struct answer answer = { 0 };

		assert_int_equal(ask_as(t, "POST", V1 "/collections", "{\"name\":\"shared\"}", NULL,
					&answer),
				 201);
		answer_release(&answer);
	}
	return 0;
}

static int
stop_stack(void **state)
{
	struct stack *s = *state;

	process_signal(s->worker, SIGTERM);
	assert_int_equal(process_wait(s->worker), 0);
	process_stop(s->worker);
	assert_int_equal(api_server_stop(s->api), 0);
	/* and the invariants of queue, catalog and store hold */
	struct process *verify =
		process_start((const char *const[]){ "rag-cron", "verify", NULL },
			      (const char *const[]){ s->redis_url, s->data_dir, NULL });
	int code = process_wait(verify);
	if (code != 0)
		print_error("%s", process_log(verify));
	process_stop(verify);
	redis_server_stop(s->redis);
	folder_remove(s->folder);
	return code;
}

static void
test_everything_at_once(void **state)
{
	(void)state;
	pthread_t writers[2 * TENANTS], readers[READERS * TENANTS];
	struct actor actors[ARRAY_SIZE(writers) + ARRAY_SIZE(readers)];
	const char *given = getenv("RAG_TEST_SEED");

	world.seed = id_random_u64() >> 1;
	if (given)
		assert_true(str_to_u64(str_of(given), &world.seed));
	world.write_until_mono_ms = clock_mono_ms() + WRITE_FOR_MS;
	atomic_store(&world.writers, (int)ARRAY_SIZE(writers));
	for (size_t i = 0; i < ARRAY_SIZE(actors); i++)
		actors[i] = (struct actor){ .tenant = (int)i % TENANTS,
					    .random = world.seed + i * UINT64_C(1000003),
					    .imports = i < TENANTS };
	for (size_t i = 0; i < ARRAY_SIZE(writers); i++)
		assert_int_equal(pthread_create(&writers[i], NULL, write_things, &actors[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_things,
						&actors[ARRAY_SIZE(writers) + i]),
				 0);
	for (size_t i = 0; i < ARRAY_SIZE(writers); i++)
		pthread_join(writers[i], NULL);
	atomic_store(&world.stop, true);
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
		pthread_join(readers[i], NULL);
	for (int t = 0; t < TENANTS && !atomic_load(&world.failed); t++)
		check_end(t);
	if (!atomic_load(&world.failed))
		check_deleted_collection(0);
	print_message("%d looks, %d versions seen, seed %" PRIu64 "\n", atomic_load(&world.checks),
		      atomic_load(&world.seen), world.seed);
	if (atomic_load(&world.failed))
		fail_msg("RAG_TEST_SEED=%" PRIu64 ": %s", world.seed, world.why);
	assert_true(atomic_load(&world.seen) > 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything_at_once),
	};
	return cmocka_run_group_tests(tests, start_stack, stop_stack);
}
