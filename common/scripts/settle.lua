-- settle: the end of one start: record, result, acknowledgement, retention and notice in one step.
-- KEYS  ready job payload result stat due done dead ev [batch items batches] (the rest: a child of a batch)
-- ARGV  group entry epoch kind result error retry_after_ms base_ms max_ms random result_ttl_ms id channel whole waiting_for
--       kind: succeed retry fail cancel wait outage hand_back; result: bytes of the outcome or of the error's text;
--       random: 0 .. 2^31 - 1, for full jitter; result_ttl_ms: of an outcome; the text of an error stays with its job
--       waiting_for: wait, outage: what the job waits for, for people, at most 63 bytes
--       whole: 1 when the tokens of a job that streams add up to its answer
-- Reply {'OK', status} | {'STALE'}
-- Repeated with the same epoch and kind: the status as it is now, nothing changes.
-- Of a child that succeeded only its line is kept: record, payload and result go at once.
-- Out of memory: begins with a write that Redis allows then.
--#include tally
local ready, job, stat, due, done, dead = KEYS[1], KEYS[2], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local group, entry, epoch, kind, result, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[12]
redis.call('HDEL', job, '-')
local f = redis.call('HMGET', job, 'status', 'epoch', 'entry', 'failures', 'max_failures', 'in_bytes', 'out_bytes', 'fin',
	'outages', 'error', 'stream')
local status, ev, stream = f[1], KEYS[9], f[11]
if not status and KEYS[10] and kind == 'succeed' then
	local item = redis.call('HGET', KEYS[11], string.match(id, '%.(.*)$')) or ''
	if string.sub(item, 1, 1) == 's' and string.match(string.sub(item, 10), '\n(.*)$') == epoch then
		return { 'OK', 'succeeded' }
	end
end
if status and f[8] == epoch .. ':' .. kind then return { 'OK', status } end
if (status ~= 'running' and status ~= 'cancelling') or f[2] ~= epoch or f[3] ~= entry then return { 'STALE' } end

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local failures, outages = tonumber(f[4]), tonumber(f[9] or 0)
redis.call('XACK', ready, group, entry)
redis.call('XDEL', ready, entry)

-- Full jitter: anywhere between 0 and base * 2^n, at most max, never earlier than asked for.
local function backoff(n)
	local limit = math.min(tonumber(ARGV[9]), tonumber(ARGV[8]) * 2 ^ math.min(n, 30))
	return math.max(math.floor(limit * tonumber(ARGV[10]) / 2147483648), tonumber(ARGV[7]), 1)
end
local function keep_result(ttl_ms)
	redis.call('DEL', KEYS[4])
	if #result > 0 then redis.call('SET', KEYS[4], result) end
	if #result > 0 and ttl_ms then redis.call('PEXPIRE', KEYS[4], ttl_ms) end
	redis.call('HINCRBY', stat, 'out_bytes', #result - tonumber(f[7]))
	redis.call('HSET', job, 'out_bytes', #result)
end
local function drop_payload()
	redis.call('DEL', KEYS[3])
	redis.call('HINCRBY', stat, 'in_bytes', 0 - tonumber(f[6]))
	redis.call('HSET', job, 'in_bytes', 0)
end

-- A job that was asked to stop ends cancelled, unless it has succeeded before it noticed.
if KEYS[10] and redis.call('HGET', KEYS[10], 'cancel') == '1' then status = 'cancelling' end
if status == 'cancelling' and kind ~= 'succeed' then kind = 'cancel' end
if KEYS[10] and kind == 'succeed' then
	local told = fold(job, KEYS[3], KEYS[4], stat)
	tally(KEYS[10], KEYS[11], KEYS[12], done, stat, id, 's', epoch, now, ARGV[13])
	redis.call('PUBLISH', ARGV[13], id .. ' ' .. told)
	return { 'OK', 'succeeded' }
end
local to, new_entry, due_at, finished, failure = nil, '', 0, 0, ARGV[6]
if kind == 'retry' or kind == 'fail' then failures = failures + 1 end
if kind == 'succeed' then
	to, finished = 'succeeded', now
	failure = ''
	keep_result(ARGV[11])
	redis.call('HINCRBY', stat, 'done_bytes', #result)
	drop_payload()
	redis.call('ZADD', done, now, id)
elseif kind == 'cancel' then
	to, finished = 'cancelled', now
	result, failure = '', ''
	keep_result()
	drop_payload()
	redis.call('ZADD', done, now, id)
elseif kind == 'fail' or (kind == 'retry' and failures >= tonumber(f[5])) then
	to, finished = 'failed', now
	keep_result()
	redis.call('ZADD', dead, now, id)
	redis.call('HINCRBY', stat, 'failed', 1)
elseif kind == 'retry' then
	to, due_at = 'retrying', now + backoff(failures - 1)
	keep_result()
	redis.call('ZADD', due, due_at, id)
elseif kind == 'wait' or kind == 'outage' then
	-- wait: when it was told, and a little jitter after it, so that not all come in one moment
	local told = math.max(tonumber(ARGV[7]), 0)
	local little = math.floor(math.min(1000, 50 + told / 10) * ARGV[10] / 2147483648)
	to, due_at = 'retrying', now + (kind == 'wait' and math.max(told + little, 1) or backoff(outages))
	keep_result()
	redis.call('ZADD', due, due_at, id)
	if ARGV[15] ~= '' then redis.call('HSET', job, 'wait', ARGV[15]) end
else
	to, failure = 'queued', f[10] or ''
	new_entry = redis.call('XADD', ready, '*', 'j', id)
end
if finished > 0 then
	redis.call('HINCRBY', stat, 'finished', 1)
else
	-- This start ended in order: only starts that lost their worker stay charged.
	redis.call('HINCRBY', job, 'starts', -1)
end
redis.call('HSET', job, 'status', to, 'entry', new_entry, 'due', due_at, 'finished', finished, 'updated', now,
	'failures', failures, 'error', failure, 'fin', epoch .. ':' .. ARGV[4], 'outages', kind == 'outage' and outages + 1 or 0)
local version = redis.call('HINCRBY', job, 'version', 1)
if stream then
	local at = redis.call('XADD', ev, '*', 'k', finished > 0 and 'done' or 'status', 's', to, 'v', version, 'w', ARGV[14])
	if finished > 0 then
		redis.call('HSET', job, 'evd', at)
		redis.call('PEXPIRE', ev, stream)
	end
end
redis.call('PUBLISH', ARGV[13], id .. ' ' .. version)
if KEYS[10] and finished > 0 then
	tally(KEYS[10], KEYS[11], KEYS[12], done, stat, id, to == 'failed' and 'f' or 'c', failure, now, ARGV[13])
end
return { 'OK', to }
