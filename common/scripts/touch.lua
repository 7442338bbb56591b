-- touch: the same content was sent again; the document takes the newer seq and keeps its chunks (catalog.c).
-- KEYS 1 meta  2 seqs  3 doc:<document id>
-- ARGV 1 document id  2 job id  3 seq  4 version hash
-- Reply: UNCHANGED (nothing is to be done) | CHANGED (do the work) | GONE
-- Nothing that readers see changes: neither the collection's epoch nor the generation.
-- Repeating gives the same answer. Redis full: refused by the first write.
local meta, seqs, doc = KEYS[1], KEYS[2], KEYS[3]
local id, job, seq = ARGV[1], ARGV[2], tonumber(ARGV[3])

if redis.call('HGET', meta, 'state') ~= 'live' then
	return 'GONE'
end
local d = redis.call('HMGET', doc, 'g', 'q', 'v', 'p')
if not d[1] or d[3] ~= ARGV[4] then
	return 'CHANGED'
end
-- A seq belongs to one job: this is its own version, also when its reservation is back already.
if seq == tonumber(d[2]) then
	return 'UNCHANGED'
end
if seq < tonumber(d[2]) or redis.call('HGET', seqs, job) ~= ARGV[3] .. ' i ' .. id then
	return 'CHANGED'
end
redis.call('HSET', doc, 'q', ARGV[3])
if tonumber(d[4]) and tonumber(d[4]) <= seq then
	redis.call('HDEL', doc, 'p', 'j')
end
return 'UNCHANGED'
