/*
 * chroma_server: a real Chroma server of a test's own, on a free port of 127.0.0.1 with its data in a temporary folder, ready when started. The
 * program is PyPI's, pinned, installed by scripts/python-tools.sh into build/chroma (the test fixture `chroma`). Asserts on any failure of its own.
 * Stopped by pid; it ends with the test. Uses http_client: http_client_global_init first.
 */
#ifndef RAG_TESTS_SUPPORT_CHROMA_SERVER_H
#define RAG_TESTS_SUPPORT_CHROMA_SERVER_H

#include "common/base/str.h"
#include "common/config.h"
#include "common/http_client.h"

struct chroma_server;

struct chroma_server *chroma_server_start(void);
int chroma_server_port(const struct chroma_server *server);
void chroma_server_kill(struct chroma_server *server);	  /* SIGKILL, waits for it */
void chroma_server_restart(struct chroma_server *server); /* same folder, same port; ready */
void chroma_server_stop(struct chroma_server *server);	  /* removes the folder; NULL is fine */

/* Settings of a store in a Chroma (or what stands for one) at this port: all that have to do with it and with the local embedder. */
void chroma_configure(struct config *config, int port, const char *redis_url);

/* A raw call, for looking at what the store has done; reply is initialised by the caller. The status. */
int chroma_server_call(const struct chroma_server *server, const char *method, const char *path,
		       const char *body, struct http_reply *reply);

#endif
