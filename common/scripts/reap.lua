-- reap: jobs whose lease is over start again later, or are dead when they lost their worker too often.
-- KEYS  ready due dead done stat, then for each item: job payload result ev; then, with children of batches: batches, and for each of them: batch items
-- ARGV  group lease_ms base_ms max_ms random poison_code channel, then for each item: entry id poison
--       poison: bytes of the error's text for the case that the budget of starts is spent
-- Reply how many running jobs lost their lease
-- Every item is checked again here: still pending and idle for a whole lease. Repeated: nothing is left to do.
-- Out of memory: XACK comes first and is allowed.
--#include tally
local ready, due, dead, done, stat = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local group, channel = ARGV[1], ARGV[7]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local reaped = 0
local more = 6 + 4 * (#ARGV - 7) / 3
local batches = KEYS[more]
local random = tonumber(ARGV[5])

local function backoff(n)
	-- Another number for each item of one call (a step of the minimal standard generator).
	random = (random * 16807) % 2147483647
	local limit = math.min(tonumber(ARGV[4]), tonumber(ARGV[3]) * 2 ^ math.min(n, 30))
	return math.max(math.floor(limit * random / 2147483648), 1)
end

local function finish(job, id, status, set)
	redis.call('HSET', job, 'status', status, 'entry', '', 'finished', now, 'updated', now)
	redis.call('ZADD', set, now, id)
	redis.call('HINCRBY', stat, 'finished', 1)
end

for i = 0, (#ARGV - 7) / 3 - 1 do
	local entry, id, poison = ARGV[8 + 3 * i], ARGV[9 + 3 * i], ARGV[10 + 3 * i]
	local job, payload, result, ev = KEYS[6 + 4 * i], KEYS[7 + 4 * i], KEYS[8 + 4 * i], KEYS[9 + 4 * i]
	local pending = redis.call('XPENDING', ready, group, 'IDLE', ARGV[2], entry, entry, 1)
	local child = string.find(id, '.', 1, true) and more + 1
	if child then more = more + 2 end
	if #pending == 1 then
		local f = redis.call('HMGET', job, 'status', 'entry', 'starts', 'max_starts', 'in_bytes', 'out_bytes', 'stream')
		local status = f[1]
		redis.call('XACK', ready, group, entry)
		redis.call('XDEL', ready, entry)
		local ours = status and f[2] == entry
		if ours and status == 'queued' then
			-- Delivered, never started: its reader died in between. Nothing is charged.
			redis.call('HSET', job, 'entry', redis.call('XADD', ready, '*', 'j', id))
		elseif ours and (status == 'running' or status == 'cancelling') then
			local starts, to = tonumber(f[3]), 'retrying'
			reaped = reaped + 1
			if status == 'cancelling' then
				to = 'cancelled'
				redis.call('DEL', payload, result)
				redis.call('HINCRBY', stat, 'in_bytes', 0 - tonumber(f[5]))
				redis.call('HINCRBY', stat, 'out_bytes', 0 - tonumber(f[6]))
				redis.call('HSET', job, 'in_bytes', 0, 'out_bytes', 0, 'error', '')
				finish(job, id, 'cancelled', done)
				if child then tally(KEYS[child], KEYS[child + 1], batches, done, stat, id, 'c', '', now, channel) end
			elseif starts >= tonumber(f[4]) then
				to = 'failed'
				redis.call('SET', result, poison)
				redis.call('HINCRBY', stat, 'out_bytes', #poison - tonumber(f[6]))
				redis.call('HSET', job, 'out_bytes', #poison, 'error', ARGV[6])
				redis.call('HINCRBY', stat, 'failed', 1)
				finish(job, id, 'failed', dead)
				if child then tally(KEYS[child], KEYS[child + 1], batches, done, stat, id, 'f', ARGV[6], now, channel) end
			else
				local due_at = now + backoff(starts - 1)
				redis.call('HSET', job, 'status', 'retrying', 'entry', '', 'due', due_at, 'updated', now)
				redis.call('ZADD', due, due_at, id)
			end
			local version = redis.call('HINCRBY', job, 'version', 1)
			if f[7] then
				local final = to ~= 'retrying'
				local at = redis.call('XADD', ev, '*', 'k', final and 'done' or 'status', 's', to, 'v', version)
				if final then
					redis.call('HSET', job, 'evd', at)
					redis.call('PEXPIRE', ev, f[7])
				end
			end
			redis.call('PUBLISH', channel, id .. ' ' .. version)
		end
	end
end
return reaped
