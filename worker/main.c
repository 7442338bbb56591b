/*
 * rag-worker: takes jobs from the queues, runs them, writes the results back.
 *
 * Order of life: settings -> signals blocked -> health listener -> Redis
 * (waited for) -> store -> keeper -> slots; SIGTERM or SIGINT: slots stop
 * taking, running jobs get drain_ms, the rest is handed back, keeper last, exit
 * 0. Exit codes: 0 stopped on request, 1 could not run, 2 wrong usage, 78 wrong
 * settings.
 */
#include <assert.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/http_client.h"
#include "common/queue.h"
#include "jobs/convert/convert.h"
#include "jobs/spec/spec.h"
#include "worker/app.h"
#include "worker/health.h"
#include "worker/keeper.h"
#include "worker/slot.h"

#define EXIT_USAGE 2
#define MAIN_JOIN_MS 50
#define MAIN_GRACE_MS 15000 /* after drain_ms, for a step that looks at its flag late */
#define MAIN_DEFAULT_METRICS "127.0.0.1:8090"

static const char usage[] =
	"usage: rag-worker [--config FILE] [--queues LIST] [--slots N]\n"
	"       rag-worker --print-config | --help | --version\n"
	"\n"
	"Takes jobs from Redis, runs them and writes the results back. Stops on "
	"SIGTERM after\n"
	"finishing or handing back its jobs.\n"
	"\n"
	"  --config FILE    settings in YAML; the environment beats them "
	"(docs/configuration.md)\n"
	"  --queues LIST    queues to serve, e.g. query,ingest (also QUEUES)\n"
	"  --slots N        jobs at a time (also WORKERS)\n"
	"  --print-config   print the settings in effect and where each comes "
	"from, then exit\n"
	"\n"
	"exit codes: 0 stopped on request, 1 could not run, 2 wrong usage, 78 "
	"wrong settings\n";

struct main_options {
	const char *config_path, *queues;
	int64_t slots; /* 0 = from the settings */
	bool print_config;
};

bool
worker_pause(struct worker_app *app, int64_t ms)
{
	int64_t until_ms = clock_mono_ms() + ms;

	pthread_mutex_lock(&app->lock);
	while (!atomic_load(&app->stopping) && clock_cond_wait(&app->wake, &app->lock, until_ms))
		;
	pthread_mutex_unlock(&app->lock);
	return !atomic_load(&app->stopping);
}

void
worker_stop(struct worker_app *app)
{
	pthread_mutex_lock(&app->lock);
	atomic_store(&app->stopping, true);
	pthread_cond_broadcast(&app->wake);
	pthread_mutex_unlock(&app->lock);
}

/* ---- settings ---- */

/* Returns -1 to go on, else the exit code. */
static int
parse_options(int argc, char **argv, struct main_options *out)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "queues", required_argument, NULL, 'q' },
		{ "slots", required_argument, NULL, 's' },
		{ "print-config", no_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ 0 },
	};
	int option;

	// NOLINTNEXTLINE(concurrency-mt-unsafe): before the first thread
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'c') {
			out->config_path = optarg;
		} else if (option == 'q') {
			out->queues = optarg;
		} else if (option == 's') {
			if (!str_to_i64(str_of(optarg), 1, 256, &out->slots)) {
				(void)fprintf(
					stderr,
					"rag-worker: --slots: '%s' is not a number from 1 to 256\n",
					optarg);
				return EXIT_USAGE;
			}
		} else if (option == 'p') {
			out->print_config = true;
		} else if (option == 'h') {
			(void)fputs(usage, stdout);
			return EXIT_SUCCESS;
		} else if (option == 'v') {
			puts("rag-worker " RAG_VERSION);
			return EXIT_SUCCESS;
		} else {
			(void)fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		(void)fprintf(stderr, "rag-worker: unexpected argument '%s'\n%s", argv[optind],
			      usage);
		return EXIT_USAGE;
	}
	return -1;
}

