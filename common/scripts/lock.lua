-- lock: an advisory lease on a task, so that many processes do it once. Nothing depends on it for correctness.
-- KEYS  lock
-- ARGV  owner ttl_ms
-- Reply 1 (ours) | 0. Repeated by the owner: prolongs. Out of memory: DEL comes first and is allowed.
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
