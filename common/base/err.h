/*
 * err: how every function of this project reports failure.
 *
 * A function that can fail is `bool f(..., struct err *err)`: true = done, err untouched; false =
 * err is filled and no out_* parameter was written. A layer that passes a failure on wraps it with
 * its own name:
 *
 *	return err_wrap(err, "embed batch %zu of %zu", i, n);
 *	-> "embed batch 3 of 9: could not reach provider 'openai': timed out after 30000 ms"
 *
 * Rules: caller-owned, fixed size, never allocates, not thread-safe (one per call chain), never
 * NULL. `msg` is safe to show to clients; `cause` is for operators only (host, upstream excerpt).
 * Secrets and document text enter neither. Both are one line of valid UTF-8 whatever the arguments
 * were (control bytes become blanks), cut at a character boundary when longer than the array.
 * Arguments may point into the err that is filled. Wording: "could not X: reason" if it may work
 * later, "cannot X" if never.
 */
#ifndef RAG_COMMON_BASE_ERR_H
#define RAG_COMMON_BASE_ERR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err_codes.h"

enum err_code {
#define X(name, wire, http, retryable, outage, title) ERR_##name,
	ERR_CODES(X)
#undef X
		ERR_CODE_COUNT
};

#define ERR_MSG_MAX_BYTES 384
#define ERR_CAUSE_MAX_BYTES 256
#define ERR_POINTER_MAX_BYTES 128
#define ERR_WAITING_MAX_BYTES 64

struct err {
	enum err_code code;
	int detail;			     /* errno, HTTP status, CURLcode...; 0 = none */
	int64_t retry_after_ms;		     /* earliest useful retry; -1 = unknown */
	char pointer[ERR_POINTER_MAX_BYTES]; /* JSON pointer (RFC 6901) of the field at fault; "" =
						none */
	/* what work would wait for, safe to show, e.g. "gemini gemini-embedding-001: requests per minute"; "" = nothing
	 * in particular */
	char waiting_for[ERR_WAITING_MAX_BYTES];
	char msg[ERR_MSG_MAX_BYTES];
	char cause[ERR_CAUSE_MAX_BYTES];
};

/* One row of err_codes.h. */
struct err_info {
	const char *wire;
	const char *title;
	int http_status;
	bool retryable;
	bool outage;
};

#define ERR_INIT ((struct err){ .code = ERR_NONE, .retry_after_ms = -1 })

/* Fills *err (all other fields reset) and returns false, so that callers can `return err_set(...)`.
 */
bool err_set(struct err *err, enum err_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "<text>: " in front of msg; code and the rest stay. Returns false. */
bool err_wrap(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Sets the operators' cause. Returns false. */
bool err_cause(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Sets the JSON pointer of the field at fault, e.g. "/top_k". Returns false. */
bool err_at(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Sets what work would wait for. Returns false. */
bool err_waiting_for(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* From errno: ENOSPC/EDQUOT -> ERR_DISK_FULL, ETIMEDOUT -> ERR_TIMEOUT, others -> ERR_IO; "could
 * not <what>: <strerror>". */
bool err_errno(struct err *err, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* A static analyser looks at one file at a time and cannot know that these return false: it would follow a failure as
 * if it were a success. Only analysers see these macros. */
#if defined(__clang_analyzer__) || defined(RAG_ANALYZER)
#define ERR_FALSE_(call)                                                                           \
	__extension__({                                                                            \
		(void)(call);                                                                      \
		false;                                                                             \
	})
#define err_set(...) ERR_FALSE_(err_set(__VA_ARGS__))
#define err_wrap(...) ERR_FALSE_(err_wrap(__VA_ARGS__))
#define err_cause(...) ERR_FALSE_(err_cause(__VA_ARGS__))
#define err_at(...) ERR_FALSE_(err_at(__VA_ARGS__))
#define err_waiting_for(...) ERR_FALSE_(err_waiting_for(__VA_ARGS__))
#define err_errno(...) ERR_FALSE_(err_errno(__VA_ARGS__))
#endif

void err_clear(struct err *err);

/* The table row of a code; any value outside the enum gives the row of ERR_INTERNAL. */
const struct err_info *err_info(enum err_code code);

/* The code with this wire name; ERR_INTERNAL when there is none. */
enum err_code err_code_from_wire(const char *wire);

#endif
