-- batch_open: an upload begins or goes on: the batch is made, taken over from an upload before, or opened again when it was
--             sealed as partial. Only the upload that holds `token` adds lines.
-- KEYS  batch batches done
-- ARGV  id token lease_ms collection tenant fingerprint channel
-- Reply {'NEW'|'RESUMED', record} | {'COMPLETE', record} (sealed as a whole, or cancelled: nothing is added any more) |
--       {'REUSED'} (the id is another request's) | {'DROPPING'} (its time was over; it is being removed)
-- Repeated with the same token: RESUMED. Out of memory: the first write is one that Redis refuses then.
local batch, batches, id = KEYS[1], KEYS[2], ARGV[1]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local f = redis.call('HMGET', batch, 'type', 'print', 'status', 'sealed', 'partial', 'cancel', 'drop')
local verdict = 'RESUMED'
if not f[1] then
	verdict = 'NEW'
	redis.call('HSET', batch, 'status', 'running', 'type', 'import', 'collection', ARGV[4], 'version', 1,
		'epoch', 0, 'starts', 0, 'failures', 0, 'max_starts', 0, 'max_failures', 0, 'created', now, 'started', now,
		'finished', 0, 'due', 0, 'expires', 0, 'in_bytes', 0, 'out_bytes', 0, 'entry', '', 'error', '', 'print', ARGV[6],
		'sealed', 0, 'partial', 0, 'lines', 0, 'n_wait', 0, 'n_ok', 0, 'n_fail', 0, 'n_cancel', 0, 'n_late', 0, 'n_bad', 0,
		'told', now, 'r_ms', now, 'r_n', 0, 'rate', 0)
	if ARGV[5] ~= '' then redis.call('HSET', batch, 'tenant', ARGV[5]) end
else
	if f[1] ~= 'import' or f[2] ~= ARGV[6] then return { 'REUSED' } end
	if f[7] then return { 'DROPPING' } end
	if f[6] == '1' or (f[4] == '1' and f[5] == '0') then return { 'COMPLETE', redis.call('HGETALL', batch) } end
	redis.call('HSET', batch, 'status', 'running', 'sealed', 0, 'partial', 0, 'finished', 0)
	redis.call('ZREM', KEYS[3], id)
end
redis.call('HSET', batch, 'token', ARGV[2], 'updated', now)
redis.call('ZADD', batches, now + tonumber(ARGV[3]), id)
redis.call('PUBLISH', ARGV[7], id .. ' ' .. redis.call('HINCRBY', batch, 'version', 1))
return { verdict, redis.call('HGETALL', batch) }
