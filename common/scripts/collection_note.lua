-- collection_note: announces a creation ('new'), or ends the note of a purged collection ('').
-- KEYS 1 collections  ARGV 1 uid  2 'new' or ''
-- Reply 1. Repeatable; an announcement never changes a note that is there. Redis full: only '' works.
if ARGV[2] == '' then
	redis.call('HDEL', KEYS[1], '-' .. ARGV[1])
else
	redis.call('HSETNX', KEYS[1], '-' .. ARGV[1], ARGV[2])
end
return 1
