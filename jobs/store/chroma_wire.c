#include "jobs/store/chroma_wire.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FINGERPRINT_KEY "rag.embedder"
#define UID_KEY "rag.collection"
#define SCHEMA_KEY "rag.schema"
#define SCHEMA_VERSION 1
#define ROW_EXTRA_BYTES 512 /* names, numbers and punctuation of one record */
#define FLOAT_TEXT_BYTES 17 /* "-1.23456789e-38," and a spare */

/* ---- names and ids ---- */

static bool
is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool
chroma_name_format(char out[CHROMA_NAME_BYTES], struct str prefix, struct str uid, struct err *err)
{
	size_t len = prefix.len + uid.len;
	bool ok = len >= 3 && len < CHROMA_NAME_BYTES;

	if (ok) {
		(void)snprintf(out, CHROMA_NAME_BYTES, STR_FMT STR_FMT, STR_ARG(prefix),
			       STR_ARG(uid));
		ok = strlen(out) == len && is_alnum(out[0]) && is_alnum(out[len - 1]) &&
		     !strstr(out, "..");
	}
	for (size_t i = 0; ok && i < len; i++)
		ok = is_alnum(out[i]) || strchr("._-", out[i]) != NULL;
	return ok || err_set(err, ERR_INVALID,
			     "cannot name a Chroma collection '" STR_FMT STR_FMT
			     "': 3 to 512 of a-z A-Z 0-9 . _ -, letters or digits at both ends",
			     STR_ARG(prefix), STR_ARG(uid));
}

void
chroma_id_format(char out[CHROMA_ID_BYTES], struct str document_id, struct str gen, int64_t ordinal)
{
	(void)snprintf(out, CHROMA_ID_BYTES, STR_FMT "@" STR_FMT "#%lld", STR_ARG(document_id),
		       STR_ARG(gen), (long long)ordinal);
}

/* The last `c` of the text. */
static bool
find_last(struct str text, char c, size_t *out_at)
{
	for (size_t at = text.len; at-- > 0;) {
		if (text.ptr[at] != c)
			continue;
		*out_at = at;
		return true;
	}
	return false;
}

bool
chroma_id_parse(struct str id, struct chroma_id *out)
{
	size_t hash = 0, sign = 0;
	int64_t epoch = 0;

	if (!find_last(id, '#', &hash) ||
	    !str_to_i64(str_sub(id, hash + 1, id.len), 0, INT64_MAX, &out->ordinal) ||
	    !find_last(str_sub(id, 0, hash), '@', &sign) || sign == 0)
		return false;
	out->document_id = str_sub(id, 0, sign);
	out->gen = str_sub(id, sign + 1, hash);
	return catalog_gen_parse(out->gen, &out->seq, &epoch);
}

/* ---- what an answer means ---- */

enum chroma_class
chroma_classify(int status, struct str body)
{
	size_t at = 0;

	switch (status) {
	case 200:
	case 201:
	case 202:
	case 204:
		return CHROMA_OK;
	case 400:
	case 422:
		return CHROMA_BAD_REQUEST;
	case 401:
	case 402:
	case 403:
		return CHROMA_REFUSED;
	case 404:
		return CHROMA_MISSING;
	case 409:
		return CHROMA_EXISTS;
	case 413:
		return CHROMA_SPLIT;
	case 500:
		if (str_find(body, STR("too many SQL variables"), &at))
			return CHROMA_SPLIT;
		if (str_find(body, STR("Error finding id"), &at))
			return CHROMA_BAD_REQUEST;
		return CHROMA_BUSY;
	case 408:
	case 425:
	case 429:
	case 502:
	case 503:
	case 504:
		return CHROMA_BUSY;
	default:
		return CHROMA_ODD;
	}
}

/* ---- requests ---- */

void
chroma_build_collection(struct buf *out, const char *name, struct str uid, const char *fingerprint)
{
	struct jw w = jw_start(out);

	jw_obj(&w);
	jw_kcstr(&w, "name", name);
	jw_kbool(&w, "get_or_create", true);
	jw_kobj(&w, "configuration");
	jw_kobj(&w, "hnsw");
	jw_kcstr(&w, "space", "cosine");
	jw_end(&w);
	jw_end(&w);
	jw_kobj(&w, "metadata");
	jw_kstr(&w, UID_KEY, uid);
	jw_kcstr(&w, FINGERPRINT_KEY, fingerprint);
	jw_kint(&w, SCHEMA_KEY, SCHEMA_VERSION);
	jw_end(&w);
	jw_end(&w);
}

