/*
 * Measuring retrieval on a test collection, through the API alone, as a client sees it.
 *
 * 1. The folder is read and checked (beir.h) before anything is sent.
 * 2. `--jobs` threads take documents from the corpus in order and post them; each has up to WINDOW jobs on the
 *    way and waits for its oldest when they are that many. One that fails ends the run: figures of a part of a
 *    collection would mislead.
 * 3. The same threads ask each question in each of the four ways for the 200 best chunks. A document stands where its
 *    best chunk stands.
 * 4. A collection that the run made is deleted at its end (`--keep` leaves it), whatever the end.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/ask.h"
#include "cli/eval_report.h"
#include "cli/progress.h"
#include "cli/show.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/mem.h"

#define WINDOW 32
#define TOP_K 200
#define TICK_MS 200
#define DEFAULT_RETRY_S 300
#define JOB_ID_ROOM 96
#define NAME_BYTES 64
#define BODY_MAX_BYTES ((size_t)256 * 1024 * 1024)

struct eval {
	/* immutable while threads run */
	struct cli *cli;
	const char *folder, *collection;
	struct beir beir;
	char run[ID_ULID_BYTES]; /* part of the idempotency keys */
	char made[NAME_BYTES];	 /* name of a collection made for the run */

	/* shared, under lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct beir_corpus corpus;
	size_t next_query;
	int64_t done;
	size_t threads_left;
	bool failed;
	struct err err; /* the first one */
	struct score (*scores)[EVAL_METHODS];
	int64_t short_lists, rerank_skipped;
};

static void
lock(struct eval *eval)
{
	(void)pthread_mutex_lock(&eval->lock);
}

static void
unlock(struct eval *eval)
{
	(void)pthread_cond_broadcast(&eval->changed);
	(void)pthread_mutex_unlock(&eval->lock);
}

static bool
has_ended(struct eval *eval)
{
	lock(eval);

	bool ended = eval->failed || atomic_load(&cli_interrupted);

	unlock(eval);
	return ended;
}

static void
count_done(struct eval *eval)
{
	lock(eval);
	eval->done++;
	unlock(eval);
}

/* ---- documents ---- */

struct sent {
	char job[JOB_ID_ROOM];
	int64_t line;
};

/* One thread's jobs on the way, oldest first. */
struct window {
	struct sent jobs[WINDOW];
	size_t first, count;
};

/* Copies the next row into body, as a document. */
static bool
take_document(struct eval *eval, struct buf *body, int64_t *out_line, bool *out_row,
	      struct err *err)
{
	struct beir_row row = { .text = STR("") };
	struct jw w = jw_start(body);
	bool ok = true, blank = true;

	buf_clear(body);
	lock(eval);
	do {
		ok = beir_corpus_next(&eval->corpus, &row, out_row, err);
		blank = ok && *out_row && row.title.len == 0 && str_trim(row.text).len == 0;
	} while (blank);
	if (ok && *out_row) {
		jw_obj(&w);
		jw_kstr(&w, "id", row.id);
		if (row.title.len > 0)
			jw_kstr(&w, "title", row.title);
		jw_kstr(&w, "text", str_trim(row.text).len > 0 ? row.text : row.title);
		jw_end(&w);
		*out_line = row.line;
	}
	unlock(eval);
	return ok && buf_check(body, "the document", err);
}

static bool
post_document(const struct eval *eval, struct api *api, const struct buf *body, struct sent *out,
	      struct err *err)
{
	AUTO(buf) struct buf path = BUF_INIT(1024);
	AUTO_PTR(js_free) struct js *job = NULL;
	char key[ID_ULID_BYTES + 24];

	(void)snprintf(key, sizeof(key), "%s.%lld", eval->run, (long long)out->line);
	buf_printf(&path, "/api/v1/collections/%s/documents", eval->collection);
	if (!api_json(api,
		      &(struct api_call){ .method = "POST",
					  .path = path.data,
					  .body = str_make(body->data, body->len),
					  .content_type = "application/json",
					  .idempotency_key = key,
					  .timeout_ms = 120000 },
		      &job, err))
		return err_wrap(err, "corpus.jsonl:%lld", (long long)out->line);
	return str_copy(out->job, sizeof(out->job), show_text(job, "id")) ||
	       err_set(err, ERR_PROTOCOL, "the server's answer is not a job");
}

