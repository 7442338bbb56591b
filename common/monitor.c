/* The listener of metrics.h: a small server of its own, so that probes are answered when all threads of
 * the API are taken. */
#include <string.h>

#include "common/base/auto.h"
#include "common/base/mem.h"
#include "common/http_server.h"
#include "common/json.h"
#include "common/metrics.h"

#define PAGE_MAX_BYTES ((size_t)64 * 1024 * 1024)
#define REASON_BYTES 256
#define THREADS 4

struct monitor {
	struct monitor_opts opts;
	struct http_server *server; /* owned */
};

static void
send_page(const struct http_request *request, int status, const char *type, const struct buf *body)
{
	struct http_answer answer;

	http_answer_init(&answer, status);
	answer.content_type = type;
	answer.body = str_make(body->data, body->len);
	http_answer_header(&answer, "Cache-Control", "no-store");
	if (status == 405)
		http_answer_header(&answer, "Allow", "GET, HEAD");
	http_answer_send(request, &answer);
}

static void
send_problem(const struct http_request *request, int status, enum err_code code, const char *detail)
{
	const struct err_info *info = err_info(code);
	AUTO(buf) struct buf body = BUF_INIT(1024);
	struct jw w = jw_start(&body);

	jw_obj(&w);
	jw_kcstr(&w, "type", "about:blank");
	jw_kcstr(&w, "title", info->title);
	jw_kint(&w, "status", status);
	jw_kcstr(&w, "detail", detail);
	jw_kcstr(&w, "code", info->wire);
	jw_kbool(&w, "retryable", info->retryable);
	jw_end(&w);
	send_page(request, status, "application/problem+json", &body);
}

static bool
ask_probe(const struct monitor *monitor, enum health_probe probe, char *reason)
{
	reason[0] = '\0';
	return !monitor->opts.probe ||
	       monitor->opts.probe(monitor->opts.user, probe, reason, REASON_BYTES);
}

static void
send_probe(const struct monitor *monitor, const struct http_request *request,
	   enum health_probe probe)
{
	AUTO(buf) struct buf body = BUF_INIT((size_t)8 * REASON_BYTES);
	struct jw w = jw_start(&body);
	char reason[REASON_BYTES];
	bool good = ask_probe(monitor, probe, reason);

	jw_obj(&w);
	jw_kcstr(&w, "status", good ? "ok" : "unavailable");
	if (!good)
		jw_kcstr(&w, "reason", reason);
	jw_end(&w);
	send_page(request, good ? 200 : 503, "application/json", &body);
}

static void
serve_live(const struct monitor *monitor, const struct http_request *request)
{
	send_probe(monitor, request, HEALTH_LIVE);
}

static void
serve_ready(const struct monitor *monitor, const struct http_request *request)
{
	send_probe(monitor, request, HEALTH_READY);
}

static void
serve_startup(const struct monitor *monitor, const struct http_request *request)
{
	send_probe(monitor, request, HEALTH_STARTUP);
}

/* The summary, with the status of the ready probe. */
static void
serve_summary(const struct monitor *monitor, const struct http_request *request)
{
	AUTO(buf) struct buf body = BUF_INIT(PAGE_MAX_BYTES);
	char reason[REASON_BYTES];

	if (!monitor->opts.summary) {
		serve_ready(monitor, request);
		return;
	}
	monitor->opts.summary(monitor->opts.user, &body);
	if (!buf_ok(&body)) {
		send_problem(request, 500, ERR_INTERNAL, "the summary is too large");
		return;
	}
	send_page(request, ask_probe(monitor, HEALTH_READY, reason) ? 200 : 503, "application/json",
		  &body);
}

static void
serve_metrics(const struct monitor *monitor, const struct http_request *request)
{
	AUTO(buf) struct buf body = BUF_INIT(PAGE_MAX_BYTES);

	if (!monitor->opts.enable_metrics) {
		send_problem(request, 404, ERR_NOT_FOUND, "metrics are switched off");
		return;
	}
	metrics_write(monitor->opts.metrics, &body);
	if (!buf_ok(&body))
		send_problem(request, 500, ERR_INTERNAL, "the page is too large");
	else
		send_page(request, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}

static const struct {
	const char *path;
	void (*serve)(const struct monitor *monitor, const struct http_request *request);
} routes[] = {
	{ "/metrics", serve_metrics },	      { "/health", serve_summary },
	{ "/health/live", serve_live },	      { "/health/ready", serve_ready },
	{ "/health/startup", serve_startup },
};

static void
handle(const struct http_request *request, void *user)
{
	const struct monitor *monitor = user;

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (!str_eq_c(request->path, routes[i].path))
			continue;
		if (str_eq(request->method, STR("GET")) || str_eq(request->method, STR("HEAD")))
			routes[i].serve(monitor, request);
		else
			send_problem(request, 405, ERR_METHOD_NOT_ALLOWED, "only GET and HEAD");
		return;
	}
	send_problem(request, 404, ERR_NOT_FOUND, "no such page");
}

bool
monitor_start(const struct monitor_opts *opts, struct monitor **out, struct err *err)
{
	struct monitor *monitor = mem_alloc(sizeof(*monitor));
	struct http_server_opts server = {
		.listen = opts->listen,
		.name = "monitoring",
		.threads = THREADS,
		.header_timeout_ms = 2000,
		.body_timeout_ms = 2000,
		.keep_alive_ms = 500,
		.max_connection_requests = 100,
		.max_connection_ms = 5000,
		.max_header_bytes = 8192,
		.handler = handle,
		.user = monitor,
	};

	monitor->opts = *opts;
	if (!http_server_start(&server, &monitor->server, err)) {
		mem_free(monitor);
		return false;
	}
	*out = monitor;
	return true;
}

int
monitor_port(const struct monitor *monitor)
{
	return http_server_port(monitor->server);
}

void
monitor_stop(struct monitor *monitor)
{
	if (!monitor)
		return;
	http_server_stop(monitor->server);
	mem_free(monitor);
}
