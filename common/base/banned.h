/*
 * banned: functions that this project does not call. The build force-includes this header into every
 * source of ours (cmake/Flags.cmake), so a call is a compile error that names what to use instead.
 *
 * Each is declared again as unavailable, which leaves library headers alone (macros or poisoned
 * names would break inline functions in them). Nothing includes this file by hand.
 */
#ifndef RAG_COMMON_BASE_BANNED_H
#define RAG_COMMON_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* clang ignores the attribute on what glibc defines inline (optimised builds only): the other builds
 * still catch it */
#ifdef __clang__
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wignored-attributes"
#endif

// NOLINTNEXTLINE(bugprone-macro-parentheses): a declaration
#define BAN_(fn, instead) extern __typeof__(fn) fn __attribute__((unavailable("use " instead)))

/* no bound on what they write */
BAN_(strcpy, "str_copy or buf_add_str");
BAN_(strncpy, "str_copy");
BAN_(strcat, "buf_add_str");
BAN_(strncat, "buf_add_str");
BAN_(stpcpy, "buf_add_str");
BAN_(sprintf, "snprintf or buf_printf");
BAN_(vsprintf, "vsnprintf or buf_vprintf");
/* hidden state between calls */
BAN_(strtok, "str_split");
BAN_(gmtime, "clock_format_iso");
BAN_(localtime, "clock_format_iso");
BAN_(ctime, "clock_format_iso");
BAN_(asctime, "clock_format_iso");
BAN_(rand, "id_random");
BAN_(srand, "id_random");
BAN_(random, "id_random");
BAN_(drand48, "id_random");
/* garbage and overflow pass unnoticed, or the locale decides */
BAN_(atoi, "str_to_i64");
BAN_(atol, "str_to_i64");
BAN_(atoll, "str_to_i64");
BAN_(atof, "str_to_f64");
BAN_(strtol, "str_to_i64");
BAN_(strtoll, "str_to_i64");
BAN_(strtoul, "str_to_u64");
BAN_(strtoull, "str_to_u64");
BAN_(strtod, "str_to_f64");
BAN_(strtof, "str_to_f64");
/* only clock.c asks for time; a wait has a condition */
BAN_(time, "clock_unix_ms");
BAN_(sleep, "clock_sleep_ms, or wait for a condition");
BAN_(usleep, "clock_sleep_ms, or wait for a condition");
/* a shell in between */
BAN_(system, "posix_spawn");
BAN_(popen, "posix_spawn");

#undef BAN_
#ifdef __clang__
#pragma clang diagnostic pop
#endif

#endif