static bool
await_oldest(struct eval *eval, struct api *api, struct window *window, struct err *err)
{
	AUTO_PTR(js_free) struct js *job = NULL;
	struct sent *sent = &window->jobs[window->first];
	int64_t deadline = clock_mono_ms() + 1000 * eval->cli->options.timeout_s;

	window->first = (window->first + 1) % WINDOW;
	window->count--;
	if (!ask_job(api, str_of(sent->job), deadline, &job, err) ||
	    !ask_outcome(job, "ingest", err))
		return err_wrap(err, "corpus.jsonl:%lld", (long long)sent->line);
	count_done(eval);
	return true;
}

static bool
ingest_documents(struct eval *eval, struct api *api, struct err *err)
{
	AUTO(buf) struct buf body = BUF_INIT(BODY_MAX_BYTES);
	struct window window = { .first = 0 };
	bool row = true;

	while (!has_ended(eval)) {
		struct sent *next = &window.jobs[(window.first + window.count) % WINDOW];

		if (window.count == WINDOW || (!row && window.count > 0)) {
			if (!await_oldest(eval, api, &window, err))
				return false;
			continue;
		}
		if (!row)
			return true;
		if (!take_document(eval, &body, &next->line, &row, err))
			return false;
		if (row && !post_document(eval, api, &body, next, err))
			return false;
		window.count += row;
	}
	return true;
}

/* ---- questions ---- */

static void
write_query(const struct beir_query *query, const struct eval_method_row *method, struct buf *body)
{
	struct jw w = jw_start(body);

	jw_obj(&w);
	jw_kstr(&w, "query", query->text);
	jw_kcstr(&w, "mode", method->mode);
	jw_kint(&w, "top_k", TOP_K);
	jw_kbool(&w, "rerank", method->rerank);
	jw_kbool(&w, "generate", false);
	jw_end(&w);
}

/* The documents of the chunks found, each once, best first. */
static size_t
rank_documents(const struct js *results, struct str *out)
{
	size_t count = 0;

	for (size_t i = 0; i < js_len(results) && count < SCORE_DEPTH; i++) {
		struct str id = show_text(js_at(results, i), "document_id");
		size_t at = 0;

		while (at < count && !str_eq(out[at], id))
			at++;
		if (at == count)
			out[count++] = id;
	}
	return count;
}

static bool
was_skipped(const struct js *result)
{
	const struct js *warnings = show_member(result, "warnings");

	for (size_t i = 0; js_is(warnings, JS_ARRAY) && i < js_len(warnings); i++) {
		if (str_eq_c(show_text(js_at(warnings, i), "code"), "RERANK_SKIPPED"))
			return true;
	}
	return false;
}

static bool
ask_one(struct eval *eval, struct api *api, size_t index, int method, struct err *err)
{
	AUTO(buf) struct buf body = BUF_INIT(1 << 20);
	AUTO_PTR(js_free) struct js *result = NULL;
	const struct beir_query *query = &eval->beir.queries[index];
	struct str ranked[SCORE_DEPTH];

	write_query(query, &eval_methods[method], &body);
	if (!buf_check(&body, "the question", err) ||
	    !ask_query(api, eval->collection, str_make(body.data, body.len),
		       eval->cli->options.timeout_s, &result, err))
		return err_wrap(err, "queries.jsonl:%lld", (long long)query->line);

	const struct js *results = show_member(result, "results");

	if (!js_is(results, JS_ARRAY))
		return err_set(err, ERR_PROTOCOL, "the server's answer has no results");

	size_t count = rank_documents(results, ranked);
	struct score score = score_ranking(ranked, count, query->judged, query->judged_count);

	lock(eval);
	eval->scores[index][method] = score;
	eval->short_lists += count < SCORE_DEPTH && js_len(results) == TOP_K;
	eval->rerank_skipped += was_skipped(result);
	unlock(eval);
	return true;
}

static bool
ask_questions(struct eval *eval, struct api *api, struct err *err)
{
	while (!has_ended(eval)) {
		lock(eval);

		size_t index = eval->next_query;

		eval->next_query += index < eval->beir.query_count;
		unlock(eval);
		if (index == eval->beir.query_count)
			return true;
		for (int method = 0; method < EVAL_METHODS; method++) {
			if (!ask_one(eval, api, index, method, err))
				return false;
		}
		count_done(eval);
	}
	return true;
}

