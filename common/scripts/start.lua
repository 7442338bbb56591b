-- start: a delivered entry becomes a running job; hands out the epoch, the payload and the record.
-- KEYS  ready job payload stat done paused ev [result batch items batches] (the rest: a child of a batch)
-- ARGV  group consumer entry id channel
-- Reply {'ENDED', payload, type} (a child that expired, or whose batch was cancelled) | {'SKIP'} (the entry is gone) | {'PAUSED'} (put back as a new entry, uncharged) | {'OK', epoch, payload, record}
--       SKIP leaves an entry alone that is pending with another consumer, or with nobody: it was not delivered to this one.
-- Repeated by the same consumer for the same entry: the same epoch again (the first answer was lost).
-- Out of memory: begins with a write that Redis allows then.
--#include tally
local ready, job, group, consumer, entry, id = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
redis.call('HDEL', job, '-')
local function drop()
	redis.call('XACK', ready, group, entry)
	redis.call('XDEL', ready, entry)
end
local f = redis.call('HMGET', job, 'status', 'entry', 'worker', 'epoch', 'expires', 'in_bytes', 'stream', 'evn')
local status, ev, stream = f[1], KEYS[7], f[7]
if not status or f[2] ~= entry then
	drop()
	return { 'SKIP' }
end
if status == 'running' or status == 'cancelling' then
	if f[3] ~= consumer then return { 'SKIP' } end
	return { 'OK', tonumber(f[4]), redis.call('GET', KEYS[3]), redis.call('HGETALL', job) }
end
-- An entry of the record means queued, running or cancelling. Only the consumer that it was delivered to may start it.
local pending = redis.call('XPENDING', ready, group, entry, entry, 1)
if status ~= 'queued' or #pending == 0 or pending[1][2] ~= consumer then return { 'SKIP' } end
if redis.call('EXISTS', KEYS[6]) == 1 then
	drop()
	redis.call('HSET', job, 'entry', redis.call('XADD', ready, '*', 'j', id))
	return { 'PAUSED' }
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local late = f[4] == '0' and tonumber(f[5]) > 0 and now >= tonumber(f[5])
if KEYS[9] and (late or redis.call('HGET', KEYS[9], 'cancel') == '1') then
	drop()
	local payload, type = redis.call('GET', KEYS[3]), redis.call('HGET', job, 'type')
	local told = fold(job, KEYS[3], KEYS[8], KEYS[4])
	tally(KEYS[9], KEYS[10], KEYS[11], KEYS[5], KEYS[4], id, late and 'e' or 'c', '', now, ARGV[5])
	redis.call('PUBLISH', ARGV[5], id .. ' ' .. told)
	return { 'ENDED', payload, type }
end
local version = redis.call('HINCRBY', job, 'version', 1)
if late then
	drop()
	redis.call('DEL', KEYS[3])
	redis.call('HINCRBY', KEYS[4], 'in_bytes', 0 - tonumber(f[6]))
	redis.call('HSET', job, 'status', 'expired', 'entry', '', 'in_bytes', 0, 'updated', now, 'finished', now)
	redis.call('ZADD', KEYS[5], now, id)
	redis.call('HINCRBY', KEYS[4], 'finished', 1)
	if stream then
		redis.call('HSET', job, 'evd', redis.call('XADD', ev, '*', 'k', 'done', 's', 'expired', 'v', version))
		redis.call('PEXPIRE', ev, stream)
	end
	redis.call('PUBLISH', ARGV[5], id .. ' ' .. version)
	return { 'SKIP' }
end
redis.call('XCLAIM', ready, group, consumer, 0, entry, 'JUSTID')
local epoch = redis.call('HINCRBY', job, 'epoch', 1)
redis.call('HINCRBY', job, 'starts', 1)
redis.call('HDEL', job, 'wait')
redis.call('HSET', job, 'status', 'running', 'worker', consumer, 'started', now, 'updated', now, 'due', 0,
	'stage', '', 'pdone', 0, 'ptotal', 0)
if stream then
	redis.call('PERSIST', ev)
	-- Text of an earlier start is void, and says so itself: tokens of two starts are never read as one text.
	if tonumber(f[8] or 0) > 0 then
		local at = redis.call('XADD', ev, '*', 'k', 'reset', 'r', 'restarted', 'd', '')
		redis.call('XTRIM', ev, 'MINID', at)
		redis.call('HSET', job, 'evn', 0, 'evs', '')
	else
		redis.call('XTRIM', ev, 'MAXLEN', 100) -- no text yet: only what a long outage has told
	end
	redis.call('XADD', ev, '*', 'k', 'status', 's', 'running', 'v', version)
end
redis.call('PUBLISH', ARGV[5], id .. ' ' .. version)
return { 'OK', epoch, redis.call('GET', KEYS[3]), redis.call('HGETALL', job) }
