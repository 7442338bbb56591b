-- promote: jobs whose time has come go from `due` to `ready`; those that never ran and are past their expiry, to `done`.
-- KEYS  ready due done stat, then for each item: job payload ev; then, with children of batches: batches, and for each of them: result batch items
-- ARGV  channel id... (as many as items, in their order)
-- Reply how many became ready
-- Repeated: what is not in `due` any more is left alone. Out of memory: ZREM comes first and is allowed.
--#include tally
local ready, due, done, stat = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local moved = 0
local more = 5 + 3 * (#ARGV - 1)
local batches = KEYS[more]

local function expire(job, payload, id, bytes)
	redis.call('DEL', payload)
	redis.call('HINCRBY', stat, 'in_bytes', 0 - tonumber(bytes))
	redis.call('HINCRBY', stat, 'finished', 1)
	redis.call('HSET', job, 'status', 'expired', 'in_bytes', 0, 'due', 0, 'updated', now, 'finished', now)
	redis.call('ZADD', done, now, id)
end

for i = 0, #ARGV - 2 do
	local id, job, payload, ev = ARGV[2 + i], KEYS[5 + 3 * i], KEYS[6 + 3 * i], KEYS[7 + 3 * i]
	local score = redis.call('ZSCORE', due, id)
	local child = string.find(id, '.', 1, true) and more + 1
	if child then more = more + 3 end
	if score and tonumber(score) <= now then
		redis.call('ZREM', due, id)
		local f = redis.call('HMGET', job, 'status', 'epoch', 'expires', 'in_bytes', 'stream')
		local late = f[1] and f[2] == '0' and tonumber(f[3]) > 0 and now >= tonumber(f[3])
		if f[1] and child and (late or redis.call('HGET', KEYS[child + 1], 'cancel') == '1') then
			local told = fold(job, payload, KEYS[child], stat)
			tally(KEYS[child + 1], KEYS[child + 2], batches, done, stat, id, late and 'e' or 'c', '', now, ARGV[1])
			redis.call('PUBLISH', ARGV[1], id .. ' ' .. told)
		elseif f[1] == 'scheduled' or f[1] == 'retrying' then
			if late then
				expire(job, payload, id, f[4])
			else
				redis.call('HSET', job, 'status', 'queued', 'due', 0, 'updated', now,
					'entry', redis.call('XADD', ready, '*', 'j', id))
				moved = moved + 1
			end
			local version = redis.call('HINCRBY', job, 'version', 1)
			if f[5] then
				local at = redis.call('XADD', ev, '*', 'k', late and 'done' or 'status', 's', late and 'expired' or 'queued',
					'v', version)
				if late then
					redis.call('HSET', job, 'evd', at)
					redis.call('PEXPIRE', ev, f[5])
				end
			end
			redis.call('PUBLISH', ARGV[1], id .. ' ' .. version)
		end
	end
end
return moved
