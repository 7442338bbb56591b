/*
 * cli: what all commands of ragctl share: the surroundings they run in, their options, exit codes.
 *
 * A command gets a struct cli (one a run, owned by cli_main) and prints its result to cli->out and
 * everything else (progress, warnings, errors) to cli->err. Text that came from a server or a file goes
 * through text.h first, so that it cannot drive the terminal.
 */
#ifndef RAG_CLI_CLI_H
#define RAG_CLI_CLI_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/err.h"

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,	     /* failed, or partly failed */
	CLI_USAGE = 2,	     /* the command line is wrong */
	CLI_UNREACHABLE = 3, /* no server, or it stays unavailable */
	CLI_NOT_FOUND = 4,
	CLI_REFUSED = 5,      /* the server refused the request */
	CLI_SERVER_ERROR = 6, /* the server failed */
	CLI_INTERRUPTED = 130
};

#define CLI_MAX_LIST 32

struct cli_list {
	const char *items[CLI_MAX_LIST]; /* borrowed from argv */
	size_t count;
};

/* The union of all options; which of them a command takes is in its row of the command table. */
struct cli_options {
	const char *url, *key, *key_file;
	const char *collection, *type, *uri_prefix, *mode, *filter, *status, *queue, *job_type;
	const char *description, *health_url, *idempotency_key;
	const char *baseline, *conversation;
	int64_t jobs, top_k, limit, timeout_s, retry_s;
	const char *file, *tenant, *scopes, *rate, *expires;
	int64_t expires_in_days;
	bool json, quiet, no_color, help, version;
	bool force, no_wait, no_uri, no_generate, explain, rerank, stream, yes, result;
	int64_t resamples, seed;
	bool keep;
	/* of dead jobs */
	const char *error, *older_than;
	bool all;
	/* of top */
	int64_t interval_s;
	bool once;
	struct cli_list include, exclude;
};

/* What main finds around it; tests make their own. */
struct cli_world {
	FILE *out, *err;
	bool out_is_terminal, err_is_terminal;
	bool can_draw;		       /* out is a terminal that knows how to move its cursor */
	int columns;		       /* of the terminal */
	const char *env_url, *env_key; /* RAG_URL, RAG_API_KEY; NULL = not set */
	bool no_color;		       /* NO_COLOR is set, or the terminal knows no colours */
	bool (*ask)(void *user, const char *question); /* NULL: nobody to ask */
	void *user;
};

struct cli {
	const struct cli_world *world;
	struct cli_options options;
	const char *const *args; /* what is left of argv */
	size_t arg_count;
	FILE *out, *err;
	bool color;	 /* out may be coloured */
	const char *url; /* without trailing '/' */
	char url_text[2048];
	const char *key;     /* "" = none */
	char key_text[1024]; /* of --key-file */
};

/* Set by SIGINT and SIGTERM; every call of the client looks at it. */
extern atomic_bool cli_interrupted;

/* Where no --collection is given: this pointer itself. */
extern const char cli_default_collection[];

/* One run of ragctl; curl must be initialised. Returns the exit code. */
int cli_main(int argc, const char *const *argv, const struct cli_world *world);

/* Fills url, key and color from options and world. */
bool cli_set_up(struct cli *cli, struct err *err);

/* Prints "ragctl: <message>" to cli->err (hints included) and returns the exit code that fits. */
int cli_fail(struct cli *cli, const struct err *err);
enum cli_exit cli_exit_code(const struct err *err);

/* The commands; each is one row of the table in cli.c. */
int cli_ingest(struct cli *cli);
int cli_import(struct cli *cli, const char *path); /* of `ingest`: an NDJSON file, "-" = stdin */
int cli_batch_watch(struct cli *cli);
int cli_query(struct cli *cli);
int cli_jobs_list(struct cli *cli);
int cli_jobs_show(struct cli *cli);
int cli_jobs_watch(struct cli *cli);
int cli_jobs_cancel(struct cli *cli);
int cli_jobs_retry(struct cli *cli);
int cli_providers(struct cli *cli);
int cli_queues_list(struct cli *cli);
int cli_queues_pause(struct cli *cli);
int cli_queues_resume(struct cli *cli);
int cli_dead_list(struct cli *cli);
int cli_dead_show(struct cli *cli);
int cli_dead_retry(struct cli *cli);
int cli_dead_purge(struct cli *cli);
int cli_collections_list(struct cli *cli);
int cli_collections_create(struct cli *cli);
int cli_collections_show(struct cli *cli);
int cli_collections_delete(struct cli *cli);
int cli_documents_list(struct cli *cli);
int cli_documents_show(struct cli *cli);
int cli_documents_delete(struct cli *cli);
int cli_health(struct cli *cli);
int cli_top(struct cli *cli);
int cli_help(struct cli *cli);
int cli_completion_bash(struct cli *cli);
int cli_completion_words(struct cli *cli);
int cli_keys_create(struct cli *cli);
int cli_keys_list(struct cli *cli);
int cli_keys_revoke(struct cli *cli);
int cli_eval(struct cli *cli);

#endif
