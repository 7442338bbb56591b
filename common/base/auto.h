/*
 * auto: release of local variables at the end of their scope, and the hand-over of ownership.
 *
 *	AUTO(buf) struct buf text = BUF_INIT(64 * 1024);   buf_release(&text) on every way out
 *	AUTO_PTR(js_free) struct js *doc = NULL;	   js_free(doc) on every way out
 *	return TAKE(doc);				   hands over; doc is NULL afterwards
 *
 * AUTO(type) needs `void type_release(struct type *)`. AUTO_PTR(fn) needs AUTO_PTR_DEFINE(fn,
 * struct type) once, in the header that declares fn. A function that uses either has no goto.
 * Initialise on the declaration line.
 */
#ifndef RAG_COMMON_BASE_AUTO_H
#define RAG_COMMON_BASE_AUTO_H

// NOLINTBEGIN(bugprone-macro-parentheses): the arguments are names of types and functions
#define AUTO(type) __attribute__((cleanup(type##_release)))
#define AUTO_PTR(fn) __attribute__((cleanup(fn##_ptr_)))
#define AUTO_PTR_DEFINE(fn, type)                                                                  \
	static inline void fn##_ptr_(type **p_)                                                    \
	{                                                                                          \
		fn(*p_);                                                                           \
		*p_ = (type *)0;                                                                   \
	}                                                                                          \
	struct auto_ptr_needs_semicolon_
// NOLINTEND(bugprone-macro-parentheses)

#define TAKE(p)                                                                                    \
	__extension__({                                                                            \
		__typeof__(p) take_tmp_ = (p);                                                     \
		(p) = (__typeof__(p))0;                                                            \
		take_tmp_;                                                                         \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