void
chroma_build_name(struct buf *out, const char *name)
{
	struct jw w = jw_start(out);

	jw_obj(&w);
	jw_kcstr(&w, "name", name);
	jw_end(&w);
}

/* `include` is always said: its default brings documents and metadata. */
static void
write_page(struct jw *w, size_t limit, size_t offset)
{
	jw_karr(w, "include");
	jw_end(w);
	jw_kint(w, "limit", (int64_t)limit);
	jw_kint(w, "offset", (int64_t)offset);
}

void
chroma_build_get_document(struct buf *out, struct str document_id, size_t limit, size_t offset)
{
	struct jw w = jw_start(out);

	jw_obj(&w);
	jw_kobj(&w, "where");
	jw_kstr(&w, "document_id", document_id);
	jw_end(&w);
	write_page(&w, limit, offset);
	jw_end(&w);
}

static void
write_ids(struct jw *w, const struct str *ids, size_t count)
{
	jw_karr(w, "ids");
	for (size_t i = 0; i < count; i++)
		jw_str(w, ids[i]);
	jw_end(w);
}

void
chroma_build_get_ids(struct buf *out, const struct str *ids, size_t count)
{
	struct jw w = jw_start(out);

	jw_obj(&w);
	write_ids(&w, ids, count);
	jw_karr(&w, "include");
	jw_end(&w);
	jw_end(&w);
}

void
chroma_build_get_where(struct buf *out, struct str where, bool whole, size_t limit)
{
	struct jw w = jw_start(out);

	jw_obj(&w);
	jw_kraw(&w, "where", where);
	jw_karr(&w, "include");
	if (whole) {
		jw_cstr(&w, "documents");
		jw_cstr(&w, "metadatas");
		jw_cstr(&w, "embeddings");
	}
	jw_end(&w);
	jw_kint(&w, "limit", (int64_t)limit);
	jw_end(&w);
}

void
chroma_build_get_page(struct buf *out, size_t limit, size_t offset)
{
	struct jw w = jw_start(out);

	jw_obj(&w);
	write_page(&w, limit, offset);
	jw_end(&w);
}

void
chroma_build_delete(struct buf *out, const struct str *ids, size_t count)
{
	struct jw w = jw_start(out);

	jw_obj(&w);
	write_ids(&w, ids, count);
	jw_end(&w);
}

static void
write_floats(struct buf *out, const float *vector, size_t dim)
{
	buf_add_char(out, '[');
	for (size_t i = 0; i < dim; i++)
		buf_printf(out, i > 0 ? ",%.9g" : "%.9g", (double)vector[i]);
	buf_add_char(out, ']');
}

void
chroma_build_query(struct buf *out, const float *vector, size_t dim, size_t limit, struct str where)
{
	struct jw w = jw_start(out);

	jw_obj(&w);
	jw_kint(&w, "n_results", (int64_t)limit);
	jw_karr(&w, "include");
	jw_cstr(&w, "documents");
	jw_cstr(&w, "metadatas");
	jw_cstr(&w, "distances");
	jw_end(&w);
	if (where.len > 0)
		jw_kraw(&w, "where", where);
	jw_end(&w);
	/* a query's vector is never base64: that is 422 */
	if (!buf_ok(out))
		return;
	buf_truncate(out, out->len - 1);
	buf_add_str(out, ",\"query_embeddings\":[");
	write_floats(out, vector, dim);
	buf_add_str(out, "]}");
}

