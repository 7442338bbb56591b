/* must: MUST(f(..., e)) calls f with an error of its own named e, and fails the test with its text. */
#ifndef RAG_TESTS_SUPPORT_MUST_H
#define RAG_TESTS_SUPPORT_MUST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/err.h"

#define MUST(call)                                                                                 \
	do {                                                                                       \
		struct err must_err_ = ERR_INIT;                                                   \
		struct err *e = &must_err_;                                                        \
		if (!(call))                                                                       \
			fail_msg("%s: %s (%s)", #call, e->msg, e->cause);                          \
	} while (0)

#endif
