-- governor_acquire: a place for one call of a dependency: now, at a moment soon, or not.
-- KEYS 1 state  2 window  3 leases  (of one name)
-- ARGV 1 ticket  2 requests and 3 tokens a window, 4 at once (0 = no limit)  5 tokens of this call, at most 3
--      6 longest wait ms  7 lease ms  8 breaker: ms open  9 window ms  10 requests that this call counts as, at most 2
-- Reply {'OK', ms to wait, moment, 1 = this call is the breaker's probe, note} | {'WAIT', reason, ms, text, note}
--       reason: requests, tokens, concurrency, sleep, breaker, probe, quota; note 1: write the name into the list of names
-- Places are given in the order of asking, at moments that never go back. No `window` holds more than the limit, also when calls arrive
-- up to window / 40 later than they were let go: a place is free again that much later, and a bucket of window / 120 as a whole.
-- Not repeatable: each call takes a place. Redis full: works, for it begins with a write that is allowed then.
--#include governor
local state, window, leases, ticket = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local cost = { requests = tonumber(ARGV[10]), tokens = tonumber(ARGV[5]) }
local limit = { requests = tonumber(ARGV[2]), tokens = tonumber(ARGV[3]) }
local concurrency, length = tonumber(ARGV[4]), tonumber(ARGV[9])
local bucket_ms, span = length / 120, length + length / 40
local forget_ms = math.max(3600000, 2 * length)

redis.call('HDEL', state, '-')
local now = governor_now(state)
local f = redis.call('HMGET', state, 'sleep', 'quota', 'open', 'probe', 'probe_until', 'last', 'noted', 'what', 'pace_requests',
	'pace_tokens', 'window', 'rpm', 'tpm', 'slots')
local open, note = tonumber(f[3] or 0), 0
if now - tonumber(f[7] or 0) > 600000 then
	note = 1
	redis.call('HSET', state, 'noted', now)
end
if f[11] ~= ARGV[9] then redis.call('DEL', window) end
if f[11] ~= ARGV[9] or f[12] ~= ARGV[2] or f[13] ~= ARGV[3] or f[14] ~= ARGV[4] then
	redis.call('HSET', state, 'window', ARGV[9], 'rpm', ARGV[2], 'tpm', ARGV[3], 'slots', ARGV[4])
end
redis.call('PEXPIRE', state, forget_ms)

local function refuse(reason, ms)
	redis.call('HINCRBY', state, 'refused', 1)
	redis.call('HSET', state, 'reason', reason, 'free', now + ms)
	return { 'WAIT', reason, math.ceil(ms), f[8] or '', note }
end
if tonumber(f[2] or 0) > now then return refuse('quota', f[2] - now) end
if open > now then return refuse('breaker', open - now) end
if open > 0 and f[4] and f[4] ~= ticket and tonumber(f[5]) > now then
	return refuse('probe', math.min(f[5] - now, tonumber(ARGV[8])))
end

local at, why = math.max(now, tonumber(f[6] or 0)), 'requests'
if tonumber(f[1] or 0) > at then at, why = tonumber(f[1]), 'sleep' end
-- Even pace: a call's share of the window after the one before; whoever came late may catch up a twelfth of the window.
local pace = { requests = tonumber(f[9] or 0), tokens = tonumber(f[10] or 0) }
for what, max in pairs(limit) do
	if max > 0 and pace[what] - length / 12 > at then at, why = math.ceil(pace[what] - length / 12), what end
end
-- The promise: the sum of the buckets that the window ending at `at` may touch.
local buckets, sum = {}, { requests = 0, tokens = 0 }
if limit.requests > 0 or limit.tokens > 0 then
	local flat = redis.call('HGETALL', window)
	for i = 1, #flat, 2 do
		local free = (flat[i] + 1) * bucket_ms + span -- when nothing of it counts any more
		if free <= now then
			redis.call('HDEL', window, flat[i])
		elseif free > at then
			local requests, tokens = string.match(flat[i + 1], '^(%d+) (%d+)$')
			buckets[#buckets + 1] = { free = free, requests = tonumber(requests), tokens = tonumber(tokens) }
			sum.requests, sum.tokens = sum.requests + requests, sum.tokens + tokens
		end
	end
	table.sort(buckets, function(a, b) return a.free < b.free end)
	local function over(what) return limit[what] > 0 and sum[what] + cost[what] > limit[what] end
	for _, oldest in ipairs(buckets) do
		if not over('requests') and not over('tokens') then break end
		at, why = math.max(at, math.ceil(oldest.free)), over('requests') and 'requests' or 'tokens'
		sum.requests, sum.tokens = sum.requests - oldest.requests, sum.tokens - oldest.tokens
	end
end
if at - now > tonumber(ARGV[6]) then return refuse(why, at - now) end

if concurrency > 0 then
	redis.call('ZREMRANGEBYSCORE', leases, '-inf', now)
	if redis.call('ZCARD', leases) >= concurrency and not redis.call('ZSCORE', leases, ticket) then
		local first = redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')
		return refuse('concurrency', math.max(first[2] - now, 1))
	end
	redis.call('ZADD', leases, at + ARGV[7], ticket)
	redis.call('PEXPIRE', leases, at - now + ARGV[7] + 1000)
end
for what, max in pairs(limit) do
	if max > 0 then
		local full = math.max(pace[what], at) + cost[what] * (span + bucket_ms) / max
		redis.call('HSET', state, 'pace_' .. what, string.format('%.3f', full))
	end
end
if limit.requests > 0 or limit.tokens > 0 then
	local bucket = string.format('%.0f', math.floor(at / bucket_ms))
	local requests, tokens = string.match(redis.call('HGET', window, bucket) or '0 0', '^(%d+) (%d+)$')
	redis.call('HSET', window, bucket, string.format('%.0f %.0f', requests + cost.requests, tokens + cost.tokens))
	redis.call('PEXPIRE', window, math.ceil(at - now + 2 * length))
end
local probe = 0
if open > 0 then
	probe = 1
	redis.call('HSET', state, 'probe', ticket, 'probe_until', at + math.min(ARGV[7], 120000))
end
redis.call('HSET', state, 'last', at, 'seen', now)
redis.call('HINCRBY', state, 'granted', 1)
return { 'OK', at - now, at, probe, note }
