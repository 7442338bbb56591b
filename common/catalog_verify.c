/*
 * Verifying the catalog beside live work.
 *
 * A pass over one collection reads meta, the reservations (HSCAN), every document (pages of docs) and meta again. It
 * is a list of findings, each a check and a subject. Nothing is atomic over all of that, so a finding may
 * come from reading two things at two moments. When the pass was quiet its findings stand. Else it is run again, a
 * few times at most, and only what every pass found stands: a real break is still there, a race has moved on.
 *
 * Quiet: seq, epoch and the number of reservations are the same before and after. seq rises with every
 * reservation and the number falls with every release, so nothing passes unseen if meta is read outside of the
 * number: first before the pass and last after it.
 *
 * The checks
 *	collection	a name leads to a record of this name; uid and name agree
 *	document	what is listed is in cur; the record's generation is cur's; chunks > 0; no tombstone beside a
 *			generation
 *	counters	documents, chunks and bytes of meta are the sums; cur has as many as are listed. Only in a
 *			quiet pass
 *	reservation	r of a record is the number of reservations for it; leftovers older than leftover_ms
 *	orphan		a record that is neither visible nor reserved, or of no collection at all
 */
#include "common/catalog_verify.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/catalog.h"
#include "common/keys.h"
#include "common/queue.h"

#define PAGE 100
#define PASSES_MAX 6
#define CHECK_SUMS "counters"
#define FINDINGS_MAX 1000 /* of one collection; more are not worth a line each */
#define ARENA_MAX_BYTES ((size_t)1 << 30)

struct finding {
	const char *check;
	char *subject, *text; /* arena */
};

struct findings {
	struct arena arena;
	struct finding items[FINDINGS_MAX];
	size_t count;
};

struct reservation {
	struct str job, document; /* arena */
	int64_t seq;
	bool leftover;
};

/* One pass over one collection. */
struct pass {
	struct redis *redis;
	const struct catalog_verify *opts;
	struct str uid;
	struct findings *findings;
	struct catalog_verified seen; /* what this collection adds */
	struct arena arena;
	struct reservation *reservations; /* by document */
	size_t reservation_count;
	int64_t now_ms;
};

struct snapshot {
	int64_t epoch, seq, held, documents, chunks, bytes;
};

static void found(struct pass *pass, const char *check, struct str subject, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void
found(struct pass *pass, const char *check, struct str subject, const char *fmt, ...)
{
	struct findings *findings = pass->findings;
	AUTO(buf) struct buf text = BUF_INIT(1024);
	va_list args;

	if (findings->count == FINDINGS_MAX)
		return;
	va_start(args, fmt);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	char *copy = arena_strndup(&findings->arena, text.data, text.len);
	char *name = arena_strndup(&findings->arena, subject.ptr, subject.len);

	if (copy && name)
		findings->items[findings->count++] =
			(struct finding){ .check = check, .subject = name, .text = copy };
}

static struct findings *
findings_new(void)
{
	struct findings *findings = mem_alloc(sizeof(*findings));

	arena_init(&findings->arena, (size_t)4 << 20);
	return findings;
}

static void
findings_free(struct findings *findings)
{
	if (findings)
		arena_release(&findings->arena);
	mem_free(findings);
}
AUTO_PTR_DEFINE(findings_free, struct findings);

static bool
findings_has(const struct findings *findings, const struct finding *finding)
{
	for (size_t i = 0; i < findings->count; i++) {
		if (strcmp(findings->items[i].check, finding->check) == 0 &&
		    strcmp(findings->items[i].subject, finding->subject) == 0)
			return true;
	}
	return false;
}

/* ---- meta ---- */

static bool
read_meta(struct redis *redis, struct str uid, struct snapshot *out, struct err *err)
{
	struct key meta = key_catalog(uid, CK_META);
	AUTO_PTR(reply_free) struct reply *fields = NULL;
	int64_t *const values[] = { &out->epoch, &out->seq, &out->documents, &out->chunks,
				    &out->bytes };

	if (!REDIS_CALL(redis, &fields, err, "HMGET", meta.text, "epoch", "seq", "documents",
			"chunks", "bytes"))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		if (!reply_i64(reply_at(fields, i), values[i]))
			*values[i] = -1; /* not a number: no sum equals it */
	}
	return true;
}

