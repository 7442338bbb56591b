/* fuzz_redis_url: any bytes as the address of Redis. Neither label nor refusal shows user or password. */
#include <string.h>

#include "common/redis_url.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct redis_url url;
	struct err err = ERR_INIT;
	int64_t port = 0;

	memset(&url, 0xa5, sizeof(url)); /* every text must be set, and ended */
	if (!redis_url_parse(str_make((const char *)data, size), &url, &err)) {
		must(err.code == ERR_CONFIG, "refused as a setting");
		return 0;
	}
	must(memchr(url.host, '\0', sizeof(url.host)) && url.host[0], "a host, or a path");
	must(memchr(url.user, '\0', sizeof(url.user)) && memchr(url.pass, '\0', sizeof(url.pass)),
	     "user and password end");
	must(memchr(url.label, '\0', sizeof(url.label)), "the label ends");
	must(url.db >= 0, "a database has a number");
	if (!url.is_unix)
		must(str_to_i64(str_of(url.port), 1, 65535, &port), "a port is a port");
	if (strlen(url.pass) >= 8 && !strstr(url.host, url.pass))
		must(!strstr(url.label, url.pass), "the label does not tell the password");
	return 0;
}
