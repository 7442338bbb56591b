-- batch_renew: an upload goes on: its lease.
-- KEYS  batch batches
-- ARGV  id token lease_ms
-- Reply 'OK' | 'CLOSED'. Repeated: renews again. Out of memory: ZREM comes first and is allowed.
local f = redis.call('HMGET', KEYS[1], 'sealed', 'token')
if f[1] ~= '0' or f[2] ~= ARGV[2] then return 'CLOSED' end
local t = redis.call('TIME')
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[2], t[1] * 1000 + math.floor(t[2] / 1000) + tonumber(ARGV[3]), ARGV[1])
return 'OK'
