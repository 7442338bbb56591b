#include "jobs/spec/choice.h"

#include <string.h>

#include "common/base/auto.h"
#include "common/base/str.h"
#include "common/json.h"
#include "jobs/spec/spec.h"

#define GEMINI_MAX_BATCH 100		       /* the server's limit */
#define COHERE_MAX_BATCH 96		       /* the server's limit */
#define OPENAI_URL "https://api.openai.com/v1" /* other servers may want no key */
#define OPENAI_MAX_BATCH 2048
#define OPENAI_BATCH 128 /* OpenAI takes 2,048; few compatible servers do */

/* Models that people use: length of their vectors, tokens of one text (what is longer some servers cut without a word, others refuse). ask:
 * other lengths of vectors can be asked for. */
static const struct known_model {
	const char *name; /* up to a tag (":latest") */
	size_t dim;
	bool ask;
	int64_t text_tokens;
} known_models[] = {
	{ "gemini-embedding-001", 768, true, 2048 },
	{ "gemini-embedding-2", 768, true, 8192 },
	{ "text-embedding-3-small", 1536, true, 8192 },
	{ "text-embedding-3-large", 3072, true, 8192 },
	{ "text-embedding-ada-002", 1536, false, 8192 },
	{ "embed-v4.0", 1536, true, 128000 },
	{ "embed-english-v3.0", 1024, false, 512 },
	{ "embed-multilingual-v3.0", 1024, false, 512 },
	{ "embed-english-light-v3.0", 384, false, 512 },
	{ "embed-multilingual-light-v3.0", 384, false, 512 },
	{ "nomic-embed-text", 768, false, 2048 },
	{ "mxbai-embed-large", 1024, false, 512 },
	{ "all-minilm", 384, false, 256 },
	{ "bge-m3", 1024, false, 8192 },
	{ "BAAI/bge-m3", 1024, false, 8192 },
	{ "BAAI/bge-small-en-v1.5", 384, false, 512 },
	{ "BAAI/bge-base-en-v1.5", 768, false, 512 },
	{ "BAAI/bge-large-en-v1.5", 1024, false, 512 },
	{ "intfloat/e5-base-v2", 768, false, 512 },
	{ "intfloat/multilingual-e5-large", 1024, false, 512 },
};

static const char *
or_empty(const char *text)
{
	return text ? text : "";
}

static bool
is_set(const char *text)
{
	return text && text[0];
}

static const char *
or_default(const char *text, const char *other)
{
	return is_set(text) ? text : other;
}

static bool
check_url(const char *url, const char *setting, struct err *err)
{
	struct str text = str_of(url);

	if ((str_starts(text, "http://") && text.len > strlen("http://")) ||
	    (str_starts(text, "https://") && text.len > strlen("https://")))
		return true;
	return err_set(err, ERR_CONFIG, "cannot use %s: it must begin with http:// or https://",
		       setting);
}

/* A server: one that the settings of a kind name, or the provider's own. */
struct place {
	const char *url, *setting; /* url "" = it has none of its own */
	struct secret key;
	const char
		*keyed_url; /* a server that answers nobody without a key; NULL = none is known */
	const char *key_setting;
};

/* A URL of its own has a key of its own: the provider's key never goes to another server. */
static bool
locate(struct endpoint *at, const struct place *own, const struct place *usual, struct err *err)
{
	const struct place *place = is_set(own->url) ? own : usual;

	if (!is_set(place->url))
		return err_set(err, ERR_CONFIG, "cannot use provider '%s' without %s", at->provider,
			       own->setting);
	at->url = place->url;
	at->key = or_empty(place->key.value);
	if (!check_url(at->url, place->setting, err))
		return false;
	if (at->key[0] || !usual->keyed_url || strcmp(at->url, usual->keyed_url) != 0)
		return true;
	return err_set(err, ERR_CONFIG, "cannot use provider '%s' without a key: set %s",
		       at->provider, usual->key_setting);
}

static struct place
gemini_place(const struct config *config)
{
	return (struct place){ config->gemini_url, "gemini.url (GEMINI_BASE_URL)",
			       config->google_api_key, config->gemini_url,
			       "gemini.api_key (GOOGLE_API_KEY)" };
}

