-- The record of one circuit, and all that may be done to it: add, compare, lease. This is record.py for Redis and
-- Valkey; what is not explained here is explained there. A report is taken in whole or not at all, for a script runs
-- alone, and by the server's clock.
--
-- KEYS[1]  the record, as JSON
-- KEYS[2]  the number of the last report of the process that reports
-- ARGV[1]  the report, as JSON
-- ARGV[2]  the channel on which decisions are told to all
-- Returns the view, as JSON.

local GRAINS = 20
local PATIENCE = 2
local MEMORY = 60
local STEP = 1

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000

local report = cjson.decode(ARGV[1])
local terms = report.terms
local found = redis.call('GET', KEYS[1])
local record = found and cjson.decode(found) or {
  at = 0, version = 0, orders = 0, origin = '', state = 'closed', hold = '', reason = '', length = 0, ['until'] = 0, opened = 0,
  round = 0, digest = '', numbers = {}, seconds = {}, run = 0, failing = {}, history = {}, used = 0, successes = 0,
  leases = {}, refused = 0,
}

local function sum(numbers, first, step)
  local all = 0
  for index = first or 1, #numbers, step or 1 do all = all + numbers[index] end
  return all
end

local function size(map)
  local many = 0
  for _ in pairs(map) do many = many + 1 end
  return many
end

local function copy(list)
  local other = {}
  for index, each in ipairs(list) do other[index] = each end
  return other
end

local function begin(state, reason) -- the one place where the state changes
  record.version = record.version + 1
  record.origin = report.process
  record.state, record.reason = state, reason
  record.numbers, record.seconds, record.run = {}, {}, 0
  record.failing, record.history = {}, {}
  record.used, record.successes, record.leases, record.refused = 0, 0, {}, 0
end

-- What happened

