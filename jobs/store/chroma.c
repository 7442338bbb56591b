/*
 * The chroma store: one Chroma server (v2 HTTP API) for any number of workers. The rooms of this house: chroma_store.h.
 *
 * Opening asks nothing of the server: a worker starts while Chroma is away, and its jobs wait. What Chroma has answered with 200 is durable (its
 * log is in SQLite). A search may see a generation half: no STORE_CAP_SNAPSHOT, so readers look again (jobs/step/retrieve.c).
 */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "jobs/spec/store.h"
#include "jobs/store/chroma_store.h"

static bool
set_urls(struct chroma_store *store, struct err *err)
{
	const struct config *config = store->config;
	const char *token = config->chroma_token.value;
	int len;

	if (!spec_check_store(config, err))
		return false;
	len = snprintf(store->server, sizeof(store->server), "%s://%s:%lld/api/v2",
		       config->chroma_tls ? "https" : "http", config->chroma_host,
		       (long long)config->chroma_port);
	if (len <= 0 || (size_t)len >= sizeof(store->server))
		return err_set(err, ERR_CONFIG, "CHROMA_HOST is too long");
	len = snprintf(store->database, sizeof(store->database), "%s/tenants/%s/databases/%s",
		       store->server, config->chroma_tenant, config->chroma_database);
	if (len <= 0 || (size_t)len >= sizeof(store->database))
		return err_set(err, ERR_CONFIG, "CHROMA_TENANT and CHROMA_DATABASE are too long");
	if (!token || !token[0])
		return true;
	len = snprintf(store->auth, sizeof(store->auth), "%s%s",
		       config->chroma_auth == CHROMA_AUTH_BEARER ? "Authorization: Bearer "
								 : "x-chroma-token: ",
		       token);
	return (len > 0 && (size_t)len < sizeof(store->auth)) ||
	       err_set(err, ERR_CONFIG, "CHROMA_TOKEN is too long");
}

static void
chroma_close(struct store *base)
{
	struct chroma_store *store = (struct chroma_store *)base;

	chroma_gate_free(store->gate);
	chroma_http_release(store);
	(void)pthread_mutex_destroy(&store->lock);
	memset(store->auth, 0, sizeof(store->auth));
	mem_free(store);
}

static bool
chroma_open(const struct config *config, struct store **out, struct err *err)
{
	struct chroma_store *store = mem_alloc(sizeof(*store));
	struct err ignored = ERR_INIT;

	store->store.ops = &chroma_store_ops;
	store->config = config;
	(void)pthread_mutex_init(&store->lock, NULL);
	atomic_store(&store->max_bytes, CHROMA_WRITE_BYTES);
	atomic_store(&store->max_rows, config->chroma_batch > 0 ? (size_t)config->chroma_batch : 1);
	/* who only counts and cleans (rag-cron) may be without an embedder */
	if (!spec_embedder_fingerprint(config, store->fingerprint, &ignored))
		store->fingerprint[0] = '\0';
	if (!set_urls(store, err) || !chroma_gate_new(config, &store->gate, err)) {
		chroma_close(&store->store);
		return err_wrap(err, "store 'chroma'");
	}
	*out = &store->store;
	return true;
}

static bool
chroma_ping(struct store *base, struct err *err)
{
	AUTO(http_reply) struct http_reply reply = { 0 };
	enum chroma_class class = CHROMA_ODD;
	const struct chroma_call call = { .method = "GET",
					  .scope = CHROMA_SERVER,
					  .path = "/heartbeat" };

	http_reply_init(&reply, CHROMA_REPLY_BYTES);
	return chroma_run((struct chroma_store *)base, &call, &reply, &class, err) &&
	       (class == CHROMA_OK || chroma_fail(&reply, "ask Chroma whether it is there", err));
}

const struct store_ops chroma_store_ops = {
	.name = "chroma",
	.caps = STORE_CAP_DENSE,
	.open = chroma_open,
	.close = chroma_close,
	.put = chroma_put,
	.search = chroma_search,
	.count = chroma_count,
	.remove_generation = chroma_remove_generation,
	.remove_older = chroma_remove_older,
	.remove_collection = chroma_remove_collection,
	.each_generation = chroma_each_generation,
	.ping = chroma_ping,
};
