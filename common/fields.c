#include "common/fields.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/suggest.h"

#define MAX_ROWS 64 /* one bit each in the sets of members seen */

/* ---- the member of a row ---- */

static const void *
member_in(const struct field *row, const void *in)
{
	return (const char *)in + row->offset;
}

static void *
member_out(const struct field *row, void *out)
{
	return (char *)out + row->offset;
}

static struct str
get_str(const struct field *row, const void *in)
{
	struct str value;

	memcpy(&value, member_in(row, in), sizeof(value));
	return value;
}

static int64_t
get_i64(const struct field *row, const void *in)
{
	int64_t value;

	memcpy(&value, member_in(row, in), sizeof(value));
	return value;
}

static double
get_f64(const struct field *row, const void *in)
{
	double value;

	memcpy(&value, member_in(row, in), sizeof(value));
	return value;
}

static bool
get_bool(const struct field *row, const void *in)
{
	bool value;

	memcpy(&value, member_in(row, in), sizeof(value));
	return value;
}

static const char *
get_enum_name(const struct field *row, const void *in)
{
	int value;

	memcpy(&value, member_in(row, in), sizeof(value));
	assert(value >= 0); /* an index outside the table is a programmer's error */
	for (int i = 0; i <= value; i++)
		assert(row->names[i]);
	return row->names[value];
}

static bool
is_text(enum field_kind kind)
{
	return kind == FIELD_STR || kind == FIELD_BYTES || kind == FIELD_JSON || kind == FIELD_LIST;
}

/* Text of a JSON value: what the value must be. */
static bool
is_tree(enum field_kind kind)
{
	return kind == FIELD_JSON || kind == FIELD_LIST;
}

static enum js_type
tree_type(const struct field *row)
{
	return row->kind == FIELD_LIST ? JS_ARRAY : JS_OBJECT;
}

static bool
has_limits(const struct field *row)
{
	return row->min != 0 || row->max != 0;
}

/* A maximum below the minimum, as where only .min was given, is none. */
static int64_t
upper(const struct field *row)
{
	return row->max < row->min ? INT64_MAX : row->max;
}

/* "a thing", "an ingest" */
static const char *
article(const struct fields *table)
{
	return strchr("aeiou", table->kind[0]) ? "an" : "a";
}

/* Texts that were never set, or empty where that is not allowed, are not written: the reader's default
 * stays. */
static bool
is_absent(const struct field *row, const void *in)
{
	if (!is_text(row->kind))
		return false;

	struct str value = get_str(row, in);

	return !value.ptr || (value.len == 0 && (row->min > 0 || is_tree(row->kind)));
}

static const struct field *
find_row(const struct fields *table, struct str name)
{
	for (size_t i = 0; i < table->count; i++) {
		if (str_eq_c(name, table->rows[i].name))
			return &table->rows[i];
	}
	return NULL;
}

/* ---- limits: the same for JSON and msgpack ---- */

static bool
invalid_at(struct err *err, const struct field *row)
{
	return err_at(err, "/%s", row->name);
}

static bool
check_range(const struct field *row, int64_t value, struct err *err)
{
	if (!has_limits(row) || (value >= row->min && value <= upper(row)))
		return true;
	if (row->max < row->min)
		err_set(err, ERR_INVALID, "'%s' must be at least %lld, not %lld", row->name,
			(long long)row->min, (long long)value);
	else
		err_set(err, ERR_INVALID, "'%s' must be between %lld and %lld, not %lld", row->name,
			(long long)row->min, (long long)row->max, (long long)value);
	return invalid_at(err, row);
}

static bool
check_size(const struct field *row, size_t size, const char *unit, struct err *err)
{
	int64_t value = (int64_t)size;

	if (!has_limits(row) || (value >= row->min && value <= upper(row)))
		return true;
	if (size == 0)
		err_set(err, ERR_INVALID, "'%s' must not be empty", row->name);
	else if (value < row->min)
		err_set(err, ERR_INVALID, "'%s' must have at least %lld %s, not %lld", row->name,
			(long long)row->min, unit, (long long)value);
	else
		err_set(err, ERR_INVALID, "'%s' must have at most %lld %s, not %lld", row->name,
			(long long)row->max, unit, (long long)value);
	return invalid_at(err, row);
}

