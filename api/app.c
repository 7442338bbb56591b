/*
 * The start and stop of rag-api. Order of start: settings, Redis' state (keep), hub, pool, listeners; the stop
 * goes the other way round, so that whatever a request may use outlives it.
 */
#include "api/api.h"

#include <stdio.h>

#include "api/auth.h"
#include "api/hub.h"
#include "api/keep.h"
#include "api/route.h"
#include "api/stats.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#define MAX_HEADER_BYTES ((size_t)16 * 1024)
/* A request has a client that waits: it asks Redis for no longer than this, whatever workers may. */
#define REDIS_TIMEOUT_MAX_MS 2000
#define DEFAULT_METRICS_LISTEN "127.0.0.1:8089"

static bool
check_access(struct api *api, struct err *err)
{
	const struct config *config = api->config;
	bool loopback;
	char host[256];
	int port;

	if (!http_listen_parse(config->api_listen, host, &port, &loopback, err))
		return err_wrap(err, "api.listen (API_LISTEN)");
	if (config->api_keys_file[0])
		return auth_open(config->api_keys_file, &api->auth, err) ||
		       err_wrap(err, "api.keys_file (API_KEYS_FILE)");
	if (config->environment == ENVIRONMENT_PRODUCTION)
		return err_set(err, ERR_CONFIG,
			       "cannot run in production without API keys: set api.keys_file "
			       "(API_KEYS_FILE)");
	if (!loopback)
		return err_set(err, ERR_CONFIG,
			       "cannot listen on %s without API keys: set api.keys_file "
			       "(API_KEYS_FILE), or listen on a loopback address",
			       config->api_listen);
	log_warn("no API keys (API_KEYS_FILE): everybody on this machine may use the API, which "
		 "listens on the loopback address %s only",
		 config->api_listen);
	return true;
}

static int
at_most(int64_t ms)
{
	return ms < REDIS_TIMEOUT_MAX_MS ? (int)ms : REDIS_TIMEOUT_MAX_MS;
}

static struct redis_opts
redis_opts_of(const struct config *config, const char *client_name)
{
	return (struct redis_opts){
		.url = config->redis_url.value,
		.connect_timeout_ms = at_most(config->redis_connect_timeout_ms),
		.timeout_ms = at_most(config->redis_timeout_ms),
		.client_name = client_name,
	};
}

static bool
start_redis_users(struct api *api, struct err *err)
{
	const struct config *config = api->config;
	struct redis_opts pool = redis_opts_of(config, "rag-api");
	struct redis_opts keep = redis_opts_of(config, "rag-api-keep");
	struct redis_opts hub = redis_opts_of(config, "rag-api-hub");
	/* a wait holds a thread of the listener: some must stay for other requests */
	int64_t most = config->api_threads - config->api_threads / 4;
	int64_t waiters = config->max_waiters < most ? config->max_waiters : most;

	return redis_pool_new(&pool, (size_t)config->api_pool, &api->pool, err) &&
	       keep_start(config, &keep, &api->keep, err) &&
	       hub_start(&hub, (size_t)waiters, &api->hub, err);
}

static bool
start_listeners(struct api *api, struct err *err)
{
	const struct config *config = api->config;
	struct http_server_opts server = {
		.listen = config->api_listen,
		.name = "api",
		.threads = (int)config->api_threads,
		.header_timeout_ms = (int)config->header_timeout_ms,
		.body_timeout_ms = (int)config->body_timeout_ms,
		.keep_alive_ms = (int)config->keep_alive_ms,
		.max_connection_requests = (int)config->max_connection_requests,
		.max_connection_ms = (int)config->max_connection_ms,
		.max_header_bytes = MAX_HEADER_BYTES,
		.handler = route_request,
		.user = api,
	};
	struct monitor_opts monitor = {
		.listen =
			config->metrics_listen[0] ? config->metrics_listen : DEFAULT_METRICS_LISTEN,
		.enable_metrics = config->enable_monitoring,
		.metrics = stats_metrics(api->stats),
		.probe = stats_probe,
		.summary = stats_summary,
		.user = api,
	};

	if (!monitor_start(&monitor, &api->monitor, err))
		return false;
	log_info("health%s on %s (port %d)", config->enable_monitoring ? " and metrics" : "",
		 monitor.listen, monitor_port(api->monitor));
	return http_server_start(&server, &api->server, err);
}

bool
api_start(const struct config *config, struct api **out, struct err *err)
{
	struct api *api = mem_alloc(sizeof(*api));

	api->config = config;
	api->started_mono_ms = clock_mono_ms();
	api->stats = stats_new(api);
	if (!spec_check_config(config, err) ||
	    !spec_embedder_fingerprint(config, api->fingerprint, err) || !check_access(api, err) ||
	    !start_redis_users(api, err) || !start_listeners(api, err)) {
		api_stop(api);
		return false;
	}
	atomic_store(&api->started, true);
	*out = api;
	return true;
}

void
api_drain(struct api *api)
{
	atomic_store(&api->draining, true);
	hub_drain(api->hub);
}

void
api_stop(struct api *api)
{
	if (!api)
		return;
	http_server_stop(api->server);
	if (api->monitor)
		monitor_stop(api->monitor);
	hub_stop(api->hub);
	keep_stop(api->keep);
	redis_pool_free(api->pool);
	auth_close(api->auth);
	stats_free(api->stats);
	mem_free(api);
}
