/*
 * api/openapi.json against the tables of the code, both ways: routes, fields of requests, error codes, names. Every
 * difference is printed, so that whoever changes a table sees what to write there. (What the API answers is held
 * against it by tests/contract/openapi_walk.py.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/handlers.h"
#include "api/route.h"
#include "api/submit.h"
#include "common/job.h"
#include "common/key_file.h"
#include "jobs/spec/media.h"
#include "jobs/spec/spec.h"
#include "tests/support/must.h"

#define MEDIA_TYPES_MAX 64

extern const char embed_openapi_json[];

struct contract {
	struct js *root;
	int differences;
};

static int
setup(void **state)
{
	static struct contract contract;

	contract = (struct contract){ 0 };
	MUST(js_parse(str_of(embed_openapi_json), &contract.root, e));
	*state = &contract;
	return 0;
}

static int
teardown(void **state)
{
	struct contract *c = *state;

	js_free(c->root);
	return 0;
}

static void differ(struct contract *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
differ(struct contract *c, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	print_error("api/openapi.json: %s\n", text);
	c->differences++;
}

/* ---- looking things up ---- */

/* Members by name, "a|b|c"; NULL when one is absent. */
static const struct js *
get(const struct js *at, const char *path)
{
	struct str rest = str_of(path), step;

	while (at && str_split(&rest, '|', &step)) {
		char name[128];

		assert_true(str_copy(name, sizeof(name), step));
		at = js_is(at, JS_OBJECT) ? js_get(at, name) : NULL;
	}
	return at;
}

/* What "$ref": "#/components/<kind>/<name>" stands for, else the value itself. */
static const struct js *
resolve(const struct contract *c, const struct js *value)
{
	char kind[64], name[128];
	struct str ref, part;

	if (!js_is(value, JS_OBJECT) || !js_get_str(value, "$ref", &ref))
		return value;
	assert_true(str_starts(ref, "#/components/"));
	ref = str_sub(ref, strlen("#/components/"), ref.len);
	assert_true(str_split(&ref, '/', &part) && str_copy(kind, sizeof(kind), part));
	assert_true(str_copy(name, sizeof(name), ref));
	return get(get(c->root, "components"), kind)
		       ? js_get(get(get(c->root, "components"), kind), name)
		       : NULL;
}

static const struct js *
schema(const struct contract *c, const char *name)
{
	const struct js *found = js_get(get(c->root, "components|schemas"), name);

	if (!found)
		fail_msg("api/openapi.json has no schema '%s'", name);
	return found;
}

static bool
holds(const struct js *list, const char *text)
{
	for (size_t i = 0; js_is(list, JS_ARRAY) && i < js_len(list); i++)
		if (js_is(js_at(list, i), JS_STRING) && str_eq_c(js_str(js_at(list, i)), text))
			return true;
	return false;
}

/* A type is a name or a list of names. */
static bool
has_type(const struct js *of, const char *type)
{
	const struct js *types = js_get(of, "type");

	return js_is(types, JS_STRING) ? str_eq_c(js_str(types), type) : holds(types, type);
}

/* enum of a schema against a NULL-terminated list of names, both ways; null aside. */
static void
compare_names(struct contract *c, const char *what, const struct js *of, const char *const *names)
{
	const struct js *list = js_get(of, "enum");
	size_t count = 0;

	for (; names[count]; count++)
		if (!holds(list, names[count]))
			differ(c, "%s lacks '%s' in its enum", what, names[count]);
	for (size_t i = 0; js_is(list, JS_ARRAY) && i < js_len(list); i++) {
		bool known = !js_is(js_at(list, i), JS_STRING);

		for (size_t k = 0; !known && k < count; k++)
			known = str_eq_c(js_str(js_at(list, i)), names[k]);
		if (!known)
			differ(c, "%s has '" STR_FMT "' in its enum, the code does not", what,
			       STR_ARG(js_str(js_at(list, i))));
	}
}

