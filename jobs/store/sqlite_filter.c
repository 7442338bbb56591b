/*
 * A filter becomes one condition on `generation AS g`. Values and field names are bound parameters, never
 * part of the text; the two walks (text, then binds) visit the tree in the same order. A member of the
 * metadata is looked up in `attribute`, whose primary key makes each comparison a range of an index: the
 * cost is that of the rows that match. The document's own fields are columns of g.
 *
 * $ne and $nin are the negation of $eq and $in, so they match where the field is missing; the ordering
 * comparisons match values of the same type only.
 */
#include "common/base/buf.h"
#include "jobs/store/sqlite_store.h"

static const char *
own_column(struct str field)
{
	static const char *const columns[] = { "document_id", "title", "uri" };

	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		if (str_eq_c(field, columns[i]))
			return columns[i];
	}
	return NULL;
}

static const char *
compare_sign(enum filter_op op)
{
	switch (op) {
	case FILTER_GT:
		return ">";
	case FILTER_GTE:
		return ">=";
	case FILTER_LT:
		return "<";
	case FILTER_LTE:
		return "<=";
	case FILTER_AND:
	case FILTER_OR:
	case FILTER_NOT:
	case FILTER_EQ:
	case FILTER_NE:
	case FILTER_IN:
	case FILTER_NIN:
		break;
	}
	return "=";
}

static const char *
type_letter(enum filter_type type)
{
	static const char *const letters[] = { [FILTER_NULL] = "z",
					       [FILTER_BOOL] = "b",
					       [FILTER_NUMBER] = "n",
					       [FILTER_STRING] = "s" };

	return letters[type];
}

/* One parameter a value for a column (those of another type than string match nothing); for an attribute
 * one for the key, and two a value. */
static void
comparison_sql(const struct filter *filter, int *parameter, struct buf *out)
{
	const char *column = own_column(filter->field);
	const char *sign = compare_sign(filter->op);
	int key = column ? 0 : (*parameter)++;

	if (filter->op == FILTER_NE || filter->op == FILTER_NIN)
		buf_add_str(out, "NOT ");
	buf_add_char(out, '(');
	if (!column)
		buf_printf(out,
			   "g.id IN (SELECT generation FROM attribute WHERE collection = ?1 "
			   "AND key = ?%d AND (",
			   key);
	for (size_t i = 0; i < filter->count; i++) {
		buf_add_str(out, i > 0 ? " OR " : "");
		if (column)
			buf_printf(out, "ifnull(g.%s %s ?%d, 0)", column, sign, (*parameter)++);
		else
			buf_printf(out, "(type = ?%d AND value %s ?%d)", *parameter, sign,
				   *parameter + 1);
		*parameter += column ? 0 : 2;
	}
	if (filter->count == 0)
		buf_add_char(out, '0');
	buf_add_str(out, column ? ")" : ")))");
}

static void
filter_sql(const struct filter *filter, int *parameter, struct buf *out)
{
	bool joins = filter->op == FILTER_AND || filter->op == FILTER_OR;

	if (!joins && filter->op != FILTER_NOT) {
		comparison_sql(filter, parameter, out);
		return;
	}
	buf_add_str(out, filter->op == FILTER_NOT ? "NOT (" : "(");
	for (size_t i = 0; i < filter->count; i++) {
		if (i > 0)
			buf_add_str(out, filter->op == FILTER_OR ? " OR " : " AND ");
		filter_sql(&filter->children[i], parameter, out);
	}
	if (filter->count == 0)
		buf_add_char(out, filter->op == FILTER_OR ? '0' : '1');
	buf_add_char(out, ')');
}

void
sqlite_filter_sql(const struct filter *filter, struct buf *out)
{
	int parameter = 2;

	filter_sql(filter, &parameter, out);
}

bool
sqlite_filter_narrows(const struct filter *filter)
{
	switch (filter->op) {
	case FILTER_AND:
		for (size_t i = 0; i < filter->count; i++) {
			if (sqlite_filter_narrows(&filter->children[i]))
				return true;
		}
		return false;
	case FILTER_EQ:
	case FILTER_GT:
	case FILTER_GTE:
	case FILTER_LT:
	case FILTER_LTE:
	case FILTER_IN:
		return !own_column(filter->field);
	case FILTER_OR:
	case FILTER_NOT:
	case FILTER_NE:
	case FILTER_NIN:
		break;
	}
	return false;
}

struct binds {
	struct db *db;
	struct sqlite3_stmt *statement;
	int parameter;
};

static void
bind_value(struct binds *binds, const struct filter_value *value)
{
	int at = binds->parameter++;

	if (value->type == FILTER_STRING)
		db_bind_str(binds->db, binds->statement, at, value->string);
	else if (value->type == FILTER_NUMBER)
		db_bind_f64(binds->db, binds->statement, at, value->number);
	else
		db_bind_i64(binds->db, binds->statement, at,
			    value->type == FILTER_BOOL && value->boolean);
}

static void
bind_comparison(struct binds *binds, const struct filter *filter)
{
	bool column = own_column(filter->field) != NULL;

	if (!column)
		db_bind_str(binds->db, binds->statement, binds->parameter++, filter->field);
	for (size_t i = 0; i < filter->count; i++) {
		const struct filter_value *value = &filter->values[i];

		/* a column holds text: left NULL, the parameter matches nothing */
		if (column && value->type != FILTER_STRING) {
			binds->parameter++;
			continue;
		}
		if (!column)
			db_bind_str(binds->db, binds->statement, binds->parameter++,
				    str_of(type_letter(value->type)));
		bind_value(binds, value);
	}
}

static void
filter_bind(struct binds *binds, const struct filter *filter)
{
	if (filter->op != FILTER_AND && filter->op != FILTER_OR && filter->op != FILTER_NOT) {
		bind_comparison(binds, filter);
		return;
	}
	for (size_t i = 0; i < filter->count; i++)
		filter_bind(binds, &filter->children[i]);
}

void
sqlite_filter_bind(const struct filter *filter, struct db *db, struct sqlite3_stmt *statement)
{
	struct binds binds = { db, statement, 2 };

	filter_bind(&binds, filter);
}
