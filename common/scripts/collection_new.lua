-- collection_new: writes the record of a collection nobody can find yet.
-- KEYS 1 meta  ARGV 1 name  2 uid  3 description
-- Reply 1 = written, 0 = it exists already. Redis full: refused, nothing is changed.
if redis.call('EXISTS', KEYS[1]) == 1 then
	return 0
end
local t = redis.call('TIME')
local now = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
redis.call('HSET', KEYS[1], 'state', 'live', 'name', ARGV[1], 'uid', ARGV[2], 'description', ARGV[3],
	'fingerprint', '', 'epoch', 1, 'seq', 0, 'documents', 0, 'chunks', 0, 'bytes', 0,
	'created', now, 'updated', now)
return 1
