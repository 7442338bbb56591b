-- progress: how far a running job is.
-- KEYS  job ev
-- ARGV  entry epoch stage done total id channel
-- Reply 'OK' | 'STALE'
-- Repeated: writes the same again. Out of memory: begins with a write that is allowed then.
redis.call('HDEL', KEYS[1], '-')
local f = redis.call('HMGET', KEYS[1], 'status', 'epoch', 'entry', 'stream')
if (f[1] ~= 'running' and f[1] ~= 'cancelling') or f[2] ~= ARGV[2] or f[3] ~= ARGV[1] then return 'STALE' end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], 'stage', ARGV[3], 'pdone', ARGV[4], 'ptotal', ARGV[5], 'updated', now)
local version = redis.call('HINCRBY', KEYS[1], 'version', 1)
if f[4] then
	redis.call('XADD', KEYS[2], '*', 'k', 'status', 's', f[1], 'v', version, 'g', ARGV[3], 'n', ARGV[4], 'm', ARGV[5])
end
redis.call('PUBLISH', ARGV[7], ARGV[6] .. ' ' .. version)
return 'OK'
