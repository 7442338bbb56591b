/*
 * log: JSON lines on stderr, one write(2) a line.
 *
 * Every line has ts (RFC 3339), level, svc, msg, and the fields of the thread's context (request or
 * job), which are set once at the entry and inherited by everything below. common/ and jobs/ do not
 * log above debug: they return struct err, and the boundary that ends an error logs it once
 * (log_err). No document text, no prompt, no secret is ever logged. Thread-safe. Lines longer than
 * LOG_LINE_MAX_BYTES are cut (still valid JSON).
 */
#ifndef RAG_COMMON_BASE_LOG_H
#define RAG_COMMON_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

#define LOG_LINE_MAX_BYTES 4096

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Once, in main. svc is borrowed for the life of the process ("rag-api"). Before it, lines carry
 * svc "rag" at level info. */
void log_init(const char *svc, enum log_level level);
bool log_level_parse(const char *text,
		     enum log_level *out); /* debug, info, warn, error; any case */
bool log_enabled(enum log_level level);
void log_set_fd_for_test(int fd); /* -1 = stderr again */

/* The thread's context. Known names: req_id, job_id, job_type, attempt, step, provider,
 * traceparent, tenant, caller. NULL value removes. */
void log_field(const char *name, const char *value);
void log_field_i64(const char *name, int64_t value);
void log_clear_fields(void);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/* A line with err_code, err_detail and err_cause, msg = "<text>: <err->msg>". */
void log_err(enum log_level level, const struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* One access or outcome line with a duration: adds dur_ms and status. */
void log_done(enum log_level level, int64_t dur_ms, int status, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
