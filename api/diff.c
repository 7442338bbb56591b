/*
 * POST /collections/{c}/documents:diff: a client's manifest against the catalog.
 *
 * The manifest is streamed like an import: a line is {"id", "content_hash"}. A hundred lines at a time are looked up in one round trip;
 * the answer is the only thing that grows, and holds no more ids than the manifest. What the collection has beyond the
 * manifest needs the manifest's ids at once: they are kept as hashes of 128 bits, 16 bytes an id.
 */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "api/reply.h"
#include "api/shared.h"
#include "common/base/mem.h"
#include "common/catalog.h"
#include "common/ndjson.h"
#include "common/sha256.h"

#define PIECE_BYTES ((size_t)64 * 1024)
#define WAIT_MS 1000
#define LINE_MAX_BYTES ((size_t)4096)
#define MAX_EXTRA 10000
#define EXTRA_PAGE 500

struct manifest_entry {
	struct str id, content_hash;
};

static const struct field entry_rows[] = {
	FIELD(struct manifest_entry, id, FIELD_STR, .required = true, .min = 1,
	      .max = CATALOG_DOC_ID_MAX_BYTES, .doc = "id of a document"),
	FIELD(struct manifest_entry, content_hash, FIELD_STR, .required = true,
	      .min = SHA256_HEX_BYTES - 1, .max = SHA256_HEX_BYTES - 1,
	      .doc = "SHA-256 of the bytes of its text, hex"),
};
static const struct fields entry_fields = FIELDS("manifest entry", entry_rows);

/* Of an id; two seeds make 128 bits. */
struct id_hash {
	uint64_t a, b;
};

struct diff {
	struct call *call;
	struct collection collection;
	struct ndjson reader; /* owned */
	struct buf piece;     /* owned */
	struct arena arena;   /* of the lines at work */
	struct manifest_entry entries[CATALOG_MAX_MANY];
	size_t count;
	int64_t limit;		/* of extra; 0 = not asked for */
	struct id_hash *hashes; /* owned: of the manifest, when extra is asked for */
	size_t hash_count, hash_room;
	int64_t body_left; /* bytes that the manifest may still have */
	int64_t entries_seen, unchanged;
	struct buf missing, changed, in_flight; /* owned: members of JSON arrays */
};

static void
diff_free(struct diff *diff)
{
	ndjson_release(&diff->reader);
	buf_release(&diff->piece);
	arena_release(&diff->arena);
	mem_free(diff->hashes);
	buf_release(&diff->missing);
	buf_release(&diff->changed);
	buf_release(&diff->in_flight);
	mem_free(diff);
}
AUTO_PTR_DEFINE(diff_free, struct diff);

static struct id_hash
hash_id(struct str id)
{
	return (struct id_hash){ str_hash64(id, 1), str_hash64(id, 2) };
}

static int
compare_hashes(const void *left, const void *right)
{
	return memcmp(left, right, sizeof(struct id_hash));
}

/* ---- the manifest ---- */

static void
add_id(struct buf *list, struct str id)
{
	struct jw w = jw_start(list);

	if (list->len > 0)
		buf_add_char(list, ',');
	jw_str(&w, id);
}

static bool
look_up(struct diff *diff, struct err *err)
{
	struct catalog_state states[CATALOG_MAX_MANY];
	struct str ids[CATALOG_MAX_MANY];
	struct redis *redis;

	for (size_t i = 0; i < diff->count; i++)
		ids[i] = diff->entries[i].id;
	if (!call_redis(diff->call, &redis, err) ||
	    !catalog_states(redis, str_of(diff->collection.uid), ids, diff->count, states, err))
		return false;
	call_give_redis(diff->call);
	for (size_t i = 0; i < diff->count; i++) {
		const struct manifest_entry *entry = &diff->entries[i];

		if (states[i].in_flight)
			add_id(&diff->in_flight, entry->id);
		else if (!states[i].visible)
			add_id(&diff->missing, entry->id);
		else if (!str_eq_nocase(entry->content_hash, str_of(states[i].content_hash)))
			add_id(&diff->changed, entry->id);
		else
			diff->unchanged++;
	}
	diff->entries_seen += (int64_t)diff->count;
	diff->count = 0;
	arena_reset(&diff->arena);
	return true;
}

