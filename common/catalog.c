/*
 * The truth about documents, and why it holds. (Collections by name: catalog_collections.c.)
 *
 * The problem. A document is hundreds of rows in a store that has no transaction in common with Redis.
 * Versions of it are made by workers that run side by side, are killed, freeze and wake up, and send the
 * same message twice because a reply was lost. Readers search meanwhile. They must see one whole version
 * of each document, the newest one that was accepted and finished, and never a deleted one.
 *
 * The idea. A worker writes its rows under a generation nobody looks at, and one script flips the document to
 * it. Order is decided when a request is accepted (seq), not when work ends.
 *
 * What is kept, all under the tag {c:<uid>} so that one script may touch it:
 *	meta		state live|deleted, name, fingerprint, epoch, seq, documents, chunks, bytes, times
 *	cur		document id -> "<seq>.<job epoch>:<collection epoch of the commit>", visible ones only
 *	docs		the same ids in byte order, for listings
 *	seqs		job id -> "<seq> <kind> <document id>", its reservation. Kind i: ingest; D, d: a delete that
 *			found, did not find a document
 *	doc:<id>	the record of one document:
 *		g gen, q seq of the visible version (above g's own after a touch), n chunks, b bytes, h and v
 *		content and version hash (32 raw bytes), y type, t t1.. title, u u1.. uri, c m times,
 *		o generation replaced by g as long as the job that did it holds its reservation
 *		x tombstone (never beside g), r reservations held for this document
 *		p j newest accepted seq in flight and its job: this is where "pending" lives. A document with
 *		p and no g is in flight for the first time: it is in neither cur nor docs, readers see nothing
 *
 * Invariants (1-6 of the header), in detail
 *  a. id in cur <=> id in docs <=> doc has g, and cur's generation is g. meta's counters are the count of cur
 *     and the sums of n and b. The scripts that change one of them change all.
 *  b. doc:<id> exists <=> it has g or r > 0; r is the number of reservations in seqs that name it. So every
 *     key of a collection can be found from docs and seqs, and nothing needs a scan of the keyspace.
 *  c. q never falls while the record lives. commit wants seq > q, or seq = q from a job epoch that is not
 *     older than the visible one's (a second worker of the same job).
 *  d. What raises q (commit, touch) wants the job's reservation. It is given back when the job's outcome stands, so
 *     a worker that lost its job long ago finds the door shut even when all memory of its document is gone. A job
 *     that is started again after it gave its reservation back (the settle was lost) finds its own seq at q:
 *     touch says unchanged.
 *  e. A tombstone x hides what was accepted before it: delete removes g at once, commit refuses seq <= x. (A visible
 *     document has none: commit needs seq > x and writes the record anew.) It is forgotten when nothing is left that it could stop: with the last reservation of the document (release),
 *     or when a newer version is committed, whose q then stops the same jobs. So tombstones are never more
 *     than the jobs in flight or dead, and no sweep is needed.
 *  f. The collection's epoch rises with every commit and every delete of something visible, and not with
 *     a touch, which changes nothing that a reader could see.
 *
 * The life of a document
 *	(nothing) --accept--> p --commit--> g --accept--> g,p --commit--> g' --delete--> x --release--> (nothing)
 *	accept, delete_doc, commit, touch, release are scripts of these names; nothing else changes a document.
 *
 * Two versions: v1 and v2 are accepted as seq 1 and 2. v2 commits first: q = 2, v1's commit finds 1 < 2 and
 * ends superseded. v1 first: it is visible until v2 replaces it.
 * Unchanged v3 beside a different v2 in flight, v1 visible: touch finds v1's content, sets q = 3 and keeps g =
 * 1.x. v2 then finds 2 < 3. The newest accepted has won though it wrote nothing. v1's rows stay under gen 1.x:
 * who sweeps "everything below 3" must keep the current generation.
 * One job, two workers (the first froze past its lease): generations s.1 and s.2. Either may be visible
 * for a time, both are whole; s.1 never replaces s.2.
 * Repeating after a lost reply: accept and delete answer from the reservation; commit sees g = its own and
 * answers COMMITTED with the generation it replaced (o); touch sees q = seq.
 *
 * The reader's rule. With e read before the search, a generation whose commit epoch is <= e was whole before the
 * search began, and was not swept before a later commit. If the current one is newer than e, the search may have
 * seen it half written, or its predecessor half swept: search again (catalog_visible). Dropping hits of
 * other generations does the rest. A search can still miss a document altogether when its store scans without a
 * snapshot while the document is replaced; it cannot see a part of one.
 *
 * Garbage in the store: a generation that is not current and whose seq no reservation holds can never become
 * current (d). Whoever removes it must look at the reservation first and at cur second: in the other order a
 * commit and a release may pass between the two looks.
 *
 * Memory: title and uri are cut into pieces of 64 bytes, because one value above hash-max-listpack-value turns
 * the record into a hash table of several times the size. 622 bytes a document on Redis 7.0 (424 the record, 198 its
 * places in cur and docs) with an id of 21, a title of 36 and a uri of 88 bytes; tests/it/test_catalog.c prints it.
 *
 * Rejected
 *  - A pointer flip by "last finished wins": a slow old version overwrites a new one.
 *  - Tombstones with an age: too short is wrong, too long is a leak. Reservations tell exactly.
 *  - Transactions of the store: Chroma has none, and readers would still need Redis for the deletes.
 */
