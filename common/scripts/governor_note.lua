-- governor_note: writes a governed name into the list of names, from which those that were not used for a day go.
-- KEYS 1 names  ARGV 1 name
-- Reply 'OK'. Repeatable. Redis full: ZREM comes first and is allowed.
redis.call('ZREM', KEYS[1], '')
local now = redis.call('TIME')[1] * 1000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 86400000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('PEXPIRE', KEYS[1], 86400000)
return 'OK'
