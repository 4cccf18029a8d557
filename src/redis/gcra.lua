-- A token bucket as one instant: when the bucket is full again. It is below 0 if that is later than a whole fill.
-- KEYS: the bucket. ARGV: nanoseconds per unit, units of a full bucket, units to charge, units to grant if there are any.
-- Returns the granted units, the units left, and the microseconds until the next unit and until the bucket is full.

-- Microseconds since 2020. Since 1970, they would leave a double too few bits for the parts of a microsecond.
local time = redis.call('TIME')
local now = (time[1] - 1577836800) * 1000000 + time[2]
local interval = ARGV[1] / 1000
local fill = interval * ARGV[2]

local full_at = math.max(tonumber(redis.call('GET', KEYS[1])) or now, now)
-- A bucket owes its content once more at most, also after a jump of the clock.
full_at = math.min(full_at + interval * ARGV[3], now + 2 * fill)
-- The last digit of a double must not cost a unit.
local function left() return math.max(0, math.floor((now + fill - full_at) / interval + 0.000001)) end
local granted = math.min(tonumber(ARGV[4]), left())
full_at = full_at + interval * granted

local reset = full_at - now
if reset > 0 then
    redis.call('SET', KEYS[1], string.format('%.3f', full_at), 'PX', math.ceil(reset / 1000))
end
local remaining = left()
local retry = remaining > 0 and 0 or full_at + interval - fill - now
-- Rounded up, except for the last digit of a double.
local function micros(time) return math.max(0, math.ceil(time - 0.1)) end
return { granted, remaining, micros(retry), micros(reset) }
