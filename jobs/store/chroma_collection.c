/*
 * Tenant, database and collections. A collection of the engine is one collection of Chroma, named prefix + uid. Chroma names collections but wants
 * UUIDs for records: the UUID is remembered, and looked up once more when it turns out wrong.
 *
 * Creating is get-or-create, and an existing collection comes back as it is, whatever was asked for: so distance, embedder and dimension are
 * compared after every look-up.
 */
#include <stdio.h>
#include <string.h>

#include "jobs/store/chroma_store.h"

#define PATH_BYTES (CHROMA_NAME_BYTES + 64)
#define REQUEST_MAX_BYTES ((size_t)16 * 1024)

/* ---- tenant, database, limits ---- */

/* POST {"name": ...}: made, or there already. */
static bool
make_named(struct chroma_store *store, const char *path, const char *name,
	   const struct store_limits *limits, struct err *err)
{
	AUTO(http_reply) struct http_reply reply = { 0 };
	AUTO(buf) struct buf body = BUF_INIT(REQUEST_MAX_BYTES);
	enum chroma_class class = CHROMA_ODD;
	char what[320];

	http_reply_init(&reply, CHROMA_REPLY_BYTES);
	chroma_build_name(&body, name);
	const struct chroma_call call = { .method = "POST",
					  .scope = CHROMA_SERVER,
					  .path = path,
					  .body = str_make(body.data, body.len),
					  .limits = limits };

	if (!chroma_run(store, &call, &reply, &class, err))
		return false;
	(void)snprintf(what, sizeof(what), "make '%s'", name);
	return class == CHROMA_OK || class == CHROMA_EXISTS || chroma_fail(&reply, what, err);
}

static bool
ensure_database(struct chroma_store *store, const struct store_limits *limits, struct err *err)
{
	const struct config *config = store->config;
	AUTO(http_reply) struct http_reply reply = { 0 };
	const struct chroma_call look = {
		.method = "GET", .scope = CHROMA_DATABASE, .path = "", .limits = limits
	};
	enum chroma_class class = CHROMA_ODD;
	char path[PATH_BYTES];

	http_reply_init(&reply, CHROMA_REPLY_BYTES);
	if (!chroma_run(store, &look, &reply, &class, err))
		return false;
	if (class == CHROMA_OK)
		return true;
	(void)snprintf(path, sizeof(path), "/tenants/%s/databases", config->chroma_tenant);
	return make_named(store, "/tenants", config->chroma_tenant, limits, err) &&
	       make_named(store, path, config->chroma_database, limits, err);
}

static bool
read_preflight(struct chroma_store *store, const struct store_limits *limits,
	       struct chroma_preflight *out, struct err *err)
{
	AUTO(http_reply) struct http_reply reply = { 0 };
	const struct chroma_call call = { .method = "GET",
					  .scope = CHROMA_SERVER,
					  .path = "/pre-flight-checks",
					  .limits = limits };
	enum chroma_class class = CHROMA_ODD;

	http_reply_init(&reply, CHROMA_REPLY_BYTES);
	if (!chroma_run(store, &call, &reply, &class, err))
		return false;
	if (class != CHROMA_OK)
		return chroma_fail(&reply, "ask Chroma for its limits", err);
	return chroma_parse_preflight(chroma_body(&reply), out, err);
}

bool
chroma_prepare(struct chroma_store *store, const struct store_limits *limits,
	       struct chroma_preflight *out, struct err *err)
{
	struct chroma_preflight preflight = { 0 };
	bool prepared;

	(void)pthread_mutex_lock(&store->lock);
	prepared = store->prepared;
	*out = store->preflight;
	(void)pthread_mutex_unlock(&store->lock);
	if (prepared)
		return true;
	if (!read_preflight(store, limits, &preflight, err) || !ensure_database(store, limits, err))
		return false;
	(void)pthread_mutex_lock(&store->lock);
	store->prepared = true;
	store->preflight = preflight;
	(void)pthread_mutex_unlock(&store->lock);
	*out = preflight;
	return true;
}

void
chroma_unprepare(struct chroma_store *store)
{
	(void)pthread_mutex_lock(&store->lock);
	store->prepared = false;
	(void)pthread_mutex_unlock(&store->lock);
}

/* ---- what is remembered ---- */

static bool
recall(struct chroma_store *store, struct str uid, struct chroma_collection *out)
{
	bool found = false;

	(void)pthread_mutex_lock(&store->lock);
	for (size_t i = 0; i < CHROMA_CACHED && !found; i++) {
		found = str_eq_c(uid, store->cached[i].uid);
		if (found)
			*out = store->cached[i].collection;
	}
	(void)pthread_mutex_unlock(&store->lock);
	return found;
}

void
chroma_forget(struct chroma_store *store, struct str uid)
{
	(void)pthread_mutex_lock(&store->lock);
	for (size_t i = 0; i < CHROMA_CACHED; i++) {
		if (str_eq_c(uid, store->cached[i].uid))
			store->cached[i].uid[0] = '\0';
	}
	(void)pthread_mutex_unlock(&store->lock);
}

static void
remember(struct chroma_store *store, struct str uid, const struct chroma_collection *collection)
{
	struct chroma_cached *place;

	chroma_forget(store, uid);
	(void)pthread_mutex_lock(&store->lock);
	place = &store->cached[store->next_cached++ % CHROMA_CACHED];
	if (str_copy(place->uid, sizeof(place->uid), uid))
		place->collection = *collection;
	else
		place->uid[0] = '\0';
	(void)pthread_mutex_unlock(&store->lock);
}

/* ---- finding and making ---- */

