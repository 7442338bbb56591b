-- pause: stops or resumes a queue.
-- KEYS  paused
-- ARGV  1 or 0
-- Reply 'OK'. Repeated: the same. Out of memory: DEL comes first and is allowed.
redis.call('DEL', KEYS[1])
if ARGV[1] == '1' then redis.call('SET', KEYS[1], 1) end
return 'OK'
