#include "jobs/store/chroma_filter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/json.h"
#include "jobs/store/filter_match.h"

#define KEY_MAX_BYTES ((size_t)10 * CHROMA_ITEM_MAX_BYTES)
#define NUMBER_BYTES 40

/* ---- keys ---- */

struct key {
	char text[KEY_MAX_BYTES + 1];
	bool fits;
};

static struct key
key_make(const char *prefix, struct str field, struct str rest)
{
	struct key key;
	int len = snprintf(key.text, sizeof(key.text), "%s" STR_FMT STR_FMT, prefix, STR_ARG(field),
			   STR_ARG(rest));

	key.fits = len > 0 && (size_t)len < sizeof(key.text) &&
		   !memchr(field.ptr ? field.ptr : "", '\0', field.len);
	return key;
}

/* A number as Chroma is to see it: with a fraction or an exponent, or it would be of another type. */
static void
number_text(char out[NUMBER_BYTES], double value)
{
	char digits[NUMBER_BYTES - 4];

	(void)snprintf(digits, sizeof(digits), "%.17g", value == 0 ? 0.0 : value); /* no -0 */
	(void)snprintf(out, NUMBER_BYTES, "%s%s", digits, strpbrk(digits, ".e") ? "" : ".0");
}

/* The key of a list's item; false when it is too long to be one. */
static bool
item_key(struct str field, const struct filter_value *value, struct key *out)
{
	char number[NUMBER_BYTES + 4] = "=n:";
	char text[CHROMA_ITEM_MAX_BYTES + 4] = "=s:";

	switch (value->type) {
	case FILTER_NULL:
		*out = key_make("i.", field, STR("=z:"));
		return out->fits;
	case FILTER_BOOL:
		*out = key_make("i.", field, value->boolean ? STR("=b:1") : STR("=b:0"));
		return out->fits;
	case FILTER_NUMBER:
		number_text(number + 3, value->number);
		*out = key_make("i.", field, str_of(number));
		return out->fits;
	case FILTER_STRING:
		break;
	}
	if (value->string.len > CHROMA_ITEM_MAX_BYTES)
		return false;
	memcpy(text + 3, value->string.ptr ? value->string.ptr : "", value->string.len);
	*out = key_make("i.", field, str_make(text, 3 + value->string.len));
	return out->fits && strlen(out->text) == 5 + field.len + value->string.len;
}

/* ---- a document's fields ---- */

struct fields {
	struct buf *out;
	size_t start; /* of them in out */
	size_t count;
	bool incomplete; /* not all are there: `o` says so */
};

static void
add_key(struct fields *fields, const char *key)
{
	struct jw w = jw_start(fields->out);

	buf_add_char(fields->out, ',');
	jw_str(&w, str_of(key));
	buf_add_char(fields->out, ':');
	fields->count++;
}

static bool
has_room(struct fields *fields, const struct key *key)
{
	bool room = key->fits && fields->count < CHROMA_MAX_FIELDS;

	fields->incomplete |= !room;
	return room;
}

static void
add_number(struct fields *fields, const char *prefix, struct str field, double value)
{
	struct key key = key_make(prefix, field, STR(""));
	char text[NUMBER_BYTES];

	if (!has_room(fields, &key))
		return;
	add_key(fields, key.text);
	number_text(text, value);
	buf_add_str(fields->out, text);
}

static void
add_flag(struct fields *fields, const struct key *key, bool value)
{
	if (!has_room(fields, key))
		return;
	add_key(fields, key->text);
	buf_add_char(fields->out, value ? '1' : '0');
}

/* false: a list or an object inside of a list is no item. */
static bool
to_value(const struct js *item, struct filter_value *out)
{
	switch (js_type(item)) {
	case JS_NULL:
		*out = (struct filter_value){ .type = FILTER_NULL };
		return true;
	case JS_BOOL:
		*out = (struct filter_value){ .type = FILTER_BOOL, .boolean = js_bool(item) };
		return true;
	case JS_INT:
	case JS_REAL:
		*out = (struct filter_value){ .type = FILTER_NUMBER, .number = js_number(item) };
		return true;
	case JS_STRING:
		*out = (struct filter_value){ .type = FILTER_STRING, .string = js_str(item) };
		return true;
	case JS_ARRAY:
	case JS_OBJECT:
		break;
	}
	return false;
}

/* Is the key among what was added for this list? One object must not have it twice. */
static bool
is_repeated(const struct fields *fields, size_t since, const char *key)
{
	AUTO(buf) struct buf text = BUF_INIT(8 * KEY_MAX_BYTES);
	struct jw w = jw_start(&text);
	size_t at = 0;

	buf_add_char(&text, ',');
	jw_str(&w, str_of(key));
	buf_add_char(&text, ':');
	return buf_ok(fields->out) &&
	       str_find(str_make(fields->out->data + since, fields->out->len - since),
			str_make(text.data, text.len), &at);
}

