-- governor_state: how one governed name stands; reads only.
-- KEYS 1 state  2 window  3 leases
-- Reply {now ms, calls in flight, requests, tokens of the window that ends now, the state's fields} | nil when nothing is known of it
local state = redis.call('HGETALL', KEYS[1])
if #state == 0 then return false end
local t, f = redis.call('TIME'), redis.call('HMGET', KEYS[1], 'clock', 'skew')
local now = math.max(t[1] * 1000 + math.floor(t[2] / 1000) + (f[2] or 0), f[1] or 0)
local length = tonumber(redis.call('HGET', KEYS[1], 'window') or 60000)
local flat, requests, tokens = redis.call('HGETALL', KEYS[2]), 0, 0
for i = 1, #flat, 2 do
	local from = flat[i] * length / 120
	if from > now - length and from <= now then
		local r, k = string.match(flat[i + 1], '^(%d+) (%d+)$')
		requests, tokens = requests + r, tokens + k
	end
end
return { now, redis.call('ZCOUNT', KEYS[3], '(' .. now, '+inf'), requests, tokens, state }
