-- The record of one circuit, and everything that is done to it: add, compare, lease. This is record.py for Redis and
-- Valkey, in the same order; what is not explained here is explained there. A report is applied whole or not at all,
-- for a script runs alone, and by the server's clock.
--
-- KEYS[1]  the record, as JSON
-- KEYS[2]  the number of the last report of the process that reports
-- ARGV[1]  the report, as JSON
-- ARGV[2]  the channel on which decisions are published
-- Returns the snapshot, as JSON.

local PIECES = 20
local CONTENTION = 2
local MEMORY = 60
local LEASE = 30
local STEP = 1

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000

local function new_trials() return {used = 0, successes = 0, leases = {}, contended_until = 0} end

local report = cjson.decode(ARGV[1])
local quotas = report.quotas
local found = redis.call('GET', KEYS[1])
local record = found and cjson.decode(found) or {
  at = 0, version = 0, overrides = 0, origin = '', state = 'closed', hold = '', reason = '', length = 0, ['until'] = 0,
  opened = 0, round = 0, digest = '', calls = {}, seconds = {}, streak = 0, failing = {}, history = {},
  trials = new_trials(),
}

-- Tallies: for each class of duration a pair of successes and failures

local SUCCESSES, FAILURES = 1, 2

local function add(one, other)
  local sum = {}
  for class = 1, math.max(#one, #other) do
    local a, b = one[class] or {0, 0}, other[class] or {0, 0}
    sum[class] = {a[SUCCESSES] + b[SUCCESSES], a[FAILURES] + b[FAILURES]}
  end
  return sum
end

local function subtract(whole, part)
  local left = {}
  for class, tally in ipairs(whole) do
    local taken = part[class] or {0, 0}
    left[class] = {tally[SUCCESSES] - taken[SUCCESSES], tally[FAILURES] - taken[FAILURES]}
  end
  return left
end

local function successes(tallies)
  local sum = 0
  for _, tally in ipairs(tallies) do sum = sum + tally[SUCCESSES] end
  return sum
end

local function failures(tallies)
  local sum = 0
  for _, tally in ipairs(tallies) do sum = sum + tally[FAILURES] end
  return sum
end

local function count(tallies) return successes(tallies) + failures(tallies) end

local function size(map)
  local many = 0
  for _ in pairs(map) do many = many + 1 end
  return many
end

local function follow_clock()
  local back = record.at - now
  record.at = now
  if back < STEP then return end
  record['until'], record.opened = record['until'] - back, record.opened - back
  for each, deadline in pairs(record.trials.leases) do record.trials.leases[each] = deadline - back end
  record.trials.contended_until = record.trials.contended_until - back
  for each, at in pairs(record.failing) do record.failing[each] = at - back end
  for _, each in ipairs(record.history) do each[1] = each[1] - back end
  if record.failure then record.failure[3] = record.failure[3] - back end
end

local function begin(state, reason) -- the one place where the state changes
  record.version = record.version + 1
  record.origin = report.process
  record.state, record.reason = state, reason
  record.calls, record.seconds, record.streak = {}, {}, 0
  record.failing, record.history = {}, {}
  record.trials = new_trials()
end

-- What happened

local function note_history()
  local newest = record.history[#record.history]
  local late = quotas.span > 0 and newest and now - newest[1] >= quotas.span / PIECES
  local many = quotas.calls > 0 and newest and count(record.calls) - count(newest[2]) >= quotas.calls / PIECES
  if not newest or late or many then
    table.insert(record.history, {now, record.calls})
  end
end

local function count_calls(counts) -- returns the failures in a row just before the first success
  note_history()
  record.calls = add(record.calls, counts.calls)
  record.seconds = add(record.seconds, counts.seconds)
  if failures(counts.calls) > 0 and (record.failing[report.process] or size(record.failing) < quotas.quorum) then
    record.failing[report.process] = now
  end
  local streak = record.streak + counts.leading
  record.streak = successes(counts.calls) > 0 and counts.trailing or streak
  return streak
end

local function drop_old()
  local calls = count(record.calls)
  while #record.history > 1 do
    local second = record.history[2]
    if now - second[1] < quotas.span or calls - count(second[2]) < quotas.calls then break end
    table.remove(record.history, 1)
  end
  local memory = quotas.span > 0 and quotas.span or MEMORY
  for process, at in pairs(record.failing) do
    if now - at > memory then record.failing[process] = nil end
  end
end

local function settle()
  local trials = record.trials
  for _, lease in ipairs(report.returned) do trials.leases[lease] = nil end
  for _, lease in ipairs(report.succeeded) do
    if trials.leases[lease] then trials.used = trials.used + 1 end
    trials.leases[lease] = nil
    trials.successes = trials.successes + 1
  end
  if trials.successes >= quotas.successes then
    local many = trials.successes
    begin('closed', many .. (many == 1 and ' trial' or ' trials') .. ' succeeded')
  end
end

-- What is decided

local function may_decide(decision, current)
  if decision.override then return report.version < 0 or report.overrides == record.overrides end
  if not current or (decision.state == 'closed' and record.state == 'closed') then return false end
  if record.state == 'closed' then return quotas.quorum == 1 or size(record.failing) >= quotas.quorum end
  return report.version >= 0
end

local function shifted(failure) return failure and {failure[1], failure[2], now - failure[3]} or nil end

local function set_times(decision)
  record.length, record.round = decision.length, decision.round
  record['until'], record.opened = now + decision.left, now + decision.left - decision.length
  record.failure, record.slow_trial = shifted(decision.failure), decision.slow_trial
end

local function decide(decision)
  begin(decision.state, decision.reason)
  if decision.override then record.overrides = record.overrides + 1 end
  record.hold = decision.hold
  set_times(decision)
end

local function lease_time()
  return quotas.lease or (record.length > 0 and record.length or LEASE)
end

local function restore(known)
  begin(known.state, known.reason)
  record.version, record.overrides, record.hold = report.version, report.overrides, known.hold
  record.origin = report.origin
  set_times(known)
  if known.state == 'half_open' then
    for index = 0, quotas.attempts - 1 do
      record.trials.leases['lost/' .. index] = now + lease_time()
    end
  end
end

-- Who may try

local function free()
  local out = size(record.trials.leases)
  local left = quotas.attempts - record.trials.used - out
  return out > 0 and left or math.max(left, 1)
end

local function lease()
  if record.state == 'open' and now >= record['until'] then begin('half_open', record.reason) end
  if record.state ~= 'half_open' then return end
  local trials = record.trials
  for each, deadline in pairs(trials.leases) do
    if deadline <= now then trials.leases[each] = nil end
  end
  local left = free()
  if left < report.wanted then trials.contended_until = now + CONTENTION end
  for index = 0, math.min(left, report.wanted) - 1 do
    trials.leases[report.process .. '/' .. report.number .. '.' .. index] = now + lease_time()
  end
end

local function wait()
  if record.state ~= 'half_open' then return math.max(0, record['until'] - now) end
  if free() > 0 then return 0 end
  local soonest = math.huge
  for _, deadline in pairs(record.trials.leases) do soonest = math.min(soonest, deadline) end
  return math.max(0, soonest - now)
end

-- What is answered

local function history()
  local pieces = {}
  for index, each in ipairs(record.history) do
    local stop = record.history[index + 1]
    pieces[index] = {now - each[1], subtract(stop and stop[2] or record.calls, each[2])}
  end
  return pieces
end

local function snapshot(streak, digest)
  local closed = record.state == 'closed'
  return {
    name = report.name, version = record.version, overrides = record.overrides, origin = record.origin,
    state = record.state, hold = record.hold, reason = record.reason, length = record.length,
    left = closed and 0 or record['until'] - now, round = record.round, age = closed and 0 or now - record.opened,
    failure = shifted(record.failure), digest = digest, slow_trial = record.slow_trial, successes = record.trials.successes, calls = record.calls,
    seconds = record.seconds, streak_at_success = streak, streak = record.streak, failing = size(record.failing),
    wait = wait(), contended = now < record.trials.contended_until,
  }
end

local function answer(streak, digest)
  local whole, mine = snapshot(streak, digest), {}
  for each, deadline in pairs(record.trials.leases) do
    if string.sub(each, 1, #report.process + 1) == report.process .. '/' then
      table.insert(mine, {each, deadline - now})
    end
  end
  whole.leases, whole.history = mine, report.version < 0 and history() or {}
  return whole
end

-- Apply the report

local seen = tonumber(redis.call('GET', KEYS[2]) or 0)
local digest = record.digest ~= '' and record.digest or quotas.digest
local version, streak = record.version, record.streak
if report.number > seen then
  follow_clock()
  if report.known and report.version > record.version then restore(report.known) end
  local current = report.version < 0 or report.version == record.version
  record.digest = quotas.digest
  drop_old()
  streak = record.streak
  if current and record.state == 'closed' and report.counts then streak = count_calls(report.counts) end
  if current and record.state == 'half_open' then settle() end
  if report.decision and may_decide(report.decision, current) then decide(report.decision) end
  if report.wanted > 0 then lease() end
  redis.call('SET', KEYS[2], report.number, 'EX', math.min(quotas.expire, 600))
  redis.call('SET', KEYS[1], cjson.encode(record), 'EX', quotas.expire)
end
if record.version > version then
  redis.pcall('PUBLISH', ARGV[2], cjson.encode(snapshot(streak, digest))) -- Without the right to, it is left out.
end
return cjson.encode(answer(streak, digest))
