#include "jobs/store/filter_match.h"

#include <string.h>

#include "common/base/auto.h"

static bool
own_value(struct str field, const struct filter_subject *subject, struct str *out)
{
	if (str_eq_c(field, "document_id"))
		*out = subject->document_id;
	else if (str_eq_c(field, "title"))
		*out = subject->title;
	else if (str_eq_c(field, "uri"))
		*out = subject->uri;
	else
		return false;
	return true;
}

bool
filter_field_is_own(struct str field)
{
	const struct filter_subject none = { .metadata = NULL };
	struct str ignored = STR("");

	return own_value(field, &none, &ignored);
}

/* order: less than, equal to or greater than 0, of what the document has against the filter's value */
static bool
holds(enum filter_op op, int order)
{
	switch (op) {
	case FILTER_GT:
		return order > 0;
	case FILTER_GTE:
		return order >= 0;
	case FILTER_LT:
		return order < 0;
	case FILTER_LTE:
		return order <= 0;
	case FILTER_AND:
	case FILTER_OR:
	case FILTER_NOT:
	case FILTER_EQ:
	case FILTER_NE:
	case FILTER_IN:
	case FILTER_NIN:
		break;
	}
	return order == 0;
}

static bool
text_holds(enum filter_op op, struct str text, const struct filter_value *value)
{
	return value->type == FILTER_STRING && holds(op, str_cmp(text, value->string));
}

/* A scalar of the metadata against one value; only values of one type compare. */
static bool
scalar_holds(enum filter_op op, const struct js *item, const struct filter_value *value)
{
	switch (js_type(item)) {
	case JS_NULL:
		return value->type == FILTER_NULL && holds(op, 0);
	case JS_BOOL:
		return value->type == FILTER_BOOL && holds(op, js_bool(item) - value->boolean);
	case JS_INT:
	case JS_REAL: {
		double number = js_number(item);

		return value->type == FILTER_NUMBER &&
		       holds(op, (number > value->number) - (number < value->number));
	}
	case JS_STRING:
		return text_holds(op, js_str(item), value);
	case JS_ARRAY:
	case JS_OBJECT:
		break;
	}
	return false;
}

static bool
member_holds(enum filter_op op, const struct js *member, const struct filter_value *value)
{
	if (!js_is(member, JS_ARRAY))
		return scalar_holds(op, member, value);
	for (size_t i = 0; i < js_len(member); i++) {
		if (scalar_holds(op, js_at(member, i), value))
			return true;
	}
	return false;
}

/* Any of the values; for $ne and $nin the caller turns it round. */
static bool
any_holds(const struct filter *filter, const struct filter_subject *subject)
{
	const struct js *member = NULL;
	struct str own = STR("");
	bool is_own = own_value(filter->field, subject, &own);

	if (!is_own && subject->metadata) {
		/* (js_get wants a NUL-terminated key: a filter's field is) */
		member = js_get(subject->metadata, filter->field.ptr);
	}
	for (size_t i = 0; i < filter->count; i++) {
		const struct filter_value *value = &filter->values[i];

		if (is_own ? text_holds(filter->op, own, value)
			   : member && member_holds(filter->op, member, value))
			return true;
	}
	return false;
}

bool
filter_matches(const struct filter *filter, const struct filter_subject *subject)
{
	switch (filter->op) {
	case FILTER_AND:
	case FILTER_OR:
		for (size_t i = 0; i < filter->count; i++) {
			if (filter_matches(&filter->children[i], subject) ==
			    (filter->op == FILTER_OR))
				return filter->op == FILTER_OR;
		}
		return filter->op == FILTER_AND;
	case FILTER_NOT:
		return !filter_matches(filter->children, subject);
	case FILTER_NE:
	case FILTER_NIN:
		return !any_holds(filter, subject);
	case FILTER_EQ:
	case FILTER_GT:
	case FILTER_GTE:
	case FILTER_LT:
	case FILTER_LTE:
	case FILTER_IN:
		break;
	}
	return any_holds(filter, subject);
}