#include "common/catalog.h"

#include <assert.h>
#include <string.h>

#include "common/keys.h"

#define HASH_HEX_LEN 64
#define HASH_LEN 32
#define PIECE_BYTES ((size_t)64) /* hash-max-listpack-value */
#define TEXT_PIECES 8		 /* of a title or uri: 512 bytes */
#define CURRENT_BATCH 500
#define PAGE 100

extern const char embed_accept_lua[], embed_delete_doc_lua[], embed_commit_lua[], embed_touch_lua[],
	embed_release_lua[];

static const struct redis_script script_accept = { "accept", embed_accept_lua };
static const struct redis_script script_delete_doc = { "delete_doc", embed_delete_doc_lua };
static const struct redis_script script_commit = { "commit", embed_commit_lua };
static const struct redis_script script_touch = { "touch", embed_touch_lua };
static const struct redis_script script_release = { "release", embed_release_lua };

/* The field names of the pieces of title and uri. */
static const char *const title_names[TEXT_PIECES] = {
	"t", "t1", "t2", "t3", "t4", "t5", "t6", "t7"
};
static const char *const uri_names[TEXT_PIECES] = { "u", "u1", "u2", "u3", "u4", "u5", "u6", "u7" };

/* ---- names and generations ---- */

static bool
is_name_char(char c, bool first)
{
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
		return true;
	return !first && (c == '_' || c == '-');
}

bool
catalog_name_valid(struct str name, struct err *err)
{
	bool ok = name.len >= 1 && name.len <= CATALOG_NAME_MAX;

	for (size_t i = 0; ok && i < name.len; i++)
		ok = is_name_char(name.ptr[i], i == 0);
	if (ok)
		return true;
	return err_set(err, ERR_INVALID,
		       "a collection's name has 1 to %d characters of a-z, 0-9, '_' and '-', and "
		       "begins with a letter or digit",
		       CATALOG_NAME_MAX);
}

bool
catalog_doc_id_valid(struct str id, struct err *err)
{
	if (id.len == 0 || id.len > CATALOG_DOC_ID_MAX_BYTES)
		return err_set(err, ERR_INVALID,
			       "a document's id has 1 to %d bytes, this one has %zu",
			       CATALOG_DOC_ID_MAX_BYTES, id.len);
	if (!str_utf8_valid(id, NULL))
		return err_set(err, ERR_INVALID, "a document's id must be valid UTF-8");
	for (size_t at = 0; at < id.len;) {
		uint32_t cp = 0;

		at += str_utf8_next(id, at, &cp);
		if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
			return err_set(err, ERR_INVALID,
				       "a document's id must not hold control characters");
	}
	return true;
}