static bool
read_held(struct redis *redis, struct str uid, struct snapshot *out, struct err *err)
{
	struct key seqs = key_catalog(uid, CK_SEQS);
	AUTO_PTR(reply_free) struct reply *held = NULL;

	if (!REDIS_CALL(redis, &held, err, "HLEN", seqs.text))
		return false;
	return reply_i64(held, &out->held) || reply_bad("HLEN", err);
}

/* ---- reservations ---- */

/* A line of a batch that has no job: it is about to be added (its place is reserved first), or it never was, or it has
 * ended. Nobody comes for it when its batch has gone, or has long been over: a partial one may be opened again. */
static bool
judge_line(struct redis *redis, struct str batch_id, int64_t now_ms, bool *out_leftover,
	   int64_t *out_since_ms, struct err *err)
{
	struct err local = ERR_INIT;
	struct job batch;

	if (queue_get(redis, batch_id, &batch, &local)) {
		*out_since_ms = batch.finished_ms;
		*out_leftover = job_status_done(batch.status) &&
				now_ms - batch.finished_ms > CATALOG_LEFTOVER_MS;
		return true;
	}
	if (local.code == ERR_NOT_FOUND)
		return true;
	*err = local;
	return false;
}

/* The job of a reservation: *out_leftover when it can never commit again; its end or birth in *out_since_ms. */
static bool
judge_job(struct redis *redis, struct str job_id, int64_t now_ms, bool *out_leftover,
	  int64_t *out_since_ms, struct err *err)
{
	struct err local = ERR_INIT;
	struct queue_ref queue;
	struct job job;

	*out_leftover = true;
	*out_since_ms = 0;
	if (!job_id_parse(job_id, &queue))
		return true; /* nobody can ever ask for it */
	if (queue_get(redis, job_id, &job, &local)) {
		*out_leftover = job_status_done(job.status) && job.status != JOB_FAILED;
		*out_since_ms = job.finished_ms;
		return true;
	}
	if (local.code != ERR_NOT_FOUND) {
		*err = local;
		return false;
	}
	struct str batch;
	int64_t line;

	if (job_id_is_child(job_id, &batch, &line))
		return judge_line(redis, batch, now_ms, out_leftover, out_since_ms, err);

	struct str ulid = str_sub(job_id, job_id.len > ID_ULID_LEN ? job_id.len - ID_ULID_LEN : 0,
				  job_id.len);

	if (id_ulid_unix_ms(ulid, out_since_ms))
		*out_leftover = now_ms - *out_since_ms > CATALOG_LEFTOVER_MS;
	return true;
}

static bool
reservation_parse(struct str value, struct reservation *out)
{
	struct str rest = value, seq, kind;

	if (!str_split(&rest, ' ', &seq) || !str_split(&rest, ' ', &kind) || rest.len == 0 ||
	    !str_to_i64(seq, 1, INT64_MAX, &out->seq))
		return false;
	out->document = rest;
	return true;
}

struct seqs_scan {
	struct redis *redis;
	struct key key;
	char cursor[32];
	bool done;
};

static void
seqs_scan_init(struct seqs_scan *scan, struct redis *redis, struct str uid)
{
	*scan = (struct seqs_scan){ .redis = redis,
				    .key = key_catalog(uid, CK_SEQS),
				    .cursor = "0" };
}

