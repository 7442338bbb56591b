-- governor_extend: a call that still lasts keeps its place for another lease.
-- KEYS 1 state  2 leases  (of one name)
-- ARGV 1 ticket  2 lease ms
-- Reply 1: it has its place; 0: that was over, and may be another's. Repeatable. Redis full: works, for it begins with a write that is
-- allowed then.
--#include governor
local state, leases, ticket, lease_ms = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])

redis.call('HDEL', state, '-')
local now = governor_now(state)
if not redis.call('ZSCORE', leases, ticket) then return 0 end
redis.call('ZADD', leases, now + lease_ms, ticket)
if redis.call('PTTL', leases) < lease_ms + 1000 then redis.call('PEXPIRE', leases, lease_ms + 1000) end
if redis.call('HGET', state, 'probe') == ticket then
	redis.call('HSET', state, 'probe_until', now + math.min(lease_ms, 120000))
end
return 1
