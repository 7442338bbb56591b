/*
 * The catalog for imports and diffs: many documents of one collection in one round trip. The rules are those of catalog.c.
 */
#include <string.h>

#include "common/base/auto.h"
#include "common/catalog.h"
#include "common/keys.h"

#define HASH_LEN 32

extern const char embed_accept_lua[];
static const struct redis_script script_accept = { "accept", embed_accept_lua };

/* ---- reserving ---- */

struct accepting {
	struct catalog_reservation *items;
	struct str uid;
	/* names live until their command is appended */
	struct key meta, seqs, doc;
};

static void
fill_accept(void *user, size_t i, struct redis_cmd *cmd)
{
	struct accepting *accepting = user;
	const struct catalog_reservation *item = &accepting->items[i];

	accepting->doc = key_document(accepting->uid, item->document_id);
	redis_script_init(cmd, &script_accept, 3);
	redis_arg_c(cmd, accepting->meta.text);
	redis_arg_c(cmd, accepting->seqs.text);
	redis_arg_c(cmd, accepting->doc.text);
	redis_arg(cmd, item->document_id);
	redis_arg(cmd, item->job_id);
}

static bool
take_accept(void *user, size_t i, const struct reply *reply, const struct err *failure,
	    struct err *err)
{
	struct catalog_reservation *item = &((struct accepting *)user)->items[i];
	struct str status;
	int64_t seq;

	item->seq = 0;
	if (failure && failure->code == ERR_REDIS_FULL)
		return true;
	if (failure) {
		*err = *failure;
		return false;
	}
	if (!reply_str(reply_at(reply, 0), &status) || !reply_i64(reply_at(reply, 1), &seq))
		return reply_bad("accept", err);
	if (str_eq_c(status, "GONE"))
		return err_set(err, ERR_GONE, "the collection was deleted");
	if (!str_eq_c(status, "OK"))
		return err_set(err, ERR_CONFLICT,
			       "job '" STR_FMT "' holds a reservation for something else",
			       STR_ARG(item->job_id));
	item->seq = seq;
	return true;
}

bool
catalog_accept_many(struct redis *redis, struct str uid, struct catalog_reservation *items,
		    size_t count, struct err *err)
{
	struct accepting accepting = { .items = items, .uid = uid };
	const struct redis_many many = {
		.count = count, .fill = fill_accept, .take = take_accept, .user = &accepting
	};

	accepting.meta = key_catalog(uid, CK_META);
	accepting.seqs = key_catalog(uid, CK_SEQS);
	return redis_run_many(redis, &script_accept, &many, err) || err_wrap(err, "catalog accept");
}

/* ---- states ---- */

static int64_t
number(const struct reply *reply)
{
	int64_t value;

	return reply_i64(reply, &value) ? value : 0;
}

/* g q p x h */
static void
read_state(const struct reply *fields, struct catalog_state *out)
{
	int64_t seq = number(reply_at(fields, 1)), tombstone = number(reply_at(fields, 3));
	struct str hash;

	*out = (struct catalog_state){ .visible = !reply_is_nil(reply_at(fields, 0)) };
	out->in_flight = number(reply_at(fields, 2)) > (out->visible ? seq : tombstone);
	if (out->visible && reply_str(reply_at(fields, 4), &hash) && hash.len == HASH_LEN)
		str_hex(out->content_hash, hash.ptr, hash.len);
}

bool
catalog_states(struct redis *redis, struct str uid, const struct str *ids, size_t count,
	       struct catalog_state *out, struct err *err)
{
	static const char *const fields[] = { "g", "q", "p", "x", "h" };

	for (size_t i = 0; i < count; i++) {
		struct key key = key_document(uid, ids[i]);
		struct redis_cmd cmd;

		redis_cmd_init(&cmd, "HMGET");
		redis_arg_c(&cmd, key.text);
		for (size_t k = 0; k < ARRAY_SIZE(fields); k++)
			redis_arg_c(&cmd, fields[k]);
		if (!redis_append(redis, &cmd, err))
			return err_wrap(err, "catalog states");
	}
	for (size_t i = 0; i < count; i++) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;

		if (!redis_next(redis, &reply, err)) {
			redis_disconnect(redis); /* replies may be left in the pipeline */
			return err_wrap(err, "catalog states");
		}
		read_state(reply, &out[i]);
	}
	return true;
}

/* ---- ids ---- */

bool
catalog_ids(struct redis *redis, struct str uid, struct str after, struct arena *arena,
	    struct str **out, size_t *io_count, struct err *err)
{
	struct key docs = key_catalog(uid, CK_DOCS);
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	char start[CATALOG_DOC_ID_MAX_BYTES + 1] = "(";
	struct str from = str_sub(after, 0, CATALOG_DOC_ID_MAX_BYTES);
	struct redis_cmd cmd;
	struct str *ids;

	if (from.len > 0)
		memcpy(start + 1, from.ptr, from.len);
	redis_cmd_init(&cmd, "ZRANGEBYLEX");
	redis_arg_c(&cmd, docs.text);
	redis_arg(&cmd, from.len > 0 ? str_make(start, from.len + 1) : STR("-"));
	redis_arg_c(&cmd, "+");
	redis_arg_c(&cmd, "LIMIT");
	redis_arg_i64(&cmd, 0);
	redis_arg_i64(&cmd, (int64_t)*io_count);
	if (!redis_run(redis, &cmd, &reply, err))
		return err_wrap(err, "catalog ids");
	ids = arena_array(arena, reply_len(reply) + 1, sizeof(*ids));
	for (size_t i = 0; ids && i < reply_len(reply); i++) {
		struct str id = { 0 };
		char *copy;

		if (!reply_str(reply_at(reply, i), &id))
			return reply_bad("ZRANGEBYLEX", err);
		copy = arena_strndup(arena, id.ptr, id.len);
		ids[i] = str_make(copy, copy ? id.len : 0);
		if (!copy)
			ids = NULL;
	}
	if (!ids)
		return err_set(err, ERR_TOO_LARGE, "cannot list %zu documents at once", *io_count);
	*out = ids;
	*io_count = reply_len(reply);
	return true;
}
