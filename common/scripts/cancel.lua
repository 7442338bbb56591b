-- cancel: a waiting job ends at once, a running one is asked to stop.
-- KEYS  ready job payload result stat due done ev [batch items batches] (the rest: a child of a batch)
-- ARGV  group id channel
-- Reply {'OK', record} | {'FINAL', record} | {'NONE'} | {'BATCH'} (batch_seal cancels those)
-- Repeated: a cancelled or cancelling job is answered as it is. Out of memory: begins with a write that is allowed then.
--#include tally
local ready, job, stat, id = KEYS[1], KEYS[2], KEYS[5], ARGV[2]
redis.call('HDEL', job, '-')
local f = redis.call('HMGET', job, 'status', 'entry', 'in_bytes', 'out_bytes', 'stream', 'type')
local status, ev, stream = f[1], KEYS[8], f[5]
if not status then return { 'NONE' } end
if f[6] == 'import' then return { 'BATCH' } end
if status == 'cancelled' or status == 'cancelling' then return { 'OK', redis.call('HGETALL', job) } end
if status == 'succeeded' or status == 'failed' or status == 'expired' then
	return { 'FINAL', redis.call('HGETALL', job) }
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if status == 'running' then
	redis.call('HSET', job, 'status', 'cancelling', 'cancel', 1, 'updated', now)
else
	if status == 'queued' then
		redis.call('XACK', ready, ARGV[1], f[2])
		redis.call('XDEL', ready, f[2])
	else
		redis.call('ZREM', KEYS[6], id)
	end
	redis.call('DEL', KEYS[3], KEYS[4])
	redis.call('HINCRBY', stat, 'in_bytes', 0 - tonumber(f[3]))
	redis.call('HINCRBY', stat, 'out_bytes', 0 - tonumber(f[4]))
	redis.call('HINCRBY', stat, 'finished', 1)
	redis.call('HSET', job, 'status', 'cancelled', 'cancel', 1, 'entry', '', 'due', 0, 'in_bytes', 0, 'out_bytes', 0, 'error', '',
		'finished', now, 'updated', now)
	redis.call('ZADD', KEYS[7], now, id)
	if KEYS[9] then tally(KEYS[9], KEYS[10], KEYS[11], KEYS[7], stat, id, 'c', '', now, ARGV[3]) end
end
local version = redis.call('HINCRBY', job, 'version', 1)
if stream then
	local final = status ~= 'running'
	local at = redis.call('XADD', ev, '*', 'k', final and 'done' or 'status', 's', final and 'cancelled' or 'cancelling', 'v', version)
	if final then
		redis.call('HSET', job, 'evd', at)
		redis.call('PEXPIRE', ev, stream)
	end
end
redis.call('PUBLISH', ARGV[3], id .. ' ' .. version)
return { 'OK', redis.call('HGETALL', job) }
