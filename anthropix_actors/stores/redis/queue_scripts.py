"""What Redis does with queues.

A queue has a hash of its jobs, with a field for each of data, attempt, holder and time; two sorted sets with the order
of those that wait and of those that somebody has, one with the times of those that wait, and a hash with how many jobs
each holder has.
"""

from __future__ import annotations

from anthropix_actors.stores.redis.scripts import script

PUT = script(
    """
local _, jobs, waiting, since, bell = unpack(KEYS)
local id, data = unpack(ARGV)
if redis.call('HSETNX', jobs, 'data:' .. id, data) == 0 then return once(0) end
local now = clock()
redis.call('HSET', jobs, 'attempt:' .. id, 0, 'time:' .. id, now)
redis.call('ZADD', waiting, redis.call('HINCRBY', jobs, 'number', 1), id)
redis.call('ZADD', since, now, id)
ring(bell)
return once(1)
""",
    once=True,
)

# Returns when the life of the first holder ends, what the bells have rung last, and the jobs. Its answer is kept for an
# hour, as far as the jobs are still this holder's: nobody else gets what a holder has and does not know of.
TAKE = script(
    """
local reply, jobs, waiting, taken, since, held, holders, bell, ends = unpack(KEYS)
local holder, count = ARGV[1], tonumber(ARGV[2])
-- Where another program has written one of these, this fails before anything was changed.
local _ = {redis.call('HLEN', jobs), redis.call('HLEN', held), last_of(bell), last_of(ends)}
for _, key in ipairs({waiting, taken, since, holders}) do redis.call('ZCARD', key) end
local ids = redis.call('GET', reply)
if ids then
  local before = cmsgpack.unpack(ids)
  ids = {}
  for _, id in ipairs(before) do
    if redis.call('HGET', jobs, 'holder:' .. id) == holder then ids[#ids + 1] = id end
  end
end
local next_end = -1
if not ids then
  ids = {}
  carry_over(holders)
  local dead, now = {}, clock()
  for _, other in ipairs(redis.call('HKEYS', held)) do
    local left = tonumber(redis.call('ZSCORE', holders, other) or 0) - now
    if left <= 0 then
      dead[other], dead[1] = true, true
    elseif next_end < 0 or left < next_end then
      next_end = left
    end
  end
  if dead[1] then
    for _, id in ipairs(redis.call('ZRANGE', taken, 0, -1)) do
      local before = redis.call('HGET', jobs, 'holder:' .. id)
      if #ids < count and dead[before] then
        ids[#ids + 1] = id
        if redis.call('HINCRBY', held, before, -1) < 1 then redis.call('HDEL', held, before) end
      end
    end
  end
  if #ids < count then
    local found = redis.call('ZRANGE', waiting, 0, count - #ids - 1, 'WITHSCORES')
    for place = 1, #found, 2 do
      local id = found[place]
      ids[#ids + 1] = id
      redis.call('ZREM', waiting, id)
      redis.call('ZREM', since, id)
      redis.call('ZADD', taken, found[place + 1], id)
    end
  end
  for _, id in ipairs(ids) do
    local before = tonumber(redis.call('HGET', jobs, 'attempt:' .. id) or 0) or 0
    redis.call('HSET', jobs, 'holder:' .. id, holder, 'attempt:' .. id, before + 1)
  end
  if #ids > 0 then redis.call('HINCRBY', held, holder, #ids) end
  if #ids > 0 or ARGV[3] == '1' then
    redis.call('SET', reply, cmsgpack.pack(ids), 'PX', 3600000)
  end
end
local answer = {next_end, last_of(bell), last_of(ends)}
for _, id in ipairs(ids) do
  local job = redis.call('HMGET', jobs, 'data:' .. id, 'attempt:' .. id)
  for _, part in ipairs({id, job[1], job[2]}) do answer[#answer + 1] = part end
end
return answer
"""
)

_OF_HOLDER = """
local function let_go(holder, id)
  redis.call('HDEL', jobs, 'holder:' .. id)
  if redis.call('HINCRBY', held, holder, -1) < 1 then redis.call('HDEL', held, holder) end
  redis.call('ZREM', taken, id)
end
local function forget(id)
  redis.call('ZREM', waiting, id)
  redis.call('ZREM', since, id)
  redis.call('HDEL', jobs, 'data:' .. id, 'attempt:' .. id, 'time:' .. id)
  if redis.call('HLEN', jobs) < 2 then redis.call('DEL', jobs) end  -- only the number of the last one is left
end
"""

FINISH = script(
    """
local _, jobs, waiting, taken, since, held = unpack(KEYS)
local holder, id = unpack(ARGV)
"""
    + _OF_HOLDER
    + """
if redis.call('HGET', jobs, 'holder:' .. id) ~= holder then return once(0) end
let_go(holder, id)
forget(id)
return once(1)
""",
    once=True,
)

GIVE_BACK = script(
    """
local _, jobs, waiting, taken, since, held, bell = unpack(KEYS)
local holder, id = unpack(ARGV)
"""
    + _OF_HOLDER
    + """
if redis.call('HGET', jobs, 'holder:' .. id) ~= holder then return once(0) end
local front = 0
for _, key in ipairs({waiting, taken}) do
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first[2] then front = math.min(front, first[2] - 1) end
end
let_go(holder, id)
redis.call('HINCRBY', jobs, 'attempt:' .. id, -1)
redis.call('ZADD', waiting, front, id)
redis.call('ZADD', since, tonumber(redis.call('HGET', jobs, 'time:' .. id) or 0) or 0, id)
ring(bell)
return once(1)
""",
    once=True,
)

REMOVE = script(
    """
local _, jobs, waiting, taken, since, held, holders = unpack(KEYS)
local id = ARGV[1]
"""
    + _OF_HOLDER
    + """
local found = redis.call('HMGET', jobs, 'data:' .. id, 'holder:' .. id)
if not found[1] or lives(holders, found[2]) then return once(0) end
if found[2] then let_go(found[2], id) end
forget(id)
return once(1)
""",
    once=True,
)

QUEUE_STATE = script(
    """
local jobs, waiting, taken, since, held, holders = unpack(KEYS)
local living, orphaned = 0, 0
local counts = redis.call('HGETALL', held)
for place = 1, #counts, 2 do
  if lives(holders, counts[place]) then
    living = living + counts[place + 1]
  else
    orphaned = orphaned + counts[place + 1]
  end
end
local first = redis.call('ZRANGE', since, 0, 0, 'WITHSCORES')
local oldest = first[2] and math.max(0, clock() - first[2]) or 0
return {redis.call('ZCARD', waiting), living, orphaned, oldest}
"""
)