/* ---- routes ---- */

static const char *const methods[] = { "get", "post", "put", "patch", "delete", NULL };

static const char *
lower(const char *method)
{
	for (size_t i = 0; methods[i]; i++)
		if (str_eq_nocase(str_of(methods[i]), str_of(method)))
			return methods[i];
	fail_msg("a route has method %s, which this test does not know", method);
	return NULL;
}

static bool
in_table(struct str path, const char *method)
{
	for (size_t i = 0; i < route_count; i++)
		if (str_eq_c(path, route_table[i].pattern) &&
		    strcmp(lower(route_table[i].method), method) == 0)
			return true;
	return false;
}

static void
test_routes(void **state)
{
	struct contract *c = *state;
	const struct js *paths = get(c->root, "paths");

	for (size_t i = 0; i < route_count; i++) {
		const struct js *item = js_get(paths, route_table[i].pattern);

		if (!item || !js_get(item, lower(route_table[i].method)))
			differ(c, "lacks the route %s %s", route_table[i].method,
			       route_table[i].pattern);
	}
	for (const struct js_iter *it = js_first(paths); it; it = js_next(paths, it))
		for (size_t i = 0; methods[i]; i++)
			if (js_get(js_iter_value(it), methods[i]) &&
			    !in_table(js_iter_key(it), methods[i]))
				differ(c, "has %s " STR_FMT ", which is not in route_table",
				       methods[i], STR_ARG(js_iter_key(it)));
	assert_int_equal(c->differences, 0);
}

/* "x-scope": ["read"]: any of these; "x-operators": true. */
static void
check_scope(struct contract *c, const struct route *route, const struct js *operation)
{
	const struct js *list = js_get(operation, "x-scope");
	bool operators = false;

	for (unsigned bit = 1; bit & SCOPE_ALL; bit <<= 1) {
		char name[SCOPES_TEXT_BYTES];

		scopes_format(bit, name);
		if (((route->scopes & bit) != 0) != holds(list, name))
			differ(c, "%s %s: scope %s must%s be in its x-scope", route->method,
			       route->pattern, name, route->scopes & bit ? "" : " not");
	}
	js_get_bool(operation, "x-operators", &operators);
	if (operators != ((route->scopes & ROUTE_OPERATORS) != 0))
		differ(c, "%s %s: x-operators differs", route->method, route->pattern);
}

/* Statuses that the way of every request can end with, whatever its handler does. */
static void
check_operation(struct contract *c, const struct route *route, const struct js *operation)
{
	static const char *const every[] = { "400", "403", "422", "429", "431", NULL };
	const struct js *responses = js_get(operation, "responses");
	const struct js *security = js_get(operation, "security");
	bool public = route->scopes & ROUTE_PUBLIC;
	struct str text;

	check_scope(c, route, operation);
	for (size_t i = 0; every[i]; i++)
		if (!js_is(responses, JS_OBJECT) || !js_get(responses, every[i]))
			differ(c, "%s %s lacks response %s", route->method, route->pattern,
			       every[i]);
	if (!public && !js_get(responses, "401"))
		differ(c, "%s %s lacks response 401", route->method, route->pattern);
	if (public != (js_is(security, JS_ARRAY) && js_len(security) == 0))
		differ(c, "%s %s must have \"security\": [] when it needs no key, and only then",
		       route->method, route->pattern);
	if (!js_get_str(operation, "operationId", &text) ||
	    !js_get_str(operation, "summary", &text))
		differ(c, "%s %s lacks operationId or summary", route->method, route->pattern);
	if (!js_is(js_get(operation, "tags"), JS_ARRAY))
		differ(c, "%s %s lacks tags", route->method, route->pattern);
}

static void
test_operations(void **state)
{
	struct contract *c = *state;

	for (size_t i = 0; i < route_count; i++) {
		const struct js *item = js_get(get(c->root, "paths"), route_table[i].pattern);
		const struct js *operation =
			item ? js_get(item, lower(route_table[i].method)) : NULL;

		if (operation)
			check_operation(c, &route_table[i], operation);
	}
	assert_int_equal(c->differences, 0);
}

