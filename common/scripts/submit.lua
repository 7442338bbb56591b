-- submit: a new job, whole or not at all.
-- KEYS  ready due job payload stat ev [idem]
-- ARGV  id type collection payload delay_ms run_at_ms expires_in_ms max_starts max_failures max_jobs max_bytes
--       fingerprint idem_ttl_ms channel tenant ('' = the operators' own: not written) stream_ttl_ms
--       stream_ttl_ms: 0, or how long the events of a job that streams are kept after its end
-- Reply {'OK'|'REPLAY'|'REUSED'|'FULL', id, what}
-- Repeated: the same id, or the same key with the same fingerprint, answers the job that is there and writes nothing.
-- Out of memory: the first write (HSET) is one that Redis refuses then, so nothing is written.
local id, fingerprint = ARGV[1], ARGV[12]
if KEYS[7] then
	local held = redis.call('GET', KEYS[7])
	if held then
		local blank = string.find(held, ' ', 1, true)
		local holder = string.sub(held, 1, blank - 1)
		if string.sub(held, blank + 1) ~= fingerprint then return { 'REUSED', holder, '' } end
		return { holder == id and 'OK' or 'REPLAY', holder, '' }
	end
end
if redis.call('EXISTS', KEYS[3]) == 1 then return { 'OK', id, '' } end
if redis.call('XLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[10]) then
	return { 'FULL', '', 'jobs' }
end
local held_bytes = tonumber(redis.call('HGET', KEYS[5], 'in_bytes') or 0)
if held_bytes + #ARGV[4] > tonumber(ARGV[11]) then return { 'FULL', '', 'bytes' } end

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local due = now + tonumber(ARGV[5])
if tonumber(ARGV[6]) > due then due = tonumber(ARGV[6]) end
local expires = tonumber(ARGV[7])
if expires > 0 then expires = now + expires end
local waits = due > now
redis.call('HSET', KEYS[3], 'status', waits and 'scheduled' or 'queued', 'type', ARGV[2], 'collection', ARGV[3],
	'version', 1, 'epoch', 0, 'starts', 0, 'failures', 0, 'max_starts', ARGV[8], 'max_failures', ARGV[9],
	'created', now, 'updated', now, 'due', waits and due or 0, 'expires', expires, 'in_bytes', #ARGV[4], 'out_bytes', 0)
if ARGV[15] ~= '' then redis.call('HSET', KEYS[3], 'tenant', ARGV[15]) end
redis.call('SET', KEYS[4], ARGV[4])
redis.call('HINCRBY', KEYS[5], 'in_bytes', #ARGV[4])
redis.call('HINCRBY', KEYS[5], 'submitted', 1)
if waits then
	redis.call('ZADD', KEYS[2], due, id)
else
	redis.call('HSET', KEYS[3], 'entry', redis.call('XADD', KEYS[1], '*', 'j', id))
end
if KEYS[7] then redis.call('SET', KEYS[7], id .. ' ' .. fingerprint, 'PX', ARGV[13]) end
if tonumber(ARGV[16]) > 0 then
	redis.call('HSET', KEYS[3], 'stream', ARGV[16], 'evn', 0)
	redis.call('XADD', KEYS[6], '*', 'k', 'status', 's', waits and 'scheduled' or 'queued', 'v', 1)
end
redis.call('PUBLISH', ARGV[14], id .. ' 1')
return { 'OK', id, '' }