/* The next [job, reservation, ...]. */
static bool
seqs_scan_next(struct seqs_scan *scan, struct reply **out_reply, struct err *err)
{
	struct str cursor;

	if (!REDIS_CALL(scan->redis, out_reply, err, "HSCAN", scan->key.text, scan->cursor, "COUNT",
			"100"))
		return false;
	if (!reply_str(reply_at(*out_reply, 0), &cursor) ||
	    !str_copy(scan->cursor, sizeof(scan->cursor), cursor))
		return reply_bad("HSCAN", err);
	scan->done = str_eq_c(cursor, "0");
	return true;
}

static bool
too_many(struct err *err)
{
	return err_set(err, ERR_TOO_LARGE, "cannot hold all reservations of a collection");
}

static int
by_document(const void *a, const void *b)
{
	const struct reservation *left = a, *right = b;
	int order = str_cmp(left->document, right->document);

	return order ? order : str_cmp(left->job, right->job);
}

static bool
keep_reservation(struct pass *pass, struct str job, struct str value, struct err *err)
{
	struct reservation *item = &pass->reservations[pass->reservation_count];
	int64_t since_ms;

	*item = (struct reservation){ .job = job };
	if (!reservation_parse(value, item)) {
		found(pass, "reservation", job, "reservation '" STR_FMT "' of job " STR_FMT,
		      STR_ARG(value), STR_ARG(job));
		return true;
	}
	char *id = arena_strndup(&pass->arena, item->document.ptr, item->document.len);
	char *name = arena_strndup(&pass->arena, job.ptr, job.len);

	if (!id || !name)
		return too_many(err);
	item->document.ptr = id;
	item->job.ptr = name;
	if (!judge_job(pass->redis, job, pass->now_ms, &item->leftover, &since_ms, err))
		return false;
	pass->reservation_count++;
	pass->seen.leftovers += item->leftover;
	pass->seen.reservations += !item->leftover;
	if (item->leftover && pass->now_ms - since_ms > pass->opts->leftover_ms)
		found(pass, "reservation", job,
		      "job " STR_FMT " is over and still holds seq %lld of '" STR_FMT "'",
		      STR_ARG(job), (long long)item->seq, STR_ARG(item->document));
	return true;
}

static bool
load_reservations(struct pass *pass, int64_t held, struct err *err)
{
	struct seqs_scan scan;
	size_t cap = (size_t)held + 1024; /* some may be added while we read */

	pass->reservations = arena_array(&pass->arena, cap, sizeof(*pass->reservations));
	if (!pass->reservations)
		return too_many(err);
	seqs_scan_init(&scan, pass->redis, pass->uid);
	while (!scan.done && pass->reservation_count < cap) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;

		if (!seqs_scan_next(&scan, &reply, err))
			return false;
		const struct reply *pairs = reply_at(reply, 1);

		for (size_t i = 0; i + 1 < reply_len(pairs) && pass->reservation_count < cap;
		     i += 2) {
			struct str job, value;

			if (!reply_str(reply_at(pairs, i), &job) ||
			    !reply_str(reply_at(pairs, i + 1), &value))
				return reply_bad("HSCAN", err);
			if (!keep_reservation(pass, job, value, err))
				return false;
		}
	}
	qsort(pass->reservations, pass->reservation_count, sizeof(*pass->reservations),
	      by_document);
	/* HSCAN may give an element twice. */
	size_t kept = 0;

	for (size_t i = 0; i < pass->reservation_count; i++) {
		if (kept == 0 ||
		    by_document(&pass->reservations[kept - 1], &pass->reservations[i]) != 0)
			pass->reservations[kept++] = pass->reservations[i];
	}
	pass->reservation_count = kept;
	return true;
}

static int64_t
reservations_of(const struct pass *pass, struct str document)
{
	size_t low = 0, high = pass->reservation_count;
	int64_t count = 0;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (str_cmp(pass->reservations[mid].document, document) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < pass->reservation_count && str_eq(pass->reservations[low].document, document);
	     low++)
		count++;
	return count;
}

/* ---- documents ---- */

static int64_t
number(const struct reply *fields, size_t index)
{
	int64_t value;

	return reply_i64(reply_at(fields, index), &value) ? value : 0;
}

