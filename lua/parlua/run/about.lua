--- What is told of a run to those who read of it later: in a journal, in a report.
local common = require "parlua.common"
local host = require "parlua.host"
local options_module = require "parlua.options"
local identity = require "parlua.journal.identity"
local json = require "parlua.wire.json"
local time = require "parlua.report.time"

local M = {}

--- The words of the command line.
local function command_line()
  local words = {}
  local least = 0
  for k in pairs(type(arg) == "table" and arg or {}) do
    if type(k) == "number" and k < least then least = k end
  end
  for k = least, type(arg) == "table" and #arg or -1 do
    if arg[k] ~= nil then -- without a script nothing stands at 0
      words[#words + 1] = common.shell_word(tostring(arg[k]))
    end
  end
  return table.concat(words, " ")
end

--- The options of a call that are not the defaults, as JSON.
local function options_text(options)
  local shown = {}
  for _, spec in ipairs(options_module.specs) do
    local value = options[spec.name]
    local kind = type(value)
    local is_shown = kind == "string" or kind == "number" or kind == "boolean"
    if is_shown and value ~= spec.default then shown[spec.name] = value end
  end
  return json.encode(shown)
end

--- A run that begins.
---@param run parlua.Run
---@return table<string, string|number>
function M.of_run(run)
  return {
    command = command_line(), options = options_text(run.options), engine = run.engine_name, workers = run.workers,
    total = run.source:is_indexed() and not run.source.is_endless and run.source.n or nil, host = host.hostname(),
    pid = host.pid(), version = ("parlua %s, %s"):format((package.loaded.parlua or {})._VERSION or "", jit.version),
    began = time.now(),
  }
end

--- A run that has ended.
---@param run parlua.Run
---@return table<string, string|number>
function M.of_end(run)
  local summary = run:summary()
  return {
    ended = time.now(), place = run.place, total = run.total, workers = summary.workers,
    outcome = summary.interrupted or summary.stopped or run.limiter and run.limiter.halted and "halted" or nil,
  }
end

--- The arguments of a run in words.
---@param run parlua.Run
---@return string
function M.source_of(run) return identity.describe(run.source) end

return M