static struct place
openai_place(const struct config *config)
{
	return (struct place){ config->openai_url, "openai.url (OPENAI_BASE_URL)",
			       config->openai_api_key, OPENAI_URL,
			       "openai.api_key (OPENAI_API_KEY)" };
}

static struct place
cohere_place(const struct config *config)
{
	return (struct place){ config->cohere_url, "cohere.url (COHERE_BASE_URL)",
			       config->cohere_api_key, config->cohere_url,
			       "cohere.api_key (COHERE_API_KEY)" };
}

/* ---- embedder ---- */

static const struct known_model *
find_model(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(known_models); i++) {
		size_t len = strlen(known_models[i].name);

		if (strncmp(name, known_models[i].name, len) == 0 &&
		    (name[len] == '\0' || name[len] == ':'))
			return &known_models[i];
	}
	return NULL;
}

static bool
choose_dim(const struct config *config, struct embedder_choice *out, struct err *err)
{
	static const struct known_model unknown = { 0 };
	const struct known_model *found = find_model(out->at.model);
	const struct known_model *known = found ? found : &unknown;
	int64_t given = config->embedder_dim;

	if (given <= 0 && known->dim == 0)
		return err_set(err, ERR_CONFIG,
			       "cannot know the length of the vectors of model '%s': set "
			       "embedder.dim (EMBEDDING_DIM)",
			       out->at.model);
	if (given > 0 && known->dim > 0 && !known->ask && given != (int64_t)known->dim)
		return err_set(err, ERR_CONFIG,
			       "cannot use embedder.dim (EMBEDDING_DIM) %lld: vectors of model "
			       "'%s' have %zu numbers",
			       (long long)given, out->at.model, known->dim);
	out->dim = given > 0 ? (size_t)given : known->dim;
	out->text_tokens = known->text_tokens;
	/* OpenAI's usual length is not asked for: a compatible server may not know the field */
	out->asks_dim = known->ask && (out->kind != EMBEDDER_OPENAI || out->dim != known->dim);
	return true;
}

static size_t
batch_of(const struct config *config, size_t usual, size_t limit)
{
	size_t given = (size_t)config->embedder_batch;

	if (given == 0)
		return usual;
	return given < limit ? given : limit;
}

bool
choose_embedder(const struct config *config, struct embedder_choice *out, struct err *err)
{
	const struct place own = { config->embedder_url, "embedder.url (EMBEDDING_URL)",
				   config->embedder_api_key, NULL, NULL };
	struct place usual = { .url = "" };
	const char *model = "";

	*out = (struct embedder_choice){
		.kind = (enum config_embedder)config->embedder,
		.at = { .requests_per_minute = config->embedder_rpm,
			.tokens_per_minute = config->embedder_tpm,
			.concurrency = config->embedder_concurrency },
		.query_prefix = or_empty(config->embedder_query_prefix),
		.document_prefix = or_empty(config->embedder_document_prefix),
	};
	if (out->kind == EMBEDDER_AUTO)
		out->kind = is_set(config->google_api_key.value) ? EMBEDDER_GEMINI : EMBEDDER_LOCAL;
	out->at.provider = config_embedder_names[out->kind];
	switch (out->kind) {
	case EMBEDDER_AUTO:
	case EMBEDDER_LOCAL:
		out->at.model = SPEC_LOCAL_MODEL;
		out->at.url = out->at.key = "";
		out->query_prefix = out->document_prefix = "";
		out->dim = SPEC_LOCAL_DIM;
		return true;
	case EMBEDDER_GEMINI:
		usual = gemini_place(config);
		model = "gemini-embedding-001";
		/* each text counts as a request there: a call never holds more than a minute's */
		out->max_batch = batch_of(config, GEMINI_MAX_BATCH, GEMINI_MAX_BATCH);
		if (config->embedder_rpm > 0 && config->embedder_rpm < (int64_t)out->max_batch)
			out->max_batch = (size_t)config->embedder_rpm;
		break;
	case EMBEDDER_OPENAI:
		usual = openai_place(config);
		model = "text-embedding-3-small";
		out->max_batch = batch_of(config, OPENAI_BATCH, OPENAI_MAX_BATCH);
		break;
	case EMBEDDER_COHERE:
		usual = cohere_place(config);
		model = "embed-v4.0";
		out->max_batch = batch_of(config, COHERE_MAX_BATCH, COHERE_MAX_BATCH);
		break;
	}
	out->at.model = or_default(config->embedder_model, model);
	return locate(&out->at, &own, &usual, err) && choose_dim(config, out, err);
}

