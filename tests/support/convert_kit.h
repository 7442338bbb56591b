/*
 * convert_kit: documents read as a worker reads them, by the build's own rag-convert. Asserts on any failure of its
 * own. One thread.
 */
#ifndef RAG_TESTS_SUPPORT_CONVERT_KIT_H
#define RAG_TESTS_SUPPORT_CONVERT_KIT_H

#include "common/base/arena.h"
#include "jobs/convert/convert.h"
#include "jobs/step/parse.h"

#define CONVERT_KIT_MIB ((size_t)1024 * 1024)

/* A group's set-up and tear-down of one test: makes and frees convert_kit_arena. */
int convert_kit_open(void **state);
int convert_kit_close(void **state);

extern struct arena convert_kit_arena;
extern struct convert_opts convert_kit_opts;   /* set anew by convert_kit_open */
extern struct parse_limits convert_kit_limits; /* the same */

/* The document, its promises checked (text.h). */
struct parsed convert_kit_read(const char *media_type, struct str bytes);
/* The error; fails the test when there is none. */
struct err convert_kit_refused(const char *media_type, struct str bytes);
/* "kind level @page text" of each block, joined by '~', line breaks as ';': "H1@1 Title~P0@2 words". @0 is left out. */
void convert_kit_blocks(const char *media_type, struct str bytes, const char *expected);

#endif