/* ---- fields of requests ---- */

static void
compare_limit(struct contract *c, const char *where, const struct js *property, const char *key,
	      int64_t expected)
{
	const struct js *value = js_get(property, key);

	if (!js_is(value, JS_INT))
		differ(c, "%s lacks \"%s\": %lld", where, key, (long long)expected);
	else if (js_int(value) != expected)
		differ(c, "%s has \"%s\": %lld, the table of fields %lld", where, key,
		       (long long)js_int(value), (long long)expected);
}

static void
compare_limits(struct contract *c, const char *where, const struct js *property,
	       const struct field *row)
{
	bool text = row->kind == FIELD_STR;

	if (row->kind == FIELD_JSON || row->kind == FIELD_LIST)
		compare_limit(c, where, property, "x-max-bytes", row->max);
	if (row->kind == FIELD_JSON || row->kind == FIELD_LIST || (row->min == 0 && row->max == 0))
		return;
	if (!text || row->min > 0)
		compare_limit(c, where, property, text ? "minLength" : "minimum", row->min);
	if (row->max >= row->min)
		compare_limit(c, where, property, text ? "maxLength" : "maximum", row->max);
}

static const char *
type_of(enum field_kind kind)
{
	switch (kind) {
	case FIELD_STR:
	case FIELD_ENUM:
		return "string";
	case FIELD_I64:
		return "integer";
	case FIELD_F64:
		return "number";
	case FIELD_BOOL:
		return "boolean";
	case FIELD_JSON:
		return "object";
	case FIELD_LIST:
		return "array";
	case FIELD_BYTES:
		break;
	}
	fail_msg("no JSON type for field kind %d", (int)kind);
	return NULL;
}

/* nullable: null is as good as absent, which holds for members and not for parameters. */
/* Those that may stand in a JSON string, NULL-terminated. */
static const char *const *
text_media_types(const char *out[MEDIA_TYPES_MAX])
{
	size_t count = 0;

	for (size_t i = 0; i < media_type_count && count + 1 < MEDIA_TYPES_MAX; i++)
		if (media_types[i].is_text)
			out[count++] = media_types[i].name;
	out[count] = NULL;
	return out;
}

static void
compare_field(struct contract *c, const char *where, const struct js *property,
	      const struct field *row, bool nullable)
{
	const char *text_types[MEDIA_TYPES_MAX];
	const struct js *any = js_get(property, "anyOf");

	if (js_is(any, JS_ARRAY)) { /* of a schema of its own, and null */
		if (js_len(any) != 2 || !has_type(js_at(any, 1), "null"))
			differ(c, "%s must be anyOf a schema and null", where);
		property = resolve(c, js_at(any, 0));
		nullable = false;
	}
	if (!has_type(property, type_of(row->kind)))
		differ(c, "%s must have type %s", where, type_of(row->kind));
	if (nullable && !row->required && !has_type(property, "null"))
		differ(c, "%s is not required: its type must allow null", where);
	if (row->kind == FIELD_ENUM)
		compare_names(c, where, property, row->names);
	else if (row->kind == FIELD_STR && strcmp(row->name, "content_type") == 0)
		compare_names(c, where, property, text_media_types(text_types));
	else
		compare_limits(c, where, property, row);
}

static const struct field *
row_of(const struct fields *table, struct str name)
{
	for (size_t i = 0; i < table->count; i++)
		if (!table->rows[i].internal && str_eq_c(name, table->rows[i].name))
			return &table->rows[i];
	return NULL;
}

