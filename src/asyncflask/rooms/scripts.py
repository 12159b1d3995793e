"""What Redis does for rooms in one step each: the scripts. Their keys are listed in `redis.py`."""

from __future__ import annotations

import hashlib
from typing import Final

PUBLISH: Final = """
local id = ''
if ARGV[1] ~= '0' then
  if ARGV[4] == '1' then -- sent before, and the answer was lost
    for _, entry in ipairs(redis.call('XREVRANGE', KEYS[2], '+', '-')) do
      if string.sub(entry[2][2], 1, #ARGV[3]) == ARGV[3] then return entry[1] end
    end
  end
  id = redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[1], '*', 'm', ARGV[5])
  redis.call('EXPIRE', KEYS[2], ARGV[2])
end
redis.call('PUBLISH', KEYS[1], id .. ' ' .. ARGV[5])
return id
"""

ENTER: Final = """
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('SADD', KEYS[2], ARGV[4])
redis.call('ZADD', KEYS[3], redis.call('TIME')[1] + ARGV[5], ARGV[1])
"""

EXIT: Final = """
redis.call('HDEL', KEYS[1], ARGV[1])
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

# Takes the members of processes that are dead out of their rooms, and gives them; before them,
# whether this process, which says that it is alive, was known to be.
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
end
return found
"""

# Makes the members of this process those that are given: room, id, value, and so on.
SYNC: Final = """
local rooms = ARGV[1] .. 'process:' .. ARGV[2]
for _, room in ipairs(redis.call('SMEMBERS', rooms)) do
  local members = ARGV[1] .. 'members:' .. room
  for _, id in ipairs(redis.call('HKEYS', members)) do
    if string.sub(id, 1, #ARGV[2] + 1) == ARGV[2] .. ':' then redis.call('HDEL', members, id) end
  end
end
redis.call('DEL', rooms)
for i = 4, #ARGV, 3 do
  redis.call('HSET', ARGV[1] .. 'members:' .. ARGV[i], ARGV[i + 1], ARGV[i + 2])
  redis.call('SADD', rooms, ARGV[i])
end
redis.call('ZADD', KEYS[1], redis.call('TIME')[1] + ARGV[3], ARGV[2])
"""

SCRIPTS: Final = {
    script: hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
    for script in (PUBLISH, ENTER, EXIT, MEMBERS, BEAT, SYNC)
}