static bool
check_collection(const struct chroma_store *store, const struct chroma_collection *collection,
		 struct str uid, enum chroma_want want, struct err *err)
{
	if (!str_eq_c(uid, collection->uid))
		return err_set(err, ERR_STORE_FAILED,
			       "Chroma's collection '%s' was not made by this engine",
			       collection->name);
	if (!collection->cosine)
		return err_set(err, ERR_STORE_FAILED,
			       "Chroma's collection '%s' does not measure by cosine",
			       collection->name);
	if (want == CHROMA_FIND || !store->fingerprint[0] || !collection->fingerprint[0] ||
	    strcmp(store->fingerprint, collection->fingerprint) == 0)
		return true;
	return err_set(err, ERR_EMBEDDER_MISMATCH,
		       "Chroma's collection '%s' was made with embedder '%s', this worker has '%s'",
		       collection->name, collection->fingerprint, store->fingerprint);
}

/* GET by name, or POST: create or get. */
static bool
ask_for(struct chroma_store *store, struct str uid, bool make, const struct store_limits *limits,
	struct chroma_collection *out, bool *out_found, struct err *err)
{
	AUTO(http_reply) struct http_reply reply = { 0 };
	AUTO(buf) struct buf body = BUF_INIT(REQUEST_MAX_BYTES);
	enum chroma_class class = CHROMA_ODD;
	struct chroma_call call = { .method = make ? "POST" : "GET",
				    .scope = CHROMA_DATABASE,
				    .limits = limits };
	char name[CHROMA_NAME_BYTES], path[PATH_BYTES];

	if (!chroma_name_format(name, str_of(store->config->chroma_prefix), uid, err))
		return false;
	http_reply_init(&reply, CHROMA_REPLY_BYTES);
	(void)snprintf(path, sizeof(path), "/collections%s%s", make ? "" : "/", make ? "" : name);
	call.path = path;
	if (make)
		chroma_build_collection(&body, name, uid, store->fingerprint);
	call.body = str_make(body.data, body.len);
	if (!chroma_run(store, &call, &reply, &class, err))
		return false;
	if (class == CHROMA_MISSING && !make) {
		*out_found = false;
		return true;
	}
	if (class == CHROMA_EXISTS && make) /* another worker has made it in the same moment */
		return ask_for(store, uid, false, limits, out, out_found, err);
	if (class != CHROMA_OK) {
		chroma_unprepare(store); /* perhaps the database is gone */
		return chroma_fail(&reply, "find or make the collection", err);
	}
	*out_found = true;
	return chroma_parse_collection(chroma_body(&reply), out, err);
}

bool
chroma_find(struct chroma_store *store, struct str uid, enum chroma_want want,
	    const struct store_limits *limits, struct chroma_collection *out, bool *out_found,
	    struct err *err)
{
	struct chroma_preflight preflight;
	bool found = recall(store, uid, out), known = found;

	if (!found && (!chroma_prepare(store, limits, &preflight, err) ||
		       !ask_for(store, uid, false, limits, out, &found, err)))
		return false;
	if (!found && want == CHROMA_MAKE && !ask_for(store, uid, true, limits, out, &found, err))
		return false;
	*out_found = found;
	if (!found)
		return true;
	if (!check_collection(store, out, uid, want, err))
		return false;
	if (!known)
		remember(store, uid, out);
	return true;
}

/* ---- calls on records ---- */

static bool
check_dim(const struct chroma_collection *collection, size_t dim, struct err *err)
{
	if (dim == 0 || collection->dim == 0 || dim == collection->dim)
		return true;
	return err_set(err, ERR_EMBEDDER_MISMATCH,
		       "the collection has vectors of %zu numbers, this embedder makes %zu",
		       collection->dim, dim);
}

/* A 400 may be for a dimension that another process has just fixed. */
static bool
explain_refusal(struct chroma_store *store, const struct chroma_record_call *call,
		const struct http_reply *reply, struct err *err)
{
	struct chroma_collection collection;
	struct err ignored = ERR_INIT;
	char what[64];
	bool found = false;

	chroma_forget(store, call->uid);
	if (call->dim > 0 &&
	    chroma_find(store, call->uid, CHROMA_FIND, call->limits, &collection, &found,
			&ignored) &&
	    found && !check_dim(&collection, call->dim, err))
		return false;
	(void)snprintf(what, sizeof(what), "%s records", call->verb);
	return chroma_fail(reply, what, err);
}

bool
chroma_on_records(struct chroma_store *store, const struct chroma_record_call *call,
		  struct http_reply *reply, enum chroma_class *out_class, bool *out_found,
		  struct err *err)
{
	bool writes = strcmp(call->verb, "upsert") == 0 || strcmp(call->verb, "delete") == 0;
	char path[CHROMA_UUID_BYTES + 64];

	for (int round = 0; round < 2; round++) {
		const struct chroma_call http = { .method = "POST",
						  .scope = CHROMA_DATABASE,
						  .path = path,
						  .body = call->body,
						  .writes = writes,
						  .limits = call->limits };
		struct chroma_collection collection;

		if (!chroma_find(store, call->uid, call->want, call->limits, &collection, out_found,
				 err))
			return false;
		if (!*out_found)
			return true;
		if (!check_dim(&collection, call->dim, err))
			return false;
		(void)snprintf(path, sizeof(path), "/collections/%s/%s", collection.id, call->verb);
		if (!chroma_run(store, &http, reply, out_class, err))
			return false;
		if (*out_class == CHROMA_OK || *out_class == CHROMA_SPLIT)
			return true;
		if (*out_class != CHROMA_MISSING)
			return explain_refusal(store, call, reply, err);
		/* dropped, or another server: look it up again, once */
		chroma_forget(store, call->uid);
		chroma_unprepare(store);
	}
	*out_found = false;
	return call->want != CHROMA_MAKE || chroma_fail(reply, "find the collection", err);
}