static void
write_base64(struct buf *out, const float *vector, size_t dim)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t bytes = dim * sizeof(float), len = (bytes + 2) / 3 * 4;
	char *to = buf_reserve(out, len + 2);

	if (!to)
		return;
	*to++ = '"';
	for (size_t at = 0; at < bytes; at += 3) {
		unsigned char three[3] = { 0, 0, 0 };

		for (size_t i = 0; i < 3 && at + i < bytes; i++) {
			uint32_t word = 0;

			memcpy(&word, &vector[(at + i) / sizeof(float)], sizeof(word));
			three[i] = (unsigned char)(word >> 8 * ((at + i) % sizeof(float)));
		}
		*to++ = digits[three[0] >> 2];
		*to++ = digits[(three[0] & 3) << 4 | three[1] >> 4];
		*to++ = (char)(at + 1 < bytes ? digits[(three[1] & 15) << 2 | three[2] >> 6] : '=');
		*to++ = (char)(at + 2 < bytes ? digits[three[2] & 63] : '=');
	}
	*to = '"';
	buf_commit(out, len + 2);
}

/* A NUL character cannot be read back (\u0000): it becomes U+FFFD. */
static void
write_text(struct jw *w, struct str text)
{
	AUTO(buf) struct buf copy = BUF_INIT(3 * text.len + 1);

	if (text.len == 0 || !memchr(text.ptr, '\0', text.len)) {
		jw_str(w, text);
		return;
	}
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i])
			buf_add_char(&copy, text.ptr[i]);
		else
			buf_add_str(&copy, "\xef\xbf\xbd");
	}
	jw_str(w, str_make(copy.data, copy.len));
}

static void
write_key_text(struct jw *w, const char *key, struct str text)
{
	jw_key(w, key);
	write_text(w, text);
}

static void
write_metadata(struct jw *w, const struct store_document *document, const struct store_chunk *chunk,
	       struct str fields)
{
	jw_obj(w);
	jw_kstr(w, "document_id", document->document_id);
	jw_kstr(w, "generation", document->gen);
	jw_kint(w, "ordinal", chunk->ordinal);
	jw_kint(w, "start", chunk->start);
	jw_kint(w, "end", chunk->end);
	jw_kint(w, "page", chunk->page);
	write_key_text(w, "title", document->title);
	write_key_text(w, "uri", document->uri);
	write_key_text(w, "heading", chunk->heading);
	if (document->metadata.len > 0)
		jw_kstr(w, "metadata", document->metadata);
	buf_add(w->out, fields.ptr, fields.len);
	jw_end(w);
}

static bool
check_chunks(const struct store_document *document, size_t from, size_t count, struct err *err)
{
	int64_t seq = 0, epoch = 0;

	if (!catalog_gen_parse(document->gen, &seq, &epoch))
		return err_set(err, ERR_INVALID, "generation '" STR_FMT "' is not <seq>.<epoch>",
			       STR_ARG(document->gen));
	for (size_t i = from; i < from + count; i++) {
		const struct store_chunk *chunk = &document->chunks[i];

		if (chunk->ordinal != (int64_t)i)
			return err_set(err, ERR_INVALID, "chunk %zu has the ordinal %lld", i,
				       (long long)chunk->ordinal);
		for (size_t d = 0; d < document->dim; d++) {
			if (!isfinite(chunk->vector[d]))
				return err_set(err, ERR_INVALID,
					       "the vector of chunk %zu has a number that is not "
					       "finite",
					       i);
		}
	}
	return true;
}

bool
chroma_build_upsert(struct buf *out, const struct store_document *document, size_t from,
		    size_t count, struct str fields, bool base64, struct err *err)
{
	struct jw w = jw_start(out);
	const struct store_chunk *chunks = document->chunks;

	if (!check_chunks(document, from, count, err))
		return false;
	jw_obj(&w);
	jw_karr(&w, "ids");
	for (size_t i = from; i < from + count; i++) {
		char id[CHROMA_ID_BYTES];

		chroma_id_format(id, document->document_id, document->gen, chunks[i].ordinal);
		jw_cstr(&w, id);
	}
	jw_end(&w);
	jw_karr(&w, "documents");
	for (size_t i = from; i < from + count; i++)
		write_text(&w, chunks[i].text);
	jw_end(&w);
	jw_karr(&w, "metadatas");
	for (size_t i = from; i < from + count; i++)
		write_metadata(&w, document, &chunks[i], fields);
	jw_end(&w);
	jw_end(&w);
	if (buf_ok(out)) {
		buf_truncate(out, out->len - 1);
		buf_add_str(out, ",\"embeddings\":[");
		for (size_t i = from; i < from + count; i++) {
			if (i > from)
				buf_add_char(out, ',');
			if (base64)
				write_base64(out, chunks[i].vector, document->dim);
			else
				write_floats(out, chunks[i].vector, document->dim);
		}
		buf_add_str(out, "]}");
	}
	return buf_check(out, "a write to Chroma", err);
}

