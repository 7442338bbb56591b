-- collection_purge: drops up to 100 documents of a deleted collection, and its last keys when none is left.
-- KEYS 1 meta  2 cur  3 docs  4 seqs  5... doc:<id> of the documents below
-- ARGV 1 count of documents  2... their ids, then job ids whose reservations go
-- Reply 1 = there is more, 0 = nothing is left, -1 = the collection is not deleted.
-- Redis full: works, it only frees.
local meta, cur, docs, seqs = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local state = redis.call('HGET', meta, 'state')

if state and state ~= 'deleted' then
	return -1
end
local count = tonumber(ARGV[1])
for i = 1, count do
	redis.call('DEL', KEYS[4 + i])
	redis.call('ZREM', docs, ARGV[1 + i])
end
for i = count + 2, #ARGV do
	redis.call('HDEL', seqs, ARGV[i])
end
if redis.call('EXISTS', docs, seqs) > 0 then
	return 1
end
redis.call('UNLINK', meta, cur)
return 0
