-- announce: a consumer lives until now + ttl, by Redis' clock.
-- KEYS  workers
-- ARGV  consumer ttl_ms
-- Reply 'OK'. Repeated: later expiry. Out of memory: ZREM comes first and is allowed.
local t = redis.call('TIME')
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], t[1] * 1000 + math.floor(t[2] / 1000) + tonumber(ARGV[2]), ARGV[1])
return 'OK'
