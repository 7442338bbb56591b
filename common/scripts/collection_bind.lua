-- collection_bind: gives a name to a collection whose creation was announced as '-<uid>' = 'new'.
-- KEYS 1 collections  ARGV 1 name  2 uid  3 uid the name is known to belong to without its record ('' = none)
-- Reply: OK | EXISTS (the name is another's; the announcement becomes a drop) | LOST (announcement withdrawn)
-- Repeating after OK gives OK. Redis full: an EXISTS frees, an OK is refused.
local names, name, uid = KEYS[1], ARGV[1], ARGV[2]
local owner = redis.call('HGET', names, name)

if owner == uid then
	return 'OK'
end
if redis.call('HGET', names, '-' .. uid) ~= 'new' then
	return 'LOST'
end
if owner and owner ~= ARGV[3] then
	return 'EXISTS'
end
redis.call('HSET', names, name, uid)
redis.call('HDEL', names, '-' .. uid)
return 'OK'
