/*
 * config: every setting of every program, from one table (config.def).
 *
 * Order of precedence: environment > file (YAML) > default. A secret may also come from a file
 * named by <ENV>_FILE (trailing newline cut); both at once is an error. Unknown keys, wrong types and
 * values out of range are ERR_CONFIG with "<file>:<line>: ..." or "environment <NAME>: ...".
 * An empty environment value counts as not set. A default that does not go with a value that was given
 * is fitted to it (chunk.overlap to chunk.size, api.max_waiters to api.threads); two given values that
 * do not go together are an error. The struct is immutable after config_load and may be
 * read by all threads. getenv is called nowhere else (but for PATH-like ones of the CLI's terminal).
 *
 * config.def rows, one a setting, grouped by SECTION("name", "doc"):
 *	STRING(member, "yaml.path", "ENV_NAME", "default", max_bytes, "doc")
 *	SECRET(member, "yaml.path", "ENV_NAME", "doc")			  -> struct secret
 *	INT(member, "yaml.path", "ENV_NAME", default, min, max, "unit", "doc")
 *	REAL(member, "yaml.path", "ENV_NAME", default, min, max, "doc")
 *	BOOL(member, "yaml.path", "ENV_NAME", default, "doc")
 *	ENUM(member, "yaml.path", "ENV_NAME", default_index, names_array, "doc")
 */
#ifndef RAG_COMMON_CONFIG_H
#define RAG_COMMON_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/arena.h"
#include "common/base/err.h"

#define CONFIG_EXIT_CODE 78 /* EX_CONFIG of sysexits.h: the settings are wrong, do not restart */

struct secret {
	const char *value; /* NUL-terminated, "" = not set; printed as "***" */
};

#define CONFIG_STRING(member, ...) const char *member;
#define CONFIG_SECRET(member, ...) struct secret member;
#define CONFIG_INT(member, ...) int64_t member;
#define CONFIG_REAL(member, ...) double member;
#define CONFIG_BOOL(member, ...) bool member;
#define CONFIG_ENUM(member, ...) int member;
#define CONFIG_SECTION(...)

/* The members are the rows of config.def. */
struct config {
#define SECTION CONFIG_SECTION
#define STRING CONFIG_STRING
#define SECRET CONFIG_SECRET
#define INT CONFIG_INT
#define REAL CONFIG_REAL
#define BOOL CONFIG_BOOL
#define ENUM CONFIG_ENUM
#include "common/config.def"
#undef SECTION
#undef STRING
#undef SECRET
#undef INT
#undef REAL
#undef BOOL
#undef ENUM
	struct arena strings_;	     /* owns every string above, and what follows */
	const char *const *sources_; /* of each row: "default", "config.yaml:3", ... */
};

enum config_environment { ENVIRONMENT_DEVELOPMENT, ENVIRONMENT_PRODUCTION };
enum config_store { STORE_SQLITE, STORE_CHROMA };
enum config_embedder {
	EMBEDDER_AUTO,
	EMBEDDER_LOCAL,
	EMBEDDER_GEMINI,
	EMBEDDER_OPENAI,
	EMBEDDER_COHERE
};
enum config_generator { GENERATOR_AUTO, GENERATOR_EXTRACTIVE, GENERATOR_GEMINI, GENERATOR_OPENAI };
enum config_reranker {
	RERANKER_AUTO,
	RERANKER_NONE,
	RERANKER_LOCAL,
	RERANKER_COHERE,
	RERANKER_JINA,
	RERANKER_TEI
};
enum config_chroma_auth { CHROMA_AUTH_TOKEN, CHROMA_AUTH_BEARER };
enum config_openai_encoding { OPENAI_ENCODING_BASE64, OPENAI_ENCODING_FLOAT };

/* The names of the enums above, in their order, NULL-terminated. */
extern const char *const config_environment_names[];
extern const char *const config_store_names[];
extern const char *const config_embedder_names[];
extern const char *const config_generator_names[];
extern const char *const config_reranker_names[];
extern const char *const config_chroma_auth_names[];
extern const char *const config_openai_encoding_names[];

/* path NULL: CONFIG_FILE of the environment if set, else no file. On failure nothing is held. */
bool config_load(struct config *config, const char *path, struct err *err);
void config_release(struct config *config);

/* The effective settings as YAML that config_load reads back; secrets as "***", each with its source
 * as a comment. */
void config_print(const struct config *config, FILE *out);

/* docs/configuration.md, from the table. */
void config_print_markdown(FILE *out);

#endif
