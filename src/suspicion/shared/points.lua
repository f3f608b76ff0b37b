-- The points of one visitor, or of one client.
-- KEYS[1]: a hash of points by group, and when they were brought up to date, in ms.
-- ARGV, for each group in its turn: half-life in ms, most points, what is true now, what has happened.
-- Replies: for each group the points, in thousandths. Nothing new and nothing known writes nothing.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local groups = #ARGV / 4
local fields = {'at'}
for i = 1, groups do fields[i + 1] = tostring(i) end
local had = redis.call('HMGET', KEYS[1], unpack(fields))
local age = math.max(now - (tonumber(had[1]) or now), 0)
local replies, writes, any = {}, {'at', string.format('%.0f', now)}, false
for i = 1, groups do
    local half, most, level, added = unpack(ARGV, i * 4 - 3, i * 4)
    local left = (tonumber(had[i + 1]) or 0) * 0.5 ^ (age / half)
    local points = math.min(math.max(left, tonumber(level)) + added, tonumber(most))
    replies[i] = math.floor(points * 1000)
    writes[#writes + 1] = tostring(i)
    writes[#writes + 1] = string.format('%.3f', points)
    any = any or points >= 0.001
end
if any then
    redis.call('HSET', KEYS[1], unpack(writes))
    redis.call('EXPIRE', KEYS[1], 86400)
end
return replies
