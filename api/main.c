/*
 * rag-api: the HTTP API. Runs in the foreground, logs JSON lines to stderr, stops on SIGTERM and SIGINT.
 * Exit codes: 0 stopped, 64 wrong usage, 78 wrong settings (do not restart), 1 anything else.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config.h"
#include "common/http_server.h"

#define EXIT_USAGE 64

static const char usage[] =
	"usage: rag-api [--config FILE] [--print-config]\n"
	"\n"
	"Serves the HTTP API. Settings come from the environment, then from the file, then from\n"
	"their defaults; docs/configuration.md lists them.\n"
	"\n"
	"  --config FILE    read settings from this YAML file (also: CONFIG_FILE)\n"
	"  --print-config   print the settings in effect, secrets hidden, and end\n"
	"  --help           print this and end\n"
	"  --version        print the version and end\n"
	"\n"
	"exit codes: 0 stopped by a signal, 1 could not start or run, 64 wrong usage,\n"
	"78 wrong settings\n";

struct options {
	const char *config_path;
	bool print_config;
};

/* Returns the exit code to end with, or -1 to go on. */
static int
parse_options(int argc, char **argv, struct options *out)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			(void)fputs(usage, stdout);
			return 0;
		}
		if (strcmp(argv[i], "--version") == 0) {
			puts("rag-api " RAG_VERSION);
			return 0;
		}
		if (strcmp(argv[i], "--print-config") == 0) {
			out->print_config = true;
		} else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
			out->config_path = argv[++i];
		} else if (strncmp(argv[i], "--config=", 9) == 0) {
			out->config_path = argv[i] + 9;
		} else {
			(void)fprintf(stderr, "rag-api: unknown option '%s'\n\n%s", argv[i], usage);
			return EXIT_USAGE;
		}
	}
	return -1;
}

/* ---- stop ---- */

struct watchdog {
	int64_t drain_ms;
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool stopped; /* under lock */
};

/* Ends the process when the requests in progress do not end in time: what they do is safe to be cut off, for
 * every effect is one script in Redis. */
static void *
watchdog_run(void *user)
{
	struct watchdog *dog = user;
	int64_t until = clock_mono_ms() + dog->drain_ms;

	pthread_mutex_lock(&dog->lock);
	while (!dog->stopped && clock_cond_wait(&dog->done, &dog->lock, until))
		;
	if (!dog->stopped) {
		log_warn("requests were still in progress after %lld ms: cut off",
			 (long long)dog->drain_ms);
		_exit(0);
	}
	pthread_mutex_unlock(&dog->lock);
	return NULL;
}

static void
stop(struct api *api, const struct config *config)
{
	struct watchdog dog = { .drain_ms = config->api_drain_ms };
	pthread_t thread;

	pthread_mutex_init(&dog.lock, NULL);
	clock_cond_init(&dog.done);
	bool guarded = pthread_create(&thread, NULL, watchdog_run, &dog) == 0;
	api_drain(api);
	api_stop(api);
	if (!guarded)
		return;
	pthread_mutex_lock(&dog.lock);
	dog.stopped = true;
	pthread_cond_signal(&dog.done);
	pthread_mutex_unlock(&dog.lock);
	pthread_join(thread, NULL);
}

static int
wait_for_signal(const sigset_t *signals)
{
	const struct timespec hour = { .tv_sec = 3600 };
	int signal;

	do {
		signal = sigtimedwait(signals, NULL, &hour);
	} while (signal < 0 && (errno == EAGAIN || errno == EINTR));
	return signal;
}

/* ---- start ---- */

static int
run(const struct config *config)
{
	struct err err = ERR_INIT;
	struct api *api;
	sigset_t signals;
	int signal;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
	if (!api_start(config, &api, &err)) {
		log_err(LOG_ERROR, &err, "could not start");
		/* a port in use may be free at the next try */
		return err.code == ERR_CONFIG && err.detail != EADDRINUSE ? CONFIG_EXIT_CODE : 1;
	}
	log_info("rag-api " RAG_VERSION " listens on %s (port %d)", config->api_listen,
		 http_server_port(api->server));
	signal = wait_for_signal(&signals);
	log_info("stopping on %s", signal == SIGINT ? "SIGINT" : "SIGTERM");
	stop(api, config);
	log_info("stopped");
	return 0;
}

int
main(int argc, char **argv)
{
	struct options options = { 0 };
	enum log_level level = LOG_INFO;
	struct config config = { 0 };
	struct err err = ERR_INIT;
	int code = parse_options(argc, argv, &options);

	if (code >= 0)
		return code;
	log_init("rag-api", LOG_INFO);
	if (!config_load(&config, options.config_path, &err)) {
		log_err(LOG_ERROR, &err, "wrong settings");
		return CONFIG_EXIT_CODE;
	}
	if (log_level_parse(config.log_level, &level))
		log_init("rag-api", level);
	if (options.print_config) {
		config_print(&config, stdout);
		config_release(&config);
		return 0;
	}
	code = run(&config);
	config_release(&config);
	return code;
}
