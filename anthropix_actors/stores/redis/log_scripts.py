"""What Redis does with logs.

A log has a hash with what is known of it, a stream with its entries and, if it is posted to, a hash of the keys that
were used. An entry's id is its number from 1, and its epoch or, if it was posted, its mark. Two ids come after all
others: `END` is in the stream of a log that was closed, and `GONE` is for a minute in that of one that was deleted:
both wake who waits.

A replica that becomes the primary may lack what was there last: claims, entries, posts. What comes in their place is to
be told from them. So an epoch follows the one before by a random step, and marks are random: nobody else has those of a
claim or a post that was lost.
"""

from __future__ import annotations

from anthropix_actors.stores.redis.scripts import script

END = "18446744073709551614-0"
GONE = "18446744073709551615-0"
LAST_EPOCH = 2**64 - 1
"""The end of all ids of one number."""


_LOG = (
    f"local END, GONE = '{END}', '{GONE}'\n"
    """
-- What is known of a log; nil if there is none, or Redis has thrown a part of it away.
local function log_at(meta, stream, keys)
  local found = redis.call('HMGET', meta, 'generation', 'epoch', 'length', 'closed', 'posted', 'holder')
  if not found[1] then return nil end
  local log = {
    generation = found[1], epoch = tonumber(found[2]), length = tonumber(found[3]),
    closed = found[4], posted = found[5], holder = found[6]
  }
  if redis.call('XLEN', stream) ~= log.length + (log.closed and 1 or 0) then return nil end
  if keys and log.posted and redis.call('HLEN', keys) ~= log.length then return nil end
  return log
end
-- To write comes first: a Redis that is full refuses that only as long as the script has changed nothing.
local function new_log(meta, stream, keys, generation)
  redis.call('HSET', meta, 'generation', generation, 'epoch', 0, 'length', 0)
  redis.call('HDEL', meta, 'closed', 'posted', 'holder')
  redis.call('PERSIST', meta)
  redis.call('DEL', stream, keys)
  return {generation = generation, epoch = 0, length = 0}
end
-- What begins later ends with the log.
local function share_end(meta, key)
  local left = redis.call('PTTL', meta)
  if left > 0 then redis.call('PEXPIRE', key, left) end
end
"""
)

CLAIM = script(
    _LOG
    + """
local _, meta, stream, keys, holders = unpack(KEYS)
local holder, generation, step = unpack(ARGV)
local log = log_at(meta, stream, keys) or new_log(meta, stream, keys, generation)
if log.posted then return {'mixed'} end
if holder ~= '' and log.holder and log.holder ~= holder and lives(holders, log.holder) then
  return {'held', log.holder}
end
local epoch = log.epoch > 0 and log.epoch + step or 1
redis.call('HSET', meta, 'epoch', epoch)
if holder == '' then redis.call('HDEL', meta, 'holder') else redis.call('HSET', meta, 'holder', holder) end
return once({'claimed', epoch, log.generation, log.length})
""",
    once=True,
)

APPEND = script(
    _LOG
    + """
local meta, stream, keys = unpack(KEYS)
local generation, epoch, first, close = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local log = log_at(meta, stream, keys)
if not log or (generation ~= '' and generation ~= log.generation) then return {'lost'} end
if log.posted then return {'mixed'} end
if epoch ~= log.epoch then return {'fenced', log.epoch} end
if first > log.length then return {'gap', log.length} end
local all = first + #ARGV - 4
if all > log.length then
  if log.closed then return {'closed'} end
  for number = log.length, all - 1 do
    redis.call('XADD', stream, string.format('%d-%d', number + 1, epoch), 'data', ARGV[5 + number - first])
  end
  redis.call('HSET', meta, 'length', all)
end
if close == '1' and not log.closed then
  redis.call('XADD', stream, END, 'end', 1)
  redis.call('HSET', meta, 'closed', 1)
end
if log.length == 0 then share_end(meta, stream) end
return {'done'}
"""
)