void
catalog_gen_format(char out[CATALOG_GEN_BYTES], int64_t seq, int64_t epoch)
{
	int len = snprintf(out, CATALOG_GEN_BYTES, "%lld.%lld", (long long)seq, (long long)epoch);

	assert(len > 0 && len < CATALOG_GEN_BYTES);
}

bool
catalog_gen_parse(struct str gen, int64_t *out_seq, int64_t *out_epoch)
{
	struct str rest = gen, seq_text;
	int64_t seq, epoch;

	if (!str_split(&rest, '.', &seq_text) || !str_to_i64(seq_text, 0, INT64_MAX, &seq) ||
	    !str_to_i64(rest, 0, INT64_MAX, &epoch))
		return false;
	*out_seq = seq;
	*out_epoch = epoch;
	return true;
}

/* ---- calling scripts ---- */

static bool
run(struct redis *redis, struct redis_cmd *cmd, const struct redis_script *script,
    struct reply **out_reply, struct err *err)
{
	if (redis_run_script(redis, cmd, script, out_reply, err))
		return true;
	return err_wrap(err, "catalog %s", script->name);
}

static bool
mismatch(const char *what, struct str theirs, struct str ours, struct err *err)
{
	return err_set(err, ERR_EMBEDDER_MISMATCH,
		       "cannot %s: the collection's vectors are of embedder '" STR_FMT
		       "', these are of '" STR_FMT "'",
		       what, STR_ARG(theirs), STR_ARG(ours));
}

static bool
gone(struct err *err)
{
	return err_set(err, ERR_GONE, "the collection was deleted");
}

/* The status words that every writer's script has in common; the rest is the caller's. */
static bool
check_status(struct str status, const char *script, struct err *err)
{
	if (str_eq_c(status, "GONE"))
		return gone(err);
	if (str_eq_c(status, "CLASH"))
		return err_set(err, ERR_CONFLICT,
			       "this job id holds a reservation for something else");
	if (str_eq_c(status, "OK"))
		return true;
	return reply_bad(script, err);
}

/* Keys are copied into the caller's array, because a redis_cmd borrows. */
struct doc_keys {
	struct key meta, cur, docs, seqs, doc;
};

static void
doc_keys_make(struct doc_keys *keys, struct str uid, struct str document_id)
{
	keys->meta = key_catalog(uid, CK_META);
	keys->cur = key_catalog(uid, CK_CUR);
	keys->docs = key_catalog(uid, CK_DOCS);
	keys->seqs = key_catalog(uid, CK_SEQS);
	keys->doc = key_document(uid, document_id);
}

bool
catalog_accept(struct redis *redis, struct str uid, struct str document_id, struct str job_id,
	       int64_t *out_seq, struct err *err)
{
	struct doc_keys keys;
	struct redis_cmd cmd;
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct str status;
	int64_t seq;

	doc_keys_make(&keys, uid, document_id);
	redis_script_init(&cmd, &script_accept, 3);
	redis_arg_c(&cmd, keys.meta.text);
	redis_arg_c(&cmd, keys.seqs.text);
	redis_arg_c(&cmd, keys.doc.text);
	redis_arg(&cmd, document_id);
	redis_arg(&cmd, job_id);
	if (!run(redis, &cmd, &script_accept, &reply, err))
		return false;
	if (!reply_str(reply_at(reply, 0), &status) || !reply_i64(reply_at(reply, 1), &seq))
		return reply_bad("accept", err);
	if (!check_status(status, "accept", err))
		return false;
	*out_seq = seq;
	return true;
}

bool
catalog_delete_document(struct redis *redis, struct str uid, struct str document_id,
			struct str job_id, int64_t *out_seq, bool *out_existed, struct err *err)
{
	struct doc_keys keys;
	struct redis_cmd cmd;
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct str status;
	int64_t seq, existed;

