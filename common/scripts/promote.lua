-- promote: jobs whose time has come go from `due` to `ready`.
-- KEYS  ready due job...
-- ARGV  channel id... (as many as jobs, in their order)
-- Reply how many
-- Repeated: what is not in `due` any more is left alone. Out of memory: ZREM comes first and is allowed.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local moved = 0
for i = 2, #ARGV do
	local id, job = ARGV[i], KEYS[i + 1]
	local score = redis.call('ZSCORE', KEYS[2], id)
	if score and tonumber(score) <= now then
		redis.call('ZREM', KEYS[2], id)
		local status = redis.call('HGET', job, 'status')
		if status == 'scheduled' or status == 'retrying' then
			redis.call('HSET', job, 'status', 'queued', 'due', 0, 'updated', now,
				'entry', redis.call('XADD', KEYS[1], '*', 'j', id))
			local version = redis.call('HINCRBY', job, 'version', 1)
			redis.call('PUBLISH', ARGV[1], id .. ' ' .. version)
			moved = moved + 1
		end
	end
end
return moved
