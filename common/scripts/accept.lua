-- accept: reserves the seq of an ingest job (catalog.c, invariant 4).
-- KEYS 1 meta  2 seqs  3 doc:<document id>
-- ARGV 1 document id  2 job id
-- Reply {status, seq}: OK | GONE (the collection is deleted) | CLASH (the job id holds another reservation)
-- Repeating gives the same seq. Redis full: refused by the first write, nothing is changed.
local meta, seqs, doc = KEYS[1], KEYS[2], KEYS[3]
local id, job = ARGV[1], ARGV[2]

if redis.call('HGET', meta, 'state') ~= 'live' then
	return { 'GONE', 0 }
end
local held = redis.call('HGET', seqs, job)
if held then
	local seq, kind, held_id = string.match(held, '^(%d+) (%a) (.*)$')
	if kind ~= 'i' or held_id ~= id then
		return { 'CLASH', 0 }
	end
	return { 'OK', tonumber(seq) }
end
local seq = redis.call('HINCRBY', meta, 'seq', 1)
redis.call('HSET', seqs, job, string.format('%.0f i %s', seq, id))
redis.call('HINCRBY', doc, 'r', 1)
redis.call('HSET', doc, 'p', seq, 'j', job)
return { 'OK', seq }
