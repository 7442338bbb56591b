#include "common/config_rows.h"

#include <assert.h>
#include <string.h>

const char *const config_environment_names[] = { "development", "production", NULL };
const char *const config_store_names[] = { "sqlite", "chroma", NULL };
const char *const config_embedder_names[] = { "auto", "local", "gemini", "openai", "cohere", NULL };
const char *const config_generator_names[] = { "auto", "extractive", "gemini", "openai", NULL };
const char *const config_reranker_names[] = {
	"auto", "none", "local", "cohere", "jina", "tei", NULL
};
const char *const config_chroma_auth_names[] = { "x-chroma-token", "authorization", NULL };
const char *const config_openai_encoding_names[] = { "base64", "float", NULL };

#define AT(member) .offset = offsetof(struct config, member)

const struct row config_rows[CONFIG_ROW_COUNT] = {
#define SECTION(name_, doc_) { .kind = ROW_SECTION, .path = (name_), .doc = (doc_) },
#define STRING(member, path_, env_, default_, max_, doc_)                                          \
	{ .kind = ROW_STRING,                                                                      \
	  .path = (path_),                                                                         \
	  .env = (env_),                                                                           \
	  .doc = (doc_),                                                                           \
	  AT(member),                                                                              \
	  .text = (default_),                                                                      \
	  .max = (max_) },
#define SECRET(member, path_, env_, doc_)                                                          \
	{ .kind = ROW_SECRET,                                                                      \
	  .path = (path_),                                                                         \
	  .env = (env_),                                                                           \
	  .doc = (doc_),                                                                           \
	  AT(member),                                                                              \
	  .text = "",                                                                              \
	  .max = (int64_t)CONFIG_SECRET_MAX_BYTES },
#define INT(member, path_, env_, default_, min_, max_, unit_, doc_)                                \
	{ .kind = ROW_INT,                                                                         \
	  .path = (path_),                                                                         \
	  .env = (env_),                                                                           \
	  .doc = (doc_),                                                                           \
	  AT(member),                                                                              \
	  .value = (default_),                                                                     \
	  .min = (min_),                                                                           \
	  .max = (max_),                                                                           \
	  .unit = (unit_) },
#define REAL(member, path_, env_, default_, min_, max_, doc_)                                      \
	{ .kind = ROW_REAL,                                                                        \
	  .path = (path_),                                                                         \
	  .env = (env_),                                                                           \
	  .doc = (doc_),                                                                           \
	  AT(member),                                                                              \
	  .real = (default_),                                                                      \
	  .real_min = (min_),                                                                      \
	  .real_max = (max_) },
#define BOOL(member, path_, env_, default_, doc_)                                                  \
	{ .kind = ROW_BOOL,                                                                        \
	  .path = (path_),                                                                         \
	  .env = (env_),                                                                           \
	  .doc = (doc_),                                                                           \
	  AT(member),                                                                              \
	  .value = (default_) },
#define ENUM(member, path_, env_, default_, names_, doc_)                                          \
	{ .kind = ROW_ENUM,                                                                        \
	  .path = (path_),                                                                         \
	  .env = (env_),                                                                           \
	  .doc = (doc_),                                                                           \
	  AT(member),                                                                              \
	  .value = (default_),                                                                     \
	  .names = (names_) },
#include "common/config.def"
#undef SECTION
#undef STRING
#undef SECRET
#undef INT
#undef REAL
#undef BOOL
#undef ENUM
};

int64_t
config_row_int(const struct config *config, const struct row *row)
{
	int64_t value = 0;

	memcpy(&value, (const char *)config + row->offset, sizeof(value));
	return value;
}

double
config_row_real(const struct config *config, const struct row *row)
{
	double value = 0;

	memcpy(&value, (const char *)config + row->offset, sizeof(value));
	return value;
}

bool
config_row_bool(const struct config *config, const struct row *row)
{
	bool value = false;

	memcpy(&value, (const char *)config + row->offset, sizeof(value));
	return value;
}

const char *
config_row_enum(const struct config *config, const struct row *row)
{
	int value = 0;

	memcpy(&value, (const char *)config + row->offset, sizeof(value));
	return row->names[value];
}

const char *
config_row_text(const struct config *config, const struct row *row)
{
	const char *value = NULL;

	static_assert(sizeof(struct secret) == sizeof(const char *), "a secret is its value");
	memcpy(&value, (const char *)config + row->offset, sizeof(value));
	return value;
}

size_t
config_row_section_len(const struct row *row)
{
	const char *dot = strchr(row->path, '.');

	return row->kind != ROW_SECTION && dot ? (size_t)(dot - row->path) : 0;
}
