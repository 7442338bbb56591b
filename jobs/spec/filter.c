#include "jobs/spec/filter.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>

#include "common/json.h"

struct parse {
	struct arena *arena;
	size_t nodes;	  /* conditions and values so far */
	struct str field; /* of the comparison being read */
};

/* Where in the JSON text a value is; the chain ends at the filter itself. */
struct place {
	const struct place *up;
	struct str key; /* of an object... */
	size_t index;	/* ...or, key.ptr NULL, of a list */
	unsigned depth;
};

static bool
fail_at(const struct place *place, struct err *err)
{
	const struct place *chain[2 * FILTER_MAX_DEPTH + 8];
	size_t count = 0;
	char pointer[ERR_POINTER_MAX_BYTES] = "/filter";
	size_t len = sizeof("/filter") - 1;

	for (; place->up && count < ARRAY_SIZE(chain); place = place->up)
		chain[count++] = place;
	while (count-- > 0 && len + 1 < sizeof(pointer)) {
		char key[64];

		if (chain[count]->key.ptr)
			(void)str_copy(key, sizeof(key), chain[count]->key);
		else
			(void)snprintf(key, sizeof(key), "%zu", chain[count]->index);
		pointer[len++] = '/';
		for (const char *c = key; *c && len + 2 < sizeof(pointer); c++) {
			pointer[len++] = (char)(*c == '/' || *c == '~' ? '~' : *c);
			if (*c == '/' || *c == '~')
				pointer[len++] = *c == '/' ? '1' : '0';
		}
	}
	pointer[len] = '\0';
	return err_at(err, "%s", pointer);
}

static bool
fail(const struct place *place, struct err *err, const char *what, const struct js *value)
{
	err_set(err, ERR_INVALID, "filter: expected %s, got %s", what,
		js_type_name(js_type(value)));
	return fail_at(place, err);
}

/* Room for count more conditions or values of item_bytes. */
static bool
take_room(struct parse *parse, const struct place *place, size_t count, size_t item_bytes,
	  void **out, struct err *err)
{
	parse->nodes += count;
	if (parse->nodes > FILTER_MAX_NODES) {
		err_set(err, ERR_INVALID, "filter: more than %d conditions and values",
			FILTER_MAX_NODES);
		(void)fail_at(place, err);
		return false;
	}
	if (!arena_alloc_err(parse->arena, count * item_bytes, "the filter", out, err))
		return false;
	assert(*out);
	return true;
}

static bool
copy_text(struct parse *parse, struct str text, struct str *out, struct err *err)
{
	void *copy = NULL;

	if (!arena_alloc_err(parse->arena, text.len + 1, "the filter", &copy, err))
		return false;
	for (size_t i = 0; i < text.len; i++)
		((char *)copy)[i] = text.ptr[i];
	*out = str_make(copy, text.len);
	return true;
}

static bool
parse_value(struct parse *parse, const struct place *place, const struct js *json,
	    struct filter_value *out, struct err *err)
{
	switch (js_type(json)) {
	case JS_NULL:
		out->type = FILTER_NULL;
		return true;
	case JS_BOOL:
		out->type = FILTER_BOOL;
		out->boolean = js_bool(json);
		return true;
	case JS_INT:
	case JS_REAL:
		out->type = FILTER_NUMBER;
		out->number = js_number(json);
		return true;
	case JS_STRING:
		out->type = FILTER_STRING;
		return copy_text(parse, js_str(json), &out->string, err);
	case JS_ARRAY:
	case JS_OBJECT:
		break;
	}
	return fail(place, err, "a string, number, boolean or null", json);
}

static bool
parse_comparison(struct parse *parse, const struct place *place, enum filter_op op,
		 const struct js *json, struct filter *out, struct err *err)
{
	bool many = op == FILTER_IN || op == FILTER_NIN;
	bool ordered = op == FILTER_GT || op == FILTER_GTE || op == FILTER_LT || op == FILTER_LTE;
	void *values = NULL;

	if (many && !js_is(json, JS_ARRAY))
		return fail(place, err, "an array", json);
	if (ordered && !js_is(json, JS_INT) && !js_is(json, JS_REAL) && !js_is(json, JS_STRING))
		return fail(place, err, "a number or a string", json);
	out->op = op;
	out->count = many ? js_len(json) : 1;
	if (!copy_text(parse, parse->field, &out->field, err) ||
	    !take_room(parse, place, out->count, sizeof(struct filter_value), &values, err))
		return false;
	out->values = values;
	for (size_t i = 0; i < out->count; i++) {
		struct place item = { place, STR(""), i, place->depth };

		item.key.ptr = NULL;
		if (!parse_value(parse, many ? &item : place, many ? js_at(json, i) : json,
				 &out->values[i], err))
			return false;
	}
	return true;
}

static bool
find_op(struct str name, enum filter_op *out)
{
	static const struct {
		const char *name;
		enum filter_op op;
	} ops[] = {
		{ "$eq", FILTER_EQ },	{ "$ne", FILTER_NE },	{ "$gt", FILTER_GT },
		{ "$gte", FILTER_GTE }, { "$lt", FILTER_LT },	{ "$lte", FILTER_LTE },
		{ "$in", FILTER_IN },	{ "$nin", FILTER_NIN },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		if (str_eq_c(name, ops[i].name)) {
			*out = ops[i].op;
			return true;
		}
	}
	return false;
}

