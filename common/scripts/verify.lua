-- verify: where some jobs stand, each seen at one instant. Reads only.
-- KEYS  ready due dead done batches, then for each job: job payload result ev, items of its batch (no child: its job again)
-- ARGV  group, then for each job: id, entry (the stream entry through which it was found; '' = found otherwise)
-- Reply for each job: {record, encoding or '', found, pending, due, dead, done, payload_bytes, result_bytes, own, events_ttl,
--       item, batches} where
--       record   the hash, flat; empty when there is none
--       found    1 when the entry of ARGV is still in `ready`, else 0
--       own      job id in the entry that the record names; '' when there is no such entry
--       pending  consumer that holds that entry; '' = nobody
--       due, dead, done  scores; '' = not in it
--       payload_bytes, result_bytes  -1 = there is none
--       events_ttl  ms that the stream of events is kept; -1 = without limit, -2 = there is none
--       item     state of its line in its batch; '' = no child, or no line
--       batches  score; '' = not in it
local ready, group = KEYS[1], ARGV[1]
local out = {}

local function entry_job(entry)
	if entry == '' then return '' end
	local found = redis.call('XRANGE', ready, entry, entry)
	if #found == 0 then return '' end
	return found[1][2][2] or ''
end

local function holder(entry)
	if entry == '' then return '' end
	local pending = redis.pcall('XPENDING', ready, group, entry, entry, 1)
	if pending.err or #pending == 0 then return '' end
	return pending[1][2]
end

local function bytes(key)
	if redis.call('EXISTS', key) == 0 then return -1 end
	return redis.call('STRLEN', key)
end

for i = 0, (#ARGV - 1) / 2 - 1 do
	local id, entry = ARGV[2 + 2 * i], ARGV[3 + 2 * i]
	local job, payload, result, ev = KEYS[6 + 5 * i], KEYS[7 + 5 * i], KEYS[8 + 5 * i], KEYS[9 + 5 * i]
	local record = redis.call('HGETALL', job)
	local named, encoding = '', ''
	if #record > 0 then
		named = redis.call('HGET', job, 'entry') or ''
		encoding = redis.call('OBJECT', 'ENCODING', job)
	end
	local item = ''
	if string.find(id, '.', 1, true) then
		item = string.sub(redis.call('HGET', KEYS[10 + 5 * i], string.match(id, '%.(.*)$')) or '', 1, 1)
	end
	local found = 0
	if entry ~= '' and #redis.call('XRANGE', ready, entry, entry) > 0 then found = 1 end
	out[i + 1] = { record, encoding, found, holder(named), redis.call('ZSCORE', KEYS[2], id) or '',
		redis.call('ZSCORE', KEYS[3], id) or '', redis.call('ZSCORE', KEYS[4], id) or '', bytes(payload), bytes(result),
		entry_job(named), redis.call('PTTL', ev), item,
		redis.call('ZSCORE', KEYS[5], id) or '' }
end
return out