	doc_keys_make(&keys, uid, document_id);
	redis_script_init(&cmd, &script_delete_doc, 5);
	redis_arg_c(&cmd, keys.meta.text);
	redis_arg_c(&cmd, keys.cur.text);
	redis_arg_c(&cmd, keys.docs.text);
	redis_arg_c(&cmd, keys.seqs.text);
	redis_arg_c(&cmd, keys.doc.text);
	redis_arg(&cmd, document_id);
	redis_arg(&cmd, job_id);
	if (!run(redis, &cmd, &script_delete_doc, &reply, err))
		return false;
	if (!reply_str(reply_at(reply, 0), &status) || !reply_i64(reply_at(reply, 1), &seq) ||
	    !reply_i64(reply_at(reply, 2), &existed))
		return reply_bad("delete_doc", err);
	if (!check_status(status, "delete_doc", err))
		return false;
	*out_seq = seq;
	*out_existed = existed == 1;
	return true;
}

/* ---- commit ---- */

struct raw_hash {
	char bytes[HASH_LEN];
	size_t len; /* 0 or HASH_LEN */
};

static bool
raw_hash_make(struct str hex, const char *what, struct raw_hash *out, struct err *err)
{
	out->len = hex.len == 0 ? 0 : HASH_LEN;
	if (hex.len == 0 || str_unhex(hex, out->bytes, HASH_LEN))
		return true;
	return err_set(err, ERR_INVALID, "cannot commit: %s is not %d hexadecimal digits", what,
		       HASH_HEX_LEN);
}

static struct str
raw_hash_str(const struct raw_hash *hash)
{
	return str_make(hash->bytes, hash->len);
}

static void
arg_pieces(struct redis_cmd *cmd, const char *const names[TEXT_PIECES], struct str text)
{
	struct str rest = str_sub(text, 0, str_utf8_floor(text, PIECE_BYTES * TEXT_PIECES));

	for (size_t i = 0; i < TEXT_PIECES && rest.len > 0; i++) {
		redis_arg_c(cmd, names[i]);
		redis_arg(cmd, str_sub(rest, 0, PIECE_BYTES));
		rest = str_sub(rest, PIECE_BYTES, rest.len);
	}
}

static void
commit_args(struct redis_cmd *cmd, const struct catalog_commit *commit, const struct doc_keys *keys)
{
	redis_arg_c(cmd, keys->meta.text);
	redis_arg_c(cmd, keys->cur.text);
	redis_arg_c(cmd, keys->docs.text);
	redis_arg_c(cmd, keys->seqs.text);
	redis_arg_c(cmd, keys->doc.text);
	redis_arg(cmd, commit->document_id);
	redis_arg(cmd, commit->job_id);
	redis_arg_i64(cmd, commit->seq);
	redis_arg_i64(cmd, commit->epoch);
	redis_arg(cmd, commit->fingerprint);
	redis_arg_i64(cmd, commit->chunks);
	redis_arg_i64(cmd, commit->bytes);
}

static bool
commit_reply(const struct catalog_commit *commit, const struct reply *reply,
	     enum catalog_commit_result *out_result, char out_old_gen[CATALOG_GEN_BYTES],
	     struct err *err)
{
	struct str status, text;

	if (!reply_str(reply_at(reply, 0), &status) || !reply_str(reply_at(reply, 1), &text))
		return reply_bad("commit", err);
	if (str_eq_c(status, "MISMATCH"))
		return mismatch("commit", text, commit->fingerprint, err);
	if (str_eq_c(status, "SUPERSEDED")) {
		*out_result = CATALOG_SUPERSEDED;
		out_old_gen[0] = '\0';
		return true;
	}
	if (!str_eq_c(status, "COMMITTED"))
		return check_status(status, "commit", err) && reply_bad("commit", err);
	if (text.len >= CATALOG_GEN_BYTES)
		return reply_bad("commit", err);
	*out_result = CATALOG_COMMITTED;
	(void)str_copy(out_old_gen, CATALOG_GEN_BYTES, text);
	return true;
}