static void
add_list(struct fields *fields, struct str field, const struct js *list)
{
	double low = (double)INFINITY, high = -(double)INFINITY;
	size_t since = fields->out->len;

	for (size_t i = 0; i < js_len(list); i++) {
		struct filter_value value;
		struct key key;

		if (!to_value(js_at(list, i), &value))
			continue;
		if (value.type == FILTER_NUMBER) {
			low = fmin(low, value.number);
			high = fmax(high, value.number);
		}
		if (!item_key(field, &value, &key))
			fields->incomplete = true;
		else if (!is_repeated(fields, since, key.text))
			add_flag(fields, &key, true);
	}
	if (low <= high) {
		add_number(fields, "lo.", field, low);
		add_number(fields, "hi.", field, high);
	}
}

static void
add_field(struct fields *fields, struct str field, const struct js *value)
{
	struct key key;

	switch (js_type(value)) {
	case JS_NULL:
		key = key_make("z.", field, STR(""));
		add_flag(fields, &key, true);
		return;
	case JS_BOOL:
		key = key_make("b.", field, STR(""));
		add_flag(fields, &key, js_bool(value));
		return;
	case JS_INT:
	case JS_REAL:
		add_number(fields, "m.", field, js_number(value));
		return;
	case JS_STRING:
		key = key_make("m.", field, STR(""));
		if (has_room(fields, &key)) {
			struct jw w = jw_start(fields->out);

			add_key(fields, key.text);
			jw_str(&w, js_str(value));
		}
		return;
	case JS_ARRAY:
		add_list(fields, field, value);
		return;
	case JS_OBJECT:
		return; /* no filter looks inside */
	}
}

bool
chroma_filter_fields(struct str metadata, struct buf *out, struct err *err)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	struct fields fields = { .out = out, .start = out->len };

	if (metadata.len == 0)
		return true;
	if (!js_parse(metadata, &root, err)) {
		err->code = ERR_INVALID;
		return err_wrap(err, "metadata");
	}
	if (!js_is(root, JS_OBJECT))
		return err_set(err, ERR_INVALID, "metadata: expected an object, got %s",
			       js_type_name(js_type(root)));
	for (const struct js_iter *it = js_first(root); it; it = js_next(root, it)) {
		if (!filter_field_is_own(js_iter_key(it)))
			add_field(&fields, js_iter_key(it), js_iter_value(it));
	}
	if (fields.incomplete)
		buf_add_str(out, ",\"o\":1");
	return buf_check(out, "the fields of filters", err);
}

/* ---- clauses ---- */

/* A join under construction: {"$and":[a,b]}. Constants fold; one clause stands alone. */
struct join {
	struct buf *out;
	bool is_or;
	size_t start;	 /* in out */
	size_t count;	 /* clauses so far */
	bool is_decided; /* by a constant: ALL in an OR, NONE in an AND */
};

static struct join
join_begin(struct buf *out, bool is_or)
{
	struct join join = { .out = out, .is_or = is_or, .start = out->len };

	buf_add_str(out, is_or ? "{\"$or\":[" : "{\"$and\":[");
	return join;
}

/* Before a child writes its clause. The mark goes to join_add. */
static size_t
join_next(struct join *join)
{
	size_t mark = join->out->len;

	if (join->count > 0)
		buf_add_char(join->out, ',');
	return mark;
}

static void
join_add(struct join *join, size_t mark, enum chroma_where child)
{
	if (child == CHROMA_WHERE_CLAUSE) {
		join->count++;
		return;
	}
	if (buf_ok(join->out))
		buf_truncate(join->out, mark);
	join->is_decided |= (child == CHROMA_WHERE_ALL) == join->is_or;
}

static enum chroma_where
join_end(struct join *join)
{
	bool constant = join->is_decided || join->count == 0;

	if (!buf_ok(join->out))
		return CHROMA_WHERE_ALL;
	if (!constant) {
		buf_add_str(join->out, "]}");
		return CHROMA_WHERE_CLAUSE;
	}
	buf_truncate(join->out, join->start);
	/* an empty OR passes nothing, an empty AND everything; a deciding constant is the other way round */
	return join->is_or == join->is_decided ? CHROMA_WHERE_ALL : CHROMA_WHERE_NONE;
}

static void
add_value(struct buf *out, const struct filter_value *value)
{
	struct jw w = jw_start(out);
	char number[NUMBER_BYTES];

	if (value->type == FILTER_STRING) {
		jw_str(&w, value->string);
	} else if (value->type == FILTER_NUMBER) {
		number_text(number, value->number);
		buf_add_str(out, number);
	} else {
		buf_add_char(out, value->type == FILTER_BOOL && !value->boolean ? '0' : '1');
	}
}

