-- commit: makes one generation the current one of its document (catalog.c, invariants 1, 2 and 6).
-- KEYS 1 meta  2 cur  3 docs  4 seqs  5 doc:<document id>
-- ARGV 1 document id  2 job id  3 seq  4 job epoch  5 fingerprint  6 chunks  7 bytes
--      8... the record: field, value, field, value (hashes, content type, title and uri in pieces)
-- Reply {status, text}: COMMITTED, the generation replaced ('' = none) | SUPERSEDED | GONE |
--      MISMATCH, the collection's fingerprint
-- Repeating gives the same answer as long as the job holds its reservation.
-- Redis full: refused by the first write, nothing is changed.
local meta, cur, docs, seqs, doc = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, job, seq, epoch = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local gen, print, chunks, bytes = ARGV[3] .. '.' .. ARGV[4], ARGV[5], ARGV[6], ARGV[7]

local m = redis.call('HMGET', meta, 'state', 'fingerprint')
if m[1] ~= 'live' then
	return { 'GONE', '' }
end
local d = redis.call('HMGET', doc, 'g', 'q', 'x', 'n', 'b', 'c', 'p', 'j', 'r', 'o')
local old = d[1]
if old == gen then
	return { 'COMMITTED', d[10] or '' }
end
-- No reservation: the job is final, and this is a worker that lost it long ago.
if redis.call('HGET', seqs, job) ~= ARGV[3] .. ' i ' .. id then
	return { 'SUPERSEDED', '' }
end
if seq <= (tonumber(d[3]) or 0) or seq < (tonumber(d[2]) or 0) then
	return { 'SUPERSEDED', '' }
end
if old then
	local old_seq, old_epoch = string.match(old, '^(%d+)%.(%d+)$')
	if tonumber(old_seq) == seq and tonumber(old_epoch) > epoch then
		return { 'SUPERSEDED', '' }
	end
end
local known = m[2] or ''
if known ~= '' and known ~= print then
	return { 'MISMATCH', known }
end

local t = redis.call('TIME')
local now = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
local at = redis.call('HINCRBY', meta, 'epoch', 1)
redis.call('HINCRBY', meta, 'documents', old and 0 or 1)
redis.call('HINCRBY', meta, 'chunks', tonumber(chunks) - (old and tonumber(d[4]) or 0))
redis.call('HINCRBY', meta, 'bytes', tonumber(bytes) - (old and tonumber(d[5]) or 0))
redis.call('HSET', meta, 'updated', now, 'fingerprint', print)
-- The record is written anew: no piece of a longer title stays, and a tombstone that lost goes.
redis.call('DEL', doc)
redis.call('HSET', doc, 'g', gen, 'q', ARGV[3], 'n', chunks, 'b', bytes, 'c', old and d[6] or now, 'm', now,
	'r', d[9] or 1, unpack(ARGV, 8))
if old then
	redis.call('HSET', doc, 'o', old)
end
if d[7] and tonumber(d[7]) > seq then
	redis.call('HSET', doc, 'p', d[7], 'j', d[8] or '')
end
redis.call('HSET', cur, id, string.format('%s:%.0f', gen, at))
redis.call('ZADD', docs, 0, id)
return { 'COMMITTED', old or '' }