static bool
commit_check(const struct catalog_commit *commit, struct err *err)
{
	if (commit->chunks <= 0)
		return err_set(err, ERR_INVALID, "cannot commit a document without chunks");
	if (commit->seq <= 0 || commit->epoch < 0 || commit->bytes < 0)
		return err_set(err, ERR_INVALID,
			       "cannot commit: seq, epoch or bytes make no sense");
	return true;
}

bool
catalog_commit(struct redis *redis, const struct catalog_commit *commit,
	       enum catalog_commit_result *out_result, char out_old_gen[CATALOG_GEN_BYTES],
	       struct err *err)
{
	struct raw_hash content, version;
	struct doc_keys keys;
	struct redis_cmd cmd;
	AUTO_PTR(reply_free) struct reply *reply = NULL;

	if (!commit_check(commit, err) ||
	    !raw_hash_make(commit->content_hash, "content_hash", &content, err) ||
	    !raw_hash_make(commit->version_hash, "version_hash", &version, err))
		return false;
	doc_keys_make(&keys, commit->uid, commit->document_id);
	redis_script_init(&cmd, &script_commit, 5);
	commit_args(&cmd, commit, &keys);
	redis_arg_c(&cmd, "h");
	redis_arg(&cmd, raw_hash_str(&content));
	redis_arg_c(&cmd, "v");
	redis_arg(&cmd, raw_hash_str(&version));
	redis_arg_c(&cmd, "y");
	redis_arg(&cmd, str_sub(commit->content_type, 0,
				str_utf8_floor(commit->content_type, PIECE_BYTES)));
	arg_pieces(&cmd, title_names, commit->title);
	arg_pieces(&cmd, uri_names, commit->uri);
	return run(redis, &cmd, &script_commit, &reply, err) &&
	       commit_reply(commit, reply, out_result, out_old_gen, err);
}

bool
catalog_touch(struct redis *redis, const struct catalog_touch *touch, bool *out_unchanged,
	      struct err *err)
{
	struct raw_hash version;
	struct doc_keys keys;
	struct redis_cmd cmd;
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct str status;

	if (!raw_hash_make(touch->version_hash, "version_hash", &version, err))
		return false;
	if (version.len == 0) { /* unknown content is never unchanged */
		*out_unchanged = false;
		return true;
	}
	doc_keys_make(&keys, touch->uid, touch->document_id);
	redis_script_init(&cmd, &script_touch, 3);
	redis_arg_c(&cmd, keys.meta.text);
	redis_arg_c(&cmd, keys.seqs.text);
	redis_arg_c(&cmd, keys.doc.text);
	redis_arg(&cmd, touch->document_id);
	redis_arg(&cmd, touch->job_id);
	redis_arg_i64(&cmd, touch->seq);
	redis_arg(&cmd, raw_hash_str(&version));
	redis_arg(&cmd, touch->fingerprint);
	if (!run(redis, &cmd, &script_touch, &reply, err))
		return false;
	if (!reply_str(reply, &status))
		return reply_bad("touch", err);
	if (str_eq_c(status, "GONE"))
		return gone(err);
	if (str_starts(status, "MISMATCH "))
		return mismatch("ingest", str_sub(status, strlen("MISMATCH "), status.len),
				touch->fingerprint, err);
	*out_unchanged = str_eq_c(status, "UNCHANGED");
	return *out_unchanged || str_eq_c(status, "CHANGED") || reply_bad("touch", err);
}

/* "<seq> <kind> <document id>" */
static bool
reservation_document(struct str reservation, struct str *out_id)
{
	struct str rest = reservation, seq, kind;

	if (!str_split(&rest, ' ', &seq) || !str_split(&rest, ' ', &kind) || rest.len == 0)
		return false;
	*out_id = rest;
	return true;
}

