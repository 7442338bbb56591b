-- batch_add: one line of an upload: a child in the queue, or a line that was rejected.
-- KEYS  batch items rejects [ready due stat job payload]     (the rest only for a child)
-- ARGV  id line token hash channel, then
--       for a rejected line: code error
--       for a child: document payload type collection tenant max_starts max_failures expires_in_ms max_jobs max_bytes
--       hash: 8 bytes of the line; tenant: '' = the operators'; error: bytes of the error's text, kept of the first thousand
-- Reply {'OK'} | {'KNOWN', state} (an upload before has added it) | {'DIFFERS'} (and it was another line) |
--       {'FULL', 'jobs'|'bytes'} | {'CLOSED'} (sealed, cancelled, forgotten, or taken over by another upload)
-- Repeated: KNOWN, and nothing is written. Out of memory: the first write is one that Redis refuses then.
local batch, items, id, line, hash = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[4]
local f = redis.call('HMGET', batch, 'type', 'sealed', 'token', 'lines', 'told', 'drop')
if f[1] ~= 'import' or f[2] ~= '0' or f[3] ~= ARGV[3] or f[6] then return { 'CLOSED' } end
local item = redis.call('HGET', items, line)
if item then
	if string.sub(item, 2, 9) ~= hash then return { 'DIFFERS' } end
	return { 'KNOWN', string.sub(item, 1, 1) }
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local state, rest, counter = 'x', ARGV[6], 'n_bad'
if #KEYS > 3 then
	local ready, due, stat, job, payload = KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
	state, rest, counter = 'p', ARGV[6], 'n_wait'
	-- A record of an earlier batch of this id, which is forgotten: the child is what its record says.
	local known = redis.call('HGET', job, 'status')
	if known == 'failed' then
		state, counter = 'f', 'n_fail'
	elseif known == 'cancelled' then
		state, counter = 'c', 'n_cancel'
	elseif known == 'expired' then
		state, counter = 'e', 'n_late'
	elseif not known then
		if redis.call('XLEN', ready) + redis.call('ZCARD', due) >= tonumber(ARGV[14]) then return { 'FULL', 'jobs' } end
		if tonumber(redis.call('HGET', stat, 'in_bytes') or 0) + #ARGV[7] > tonumber(ARGV[15]) then
			return { 'FULL', 'bytes' }
		end
		local expires = tonumber(ARGV[13])
		if expires > 0 then expires = now + expires end
		redis.call('HSET', job, 'status', 'queued', 'type', ARGV[8], 'collection', ARGV[9], 'version', 1,
			'epoch', 0, 'starts', 0, 'failures', 0, 'max_starts', ARGV[11], 'max_failures', ARGV[12], 'created', now,
			'updated', now, 'due', 0, 'expires', expires, 'in_bytes', #ARGV[7], 'out_bytes', 0)
		if ARGV[10] ~= '' then redis.call('HSET', job, 'tenant', ARGV[10]) end
		redis.call('SET', payload, ARGV[7])
		redis.call('HINCRBY', stat, 'in_bytes', #ARGV[7])
		redis.call('HINCRBY', stat, 'submitted', 1)
		redis.call('HSET', job, 'entry', redis.call('XADD', ready, '*', 'j', id))
	end
end
redis.call('HSET', items, line, state .. hash .. rest)
if state == 'x' and redis.call('HLEN', KEYS[3]) < 1000 then redis.call('HSET', KEYS[3], line, ARGV[7]) end
redis.call('HINCRBY', batch, counter, 1)
redis.call('HSET', batch, 'lines', math.max(tonumber(f[4]), tonumber(line)), 'updated', now)
local version = redis.call('HINCRBY', batch, 'version', 1)
if now - tonumber(f[5]) >= 250 then
	redis.call('HSET', batch, 'told', now)
	redis.call('PUBLISH', ARGV[5], string.match(id, '^[^.]*') .. ' ' .. version)
end
return { 'OK' }