static bool
choose_queues(struct worker_app *app, const char *list, struct err *err)
{
	struct str rest = str_of(list), name;

	while (str_split(&rest, ',', &name)) {
		struct queue_ref ref;

		name = str_trim(name);
		if (!job_queue_find(name, 0, &ref))
			return err_set(err, ERR_CONFIG, "queues: there is no queue '" STR_FMT "'",
				       STR_ARG(name));
		for (size_t i = 0; i < app->queue_count; i++) {
			if (app->queues[i].ref.name == ref.name)
				return err_set(err, ERR_CONFIG, "queues: '%s' is named twice",
					       ref.name);
		}
		if (app->queue_count == WORKER_MAX_QUEUES)
			return err_set(err, ERR_CONFIG, "queues: more than %d", WORKER_MAX_QUEUES);
		app->queues[app->queue_count++].ref = ref;
	}
	if (app->queue_count == 0)
		return err_set(err, ERR_CONFIG, "queues: none named");
	return true;
}

/*
 * A slot serves one queue. Every queue gets at least one slot; of the others,
 * queries get a quarter (they are short and wait for people), the rest is dealt
 * to the remaining queues in turn.
 */
static void
deal_slots(struct worker_app *app, size_t slots)
{
	struct worker_queue *query = NULL;
	size_t queries = 0, next = 0;

	assert(app->queue_count > 0);
	app->slot_count = slots > app->queue_count ? slots : app->queue_count;
	app->slot_queue = mem_array(app->slot_count, sizeof(struct worker_queue *));
	for (size_t i = 0; i < app->queue_count; i++) {
		if (strcmp(app->queues[i].ref.name, "query") == 0)
			query = &app->queues[i];
	}
	if (query && app->queue_count > 1)
		queries = app->slot_count / 4 ? app->slot_count / 4 : 1;
	for (size_t i = 0; i < app->slot_count; i++) {
		if (i < queries) {
			app->slot_queue[i] = query;
			continue;
		}
		if (queries && &app->queues[next % app->queue_count] == query)
			next++;
		app->slot_queue[i] = &app->queues[next++ % app->queue_count];
	}
}

/* ---- health and metrics ---- */

static bool
probe(void *user, enum health_probe which, char *out_reason, size_t reason_bytes)
{
	struct worker_app *app = user;
	bool started = atomic_load(&app->started);

	if (which == HEALTH_LIVE)
		return !started || health_live(app, out_reason, reason_bytes);
	if (!started) {
		(void)snprintf(out_reason, reason_bytes,
			       "starting: waiting for Redis and the store");
		return false;
	}
	if (which == HEALTH_STARTUP)
		return true;
	if (atomic_load(&app->stopping)) {
		(void)snprintf(out_reason, reason_bytes, "draining");
		return false;
	}
	if (!atomic_load(&app->redis_up)) {
		(void)snprintf(out_reason, reason_bytes, "Redis is away");
		return false;
	}
	return true;
}

static void
summary(void *user, struct buf *out)
{
	struct worker_app *app = user;
	struct jw w = jw_start(out);
	char reason[128] = "";

	jw_obj(&w);
	jw_kcstr(&w, "service", "rag-worker");
	jw_kcstr(&w, "version", RAG_VERSION);
	jw_kcstr(&w, "instance", app->instance);
	jw_kbool(&w, "ready", probe(app, HEALTH_READY, reason, sizeof(reason)));
	jw_kcstr(&w, "reason", reason);
	jw_kbool(&w, "redis", atomic_load(&app->redis_up));
	jw_kcstr(&w, "warning", app->warning);
	jw_kint(&w, "slots", (int64_t)app->slot_count);
	jw_kint(&w, "busy", (int64_t)running_active(&app->running));
	jw_karr(&w, "queues");
	for (size_t i = 0; i < app->queue_count; i++) {
		jw_obj(&w);
		jw_kcstr(&w, "name", app->queues[i].ref.name);
		jw_kbool(&w, "paused", atomic_load(&app->queues[i].paused));
		jw_end(&w);
	}
	jw_end(&w);
	jw_karr(&w, "dependencies");
	governor_view_write(app->dependencies, &w);
	jw_end(&w);
	jw_end(&w);
}

