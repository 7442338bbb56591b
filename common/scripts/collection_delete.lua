-- collection_delete: from here on readers see nothing of the collection and its commits are GONE.
-- KEYS 1 meta  2 cur  ARGV none
-- Reply 1 = done now, 0 = was done before, or there is no record.
-- Redis full: works, its first write only frees.
local state = redis.call('HGET', KEYS[1], 'state')
if not state or state == 'deleted' then
	return 0
end
redis.call('UNLINK', KEYS[2])
redis.call('HSET', KEYS[1], 'state', 'deleted')
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
return 1
