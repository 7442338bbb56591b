/*
 * key_file: API keys as they lie in a file: one a line, only their hashes.
 *
 *	<name>:<SHA-256 of the key, 64 hex digits> [option=value ...]
 *
 * name	1 to 63 bytes without ':' and control characters: who uses the key (logs, Idempotency-Keys). A name may stand more
 *	than once: two keys of one caller, while one replaces the other
 * options, each at most once, divided by blanks:
 *	tenant=<name>		whose data the key leads to; without it the operators' own, TENANT_DEFAULT
 *	scopes=<a,b,...>	of read, ingest, admin; without it all of them
 *	rate=<n>/<seconds>	requests, within so many seconds; `none`: not limited; without it the engine's setting
 *	expires=<RFC 3339>	refused from then on; without it never
 *	hint=<text>		how the key begins, to tell keys apart; up to 15 of A-Z a-z 0-9 _ -
 *
 * Empty lines and lines that begin with '#' are skipped. A key is text of any kind; those that key_text_new makes look
 * like "rag_" and 38 letters and digits, the last six a checksum, so that scanners and people recognise one and a mistyped
 * one is told from a revoked one. Pure but for key_file_read and key_text_new; thread-safe.
 */
#ifndef RAG_COMMON_KEY_FILE_H
#define RAG_COMMON_KEY_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/sha256.h"
#include "common/tenant.h"

#define KEY_NAME_BYTES 64
#define KEY_HINT_BYTES 16
#define KEY_FILE_MAX_BYTES ((size_t)4 * 1024 * 1024)
#define KEY_RATE_MAX 1000000000
#define KEY_RATE_WINDOW_MAX_S 86400

/* Scopes: what a key may do within its tenant. A set; none of them includes another. */
#define SCOPE_READ 1u	/* look at collections, documents and jobs; query */
#define SCOPE_INGEST 2u /* submit and delete documents */
#define SCOPE_ADMIN 4u	/* make, change and delete collections */
#define SCOPE_ALL 7u

/* "read,ingest" -> bits; false: an unknown name, or none. Blanks are not taken. */
bool scopes_parse(struct str text, unsigned *out);
/* bits -> "read,ingest" */
#define SCOPES_TEXT_BYTES 32
void scopes_format(unsigned scopes, char out[SCOPES_TEXT_BYTES]);

struct api_key {
	char name[KEY_NAME_BYTES];
	char tenant[TENANT_BYTES];
	char hash[SHA256_HEX_BYTES]; /* lower case */
	char hint[KEY_HINT_BYTES];   /* "" = not known */
	unsigned scopes;
	int64_t rate_count;	 /* -1 = the engine's setting, 0 = not limited */
	int64_t rate_window_s;	 /* of rate_count > 0 */
	int64_t expires_unix_ms; /* 0 = never */
	size_t line;		 /* of the file, from 1 */
};

/* "100/60" or "none"; ERR_INVALID. */
bool key_rate_parse(struct str text, int64_t *out_count, int64_t *out_window_s, struct err *err);

/* One line, already trimmed, not empty and no comment. ERR_INVALID, says what is wrong. */
bool key_line_parse(struct str line, struct api_key *out, struct err *err);
/* The line of a key, without its end. */
void key_line_format(const struct api_key *key, struct buf *out);

/* All keys of a file's text; *out (heap, mem_free) may hold none. ERR_CONFIG "<path>:<line>: ..."; two lines of one
 * hash are refused, for a request could not say whose it is. */
bool key_file_parse(const char *path, struct str text, struct api_key **out, size_t *out_count,
		    struct err *err);

/* The bytes of the file and what fstat says of them. ERR_CONFIG. */
bool key_file_read(const char *path, struct buf *out, struct stat *out_stat, struct err *err);

#define KEY_TEXT_BYTES 43 /* of a key that key_text_new makes, with its NUL */
void key_text_new(char out[KEY_TEXT_BYTES]);
/* Has the form of key_text_new, and the right checksum. */
bool key_text_is_ours(struct str text);
/* How a key of ours begins: "rag_" and six characters. */
void key_text_hint(const char *key, char out[KEY_HINT_BYTES]);

#endif
