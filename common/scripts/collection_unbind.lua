-- collection_unbind: frees the name of a collection and leaves the note '-<uid>' = 'drop', by which its keys and
-- chunks are found until they are gone.
-- KEYS 1 collections  ARGV 1 name ('' = an announced creation that never got one)  2 uid
-- Reply 1 = noted, 0 = the uid has neither name nor note. Repeating: the same.
-- Redis full: works, its first write only frees.
local names, name, uid = KEYS[1], ARGV[1], ARGV[2]
local note = redis.call('HGET', names, '-' .. uid)

if name ~= '' and redis.call('HGET', names, name) == uid then
	redis.call('HDEL', names, name)
elseif not note then
	return 0
else
	redis.call('HDEL', names, '-' .. uid)
end
redis.call('HSET', names, '-' .. uid, 'drop')
return 1