/* fields: g n b r x of the record; current: cur's value. */
static void
check_document(struct pass *pass, struct str id, const struct reply *current,
	       const struct reply *fields)
{
	struct str value = STR(""), gen = STR(""), cur_gen = STR(""), rest;
	int64_t chunks = number(fields, 1), held = number(fields, 3);
	int64_t expected = reservations_of(pass, id);

	(void)reply_str(current, &value);
	(void)reply_str(reply_at(fields, 0), &gen);
	rest = value;
	(void)str_split(&rest, ':', &cur_gen);
	if (gen.len == 0 || !str_eq(gen, cur_gen))
		found(pass, "document", id,
		      "'" STR_FMT "' is listed, its record has generation '" STR_FMT
		      "', readers see '" STR_FMT "'",
		      STR_ARG(id), STR_ARG(gen), STR_ARG(cur_gen));
	if (chunks <= 0)
		found(pass, "document", id, "'" STR_FMT "' is visible with %lld chunks",
		      STR_ARG(id), (long long)chunks);
	if (!reply_is_nil(reply_at(fields, 4)))
		found(pass, "document", id, "'" STR_FMT "' is visible and has a tombstone",
		      STR_ARG(id));
	if (held != expected)
		found(pass, "reservation", id,
		      "'" STR_FMT "' counts %lld reservations, there are %lld", STR_ARG(id),
		      (long long)held, (long long)expected);
	pass->seen.documents++;
	pass->seen.chunks += chunks;
	pass->seen.bytes += number(fields, 2);
}

static bool
append_fields(struct redis *redis, const char *key, struct err *err)
{
	struct redis_cmd cmd;

	redis_cmd_init(&cmd, "HMGET");
	redis_arg_c(&cmd, key);
	for (const char *name = "gnbrx"; *name; name++)
		redis_arg(&cmd, str_make(name, 1));
	return redis_append(redis, &cmd, err);
}

static bool
page_current(struct pass *pass, const struct reply *ids, struct reply **out, struct err *err)
{
	struct key cur = key_catalog(pass->uid, CK_CUR);
	struct redis_cmd cmd;

	redis_cmd_init(&cmd, "HMGET");
	redis_arg_c(&cmd, cur.text);
	for (size_t i = 0; i < reply_len(ids); i++) {
		struct str id;

		if (!reply_str(reply_at(ids, i), &id))
			return reply_bad("ZRANGEBYLEX", err);
		redis_arg(&cmd, id);
	}
	return redis_run(pass->redis, &cmd, out, err);
}

static bool
check_page(struct pass *pass, const struct reply *ids, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *current = NULL;
	struct str id;

	if (!page_current(pass, ids, &current, err))
		return false;
	for (size_t i = 0; i < reply_len(ids); i++) {
		if (!reply_str(reply_at(ids, i), &id))
			return reply_bad("ZRANGEBYLEX", err);
		struct key key = key_document(pass->uid, id);

		if (!append_fields(pass->redis, key.text, err))
			return false;
	}
	for (size_t i = 0; i < reply_len(ids); i++) {
		AUTO_PTR(reply_free) struct reply *fields = NULL;

		if (!redis_next(pass->redis, &fields, err) || !reply_str(reply_at(ids, i), &id))
			return false;
		check_document(pass, id, reply_at(current, i), fields);
	}
	return true;
}

static bool
check_listed(struct pass *pass, struct err *err)
{
	struct key docs = key_catalog(pass->uid, CK_DOCS);
	char from[CATALOG_DOC_ID_MAX_BYTES + 2] = "-";

	for (bool more = true; more;) {
		AUTO_PTR(reply_free) struct reply *ids = NULL;
		struct str last;

		if (!REDIS_CALL(pass->redis, &ids, err, "ZRANGEBYLEX", docs.text, from, "+",
				"LIMIT", "0", "100"))
			return false;
		more = reply_len(ids) == PAGE;
		if (reply_len(ids) == 0)
			break;
		if (!check_page(pass, ids, err)) {
			redis_disconnect(pass->redis);
			return false;
		}
		if (!reply_str(reply_at(ids, reply_len(ids) - 1), &last))
			return reply_bad("ZRANGEBYLEX", err);
		from[0] = '(';
		(void)str_copy(from + 1, sizeof(from) - 1, last);
	}
	return true;
}

