/*
 * folder: a temporary folder of a test's own. Failures abort the test.
 */
#ifndef RAG_TESTS_SUPPORT_FOLDER_H
#define RAG_TESTS_SUPPORT_FOLDER_H

#define FOLDER_BYTES 64

void folder_make(char out[FOLDER_BYTES]);
void folder_remove(const char *path); /* with everything in it */

#endif
