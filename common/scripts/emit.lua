-- emit: one event of a running job that streams: a piece of its text, or what belongs to it.
-- KEYS  job ev
-- ARGV  entry epoch id channel n kind data reason snapshot
--       n: 1, 2, ... within one start; kind: token, reset (data is the whole text so far), sources, warning;
--       snapshot: '' or the whole text so far, this piece included: entries before the last snapshot but one go
-- Reply 'OK' | 'STALE' | 'STOP' (the job is asked to stop) | 'NONE' (it does not stream)
--       | 'GAP' (what was emitted before is not all there: emit a reset)
-- Repeated with the same n: OK, nothing is written again. Out of memory: the first write (XADD) is refused, nothing is written.
local job, ev = KEYS[1], KEYS[2]
local n, kind, data, snapshot = tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[9]
local f = redis.call('HMGET', job, 'status', 'epoch', 'entry', 'stream', 'evn', 'evs', 'version')
if (f[1] ~= 'running' and f[1] ~= 'cancelling') or f[2] ~= ARGV[2] or f[3] ~= ARGV[1] then return 'STALE' end
if not f[4] then return 'NONE' end
if f[1] == 'cancelling' then return 'STOP' end
local written = tonumber(f[5] or 0)
if n <= written then return 'OK' end
if kind ~= 'reset' and (n ~= written + 1 or redis.call('EXISTS', ev) == 0) then return 'GAP' end

local at = redis.call('XADD', ev, '*', 'k', kind, 'd', data, 'r', ARGV[8])
if kind == 'reset' then
	redis.call('XTRIM', ev, 'MINID', at)
	redis.call('HSET', job, 'evn', n, 'evs', '')
elseif #snapshot > 0 then
	-- `p`: who has read so far has missed nothing, and passes over the snapshot.
	local snap = redis.call('XADD', ev, '*', 'k', 'snap', 'd', snapshot, 'p', at)
	if f[6] and f[6] ~= '' then redis.call('XTRIM', ev, 'MINID', f[6]) end
	redis.call('HSET', job, 'evn', n, 'evs', snap)
else
	redis.call('HSET', job, 'evn', n)
end
redis.call('PUBLISH', ARGV[4], ARGV[3] .. ' ' .. f[7] .. ' e')
return 'OK'
