-- renew: keeps the lease of a running job; says whether the job should stop.
-- KEYS  ready job
-- ARGV  group consumer entry epoch
-- Reply {'OK', cancel} | {'STALE'}
-- Repeated: renews again. Out of memory: XCLAIM is allowed then.
local f = redis.call('HMGET', KEYS[2], 'status', 'epoch', 'entry', 'cancel')
if (f[1] ~= 'running' and f[1] ~= 'cancelling') or f[2] ~= ARGV[4] or f[3] ~= ARGV[3] then return { 'STALE' } end
-- FORCE: a group that was lost and made again knows of nothing pending; the record does. Empty: the entry is gone.
if #redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'FORCE', 'JUSTID') == 0 then return { 'STALE' } end
return { 'OK', tonumber(f[4] or 0) }