bool
catalog_release(struct redis *redis, struct str uid, struct str job_id, struct err *err)
{
	struct key seqs = key_catalog(uid, CK_SEQS), doc;
	struct redis_cmd cmd;
	AUTO_PTR(reply_free) struct reply *held = NULL;
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct str reservation, document_id;

	redis_cmd_init(&cmd, "HGET");
	redis_arg_c(&cmd, seqs.text);
	redis_arg(&cmd, job_id);
	if (!redis_run(redis, &cmd, &held, err))
		return err_wrap(err, "catalog release");
	if (reply_is_nil(held))
		return true;
	if (!reply_str(held, &reservation) || !reservation_document(reservation, &document_id))
		return reply_bad("release", err);
	doc = key_document(uid, document_id);
	redis_script_init(&cmd, &script_release, 2);
	redis_arg_c(&cmd, seqs.text);
	redis_arg_c(&cmd, doc.text);
	redis_arg(&cmd, job_id);
	redis_arg(&cmd, reservation);
	return run(redis, &cmd, &script_release, &reply, err);
}

/* ---- readers ---- */

/* ERR_GONE unless the collection lives. */
static bool
check_live(struct redis *redis, struct str uid, int64_t *out_epoch, struct err *err)
{
	struct key meta = key_catalog(uid, CK_META);
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct str state;

	if (!REDIS_CALL(redis, &reply, err, "HMGET", meta.text, "state", "epoch"))
		return err_wrap(err, "catalog epoch");
	if (reply_len(reply) != 2)
		return reply_bad("HMGET", err);
	if (!reply_str(reply_at(reply, 0), &state) || !str_eq_c(state, "live"))
		return gone(err);
	if (!reply_i64(reply_at(reply, 1), out_epoch))
		return reply_bad("HMGET", err);
	return true;
}

bool
catalog_epoch(struct redis *redis, struct str uid, int64_t *out_epoch, struct err *err)
{
	return check_live(redis, uid, out_epoch, err);
}

/* "<seq>.<job epoch>:<commit epoch>" */
static bool
current_parse(const struct reply *value, struct catalog_current *out)
{
	struct str rest, gen;

	*out = (struct catalog_current){ .commit_epoch = 0 };
	if (reply_is_nil(value))
		return true;
	return reply_str(value, &rest) && str_split(&rest, ':', &gen) &&
	       str_copy(out->gen, sizeof(out->gen), gen) &&
	       str_to_i64(rest, 0, INT64_MAX, &out->commit_epoch);
}

bool
catalog_current(struct redis *redis, struct str uid, const struct str *document_ids, size_t count,
		struct catalog_current *out, struct err *err)
{
	struct key cur = key_catalog(uid, CK_CUR);

	for (size_t from = 0; from < count; from += CURRENT_BATCH) {
		size_t n = count - from < CURRENT_BATCH ? count - from : CURRENT_BATCH;
		struct redis_cmd cmd;
		AUTO_PTR(reply_free) struct reply *reply = NULL;

		redis_cmd_init(&cmd, "HMGET");
		redis_arg_c(&cmd, cur.text);
		for (size_t i = 0; i < n; i++)
			redis_arg(&cmd, document_ids[from + i]);
		if (!redis_run(redis, &cmd, &reply, err))
			return err_wrap(err, "catalog current");
		if (reply_len(reply) != n)
			return reply_bad("HMGET", err);
		for (size_t i = 0; i < n; i++) {
			if (!current_parse(reply_at(reply, i), &out[from + i]))
				return reply_bad("HMGET", err);
		}
	}
	return true;
}

enum catalog_verdict
catalog_visible(const struct catalog_current *current, struct str hit_gen, int64_t epoch_before)
{
	if (current->gen[0] == '\0')
		return CATALOG_HIDDEN;
	if (current->commit_epoch > epoch_before)
		return CATALOG_SEARCH_AGAIN;
	return str_eq_c(hit_gen, current->gen) ? CATALOG_VISIBLE : CATALOG_HIDDEN;
}

