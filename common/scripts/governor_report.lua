-- governor_report: how a call ended: gives its place back, counts what was really used, decides about sleeping and the breaker.
-- KEYS 1 state  2 window  3 leases  4 wake  (of one name)
-- ARGV 1 ticket  2 outcome: ok, limited, quota, outage, denied, failed, abandoned, unused  3 moment it was let go  4 tokens that were taken for it
--      5 tokens it used, -1 unknown  6 ms in which nobody may call, -1 unknown  7 failures in a row that open the breaker, 0 = never
--      8 breaker: ms open  9 random 0 .. 2^31 - 1  10 text for people  11 window ms  12 requests and 13 tokens a window, 14 at once
--      15 requests that were taken for it
-- Reply 1: the breaker is open, 0: it is not. Repeated: counts again, except for the lease. Redis full: works, for it begins with a write that is allowed then.
--#include governor
local state, window, leases, wake = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ticket, outcome, at = ARGV[1], ARGV[2], tonumber(ARGV[3])
local taken, used, hint, open_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[8])
local length, concurrency = tonumber(ARGV[11]), tonumber(ARGV[14])
local max_sleep = 900000 -- a server that says "in a year" is asked again after a quarter of an hour

redis.call('HDEL', state, '-')
local now = governor_now(state)
local f = redis.call('HMGET', state, 'sleep', 'sleeps', 'open', 'opens', 'fails', 'probe', 'pace_requests', 'pace_tokens')
local sleep, open = tonumber(f[1] or 0), tonumber(f[3] or 0)
local probe = f[6] == ticket

if concurrency > 0 and redis.call('ZREM', leases, ticket) == 1 then
	-- one of those that wait; what nobody waits for is gone soon
	redis.call('RPUSH', wake, '1')
	redis.call('LTRIM', wake, 0 - concurrency, -1)
	redis.call('PEXPIRE', wake, 5000)
end

local delta = { requests = 0, tokens = 0 }
if outcome == 'unused' then
	delta.requests, delta.tokens = 0 - ARGV[15], 0 - taken
elseif used >= 0 then
	delta.tokens = used - taken
end
if delta.requests ~= 0 or delta.tokens ~= 0 then
	local bucket = string.format('%.0f', math.floor(at / (length / 120)))
	local requests, tokens = string.match(redis.call('HGET', window, bucket) or '', '^(%d+) (%d+)$')
	if requests then
		redis.call('HSET', window, bucket, string.format('%.0f %.0f', math.max(requests + delta.requests, 0),
			math.max(tokens + delta.tokens, 0)))
	end
	for what, max in pairs({ requests = tonumber(ARGV[12]), tokens = tonumber(ARGV[13]) }) do
		local pace = tonumber(what == 'requests' and f[7] or what == 'tokens' and f[8] or 0)
		if max > 0 and pace > now then
			-- More than a whole window's worth holds nobody longer than a window does.
			pace = math.min(pace + delta[what] * length * 62 / 60 / max, math.max(pace, now + length * 7 / 6))
			redis.call('HSET', state, 'pace_' .. what, string.format('%.3f', pace))
		end
	end
end

local function sleep_for(ms)
	sleep = math.max(sleep, now + math.min(math.ceil(ms), max_sleep))
	redis.call('HSET', state, 'sleep', sleep)
end
local function close()
	open = 0
	redis.call('HSET', state, 'open', 0, 'opens', 0)
	redis.call('HDEL', state, 'probe', 'probe_until')
end
local function open_again(opens)
	open = now + open_ms * 2 ^ math.min(opens, 4)
	redis.call('HSET', state, 'open', open, 'opens', opens + 1)
	redis.call('HDEL', state, 'probe', 'probe_until')
end

if outcome == 'unused' or outcome == 'abandoned' then
	-- Nothing is known of the dependency: another call may try.
	if probe then redis.call('HDEL', state, 'probe', 'probe_until') end
elseif outcome == 'outage' or outcome == 'denied' then
	local fails = tonumber(f[5] or 0) + 1
	redis.call('HSET', state, 'fails', fails, 'what', ARGV[10], 'what_at', now)
	-- Calls that began before it opened say nothing new; only the probe does.
	if probe then
		open_again(tonumber(f[4] or 1))
	elseif open == 0 and tonumber(ARGV[7]) > 0 and fails >= tonumber(ARGV[7]) then
		open_again(0)
	end
	if hint >= 0 then sleep_for(hint) end
else
	-- It answered, so it is there.
	redis.call('HSET', state, 'fails', 0)
	if probe then close() end
	if outcome == 'ok' and at >= sleep and tonumber(f[2] or 0) > 0 then redis.call('HSET', state, 'sleeps', 0) end
	if outcome == 'quota' then
		redis.call('HSET', state, 'quota', now + (hint >= 0 and math.min(hint, 3600000) or 300000), 'what', ARGV[10], 'what_at', now)
	elseif hint >= 0 and (outcome ~= 'limited' or hint >= 1000) then
		sleep_for(hint)
	elseif outcome == 'limited' and at >= sleep then
		-- It does not say when, or "at once" again and again, which is as good as nothing: doubled each time, from one second to a
		-- minute. Calls let go before the last such sleep count as one.
		local sleeps = tonumber(f[2] or 0)
		if hint < 0 or sleeps > 0 then
			hint = math.max(hint, math.min(60000, 1000 * 2 ^ math.min(sleeps, 10)) * (0.5 + ARGV[9] / 4294967296))
		end
		sleep_for(hint)
		redis.call('HSET', state, 'sleeps', sleeps + 1)
	end
	if outcome == 'limited' then redis.call('HSET', state, 'what', ARGV[10], 'what_at', now) end
end
redis.call('HINCRBY', state, 'n_' .. outcome, 1)
redis.call('PEXPIRE', state, math.max(3600000, 2 * length))
return open > 0 and 1 or 0