/* Documents that are in flight only: their records must count their reservations. */
static bool
check_reserved(struct pass *pass, struct err *err)
{
	for (size_t i = 0; i < pass->reservation_count; i++) {
		struct str id = pass->reservations[i].document;
		struct key key = key_document(pass->uid, id);
		AUTO_PTR(reply_free) struct reply *fields = NULL;
		int64_t expected;

		if (i > 0 && str_eq(pass->reservations[i - 1].document, id))
			continue;
		if (!REDIS_CALL(pass->redis, &fields, err, "HMGET", key.text, "g", "r"))
			return false;
		expected = reservations_of(pass, id);
		if (reply_is_nil(reply_at(fields, 0)) && number(fields, 1) != expected)
			found(pass, "reservation", id,
			      "'" STR_FMT "' counts %lld reservations, there are %lld", STR_ARG(id),
			      (long long)number(fields, 1), (long long)expected);
	}
	return true;
}

static bool
check_sums(struct pass *pass, const struct snapshot *before, struct err *err)
{
	struct key cur = key_catalog(pass->uid, CK_CUR);
	AUTO_PTR(reply_free) struct reply *visible = NULL;
	const struct {
		const char *name;
		int64_t kept, summed;
	} sums[] = { { "documents", before->documents, pass->seen.documents },
		     { "chunks", before->chunks, pass->seen.chunks },
		     { "bytes", before->bytes, pass->seen.bytes } };

	for (size_t i = 0; i < ARRAY_SIZE(sums); i++) {
		if (sums[i].kept != sums[i].summed)
			found(pass, CHECK_SUMS, str_of(sums[i].name), "%s is %lld, the sum is %lld",
			      sums[i].name, (long long)sums[i].kept, (long long)sums[i].summed);
	}
	if (!REDIS_CALL(pass->redis, &visible, err, "HLEN", cur.text))
		return false;
	int64_t count = -1;

	/* All listed ones are in cur (check_document), so equal counts are equal sets. */
	if (!reply_i64(visible, &count) || count != pass->seen.documents)
		found(pass, CHECK_SUMS, STR("cur"), "readers see %lld documents, %lld are listed",
		      (long long)count, (long long)pass->seen.documents);
	return true;
}

/* ---- a collection ---- */

static void
pass_release(struct pass *pass)
{
	arena_release(&pass->arena);
}

static bool
run_pass(struct redis *redis, const struct catalog_verify *opts, struct str uid,
	 struct findings *findings, struct catalog_verified *out_seen, bool *out_quiet,
	 struct err *err)
{
	AUTO(pass)
	struct pass pass = { .redis = redis,
			     .opts = opts,
			     .uid = uid,
			     .findings = findings,
			     .now_ms = clock_unix_ms() };
	struct snapshot before = { 0 }, after = { 0 };

	arena_init(&pass.arena, ARENA_MAX_BYTES);
	if (!read_meta(redis, uid, &before, err) || !read_held(redis, uid, &before, err) ||
	    !load_reservations(&pass, before.held, err) || !check_listed(&pass, err) ||
	    !check_reserved(&pass, err) || !check_sums(&pass, &before, err) ||
	    !read_held(redis, uid, &after, err) || !read_meta(redis, uid, &after, err))
		return false;
	*out_quiet =
		before.epoch == after.epoch && before.seq == after.seq && before.held == after.held;
	*out_seen = pass.seen;
	return true;
}

static void
report(const struct catalog_verify *opts, struct str collection, const struct finding *finding,
       struct catalog_verified *out)
{
	AUTO(buf) struct buf text = BUF_INIT(2048);

