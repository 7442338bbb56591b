/*
 * Collections by name: creating, finding, listing and deleting them. (Documents: catalog.c.)
 *
 * Full names (of tenant and collection) are in one hash, `collections`: name -> uid. A collection's own keys have another hash tag, so no
 * script may touch both; what a crash leaves between two steps must be found again. That is what the notes in
 * the same hash are for (no name begins with '-'):
 *	-<uid> = new	a creation was begun; its record may exist, its name does not lead to it yet
 *	-<uid> = drop	a collection without a name, whose keys and chunks are to be removed
 *
 * Create: note new; write the record (nobody can find it); collection_bind gives the name and takes the note in one
 * step, and refuses when the name is taken or the note is gone. A crash before the last step leaves the note.
 * Delete: collection_unbind takes the name and leaves the note drop in one step; then the record becomes `deleted`
 * (readers see nothing, commits are GONE). A crash between leaves a collection that nobody can find by name; cleanup,
 * led by the note, marks and purges it.
 * Purge: documents and reservations in steps of 100, the record last, then the note.
 * A note `new` older than an hour (by the uid's own time) is a creation that died: cleanup turns it into drop, and
 * a creator that wakes up after that is refused by collection_bind.
 */
#include "common/catalog.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/keys.h"

#define NEW_MAX_AGE_MS (INT64_C(60) * 60 * 1000)
#define PURGE_BATCH 100

extern const char embed_collection_note_lua[], embed_collection_new_lua[],
	embed_collection_bind_lua[], embed_collection_unbind_lua[], embed_collection_delete_lua[],
	embed_collection_describe_lua[], embed_collection_purge_lua[];

static const struct redis_script script_note = { "collection_note", embed_collection_note_lua };
static const struct redis_script script_new = { "collection_new", embed_collection_new_lua };
static const struct redis_script script_bind = { "collection_bind", embed_collection_bind_lua };
static const struct redis_script script_unbind = { "collection_unbind",
						   embed_collection_unbind_lua };
static const struct redis_script script_delete = { "collection_delete",
						   embed_collection_delete_lua };
static const struct redis_script script_describe = { "collection_describe",
						     embed_collection_describe_lua };
static const struct redis_script script_purge = { "collection_purge", embed_collection_purge_lua };

static bool
run(struct redis *redis, struct redis_cmd *cmd, const struct redis_script *script,
    struct reply **out_reply, struct err *err)
{
	if (redis_run_script(redis, cmd, script, out_reply, err))
		return true;
	return err_wrap(err, "catalog %s", script->name);
}

static bool
run_i64(struct redis *redis, struct redis_cmd *cmd, const struct redis_script *script, int64_t *out,
	struct err *err)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;

	if (!run(redis, cmd, script, &reply, err))
		return false;
	return reply_i64(reply, out) || reply_bad(script->name, err);
}

static bool
write_note(struct redis *redis, struct str uid, const char *note, struct err *err)
{
	struct key names = key_collections();
	struct redis_cmd cmd;

	redis_script_init(&cmd, &script_note, 1);
	redis_arg_c(&cmd, names.text);
	redis_arg(&cmd, uid);
	redis_arg_c(&cmd, note);
	return run(redis, &cmd, &script_note, NULL, err);
}

struct catalog_name
catalog_full_name(struct str tenant, struct str name)
{
	struct catalog_name full;
	int len = tenant_is_default(tenant)
			  ? snprintf(full.text, sizeof(full.text), STR_FMT, STR_ARG(name))
			  : snprintf(full.text, sizeof(full.text), STR_FMT "/" STR_FMT,
				     STR_ARG(tenant), STR_ARG(name));

	assert(len > 0 && (size_t)len < sizeof(full.text)); /* both were checked */
	return full;
}

/* A full name's parts. */
static void
split_name(struct str full, struct str *out_tenant, struct str *out_name)
{
	size_t at;

	*out_tenant = STR(TENANT_DEFAULT);
	*out_name = full;
	if (str_find(full, STR("/"), &at)) {
		*out_tenant = str_sub(full, 0, at);
		*out_name = str_sub(full, at + 1, full.len);
	}
}

static struct str
bare(struct str full)
{
	struct str tenant, name;

	split_name(full, &tenant, &name);
	return name;
}

static bool
full_name_valid(struct str full, struct err *err)
{
	struct str tenant, name;

	split_name(full, &tenant, &name);
	return tenant_valid(tenant, err) && catalog_name_valid(name, err);
}

