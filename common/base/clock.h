/*
 * clock: the only place that asks the operating system for the time.
 *
 * Times are int64_t milliseconds. clock_mono_ms is for durations and deadlines (absolute values of
 * it are passed down; each call computes its own timeout with clock_left_ms), clock_unix_ms for
 * records. Lease and due times are decided by Redis, never by these. Tests may freeze both with
 * clock_set_for_test. Thread-safe.
 */
#ifndef RAG_COMMON_BASE_CLOCK_H
#define RAG_COMMON_BASE_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"

#define CLOCK_ISO_BYTES 32 /* "2026-11-23T07:00:00.123Z" and a NUL fit */

int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
int64_t clock_unix_ms(void);

/* Milliseconds until deadline_mono_ms: 0 when it has passed, at most INT32_MAX. deadline 0 = none:
 * INT32_MAX. */
int clock_left_ms(int64_t deadline_mono_ms);

void clock_sleep_ms(int64_t ms); /* for back-off between reconnects; never in a test */

/* A condition for clock_cond_wait. */
void clock_cond_init(pthread_cond_t *cond);
/* Under lock: waits for a signal; false = until_mono_ms is here. As with any condition, true may be for nothing. */
bool clock_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_mono_ms);

void clock_format_iso(char out[CLOCK_ISO_BYTES], int64_t unix_ms); /* RFC 3339, UTC, milliseconds */
bool clock_parse_iso(struct str text,
		     int64_t *out_unix_ms); /* RFC 3339 with Z or offset, fraction optional */

/* Tests: non-negative values freeze the clocks at them, -1 gives the real clock back. */
void clock_set_for_test(int64_t mono_ms, int64_t unix_ms);

#endif