static bool
check_str(const struct field *row, struct str value, struct err *err)
{
	size_t bad_at = 0;

	if (!str_utf8_valid(value, &bad_at)) {
		err_set(err, ERR_INVALID, "'%s' is not UTF-8 at byte %zu", row->name, bad_at);
		return invalid_at(err, row);
	}
	for (size_t i = 0; i < value.len && !row->controls; i++) {
		unsigned char c = (unsigned char)value.ptr[i];

		if ((c >= 0x20 && c != 0x7f) || c == '\t' || c == '\n' || c == '\r')
			continue;
		err_set(err, ERR_INVALID, "'%s' holds the control character U+%04X at byte %zu",
			row->name, c, i);
		return invalid_at(err, row);
	}
	return check_size(row, str_utf8_count(value), "characters", err);
}

static bool
check_f64(const struct field *row, double value, struct err *err)
{
	if (isfinite(value) &&
	    (!has_limits(row) || (value >= (double)row->min && value <= (double)upper(row))))
		return true;
	if (!isfinite(value))
		err_set(err, ERR_INVALID, "'%s' must be a finite number", row->name);
	else
		err_set(err, ERR_INVALID, "'%s' must be between %lld and %lld, not %g", row->name,
			(long long)row->min, (long long)row->max, value);
	return invalid_at(err, row);
}

static bool
set_enum(const struct field *row, struct str name, void *out, struct err *err)
{
	AUTO(buf) struct buf known = BUF_INIT(ERR_MSG_MAX_BYTES);

	for (int i = 0; row->names[i]; i++) {
		if (str_eq_c(name, row->names[i])) {
			memcpy(member_out(row, out), &i, sizeof(i));
			return true;
		}
		buf_printf(&known, "%s'%s'", i > 0 ? ", " : "", row->names[i]);
	}
	err_set(err, ERR_INVALID, "'%s' must be one of %s, not '" STR_FMT "'", row->name,
		known.data, STR_ARG(str_sub(name, 0, str_utf8_floor(name, 64))));
	return invalid_at(err, row);
}

/* ---- JSON in ---- */

static bool
wrong_type(const struct field *row, const char *want, const struct js *value, struct err *err)
{
	const char *got = js_is(value, JS_BOOL) ? (js_bool(value) ? "true" : "false")
						: js_type_name(js_type(value));

	err_set(err, ERR_INVALID, "'%s' must be %s, not %s", row->name, want, got);
	return invalid_at(err, row);
}

static bool
too_large(const struct field *row, struct err *err)
{
	err_set(err, ERR_TOO_LARGE, "'%s' does not fit into the memory of one request", row->name);
	return invalid_at(err, row);
}

static bool
set_text(const struct field *row, struct str value, void *out, struct arena *arena, struct err *err)
{
	const char *copy = arena_strndup(arena, value.len > 0 ? value.ptr : "", value.len);
	struct str text = str_make(copy, value.len);

	if (!copy)
		return too_large(row, err);
	memcpy(member_out(row, out), &text, sizeof(text));
	return true;
}

static bool
str_from_json(const struct field *row, const struct js *value, void *out, struct arena *arena,
	      struct err *err)
{
	if (!js_is(value, JS_STRING))
		return wrong_type(row, "a string", value, err);
	return check_str(row, js_str(value), err) && set_text(row, js_str(value), out, arena, err);
}

static bool
tree_from_json(const struct field *row, const struct js *value, void *out, struct arena *arena,
	       struct err *err)
{
	AUTO(buf) struct buf text = BUF_INIT(arena->max_bytes);

