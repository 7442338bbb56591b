/*
 * str: slices of text, strict number parsing, UTF-8. Replaces what banned.h forbids.
 *
 * `struct str` borrows: whoever made it says how long it lives. ptr may be NULL only when len is 0.
 * Not NUL-terminated unless said. All functions are pure and thread-safe, and independent of the
 * locale.
 */
#ifndef RAG_COMMON_BASE_STR_H
#define RAG_COMMON_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str {
	const char *ptr;
	size_t len;
};

#define STR(literal) ((struct str){ "" literal "", sizeof(literal) - 1 })
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).len, (s).ptr

struct str str_of(const char *text); /* NULL gives the empty slice */
struct str str_make(const char *ptr, size_t len);
bool str_eq(struct str a, struct str b);
bool str_eq_c(struct str a, const char *b);
bool str_eq_nocase(struct str a, struct str b); /* ASCII case only */
bool str_starts(struct str text, const char *prefix);
bool str_ends(struct str text, const char *suffix);
int str_cmp(struct str a, struct str b); /* bytewise, like memcmp, then by length */
struct str str_trim(struct str text);	 /* ASCII white space at both ends */
struct str str_sub(struct str text, size_t start, size_t end); /* bounds are clamped */
bool str_find(struct str text, struct str needle, size_t *out_at);

/* Cuts the next piece off *rest at `sep`; false when nothing is left. "a,,b" gives "a", "", "b"; a
 * separator at the very end adds no empty piece. */
bool str_split(struct str *rest, char sep, struct str *out_piece);

/* The whole slice must be the number: decimal digits (leading zeros are fine), a '-' for i64, no
 * blanks, no '+'. False when it is not, or out of range. */
bool str_to_i64(struct str text, int64_t min, int64_t max, int64_t *out);
bool str_to_u64(struct str text, uint64_t *out);
bool str_to_f64(struct str text,
		double *out); /* -?digits(.digits)?([eE][+-]?digits)?, finite, at most 511 bytes */
bool str_to_bool(struct str text, bool *out); /* true/false/1/0/yes/no/on/off, any case */

/* Copies into a fixed array, always NUL-terminated; false when it did not fit (then cut at a UTF-8
 * boundary). */
bool str_copy(char *dst, size_t dst_bytes, struct str src);

/* UTF-8 as RFC 3629: no surrogates, no overlong forms, at most U+10FFFF. */
bool str_utf8_valid(struct str text, size_t *out_bad_at); /* out_bad_at may be NULL */
size_t str_utf8_next(struct str text, size_t at,
		     uint32_t *out_cp); /* bytes of the character at `at`; bad bytes: 1, U+FFFD */
size_t str_utf8_put(char out[4], uint32_t cp);	   /* bytes written; invalid cp writes U+FFFD */
size_t str_utf8_floor(struct str text, size_t at); /* largest boundary <= at */
size_t str_utf8_count(struct str text);		   /* characters */

void str_hex(char *out, const void *ptr,
	     size_t len); /* writes 2 * len lower-case digits and a NUL */
bool str_unhex(struct str hex, void *out, size_t out_len); /* hex.len must be 2 * out_len */

/* Equal without telling by the time taken where they differ (for secrets). */
bool str_eq_const_time(struct str a, struct str b);

uint64_t
str_hash64(struct str text,
	   uint64_t seed); /* well mixed, not cryptographic, stable across versions and machines */

#endif