local function note_history()
  local newest = record.history[#record.history]
  local late = terms.span > 0 and newest and now - newest[1] >= terms.span / GRAINS
  local many = terms.calls > 0 and newest and sum(record.numbers) - sum(newest[2]) >= terms.calls / GRAINS
  if not newest or late or many then
    table.insert(record.history, {now, copy(record.numbers)})
  end
end

local function drop_old()
  local calls = sum(record.numbers)
  while #record.history > 1 do
    local second = record.history[2]
    if now - second[1] < terms.span or calls - sum(second[2]) < terms.calls then break end
    table.remove(record.history, 1)
  end
  local memory = terms.span > 0 and terms.span or MEMORY
  for process, at in pairs(record.failing) do
    if now - at > memory then record.failing[process] = nil end
  end
end

local function add(sums, more)
  for index, each in ipairs(more) do sums[index] = (sums[index] or 0) + each end
end

local function count(counts) -- returns the failures in a row at the first success
  note_history()
  add(record.numbers, counts.numbers)
  add(record.seconds, counts.seconds)
  local known = record.failing[report.process] or size(record.failing) < terms.quorum
  if known and sum(counts.numbers, 2, 2) > 0 then record.failing[report.process] = now end
  local peak = record.run + counts.head
  record.run = sum(counts.numbers, 1, 2) > 0 and counts.tail or peak
  return peak
end

local function settle()
  for _, lease in ipairs(report.returned) do record.leases[lease] = nil end
  for _, lease in ipairs(report.succeeded) do
    if record.leases[lease] then record.used = record.used + 1 end
    record.leases[lease] = nil
    record.successes = record.successes + 1
  end
  if record.successes >= terms.successes then
    begin('closed', record.successes .. (record.successes == 1 and ' trial' or ' trials') .. ' succeeded')
  end
end

-- What is decided

local function set_times(decision)
  record.length, record.round = decision.length, decision.round
  record['until'], record.opened = now + decision.left, now + decision.left - decision.length
  local failure = decision.failure
  record.failure = failure and {failure[1], failure[2], now - failure[3]} or nil
end

local function may_decide(decision, current)
  if decision.ordered then return report.version < 0 or report.orders == record.orders end
  if not current or (decision.state == 'closed' and record.state == 'closed') then return false end
  if record.state == 'closed' then return terms.quorum == 1 or size(record.failing) >= terms.quorum end
  return report.version >= 0
end

local function decide(decision)
  begin(decision.state, decision.reason)
  if decision.ordered then record.orders = record.orders + 1 end
  record.hold = decision.hold
  set_times(decision)
end

local function restore(known)
  begin(known.state, known.reason)
  record.version, record.orders, record.hold = report.version, report.orders, known.hold
  record.origin = report.origin
  set_times(known)
  if known.state == 'half_open' then
    for index = 0, terms.attempts - 1 do
      record.leases['lost/' .. index] = now + (terms.lease or record.length)
    end
  end
end

-- Who may try

local function free()
  local out = size(record.leases)
  local left = terms.attempts - record.used - out
  return out > 0 and left or math.max(left, 1)
end

local function wait()
  if record.state ~= 'half_open' then return math.max(0, record['until'] - now) end
  if free() > 0 then return 0 end
  local soonest = math.huge
  for _, deadline in pairs(record.leases) do soonest = math.min(soonest, deadline) end
  return math.max(0, soonest - now)
end

local function lease()
  if record.state == 'open' and now >= record['until'] then begin('half_open', record.reason) end
  if record.state ~= 'half_open' then return end
  for each, deadline in pairs(record.leases) do
    if deadline <= now then record.leases[each] = nil end
  end
  local left = free()
  if left < report.wanted then record.refused = now + PATIENCE end
  for index = 0, math.min(left, report.wanted) - 1 do
    record.leases[report.process .. '/' .. report.number .. '.' .. index] = now + (terms.lease or record.length)
  end
end

local function history()
  local pieces = {}
  for index, each in ipairs(record.history) do
    local stop = record.history[index + 1]
    local numbers = copy(stop and stop[2] or record.numbers)
    for class, before in ipairs(each[2]) do numbers[class] = numbers[class] - before end
    pieces[index] = {now - each[1], numbers}
  end
  return pieces
end

local function view(peak, digest)
  local mine = {}
  for each, deadline in pairs(record.leases) do
    if string.sub(each, 1, #report.process + 1) == report.process .. '/' then
      table.insert(mine, {each, deadline - now})
    end
  end
  local failure = record.failure
  local closed = record.state == 'closed'
  return {
    name = report.name, version = record.version, orders = record.orders, origin = record.origin,
    state = record.state, hold = record.hold, reason = record.reason, length = record.length,
    left = closed and 0 or record['until'] - now, round = record.round, age = closed and 0 or now - record.opened,
    failure = failure and {failure[1], failure[2], now - failure[3]} or nil, digest = digest,
    successes = record.successes, numbers = record.numbers, seconds = record.seconds, peak = peak, run = record.run,
    failing = size(record.failing), leases = mine, wait = wait(),
    contended = now < record.refused,
    history = report.version < 0 and history() or {},
  }
end

local function follow_clock()
  local back = record.at - now
  record.at = now
  if back < STEP then return end
  for _, each in ipairs({'until', 'opened', 'refused'}) do record[each] = record[each] - back end
  for _, map in ipairs({record.leases, record.failing}) do
    for each, at in pairs(map) do map[each] = at - back end
  end
  for _, each in ipairs(record.history) do each[1] = each[1] - back end
  if record.failure then record.failure[3] = record.failure[3] - back end
end

-- Take the report in

local seen = tonumber(redis.call('GET', KEYS[2]) or 0)
local digest = record.digest ~= '' and record.digest or terms.digest
local peak = record.run
local version = record.version
if report.number > seen then
  follow_clock()
  if report.known and report.version > record.version then restore(report.known) end
  local current = report.version < 0 or report.version == record.version
  record.digest = terms.digest
  drop_old()
  peak = record.run
  if current and record.state == 'closed' and report.counts then peak = count(report.counts) end
  if current and record.state == 'half_open' then settle() end
  if report.decision and may_decide(report.decision, current) then decide(report.decision) end
  if report.wanted > 0 then lease() end
  redis.call('SET', KEYS[2], report.number, 'EX', math.min(terms.expire, 600))
  redis.call('SET', KEYS[1], cjson.encode(record), 'EX', terms.expire)
end
local answer = view(peak, digest)
if record.version > version then
  local told = view(peak, digest)
  told.leases, told.history = nil, nil
  redis.pcall('PUBLISH', ARGV[2], cjson.encode(told)) -- Who may not publish does without.
end
return cjson.encode(answer)
