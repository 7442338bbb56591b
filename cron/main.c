/*
 * rag-cron: one maintenance task, then it ends. What it found goes to stdout, its log to stderr.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config.h"
#include "common/http_client.h"
#include "common/redis.h"
#include "cron/report.h"
#include "cron/task.h"
#include "jobs/store/store.h"

enum exit_code {
	EXIT_DONE = 0,
	EXIT_BROKEN = 1, /* an invariant does not hold */
	EXIT_FAILED = 2, /* the task could not be done: Redis or the store is away */
	EXIT_USAGE = 64
};

struct task {
	const char *name;
	bool needs_store;
	bool (*run)(struct cron *cron, struct err *err);
	const char *doc;
};

static const struct task tasks[] = {
	{ "verify", true, cron_verify,
	  "check every invariant of queue, catalog and store; changes nothing" },
	{ "keep", false, cron_keep,
	  "promote due jobs, restart those of lost workers, apply retention" },
	{ "cleanup", true, cron_cleanup, "remove chunks and records that nothing needs any more" },
};

struct args {
	const char *config_path; /* NULL = CONFIG_FILE or none */
	bool json, help, version;
	const struct task *task;
};

static void
print_help(FILE *out)
{
	(void)fputs(
		"usage: rag-cron [--config FILE] [--json] TASK\n\n"
		"One maintenance task, then it ends. May run beside everything else, and twice.\n\n"
		"tasks:\n",
		out);
	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++)
		(void)fprintf(out, "  %-9s %s\n", tasks[i].name, tasks[i].doc);
	(void)fputs("\noptions:\n"
		    "  --config FILE  settings (YAML); the environment beats them\n"
		    "  --json         one JSON object on stdout instead of text\n"
		    "  --help, --version\n\n"
		    "exit codes: 0 done, nothing broken; 1 an invariant is broken (each is "
		    "listed); 2 the "
		    "task\ncould not be done; 64 bad arguments; 78 bad settings\n",
		    out);
}

static const struct task *
find_task(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++) {
		if (strcmp(tasks[i].name, name) == 0)
			return &tasks[i];
	}
	return NULL;
}

static bool
usage(const char *what, const char *arg)
{
	(void)fprintf(stderr, "rag-cron: %s '%s' (see rag-cron --help)\n", what, arg);
	return false;
}

static bool
parse_args(int argc, char **argv, struct args *out)
{
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];

		if (strcmp(arg, "--json") == 0) {
			out->json = true;
		} else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
			out->help = true;
		} else if (strcmp(arg, "--version") == 0) {
			out->version = true;
		} else if (strcmp(arg, "--config") == 0) {
			if (i + 1 == argc)
				return usage("no file after", arg);
			out->config_path = argv[++i];
		} else if (arg[0] == '-') {
			return usage("unknown option", arg);
		} else if (out->task) {
			return usage("one task at a time; one too many:", arg);
		} else {
			out->task = find_task(arg);
			if (!out->task)
				return usage("unknown task", arg);
		}
	}
	return out->help || out->version || out->task || usage("no task given", "");
}

static bool
run_task(const struct args *args, const struct config *config, struct report *report,
	 struct err *err)
{
	const struct redis_opts opts = {
		.url = config->redis_url.value,
		.connect_timeout_ms = (int)config->redis_connect_timeout_ms,
		.timeout_ms = (int)config->redis_timeout_ms,
		.client_name = "rag-cron",
	};
	AUTO_PTR(redis_free) struct redis *redis = NULL;
	struct cron cron = { .config = config, .report = report };
	bool done;

	if (!redis_new(&opts, &redis, err))
		return false;
	cron.redis = redis;
	if (args->task->needs_store && !store_open(config, &cron.store, err))
		return false;
	done = args->task->run(&cron, err);
	store_close(cron.store);
	return done;
}

static int
run(const struct args *args, const struct config *config)
{
	struct report report;
	struct err err = ERR_INIT;
	enum log_level level = LOG_INFO;
	int64_t since_ms = clock_mono_ms();
	int code = EXIT_DONE;

	(void)log_level_parse(config->log_level, &level);
	log_init("rag-cron", level);
	report_init(&report, args->task->name);
	if (!run_task(args, config, &report, &err)) {
		log_err(LOG_ERROR, &err, "could not %s", args->task->name);
		code = err.code == ERR_CONFIG ? CONFIG_EXIT_CODE : EXIT_FAILED;
	} else {
		report_print(&report, args->json, stdout);
		code = report.problem_count > 0 ? EXIT_BROKEN : EXIT_DONE;
		log_done(code == EXIT_DONE ? LOG_INFO : LOG_ERROR, clock_mono_ms() - since_ms, code,
			 "%s", args->task->name);
	}
	report_release(&report);
	return code;
}

int
main(int argc, char **argv)
{
	struct args args = { .task = NULL };
	struct config config;
	struct err err = ERR_INIT;
	int code;

	if (!parse_args(argc, argv, &args))
		return EXIT_USAGE;
	if (args.help) {
		print_help(stdout);
		return EXIT_DONE;
	}
	if (args.version) {
		(void)puts("rag-cron " RAG_VERSION);
		return EXIT_DONE;
	}
	if (!config_load(&config, args.config_path, &err)) {
		(void)fprintf(stderr, "rag-cron: %s\n", err.msg);
		return CONFIG_EXIT_CODE;
	}
	if (!http_client_global_init(&err)) { /* before any thread: the store may be a server */
		(void)fprintf(stderr, "rag-cron: %s\n", err.msg);
		config_release(&config);
		return EXIT_FAILED;
	}
	code = run(&args, &config);
	http_client_global_release();
	config_release(&config);
	return code;
}
