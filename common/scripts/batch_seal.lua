-- batch_seal: no line is added any more. The batch is over when nothing of it is pending.
-- KEYS  batch batches done stat
-- ARGV  id how token channel
--       how: complete (the whole body came), partial (the upload `token` ended before), lease (its lease is over: keepers),
--            cancel (a client wants the batch to stop, whatever upload holds it)
-- Reply {'OK', record} | {'CLOSED', record} (not open to this upload; for cancel: it is over already) | {'NONE'}
-- Complete, after a keeper sealed it as partial and nobody opened it again: it is whole after all.
-- Repeated: CLOSED, and nothing changes. Out of memory: HDEL comes first and is allowed.
local batch, batches, id, how = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
redis.call('HDEL', batch, '-')
local f = redis.call('HMGET', batch, 'type', 'status', 'sealed', 'token', 'n_wait', 'cancel', 'partial')
if f[1] ~= 'import' then return { 'NONE' } end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local open, live = f[3] == '0', f[2] == 'running' or f[2] == 'cancelling'
local may = open and (f[4] == ARGV[3] or how == 'lease')
if how == 'lease' then may = may and tonumber(redis.call('ZSCORE', batches, id) or now + 1) <= now end
if how == 'cancel' then may = live end
if how == 'complete' and not open and f[4] == ARGV[3] and f[6] ~= '1' and f[7] == '1' then
	redis.call('HSET', batch, 'partial', 0, 'updated', now)
	redis.call('PUBLISH', ARGV[4], id .. ' ' .. redis.call('HINCRBY', batch, 'version', 1))
	return { 'OK', redis.call('HGETALL', batch) }
end
if not may then return { 'CLOSED', redis.call('HGETALL', batch) } end
local stops = how == 'cancel'
if stops and f[6] == '1' then return { 'OK', redis.call('HGETALL', batch) } end
redis.call('HSET', batch, 'sealed', 1, 'updated', now)
if open and how ~= 'complete' then redis.call('HSET', batch, 'partial', 1) end
if stops then redis.call('HSET', batch, 'cancel', 1, 'status', 'cancelling') end
redis.call('ZREM', batches, id)
if f[5] == '0' then
	redis.call('HSET', batch, 'status', stops and 'cancelled' or 'succeeded', 'finished', now)
	redis.call('ZADD', KEYS[3], now, id)
	redis.call('HINCRBY', KEYS[4], 'finished', 1)
else
	redis.call('ZADD', batches, 4102444800000, id) -- no lease: it waits for its children
end
redis.call('PUBLISH', ARGV[4], id .. ' ' .. redis.call('HINCRBY', batch, 'version', 1))
return { 'OK', redis.call('HGETALL', batch) }
