-- events: the record of a job and its next events, seen at one instant. Reads only.
-- KEYS  job ev
-- ARGV  after (a stream id; 0-0 = from the beginning) count
-- Reply {record, how, entries} where
--       record   the hash, flat; empty when there is none
--       how      'GO', or 'UNKNOWN': this stream has never given an id as late as `after`, so all of it is answered
--       entries  [[id, [field, value, ...]], ...], at most count
local after = ARGV[1]
local record = redis.call('HGETALL', KEYS[1])
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
if #last == 0 then return { record, 'GO', {} } end

local function earlier(a, b)
	local a_ms, a_seq = string.match(a, '^(%d+)%-(%d+)$')
	local b_ms, b_seq = string.match(b, '^(%d+)%-(%d+)$')
	if a_ms ~= b_ms then return tonumber(a_ms) < tonumber(b_ms) end
	return tonumber(a_seq) < tonumber(b_seq)
end
local how = 'GO'
if earlier(last[1][1], after) then how, after = 'UNKNOWN', '0-0' end
return { record, how, redis.call('XRANGE', KEYS[2], '(' .. after, '+', 'COUNT', ARGV[2]) }