/* The most that a text can grow to in JSON is six times: control characters. */
static size_t
text_bytes(struct str text)
{
	size_t bytes = text.len;

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		bytes += c < 0x20 ? 5 : c == '"' || c == '\\' ? 1 : c >= 0x80 ? 2 : 0;
	}
	return bytes;
}

size_t
chroma_row_bytes(const struct store_document *document, size_t at, struct str fields, bool base64)
{
	const struct store_chunk *chunk = &document->chunks[at];

	return ROW_EXTRA_BYTES + 2 * (text_bytes(document->document_id) + document->gen.len) +
	       text_bytes(document->title) + text_bytes(document->uri) +
	       text_bytes(document->metadata) + text_bytes(chunk->heading) +
	       text_bytes(chunk->text) + fields.len +
	       (base64 ? (document->dim * sizeof(float) + 2) / 3 * 4
		       : document->dim * FLOAT_TEXT_BYTES);
}

/* ---- replies ---- */

static bool
odd(struct err *err, const char *what)
{
	return err_set(err, ERR_STORE_FAILED, "Chroma answered something else than %s", what);
}

static bool
parse(struct str body, enum js_type type, const char *what, struct js **out, struct err *err)
{
	struct err inner = ERR_INIT;

	if (!js_parse(body, out, &inner)) {
		(void)odd(err, what);
		return err_cause(err, "%s", inner.msg);
	}
	return js_is(*out, type) || odd(err, what);
}

bool
chroma_parse_preflight(struct str body, struct chroma_preflight *out, struct err *err)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	int64_t max_batch = 0;

	if (!parse(body, JS_OBJECT, "its limits", &root, err))
		return false;
	*out = (struct chroma_preflight){ .max_batch = CHROMA_DEFAULT_BATCH };
	if (js_get_int(root, "max_batch_size", &max_batch) && max_batch > 0)
		out->max_batch = (size_t)max_batch;
	(void)js_get_bool(root, "supports_base64_encoding", &out->base64);
	return true;
}

/* The distance, of either form of setting; an unknown one is not cosine. */
static bool
is_cosine(const struct js *object, const struct js *metadata)
{
	const struct js *configuration = js_get(object, "configuration_json");
	const struct js *index = NULL;
	struct str space = STR("");

	for (int i = 0; i < 2 && !js_is(index, JS_OBJECT); i++)
		index = js_is(configuration, JS_OBJECT)
				? js_get(configuration, i == 0 ? "hnsw" : "spann")
				: NULL;
	if (js_is(index, JS_OBJECT) && js_get_str(index, "space", &space))
		return str_eq_c(space, "cosine");
	return js_is(metadata, JS_OBJECT) && js_get_str(metadata, "hnsw:space", &space) &&
	       str_eq_c(space, "cosine");
}

static bool
read_collection(const struct js *object, struct chroma_collection *out, struct err *err)
{
	const struct js *metadata = js_is(object, JS_OBJECT) ? js_get(object, "metadata") : NULL;
	struct str id = STR(""), name = STR(""), uid = STR(""), fingerprint = STR("");
	int64_t dim = 0;

	if (!js_is(object, JS_OBJECT) || !js_get_str(object, "id", &id) || id.len == 0 ||
	    !js_get_str(object, "name", &name))
		return odd(err, "a collection");
	if (js_is(metadata, JS_OBJECT)) {
		(void)js_get_str(metadata, UID_KEY, &uid);
		(void)js_get_str(metadata, FINGERPRINT_KEY, &fingerprint);
	}
	(void)js_get_int(object, "dimension", &dim);
	*out = (struct chroma_collection){ .cosine = is_cosine(object, metadata),
					   .dim = dim > 0 ? (size_t)dim : 0 };
	for (size_t i = 0; i < id.len; i++) { /* it becomes part of a path */
		if (!is_alnum(id.ptr[i]) && id.ptr[i] != '-')
			return odd(err, "a collection");
	}
	if (!str_copy(out->id, sizeof(out->id), id) ||
	    !str_copy(out->name, sizeof(out->name), name) ||
	    !str_copy(out->uid, sizeof(out->uid), uid) ||
	    !str_copy(out->fingerprint, sizeof(out->fingerprint), fingerprint))
		return odd(err, "a collection");
	return true;
}