	buf_printf(&text, "collection " STR_FMT ": %s", STR_ARG(collection), finding->text);
	opts->problem(opts->user, finding->check, text.data);
	out->problems++;
}

/* Keeps those of `next` that `before` has, too. Sums differ in every pass beside a steady writer: they need a quiet
 * one. */
static void
findings_cut(struct findings *next, const struct findings *before)
{
	size_t kept = 0;

	for (size_t i = 0; i < next->count; i++) {
		if (strcmp(next->items[i].check, CHECK_SUMS) != 0 &&
		    findings_has(before, &next->items[i]))
			next->items[kept++] = next->items[i];
	}
	next->count = kept;
}

static bool
verify_collection(struct redis *redis, const struct catalog_verify *opts, struct str name,
		  struct str uid, struct catalog_verified *out, struct err *err)
{
	AUTO_PTR(findings_free) struct findings *last = findings_new();
	struct catalog_verified seen;
	bool quiet, suspicious;

	if (!run_pass(redis, opts, uid, last, &seen, &quiet, err))
		return false;
	suspicious = last->count > 0;
	for (int pass = 1; suspicious && !quiet && pass < PASSES_MAX; pass++) {
		AUTO_PTR(findings_free) struct findings *next = findings_new();
		struct findings *swap = last;

		if (!run_pass(redis, opts, uid, next, &seen, &quiet, err))
			return false;
		if (!quiet)
			findings_cut(next, last);
		last = next;
		next = swap; // NOLINT(clang-analyzer-deadcode.DeadStores): freed by its AUTO_PTR
	}
	if (!quiet)
		findings_cut(last, last);
	for (size_t i = 0; i < last->count; i++)
		report(opts, name, &last->items[i], out);
	out->collections++;
	out->busy += suspicious && !quiet;
	out->documents += seen.documents;
	out->chunks += seen.chunks;
	out->bytes += seen.bytes;
	out->reservations += seen.reservations;
	out->leftovers += seen.leftovers;
	return true;
}

/* ---- names ---- */

static void
problem(const struct catalog_verify *opts, struct catalog_verified *out, const char *check,
	struct str subject, const char *what)
{
	AUTO(buf) struct buf text = BUF_INIT(2048);

	buf_printf(&text, "'" STR_FMT "' %s", STR_ARG(subject), what);
	opts->problem(opts->user, check, text.data);
	out->problems++;
}

static bool
verify_name(struct redis *redis, const struct catalog_verify *opts, struct str name, struct str uid,
	    struct catalog_verified *out, struct err *err)
{
	struct err local = ERR_INIT;
	struct collection col, again;
	struct catalog_name full;

	if (!catalog_get_uid(redis, uid, &col, &local)) {
		if (local.code != ERR_GONE && local.code != ERR_REDIS_REPLY) {
			*err = local;
			return false;
		}
		/* It may have been deleted since its name was read. */
		if (local.code == ERR_REDIS_REPLY || catalog_get(redis, name, &again, &local))
			problem(opts, out, "collection", name, "has an unreadable record");
		else if (local.code == ERR_NOT_FOUND)
			problem(opts, out, "collection", name, "leads to no record");
		return true;
	}
	full = catalog_full_name(str_of(col.tenant), str_of(col.name));
	if (!str_eq_c(name, full.text) || !str_eq_c(uid, col.uid))
		problem(opts, out, "collection", name, "leads to the record of another");
	return verify_collection(redis, opts, name, uid, out, err);
}

/* ---- orphans ---- */

/* The uid and document id of a record's key; false = not a record. */
static bool
record_key_parse(struct str key, struct str *out_uid, struct str *out_id)
{
	struct key pattern = key_document(STR("*"), STR("*"));
	struct str rest = str_of(pattern.text), before, between;
	size_t at;

	if (!str_split(&rest, '*', &before) || !str_split(&rest, '*', &between) ||
	    key.len < before.len || !str_eq(str_sub(key, 0, before.len), before))
		return false;
	key = str_sub(key, before.len, key.len);
	if (!str_find(key, between, &at))
		return false;
	*out_uid = str_sub(key, 0, at);
	*out_id = str_sub(key, at + between.len, key.len);
	return true;
}