/* ---- threads ---- */

typedef bool (*part_fn)(struct eval *eval, struct api *api, struct err *err);

struct part {
	struct eval *eval;
	part_fn fn;
	pthread_t thread;
	bool started;
};

static void *
run_part(void *user)
{
	struct part *part = user;
	struct eval *eval = part->eval;
	struct api api = { .cli = NULL };
	struct err err = ERR_INIT;
	bool ok = api_open(&api, eval->cli, &err);

	if (ok) {
		ok = part->fn(eval, &api, &err);
		api_release(&api);
	}
	lock(eval);
	if (!ok && !eval->failed) {
		eval->failed = true;
		eval->err = err;
	}
	eval->threads_left--;
	unlock(eval);
	return NULL;
}

static void
watch(struct eval *eval, int64_t total, const char *what)
{
	const struct cli_world *world = eval->cli->world;
	struct progress progress;
	struct progress_state state = { .total = total, .note = what };
	bool more = true;

	progress_start(&progress, eval->cli->err, world->err_is_terminal, world->columns,
		       clock_mono_ms());
	while (more) {
		int64_t until_ms = clock_mono_ms() + TICK_MS;

		lock(eval);
		while (eval->threads_left > 0 &&
		       clock_cond_wait(&eval->changed, &eval->lock, until_ms))
			;
		more = eval->threads_left > 0;
		state.done = eval->done;
		unlock(eval);
		if (!eval->cli->options.quiet)
			progress_show(&progress, &state, clock_mono_ms());
	}
	progress_end(&progress);
}

/* Runs fn in --jobs threads; *out_ms: how long it took. */
static bool
run_parts(struct eval *eval, part_fn fn, int64_t total, const char *what, int64_t *out_ms,
	  struct err *err)
{
	size_t count = (size_t)eval->cli->options.jobs;
	struct part *parts = mem_array(count, sizeof(*parts));
	int64_t start = clock_mono_ms();

	eval->done = 0;
	eval->threads_left = count;
	for (size_t i = 0; i < count; i++) {
		parts[i] = (struct part){ .eval = eval, .fn = fn };
		parts[i].started = pthread_create(&parts[i].thread, NULL, run_part, &parts[i]) == 0;
		if (parts[i].started)
			continue;
		lock(eval);
		eval->threads_left--;
		eval->failed = true;
		err_set(&eval->err, ERR_INTERNAL, "could not start a thread");
		unlock(eval);
	}
	watch(eval, total, what);
	for (size_t i = 0; i < count; i++) {
		if (parts[i].started)
			(void)pthread_join(parts[i].thread, NULL);
	}
	mem_free(parts);
	*out_ms = clock_mono_ms() - start;
	if (atomic_load(&cli_interrupted))
		return err_set(err, ERR_CANCELLED, "interrupted");
	if (eval->failed)
		*err = eval->err;
	return !eval->failed;
}

/* ---- the collection ---- */

static bool
call_collection(struct eval *eval, const char *method, const char *name, const char *body,
		struct err *err)
{
	AUTO(api) struct api api = { .cli = NULL };
	AUTO(buf) struct buf path = BUF_INIT(1024);

	buf_add_str(&path, "/api/v1/collections");
	if (name) {
		buf_add_char(&path, '/');
		api_add_encoded(&path, str_of(name));
	}
	return api_open(&api, eval->cli, err) &&
	       api_send(&api,
			&(struct api_call){
				.method = method, .path = path.data, .body = str_of(body) },
			err);
}

/* The one that was named, made when it is not there; or one of the run's own. */
static bool
have_collection(struct eval *eval, struct err *err)
{
	const char *named = eval->cli->options.collection;
	AUTO(buf) struct buf body = BUF_INIT(4096);
	struct jw w = jw_start(&body);
	char name[NAME_BYTES] = "";

	if (named != cli_default_collection) {
		eval->collection = named;
		if (call_collection(eval, "GET", named, NULL, err))
			return true;
		if (err->detail != 404)
			return err_wrap(err, "collection '%s'", named);
		if (!str_copy(name, sizeof(name), str_of(named)))
			return err_set(err, ERR_INVALID, "the collection's name is too long");
	} else {
		(void)snprintf(name, sizeof(name), "eval-%s", eval->run);
		for (char *c = name; *c; c++)
			*c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
	}
	jw_obj(&w);
	jw_kcstr(&w, "name", name);
	jw_kcstr(&w, "description", "made by ragctl eval");
	jw_end(&w);
	*err = ERR_INIT;
	if (!call_collection(eval, "POST", NULL, body.data, err))
		return err_wrap(err, "collection '%s'", name);
	(void)str_copy(eval->made, sizeof(eval->made), str_of(name));
	eval->collection = eval->made;
	return true;
}

