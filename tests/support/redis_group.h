/*
 * redis_group: one Redis for all tests of a group, and a connection to it: cmocka_run_group_tests(tests, redis_group_start, redis_group_stop).
 * What a test leaves there the next one finds, unless it begins with redis_group_clear.
 */
#ifndef RAG_TESTS_SUPPORT_REDIS_GROUP_H
#define RAG_TESTS_SUPPORT_REDIS_GROUP_H

#include "tests/support/redis_server.h"

extern struct redis_server *server;
extern struct redis *redis;

int redis_group_start(void **state);
int redis_group_stop(void **state);
int redis_group_clear(void **state); /* a set-up or tear-down of one test: FLUSHALL */

#endif
