/*
 * json: reading JSON (the door of jansson) and writing it (our own writer straight into a buf).
 *
 * Reading is strict: UTF-8 only, no trailing bytes, no NaN, no duplicate keys, no \u0000, nesting
 * capped. A `struct js` is an immutable tree; getters borrow from it and live as long as its root.
 * Names start with js_ because jansson owns json_. A tree may be read by one thread at a time.
 */
#ifndef RAG_COMMON_JSON_H
#define RAG_COMMON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define JSON_MAX_DEPTH 64
#define JSON_MAX_VALUES 2000000 /* in one text: jansson needs some 50 bytes for each */

struct js; /* one value of a tree; the root is owned by whoever parsed it */

enum js_type { JS_NULL, JS_BOOL, JS_INT, JS_REAL, JS_STRING, JS_ARRAY, JS_OBJECT };

/*
 * Parses the whole of `text`. Failure is ERR_MALFORMED "not valid JSON: <what> at line L, column C"
 * (depth over JSON_MAX_DEPTH: ERR_MALFORMED too; over JSON_MAX_VALUES: ERR_TOO_LARGE). The text is
 * not kept.
 */
bool js_parse(struct str text, struct js **out_root, struct err *err);
void js_free(struct js *root); /* only roots; NULL is fine */
AUTO_PTR_DEFINE(js_free, struct js);

enum js_type js_type(const struct js *value);
const char *js_type_name(enum js_type type); /* "an object", "a string", ... for messages */
bool js_is(const struct js *value, enum js_type type); /* false for NULL */

/* Getters: the value must have the type (assert). js_number takes JS_INT and JS_REAL. */
bool js_bool(const struct js *value);
int64_t js_int(const struct js *value);
double js_number(const struct js *value);
struct str js_str(const struct js *value); /* valid UTF-8, NUL-terminated, no NUL inside */

size_t js_len(const struct js *value);				   /* items of an array or object */
const struct js *js_at(const struct js *array, size_t index);	   /* NULL past the end */
const struct js *js_get(const struct js *object, const char *key); /* NULL when absent */

/* Members in the order of the text: for (it = js_first(o); it; it = js_next(o, it)). */
struct js_iter;
const struct js_iter *js_first(const struct js *object);
const struct js_iter *js_next(const struct js *object, const struct js_iter *it);
struct str js_iter_key(const struct js_iter *it);
const struct js *js_iter_value(const struct js_iter *it);

/* Convenience for members of a known type: false when absent or of another type; out untouched. */
bool js_get_str(const struct js *object, const char *key, struct str *out);
bool js_get_int(const struct js *object, const char *key, int64_t *out);
bool js_get_bool(const struct js *object, const char *key, bool *out);

/* Compact text of a value, keys sorted: equal values give equal bytes (fingerprints, cache keys). */
void js_write_canonical(const struct js *value, struct buf *out);
/* Compact text, keys in the order they came. */
void js_write(const struct js *value, struct buf *out);

/*
 * jw: a writer with begin/end scopes. Commas and escaping are its business; strings that are not
 * valid UTF-8 have each bad byte replaced by U+FFFD. Misuse (end without begin, a value without a
 * key inside an object) is an assert. Overflow shows in the buf's sticky failure.
 *
 *	struct jw w = jw_start(&buf);
 *	jw_obj(&w); jw_kstr(&w, "id", id); jw_key(&w, "n"); jw_int(&w, 3); jw_end(&w);
 */
struct jw {
	struct buf *out; /* borrowed */
	unsigned depth;
	bool need_comma;
	bool after_key;
	uint64_t is_object; /* one bit a level, JSON_MAX_DEPTH levels */
};

struct jw jw_start(struct buf *out);
void jw_obj(struct jw *w);
void jw_arr(struct jw *w);
void jw_end(struct jw *w); /* closes the innermost object or array */
void jw_key(struct jw *w, const char *key);
void jw_str(struct jw *w, struct str value);
void jw_cstr(struct jw *w, const char *value); /* NULL writes null */
void jw_int(struct jw *w, int64_t value);
void
jw_num(struct jw *w, double value,
       int digits); /* significant digits, 0 = as many as read back exactly; not finite writes null */
void jw_bool(struct jw *w, bool value);
void jw_null(struct jw *w);
void jw_js(struct jw *w, const struct js *value); /* a tree that was read */
void jw_raw(struct jw *w, struct str json);	  /* must be one valid JSON value */

void jw_kstr(struct jw *w, const char *key, struct str value);
void jw_kcstr(struct jw *w, const char *key, const char *value);
void jw_kint(struct jw *w, const char *key, int64_t value);
void jw_knum(struct jw *w, const char *key, double value, int digits);
void jw_kbool(struct jw *w, const char *key, bool value);
void jw_knull(struct jw *w, const char *key);
void jw_kraw(struct jw *w, const char *key, struct str json);
void jw_kobj(struct jw *w, const char *key);
void jw_karr(struct jw *w, const char *key);
void jw_ktime(struct jw *w, const char *key, int64_t unix_ms); /* RFC 3339; <= 0 writes null */

#endif