	if (!js_is(value, tree_type(row)))
		return wrong_type(row, js_type_name(tree_type(row)), value, err);
	js_write_canonical(value, &text);
	if (!buf_ok(&text))
		return too_large(row, err);
	return check_size(row, text.len, "bytes as compact JSON", err) &&
	       set_text(row, str_make(text.data, text.len), out, arena, err);
}

/* JSON has one kind of number: 5.0 is as whole as 5 (up to where each whole number has a double of its own). */
static bool
whole_number(const struct js *value, int64_t *out)
{
	if (js_is(value, JS_REAL)) {
		double number = js_number(value);

		if (fabs(number) > 9007199254740992.0 || floor(number) < number)
			return false;
		*out = (int64_t)number;
		return true;
	}
	if (!js_is(value, JS_INT))
		return false;
	*out = js_int(value);
	return true;
}

static bool
i64_from_json(const struct field *row, const struct js *value, void *out, struct err *err)
{
	int64_t number;

	if (!whole_number(value, &number))
		return wrong_type(row, "a whole number", value, err);
	if (!check_range(row, number, err))
		return false;
	memcpy(member_out(row, out), &number, sizeof(number));
	return true;
}

static bool
f64_from_json(const struct field *row, const struct js *value, void *out, struct err *err)
{
	if (!js_is(value, JS_INT) && !js_is(value, JS_REAL))
		return wrong_type(row, "a number", value, err);

	double number = js_number(value);

	if (!check_f64(row, number, err))
		return false;
	memcpy(member_out(row, out), &number, sizeof(number));
	return true;
}

static bool
row_from_json(const struct field *row, const struct js *value, void *out, struct arena *arena,
	      struct err *err)
{
	switch (row->kind) {
	case FIELD_STR:
		return str_from_json(row, value, out, arena, err);
	case FIELD_JSON:
	case FIELD_LIST:
		return tree_from_json(row, value, out, arena, err);
	case FIELD_I64:
		return i64_from_json(row, value, out, err);
	case FIELD_F64:
		return f64_from_json(row, value, out, err);
	case FIELD_BOOL:
		if (!js_is(value, JS_BOOL))
			return wrong_type(row, "true or false", value, err);
		memcpy(member_out(row, out), &(bool){ js_bool(value) }, sizeof(bool));
		return true;
	case FIELD_ENUM:
		if (!js_is(value, JS_STRING))
			return wrong_type(row, "a string", value, err);
		return set_enum(row, js_str(value), out, err);
	case FIELD_BYTES:
	default:
		assert(false); /* shown_in_json keeps these out */
		return false;
	}
}

static bool
shown_in_json(const struct field *row)
{
	return !row->internal && row->kind != FIELD_BYTES;
}

/* "/" and the name as RFC 6901 spells it. */
static void
point_at_name(struct err *err, struct str name)
{
	AUTO(buf) struct buf pointer = BUF_INIT(ERR_POINTER_MAX_BYTES);

	buf_add_char(&pointer, '/');
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] == '~' || name.ptr[i] == '/')
			buf_add_str(&pointer, name.ptr[i] == '~' ? "~0" : "~1");
		else
			buf_add_char(&pointer, name.ptr[i]);
	}
	err_at(err, "%s", pointer.data);
}

static bool
unknown_member(const struct fields *table, struct str name, struct err *err)
{
	struct suggest suggest = suggest_start(name);
	struct str shown = str_sub(name, 0, str_utf8_floor(name, 64));

	for (size_t i = 0; i < table->count; i++) {
		if (shown_in_json(&table->rows[i]))
			suggest_offer(&suggest, table->rows[i].name);
	}
	if (suggest.nearest)
		err_set(err, ERR_INVALID,
			"unknown member '" STR_FMT "' in %s %s; did you mean '%s'?", STR_ARG(shown),
			article(table), table->kind, suggest.nearest);
	else
		err_set(err, ERR_INVALID, "unknown member '" STR_FMT "' in %s %s", STR_ARG(shown),
			article(table), table->kind);
	point_at_name(err, name);
	return false;
}