bool
chroma_parse_collection(struct str body, struct chroma_collection *out, struct err *err)
{
	AUTO_PTR(js_free) struct js *root = NULL;

	return parse(body, JS_OBJECT, "a collection", &root, err) &&
	       read_collection(root, out, err);
}

bool
chroma_parse_collections(struct str body,
			 bool (*fn)(void *user, const struct chroma_collection *collection,
				    struct err *err),
			 void *user, size_t *out_count, struct err *err)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	struct chroma_collection collection;
	struct err ignored = ERR_INIT;

	if (!parse(body, JS_ARRAY, "a list of collections", &root, err))
		return false;
	for (size_t i = 0; i < js_len(root); i++) {
		/* somebody else's may have a form that we do not know */
		if (read_collection(js_at(root, i), &collection, &ignored) &&
		    !fn(user, &collection, err))
			return false;
	}
	*out_count = js_len(root);
	return true;
}

static bool
copy_str(struct arena *arena, struct str text, struct str *out, struct err *err)
{
	const char *copy = arena_strndup(arena, text.ptr, text.len);

	if (!copy)
		return err_set(err, ERR_TOO_LARGE,
			       "cannot hold Chroma's answer: more than %zu bytes of working memory",
			       arena->max_bytes);
	*out = str_make(copy, text.len);
	return true;
}

bool
chroma_parse_ids(struct str body, struct arena *arena, struct str **out, size_t *out_count,
		 struct err *err)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	const struct js *ids = NULL;
	void *list = NULL;

	if (!parse(body, JS_OBJECT, "records", &root, err))
		return false;
	ids = js_get(root, "ids");
	if (!js_is(ids, JS_ARRAY))
		return odd(err, "records");
	if (!arena_alloc_err(arena, (js_len(ids) + 1) * sizeof(struct str), "Chroma's answer",
			     &list, err))
		return false;
	for (size_t i = 0; i < js_len(ids); i++) {
		if (!js_is(js_at(ids, i), JS_STRING))
			return odd(err, "records");
		if (!copy_str(arena, js_str(js_at(ids, i)), &((struct str *)list)[i], err))
			return false;
	}
	*out = list;
	*out_count = js_len(ids);
	return true;
}

/* The first inner array of an answer's member: a query asks for one vector. NULL when it was not included. */
static const struct js *
first_of(const struct js *root, const char *key)
{
	const struct js *outer = js_get(root, key);
	const struct js *inner = js_is(outer, JS_ARRAY) ? js_at(outer, 0) : NULL;

	return js_is(inner, JS_ARRAY) ? inner : NULL;
}

static bool
member_text(const struct js *metadata, const char *key, struct arena *arena, struct str *out,
	    struct err *err)
{
	struct str text = STR("");

	if (js_is(metadata, JS_OBJECT))
		(void)js_get_str(metadata, key, &text);
	return copy_str(arena, text, out, err);
}

static int64_t
member_int(const struct js *metadata, const char *key)
{
	int64_t value = 0;

	if (js_is(metadata, JS_OBJECT))
		(void)js_get_int(metadata, key, &value);
	return value;
}

/* The id must be one of ours. */
static bool
read_hit(struct str id, const struct js *text, const struct js *metadata, struct arena *arena,
	 struct store_hit *hit, struct err *err)
{
	struct chroma_id parts = { 0 };
	struct str copy = STR("");

	if (!copy_str(arena, id, &copy, err) || !chroma_id_parse(copy, &parts))
		return false;
	hit->document_id = parts.document_id;
	hit->gen = parts.gen;
	hit->ordinal = parts.ordinal;
	hit->row = (int64_t)(str_hash64(id, 0) >> 1);
	hit->start = member_int(metadata, "start");
	hit->end = member_int(metadata, "end");
	hit->page = member_int(metadata, "page");
	return member_text(metadata, "title", arena, &hit->title, err) &&
	       member_text(metadata, "uri", arena, &hit->uri, err) &&
	       member_text(metadata, "heading", arena, &hit->heading, err) &&
	       member_text(metadata, "metadata", arena, &hit->metadata, err) &&
	       copy_str(arena, js_is(text, JS_STRING) ? js_str(text) : STR(""), &hit->text, err);
}

