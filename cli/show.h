/*
 * show: what the server sends, on a terminal or as JSON.
 */
#ifndef RAG_CLI_SHOW_H
#define RAG_CLI_SHOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/api.h"
#include "cli/cli.h"
#include "cli/text.h"
#include "common/json.h"

/* Members of an object that may be absent or of another type: "" and `otherwise`. */
struct str show_text(const struct js *object, const char *key);
int64_t show_int(const struct js *object, const char *key, int64_t otherwise);
bool show_bool(const struct js *object, const char *key);
const struct js *show_member(const struct js *object, const char *key); /* NULL: none, or null */

/* Seconds since a time of the record; -1 = none. */
int64_t show_age_s(const struct js *object, const char *key);

/* Prints every member as "name: value", members of members as "name.name: value"; nulls are left out. */
void show_record(struct cli *cli, const struct js *object);
/* The value as one line of JSON. */
void show_json(struct cli *cli, const struct js *value);

/* "name        value"; nothing when the value is empty. */
void show_pair(struct cli *cli, const char *name, struct str value);
/* One item of an array in JSON; the caller prints the "]" at the end ("[]" when there was none). */
void show_json_item(struct cli *cli, const struct js *item, bool first);

/* A word in its colour (green succeeded, red failed ...) when cli->color; for lines, not for tables. */
void show_status(struct cli *cli, struct str status);
void show_heading(struct cli *cli, const char *text);

/* Columns a table may take: 0 = no limit (not a terminal). */
size_t show_columns(const struct cli *cli);

/* GETs a list and prints it: as a table through `row`, or as a JSON array. Returns the exit code. */
struct show_list {
	const char *path; /* query included */
	int64_t limit;	  /* 0 = all */
	const char *const *heads;
	size_t column_count, flexible;
	void (*row)(struct text_table *table, const struct js *item);
	const char *nothing; /* said when the list is empty */
};
int show_list(struct cli *cli, const struct show_list *list);

/* Runs one call and prints the answer: as JSON, or by `print` (NULL: show_record). Returns the exit code. */
int show_call(struct cli *cli, const struct api_call *call,
	      void (*print)(struct cli *cli, const struct js *answer));

#endif