/* Every required row must be in the set. */
static bool
check_required(const struct fields *table, uint64_t seen, bool json, struct err *err)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct field *row = &table->rows[i];

		if (!row->required || seen >> i & 1 || (json && !shown_in_json(row)))
			continue;
		err_set(err, ERR_INVALID, "'%s' is required", row->name);
		return invalid_at(err, row);
	}
	return true;
}

bool
fields_from_json(const struct fields *table, const struct js *object, void *out,
		 struct arena *arena, struct err *err)
{
	uint64_t seen = 0;

	assert(table->count <= MAX_ROWS);
	if (!js_is(object, JS_OBJECT))
		return err_set(err, ERR_INVALID, "%s %s must be an object, not %s", article(table),
			       table->kind, object ? js_type_name(js_type(object)) : "missing");
	for (const struct js_iter *it = js_first(object); it; it = js_next(object, it)) {
		const struct js *value = js_iter_value(it);
		const struct field *row = find_row(table, js_iter_key(it));

		if (!row || !shown_in_json(row))
			return unknown_member(table, js_iter_key(it), err);
		if (js_is(value, JS_NULL) && !row->required)
			continue;
		if (!row_from_json(row, value, out, arena, err))
			return false;
		seen |= UINT64_C(1) << (row - table->rows);
	}
	return check_required(table, seen, true, err);
}

/* ---- JSON out ---- */

void
fields_to_json(const struct fields *table, const void *in, struct jw *w)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct field *row = &table->rows[i];

		if (!shown_in_json(row) || is_absent(row, in))
			continue;
		switch (row->kind) {
		case FIELD_STR:
			jw_kstr(w, row->name, get_str(row, in));
			break;
		case FIELD_JSON:
		case FIELD_LIST:
			jw_kraw(w, row->name, get_str(row, in));
			break;
		case FIELD_I64:
			jw_kint(w, row->name, get_i64(row, in));
			break;
		case FIELD_F64:
			jw_knum(w, row->name, get_f64(row, in), 0);
			break;
		case FIELD_BOOL:
			jw_kbool(w, row->name, get_bool(row, in));
			break;
		case FIELD_ENUM:
			jw_kcstr(w, row->name, get_enum_name(row, in));
			break;
		case FIELD_BYTES:
		default:
			break;
		}
	}
}

/* ---- msgpack out ---- */

static void
row_to_pack(const struct field *row, const void *in, struct buf *out)
{
	switch (row->kind) {
	case FIELD_STR:
	case FIELD_JSON:
	case FIELD_LIST:
		pack_str(out, get_str(row, in));
		break;
	case FIELD_BYTES:
		pack_bin(out, get_str(row, in));
		break;
	case FIELD_I64:
		pack_i64(out, get_i64(row, in));
		break;
	case FIELD_F64:
		pack_f64(out, get_f64(row, in));
		break;
	case FIELD_BOOL:
		pack_bool(out, get_bool(row, in));
		break;
	case FIELD_ENUM:
		pack_str(out, str_of(get_enum_name(row, in)));
		break;
	}
}

void
fields_to_pack(const struct fields *table, const void *in, struct buf *out)
{
	size_t count = 0;

	for (size_t i = 0; i < table->count; i++)
		count += !is_absent(&table->rows[i], in);
	pack_envelope_begin(out, table->kind);
	pack_map(out, count);
	for (size_t i = 0; i < table->count; i++) {
		if (is_absent(&table->rows[i], in))
			continue;
		pack_str(out, str_of(table->rows[i].name));
		row_to_pack(&table->rows[i], in, out);
	}
}

/* ---- msgpack in ---- */

static bool
check_tree_text(const struct field *row, struct str text, struct err *err)
{
	AUTO_PTR(js_free) struct js *root = NULL;

	if (!js_parse(text, &root, err))
		return err_wrap(err, "'%s'", row->name);
	if (!js_is(root, tree_type(row)))
		return wrong_type(row, js_type_name(tree_type(row)), root, err);
	return check_size(row, text.len, "bytes as compact JSON", err);
}