POST = script(
    _LOG
    + """
local _, meta, stream, keys = unpack(KEYS)
local generation, key, data, mark = unpack(ARGV)
local log = log_at(meta, stream, keys) or new_log(meta, stream, keys, generation)
if log.epoch > 0 then return -1 end
if redis.call('HSETNX', keys, key, '') == 0 then return once(0) end
redis.call('XADD', stream, string.format('%d-%s', log.length + 1, mark), 'data', data)
redis.call('HSET', meta, 'length', log.length + 1, 'posted', 1)
if log.length == 0 then
  share_end(meta, stream)
  share_end(meta, keys)
end
return once(1)
""",
    once=True,
)

# For each log, its hash and its stream, the generation and the id that its cursor names. `room` keeps a reply small.
LOOK = script(
    _LOG
    + """
local found, most, room = {}, tonumber(ARGV[1]), 8388608
local function is_at(entry, id)
  return entry and (entry[1] .. '-'):find(id .. '-', 1, true) == 1
end
local function add_all(answer, stream, got, step)
  local count, from = 0, nil
  while true do
    for _, entry in ipairs(got) do
      if entry[2][1] == 'data' then
        answer[#answer + 1] = entry[1]
        answer[#answer + 1] = entry[2][2]
        room = room - #entry[2][2]
        count = count + 1
      end
      from = '(' .. entry[1]
    end
    if #got < step or count >= most or room <= 0 then return end
    step = math.min(step * 4, 256)
    got = redis.call('XRANGE', stream, from, '+', 'COUNT', math.min(step, most - count))
  end
end
local function look(number)
  local meta, stream = KEYS[2 * number - 1], KEYS[2 * number]
  local generation, last = ARGV[2 * number], ARGV[2 * number + 1]
  local log = log_at(meta, stream)
  local answer, step = {number - 1, 'open'}, 4
  local got, is_read
  if last == '' then
    got, is_read = redis.call('XRANGE', stream, '-', '+', 'COUNT', step), true
  else  -- the entry that was read last, and what comes after it
    got = redis.call('XRANGE', stream, last, '+', 'COUNT', step + 1)
    is_read = is_at(table.remove(got, 1), last)
  end
  if not log then
    answer[2] = 'lost'
  elseif not is_read or (generation ~= '' and generation ~= log.generation) then
    answer[2] = 'anew'
  elseif room > 0 then
    answer[3], answer[4] = log.generation, log.posted and 1 or 0
    if log.closed then answer[2] = 'closed' end
    add_all(answer, stream, got, step)
  end
  return answer
end
for number = 1, #KEYS / 2 do
  local ok, answer = pcall(look, number)
  if not ok then  -- what another program has put there is this log's fault; any other error is that of all
    local text = type(answer) == 'table' and answer.err or tostring(answer)
    if not text:find('WRONGTYPE') and not text:find('attempt to') then error(answer) end
    answer = {number - 1, 'unreadable', text}
  end
  if answer[2] ~= 'open' or #answer > 4 then found[#found + 1] = answer end
end
return found
"""
)

STATE = script(
    _LOG
    + """
local meta, stream, keys, holders = unpack(KEYS)
local log = log_at(meta, stream, keys)
if not log then return nil end
local holder = lives(holders, log.holder) and log.holder or ''
return {log.generation, log.epoch, log.length, log.closed and 1 or 0, holder}
"""
)

DELETE = script(
    _LOG
    + """
local meta, stream = KEYS[1], KEYS[2]
if redis.call('DEL', unpack(KEYS)) > 0 then
  redis.call('XADD', stream, GONE, 'gone', 1)
  redis.call('PEXPIRE', stream, 60000)
end
"""
)

EXPIRE = script(
    _LOG
    + """
if redis.call('EXISTS', KEYS[1]) == 0 then return end
for _, key in ipairs(KEYS) do
  if ARGV[1] == '' then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, ARGV[1]) end
end
"""
)

BEAT = script(
    _LOG
    + """
local holders, ends = unpack(KEYS)
local holder, milliseconds = ARGV[1], tonumber(ARGV[2])
local server, now = carry_over(holders), clock()
redis.call('ZREMRANGEBYSCORE', holders, '-inf', now)
local before = redis.call('ZSCORE', holders, holder)
if milliseconds > 0 then
  redis.call('ZADD', holders, now + milliseconds, holder, now, server)
else
  redis.call('ZREM', holders, holder)
end
if before and now + milliseconds < tonumber(before) then ring(ends) end
"""
)
