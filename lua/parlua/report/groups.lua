--- Groups failures by kind and message. Numbers in messages don't count: "no row 12" and "no row 13" are one group.
local common = require "parlua.common"

local M = {}

local MOST_GROUPS = 1000 -- what is beyond goes together
local LONGEST = 400

---@class parlua.FailureGroup
---@field kind string
---@field message string of its first failure
---@field pattern string the message without what differs
---@field count integer
---@field first integer the lowest index
---@field traceback? string of that one

---@class parlua.FailureGroups
---@field list parlua.FailureGroup[] in the order in which they came
local Groups = {}
Groups.__index = Groups

---@return parlua.FailureGroups
function M.new() return setmetatable({ list = {}, by_key = {} }, Groups) end

--- Takes in a failure.
function Groups:add(index, kind, message, traceback)
  message = common.one_line(tostring(message or "")):sub(1, LONGEST)
  local pattern = message:gsub("0x%x+", "N"):gsub("%d+%.?%d*", "N")
  local key = kind .. "\0" .. pattern
  local group = self.by_key[key]
  if not group then
    if #self.list >= MOST_GROUPS then
      message, pattern, key, traceback = "other messages", "other messages", "", nil
      group = self.by_key[key]
    end
    if not group then
      group = { kind = kind, message = message, pattern = pattern, count = 0, first = math.huge }
      self.by_key[key] = group
      self.list[#self.list + 1] = group
    end
  end
  group.count = group.count + 1
  if index < group.first then group.first, group.message, group.traceback = index, message, traceback end
  return group
end

--- The groups, the largest first.
function Groups:sorted()
  local list = {}
  for k, group in ipairs(self.list) do list[k] = group end
  table.sort(list, function(a, b)
    if a.count ~= b.count then return a.count > b.count end
    return a.first < b.first
  end)
  return list
end

return M
