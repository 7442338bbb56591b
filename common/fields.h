/*
 * fields: one table a structure, from which JSON in, validation, msgpack out and back, JSON out and
 * the docs all run.
 *
 *	struct thing { struct str name; int64_t count; bool loud; };
 *	static const struct field thing_fields[] = {
 *		FIELD(struct thing, name, FIELD_STR, .required = true, .min = 1, .max = 64),
 *		FIELD(struct thing, count, FIELD_I64, .min = 0, .max = 200),
 *		FIELD(struct thing, loud, FIELD_BOOL),
 *	};
 *	static const struct fields thing_table = FIELDS("thing", thing_fields);
 *
 * The caller fills the structure with its defaults first; absent (or null, where not required)
 * members leave them alone. Unknown members, wrong types and values out of range are ERR_INVALID with
 * err.pointer "/count" and a message that says what was expected and what came.
 */
#ifndef RAG_COMMON_FIELDS_H
#define RAG_COMMON_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/json.h"
#include "common/pack.h"

enum field_kind {
	FIELD_STR, /* struct str; min/max count UTF-8 characters; no control characters but \t\n\r */
	FIELD_BYTES, /* struct str; any bytes in msgpack; not accepted from JSON; min/max in bytes */
	FIELD_I64,   /* int64_t */
	FIELD_F64,   /* double; min/max as whole numbers */
	FIELD_BOOL,  /* bool */
	FIELD_ENUM,  /* int: index into names (NULL-terminated) */
	FIELD_JSON, /* struct str: canonical JSON text of an object (kind of value: an object only);
			max in bytes of that text */
	FIELD_LIST, /* the same of an array; what is in it is the caller's to check */
};

struct field {
	const char *name; /* wire name in JSON and msgpack */
	enum field_kind kind;
	size_t offset;
	bool required;
	bool internal;		  /* msgpack only: not accepted from and not shown in JSON */
	bool controls;		  /* FIELD_STR: control characters are fine (documents) */
	int64_t min, max;	  /* both 0 = no limit; max < min = no maximum */
	const char *const *names; /* FIELD_ENUM */
	const char *doc;
};

struct fields {
	const char *kind; /* the envelope's kind, and "a <kind>" in messages */
	const struct field *rows;
	size_t count;
};

/* FIELD(struct thing, member, FIELD_STR, .max = 10): the kind, then any members of a row */
#define FIELD(type, member, ...)                                                                   \
	{                                                                                          \
		.name = #member, .offset = offsetof(type, member), .kind = __VA_ARGS__             \
	}
#define FIELDS(kind_, rows_)                                                                       \
	{                                                                                          \
		.kind = (kind_), .rows = (rows_), .count = ARRAY_SIZE(rows_)                       \
	}

/* Strings are copied into the arena (NUL-terminated). All or nothing: on failure *out may be partly
 * written and must not be used. Missing required: ERR_INVALID "'name' is required". */
bool fields_from_json(const struct fields *table, const struct js *object, void *out,
		      struct arena *arena, struct err *err);
/* Members only. A text whose ptr is NULL was never set and is left out, here and in msgpack. */
void fields_to_json(const struct fields *table, const void *in, struct jw *w);

/* A whole envelope (pack_envelope_begin with table->kind, then one map). */
void fields_to_pack(const struct fields *table, const void *in, struct buf *out);
/* Strings borrow from `bytes`. Unknown members are skipped (a newer writer); limits are checked
 * again; anything else wrong is ERR_CORRUPT. */
bool fields_from_pack(const struct fields *table, struct str bytes, void *out, struct err *err);

#endif