/* ---- records ---- */

static struct str
arena_str(struct arena *arena, struct str text, bool *ok)
{
	char *copy = arena_strndup(arena, text.ptr, text.len);

	*ok = *ok && copy;
	return copy ? str_make(copy, text.len) : STR("");
}

static struct str
text_field(const struct reply *fields, const char *name, struct arena *arena, bool *ok)
{
	struct str text;

	return reply_str(reply_get(fields, name), &text) ? arena_str(arena, text, ok) : STR("");
}

static struct str
hash_field(const struct reply *fields, const char *name, struct arena *arena, bool *ok)
{
	char hex[HASH_HEX_LEN + 1];
	struct str raw;

	if (!reply_str(reply_get(fields, name), &raw) || raw.len != HASH_LEN)
		return STR("");
	str_hex(hex, raw.ptr, raw.len);
	return arena_str(arena, str_of(hex), ok);
}

static struct str
joined_field(const struct reply *fields, const char *const names[TEXT_PIECES], struct arena *arena,
	     bool *ok)
{
	char text[PIECE_BYTES * TEXT_PIECES];
	size_t len = 0;

	for (size_t i = 0; i < TEXT_PIECES; i++) {
		struct str piece;

		if (!reply_str(reply_get(fields, names[i]), &piece) ||
		    piece.len > sizeof(text) - len)
			break;
		memcpy(text + len, piece.ptr, piece.len);
		len += piece.len;
	}
	return arena_str(arena, str_make(text, len), ok);
}

static int64_t
int_field(const struct reply *fields, const char *name)
{
	int64_t value;

	return reply_i64(reply_get(fields, name), &value) ? value : 0;
}

static bool
document_read(const struct reply *fields, struct str id, struct arena *arena, struct document *out,
	      struct err *err)
{
	int64_t pending = int_field(fields, "p"), tombstone = int_field(fields, "x");
	struct document doc = { .seq = int_field(fields, "q") };
	struct str gen;
	bool ok = true;

	if (reply_str(reply_get(fields, "g"), &gen) && !str_copy(doc.gen, sizeof(doc.gen), gen))
		return reply_bad("HGETALL", err);
	doc.id = arena_str(arena, id, &ok);
	doc.title = joined_field(fields, title_names, arena, &ok);
	doc.uri = joined_field(fields, uri_names, arena, &ok);
	doc.content_type = text_field(fields, "y", arena, &ok);
	doc.content_hash = hash_field(fields, "h", arena, &ok);
	doc.version_hash = hash_field(fields, "v", arena, &ok);
	doc.pending_job = text_field(fields, "j", arena, &ok);
	doc.deleted = doc.gen[0] == '\0' && tombstone > 0;
	if (doc.deleted)
		doc.seq = tombstone;
	doc.pending_seq = pending > doc.seq ? pending : doc.seq;
	doc.bytes = int_field(fields, "b");
	doc.chunks = int_field(fields, "n");
	doc.created_ms = int_field(fields, "c");
	doc.updated_ms = int_field(fields, "m");
	if (!ok)
		return err_set(err, ERR_TOO_LARGE,
			       "cannot hold documents: more than %zu bytes of working memory",
			       arena->max_bytes);
	*out = doc;
	return true;
}

bool
catalog_peek(struct redis *redis, struct str uid, struct str document_id, struct arena *arena,
	     struct document *out, struct err *err)
{
	struct key key = key_document(uid, document_id);
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	int64_t epoch;

	if (!check_live(redis, uid, &epoch, err))
		return false;
	if (!REDIS_CALL(redis, &reply, err, "HGETALL", key.text))
		return err_wrap(err, "catalog document");
	return document_read(reply, document_id, arena, out, err);
}

bool
catalog_document(struct redis *redis, struct str uid, struct str document_id, struct arena *arena,
		 struct document *out, struct err *err)
{
	struct document doc;

