/*
 * The one table of error codes. HTTP replies, the retry policy, dead letters, metrics labels and
 * logs all read it; no other code decides what may be retried.
 *
 *   X(name, wire, http_status, retryable, outage, title)
 *
 *   name       enum member ERR_<name>
 *   wire       stable UPPER_SNAKE `code` of problem documents and job records (at most 40 bytes)
 *   retryable  the same call may work later: the job is retried within its failure budget
 *   outage     something the job depends on is away: it waits, uncharged (implies retryable)
 *   title      the `title` of a problem document
 */
#ifndef RAG_COMMON_BASE_ERR_CODES_H
#define RAG_COMMON_BASE_ERR_CODES_H

#define ERR_CODES(X)                                                                               \
	X(NONE, "OK", 200, 0, 0, "OK")                                                             \
	/* what a client sent */                                                                   \
	X(MALFORMED, "MALFORMED_REQUEST", 400, 0, 0, "Malformed request")                          \
	X(INVALID, "INVALID_ARGUMENT", 422, 0, 0, "Invalid argument")                              \
	X(UNAUTHENTICATED, "UNAUTHENTICATED", 401, 0, 0, "Authentication required")                \
	X(FORBIDDEN, "FORBIDDEN", 403, 0, 0, "Forbidden")                                          \
	X(NOT_FOUND, "NOT_FOUND", 404, 0, 0, "Not found")                                          \
	X(METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", 405, 0, 0, "Method not allowed")               \
	X(NOT_ACCEPTABLE, "NOT_ACCEPTABLE", 406, 0, 0, "Not acceptable")                           \
	X(REQUEST_TIMEOUT, "REQUEST_TIMEOUT", 408, 1, 0, "Request timeout")                        \
	X(CONFLICT, "CONFLICT", 409, 0, 0, "Conflict")                                             \
	X(ALREADY_EXISTS, "ALREADY_EXISTS", 409, 0, 0, "Already exists")                           \
	X(ALREADY_FINAL, "ALREADY_FINAL", 409, 0, 0, "Job is already final")                       \
	X(NOT_FINAL, "NOT_FINAL", 409, 0, 0, "Job is not final yet")                               \
	X(EMBEDDER_MISMATCH, "EMBEDDER_MISMATCH", 409, 0, 0, "Embedder mismatch")                  \
	X(GONE, "GONE", 410, 0, 0, "Gone")                                                         \
	X(LENGTH_REQUIRED, "LENGTH_REQUIRED", 411, 0, 0, "Length required")                        \
	X(PRECONDITION, "PRECONDITION_FAILED", 412, 0, 0, "Precondition failed")                   \
	X(TOO_LARGE, "TOO_LARGE", 413, 0, 0, "Content too large")                                  \
	X(UNSUPPORTED_MEDIA, "UNSUPPORTED_MEDIA_TYPE", 415, 0, 0, "Unsupported media type")        \
	X(IDEMPOTENCY_REUSED, "IDEMPOTENCY_KEY_REUSED", 422, 0, 0, "Idempotency key reused")       \
	X(HEADERS_TOO_LARGE, "HEADERS_TOO_LARGE", 431, 0, 0, "Request header fields too large")    \
	X(RATE_LIMITED, "RATE_LIMITED", 429, 1, 0, "Too many requests")                            \
	X(QUEUE_FULL, "QUEUE_FULL", 429, 1, 0, "Queue is full")                                    \
	/* what a document or a question was */                                                    \
	X(EMPTY_TEXT, "EMPTY_TEXT", 422, 0, 0, "Document yields no text")                          \
	X(BAD_DOCUMENT, "BAD_DOCUMENT", 422, 0, 0, "Document cannot be read")                      \
	/* the way of a job */                                                                     \
	X(STALE, "STALE", 409, 0, 0, "Another start of this job has won")                          \
	X(CANCELLED, "CANCELLED", 409, 0, 0, "Cancelled")                                          \
	X(EXPIRED, "EXPIRED", 410, 0, 0, "Job expired before it started")                          \
	X(DEADLINE, "DEADLINE_EXCEEDED", 504, 1, 0, "Deadline exceeded")                           \
	X(POISON, "POISON", 500, 0, 0, "Job killed its worker too often")                          \
	X(UNKNOWN_TYPE, "UNKNOWN_JOB_TYPE", 503, 1, 1, "No worker knows this job type")            \
	X(DRAINING, "DRAINING", 503, 1, 1, "Worker is draining")                                   \
	/* what we depend on */                                                                    \
	X(OVERLOADED, "OVERLOADED", 503, 1, 0, "Overloaded")                                       \
	X(STREAMS_FULL, "TOO_MANY_STREAMS", 503, 1, 0, "Too many requests wait or stream")         \
	X(REDIS_UNAVAILABLE, "REDIS_UNAVAILABLE", 503, 1, 1, "Queue unavailable")                  \
	X(REDIS_FULL, "REDIS_FULL", 507, 1, 1, "Queue memory exhausted")                           \
	X(REDIS_REPLY, "REDIS_REPLY", 500, 1, 0, "Unexpected reply from the queue")                \
	X(STORE_UNAVAILABLE, "STORE_UNAVAILABLE", 503, 1, 1, "Vector store unavailable")           \
	X(STORE_FAILED, "STORE_FAILED", 500, 1, 0, "Vector store failed")                          \
	X(STORE_CORRUPT, "STORE_CORRUPT", 500, 0, 0, "Vector store is corrupt")                    \
	X(STORE_UNSUPPORTED, "STORE_UNSUPPORTED", 422, 0, 0, "Not supported by this store")        \
	X(DISK_FULL, "DISK_FULL", 507, 1, 0, "Disk full")                                          \
	X(PROVIDER_UNAVAILABLE, "PROVIDER_UNAVAILABLE", 503, 1, 1, "Provider unavailable")         \
	X(PROVIDER_LIMITED, "PROVIDER_LIMITED", 503, 1, 1, "Provider limit reached")               \
	X(PROVIDER_QUOTA, "PROVIDER_QUOTA_EXHAUSTED", 502, 0, 0, "Provider quota exhausted")       \
	X(PROVIDER_REJECTED, "PROVIDER_REJECTED", 502, 0, 0, "Provider rejected the request")      \
	X(PROVIDER_REPLY, "PROVIDER_REPLY", 502, 1, 0, "Provider answered garbage")                \
	X(CONNECT, "CONNECT_FAILED", 503, 1, 1, "Could not connect")                               \
	X(TIMEOUT, "TIMEOUT", 504, 1, 0, "Timed out")                                              \
	X(PROTOCOL, "PROTOCOL_ERROR", 502, 1, 0, "Protocol error")                                 \
	/* ourselves */                                                                            \
	X(CONFIG, "CONFIG_ERROR", 500, 0, 0, "Configuration error")                                \
	X(IO, "IO_ERROR", 500, 1, 0, "Input/output error")                                         \
	X(CORRUPT, "CORRUPT_DATA", 500, 0, 0, "Corrupt data")                                      \
	X(INTERNAL, "INTERNAL", 500, 1, 0, "Internal error")

#endif