/* Whether the record is still there is decided by its fields: scripts never leave one without any of these. */
static bool
append_record_questions(struct redis *redis, struct str key, struct str uid, struct err *err)
{
	static const char *const names[] = { "g", "r", "x", "p", "q", "n", "m" };
	struct key meta = key_catalog(uid, CK_META);
	struct redis_cmd cmd;

	/* The collection first: once gone it never comes back, so a record found after that has none. */
	redis_cmd_init(&cmd, "EXISTS");
	redis_arg_c(&cmd, meta.text);
	if (!redis_append(redis, &cmd, err))
		return false;
	redis_cmd_init(&cmd, "HMGET");
	redis_arg(&cmd, key);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		redis_arg_c(&cmd, names[i]);
	return redis_append(redis, &cmd, err);
}

/* A record needs a generation or a reservation, and a collection. */
static bool
judge_record(struct redis *redis, const struct catalog_verify *opts, struct str key,
	     struct catalog_verified *out, struct err *err)
{
	AUTO_PTR(reply_free) struct reply *known = NULL;
	AUTO_PTR(reply_free) struct reply *fields = NULL;
	int64_t exists;
	bool any = false;

	if (!redis_next(redis, &known, err) || !redis_next(redis, &fields, err))
		return false;
	if (!reply_i64(known, &exists))
		return reply_bad("EXISTS", err);
	for (size_t i = 0; i < reply_len(fields); i++)
		any = any || !reply_is_nil(reply_at(fields, i));
	if (any && !exists)
		problem(opts, out, "orphan", key, "is a record without a collection");
	else if (any && reply_is_nil(reply_at(fields, 0)) && number(fields, 1) <= 0)
		problem(opts, out, "orphan", key, "is neither visible nor in flight");
	return true;
}

static bool
judge_records(struct redis *redis, const struct catalog_verify *opts, const struct reply *keys,
	      struct catalog_verified *out, struct err *err)
{
	struct str key, uid, id;

	for (size_t i = 0; i < reply_len(keys); i++) {
		if (reply_str(reply_at(keys, i), &key) && record_key_parse(key, &uid, &id) &&
		    !append_record_questions(redis, key, uid, err))
			return false;
	}
	for (size_t i = 0; i < reply_len(keys); i++) {
		if (reply_str(reply_at(keys, i), &key) && record_key_parse(key, &uid, &id) &&
		    !judge_record(redis, opts, key, out, err))
			return false;
	}
	return true;
}

static bool
verify_orphans(struct redis *redis, const struct catalog_verify *opts, struct catalog_verified *out,
	       struct err *err)
{
	struct key pattern = key_document(STR("*"), STR("*"));
	char cursor[32] = "0";

	do {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		struct str next;

		if (!REDIS_CALL(redis, &reply, err, "SCAN", cursor, "MATCH", pattern.text, "COUNT",
				"500"))
			return false;
		if (!reply_str(reply_at(reply, 0), &next) ||
		    !str_copy(cursor, sizeof(cursor), next))
			return reply_bad("SCAN", err);
		if (!judge_records(redis, opts, reply_at(reply, 1), out, err)) {
			redis_disconnect(redis); /* replies may be left in the pipeline */
			return false;
		}
	} while (strcmp(cursor, "0") != 0);
	return true;
}

/* ---- all ---- */

bool
catalog_verify(struct redis *redis, const struct catalog_verify *opts, struct catalog_verified *out,
	       struct err *err)
{
	struct key key = key_collections();
	AUTO_PTR(reply_free) struct reply *names = NULL;
	struct catalog_verified sum = { 0 };