	if (!catalog_peek(redis, uid, document_id, arena, &doc, err))
		return false;
	if (doc.gen[0] == '\0')
		return err_set(err, ERR_NOT_FOUND, "there is no such document");
	*out = doc;
	return true;
}

/* ---- listing ---- */

static bool
page_ids(struct redis *redis, struct str uid, struct str after, size_t limit,
	 struct reply **out_ids, struct err *err)
{
	struct key docs = key_catalog(uid, CK_DOCS);
	char start[CATALOG_DOC_ID_MAX_BYTES + 1] = "(";
	struct str from = str_sub(after, 0, CATALOG_DOC_ID_MAX_BYTES);
	struct redis_cmd cmd;

	if (from.len > 0)
		memcpy(start + 1, from.ptr, from.len);
	redis_cmd_init(&cmd, "ZRANGEBYLEX");
	redis_arg_c(&cmd, docs.text);
	redis_arg(&cmd, from.len > 0 ? str_make(start, from.len + 1) : STR("-"));
	redis_arg_c(&cmd, "+");
	redis_arg_c(&cmd, "LIMIT");
	redis_arg_i64(&cmd, 0);
	redis_arg_i64(&cmd, (int64_t)limit);
	return redis_run(redis, &cmd, out_ids, err);
}

static bool
page_append(struct redis *redis, struct str uid, const struct reply *ids, struct err *err)
{
	for (size_t i = 0; i < reply_len(ids); i++) {
		struct str id;
		struct redis_cmd cmd;

		if (!reply_str(reply_at(ids, i), &id))
			return reply_bad("ZRANGEBYLEX", err);
		struct key key = key_document(uid, id);

		redis_cmd_init(&cmd, "HGETALL");
		redis_arg_c(&cmd, key.text);
		if (!redis_append(redis, &cmd, err))
			return false;
	}
	return true;
}

/* Appends the records of these ids to docs; one that was deleted since is left out. */
static bool
page_read(struct redis *redis, struct str uid, const struct reply *ids, struct arena *arena,
	  struct document *docs, size_t *count, struct err *err)
{
	if (!page_append(redis, uid, ids, err))
		return false;
	for (size_t i = 0; i < reply_len(ids); i++) {
		AUTO_PTR(reply_free) struct reply *fields = NULL;
		struct str id;

		if (!redis_next(redis, &fields, err))
			return false;
		if (!reply_str(reply_at(ids, i), &id) ||
		    !document_read(fields, id, arena, &docs[*count], err))
			return false;
		if (docs[*count].gen[0] != '\0')
			(*count)++;
	}
	return true;
}

bool
catalog_documents(struct redis *redis, struct str uid, struct str after, struct arena *arena,
		  struct document **out, size_t *io_count, struct err *err)
{
	struct document *docs;
	size_t count = 0, limit = *io_count;
	int64_t epoch;
	char last[CATALOG_DOC_ID_MAX_BYTES + 1];

	if (!check_live(redis, uid, &epoch, err))
		return false;
	docs = arena_array(arena, limit > 0 ? limit : 1, sizeof(*docs));
	if (!docs)
		return err_set(err, ERR_TOO_LARGE, "cannot list %zu documents at once", limit);
	(void)str_copy(last, sizeof(last), after);
	for (bool more = limit > 0; more && count < limit;) {
		AUTO_PTR(reply_free) struct reply *ids = NULL;
		size_t want = limit - count < PAGE ? limit - count : PAGE;
		struct str id;

		if (!page_ids(redis, uid, str_of(last), want, &ids, err))
			return err_wrap(err, "catalog documents");
		if (!page_read(redis, uid, ids, arena, docs, &count, err)) {
			redis_disconnect(redis); /* replies may be left in the pipeline */
			return err_wrap(err, "catalog documents");
		}
		more = reply_len(ids) == want;
		if (more && reply_str(reply_at(ids, want - 1), &id))
			(void)str_copy(last, sizeof(last), id);
	}
	*out = docs;
	*io_count = count;
	return true;
}