static bool
no_such(struct str full, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "there is no collection '" STR_FMT "'",
		       STR_ARG(bare(full)));
}

static bool
exists_already(struct str full, struct err *err)
{
	return err_set(err, ERR_ALREADY_EXISTS, "there is a collection '" STR_FMT "' already",
		       STR_ARG(bare(full)));
}

/* ---- reading ---- */

static bool
field_text(const struct reply *fields, const char *name, char *out, size_t out_bytes)
{
	struct str text;

	return reply_str(reply_get(fields, name), &text) && str_copy(out, out_bytes, text);
}

/* *out_live false: deleted, or there is no record. */
static bool
collection_read(const struct reply *fields, struct collection *out, bool *out_live, struct err *err)
{
	struct collection col = { .epoch = 0 };
	struct str state, full, tenant, name;
	const struct {
		const char *name;
		int64_t *value;
	} ints[] = { { "epoch", &col.epoch },	     { "documents", &col.documents },
		     { "chunks", &col.chunks },	     { "bytes", &col.bytes },
		     { "created", &col.created_ms }, { "updated", &col.updated_ms } };

	*out_live = reply_str(reply_get(fields, "state"), &state) && str_eq_c(state, "live");
	if (!*out_live)
		return true;
	if (!reply_str(reply_get(fields, "name"), &full))
		return reply_bad("HGETALL", err);
	split_name(full, &tenant, &name);
	if (!str_copy(col.name, sizeof(col.name), name) ||
	    !str_copy(col.tenant, sizeof(col.tenant), tenant) ||
	    !field_text(fields, "uid", col.uid, sizeof(col.uid)) ||
	    !field_text(fields, "fingerprint", col.fingerprint, sizeof(col.fingerprint)) ||
	    !field_text(fields, "description", col.description, sizeof(col.description)))
		return reply_bad("HGETALL", err);
	for (size_t i = 0; i < ARRAY_SIZE(ints); i++) {
		if (!reply_i64(reply_get(fields, ints[i].name), ints[i].value))
			return reply_bad("HGETALL", err);
	}
	*out = col;
	return true;
}

static bool
get_live(struct redis *redis, struct str uid, struct collection *out, bool *out_live,
	 struct err *err)
{
	struct key meta = key_catalog(uid, CK_META);
	AUTO_PTR(reply_free) struct reply *reply = NULL;

	if (!REDIS_CALL(redis, &reply, err, "HGETALL", meta.text))
		return err_wrap(err, "catalog get");
	return collection_read(reply, out, out_live, err);
}

bool
catalog_get_uid(struct redis *redis, struct str uid, struct collection *out, struct err *err)
{
	bool live;

	if (!get_live(redis, uid, out, &live, err))
		return false;
	return live || err_set(err, ERR_GONE, "the collection was deleted");
}

/* out_uid "" = the name is free. */
static bool
find(struct redis *redis, struct str name, char out_uid[ID_ULID_BYTES], struct err *err)
{
	struct key names = key_collections();
	struct redis_cmd cmd;
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct str uid = STR("");

	redis_cmd_init(&cmd, "HGET");
	redis_arg_c(&cmd, names.text);
	redis_arg(&cmd, name);
	if (!redis_run(redis, &cmd, &reply, err))
		return err_wrap(err, "catalog get");
	if (!reply_is_nil(reply) && !reply_str(reply, &uid))
		return reply_bad("HGET", err);
	return str_copy(out_uid, ID_ULID_BYTES, uid) || reply_bad("HGET", err);
}

bool
catalog_get(struct redis *redis, struct str name, struct collection *out, struct err *err)
{
	/* Twice: somebody else may create `default` between our look and our creation. */
	for (int attempt = 0; attempt < 2; attempt++) {
		char uid[ID_ULID_BYTES] = "";
		bool live = false;

		if (!find(redis, name, uid, err) ||
		    (uid[0] != '\0' && !get_live(redis, str_of(uid), out, &live, err)))
			return false;
		if (live)
			return true;
		if (!str_eq_c(bare(name), "default"))
			break;
		if (catalog_create(redis, name, STR(""), out, err))
			return true;
		if (err->code != ERR_ALREADY_EXISTS)
			return false;
	}
	return no_such(name, err);
}

/* ---- creating ---- */