static void
keep_hash(struct diff *diff, struct str id)
{
	if (diff->limit == 0)
		return;
	if (diff->hash_count == diff->hash_room) {
		diff->hash_room = diff->hash_room ? diff->hash_room * 2 : 1024;
		diff->hashes = mem_grow(diff->hashes, diff->hash_room, sizeof(*diff->hashes));
	}
	diff->hashes[diff->hash_count++] = hash_id(id);
}

static bool
take_entry(struct diff *diff, const struct ndjson_line *line, struct err *err)
{
	struct manifest_entry *entry = &diff->entries[diff->count];
	AUTO_PTR(js_free) struct js *root = NULL;
	char bits[SHA256_BYTES];
	bool ok = true;

	*entry = (struct manifest_entry){ STR(""), STR("") };
	if (line->too_long)
		ok = err_set(err, ERR_INVALID, "it has more than %zu bytes", LINE_MAX_BYTES);
	else if (!js_parse(line->text, &root, err))
		ok = false; // NOLINT(bugprone-branch-clone): steps one after the other
	else if (!js_is(root, JS_OBJECT))
		ok = err_set(err, ERR_INVALID, "it must be an object, not %s",
			     js_type_name(js_type(root)));
	else if (!fields_from_json(&entry_fields, root, entry, &diff->arena, err))
		ok = false;
	else if (!str_unhex(entry->content_hash, bits, sizeof(bits)))
		ok = err_set(err, ERR_INVALID, "'content_hash' must be 64 hexadecimal digits") ||
		     err_at(err, "/content_hash");
	if (!ok)
		return err_wrap(err, "line %lld of the manifest", (long long)line->number);
	keep_hash(diff, entry->id);
	diff->count++;
	return diff->count < CATALOG_MAX_MANY || look_up(diff, err);
}

static bool
too_large(const struct diff *diff, struct err *err)
{
	return err_set(err, ERR_TOO_LARGE,
		       "the manifest is larger than %lld bytes: send it in parts",
		       (long long)diff->call->api->config->max_body_bytes);
}

static bool
take_lines(struct diff *diff, struct err *err)
{
	struct ndjson_line line;

	diff->body_left -= (int64_t)diff->piece.len;
	if (diff->body_left < 0)
		return too_large(diff, err);
	ndjson_feed(&diff->reader, str_make(diff->piece.data, diff->piece.len));
	while (ndjson_next(&diff->reader, &line))
		if (!take_entry(diff, &line, err))
			return false;
	buf_clear(&diff->piece);
	return true;
}

static bool
read_manifest(struct diff *diff, struct err *err)
{
	const struct config *config = diff->call->api->config;
	const struct http_body_pace pace = { .min_bytes_per_s = config->import_min_rate,
					     .patience_ms = config->body_timeout_ms };
	enum http_body_event event = HTTP_BODY_DATA;
	struct ndjson_line line;

	if (diff->call->http->content_length > diff->body_left)
		return too_large(diff, err);
	while (event != HTTP_BODY_END)
		if (!http_body_some(diff->call->http, &pace, WAIT_MS, &diff->piece, PIECE_BYTES,
				    &event, err) ||
		    (event == HTTP_BODY_DATA && !take_lines(diff, err)))
			return false;
	if (ndjson_last(&diff->reader, &line) && !take_entry(diff, &line, err))
		return false;
	return diff->count == 0 || look_up(diff, err);
}

/* ---- what is there beyond it ---- */

static bool
is_listed(const struct diff *diff, struct str id)
{
	struct id_hash key = hash_id(id);

	return bsearch(&key, diff->hashes, diff->hash_count, sizeof(key), compare_hashes) != NULL;
}

/* Writes up to diff->limit ids after `after`; *out_next: where the rest begins, "" = there is none. */
static bool
write_extra(struct diff *diff, struct str after, struct jw *w, struct str *out_next,
	    struct err *err)
{
	int64_t left = diff->limit;
	struct redis *redis;

