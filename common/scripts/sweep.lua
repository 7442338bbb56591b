-- sweep: forgets finished and dead jobs that are past their retention by age, or by bytes: the oldest
--        go, also those without a result (a hundred of them would hide the rest from every keeper).
-- KEYS  done dead stat, then for each item: job payload result ev
-- ARGV  done_max_age_ms dead_max_age_ms done_max_bytes channel id...
-- Reply how many; the ids of batches among them (marked: batch_drop removes them, of which this counts nothing)
-- Every item is checked again here. Repeated: nothing is left to do. Out of memory: DEL and ZREM are allowed.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local swept, batches = 0, {}
for i = 0, #ARGV - 5 do
	local id = ARGV[5 + i]
	local job, payload, result, ev = KEYS[4 + 4 * i], KEYS[5 + 4 * i], KEYS[6 + 4 * i], KEYS[7 + 4 * i]
	local set, go = nil, false
	local score = redis.call('ZSCORE', KEYS[1], id)
	if score then
		set = KEYS[1]
		go = tonumber(score) <= now - tonumber(ARGV[1]) or
			tonumber(redis.call('HGET', KEYS[3], 'done_bytes') or 0) > tonumber(ARGV[3])
	else
		score = redis.call('ZSCORE', KEYS[2], id)
		set = KEYS[2]
		go = score and tonumber(score) <= now - tonumber(ARGV[2])
	end
	if go then
		local f = redis.call('HMGET', job, 'in_bytes', 'out_bytes', 'version', 'type')
		if f[4] == 'import' then
			redis.call('HDEL', job, '-')
			redis.call('HSETNX', job, 'drop', 0)
			batches[#batches + 1] = id
		else
			redis.call('ZREM', set, id)
			redis.call('DEL', job, payload, result, ev)
			redis.call('HINCRBY', KEYS[3], 'in_bytes', 0 - tonumber(f[1] or 0))
			redis.call('HINCRBY', KEYS[3], 'out_bytes', 0 - tonumber(f[2] or 0))
			if set == KEYS[1] then redis.call('HINCRBY', KEYS[3], 'done_bytes', 0 - tonumber(f[2] or 0)) end
			redis.call('PUBLISH', ARGV[4], id .. ' ' .. ((f[3] or 0) + 1))
			swept = swept + 1
		end
	end
end
return { swept, batches }