static void
register_metrics(struct worker_app *app)
{
	static const char *const type_outcome[] = { "type", "outcome", NULL };
	static const char *const type[] = { "type", NULL };
	static const char *const step[] = { "step", NULL };
	static const char *const cache[] = { "cache", "result", NULL };
	static const char *const state[] = { "state", NULL };
	static const char *const dependency[] = { "dependency", NULL };
	static const char *const version[] = { "version", NULL };
	struct metrics *metrics = app->metrics = metrics_new();
	struct metric *info;

#define HISTOGRAM                                                                                  \
	.kind = METRIC_HISTOGRAM, .buckets = metrics_seconds_buckets,                              \
	.bucket_count = metrics_seconds_bucket_count
	app->m.jobs_total =
		metrics_register(metrics,
				 &(struct metric_opts){
					 .kind = METRIC_COUNTER,
					 .name = "rag_engine_jobs_total",
					 .help = "Jobs ended here, by what became of them.",
					 .labels = type_outcome });
	app->m.wait_seconds =
		metrics_register(metrics,
				 &(struct metric_opts){
					 HISTOGRAM, .name = "rag_engine_job_wait_seconds",
					 .help = "From submit to start.", .labels = type });
	app->m.run_seconds =
		metrics_register(metrics,
				 &(struct metric_opts){
					 HISTOGRAM, .name = "rag_engine_job_run_seconds",
					 .help = "From start to settled.", .labels = type });
	app->m.step_seconds =
		metrics_register(metrics, &(struct metric_opts){ HISTOGRAM,
								 .name = "rag_engine_step_seconds",
								 .help = "One step of a pipeline.",
								 .labels = step });
#undef HISTOGRAM
	app->m.cache_total =
		metrics_register(metrics,
				 &(struct metric_opts){ .kind = METRIC_COUNTER,
							.name = "rag_engine_cache_total",
							.help = "Cache look-ups, by result.",
							.labels = cache });
	app->m.slots =
		metrics_register(metrics, &(struct metric_opts){ .kind = METRIC_GAUGE,
								 .name = "rag_engine_worker_slots",
								 .help = "Slots, by state.",
								 .labels = state });
	app->m.dependency_up = metrics_register(
		metrics, &(struct metric_opts){
				 .kind = METRIC_GAUGE,
				 .name = "rag_engine_dependency_up",
				 .help = "1 when the dependency answered last time; of a governed "
					 "one: its breaker is closed and its quota not spent.",
				 .labels = dependency });
	info = metrics_register(metrics,
				&(struct metric_opts){ .kind = METRIC_GAUGE,
						       .name = "rag_engine_build_info",
						       .help = "1, with the version as a label.",
						       .labels = version });
	metric_set(info, METRIC_VALUES(RAG_VERSION), 1);
	app->dependencies = governor_view_new(metrics, app->m.dependency_up);
}

static void
register_provider_metrics(struct worker_app *app)
{
	static const char *const outcome[] = { "provider", "kind", "outcome", NULL };
	static const char *const kind[] = { "provider", "kind", NULL };
	static const char *const direction[] = { "provider", "kind", "direction", NULL };
	static const char *const provider[] = { "provider", NULL };
	struct provider_metrics *out = &app->m.provider;

	out->requests_total =
		metrics_register(app->metrics,
				 &(struct metric_opts){
					 .kind = METRIC_COUNTER,
					 .name = "rag_engine_provider_requests_total",
					 .help = "Requests to providers, by what came of them.",
					 .labels = outcome });
	out->seconds = metrics_register(
		app->metrics, &(struct metric_opts){
				      .kind = METRIC_HISTOGRAM,
				      .buckets = metrics_seconds_buckets,
				      .bucket_count = metrics_seconds_bucket_count,
				      .name = "rag_engine_provider_seconds",
				      .help = "One request to a provider, to the end of its reply.",
				      .labels = kind });
	out->tokens_total =
		metrics_register(app->metrics,
				 &(struct metric_opts){
					 .kind = METRIC_COUNTER,
					 .name = "rag_engine_provider_tokens_total",
					 .help = "Tokens sent to and had from providers.",
					 .labels = direction });
	out->first_token_seconds =
		metrics_register(app->metrics,
				 &(struct metric_opts){
					 .kind = METRIC_HISTOGRAM,
					 .buckets = metrics_seconds_buckets,
					 .bucket_count = metrics_seconds_bucket_count,
					 .name = "rag_engine_time_to_first_token_seconds",
					 .help = "From the request to the first text of an answer.",
					 .labels = provider });
}

