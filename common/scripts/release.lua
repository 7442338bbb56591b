-- release: a job that will never run again gives its reservation back; a document's record goes with the last
-- one unless readers see the document (catalog.c, invariant 5).
-- KEYS 1 seqs  2 doc:<document id>
-- ARGV 1 job id  2 the reservation as read before
-- Reply 1 = released, 0 = it was gone. Redis full: works, its first write only frees.
local seqs, doc = KEYS[1], KEYS[2]

if redis.call('HGET', seqs, ARGV[1]) ~= ARGV[2] then
	return 0
end
redis.call('HDEL', seqs, ARGV[1])
local d = redis.call('HMGET', doc, 'g', 'r')
if not d[2] then
	return 1 -- the record was purged with its collection
end
if tonumber(d[2]) > 1 then
	redis.call('HINCRBY', doc, 'r', -1)
	if d[1] and string.match(d[1], '^%d+') == string.match(ARGV[2], '^%d+') then
		redis.call('HDEL', doc, 'o')
	end
elseif d[1] then
	redis.call('HDEL', doc, 'r', 'p', 'j', 'o')
else
	redis.call('DEL', doc)
end
return 1