static bool
write_record(struct redis *redis, struct str name, const char *uid, struct str description,
	     struct err *err)
{
	struct key meta = key_catalog(str_of(uid), CK_META);
	struct redis_cmd cmd;

	redis_script_init(&cmd, &script_new, 1);
	redis_arg_c(&cmd, meta.text);
	redis_arg(&cmd, name);
	redis_arg_c(&cmd, uid);
	redis_arg(&cmd, description);
	return run(redis, &cmd, &script_new, NULL, err);
}

static bool
bind_name(struct redis *redis, struct str name, const char *uid, const char *lost_owner,
	  struct err *err)
{
	struct key names = key_collections();
	struct redis_cmd cmd;
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct str status;

	redis_script_init(&cmd, &script_bind, 1);
	redis_arg_c(&cmd, names.text);
	redis_arg(&cmd, name);
	redis_arg_c(&cmd, uid);
	redis_arg_c(&cmd, lost_owner);
	if (!run(redis, &cmd, &script_bind, &reply, err))
		return false;
	if (!reply_str(reply, &status))
		return reply_bad("collection_bind", err);
	if (str_eq_c(status, "OK"))
		return true;
	if (str_eq_c(status, "EXISTS"))
		return exists_already(name, err);
	return err_set(err, ERR_TIMEOUT, "could not create the collection: it took too long");
}

/*
 * Removes what a refused creation has left. Only when Redis has said no: after a lost reply the name may lead to
 * the record already. Then, and when this fails too, the note stays for cleanup.
 */
static void
undo_create(struct redis *redis, const char *uid, const struct err *why)
{
	struct err ignored = ERR_INIT;
	bool more;

	if (why->code == ERR_ALREADY_EXISTS || why->code == ERR_REDIS_FULL)
		(void)(catalog_delete(redis, STR(""), str_of(uid), &ignored) &&
		       catalog_purge(redis, str_of(uid), &more, &ignored));
}

bool
catalog_create(struct redis *redis, struct str name, struct str description, struct collection *out,
	       struct err *err)
{
	char owner[ID_ULID_BYTES] = "", uid[ID_ULID_BYTES] = "";
	struct collection existing;
	bool live = false;

	if (!full_name_valid(name, err))
		return false;
	if (description.len >= sizeof(existing.description))
		return err_set(err, ERR_INVALID,
			       "a description has at most %zu bytes, this one has %zu",
			       sizeof(existing.description) - 1, description.len);
	if (!find(redis, name, owner, err) ||
	    (owner[0] != '\0' && !get_live(redis, str_of(owner), &existing, &live, err)))
		return false;
	if (live)
		return exists_already(name, err);
	id_ulid(uid);
	if (!write_note(redis, str_of(uid), "new", err))
		return false;
	/* A name whose record is lost (a damaged restore) may be taken over: owner is compared in the script. */
	if (!write_record(redis, name, uid, description, err) ||
	    !bind_name(redis, name, uid, owner, err)) {
		undo_create(redis, uid, err);
		return false;
	}
	return catalog_get_uid(redis, str_of(uid), out, err);
}

bool
catalog_set_description(struct redis *redis, struct str name, struct str description,
			struct collection *out, struct err *err)
{
	struct collection col;
	struct redis_cmd cmd;
	int64_t done;

	if (description.len >= sizeof(col.description))
		return err_set(err, ERR_INVALID,
			       "a description has at most %zu bytes, this one has %zu",
			       sizeof(col.description) - 1, description.len);
	if (!catalog_get(redis, name, &col, err))
		return false;
	struct key meta = key_catalog(str_of(col.uid), CK_META);

	redis_script_init(&cmd, &script_describe, 1);
	redis_arg_c(&cmd, meta.text);
	redis_arg(&cmd, description);
	if (!run_i64(redis, &cmd, &script_describe, &done, err))
		return false;
	if (done != 1)
		return no_such(name, err);
	return catalog_get_uid(redis, str_of(col.uid), out, err);
}

/* ---- listing ---- */

static int
by_name(const void *a, const void *b)
{
	const struct collection *left = a, *right = b;
	int order = strcmp(left->tenant, right->tenant);

	return order ? order : strcmp(left->name, right->name);
}

static bool
is_of(struct str full, const char *tenant)
{
	struct str owner, name;

	split_name(full, &owner, &name);
	return !tenant || str_eq_c(owner, tenant);
}

/* Appends the records behind the [name, uid, ...] of `names`; notes, lost records and those of other tenants are left
 * out. */