/* ---- life ---- */

/* Not fatal: documents that need no converter are read, the others fail and say why. */
static void
look_for_converters(struct worker_app *app)
{
	const struct convert_opts opts = convert_opts_of(app->config);
	struct err err = ERR_INIT;

	if (convert_check(&opts, &err))
		return;
	str_copy(app->warning, sizeof(app->warning), str_of(err.msg));
	log_err(LOG_WARN, &err, "documents of some formats will fail");
}

static void
init_app(struct worker_app *app, const struct config *config)
{
	char host[256] = "worker";

	app->config = config;
	app->redis_opts = (struct redis_opts){
		.url = config->redis_url.value,
		.connect_timeout_ms = (int)config->redis_connect_timeout_ms,
		.timeout_ms = (int)config->redis_timeout_ms,
		.client_name = "rag-worker",
	};
	if (config->pod_name[0])
		str_copy(host, sizeof(host), str_of(config->pod_name));
	else if (gethostname(host, sizeof(host) - 1) != 0)
		str_copy(host, sizeof(host), STR("worker"));
	/* The nonce keeps a restarted pod of the same name from inheriting old
   * pending entries. */
	(void)snprintf(app->instance, sizeof(app->instance), "%.22s/%016llx", host,
		       (unsigned long long)id_random_u64());
	clock_cond_init(&app->wake);
	pthread_mutex_init(&app->lock, NULL);
	atomic_store(&app->kept_mono_ms, clock_mono_ms());
	atomic_store(&app->fetched_mono_ms, clock_mono_ms());
}

/* True when a signal to stop came within ms. */
static bool
stop_signal(const sigset_t *signals, int64_t ms)
{
	const struct timespec timeout = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	return sigtimedwait(signals, NULL, &timeout) > 0;
}

/* Waits for a Redis that can be used. False: *err has ERR_CONFIG, or
 * ERR_CANCELLED after a signal. */
static bool
await_redis(struct worker_app *app, const sigset_t *signals, struct err *err)
{
	AUTO_PTR(redis_free) struct redis *redis = NULL;
	char warning[256] = "";
	bool told = false;

	if (!redis_new(&app->redis_opts, &redis, err))
		return false;
	for (;;) {
		struct err failure = ERR_INIT;
		bool ok = redis_check_server(redis, warning, sizeof(warning), &failure);

		for (size_t i = 0; ok && i < app->queue_count; i++)
			ok = queue_ensure_group(redis, app->queues[i].ref, &failure);
		if (ok)
			break;
		if (failure.code == ERR_CONFIG) {
			*err = failure;
			return false;
		}
		if (!told)
			log_err(LOG_WARN, &failure, "waiting for Redis");
		told = true;
		if (stop_signal(signals, 500))
			return err_set(err, ERR_CANCELLED, "stopped while waiting for Redis");
	}
	if (warning[0])
		log_warn("%s", warning);
	return true;
}

static bool
join_within(pthread_t thread, int64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += ms % 1000 * 1000000;
	until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return pthread_timedjoin_np(thread, NULL, &until) == 0;
}

/*
 * True when every slot has ended. A slot may have been handed a job just as it was told to stop, so what counts is
 * that the threads end, not that none of them runs a job; and a job begun late is asked to stop like the others.
 */
static bool
drain(struct worker_app *app, struct slot *slots, size_t started)
{
	int64_t stop_ms = clock_mono_ms() + app->config->drain_ms;
	int64_t leave_ms = stop_ms + MAIN_GRACE_MS;

	worker_stop(app);
	log_info("draining: %zu jobs running, up to %lld ms", running_active(&app->running),
		 (long long)app->config->drain_ms);
	for (size_t i = 0; i < started; i++) {
		while (!join_within(slots[i].thread, MAIN_JOIN_MS)) {
			if (clock_mono_ms() >= leave_ms)
				return false;
			if (clock_mono_ms() >= stop_ms)
				running_stop_all(&app->running, STOP_DRAIN);
		}
	}
	return true;
}

