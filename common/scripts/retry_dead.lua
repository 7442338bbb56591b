-- retry_dead: an operator's retry: a failed job is queued again with fresh budgets. Its epoch goes on rising.
-- KEYS  ready job payload result stat dead ev [batch items batches done] (the rest: a child of a batch)
-- ARGV  id channel
-- Reply {'OK', record} | {'CONFLICT', record} | {'GONE', record} (its payload is not there any more) | {'NONE'}
-- Repeated before the job starts: OK again (`again` holds the epoch of the retry), and nothing changes. Out of memory: begins with a write that is allowed then.
--#include tally
local job, id = KEYS[2], ARGV[1]
redis.call('HDEL', job, '-')
local f = redis.call('HMGET', job, 'status', 'out_bytes', 'epoch', 'again', 'stream')
if not f[1] then return { 'NONE' } end
if f[1] == 'queued' and f[3] == f[4] then return { 'OK', redis.call('HGETALL', job) } end
if f[1] ~= 'failed' then return { 'CONFLICT', redis.call('HGETALL', job) } end
if redis.call('EXISTS', KEYS[3]) == 0 then return { 'GONE', redis.call('HGETALL', job) } end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREM', KEYS[6], id)
redis.call('DEL', KEYS[4])
redis.call('HINCRBY', KEYS[5], 'out_bytes', 0 - tonumber(f[2]))
redis.call('HSET', job, 'status', 'queued', 'starts', 0, 'failures', 0, 'outages', 0, 'error', '', 'out_bytes', 0, 'finished', 0,
	'expires', 0, 'cancel', 0, 'again', f[3], 'updated', now, 'entry', redis.call('XADD', KEYS[1], '*', 'j', id))
local version = redis.call('HINCRBY', job, 'version', 1)
if f[5] then
	redis.call('HSET', job, 'evd', '')
	redis.call('XADD', KEYS[7], '*', 'k', 'status', 's', 'queued', 'v', version)
	redis.call('PERSIST', KEYS[7])
end
redis.call('PUBLISH', ARGV[2], id .. ' ' .. version)
if KEYS[8] then tally(KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[5], id, 'p', '', now, ARGV[2]) end
return { 'OK', redis.call('HGETALL', job) }
