/*
 * filter: metadata filters of queries, from JSON to a small tree; the store turns it into its own terms.
 *
 *	{"lang": "en"}				equal (strings, numbers, booleans, null)
 *	{"year": {"$gte": 2020, "$lt": 2024}}	$eq $ne $gt $gte $lt $lte
 *	{"tag": {"$in": ["a", "b"]}}		$in $nin; a list in the metadata matches when any item does
 *	{"$or": [{...}, {...}]}			$and $or $not
 * Several members are joined by AND. A field is a top-level member of `metadata`, or one of the document's own:
 * "document_id", "title", "uri". $ne and $nin also match where the field is missing.
 */
#ifndef RAG_JOBS_SPEC_FILTER_H
#define RAG_JOBS_SPEC_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define FILTER_MAX_NODES 256
#define FILTER_MAX_DEPTH 8

enum filter_op {
	FILTER_AND,
	FILTER_OR,
	FILTER_NOT, /* one child */
	FILTER_EQ,
	FILTER_NE,
	FILTER_GT,
	FILTER_GTE,
	FILTER_LT,
	FILTER_LTE,
	FILTER_IN,
	FILTER_NIN
};

enum filter_type { FILTER_NULL, FILTER_BOOL, FILTER_NUMBER, FILTER_STRING };

struct filter_value {
	enum filter_type type;
	bool boolean;
	double number;
	struct str string;
};

struct filter {
	enum filter_op op;
	struct filter *children;     /* AND, OR, NOT: count of them */
	struct str field;	     /* comparisons */
	struct filter_value *values; /* comparisons: one; IN, NIN: count of them */
	size_t count;
};

/* json: text of an object; "" gives *out NULL (no filter). ERR_INVALID with pointer "/filter/..." . */
bool filter_parse(struct str json, struct arena *arena, struct filter **out, struct err *err);

#endif