/* Also after an interrupt; a second one ends the program. */
static void
drop_collection(struct eval *eval)
{
	struct err err = ERR_INIT;

	if (!eval->made[0])
		return;
	if (eval->cli->options.keep) {
		if (!eval->cli->options.quiet)
			(void)fprintf(eval->cli->err, "kept the collection %s\n", eval->made);
		return;
	}

	bool interrupted = atomic_exchange(&cli_interrupted, false);

	if (!call_collection(eval, "DELETE", eval->made, NULL, &err))
		(void)fprintf(eval->cli->err, "ragctl: the collection %s stays: %s\n", eval->made,
			      err.msg);
	if (interrupted)
		atomic_store(&cli_interrupted, true);
}

/* ---- the run ---- */

static bool
find_baseline(const struct cli_options *options, int *out, struct err *err)
{
	*out = -1;
	if (!options->baseline)
		return true;
	for (int i = 0; i < EVAL_METHODS; i++) {
		if (strcmp(options->baseline, eval_methods[i].name) == 0) {
			*out = i;
			return true;
		}
	}
	return err_set(err, ERR_INVALID,
		       "--baseline must be lexical, dense, hybrid or rerank, not '%s'",
		       options->baseline);
}

static bool
measure(struct eval *eval, struct eval_report *report, struct err *err)
{
	int64_t documents = (int64_t)(eval->beir.documents - eval->beir.without);

	if (!beir_corpus_open(&eval->corpus, eval->folder, err) || !have_collection(eval, err) ||
	    !run_parts(eval, ingest_documents, documents, "documents", &report->ingest_ms, err))
		return false;
	eval->scores = mem_array(eval->beir.query_count, sizeof(*eval->scores));
	if (!run_parts(eval, ask_questions, (int64_t)eval->beir.query_count, "questions",
		       &report->query_ms, err))
		return false;
	report->collection = eval->collection;
	report->scores = (const struct score(*)[EVAL_METHODS])eval->scores;
	report->short_lists = eval->short_lists;
	report->rerank_skipped = eval->rerank_skipped;
	return true;
}

static void
eval_init(struct eval *eval, struct cli *cli)
{

	*eval = (struct eval){ .cli = cli, .folder = cli->args[0] };
	id_ulid(eval->run);
	(void)pthread_mutex_init(&eval->lock, NULL);
	clock_cond_init(&eval->changed);
}

static void
eval_release(struct eval *eval)
{
	(void)pthread_cond_destroy(&eval->changed);
	(void)pthread_mutex_destroy(&eval->lock);
	beir_corpus_release(&eval->corpus);
	beir_release(&eval->beir);
	mem_free(eval->scores);
}

int
cli_eval(struct cli *cli)
{
	AUTO(eval) struct eval eval;
	struct err err = ERR_INIT;
	struct eval_report report = { .folder = cli->args[0],
				      .beir = &eval.beir,
				      .resamples = cli->options.resamples,
				      .seed = cli->options.seed };

	eval_init(&eval, cli);
	if (cli->options.retry_s < 0)
		cli->options.retry_s = DEFAULT_RETRY_S;
	if (!find_baseline(&cli->options, &report.baseline, &err))
		return cli_fail(cli, &err), CLI_USAGE;
	if (!beir_read(&eval.beir, eval.folder, &err)) {
		err_wrap(&err, "%s", eval.folder);
		return cli_fail(cli, &err);
	}

	bool ok = measure(&eval, &report, &err);

	drop_collection(&eval);
	if (!ok)
		return cli_fail(cli, &err);
	if (cli->options.json)
		eval_report_json(&report, cli->out);
	else
		eval_report_table(&report, cli->out);
	return CLI_OK;
}
