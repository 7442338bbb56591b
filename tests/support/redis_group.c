#include "tests/support/redis_group.h"

#include "tests/support/must.h"

struct redis_server *server;
struct redis *redis;

int
redis_group_start(void **state)
{
	(void)state;
	server = redis_server_start(NULL);
	redis = redis_server_connect(server);
	return 0;
}

int
redis_group_stop(void **state)
{
	(void)state;
	redis_free(redis);
	redis_server_stop(server);
	return 0;
}

int
redis_group_clear(void **state)
{
	(void)state;
	MUST(REDIS_CALL(redis, NULL, e, "FLUSHALL"));
	return 0;
}