static void
compare_body(struct contract *c, const char *name, const struct fields *const *tables)
{
	const struct js *body = schema(c, name), *properties = js_get(body, "properties");
	const struct js *closed = js_get(body, "additionalProperties");
	char where[128];

	if (!js_is(closed, JS_BOOL) || js_bool(closed))
		differ(c, "%s must have \"additionalProperties\": false", name);
	for (size_t t = 0; tables[t]; t++) {
		for (size_t i = 0; i < tables[t]->count; i++) {
			const struct field *row = &tables[t]->rows[i];
			const struct js *property = resolve(c, js_get(properties, row->name));

			(void)snprintf(where, sizeof(where), "%s.%s", name, row->name);
			if (row->internal)
				continue;
			if (!property)
				differ(c, "%s is missing", where);
			else
				compare_field(c, where, property, row, true);
			if (row->required != holds(js_get(body, "required"), row->name))
				differ(c, "%s: required or not differs", where);
		}
	}
	for (const struct js_iter *it = js_first(properties); it; it = js_next(properties, it)) {
		bool known = false;

		for (size_t t = 0; tables[t]; t++)
			known = known || row_of(tables[t], js_iter_key(it));
		if (!known)
			differ(c, "%s." STR_FMT " is in no table of fields", name,
			       STR_ARG(js_iter_key(it)));
	}
}

static void
test_bodies(void **state)
{
	struct contract *c = *state;

	compare_body(c, "CollectionCreate",
		     (const struct fields *const[]){ &collection_create_fields, NULL });
	compare_body(c, "CollectionPatch",
		     (const struct fields *const[]){ &collection_patch_fields, NULL });
	compare_body(c, "DocumentBody",
		     (const struct fields *const[]){ &document_body_fields, &submit_option_fields,
						     NULL });
	compare_body(c, "QueryBody",
		     (const struct fields *const[]){ &query_payload_fields,
						     &submit_query_option_fields, NULL });
	assert_int_equal(c->differences, 0);
}

static const struct js *
parameter(const struct contract *c, const struct js *operation, const char *name)
{
	const struct js *list = js_get(operation, "parameters");

	for (size_t i = 0; js_is(list, JS_ARRAY) && i < js_len(list); i++) {
		const struct js *item = resolve(c, js_at(list, i));
		struct str text;

		if (js_get_str(item, "name", &text) && str_eq_c(text, name))
			return item;
	}
	return NULL;
}

static void
compare_parameters(struct contract *c, const char *path, const char *method,
		   const struct fields *table, const char *const *leave_out)
{
	const struct js *operation = js_get(js_get(get(c->root, "paths"), path), method);
	char where[192];

	assert_non_null(operation);
	for (size_t i = 0; i < table->count; i++) {
		const struct js *found = parameter(c, operation, table->rows[i].name);
		const struct js *of;
		bool skip = false;

		for (size_t k = 0; leave_out[k]; k++)
			skip = skip || strcmp(leave_out[k], table->rows[i].name) == 0;
		if (skip)
			continue;
		(void)snprintf(where, sizeof(where), "%s %s parameter %s", method, path,
			       table->rows[i].name);
		of = found ? js_get(found, "schema") : NULL;
		if (!of && found)
			of = get(found, "content|application/json|schema");
		if (!of)
			differ(c, "%s is missing", where);
		else
			compare_field(c, where, of, &table->rows[i], false);
	}
}

static void
test_parameters(void **state)
{
	static const char documents[] = "/api/v1/collections/{c}/documents";
	static const char *const in_body[] = { "text", "content_type", NULL };
	static const char *const none[] = { NULL };
	struct contract *c = *state;

	compare_parameters(c, documents, "post", &document_body_fields, in_body);
	compare_parameters(c, documents, "post", &submit_option_fields, none);
	compare_parameters(c, "/api/v1/collections/{c}/documents/{d}", "delete",
			   &submit_option_fields, none);
	assert_int_equal(c->differences, 0);
}

