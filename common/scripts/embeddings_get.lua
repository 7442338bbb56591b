-- embeddings_get: up to 100 vectors; what is found in the older half of the ring moves to the newest generation.
-- KEYS 1 head  2... the places of the ring, in order  ARGV 1 bytes that the whole ring may have  2 ttl (ms)  3... keys
-- Reply: for each key its vector, or nil. Redis full: the same, without the moving.
--#include embeddings
local count, found, left, old = #KEYS - 1, {}, {}, {}
local newest = tonumber(redis.call('HGET', KEYS[1], 'g') or -1)

for i = 3, #ARGV do
	found[i - 2] = false
	left[#left + 1] = i - 2
end
for age = 0, newest < 0 and -1 or count - 1 do
	if #left == 0 or age > newest then break end
	local keys, still = {}, {}
	for i, at in ipairs(left) do keys[i] = ARGV[at + 2] end
	local values = redis.call('HMGET', embeddings_slot(newest - age, count), unpack(keys))
	for i, at in ipairs(left) do
		if values[i] then
			found[at] = values[i]
			if age >= count / 2 then old[#old + 1] = { at, newest - age } end
		else
			still[#still + 1] = at
		end
	end
	left = still
end
for _, o in ipairs(old) do
	if not embeddings_put(ARGV[o[1] + 2], found[o[1]], tonumber(ARGV[1]), tonumber(ARGV[2])) then break end
	local now_newest = tonumber(redis.call('HGET', KEYS[1], 'g'))
	if now_newest - o[2] < count then redis.call('HDEL', embeddings_slot(o[2], count), ARGV[o[1] + 2]) end
end
return found
