-- ratelimit: takes tokens from a bucket that fills evenly, or says how long to wait.
-- KEYS 1 the bucket  ARGV 1 tokens it holds  2 microseconds between two tokens  3 tokens to take
-- Reply {1 = taken, 0 = not, whole tokens left, us until one more, us until there are enough}
-- The key holds the moment (Redis' clock, us) when the bucket is full again; without it the bucket is full. Not repeatable: each
-- call takes. Redis full: works, for it begins with a write that is allowed then; what it writes replaces what it removes.
local count, interval, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local room = count * interval
local missing = tonumber(redis.call('GET', KEYS[1]) or now) - now

if missing < 0 then missing = 0 end
-- the clock was set back, or the limit lowered: never emptier than empty
if missing > room then missing = room end
local after = missing + cost * interval
local taken = after <= room
if taken then
	missing = after
	redis.call('DEL', KEYS[1])
	redis.call('SET', KEYS[1], string.format('%.0f', now + missing), 'PX', math.ceil(missing / 1000))
end
local left = math.floor((room - missing) / interval)
local next_one = missing - (count - left - 1) * interval
return { taken and 1 or 0, left, missing > 0 and next_one or 0, taken and 0 or after - room }
