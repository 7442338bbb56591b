-- leave: a consumer goes; deleted from the group only when nothing is pending with it (deleting it would lose that).
-- KEYS  ready workers
-- ARGV  group consumer silent (1: only if its announcement has run out or is missing)
-- Reply 1 when it was deleted, else 0. Repeated: 0. Out of memory: ZREM comes first and is allowed.
local group, consumer = ARGV[1], ARGV[2]
if ARGV[3] == '1' then
	local t = redis.call('TIME')
	local score = redis.call('ZSCORE', KEYS[2], consumer)
	if score and tonumber(score) > t[1] * 1000 + math.floor(t[2] / 1000) then return 0 end
end
local pending = redis.pcall('XPENDING', KEYS[1], group, '-', '+', 1, consumer)
if not pending.err and #pending > 0 then return 0 end
redis.call('ZREM', KEYS[2], consumer)
if pending.err then return 0 end -- no such group: nothing to leave
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], group, consumer)
return 1