/* {"key":{"$eq":value}} */
static enum chroma_where
compare(struct buf *out, const char *key, const char *op, const struct filter_value *value)
{
	struct jw w = jw_start(out);

	buf_add_char(out, '{');
	jw_str(&w, str_of(key));
	buf_printf(out, ":{\"%s\":", op);
	add_value(out, value);
	buf_add_str(out, "}}");
	return CHROMA_WHERE_CLAUSE;
}

static const char *
prefix_of(enum filter_type type)
{
	static const char *const prefixes[] = { [FILTER_NULL] = "z.",
						[FILTER_BOOL] = "b.",
						[FILTER_NUMBER] = "m.",
						[FILTER_STRING] = "m." };

	return prefixes[type];
}

static const struct filter_value one = { .type = FILTER_BOOL, .boolean = true };

/* The field has this value, as a scalar or in a list; `negated`: it has not. */
static void
join_equal(struct join *join, struct str field, const struct filter_value *value, bool negated)
{
	const char *op = negated ? "$ne" : "$eq";
	struct key key = key_make(prefix_of(value->type), field, STR(""));
	size_t mark;

	if (key.fits) {
		mark = join_next(join);
		join_add(join, mark, compare(join->out, key.text, op, value));
	}
	if (item_key(field, value, &key)) {
		mark = join_next(join);
		join_add(join, mark, compare(join->out, key.text, op, &one));
	}
}

static void
join_incomplete(struct join *join)
{
	size_t mark = join_next(join);

	join_add(join, mark, compare(join->out, "o", "$eq", &one));
}

/* A comparison with a member of the document itself: a string. */
static enum chroma_where
own_clause(const struct filter *filter, bool negated, struct buf *out)
{
	bool equals = filter->op == FILTER_EQ || filter->op == FILTER_NE ||
		      filter->op == FILTER_IN || filter->op == FILTER_NIN;
	struct join join = join_begin(out, !negated);
	char key[16];

	(void)str_copy(key, sizeof(key), filter->field);
	for (size_t i = 0; i < filter->count; i++) {
		size_t mark = join_next(&join);
		enum chroma_where child = negated ? CHROMA_WHERE_ALL : CHROMA_WHERE_NONE;

		if (filter->values[i].type == FILTER_STRING)
			child = equals ? compare(out, key, negated ? "$ne" : "$eq",
						 &filter->values[i])
				       : CHROMA_WHERE_ALL;
		join_add(&join, mark, child);
	}
	return join_end(&join);
}

static enum chroma_where
equal_clause(const struct filter *filter, bool negated, struct buf *out)
{
	struct join join = join_begin(out, !negated);

	for (size_t i = 0; i < filter->count; i++)
		join_equal(&join, filter->field, &filter->values[i], negated);
	if (!negated && filter->count > 0)
		join_incomplete(&join);
	return join_end(&join);
}

static enum chroma_where
order_clause(const struct filter *filter, bool negated, struct buf *out)
{
	bool greater = filter->op == FILTER_GT || filter->op == FILTER_GTE;
	bool or_equal = filter->op == FILTER_GTE || filter->op == FILTER_LTE;
	const char *op = greater ? (or_equal ? "$gte" : "$gt") : (or_equal ? "$lte" : "$lt");
	const char *const prefixes[] = { "m.", greater ? "hi." : "lo." };
	struct join join;

	/* Chroma orders numbers only, and cannot say "not, or missing" */
	if (negated || filter->values[0].type != FILTER_NUMBER)
		return CHROMA_WHERE_ALL;
	join = join_begin(out, true);
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		struct key key = key_make(prefixes[i], filter->field, STR(""));
		size_t mark;

		if (!key.fits)
			continue;
		mark = join_next(&join);
		join_add(&join, mark, compare(out, key.text, op, &filter->values[0]));
	}
	join_incomplete(&join);
	return join_end(&join);
}

static enum chroma_where
clause(const struct filter *filter, bool negated, struct buf *out)
{
	bool joins = filter->op == FILTER_AND || filter->op == FILTER_OR;
	bool turns = filter->op == FILTER_NE || filter->op == FILTER_NIN;
	struct join join;

	if (filter->op == FILTER_NOT)
		return clause(filter->children, !negated, out);
	if (joins) {
		join = join_begin(out, (filter->op == FILTER_OR) != negated);
		for (size_t i = 0; i < filter->count; i++) {
			size_t mark = join_next(&join);

			join_add(&join, mark, clause(&filter->children[i], negated, out));
		}
		return join_end(&join);
	}
	if (filter_field_is_own(filter->field))
		return own_clause(filter, negated != turns, out);
	if (turns || filter->op == FILTER_EQ || filter->op == FILTER_IN)
		return equal_clause(filter, negated != turns, out);
	return order_clause(filter, negated, out);
}

enum chroma_where
chroma_filter_where(const struct filter *filter, struct buf *out)
{
	return clause(filter, false, out);
}