static bool
list_read(struct redis *redis, const char *tenant, const struct reply *names,
	  struct collection *cols, size_t *count, struct err *err)
{
	for (size_t i = 0; i + 1 < reply_len(names); i += 2) {
		struct str name, uid;
		bool live;

		if (!reply_str(reply_at(names, i), &name) ||
		    !reply_str(reply_at(names, i + 1), &uid))
			return reply_bad("HGETALL", err);
		if (str_starts(name, "-") || !is_of(name, tenant))
			continue;
		if (!get_live(redis, uid, &cols[*count], &live, err))
			return false;
		if (live)
			(*count)++;
	}
	return true;
}

bool
catalog_list(struct redis *redis, const char *tenant, struct arena *arena, struct collection **out,
	     size_t *out_count, struct err *err)
{
	struct catalog_name own = catalog_full_name(str_of(tenant), STR("default"));
	struct key key = key_collections();
	AUTO_PTR(reply_free) struct reply *names = NULL;
	struct collection standard, *cols;
	struct err local = ERR_INIT;
	size_t count = 0;

	/* A full Redis cannot make `default`; what is there can still be listed. */
	if (!catalog_get(redis, str_of(own.text), &standard, &local) &&
	    local.code != ERR_REDIS_FULL) {
		*err = local;
		return false;
	}
	if (!REDIS_CALL(redis, &names, err, "HGETALL", key.text))
		return err_wrap(err, "catalog list");
	cols = arena_array(arena, reply_len(names) / 2 + 1, sizeof(*cols));
	if (!cols)
		return err_set(err, ERR_TOO_LARGE, "cannot list %zu collections",
			       reply_len(names) / 2);
	if (!list_read(redis, tenant, names, cols, &count, err))
		return false;
	qsort(cols, count, sizeof(*cols), by_name);
	*out = cols;
	*out_count = count;
	return true;
}

/* ---- deleting ---- */

bool
catalog_delete(struct redis *redis, struct str name, struct str uid, struct err *err)
{
	struct key names = key_collections();
	struct key meta = key_catalog(uid, CK_META), cur = key_catalog(uid, CK_CUR);
	struct redis_cmd cmd;

	redis_script_init(&cmd, &script_unbind, 1);
	redis_arg_c(&cmd, names.text);
	redis_arg(&cmd, name);
	redis_arg(&cmd, uid);
	if (!run(redis, &cmd, &script_unbind, NULL, err))
		return false;
	redis_script_init(&cmd, &script_delete, 2);
	redis_arg_c(&cmd, meta.text);
	redis_arg_c(&cmd, cur.text);
	return run(redis, &cmd, &script_delete, NULL, err);
}

/* What one purge step removes: document ids from docs and from reservations, and the reservations' jobs. */
struct purge_batch {
	struct reply *ids;  /* owned: ZRANGE */
	struct reply *held; /* owned: HRANDFIELD: [job, reservation, ...] */
	struct key *keys;   /* arena */
	struct str *documents, *jobs;
	size_t document_count, job_count;
};

static void
purge_batch_release(struct purge_batch *batch)
{
	reply_free(batch->ids);
	reply_free(batch->held);
}

static void
purge_collect(struct purge_batch *batch)
{
	const struct reply *pairs = batch->held;

	for (size_t i = 0; i < reply_len(batch->ids) && batch->document_count < PURGE_BATCH / 2;
	     i++) {
		if (reply_str(reply_at(batch->ids, i), &batch->documents[batch->document_count]))
			batch->document_count++;
	}
	for (size_t i = 0; i + 1 < reply_len(pairs) && batch->document_count < PURGE_BATCH;
	     i += 2) {
		struct str job, rest, piece;

		if (!reply_str(reply_at(pairs, i), &job) ||
		    !reply_str(reply_at(pairs, i + 1), &rest))
			continue;
		batch->jobs[batch->job_count++] = job;
		if (str_split(&rest, ' ', &piece) && str_split(&rest, ' ', &piece) && rest.len > 0)
			batch->documents[batch->document_count++] = rest;
	}
}

static bool
purge_load(struct redis *redis, struct str uid, struct arena *arena, struct purge_batch *batch,
	   struct err *err)
{
	struct key docs = key_catalog(uid, CK_DOCS), seqs = key_catalog(uid, CK_SEQS);

