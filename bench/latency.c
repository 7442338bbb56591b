/*
 * rag-latency: submit -> result of trivial queries against a running engine, one at a time: POST with `Prefer: wait`, so the
 * answer comes back in the same request. Every question is another one: the answer cache never helps.
 *
 *	rag-latency [URL [COUNT]]	default http://127.0.0.1:8000 and 2000
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/http_client.h"
#include "common/json.h"

#define WARM_UP 50

static int
by_value(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return (left > right) - (left < right);
}

static bool
put_document(struct http_client *client, const char *url, struct http_reply *reply, struct err *err)
{
	static const char *const headers[] = { "Content-Type: application/json", "Prefer: wait=10",
					       NULL };
	char target[512];
	const struct http_call call = {
		.method = "POST",
		.url = target,
		.headers = headers,
		.body = STR("{\"id\":\"heron\",\"text\":\"The grey heron nests in tall trees near "
			    "lakes.\"}"),
		.connect_timeout_ms = 2000,
		.timeout_ms = 20000,
		.max_body_bytes = 1 << 20,
	};

	(void)snprintf(target, sizeof(target), "%s/api/v1/collections/default/documents", url);
	if (!http_client_run(client, &call, reply, err))
		return false;
	if (reply->status >= 300)
		return err_set(err, ERR_PROTOCOL, "ingest answered %d: %s", reply->status,
			       reply->body.data);
	return true;
}

static bool
ask(struct http_client *client, const char *url, int number, struct http_reply *reply,
    int64_t *out_us, struct err *err)
{
	static const char *const headers[] = { "Content-Type: application/json", "Prefer: wait=10",
					       NULL };
	char target[512], body[128];
	struct http_call call = { .method = "POST",
				  .url = target,
				  .headers = headers,
				  .connect_timeout_ms = 2000,
				  .timeout_ms = 20000,
				  .max_body_bytes = 1 << 20 };
	int64_t since_us;
	int len;

	(void)snprintf(target, sizeof(target), "%s/api/v1/collections/default/query", url);
	len = snprintf(body, sizeof(body), "{\"query\":\"Where does heron %d nest?\"}", number);
	call.body = str_make(body, (size_t)len);
	since_us = clock_mono_us();
	if (!http_client_run(client, &call, reply, err))
		return false;
	if (reply->status != 200)
		return err_set(err, ERR_PROTOCOL, "query answered %d: %s", reply->status,
			       reply->body.data);
	*out_us = clock_mono_us() - since_us;
	return true;
}

static bool
measure(const char *url, int count, struct err *err)
{
	AUTO_PTR(http_client_free) struct http_client *client = NULL;
	AUTO(http_reply) struct http_reply reply;
	int64_t *took_us = mem_array((size_t)count + WARM_UP, sizeof(*took_us));
	bool ok;

	http_reply_init(&reply, 1 << 20);
	ok = http_client_new("rag-latency", &client, err) && put_document(client, url, &reply, err);
	for (int i = 0; ok && i < count + WARM_UP; i++)
		ok = ask(client, url, i, &reply, &took_us[i], err);
	if (ok) {
		int middle = WARM_UP + count / 2, late = WARM_UP + count * 99 / 100;

		qsort(took_us + WARM_UP, (size_t)count, sizeof(*took_us), by_value);
		printf("%d queries, submit -> result: p50 %.2f ms, p99 %.2f ms, max %.2f ms\n",
		       count, (double)took_us[middle] / 1e3, (double)took_us[late] / 1e3,
		       (double)took_us[WARM_UP + count - 1] / 1e3);
	}
	mem_free(took_us);
	return ok;
}

int
main(int argc, char **argv)
{
	const char *url = argc > 1 ? argv[1] : "http://127.0.0.1:8000";
	int64_t count = 2000;
	struct err err = ERR_INIT;

	if (argc > 3 || (argc == 3 && !str_to_i64(str_of(argv[2]), 1, 1000000, &count))) {
		(void)fputs("usage: rag-latency [URL [COUNT]]\n", stderr);
		return 2;
	}
	if (!http_client_global_init(&err) || !measure(url, (int)count, &err)) {
		(void)fprintf(stderr, "rag-latency: %s\n", err.msg);
		return 1;
	}
	http_client_global_release();
	return 0;
}
