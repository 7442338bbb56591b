-- delete_doc: accepts the delete of a document and tombstones it in the same step (catalog.c, invariant 2).
-- KEYS 1 meta  2 cur  3 docs  4 seqs  5 doc:<document id>
-- ARGV 1 document id  2 job id
-- Reply {status, seq, existed 0|1}: OK | GONE | CLASH (the job id holds another reservation)
-- Repeating gives the same answer and deletes nothing a second time: what came after it stays.
-- Redis full: works, its first write only frees.
local meta, cur, docs, seqs, doc = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, job = ARGV[1], ARGV[2]

if redis.call('HGET', meta, 'state') ~= 'live' then
	return { 'GONE', 0, 0 }
end
local held = redis.call('HGET', seqs, job)
if held then
	local seq, kind, held_id = string.match(held, '^(%d+) (%a) (.*)$')
	if kind == 'i' or held_id ~= id then
		return { 'CLASH', 0, 0 }
	end
	return { 'OK', tonumber(seq), kind == 'D' and 1 or 0 }
end
local d = redis.call('HMGET', doc, 'g', 'n', 'b', 'r')
local existed = redis.call('HDEL', cur, id)
redis.call('ZREM', docs, id)
redis.call('DEL', doc)
local seq = redis.call('HINCRBY', meta, 'seq', 1)
redis.call('HSET', seqs, job, string.format('%.0f %s %s', seq, existed == 1 and 'D' or 'd', id))
redis.call('HSET', doc, 'x', seq, 'r', (tonumber(d[4]) or 0) + 1)
if existed == 1 then
	local t = redis.call('TIME')
	redis.call('HINCRBY', meta, 'epoch', 1)
	redis.call('HINCRBY', meta, 'documents', -1)
	redis.call('HINCRBY', meta, 'chunks', 0 - (tonumber(d[2]) or 0))
	redis.call('HINCRBY', meta, 'bytes', 0 - (tonumber(d[3]) or 0))
	redis.call('HSET', meta, 'updated', string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000)))
end
return { 'OK', seq, existed }
