-- One quota of one client (GCRA), counted by the clock of the store.
-- KEYS[1]: when the next cell is due, in µs. ARGV: µs for one cell to come back, cells at once, cells now, and 1 if they are
-- gone already: then they count beyond what is there at once, too, up to nine times of that. Whoever gave them learns what
-- all others owe, and nobody gives more until it is paid back.
-- Replies: let through (1 or 0), µs to wait, µs owed afterwards.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local every, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local due = math.max(tonumber(redis.call('GET', KEYS[1])) or now, now)
local next_due = due + every * cost
local wait = next_due - every * burst - now
if wait > 0 then
    if ARGV[4] ~= '1' then return {0, wait, due - now} end
    next_due = math.min(next_due, now + 9 * every * burst)
end
redis.call('SET', KEYS[1], string.format('%.0f', next_due), 'PX', math.ceil((next_due - now) / 1000))
return {wait > 0 and 0 or 1, math.max(wait, 0), next_due - now}
