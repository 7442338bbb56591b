-- batch_drop: removes a batch that forget or sweep has marked, a hundred keys of items a call.
-- KEYS  batch done rejects items...     (items: of the buckets from `from` on, in their order)
-- ARGV  id from bucket_count channel
-- Reply the next bucket, -1 = the batch is gone (or is not marked, or another call was faster: look again)
-- Repeated: goes on where it stands. Out of memory: DEL comes first and is allowed.
local f = redis.call('HMGET', KEYS[1], 'drop', 'version')
if f[1] ~= ARGV[2] then return tonumber(f[1] or -1) end
for i = 4, #KEYS do redis.call('DEL', KEYS[i]) end
local next = tonumber(f[1]) + #KEYS - 3
if next < tonumber(ARGV[3]) then
	redis.call('HSET', KEYS[1], 'drop', next)
	return next
end
redis.call('DEL', KEYS[1], KEYS[3])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('PUBLISH', ARGV[4], ARGV[1] .. ' ' .. (f[2] + 1))
return -1