/* ---- generator ---- */

/* Sent as it is written, so it must be a number of JSON. */
static bool
check_temperature(const char *text, struct err *err)
{
	AUTO_PTR(js_free) struct js *number = NULL;
	struct err ignored = ERR_INIT;

	if (!is_set(text))
		return true;
	if (js_parse(str_of(text), &number, &ignored) &&
	    (js_is(number, JS_INT) || js_is(number, JS_REAL)) && js_number(number) >= 0 &&
	    js_number(number) <= 2)
		return true;
	return err_set(err, ERR_CONFIG,
		       "cannot use generator.temperature (GENERATION_TEMPERATURE) '%s': it is a "
		       "number from 0 to 2",
		       text);
}

static bool
check_thinking(const char *text, struct err *err)
{
	static const char *const levels[] = { "", "minimal", "low", "medium", "high" };

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (strcmp(or_empty(text), levels[i]) == 0)
			return true;
	return err_set(err, ERR_CONFIG,
		       "cannot use generator.thinking (GENERATION_THINKING) '%s': it is minimal, "
		       "low, medium or high",
		       text);
}

bool
choose_generator(const struct config *config, struct generator_choice *out, struct err *err)
{
	const struct place own = { config->generator_url, "generator.url (GENERATION_URL)",
				   config->generator_api_key, NULL, NULL };
	struct place usual = { .url = "" };
	const char *model = "";

	*out = (struct generator_choice){
		.kind = (enum config_generator)config->generator,
		.at = { .requests_per_minute = config->generator_rpm,
			.tokens_per_minute = config->generator_tpm,
			.concurrency = config->generator_concurrency },
		.temperature = or_empty(config->generator_temperature),
		.thinking = or_empty(config->generator_thinking),
	};
	if (!check_temperature(out->temperature, err) || !check_thinking(out->thinking, err))
		return false;
	if (out->kind == GENERATOR_AUTO)
		out->kind = is_set(config->google_api_key.value) ? GENERATOR_GEMINI
								 : GENERATOR_EXTRACTIVE;
	out->at.provider = config_generator_names[out->kind];
	switch (out->kind) {
	case GENERATOR_AUTO:
	case GENERATOR_EXTRACTIVE:
		out->at.model = out->at.url = out->at.key = "";
		return true;
	case GENERATOR_GEMINI:
		usual = gemini_place(config);
		model = "gemini-flash-latest";
		break;
	case GENERATOR_OPENAI:
		usual = openai_place(config);
		model = "gpt-5-mini";
		break;
	}
	out->at.model = or_default(config->generator_model, model);
	return locate(&out->at, &own, &usual, err);
}

/* ---- reranker ---- */

bool
choose_reranker(const struct config *config, struct reranker_choice *out, struct err *err)
{
	const struct place own = { config->reranker_url, "reranker.url (RERANK_URL)",
				   config->reranker_api_key, NULL, NULL };
	struct place usual = { .url = "" };

	*out = (struct reranker_choice){
		.kind = (enum config_reranker)config->reranker,
		.at = { .requests_per_minute = config->reranker_rpm,
			.concurrency = config->reranker_concurrency },
	};
	if (out->kind == RERANKER_AUTO)
		out->kind = is_set(config->cohere_api_key.value) ? RERANKER_COHERE : RERANKER_LOCAL;
	out->at.provider = config_reranker_names[out->kind];
	out->at.model = or_empty(config->reranker_model);
	switch (out->kind) {
	case RERANKER_AUTO:
	case RERANKER_NONE:
	case RERANKER_LOCAL:
		out->at.model = out->at.url = out->at.key = "";
		return true;
	case RERANKER_COHERE:
		usual = cohere_place(config);
		out->at.model = or_default(config->reranker_model, "rerank-v3.5");
		break;
	case RERANKER_JINA:
		if (!is_set(config->reranker_model))
			return err_set(err, ERR_CONFIG,
				       "cannot use reranker 'jina' without reranker.model "
				       "(RERANK_MODEL)");
		break;
	case RERANKER_TEI:
		break;
	}
	return locate(&out->at, &own, &usual, err);
}
