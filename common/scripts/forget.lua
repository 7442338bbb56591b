-- forget: removes the record of one final job.
-- KEYS  job payload result stat done dead ev
-- ARGV  id channel version (of the record as it must be; '0' = any)
-- Reply 'OK' | 'NONE' | 'CONFLICT' (not final) | 'CHANGED' (another version) |
--       'BATCH' (marked: batch_drop removes it)
-- Repeated: NONE. Out of memory: HDEL, ZREM and DEL are allowed.
redis.call('HDEL', KEYS[1], '-')
local f = redis.call('HMGET', KEYS[1], 'status', 'in_bytes', 'out_bytes', 'version', 'type')
local status = f[1]
if not status then return 'NONE' end
if status ~= 'succeeded' and status ~= 'failed' and status ~= 'cancelled' and status ~= 'expired' then return 'CONFLICT' end
if ARGV[3] ~= '0' and ARGV[3] ~= f[4] then return 'CHANGED' end
if f[5] == 'import' then
	redis.call('HSETNX', KEYS[1], 'drop', 0)
	return 'BATCH'
end
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('ZREM', KEYS[6], ARGV[1])
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[7])
redis.call('HINCRBY', KEYS[4], 'in_bytes', 0 - tonumber(f[2]))
redis.call('HINCRBY', KEYS[4], 'out_bytes', 0 - tonumber(f[3]))
if status ~= 'failed' then redis.call('HINCRBY', KEYS[4], 'done_bytes', 0 - tonumber(f[3])) end
redis.call('PUBLISH', ARGV[2], ARGV[1] .. ' ' .. (f[4] + 1))
return 'OK'
