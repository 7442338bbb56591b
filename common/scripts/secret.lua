-- secret: the secret that all API processes share; the first to ask makes it.
-- KEYS 1 the secret  ARGV 1 one to take when there is none yet
-- Reply the secret. Repeated: the same. Redis full: works, for it begins with a write that is allowed then; once, and small.
local held = redis.call('GET', KEYS[1])
if held then return held end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
