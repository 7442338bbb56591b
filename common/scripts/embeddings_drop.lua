-- embeddings_drop: gives memory back: the oldest generation that holds anything goes.
-- KEYS 1 head  2... the places of the ring, in order  ARGV none
-- Reply 1 = one is gone, 0 = the cache is empty, or one went within this second. Redis full: works, its first write only frees.
--#include embeddings
local count = #KEYS - 1
local h, t = redis.call('HMGET', KEYS[1], 'g', 'd'), redis.call('TIME')
local newest, last = tonumber(h[1] or -1), tonumber(h[2] or 0)
local now = tonumber(t[1])

if newest < 0 or now == last then
	return 0
end
for age = count - 1, 0, -1 do
	local slot = embeddings_slot(newest - age, count)
	if redis.call('UNLINK', slot) == 1 then
		redis.call('HSET', KEYS[1], 'd', now)
		if age == 0 then redis.call('HSET', KEYS[1], 'b', 0) end
		return 1
	end
end
return 0