/* {"$gte": 1, "$lt": 5} of one field */
static bool
parse_operators(struct parse *parse, const struct place *place, const struct js *json,
		struct filter *out, struct err *err)
{
	void *children = NULL;

	if (js_len(json) == 0) {
		err_set(err, ERR_INVALID, "filter: an operator is missing ($eq, $gt, $in, ...)");
		return fail_at(place, err);
	}
	out->op = FILTER_AND;
	out->count = js_len(json);
	if (!take_room(parse, place, out->count, sizeof(struct filter), &children, err))
		return false;
	out->children = children;

	struct filter *child = out->children;

	for (const struct js_iter *it = js_first(json); it; it = js_next(json, it), child++) {
		struct place inner = { place, js_iter_key(it), 0, place->depth };
		enum filter_op op = FILTER_EQ;

		if (!find_op(inner.key, &op)) {
			err_set(err, ERR_INVALID,
				"filter: unknown operator '" STR_FMT "' (there are: $eq, $ne, $gt, "
				"$gte, $lt, $lte, $in, $nin)",
				STR_ARG(inner.key));
			return fail_at(&inner, err);
		}
		if (!parse_comparison(parse, &inner, op, js_iter_value(it), child, err))
			return false;
	}
	return true;
}

static bool parse_object(struct parse *parse, const struct place *place, const struct js *json,
			 struct filter *out, struct err *err);

static bool
parse_list(struct parse *parse, const struct place *place, enum filter_op op, const struct js *json,
	   struct filter *out, struct err *err)
{
	void *children = NULL;

	if (!js_is(json, JS_ARRAY) || js_len(json) == 0)
		return fail(place, err, "an array with at least one filter", json);
	out->op = op;
	out->count = js_len(json);
	if (!take_room(parse, place, out->count, sizeof(struct filter), &children, err))
		return false;
	out->children = children;
	for (size_t i = 0; i < out->count; i++) {
		struct place item = { place, STR(""), i, place->depth + 1 };

		item.key.ptr = NULL;
		if (!parse_object(parse, &item, js_at(json, i), &out->children[i], err))
			return false;
	}
	return true;
}

static bool
parse_not(struct parse *parse, const struct place *place, const struct js *json, struct filter *out,
	  struct err *err)
{
	struct place inner = { place->up, place->key, 0, place->depth + 1 };
	void *child = NULL;

	out->op = FILTER_NOT;
	out->count = 1;
	if (!take_room(parse, place, 1, sizeof(struct filter), &child, err))
		return false;
	out->children = child;
	return parse_object(parse, &inner, json, out->children, err);
}

static bool
parse_member(struct parse *parse, const struct place *place, const struct js *json,
	     struct filter *out, struct err *err)
{
	if (str_eq_c(place->key, "$and"))
		return parse_list(parse, place, FILTER_AND, json, out, err);
	if (str_eq_c(place->key, "$or"))
		return parse_list(parse, place, FILTER_OR, json, out, err);
	if (str_eq_c(place->key, "$not"))
		return parse_not(parse, place, json, out, err);
	if (str_starts(place->key, "$")) {
		err_set(err, ERR_INVALID,
			"filter: unknown operator '" STR_FMT "' (there are: $and, $or, $not)",
			STR_ARG(place->key));
		return fail_at(place, err);
	}
	parse->field = place->key;
	if (js_is(json, JS_OBJECT))
		return parse_operators(parse, place, json, out, err);
	return parse_comparison(parse, place, FILTER_EQ, json, out, err);
}

static bool
parse_object(struct parse *parse, const struct place *place, const struct js *json,
	     struct filter *out, struct err *err)
{
	void *children = NULL;

	if (!js_is(json, JS_OBJECT))
		return fail(place, err, "an object", json);
	if (place->depth > FILTER_MAX_DEPTH) {
		err_set(err, ERR_INVALID, "filter: nested deeper than %d levels", FILTER_MAX_DEPTH);
		return fail_at(place, err);
	}
	out->op = FILTER_AND;
	out->count = js_len(json);
	if (!take_room(parse, place, out->count, sizeof(struct filter), &children, err))
		return false;
	out->children = children;

	struct filter *child = out->children;

	for (const struct js_iter *it = js_first(json); it; it = js_next(json, it), child++) {
		struct place inner = { place, js_iter_key(it), 0, place->depth };

		if (!parse_member(parse, &inner, js_iter_value(it), child, err))
			return false;
	}
	return true;
}

bool
filter_parse(struct str json, struct arena *arena, struct filter **out, struct err *err)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	struct parse parse = { .arena = arena };
	const struct place top = { .depth = 1 };
	void *filter = NULL;

	if (json.len == 0) {
		*out = NULL;
		return true;
	}
	if (!js_parse(json, &root, err)) {
		err_wrap(err, "filter");
		err->code = ERR_INVALID;
		return fail_at(&top, err);
	}
	if (!take_room(&parse, &top, 1, sizeof(struct filter), &filter, err) ||
	    !parse_object(&parse, &top, root, filter, err))
		return false;
	*out = ((struct filter *)filter)->count > 0 ? filter : NULL;
	return true;
}