static bool
text_from_pack(const struct field *row, struct str text, void *out, struct err *err)
{
	bool fine = row->kind == FIELD_STR ? check_str(row, text, err)
		    : is_tree(row->kind)   ? check_tree_text(row, text, err)
					   : check_size(row, text.len, "bytes", err);

	if (fine)
		memcpy(member_out(row, out), &text, sizeof(text));
	return fine;
}

static bool
number_from_pack(const struct field *row, const struct pack_value *value, void *out,
		 struct err *err)
{
	if (row->kind == FIELD_I64) {
		if (!check_range(row, value->u.i64, err))
			return false;
		memcpy(member_out(row, out), &value->u.i64, sizeof(int64_t));
		return true;
	}
	if (!check_f64(row, value->u.f64, err))
		return false;
	memcpy(member_out(row, out), &value->u.f64, sizeof(double));
	return true;
}

static bool
row_from_pack(const struct field *row, const struct pack_value *value, void *out, struct err *err)
{
	static const enum pack_type want[] = {
		[FIELD_STR] = PACK_STR,	 [FIELD_BYTES] = PACK_BIN, [FIELD_I64] = PACK_I64,
		[FIELD_F64] = PACK_F64,	 [FIELD_BOOL] = PACK_BOOL, [FIELD_ENUM] = PACK_STR,
		[FIELD_JSON] = PACK_STR, [FIELD_LIST] = PACK_STR,
	};

	if (value->type != want[row->kind])
		return err_set(err, ERR_CORRUPT, "'%s' has another type", row->name);
	if (is_text(row->kind))
		return text_from_pack(row, value->u.str, out, err);
	if (row->kind == FIELD_ENUM)
		return set_enum(row, value->u.str, out, err);
	if (row->kind == FIELD_BOOL) {
		memcpy(member_out(row, out), &value->u.boolean, sizeof(bool));
		return true;
	}
	return number_from_pack(row, value, out, err);
}

/* One (name, value) pair. */
static bool
pair_from_pack(const struct fields *table, struct pack_reader *reader, uint64_t *seen, void *out,
	       struct err *err)
{
	struct pack_value value = { .type = PACK_NIL };

	if (!pack_next(reader, &value, err))
		return false;
	if (value.type != PACK_STR)
		return err_set(err, ERR_CORRUPT, "a member's name is no text");

	const struct field *row = find_row(table, value.u.str);

	if (!row)
		return pack_skip(reader, err);

	uint64_t bit = UINT64_C(1) << (row - table->rows);

	if (*seen & bit)
		return err_set(err, ERR_CORRUPT, "'%s' comes twice", row->name);
	if (!pack_next(reader, &value, err))
		return false;
	if (value.type == PACK_NIL && !row->required)
		return true;
	*seen |= bit;
	return row_from_pack(row, &value, out, err);
}

static bool
map_from_pack(const struct fields *table, struct pack_reader *reader, void *out, struct err *err)
{
	struct pack_value map = { .type = PACK_NIL };
	uint64_t seen = 0;

	if (!pack_next(reader, &map, err))
		return false;
	if (map.type != PACK_MAP)
		return err_set(err, ERR_CORRUPT, "its body is no map");
	for (uint32_t i = 0; i < map.u.count; i++) {
		if (!pair_from_pack(table, reader, &seen, out, err))
			return false;
	}
	return check_required(table, seen, false, err);
}

bool
fields_from_pack(const struct fields *table, struct str bytes, void *out, struct err *err)
{
	struct pack_reader reader;

	assert(table->count <= MAX_ROWS);
	if (!pack_envelope_open(&reader, bytes, table->kind, err))
		return false;
	if (!map_from_pack(table, &reader, out, err)) {
		/* stored data has no client to blame */
		err->code = ERR_CORRUPT;
		err->pointer[0] = '\0';
		return err_wrap(err, "cannot read a stored %s", table->kind);
	}
	return true;
}