/* From a usable Redis to the end. */
static int
serve(struct worker_app *app, const sigset_t *signals, struct err *err)
{
	struct slot *slots = mem_array(app->slot_count, sizeof(*slots));
	struct keeper keeper;
	size_t started = 0;
	bool ok, clean;

	if (!keeper_start(&keeper, app, err)) {
		mem_free(slots);
		return EXIT_FAILURE;
	}
	while (started < app->slot_count &&
	       slot_start(&slots[started], app, started, app->slot_queue[started], err))
		started++;
	ok = started == app->slot_count;
	if (ok) {
		atomic_store(&app->started, true);
		log_info("ready: %zu slots, queues %s", app->slot_count, app->config->queues);
		while (!stop_signal(signals, INT64_C(3600) * 1000))
			;
	}
	clean = drain(app, slots, started);
	if (!clean) {
		/* A handler that does not return keeps its thread; its lease ends and the
     * job runs elsewhere. */
		log_error("jobs did not stop in time, leaving them to their leases");
		_exit(EXIT_FAILURE);
	}
	atomic_store(&app->keeper_stop, true);
	keeper_join(&keeper);
	mem_free(slots);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int
run(struct worker_app *app, const sigset_t *signals, struct err *err)
{
	const struct config *config = app->config;
	const struct monitor_opts opts = {
		.listen = config->metrics_listen[0] ? config->metrics_listen : MAIN_DEFAULT_METRICS,
		.enable_metrics = config->enable_monitoring,
		.metrics = app->metrics,
		.probe = probe,
		.summary = summary,
		.user = app,
	};
	struct monitor *monitor = NULL;
	struct embed_pool_opts pool;
	int code = EXIT_FAILURE;

	if (!monitor_start(&opts, &monitor, err))
		return err->code == ERR_CONFIG ? CONFIG_EXIT_CODE : EXIT_FAILURE;
	log_info("health and metrics on %s (port %d)", opts.listen, monitor_port(monitor));
	if (await_redis(app, signals, err) && embed_pool_opts_of(config, &pool, err) &&
	    store_open(config, &app->store, err)) {
		app->embed_pool = embed_pool_new(&pool);
		code = serve(app, signals, err);
		embed_pool_free(app->embed_pool);
		store_close(app->store);
	} else if (err->code == ERR_CANCELLED) {
		err_clear(err);
		code = EXIT_SUCCESS;
	}
	monitor_stop(monitor);
	return err->code == ERR_CONFIG ? CONFIG_EXIT_CODE : code;
}

int
main(int argc, char **argv)
{
	struct main_options options = { 0 };
	struct worker_app app = { 0 };
	struct config config;
	enum log_level level = LOG_INFO;
	struct err err = ERR_INIT;
	sigset_t signals;
	int code = parse_options(argc, argv, &options);

	if (code >= 0)
		return code;
	log_init("rag-worker", LOG_INFO);
	if (!config_load(&config, options.config_path, &err)) {
		log_err(LOG_ERROR, &err, "cannot start");
		return CONFIG_EXIT_CODE;
	}
	if (options.print_config) {
		config_print(&config, stdout);
		config_release(&config);
		return EXIT_SUCCESS;
	}
	log_level_parse(config.log_level, &level);
	log_init("rag-worker", level);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	(void)signal(SIGPIPE, SIG_IGN);

	init_app(&app, &config);
	if (http_client_global_init(&err) && spec_check_config(&config, &err) &&
	    prompt_template_load(&config, &app.prompt, &err) &&
	    choose_queues(&app, options.queues ? options.queues : config.queues, &err)) {
		deal_slots(&app, (size_t)(options.slots ? options.slots : config.workers));
		running_init(&app.running, app.slot_count);
		register_metrics(&app);
		register_provider_metrics(&app);
		look_for_converters(&app);
		code = run(&app, &signals, &err);
	} else {
		code = CONFIG_EXIT_CODE;
	}
	if (err.code != ERR_NONE)
		log_err(LOG_ERROR, &err, "cannot run");
	else
		log_info("stopped");
	running_release(&app.running);
	prompt_template_free(app.prompt);
	governor_view_free(app.dependencies);
	metrics_free(app.metrics);
	mem_free(app.slot_queue);
	http_client_global_release();
	config_release(&config);
	return code;
}