	batch->keys = arena_array(arena, PURGE_BATCH, sizeof(*batch->keys));
	batch->documents = arena_array(arena, PURGE_BATCH, sizeof(*batch->documents));
	batch->jobs = arena_array(arena, PURGE_BATCH, sizeof(*batch->jobs));
	if (!batch->keys || !batch->documents || !batch->jobs)
		return err_set(err, ERR_TOO_LARGE, "cannot hold a purge step");
	if (!REDIS_CALL(redis, &batch->ids, err, "ZRANGE", docs.text, "0", "49") ||
	    !REDIS_CALL(redis, &batch->held, err, "HRANDFIELD", seqs.text, "50", "WITHVALUES"))
		return err_wrap(err, "catalog purge");
	purge_collect(batch);
	for (size_t i = 0; i < batch->document_count; i++)
		batch->keys[i] = key_document(uid, batch->documents[i]);
	return true;
}

static bool
purge_step(struct redis *redis, struct str uid, struct arena *arena, int64_t *out_state,
	   struct err *err)
{
	struct key meta = key_catalog(uid, CK_META), cur = key_catalog(uid, CK_CUR);
	struct key docs = key_catalog(uid, CK_DOCS), seqs = key_catalog(uid, CK_SEQS);
	AUTO(purge_batch) struct purge_batch batch = { .ids = NULL };
	struct redis_cmd cmd;

	if (!purge_load(redis, uid, arena, &batch, err))
		return false;
	redis_script_init(&cmd, &script_purge, 4 + batch.document_count);
	redis_arg_c(&cmd, meta.text);
	redis_arg_c(&cmd, cur.text);
	redis_arg_c(&cmd, docs.text);
	redis_arg_c(&cmd, seqs.text);
	for (size_t i = 0; i < batch.document_count; i++)
		redis_arg_c(&cmd, batch.keys[i].text);
	redis_arg_i64(&cmd, (int64_t)batch.document_count);
	for (size_t i = 0; i < batch.document_count; i++)
		redis_arg(&cmd, batch.documents[i]);
	for (size_t i = 0; i < batch.job_count; i++)
		redis_arg(&cmd, batch.jobs[i]);
	return run_i64(redis, &cmd, &script_purge, out_state, err);
}

bool
catalog_purge(struct redis *redis, struct str uid, bool *out_more, struct err *err)
{
	AUTO(arena) struct arena arena = { .max_bytes = 0 };
	int64_t state;

	arena_init(&arena, 256 * (size_t)1024);
	if (!purge_step(redis, uid, &arena, &state, err))
		return false;
	if (state < 0)
		return err_set(err, ERR_CONFLICT, "cannot purge a collection that is not deleted");
	if (state == 0 && !write_note(redis, uid, "", err))
		return false;
	*out_more = state > 0;
	return true;
}

/* A note whose collection is to be removed: dropped, or a creation that died. */
static bool
is_dropped(struct str uid, struct str note)
{
	int64_t born_ms;

	if (!id_is_ulid(uid))
		return false;
	if (str_eq_c(note, "drop"))
		return true;
	return id_ulid_unix_ms(uid, &born_ms) && clock_unix_ms() - born_ms > NEW_MAX_AGE_MS;
}

bool
catalog_dropped(struct redis *redis, struct arena *arena, struct str **out_uids, size_t *out_count,
		struct err *err)
{
	struct key key = key_collections();
	AUTO_PTR(reply_free) struct reply *names = NULL;
	struct str *uids;
	size_t count = 0;

	if (!REDIS_CALL(redis, &names, err, "HGETALL", key.text))
		return err_wrap(err, "catalog dropped");
	uids = arena_array(arena, reply_len(names) / 2 + 1, sizeof(*uids));
	for (size_t i = 0; uids && i + 1 < reply_len(names); i += 2) {
		struct str name, note;

		if (!reply_str(reply_at(names, i), &name) ||
		    !reply_str(reply_at(names, i + 1), &note) || !str_starts(name, "-") ||
		    !is_dropped(str_sub(name, 1, name.len), note))
			continue;
		const char *copy = arena_strndup(arena, name.ptr + 1, name.len - 1);

		if (!copy)
			uids = NULL;
		else
			uids[count++] = str_of(copy);
	}
	if (!uids)
		return err_set(err, ERR_TOO_LARGE, "cannot hold the list of dropped collections");
	*out_uids = uids;
	*out_count = count;
	return true;
}
