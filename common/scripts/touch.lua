-- touch: the same content was sent again; the document takes the newer seq and keeps its chunks (catalog.c).
-- KEYS 1 meta  2 seqs  3 doc:<document id>
-- ARGV 1 document id  2 job id  3 seq  4 version hash  5 fingerprint of the embedder ('' = not compared)
-- Reply: UNCHANGED (nothing is to be done) | CHANGED (do the work) | GONE | 'MISMATCH ' and the collection's fingerprint (the work
--      would be for nothing: commit would refuse it)
-- Nothing that readers see changes: neither the collection's epoch nor the generation.
-- Repeating gives the same answer. Redis full: refused by the first write.
local meta, seqs, doc = KEYS[1], KEYS[2], KEYS[3]
local id, job, seq = ARGV[1], ARGV[2], tonumber(ARGV[3])

local m = redis.call('HMGET', meta, 'state', 'fingerprint')
if m[1] ~= 'live' then
	return 'GONE'
end
local changed = 'CHANGED'
if ARGV[5] ~= '' and m[2] and m[2] ~= '' and m[2] ~= ARGV[5] then
	changed = 'MISMATCH ' .. m[2]
end
local d = redis.call('HMGET', doc, 'g', 'q', 'v', 'p')
if not d[1] or d[3] ~= ARGV[4] then
	return changed
end
-- A seq belongs to one job: this is its own version, also when its reservation is back already.
if seq == tonumber(d[2]) then
	return 'UNCHANGED'
end
if seq < tonumber(d[2]) or redis.call('HGET', seqs, job) ~= ARGV[3] .. ' i ' .. id then
	return changed
end
redis.call('HSET', doc, 'q', ARGV[3])
if tonumber(d[4]) and tonumber(d[4]) <= seq then
	redis.call('HDEL', doc, 'p', 'j')
end
return 'UNCHANGED'