bool
chroma_parse_query(struct str body, struct arena *arena, struct store_hit **out, size_t *out_count,
		   size_t *out_total, struct err *err)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	const struct js *ids, *texts, *metadatas, *distances;
	struct store_hit *hits = NULL;
	struct chroma_id parts;
	void *room = NULL;
	size_t count = 0;

	if (!parse(body, JS_OBJECT, "hits", &root, err))
		return false;
	ids = first_of(root, "ids");
	texts = first_of(root, "documents");
	metadatas = first_of(root, "metadatas");
	distances = first_of(root, "distances");
	if (!ids || !distances || js_len(distances) != js_len(ids) ||
	    (texts && js_len(texts) != js_len(ids)) ||
	    (metadatas && js_len(metadatas) != js_len(ids)))
		return odd(err, "hits");
	if (!arena_alloc_err(arena, (js_len(ids) + 1) * sizeof(*hits), "search hits", &room, err))
		return false;
	hits = room;
	for (size_t i = 0; i < js_len(ids); i++) {
		const struct js *id = js_at(ids, i), *distance = js_at(distances, i);

		if (!js_is(id, JS_STRING))
			return odd(err, "hits");
		if ((!js_is(distance, JS_REAL) && !js_is(distance, JS_INT)) ||
		    !chroma_id_parse(js_str(id), &parts))
			continue;
		hits[count] = (struct store_hit){ .score = (float)(1 - js_number(distance)) };
		if (!read_hit(js_str(id), texts ? js_at(texts, i) : NULL,
			      metadatas ? js_at(metadatas, i) : NULL, arena, &hits[count], err))
			return false;
		count++;
	}
	*out = hits;
	*out_count = count;
	*out_total = js_len(ids);
	return true;
}

/* false: not a vector of this length, or of numbers out of all bounds */
static bool
product(const struct js *list, const float *vector, size_t dim, double *out)
{
	double sum = 0;

	if (!js_is(list, JS_ARRAY) || js_len(list) != dim)
		return false;
	for (size_t i = 0; i < dim; i++) {
		const struct js *number = js_at(list, i);

		if (!js_is(number, JS_REAL) && !js_is(number, JS_INT))
			return false;
		sum += js_number(number) * (double)vector[i];
	}
	*out = sum;
	return fabs(sum) < (double)FLT_MAX;
}

bool
chroma_parse_records(struct str body, const float *vector, size_t dim, struct arena *arena,
		     struct store_hit **out, size_t *out_count, struct err *err)
{
	static const char *const names[] = { "ids", "documents", "metadatas", "embeddings" };
	AUTO_PTR(js_free) struct js *root = NULL;
	const struct js *lists[ARRAY_SIZE(names)];
	struct store_hit *hits = NULL;
	struct chroma_id parts;
	void *room = NULL;
	size_t count = 0;

	if (!parse(body, JS_OBJECT, "records", &root, err))
		return false;
	for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
		lists[k] = js_get(root, names[k]);
		if (!js_is(lists[k], JS_ARRAY) || js_len(lists[k]) != js_len(lists[0]))
			return odd(err, "records");
	}
	if (!arena_alloc_err(arena, (js_len(lists[0]) + 1) * sizeof(*hits), "search hits", &room,
			     err))
		return false;
	hits = room;
	for (size_t i = 0; i < js_len(lists[0]); i++) {
		const struct js *id = js_at(lists[0], i);
		double score = 0;

		if (!js_is(id, JS_STRING))
			return odd(err, "records");
		if (!chroma_id_parse(js_str(id), &parts) ||
		    !product(js_at(lists[3], i), vector, dim, &score))
			continue;
		hits[count] = (struct store_hit){ .score = (float)score };
		if (!read_hit(js_str(id), js_at(lists[1], i), js_at(lists[2], i), arena,
			      &hits[count], err))
			return false;
		count++;
	}
	*out = hits;
	*out_count = count;
	return true;
}
