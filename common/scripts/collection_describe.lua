-- collection_describe: changes the description.
-- KEYS 1 meta  ARGV 1 description
-- Reply 1 = done, 0 = there is no such collection. Redis full: refused.
if redis.call('HGET', KEYS[1], 'state') ~= 'live' then
	return 0
end
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], 'description', ARGV[1], 'updated',
	string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000)))
return 1
