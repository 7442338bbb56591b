/*
 * config_rows: the rows of config.def as data, for the files of config only: config.c fills a struct
 * config through them, config_print.c shows it.
 */
#ifndef RAG_COMMON_CONFIG_ROWS_H
#define RAG_COMMON_CONFIG_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "common/config.h"

#define CONFIG_SECRET_MAX_BYTES ((size_t)16 * 1024)

enum row_kind { ROW_SECTION, ROW_STRING, ROW_SECRET, ROW_INT, ROW_REAL, ROW_BOOL, ROW_ENUM };

struct row {
	enum row_kind kind;
	const char *path; /* a section's name */
	const char *env;
	const char *doc;
	size_t offset;
	const char *text; /* default of a string */
	int64_t value;	  /* default of an int, bool (0, 1) or enum (index) */
	int64_t min, max; /* int; max also of a string, in bytes */
	const char *unit;
	double real, real_min, real_max;
	const char *const *names;
};

/* One for each line of the table, sections included. */
enum {
	CONFIG_ROW_COUNT = 0
// NOLINTBEGIN(bugprone-macro-parentheses): terms of one sum
#define SECTION(...) +1
#define STRING(...) +1
#define SECRET(...) +1
#define INT(...) +1
#define REAL(...) +1
#define BOOL(...) +1
#define ENUM(...) +1
// NOLINTEND(bugprone-macro-parentheses)
#include "common/config.def"
#undef SECTION
#undef STRING
#undef SECRET
#undef INT
#undef REAL
#undef BOOL
#undef ENUM
};

extern const struct row config_rows[CONFIG_ROW_COUNT];

/* The member of a row; the row must be of that kind. Strings and secrets are both one pointer. */
int64_t config_row_int(const struct config *config, const struct row *row);
double config_row_real(const struct config *config, const struct row *row);
bool config_row_bool(const struct config *config, const struct row *row);
const char *config_row_enum(const struct config *config, const struct row *row);
const char *config_row_text(const struct config *config, const struct row *row);

/* The length of the section a row's path begins with: 3 of "api.threads", 0 of "data_dir". */
size_t config_row_section_len(const struct row *row);

#endif
