"""The Redis scripts of rooms, each of which runs as one step. `redis.py` lists their keys."""

from __future__ import annotations

import hashlib
from typing import Final

# Publishes a message, after adding it to the history within the limits. A list beside each
# stream has the sizes of its messages. For each room with a history, `kept` has its expiry and
# `sizes` its size; `total` has the sum. Returns the id, and whether another history was
# dropped.
PUBLISH: Final = """
local id, forgot, prefix, room = '', 0, ARGV[6], ARGV[7]
local total, kept, sizes = prefix .. 'total', prefix .. 'kept', prefix .. 'sizes'
local function forget(other)
  redis.call('DEL', prefix .. 'stream:' .. other, prefix .. 'counts:' .. other)
  redis.call('ZREM', kept, other)
  redis.call('DECRBY', total, redis.call('HGET', sizes, other) or 0)
  redis.call('HDEL', sizes, other)
end
if ARGV[1] ~= '0' then
  if ARGV[4] == '1' then -- sent before, and the answer was lost
    for _, entry in ipairs(redis.call('XREVRANGE', KEYS[2], '+', '-')) do
      if string.sub(entry[2][2], 1, #ARGV[3]) == ARGV[3] then return {entry[1], 0} end
    end
  end
  local time, seconds, counts = redis.call('TIME'), ARGV[2] + 0, prefix .. 'counts:' .. room
  local now = time[1] + time[2] / 1000000
  for _, other in ipairs(redis.call('ZRANGEBYSCORE', kept, '-inf', now, 'LIMIT', 0, 100)) do
    forget(other)
  end
  id = redis.call('XADD', KEYS[2], '*', 'm', ARGV[5])
  local more, number = ARGV[8] + 0, redis.call('RPUSH', counts, ARGV[8])
  local size = (redis.call('HGET', sizes, room) or 0) + more
  while number > ARGV[1] + 0 or (size > ARGV[9] + 0 and number > 1) do
    local less = redis.call('LPOP', counts) + 0
    number, size, more = number - 1, size - less, more - less
  end
  redis.call('XTRIM', KEYS[2], 'MAXLEN', number)
  redis.call('HSET', sizes, room, size)
  redis.call('ZADD', kept, now + seconds, room)
  local all = redis.call('INCRBY', total, more)
  while all > ARGV[10] + 0 or redis.call('ZCARD', kept) > ARGV[11] + 0 do
    local other = redis.call('ZRANGE', kept, 0, 0)[1]
    if other == room then -- the only one: what was counted before is lost
      redis.call('SET', total, size)
      break
    end
    forget(other)
    forgot, all = 1, redis.call('GET', total) + 0
  end
  for _, key in ipairs({KEYS[2], counts, kept, sizes, total}) do
    redis.call('EXPIRE', key, seconds)
  end
end
redis.call('PUBLISH', KEYS[1], id .. ' ' .. ARGV[5])
return {id, forgot}
"""

# `presence` has the size of each process's members. Returns the limit that was reached, if
# any.
ENTER: Final = """
local size = ARGV[6] + 0
if redis.call('HEXISTS', KEYS[1], ARGV[2]) == 0 then
  if redis.call('HLEN', KEYS[1]) >= ARGV[7] + 0 then return 'room' end
  local total = size
  for _, other in ipairs(redis.call('HVALS', KEYS[4])) do total = total + other end
  if total > ARGV[8] + 0 then return 'all' end
  redis.call('HINCRBY', KEYS[4], ARGV[1], size)
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('SADD', KEYS[2], ARGV[4])
redis.call('ZADD', KEYS[3], redis.call('TIME')[1] + ARGV[5], ARGV[1])
return ''
"""

EXIT: Final = """
if redis.call('HDEL', KEYS[1], ARGV[1]) == 1 then
  local process = string.match(ARGV[1], '^[^:]+')
  if redis.call('HINCRBY', KEYS[3], process, -ARGV[4]) <= 0 then
    redis.call('HDEL', KEYS[3], process)
  end
end
if ARGV[3] == '1' then redis.call('SREM', KEYS[2], ARGV[2]) end
"""

MEMBERS: Final = """
local now, found = redis.call('TIME')[1] + 0, {}
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  local until_ = redis.call('ZSCORE', KEYS[2], string.match(entries[i], '^[^:]+'))
  if until_ and until_ + 0 > now then found[#found + 1] = entries[i + 1] end
end
return found
"""

# Removes the members of dead processes from their rooms and returns them, after whether this
# process, which reports itself alive, was known to be.
BEAT: Final = """
local now, found = redis.call('TIME')[1] + 0, {1}
if ARGV[3] ~= '0' then
  if not redis.call('ZSCORE', KEYS[1], ARGV[2]) then found[1] = 0 end
  redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
end
for _, process in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], process)
  local rooms = ARGV[1] .. 'process:' .. process
  for _, room in ipairs(redis.call('SMEMBERS', rooms)) do
    local members = ARGV[1] .. 'members:' .. room
    local entries = redis.call('HGETALL', members)
    for i = 1, #entries, 2 do
      if string.sub(entries[i], 1, #process + 1) == process .. ':' then
        redis.call('HDEL', members, entries[i])
        found[#found + 1] = room
        found[#found + 1] = entries[i + 1]
      end
    end
  end
  redis.call('DEL', rooms)
  redis.call('HDEL', ARGV[1] .. 'presence', process)
end
return found
"""

# Replaces this process's members with those given: room, id, value, and so on, after their
# total size.
SYNC: Final = """
local rooms = ARGV[1] .. 'process:' .. ARGV[2]
for _, room in ipairs(redis.call('SMEMBERS', rooms)) do
  local members = ARGV[1] .. 'members:' .. room
  for _, id in ipairs(redis.call('HKEYS', members)) do
    if string.sub(id, 1, #ARGV[2] + 1) == ARGV[2] .. ':' then redis.call('HDEL', members, id) end
  end
end
redis.call('DEL', rooms)
for i = 5, #ARGV, 3 do
  redis.call('HSET', ARGV[1] .. 'members:' .. ARGV[i], ARGV[i + 1], ARGV[i + 2])
  redis.call('SADD', rooms, ARGV[i])
end
redis.call('HDEL', ARGV[1] .. 'presence', ARGV[2])
if ARGV[4] ~= '0' then redis.call('HSET', ARGV[1] .. 'presence', ARGV[2], ARGV[4]) end
redis.call('ZADD', KEYS[1], redis.call('TIME')[1] + ARGV[3], ARGV[2])
"""

SCRIPTS: Final = {
    script: hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
    for script in (PUBLISH, ENTER, EXIT, MEMBERS, BEAT, SYNC)
}
