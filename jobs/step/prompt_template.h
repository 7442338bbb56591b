/*
 * prompt_template: the texts around sources and question, from a file of the operator's or the built-in jobs/step/prompt.txt. Checked
 * when a worker starts, so that no question finds a broken one.
 *
 * The file: UTF-8; lines "== system ==", "== user ==", "== source ==" and "== refusal ==" each begin a part, which ends before the
 * next such line; blank lines around a part are no part of it; lines before the first part are remarks. In a part, {{name}} is
 * replaced; which names a part may hold and which it must:
 *
 *	system		{{refusal}}
 *	user		{{sources}} and {{question}} (both once)
 *	source		{{n}} and {{text}} (both once); {{title}} {{heading}} {{place}} (title > heading) {{document_id}}
 *	refusal		none; one line
 *
 * A line of a template whose placeholders are all empty is left out. What is put in is never looked at for placeholders again.
 * Immutable after loading: one for all threads.
 */
#ifndef RAG_JOBS_STEP_PROMPT_TEMPLATE_H
#define RAG_JOBS_STEP_PROMPT_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/config.h"
#include "common/sha256.h"

#define PROMPT_TEMPLATE_MAX_BYTES ((size_t)64 * 1024)
#define PROMPT_REFUSAL_MAX_BYTES ((size_t)500)

enum prompt_part { PROMPT_PART_SYSTEM, PROMPT_PART_USER, PROMPT_PART_SOURCE, PROMPT_PART_REFUSAL };
#define PROMPT_PARTS 4

struct prompt_template {
	char *text; /* owned: the whole file */
	struct str parts[PROMPT_PARTS];
	char hash[SHA256_HEX_BYTES]; /* of the parts: equal = the same prompts */
};

/* The file of config->prompt_file, or the built-in one when that is empty. ERR_CONFIG "prompt.txt:12: unknown placeholder ...". */
bool prompt_template_load(const struct config *config, struct prompt_template **out,
			  struct err *err);
/* name: of the file, for messages. */
bool prompt_template_parse(struct str text, const char *name, struct prompt_template **out,
			   struct err *err);
void prompt_template_free(struct prompt_template *template);
AUTO_PTR_DEFINE(prompt_template_free, struct prompt_template);

/* What a placeholder stands for. */
struct prompt_value {
	const char *name;
	struct str text;
};

/* Appends the part with its placeholders replaced; each must be among the values. */
void prompt_template_write(const struct prompt_template *template, enum prompt_part part,
			   const struct prompt_value *values, size_t count, struct buf *out);

#endif