	if (diff->hash_count > 0)
		qsort(diff->hashes, diff->hash_count, sizeof(*diff->hashes), compare_hashes);
	*out_next = STR("");
	if (!call_redis(diff->call, &redis, err))
		return false;
	for (;;) {
		char last[CATALOG_DOC_ID_MAX_BYTES + 1];
		struct str *ids;
		size_t count = EXTRA_PAGE;

		if (!catalog_ids(redis, str_of(diff->collection.uid), after, &diff->arena, &ids,
				 &count, err))
			return false;
		for (size_t i = 0; i < count; i++) {
			if (is_listed(diff, ids[i]))
				continue;
			if (left-- == 0) {
				*out_next = i > 0 ? ids[i - 1] : after;
				*out_next = str_of(arena_strndup(&diff->call->arena, out_next->ptr,
								 out_next->len));
				return true;
			}
			jw_str(w, ids[i]);
		}
		if (count < EXTRA_PAGE)
			return true;
		(void)str_copy(last, sizeof(last), ids[count - 1]);
		arena_reset(&diff->arena);
		after = str_of(arena_strdup(&diff->arena, last));
	}
}

/* ---- the route ---- */

static void
write_list(struct jw *w, const char *name, const struct buf *members)
{
	AUTO(buf) struct buf list = BUF_INIT(members->len + 2);

	buf_add_char(&list, '[');
	buf_add(&list, members->data, members->len);
	buf_add_char(&list, ']');
	jw_kraw(w, name, str_make(list.data, list.len));
}

static bool
answer(struct diff *diff, struct str after, struct err *err)
{
	struct str next = STR("");
	struct jw w = reply_json(diff->call, 200);

	jw_obj(&w);
	jw_kint(&w, "entries", diff->entries_seen);
	jw_kint(&w, "unchanged", diff->unchanged);
	write_list(&w, "missing", &diff->missing);
	write_list(&w, "changed", &diff->changed);
	write_list(&w, "in_flight", &diff->in_flight);
	jw_karr(&w, "extra");
	if (diff->limit > 0 && !write_extra(diff, after, &w, &next, err))
		return false;
	jw_end(&w);
	jw_kstr(&w, "next_extra_after", next);
	jw_end(&w);
	return buf_check(&diff->missing, "the answer", err) &&
	       buf_check(&diff->changed, "the answer", err) &&
	       buf_check(&diff->in_flight, "the answer", err);
}

bool
documents_diff(struct call *call, struct err *err)
{
	static const char *const known[] = { "extra", "extra_after", NULL };
	AUTO_PTR(diff_free) struct diff *diff = mem_alloc(sizeof(*diff));
	size_t max_bytes = (size_t)call->api->config->max_body_bytes;
	struct str after, type = call_media_type(call);

	diff->call = call;
	diff->body_left = (int64_t)max_bytes;
	ndjson_init(&diff->reader, LINE_MAX_BYTES);
	buf_init(&diff->piece, PIECE_BYTES + 1);
	arena_init(&diff->arena, (size_t)8 * 1024 * 1024);
	/* an id can grow sixfold when it is written again: escapes */
	buf_init(&diff->missing, max_bytes * 6);
	buf_init(&diff->changed, max_bytes * 6);
	buf_init(&diff->in_flight, max_bytes * 6);
	if (!call_check_params(call, known, err) ||
	    !call_param_i64(call, "extra", 0, MAX_EXTRA, &diff->limit, err) ||
	    !call_param(call, "extra_after", &after, err))
		return false;
	if (after.len > 0 && !catalog_doc_id_valid(after, err))
		return err_at(err, "/extra_after");
	if (!str_eq_nocase(type, STR("application/x-ndjson")) &&
	    !str_eq_nocase(type, STR("application/ndjson")))
		return err_set(err, ERR_UNSUPPORTED_MEDIA,
			       "cannot take a body of type '" STR_FMT
			       "': application/x-ndjson is accepted, one {\"id\", "
			       "\"content_hash\"} a line",
			       STR_ARG(str_sub(type, 0, 80)));
	if (!call->http->has_body)
		return err_set(err, ERR_MALFORMED, "the body is empty: a manifest is expected");
	return shared_collection(call, &diff->collection, err) && read_manifest(diff, err) &&
	       answer(diff, after, err);
}