	if (!REDIS_CALL(redis, &names, err, "HGETALL", key.text))
		return err_wrap(err, "verify catalog");
	for (size_t i = 0; i + 1 < reply_len(names); i += 2) {
		struct str name, uid;

		if (!reply_str(reply_at(names, i), &name) ||
		    !reply_str(reply_at(names, i + 1), &uid))
			return reply_bad("HGETALL", err);
		if (str_starts(name, "-"))
			sum.dropped++;
		else if (!verify_name(redis, opts, name, uid, &sum, err))
			return err_wrap(err, "verify collection '" STR_FMT "'", STR_ARG(name));
	}
	if (!verify_orphans(redis, opts, &sum, err))
		return err_wrap(err, "verify catalog");
	*out = sum;
	return true;
}

static bool
sweep_collection(struct redis *redis, struct str uid, int64_t *released, struct err *err)
{
	struct seqs_scan scan;

	seqs_scan_init(&scan, redis, uid);
	while (!scan.done) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;

		if (!seqs_scan_next(&scan, &reply, err))
			return false;
		const struct reply *pairs = reply_at(reply, 1);

		for (size_t i = 0; i + 1 < reply_len(pairs); i += 2) {
			struct str job;
			bool leftover;
			int64_t since_ms;

			if (!reply_str(reply_at(pairs, i), &job))
				return reply_bad("HSCAN", err);
			if (!judge_job(redis, job, clock_unix_ms(), &leftover, &since_ms, err))
				return false;
			if (leftover && !catalog_release(redis, uid, job, err))
				return false;
			*released += leftover;
		}
	}
	return true;
}

bool
catalog_sweep(struct redis *redis, int64_t *out_released, struct err *err)
{
	AUTO(arena) struct arena arena = { .max_bytes = 0 };
	struct collection *cols;
	size_t count;
	int64_t released = 0;

	arena_init(&arena, (size_t)64 << 20);
	if (!catalog_list(redis, NULL, &arena, &cols, &count, err))
		return err_wrap(err, "sweep catalog");
	for (size_t i = 0; i < count; i++) {
		if (!sweep_collection(redis, str_of(cols[i].uid), &released, err))
			return err_wrap(err, "sweep collection '%s'", cols[i].name);
	}
	*out_released = released;
	return true;
}

/* ---- reserved seqs ---- */

static int
by_value(const void *a, const void *b)
{
	const int64_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

bool
catalog_reserved(struct redis *redis, struct str uid, struct arena *arena,
		 struct catalog_reserved *out, struct err *err)
{
	struct snapshot now = { 0 };
	struct seqs_scan scan;
	size_t cap;

	if (!read_held(redis, uid, &now, err))
		return err_wrap(err, "catalog reservations");
	/* Those added from here on are for generations that nobody has seen in a store yet; HSCAN may repeat. */
	cap = (size_t)now.held * 2 + 4096;
	*out = (struct catalog_reserved){ .seqs = arena_array(arena, cap, sizeof(int64_t)) };
	if (!out->seqs)
		return too_many(err);
	seqs_scan_init(&scan, redis, uid);
	while (!scan.done) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		struct reservation item;
		struct str value;

		if (!seqs_scan_next(&scan, &reply, err))
			return err_wrap(err, "catalog reservations");
		const struct reply *pairs = reply_at(reply, 1);

		for (size_t i = 1; i < reply_len(pairs); i += 2) {
			if (!reply_str(reply_at(pairs, i), &value) ||
			    !reservation_parse(value, &item))
				continue;
			if (out->count == cap)
				return too_many(err);
			out->seqs[out->count++] = item.seq;
		}
	}
	qsort(out->seqs, out->count, sizeof(int64_t), by_value);
	return true;
}

bool
catalog_reserved_has(const struct catalog_reserved *reserved, int64_t seq)
{
	return bsearch(&seq, reserved->seqs, reserved->count, sizeof(int64_t), by_value) != NULL;
}