static void
test_media_types(void **state)
{
	struct contract *c = *state;
	const struct js *content =
		get(c->root, "paths|/api/v1/collections/{c}/documents|post|requestBody|content");

	assert_non_null(content);
	for (size_t i = 0; i < media_type_count; i++)
		if (!js_get(content, media_types[i].name))
			differ(c, "a document of type %s is taken, which is not said",
			       media_types[i].name);
	assert_non_null(js_get(content, MEDIA_DETECT));
	assert_int_equal(c->differences, 0);
}

/* ---- codes and names ---- */

/* Every code is in Code, and in the problem of its status when an operation answers that status. */
static void
test_codes(void **state)
{
	struct contract *c = *state;
	const struct js *responses = get(c->root, "components|responses");
	const char *all[ERR_CODE_COUNT + 1] = { NULL };
	size_t count = 0;

	for (int code = ERR_NONE + 1; code < ERR_CODE_COUNT; code++)
		all[count++] = err_info((enum err_code)code)->wire;
	compare_names(c, "schema Code", schema(c, "Code"), all);
	for (int status = 400; status < 600; status++) {
		const char *names[ERR_CODE_COUNT + 1] = { NULL };
		char key[32];

		count = 0;
		for (int code = ERR_NONE + 1; code < ERR_CODE_COUNT; code++)
			if (err_info((enum err_code)code)->http_status == status)
				names[count++] = err_info((enum err_code)code)->wire;
		(void)snprintf(key, sizeof(key), "Problem%d", status);
		const struct js *all_of = get(js_get(responses, key),
					      "content|application/problem+json|schema|allOf");
		if (!js_get(responses, key))
			continue;
		const struct js *narrow = js_is(all_of, JS_ARRAY) ? js_at(all_of, 1) : NULL;
		if (!get(narrow, "properties|code"))
			differ(c, "response %s must narrow Problem's status and code", key);
		else
			compare_names(c, key, get(narrow, "properties|code"), names);
	}
	assert_int_equal(c->differences, 0);
}

static void
test_names(void **state)
{
	struct contract *c = *state;
	const char *statuses[JOB_STATUS_COUNT + 1] = { NULL };
	const char *types[32] = { NULL };
	struct str version;

	for (int i = 0; i < JOB_STATUS_COUNT; i++)
		statuses[i] = job_status_name((enum job_status)i);
	assert_true(job_type_count + 1 < ARRAY_SIZE(types));
	for (size_t i = 0; i < job_type_count; i++)
		types[i] = job_types[i].name;
	types[job_type_count] = JOB_TYPE_IMPORT; /* no worker's */
	compare_names(c, "schema JobStatus", schema(c, "JobStatus"), statuses);
	compare_names(c, "schema JobType", schema(c, "JobType"), types);
	compare_names(c, "schema QueueName", schema(c, "QueueName"), job_queue_names);
	assert_true(js_get_str(get(c->root, "info"), "version", &version));
	if (!str_eq_c(version, RAG_VERSION))
		differ(c, "info.version must be %s", RAG_VERSION);
	assert_int_equal(c->differences, 0);
}

/* Two operations of one id would be one function of a generated client. */
static void
test_operation_ids(void **state)
{
	struct contract *c = *state;
	const struct js *paths = get(c->root, "paths");
	struct str seen[256];
	size_t count = 0;

	for (const struct js_iter *it = js_first(paths); it; it = js_next(paths, it)) {
		for (size_t i = 0; methods[i]; i++) {
			const struct js *operation = js_get(js_iter_value(it), methods[i]);
			struct str id;

			if (!operation || !js_get_str(operation, "operationId", &id))
				continue;
			for (size_t k = 0; k < count; k++)
				if (str_eq(seen[k], id))
					differ(c, "operationId " STR_FMT " stands twice",
					       STR_ARG(id));
			assert_true(count < ARRAY_SIZE(seen));
			seen[count++] = id;
		}
	}
	assert_true(count >= route_count || c->differences);
	assert_int_equal(c->differences, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_routes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_operations, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bodies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_parameters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_media_types, setup, teardown),
		cmocka_unit_test_setup_teardown(test_codes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_operation_ids, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
